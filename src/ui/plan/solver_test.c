/* SPDX-License-Identifier: Apache-2.0 */
/* With a solver every small fleet's plan has the fewest cards, and knows it. */
#include "policy/fleet/fleet_testing.h"
#include "solver/solver.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>

#include <cmocka.h>

static struct dv_solver *solver;

static void test_exact(void **state)
{
    struct dv_fleet_workload workloads[DV_FLEET_TESTING_TYPES];
    struct dv_fleet_options options = {.solver = {dv_solver_solve, solver}};
    struct dv_fleet fleet;
    struct dv_rng rng = {2026};
    uint32_t n = 0;
    for (int i = 0; i < 300; i++) {
        dv_cleanup(dv_fleet_plan_freep) struct dv_fleet_plan *plan = NULL;
        dv_fleet_testing_random(&rng, &fleet, workloads);
        assert_int_equal(dv_fleet_plan_new(&fleet, &options, &plan), 0);
        dv_fleet_testing_check(plan);
        uint32_t least = dv_fleet_testing_least(plan->view);
        if (least == UINT32_MAX)
            continue;
        assert_int_equal(plan->needed_cards, least);
        assert_true(plan->proven);
        n++;
    }
    assert_true(n > 150);
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(test_exact)};
    const char *path = getenv("DV_TEST_SOLVER");
    struct dv_err err = {{0}};
    if (!path || dv_solver_open(path, &solver, &err) < 0)
        return 77;
    int r = cmocka_run_group_tests(tests, NULL, NULL);
    dv_solver_free(solver);
    return r;
}
