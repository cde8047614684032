/* SPDX-License-Identifier: Apache-2.0 */
#include "simulate/modes/arrivals.h"

#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#define MS DV_NS_PER_MS

static const uint64_t zero[] = {0, 5 * MS, 100 * MS}, one[] = {5 * MS, 12 * MS, 2000 * MS};
static const struct dv_arrivals_recorded recorded[] = {{zero, 3}, {one, 3}};
static const struct dv_arrivals_load from_file = {
    .tenants = 2, .duration_ns = 1000 * MS, .service_ns = 10 * MS, .recorded = recorded};
static const struct dv_arrivals_load made = {.tenants = 7,
                                             .duration_ns = 1000 * DV_NS_PER_S,
                                             .service_ns = 10 * MS,
                                             .rate_milli = 12000,
                                             .seed = 3};

static void test_recorded_in_order(void **state)
{
    static const struct {
        uint64_t at;
        uint32_t tenant;
    } want[] = {{0, 0}, {5 * MS, 0}, {5 * MS, 1}, {12 * MS, 1}, {100 * MS, 0}};
    struct dv_arrivals a;
    uint32_t tenant;
    uint64_t at;
    assert_int_equal(dv_arrivals_check(&from_file, NULL), 0);
    dv_arrivals_start(&a, &from_file);
    for (size_t i = 0; i < DV_ARRAY_SIZE(want); i++) {
        assert_true(dv_arrivals_take(&a, &tenant, &at));
        assert_int_equal(at, want[i].at);
        assert_int_equal(tenant, want[i].tenant);
    }
    assert_false(dv_arrivals_take(&a, &tenant, &at)); /* the last one is beyond the duration */
    assert_false(dv_arrivals_take(&a, &tenant, &at));
    assert_int_equal(dv_arrivals_expected(&from_file), 6);
}

static size_t count(const struct dv_arrivals_load *load, uint32_t tenant, uint64_t *ret_sum)
{
    struct dv_arrivals a;
    size_t n = 0;
    uint64_t last = 0;
    dv_arrivals_start(&a, load);
    *ret_sum = 0;
    for (uint64_t at; dv_arrivals_next(&a, tenant, &at); n++) {
        assert_true(at >= last && at < load->duration_ns);
        last = at;
        *ret_sum = *ret_sum * 31 + at;
    }
    return n;
}

/* 12,000 of each tenant, give or take five standard deviations of a Poisson number. */
static void test_poisson_rate(void **state)
{
    uint64_t sums[7];
    for (uint32_t t = 0; t < 7; t++) {
        assert_in_range(count(&made, t, &sums[t]), 12000 - 550, 12000 + 550);
        for (uint32_t u = 0; u < t; u++)
            assert_true(sums[u] != sums[t]);
    }
}

/* Taking all and taking one at a time are the same requests. */
static void test_take_is_next(void **state)
{
    struct dv_arrivals all, one_by_one;
    uint32_t tenant;
    uint64_t at, same, last = 0;
    dv_arrivals_start(&all, &made);
    dv_arrivals_start(&one_by_one, &made);
    while (dv_arrivals_take(&all, &tenant, &at)) {
        assert_true(at >= last);
        last = at;
        assert_true(dv_arrivals_next(&one_by_one, tenant, &same));
        assert_int_equal(same, at);
    }
    for (tenant = 0; tenant < 7; tenant++)
        assert_false(dv_arrivals_next(&one_by_one, tenant, &same));
}

static void test_hostile_changes_nobody_else(void **state)
{
    struct dv_arrivals_load bad = made;
    uint64_t calm_sum, bad_sum;
    bad.has_hostile = true;
    bad.hostile = 2;
    bad.hostile_service_milli = 10000;
    bad.hostile_rate_milli = 2000;
    assert_int_equal(dv_arrivals_check(&bad, NULL), 0);
    for (uint32_t t = 0; t < 7; t++) {
        size_t calm = count(&made, t, &calm_sum), n = count(&bad, t, &bad_sum);
        assert_int_equal(dv_arrivals_service(&bad, t), t == 2 ? 100 * MS : 10 * MS);
        if (t != 2) {
            assert_int_equal(calm, n);
            assert_true(calm_sum == bad_sum);
        } else {
            assert_in_range(n, 24000 - 800, 24000 + 800);
        }
    }
}

static uint64_t *every(uint64_t gap, size_t n)
{
    uint64_t *at = calloc(n, sizeof *at);
    assert_non_null(at);
    for (size_t i = 0; i < n; i++)
        at[i] = i * gap;
    return at;
}

/* Recorded: twice the rate adds as many as there are; half leaves out half of them. */
static void test_hostile_recorded(void **state)
{
    uint64_t *at = every(MS, 10000), sum;
    struct dv_arrivals_recorded list = {at, 10000};
    struct dv_arrivals_load load = {.tenants = 1,
                                    .duration_ns = 10 * DV_NS_PER_S,
                                    .service_ns = MS,
                                    .recorded = &list,
                                    .has_hostile = true,
                                    .hostile_service_milli = 1000};
    load.hostile_rate_milli = 1000;
    assert_int_equal(count(&load, 0, &sum), 10000);
    load.hostile_rate_milli = 2000;
    assert_in_range(count(&load, 0, &sum), 20000 - 500, 20000 + 500);
    load.hostile_rate_milli = 500;
    assert_in_range(count(&load, 0, &sum), 5000 - 250, 5000 + 250);
    free(at);
}

static void test_refused(void **state)
{
    struct dv_err err = {{0}};
    struct dv_arrivals_load l = made;
    l.tenants = 65;
    assert_int_equal(dv_arrivals_check(&l, &err), -ERANGE);
    assert_string_equal(err.msg, "65 tenants: 1 to 64 can be simulated");
    l = made;
    l.rate_milli = UINT64_C(10000000000);
    assert_int_equal(dv_arrivals_check(&l, &err), -ERANGE);
    assert_non_null(strstr(err.msg, "about 7e+10 requests"));
    l = made;
    l.service_ns = 0;
    assert_int_equal(dv_arrivals_check(&l, &err), -ERANGE);
    l = made;
    l.duration_ns = 0;
    assert_int_equal(dv_arrivals_check(&l, &err), -ERANGE);
    l = made;
    l.has_hostile = true;
    l.hostile = 7;
    assert_int_equal(dv_arrivals_check(&l, &err), -ERANGE);
    assert_string_equal(err.msg, "hostile tenant 7: the tenants are 0 to 6");
    l.hostile = 0;
    l.hostile_service_milli = 0;
    assert_int_equal(dv_arrivals_check(&l, &err), -ERANGE);
    static const uint64_t back[] = {2, 1};
    struct dv_arrivals_recorded list = {back, 2};
    l = from_file;
    l.tenants = 1;
    l.recorded = &list;
    assert_int_equal(dv_arrivals_check(&l, &err), -EINVAL);
    assert_string_equal(err.msg, "arrivals of tenant 0 are not in order of time");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_recorded_in_order),
        cmocka_unit_test(test_poisson_rate),
        cmocka_unit_test(test_take_is_next),
        cmocka_unit_test(test_hostile_changes_nobody_else),
        cmocka_unit_test(test_hostile_recorded),
        cmocka_unit_test(test_refused),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
