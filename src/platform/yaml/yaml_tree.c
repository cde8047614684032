/* SPDX-License-Identifier: Apache-2.0 */
#include "yaml/yaml_tree.h"

#include "base/str.h"
#include "base/units.h"

#include <errno.h>
#include <stdalign.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>
#include <yaml.h>

/* ---- memory: blocks that only grow, freed together ---- */

#define BLOCK_SIZE 16384u

struct dv_yaml_block {
    struct dv_yaml_block *next;
    size_t used, size;
    alignas(max_align_t) char data[];
};

static void *take(struct dv_yaml *y, size_t size)
{
    struct dv_yaml_block *b = y->blocks;
    size = (size + alignof(max_align_t) - 1) & ~(alignof(max_align_t) - 1);
    if (!b || b->size - b->used < size) {
        size_t room = DV_MAX(size, BLOCK_SIZE);
        b = malloc(sizeof *b + room);
        if (!b)
            return NULL;
        *b = (struct dv_yaml_block){.next = y->blocks, .size = room};
        y->blocks = b;
    }
    void *p = b->data + b->used;
    b->used += size;
    return p;
}

void dv_yaml_free(struct dv_yaml *yaml)
{
    if (!yaml)
        return;
    for (struct dv_yaml_block *b = yaml->blocks; b;) {
        struct dv_yaml_block *next = b->next;
        free(b);
        b = next;
    }
    free(yaml);
}

void dv_yaml_freep(struct dv_yaml **yaml)
{
    dv_yaml_free(*yaml);
    *yaml = NULL;
}

/* ---- messages ---- */

static void print_safely(char *text)
{
    for (; *text; text++)
        if (*text < ' ' || *text > '~')
            *text = '?';
}

static int complain(struct dv_err *err, int r, const char *name, uint32_t line, uint32_t column,
                    uint32_t inner, char *text)
{
    print_safely(text);
    if (inner)
        return dv_err_set(err, r, "%.120s:%u:%u: in line %u of this text: %s", name, line, column,
                          inner, text);
    return dv_err_set(err, r, "%.120s:%u:%u: %s", name, line, column, text);
}

int dv_yaml_bad(const struct dv_yaml *yaml, const struct dv_yaml_node *at, struct dv_err *err,
                const char *fmt, ...)
{
    char text[320];
    va_list ap;
    va_start(ap, fmt);
    vsnprintf(text, sizeof text, fmt, ap);
    va_end(ap);
    return complain(err, -EINVAL, yaml->name, at->line, at->column, at->inner, text);
}

const char *dv_yaml_seen(const struct dv_yaml_node *node, char buf[DV_YAML_SEEN])
{
    if (node->kind == DV_YAML_LIST)
        return "a list";
    if (node->kind == DV_YAML_MAP)
        return "a map";
    if (dv_yaml_is_null(node))
        return "nothing";
    snprintf(buf, DV_YAML_SEEN, strlen(node->text) > 40 ? "\"%.40s...\"" : "\"%s\"", node->text);
    return buf;
}

/* ---- from events to a tree ---- */

struct frame {
    struct dv_yaml_node *node;
    struct dv_yaml_node **items; /* on the heap while they grow */
    uint32_t n, cap;
};

struct builder {
    struct dv_yaml *yaml;
    struct dv_err *err;
    uint32_t line, column, inner; /* where the text begins in the file; inner: lines are lost */
    yaml_mark_t at;               /* of the event in hand */
    uint32_t nodes;
    struct frame stack[DV_YAML_DEPTH_MAX];
    uint32_t depth;
    struct {
        const char *name;
        struct dv_yaml_node *node;
    } anchors[DV_YAML_ANCHORS_MAX];
    uint32_t n_anchors;
};

static void locate(const struct builder *b, yaml_mark_t mark, struct dv_yaml_node *ret)
{
    uint32_t line = (uint32_t)mark.line, column = (uint32_t)mark.column;
    ret->line = b->inner ? b->line : b->line + line;
    ret->column = b->inner ? b->column : b->column + column;
    ret->inner = b->inner ? line + 1 : 0;
}

