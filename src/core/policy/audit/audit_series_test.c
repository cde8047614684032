/* SPDX-License-Identifier: Apache-2.0 */
#include "base/rng.h"
#include "policy/audit/audit_series.h"

#include <errno.h>
#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#define S ((int64_t)DV_NS_PER_S)

static void test_order(void **state)
{
    struct dv_audit_series s = {0};
    static const struct {
        int64_t at;
        double value;
        enum dv_audit_add added;
    } steps[] = {
        {100, 1, DV_AUDIT_ADDED},
        {200, 2, DV_AUDIT_ADDED},
        {150, 3, DV_AUDIT_ADDED_OUT_OF_ORDER},
        {150, 3, DV_AUDIT_DUPLICATE},
        {150, 4, DV_AUDIT_CONFLICT},
        {200, 2, DV_AUDIT_DUPLICATE},
        {50, 5, DV_AUDIT_ADDED_OUT_OF_ORDER}, /* before all */
        {50, 5, DV_AUDIT_DUPLICATE},
        {201, 6, DV_AUDIT_ADDED},
    };
    for (size_t i = 0; i < DV_ARRAY_SIZE(steps); i++)
        assert_int_equal(dv_audit_series_busy(&s, steps[i].at * S, steps[i].value), steps[i].added);
    assert_int_equal(s.busy_times.n, 5);
    assert_true(s.busy_times.first_ns == 50 * S && s.busy_times.last_ns == 201 * S);
    assert_true(s.busy_sum == 1 + 2 + 3 + 5 + 6);
    for (int i = 0; i < 20; i++)
        assert_int_equal(dv_audit_series_busy(&s, (300 + i) * S, 0), DV_AUDIT_ADDED);
    assert_int_equal(dv_audit_series_busy(&s, 60 * S, 0), DV_AUDIT_LATE);
    assert_int_equal(dv_audit_series_busy(&s, 200 * S, 0), DV_AUDIT_LATE); /* or a duplicate */
    assert_int_equal(dv_audit_series_busy(&s, 319 * S - 1, 0), DV_AUDIT_ADDED_OUT_OF_ORDER);
}

/* Whatever the order within the window, the figures are those of the ordered samples, and each
 * distance is counted once. */
static void test_any_order_is_the_same(void **state)
{
    struct dv_rng rng = {.state = 3};
    for (int round = 0; round < 300; round++) {
        struct dv_audit_series ordered = {0}, mixed = {0};
        int64_t at[200];
        for (size_t i = 0; i < 200; i++)
            at[i] = (int64_t)(i * 60 + dv_rng_below(&rng, 20)) * S;
        for (size_t i = 0; i < 200; i++)
            dv_audit_series_busy(&ordered, at[i], (double)(at[i] % 97));
        for (size_t i = 0; i < 200; i++) { /* within blocks of eight */
            size_t k = i - i % 8 + dv_rng_below(&rng, 8);
            int64_t t = at[i];
            at[i] = at[k];
            at[k] = t;
        }
        for (size_t i = 0; i < 200; i++)
            assert_true(dv_audit_series_busy(&mixed, at[i], (double)(at[i] % 97)) <=
                        DV_AUDIT_ADDED_OUT_OF_ORDER);
        assert_int_equal(mixed.busy_times.n, 200);
        assert_memory_equal(ordered.busy_times.gaps, mixed.busy_times.gaps,
                            sizeof ordered.busy_times.gaps);
        assert_memory_equal(ordered.bins, mixed.bins, sizeof ordered.bins);
        assert_true(ordered.busy_times.first_ns == mixed.busy_times.first_ns);
        assert_true(ordered.busy_times.last_ns == mixed.busy_times.last_ns);
        double gap = 0, mixed_gap = 0;
        for (size_t i = 0; i < DV_AUDIT_GAP_BINS; i++) {
            gap += ordered.busy_times.gap_ns[i];
            mixed_gap += mixed.busy_times.gap_ns[i];
        }
        assert_true(fabs(gap - mixed_gap) < 1000);
    }
}

