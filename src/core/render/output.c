/* SPDX-License-Identifier: Apache-2.0 */
#include "render/output.h"

#include "base/arena.h"

#include <stdlib.h>
#include <string.h>

#define SCALE_MAX 9
#define KEYS 128u       /* remembered for the next one of the same name; a power of 2 */
#define KEY_PROBES 4u   /* places where one may be remembered */
#define KEY_MAX_LEN 63u /* longer ones are not worth it */

/* An array whose elements are made one at a time. */
struct rows {
    struct dv_output_node list; /* first: a node that is `made` is one of these */
    struct rows *self;          /* to get here from a tree that is only read */
    dv_output_add_row *add;
    void *arg;
    size_t n, at;          /* at: the next one */
    struct dv_arena nodes; /* of the element that is there */
    struct rows *next;
};

struct dv_output {
    struct dv_output_node root; /* first: the tree of a node is found by its outermost parent */
    bool failed;
    struct dv_arena nodes; /* all but the root and what rows hold, with their texts */
    struct dv_arena names; /* of keys */
    struct rows *rows;
    const char *keys[KEYS];
};

struct dv_output *dv_output_new(const char *kind)
{
    struct dv_output *o = calloc(1, sizeof *o);
    if (!o)
        return NULL;
    o->root.type = DV_OUTPUT_OBJECT;
    if (kind) {
        dv_output_string(&o->root, "apiVersion", DV_OUTPUT_API_VERSION);
        dv_output_string(&o->root, "kind", kind);
    }
    return o;
}

void dv_output_free(struct dv_output **o)
{
    if (!o || !*o)
        return;
    for (struct rows *r = (*o)->rows; r; r = r->next)
        dv_arena_done(&r->nodes);
    dv_arena_done(&(*o)->nodes);
    dv_arena_done(&(*o)->names);
    free(*o);
    *o = NULL;
}

struct dv_output_node *dv_output_root(struct dv_output *o)
{
    return o ? &o->root : NULL;
}

bool dv_output_failed(const struct dv_output *o)
{
    return !o || o->failed;
}

const struct dv_output_node *dv_output_top(const struct dv_output_node *node)
{
    while (node && node->parent)
        node = node->parent;
    return node;
}

static struct dv_output *tree_of(struct dv_output_node *node)
{
    while (node->parent)
        node = node->parent;
    return (struct dv_output *)node;
}

/* Where what is added to the node lies, for as long as the node does. */
static struct dv_arena *arena_of(struct dv_output_node *node)
{
    while (node->parent && !node->made)
        node = node->parent;
    return node->made ? &((struct rows *)node)->nodes : &((struct dv_output *)node)->nodes;
}

void *dv_output_alloc(struct dv_output *o, size_t size)
{
    void *p = o ? dv_arena_alloc(&o->nodes, size) : NULL;
    if (o && !p)
        o->failed = true;
    return p;
}

static bool may_hold(const struct dv_output_node *parent, const char *key)
{
    if (parent->depth + 1 > DV_OUTPUT_DEPTH_MAX)
        return false;
    return parent->type == DV_OUTPUT_OBJECT ? key != NULL
                                            : parent->type == DV_OUTPUT_ARRAY && key == NULL;
}

/* The keys of a list's rows are the same in each: one copy serves them all. A tree of ever new keys
 * remembers the first ones, and the others lie beside their values. */
static const char *copy_key(struct dv_output *o, struct dv_arena *beside, const char *key)
{
    uint32_t hash = 0;
    size_t len = 0;
    for (; key[len] && len <= KEY_MAX_LEN; len++)
        hash = (hash ^ (unsigned char)key[len]) * 16777619u;
    hash ^= hash >> 15;
    for (uint32_t i = 0; i < KEY_PROBES && len <= KEY_MAX_LEN; i++) {
        const char **place = &o->keys[(hash + i) % KEYS];
        if (!*place)
            *place = dv_arena_text(&o->names, key);
        if (!*place || !strcmp(*place, key))
            return *place;
    }
    return dv_arena_text(beside, key);
}

/* size: of the node, or of what it is the first member of. */
static struct dv_output_node *add_sized(struct dv_output_node *parent, const char *key,
                                        enum dv_output_type type, const char *text, size_t size)
{
    if (!parent)
        return NULL;
    struct dv_output *o = tree_of(parent);
    struct dv_arena *arena = arena_of(parent);
    struct dv_output_node *node = may_hold(parent, key) ? dv_arena_alloc(arena, size) : NULL;
    if (!node)
        goto lost;
    node->key = key ? copy_key(o, arena, key) : NULL;
    node->text = text ? dv_arena_text(arena, text) : NULL;
    if ((key && !node->key) || (text && !node->text))
        goto lost;
    node->type = type;
    node->depth = (uint8_t)(parent->depth + 1);
    node->parent = parent;
    if (parent->last)
        parent->last->next = node;
    else
        parent->first = node;
    parent->last = node;
    parent->children++;
    return node;
lost:
    o->failed = true;
    return NULL;
}