static int refuse(struct builder *b, int r, const char *fmt, ...) dv_printf(3, 4);

static int refuse(struct builder *b, int r, const char *fmt, ...)
{
    struct dv_yaml_node at;
    char text[320];
    va_list ap;
    va_start(ap, fmt);
    vsnprintf(text, sizeof text, fmt, ap);
    va_end(ap);
    locate(b, b->at, &at);
    return complain(b->err, r, b->yaml->name, at.line, at.column, at.inner, text);
}

static int count(struct builder *b, uint32_t weight)
{
    b->nodes += weight;
    if (b->nodes > DV_YAML_NODES_MAX)
        return refuse(b, -E2BIG,
                      "too much: at most %u values, and what an alias repeats counts each time",
                      DV_YAML_NODES_MAX);
    return 0;
}

static int check_key(struct builder *b, const struct frame *f, const struct dv_yaml_node *key)
{
    if (key->kind != DV_YAML_SCALAR)
        return refuse(b, -EINVAL, "a key must be a text");
    if (key->plain && !strcmp(key->text, "<<"))
        return refuse(b, -EINVAL, "merge keys (\"<<\") are not read; write the keys out");
    if (f->n / 2 >= DV_YAML_PAIRS_MAX)
        return refuse(b, -E2BIG, "too much: a map has at most %u keys", DV_YAML_PAIRS_MAX);
    for (uint32_t i = 0; i < f->n; i += 2)
        if (!strcmp(f->items[i]->text, key->text))
            return refuse(b, -EINVAL, "%.60s is given twice; the first is in line %u", key->text,
                          f->items[i]->inner ? f->items[i]->inner : f->items[i]->line);
    return 0;
}

/* Puts a node where it belongs: into the open collection, or to the roots. */
static int place(struct builder *b, struct dv_yaml_node *node)
{
    if (!b->depth) {
        if (b->yaml->n_roots == DV_YAML_ROOTS_MAX)
            return refuse(b, -E2BIG, "too much: at most %u documents", DV_YAML_ROOTS_MAX);
        b->yaml->roots[b->yaml->n_roots++] = node;
        return 0;
    }
    struct frame *f = &b->stack[b->depth - 1];
    if (f->node->kind == DV_YAML_MAP && f->n % 2 == 0) {
        int r = check_key(b, f, node);
        if (r < 0)
            return r;
    }
    if (f->n == f->cap) {
        uint32_t cap = f->cap ? 2 * f->cap : 8;
        void *items = realloc(f->items, cap * sizeof(struct dv_yaml_node *));
        if (!items)
            return -ENOMEM;
        f->items = items;
        f->cap = cap;
    }
    f->items[f->n++] = node;
    return 0;
}

static int remember(struct builder *b, const yaml_char_t *anchor, struct dv_yaml_node *node)
{
    if (!anchor)
        return 0;
    if (b->n_anchors == DV_YAML_ANCHORS_MAX)
        return refuse(b, -E2BIG, "too much: at most %u anchors", DV_YAML_ANCHORS_MAX);
    size_t len = strlen((const char *)anchor) + 1;
    char *name = take(b->yaml, len);
    if (!name)
        return -ENOMEM;
    memcpy(name, anchor, len);
    b->anchors[b->n_anchors].name = name;
    b->anchors[b->n_anchors++].node = node;
    return 0;
}

static int check_tag(struct builder *b, const yaml_char_t *tag, bool *ret_text)
{
    static const char *const known[] = {"!", "str", "int", "bool", "float", "null", "map", "seq"};
    static const char core[] = "tag:yaml.org,2002:";
    const char *text = (const char *)tag;
    *ret_text = false;
    if (!text)
        return 0;
    if (!strncmp(text, core, sizeof core - 1))
        text += sizeof core - 1;
    for (size_t i = 0; i < DV_ARRAY_SIZE(known); i++) {
        if (strcmp(text, known[i]) != 0)
            continue;
        *ret_text = i < 2;
        return 0;
    }
    return refuse(b, -EINVAL, "the tag %.60s is not known; leave it out", text);
}