static void test_spacing(void **state)
{
    struct dv_audit_series s = {0};
    struct dv_audit_spacing spacing;
    dv_audit_series_spacing(&s.busy_times, &spacing);
    assert_int_equal(spacing.step_ns, 0);
    int64_t at = 1000;
    for (int i = 0; i < 1000; i++) {
        dv_audit_series_busy(&s, at * S + (i % 3) * 20000000, 1); /* 20 ms of jitter */
        at += i == 300 ? 600 : i % 100 == 99 ? 120 : 60;
    }
    dv_audit_series_spacing(&s.busy_times, &spacing);
    assert_in_range(spacing.step_ns, 59 * DV_NS_PER_S, 61 * DV_NS_PER_S);
    assert_int_equal(spacing.gaps, 9 + 1); /* i = 99 .. 899, and 300 */
    assert_int_equal(spacing.missing, 9 + 9);
    assert_in_range(spacing.longest_gap_ns, 599 * DV_NS_PER_S, 601 * DV_NS_PER_S);
}

/* A step on the edge of two octaves of milliseconds (65.536 s), with jitter to both sides. */
static void test_spacing_on_an_edge(void **state)
{
    struct dv_audit_series s = {0};
    struct dv_audit_spacing spacing;
    for (int64_t i = 0; i < 500; i++)
        dv_audit_series_busy(&s, S + i * 65536000000 + (i % 2) * 30000000, 1);
    dv_audit_series_spacing(&s.busy_times, &spacing);
    assert_in_range(spacing.step_ns, UINT64_C(65500000000), UINT64_C(65570000000));
    assert_int_equal(spacing.gaps, 0);
    assert_int_equal(spacing.missing, 0);
}

static void test_quantiles(void **state)
{
    struct dv_audit_series s = {0};
    for (int i = 0; i <= 100; i++)
        dv_audit_series_busy(&s, (i + 1) * S, i);
    assert_true(dv_audit_series_quantile(&s, 0.005) == 0); /* exactly idle, not "up to half" */
    /* Whole percents, as DCGM and NVML give them, are exact. */
    assert_true(dv_audit_series_quantile(&s, 0.5) == 50);
    assert_true(dv_audit_series_quantile(&s, 0.95) == 95);
    assert_true(dv_audit_series_quantile(&s, 1) == 100);
    assert_int_equal(s.idle, 1);
    assert_true(s.busy_peak == 100);
    struct dv_audit_series none = {0}, between = {0};
    assert_true(dv_audit_series_quantile(&none, 0.95) == 0);
    for (int i = 1; i <= 20;
         i++) /* a ratio in percent: 7.000000000000001; then what is not whole */
        dv_audit_series_busy(&between, i * S, i < 20 ? 0.07 * 100 : 7.3);
    assert_true(dv_audit_series_quantile(&between, 0.95) == 7);
    assert_true(dv_audit_series_quantile(&between, 1) == 7.5); /* never below what it is */
}

static void test_idle_runs(void **state)
{
    struct dv_audit_series s = {0};
    static const double busy[] = {0, 0, 5, 0, 0, 0, 0, 7, 0, 0};
    for (int i = 0; i < 10; i++)
        dv_audit_series_busy(&s, (i + 1) * 60 * S, busy[i]);
    assert_int_equal(s.longest_idle_ns,
                     4 * 60 * S); /* from the first idle sample to the next busy */
}

static void assert_same(const struct dv_audit_series *a, const struct dv_audit_series *b)
{
    const struct dv_audit_times *t = &a->busy_times, *u = &b->busy_times;
    assert_int_equal(t->n, u->n);
    assert_true(t->first_ns == u->first_ns && t->last_ns == u->last_ns);
    assert_memory_equal(t->gaps, u->gaps, sizeof t->gaps);
    assert_memory_equal(a->bins, b->bins, sizeof a->bins);
    assert_int_equal(t->out_of_order, u->out_of_order);
    for (size_t i = 0; i < DV_AUDIT_GAP_BINS; i++)
        assert_true(fabs(t->gap_ns[i] - u->gap_ns[i]) < 1);
    assert_true(a->busy_sum == b->busy_sum && a->idle == b->idle);
    assert_int_equal(a->longest_idle_ns, b->longest_idle_ns);
    assert_int_equal(a->memory_times.n, b->memory_times.n);
    assert_int_equal(a->memory_peak, b->memory_peak);
    assert_true(a->memory_sum == b->memory_sum);
}

