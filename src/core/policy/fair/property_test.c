/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What must hold whatever comes: random clusters, queues and workloads under a virtual clock, with
 * fixed seeds.
 */
#include "base/rng.h"
#include "policy/fair/fair.h"

#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#define GPU ((uint64_t)DV_COMPUTE_FULL)
#define S DV_NS_PER_S
#define JOBS 4000

/* One workload as the world knows it. */
struct job {
    struct dv_fair_spec spec;
    uint64_t submitted, since, end, duration; /* end 0: not running */
    uint64_t promised;                        /* by the first reservation; 0: none */
    uint32_t handle, ahead;                   /* ahead: pending when it came */
    bool alive;
};

struct world {
    struct dv_fair *f;
    struct dv_rng rng;
    struct job jobs[JOBS];
    uint32_t n_jobs, leaves[16], n_leaves, job_of[JOBS * 2];
    uint64_t now, hash;
    uint32_t starts, evictions, moves, backfills;
};

static uint32_t below(struct world *x, uint32_t n)
{
    return (uint32_t)dv_rng_below(&x->rng, n);
}

static void mix(struct world *x, uint64_t v)
{
    x->hash = (x->hash ^ v) * UINT64_C(0x100000001b3);
}

static struct world *make(uint64_t seed, const struct dv_fair_config *config, uint32_t nodes)
{
    struct world *x = calloc(1, sizeof *x);
    uint32_t model, node;
    x->rng.state = seed;
    x->f = dv_fair_new(config);
    dv_fair_model(x->f, "A100-80GB", dv_mig_geometry_find("A100-80GB"), &model);
    for (uint32_t i = 0; i < nodes; i++)
        assert_int_equal(dv_fair_add_node(x->f, model, i / 3, 8, &node), 0);
    return x;
}

static void done(struct world *x)
{
    dv_fair_free(x->f);
    free(x);
}

static uint32_t add_queue(struct world *x, uint32_t parent, uint64_t guarantee, uint64_t limit,
                          uint32_t weight)
{
    uint32_t q;
    struct dv_fair_queue queue = {
        .parent = parent, .guarantee = guarantee, .limit = limit, .weight = weight};
    assert_int_equal(dv_fair_add_queue(x->f, &queue, &q), 0);
    return q;
}

static void add_leaf(struct world *x, uint32_t parent, uint64_t guarantee, uint64_t limit,
                     uint32_t weight)
{
    x->leaves[x->n_leaves++] = add_queue(x, parent, guarantee, limit, weight);
}

/* Two departments with three queues each. */
static void add_tree(struct world *x, uint32_t gpus)
{
    for (uint32_t d = 0; d < 2; d++) {
        uint32_t parent = add_queue(x, DV_FAIR_ROOT, gpus / 4 * GPU, DV_FAIR_UNLIMITED, d + 1);
        for (uint32_t i = 0; i < 3; i++)
            add_leaf(x, parent, gpus / 16 * GPU, i == 2 ? gpus / 2 * GPU : DV_FAIR_UNLIMITED,
                     i + 1);
    }
}

static bool submit(struct world *x, const struct dv_fair_spec *spec, uint64_t duration)
{
    struct dv_fair_verdict v;
    struct job *j = &x->jobs[x->n_jobs];
    uint32_t pending = 0;
    for (uint32_t i = 0; i < x->n_jobs; i++)
        pending += x->jobs[i].alive && !x->jobs[i].end;
    *j = (struct job){.spec = *spec,
                      .submitted = x->now,
                      .since = x->now,
                      .duration = duration,
                      .ahead = pending};
    int r = dv_fair_submit(x->f, spec, x->now, &j->handle, &v);
    assert_true(r == 0 || r == DV_FAIR_REFUSED);
    if (r)
        return false;
    assert_true(j->handle < JOBS * 2);
    x->job_of[j->handle] = x->n_jobs++;
    j->alive = true;
    return true;
}

