/* SPDX-License-Identifier: Apache-2.0 */
#include "render/report.h"

#include "render/chart.h"
#include "render/html.h"

#include <errno.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

/* A part that is being written. */
struct part {
    const struct dv_report_part *of;
    struct dv_output *o;
    struct dv_str *text;
    bool failed;
};

static const struct dv_output_node *value_at(const struct dv_output_node *row, const char *path)
{
    const struct dv_table_column column = {"", path};
    return path ? dv_table_cell(&column, row, false) : NULL;
}

/* Any number as a double: what a plot needs. NAN where there is none. */
static double number_at(const struct dv_output_node *row, const char *path)
{
    const struct dv_output_node *n = value_at(row, path);
    switch (n ? n->type : DV_OUTPUT_NULL) {
    case DV_OUTPUT_INT:
        return (double)n->i;
    case DV_OUTPUT_UINT:
    case DV_OUTPUT_BYTES:
        return (double)n->u;
    case DV_OUTPUT_SECONDS:
        return (double)n->u / 1e9;
    case DV_OUTPUT_COMPUTE:
        return (double)n->u / DV_COMPUTE_FULL;
    case DV_OUTPUT_DECIMAL:
        return (double)n->i / pow(10, n->scale);
    case DV_OUTPUT_LITERAL:
        return strtod(n->text, NULL);
    default:
        return NAN;
    }
}

/* ---- rows ----------------------------------------------------------------------------------- */

struct rows {
    const struct dv_output_node **list;
    size_t n, room;
};

static int keep_row(const struct dv_output_node *row, bool outer, void *arg)
{
    struct rows *r = arg;
    if (outer) /* one with no rows of its own */
        return 0;
    if (!dv_output_stays(row))
        return -EINVAL;
    if (r->n == r->room) {
        size_t room = r->room ? 2 * r->room : 64;
        const struct dv_output_node **list = realloc(r->list, room * sizeof(void *));
        if (!list)
            return -ENOMEM;
        r->list = list;
        r->room = room;
    }
    r->list[r->n++] = row;
    return 0;
}

static void rows_done(struct rows *r)
{
    free(r->list);
}

static int find_rows(struct dv_output *o, const char *rows, struct rows *ret)
{
    const struct dv_table view = {rows, NULL, 0};
    return dv_table_rows(&view, o, keep_row, ret);
}

/* ---- tables and tiles ----------------------------------------------------------------------- */

static void add_cell(const struct dv_table_column *c, const struct dv_output_node *row,
                     struct dv_str *text)
{
    dv_cleanup(dv_str_done) struct dv_str value = {0};
    const struct dv_output_node *n = dv_table_cell(c, row, false);
    dv_value_human(n, c->as, &value);
    text->failed |= value.failed;
    if (n && n->type == DV_OUTPUT_STRING)
        dv_html_name(dv_str_get(&value), text);
    else
        dv_html_escape(dv_str_get(&value), text);
    if (c->suffix && n && n->type != DV_OUTPUT_NULL)
        dv_html_escape(c->suffix, text);
}

static void add_tiles(struct part *p, const struct rows *rows)
{
    dv_str_add(p->text, "<dl class=tiles>\n");
    for (size_t i = 0; i < p->of->table->n; i++) {
        const struct dv_table_column *c = &p->of->table->columns[i];
        if (c->csv_only)
            continue;
        dv_str_add(p->text, "<div class=tile><dt>");
        dv_html_escape(c->title, p->text);
        dv_str_add(p->text, "</dt><dd>");
        add_cell(c, rows->list[0], p->text);
        dv_str_add(p->text, "</dd></div>\n");
    }
    dv_str_add(p->text, "</dl>\n");
}

static void add_table(struct part *p, const struct rows *rows)
{
    const struct dv_table *t = p->of->table;
    size_t shown = DV_MIN(rows->n, (size_t)DV_REPORT_ROWS_MAX);
    dv_str_add(p->text, "<div class=wide><table>\n<thead><tr>");
    for (size_t i = 0; i < t->n; i++) {
        if (t->columns[i].csv_only)
            continue;
        dv_str_add(p->text, t->columns[i].right ? "<th class=n>" : "<th>");
        dv_html_escape(t->columns[i].title, p->text);
        dv_str_add(p->text, "</th>");
    }
    dv_str_add(p->text, "</tr></thead>\n<tbody>\n");
    for (size_t r = 0; r < shown; r++) {
        dv_str_add(p->text, "<tr>");
        for (size_t i = 0; i < t->n; i++) {
            if (t->columns[i].csv_only)
                continue;
            dv_str_add(p->text, t->columns[i].right ? "<td class=n>" : "<td>");
            add_cell(&t->columns[i], rows->list[r], p->text);
            dv_str_add(p->text, "</td>");
        }
        dv_str_add(p->text, "</tr>\n");
    }
    dv_str_add(p->text, "</tbody>\n</table></div>\n");
    if (shown < rows->n)
        dv_str_addf(p->text, "<p>%zu more rows are not shown; JSON and CSV have all of them.</p>\n",
                    rows->n - shown);
}

