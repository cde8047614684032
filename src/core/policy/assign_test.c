/* SPDX-License-Identifier: Apache-2.0 */
#include "base/rng.h"
#include "policy/assign.h"

#include <setjmp.h>
#include <stdarg.h>
#include <string.h>

#include <cmocka.h>

#define SMALL 6

static int64_t brute(uint32_t rows, uint32_t columns, const int64_t *cost, uint32_t row,
                     uint32_t taken)
{
    int64_t best = INT64_MAX;
    if (row == rows)
        return 0;
    for (uint32_t j = 0; j < columns; j++) {
        if (taken >> j & 1)
            continue;
        int64_t c = cost[row * columns + j] + brute(rows, columns, cost, row + 1, taken | 1u << j);
        best = DV_MIN(best, c);
    }
    return best;
}

static int64_t total(uint32_t rows, uint32_t columns, const int64_t *cost, const uint32_t *taken)
{
    uint32_t seen = 0;
    int64_t sum = 0;
    for (uint32_t i = 0; i < rows; i++) {
        assert_true(taken[i] < columns);
        assert_false(seen >> taken[i] & 1);
        seen |= 1u << taken[i];
        sum += cost[i * columns + taken[i]];
    }
    return sum;
}

static void test_against_all_assignments(void **state)
{
    struct dv_rng rng = {4};
    for (int round = 0; round < 20000; round++) {
        int64_t cost[SMALL * SMALL];
        uint32_t taken[SMALL], again[SMALL];
        uint32_t columns = (uint32_t)dv_rng_below(&rng, SMALL) + 1;
        uint32_t rows = (uint32_t)dv_rng_below(&rng, columns + 1);
        uint64_t range = (uint64_t)1 << dv_rng_below(&rng, 56); /* small: many are equal */
        for (size_t i = 0; i < DV_ARRAY_SIZE(cost); i++)
            cost[i] = (int64_t)dv_rng_below(&rng, 2 * range) - (int64_t)range;
        dv_assign_find(rows, columns, cost, taken);
        dv_assign_find(rows, columns, cost, again);
        assert_int_equal(total(rows, columns, cost, taken), brute(rows, columns, cost, 0, 0));
        assert_memory_equal(taken, again, rows * sizeof *taken);
    }
}

static void test_largest(void **state)
{
    static int64_t cost[DV_ASSIGN_MAX * DV_ASSIGN_MAX];
    uint32_t taken[DV_ASSIGN_MAX];
    for (uint32_t i = 0; i < DV_ASSIGN_MAX; i++)
        for (uint32_t j = 0; j < DV_ASSIGN_MAX; j++) /* only the reverse is free */
            cost[i * DV_ASSIGN_MAX + j] = i + j == DV_ASSIGN_MAX - 1 ? 0 : INT64_C(1) << 50;
    dv_assign_find(DV_ASSIGN_MAX, DV_ASSIGN_MAX, cost, taken);
    for (uint32_t i = 0; i < DV_ASSIGN_MAX; i++)
        assert_int_equal(taken[i], DV_ASSIGN_MAX - 1 - i);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_against_all_assignments),
        cmocka_unit_test(test_largest),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
