/* SPDX-License-Identifier: Apache-2.0 */
#include "render/chart.h"

#include "render/html.h"

#include <inttypes.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

/* In units of the view box. */
#define WIDTH 760.0
#define HEIGHT 300.0
#define LEFT 64.0
#define RIGHT 16.0
#define TOP 12.0
#define BOTTOM 44.0
#define TICKS 6       /* about so many on an axis */
#define NAMED_MAX 600 /* cells that are named one by one */

const char dv_chart_style[] =
    ":root{--c0:#2167c5;--c1:#e0912f;--c2:#3a9a5b;--c3:#c0392f;--c4:#8a6fc0;--c5:#16969b;"
    "--c6:#a56a3a;--c7:#7b8794}"
    "@media(prefers-color-scheme:dark){:root{--c0:#5a9bef;--c1:#e8a54d;--c2:#62c286;--c3:#e0695f;"
    "--c4:#a88fe0;--c5:#45c0c5;--c6:#cf9a6b;--c7:#98a4b0}}"
    "figure{margin:.8rem 0 1.6rem;break-inside:avoid}"
    "figcaption{font-size:.9rem;margin-bottom:.2rem}"
    "svg.chart{width:100%;height:auto;display:block;font:11px system-ui,sans-serif}"
    "svg.chart text{fill:var(--soft)}"
    "svg.chart .grid{stroke:var(--line);stroke-width:1;fill:none}"
    "svg.chart .l{fill:none;stroke-width:1.8;stroke-linejoin:round}"
    "svg.chart .none{fill:none;stroke:var(--line)}svg.chart .back{fill:var(--line)}"
    ".l0{stroke:var(--c0)}.l1{stroke:var(--c1)}.l2{stroke:var(--c2)}.l3{stroke:var(--c3)}"
    ".l4{stroke:var(--c4)}.l5{stroke:var(--c5)}.l6{stroke:var(--c6)}.l7{stroke:var(--c7)}"
    ".f0{fill:var(--c0);background:var(--c0)}.f1{fill:var(--c1);background:var(--c1)}"
    ".f2{fill:var(--c2);background:var(--c2)}.f3{fill:var(--c3);background:var(--c3)}"
    ".f4{fill:var(--c4);background:var(--c4)}.f5{fill:var(--c5);background:var(--c5)}"
    ".f6{fill:var(--c6);background:var(--c6)}.f7{fill:var(--c7);background:var(--c7)}"
    ".legend{font-size:.85rem;margin:.2rem 0 0;padding:0;list-style:none;display:flex;"
    "flex-wrap:wrap;gap:.2rem 1rem}"
    "@media print{:root{--c0:#2167c5;--c1:#e0912f;--c2:#3a9a5b;--c3:#c0392f;--c4:#8a6fc0;"
    "--c5:#16969b;--c6:#a56a3a;--c7:#7b8794}}";

/* An axis: values low..high on from..to of the view box. */
struct axis {
    double low, high, from, to;
    bool log;
};

static double place(const struct axis *a, double v)
{
    double low = a->low, high = a->high;
    if (a->log) {
        v = log10(v);
        low = log10(low);
        high = log10(high);
    }
    return a->from + (v - low) / (high - low) * (a->to - a->from);
}

/* 1, 2 or 5 times a power of ten, so that `span` has about TICKS of them. */
static double step_of(double span)
{
    double raw = span / TICKS, power = pow(10, floor(log10(raw)));
    double left = raw / power;
    return power * (left <= 1 ? 1 : left <= 2 ? 2 : left <= 5 ? 5 : 10);
}