/* Newest first: the figures are those of the samples in order. */
static void test_backwards_is_the_same(void **state)
{
    struct dv_rng rng = {.state = 5};
    for (int round = 0; round < 300; round++) {
        struct dv_audit_series forward = {0}, backward = {0};
        size_t n = DV_AUDIT_RECENT + 1 + dv_rng_below(&rng, 300);
        int64_t at[400], t = (int64_t)dv_rng_below(&rng, 2000) * S;
        double value[400];
        for (size_t i = 0; i < n; i++) {
            t += (dv_rng_below(&rng, 20) ? 60 : 600) * S + (int64_t)dv_rng_below(&rng, 5) * S;
            at[i] = t;
            value[i] = dv_rng_below(&rng, 3) ? 0 : (double)dv_rng_below(&rng, 100);
        }
        for (size_t i = 0; i < n; i++) {
            dv_audit_series_busy(&forward, at[i], value[i]);
            dv_audit_series_memory(&forward, at[i], value[i]);
        }
        for (size_t i = n; i-- > 0;) {
            assert_true(dv_audit_series_busy(&backward, at[i], value[i]) <=
                        DV_AUDIT_ADDED_OUT_OF_ORDER);
            assert_true(dv_audit_series_memory(&backward, at[i], value[i]) <=
                        DV_AUDIT_ADDED_OUT_OF_ORDER);
        }
        assert_true(backward.busy_times.backwards && backward.memory_times.backwards);
        assert_false(forward.busy_times.backwards || forward.memory_times.backwards);
        assert_same(&forward, &backward);
    }
}

/* The window slides with a series that is read backwards. */
static void test_order_of_one_backwards(void **state)
{
    struct dv_audit_series s = {0};
    for (int i = 0; i < 100; i++) /* neighbours are swapped here and there */
        assert_true(dv_audit_series_busy(&s,
                                         (1000 - (i % 10 == 3   ? i + 1
                                                  : i % 10 == 4 ? i - 1
                                                                : i)) *
                                             S,
                                         i) <= DV_AUDIT_ADDED_OUT_OF_ORDER);
    assert_true(s.busy_times.backwards);
    assert_int_equal(s.busy_times.n, 100);
    assert_int_equal(s.busy_times.out_of_order, 10);
    assert_true(s.busy_times.first_ns == 901 * S && s.busy_times.last_ns == 1000 * S);
    assert_int_equal(dv_audit_series_busy(&s, 901 * S, 99), DV_AUDIT_DUPLICATE);
    assert_int_equal(dv_audit_series_busy(&s, 901 * S, 98), DV_AUDIT_CONFLICT);
    assert_int_equal(dv_audit_series_busy(&s, 950 * S, 1), DV_AUDIT_LATE);
    assert_int_equal(dv_audit_series_busy(&s, 902 * S - 1, 1), DV_AUDIT_ADDED_OUT_OF_ORDER);
    assert_int_equal(dv_audit_series_busy(&s, 0, 1), DV_AUDIT_ADDED);
    assert_true(s.busy_times.first_ns == 0);
}

/* Disorder at the start of what ascends does not turn it. */
static void test_forward_stays(void **state)
{
    struct dv_audit_series s = {0};
    static const int first[] = {5, 4, 3, 2, 1, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15, 16, 17, 18};
    for (size_t i = 0; i < DV_ARRAY_SIZE(first); i++)
        dv_audit_series_busy(&s, first[i] * S, 1);
    assert_false(s.busy_times.backwards);
    assert_int_equal(s.busy_times.out_of_order, 4);
    assert_int_equal(s.busy_times.n, DV_ARRAY_SIZE(first));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_order),
        cmocka_unit_test(test_any_order_is_the_same),
        cmocka_unit_test(test_backwards_is_the_same),
        cmocka_unit_test(test_order_of_one_backwards),
        cmocka_unit_test(test_forward_stays),
        cmocka_unit_test(test_spacing),
        cmocka_unit_test(test_spacing_on_an_edge),
        cmocka_unit_test(test_quantiles),
        cmocka_unit_test(test_idle_runs),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
