/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The queue by examples, then by random lives of a node: nothing is ever promised twice, nobody is
 * passed by a claim that takes what it could have used, and nothing that could be granted waits.
 */
#include "base/rng.h"
#include "policy/queue.h"

#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

static void apply(struct dv_snapshot *s, struct dv_event e)
{
    struct dv_err err = {0};
    if (dv_event_apply(s, &e, &err) < 0)
        fail_msg("%s: %s", dv_event_name(e.kind), err.msg);
    if (dv_snapshot_check(s, &err) < 0)
        fail_msg("after %s: %s", dv_event_name(e.kind), err.msg);
}

static struct dv_snapshot *node(uint32_t gpus, const uint64_t *gib)
{
    struct dv_snapshot *s = NULL;
    assert_int_equal(dv_snapshot_new(&s), 0);
    for (uint32_t i = 0; i < gpus; i++) {
        struct dv_event g = {.kind = DV_EVENT_GPU_SEEN}, d = {.kind = DV_EVENT_DEVICE_SEEN};
        g.gpu = (struct dv_gpu){.index = i, .health = DV_GPU_HEALTH_OK};
        snprintf(g.gpu.uuid, DV_UUID_SIZE, "GPU-%u", i);
        d.device = (struct dv_device){
            .gpu = i, .memory_bytes = gib[i] * DV_GIB, .compute = DV_COMPUTE_FULL};
        snprintf(d.device.uuid, DV_UUID_SIZE, "GPU-%u", i);
        apply(s, g);
        apply(s, d);
    }
    return s;
}

static void enqueue(struct dv_snapshot *s, uint64_t id, int priority, enum dv_mode mode,
                    uint64_t gib, int gpu)
{
    struct dv_event e = {.kind = DV_EVENT_CLAIM_QUEUED};
    e.claim = (struct dv_claim){.id = id,
                                .tenant = "t",
                                .mode = mode,
                                .memory_bytes = gib * DV_GIB,
                                .priority = priority,
                                .wait = true,
                                .since_ns = id,
                                .gpu = {.text = "any"}};
    snprintf(e.claim.tenant, sizeof e.claim.tenant, "t%u", (unsigned)id);
    if (gpu >= 0)
        e.claim.gpu = (struct dv_selector){.kind = DV_SELECTOR_INDEX, .index = (uint32_t)gpu};
    apply(s, e);
}

/* The device as it is, but for what the caller changes in the event. */
static struct dv_event seen(const struct dv_snapshot *s, size_t device)
{
    return (struct dv_event){.kind = DV_EVENT_DEVICE_SEEN, .device = s->devices[device]};
}

/* Starts the MPS daemons that claims wait for; how many. */
static size_t prepare(struct dv_snapshot *s)
{
    bool marks[8];
    size_t started = 0;
    assert_int_equal(dv_queue_prepare(s, marks), 0);
    for (size_t i = 0; i < s->n_devices; i++) {
        if (!marks[i])
            continue;
        struct dv_event e = seen(s, i);
        assert_false(e.device.mps_up);
        e.device.mps_up = true;
        apply(s, e);
        started++;
    }
    return started;
}

static void assert_fair(const struct dv_snapshot *s, uint64_t id, const char *device);

/* Does everything that can be done; returns how many were granted. */
static size_t settle_counted(struct dv_snapshot *s, size_t *refused)
{
    size_t granted = 0;
    uint64_t id = 0;
    struct dv_admission a;
    int r;
    do {
        while (!(r = dv_queue_next(s, &id, &a))) {
            const struct dv_claim *c = dv_snapshot_claim(s, id);
            assert_non_null(c);
            struct dv_event e = {.kind = DV_EVENT_CLAIM_WITHDRAWN, .id = id};
            if (a.verdict.result == DV_VERDICT_GRANTED) {
                assert_fair(s, id, a.device);
                e.kind = DV_EVENT_SLICE_GRANTED;
                e.slice = dv_admit_slice(c, &a, 0);
                granted++;
            } else {
                ++*refused;
            }
            apply(s, e);
        }
        assert_int_equal(r, -ENOENT);
    } while (prepare(s));
    return granted;
}

