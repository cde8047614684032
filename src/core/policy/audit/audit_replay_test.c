/* SPDX-License-Identifier: Apache-2.0 */
/* Plans and their replay. */
#include "base/rng.h"
#include "policy/audit/audit_replay.h"

#include <errno.h>
#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#define S ((int64_t)DV_NS_PER_S)
#define STEP (60 * S)

static struct dv_audit_wish wish(void)
{
    return (struct dv_audit_wish){.gpu_memory_bytes = 80 * DV_GIB,
                                  .memory_margin_permille = 0,
                                  .headroom = DV_COMPUTE_FULL / 5};
}

/* One workload: samples [from, to) of the beat, busy and memory by functions of the beat. */
struct shape {
    int from, to, busy_every, busy_at;
    double busy, memory;
};

static struct dv_audit *fleet(const struct shape *shapes, size_t n, const struct dv_audit_wish *w)
{
    struct dv_audit *a = dv_audit_new();
    assert_non_null(a);
    for (size_t i = 0; i < n; i++) {
        char name[32];
        uint32_t k = 0;
        snprintf(name, sizeof name, "w%zu", i);
        assert_int_equal(dv_audit_find(a, name, "", &k), 0);
        for (int t = shapes[i].from; t < shapes[i].to; t++) {
            bool on = t % shapes[i].busy_every == shapes[i].busy_at;
            dv_audit_busy(a, k, 1000 * S + t * STEP, on ? shapes[i].busy : 0);
            dv_audit_memory(a, k, 1000 * S + t * STEP, shapes[i].memory);
        }
    }
    assert_int_equal(dv_audit_finish(a, w), 0);
    return a;
}

static void replay(const struct dv_audit *a, const struct dv_audit_plan *plan,
                   const struct dv_audit_wish *w, const struct shape *shapes, size_t n,
                   struct dv_audit_replayed *ret)
{
    struct dv_audit_replay *r = NULL;
    const struct dv_audit_fleet *f = dv_audit_fleet(a);
    assert_int_equal(dv_audit_replay_new(a, a, plan, w, f->first_ns, f->last_ns + 1, &r), 0);
    while (dv_audit_replay_slab(r))
        for (size_t i = 0; i < n; i++)
            for (int t = shapes[i].from; t < shapes[i].to; t++) {
                bool on = t % shapes[i].busy_every == shapes[i].busy_at;
                dv_audit_replay_busy(r, (uint32_t)i, 1000 * S + t * STEP, on ? shapes[i].busy : 0);
                dv_audit_replay_memory(r, (uint32_t)i, 1000 * S + t * STEP, shapes[i].memory);
            }
    dv_audit_replay_done(r, ret);
    dv_audit_replay_free(r);
}

static void test_memory_binds(void **state)
{
    struct dv_audit_wish w = wish();
    struct shape shapes[10];
    for (int i = 0; i < 10; i++)
        shapes[i] = (struct shape){0, 100, 4, i % 4, 20, 30.0 * (double)DV_GIB};
    struct dv_audit *a = fleet(shapes, 10, &w);
    struct dv_audit_plan *plan = NULL;
    assert_int_equal(dv_audit_pack(a, &w, &plan), 0);
    assert_int_equal(plan->n_gpus, 5); /* 2 x 30 GiB in 80 */
    assert_int_equal(plan->gpus_at_least, 4);
    assert_true(plan->memory_binds);
    assert_int_equal(plan->by_how[DV_AUDIT_GOVERNED], 5);
    struct dv_audit_replayed r;
    replay(a, plan, &w, shapes, 10, &r);
    assert_int_equal(r.gpu_steps, 500);
    assert_int_equal(r.memory_over_steps, 0);
    assert_true(r.waited == 0);
    dv_audit_plan_free(plan);
    dv_audit_free(a);
}

