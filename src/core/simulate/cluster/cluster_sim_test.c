/* SPDX-License-Identifier: Apache-2.0 */
/* The replay: who comes, who leaves, who moves, and that the sums are those of the cluster. */
#include "base/testing/oom.h"
#include "simulate/cluster/arrivals.h"
#include "simulate/cluster/cluster_sim.h"

#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

static struct dv_cluster *nodes_of(uint32_t n, uint32_t gpus)
{
    struct dv_cluster *c = dv_cluster_new();
    for (uint32_t i = 0; c && i < n; i++) {
        char name[16];
        snprintf(name, sizeof name, "n%03u", i);
        struct dv_cluster_node node = {
            .name = name, .cpu_milli = 64000, .memory_mib = 65536, .gpus = gpus, .model = "T4"};
        if (dv_cluster_add(c, &node, NULL) < 0) {
            dv_cluster_free(c);
            return NULL;
        }
    }
    if (c && dv_cluster_seal(c, NULL) < 0) {
        dv_cluster_free(c);
        return NULL;
    }
    return c;
}

/* ---- arrivals ------------------------------------------------------------------------------- */

static uint64_t asked(const struct dv_cluster_pod *pods, const uint32_t *v, uint32_t n)
{
    uint64_t sum = 0;
    for (uint32_t i = 0; i < n; i++)
        sum += (uint64_t)pods[v[i]].gpus * pods[v[i]].gpu_milli;
    return sum;
}

static void arrivals_come_up_to_the_load(void **unused)
{
    struct dv_cluster_pod pods[200];
    for (uint32_t i = 0; i < 200; i++)
        pods[i] = (struct dv_cluster_pod){.gpus = 1, .gpu_milli = (uint16_t)(1 + i * 5)};
    uint64_t all = 0;
    for (uint32_t i = 0; i < 200; i++)
        all += pods[i].gpu_milli;
    uint32_t *v = NULL, *again = NULL, n = 0, n_again = 0;
    assert_int_equal(dv_arrivals_make(pods, 200, 0, 3, &v, &n), 0);
    assert_int_equal(n, 200);
    bool seen[200] = {false};
    for (uint32_t i = 0; i < n; i++) {
        assert_false(seen[v[i]]);
        seen[v[i]] = true;
    }
    free(v);
    assert_int_equal(dv_arrivals_make(pods, 200, all * 2, 3, &v, &n), 0);
    assert_true(asked(pods, v, n) <= all * 2 && asked(pods, v, n) > all * 2 - 1000);
    assert_int_equal(dv_arrivals_make(pods, 200, all * 2, 3, &again, &n_again), 0);
    assert_int_equal(n, n_again);
    assert_memory_equal(v, again, n * sizeof *v);
    free(again);
    free(v);
    assert_int_equal(dv_arrivals_make(pods, 200, all / 2, 4, &v, &n), 0);
    assert_true(asked(pods, v, n) <= all / 2 && asked(pods, v, n) > all / 2 - 1000);
    free(v);
    struct dv_cluster_pod none = {.cpu_milli = 1};
    assert_int_equal(dv_arrivals_make(&none, 1, 1000, 4, &v, &n), 0);
    assert_int_equal(n, 1);
    free(v);
}

/* Pods go as if each that is drawn were taken out of the list at once. */
static void those_that_go_are_drawn_of_those_left(void **unused)
{
    enum { MANY = 300 };
    struct dv_cluster_pod pods[MANY];
    for (uint32_t i = 0; i < MANY; i++)
        pods[i] = (struct dv_cluster_pod){.gpus = 1, .gpu_milli = (uint16_t)(1 + i % 7)};
    for (uint32_t n = 1; n <= MANY; n++) {
        uint32_t *v = NULL, n_v = 0, list[MANY], left = n;
        uint64_t milli = 0, most = n / 2;
        struct dv_rng rng = {n};
        for (uint32_t i = 0; i < n; i++) {
            list[i] = i;
            milli += pods[i].gpu_milli;
        }
        dv_arrivals_shuffle(&rng, list, n);
        while (most && milli > most) {
            uint32_t at = (uint32_t)dv_rng_below(&rng, left--);
            milli -= pods[list[at]].gpu_milli;
            memmove(list + at, list + at + 1, (left - at) * sizeof *list);
        }
        assert_int_equal(dv_arrivals_make(pods, n, most, n, &v, &n_v), 0);
        assert_int_equal(n_v, left);
        assert_memory_equal(v, list, left * sizeof *v);
        free(v);
    }
}

