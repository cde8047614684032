/* SPDX-License-Identifier: Apache-2.0 */
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

struct world {
    struct dv_fair *f;
    uint32_t model, queue[8];
    struct dv_fair_verdict verdict;
};

static struct dv_fair_config quiet(void)
{
    struct dv_fair_config c = dv_fair_defaults;
    c.share_period_ns = 0;
    c.pull_milli = 0;
    c.patience_ns = DV_NEVER;
    return c;
}

static struct world make(const struct dv_fair_config *config, uint32_t nodes)
{
    struct world x = {.f = dv_fair_new(config)};
    uint32_t node;
    assert_non_null(x.f);
    assert_int_equal(dv_fair_model(x.f, "A100-80GB", dv_mig_geometry_find("A100-80GB"), &x.model),
                     0);
    for (uint32_t i = 0; i < nodes; i++)
        assert_int_equal(dv_fair_add_node(x.f, x.model, i / 4, 8, &node), 0);
    return x;
}

static void add_queue(struct world *x, uint32_t i, uint64_t guarantee, uint32_t weight)
{
    struct dv_fair_queue q = {.guarantee = guarantee, .limit = DV_FAIR_UNLIMITED, .weight = weight};
    assert_int_equal(dv_fair_add_queue(x->f, &q, &x->queue[i]), 0);
}

static struct dv_fair_spec gang(const struct world *x, uint32_t queue, uint32_t members,
                                uint32_t gpus)
{
    struct dv_fair_spec s;
    memset(&s, 0, sizeof s);
    s.queue = x->queue[queue];
    s.preemptible = true;
    s.movable = true;
    s.request.kind = DV_FAIR_WHOLE;
    s.request.gpus = gpus;
    s.min = s.max = members;
    return s;
}

static uint32_t submit(struct world *x, const struct dv_fair_spec *s, uint64_t now)
{
    uint32_t w;
    assert_int_equal(dv_fair_submit(x->f, s, now, &w, &x->verdict), 0);
    return w;
}

/* Takes all decisions; who is evicted is gone at once. Returns how many were started. */
static uint32_t settle(struct world *x, uint64_t now, uint32_t *ret_victims)
{
    struct dv_fair_decision d;
    uint32_t n = 0;
    int r;
    while (!(r = dv_fair_next(x->f, now, &d))) {
        n += d.kind != DV_FAIR_GROW;
        for (uint32_t i = 0; i < d.n_victims; i++)
            dv_fair_gone(x->f, d.victims[i].workload, now);
        for (uint32_t i = 0; i < d.n_moves; i++)
            dv_fair_gone(x->f, d.moves[i].workload, now);
        if (ret_victims)
            *ret_victims += d.n_victims;
        assert_int_equal(dv_fair_check(x->f), 0);
        assert_true(n < 10000);
    }
    assert_int_equal(r, -ENOENT);
    return n;
}

static struct dv_fair_verdict why(struct world *x, uint32_t w, uint64_t now)
{
    struct dv_fair_verdict v;
    assert_int_equal(dv_fair_explain(x->f, w, now, &v), 0);
    return v;
}

static void test_order_follows_shares(void **state)
{
    struct dv_fair_config c = quiet();
    struct world x = make(&c, 1);
    add_queue(&x, 0, 2 * GPU, 1);
    add_queue(&x, 1, 0, 2);
    struct dv_fair_spec a = gang(&x, 0, 1, 1), b = gang(&x, 1, 1, 1);
    for (int i = 0; i < 20; i++) {
        submit(&x, &b, 0);
        submit(&x, &a, 0);
    }
    assert_int_equal(settle(&x, 0, NULL), 8);
    struct dv_fair_view view;
    dv_fair_look(x.f, x.queue[0], 0, &view);
    assert_int_equal(view.held, 4 * GPU); /* 2, and a third of the other 6 */
    assert_int_equal(view.share, 4 * GPU);
    dv_fair_look(x.f, x.queue[1], 0, &view);
    assert_int_equal(view.held, 4 * GPU);
    dv_fair_free(x.f);
}

