/* SPDX-License-Identifier: Apache-2.0 */
/* The gate alone. With an arbiter and a device: tests/scenarios/share_test.c. */
#include "gate.h"

#include <errno.h>
#include <pthread.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#define US UINT64_C(1000)
#define MS UINT64_C(1000000)
#define ME 3u
#define OTHER 5u

static struct dv_gate g;
static struct dv_slot_page slot;
static struct dv_gate_wait wait_for;

static struct dv_gate_view view(uint64_t now)
{
    return (struct dv_gate_view){.quantum_ns = 10 * MS,
                                 .inflight_bound_ns = 4 * MS,
                                 .overlap_ns = 200 * US,
                                 .linger_ns = MS,
                                 .grace_ns = 3 * MS,
                                 .heartbeat_ns = now,
                                 .compute = 3500};
}

static void start(void)
{
    assert_int_equal(dv_gate_init(&g, &(struct dv_gate_config){.slot = ME, .prices_max = 64}), 0);
    memset(&slot, 0, sizeof slot);
}

static enum dv_gate_verdict ask(uint64_t now, struct dv_gate_price *p)
{
    return dv_gate_ask(&g, now, p, &wait_for);
}

/* The lease of epoch 1 from `now` on, alone. */
static struct dv_gate_view hold(uint64_t now)
{
    struct dv_gate_view v = view(now);
    v.turn = dv_turn_pack(ME + 1, 1);
    v.deadline_ns = now + 10 * MS;
    dv_gate_look(&g, now, &v);
    return v;
}

/* A price that has been learnt from n launches of its length, each timed alone. */
static struct dv_gate_price *learn(uint64_t key, uint64_t ns, uint64_t *now, unsigned n)
{
    struct dv_gate_price *p = dv_gate_price(&g, key);
    for (unsigned i = 0; i < n; i++) {
        enum dv_gate_verdict v = ask(*now, p);
        assert_true(v == DV_GATE_GO || v == DV_GATE_GO_STAMPED);
        uint64_t begin = v == DV_GATE_GO_STAMPED ? *now : 0;
        uint64_t id = dv_gate_mark(&g, *now);
        assert_true(id > 0);
        dv_gate_complete(&g, *now + ns, id, begin, *now + ns);
        *now += ns;
    }
    return p;
}

static void test_asks_before_it_goes(void **state)
{
    start();
    struct dv_gate_view v = view(MS);
    struct dv_gate_price *p = dv_gate_price(&g, 7);
    assert_false(dv_gate_try(&g, p));
    dv_gate_look(&g, MS, &v);
    assert_int_equal(ask(MS, p), DV_GATE_WAIT);
    assert_true(wait_for.turn);
    assert_int_equal(dv_gate_publish(&g, &slot), DV_GATE_KICK);
    assert_int_equal(slot.state, DV_SLOT_WANT);
    assert_int_equal(slot.want_ns, MS);
    assert_int_equal(slot.want_count, 1);
    assert_int_equal(ask(2 * MS, p), DV_GATE_WAIT); /* says so once */
    assert_int_equal(dv_gate_publish(&g, &slot), 0);
    dv_gate_give_up(&g, 3 * MS);
    assert_int_equal(dv_gate_publish(&g, &slot), DV_GATE_KICK);
    assert_int_equal(slot.state, DV_SLOT_IDLE);
    assert_int_equal(slot.wait_total_ns, 2 * MS);
    dv_gate_done(&g);
}

static void test_unknown_goes_alone(void **state)
{
    start();
    uint64_t now = MS;
    hold(now);
    struct dv_gate_price *p = dv_gate_price(&g, 1), *q = dv_gate_price(&g, 2);
    assert_int_equal(ask(now, p), DV_GATE_GO_STAMPED);
    assert_false(dv_gate_try(&g, p));
    assert_int_equal(ask(now, q), DV_GATE_MARK); /* something must end, so something must tell */
    uint64_t id = dv_gate_mark(&g, now);
    assert_int_equal(ask(now, q), DV_GATE_WAIT);
    assert_int_equal(wait_for.marker, id);
    dv_gate_complete(&g, 2 * MS, id, now + 10 * US, 2 * MS);
    assert_int_equal(p->price_ns, MS - 10 * US);
    assert_int_equal(ask(2 * MS, q), DV_GATE_GO_STAMPED);
    dv_gate_done(&g);
}

