/* SPDX-License-Identifier: Apache-2.0 */
#include "base/rng.h"
#include "base/testing/oom.h"
#include "simulate/queue/queue_sim.h"
#include "simulate/queue/shapes.h"

#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#include <cmocka.h>

#define GPU ((uint64_t)DV_COMPUTE_FULL)
#define S DV_NS_PER_S

struct run {
    struct dv_queue_scenario *scenario;
    struct dv_queue_sim *sim;
    const struct dv_queue_sim_result *result;
};

static struct run run(struct dv_queue_scenario *scenario)
{
    struct run x = {.scenario = scenario};
    struct dv_err err = {{0}};
    int r;
    assert_int_equal(dv_queue_sim_new(scenario, NULL, &x.sim, &err), 0);
    while (!(r = dv_queue_sim_step(x.sim)))
        ;
    assert_int_equal(r, 1);
    assert_int_equal(dv_queue_sim_finish(x.sim), 0);
    x.result = dv_queue_sim_result(x.sim);
    return x;
}

static struct run run_shape(const char *name)
{
    struct dv_queue_scenario *s = NULL;
    const struct dv_queue_shape *shape = dv_queue_shape_find(name, NULL);
    assert_non_null(shape);
    assert_int_equal(dv_queue_shape_make(shape, &s), 0);
    return run(s);
}

static void done(struct run *x)
{
    dv_queue_sim_free(x->sim);
    dv_queue_scenario_free(x->scenario);
}

/* Each workload of a gang that waits, of those it waits for, of one refused and one to come. */
static void test_explain(void **state)
{
    struct dv_queue_scenario *s = dv_queue_scenario_new();
    struct dv_queue_nodes *nodes = dv_queue_scenario_add_nodes(s);
    snprintf(nodes->model, sizeof nodes->model, "T4");
    nodes->count = 1;
    nodes->gpus = 4;
    struct dv_queue_def *q = dv_queue_scenario_add_queue(s, "q");
    q->conf.limit = 4 * GPU;
    q->conf.weight = 1;
    static const struct {
        uint32_t count, min;
        uint64_t arrival_s, duration_s;
    } jobs[] = {{30, 1, 0, 100}, {1, 4, 0, 10}, {30, 5, 0, 10}, {1, 1, 900, 10}, {1, 1, 0, 1}};
    for (size_t i = 0; i < DV_ARRAY_SIZE(jobs); i++) {
        struct dv_queue_jobs *j = dv_queue_scenario_add_jobs(s, "job");
        j->spec.request.kind = DV_FAIR_WHOLE;
        j->spec.request.gpus = 1;
        j->spec.min = j->spec.max = jobs[i].min;
        j->spec.preemptible = true;
        j->spec.priority = i == 4;
        j->count = jobs[i].count;
        j->arrival_ns = jobs[i].arrival_s * S;
        j->duration_ns = jobs[i].duration_s * S;
    }
    s->until_ns = 50 * S;
    s->config.pull_milli = 0; /* else shares are computed anew each second */
    struct run x = run(s);
    struct dv_queue_sim_about a;
    /* The end asked for, though nothing happens then: four GPUs are held all the time. */
    assert_int_equal(x.result->now_ns, 50 * S);
    assert_true(x.result->held_unit_ns == (unsigned __int128)4 * GPU * 50 * S);
    assert_int_equal(dv_queue_sim_explain(x.sim, 0, 0, &a), 0);
    assert_true(a.stage == DV_QUEUE_SIM_RUNNING && a.judged);
    assert_int_equal(a.answer.verdict.reason, DV_FAIR_RUNS);
    /* Behind the twenty that are explained anyway. */
    assert_int_equal(dv_queue_sim_explain(x.sim, 0, 29, &a), 0);
    assert_true(a.stage == DV_QUEUE_SIM_PENDING_STAGE && a.judged);
    assert_int_equal(a.answer.verdict.reason, DV_FAIR_LIMIT);
    assert_int_equal(a.answer.verdict.position, 26);
    assert_int_equal(a.answer.waited_ns, x.result->now_ns);
    assert_int_equal(dv_queue_sim_explain(x.sim, 2, 29, &a), 0);
    assert_true(a.stage == DV_QUEUE_SIM_REFUSED && a.judged);
    assert_int_equal(a.answer.verdict.reason, DV_FAIR_OVER_LIMIT);
    assert_int_equal(dv_queue_sim_explain(x.sim, 3, 0, &a), 0);
    assert_true(a.stage == DV_QUEUE_SIM_COMING && !a.judged);
    assert_int_equal(a.comes_ns, 900 * S);
    assert_int_equal(dv_queue_sim_explain(x.sim, 4, 0, &a), 0);
    assert_true(a.stage == DV_QUEUE_SIM_ENDED && !a.judged);
    assert_int_equal(dv_queue_sim_explain(x.sim, 0, 30, &a), -ENOENT);
    assert_int_equal(dv_queue_sim_explain(x.sim, 9, 0, &a), -ENOENT);
    done(&x);
}