/* Makes an axis with a length; its ends are rounded outwards to ticks where it is told to. */
static void settle(struct axis *a, bool outwards)
{
    if (a->log) {
        a->low = pow(10, floor(log10(a->low)));
        a->high = pow(10, ceil(log10(a->high)));
        if (a->high <= a->low)
            a->high = a->low * 10;
        return;
    }
    if (a->high - a->low <= fabs(a->high) * 1e-9) {
        a->high += fabs(a->high) > 0 ? fabs(a->high) / 2 : 1;
        a->low -= a->low != 0 ? fabs(a->low) / 2 : 0;
    }
    if (!outwards)
        return;
    double step = step_of(a->high - a->low);
    a->low = floor(a->low / step + 1e-9) * step;
    a->high = ceil(a->high / step - 1e-9) * step;
}

/* 1500 as 1.5k, 2e6 as 2M. */
static void add_number(double v, struct dv_str *text)
{
    static const char *const units[] = {"", "k", "M", "G", "T"};
    size_t unit = 0;
    while (fabs(v) >= 10000 && unit + 1 < DV_ARRAY_SIZE(units)) {
        v /= 1000;
        unit++;
    }
    dv_str_addf(text, "%.6g%s", fabs(v) < 1e-12 ? 0 : v, units[unit]);
}

static void add_tick(const struct axis *x, const struct axis *y, bool is_x, double v,
                     struct dv_str *text)
{
    if (is_x) {
        double at = place(x, v);
        dv_str_addf(text,
                    "<path class=grid d=\"M%.1f %.1fv4\"/><text x=\"%.1f\" y=\"%.1f\" "
                    "text-anchor=middle>",
                    at, y->from, at, y->from + 17);
    } else {
        double at = place(y, v);
        dv_str_addf(text,
                    "<path class=grid d=\"M%.1f %.1fH%.1f\"/><text x=\"%.1f\" y=\"%.1f\" "
                    "text-anchor=end>",
                    x->from, at, x->to, x->from - 6, at + 4);
    }
    add_number(v, text);
    dv_str_add(text, "</text>");
}

static void add_ticks(const struct axis *x, const struct axis *y, bool is_x, struct dv_str *text)
{
    const struct axis *a = is_x ? x : y;
    if (a->log) {
        long decades = lround(log10(a->high / a->low));
        for (long i = 0; i <= decades; i++)
            add_tick(x, y, is_x, a->low * pow(10, (double)i), text);
        return;
    }
    double step = step_of(a->high - a->low), first = ceil(a->low / step - 1e-9) * step;
    for (int i = 0; first + i * step <= a->high + step * 1e-9; i++)
        add_tick(x, y, is_x, first + i * step, text);
}

static void begin(const struct dv_chart *chart, double height, struct dv_str *text)
{
    dv_str_add(text, "<figure><figcaption>");
    dv_html_escape(chart->title ? chart->title : "", text);
    if (chart->note) {
        dv_str_add(text, "<br><span class=soft>");
        dv_html_escape(chart->note, text);
        dv_str_add(text, "</span>");
    }
    dv_str_addf(text,
                "</figcaption>\n<svg class=chart role=img viewBox=\"0 0 %.0f %.0f\" "
                "aria-label=\"",
                WIDTH, height);
    dv_html_escape(chart->title ? chart->title : "", text);
    dv_str_add(text, "\">\n");
}

static void add_axis_titles(const struct dv_chart *chart, struct dv_str *text)
{
    if (chart->x_title) {
        dv_str_addf(text, "<text x=\"%.1f\" y=\"%.1f\" text-anchor=end>", WIDTH - RIGHT,
                    HEIGHT - 6);
        dv_html_escape(chart->x_title, text);
        dv_str_add(text, "</text>");
    }
    if (chart->y_title) {
        dv_str_addf(text, "<text transform=\"translate(12 %.1f) rotate(-90)\" text-anchor=end>",
                    TOP);
        dv_html_escape(chart->y_title, text);
        dv_str_add(text, "</text>");
    }
    dv_str_addc(text, '\n');
}