static void test_gang_all_or_none(void **state)
{
    struct dv_fair_config c = quiet();
    struct world x = make(&c, 2);
    add_queue(&x, 0, 0, 1);
    struct dv_fair_spec a = gang(&x, 0, 3, 8), b = gang(&x, 0, 2, 8), one = gang(&x, 0, 1, 1);
    uint32_t w = submit(&x, &a, 0), v = submit(&x, &b, 0), u = submit(&x, &one, 0);
    assert_int_equal(settle(&x, 0, NULL), 1);
    assert_int_equal(dv_fair_state(x.f, v), DV_FAIR_RUNNING);
    assert_int_equal(why(&x, w, 0).reason, DV_FAIR_NEVER);
    assert_int_equal(why(&x, w, 0).members, 2);
    assert_int_equal(why(&x, u, 0).reason, DV_FAIR_NO_ROOM);
    uint32_t node;
    assert_int_equal(dv_fair_add_node(x.f, x.model, 0, 8, &node), 0);
    assert_int_equal(settle(&x, 0, NULL), 1); /* u */
    assert_int_equal(why(&x, w, 0).reason, DV_FAIR_NO_ROOM);
    dv_fair_ended(x.f, v, 1);
    dv_fair_ended(x.f, u, 1);
    assert_int_equal(settle(&x, 1, NULL), 1);
    assert_int_equal(dv_fair_state(x.f, w), DV_FAIR_RUNNING);
    dv_fair_free(x.f);
}

static void test_reclaim_and_the_line(void **state)
{
    struct dv_fair_config c = quiet();
    struct world x = make(&c, 1);
    uint32_t victims = 0;
    add_queue(&x, 0, 0, 1);
    add_queue(&x, 1, 0, 1);
    struct dv_fair_spec a = gang(&x, 0, 1, 1), b = gang(&x, 1, 1, 1);
    for (int i = 0; i < 8; i++)
        submit(&x, &a, 0);
    assert_int_equal(settle(&x, 0, NULL), 8);
    uint32_t last = 0;
    for (int i = 0; i < 8; i++)
        last = submit(&x, &b, S);
    assert_int_equal(settle(&x, S, &victims), 4);
    assert_int_equal(victims, 4); /* half each, and no further */
    struct dv_fair_verdict v = why(&x, last, S);
    assert_int_equal(v.victims, DV_FAIR_OVER_SHARE);
    assert_int_equal(v.share, 4 * GPU);
    assert_int_equal(v.share_after, 5 * GPU);
    dv_fair_free(x.f);
}

static void test_guarantee_is_honoured_and_kept(void **state)
{
    struct dv_fair_config c = quiet();
    struct world x = make(&c, 1);
    uint32_t victims = 0;
    add_queue(&x, 0, 6 * GPU, 1);
    add_queue(&x, 1, 2 * GPU, 1000);
    struct dv_fair_spec a = gang(&x, 0, 1, 1), b = gang(&x, 1, 1, 1);
    for (int i = 0; i < 8; i++)
        submit(&x, &b, 0);
    settle(&x, 0, NULL);
    for (int i = 0; i < 8; i++)
        submit(&x, &a, 1);
    settle(&x, 1, &victims);
    assert_int_equal(victims, 6);
    struct dv_fair_view view;
    dv_fair_look(x.f, x.queue[0], 1, &view);
    assert_int_equal(view.held, 6 * GPU);
    /* What is not preemptible stays, and must fit into the guarantee. */
    struct dv_fair_spec fixed = gang(&x, 1, 3, 1);
    uint32_t w;
    fixed.preemptible = false;
    assert_int_equal(dv_fair_submit(x.f, &fixed, 2, &w, &x.verdict), DV_FAIR_REFUSED);
    assert_int_equal(x.verdict.reason, DV_FAIR_OVER_GUARANTEE);
    assert_int_equal(x.verdict.limit, 2 * GPU);
    dv_fair_free(x.f);
}