/* GPU time held is what the workloads ran. */
static void test_allocate(void **state)
{
    struct run x = run_shape("allocate-4000x500");
    const struct dv_queue_sim_result *r = x.result;
    assert_int_equal(r->started, 4000);
    assert_int_equal(r->ended, 4000);
    assert_int_equal(r->evicted, 0);
    assert_int_equal(r->waits.max, 0);
    assert_true(r->held_unit_ns == (unsigned __int128)4000 * GPU * 3600 * S);
    assert_int_equal(r->queues[0].started, 2000);
    assert_int_equal(r->queues[1].started, 1000);
    done(&x);
}

static void test_unschedulable(void **state)
{
    struct run x = run_shape("gang-unschedulable");
    assert_int_equal(x.result->pending, 1);
    assert_int_equal(x.result->n_explained, 1);
    assert_int_equal(x.result->explained[0].verdict.reason, DV_FAIR_NO_ROOM);
    assert_int_equal(x.result->explained[0].verdict.members, 0);
    assert_int_equal(x.result->explained[0].verdict.min, 10);
    done(&x);
}

static void test_reclaim(void **state)
{
    for (uint32_t nodes = 20; nodes <= 200; nodes += 60) {
        struct dv_queue_scenario *s = NULL;
        assert_int_equal(dv_queue_shape_reclaim(nodes, &s), 0);
        struct run x = run(s);
        assert_int_equal(x.result->evicted, nodes / 10 * 8); /* not one more than it needs */
        assert_int_equal(x.result->queues[1].started, 1);
        assert_int_equal(x.result->pending, nodes / 10 * 8);
        done(&x);
    }
}

static void test_consolidate_and_topology(void **state)
{
    struct run x = run_shape("consolidate-410");
    assert_int_equal(x.result->moved, 410);
    assert_int_equal(x.result->evicted, 0);
    assert_int_equal(x.result->pending, 0);
    done(&x);
    x = run_shape("topology-512");
    assert_int_equal(x.result->started, 1);
    done(&x);
}

static void test_many_queues(void **state)
{
    struct run x = run_shape("kueue-15000x30");
    assert_int_equal(x.result->ended, 15000);
    assert_int_equal(x.result->pending, 0);
    done(&x);
}

/* After it came, the late team gets more than half until what the other used has faded. */
static void test_time_is_fair(void **state)
{
    struct run x = run_shape("fair-week");
    const struct dv_queue_sim_result *r = x.result;
    uint64_t day = 24 * 3600 * S, late[3] = {0}, n[3] = {0};
    for (uint32_t b = 0; b < r->buckets; b++) {
        uint64_t from = b * r->bucket_ns, to = from + r->bucket_ns;
        if (from < 3 * day && to > 3 * day)
            continue;
        uint32_t k = to <= 3 * day ? 0 : from < 4 * day ? 1 : 2;
        late[k] += r->queues[1].held[b];
        n[k]++;
    }
    assert_true(n[0] && n[1] && n[2]);
    assert_true(late[0] / n[0] < GPU / 2);
    assert_true(late[1] / n[1] > 9 * GPU);
    assert_true(late[2] / n[2] > 7 * GPU && late[2] / n[2] < 12 * GPU);
    done(&x);
}

/* Eviction with a time of grace, elastic members, work that starts anew. */
static void test_grace_and_elastic(void **state)
{
    struct dv_queue_scenario *s = dv_queue_scenario_new();
    struct dv_queue_nodes *n = dv_queue_scenario_add_nodes(s);
    *n = (struct dv_queue_nodes){.model = "T4", .count = 1, .gpus = 4};
    dv_queue_scenario_add_queue(s, "low");
    dv_queue_scenario_add_queue(s, "owner")->conf.guarantee = 2 * GPU;
    struct dv_queue_jobs *j = dv_queue_scenario_add_jobs(s, "elastic");
    j->spec.request.kind = DV_FAIR_WHOLE;
    j->spec.request.gpus = 1;
    j->spec.max = 4;
    j->duration_ns = 100 * S;
    j = dv_queue_scenario_add_jobs(s, "urgent");
    j->spec.queue = 1;
    j->spec.request.kind = DV_FAIR_WHOLE;
    j->spec.request.gpus = 2;
    j->arrival_ns = 50 * S;
    j->duration_ns = 30 * S;
    s->grace_ns = 5 * S;
    struct run x = run(s);
    assert_int_equal(x.result->shrunk, 1);
    assert_int_equal(x.result->evicted, 0);
    assert_int_equal(x.result->grown, 2);
    assert_int_equal(x.result->queues[1].waits.max, 5 * S);
    /* Half done after 50 s, 35 s with half of the members, the rest with all. */
    assert_int_equal(x.result->now_ns, 50 * S + 35 * S + (50 * S - 35 * S / 2));
    done(&x);
}