static struct dv_fair_spec random_spec(struct world *x)
{
    static const char *const profiles[] = {"1g.10gb", "2g.20gb", "3g.40gb"};
    struct dv_fair_spec s;
    memset(&s, 0, sizeof s);
    s.queue = x->leaves[below(x, x->n_leaves)];
    s.priority = (int32_t)below(x, 3);
    s.preemptible = below(x, 8) > 0;
    s.movable = below(x, 2);
    s.min = s.max = below(x, 3) ? 1 : 1 + below(x, 5);
    if (below(x, 5) == 0)
        s.max += below(x, 4);
    switch (below(x, 6)) {
    case 0:
        s.request.kind = DV_FAIR_FRACTION;
        s.request.compute = 500 + below(x, 6000);
        break;
    case 1:
        s.request.kind = DV_FAIR_MIG;
        snprintf(s.request.profile, sizeof s.request.profile, "%s", profiles[below(x, 3)]);
        break;
    default:
        s.request.kind = DV_FAIR_WHOLE;
        s.request.gpus = 1u << below(x, 4);
        s.request.one_rack = below(x, 4) == 0;
    }
    return s;
}

/* ---- the checks on each decision --------------------------------------------------------------
 */

static void check_victim(struct world *x, const struct dv_fair_decision *d,
                         const struct dv_fair_victim *v)
{
    const struct dv_fair_spec *of = dv_fair_spec(x->f, v->workload);
    const struct dv_fair_spec *by = dv_fair_spec(x->f, d->workload);
    uint32_t n;
    dv_fair_places(x->f, v->workload, &n);
    if (v->all)
        assert_int_equal(n, 0);
    else
        assert_true(n >= of->min);
    if (v->all)
        assert_true(of->preemptible);
    if (!v->reclaimed) {
        assert_int_equal(of->queue, by->queue);
        assert_true(of->priority < by->priority || (!v->all && of->priority == by->priority));
    } else {
        /* Never to the benefit of a queue above what it deserves. */
        struct dv_fair_view view;
        dv_fair_look(x->f, by->queue, x->now, &view);
        assert_int_not_equal(of->queue, by->queue);
    }
}

static void follow(struct world *x, const struct dv_fair_decision *d)
{
    struct job *j = &x->jobs[x->job_of[d->workload]];
    uint32_t n;
    dv_fair_places(x->f, d->workload, &n);
    assert_true(n >= j->spec.min && n <= j->spec.max);
    mix(x, (uint64_t)d->kind << 32 | d->workload);
    mix(x, n);
    if (d->kind != DV_FAIR_GROW) {
        assert_int_equal(j->end, 0);
        j->end = x->now + j->duration;
        x->starts++;
        x->backfills += d->backfilled;
    }
    for (uint32_t i = 0; i < d->n_victims; i++) {
        struct job *v = &x->jobs[x->job_of[d->victims[i].workload]];
        check_victim(x, d, &d->victims[i]);
        assert_true(v->end > 0);
        mix(x, d->victims[i].workload);
        x->evictions++;
        if (d->victims[i].all) {
            v->end = 0;
            v->since = x->now;
        }
        dv_fair_gone(x->f, d->victims[i].workload, x->now);
    }
    for (uint32_t i = 0; i < d->n_moves; i++) {
        struct job *v = &x->jobs[x->job_of[d->moves[i].workload]];
        assert_true(v->spec.movable && v->spec.preemptible);
        v->end = x->now + v->duration;
        x->moves++;
        dv_fair_gone(x->f, d->moves[i].workload, x->now);
    }
}

static void settle(struct world *x, bool check)
{
    struct dv_fair_decision d;
    uint32_t n = 0;
    int r;
    while (!(r = dv_fair_next(x->f, x->now, &d))) {
        follow(x, &d);
        if (check)
            assert_int_equal(dv_fair_check(x->f), 0);
        assert_true(++n < 20000); /* it comes to rest */
    }
    assert_int_equal(r, -ENOENT);
    uint64_t at;
    uint32_t holder = dv_fair_reservation(x->f, &at);
    if (holder != DV_FAIR_NONE && at != DV_NEVER && !x->jobs[x->job_of[holder]].promised)
        x->jobs[x->job_of[holder]].promised = at;
}