/* ---- plots ---------------------------------------------------------------------------------- */

static struct dv_chart chart_of(const struct part *p)
{
    const struct dv_report_part *of = p->of;
    return (struct dv_chart){.title = of->title ? of->title : "",
                             .note = of->note,
                             .x_title = of->x_title,
                             .y_title = of->y_title,
                             .from_zero = of->from_zero,
                             .log_x = of->log_x,
                             .steps = of->steps};
}

/* One line for each series: all rows are its points. */
static void add_lines_of_series(struct part *p, const struct rows *rows, double *room)
{
    struct dv_chart chart = chart_of(p);
    struct dv_chart_line lines[DV_REPORT_SERIES_MAX];
    size_t n = DV_MIN(p->of->n_series, (size_t)DV_REPORT_SERIES_MAX);
    for (size_t i = 0; i < rows->n; i++)
        room[i] = number_at(rows->list[i], p->of->x);
    for (size_t s = 0; s < n; s++) {
        double *y = room + (s + 1) * rows->n;
        for (size_t i = 0; i < rows->n; i++)
            y[i] = number_at(rows->list[i], p->of->series[s].path);
        lines[s] = (struct dv_chart_line){p->of->series[s].title, room, y, rows->n};
    }
    dv_chart_lines(&chart, lines, n, p->text);
}

static const char *name_at(const struct dv_output_node *row, const char *path)
{
    return dv_output_text(value_at(row, path), "");
}

/* One line for each value of `by`, which come in runs of rows. */
static void add_lines_by_name(struct part *p, const struct rows *rows, double *room)
{
    struct dv_chart chart = chart_of(p);
    struct dv_chart_line lines[DV_REPORT_SERIES_MAX + 1];
    double *x = room, *y = room + rows->n;
    size_t n = 0;
    for (size_t i = 0; i < rows->n && n <= DV_REPORT_SERIES_MAX; i++) {
        const char *name = name_at(rows->list[i], p->of->by);
        if (!n || strcmp(lines[n - 1].name, name) != 0)
            lines[n++] = (struct dv_chart_line){name, x + i, y + i, 0};
        x[i] = number_at(rows->list[i], p->of->x);
        y[i] = number_at(rows->list[i], p->of->series[0].path);
        lines[n - 1].n++;
    }
    dv_chart_lines(&chart, lines, n, p->text);
}

static void add_lines(struct part *p, const struct rows *rows)
{
    size_t n = p->of->by ? 2 : DV_MIN(p->of->n_series, (size_t)DV_REPORT_SERIES_MAX) + 1;
    double *room = calloc(rows->n * n, sizeof *room);
    if (!room)
        p->failed = true;
    else if (p->of->by)
        add_lines_by_name(p, rows, room);
    else
        add_lines_of_series(p, rows, room);
    free(room);
}

static void add_bars(struct part *p, const struct rows *rows)
{
    struct dv_chart chart = chart_of(p);
    const char *series[DV_REPORT_SERIES_MAX];
    size_t n_series = DV_MIN(p->of->n_series, (size_t)DV_REPORT_SERIES_MAX);
    struct dv_chart_bar *bars = calloc(rows->n, sizeof *bars);
    double *values = calloc(rows->n * n_series, sizeof *values);
    for (size_t s = 0; s < n_series; s++)
        series[s] = p->of->series[s].title;
    for (size_t i = 0; bars && values && i < rows->n; i++) {
        double *v = values + i * n_series;
        for (size_t s = 0; s < n_series; s++)
            v[s] = number_at(rows->list[i], p->of->series[s].path);
        bars[i] = (struct dv_chart_bar){name_at(rows->list[i], p->of->x), v};
    }
    if (bars && values)
        dv_chart_bars(&chart, series, n_series, bars, rows->n, p->text);
    else
        p->failed = true;
    free(bars);
    free(values);
}

