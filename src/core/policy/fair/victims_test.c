/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Victims against brute force: every subset of those who could be asked to leave, judged by a model
 * of nodes that knows only counts.
 */
#include "base/rng.h"
#include "policy/fair/victims.h"

#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#define GPU ((uint64_t)DV_COMPUTE_FULL)
#define S DV_NS_PER_S
#define NODES_MAX 6
#define RUNNING_MAX 18

struct world {
    struct dv_fair *f;
    struct dv_rng rng;
    uint32_t n_nodes, gpus[NODES_MAX], queue[2], w[RUNNING_MAX], n, asker;
    uint32_t gpus_on[RUNNING_MAX][NODES_MAX]; /* that a workload holds on a node */
    uint64_t now, line, held;                 /* of queue 1, where victims are reclaimed from it */
    bool reclaim;
};

static uint32_t below(struct world *x, uint32_t n)
{
    return (uint32_t)dv_rng_below(&x->rng, n);
}

static struct dv_fair_spec spec_of(uint32_t queue, uint32_t members, uint32_t gpus)
{
    struct dv_fair_spec s;
    memset(&s, 0, sizeof s);
    s.queue = queue;
    s.request.kind = DV_FAIR_WHOLE;
    s.request.gpus = gpus;
    s.min = s.max = members;
    s.preemptible = true;
    return s;
}

/* A cluster that is nearly full of up to `most` workloads, and one that wants in. */
static void make(struct world *x, uint64_t seed, uint32_t most)
{
    struct dv_fair_config c = dv_fair_defaults;
    struct dv_fair_decision d;
    struct dv_fair_verdict v;
    uint32_t model, node, w, all = 0;
    *x = (struct world){.rng.state = seed};
    c.share_period_ns = 0;
    c.no_consolidate = true;
    c.restart_ns = 0;
    x->f = dv_fair_new(&c);
    x->reclaim = below(x, 2);
    dv_fair_model(x->f, "T4", NULL, &model);
    x->n_nodes = 2 + below(x, NODES_MAX - 1);
    for (uint32_t i = 0; i < x->n_nodes; i++) {
        x->gpus[i] = 2 + 2 * below(x, 4);
        all += x->gpus[i];
        dv_fair_add_node(x->f, model, 0, x->gpus[i], &node);
    }
    x->line = below(x, all) * GPU; /* the guarantees promise too much, so that lines matter */
    struct dv_fair_queue q[2] = {{.guarantee = all * GPU, .weight = 1},
                                 {.guarantee = x->line, .weight = 1}};
    for (uint32_t i = 0; i < 2; i++) {
        q[i].limit = DV_FAIR_UNLIMITED;
        dv_fair_add_queue(x->f, &q[i], &x->queue[i]);
    }
    for (uint32_t i = 0; i < 40 && x->n < most; i++) {
        struct dv_fair_spec s =
            spec_of(x->queue[x->reclaim], 1 + below(x, 2) * below(x, most > DV_FAIR_EXACT ? 2 : 3),
                    1 + below(x, most > DV_FAIR_EXACT ? 2 : 4));
        s.priority = (int32_t)below(x, 3);
        x->now += (1 + below(x, 50)) * S;
        assert_int_equal(dv_fair_submit(x->f, &s, x->now, &w, &v), 0);
        if (!dv_fair_next(x->f, x->now, &d) && !d.n_victims)
            x->w[x->n++] = w;
        else
            assert_true(dv_fair_state(x->f, w) == DV_FAIR_PENDING || d.n_victims);
        for (uint32_t k = 0; dv_fair_state(x->f, w) != DV_FAIR_PENDING && k < d.n_victims; k++) {
            uint32_t gone = d.victims[k].workload, at = 0;
            while (x->w[at] != gone)
                at++;
            dv_fair_ended(x->f, gone, x->now);
            x->w[at] = w;
            while (k + 1 < d.n_victims)
                k++; /* only the first is replaced by w; the others are dropped below */
        }
        if (dv_fair_state(x->f, w) == DV_FAIR_PENDING)
            dv_fair_ended(x->f, w, x->now);
    }
    /* Whoever is not running any more is out. */
    uint32_t n = 0;
    for (uint32_t i = 0; i < x->n; i++)
        if (dv_fair_state(x->f, x->w[i]) == DV_FAIR_RUNNING)
            x->w[n++] = x->w[i];
        else if (dv_fair_state(x->f, x->w[i]) != DV_FAIR_UNUSED)
            dv_fair_ended(x->f, x->w[i], x->now);
    x->n = n;
    x->now += 10 * S;
    struct dv_fair_view view;
    dv_fair_look(x->f, x->queue[1], x->now, &view);
    x->held = view.held;
}

struct answer {
    bool found;
    int32_t priority;
    uint64_t cost;
    uint32_t set;
};

/* Who holds what, before anybody is asked to leave. */
static void look(struct world *x)
{
    memset(x->gpus_on, 0, sizeof x->gpus_on);
    for (uint32_t i = 0; i < x->n; i++) {
        uint32_t n;
        const struct dv_fair_place *places = dv_fair_places(x->f, x->w[i], &n);
        for (uint32_t m = 0; m < n; m++)
            x->gpus_on[i][places[m].node] += (uint32_t)__builtin_popcount(places[m].gpus);
    }
}

static bool sufficient(const struct world *x, const struct dv_fair_spec *asks, uint32_t set)
{
    uint32_t slots = 0;
    for (uint32_t k = 0; k < x->n_nodes; k++) {
        uint32_t free = x->gpus[k];
        for (uint32_t i = 0; i < x->n; i++)
            free -= set >> i & 1 ? 0 : x->gpus_on[i][k];
        slots += free / asks->request.gpus;
    }
    return slots >= asks->min;
}