static size_t settle(struct dv_snapshot *s)
{
    size_t refused = 0;
    return settle_counted(s, &refused);
}

static struct dv_verdict explain(const struct dv_snapshot *s, uint64_t id)
{
    struct dv_verdict v;
    assert_int_equal(dv_queue_explain(s, id, &v), 0);
    return v;
}

static void test_order(void **state)
{
    dv_cleanup(dv_snapshot_freep) struct dv_snapshot *s = node(1, (uint64_t[]){40});
    enqueue(s, 1, 0, DV_MODE_EXCLUSIVE, 0, -1);
    enqueue(s, 2, 5, DV_MODE_EXCLUSIVE, 0, -1);
    enqueue(s, 3, 5, DV_MODE_EXCLUSIVE, 0, -1);
    size_t order[3];
    assert_int_equal(dv_queue_order(s, order), 0);
    assert_true(order[0] == 1 && order[1] == 2 && order[2] == 0);
    assert_int_equal(settle(s), 1);
    assert_non_null(dv_snapshot_slice(s, 2));
    assert_int_equal(explain(s, 3).position, 1);
    assert_int_equal(explain(s, 3).reason, DV_REASON_BUSY);
    assert_int_equal(explain(s, 1).position, 2);
    struct dv_verdict v;
    assert_int_equal(dv_queue_explain(s, 2, &v), -ENOENT);
}

static void test_nobody_slips_in(void **state)
{
    dv_cleanup(dv_snapshot_freep) struct dv_snapshot *s = node(2, (uint64_t[]){40, 40});
    enqueue(s, 1, 0, DV_MODE_GOVERNED, 30, 0);
    assert_int_equal(settle(s), 1);
    enqueue(s, 2, 0, DV_MODE_GOVERNED, 20, 0); /* must wait for card 0 */
    enqueue(s, 3, 0, DV_MODE_GOVERNED, 5, 0);  /* would fit, but stands behind 2 */
    enqueue(s, 4, 0, DV_MODE_GOVERNED, 5, -1); /* takes the other card */
    assert_int_equal(settle(s), 1);
    assert_string_equal(dv_snapshot_slice(s, 4)->device, "GPU-1");
    struct dv_verdict v = explain(s, 3);
    assert_int_equal(v.reason, DV_REASON_BEHIND);
    assert_string_equal(v.holder, "t2");
    assert_int_equal(v.position, 2);
    apply(s, (struct dv_event){.kind = DV_EVENT_SLICE_RELEASED, .id = 1});
    assert_int_equal(settle(s), 2);
    assert_int_equal(dv_queue_next(s, &(uint64_t){0}, &(struct dv_admission){0}), -ENOENT);
}

static void test_impossible_is_refused_anywhere(void **state)
{
    dv_cleanup(dv_snapshot_freep) struct dv_snapshot *s = node(1, (uint64_t[]){40});
    enqueue(s, 1, 0, DV_MODE_EXCLUSIVE, 0, -1);
    assert_int_equal(settle(s), 1);
    enqueue(s, 2, 0, DV_MODE_EXCLUSIVE, 0, -1);
    enqueue(s, 3, 0, DV_MODE_EXCLUSIVE, 41, -1);
    uint64_t id = 0;
    struct dv_admission a;
    assert_int_equal(dv_queue_next(s, &id, &a), 0);
    assert_int_equal(id, 3);
    assert_int_equal(a.verdict.reason, DV_REASON_TOO_LARGE_MEMORY);
}

