/* SPDX-License-Identifier: Apache-2.0 */
/* Pages of made-up answers: what must be in them, and that nothing leads out of its place. */
#include "base/testing/oom.h"
#include "render/chart.h"
#include "render/report.h"

#include <errno.h>
#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

static size_t count(const char *text, const char *what)
{
    size_t n = 0;
    for (const char *p = text; (p = strstr(p, what)); p += strlen(what))
        n++;
    return n;
}

static const struct dv_table_column totals[] = {{"Placed", "placed", .right = true},
                                                {"Machine", "machine", .csv_only = true}};
static const struct dv_table totals_view = {"", totals, DV_ARRAY_SIZE(totals)};
static const struct dv_table_column modes[] = {{"MODE", "mode"}, {"P99", "p99", .right = true}};
static const struct dv_table modes_view = {"modes", modes, DV_ARRAY_SIZE(modes)};
static const struct dv_report_series both[] = {{"p50", "p50"}, {"p99", "p99"}};
static const struct dv_report_series full[] = {{"full", "full"}};
static const char *const colours[] = {"mig", "mps", NULL};
static const struct dv_report_part parts[] = {
    {DV_REPORT_TILES, .table = &totals_view},
    {DV_REPORT_LINES, "Curve", .rows = "curve", .x = "at", .series = both, .n_series = 2},
    {DV_REPORT_LINES, "By", .rows = "curve", .x = "at", .series = both, .n_series = 1, .by = "of"},
    {DV_REPORT_BARS, "Latency", .rows = "modes", .x = "mode", .series = both, .n_series = 2},
    {DV_REPORT_MAP, "Fleet", .rows = "nodes.gpus", .x = "name", .series = full, .n_series = 1,
     .by = "^name", .colour = "mode", .colours = colours},
    {DV_REPORT_TABLE, "Modes", "Measured.", .table = &modes_view},
    {DV_REPORT_TABLE, "Absent", "There are none.", .table = &(struct dv_table){"none", modes, 2}},
    {DV_REPORT_TEXT, "Method", "As told."},
};
static const struct dv_report report = {"A <report>", parts, DV_ARRAY_SIZE(parts)};

static struct dv_output *answer(unsigned points, unsigned gpus)
{
    struct dv_output *o = dv_output_new("Test");
    struct dv_output_node *root = dv_output_root(o), *list = dv_output_array(root, "curve");
    dv_output_uint(root, "placed", 8334);
    for (unsigned i = 0; i < points; i++) {
        struct dv_output_node *row = dv_output_object(list, NULL);
        dv_output_uint(row, "at", i);
        dv_output_decimal(row, "p50", i * 31 % 17, 1);
        dv_output_uint(row, "p99", i * 77 % 19);
        dv_output_string(row, "of", i < points / 2 ? "first" : "second");
    }
    list = dv_output_array(root, "modes");
    for (int i = 0; i < 2; i++) {
        struct dv_output_node *row = dv_output_object(list, NULL);
        dv_output_string(row, "mode", i ? "mps" : "<script>\"&'\x1b");
        dv_output_seconds(row, "p50", 1000000);
        if (i)
            dv_output_seconds(row, "p99", 30470000);
    }
    list = dv_output_array(root, "nodes");
    for (unsigned n = 0; n < 3; n++) {
        struct dv_output_node *node = dv_output_object(list, NULL);
        char name[8];
        snprintf(name, sizeof name, "n%u", n);
        dv_output_string(node, "name", name);
        struct dv_output_node *cells = dv_output_array(node, "gpus");
        for (unsigned g = 0; g < gpus; g++) {
            struct dv_output_node *cell = dv_output_object(cells, NULL);
            dv_output_string(cell, "name", "GPU & co");
            dv_output_string(cell, "mode", g % 2 ? "mps" : "mig");
            dv_output_decimal(cell, "full", g % 11, 1);
        }
    }
    return o;
}