static bool may_all_go(const struct world *x, const struct dv_fair_spec *asks, uint32_t set)
{
    uint64_t sum = 0, most = 0;
    for (uint32_t i = 0; i < x->n; i++) {
        uint32_t n;
        dv_fair_places(x->f, x->w[i], &n);
        uint64_t units = n * (uint64_t)dv_fair_units(x->f, x->w[i]);
        if (!(set >> i & 1))
            continue;
        if (!x->reclaim && dv_fair_spec(x->f, x->w[i])->priority >= asks->priority)
            return false;
        sum += units;
        most = DV_MAX(most, units);
    }
    return !set || !x->reclaim || (x->held > x->line && sum - most < x->held - x->line);
}

static uint64_t cost_of(const struct world *x, uint32_t i)
{
    uint32_t n;
    dv_fair_places(x->f, x->w[i], &n);
    uint64_t ran = x->now - dv_fair_started_ns(x->f, x->w[i]);
    return n * (uint64_t)dv_fair_units(x->f, x->w[i]) * (ran / DV_NS_PER_MS + 1);
}

static struct answer price(const struct world *x, uint32_t set)
{
    struct answer a = {.found = true, .priority = INT32_MIN, .set = set};
    for (uint32_t i = 0; i < x->n; i++)
        if (set >> i & 1) {
            a.priority = DV_MAX(a.priority, dv_fair_spec(x->f, x->w[i])->priority);
            a.cost += cost_of(x, i);
        }
    return a;
}

static struct answer brute(const struct world *x, const struct dv_fair_spec *asks)
{
    struct answer best = {.found = false};
    for (uint32_t set = 0; set < 1u << x->n; set++) {
        struct answer a = price(x, set);
        if (best.found &&
            (a.priority > best.priority || (a.priority == best.priority && a.cost >= best.cost)))
            continue;
        if (may_all_go(x, asks, set) && sufficient(x, asks, set))
            best = a;
    }
    return best;
}

/* Asks for room, and compares. Returns 1 when as good as brute force, 0 when worse, -1 when there
 * was nothing to decide. */
static int ask(struct world *x, bool exact)
{
    struct dv_fair_spec asks = spec_of(x->queue[0], 1 + below(x, 3), 1 + below(x, 8));
    struct dv_fair_verdict v;
    struct dv_fair_decision d;
    asks.priority = 1 + (int32_t)below(x, 3);
    look(x);
    if (sufficient(x, &asks, 0))
        return -1;
    struct answer best = brute(x, &asks);
    uint64_t cost[RUNNING_MAX];
    int32_t priority[RUNNING_MAX];
    for (uint32_t i = 0; i < x->n; i++) {
        cost[i] = cost_of(x, i);
        priority[i] = dv_fair_spec(x->f, x->w[i])->priority;
    }
    assert_int_equal(dv_fair_submit(x->f, &asks, x->now, &x->asker, &v), 0);
    /* Whether the asker may reclaim at all is another test's matter. */
    struct dv_fair_view view;
    dv_fair_look(x->f, x->queue[0], x->now, &view);
    uint64_t guarantee = 0;
    for (uint32_t i = 0; i < x->n_nodes; i++)
        guarantee += x->gpus[i] * GPU;
    bool within = view.held + asks.min * asks.request.gpus * GPU <= guarantee;
    int r = dv_fair_next(x->f, x->now, &d);
    if (x->reclaim && !within)
        return -1;
    if (exact || !best.found)
        assert_int_equal(r, best.found ? 0 : -ENOENT);
    if (r < 0)
        return best.found ? 0 : -1; /* a line in the way of the order: it may miss a set */
    uint32_t set = 0;
    for (uint32_t k = 0; k < d.n_victims; k++)
        for (uint32_t i = 0; i < x->n; i++)
            if (x->w[i] == d.victims[k].workload)
                set |= 1u << i;
    assert_int_equal(__builtin_popcount(set), d.n_victims);
    uint64_t sum = 0;
    int32_t most = INT32_MIN;
    for (uint32_t i = 0; i < x->n; i++)
        if (set >> i & 1) {
            sum += cost[i];
            most = DV_MAX(most, priority[i]);
        }
    assert_int_equal(d.cost_unit_ms, sum);
    assert_true(sufficient(x, &asks, set));
    for (uint32_t i = 0; i < x->n; i++) /* and without any of them it is not */
        if (set >> i & 1)
            assert_false(sufficient(x, &asks, set & ~(1u << i)));
    assert_int_equal(dv_fair_check(x->f), 0);
    if (exact) {
        assert_int_equal(most, best.priority);
        assert_int_equal(sum, best.cost);
    }
    assert_true(sum >= best.cost || most > best.priority);
    return most == best.priority && sum == best.cost;
}

static void test_few_are_exact(void **state)
{
    uint32_t decided = 0;
    for (uint64_t seed = 1; seed <= 1500; seed++) {
        struct world x;
        make(&x, seed, 10);
        decided += ask(&x, true) >= 0;
        dv_fair_free(x.f);
    }
    assert_true(decided > 300);
}

static void test_many_are_close(void **state)
{
    uint32_t decided = 0, best = 0;
    for (uint64_t seed = 1; seed <= 300; seed++) {
        struct world x;
        make(&x, seed, 14);
        if (x.n > DV_FAIR_EXACT) {
            int r = ask(&x, false);
            decided += r >= 0;
            best += r == 1;
        }
        dv_fair_free(x.f);
    }
    print_message("%u of %u as cheap as the best set\n", best, decided);
    assert_true(decided > 20 && best * 10 >= decided * 8);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_few_are_exact),
        cmocka_unit_test(test_many_are_close),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