static void test_preemption_takes_the_cheapest(void **state)
{
    struct dv_fair_config c = quiet();
    struct world x = make(&c, 1);
    add_queue(&x, 0, 0, 1);
    struct dv_fair_spec low = gang(&x, 0, 1, 2), high = gang(&x, 0, 1, 4);
    uint32_t w[4];
    high.priority = 10;
    for (int i = 0; i < 4; i++) {
        low.priority = i == 3 ? 5 : 0;
        w[i] = submit(&x, &low, (uint64_t)i * 100 * S);
        settle(&x, (uint64_t)i * 100 * S, NULL);
    }
    uint32_t h = submit(&x, &high, 500 * S);
    struct dv_fair_decision d;
    assert_int_equal(dv_fair_next(x.f, 500 * S, &d), 0);
    assert_int_equal(d.workload, h);
    assert_int_equal(d.n_victims, 2);
    assert_true(d.waits);
    /* Of priority 0, the youngest two have lost least. */
    assert_int_equal(dv_fair_state(x.f, w[0]), DV_FAIR_RUNNING);
    assert_int_equal(dv_fair_state(x.f, w[1]), DV_FAIR_LEAVING);
    assert_int_equal(dv_fair_state(x.f, w[2]), DV_FAIR_LEAVING);
    assert_int_equal(dv_fair_state(x.f, w[3]), DV_FAIR_RUNNING);
    assert_int_equal(dv_fair_state(x.f, h), DV_FAIR_STARTING);
    dv_fair_gone(x.f, w[1], 501 * S);
    assert_int_equal(dv_fair_state(x.f, h), DV_FAIR_STARTING);
    dv_fair_gone(x.f, w[2], 502 * S);
    assert_int_equal(dv_fair_state(x.f, h), DV_FAIR_RUNNING);
    assert_int_equal(dv_fair_state(x.f, w[1]), DV_FAIR_PENDING);
    assert_int_equal(dv_fair_check(x.f), 0);
    dv_fair_free(x.f);
}

static void test_elastic_grows_and_gives_back(void **state)
{
    struct dv_fair_config c = quiet();
    struct world x = make(&c, 1);
    add_queue(&x, 0, 0, 1);
    struct dv_fair_spec e = gang(&x, 0, 2, 1), one = gang(&x, 0, 1, 3);
    uint32_t n, w;
    e.max = 8;
    w = submit(&x, &e, 0);
    settle(&x, 0, NULL);
    dv_fair_places(x.f, w, &n);
    assert_int_equal(n, 8);
    submit(&x, &one, 1);
    assert_int_equal(settle(&x, 1, NULL), 1);
    dv_fair_places(x.f, w, &n);
    assert_int_equal(n, 5);
    one.request.gpus = 4; /* more than the surplus */
    submit(&x, &one, 2);
    assert_int_equal(settle(&x, 2, NULL), 0);
    dv_fair_free(x.f);
}

static void test_consolidation(void **state)
{
    struct dv_fair_config c = quiet();
    struct world x = make(&c, 2);
    add_queue(&x, 0, 0, 1);
    struct dv_fair_spec half = gang(&x, 0, 1, 4), full = gang(&x, 0, 1, 8);
    uint32_t w[4];
    for (int i = 0; i < 4; i++)
        w[i] = submit(&x, &half, 0);
    settle(&x, 0, NULL);
    dv_fair_ended(x.f, w[1], 1);
    dv_fair_ended(x.f, w[3], 1);
    uint32_t h = submit(&x, &full, 2);
    struct dv_fair_decision d;
    assert_int_equal(dv_fair_next(x.f, 2, &d), 0);
    assert_int_equal(d.kind, DV_FAIR_MOVE);
    assert_int_equal(d.workload, h);
    assert_int_equal(d.n_moves, 1);
    assert_int_not_equal(d.moves[0].from.node, d.moves[0].to.node);
    assert_int_equal(dv_fair_state(x.f, h), DV_FAIR_STARTING);
    dv_fair_gone(x.f, d.moves[0].workload, 3);
    assert_int_equal(dv_fair_state(x.f, h), DV_FAIR_RUNNING);
    assert_int_equal(dv_fair_check(x.f), 0);
    dv_fair_free(x.f);
}