static void end(const char *const *names, size_t n, const char *note, struct dv_str *text)
{
    dv_str_add(text, "</svg>\n");
    if (n > 1) {
        dv_str_add(text, "<ul class=legend>");
        for (size_t i = 0; i < n; i++) {
            dv_str_addf(text, "<li><span class=\"key f%zu\"></span>", i % DV_CHART_COLOURS);
            dv_html_name(names[i], text);
            dv_str_add(text, "</li>");
        }
        dv_str_add(text, "</ul>\n");
    }
    if (note)
        dv_str_addf(text, "<p class=soft>%s</p>\n", note);
    dv_str_add(text, "</figure>\n");
}

/* ---- lines ---------------------------------------------------------------------------------- */

static bool shows(const struct dv_chart *chart, double x, double y)
{
    return isfinite(x) && isfinite(y) && (!chart->log_x || x > 0);
}

static bool find_range(const struct dv_chart *chart, const struct dv_chart_line *lines, size_t n,
                       struct axis *x, struct axis *y)
{
    bool any = false;
    for (size_t l = 0; l < n; l++) {
        for (size_t i = 0; i < lines[l].n; i++) {
            double vx = lines[l].x[i], vy = lines[l].y[i];
            if (!shows(chart, vx, vy))
                continue;
            x->low = any ? fmin(x->low, vx) : vx;
            x->high = any ? fmax(x->high, vx) : vx;
            y->low = any ? fmin(y->low, vy) : vy;
            y->high = any ? fmax(y->high, vy) : vy;
            any = true;
        }
    }
    if (any && chart->from_zero) {
        y->low = fmin(y->low, 0);
        y->high = fmax(y->high, 0);
    }
    return any;
}

/* A pen that leaves out what a reader cannot see. */
struct pen {
    const struct dv_chart *chart;
    struct dv_str *text;
    bool down;
    double y; /* where it is */
};

static void draw(struct pen *p, double x, double y)
{
    if (!p->down)
        dv_str_addf(p->text, "M%.1f %.1f", x, y);
    else if (p->chart->steps)
        dv_str_addf(p->text, "H%.1fV%.1f", x, y);
    else
        dv_str_addf(p->text, "L%.1f %.1f", x, y);
    p->down = true;
    p->y = y;
}

/* Many points share a column of the plot: its first, lowest, highest and last are its picture. */
static void add_columns(struct pen *p, const struct dv_chart_line *l, const struct axis *x,
                        const struct axis *y)
{
    double column = -1, low = 0, high = 0, last = 0;
    for (size_t i = 0; i < l->n; i++) {
        if (!shows(p->chart, l->x[i], l->y[i]))
            continue;
        double at = floor(place(x, l->x[i])), v = place(y, l->y[i]);
        if (at > column) {
            if (column >= 0) {
                draw(p, column, low);
                draw(p, column, high);
                draw(p, column, last);
            }
            column = at;
            low = high = v;
        }
        low = fmin(low, v);
        high = fmax(high, v);
        last = v;
    }
    if (column >= 0) {
        draw(p, column, low);
        draw(p, column, high);
        draw(p, column, last);
    }
}

static void add_line(const struct dv_chart *chart, const struct dv_chart_line *l, size_t index,
                     const struct axis *x, const struct axis *y, struct dv_str *text)
{
    struct pen p = {chart, text, false, 0};
    dv_str_addf(text, "<path class=\"l l%zu\" d=\"", index % DV_CHART_COLOURS);
    if (l->n > DV_CHART_POINTS_MAX) {
        add_columns(&p, l, x, y);
    } else {
        for (size_t i = 0; i < l->n; i++) {
            if (shows(chart, l->x[i], l->y[i]))
                draw(&p, place(x, l->x[i]), place(y, l->y[i]));
            else
                p.down = false; /* a gap stays a gap */
        }
    }
    dv_str_add(text, "\"><title>");
    dv_html_escape(l->name ? l->name : "", text);
    dv_str_add(text, "</title></path>\n");
}

