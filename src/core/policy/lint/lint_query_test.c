/* SPDX-License-Identifier: Apache-2.0 */
#include "policy/lint/lint_query.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

/* The ids of what is found, in the order of places, joined by blanks. */
static void check(const char *text, enum dv_lint_query kind, const char *want)
{
    static const struct dv_lint_at start = {.line = 1, .column = 1};
    struct dv_lint_report r = {0};
    dv_cleanup(dv_str_done) struct dv_str got = {0};
    dv_lint_begin(&r, "query", NULL, 1);
    dv_lint_query(&r, &start, text, strlen(text), kind);
    dv_lint_finish(&r, text, strlen(text), NULL);
    for (uint32_t i = 0; i < r.n_findings; i++)
        dv_str_addf(&got, "%s%s", i ? " " : "", dv_lint_rule(r.findings[i].rule)->id);
    if (strcmp(dv_str_get(&got), want) != 0)
        print_message("%s\n", text);
    assert_string_equal(dv_str_get(&got), want);
    dv_lint_report_done(&r);
}

#define QUERY DV_LINT_QUERY_ALONE
#define ALERT DV_LINT_QUERY_ALERT

static void test_names(void **state)
{
    check("DCGM_FI_DEV_FB_USED", QUERY, "");
    check("node_load1 > 5", QUERY, "");
    check("dcgm_fb_used", QUERY, "DV501");
    check("sum(dcgm_something) by (uuid)", QUERY, "DV501");
    check("DCGM_FI_DEV_FB_USD", QUERY, "DV505");
    check("DCGM_FI_DEV_NVLINK_SOMETHING_QUITE_DIFFERENT_L17", QUERY, "");
    check("DCGM_FI_DEV_FB_USED{uuid=\"x\"}", QUERY, "DV502");
    check("DCGM_FI_DEV_FB_USED{UUID=\"uuid\"}", QUERY, "");
    check("up{uuid=\"x\"} * on (gpu) DCGM_FI_DEV_FB_USED", QUERY, "");
    check("DCGM_FI_DEV_FB_USED{Hostname=\"x\"}", QUERY, "DV506");
    check("# dcgm_fb_used\nDCGM_FI_DEV_FB_USED", QUERY, "");
}

/* Of what is found later a place may be before it; many places do not take the square of time. */
static void test_places(void **state)
{
    static const struct dv_lint_at start = {.line = 7, .column = 11, .indent = 4};
    static const char text[] =
        "DCGM_FI_DEV_GPU_UTIL +\n  dcgm_a{x=\"\xc3\xa9\"} + dcgm_b\n  + dcgm_c";
    static const uint32_t want[][2] = {{8, 7}, {8, 23}, {9, 9}, {7, 11}};
    dv_cleanup(dv_str_done) struct dv_str many = {0};
    struct dv_lint_report r = {0};
    dv_lint_begin(&r, "query", NULL, 7);
    dv_lint_query(&r, &start, text, strlen(text), QUERY);
    assert_int_equal(r.n_findings, DV_ARRAY_SIZE(want));
    for (uint32_t i = 0; i < r.n_findings; i++) {
        assert_int_equal(r.findings[i].line, want[i][0]);
        assert_int_equal(r.findings[i].column, want[i][1]);
    }
    dv_lint_report_done(&r);
    for (int i = 0; i < 70000; i++)
        dv_str_addf(&many, "dcgm_gpu_temp +");
    dv_lint_begin(&r, "query", NULL, 1);
    dv_lint_query(&r, &start, dv_str_get(&many), many.len, QUERY);
    dv_lint_query_names(&r, &start, dv_str_get(&many), many.len);
    assert_int_equal(r.n_findings + r.n_dropped, 2 * 70000);
    dv_lint_report_done(&r);
}

static void test_mig(void **state)
{
    check("DCGM_FI_DEV_GPU_UTIL", QUERY, "DV504");
    check("DCGM_FI_DEV_GPU_UTIL > 90", ALERT, "DV503");
    check("DCGM_FI_DEV_GPU_UTIL < 20", ALERT, "DV503 DV510");
    check("DCGM_FI_DEV_GPU_UTIL{pod!=\"\"} < 20", ALERT, "DV503");
    check("DCGM_FI_PROF_GR_ENGINE_ACTIVE < 0.2", ALERT, "DV510");
    check("DCGM_FI_PROF_GR_ENGINE_ACTIVE < 0.2 and on (pod) kube_pod_info", ALERT, "");
    check("(DCGM_FI_DEV_GPU_UTIL / 100 or DCGM_FI_PROF_GR_ENGINE_ACTIVE) > 0.9", ALERT, "");
}

