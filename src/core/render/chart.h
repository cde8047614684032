/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Plots as SVG inside a page of HTML (render/html.h): lines over an axis, bars by name, and maps of
 * many small cells. Colours are classes of DV_CHART_STYLE; who cannot see a plot hears its title,
 * and hovering a line, bar or cell names it.
 *
 *     struct dv_chart c = {.title = "Allocated", .x_title = "arrived, %", .y_title = "%"};
 *     struct dv_chart_line line = {"divvy", x, y, n};
 *     dv_chart_lines(&c, &line, 1, &text);
 *
 * Numbers that are not finite are left out. All append; out of memory is text->failed.
 */
#ifndef DV_RENDER_CHART_H
#define DV_RENDER_CHART_H

#include "base/str.h"

#define DV_CHART_COLOURS 8 /* then they come again */
/* Of more points than that, each column of the plot keeps its lowest and its highest. */
#define DV_CHART_POINTS_MAX 1200
#define DV_CHART_BARS_MAX 64
#define DV_CHART_CELLS_MAX 65536 /* of a map; more are left out, and it says so */

/* To be put into the page's style, once. */
extern const char dv_chart_style[];

struct dv_chart {
    const char *title; /* our own words or a name; escaped */
    const char *note;  /* a sentence below it, or NULL */
    const char *x_title, *y_title;
    bool from_zero; /* the y axis starts at 0 even where the values do not */
    bool log_x;     /* decades; only points with x > 0 */
    bool steps;     /* a value holds until the next one */
};

struct dv_chart_line {
    const char *name;
    const double *x, *y; /* x ascending */
    size_t n;
};

void dv_chart_lines(const struct dv_chart *chart, const struct dv_chart_line *lines, size_t n,
                    struct dv_str *text);

/* One bar: `values` in the order of the series, side by side, from 0. */
struct dv_chart_bar {
    const char *name;
    const double *values;
};
void dv_chart_bars(const struct dv_chart *chart, const char *const *series, size_t n_series,
                   const struct dv_chart_bar *bars, size_t n, struct dv_str *text);

/* A cell of a map, filled from below up to `filled`, in 0..1; negative: not there (hatched). Cells
 * of one group stand together, with a gap to the next; groups come in a row each time `group`
 * changes. */
struct dv_chart_cell {
    const char *name; /* said on hovering where there are few enough cells; NULL: none */
    uint32_t group;
    uint32_t colour; /* of the filling: a series */
    float filled;
};
void dv_chart_map(const struct dv_chart *chart, const char *const *series, size_t n_series,
                  const struct dv_chart_cell *cells, size_t n, struct dv_str *text);

#endif
