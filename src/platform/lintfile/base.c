/* SPDX-License-Identifier: Apache-2.0 */
/* Nodes of a tree, places in the file, findings about them. */
#include "internal.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* ---- nodes ---------------------------------------------------------------------------------- */

const struct dv_yaml_node *dv_lintfile_get(const struct dv_yaml_node *map, const char *key)
{
    return map && map->kind == DV_YAML_MAP ? dv_yaml_get(map, key) : NULL;
}

const struct dv_yaml_node *dv_lintfile_find(const struct dv_yaml_node *map, const char *path)
{
    char key[64];
    for (const char *p = path; map;) {
        size_t n = strcspn(p, "/");
        snprintf(key, sizeof key, "%.*s", (int)DV_MIN(n, sizeof key - 1), p);
        map = dv_lintfile_get(map, key);
        p += n;
        if (!*p++)
            break;
    }
    return map;
}

const struct dv_yaml_node *dv_lintfile_map(const struct dv_yaml_node *map, const char *key)
{
    const struct dv_yaml_node *n = dv_lintfile_get(map, key);
    return n && n->kind == DV_YAML_MAP ? n : NULL;
}

const struct dv_yaml_node *dv_lintfile_list(const struct dv_yaml_node *map, const char *key)
{
    const struct dv_yaml_node *n = dv_lintfile_get(map, key);
    return n && n->kind == DV_YAML_LIST ? n : NULL;
}

const struct dv_yaml_node *dv_lintfile_key(const struct dv_yaml_node *map, const char *key)
{
    for (uint32_t i = 0; map && map->kind == DV_YAML_MAP && i < map->n; i++)
        if (!strcmp(map->items[2 * i]->text, key))
            return map->items[2 * i];
    return NULL;
}

const char *dv_lintfile_scalar(const struct dv_yaml_node *node)
{
    return node && node->kind == DV_YAML_SCALAR ? node->text : "";
}

const char *dv_lintfile_text(const struct dv_yaml_node *map, const char *key)
{
    return dv_lintfile_scalar(dv_lintfile_get(map, key));
}

void dv_lintfile_each_map(struct dv_lintfile *l, const struct dv_yaml_node *node,
                          void (*fn)(struct dv_lintfile *l, const struct dv_yaml_node *map))
{
    uint32_t n = node->kind == DV_YAML_MAP ? 2 * node->n : node->n;
    if (node->kind == DV_YAML_SCALAR)
        return;
    if (node->kind == DV_YAML_MAP)
        fn(l, node);
    for (uint32_t i = 0; i < n; i++)
        dv_lintfile_each_map(l, node->items[i], fn);
}

/* ---- places --------------------------------------------------------------------------------- */

struct dv_lint_at dv_lintfile_at(const struct dv_lintfile *l, const struct dv_yaml_node *node)
{
    struct dv_lint_at at = l->at;
    if (at.pinned)
        return at;
    at.column = node->line == 1 ? at.column + node->column - 1 : at.indent + node->column;
    at.line += node->line - 1;
    return at;
}

/* Line `line` of the document, from 1; NULL past its end. */
static const char *line_of(const struct dv_yaml *y, uint32_t line)
{
    const char *p = y->source, *end = y->source + y->len;
    for (uint32_t i = 1; p && i < line; i++) {
        p = memchr(p, '\n', (size_t)(end - p));
        p = p ? p + 1 : NULL;
    }
    return p && p < end ? p : NULL;
}

/* What stands where the node begins; 0 for nothing. */
static char first_sign(const struct dv_yaml *y, const struct dv_yaml_node *node)
{
    const char *p = line_of(y, node->line), *end = y->source + y->len;
    for (uint32_t i = 1; p && i < node->column; i++) {
        if (p >= end || *p == '\n')
            return 0;
        do
            p++;
        while (p < end && ((unsigned char)*p & 0xc0) == 0x80);
    }
    return p && p < end ? *p : 0;
}

static bool is_quoted(const struct dv_yaml *y, const struct dv_yaml_node *node)
{
    char c = first_sign(y, node);
    return !node->plain && (c == '"' || c == '\'');
}

