/* SPDX-License-Identifier: Apache-2.0 */
#include "account/usage.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>

#include <cmocka.h>

static void sums(void **state)
{
    struct dv_usage u = {.busy_ns = 7,
                         .wait_ns = 8,
                         .compute_ns = (dv_u128)3500 * 10 * DV_NS_PER_S,
                         .byte_ns = (dv_u128)2 * DV_GIB * 10 * DV_NS_PER_S};
    assert_true(dv_usage_reserved_ns(&u) == 5 * DV_NS_PER_S);
    assert_true(dv_usage_byte_seconds(&u) == 20 * DV_GIB);
    struct dv_usage sum = u;
    dv_usage_add(&sum, &u);
    assert_true(sum.busy_ns == 14 && sum.wait_ns == 16);
    assert_true(dv_usage_reserved_ns(&sum) == 10 * DV_NS_PER_S);
}

static void a_year_of_eight_large_gpus(void **state)
{
    const uint64_t year = 365 * 86400 * DV_NS_PER_S;
    struct dv_usage u = {.compute_ns = (dv_u128)8 * 7000 * year,
                         .byte_ns = (dv_u128)8 * 141 * DV_GIB * year};
    assert_true(dv_usage_reserved_ns(&u) == 8 * year);
    assert_true(dv_usage_byte_seconds(&u) == UINT64_MAX);
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(sums),
                                       cmocka_unit_test(a_year_of_eight_large_gpus)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
