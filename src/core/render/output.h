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
 *
 * A value costs 48 bytes and its text; keys that repeat themselves cost nothing. A list as long as
 * there is work need not be held at all: dv_output_rows().
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
    enum dv_output_type type : 8;
    unsigned depth : 8;
    unsigned scale : 8; /* DECIMAL: digits after the point, 0..9 */
    bool made : 1;      /* ARRAY: of dv_output_rows() */
    unsigned children;  /* ARRAY, OBJECT: how many */
    struct dv_output_node *parent, *next, *first;
    const char *key; /* NULL in an array */
    union {
        struct dv_output_node *last; /* ARRAY, OBJECT */
        const char *text;            /* STRING, LITERAL */
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

/* An array of n elements that are made when they are printed, one at a time, and forgotten when the
 * next one is: what it costs does not grow with it. add() adds exactly one element to `list`,
 * number i; it is called in order, and anew for each walk. arg is borrowed for as long as the tree
 * lives. An element cannot hold such an array itself. To those who read the tree (dv_output_at,
 * `first`) the array is empty; renderers see it whole, as does who walks by dv_output_first() and
 * dv_output_next(). */
typedef void dv_output_add_row(struct dv_output_node *list, size_t i, void *arg);
struct dv_output_node *dv_output_rows(struct dv_output_node *parent, const char *key,
                                      dv_output_add_row *add, void *arg, size_t n);
/* Zeroed memory that lives as long as the tree, for such an arg; NULL: no memory, which the tree
 * remembers. */
void *dv_output_alloc(struct dv_output *o, size_t size);

/* Reading. All take NULL and answer NULL, the default or 0 for what is not there. */
/* What an array or object holds, one after the other. An element of dv_output_rows(), and all that
 * it holds, is gone when the next one is asked for; the walk ends early when memory is out. */
const struct dv_output_node *dv_output_first(const struct dv_output_node *parent);
const struct dv_output_node *dv_output_next(const struct dv_output_node *child);
/* False for what will be gone in the walk's next step. */
bool dv_output_stays(const struct dv_output_node *node);
/* The root of the tree that it belongs to. */
const struct dv_output_node *dv_output_top(const struct dv_output_node *node);
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