void dv_chart_lines(const struct dv_chart *chart, const struct dv_chart_line *lines, size_t n,
                    struct dv_str *text)
{
    const char *names[DV_CHART_COLOURS];
    struct axis x = {.from = LEFT, .to = WIDTH - RIGHT, .log = chart->log_x};
    struct axis y = {.from = HEIGHT - BOTTOM, .to = TOP};
    begin(chart, HEIGHT, text);
    if (!find_range(chart, lines, n, &x, &y)) {
        end(NULL, 0, "There is nothing to show.", text);
        return;
    }
    settle(&x, false);
    settle(&y, true);
    add_ticks(&x, &y, false, text);
    add_ticks(&x, &y, true, text);
    add_axis_titles(chart, text);
    size_t shown = DV_MIN(n, (size_t)DV_CHART_COLOURS);
    for (size_t i = 0; i < shown; i++) {
        names[i] = lines[i].name ? lines[i].name : "";
        add_line(chart, &lines[i], i, &x, &y, text);
    }
    end(names, shown, shown < n ? "More lines are not shown." : NULL, text);
}

/* ---- bars ----------------------------------------------------------------------------------- */

#define BAR 14.0
#define NAME 190.0 /* room for names */

static double longest(const struct dv_chart_bar *bars, size_t n, size_t n_series)
{
    double most = 0;
    for (size_t i = 0; i < n; i++)
        for (size_t s = 0; s < n_series; s++)
            if (isfinite(bars[i].values[s]))
                most = fmax(most, bars[i].values[s]);
    return most;
}

static void add_bar(const struct dv_chart_bar *bar, size_t n_series, double top,
                    const struct axis *x, struct dv_str *text)
{
    dv_str_addf(text, "<text x=\"%.1f\" y=\"%.1f\" text-anchor=end>", NAME - 6,
                top + BAR * (double)n_series / 2 + 4);
    dv_html_escape(bar->name, text);
    dv_str_add(text, "</text>");
    for (size_t s = 0; s < n_series; s++) {
        double v = bar->values[s], y = top + BAR * (double)s;
        if (!isfinite(v) || v < 0) {
            dv_str_addf(text, "<text x=\"%.1f\" y=\"%.1f\">-</text>", x->from + 4, y + 11);
            continue;
        }
        double to = place(x, v);
        dv_str_addf(text,
                    "<rect class=f%zu x=\"%.1f\" y=\"%.1f\" width=\"%.1f\" height=\"%.0f\"/>"
                    "<text x=\"%.1f\" y=\"%.1f\">",
                    s % DV_CHART_COLOURS, x->from, y + 1, fmax(to - x->from, 0.5), BAR - 2, to + 4,
                    y + 11);
        add_number(v < 100 ? round(v * 100) / 100 : round(v), text);
        dv_str_add(text, "</text>");
    }
    dv_str_addc(text, '\n');
}

void dv_chart_bars(const struct dv_chart *chart, const char *const *series, size_t n_series,
                   const struct dv_chart_bar *bars, size_t n, struct dv_str *text)
{
    size_t shown = DV_MIN(n, (size_t)DV_CHART_BARS_MAX);
    double each = BAR * (double)n_series + 8, height = each * (double)shown + 4;
    struct axis x = {0, longest(bars, shown, n_series), NAME, WIDTH - 70, false};
    settle(&x, true);
    x.low = 0;
    begin(chart, height, text);
    for (size_t i = 0; i < shown; i++)
        add_bar(&bars[i], n_series, 4 + each * (double)i, &x, text);
    end(series, n_series, shown < n ? "More bars are not shown." : NULL, text);
}

/* ---- maps ----------------------------------------------------------------------------------- */

/* Where the cells are: groups flow in rows, as words of a text do. */
struct flow {
    double side, x, y;
};

static size_t group_length(const struct dv_chart_cell *cells, size_t n, size_t from)
{
    size_t to = from + 1;
    while (to < n && cells[to].group == cells[from].group)
        to++;
    return to - from;
}

static void next_group(struct flow *f, size_t cells)
{
    double width = (double)cells * f->side + f->side * 0.6;
    if (f->x > 2 && f->x + width > WIDTH) {
        f->x = 2;
        f->y += f->side * 1.4;
    }
}