/* ---- time ----------------------------------------------------------------------------------- */

static void pods_come_and_go(void **unused)
{
    dv_cleanup(dv_cluster_freep) struct dv_cluster *c = nodes_of(1, 2);
    struct dv_cluster_pod one = {.gpus = 1, .gpu_milli = 1000};
    struct dv_cluster_pod pods[] = {one, one, one, one};
    /* At 4x: 0-100, 10-110, 20-120 (no room), 110-... after the second left at 110. */
    struct dv_cluster_sim_times times[] = {{0, 100}, {40, 140}, {80, 180}, {440, 530}};
    uint32_t order[] = {0, 1, 2, 3};
    struct dv_cluster_sim_config config = {.cluster = c,
                                           .policy = dv_place_policy_find("first-fit", NULL),
                                           .pods = pods,
                                           .n_pods = 4,
                                           .arrivals = order,
                                           .n_arrivals = 4,
                                           .times = times,
                                           .compress = 4};
    dv_cleanup(dv_cluster_sim_freep) struct dv_cluster_sim *sim = NULL;
    struct dv_cluster_sim_result r;
    assert_int_equal(dv_cluster_sim_new(&config, &sim, NULL), 0);
    for (int i = 0; i < 3; i++)
        assert_int_equal(dv_cluster_sim_step(sim), 0);
    dv_cluster_sim_result(sim, &r);
    assert_int_equal(r.placed, 2);
    assert_int_equal(r.failures[DV_PLACE_LACK_GPU_COUNT], 1);
    assert_int_equal(dv_cluster_sim_node(sim, 2), DV_CLUSTER_NONE);
    assert_int_equal(r.used_gpu_milli, 2000);
    assert_int_equal(dv_cluster_sim_step(sim), 0);
    assert_int_equal(dv_cluster_sim_step(sim), 1);
    dv_cluster_sim_result(sim, &r);
    assert_int_equal(r.departed, 2);
    assert_int_equal(r.placed, 3);
    assert_int_equal(r.used_gpu_milli, 1000);
    assert_int_equal(r.span_s, 110);
    /* 10 s of one GPU, 90 s of both, 10 s of one. */
    assert_true(r.mean_allocated_percent > 90.9 && r.mean_allocated_percent < 90.92);
    assert_true(r.peak_allocated_percent > 99.9);
    times[0].deleted_s = 0;
    times[0].created_s = 1;
    struct dv_err err = {{0}};
    dv_cleanup(dv_cluster_sim_freep) struct dv_cluster_sim *bad = NULL;
    assert_int_equal(dv_cluster_sim_new(&config, &bad, &err), -EINVAL);
}

/* ---- migration ------------------------------------------------------------------------------ */