static struct dv_yaml_node *new_node(struct builder *b, enum dv_yaml_kind kind)
{
    struct dv_yaml_node *node = take(b->yaml, sizeof *node);
    if (!node)
        return NULL;
    *node = (struct dv_yaml_node){.kind = kind, .weight = 1};
    locate(b, b->at, node);
    return node;
}

static int on_scalar(struct builder *b, const yaml_event_t *e)
{
    bool is_text = false;
    const char *value = (const char *)e->data.scalar.value;
    size_t len = e->data.scalar.length;
    int r = count(b, 1);
    r = r ? r : check_tag(b, e->data.scalar.tag, &is_text);
    if (r < 0)
        return r;
    if (memchr(value, 0, len))
        return refuse(b, -EINVAL, "a zero byte in a text");
    struct dv_yaml_node *node = new_node(b, DV_YAML_SCALAR);
    char *text = node ? take(b->yaml, len + 1) : NULL;
    if (!text)
        return -ENOMEM;
    memcpy(text, value, len);
    text[len] = 0;
    node->text = text;
    node->plain = e->data.scalar.style == YAML_PLAIN_SCALAR_STYLE && !is_text;
    node->literal = e->data.scalar.style == YAML_LITERAL_SCALAR_STYLE;
    r = remember(b, e->data.scalar.anchor, node);
    return r ? r : place(b, node);
}

static int on_start(struct builder *b, enum dv_yaml_kind kind, const yaml_char_t *anchor,
                    const yaml_char_t *tag)
{
    bool is_text = false;
    int r = count(b, 1);
    r = r ? r : check_tag(b, tag, &is_text);
    if (r < 0)
        return r;
    if (b->depth == DV_YAML_DEPTH_MAX)
        return refuse(b, -E2BIG, "too deep: at most %u levels", DV_YAML_DEPTH_MAX);
    struct dv_yaml_node *node = new_node(b, kind);
    if (!node)
        return -ENOMEM;
    node->weight = 0; /* still open */
    r = remember(b, anchor, node);
    r = r ? r : place(b, node);
    if (r < 0)
        return r;
    b->stack[b->depth++] = (struct frame){.node = node};
    return 0;
}

static int on_end(struct builder *b)
{
    if (!b->depth)
        return refuse(b, -EINVAL, "an end without a beginning");
    struct frame *f = &b->stack[b->depth - 1];
    struct dv_yaml_node *node = f->node;
    if (f->n) {
        node->items = take(b->yaml, f->n * sizeof(struct dv_yaml_node *));
        if (!node->items)
            return -ENOMEM;
        memcpy(node->items, f->items, f->n * sizeof(struct dv_yaml_node *));
    }
    node->n = node->kind == DV_YAML_MAP ? f->n / 2 : f->n;
    node->weight = 1;
    for (uint32_t i = 0; i < f->n; i++)
        node->weight += f->items[i]->weight;
    free(f->items);
    b->depth--;
    return 0;
}

static int on_alias(struct builder *b, const yaml_char_t *anchor)
{
    for (uint32_t i = b->n_anchors; i-- > 0;) {
        struct dv_yaml_node *node = b->anchors[i].node;
        if (strcmp(b->anchors[i].name, (const char *)anchor) != 0)
            continue;
        if (!node->weight)
            return refuse(b, -EINVAL, "*%.40s is inside itself", b->anchors[i].name);
        int r = count(b, node->weight);
        return r ? r : place(b, node);
    }
    return refuse(b, -EINVAL, "there is no &%.40s before this *%.40s", (const char *)anchor,
                  (const char *)anchor);
}

