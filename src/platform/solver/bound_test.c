/* SPDX-License-Identifier: Apache-2.0 */
/* What core states and this room solves: the bounds of a placement, by hand, and the size values,
 * which core's own small solver has to agree with. */
#include "base/rng.h"
#include "policy/place/own_bound.h"
#include "policy/place/own_values.h"
#include "solver/solver.h"

#include <errno.h>
#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdlib.h>

#include <cmocka.h>

#define NEAR(a, b) assert_true(fabs((a) - (b)) < 1e-4)

static struct dv_solver *solver;
static struct dv_program_solver who;

static int open_solver(void **state)
{
    struct dv_err err = {0};
    const char *path = getenv("DV_TEST_SOLVER");
    if (!path || dv_solver_open(path, &solver, &err) != 0) {
        print_error("DV_TEST_SOLVER: %s\n", path ? err.msg : "not set");
        return -1;
    }
    who = (struct dv_program_solver){dv_solver_solve, solver};
    return 0;
}

static int close_solver(void **state)
{
    dv_solver_freep(&solver);
    return 0;
}

static struct dv_cluster *cluster_of(uint32_t t4, uint32_t a10)
{
    struct dv_cluster *c = dv_cluster_new();
    assert_non_null(c);
    struct dv_cluster_node nodes[] = {
        {.name = "a", .cpu_milli = 50000, .memory_mib = 50000, .gpus = t4, .model = "T4"},
        {.name = "b", .cpu_milli = 50000, .memory_mib = 50000, .gpus = a10, .model = "A10"}};
    for (size_t i = 0; i < (a10 ? 2 : 1); i++)
        assert_int_equal(dv_cluster_add(c, &nodes[i], NULL), 0);
    assert_int_equal(dv_cluster_seal(c, NULL), 0);
    return c;
}

struct come {
    struct dv_cluster_pod pod;
    uint32_t times;
};

static struct dv_own_bound bound_of(struct dv_cluster *c, const struct come *come, size_t n,
                                    double percent)
{
    struct dv_cluster_pod pods[8];
    uint32_t arrivals[200], total = 0;
    for (size_t i = 0; i < n; i++) {
        pods[i] = come[i].pod;
        for (uint32_t k = 0; k < come[i].times; k++)
            arrivals[total++] = (uint32_t)i;
    }
    struct dv_own_bound b;
    struct dv_err err = {0};
    int r = dv_own_bound_find(c, pods, arrivals, total, percent, &who, NULL, &b, &err);
    if (r != 0)
        print_error("%s\n", err.msg);
    assert_int_equal(r, 0);
    return b;
}

/* Ten GPUs, ten pods of 810: 81 %. Four of them and twelve halves fill 4 * 0.81 + 6. */
static void patterns(void **state)
{
    dv_cleanup(dv_cluster_freep) struct dv_cluster *c = cluster_of(10, 0);
    struct come big[] = {{{.gpus = 1, .gpu_milli = 810}, 10}};
    NEAR(bound_of(c, big, 1, 100).refusing_percent, 81);
    NEAR(bound_of(c, big, 1, 100).percent, 81);
    struct come both[] = {{{.gpus = 1, .gpu_milli = 810}, 4}, {{.gpus = 1, .gpu_milli = 500}, 12}};
    NEAR(bound_of(c, both, 2, 100).refusing_percent, 92.4);
    NEAR(bound_of(c, both, 2, 100).percent, 92.4);
}

/* Whole GPUs for ten and 810 for ten: who may refuse takes the whole ones. Who may not serves at
 * least as large a share of the smaller: 10 f + 10 g = 10 with g >= f: f = g = 1/2. */
static void refusing_pays(void **state)
{
    dv_cleanup(dv_cluster_freep) struct dv_cluster *c = cluster_of(10, 0);
    struct come come[] = {{{.gpus = 1, .gpu_milli = 1000}, 10},
                          {{.gpus = 1, .gpu_milli = 810}, 10}};
    struct dv_own_bound b = bound_of(c, come, 2, 1000);
    NEAR(b.refusing_percent, 100);
    NEAR(b.percent, 50 + 40.5);
    assert_int_equal(b.arrivals, 20);
    /* More CPU than the other: nothing compels any more. */
    come[1].pod.cpu_milli = 1;
    NEAR(bound_of(c, come, 2, 1000).percent, 100);
}

/* Only what came before so much was asked for. */
static void until_so_much(void **state)
{
    dv_cleanup(dv_cluster_freep) struct dv_cluster *c = cluster_of(10, 0);
    struct come come[] = {{{.gpus = 1, .gpu_milli = 1000}, 20}};
    struct dv_own_bound b = bound_of(c, come, 1, 70);
    assert_int_equal(b.arrivals, 7);
    NEAR(b.percent, 70);
}

static void models_and_cpu(void **state)
{
    dv_cleanup(dv_cluster_freep) struct dv_cluster *c = cluster_of(6, 4);
    struct come come[] = {{{.gpus = 1, .gpu_milli = 1000}, 6}};
    assert_int_equal(dv_cluster_spec(c, "A10", false, &come[0].pod.spec, NULL), 0);
    NEAR(bound_of(c, come, 1, 100).percent, 40);
    struct come hungry[] = {{{.cpu_milli = 20000, .gpus = 1, .gpu_milli = 1000}, 10}};
    NEAR(bound_of(c, hungry, 1, 100).percent, 50); /* CPU for five */
    struct come large[] = {{{.memory_mib = 25000, .gpus = 1, .gpu_milli = 1000}, 10}};
    NEAR(bound_of(c, large, 1, 100).percent, 40); /* memory for four */
}

static void nothing_to_bound(void **state)
{
    dv_cleanup(dv_cluster_freep) struct dv_cluster *c = cluster_of(0, 0);
    struct dv_own_bound b;
    struct dv_err err = {0};
    assert_int_equal(dv_own_bound_find(c, NULL, NULL, 0, 100, &who, NULL, &b, &err), -EINVAL);
    dv_cleanup(dv_cluster_freep) struct dv_cluster *d = cluster_of(4, 0);
    assert_int_equal(dv_own_bound_find(d, NULL, NULL, 0, 100, &who, NULL, &b, &err), 0);
    NEAR(b.percent, 0);
    assert_int_equal(dv_own_bound_find(d, NULL, NULL, 0, 100, NULL, NULL, &b, &err), -ENOSYS);
}

/* Both solvers find the same optimum, and values that serve as well. */
static void values_agree(void **state)
{
    struct dv_rng rng = {5};
    for (int round = 0; round < 10; round++) {
        dv_cleanup(dv_popularity_freep) struct dv_popularity *p = dv_popularity_new(NULL);
        assert_non_null(p);
        for (int i = 0; i < 12; i++) {
            struct dv_cluster_pod pod = {
                .gpus = 1, .gpu_milli = (uint16_t)(10 * (1 + dv_rng_below(&rng, 100)))};
            assert_int_equal(dv_popularity_add(p, &pod, 1 + dv_rng_below(&rng, 1000)), 0);
        }
        struct dv_own_values small, large;
        assert_int_equal(dv_own_values_solve(p, NULL, &small, NULL), 0);
        assert_int_equal(dv_own_values_solve(p, &who, &large, NULL), 0);
        assert_true(fabs(small.served - large.served) < 1e-6);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(patterns),         cmocka_unit_test(refusing_pays),
        cmocka_unit_test(until_so_much),    cmocka_unit_test(models_and_cpu),
        cmocka_unit_test(nothing_to_bound), cmocka_unit_test(values_agree),
    };
    return cmocka_run_group_tests(tests, open_solver, close_solver);
}