static void others_move_when_they_may(void **unused)
{
    /* Spread puts a half on each node; then a whole GPU finds no room, unless a half moves. */
    for (int migrate = 0; migrate < 2; migrate++) {
        dv_cleanup(dv_cluster_freep) struct dv_cluster *c = nodes_of(2, 1);
        struct dv_cluster_pod pods[] = {{.gpus = 1, .gpu_milli = 500},
                                        {.gpus = 1, .gpu_milli = 1000}};
        uint32_t order[] = {0, 0, 1, 1};
        struct dv_cluster_sim_config config = {.cluster = c,
                                               .policy = dv_place_policy_find("spread", NULL),
                                               .pods = pods,
                                               .n_pods = 2,
                                               .arrivals = order,
                                               .n_arrivals = 4,
                                               .migrate = migrate};
        dv_cleanup(dv_cluster_sim_freep) struct dv_cluster_sim *sim = NULL;
        struct dv_cluster_sim_result r;
        assert_int_equal(dv_cluster_sim_new(&config, &sim, NULL), 0);
        while (dv_cluster_sim_step(sim) == 0)
            ;
        dv_cluster_sim_result(sim, &r);
        assert_int_equal(r.placed, migrate ? 3 : 2);
        assert_int_equal(r.migrations, migrate);
        assert_int_equal(r.migrated_for, migrate);
        assert_int_equal(r.used_gpu_milli, migrate ? 2000 : 1000);
        if (migrate)
            assert_int_equal(dv_cluster_sim_node(sim, 0), dv_cluster_sim_node(sim, 1));
    }
}

static void sums_are_those_of_the_cluster(void **unused)
{
    struct dv_rng rng = {8};
    struct dv_cluster_pod pods[300];
    struct dv_cluster_sim_times times[300];
    uint32_t order[300];
    for (uint32_t i = 0; i < 300; i++) {
        bool fraction = dv_rng_below(&rng, 2);
        pods[i] = (struct dv_cluster_pod){
            .cpu_milli = (uint32_t)dv_rng_below(&rng, 9000),
            .memory_mib = (uint32_t)dv_rng_below(&rng, 9000),
            .gpus = (uint8_t)(fraction ? 1 : dv_rng_below(&rng, 4)),
            .gpu_milli = (uint16_t)(fraction ? 10 + 70 * dv_rng_below(&rng, 14) : 1000)};
        if (!pods[i].gpus)
            pods[i].gpu_milli = 0;
        times[i].created_s = i * 10;
        times[i].deleted_s = times[i].created_s + dv_rng_below(&rng, 3000);
        order[i] = i;
    }
    const struct dv_place_policy *policy;
    for (size_t p = 0; (policy = dv_place_policy_at(p)); p++) {
        dv_cleanup(dv_cluster_freep) struct dv_cluster *c = nodes_of(6, 4);
        struct dv_cluster_sim_config config = {.cluster = c,
                                               .policy = policy,
                                               .pods = pods,
                                               .n_pods = 300,
                                               .arrivals = order,
                                               .n_arrivals = 300,
                                               .times = p % 2 ? times : NULL,
                                               .compress = 2,
                                               .migrate = true,
                                               .learn_every = p % 3 ? 0 : 60,
                                               .seed = p};
        dv_cleanup(dv_cluster_sim_freep) struct dv_cluster_sim *sim = NULL;
        assert_int_equal(dv_cluster_sim_new(&config, &sim, NULL), 0);
        struct dv_cluster_sum total = dv_cluster_total(c);
        struct dv_cluster_sim_result r;
        for (int n = 1, end = 0; !end; n++) {
            end = dv_cluster_sim_step(sim);
            assert_true(end >= 0);
            struct dv_cluster_sum now = dv_cluster_free_now(c);
            dv_cluster_sim_result(sim, &r);
            assert_int_equal(r.arrived, end ? n - 1 : n);
            assert_int_equal(r.placed + r.failed, r.arrived);
            assert_int_equal(r.used_gpu_milli + now.gpu_milli, total.gpu_milli);
            assert_int_equal(r.used_cpu_milli + now.cpu_milli, total.cpu_milli);
            assert_int_equal(r.used_memory_mib + now.memory_mib, total.memory_mib);
            uint64_t on_nodes = 0;
            for (uint32_t i = 0; i < 300; i++)
                if (dv_cluster_sim_node(sim, i) != DV_CLUSTER_NONE)
                    on_nodes += (uint64_t)pods[i].gpus * pods[i].gpu_milli;
            assert_int_equal(on_nodes, r.used_gpu_milli);
        }
        assert_int_equal(r.arrived, 300);
        assert_true(r.failed > 0);
    }
}