static void test_compute_binds(void **state)
{
    struct dv_audit_wish w = wish();
    struct shape shapes[8];
    for (int i = 0; i < 8; i++)
        shapes[i] = (struct shape){0, 100, 2, i % 2, 40, 1e9};
    struct dv_audit *a = fleet(shapes, 8, &w);
    struct dv_audit_plan *plan = NULL;
    assert_int_equal(dv_audit_pack(a, &w, &plan), 0);
    assert_int_equal(plan->n_gpus, 4); /* 2 x 40 % in 80 % */
    assert_int_equal(plan->gpus_at_least, 4);
    assert_true(plan->compute_binds && !plan->memory_binds);
    dv_audit_plan_free(plan);
    dv_audit_free(a);
}

/* Those that are gone make room for those that come; a step between is enough. */
static void test_places_are_used_again(void **state)
{
    struct dv_audit_wish w = wish();
    const struct shape shapes[] = {
        {0, 100, 2, 0, 20, 70e9}, {100, 200, 2, 0, 20, 70e9}, {200, 300, 2, 0, 20, 70e9},
        {0, 300, 1, 0, 99, 1e9},  {0, 300, 2, 1, 20, 9e9}, /* beside them all the time */
    };
    struct dv_audit *a = fleet(shapes, 5, &w);
    struct dv_audit_plan *plan = NULL;
    assert_int_equal(dv_audit_pack(a, &w, &plan), 0);
    assert_int_equal(plan->n_gpus, 2);
    assert_int_equal(plan->by_how[DV_AUDIT_EXCLUSIVE], 1);
    for (int i = 1; i < 5; i++)
        if (i != 3)
            assert_int_equal(plan->gpu_of[0], plan->gpu_of[i]);
    dv_audit_plan_free(plan);
    dv_audit_free(a);
}

/* Instances too: seven at a time, fourteen in all, on one GPU. */
static void test_instances_are_used_again(void **state)
{
    struct dv_audit_wish w = wish();
    const struct dv_gpu_model *m = dv_gpu_model_find("A100-80GB", NULL);
    assert_non_null(m);
    w.mig = m->mig;
    w.wall = DV_WALL_HARDWARE;
    struct shape shapes[14];
    for (int i = 0; i < 14; i++) /* each for 70 steps, one begins where another ends */
        shapes[i] = (struct shape){i * 10, i * 10 + 70, 1, 0, 10, 5e9};
    struct dv_audit *a = fleet(shapes, 14, &w);
    struct dv_audit_plan *plan = NULL;
    assert_int_equal(dv_audit_pack(a, &w, &plan), 0);
    assert_int_equal(plan->n_gpus, 1);
    assert_int_equal(plan->gpus[0].workloads, 14);
    assert_int_equal(plan->gpus[0].workloads_peak, 7);
    dv_audit_plan_free(plan);
    dv_audit_free(a);
}

/* Three tenants that ask for 60 % each in the same step: the queue that builds up drains in the
 * next one. By hand: 180 % asked, 80 % wait, 48 s. */
static void test_waiting(void **state)
{
    struct dv_audit_wish w = wish();
    struct shape shapes[3];
    for (int i = 0; i < 3; i++)
        shapes[i] = (struct shape){0, 100, 50, 7, 60, 1e9};
    struct dv_audit *a = fleet(shapes, 3, &w);
    struct dv_audit_plan *plan = NULL;
    assert_int_equal(dv_audit_pack(a, &w, &plan), 0);
    assert_int_equal(plan->n_gpus, 1); /* by p95 they are idle */
    struct dv_audit_replayed r;
    replay(a, plan, &w, shapes, 3, &r);
    assert_int_equal(r.samples, 6);
    assert_true(r.waited == 1);
    assert_in_range(r.longest_wait_ns, UINT64_C(47990000000), UINT64_C(48010000000));
    assert_in_range(r.mean_wait_ns, UINT64_C(47990000000), UINT64_C(48010000000));
    dv_audit_plan_free(plan);
    dv_audit_free(a);
}

/* Two that are busy half of each step: at random they meet half of the time, and need not wait. */
static void test_meeting(void **state)
{
    struct dv_audit_wish w = wish();
    const struct shape shapes[] = {{0, 100, 1, 0, 40, 1e9}, {0, 100, 1, 0, 40, 1e9}};
    struct dv_audit *a = fleet(shapes, 2, &w);
    struct dv_audit_plan *plan = NULL;
    assert_int_equal(dv_audit_pack(a, &w, &plan), 0);
    assert_int_equal(plan->n_gpus, 1);
    struct dv_audit_replayed r;
    replay(a, plan, &w, shapes, 2, &r);
    assert_true(r.waited == 0);
    assert_true(fabs(r.met_percent - 40) < 0.1);
    dv_audit_plan_free(plan);
    dv_audit_free(a);
}

