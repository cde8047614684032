/* SPDX-License-Identifier: Apache-2.0 */
#include "render/table.h"

#include "render/json.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#define PATH_MAX_LEN 95
#define GAP "  "

/* ---- rows and cells ------------------------------------------------------------------------- */

/* The next word of a dotted path into word; NULL at its end. */
static const char *next_word(const char *path, char word[PATH_MAX_LEN + 1])
{
    size_t len = strcspn(path, ".");
    if (!len || len > PATH_MAX_LEN)
        return NULL;
    memcpy(word, path, len);
    word[len] = 0;
    return path[len] ? path + len + 1 : path + len;
}

static int walk(const struct dv_table *view, const struct dv_output_node *object, const char *path,
                int (*visit)(const struct dv_output_node *row, bool outer, void *arg), void *arg)
{
    char word[PATH_MAX_LEN + 1];
    const char *rest = next_word(path, word);
    const struct dv_output_node *array = rest ? dv_output_get(object, word) : NULL;
    if (array && array->type == DV_OUTPUT_OBJECT && *rest)
        return walk(view, array, rest, visit, arg);
    const struct dv_output_node *n =
        array && array->type == DV_OUTPUT_ARRAY ? dv_output_first(array) : NULL;
    if (!n)
        return view->keep_empty && object->parent ? visit(object, true, arg) : 0;
    for (; n; n = dv_output_next(n)) {
        if (n->type != DV_OUTPUT_OBJECT)
            continue;
        int r = *rest ? walk(view, n, rest, visit, arg) : visit(n, false, arg);
        if (r)
            return r;
    }
    return 0;
}

int dv_table_rows(const struct dv_table *view, struct dv_output *o,
                  int (*visit)(const struct dv_output_node *row, bool outer, void *arg), void *arg)
{
    if (!*view->rows)
        return visit(dv_output_root(o), false, arg);
    int r = walk(view, dv_output_root(o), view->rows, visit, arg);
    return r ? r : dv_output_failed(o) ? -ENOMEM : 0; /* a row that was made on the way */
}

const struct dv_output_node *dv_table_cell(const struct dv_table_column *column,
                                           const struct dv_output_node *row, bool outer)
{
    const char *path = column->path;
    if (outer) { /* the row is what the columns with one "^" speak of */
        if (*path != '^')
            return NULL;
        path++;
    }
    for (; *path == '^'; path++) {
        row = row->parent ? row->parent->parent : NULL; /* out of the array, to its owner */
        if (!row)
            return NULL;
    }
    char word[PATH_MAX_LEN + 1];
    while (row && *path) {
        path = next_word(path, word);
        if (!path)
            return NULL;
        row = dv_output_get(row, word);
    }
    return row;
}

/* ---- layout --------------------------------------------------------------------------------- */

struct grid {
    const struct dv_table *view;
    struct dv_str cells; /* rows * view->n texts, each with its end */
    size_t rows;
    size_t widths[DV_TABLE_COLUMNS_MAX];
};

static size_t width_of(const char *text)
{
    size_t width = 0;
    for (; *text; text++)
        width += ((unsigned char)*text & 0xc0) != 0x80;
    return width;
}

static int add_row(const struct dv_output_node *row, bool outer, void *arg)
{
    struct grid *g = arg;
    g->rows++;
    for (size_t i = 0; i < g->view->n; i++) {
        const struct dv_table_column *column = &g->view->columns[i];
        size_t at = g->cells.len;
        if (!column->csv_only) {
            const struct dv_output_node *value = dv_table_cell(column, row, outer);
            dv_value_human(value, column->as, &g->cells);
            if (column->suffix && value && value->type != DV_OUTPUT_NULL)
                dv_str_add(&g->cells, column->suffix);
        }
        dv_str_addc(&g->cells, 0);
        if (g->cells.failed)
            return -ENOMEM;
        g->widths[i] = DV_MAX(g->widths[i], width_of(g->cells.data + at));
    }
    return 0;
}

static const char *colour_of(const char *word)
{
    static const struct {
        const char *word, *code;
    } colours[] = {
        {"ok", "32"},      {"granted", "32"}, {"degraded", "33"}, {"queued", "33"},
        {"warning", "33"}, {"unknown", "33"}, {"failed", "31"},   {"error", "31"},
        {"wedged", "31"},  {"none", "33"},    {"refused", "31"},  {"missing", "31"},
    };
    for (size_t i = 0; i < DV_ARRAY_SIZE(colours); i++)
        if (!strcmp(colours[i].word, word))
            return colours[i].code;
    return NULL;
}

static void add_blanks(struct dv_str *text, size_t n)
{
    while (n--)
        dv_str_addc(text, ' ');
}

static void add_cell(const struct grid *g, size_t i, const char *cell, bool heading, bool last,
                     struct dv_table_style style, struct dv_str *text)
{
    const struct dv_table_column *column = &g->view->columns[i];
    const char *code = !style.colour   ? NULL
                       : heading       ? "1"
                       : column->state ? colour_of(cell)
                                       : NULL;
    size_t pad = g->widths[i] - width_of(cell);
    add_blanks(text, column->right ? pad : 0);
    if (code)
        dv_str_addf(text, "\033[%sm%s\033[0m", code, cell);
    else
        dv_str_add(text, cell);
    if (last)
        return;
    add_blanks(text, column->right ? 0 : pad);
    dv_str_add(text, GAP);
}

/* cells: the row's texts one after the other; NULL: the heading. Returns what is behind them. */
static const char *add_line(const struct grid *g, const char *cells, struct dv_table_style style,
                            struct dv_str *text)
{
    const struct dv_table *view = g->view;
    size_t last = 0;
    for (size_t i = 0; i < view->n; i++)
        if (!view->columns[i].csv_only)
            last = i;
    dv_str_add(text, style.indent ? style.indent : "");
    for (size_t i = 0; i < view->n; i++) {
        if (!view->columns[i].csv_only)
            add_cell(g, i, cells ? cells : view->columns[i].title, !cells, i == last, style, text);
        cells = cells ? cells + strlen(cells) + 1 : NULL;
    }
    dv_str_addc(text, '\n');
    return cells;
}

static void add_lines(const struct grid *g, struct dv_table_style style, struct dv_str *text)
{
    const char *cells = dv_str_get(&g->cells);
    add_line(g, NULL, style, text);
    for (size_t i = 0; i < g->rows && !text->failed; i++)
        cells = add_line(g, cells, style, text);
}

int dv_table_write(const struct dv_table *view, struct dv_output *o, struct dv_table_style style,
                   struct dv_str *text)
{
    if (view->n > DV_TABLE_COLUMNS_MAX)
        return -E2BIG;
    if (dv_output_failed(o))
        return -ENOMEM;
    struct grid g = {.view = view};
    for (size_t i = 0; i < view->n; i++)
        g.widths[i] = width_of(view->columns[i].title);
    int r = dv_table_rows(view, o, add_row, &g);
    if (!r && !g.rows && style.nothing)
        dv_str_addf(text, "%s%s\n", style.indent ? style.indent : "", style.nothing);
    else if (!r)
        add_lines(&g, style, text);
    dv_str_done(&g.cells);
    return r ? r : text->failed ? -ENOMEM : 0;
}