static void add_random(struct dv_queue_scenario *s, struct dv_rng *rng)
{
    struct dv_queue_jobs *j = dv_queue_scenario_add_jobs(s, "any");
    uint32_t kind = (uint32_t)dv_rng_below(rng, 4);
    j->spec.queue = (uint32_t)dv_rng_below(rng, 3);
    j->spec.priority = (int32_t)dv_rng_below(rng, 3);
    j->spec.movable = dv_rng_below(rng, 2);
    j->spec.min = 1 + (uint32_t)dv_rng_below(rng, 3);
    j->spec.max = j->spec.min + (uint32_t)dv_rng_below(rng, 3);
    j->spec.request.kind = kind == 0 ? DV_FAIR_FRACTION : kind == 1 ? DV_FAIR_MIG : DV_FAIR_WHOLE;
    if (kind == 0)
        j->spec.request.compute = 1 + (uint32_t)dv_rng_below(rng, 7000);
    else if (kind == 1)
        snprintf(j->spec.request.profile, sizeof j->spec.request.profile, "2g.20gb");
    else
        j->spec.request.gpus = 1u << dv_rng_below(rng, 4);
    j->arrival_ns = dv_rng_below(rng, 3000) * S;
    j->duration_ns = (1 + dv_rng_below(rng, 200)) * S;
    if (dv_rng_below(rng, 2))
        j->spec.estimate_ns = j->duration_ns;
}

/* Victims that take their time to go: all workloads end all the same, nothing is held after. */
static void test_random_with_grace(void **state)
{
    uint32_t evicted = 0, moved = 0;
    for (uint64_t seed = 1; seed <= 8; seed++) {
        struct dv_queue_scenario *s = dv_queue_scenario_new();
        struct dv_rng rng = {seed};
        *dv_queue_scenario_add_nodes(s) =
            (struct dv_queue_nodes){.model = "A100-80GB", .count = 4, .gpus = 8};
        for (uint32_t i = 0; i < 3; i++)
            dv_queue_scenario_add_queue(s, "q")->conf.guarantee = 8 * i * GPU;
        for (uint32_t i = 0; i < 400; i++)
            add_random(s, &rng);
        s->grace_ns = 7 * S;
        s->config.patience_ns = 1000 * S;
        struct run x = run(s);
        assert_int_equal(x.result->ended, 400);
        assert_int_equal(x.result->running, 0);
        for (uint32_t i = 0; i < 3; i++)
            assert_int_equal(x.result->queues[i].held[x.result->buckets - 1] > 32 * GPU, 0);
        evicted += x.result->evicted;
        moved += x.result->moved;
        done(&x);
    }
    assert_true(evicted > 20 && moved > 20);
}

/* Memory runs out at each allocation in turn: -ENOMEM, and nothing leaks. */
static int live(void)
{
    dv_cleanup(dv_queue_scenario_freep) struct dv_queue_scenario *s = NULL;
    dv_cleanup(dv_queue_sim_freep) struct dv_queue_sim *sim = NULL;
    struct dv_err err = {{0}};
    int r = dv_queue_shape_reclaim(20, &s);
    r = r ? r : dv_queue_sim_new(s, NULL, &sim, &err);
    while (!r)
        r = dv_queue_sim_step(sim);
    return r < 0 ? r : dv_queue_sim_finish(sim);
}

static void test_memory_runs_out(void **state)
{
    size_t n = 0;
    bool met;
    do {
        dv_oom_at(++n);
        int r = live();
        met = dv_oom_end();
        assert_int_equal(r, met ? -ENOMEM : 0);
    } while (met);
    assert_in_range(n, 100, 5000);
}

static void test_shapes_have_names(void **state)
{
    struct dv_err err = {{0}};
    assert_null(dv_queue_shape_find("reclaim-10000", &err));
    assert_non_null(strstr(err.msg, "did you mean 'reclaim-1000'"));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_explain),
        cmocka_unit_test(test_allocate),
        cmocka_unit_test(test_unschedulable),
        cmocka_unit_test(test_reclaim),
        cmocka_unit_test(test_consolidate_and_topology),
        cmocka_unit_test(test_many_queues),
        cmocka_unit_test(test_time_is_fair),
        cmocka_unit_test(test_grace_and_elastic),
        cmocka_unit_test(test_shapes_have_names),
        cmocka_unit_test(test_memory_runs_out),
        cmocka_unit_test(test_random_with_grace),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