static void test_backfill_waits_for_nobody(void **state)
{
    struct dv_fair_config c = quiet();
    c.no_preempt = c.no_reclaim = c.no_consolidate = true;
    struct world x = make(&c, 1);
    add_queue(&x, 0, 0, 1);
    struct dv_fair_spec run = gang(&x, 0, 1, 6), big = gang(&x, 0, 1, 8), small = gang(&x, 0, 1, 2);
    run.estimate_ns = 100 * S;
    uint32_t r = submit(&x, &run, 0);
    settle(&x, 0, NULL);
    uint32_t b = submit(&x, &big, 1 * S);
    settle(&x, 1 * S, NULL);
    uint64_t at;
    assert_int_equal(dv_fair_reservation(x.f, &at), b);
    assert_int_equal(at, 100 * S);
    small.estimate_ns = 200 * S;
    uint32_t slow = submit(&x, &small, 2 * S);
    assert_int_equal(settle(&x, 2 * S, NULL), 0);
    struct dv_fair_verdict v = why(&x, slow, 2 * S);
    assert_int_equal(v.reason, DV_FAIR_RESERVED);
    assert_int_equal(v.other, b);
    small.estimate_ns = 90 * S;
    uint32_t quick = submit(&x, &small, 3 * S);
    struct dv_fair_decision d;
    assert_int_equal(dv_fair_next(x.f, 3 * S, &d), 0);
    assert_int_equal(d.workload, quick);
    assert_true(d.backfilled);
    dv_fair_ended(x.f, quick, 93 * S);
    dv_fair_ended(x.f, r, 100 * S);
    settle(&x, 100 * S, NULL);
    assert_int_equal(dv_fair_state(x.f, b), DV_FAIR_RUNNING);
    dv_fair_free(x.f);
}

static void test_limit_and_bad_input(void **state)
{
    struct dv_fair_config c = quiet();
    struct world x = make(&c, 1);
    struct dv_fair_queue q = {.guarantee = 3 * GPU, .limit = 2 * GPU, .weight = 1};
    uint32_t w;
    assert_int_equal(dv_fair_add_queue(x.f, &q, &x.queue[0]), -EINVAL);
    q.guarantee = 0;
    assert_int_equal(dv_fair_add_queue(x.f, &q, &x.queue[0]), 0);
    struct dv_fair_spec s = gang(&x, 0, 1, 1);
    for (int i = 0; i < 3; i++)
        w = submit(&x, &s, 0);
    assert_int_equal(settle(&x, 0, NULL), 2);
    struct dv_fair_verdict v = why(&x, w, 0);
    assert_int_equal(v.reason, DV_FAIR_LIMIT);
    assert_int_equal(v.held, 2 * GPU);
    assert_int_equal(v.limit, 2 * GPU);
    s.min = s.max = 3;
    assert_int_equal(dv_fair_submit(x.f, &s, 0, &w, &v), DV_FAIR_REFUSED);
    assert_int_equal(v.reason, DV_FAIR_OVER_LIMIT);
    s.min = 0;
    assert_int_equal(dv_fair_submit(x.f, &s, 0, &w, &v), -EINVAL);
    s = gang(&x, 0, 1, 17);
    assert_int_equal(dv_fair_submit(x.f, &s, 0, &w, &v), -EINVAL);
    s = gang(&x, 0, 1, 1);
    s.queue = DV_FAIR_ROOT;
    assert_int_equal(dv_fair_submit(x.f, &s, 0, &w, &v), -EINVAL);
    q.parent = x.queue[0]; /* it has workloads */
    assert_int_equal(dv_fair_add_queue(x.f, &q, &w), -EINVAL);
    dv_fair_free(x.f);
}

static void test_gang_over_mig_and_fractions(void **state)
{
    struct dv_fair_config c = quiet();
    struct world x = make(&c, 1);
    add_queue(&x, 0, 0, 1);
    struct dv_fair_spec m = gang(&x, 0, 14, 0), p = gang(&x, 0, 12, 0), big = gang(&x, 0, 1, 1);
    m.request.kind = DV_FAIR_MIG;
    snprintf(m.request.profile, sizeof m.request.profile, "1g.10gb");
    p.request.kind = DV_FAIR_FRACTION;
    p.request.compute = 3500;
    uint32_t a = submit(&x, &m, 0), b = submit(&x, &p, 0), n;
    assert_int_equal(settle(&x, 0, NULL), 2);
    dv_fair_places(x.f, a, &n);
    assert_int_equal(n, 14);
    dv_fair_places(x.f, b, &n);
    assert_int_equal(n, 12);
    assert_int_equal(dv_fair_pool_free_gpus(dv_fair_pool(x.f)), 0);
    /* A higher priority takes a GPU back: the cheaper gang goes, all of it. */
    big.priority = 1;
    submit(&x, &big, S);
    struct dv_fair_decision d;
    assert_int_equal(dv_fair_next(x.f, S, &d), 0);
    assert_int_equal(d.n_victims, 1);
    assert_int_equal(d.victims[0].workload, a);
    dv_fair_gone(x.f, a, S);
    settle(&x, S, NULL);
    assert_int_equal(dv_fair_state(x.f, a), DV_FAIR_PENDING);
    dv_fair_free(x.f);
}