static void test_fast_path_stays_below_its_budget(void **state)
{
    start();
    uint64_t now = MS;
    hold(now);
    struct dv_gate_price *p = learn(1, 100 * US, &now, 20);
    assert_in_range(p->price_ns, 99 * US, 101 * US);
    unsigned went = 0, batches = 0;
    for (;;) {
        if (dv_gate_try(&g, p)) {
            went++;
            continue;
        }
        enum dv_gate_verdict v = ask(now, p);
        if (v == DV_GATE_WAIT)
            break;
        if (v == DV_GATE_MARK) {
            assert_true(dv_gate_mark(&g, now) > 0);
            batches++;
        } else {
            went++;
        }
    }
    assert_int_equal(went, 40); /* D / 100 us */
    assert_int_equal(batches, 4);
    assert_int_equal(wait_for.marker, g.marker_done + 1);
    dv_gate_done(&g);
}

static void test_two_in_flight(void **state)
{
    start();
    uint64_t now = MS;
    hold(now);
    struct dv_gate_price *p = learn(1, 3 * MS, &now, 4);
    assert_int_not_equal(ask(now, p), DV_GATE_WAIT);
    assert_int_equal(ask(now, p), DV_GATE_MARK); /* the batch is full */
    dv_gate_mark(&g, now);
    assert_int_equal(ask(now, p), DV_GATE_GO); /* 6 ms > D, but only the second */
    assert_int_equal(ask(now, p), DV_GATE_MARK);
    dv_gate_mark(&g, now);
    assert_int_equal(ask(now, p), DV_GATE_WAIT);
    dv_gate_done(&g);
}

/* Somebody waits: at the end of the quantum the lease is announced, drained and handed over. */
static void test_end_of_a_lease(void **state)
{
    start();
    uint64_t now = MS, id = 0;
    struct dv_gate_view v = hold(now);
    struct dv_gate_price *p = learn(1, 500 * US, &now, 4);
    v.contended = true;
    v.next = dv_turn_pack(OTHER + 1, 2);
    dv_gate_look(&g, now, &v);
    unsigned went = 0;
    uint64_t last = g.last_end_ns;
    for (enum dv_gate_verdict r; g.state == DV_SLOT_HELD;) {
        r = ask(now, p);
        if (r == DV_GATE_MARK) {
            id = dv_gate_mark(&g, now);
        } else if (r == DV_GATE_WAIT && g.state == DV_SLOT_HELD) {
            uint64_t oldest = g.marker_done + 1;
            last += g.closed[oldest % DV_GATE_MARKERS].launches * 500 * US;
            now = last;
            dv_gate_complete(&g, now, oldest, 0, last);
        } else if (r != DV_GATE_WAIT) {
            went++;
        }
    }
    assert_in_range(went, 15, 17); /* 8 ms were left: rounded to the nearest launch */
    while (dv_gate_tick(&g, now) == DV_GATE_MARK)
        id = dv_gate_mark(&g, now);
    uint64_t announce = dv_gate_next(&g);
    assert_int_equal(announce, g.pred_end_ns - 200 * US);
    dv_gate_tick(&g, announce);
    assert_int_equal(dv_gate_publish(&g, &slot), DV_GATE_WAKE);
    assert_int_equal(slot.state, DV_SLOT_DRAINING);
    assert_int_equal(slot.handed, v.next);
    assert_int_equal(slot.remainder_ns, 200 * US);
    assert_int_equal(dv_gate_successor(&g), OTHER + 1);
    dv_gate_complete(&g, announce + 2 * MS, id, 0, announce + 2 * MS); /* late: sliced */
    assert_int_equal(dv_gate_publish(&g, &slot), DV_GATE_WAKE | DV_GATE_KICK);
    assert_int_equal(slot.released_epoch, 1);
    assert_int_equal(slot.state, DV_SLOT_WANT);
    assert_int_equal(slot.used_ns, announce + 200 * US - slot.first_start_ns);
    dv_gate_done(&g);
}

static struct dv_gate_view named_next(uint64_t now)
{
    struct dv_gate_view v = view(now);
    v.turn = dv_turn_pack(OTHER + 1, 7);
    v.next = dv_turn_pack(ME + 1, 8);
    v.contended = true;
    v.deadline_ns = 20 * MS;
    v.holder_epoch = 7;
    v.holder_released_epoch = 6;
    return v;
}