/* A plan that did not know how much memory would be used. */
static void test_memory_over(void **state)
{
    struct dv_audit_wish w = wish();
    const struct shape seen[] = {{0, 100, 2, 0, 20, 30e9}, {0, 100, 2, 1, 20, 30e9}};
    const struct shape then[] = {
        {0, 100, 2, 0, 20, 60e9}, {0, 100, 2, 1, 20, 30e9}, {50, 100, 2, 1, 20, 30e9}};
    struct dv_audit *a = fleet(seen, 2, &w), *b = fleet(then, 3, &w);
    struct dv_audit_plan *plan = NULL;
    struct dv_audit_replay *r = NULL;
    struct dv_audit_replayed result;
    const struct dv_audit_fleet *f = dv_audit_fleet(b);
    assert_int_equal(dv_audit_pack(a, &w, &plan), 0);
    assert_int_equal(dv_audit_replay_new(b, a, plan, &w, f->first_ns, f->last_ns + 1, &r), 0);
    while (dv_audit_replay_slab(r))
        for (uint32_t i = 0; i < 3; i++)
            for (int t = then[i].from; t < then[i].to; t++)
                dv_audit_replay_memory(r, i, 1000 * S + t * STEP, then[i].memory);
    dv_audit_replay_done(r, &result);
    assert_int_equal(result.unplanned, 1);
    assert_int_equal(result.gpu_steps, 100);
    assert_int_equal(result.memory_over_steps, 100);
    assert_in_range(result.memory_over_bytes, 90000000000 - 80 * DV_GIB - 1000000,
                    90000000000 - 80 * DV_GIB + 1000000);
    dv_audit_replay_free(r);
    dv_audit_plan_free(plan);
    dv_audit_free(a);
    dv_audit_free(b);
}

static void test_mig(void **state)
{
    struct dv_audit_wish w = wish();
    const struct dv_gpu_model *m = dv_gpu_model_find("A100-80GB", NULL);
    assert_non_null(m);
    w.mig = m->mig;
    w.trust = DV_TRUST_UNTRUSTED;
    w.gpu_memory_bytes = dv_gpu_model_usable(m);
    struct shape shapes[14];
    for (int i = 0; i < 14; i++)
        shapes[i] = (struct shape){0, 100, 1, 0, i == 3 ? 14 : 7, 5e9};
    struct dv_audit *a = fleet(shapes, 14, &w);
    struct dv_audit_plan *plan = NULL;
    assert_int_equal(dv_audit_pack(a, &w, &plan), 0);
    assert_int_equal(plan->n_gpus, 2); /* 7 instances of 1g.10gb each */
    assert_int_equal(plan->gpus_at_least, 2);
    assert_int_equal(plan->gpus[0].workloads_peak, 7);
    struct dv_audit_replayed r;
    replay(a, plan, &w, shapes, 14, &r);
    assert_true(r.waited == 0);        /* 14 % is less than a seventh */
    assert_true(r.met_percent < 0.01); /* single-precision sums */
    dv_audit_plan_free(plan);
    dv_audit_free(a);
}

/* Whatever the fleet: nobody is left out, no GPU holds more than it has at any instant, the bound
 * holds, and a replay of what was planned finds memory enough. */