/* The next end, or `until`; false: nothing ends before. */
static bool step(struct world *x, uint64_t until)
{
    struct job *next = NULL;
    for (uint32_t i = 0; i < x->n_jobs; i++)
        if (x->jobs[i].alive && x->jobs[i].end && (!next || x->jobs[i].end < next->end))
            next = &x->jobs[i];
    uint64_t wake = dv_fair_next_time(x->f, x->now);
    uint64_t end = next ? next->end : DV_NEVER;
    if (DV_MIN(end, wake) > until) {
        x->now = until;
        return false;
    }
    x->now = DV_MIN(end, wake);
    if (end <= wake) {
        dv_fair_ended(x->f, next->handle, x->now);
        next->alive = false;
    }
    return true;
}

/* ---- properties ---------------------------------------------------------------------------------
 */

static uint64_t churn(uint64_t seed, bool check)
{
    struct dv_fair_config c = dv_fair_defaults;
    c.patience_ns = 2000 * S;
    c.share_period_ns = 10 * S;
    c.half_life_ns = 1000 * S;
    struct world *x = make(seed, &c, 6);
    add_tree(x, 48);
    for (uint32_t i = 0; i < 600; i++) {
        struct dv_fair_spec s = random_spec(x);
        uint64_t duration = (1 + below(x, 400)) * S, gap = x->now + below(x, 20) * S;
        if (below(x, 2))
            s.estimate_ns = duration * (50 + below(x, 150)) / 100;
        submit(x, &s, duration);
        settle(x, check);
        while (step(x, gap))
            settle(x, check);
        if (i % 97 == 0) {
            dv_fair_cordon(x->f, i % 6, true);
            settle(x, check);
            dv_fair_cordon(x->f, i % 6, false);
        }
    }
    while (step(x, DV_NEVER - 1))
        settle(x, check);
    for (uint32_t i = 0; i < x->n_jobs; i++) {
        struct dv_fair_verdict v;
        if (!x->jobs[i].alive)
            continue;
        /* Nobody starved: all have ended but those that even an empty cluster cannot hold. */
        assert_int_equal(dv_fair_explain(x->f, x->jobs[i].handle, x->now, &v), 0);
        assert_int_equal(v.reason, DV_FAIR_NEVER);
    }
    struct dv_fair_view view;
    dv_fair_look(x->f, DV_FAIR_ROOT, x->now, &view);
    assert_int_equal(view.held, 0);
    assert_int_equal(dv_fair_pool_free_gpus(dv_fair_pool(x->f)), 48);
    uint64_t hash = x->hash;
    done(x);
    return hash;
}

static void test_churn_conserves(void **state)
{
    /* In some of them an evicted gang leaves more than was needed, and others borrow the rest. */
    for (uint64_t seed = 1; seed <= 40; seed++)
        churn(seed, seed < 4);
}

static void test_deterministic(void **state)
{
    assert_true(churn(9, false) == churn(9, false));
}

/* Estimates are true, nobody is evicted: who was promised a start has it by then. */
static void test_backfill_delays_nobody(void **state)
{
    uint32_t promises = 0, backfills = 0;
    for (uint64_t seed = 1; seed <= 6; seed++) {
        struct dv_fair_config c = dv_fair_defaults;
        c.no_preempt = c.no_reclaim = c.no_consolidate = true;
        c.patience_ns = DV_NEVER; /* one who waits too long takes the place of who has it kept */
        struct world *x = make(seed, &c, 4);
        add_leaf(x, DV_FAIR_ROOT, 0, DV_FAIR_UNLIMITED, 1);
        add_leaf(x, DV_FAIR_ROOT, 0, 20 * GPU, 3);
        for (uint32_t i = 0; i < 400; i++) {
            struct dv_fair_spec s = random_spec(x);
            uint64_t duration = (1 + below(x, 200)) * S;
            s.max = s.min;
            s.preemptible = true;
            s.estimate_ns = duration;
            submit(x, &s, duration);
            settle(x, false);
            uint64_t until = x->now + below(x, 12) * S;
            while (step(x, until))
                settle(x, false);
        }
        while (step(x, DV_NEVER - 1))
            settle(x, false);
        for (uint32_t i = 0; i < x->n_jobs; i++) {
            const struct job *j = &x->jobs[i];
            uint64_t start = j->end - j->duration;
            if (!j->promised)
                continue;
            /* One nanosecond: decisions come after all ends of an instant. */
            assert_true(start <= j->promised + 1);
            promises++;
        }
        backfills += x->backfills;
        done(x);
    }
    assert_true(promises > 50 && backfills > 50);
}

