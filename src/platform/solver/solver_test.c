/* SPDX-License-Identifier: Apache-2.0 */
/* Programs whose answers are known by hand. The library is $DV_TEST_SOLVER, of the build tree. */
#include "base/rng.h"
#include "solver/solver.h"

#include <errno.h>
#include <fcntl.h>
#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <cmocka.h>

#define NEAR(a, b) assert_true(fabs((a) - (b)) < 1e-6)

static struct dv_solver *solver;

static int open_solver(void **state)
{
    struct dv_err err = {0};
    const char *path = getenv("DV_TEST_SOLVER");
    if (!path || dv_solver_open(path, &solver, &err) != 0) {
        print_error("DV_TEST_SOLVER: %s\n", path ? err.msg : "not set");
        return -1;
    }
    return 0;
}

static int close_solver(void **state)
{
    dv_solver_freep(&solver);
    return 0;
}

static struct dv_program_result solved(const struct dv_program *p,
                                       const struct dv_program_limits *limits,
                                       enum dv_program_status status)
{
    struct dv_program_result result = {0};
    struct dv_err err = {0};
    int r = dv_solver_solve(solver, p, limits, &result, &err);
    if (r != 0)
        print_error("%s\n", err.msg);
    assert_int_equal(r, 0);
    assert_string_equal(dv_program_status_name(result.status), dv_program_status_name(status));
    return result;
}

/* Dantzig's kind of example: max 3x + 5y, x <= 4, 2y <= 12, 3x + 2y <= 18: (2, 6), 36; prices
 * 0, 1.5, 1. */
static void linear(void **state)
{
    dv_cleanup(dv_program_done) struct dv_program p = {.maximize = true};
    uint32_t x = dv_program_column(&p, 3, 0, INFINITY, false);
    uint32_t y = dv_program_column(&p, 5, 0, INFINITY, false);
    uint32_t a = dv_program_row(&p, -INFINITY, 4);
    uint32_t b = dv_program_row(&p, -INFINITY, 12);
    uint32_t c = dv_program_row(&p, -INFINITY, 18);
    dv_program_entry(&p, c, y, 2); /* in any order */
    dv_program_entry(&p, a, x, 1);
    dv_program_entry(&p, c, x, 3);
    dv_program_entry(&p, b, y, 2);
    dv_cleanup(dv_program_result_done) struct dv_program_result got =
        solved(&p, NULL, DV_PROGRAM_OPTIMAL);
    NEAR(got.objective, 36);
    NEAR(got.bound, 36);
    NEAR(got.values[x], 2);
    NEAR(got.values[y], 6);
    NEAR(got.duals[a], 0);
    NEAR(got.duals[b], 1.5);
    NEAR(got.duals[c], 1);
}

/* min 2x + 3y, x + y >= 10, x <= 6: (6, 4), 24; one more unit wanted costs 3, one more x saves 1.
 */
static void minimum_and_its_prices(void **state)
{
    dv_cleanup(dv_program_done) struct dv_program p = {0};
    uint32_t x = dv_program_column(&p, 2, 0, INFINITY, false);
    uint32_t y = dv_program_column(&p, 3, 0, INFINITY, false);
    uint32_t want = dv_program_row(&p, 10, INFINITY);
    uint32_t cap = dv_program_row(&p, -INFINITY, 6);
    dv_program_entry(&p, want, x, 1);
    dv_program_entry(&p, want, y, 1);
    dv_program_entry(&p, cap, x, 1);
    dv_cleanup(dv_program_result_done) struct dv_program_result got =
        solved(&p, NULL, DV_PROGRAM_OPTIMAL);
    NEAR(got.objective, 24);
    NEAR(got.duals[want], 3);
    NEAR(got.duals[cap], -1);
}

static void equalities_ranges_and_free_columns(void **state)
{
    dv_cleanup(dv_program_done) struct dv_program p = {.maximize = true};
    uint32_t x = dv_program_column(&p, 1, -INFINITY, INFINITY, false);
    uint32_t y = dv_program_column(&p, 0, -5, 5, false);
    uint32_t e = dv_program_row(&p, 3, 3);
    uint32_t range = dv_program_row(&p, -2, 7);
    dv_program_entry(&p, e, x, 1);
    dv_program_entry(&p, e, y, 1);
    dv_program_entry(&p, range, x, 1);
    dv_cleanup(dv_program_result_done) struct dv_program_result got =
        solved(&p, NULL, DV_PROGRAM_OPTIMAL);
    NEAR(got.values[x], 7);
    NEAR(got.values[y], -4);
}

