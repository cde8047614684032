/* SPDX-License-Identifier: Apache-2.0 */
#include "base/rng.h"
#include "policy/mig_demand.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>

#include <cmocka.h>

#define UNKNOWN DV_MIG_DEMAND_UNKNOWN

static const struct dv_mig_demand_rates rates = {0.5, 0.3, 0.9};

/* Night and day: 2 instances, 12 from 8 to 18 o'clock. */
static int32_t daily(size_t hour)
{
    return hour % 24 >= 8 && hour % 24 < 18 ? 12000 : 2000;
}

static void test_nothing_known(void **state)
{
    struct dv_mig_demand d;
    assert_int_equal(dv_mig_demand_init(&d, 24, rates), 0);
    assert_int_equal(dv_mig_demand_predict(&d, 0), UNKNOWN);
    dv_mig_demand_see(&d, UNKNOWN);
    assert_int_equal(dv_mig_demand_predict(&d, 100), UNKNOWN);
    dv_mig_demand_see(&d, 3000);
    assert_int_equal(dv_mig_demand_predict(&d, 0), 3000);
    dv_mig_demand_done(&d);
}

static void test_constant(void **state)
{
    struct dv_mig_demand d;
    assert_int_equal(dv_mig_demand_init(&d, 24, rates), 0);
    for (size_t i = 0; i < 100; i++) {
        dv_mig_demand_see(&d, i % 5 == 3 ? UNKNOWN : 4321);
        for (uint32_t h = 0; h < 50; h++)
            assert_int_equal(dv_mig_demand_predict(&d, h), 4321);
    }
    dv_mig_demand_done(&d);
}

/* What repeats is known after one season, however far ahead; gaps take nothing away. */
static void test_season(void **state)
{
    struct dv_mig_demand d;
    struct dv_rng rng = {1};
    assert_int_equal(dv_mig_demand_init(&d, 24, rates), 0);
    for (size_t i = 0; i < 24; i++)
        dv_mig_demand_see(&d, daily(i));
    for (size_t i = 24; i < 240; i++) {
        for (uint32_t h = 0; h < 60; h++)
            assert_int_equal(dv_mig_demand_predict(&d, h), daily(i + h));
        dv_mig_demand_see(&d, dv_rng_below(&rng, 3) ? daily(i) : UNKNOWN);
    }
    dv_mig_demand_done(&d);
}

/* A day that is unlike the others counts for the next hours, and less for those far away. */
static void test_off_fades(void **state)
{
    struct dv_mig_demand d;
    assert_int_equal(dv_mig_demand_init(&d, 24, rates), 0);
    for (size_t i = 0; i < 240; i++)
        dv_mig_demand_see(&d, 5000);
    dv_mig_demand_see(&d, 9000);
    assert_int_equal(dv_mig_demand_predict(&d, 0), 6800); /* half of it, faded once */
    int32_t last = 6800;
    for (uint32_t h = 1; h < 20; h++) {
        int32_t p = dv_mig_demand_predict(&d, h);
        assert_true(p < last && p > 5000);
        last = p;
    }
    dv_mig_demand_see(&d, 0);
    dv_mig_demand_see(&d, 0);
    assert_true(dv_mig_demand_predict(&d, 0) < 5000);
    dv_mig_demand_done(&d);
}

/* The fit finds that a season is there and what the noise is: its error is the noise's own. */
static void test_fit(void **state)
{
    enum { N = 24 * 60 };
    static int32_t series[N * 2];
    struct dv_mig_demand_rates found;
    struct dv_rng rng = {4};
    int32_t with = 0, without = 0;
    for (size_t i = 0; i < N; i++) {
        series[2 * i] = daily(i) + (int32_t)dv_rng_below(&rng, 2001) - 1000;
        series[2 * i + 1] = UNKNOWN;
    }
    assert_int_equal(dv_mig_demand_fit(series, N, 2, 24, 24, &found, &with), 0);
    assert_in_range(with, 500, 600); /* of noise from -1000 to 1000 the mean is 500 */
    assert_true(found.gamma == 0.1);
    assert_int_equal(dv_mig_demand_fit(series, N, 2, 1, 24, &found, &without), 0);
    assert_true(without > 5 * with);
    assert_int_equal(dv_mig_demand_fit(series + 1, N, 2, 24, 24, &found, &with), 0);
    assert_int_equal(with, 0); /* nothing known: nothing measured */
}

static void test_extremes(void **state)
{
    struct dv_mig_demand d;
    assert_int_equal(dv_mig_demand_init(&d, 3, (struct dv_mig_demand_rates){1, 1, 1}), 0);
    for (int i = 0; i < 30; i++) {
        dv_mig_demand_see(&d, i & 1 ? 0 : DV_MIG_DEMAND_MAX);
        for (uint32_t h = 0; h < 5; h++)
            assert_in_range(dv_mig_demand_predict(&d, h), 0, DV_MIG_DEMAND_MAX);
    }
    dv_mig_demand_done(&d);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_nothing_known), cmocka_unit_test(test_constant),
        cmocka_unit_test(test_season),        cmocka_unit_test(test_off_fades),
        cmocka_unit_test(test_fit),           cmocka_unit_test(test_extremes),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