/* Small ones keep coming and always fit; large ones in a queue of the least weight still start
 * within patience + (older ones waiting + 1) * 2 * the longest run. No estimates, or wrong ones. */
static void test_no_starvation(void **state)
{
    const uint64_t patience = 600 * S, longest = 100 * S;
    for (uint64_t seed = 1; seed <= 6; seed++) {
        struct dv_fair_config c = dv_fair_defaults;
        c.patience_ns = patience;
        c.no_reclaim = c.no_preempt = c.no_consolidate = seed % 2;
        struct world *x = make(seed, &c, 3);
        add_leaf(x, DV_FAIR_ROOT, 0, DV_FAIR_UNLIMITED, 1000);
        add_leaf(x, DV_FAIR_ROOT, 0, 24 * GPU, 0);
        uint32_t large = 0;
        for (uint32_t i = 0; i < 1800; i++) {
            struct dv_fair_spec s;
            memset(&s, 0, sizeof s);
            s.request.kind = DV_FAIR_WHOLE;
            s.preemptible = true;
            bool is_large = i % 150 == 20;
            s.queue = x->leaves[is_large];
            s.request.gpus = is_large ? 8 : 1;
            s.min = s.max = is_large ? 3 : 1;
            s.priority = is_large ? -5 : 5;
            if (below(x, 2))
                s.estimate_ns = (1 + below(x, 200)) * S;
            submit(x, &s, longest / 2 + below(x, 50) * S);
            large += is_large;
            settle(x, false);
            uint64_t until = x->now + below(x, 6) * S;
            while (step(x, until))
                settle(x, false);
        }
        while (step(x, DV_NEVER - 1))
            settle(x, false);
        for (uint32_t i = 0; i < x->n_jobs; i++) {
            const struct job *j = &x->jobs[i];
            uint64_t start = j->end - j->duration;
            if (j->since == j->submitted) /* an evicted one waits anew, since then */
                assert_true(start - j->submitted <= patience + (j->ahead + 1) * 2 * longest);
        }
        assert_int_equal(large, 12);
        done(x);
    }
}

/* Without patience they do starve, so that the test above can fail. */
static void test_starvation_is_real(void **state)
{
    struct dv_fair_config c = dv_fair_defaults;
    c.patience_ns = DV_NEVER;
    c.no_reclaim = c.no_preempt = c.no_consolidate = true;
    struct world *x = make(1, &c, 3);
    add_leaf(x, DV_FAIR_ROOT, 0, DV_FAIR_UNLIMITED, 1000);
    add_leaf(x, DV_FAIR_ROOT, 0, DV_FAIR_UNLIMITED, 0);
    struct dv_fair_spec s;
    memset(&s, 0, sizeof s);
    s.request.kind = DV_FAIR_WHOLE;
    s.preemptible = true;
    uint32_t large = 0;
    for (uint32_t i = 0; i < 1500; i++) {
        bool is_large = i == 40;
        s.queue = x->leaves[is_large];
        s.request.gpus = is_large ? 8 : 1;
        s.min = s.max = is_large ? 3 : 1;
        large = is_large ? x->n_jobs : large;
        submit(x, &s, 60 * S);
        settle(x, false);
        uint64_t until = x->now + 2 * S;
        while (step(x, until))
            settle(x, false);
    }
    assert_int_equal(x->jobs[large].end, 0);
    done(x);
}