/* A column that is added after a solution, as column generation does: 10 feet of wood, pieces of 3
 * and 4. */
static void columns_may_follow(void **state)
{
    dv_cleanup(dv_program_done) struct dv_program p = {0};
    uint32_t three = dv_program_row(&p, 30, INFINITY);
    uint32_t four = dv_program_row(&p, 20, INFINITY);
    uint32_t a = dv_program_column(&p, 1, 0, INFINITY, false);
    dv_program_entry(&p, three, a, 3);
    uint32_t b = dv_program_column(&p, 1, 0, INFINITY, false);
    dv_program_entry(&p, four, b, 2);
    struct dv_program_result got = solved(&p, NULL, DV_PROGRAM_OPTIMAL);
    NEAR(got.objective, 20);
    NEAR(got.duals[three], 1.0 / 3);
    dv_program_result_done(&got);
    uint32_t c = dv_program_column(&p, 1, 0, INFINITY, false); /* 3 + 3 + 4 = 10 */
    dv_program_entry(&p, three, c, 2);
    dv_program_entry(&p, four, c, 1);
    got = solved(&p, NULL, DV_PROGRAM_OPTIMAL);
    NEAR(got.objective, 17.5);
    dv_program_result_done(&got);
}

/* The knapsack 60/10, 100/20, 120/30 in 50: 220 by the last two; its relaxation says 240. */
static void integers(void **state)
{
    dv_cleanup(dv_program_done) struct dv_program p = {.maximize = true};
    static const double worth[] = {60, 100, 120};
    uint32_t row = dv_program_row(&p, -INFINITY, 50);
    for (uint32_t i = 0; i < 3; i++)
        dv_program_entry(&p, row, dv_program_column(&p, worth[i], 0, 1, true), 10 * (i + 1));
    dv_cleanup(dv_program_result_done) struct dv_program_result got =
        solved(&p, NULL, DV_PROGRAM_OPTIMAL);
    NEAR(got.objective, 220);
    NEAR(got.bound, 220);
    assert_true(got.values[0] == 0 && got.values[1] == 1 && got.values[2] == 1);
    assert_null(got.duals);
}

/* Seven items of 0.4 in bins of 1: 4 bins; minimising, with integers and a fraction. */
static void bins(void **state)
{
    dv_cleanup(dv_program_done) struct dv_program p = {0};
    uint32_t slack = dv_program_column(&p, 0.001, 0, 10, false);
    uint32_t items[7], cover;
    for (int i = 0; i < 7; i++)
        items[i] = dv_program_row(&p, 1, 1);
    cover = dv_program_row(&p, 0.5, INFINITY);
    dv_program_entry(&p, cover, slack, 1);
    for (int b = 0; b < 7; b++) {
        uint32_t used = dv_program_column(&p, 1, 0, 1, true);
        uint32_t room = dv_program_row(&p, -INFINITY, 0);
        dv_program_entry(&p, room, used, -1);
        for (int i = 0; i < 7; i++) {
            uint32_t in = dv_program_column(&p, 0, 0, 1, true);
            dv_program_entry(&p, items[i], in, 1);
            dv_program_entry(&p, room, in, 0.4);
        }
    }
    dv_cleanup(dv_program_result_done) struct dv_program_result got =
        solved(&p, NULL, DV_PROGRAM_OPTIMAL);
    NEAR(got.objective, 4.0005);
    NEAR(got.values[slack], 0.5);
}

static void infeasible(void **state)
{
    for (int integer = 0; integer < 2; integer++) {
        dv_cleanup(dv_program_done) struct dv_program p = {.maximize = true};
        uint32_t x = dv_program_column(&p, 1, 0, 10, integer);
        dv_program_entry(&p, dv_program_row(&p, 20, INFINITY), x, 1);
        dv_cleanup(dv_program_result_done) struct dv_program_result got =
            solved(&p, NULL, DV_PROGRAM_INFEASIBLE);
        assert_null(got.values);
    }
    /* Feasible in fractions only: 2x + 2y = 3. */
    dv_cleanup(dv_program_done) struct dv_program p = {0};
    uint32_t row = dv_program_row(&p, 3, 3);
    dv_program_entry(&p, row, dv_program_column(&p, 1, 0, 10, true), 2);
    dv_program_entry(&p, row, dv_program_column(&p, 1, 0, 10, true), 2);
    dv_cleanup(dv_program_result_done) struct dv_program_result got =
        solved(&p, NULL, DV_PROGRAM_INFEASIBLE);
    assert_null(got.values);
}