static bool goes(const struct dv_gate_view *v, uint64_t now)
{
    start();
    dv_gate_look(&g, now, v);
    enum dv_gate_verdict r = ask(now, dv_gate_price(&g, 1));
    bool went = r != DV_GATE_WAIT;
    assert_int_equal(went, g.epoch == 8 && g.state == DV_SLOT_HELD);
    dv_gate_done(&g);
    return went;
}

static void test_when_a_successor_may_start(void **state)
{
    struct dv_gate_view v = named_next(10 * MS);
    assert_false(goes(&v, 10 * MS));
    v.holder_released_epoch = 7;
    assert_false(goes(&v, 10 * MS)); /* released, but to whom? */
    v.holder_handed = dv_turn_pack(OTHER + 2, 8);
    assert_false(goes(&v, 10 * MS));
    v.holder_handed = dv_turn_pack(ME + 1, 8);
    assert_true(goes(&v, 10 * MS));
    v.next = 0; /* renamed since: the holder's word stands */
    assert_true(goes(&v, 10 * MS));
    v.turn = dv_turn_pack(OTHER + 1, 9); /* an offer from before */
    assert_false(goes(&v, 10 * MS));

    v = named_next(10 * MS);
    v.holder_handed = dv_turn_pack(ME + 1, 8);
    v.holder_announced_ns = 10 * MS;
    v.holder_remainder_ns = 500 * US;
    assert_false(goes(&v, 10 * MS)); /* not earlier than x before the end */
    assert_true(goes(&v, 10 * MS + 300 * US));

    v = named_next(10 * MS);
    assert_false(goes(&v, 22 * MS));
    assert_true(goes(&v, 23 * MS)); /* deadline + grace */
    v.holder_pred_end_ns = 60 * MS;
    assert_false(goes(&v, 62 * MS)); /* a long kernel */
    assert_true(goes(&v, 63 * MS));
    v.contended = false;
    assert_false(goes(&v, 63 * MS));
}

static void test_idle_holder(void **state)
{
    start();
    uint64_t now = MS;
    struct dv_gate_view v = hold(now);
    struct dv_gate_price *p = learn(1, 100 * US, &now, 2);
    uint64_t linger_end = dv_gate_next(&g);
    assert_in_range(linger_end - now, 50 * US, MS);
    dv_gate_tick(&g, linger_end); /* alone: it keeps the lease, and says that it is idle */
    dv_gate_publish(&g, &slot);
    assert_int_equal(slot.state, DV_SLOT_HELD);
    assert_int_equal(slot.idle_since_ns, now);
    assert_int_equal(slot.used_ns, 200 * US);
    assert_int_not_equal(ask(50 * MS, p), DV_GATE_WAIT); /* no message for going on */
    assert_int_equal(dv_gate_publish(&g, &slot), 0);
    assert_int_equal(slot.idle_since_ns, 0);
    uint64_t id = dv_gate_mark(&g, 50 * MS);
    dv_gate_complete(&g, 50 * MS + 100 * US, id, 50 * MS, 50 * MS + 100 * US);
    v.contended = true; /* somebody waits: not longer than the linger */
    v.next = dv_turn_pack(OTHER + 1, 2);
    v.deadline_ns = 60 * MS;
    v.heartbeat_ns = 50 * MS;
    dv_gate_look(&g, 50 * MS + 100 * US, &v);
    now = dv_gate_next(&g);
    assert_true(now < 52 * MS);
    dv_gate_tick(&g, now);
    assert_int_equal(dv_gate_publish(&g, &slot), DV_GATE_WAKE | DV_GATE_KICK);
    assert_int_equal(slot.state, DV_SLOT_IDLE);
    assert_int_equal(slot.handed, v.next);
    assert_true(slot.used_ns < 3 * MS); /* the 49 ms of sleep are not charged */
    dv_gate_done(&g);
}

static void test_lost_lease(void **state)
{
    start();
    uint64_t now = MS;
    struct dv_gate_view v = hold(now);
    struct dv_gate_price *p = dv_gate_price(&g, 1);
    assert_int_not_equal(ask(now, p), DV_GATE_WAIT);
    uint64_t id = dv_gate_mark(&g, now);
    v.turn = dv_turn_pack(OTHER + 1, 2); /* after the grace */
    dv_gate_look(&g, 30 * MS, &v);
    assert_int_equal(g.state, DV_SLOT_STOPPING);
    assert_int_equal(ask(30 * MS, p), DV_GATE_WAIT);
    dv_gate_complete(&g, 40 * MS, id, now, 40 * MS);
    dv_gate_publish(&g, &slot);
    assert_int_equal(slot.released_epoch, 1); /* the late word */
    assert_int_equal(slot.used_ns, 39 * MS);
    assert_int_equal(slot.handed, 0);
    assert_int_equal(slot.state, DV_SLOT_WANT);
    dv_gate_done(&g);
}

