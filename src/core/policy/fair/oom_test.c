/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Memory runs out at each allocation of a small life of queues in turn. The call that meets it says
 * -ENOMEM and leaves every sum true; asked again it decides; nothing leaks (which the address
 * sanitizer sees).
 */
#include "base/testing/oom.h"
#include "policy/fair/fair.h"

#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <string.h>

#include <cmocka.h>

#define GPU ((uint64_t)DV_COMPUTE_FULL)
#define S DV_NS_PER_S

/* Calls again what ran out of memory once; both times the state is sound. */
#define AGAIN(f, call)                                                                             \
    do {                                                                                           \
        r = (call);                                                                                \
        if (r == -ENOMEM) {                                                                        \
            assert_true(dv_oom_met());                                                             \
            assert_int_equal(dv_fair_check(f), 0);                                                 \
            r = (call);                                                                            \
        }                                                                                          \
    } while (0)

static uint32_t submit(struct dv_fair *f, uint32_t queue, uint32_t members, uint32_t gpus,
                       int32_t priority, uint64_t now)
{
    struct dv_fair_spec s;
    struct dv_fair_verdict v;
    uint32_t w = 0;
    int r;
    memset(&s, 0, sizeof s);
    s.queue = queue;
    s.request.kind = gpus ? DV_FAIR_WHOLE : DV_FAIR_FRACTION;
    s.request.gpus = gpus;
    s.request.compute = gpus ? 0 : 3500;
    s.min = members;
    s.max = members + 1;
    s.preemptible = s.movable = true;
    s.priority = priority;
    s.estimate_ns = 100 * S;
    AGAIN(f, dv_fair_submit(f, &s, now, &w, &v));
    assert_int_equal(r, 0);
    return w;
}

static uint32_t settle(struct dv_fair *f, uint64_t now)
{
    struct dv_fair_decision d;
    uint32_t n = 0;
    for (;;) {
        int r;
        AGAIN(f, dv_fair_next(f, now, &d));
        if (r == -ENOENT)
            return n;
        assert_int_equal(r, 0);
        n++;
        for (uint32_t i = 0; i < d.n_victims; i++)
            dv_fair_gone(f, d.victims[i].workload, now);
        for (uint32_t i = 0; i < d.n_moves; i++)
            dv_fair_gone(f, d.moves[i].workload, now);
    }
}

static int build(struct dv_fair *f, uint32_t *queues)
{
    struct dv_fair_queue q = {.limit = DV_FAIR_UNLIMITED, .weight = 1};
    uint32_t model, node;
    int r = dv_fair_model(f, "A100-80GB", NULL, &model);
    for (uint32_t i = 0; !r && i < 3; i++)
        AGAIN(f, dv_fair_add_node(f, model, i, 8, &node));
    for (uint32_t i = 0; !r && i < 3; i++)
        AGAIN(f, dv_fair_add_queue(f, &q, &queues[i]));
    return r;
}

static void live(struct dv_fair *f)
{
    uint32_t queues[3], w[4];
    struct dv_fair_verdict v;
    int r;
    assert_int_equal(build(f, queues), 0);
    for (uint32_t i = 0; i < 4; i++)
        w[i] = submit(f, queues[0], 1, 4, 0, 0);
    for (uint32_t i = 0; i < 20; i++)
        submit(f, queues[1], 1, 0, (int32_t)i % 2, 0);
    settle(f, 0);
    dv_fair_ended(f, w[0], S);
    submit(f, queues[2], 2, 8, 1, S); /* reclaims, or moves */
    settle(f, S);
    uint32_t last = submit(f, queues[1], 3, 8, 9, 2 * S);
    settle(f, 2 * S);
    AGAIN(f, dv_fair_explain(f, last, 3 * S, &v));
    assert_int_equal(r, 0);
    assert_int_equal(dv_fair_check(f), 0);
}

static void test_every_allocation_fails_once(void **state)
{
    size_t n = 0;
    bool met;
    do {
        struct dv_fair_config c = dv_fair_defaults;
        c.share_period_ns = 0;
        dv_oom_at(++n);
        struct dv_fair *f = dv_fair_new(&c);
        if (f)
            live(f);
        met = dv_oom_end();
        if (!f)
            assert_true(met);
        dv_fair_free(f);
    } while (met);
    assert_in_range(n, 60, 2000);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_every_allocation_fails_once),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