static int on_event(struct builder *b, const yaml_event_t *e)
{
    b->at = e->start_mark;
    switch (e->type) {
    case YAML_SCALAR_EVENT:
        /* An empty document: nothing at all, or comments only. */
        if (!b->depth && !e->data.scalar.length && e->data.scalar.plain_implicit)
            return 0;
        return on_scalar(b, e);
    case YAML_SEQUENCE_START_EVENT:
        return on_start(b, DV_YAML_LIST, e->data.sequence_start.anchor, e->data.sequence_start.tag);
    case YAML_MAPPING_START_EVENT:
        return on_start(b, DV_YAML_MAP, e->data.mapping_start.anchor, e->data.mapping_start.tag);
    case YAML_SEQUENCE_END_EVENT:
    case YAML_MAPPING_END_EVENT:
        return on_end(b);
    case YAML_ALIAS_EVENT:
        return on_alias(b, e->data.alias.anchor);
    case YAML_DOCUMENT_END_EVENT:
        b->n_anchors = 0;
        return 0;
    default:
        return 0;
    }
}

static int syntax_error(struct builder *b, const yaml_parser_t *p)
{
    if (p->error == YAML_MEMORY_ERROR)
        return -ENOMEM;
    b->at = p->problem_mark;
    if (p->error == YAML_READER_ERROR)
        return dv_err_set(b->err, -EINVAL, "%.120s: byte %zu: %s", b->yaml->name, p->problem_offset,
                          p->problem ? p->problem : "not a text");
    /* libyaml's own words for it ("cannot start any token") do not name the invisible culprit. */
    if (p->error == YAML_SCANNER_ERROR && p->buffer.pointer < p->buffer.last &&
        *p->buffer.pointer == '\t')
        return refuse(b, -EINVAL, "this is no YAML: a tab; lines are indented with blanks");
    return refuse(b, -EINVAL, "this is no YAML: %s%s%s", p->problem ? p->problem : "",
                  p->context ? ", " : "", p->context ? p->context : "");
}

static int build(struct builder *b)
{
    yaml_parser_t parser;
    bool end = false;
    int r = 0;
    if (!yaml_parser_initialize(&parser))
        return -ENOMEM;
    yaml_parser_set_input_string(&parser, (const unsigned char *)b->yaml->source, b->yaml->len);
    while (!r && !end) {
        yaml_event_t event;
        if (!yaml_parser_parse(&parser, &event)) {
            r = syntax_error(b, &parser);
            break;
        }
        end = event.type == YAML_STREAM_END_EVENT;
        r = on_event(b, &event);
        yaml_event_delete(&event);
    }
    yaml_parser_delete(&parser);
    while (b->depth)
        free(b->stack[--b->depth].items);
    return r;
}

static int parse(struct builder *b, const char *name, const char *text, size_t len,
                 struct dv_yaml **ret, struct dv_err *err)
{
    if (len > DV_YAML_SIZE_MAX)
        return dv_err_set(err, -E2BIG, "%.120s: %zu bytes; at most %u are read", name, len,
                          DV_YAML_SIZE_MAX);
    struct dv_yaml *y = calloc(1, sizeof *y);
    if (!y)
        return -ENOMEM;
    y->name = name;
    y->source = text;
    y->len = len;
    b->yaml = y;
    b->err = err;
    int r = build(b);
    if (r < 0) {
        dv_yaml_free(y);
        return r;
    }
    *ret = y;
    return 0;
}

int dv_yaml_parse(const char *name, const char *text, size_t len, struct dv_yaml **ret,
                  struct dv_err *err)
{
    struct builder b = {.line = 1, .column = 1};
    return parse(&b, name, text, len, ret, err);
}

/* ---- a text inside a file ---- */

static const char *line_start(const struct dv_yaml *y, uint32_t line)
{
    const char *p = y->source, *end = y->source + y->len;
    for (uint32_t i = 1; p && i < line; i++) {
        p = memchr(p, '\n', (size_t)(end - p));
        p = p ? p + 1 : NULL;
    }
    return p;
}