static void test_page(void **state)
{
    dv_cleanup(dv_output_free) struct dv_output *o = answer(20, 8);
    dv_cleanup(dv_str_done) struct dv_str text = {0};
    struct dv_err err;
    assert_int_equal(dv_report_write(&report, o, &text, &err), 0);
    const char *t = dv_str_get(&text);
    assert_non_null(strstr(t, "<h1>A &lt;report&gt;</h1>"));
    assert_non_null(strstr(t, "<dt>Placed</dt><dd>8334</dd>"));
    assert_null(strstr(t, "Machine"));
    assert_int_equal(count(t, "<svg "), 4);
    assert_int_equal(count(t, "<figure>"), count(t, "</figure>"));
    assert_int_equal(count(t, "<svg "), count(t, "</svg>"));
    assert_null(strstr(t, "<script"));
    assert_null(strchr(t, '\x1b'));
    assert_non_null(strstr(t, "&lt;script&gt;&quot;&amp;&#39;"));
    assert_non_null(strstr(t, "<title>second</title>"));
    assert_int_equal(count(t, "<title>GPU &amp; co</title>"), 24);
    assert_null(strstr(t, "Absent"));
    assert_null(strstr(t, "nan"));
    assert_null(strstr(t, "inf"));
    assert_null(strstr(t, "ended early"));
}

static void test_much(void **state)
{
    dv_cleanup(dv_output_free) struct dv_output *o = answer(20000, 2000);
    dv_cleanup(dv_str_done) struct dv_str text = {0};
    dv_output_bool(dv_output_root(o), "partial", true);
    assert_int_equal(dv_report_write(&report, o, &text, NULL), 0);
    assert_in_range(text.len, 10000, 600000); /* of 20,000 points and 6,000 cells */
    assert_non_null(strstr(dv_str_get(&text), "ended early"));
}

static void test_numbers_that_are_none(void **state)
{
    const double x[] = {-1, 0, 1, 10, 1000, 5}, y[] = {NAN, 1, INFINITY, 3, 3, -INFINITY};
    const struct dv_chart plain = {.title = "p"}, log = {.title = "l", .log_x = true};
    const struct dv_chart_line line = {"a", x, y, 6}, none = {"b", x, y, 1};
    dv_cleanup(dv_str_done) struct dv_str text = {0};
    dv_chart_lines(&plain, &line, 1, &text);
    dv_chart_lines(&log, &line, 1, &text);
    assert_null(strstr(dv_str_get(&text), "nan"));
    assert_null(strstr(dv_str_get(&text), "inf"));
    assert_null(strstr(dv_str_get(&text), "nothing to show"));
    dv_chart_lines(&plain, &none, 1, &text);
    assert_non_null(strstr(dv_str_get(&text), "nothing to show"));
    const double huge[] = {NAN, -3, 1e300};
    const struct dv_chart_bar bars[] = {{"a", &huge[0]}, {"b", &huge[1]}, {"c", &huge[2]}};
    const char *series[] = {"s"};
    dv_chart_bars(&plain, series, 1, bars, 3, &text);
    dv_chart_bars(&plain, series, 1, bars, 0, &text);
    dv_chart_map(&plain, series, 1, NULL, 0, &text);
    assert_null(strstr(dv_str_get(&text), "nan"));
}

/* One value alone, constant lines, tiny and huge spans: axes still have ticks, at most a dozen. */
static void test_axes(void **state)
{
    const double spans[][2] = {{0, 0},        {5, 5},        {-3, -3},  {1e-12, 2e-12},
                               {-1e12, 1e12}, {99.9, 100.1}, {0, 6212}, {1e6, 1e6 + 1e-9}};
    for (size_t i = 0; i < DV_ARRAY_SIZE(spans); i++) {
        dv_cleanup(dv_str_done) struct dv_str text = {0};
        const double x[] = {0, 1};
        const struct dv_chart_line line = {"a", x, spans[i], 2};
        const struct dv_chart chart = {.title = "t"};
        dv_chart_lines(&chart, &line, 1, &text);
        size_t ticks = count(dv_str_get(&text), "text-anchor=end>");
        assert_in_range(ticks, 2, 14);
        assert_null(strstr(dv_str_get(&text), "nan"));
    }
}

static void test_memory(void **state)
{
    dv_cleanup(dv_output_free) struct dv_output *o = answer(20, 4);
    size_t n = 0;
    bool met;
    do {
        struct dv_str text = {0};
        dv_oom_at(++n);
        int r = dv_report_write(&report, o, &text, NULL);
        met = dv_oom_end();
        assert_int_equal(r, met ? -ENOMEM : 0);
        dv_str_done(&text);
    } while (met);
    assert_in_range(n, 20, 2000);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_page),
        cmocka_unit_test(test_much),
        cmocka_unit_test(test_numbers_that_are_none),
        cmocka_unit_test(test_axes),
        cmocka_unit_test(test_memory),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
