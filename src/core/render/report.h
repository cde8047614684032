/* SPDX-License-Identifier: Apache-2.0 */
/*
 * An answer (render/output.h) as one page of HTML with plots, described once per verb:
 *
 *     static const struct dv_report_series lines[] = {{"allocated_percent", "allocated"}};
 *     static const struct dv_report_part parts[] = {
 *         {DV_REPORT_TILES, .table = &totals},
 *         {DV_REPORT_LINES, "Allocated", .rows = "curve", .x = "arrived_percent",
 *          .x_title = "arrived, %", .series = lines, .n_series = 1},
 *         {DV_REPORT_TABLE, "Why not placed", .table = &reasons},
 *     };
 *     static const struct dv_report report = {"Cluster simulation", parts, DV_ARRAY_SIZE(parts)};
 *     r = dv_report_write(&report, o, &text, &err);
 *
 * Rows and paths are those of a table (render/table.h), so that page, table and JSON say the same.
 * Parts without rows are left out. Nothing is loaded from anywhere (render/html.h).
 */
#ifndef DV_RENDER_REPORT_H
#define DV_RENDER_REPORT_H

#include "base/err.h"
#include "render/table.h"

#define DV_REPORT_SERIES_MAX 8
#define DV_REPORT_ROWS_MAX 1000u /* of a table; more are left out, and the page says so */

enum dv_report_kind {
    DV_REPORT_TILES, /* the first row of `table`, each column a tile */
    DV_REPORT_TABLE, /* `table` */
    DV_REPORT_LINES, /* x and the series of `rows`; with `by` one line for each of its values */
    DV_REPORT_BARS,  /* a bar for each row: `x` is its name */
    DV_REPORT_MAP,   /* a cell for each row: `x` its name, `by` its group, the first series how full
                      * it is in 0..1, `colour` which of `colours` */
    DV_REPORT_TEXT,  /* `note` alone */
};

struct dv_report_series {
    const char *path, *title;
};

struct dv_report_part {
    enum dv_report_kind kind;
    const char *title; /* a heading; NULL: none */
    const char *note;  /* a sentence below the heading, or NULL */
    const struct dv_table *table;
    const char *rows;
    const char *x, *x_title, *y_title;
    const struct dv_report_series *series;
    size_t n_series;
    const char *by;
    const char *colour; /* of a map: a path to one of the words... */
    /* ...that end with NULL; NULL: those that there are, as they come, at most 8 */
    const char *const *colours;
    bool from_zero, log_x, steps;
};

struct dv_report {
    const char *title;
    const struct dv_report_part *parts;
    size_t n;
};

/* Appends. 0; -ENOMEM; -EINVAL: it keeps its rows, and those of dv_output_rows() do not stay. A
 * `partial` that is true in the answer is said at the top. */
int dv_report_write(const struct dv_report *report, struct dv_output *o, struct dv_str *text,
                    struct dv_err *err);

#endif
