/* SPDX-License-Identifier: Apache-2.0 */
#include "account/usage.h"
#include "base/rng.h"

#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <string.h>

#include <cmocka.h>

static void test_numbers(void **state)
{
    struct dv_usage u = {0};
    dv_usage_hold(&u, 10 * DV_NS_PER_S, 2 * DV_GIB, 3500);
    assert_true(dv_usage_reserved_ns(&u) == 5 * DV_NS_PER_S);
    assert_true(dv_usage_byte_seconds(&u) == 20 * DV_GIB);
    dv_usage_busy(&u, 7);
    dv_usage_wait(&u, 8);
    struct dv_usage sum = u;
    dv_usage_add(&sum, &u);
    assert_true(sum.busy_ns == 14 && sum.wait_ns == 16);
    assert_true(dv_usage_reserved_ns(&sum) == 10 * DV_NS_PER_S);
}

/* Years of a large node neither wrap nor lose a nanosecond; what does not fit is pinned. */
static void test_large(void **state)
{
    const uint64_t year = UINT64_C(365) * 86400 * DV_NS_PER_S;
    struct dv_usage u = {0};
    for (int i = 0; i < 8; i++)
        dv_usage_hold(&u, year, 141 * DV_GIB, 7000);
    assert_true(dv_usage_reserved_ns(&u) == 8 * year);
    assert_true(u.byte_ns / year == (dv_u128)8 * 141 * DV_GIB);
    assert_true(dv_usage_byte_seconds(&u) == UINT64_MAX);
}

/* However an interval is cut, with sizes that change, the meter gives what one product gives. */
static void test_splitting_changes_nothing(void **state)
{
    struct dv_rng rng = {21};
    for (int round = 0; round < 2000; round++) {
        struct dv_usage cut = {0}, whole = {0};
        struct dv_usage_meter meter = {.since_ns = dv_rng_below(&rng, UINT64_C(1) << 60)};
        uint64_t now = meter.since_ns;
        for (int change = 0; change < 5; change++) {
            uint64_t span = dv_rng_below(&rng, UINT64_C(1) << (1 + dv_rng_below(&rng, 50)));
            uint64_t end = now + span;
            meter.memory_bytes = dv_rng_below(&rng, UINT64_C(1) << 48);
            meter.compute = (uint32_t)dv_rng_below(&rng, DV_COMPUTE_FULL + 1);
            dv_usage_hold(&whole, span, meter.memory_bytes, meter.compute);
            while (now < end) {
                now += 1 + dv_rng_below(&rng, end - now);
                dv_usage_meter_accrue(&meter, &cut, now);
                dv_usage_meter_accrue(&meter, &cut, now - dv_rng_below(&rng, 9)); /* no gain */
            }
        }
        assert_true(cut.compute_ns == whole.compute_ns);
        assert_true(cut.byte_ns == whole.byte_ns);
    }
}

/* Shares that never sum to more than a GPU never sum to more than its time. */
static void test_conservation(void **state)
{
    struct dv_rng rng = {22};
    for (int round = 0; round < 200; round++) {
        struct dv_usage tenants[6] = {{0}}, all = {0};
        struct dv_usage_meter meters[6] = {{0}};
        uint64_t now = 0;
        for (int step = 0; step < 100; step++) {
            uint32_t left = DV_COMPUTE_FULL;
            uint64_t memory = 40 * DV_GIB;
            now += dv_rng_below(&rng, DV_NS_PER_S);
            for (size_t i = 0; i < DV_ARRAY_SIZE(meters); i++) {
                dv_usage_meter_accrue(&meters[i], &tenants[i], now);
                meters[i].compute = (uint32_t)dv_rng_below(&rng, left + 1);
                meters[i].memory_bytes = dv_rng_below(&rng, memory + 1);
                left -= meters[i].compute;
                memory -= meters[i].memory_bytes;
            }
        }
        for (size_t i = 0; i < DV_ARRAY_SIZE(tenants); i++)
            dv_usage_add(&all, &tenants[i]);
        assert_true(dv_usage_reserved_ns(&all) <= now);
        assert_true(all.byte_ns <= (dv_u128)40 * DV_GIB * now);
        assert_true(all.compute_ns > 0);
    }
}

static void test_text(void **state)
{
    static const char *const good[] = {"0", "1", "18446744073709551616",
                                       "340282366920938463463374607431768211455"};
    static const char *const bad[] = {"", "-1", " 1", "1 ", "0x1", "1e3"};
    char buf[DV_USAGE_TEXT];
    dv_u128 v;
    for (size_t i = 0; i < DV_ARRAY_SIZE(good); i++) {
        assert_int_equal(dv_usage_parse(good[i], &v), 0);
        assert_string_equal(dv_usage_format(v, buf), good[i]);
    }
    for (size_t i = 0; i < DV_ARRAY_SIZE(bad); i++)
        assert_int_equal(dv_usage_parse(bad[i], &v), -EINVAL);
    assert_int_equal(dv_usage_parse("340282366920938463463374607431768211456", &v), -ERANGE);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_numbers),
        cmocka_unit_test(test_large),
        cmocka_unit_test(test_splitting_changes_nothing),
        cmocka_unit_test(test_conservation),
        cmocka_unit_test(test_text),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
