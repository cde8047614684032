/* SPDX-License-Identifier: Apache-2.0 */
#include "bench/figures.h"

#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>

#include <cmocka.h>

static struct dv_output *answer(uint64_t offered, const char *const *arrivals,
                                const char *const *latencies, size_t n)
{
    struct dv_output *o = dv_output_new(NULL);
    struct dv_output_node *root = dv_output_root(o);
    dv_output_uint(root, "offered", offered);
    struct dv_output_node *a = dv_output_array(root, "arrivals_ms");
    struct dv_output_node *l = dv_output_array(root, "latencies_ms");
    for (size_t i = 0; i < n; i++) {
        dv_output_number(a, NULL, arrivals[i]);
        dv_output_number(l, NULL, latencies[i]);
    }
    return o;
}

/* What numpy.percentile([10, 20, 40, 80.5], ...) gives, in milliseconds. */
static void test_percentiles(void **state)
{
    static const char *const at[] = {"0", "1.5", "2", "3"};
    static const char *const took[] = {"40", "10.000000", "80.5", "20"};
    struct dv_bench_figures f = {.window_ns = DV_NS_PER_S};
    dv_cleanup(dv_output_free) struct dv_output *o = answer(5, at, took, 4);
    assert_int_equal(dv_bench_figures_add(&f, dv_output_root(o)), 0);
    dv_bench_figures_close(&f);
    assert_int_equal(f.asked, 5);
    assert_int_equal(f.served, 4);
    assert_int_equal(dv_bench_figures_percentile(&f, 0), 10000000);
    assert_int_equal(dv_bench_figures_percentile(&f, 500), 30000000);
    assert_int_equal(dv_bench_figures_percentile(&f, 990), 79285000);
    assert_int_equal(dv_bench_figures_percentile(&f, 1000), 80500000);
    dv_bench_figures_done(&f);
    assert_int_equal(dv_bench_figures_percentile(&f, 500), 0);
}

static void test_served_is_what_ends_in_the_window(void **state)
{
    static const char *const at[] = {"990", "990", "990"};
    static const char *const took[] = {"10", "10.000001", "9"};
    struct dv_bench_figures f = {.window_ns = DV_NS_PER_S};
    dv_cleanup(dv_output_free) struct dv_output *o = answer(3, at, took, 3);
    assert_int_equal(dv_bench_figures_add(&f, dv_output_root(o)), 0);
    assert_int_equal(dv_bench_figures_add(&f, dv_output_root(o)), 0); /* another tenant's */
    assert_int_equal(f.served, 4);
    assert_int_equal(f.asked, 6);
    dv_bench_figures_done(&f);
}

static void test_nonsense(void **state)
{
    struct dv_bench_figures f = {0};
    dv_cleanup(dv_output_free) struct dv_output *o = answer(1, NULL, NULL, 0);
    assert_int_equal(dv_bench_figures_add(&f, NULL), -EPROTO);
    dv_output_uint((struct dv_output_node *)dv_output_get(dv_output_root(o), "arrivals_ms"), NULL,
                   1);
    assert_int_equal(dv_bench_figures_add(&f, dv_output_root(o)), -EPROTO);
    dv_bench_figures_done(&f);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_percentiles),
        cmocka_unit_test(test_served_is_what_ends_in_the_window),
        cmocka_unit_test(test_nonsense),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