/* By how much a block scalar's lines are indented in the document; false where that is not seen. */
static bool indent_of(const struct dv_yaml *y, const struct dv_yaml_node *node, uint32_t *ret)
{
    size_t blank = strspn(node->text, "\n");
    const char *value = node->text + blank, *end = y->source + y->len;
    const char *p = line_of(y, node->line + 1 + (uint32_t)blank);
    size_t raw = 0, own = strspn(value, " ");
    while (p && p + raw < end && p[raw] == ' ')
        raw++;
    *ret = raw > own ? (uint32_t)(raw - own) : 0;
    return p && raw >= own;
}

struct dv_lint_at dv_lintfile_text_at(const struct dv_lintfile *l, const struct dv_yaml_node *node)
{
    struct dv_lint_at at = dv_lintfile_at(l, node);
    uint32_t indent = 0;
    if (at.pinned || node->kind != DV_YAML_SCALAR) {
        at.pinned = true;
        return at;
    }
    if (node->literal && indent_of(l->yaml, node, &indent)) {
        at.indent = l->at.indent + indent;
        at.column = at.indent + 1;
        at.line++;
        return at;
    }
    at.column += is_quoted(l->yaml, node);
    at.pinned = strchr(node->text, '\n') != NULL || node->literal;
    return at;
}

/* ---- findings ------------------------------------------------------------------------------- */

struct dv_lint_finding *dv_lintfile_add(struct dv_lintfile *l, const struct dv_yaml_node *node,
                                        enum dv_lint_rule rule, const char *a, const char *b,
                                        const char *c, const char *d)
{
    struct dv_lint_at at = dv_lintfile_at(l, node);
    return dv_lint_add(l->report, rule, at.line, at.column, a, b, c, d);
}

void dv_lintfile_edit_scalar(struct dv_lintfile *l, struct dv_lint_finding *f,
                             const struct dv_yaml_node *scalar, const char *after)
{
    struct dv_lint_at at = dv_lintfile_at(l, scalar);
    if (!at.pinned && scalar->kind == DV_YAML_SCALAR && !scalar->literal && *scalar->text)
        dv_lint_edit(l->report, f, at.line, at.column + is_quoted(l->yaml, scalar), scalar->text,
                     after);
}

bool dv_lintfile_is_said(const struct dv_lintfile *l, uint32_t line)
{
    for (uint32_t i = 0; i < l->report->n_findings; i++) {
        const struct dv_lint_finding *f = &l->report->findings[i];
        if (f->line == line && dv_lint_rule(f->rule)->severity != DV_LINT_NOTE)
            return true;
    }
    return false;
}

void dv_lintfile_complain(struct dv_lintfile *l, enum dv_lint_rule rule, const char *message)
{
    struct dv_yaml_node at = {.kind = DV_YAML_SCALAR, .line = 1, .column = 1};
    const char *words = message;
    char name[128];
    unsigned line, column;
    int n = 0;
    snprintf(name, sizeof name, "%.120s:", l->name);
    if (!strncmp(message, name, strlen(name)))
        words = message + strlen(name);
    if (words != message && sscanf(words, "%u:%u: %n", &line, &column, &n) == 2 && n) {
        at.line = line;
        at.column = column;
        words += n;
    }
    words += strspn(words, " ");
    if (!dv_lintfile_is_said(l, dv_lintfile_at(l, &at).line))
        dv_lintfile_add(l, &at, rule, words, NULL, NULL, NULL);
}

const char *dv_lintfile_did_you_mean(const char *near, char buf[DV_LINTFILE_HINT])
{
    buf[0] = 0;
    if (near)
        snprintf(buf, DV_LINTFILE_HINT, " (did you mean \"%.120s\"?)", near);
    return buf;
}

struct dv_yaml *dv_lintfile_inner(struct dv_lintfile *l, const struct dv_yaml_node *scalar,
                                  struct dv_lintfile *inner)
{
    const char *text = dv_lintfile_scalar(scalar);
    struct dv_yaml *yaml = NULL;
    struct dv_err err = {{0}};
    *inner = *l;
    inner->at = dv_lintfile_text_at(l, scalar);
    int r = dv_yaml_parse(l->name, text, strlen(text), &yaml, &err);
    if (r == -ENOMEM)
        l->failed = true;
    else if (r < 0 && !strstr(text, "{{"))
        dv_lintfile_complain(inner, DV_LINT_SYNTAX, err.msg);
    inner->yaml = yaml;
    return r < 0 ? NULL : yaml;
}