/* By how much a block scalar's lines are indented: its first line with something in it, in the file
 * and in the value. */
static uint32_t indent_of(const struct dv_yaml *y, const struct dv_yaml_node *scalar)
{
    size_t blank = 0;
    while (scalar->text[blank] == '\n')
        blank++;
    const char *value = scalar->text + blank;
    const char *end = y->source + y->len;
    const char *p = line_start(y, scalar->line + 1 + (uint32_t)blank);
    const char *q = p;
    while (q && q < end && *q == ' ')
        q++;
    size_t raw = p ? (size_t)(q - p) : 0, own = strspn(value, " ");
    return raw > own ? (uint32_t)(raw - own) : 0;
}

int dv_yaml_parse_inner(const struct dv_yaml *outer, const struct dv_yaml_node *scalar,
                        struct dv_yaml **ret, struct dv_err *err)
{
    struct builder b = {.line = scalar->line, .column = scalar->column, .inner = 1};
    if (scalar->literal && !outer->outer) {
        b.line = scalar->line + 1;
        b.column = 1 + indent_of(outer, scalar);
        b.inner = 0;
    }
    int r = parse(&b, outer->name, scalar->text, strlen(scalar->text), ret, err);
    if (!r)
        (*ret)->outer = outer;
    return r;
}

/* ---- values ---- */

bool dv_yaml_is_null(const struct dv_yaml_node *node)
{
    static const char *const nulls[] = {"", "~", "null", "Null", "NULL"};
    if (node->kind != DV_YAML_SCALAR || !node->plain)
        return false;
    for (size_t i = 0; i < DV_ARRAY_SIZE(nulls); i++)
        if (!strcmp(node->text, nulls[i]))
            return true;
    return false;
}

bool dv_yaml_is(const struct dv_yaml_node *node, const char *text)
{
    return node && node->kind == DV_YAML_SCALAR && !strcmp(node->text, text);
}

const struct dv_yaml_node *dv_yaml_get(const struct dv_yaml_node *map, const char *key)
{
    for (uint32_t i = 0; map->kind == DV_YAML_MAP && i < map->n; i++)
        if (!strcmp(map->items[2 * i]->text, key))
            return map->items[2 * i + 1];
    return NULL;
}

static int unknown_key(const struct dv_yaml *yaml, const struct dv_yaml_node *key,
                       const struct dv_yaml_map *map, struct dv_err *err)
{
    const char *hint = map->hint ? map->hint(key->text) : NULL;
    const char *near = dv_str_nearest(key->text, map->names, map->n);
    if (hint)
        return dv_yaml_bad(yaml, key, err, "unknown key \"%.60s\" in %s: %s", key->text, map->what,
                           hint);
    if (near)
        return dv_yaml_bad(yaml, key, err, "unknown key \"%.60s\" in %s; did you mean \"%s\"?",
                           key->text, map->what, near);
    char known[200];
    size_t used = 0;
    known[0] = 0;
    for (size_t i = 0; i < map->n && used < sizeof known; i++)
        used += (size_t)snprintf(known + used, sizeof known - used, "%s%s", i ? ", " : "",
                                 map->names[i]);
    return dv_yaml_bad(yaml, key, err, "unknown key \"%.60s\" in %s; it has %s", key->text,
                       map->what, known);
}