/* A group longer than a row goes on in the next. */
static void next_cell(struct flow *f)
{
    if (f->x + f->side > WIDTH) {
        f->x = 2;
        f->y += f->side;
    }
}

/* Walks all cells; `visit` NULL measures only. Returns the height. */
static double walk(const struct dv_chart_cell *cells, size_t n, double side,
                   void (*visit)(const struct dv_chart_cell *, double, double, double, void *),
                   void *arg)
{
    struct flow f = {side, 2, 2};
    for (size_t i = 0; i < n;) {
        size_t length = group_length(cells, n, i);
        next_group(&f, length);
        for (size_t k = 0; k < length; k++, i++) {
            next_cell(&f);
            if (visit)
                visit(&cells[i], f.x, f.y, side, arg);
            f.x += side;
        }
        f.x += side * 0.6;
    }
    return f.y + side + 4;
}

static double side_for(size_t n)
{
    double side = sqrt(WIDTH * 420.0 / (double)DV_MAX(n, (size_t)1) / 1.7);
    return fmin(28, fmax(3, floor(side * 2) / 2));
}

/* Few cells: each a rectangle with a name. */
static void draw_named(const struct dv_chart_cell *c, double x, double y, double side, void *arg)
{
    struct dv_str *text = arg;
    double inner = side - 1, full = fmin(1, fmax(0, (double)c->filled)) * inner;
    dv_str_addf(text, "<g><rect class=%s x=\"%.1f\" y=\"%.1f\" width=\"%.1f\" height=\"%.1f\"/>",
                c->filled < 0 ? "none" : "back", x, y, inner, inner);
    if (c->filled > 0)
        dv_str_addf(text, "<rect class=f%u x=\"%.1f\" y=\"%.1f\" width=\"%.1f\" height=\"%.1f\"/>",
                    (unsigned)(c->colour % DV_CHART_COLOURS), x, y + inner - full, inner, full);
    if (c->name) {
        dv_str_add(text, "<title>");
        dv_html_escape(c->name, text);
        dv_str_add(text, "</title>");
    }
    dv_str_add(text, "</g>\n");
}

/* Many: one path for each colour. */
struct layer {
    struct dv_str *text;
    int colour; /* -1: the backs */
};

static void draw_layer(const struct dv_chart_cell *c, double x, double y, double side, void *arg)
{
    const struct layer *l = arg;
    double inner = side - (side > 6 ? 1 : 0.5);
    double full = l->colour < 0 ? inner : fmin(1, fmax(0, (double)c->filled)) * inner;
    bool mine = l->colour < 0 ? c->filled >= 0
                              : c->filled > 0 && (int)(c->colour % DV_CHART_COLOURS) == l->colour;
    if (mine)
        dv_str_addf(l->text, "M%.1f %.1fh%.1fv%.1fh-%.1fz", x, y + inner - full, inner, full,
                    inner);
}

void dv_chart_map(const struct dv_chart *chart, const char *const *series, size_t n_series,
                  const struct dv_chart_cell *cells, size_t n, struct dv_str *text)
{
    size_t shown = DV_MIN(n, (size_t)DV_CHART_CELLS_MAX);
    double side = side_for(shown);
    begin(chart, walk(cells, shown, side, NULL, NULL), text);
    if (shown <= NAMED_MAX) {
        walk(cells, shown, side, draw_named, text);
    } else {
        for (int colour = -1; colour < DV_CHART_COLOURS; colour++) {
            struct layer layer = {text, colour};
            if (colour < 0)
                dv_str_add(text, "<path class=back d=\"");
            else
                dv_str_addf(text, "<path class=f%d d=\"", colour);
            walk(cells, shown, side, draw_layer, &layer);
            dv_str_add(text, "\"/>\n");
        }
    }
    end(series, n_series, shown < n ? "More cells are not shown." : NULL, text);
}