static void test_paces_itself_without_a_daemon(void **state)
{
    start();
    uint64_t now = MS;
    struct dv_gate_view v = hold(now);
    struct dv_gate_price *p = learn(1, MS, &now, 4);
    uint64_t from = now + 200 * MS, went = 0;
    for (now = from; now < from + 1000 * MS;) {
        dv_gate_look(&g, now, &v);
        enum dv_gate_verdict r = ask(now, p);
        if (r == DV_GATE_WAIT) {
            assert_true(wait_for.until_ns > now);
            now = wait_for.until_ns;
            continue;
        }
        if (r == DV_GATE_MARK) {
            uint64_t id = dv_gate_mark(&g, now);
            now += MS;
            dv_gate_complete(&g, now, id, 0, now);
            continue;
        }
        went++;
    }
    assert_in_range(went, 480, 520); /* share one half */
    dv_gate_publish(&g, &slot);
    assert_in_range(slot.selfpaced_total_ns, 480 * MS, 520 * MS);
    v.heartbeat_ns = now; /* back: it needs a lease again */
    dv_gate_look(&g, now, &v);
    while (ask(now, p) == DV_GATE_MARK) {
        uint64_t id = dv_gate_mark(&g, now);
        dv_gate_complete(&g, now + MS, id, 0, now + MS);
    }
    assert_int_not_equal(g.state, DV_SLOT_IDLE);
    dv_gate_done(&g);
}

static void test_prices_follow_slowly(void **state)
{
    start();
    uint64_t now = MS;
    hold(now);
    struct dv_gate_price *p = learn(1, 100 * US, &now, 20);
    learn(1, 200 * US, &now, 1);
    assert_in_range(p->price_ns, 100 * US, 126 * US); /* a quarter of the way at most */
    learn(1, 200 * US, &now, 200);
    assert_in_range(p->price_ns, 195 * US, 201 * US);
    assert_in_range(p->slow_ns, 99 * US, 110 * US); /* the detector's memory is longer */
    dv_gate_done(&g);
}

/* An intruder doubles the time; a factor above four is other work under the same signature. */
static void test_prices_follow_at_once_when_the_work_changes(void **state)
{
    start();
    uint64_t now = MS;
    hold(now);
    struct dv_gate_price *p = learn(1, 100 * US, &now, 20);
    for (int i = 0; i < 64 && p->price_ns == 100 * US; i++)
        learn(1, 3 * MS, &now, 1); /* not every batch is timed from its begin */
    assert_in_range(p->price_ns, 2900 * US, 3100 * US);
    assert_in_range(p->slow_ns, 2900 * US, 3100 * US); /* or the detector would see an intruder */
    dv_gate_done(&g);
}

static void test_an_ended_slice_launches_nothing(void **state)
{
    start();
    struct dv_gate_view v = hold(MS);
    v.ended = true;
    dv_gate_look(&g, MS, &v);
    assert_int_equal(ask(MS, dv_gate_price(&g, 1)), DV_GATE_WAIT);
    dv_gate_done(&g);
}

static void test_unleased_is_metered_only(void **state)
{
    start();
    struct dv_gate_view v = view(MS);
    struct dv_gate_price *p = dv_gate_price(&g, 1);
    v.unleased = true;
    dv_gate_look(&g, MS, &v);
    for (unsigned i = 0; i < 100000; i++) {
        if (dv_gate_try(&g, p))
            continue;
        enum dv_gate_verdict r = ask(MS, p);
        assert_int_not_equal(r, DV_GATE_WAIT);
        if (r == DV_GATE_MARK)
            dv_gate_mark(&g, MS);
    }
    /* Nor is it held back when the daemon is gone. */
    dv_gate_look(&g, MS + 10 * DV_GATE_DAEMON_LOST_NS, &v);
    for (unsigned i = 0; i < 1000; i++) {
        enum dv_gate_verdict r = ask(MS + 10 * DV_GATE_DAEMON_LOST_NS, p);
        assert_int_not_equal(r, DV_GATE_WAIT);
        if (r == DV_GATE_MARK)
            dv_gate_mark(&g, MS + 10 * DV_GATE_DAEMON_LOST_NS);
    }
    dv_gate_done(&g);
}

