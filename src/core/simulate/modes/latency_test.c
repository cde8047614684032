/* SPDX-License-Identifier: Apache-2.0 */
#include "base/rng.h"
#include "simulate/modes/latency.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>

#include <cmocka.h>

static void test_as_numpy(void **state)
{
    struct dv_latency l;
    dv_latency_init(&l, 100);
    assert_int_equal(dv_latency_percentile(&l, 500), 0);
    /* numpy.percentile([15000, 20000, 35000, 40000, 50000], [0, 40, 50, 99, 100]) */
    static const uint64_t v[] = {35000, 15000, 50000, 20000, 40000};
    for (size_t i = 0; i < DV_ARRAY_SIZE(v); i++)
        assert_int_equal(dv_latency_add(&l, v[i]), 0);
    assert_int_equal(dv_latency_percentile(&l, 0), 15000);
    assert_int_equal(dv_latency_percentile(&l, 400), 29000);
    assert_int_equal(dv_latency_percentile(&l, 500), 35000);
    assert_int_equal(dv_latency_percentile(&l, 990), 49600);
    assert_int_equal(dv_latency_percentile(&l, 1000), 50000);
    assert_true(dv_latency_is_exact(&l));
    assert_int_equal(dv_latency_add(&l, 60000), 0); /* after a sort */
    assert_int_equal(dv_latency_percentile(&l, 1000), 60000);
    assert_int_equal(dv_latency_percentile(&l, 500), 37500);
    dv_latency_done(&l);
}

static uint64_t difference(uint64_t a, uint64_t b)
{
    return a > b ? a - b : b - a;
}

/* The histogram against the values themselves, over twelve orders of magnitude. */
static void test_histogram_error(void **state)
{
    struct dv_rng rng = {1};
    for (int round = 0; round < 30; round++) {
        struct dv_latency exact, coarse;
        double mean = 100;
        for (int i = 0; i < round; i++)
            mean *= 2.2;
        dv_latency_init(&exact, 20000);
        dv_latency_init(&coarse, 100);
        for (int i = 0; i < 20000; i++) {
            uint64_t v = (uint64_t)dv_rng_exponential(&rng, mean);
            assert_int_equal(dv_latency_add(&exact, v), 0);
            assert_int_equal(dv_latency_add(&coarse, v), 0);
        }
        assert_true(dv_latency_is_exact(&exact));
        assert_false(dv_latency_is_exact(&coarse));
        for (uint32_t p = 0; p <= 1000; p += 10) {
            uint64_t want = dv_latency_percentile(&exact, p);
            uint64_t got = dv_latency_percentile(&coarse, p);
            assert_in_range(difference(got, want), 0, want * DV_LATENCY_ERROR_PERMILLE / 1000 + 1);
        }
        assert_int_equal(exact.max_ns, coarse.max_ns);
        dv_latency_done(&exact);
        dv_latency_done(&coarse);
    }
}

static void test_extremes(void **state)
{
    struct dv_latency l;
    dv_latency_init(&l, 0);
    assert_int_equal(dv_latency_add(&l, 0), 0);
    assert_int_equal(dv_latency_add(&l, UINT64_MAX), 0);
    assert_int_equal(dv_latency_percentile(&l, 0), 0);
    assert_true(dv_latency_percentile(&l, 1000) >= UINT64_MAX / 256 * 255);
    assert_int_equal(l.n, 2);
    dv_latency_done(&l);
}

/* All of several is the same as one after the other, whichever of them are histograms. */
static void test_merge(void **state)
{
    static const size_t limits[] = {10, 5000};
    for (int kind = 0; kind < 8; kind++) {
        struct dv_rng rng = {7};
        struct dv_latency a, b, both;
        dv_latency_init(&a, limits[kind & 1]);
        dv_latency_init(&b, limits[kind >> 1 & 1]);
        dv_latency_init(&both, limits[kind >> 2]);
        for (int i = 0; i < 2000; i++) {
            uint64_t v = dv_rng_below(&rng, 1000000);
            assert_int_equal(dv_latency_add(i % 3 ? &a : &b, v), 0);
            assert_int_equal(dv_latency_add(&both, v), 0);
        }
        uint64_t want = dv_latency_percentile(&both, 990);
        assert_int_equal(dv_latency_merge(&a, &b), 0);
        assert_int_equal(a.n, both.n);
        assert_int_equal(a.max_ns, both.max_ns);
        uint64_t got = dv_latency_percentile(&a, 990);
        assert_in_range(difference(got, want), 0, want * DV_LATENCY_ERROR_PERMILLE / 1000 + 1);
        if (kind == 7)
            assert_int_equal(got, want);
        dv_latency_done(&a);
        dv_latency_done(&b);
        dv_latency_done(&both);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_as_numpy),
        cmocka_unit_test(test_histogram_error),
        cmocka_unit_test(test_extremes),
        cmocka_unit_test(test_merge),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
