/* SPDX-License-Identifier: Apache-2.0 */
#include "base/rng.h"
#include "policy/simplex.h"

#include <errno.h>
#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <string.h>

#include <cmocka.h>

#define NEAR(a, b) assert_true(fabs((a) - (b)) < 1e-6)

static void optimum_and_prices(void **state)
{
    dv_cleanup(dv_program_done) struct dv_program p = {.maximize = true};
    uint32_t x = dv_program_column(&p, 3, 0, INFINITY, false);
    uint32_t y = dv_program_column(&p, 5, 0, INFINITY, false);
    uint32_t a = dv_program_row(&p, -INFINITY, 4);
    uint32_t b = dv_program_row(&p, -INFINITY, 12);
    uint32_t c = dv_program_row(&p, -INFINITY, 18);
    dv_program_entry(&p, a, x, 1);
    dv_program_entry(&p, b, y, 2);
    dv_program_entry(&p, c, x, 3);
    dv_program_entry(&p, c, y, 2);
    dv_cleanup(dv_program_result_done) struct dv_program_result got = {0};
    assert_int_equal(dv_simplex_solve(NULL, &p, NULL, &got, NULL), 0);
    assert_int_equal(got.status, DV_PROGRAM_OPTIMAL);
    NEAR(got.objective, 36);
    NEAR(got.values[x], 2);
    NEAR(got.values[y], 6);
    NEAR(got.duals[a], 0);
    NEAR(got.duals[b], 1.5);
    NEAR(got.duals[c], 1);
}

/* Beale's program (1955), on which Dantzig's rule alone turns in a circle. */
static void ends_where_it_could_cycle(void **state)
{
    static const double rows[3][4] = {
        {0.25, -60, -1.0 / 25, 9}, {0.5, -90, -1.0 / 50, 3}, {0, 0, 1, 0}};
    static const double costs[4] = {-0.75, 150, -0.02, 6};
    dv_cleanup(dv_program_done) struct dv_program p = {0};
    for (uint32_t j = 0; j < 4; j++)
        dv_program_column(&p, costs[j], 0, INFINITY, false);
    for (uint32_t i = 0; i < 3; i++) {
        dv_program_row(&p, -INFINITY, i == 2);
        for (uint32_t j = 0; j < 4; j++)
            dv_program_entry(&p, i, j, rows[i][j]);
    }
    dv_cleanup(dv_program_result_done) struct dv_program_result got = {0};
    assert_int_equal(dv_simplex_solve(NULL, &p, NULL, &got, NULL), 0);
    assert_int_equal(got.status, DV_PROGRAM_OPTIMAL);
    NEAR(got.objective, -0.05);
}

static void unbounded(void **state)
{
    dv_cleanup(dv_program_done) struct dv_program p = {.maximize = true};
    uint32_t x = dv_program_column(&p, 1, 0, INFINITY, false);
    dv_program_entry(&p, dv_program_row(&p, -INFINITY, 1), x, -1);
    dv_cleanup(dv_program_result_done) struct dv_program_result got = {0};
    assert_int_equal(dv_simplex_solve(NULL, &p, NULL, &got, NULL), 0);
    assert_int_equal(got.status, DV_PROGRAM_UNBOUNDED);
    assert_null(got.values);
}

static void other_shapes_are_refused(void **state)
{
    static const struct {
        double lower, upper, row_lower, row_upper;
        bool integer;
    } shapes[] = {
        {0, 1, -INFINITY, 1, false},
        {1, INFINITY, -INFINITY, 1, false},
        {0, INFINITY, 0, 1, false},
        {0, INFINITY, -INFINITY, -1, false},
        {0, INFINITY, -INFINITY, 1, true},
        {-INFINITY, INFINITY, -INFINITY, 1, false},
        {0, INFINITY, -INFINITY, INFINITY, false},
    };
    for (size_t i = 0; i < DV_ARRAY_SIZE(shapes); i++) {
        dv_cleanup(dv_program_done) struct dv_program p = {.maximize = true};
        uint32_t x = dv_program_column(&p, 1, shapes[i].lower, shapes[i].upper, shapes[i].integer);
        dv_program_entry(&p, dv_program_row(&p, shapes[i].row_lower, shapes[i].row_upper), x, 1);
        struct dv_program_result got = {0};
        struct dv_err err = {0};
        assert_int_equal(dv_simplex_solve(NULL, &p, NULL, &got, &err), -EOPNOTSUPP);
        assert_non_null(strstr(err.msg, "shape"));
    }
    dv_cleanup(dv_program_done) struct dv_program none = {0};
    struct dv_program_result got = {0};
    assert_int_equal(dv_simplex_solve(NULL, &none, NULL, &got, NULL), -EINVAL);
}

/* The prices times the bounds are the optimum, no column gains at them: it is the optimum. */
static void prices_prove_it(void **state)
{
    struct dv_rng rng = {3};
    for (int round = 0; round < 100; round++) {
        dv_cleanup(dv_program_done) struct dv_program p = {.maximize = true};
        uint32_t rows = 1 + (uint32_t)dv_rng_below(&rng, 30);
        uint32_t columns = 1 + (uint32_t)dv_rng_below(&rng, 60);
        for (uint32_t i = 0; i < rows; i++)
            dv_program_row(&p, -INFINITY, (double)dv_rng_below(&rng, 50));
        for (uint32_t j = 0; j < columns; j++) {
            dv_program_column(&p, (double)dv_rng_below(&rng, 20), 0, INFINITY, false);
            for (uint32_t i = 0; i < rows; i++)
                dv_program_entry(&p, i, j, 1 + (double)dv_rng_below(&rng, 5));
        }
        dv_cleanup(dv_program_result_done) struct dv_program_result got = {0};
        assert_int_equal(dv_simplex_solve(NULL, &p, NULL, &got, NULL), 0);
        assert_int_equal(got.status, DV_PROGRAM_OPTIMAL);
        double dual = 0;
        for (uint32_t i = 0; i < rows; i++)
            dual += got.duals[i] * p.rows[i].upper;
        NEAR(dual, got.objective);
        for (uint32_t j = 0; j < columns; j++) {
            double cost = 0;
            for (size_t k = 0; k < p.n_entries; k++)
                if (p.entries[k].column == j)
                    cost += p.entries[k].value * got.duals[p.entries[k].row];
            assert_true(cost >= p.columns[j].objective - 1e-6);
            assert_true(got.values[j] >= -1e-9);
        }
    }
}

static bool at_once(void *arg)
{
    return true;
}

static void can_be_cancelled(void **state)
{
    dv_cleanup(dv_program_done) struct dv_program p = {.maximize = true};
    uint32_t x = dv_program_column(&p, 1, 0, INFINITY, false);
    dv_program_entry(&p, dv_program_row(&p, -INFINITY, 1), x, 1);
    struct dv_program_limits limits = {.cancelled = at_once};
    dv_cleanup(dv_program_result_done) struct dv_program_result got = {0};
    assert_int_equal(dv_simplex_solve(NULL, &p, &limits, &got, NULL), 0);
    assert_int_equal(got.status, DV_PROGRAM_CANCELLED);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(optimum_and_prices), cmocka_unit_test(ends_where_it_could_cycle),
        cmocka_unit_test(unbounded),          cmocka_unit_test(other_shapes_are_refused),
        cmocka_unit_test(prices_prove_it),    cmocka_unit_test(can_be_cancelled),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