static void unbounded(void **state)
{
    for (int integer = 0; integer < 2; integer++) {
        dv_cleanup(dv_program_done) struct dv_program p = {.maximize = true};
        uint32_t x = dv_program_column(&p, 1, 0, INFINITY, integer);
        uint32_t y = dv_program_column(&p, 1, 0, INFINITY, integer);
        uint32_t row = dv_program_row(&p, -INFINITY, 1);
        dv_program_entry(&p, row, x, 1);
        dv_program_entry(&p, row, y, -1);
        dv_cleanup(dv_program_result_done) struct dv_program_result got =
            solved(&p, NULL, DV_PROGRAM_UNBOUNDED);
        assert_null(got.values);
    }
}

/* No rows at all, and no entries. */
static void bounds_only(void **state)
{
    for (int integer = 0; integer < 2; integer++) {
        dv_cleanup(dv_program_done) struct dv_program p = {.maximize = true};
        dv_program_column(&p, 2, 0, 3, integer);
        dv_program_column(&p, -1, 1, 3, integer);
        dv_cleanup(dv_program_result_done) struct dv_program_result got =
            solved(&p, NULL, DV_PROGRAM_OPTIMAL);
        NEAR(got.objective, 5);
    }
}

/* Market splitting (Cornuejols and Dawande 1998): small, and out of reach of branch and bound. */
static void market(struct dv_program *p)
{
    struct dv_rng rng = {1};
    uint32_t columns[50];
    for (int j = 0; j < 50; j++)
        columns[j] = dv_program_column(p, 0, 0, 1, true);
    for (int i = 0; i < 6; i++) {
        uint32_t row = dv_program_row(p, 0, 0);
        double sum = 0;
        for (int j = 0; j < 50; j++) {
            double v = (double)dv_rng_below(&rng, 100);
            sum += v;
            dv_program_entry(p, row, columns[j], v);
        }
        p->rows[row].lower = p->rows[row].upper = floor(sum / 2);
        for (int k = 0; k < 2; k++)
            dv_program_entry(p, row, dv_program_column(p, 1, 0, INFINITY, false), k ? 1 : -1);
    }
}

static void limits_hold(void **state)
{
    dv_cleanup(dv_program_done) struct dv_program p = {0};
    market(&p);
    struct dv_program_limits time = {.time_ns = DV_NS_PER_S / 2};
    struct dv_program_result got = {0};
    assert_int_equal(dv_solver_solve(solver, &p, &time, &got, NULL), 0);
    assert_true(got.status == DV_PROGRAM_FEASIBLE || got.status == DV_PROGRAM_STOPPED);
    if (got.status == DV_PROGRAM_FEASIBLE) {
        assert_non_null(got.values);
        assert_true(got.bound <= got.objective + 1e-6 && got.bound >= -1e-6);
    }
    dv_program_result_done(&got);

    struct dv_program_limits nodes = {.nodes = 50};
    assert_int_equal(dv_solver_solve(solver, &p, &nodes, &got, NULL), 0);
    assert_true(got.status == DV_PROGRAM_FEASIBLE || got.status == DV_PROGRAM_STOPPED);
    dv_program_result_done(&got);
}

static void gaps_hold(void **state)
{
    dv_cleanup(dv_program_done) struct dv_program p = {.maximize = true};
    struct dv_rng rng = {7};
    uint32_t rows[5];
    for (int i = 0; i < 5; i++)
        rows[i] = dv_program_row(&p, 0, 2000);
    for (int j = 0; j < 60; j++) {
        uint32_t column = dv_program_column(&p, 50 + (double)dv_rng_below(&rng, 50), 0, 3, true);
        for (int i = 0; i < 5; i++)
            dv_program_entry(&p, rows[i], column, 20 + (double)dv_rng_below(&rng, 80));
    }
    struct dv_program_limits limits = {.gap = 0.05, .nodes = 2000};
    dv_cleanup(dv_program_result_done) struct dv_program_result got =
        solved(&p, &limits, DV_PROGRAM_OPTIMAL);
    assert_true(got.bound >= got.objective - 1e-6);
    assert_true(got.bound <= got.objective * 1.06);
}

