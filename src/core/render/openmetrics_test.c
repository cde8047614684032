/* SPDX-License-Identifier: Apache-2.0 */
#include "render/openmetrics.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <string.h>

#include <cmocka.h>

static const struct dv_metric_family busy = {"x_busy_seconds", DV_METRIC_COUNTER, "seconds",
                                             "Time \"run\" \\ so\nfar."};
static const struct dv_metric_family build = {"x_build", DV_METRIC_INFO, NULL, "Which."};
static const struct dv_metric_family empty = {"x_none", DV_METRIC_GAUGE, NULL, "Never there."};
static const struct dv_metric_family held = {"x_held_ratio", DV_METRIC_GAUGE, "ratio", "Part."};
static const struct dv_metric_family bare = {"X_ENERGY", DV_METRIC_COUNTER_BARE, NULL, "Energy."};

static void write_all(struct dv_str *text, enum dv_openmetrics_format format)
{
    dv_cleanup(dv_str_done) struct dv_str made = {0};
    struct dv_openmetrics w = {.out = text, .format = format};
    dv_openmetrics_family(&w, &build);
    dv_openmetrics_sample(&w);
    dv_openmetrics_label(&w, "version", "1.2");
    dv_openmetrics_uint(&w, 1);
    dv_openmetrics_family(&w, &empty);
    dv_openmetrics_family(&w, &busy);
    dv_openmetrics_labels_add(&made, "tenant", "a\"b\\c\nd\xff\xc3\xa9");
    dv_openmetrics_labels_add(&made, "gpu", "0");
    dv_openmetrics_sample(&w);
    dv_openmetrics_labels(&w, dv_str_get(&made));
    dv_openmetrics_label_uint(&w, "n", 0);
    dv_openmetrics_seconds(&w, 1500000001);
    dv_openmetrics_sample(&w);
    dv_openmetrics_labels(&w, "");
    dv_openmetrics_seconds(&w, 12000000000);
    dv_openmetrics_family(&w, &held);
    dv_openmetrics_sample(&w);
    dv_openmetrics_ratio(&w, 3000, 7000);
    dv_openmetrics_family(&w, &bare);
    dv_openmetrics_sample(&w);
    dv_openmetrics_fixed(&w, 1500, 6);
    dv_openmetrics_end(&w);
}

static void test_prometheus(void **state)
{
    dv_cleanup(dv_str_done) struct dv_str text = {0};
    write_all(&text, DV_OPENMETRICS_PROMETHEUS);
    assert_string_equal(dv_str_get(&text),
                        "# HELP x_build_info Which.\n"
                        "# TYPE x_build_info gauge\n"
                        "x_build_info{version=\"1.2\"} 1\n"
                        "# HELP x_busy_seconds_total Time \"run\" \\\\ so\\nfar.\n"
                        "# TYPE x_busy_seconds_total counter\n"
                        "x_busy_seconds_total{tenant=\"a\\\"b\\\\c\\nd\xef\xbf\xbd\xc3\xa9\","
                        "gpu=\"0\",n=\"0\"} 1.500000001\n"
                        "x_busy_seconds_total 12\n"
                        "# HELP x_held_ratio Part.\n"
                        "# TYPE x_held_ratio gauge\n"
                        "x_held_ratio 0.428571428\n"
                        "# HELP X_ENERGY Energy.\n"
                        "# TYPE X_ENERGY counter\n"
                        "X_ENERGY 0.001500\n");
}

static void test_openmetrics(void **state)
{
    dv_cleanup(dv_str_done) struct dv_str text = {0};
    write_all(&text, DV_OPENMETRICS_1_0);
    assert_string_equal(dv_str_get(&text),
                        "# HELP x_build Which.\n"
                        "# TYPE x_build info\n"
                        "x_build_info{version=\"1.2\"} 1\n"
                        "# HELP x_busy_seconds Time \\\"run\\\" \\\\ so\\nfar.\n"
                        "# TYPE x_busy_seconds counter\n"
                        "# UNIT x_busy_seconds seconds\n"
                        "x_busy_seconds_total{tenant=\"a\\\"b\\\\c\\nd\xef\xbf\xbd\xc3\xa9\","
                        "gpu=\"0\",n=\"0\"} 1.500000001\n"
                        "x_busy_seconds_total 12\n"
                        "# HELP x_held_ratio Part.\n"
                        "# TYPE x_held_ratio gauge\n"
                        "# UNIT x_held_ratio ratio\n"
                        "x_held_ratio 0.428571428\n"
                        "# HELP X_ENERGY Energy.\n"
                        "# TYPE X_ENERGY unknown\n"
                        "X_ENERGY 0.001500\n"
                        "# EOF\n");
}

static void number(const char *expected, uint64_t value, unsigned scale, bool fixed)
{
    dv_cleanup(dv_str_done) struct dv_str text = {0};
    struct dv_openmetrics w = {.out = &text};
    dv_openmetrics_family(&w, &empty);
    dv_openmetrics_sample(&w);
    dv_str_clear(&text);
    if (fixed)
        dv_openmetrics_fixed(&w, value, scale);
    else
        dv_openmetrics_decimal(&w, value, scale);
    assert_string_equal(dv_str_get(&text), expected);
}

static void test_numbers(void **state)
{
    number(" 0\n", 0, 9, false);
    number(" 0.000000001\n", 1, 9, false);
    number(" 18446744073.709551615\n", UINT64_MAX, 9, false);
    number(" 18.446744073709551615\n", UINT64_MAX, 18, false);
    number(" 18446744073709551615\n", UINT64_MAX, 0, false);
    number(" 10\n", 10000, 3, false);
    number(" 100\n", 100, 0, false);
    number(" 0.000000\n", 0, 6, true);
    number(" 93.500000\n", 93500000, 6, true);
}

static void test_accept(void **state)
{
    /* As Prometheus 2.42 and 3 send it. */
    assert_int_equal(dv_openmetrics_accept("application/openmetrics-text;version=1.0.0,application/"
                                           "openmetrics-text;version=0.0.1;q=0.75,text/"
                                           "plain;version=0.0.4;q=0.5,*/*;q=0.1"),
                     DV_OPENMETRICS_1_0);
    assert_int_equal(dv_openmetrics_accept("text/plain;version=0.0.4;q=1,*/*;q=0.1"),
                     DV_OPENMETRICS_PROMETHEUS);
    assert_int_equal(dv_openmetrics_accept("application/openmetrics-text;version=2.0.0;q=0.9,"
                                           "text/plain;q=0.2"),
                     DV_OPENMETRICS_PROMETHEUS);
    assert_int_equal(dv_openmetrics_accept("application/openmetrics-text;q=0.3, text/plain;q=0.9"),
                     DV_OPENMETRICS_PROMETHEUS);
    assert_int_equal(
        dv_openmetrics_accept("text/plain;q=0.25, application/openmetrics-text; q=0.26"),
        DV_OPENMETRICS_1_0);
    assert_int_equal(dv_openmetrics_accept("application/openmetrics-text;q=0"),
                     DV_OPENMETRICS_PROMETHEUS);
    assert_int_equal(dv_openmetrics_accept("text/html, */*"), DV_OPENMETRICS_PROMETHEUS);
    assert_int_equal(dv_openmetrics_accept(",;,q=,;q=;"), DV_OPENMETRICS_PROMETHEUS);
    assert_int_equal(dv_openmetrics_accept(NULL), DV_OPENMETRICS_PROMETHEUS);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_prometheus), cmocka_unit_test(test_openmetrics),
        cmocka_unit_test(test_numbers), cmocka_unit_test(test_accept)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