/* The words that colours stand for: given, or found in the rows. */
struct palette {
    const char *words[DV_CHART_COLOURS];
    size_t n;
    bool grows;
};

static uint32_t colour_at(struct palette *p, const struct dv_output_node *row, const char *path)
{
    const char *word = path ? name_at(row, path) : "";
    uint32_t i = 0;
    while (i < p->n && strcmp(p->words[i], word) != 0)
        i++;
    if (i == p->n && p->grows && path && i < DV_CHART_COLOURS)
        p->words[p->n++] = word;
    return i;
}

static struct palette palette_of(const struct dv_report_part *of)
{
    struct palette p = {.grows = !of->colours};
    while (of->colours && of->colours[p.n] && p.n < DV_CHART_COLOURS) {
        p.words[p.n] = of->colours[p.n];
        p.n++;
    }
    return p;
}

static void add_map(struct part *p, const struct rows *rows)
{
    const struct dv_report_part *of = p->of;
    struct dv_chart chart = chart_of(p);
    struct palette palette = palette_of(of);
    struct dv_chart_cell *cells = calloc(rows->n, sizeof *cells);
    uint32_t group = 0;
    for (size_t i = 0; cells && i < rows->n; i++) {
        const struct dv_output_node *row = rows->list[i];
        double full = number_at(row, of->n_series ? of->series[0].path : NULL);
        if (i && of->by && strcmp(name_at(rows->list[i - 1], of->by), name_at(row, of->by)) != 0)
            group++;
        cells[i] =
            (struct dv_chart_cell){name_at(row, of->x), group, colour_at(&palette, row, of->colour),
                                   isfinite(full) ? (float)full : -1};
    }
    if (cells)
        dv_chart_map(&chart, palette.words, palette.n, cells, rows->n, p->text);
    else
        p->failed = true;
    free(cells);
}

/* ---- the page ------------------------------------------------------------------------------- */

static void add_heading(struct part *p)
{
    bool plot = p->of->kind == DV_REPORT_LINES || p->of->kind == DV_REPORT_BARS ||
                p->of->kind == DV_REPORT_MAP;
    if (plot) /* which has both by itself */
        return;
    if (p->of->title) {
        dv_str_add(p->text, "<h2>");
        dv_html_escape(p->of->title, p->text);
        dv_str_add(p->text, "</h2>\n");
    }
    if (p->of->note) {
        dv_str_add(p->text, "<p class=soft>");
        dv_html_escape(p->of->note, p->text);
        dv_str_add(p->text, "</p>\n");
    }
}

static int add_part(struct part *p)
{
    static void (*const add[])(struct part *, const struct rows *) = {
        [DV_REPORT_TILES] = add_tiles, [DV_REPORT_TABLE] = add_table, [DV_REPORT_LINES] = add_lines,
        [DV_REPORT_BARS] = add_bars,   [DV_REPORT_MAP] = add_map,
    };
    dv_cleanup(rows_done) struct rows rows = {0};
    if (p->of->kind == DV_REPORT_TEXT) {
        add_heading(p);
        return 0;
    }
    int r = find_rows(p->o, p->of->table ? p->of->table->rows : p->of->rows, &rows);
    if (r < 0 || !rows.n)
        return r;
    add_heading(p);
    add[p->of->kind](p, &rows);
    return p->failed ? -ENOMEM : 0;
}

int dv_report_write(const struct dv_report *report, struct dv_output *o, struct dv_str *text,
                    struct dv_err *err)
{
    if (dv_output_failed(o))
        return dv_err_set(err, -ENOMEM, "out of memory");
    dv_html_begin(report->title, dv_chart_style, text);
    dv_str_add(text, "<header>\n<h1>");
    dv_html_escape(report->title, text);
    dv_str_add(text, "</h1>\n");
    if (dv_output_is_true(dv_output_get(dv_output_root(o), "partial")))
        dv_str_add(text, "<p>It was ended early: what is here is what was done until then.</p>\n");
    dv_str_add(text, "</header>\n<main>\n");
    for (size_t i = 0; i < report->n; i++) {
        struct part p = {&report->parts[i], o, text, false};
        int r = add_part(&p);
        if (r < 0)
            return dv_err_set(err, r, r == -EINVAL ? "rows that do not stay" : "out of memory");
    }
    dv_str_add(text, "</main>\n<footer class=soft>Made by divvy.</footer>\n");
    dv_html_end(text);
    return text->failed ? dv_err_set(err, -ENOMEM, "out of memory") : 0;
}