/* A scheduler that starts anew is told what runs, and decides as the one before it would have. */
static void test_adopted(void **state)
{
    struct dv_fair_config c = quiet();
    struct world x = make(&c, 2), y = make(&c, 2);
    add_queue(&x, 0, 0, 1);
    add_queue(&y, 0, 0, 1);
    struct dv_fair_spec specs[3] = {gang(&x, 0, 2, 3), gang(&x, 0, 5, 0), gang(&x, 0, 3, 0)};
    specs[1].request.kind = DV_FAIR_MIG;
    snprintf(specs[1].request.profile, sizeof specs[1].request.profile, "2g.20gb");
    specs[2].request.kind = DV_FAIR_FRACTION;
    specs[2].request.compute = 3000;
    uint32_t w, n, copy;
    for (int i = 0; i < 3; i++) {
        w = submit(&x, &specs[i], 0);
        settle(&x, 0, NULL);
        const struct dv_fair_place *places = dv_fair_places(x.f, w, &n);
        assert_int_equal(n, specs[i].min);
        assert_int_equal(dv_fair_adopt(y.f, &specs[i], places, n, 0, S, &copy), 0);
        assert_int_equal(dv_fair_adopt(y.f, &specs[0], places, n, 0, S, &copy), -EINVAL);
        assert_int_equal(dv_fair_check(y.f), 0);
    }
    struct dv_fair_spec big = gang(&x, 0, 1, 8);
    big.priority = 1;
    uint32_t a = submit(&x, &big, S), b = submit(&y, &big, S);
    uint32_t victims[2] = {0};
    settle(&x, S, &victims[0]);
    settle(&y, S, &victims[1]);
    assert_int_equal(victims[0], victims[1]);
    const struct dv_fair_place *p = dv_fair_places(x.f, a, &n), *q = dv_fair_places(y.f, b, &n);
    assert_int_equal(p->node, q->node);
    assert_int_equal(p->gpus, q->gpus);
    dv_fair_free(x.f);
    dv_fair_free(y.f);
}

/* One GPU, two queues, equal weights; one has had it for long: the other gets it first. */
static void test_time_counts(void **state)
{
    struct dv_fair_config c = quiet();
    c.pull_milli = 1000;
    c.half_life_ns = 3600 * S;
    struct world x = make(&c, 0);
    uint32_t node;
    dv_fair_add_node(x.f, x.model, 0, 1, &node);
    add_queue(&x, 0, 0, 1);
    add_queue(&x, 1, 0, 1);
    struct dv_fair_spec a = gang(&x, 0, 1, 1), b = gang(&x, 1, 1, 1);
    uint32_t w = submit(&x, &a, 0);
    settle(&x, 0, NULL);
    submit(&x, &a, 1);
    uint32_t v = submit(&x, &b, 2);
    dv_fair_ended(x.f, w, 600 * S);
    settle(&x, 600 * S, NULL);
    assert_int_equal(dv_fair_state(x.f, v), DV_FAIR_RUNNING);
    dv_fair_free(x.f);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_order_follows_shares),
        cmocka_unit_test(test_gang_all_or_none),
        cmocka_unit_test(test_reclaim_and_the_line),
        cmocka_unit_test(test_guarantee_is_honoured_and_kept),
        cmocka_unit_test(test_preemption_takes_the_cheapest),
        cmocka_unit_test(test_elastic_grows_and_gives_back),
        cmocka_unit_test(test_consolidation),
        cmocka_unit_test(test_backfill_waits_for_nobody),
        cmocka_unit_test(test_limit_and_bad_input),
        cmocka_unit_test(test_gang_over_mig_and_fractions),
        cmocka_unit_test(test_time_counts),
        cmocka_unit_test(test_adopted),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