static struct dv_output_node *add(struct dv_output_node *parent, const char *key,
                                  enum dv_output_type type, const char *text)
{
    return add_sized(parent, key, type, text, sizeof *parent);
}

struct dv_output_node *dv_output_object(struct dv_output_node *parent, const char *key)
{
    return add(parent, key, DV_OUTPUT_OBJECT, NULL);
}

struct dv_output_node *dv_output_array(struct dv_output_node *parent, const char *key)
{
    return add(parent, key, DV_OUTPUT_ARRAY, NULL);
}

void dv_output_null(struct dv_output_node *parent, const char *key)
{
    add(parent, key, DV_OUTPUT_NULL, NULL);
}

void dv_output_bool(struct dv_output_node *parent, const char *key, bool v)
{
    struct dv_output_node *node = add(parent, key, DV_OUTPUT_BOOL, NULL);
    if (node)
        node->boolean = v;
}

void dv_output_int(struct dv_output_node *parent, const char *key, int64_t v)
{
    struct dv_output_node *node = add(parent, key, DV_OUTPUT_INT, NULL);
    if (node)
        node->i = v;
}

static void add_unsigned(struct dv_output_node *parent, const char *key, enum dv_output_type type,
                         uint64_t v)
{
    struct dv_output_node *node = add(parent, key, type, NULL);
    if (node)
        node->u = v;
}

void dv_output_uint(struct dv_output_node *parent, const char *key, uint64_t v)
{
    add_unsigned(parent, key, DV_OUTPUT_UINT, v);
}

void dv_output_decimal(struct dv_output_node *parent, const char *key, int64_t mantissa,
                       unsigned scale)
{
    if (scale > SCALE_MAX && parent) {
        tree_of(parent)->failed = true;
        return;
    }
    struct dv_output_node *node = add(parent, key, DV_OUTPUT_DECIMAL, NULL);
    if (!node)
        return;
    node->i = mantissa;
    node->scale = (uint8_t)scale;
}

void dv_output_string(struct dv_output_node *parent, const char *key, const char *v)
{
    add(parent, key, v ? DV_OUTPUT_STRING : DV_OUTPUT_NULL, v);
}

void dv_output_seconds(struct dv_output_node *parent, const char *key, uint64_t ns)
{
    add_unsigned(parent, key, DV_OUTPUT_SECONDS, ns);
}

void dv_output_bytes(struct dv_output_node *parent, const char *key, uint64_t bytes)
{
    add_unsigned(parent, key, DV_OUTPUT_BYTES, bytes);
}

void dv_output_compute(struct dv_output_node *parent, const char *key, uint32_t compute)
{
    add_unsigned(parent, key, DV_OUTPUT_COMPUTE, compute);
}

/* ---- numbers as text ------------------------------------------------------------------------ */

static bool is_digit(char c)
{
    return c >= '0' && c <= '9';
}

static const char *skip_digits(const char *p)
{
    while (is_digit(*p))
        p++;
    return p;
}

/* RFC 8259, section 6. */
static bool is_json_number(const char *p)
{
    if (*p == '-')
        p++;
    const char *digits = p;
    p = skip_digits(p);
    if (p == digits || (digits[0] == '0' && p - digits > 1))
        return false;
    if (*p == '.') {
        const char *fraction = ++p;
        p = skip_digits(p);
        if (p == fraction)
            return false;
    }
    if (*p == 'e' || *p == 'E') {
        p++;
        if (*p == '+' || *p == '-')
            p++;
        const char *exponent = p;
        p = skip_digits(p);
        if (p == exponent)
            return false;
    }
    return !*p;
}

/* The digits before and after the point as one unsigned number; false when they do not fit or
 * there is an exponent. */
static bool read_digits(const char *p, uint64_t *ret, unsigned *ret_scale)
{
    uint64_t v = 0;
    unsigned scale = 0;
    bool after_point = false;
    for (; *p; p++) {
        if (*p == '.') {
            after_point = true;
            continue;
        }
        if (!is_digit(*p) || __builtin_mul_overflow(v, 10, &v) ||
            __builtin_add_overflow(v, (uint64_t)(*p - '0'), &v) ||
            (after_point && ++scale > SCALE_MAX))
            return false;
    }
    *ret = v;
    *ret_scale = scale;
    return true;
}

void dv_output_number(struct dv_output_node *parent, const char *key, const char *text)
{
    if (!is_json_number(text)) {
        if (parent)
            tree_of(parent)->failed = true;
        return;
    }
    bool negative = text[0] == '-';
    uint64_t v = 0;
    unsigned scale = 0;
    bool fits = read_digits(text + negative, &v, &scale);
    bool is_signed = v <= INT64_MAX && !(negative && !v); /* "-0" stays as written */
    if (fits && !negative && !scale)
        dv_output_uint(parent, key, v);
    else if (fits && is_signed && !scale)
        dv_output_int(parent, key, negative ? -(int64_t)v : (int64_t)v);
    else if (fits && is_signed)
        dv_output_decimal(parent, key, negative ? -(int64_t)v : (int64_t)v, scale);
    else
        add(parent, key, DV_OUTPUT_LITERAL, text);
}

