/* SPDX-License-Identifier: Apache-2.0 */
/*
 * One description of an answer, rendered as a table (render/table.h), JSON (render/json.h) or CSV
 * (render/csv.h): a tree of objects, arrays and typed values. Numbers are integers all the way;
 * seconds are nanoseconds until they are printed with nine decimals.
 *
 *     dv_cleanup(dv_output_free) struct dv_output *o = dv_output_new("Usage");
 *     struct dv_output_node *list = dv_output_array(dv_output_root(o), "tenants");
 *     struct dv_output_node *row = dv_output_object(list, NULL);
 *     dv_output_string(row, "tenant", "alice");
 *     dv_output_seconds(row, "busy_seconds", busy_ns);
 *     r = dv_json_write(o, false, &text);
 *
 * Adding never fails loudly: a NULL parent adds nothing, an allocation that fails is remembered in
 * the tree, and the renderers then answer -ENOMEM. Keys and strings are copied. `key` is NULL for
 * elements of an array and needed in an object; keys keep the order in which they were added.
 * A new tree holds `apiVersion` and `kind`, in this order.
 */
#ifndef DV_RENDER_OUTPUT_H
#define DV_RENDER_OUTPUT_H

#include "base/macros.h"

#include <stdbool.h>

#define DV_OUTPUT_API_VERSION "divvy/v1"
#define DV_OUTPUT_DEPTH_MAX 32 /* deeper additions fail, so that walks may recurse */

struct dv_output;

enum dv_output_type {
    DV_OUTPUT_NULL = 0,
    DV_OUTPUT_BOOL,
    DV_OUTPUT_INT,
    DV_OUTPUT_UINT,
    DV_OUTPUT_DECIMAL, /* mantissa / 10^scale */
    DV_OUTPUT_LITERAL, /* a JSON number that fits none of these, kept as it was written */
    DV_OUTPUT_STRING,
    DV_OUTPUT_SECONDS, /* nanoseconds */
    DV_OUTPUT_BYTES,
    DV_OUTPUT_COMPUTE, /* 1/7000 GPU; printed in thousandths */
    DV_OUTPUT_ARRAY,
    DV_OUTPUT_OBJECT,
};

/* Read-only to everyone but output.c. */
struct dv_output_node {
    enum dv_output_type type;
    unsigned depth;
    unsigned scale;       /* DECIMAL: digits after the point, 0..9 */
    unsigned children;    /* ARRAY, OBJECT: how many */
    struct dv_output *of; /* the tree it belongs to */
    struct dv_output_node *parent;
    struct dv_output_node *first, *last, *next;
    char *key;  /* NULL in an array */
    char *text; /* STRING, LITERAL */
    union {
        bool boolean;
        int64_t i;  /* INT, DECIMAL */
        uint64_t u; /* UINT, SECONDS, BYTES, COMPUTE */
    };
};

/* NULL when memory is out. kind NULL: an empty object, for what was read from elsewhere. */
struct dv_output *dv_output_new(const char *kind);
void dv_output_free(struct dv_output **o);
struct dv_output_node *dv_output_root(struct dv_output *o);
/* True once an addition was lost (memory, depth, a missing key, a number that is none). */
bool dv_output_failed(const struct dv_output *o);

struct dv_output_node *dv_output_object(struct dv_output_node *parent, const char *key);
struct dv_output_node *dv_output_array(struct dv_output_node *parent, const char *key);
void dv_output_null(struct dv_output_node *parent, const char *key);
void dv_output_bool(struct dv_output_node *parent, const char *key, bool v);
void dv_output_int(struct dv_output_node *parent, const char *key, int64_t v);
void dv_output_uint(struct dv_output_node *parent, const char *key, uint64_t v);
/* mantissa / 10^scale: (.., 12345678, 6) prints 12.345678. scale is at most 9. */
void dv_output_decimal(struct dv_output_node *parent, const char *key, int64_t mantissa,
                       unsigned scale);
/* NULL adds null. */
void dv_output_string(struct dv_output_node *parent, const char *key, const char *v);
void dv_output_seconds(struct dv_output_node *parent, const char *key, uint64_t ns);
void dv_output_bytes(struct dv_output_node *parent, const char *key, uint64_t bytes);
void dv_output_compute(struct dv_output_node *parent, const char *key, uint32_t compute);
/* The text of a JSON number, as the narrowest exact type. */
void dv_output_number(struct dv_output_node *parent, const char *key, const char *text);

/* Reading. All take NULL and answer NULL, the default or 0 for what is not there. */
const struct dv_output_node *dv_output_get(const struct dv_output_node *object, const char *key);
const struct dv_output_node *dv_output_at(const struct dv_output_node *array, unsigned i);
const char *dv_output_text(const struct dv_output_node *node, const char *otherwise);
bool dv_output_is_true(const struct dv_output_node *node);
/* What it counts, if it is not negative and whole (SECONDS: ns; DECIMAL: no); else `otherwise`. */
uint64_t dv_output_count(const struct dv_output_node *node, uint64_t otherwise);
int64_t dv_output_signed(const struct dv_output_node *node, int64_t otherwise);
/* Seconds as nanoseconds, from SECONDS or from any number read elsewhere; digits beyond the ninth
 * are cut. */
uint64_t dv_output_ns(const struct dv_output_node *node, uint64_t otherwise);

#endif