/* No grant may take a device that somebody ahead in the queue could use. */
static void assert_fair(const struct dv_snapshot *s, uint64_t id, const char *device)
{
    size_t order[64];
    assert_true(s->n_claims <= DV_ARRAY_SIZE(order));
    assert_int_equal(dv_queue_order(s, order), 0);
    for (size_t i = 0; s->claims[order[i]].id != id; i++) {
        bool marks[8] = {false};
        dv_admit_mark(s, &s->claims[order[i]], marks);
        for (size_t d = 0; d < s->n_devices; d++)
            assert_false(marks[d] && !strcmp(s->devices[d].uuid, device));
    }
}

/* A start that is under way keeps the device for who waits for it. */
static void test_preparing(void **state)
{
    dv_cleanup(dv_snapshot_freep) struct dv_snapshot *s = node(2, (uint64_t[]){40, 40});
    bool marks[2];
    enqueue(s, 1, 0, DV_MODE_MPS, 10, 0);
    enqueue(s, 2, 0, DV_MODE_MPS, 10, 0);
    enqueue(s, 3, 0, DV_MODE_EXCLUSIVE, 0, 0);
    enqueue(s, 4, 0, DV_MODE_MPS, 10, -1);
    assert_int_equal(dv_queue_next(s, &(uint64_t){0}, &(struct dv_admission){0}), -ENOENT);
    assert_int_equal(explain(s, 1).reason, DV_REASON_PREPARING);
    assert_int_equal(explain(s, 2).reason, DV_REASON_BEHIND);
    assert_int_equal(explain(s, 3).reason, DV_REASON_BEHIND);
    assert_int_equal(explain(s, 4).reason, DV_REASON_PREPARING);
    assert_int_equal(explain(s, 4).gpu, 1);
    assert_int_equal(dv_queue_prepare(s, marks), 0);
    assert_true(marks[0] && marks[1]);
    struct dv_verdict v;
    uint64_t first = 0;
    assert_int_equal(dv_queue_awaiting(s, s->devices[0].uuid, &first, &v), 0);
    assert_true(first == 1 && v.reason == DV_REASON_PREPARING && v.gpu == 0);
    assert_int_equal(dv_queue_awaiting(s, s->devices[1].uuid, &first, &v), 0);
    assert_int_equal(first, 4);
    assert_int_equal(dv_queue_awaiting(s, "GPU-none", &first, &v), -ENOENT);
    struct dv_event e = seen(s, 0);
    e.device.mps_up = true;
    apply(s, e);
    uint64_t id = 0;
    struct dv_admission a;
    assert_int_equal(dv_queue_next(s, &id, &a), 0);
    assert_int_equal(id, 1);
    assert_int_equal(settle(s), 3);
    assert_int_equal(explain(s, 3).reason, DV_REASON_BUSY);
}

/* Four of each kind of device: free ones, MPS, time-slices and governed in parts. */
static struct dv_snapshot *shared_node(void)
{
    static const enum dv_mode layouts[] = {DV_MODE_AUTO, DV_MODE_AUTO,      DV_MODE_AUTO,
                                           DV_MODE_MPS,  DV_MODE_TIMESLICE, DV_MODE_GOVERNED,
                                           DV_MODE_MPS};
    struct dv_snapshot *s = node(7, (uint64_t[]){16, 24, 80, 40, 40, 40, 80});
    for (size_t i = 0; i < s->n_devices; i++) {
        struct dv_event e = seen(s, i);
        e.device.layout = layouts[i];
        e.device.replicas = layouts[i] == DV_MODE_AUTO ? 0 : (uint32_t)i; /* 6: more than clients */
        apply(s, e);
    }
    struct dv_event g = {.kind = DV_EVENT_GPU_SEEN, .gpu = s->gpus[6]};
    g.gpu.mps_clients = 3;
    g.gpu.context_bytes = DV_GIB / 2;
    apply(s, g);
    return s;
}

/* A daemon dies, the layout wants a device back, or gives up on it. */
static void disturb(struct dv_snapshot *s, struct dv_rng *rng, bool drain)
{
    struct dv_event e = seen(s, dv_rng_below(rng, s->n_devices));
    if (!drain || dv_rng_below(rng, 2))
        e.device.mps_up = false;
    else
        e.device.draining = !dv_rng_below(rng, 5);
    apply(s, e);
}

