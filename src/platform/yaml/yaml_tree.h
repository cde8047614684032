/* SPDX-License-Identifier: Apache-2.0 */
/*
 * YAML (and so JSON) as a tree: libyaml reads, and its types stop here. Every node knows its line
 * and column, and every complaint about one begins with "FILE:LINE:COL: ".
 *
 *     static const char *const names[] = {"name", "count"};
 *     const struct dv_yaml_map thing = {.what = "a thing", .names = names, .n = 2};
 *     const struct dv_yaml_node *got[2];
 *
 *     dv_cleanup(dv_yaml_freep) struct dv_yaml *y = NULL;
 *     r = dv_yaml_parse("thing.yaml", text, len, &y, &err);
 *     r = r ? r : dv_yaml_map_read(y, y->roots[0], &thing, got, &err);
 *     r = r ? r : dv_yaml_integer(y, got[1], "count", 1, 9, &count, &err);
 *
 * Bounded: size, depth, nodes (what an alias repeats counts each time), keys of a map, documents.
 * Refused: keys given twice, keys that are not texts, merge keys ("<<"), application tags, zero
 * bytes, anchors inside themselves.
 *
 * Source: YAML 1.2.2, chapters 5 to 8; which plain scalars are booleans or null is taken from YAML
 * 1.1's type repository (bool, null), because the files that are read here come from a world that
 * still follows it.
 */
#ifndef DV_YAML_YAML_TREE_H
#define DV_YAML_YAML_TREE_H

#include "base/err.h"

#include <stdbool.h>

#define DV_YAML_SIZE_MAX 1048576u
#define DV_YAML_DEPTH_MAX 32u
#define DV_YAML_NODES_MAX 65536u
#define DV_YAML_PAIRS_MAX 4096u
#define DV_YAML_ANCHORS_MAX 64u
#define DV_YAML_ROOTS_MAX 64u
#define DV_YAML_SEEN 64 /* what dv_yaml_seen() writes */

enum dv_yaml_kind {
    DV_YAML_SCALAR,
    DV_YAML_LIST,
    DV_YAML_MAP,
};

struct dv_yaml_node {
    enum dv_yaml_kind kind;
    bool plain;            /* a scalar without quotes: may be a number, a boolean, null */
    bool literal;          /* a block scalar ("|"), whose lines are the file's */
    uint32_t line, column; /* in the file, from 1 */
    uint32_t inner;        /* line in a text within the file whose lines are not the file's; or 0 */
    const char *text;      /* of a scalar: no zero byte inside, one behind */
    uint32_t n;            /* items of a list, pairs of a map */
    struct dv_yaml_node **items; /* n of a list; 2n of a map: key, value, key, value... */
    uint32_t weight;             /* nodes from here down, this one included */
};

struct dv_yaml {
    const char *name;            /* of the file, for messages */
    const struct dv_yaml *outer; /* the file that this text is inside of, or NULL */
    const char *source;          /* the text, a loan */
    size_t len;
    struct dv_yaml_node *roots[DV_YAML_ROOTS_MAX]; /* of the documents that are not empty */
    uint32_t n_roots;                              /* 0: an empty file */
    struct dv_yaml_block *blocks;                  /* what the nodes live in */
};

/* The text is lent until the tree is freed. 0; -EINVAL, -E2BIG with a message; -ENOMEM. */
int dv_yaml_parse(const char *name, const char *text, size_t len, struct dv_yaml **ret,
                  struct dv_err *err);
/* A scalar of a tree, read as a file of its own; positions are those of the file around it as far
 * as they can be known. The outer tree must outlive the result. Errors as above. */
int dv_yaml_parse_inner(const struct dv_yaml *outer, const struct dv_yaml_node *scalar,
                        struct dv_yaml **ret, struct dv_err *err);
void dv_yaml_free(struct dv_yaml *yaml);
void dv_yaml_freep(struct dv_yaml **yaml);

/* Writes "FILE:LINE:COL: " and the message, in which bytes that do not print become '?'. Returns
 * -EINVAL. */
int dv_yaml_bad(const struct dv_yaml *yaml, const struct dv_yaml_node *at, struct dv_err *err,
                const char *fmt, ...) dv_printf(4, 5);
/* What is there, in words: "a list", "nothing", "\"abc\"". Returns buf. */
const char *dv_yaml_seen(const struct dv_yaml_node *node, char buf[DV_YAML_SEEN]);

/* A map with known keys. */
struct dv_yaml_map {
    const char *what;         /* "a MIG device", for messages */
    const char *const *names; /* the keys that there are */
    size_t n;
    bool nulls; /* a key without a value counts as left out; otherwise it is an error */
    /* What to say of a key that is not known ("it belongs under flags"), or NULL. */
    const char *(*hint)(const char *key);
};

/* ret[i] becomes the value of names[i], or NULL. -EINVAL: not a map, an unknown key (with the
 * nearest known one). */
int dv_yaml_map_read(const struct dv_yaml *yaml, const struct dv_yaml_node *node,
                     const struct dv_yaml_map *map, const struct dv_yaml_node **ret,
                     struct dv_err *err);
/* The value of a key, or NULL. */
const struct dv_yaml_node *dv_yaml_get(const struct dv_yaml_node *map, const char *key);

bool dv_yaml_is_null(const struct dv_yaml_node *node);
/* A scalar that says the text, quoted or not. */
bool dv_yaml_is(const struct dv_yaml_node *node, const char *text);

/* Typed values; `key` names them in the message. 0 or -EINVAL. */
int dv_yaml_text(const struct dv_yaml *yaml, const struct dv_yaml_node *node, const char *key,
                 const char **ret, struct dv_err *err);
int dv_yaml_integer(const struct dv_yaml *yaml, const struct dv_yaml_node *node, const char *key,
                    uint32_t min, uint32_t max, uint32_t *ret, struct dv_err *err);
int dv_yaml_bool(const struct dv_yaml *yaml, const struct dv_yaml_node *node, const char *key,
                 bool *ret, struct dv_err *err);
/* Is it a list, of at most `max` items? */
int dv_yaml_list(const struct dv_yaml *yaml, const struct dv_yaml_node *node, const char *key,
                 uint32_t max, struct dv_err *err);
/* Likewise, and is it there (NULL: `map` lacks the key) and not empty? */
int dv_yaml_list_needed(const struct dv_yaml *yaml, const struct dv_yaml_node *map,
                        const struct dv_yaml_node *node, const char *key, uint32_t max,
                        struct dv_err *err);

#endif
