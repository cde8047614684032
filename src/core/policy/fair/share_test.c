/* SPDX-License-Identifier: Apache-2.0 */
#include "base/rng.h"
#include "policy/fair/share.h"

#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <string.h>

#include <cmocka.h>

#define GPU ((uint64_t)DV_COMPUTE_FULL)

static void test_guarantee_then_weight(void **state)
{
    const struct dv_fair_claim claims[] = {
        {.guarantee = 2 * GPU, .cap = 8 * GPU, .weight = 1},
        {.guarantee = 0, .cap = 8 * GPU, .weight = 3},
        {.guarantee = 4 * GPU, .cap = 1 * GPU, .weight = 1}, /* wants less than it may have */
    };
    uint64_t got[3];
    assert_int_equal(dv_fair_divide(claims, 3, 9 * GPU, got), 0);
    assert_int_equal(got[2], GPU);
    assert_int_equal(got[0], 2 * GPU + 6 * GPU / 4);
    assert_int_equal(got[1], 6 * GPU * 3 / 4);
}

static void test_priority_first(void **state)
{
    const struct dv_fair_claim claims[] = {
        {.cap = 3 * GPU, .weight = 1, .priority = 1},
        {.cap = 9 * GPU, .weight = 5},
        {.cap = 9 * GPU, .weight = 0, .priority = 9},
    };
    uint64_t got[3];
    assert_int_equal(dv_fair_divide(claims, 3, 8 * GPU, got), 0);
    assert_int_equal(got[0], 3 * GPU);
    assert_int_equal(got[1], 5 * GPU);
    assert_int_equal(got[2], 0);
}

/* Three queues and one GPU: whole numbers would give two of them nothing. */
static void test_remainders_are_dealt(void **state)
{
    const struct dv_fair_claim claims[] = {
        {.cap = GPU, .weight = 1}, {.cap = GPU, .weight = 1}, {.cap = GPU, .weight = 1}};
    uint64_t got[3];
    assert_int_equal(dv_fair_divide(claims, 3, GPU, got), 0);
    assert_int_equal(got[0], 2334);
    assert_int_equal(got[1], 2333);
    assert_int_equal(got[2], 2333);
}

static void test_too_many_promises(void **state)
{
    const struct dv_fair_claim claims[] = {{.guarantee = 6 * GPU, .cap = 9 * GPU, .weight = 1},
                                           {.guarantee = 2 * GPU, .cap = 9 * GPU, .weight = 9}};
    uint64_t got[2];
    assert_int_equal(dv_fair_divide(claims, 2, 4 * GPU, got), 0);
    assert_int_equal(got[0], 3 * GPU);
    assert_int_equal(got[1], GPU);
}

/* Max-min by bisection in floating point. */
static double ideal_level(const struct dv_fair_claim *claims, size_t n, double amount)
{
    double lo = 0, hi = 1e18;
    for (int i = 0; i < 200; i++) {
        double mid = (lo + hi) / 2, sum = 0;
        for (size_t k = 0; k < n; k++)
            sum += fmin((double)claims[k].cap, (double)claims[k].weight * mid);
        if (sum < amount)
            lo = mid;
        else
            hi = mid;
    }
    return lo;
}

static void test_random_is_exact(void **state)
{
    struct dv_rng rng = {7};
    for (int round = 0; round < 2000; round++) {
        struct dv_fair_claim claims[12] = {{0}};
        uint64_t got[12], caps = 0, sum = 0, capacity = dv_rng_below(&rng, 100 * GPU);
        size_t n = 1 + dv_rng_below(&rng, 12);
        for (size_t i = 0; i < n; i++) {
            claims[i].cap = dv_rng_below(&rng, 20 * GPU);
            claims[i].weight = 1 + dv_rng_below(&rng, 50);
            caps += claims[i].cap;
        }
        assert_int_equal(dv_fair_divide(claims, n, capacity, got), 0);
        double level = ideal_level(claims, n, (double)DV_MIN(caps, capacity));
        for (size_t i = 0; i < n; i++) {
            double want = fmin((double)claims[i].cap, (double)claims[i].weight * level);
            sum += got[i];
            assert_true(got[i] <= claims[i].cap);
            assert_true(fabs((double)got[i] - want) < 1.01);
        }
        assert_int_equal(sum, DV_MIN(caps, capacity));
    }
}

static void test_decay(void **state)
{
    assert_int_equal(dv_fair_decay(0, 100), UINT64_C(1) << 63);
    assert_int_equal(dv_fair_decay(100, 100), UINT64_C(1) << 62);
    assert_int_equal(dv_fair_decay(6400, 100), 0);
    assert_int_equal(dv_fair_decay(12345, 0), UINT64_C(1) << 63);
    for (uint64_t t = 1; t < 1000; t += 7) {
        double f = (double)dv_fair_decay(t, 300) / 0x1p63;
        assert_true(fabs(f - exp2(-(double)t / 300)) < 1e-9);
    }
}

/* One step and many agree; a constant holder converges to held * half life / ln 2. */
static void test_usage(void **state)
{
    struct dv_rng rng = {3};
    const uint64_t half = 3600 * DV_NS_PER_S;
    struct dv_fair_usage one = {0}, many = {0};
    uint64_t now = 0;
    while (now < 10 * half) {
        now += 1 + dv_rng_below(&rng, 60 * DV_NS_PER_S);
        dv_fair_usage_advance(&many, 8 * GPU, half, now);
    }
    dv_fair_usage_advance(&one, 8 * GPU, half, now);
    double a = (double)one.unit_ns, b = (double)many.unit_ns;
    assert_true(fabs(a - b) / a < 1e-9);
    double horizon = 8.0 * (double)GPU * (double)half / 0.693147180559945;
    assert_true(fabs(a / horizon - (1 - exp2(-10))) < 1e-3);
    dv_fair_usage_advance(&one, 0, half, now + half);
    assert_true(fabs((double)one.unit_ns / a - 0.5) < 1e-9);
    dv_fair_usage_advance(&one, 5, half, now); /* a clock that goes back changes nothing */
    assert_int_equal(one.at_ns, now + half);
    struct dv_fair_usage all = {0};
    dv_fair_usage_advance(&all, 7, 0, 1000);
    assert_true(all.unit_ns == 7000);
}

static void test_bend(void **state)
{
    const uint64_t weights[] = {1, 1, 2, 0};
    unsigned __int128 used[] = {0, 0, 0, 0};
    uint64_t got[4];
    dv_fair_bend(weights, used, 4, 1000, got);
    assert_int_equal(got[0], got[1]);
    assert_int_equal(got[2], 2 * got[0]);
    assert_int_equal(got[3], 0);
    used[0] = (unsigned __int128)1 << 100;
    used[1] = (unsigned __int128)1 << 100;
    dv_fair_bend(weights, used, 3, 1000, got);
    assert_int_equal(got[0], 1000); /* 1/4 + (1/4 - 1/2): nothing, but not zero */
    assert_int_equal(got[2], 1000 * (UINT64_C(1) << 30));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_guarantee_then_weight),
        cmocka_unit_test(test_priority_first),
        cmocka_unit_test(test_remainders_are_dealt),
        cmocka_unit_test(test_too_many_promises),
        cmocka_unit_test(test_random_is_exact),
        cmocka_unit_test(test_decay),
        cmocka_unit_test(test_usage),
        cmocka_unit_test(test_bend),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