/* ---- memory runs out ------------------------------------------------------------------------ */

static int life(const char *policy)
{
    struct dv_cluster_pod pods[] = {{.gpus = 1, .gpu_milli = 300},
                                    {.gpus = 1, .gpu_milli = 1000, .cpu_milli = 1000},
                                    {.cpu_milli = 3000}};
    dv_cleanup(dv_cluster_freep) struct dv_cluster *c = nodes_of(3, 2);
    uint32_t *order = NULL, n = 0;
    if (!c)
        return -ENOMEM;
    int r = dv_arrivals_make(pods, 3, 7000, 1, &order, &n);
    struct dv_cluster_sim_config config = {.cluster = c,
                                           .policy = dv_place_policy_find(policy, NULL),
                                           .pods = pods,
                                           .n_pods = 3,
                                           .arrivals = order,
                                           .n_arrivals = n,
                                           .migrate = true};
    dv_cleanup(dv_cluster_sim_freep) struct dv_cluster_sim *sim = NULL;
    r = r < 0 ? r : dv_cluster_sim_new(&config, &sim, NULL);
    while (!r)
        r = dv_cluster_sim_step(sim);
    free(order);
    return r < 0 ? r : 0;
}

static void memory_runs_out(void **unused)
{
    static const char *const policies[] = {"fgd", "gpu-clustering", "spread"};
    for (size_t i = 0; i < DV_ARRAY_SIZE(policies); i++) {
        size_t n = 0;
        bool met = true;
        while (met) {
            dv_oom_at(++n);
            int r = life(policies[i]);
            met = dv_oom_end();
            assert_int_equal(r, met ? -ENOMEM : 0);
        }
        assert_in_range(n, 30, 1000);
    }
}

/* Seven instances on a GPU are one GPU in use, whatever their pods say that they need of one. */
static void instances_are_counted_by_their_compute(void **unused)
{
    dv_cleanup(dv_cluster_freep) struct dv_cluster *c = dv_cluster_new();
    const struct dv_cluster_node node = {.name = "n", .gpus = 1, .model = "A100-80GB"};
    assert_int_equal(dv_cluster_add(c, &node, NULL), 0);
    assert_int_equal(dv_cluster_seal(c, NULL), 0);
    struct dv_cluster_pod pod = {.gpus = 1, .gpu_milli = 1000};
    const struct dv_cluster_wish wish = {.profile = "1g.10gb"};
    assert_int_equal(dv_cluster_wish(c, &wish, &pod.wish, NULL), 0);
    const uint32_t order[] = {0, 0, 0, 0, 0, 0, 0, 0};
    struct dv_cluster_sim_config config = {.cluster = c,
                                           .policy = dv_place_policy_find("first-fit", NULL),
                                           .pods = &pod,
                                           .n_pods = 1,
                                           .arrivals = order,
                                           .n_arrivals = 8};
    dv_cleanup(dv_cluster_sim_freep) struct dv_cluster_sim *sim = NULL;
    struct dv_cluster_sim_result r;
    assert_int_equal(dv_cluster_sim_new(&config, &sim, NULL), 0);
    while (dv_cluster_sim_step(sim) == 0)
        ;
    dv_cluster_sim_result(sim, &r);
    assert_int_equal(r.placed, 7);
    assert_int_equal(r.used_gpu_milli, 7 * (1000 / 7));
    assert_true(r.peak_allocated_percent <= 100);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(arrivals_come_up_to_the_load),
        cmocka_unit_test(those_that_go_are_drawn_of_those_left),
        cmocka_unit_test(pods_come_and_go),
        cmocka_unit_test(others_move_when_they_may),
        cmocka_unit_test(sums_are_those_of_the_cluster),
        cmocka_unit_test(memory_runs_out),
        cmocka_unit_test(instances_are_counted_by_their_compute),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