static void test_settings_and_crowded_prices(void **state)
{
    assert_int_equal(dv_gate_init(&g, &(struct dv_gate_config){.slot = 0, .prices_max = 17}),
                     -EINVAL);
    assert_int_equal(dv_gate_init(&g, &(struct dv_gate_config){.slot = 512, .prices_max = 16}),
                     -EINVAL);
    start();
    for (uint64_t key = 0; key < 10000; key++)
        assert_non_null(dv_gate_price(&g, key));
    assert_ptr_equal(dv_gate_price(&g, 1), dv_gate_price(&g, 1));
    dv_gate_done(&g);
}

struct racer {
    struct dv_gate_price *price;
    uint64_t went;
};

static void *race(void *arg)
{
    struct racer *r = arg;
    for (unsigned i = 0; i < 200000; i++)
        r->went += dv_gate_try(&g, r->price);
    return NULL;
}

/* Threads on the fast path while another one takes the budget back: nothing is counted twice. */
static void test_threads(void **state)
{
    start();
    uint64_t now = MS, id;
    hold(now);
    struct racer racers[4] = {0};
    pthread_t threads[4];
    uint64_t slow = 0;
    struct dv_gate_price *p = learn(1, US, &now, 20);
    uint64_t before = p->launched;
    for (unsigned i = 0; i < 4; i++) {
        racers[i].price = p;
        assert_int_equal(pthread_create(&threads[i], NULL, race, &racers[i]), 0);
    }
    for (unsigned i = 0; i < 20000; i++) {
        enum dv_gate_verdict r = ask(now, p);
        if (r == DV_GATE_MARK) {
            id = dv_gate_mark(&g, now);
            dv_gate_complete(&g, now, id, 0, now);
        } else if (r != DV_GATE_WAIT) {
            slow++;
        }
    }
    for (unsigned i = 0; i < 4; i++) {
        pthread_join(threads[i], NULL);
        slow += racers[i].went;
    }
    assert_int_equal(p->launched - before, slow);
    while ((id = dv_gate_mark(&g, now)))
        dv_gate_complete(&g, now, id, 0, now);
    assert_int_equal(g.launches_total, p->launched);
    assert_int_equal(g.inflight_launches, 0);
    assert_int_equal(g.inflight_ns, 0);
    dv_gate_done(&g);
}

static void test_view_of_pages(void **state)
{
    static struct dv_arbiter_page a;
    static struct dv_slice_page s;
    struct dv_gate_view v;
    a.turn = dv_turn_pack(OTHER + 1, 9);
    a.contended = 1;
    a.flags = DV_ARBITER_FLAG_OPEN;
    s.compute = 3500;
    s.compute_cap = 1400;
    s.state = DV_SLICE_ENDED;
    slot.handed = 42;
    slot.released_epoch = 9;
    dv_gate_view_read(&v, &a, &s, &slot);
    assert_int_equal(v.turn, a.turn);
    assert_true(v.contended && v.open && v.ended && !v.unleased);
    assert_int_equal(v.compute, 1400);
    assert_int_equal(v.holder_handed, 42);
    dv_gate_view_read(&v, &a, &s, NULL);
    assert_int_equal(v.holder_handed, 0);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_asks_before_it_goes),
        cmocka_unit_test(test_unknown_goes_alone),
        cmocka_unit_test(test_fast_path_stays_below_its_budget),
        cmocka_unit_test(test_two_in_flight),
        cmocka_unit_test(test_end_of_a_lease),
        cmocka_unit_test(test_when_a_successor_may_start),
        cmocka_unit_test(test_idle_holder),
        cmocka_unit_test(test_lost_lease),
        cmocka_unit_test(test_paces_itself_without_a_daemon),
        cmocka_unit_test(test_prices_follow_slowly),
        cmocka_unit_test(test_prices_follow_at_once_when_the_work_changes),
        cmocka_unit_test(test_an_ended_slice_launches_nothing),
        cmocka_unit_test(test_unleased_is_metered_only),
        cmocka_unit_test(test_settings_and_crowded_prices),
        cmocka_unit_test(test_threads),
        cmocka_unit_test(test_view_of_pages),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