static void test_plans_hold(void **state)
{
    struct dv_rng rng = {.state = 17};
    struct dv_audit_wish w = wish();
    for (int round = 0; round < 60; round++) {
        struct shape shapes[60];
        size_t n = 1 + dv_rng_below(&rng, 60);
        for (size_t i = 0; i < n; i++) {
            int from = (int)dv_rng_below(&rng, 100);
            shapes[i] = (struct shape){from,
                                       from + 40 + (int)dv_rng_below(&rng, 100),
                                       1 + (int)dv_rng_below(&rng, 6),
                                       0,
                                       (double)dv_rng_below(&rng, 101),
                                       (double)dv_rng_below(&rng, 80) * 1e9 + 1};
        }
        struct dv_audit *a = fleet(shapes, n, &w);
        struct dv_audit_plan *plan = NULL;
        assert_int_equal(dv_audit_pack(a, &w, &plan), 0);
        assert_true(plan->gpus_at_least <= plan->n_gpus && plan->gpus_at_least > 0);
        assert_true(plan->n_gpus <= dv_audit_fleet(a)->gpus_peak ||
                    plan->by_how[DV_AUDIT_MPS] + plan->by_how[DV_AUDIT_GOVERNED] > 0);
        for (int t = 0; t < 240; t++) {
            uint64_t memory[60] = {0}, compute[60] = {0};
            int tenants[60] = {0};
            for (uint32_t i = 0; i < n; i++) {
                uint32_t gpu = plan->gpu_of[i];
                assert_true(gpu < plan->n_gpus);
                if (t < shapes[i].from || t >= shapes[i].to)
                    continue;
                memory[gpu] += dv_audit_at(a, i)->memory_bytes;
                compute[gpu] += dv_audit_at(a, i)->compute;
                tenants[gpu]++;
            }
            for (uint32_t g = 0; g < plan->n_gpus; g++) {
                assert_true(memory[g] <= w.gpu_memory_bytes);
                assert_true(tenants[g] < 2 || (compute[g] <= DV_COMPUTE_FULL - w.headroom &&
                                               plan->gpus[g].how >= DV_AUDIT_MPS));
            }
        }
        struct dv_audit_replayed r;
        replay(a, plan, &w, shapes, n, &r);
        assert_int_equal(r.memory_over_steps, 0);
        assert_int_equal(r.unplanned, 0);
        assert_true(r.waited >= 0 && r.waited <= 1 && r.met_percent >= 0 && r.met_percent <= 100);
        dv_audit_plan_free(plan);
        dv_audit_free(a);
    }
}

/* A trace of many steps is walked in slabs; the answer is that of one walk. */
static void test_slabs(void **state)
{
    struct dv_audit_wish w = wish();
    static struct shape shapes[40];
    for (int i = 0; i < 40; i++)
        shapes[i] = (struct shape){0, 60000, 3, i % 3, 70, 39e9};
    struct dv_audit *a = fleet(shapes, 40, &w);
    struct dv_audit_plan *plan = NULL;
    struct dv_audit_replay *r = NULL;
    const struct dv_audit_fleet *f = dv_audit_fleet(a);
    /* By force two on each GPU, whose work meets in one step of three for some. */
    assert_int_equal(dv_audit_pack(a, &w, &plan), 0);
    for (uint32_t i = 0; i < 40; i++)
        plan->gpu_of[i] = i % 20;
    assert_int_equal(dv_audit_replay_new(a, a, plan, &w, f->first_ns, f->last_ns + 1, &r), 0);
    int slabs = 0;
    for (; dv_audit_replay_slab(r); slabs++)
        for (uint32_t i = 0; i < 40; i++)
            for (int t = 0; t < 60000; t++)
                dv_audit_replay_busy(r, i, 1000 * S + t * STEP,
                                     t % 3 == shapes[i].busy_at ? 70 : 0);
    assert_int_equal(slabs, 2);
    struct dv_audit_replayed result;
    dv_audit_replay_done(r, &result);
    /* i and i + 20 meet where i % 3 == (i + 20) % 3: never. */
    assert_true(result.waited == 0);
    assert_int_equal(result.samples, 40 * 20000);
    dv_audit_replay_free(r);
    dv_audit_plan_free(plan);
    dv_audit_free(a);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_memory_binds),
        cmocka_unit_test(test_compute_binds),
        cmocka_unit_test(test_places_are_used_again),
        cmocka_unit_test(test_instances_are_used_again),
        cmocka_unit_test(test_waiting),
        cmocka_unit_test(test_meeting),
        cmocka_unit_test(test_memory_over),
        cmocka_unit_test(test_mig),
        cmocka_unit_test(test_plans_hold),
        cmocka_unit_test(test_slabs),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