int dv_yaml_map_read(const struct dv_yaml *yaml, const struct dv_yaml_node *node,
                     const struct dv_yaml_map *map, const struct dv_yaml_node **ret,
                     struct dv_err *err)
{
    char seen[DV_YAML_SEEN];
    for (size_t i = 0; i < map->n; i++)
        ret[i] = NULL;
    if (node->kind != DV_YAML_MAP)
        return dv_yaml_bad(yaml, node, err, "%s: %s, where \"key: value\" lines are wanted",
                           map->what, dv_yaml_seen(node, seen));
    for (uint32_t i = 0; i < node->n; i++) {
        const struct dv_yaml_node *key = node->items[2 * i], *value = node->items[2 * i + 1];
        size_t k = 0;
        while (k < map->n && strcmp(map->names[k], key->text) != 0)
            k++;
        if (k == map->n)
            return unknown_key(yaml, key, map, err);
        if (!dv_yaml_is_null(value))
            ret[k] = value;
        else if (!map->nulls)
            return dv_yaml_bad(yaml, key, err, "%s: it has no value; give one or leave the key out",
                               key->text);
    }
    return 0;
}

int dv_yaml_text(const struct dv_yaml *yaml, const struct dv_yaml_node *node, const char *key,
                 const char **ret, struct dv_err *err)
{
    char seen[DV_YAML_SEEN];
    if (node->kind != DV_YAML_SCALAR || dv_yaml_is_null(node))
        return dv_yaml_bad(yaml, node, err, "%s: %s, where a text is wanted", key,
                           dv_yaml_seen(node, seen));
    *ret = node->text;
    return 0;
}

int dv_yaml_integer(const struct dv_yaml *yaml, const struct dv_yaml_node *node, const char *key,
                    uint32_t min, uint32_t max, uint32_t *ret, struct dv_err *err)
{
    char seen[DV_YAML_SEEN];
    int64_t n = 0;
    if (node->kind != DV_YAML_SCALAR || dv_yaml_is_null(node))
        return dv_yaml_bad(yaml, node, err, "%s: %s, where a number is wanted", key,
                           dv_yaml_seen(node, seen));
    if (!node->plain)
        return dv_yaml_bad(yaml, node, err, "%s: %s is a text; a number has no quotes", key,
                           dv_yaml_seen(node, seen));
    if (dv_units_parse_integer(node->text, key, min, max, &n, NULL) < 0)
        return dv_yaml_bad(yaml, node, err, "%s: %s, where a number from %u to %u is wanted", key,
                           dv_yaml_seen(node, seen), min, max);
    *ret = (uint32_t)n;
    return 0;
}

int dv_yaml_bool(const struct dv_yaml *yaml, const struct dv_yaml_node *node, const char *key,
                 bool *ret, struct dv_err *err)
{
    static const char *const words[][2] = {
        {"false", "true"}, {"no", "yes"}, {"off", "on"}, {"n", "y"}};
    char seen[DV_YAML_SEEN];
    for (size_t i = 0; node->kind == DV_YAML_SCALAR && node->plain && i < 2 * 4; i++) {
        if (strcasecmp(node->text, words[i / 2][i % 2]) != 0)
            continue;
        *ret = i % 2;
        return 0;
    }
    return dv_yaml_bad(yaml, node, err, "%s: %s, where true or false is wanted", key,
                       dv_yaml_seen(node, seen));
}

int dv_yaml_list(const struct dv_yaml *yaml, const struct dv_yaml_node *node, const char *key,
                 uint32_t max, struct dv_err *err)
{
    char seen[DV_YAML_SEEN];
    if (node->kind != DV_YAML_LIST)
        return dv_yaml_bad(yaml, node, err, "%s: %s, where a list is wanted", key,
                           dv_yaml_seen(node, seen));
    if (node->n > max)
        return dv_yaml_bad(yaml, node, err, "%s: %u items, at most %u", key, node->n, max);
    return 0;
}

int dv_yaml_list_needed(const struct dv_yaml *yaml, const struct dv_yaml_node *map,
                        const struct dv_yaml_node *node, const char *key, uint32_t max,
                        struct dv_err *err)
{
    if (!node)
        return dv_yaml_bad(yaml, map, err, "%s is missing: a list", key);
    int r = dv_yaml_list(yaml, node, key, max, err);
    return r || node->n ? r : dv_yaml_bad(yaml, node, err, "%s: an empty list", key);
}