/* ---- rows that are made one at a time ------------------------------------------------------- */

struct dv_output_node *dv_output_rows(struct dv_output_node *parent, const char *key,
                                      dv_output_add_row *add_row, void *arg, size_t n)
{
    if (!parent)
        return NULL;
    struct dv_output *o = tree_of(parent);
    struct dv_output_node *list = NULL;
    if (arena_of(parent) == &o->nodes)
        list = add_sized(parent, key, DV_OUTPUT_ARRAY, NULL, sizeof(struct rows));
    if (!list) {
        o->failed = true;
        return NULL;
    }
    list->made = true;
    struct rows *r = (struct rows *)list;
    r->self = r;
    r->add = add_row;
    r->arg = arg;
    r->n = n;
    r->next = o->rows;
    o->rows = r;
    return list;
}

/* The next element in place of the one that is there. */
static const struct dv_output_node *make_row(struct rows *r)
{
    dv_arena_clear(&r->nodes);
    r->list.first = r->list.last = NULL;
    r->list.children = 0;
    const struct dv_output *o = tree_of(&r->list);
    if (r->at == r->n || o->failed)
        return NULL;
    r->add(&r->list, r->at++, r->arg);
    return o->failed ? NULL : r->list.first;
}

const struct dv_output_node *dv_output_first(const struct dv_output_node *parent)
{
    if (!parent || parent->type < DV_OUTPUT_ARRAY)
        return NULL;
    if (!parent->made)
        return parent->first;
    struct rows *r = ((const struct rows *)parent)->self;
    r->at = 0;
    return make_row(r);
}

const struct dv_output_node *dv_output_next(const struct dv_output_node *child)
{
    struct dv_output_node *parent = child->parent;
    return parent && parent->made ? make_row((struct rows *)parent) : child->next;
}

bool dv_output_stays(const struct dv_output_node *node)
{
    for (; node; node = node->parent)
        if (node->parent && node->parent->made)
            return false;
    return true;
}

/* ---- reading -------------------------------------------------------------------------------- */

const struct dv_output_node *dv_output_get(const struct dv_output_node *object, const char *key)
{
    if (!object || object->type != DV_OUTPUT_OBJECT)
        return NULL;
    for (const struct dv_output_node *n = object->first; n; n = n->next)
        if (!strcmp(n->key, key))
            return n;
    return NULL;
}

const struct dv_output_node *dv_output_at(const struct dv_output_node *array, unsigned i)
{
    if (!array || array->type != DV_OUTPUT_ARRAY)
        return NULL;
    const struct dv_output_node *n = array->first;
    while (n && i--)
        n = n->next;
    return n;
}

const char *dv_output_text(const struct dv_output_node *node, const char *otherwise)
{
    return node && node->type == DV_OUTPUT_STRING ? node->text : otherwise;
}

bool dv_output_is_true(const struct dv_output_node *node)
{
    return node && node->type == DV_OUTPUT_BOOL && node->boolean;
}

uint64_t dv_output_count(const struct dv_output_node *node, uint64_t otherwise)
{
    if (!node)
        return otherwise;
    switch (node->type) {
    case DV_OUTPUT_INT:
        return node->i >= 0 ? (uint64_t)node->i : otherwise;
    case DV_OUTPUT_UINT:
    case DV_OUTPUT_SECONDS:
    case DV_OUTPUT_BYTES:
    case DV_OUTPUT_COMPUTE:
        return node->u;
    default:
        return otherwise;
    }
}

int64_t dv_output_signed(const struct dv_output_node *node, int64_t otherwise)
{
    if (node && node->type == DV_OUTPUT_INT)
        return node->i;
    uint64_t v = dv_output_count(node, UINT64_MAX);
    return v <= INT64_MAX ? (int64_t)v : otherwise;
}

uint64_t dv_output_ns(const struct dv_output_node *node, uint64_t otherwise)
{
    if (!node)
        return otherwise;
    if (node->type == DV_OUTPUT_SECONDS)
        return node->u;
    uint64_t v = 0;
    unsigned scale = 0;
    if (node->type == DV_OUTPUT_DECIMAL && node->i >= 0) {
        v = (uint64_t)node->i;
        scale = node->scale;
    } else {
        v = dv_output_count(node, UINT64_MAX);
        if (v == UINT64_MAX)
            return otherwise;
    }
    for (; scale < SCALE_MAX; scale++)
        if (__builtin_mul_overflow(v, 10, &v))
            return otherwise;
    return v;
}
