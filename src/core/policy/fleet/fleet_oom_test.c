/* SPDX-License-Identifier: Apache-2.0 */
/* Memory runs out at each allocation of a plan's life in turn: -ENOMEM each time, and nothing leaks
 * (which the address sanitizer sees). */
#include "base/testing/oom.h"
#include "policy/fleet/fleet_testing.h"

#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#define WORKLOADS 6

static struct dv_fleet_workload workloads[WORKLOADS];
static struct dv_fleet fleet;

static void make_fleet(uint32_t cards)
{
    fleet = (struct dv_fleet){.n_groups = 2, .n_workloads = WORKLOADS, .workloads = workloads};
    fleet.groups[0] = dv_fleet_testing_group("A30", cards);
    fleet.groups[1] = dv_fleet_testing_group("T4", 1);
    fleet.headroom = DV_COMPUTE_FULL / 5;
    for (uint32_t i = 0; i < WORKLOADS; i++) {
        workloads[i] = (struct dv_fleet_workload){
            .count = 2 + i, .processes = 1, .memory_bytes = (2 + i) * GB, .compute = 500 + 300 * i};
        workloads[i].name[0] = (char)('a' + i);
    }
    workloads[5].memory_bytes = workloads[0].memory_bytes; /* these two are of one kind */
    workloads[5].compute = workloads[0].compute;
    workloads[1].isolation = DV_WALL_HARDWARE;
    workloads[2].isolation = DV_WALL_DRIVER;
    workloads[3].interactive = true;
    workloads[4] = (struct dv_fleet_workload){.name = "e", .count = 1, .processes = 1, .gpus = 2};
}

/* No solver; one that breaks is done without. */
static int broken(void *arg, const struct dv_program *program,
                  const struct dv_program_limits *limits, struct dv_program_result *ret,
                  struct dv_err *err)
{
    return program->error == -ENOMEM ? -ENOMEM : -EIO;
}

static int life(void)
{
    struct dv_fleet_options options = {.solver = {broken, NULL}};
    struct dv_fleet_plan *plan = NULL;
    int r = dv_fleet_plan_new(&fleet, &options, &plan);
    if (r < 0)
        assert_null(plan);
    dv_fleet_plan_free(plan);
    return r;
}

/* The first allocations one by one, later ones by growing steps: there are tens of thousands. */
static void run_out(void)
{
    bool met = true;
    size_t n = 0;
    for (size_t step = 1; met; step += n > 200 ? step / 8 + 1 : 0) {
        n += step;
        dv_oom_at(n);
        int r = life();
        met = dv_oom_end();
        assert_int_equal(r, met ? -ENOMEM : 0);
    }
    assert_true(n > 500);
}

static void test_enough_cards(void **state)
{
    make_fleet(0);
    run_out();
}

static void test_too_few(void **state)
{
    make_fleet(3);
    run_out();
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(test_enough_cards),
                                       cmocka_unit_test(test_too_few)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