static bool third_time(void *arg)
{
    int *n = arg;
    return ++*n >= 3;
}

static void cancelled(void **state)
{
    dv_cleanup(dv_program_done) struct dv_program p = {0};
    market(&p);
    int asked = 0;
    struct dv_program_limits limits = {.cancelled = third_time, .cancelled_arg = &asked};
    dv_cleanup(dv_program_result_done) struct dv_program_result got =
        solved(&p, &limits, DV_PROGRAM_CANCELLED);
    assert_int_equal(asked, 3);
    assert_null(got.values);
}

static void garbage(void **state)
{
    dv_cleanup(dv_program_done) struct dv_program p = {0};
    struct dv_program_result got = {.objective = 42};
    struct dv_err err = {0};
    assert_int_equal(dv_solver_solve(solver, &p, NULL, &got, &err), -EINVAL);
    assert_non_null(strstr(err.msg, "no columns"));
    dv_program_column(&p, 1, 0, 1, false);
    struct dv_program_limits limits = {.gap = NAN};
    assert_int_equal(dv_solver_solve(solver, &p, &limits, &got, &err), -EINVAL);
    assert_non_null(strstr(err.msg, "gap"));
    assert_true(got.objective == 42); /* untouched */
}

/* Random linear programs against what duality says: the prices times the bounds are the optimum. */
static void prices_prove_the_optimum(void **state)
{
    struct dv_rng rng = {11};
    for (int round = 0; round < 20; round++) {
        dv_cleanup(dv_program_done) struct dv_program p = {.maximize = true};
        for (int i = 0; i < 8; i++)
            dv_program_row(&p, -INFINITY, 1 + (double)dv_rng_below(&rng, 100));
        for (int j = 0; j < 12; j++) {
            uint32_t column =
                dv_program_column(&p, (double)dv_rng_below(&rng, 20), 0, INFINITY, false);
            for (uint32_t i = 0; i < 8; i++)
                dv_program_entry(&p, i, column, 1 + (double)dv_rng_below(&rng, 9));
        }
        dv_cleanup(dv_program_result_done) struct dv_program_result got =
            solved(&p, NULL, DV_PROGRAM_OPTIMAL);
        double dual = 0;
        for (size_t i = 0; i < 8; i++) {
            assert_true(got.duals[i] >= -1e-7);
            dual += got.duals[i] * p.rows[i].upper;
        }
        NEAR(dual, got.objective);
    }
}

/* What CBC prints goes nowhere, and what this process has in its buffers is written once. */
static void says_nothing(void **state)
{
    FILE *file = tmpfile();
    assert_non_null(file);
    fflush(stdout);
    int before = dup(1);
    dup2(fileno(file), 1);
    printf("ours ");
    integers(NULL);
    infeasible(NULL);
    unbounded(NULL);
    fflush(stdout);
    dup2(before, 1);
    close(before);
    char text[256] = "";
    rewind(file);
    size_t n = fread(text, 1, sizeof text - 1, file);
    fclose(file);
    assert_int_equal(n, 5);
    assert_string_equal(text, "ours ");
}

static void absent(void **state)
{
    struct dv_solver *none = NULL;
    struct dv_err err = {0};
    assert_int_equal(dv_solver_open("/nowhere/libdivvy-solver.so", &none, &err), -ENOSYS);
    assert_non_null(strstr(err.msg, "coinor-libcbc3"));
    assert_null(none);
    assert_int_equal(dv_solver_open("libm.so.6", &none, &err), -ENOSYS);
    assert_non_null(strstr(err.msg, "not divvy's solver"));
    assert_true(strlen(dv_solver_version(solver)) > 0);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(linear),
        cmocka_unit_test(minimum_and_its_prices),
        cmocka_unit_test(equalities_ranges_and_free_columns),
        cmocka_unit_test(columns_may_follow),
        cmocka_unit_test(integers),
        cmocka_unit_test(bins),
        cmocka_unit_test(infeasible),
        cmocka_unit_test(unbounded),
        cmocka_unit_test(bounds_only),
        cmocka_unit_test(limits_hold),
        cmocka_unit_test(gaps_hold),
        cmocka_unit_test(cancelled),
        cmocka_unit_test(garbage),
        cmocka_unit_test(prices_prove_the_optimum),
        cmocka_unit_test(says_nothing),
        cmocka_unit_test(absent),
    };
    return cmocka_run_group_tests(tests, open_solver, close_solver);
}