/* What a series that is not there does to an alert depends on where it is missing. */
static void test_without_series(void **state)
{
    static const char *const want[][2] = {
        {"DCGM_FI_DEV_GPU_UTIL > 90", "so this alert never fires there"},
        {"up > 0 and on (x) DCGM_FI_DEV_GPU_UTIL > 90", "so this alert never fires there"},
        {"absent(DCGM_FI_DEV_GPU_UTIL{job=\"a\"})", "so this alert always fires where"},
        {"DCGM_FI_DEV_GPU_TEMP > 80 unless on (UUID) DCGM_FI_DEV_GPU_UTIL > 0", "not held back"},
        {"DCGM_FI_DEV_GPU_UTIL > 90 unless on (UUID) up", "so this alert never fires there"},
        {"DCGM_FI_DEV_GPU_UTIL > 90 or DCGM_FI_DEV_GPU_TEMP > 80", "by its other parts only"},
    };
    static const struct dv_lint_at start = {.line = 1, .column = 1};
    for (size_t i = 0; i < DV_ARRAY_SIZE(want); i++) {
        struct dv_lint_report r = {0};
        dv_lint_begin(&r, "query", NULL, 1);
        dv_lint_query(&r, &start, want[i][0], strlen(want[i][0]), ALERT);
        assert_true(r.n_findings > 0);
        if (!strstr(r.findings[0].why, want[i][1]))
            fail_msg("%s: %s", want[i][0], r.findings[0].why);
        dv_lint_report_done(&r);
    }
}

static void test_functions(void **state)
{
    check("rate(DCGM_FI_DEV_FB_USED[5m])", QUERY, "DV507");
    check("rate(DCGM_FI_DEV_TOTAL_ENERGY_CONSUMPTION[5m])", QUERY, "");
    check("avg_over_time(DCGM_FI_DEV_FB_USED[5m])", QUERY, "");
    check("increase(DCGM_FI_DEV_XID_ERRORS[5m]) > 0", ALERT, "DV507");
    check("rate(sum(DCGM_FI_DEV_FB_USED)[5m:1m])", QUERY, "");
    check("DCGM_FI_PROF_GR_ENGINE_ACTIVE > 50", QUERY, "DV508");
    check("DCGM_FI_PROF_GR_ENGINE_ACTIVE * 100 > 50", QUERY, "");
    check("DCGM_FI_PROF_GR_ENGINE_ACTIVE > 0.5", QUERY, "");
    check("DCGM_FI_PROF_GR_ENGINE_ACTIVE > bool 50", QUERY, "DV508");
    check("DCGM_FI_DEV_GPU_TEMP > 90 and DCGM_FI_PROF_SM_ACTIVE < 0.1", QUERY, "");
}

static void test_units(void **state)
{
    check("DCGM_FI_DEV_FB_FREE < 1073741824", ALERT, "DV513");
    check("avg_over_time(DCGM_FI_DEV_FB_USED[5m]) > 70e9", ALERT, "DV513");
    check("DCGM_FI_DEV_FB_FREE < 1024", ALERT, "");
    check("DCGM_FI_DEV_FB_USED * 1024 * 1024 > 70e9", ALERT, "");
    check("DCGM_FI_DEV_FB_USED + on (pod) container_memory_rss > 70e9", ALERT, "");
    check("sum(kube_pod_container_resource_requests{resource=\"nvidia.com/gpu\"})", QUERY, "DV514");
    check("sum(kube_pod_container_resource_requests{resource=~\"nvidia.com/gpu|x\"})", QUERY,
          "DV514");
    check("sum(kube_pod_container_resource_requests{resource=\"nvidia_com_gpu\"})", QUERY, "");
    check("kube_node_status_allocatable{resource=\"cpu\",node=\"nvidia.com/gpu\"}", QUERY, "");
    check("my_metric{resource=\"nvidia.com/gpu\"}", QUERY, "");
}

static void test_durations(void **state)
{
    static const char *const yes[] = {"0", "5m", "1h30m", "90s", "1d", "15ms", "1y2w3d4h5m6s7ms"};
    static const char *const no[] = {"",     "5",    "5 minutes", "5min", "m",
                                     "1m1h", "1m1m", "-5m",       "1.5h"};
    for (size_t i = 0; i < DV_ARRAY_SIZE(yes); i++)
        assert_true(dv_lint_query_is_duration(yes[i]));
    for (size_t i = 0; i < DV_ARRAY_SIZE(no); i++)
        assert_false(dv_lint_query_is_duration(no[i]));
}

static void test_syntax(void **state)
{
    check("sum(DCGM_FI_DEV_FB_USED", QUERY, "DV509");
    check("sum(DCGM_FI_DEV_FB_USED])", QUERY, "DV509");
    check("DCGM_FI_DEV_FB_USED{gpu=\"0}", QUERY, "DV509");
    check("DCGM_FI_DEV_FB_USED{gpu=~\"$gpu\"}[$__interval]", QUERY, "");
}

static void test_lengths(void **state)
{
    static const char text[] = "a{x=\"1\"}\nb\n  + c\n# d\nsum by (x) (\n  e\n)\nand f\ng";
    static const size_t want[] = {9, 10, 28, 1};
    size_t at = 0;
    for (size_t i = 0; i < DV_ARRAY_SIZE(want); i++) {
        size_t n = dv_lint_query_length(text + at, sizeof text - 1 - at);
        at += n;
        if (i < 2)
            assert_true(n > 0);
    }
    assert_int_equal(at, sizeof text - 1);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_names),     cmocka_unit_test(test_places),
        cmocka_unit_test(test_mig),       cmocka_unit_test(test_without_series),
        cmocka_unit_test(test_functions), cmocka_unit_test(test_syntax),
        cmocka_unit_test(test_units),     cmocka_unit_test(test_durations),
        cmocka_unit_test(test_lengths),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