static void random_claim(struct dv_snapshot *s, struct dv_rng *rng, uint64_t id)
{
    struct dv_event e = {.kind = DV_EVENT_CLAIM_QUEUED};
    int gpu = (int)dv_rng_below(rng, 14) - 7;
    e.claim = (struct dv_claim){.id = id,
                                .mode = (enum dv_mode)dv_rng_below(rng, DV_MODE_GOVERNED + 1),
                                .priority = (int32_t)dv_rng_below(rng, 3),
                                .wait = dv_rng_below(rng, 6),
                                .since_ns = id,
                                .gpu = {.text = "any"}};
    if (dv_rng_below(rng, 2))
        e.claim.memory_bytes = dv_rng_below(rng, 40) * DV_GIB;
    if (!dv_rng_below(rng, 4))
        e.claim.compute = 700 * (uint32_t)dv_rng_below(rng, 11);
    if (!dv_rng_below(rng, 5))
        e.claim.trust = DV_TRUST_UNTRUSTED;
    snprintf(e.claim.tenant, sizeof e.claim.tenant, "t%u", (unsigned)id);
    if (gpu >= 0)
        e.claim.gpu = (struct dv_selector){.kind = DV_SELECTOR_INDEX, .index = (uint32_t)gpu};
    apply(s, e);
}

struct counts {
    size_t granted, refused, waited, by_mode[DV_MODE_GOVERNED + 1], by_reason[DV_REASON_FIXED + 1];
};

static void live(struct dv_snapshot *s, struct dv_rng *rng, bool drain, struct counts *n)
{
    uint64_t next = 1;
    for (int step = 0; step < 250; step++) {
        if (!dv_rng_below(rng, 12))
            disturb(s, rng, drain);
        if (dv_rng_below(rng, 5) > 1 && s->n_claims < 40) {
            random_claim(s, rng, next++);
        } else if (s->n_slices) {
            uint64_t id = s->slices[dv_rng_below(rng, s->n_slices)].id;
            n->by_mode[dv_snapshot_slice(s, id)->mode]++;
            apply(s, (struct dv_event){.kind = DV_EVENT_SLICE_RELEASED, .id = id});
        }
        n->granted += settle_counted(s, &n->refused);
        for (size_t i = 0; i < s->n_claims; i++) {
            struct dv_verdict v = explain(s, s->claims[i].id);
            assert_int_equal(v.result, DV_VERDICT_QUEUED);
            n->by_reason[v.reason]++;
            n->waited++;
        }
    }
}

static void test_random_lives(void **state)
{
    struct dv_rng rng = {17};
    struct counts n = {0};
    for (int life = 0; life < 40; life++) {
        dv_cleanup(dv_snapshot_freep) struct dv_snapshot *s = shared_node();
        live(s, &rng, life % 4 == 0, &n); /* what drains fills the queue */
        for (size_t i = 0; i < s->n_devices; i++) {
            struct dv_event e = seen(s, i);
            e.device.draining = false;
            apply(s, e);
        }
        settle(s);
        while (s->n_slices) { /* when all leave, all who wait get their turn */
            apply(s, (struct dv_event){.kind = DV_EVENT_SLICE_RELEASED, .id = s->slices[0].id});
            settle(s);
        }
        assert_int_equal(s->n_claims, 0);
    }
    assert_true(n.granted > 1000 && n.refused > 50 && n.waited > 1000);
    for (enum dv_mode m = DV_MODE_EXCLUSIVE; m <= DV_MODE_GOVERNED; m++)
        assert_true(n.by_mode[m] > 20);
    assert_true(n.by_reason[DV_REASON_FULL] && n.by_reason[DV_REASON_DRAINING]);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_order),
        cmocka_unit_test(test_nobody_slips_in),
        cmocka_unit_test(test_impossible_is_refused_anywhere),
        cmocka_unit_test(test_preparing),
        cmocka_unit_test(test_random_lives),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