/* All want everything, all the time; GPU time must follow the weights. */
static void test_shares_converge(void **state)
{
    static const uint32_t weights[] = {1, 2, 5};
    for (uint32_t gpus = 1; gpus <= 16; gpus += 5) {
        struct dv_fair_config c = dv_fair_defaults;
        c.half_life_ns = 24 * 3600 * S;
        c.pull_milli = 16000;
        c.share_period_ns = 10 * S;
        c.patience_ns = DV_NEVER;
        c.no_reclaim = c.no_preempt = true;
        struct world *x = make(gpus, &c, 0);
        uint32_t model, node;
        dv_fair_model(x->f, "A100-80GB", NULL, &model);
        for (uint32_t i = 0; i < gpus; i++)
            dv_fair_add_node(x->f, model, 0, 1, &node);
        for (uint32_t i = 0; i < 3; i++)
            add_leaf(x, DV_FAIR_ROOT, 0, DV_FAIR_UNLIMITED, weights[i]);
        struct dv_fair_spec s;
        memset(&s, 0, sizeof s);
        s.request.kind = DV_FAIR_WHOLE;
        s.request.gpus = s.min = s.max = 1;
        s.preemptible = true;
        for (uint32_t i = 0; i < 9 * gpus; i++) {
            s.queue = x->leaves[i % 3];
            submit(x, &s, (60 + below(x, 240)) * S);
        }
        settle(x, false);
        double used[3] = {0}, all = 0;
        uint32_t rounds = 400 * gpus;
        for (uint32_t i = 0; i < rounds && x->n_jobs < JOBS; i++) {
            uint32_t before = x->n_jobs;
            while (true) {
                uint64_t now = x->now;
                assert_true(step(x, DV_NEVER - 1));
                assert_true(x->now >= now);
                uint32_t k = 0;
                while (k < before && (x->jobs[k].alive || x->jobs[k].promised == 1))
                    k++;
                settle(x, false);
                if (k == before)
                    continue;
                x->jobs[k].promised = 1; /* its end was seen */
                s.queue = x->jobs[k].spec.queue;
                submit(x, &s, (60 + below(x, 240)) * S);
                settle(x, false);
                break;
            }
        }
        for (uint32_t i = 0; i < 3; i++) {
            struct dv_fair_view view;
            dv_fair_look(x->f, x->leaves[i], x->now, &view);
            used[i] = (double)view.used_unit_ns;
            all += used[i];
        }
        for (uint32_t i = 0; i < 3; i++) {
            double part = used[i] / all, want = weights[i] / 8.0;
            if (part < want - 0.03 || part > want + 0.03)
                fail_msg("%u GPUs: queue %u has %.3f of the time, %.3f is its part", gpus, i, part,
                         want);
        }
        done(x);
    }
}

/* One-GPU workloads that can be evicted: at rest every queue has its guarantee, if it wants it. */
static void test_guarantees(void **state)
{
    for (uint64_t seed = 1; seed <= 20; seed++) {
        struct dv_fair_config c = dv_fair_defaults;
        c.share_period_ns = 0;
        struct world *x = make(seed, &c, 4);
        uint64_t guarantee[6], wanted[6] = {0};
        uint32_t left = 32;
        for (uint32_t i = 0; i < 6; i++) {
            uint32_t g = below(x, left / 2 + 1);
            left -= g;
            guarantee[i] = g * GPU;
            add_leaf(x, DV_FAIR_ROOT, guarantee[i], DV_FAIR_UNLIMITED, below(x, 3));
        }
        struct dv_fair_spec s;
        memset(&s, 0, sizeof s);
        s.request.kind = DV_FAIR_WHOLE;
        s.request.gpus = s.min = s.max = 1;
        s.preemptible = true;
        for (uint32_t i = 0; i < 120; i++) {
            uint32_t q = below(x, 6);
            s.queue = x->leaves[q];
            s.priority = (int32_t)below(x, 2);
            wanted[q] += GPU;
            submit(x, &s, 1000 * S);
            x->now += below(x, 3) * S / 10;
            settle(x, true);
            for (uint32_t k = 0; k < 6; k++) {
                struct dv_fair_view view;
                dv_fair_look(x->f, x->leaves[k], x->now, &view);
                assert_true(view.held >= DV_MIN(guarantee[k], wanted[k]));
            }
        }
        done(x);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_churn_conserves),
        cmocka_unit_test(test_deterministic),
        cmocka_unit_test(test_backfill_delays_nobody),
        cmocka_unit_test(test_no_starvation),
        cmocka_unit_test(test_starvation_is_real),
        cmocka_unit_test(test_shares_converge),
        cmocka_unit_test(test_guarantees),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
