/* SPDX-License-Identifier: Apache-2.0 */
/* The virtual GPU against numbers that can be worked out by hand. */
#include "base/rng.h"
#include "engine/engine.h"

#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#define US DV_NS_PER_US
#define MS DV_NS_PER_MS
#define SLICE (2048 * US)
#define SWITCH (60 * US)

struct card {
    struct dv_engine *e;
    uint32_t whole;
};

static struct card make(enum dv_engine_slicing slicing)
{
    struct card c;
    struct dv_engine_config config;
    dv_engine_config_default(&config);
    config.sm_total = 100;
    config.slicing = slicing;
    config.copy_latency_ns = 0;
    config.copy_bytes_per_s[DV_ENGINE_H2D] = 10 * DV_NS_PER_S; /* 10 bytes a nanosecond */
    assert_int_equal(dv_engine_new(&config, &c.e), 0);
    assert_int_equal(dv_engine_partition_add(c.e, 0, 100, &c.whole), 0);
    return c;
}

static uint32_t context(struct card *c, uint64_t owner, uint64_t group, uint32_t limit)
{
    struct dv_engine_context_spec spec = {c->whole, limit, owner, group};
    uint32_t id;
    assert_int_equal(dv_engine_context_add(c->e, 0, &spec, &id), 0);
    return id;
}

static uint32_t stream(struct card *c, uint32_t ctx)
{
    uint32_t id;
    assert_int_equal(dv_engine_stream_add(c->e, ctx, &id), 0);
    return id;
}

static uint64_t kernel(struct card *c, uint32_t s, uint64_t at, uint64_t ns, uint32_t sms,
                       uint64_t tag)
{
    struct dv_engine_op op = {.kind = DV_ENGINE_KERNEL, .work_ns = ns, .sm_demand = sms};
    uint64_t ticket;
    assert_int_equal(dv_engine_submit(c->e, s, &op, at, tag, &ticket), 0);
    return ticket;
}

static void copy(struct card *c, uint32_t s, enum dv_engine_direction d, uint64_t bytes,
                 uint64_t tag)
{
    struct dv_engine_op op = {.kind = DV_ENGINE_COPY, .bytes = bytes, .direction = d};
    assert_int_equal(dv_engine_submit(c->e, s, &op, 0, tag, NULL), 0);
}

static void expect(struct card *c, uint64_t tag, uint64_t start, uint64_t end)
{
    struct dv_engine_completion d;
    assert_true(dv_engine_pop(c->e, &d));
    assert_int_equal(d.tag, tag);
    assert_int_equal(d.start_ns, start);
    assert_int_equal(d.end_ns, end);
}

/* Ends the test of one card: every instant is busy, switch or idle, and the contexts' parts are
 * the partition's. */
static void finish(struct card *c, uint64_t now)
{
    struct dv_engine_partition_stats p;
    struct dv_engine_completion d;
    assert_false(dv_engine_pop(c->e, &d));
    assert_int_equal(dv_engine_partition_stats(c->e, now, c->whole, &p), 0);
    assert_int_equal(p.busy_ns + p.switch_ns + p.idle_ns, now - p.since_ns);
    dv_engine_free(c->e);
}

static void test_one_stream_is_fifo(void **state)
{
    struct card c = make(DV_ENGINE_SLICE_PHASE);
    uint32_t s = stream(&c, context(&c, 1, 0, 0));
    assert_int_equal(dv_engine_next(c.e), DV_NEVER);
    kernel(&c, s, 0, 100, 100, 1);
    kernel(&c, s, 0, 50, 10, 2);
    kernel(&c, s, 500, 7, 1, 3);
    kernel(&c, s, 0, 0, 1, 4);
    assert_int_equal(dv_engine_next(c.e), 100);
    dv_engine_advance(c.e, 99);
    assert_int_equal(dv_engine_stream_queued(c.e, s), 4);
    dv_engine_advance(c.e, 1000);
    expect(&c, 1, 0, 100);
    expect(&c, 2, 100, 150);
    expect(&c, 3, 500, 507);
    expect(&c, 4, 507, 507);
    finish(&c, 1000);
}

/* Two always busy: slices alternate, each followed by a switch. */
static void test_two_contexts_take_turns(void **state)
{
    struct card c = make(DV_ENGINE_SLICE_PHASE);
    uint32_t a = stream(&c, context(&c, 1, 0, 0)), b = stream(&c, context(&c, 2, 0, 0));
    kernel(&c, a, 0, 3 * SLICE, 100, 1);
    kernel(&c, b, 0, 2 * SLICE, 100, 2);
    dv_engine_advance(c.e, DV_NS_PER_S);
    /* a b a b a: b ends after its second slice, at 4 slices and 3 switches. */
    expect(&c, 2, SLICE + SWITCH, 4 * SLICE + 3 * SWITCH);
    expect(&c, 1, 0, 5 * SLICE + 4 * SWITCH);
    struct dv_engine_partition_stats p;
    dv_engine_partition_stats(c.e, DV_NS_PER_S, c.whole, &p);
    assert_int_equal(p.busy_ns, 5 * SLICE);
    assert_int_equal(p.switch_ns, 4 * SWITCH);
    assert_int_equal(p.switches, 4);
    finish(&c, DV_NS_PER_S);
}

static void test_three_contexts_take_turns(void **state)
{
    struct card c = make(DV_ENGINE_SLICE_PHASE);
    uint32_t ctx[3];
    for (unsigned i = 0; i < 3; i++) {
        ctx[i] = context(&c, i, 0, 0);
        kernel(&c, stream(&c, ctx[i]), 0, DV_NS_PER_S, 100, i);
    }
    uint64_t round = 3 * (SLICE + SWITCH);
    struct dv_engine_context_stats s;
    for (unsigned i = 0; i < 3; i++) {
        dv_engine_context_stats(c.e, 100 * round, ctx[i], &s);
        assert_int_equal(s.executed_ns, 100 * SLICE);
        assert_int_equal(s.busy_ns, 100 * SLICE);
    }
    finish(&c, 100 * round);
}

/* The turn under way ends where it would have; those after it are of the new length. */
static void test_timeslice_changes(void **state)
{
    struct card c = make(DV_ENGINE_SLICE_PHASE);
    uint32_t a = context(&c, 1, 0, 0), b = context(&c, 2, 0, 0);
    struct dv_engine_context_stats s;
    kernel(&c, stream(&c, a), 0, DV_NS_PER_S, 100, 1);
    kernel(&c, stream(&c, b), 0, DV_NS_PER_S, 100, 2);
    assert_int_equal(dv_engine_set_timeslice(c.e, SLICE / 2, 5 * MS), 0);
    uint64_t first = SLICE + SWITCH; /* then b, a, b, a, ... at 5 ms each */
    dv_engine_context_stats(c.e, first + 20 * (5 * MS + SWITCH), a, &s);
    assert_int_equal(s.executed_ns, SLICE + 10 * 5 * MS);
    dv_engine_context_stats(c.e, first + 20 * (5 * MS + SWITCH), b, &s);
    assert_int_equal(s.executed_ns, 10 * 5 * MS);
    assert_int_equal(dv_engine_set_timeslice(c.e, DV_NS_PER_S, 999), -EINVAL);
    assert_int_equal(dv_engine_set_timeslice(c.e, DV_NS_PER_S, 10 * DV_NS_PER_S + 1), -EINVAL);
    finish(&c, DV_NS_PER_S);
}

/* A newcomer beside one that ran alone: to the end of the running slice, or the next kernel's. */
static void test_newcomer(void **state)
{
    struct card c = make(DV_ENGINE_SLICE_PHASE);
    uint32_t a = stream(&c, context(&c, 1, 0, 0)), b = stream(&c, context(&c, 2, 0, 0));
    for (unsigned i = 0; i < 20; i++)
        kernel(&c, a, 0, MS, 100, 0);
    dv_engine_advance(c.e, 5 * MS + 1);
    kernel(&c, b, 5 * MS + 1, 100 * US, 100, 9);
    dv_engine_advance(c.e, 6300 * US);
    for (unsigned i = 0; i < 6; i++)
        expect(&c, 0, i * MS, (i + 1) * MS);
    dv_engine_advance(c.e, 8 * MS);
    expect(&c, 9, 3 * SLICE + SWITCH, 3 * SLICE + SWITCH + 100 * US);
    dv_engine_free(c.e);

    c = make(DV_ENGINE_SLICE_INSTANT);
    a = stream(&c, context(&c, 1, 0, 0)), b = stream(&c, context(&c, 2, 0, 0));
    for (unsigned i = 0; i < 20; i++)
        kernel(&c, a, 0, MS, 100, 0);
    dv_engine_advance(c.e, 5 * MS + 1);
    kernel(&c, b, 5 * MS + 1, 100 * US, 100, 9);
    dv_engine_advance(c.e, 6300 * US);
    for (unsigned i = 0; i < 6; i++)
        expect(&c, 0, i * MS, (i + 1) * MS);
    expect(&c, 9, 6 * MS + SWITCH, 6 * MS + SWITCH + 100 * US);
    dv_engine_free(c.e);
}

/* Two streams of one context share the SMs; nobody gets more than it can use. */
static void test_streams_share_sms(void **state)
{
    struct card c = make(DV_ENGINE_SLICE_PHASE);
    uint32_t ctx = context(&c, 1, 0, 0);
    kernel(&c, stream(&c, ctx), 0, 1000, 20, 1);  /* wants a fifth: runs at full speed */
    kernel(&c, stream(&c, ctx), 0, 1000, 100, 2); /* gets 80 of 100, then all */
    dv_engine_advance(c.e, 10000);
    expect(&c, 1, 0, 1000);
    expect(&c, 2, 0, 1200); /* 800 done after 1000, 200 left */
    struct dv_engine_context_stats s;
    dv_engine_context_stats(c.e, 10000, ctx, &s);
    assert_int_equal(s.executed_ns, 1200);
    assert_int_equal(s.busy_sm_ns, 1000 * 20 + 1000 * 100);
    assert_int_equal(s.busy_ns, 1200);
    assert_int_equal(s.kernels, 2);
    finish(&c, 10000);
}

static void test_more_kernels_than_fit(void **state)
{
    struct card c = make(DV_ENGINE_SLICE_PHASE);
    uint32_t ctx = context(&c, 1, 0, 0);
    for (unsigned i = 0; i < 2 * DV_ENGINE_CONCURRENT; i++)
        kernel(&c, stream(&c, ctx), 0, 1280, 25, i);
    dv_engine_advance(c.e, DV_NS_PER_S);
    /* 128 at 25/32 SM each: 32 x 1280 ns; then the other 128. */
    struct dv_engine_completion d;
    for (unsigned i = 0; i < 2 * DV_ENGINE_CONCURRENT; i++) {
        assert_true(dv_engine_pop(c.e, &d));
        assert_int_equal(d.end_ns, i < DV_ENGINE_CONCURRENT ? 40960 : 81920);
    }
    finish(&c, DV_NS_PER_S);
}

static void test_copies_overlap(void **state)
{
    struct card c = make(DV_ENGINE_SLICE_PHASE);
    uint32_t ctx = context(&c, 1, 0, 0), other = context(&c, 2, 0, 0);
    uint32_t a = stream(&c, ctx), b = stream(&c, ctx), o = stream(&c, other);
    kernel(&c, a, 0, 5000, 100, 1);
    copy(&c, b, DV_ENGINE_H2D, 10000, 2); /* 1000 ns, beside the kernel */
    copy(&c, o, DV_ENGINE_H2D, 10000, 3); /* one engine: after it, and without being resident */
    copy(&c, o, DV_ENGINE_D2H, 100, 4);   /* 2 ns at 50 GB/s */
    copy(&c, o, DV_ENGINE_H2D, 1, 5);     /* rounded up to 1 ns */
    dv_engine_advance(c.e, 10000);
    expect(&c, 2, 0, 1000);
    expect(&c, 3, 1000, 2000);
    expect(&c, 4, 2000, 2002);
    expect(&c, 5, 2002, 2003);
    expect(&c, 1, 0, 5000);
    struct dv_engine_context_stats s;
    dv_engine_context_stats(c.e, 10000, other, &s);
    assert_int_equal(s.copy_ns, 1003);
    assert_int_equal(s.copied_bytes, 10101);
    assert_int_equal(s.executed_ns, 0);
    finish(&c, 10000);
}

static void test_waits_and_hosts(void **state)
{
    struct card c = make(DV_ENGINE_SLICE_PHASE);
    uint32_t ctx = context(&c, 1, 0, 0);
    uint32_t a = stream(&c, ctx), b = stream(&c, ctx);
    uint64_t event = kernel(&c, a, 0, 1000, 50, 1);
    struct dv_engine_op wait = {.kind = DV_ENGINE_WAIT, .wait_stream = a, .wait_ticket = event};
    struct dv_engine_op host = {.kind = DV_ENGINE_HOST};
    struct dv_engine_completion d;
    uint64_t ticket;
    kernel(&c, a, 0, 9000, 50, 2);
    assert_int_equal(dv_engine_submit(c.e, b, &wait, 0, 3, NULL), 0);
    kernel(&c, b, 0, 10, 50, 4);
    assert_int_equal(dv_engine_submit(c.e, b, &host, 0, 5, &ticket), 0);
    kernel(&c, b, 0, 10, 50, 6);
    wait.wait_stream = b;
    assert_int_equal(dv_engine_submit(c.e, b, &wait, 0, 0, NULL), -EINVAL);
    dv_engine_advance(c.e, 5000);
    expect(&c, 1, 0, 1000);
    expect(&c, 3, 0, 1000);
    expect(&c, 4, 1000, 1010);
    assert_true(dv_engine_pop(c.e, &d));
    assert_true(d.host_ready);
    assert_int_equal(d.start_ns, 1010);
    assert_int_equal(dv_engine_host_done(c.e, 6000, b, ticket + 1), -ENOENT);
    assert_int_equal(dv_engine_host_done(c.e, 6000, b, ticket), 0);
    dv_engine_advance(c.e, 20000);
    expect(&c, 5, 1010, 6000);
    expect(&c, 6, 6000, 6010);
    expect(&c, 2, 1000, 10000);
    finish(&c, 20000);
}

/* A chain of waits through a thousand streams ends at one instant, without recursion. */
static void test_long_chain(void **state)
{
    struct card c = make(DV_ENGINE_SLICE_PHASE);
    uint32_t ctx = context(&c, 1, 0, 0), first = stream(&c, ctx), last = first;
    uint64_t ticket = kernel(&c, first, 0, 100, 1, 0);
    for (unsigned i = 0; i < 5000; i++) {
        struct dv_engine_op op = {
            .kind = DV_ENGINE_WAIT, .quiet = true, .wait_stream = last, .wait_ticket = ticket};
        last = stream(&c, ctx);
        assert_int_equal(dv_engine_submit(c.e, last, &op, 0, 0, &ticket), 0);
    }
    uint64_t end;
    dv_engine_advance(c.e, 99);
    assert_int_equal(dv_engine_stream_queued(c.e, last), 1);
    dv_engine_advance(c.e, 100);
    assert_int_equal(dv_engine_stream_done(c.e, last, &ticket, &end), 0);
    assert_int_equal(end, 100);
    expect(&c, 0, 0, 100);
    finish(&c, 200);
}

/* Clients of one MPS group overlap, each below its limit; a stranger still takes turns. */
static void test_mps(void **state)
{
    struct card c = make(DV_ENGINE_SLICE_PHASE);
    uint32_t x = context(&c, 1, 7, 30), y = context(&c, 2, 7, 0);
    kernel(&c, stream(&c, x), 0, 300, 100, 1); /* 30 SMs: 1000 ns */
    kernel(&c, stream(&c, y), 0, 700, 100, 2); /* 70 SMs: 1000 ns */
    kernel(&c, stream(&c, y), 1000, 500, 100, 3);
    dv_engine_advance(c.e, 5000);
    expect(&c, 2, 0, 1000);
    expect(&c, 1, 0, 1000);
    expect(&c, 3, 1000, 1500);
    assert_int_equal(dv_engine_context_limit(c.e, 5000, x, 50), 0);
    kernel(&c, stream(&c, x), 5000, 500, 100, 4);
    uint32_t z = context(&c, 3, 0, 0);
    dv_engine_advance(c.e, 10000);
    expect(&c, 4, 5000, 6000);
    kernel(&c, stream(&c, z), 10000, 500, 100, 5);
    dv_engine_advance(c.e, MS);
    expect(&c, 5, 10000 + SWITCH, 10500 + SWITCH);
    finish(&c, MS);
}

/* On a partition of s SMs a kernel that wants d runs at min(1, s/d); partitions do not meet. */
static void test_mig(void **state)
{
    struct dv_engine_config config;
    struct card c = {NULL, 0};
    dv_engine_config_default(&config);
    config.sm_total = 98;
    assert_int_equal(dv_engine_new(&config, &c.e), 0);
    uint32_t part[3], sms[3] = {14, 28, 56};
    for (unsigned i = 0; i < 3; i++) {
        assert_int_equal(dv_engine_partition_add(c.e, 0, sms[i], &part[i]), 0);
        c.whole = part[i];
        kernel(&c, stream(&c, context(&c, i, 0, 0)), 0, 1000, 56, i);
    }
    dv_engine_advance(c.e, 10000);
    expect(&c, 2, 0, 1000);
    expect(&c, 1, 0, 2000);
    expect(&c, 0, 0, 4000);
    assert_int_equal(dv_engine_partition_remove(c.e, 0, part[0]), -EBUSY);
    finish(&c, 10000);
}

static void test_kill(void **state)
{
    struct card c = make(DV_ENGINE_SLICE_PHASE);
    uint32_t a = context(&c, 1, 0, 0), b = context(&c, 2, 0, 0);
    uint32_t sa = stream(&c, a), sa2 = stream(&c, a), sb = stream(&c, b), sb2 = stream(&c, b);
    uint64_t ticket = kernel(&c, sa, 0, DV_NS_PER_S, 100, 1);
    struct dv_engine_op wait = {.kind = DV_ENGINE_WAIT, .wait_stream = sa, .wait_ticket = ticket};
    struct dv_engine_context_stats stats;
    kernel(&c, sa, 0, 1, 1, 2);
    copy(&c, sa2, DV_ENGINE_H2D, 10 * DV_NS_PER_S, 3);
    copy(&c, sb2, DV_ENGINE_H2D, 10, 4);
    assert_int_equal(dv_engine_submit(c.e, sb, &wait, 0, 5, NULL), 0);
    kernel(&c, sb, 0, 100, 100, 6);
    assert_int_equal(dv_engine_context_kill(c.e, MS, a), 0);
    assert_int_equal(dv_engine_context_kill(c.e, MS, a), -ENOENT);
    assert_int_equal(dv_engine_context_stats(c.e, MS, a, &stats), -ENOENT);
    assert_int_equal(dv_engine_submit(c.e, sa2, &wait, 0, 0, NULL), -ENOENT);
    dv_engine_advance(c.e, 2 * MS);
    expect(&c, 5, 0, MS);                          /* the wait is over with its stream */
    expect(&c, 4, MS, MS + 1);                     /* the copy engine is free */
    expect(&c, 6, MS + SWITCH, MS + SWITCH + 100); /* and the SMs */
    uint32_t again = context(&c, 1, 0, 0);
    assert_int_not_equal(again, a);
    assert_int_equal(dv_engine_context_kill(c.e, 2 * MS, b), 0);
    assert_int_equal(dv_engine_context_kill(c.e, 2 * MS, again), 0);
    assert_int_equal(dv_engine_partition_remove(c.e, 2 * MS, c.whole), 0);
    assert_int_equal(dv_engine_next(c.e), DV_NEVER);
    dv_engine_free(c.e);
}

/* Killed in the middle of the switch to it. */
static void test_kill_on_its_way_in(void **state)
{
    struct card c = make(DV_ENGINE_SLICE_PHASE);
    uint32_t a = context(&c, 1, 0, 0), b = context(&c, 2, 0, 0), d = context(&c, 3, 0, 0);
    kernel(&c, stream(&c, a), 0, SLICE, 100, 1);
    kernel(&c, stream(&c, b), 0, SLICE, 100, 2);
    kernel(&c, stream(&c, d), 0, 100, 100, 3);
    assert_int_equal(dv_engine_context_kill(c.e, SLICE + SWITCH / 2, b), 0);
    dv_engine_advance(c.e, 3 * SLICE);
    expect(&c, 1, 0, SLICE);
    expect(&c, 3, SLICE + 2 * SWITCH, SLICE + 2 * SWITCH + 100);
    finish(&c, 3 * SLICE);
}

static void test_full_queues(void **state)
{
    struct card c = {NULL, 0};
    struct dv_engine_config config;
    struct dv_engine_completion d;
    dv_engine_config_default(&config);
    config.queue_max = 3;
    config.pending_max = 5;
    assert_int_equal(dv_engine_new(&config, &c.e), 0);
    assert_int_equal(dv_engine_partition_add(c.e, 0, config.sm_total, &c.whole), 0);
    uint32_t ctx = context(&c, 1, 0, 0), a = stream(&c, ctx), b = stream(&c, ctx);
    struct dv_engine_op op = {.kind = DV_ENGINE_KERNEL, .work_ns = 10, .sm_demand = 1};
    for (unsigned i = 0; i < 3; i++)
        assert_int_equal(dv_engine_submit(c.e, a, &op, 0, 0, NULL), 0);
    assert_int_equal(dv_engine_submit(c.e, a, &op, 0, 0, NULL), -EAGAIN);
    assert_int_equal(dv_engine_submit(c.e, b, &op, 0, 0, NULL), 0);
    assert_int_equal(dv_engine_submit(c.e, b, &op, 0, 0, NULL), 0);
    assert_int_equal(dv_engine_submit(c.e, b, &op, 0, 0, NULL), -EAGAIN); /* over all streams */
    dv_engine_advance(c.e, 100);
    assert_int_equal(dv_engine_submit(c.e, b, &op, 0, 0, NULL), -EAGAIN); /* not popped yet */
    assert_true(dv_engine_pop(c.e, &d));
    assert_int_equal(dv_engine_submit(c.e, b, &op, 0, 0, NULL), 0);
    op.sm_demand = 0;
    assert_int_equal(dv_engine_submit(c.e, b, &op, 0, 0, NULL), -EINVAL);
    dv_engine_free(c.e);
    config.sm_total = 0;
    assert_int_equal(dv_engine_new(&config, &c.e), -EINVAL);
}

static void test_removed_stream_drains(void **state)
{
    struct card c = make(DV_ENGINE_SLICE_PHASE);
    uint32_t s = stream(&c, context(&c, 1, 0, 0));
    kernel(&c, s, 0, 100, 1, 1);
    assert_int_equal(dv_engine_stream_remove(c.e, s), 0);
    struct dv_engine_op op = {.kind = DV_ENGINE_MARK};
    assert_int_equal(dv_engine_submit(c.e, s, &op, 0, 2, NULL), -ENOENT);
    dv_engine_advance(c.e, 100);
    expect(&c, 1, 0, 100);
    assert_int_equal(dv_engine_stream_remove(c.e, s), -ENOENT);
    finish(&c, 200);
}

static void test_window(void **state)
{
    struct dv_engine_window w = {.period_ns = 100};
    assert_int_equal(dv_engine_window_percent(&w, 1000, 500), 0);
    assert_int_equal(dv_engine_window_percent(&w, 1050, 550), 0);
    assert_int_equal(dv_engine_window_percent(&w, 1100, 530), 30);
    assert_int_equal(dv_engine_window_percent(&w, 1199, 629), 30);
    assert_int_equal(dv_engine_window_percent(&w, 1200, 630), 100);
}

/* One random history; the step size with which time is told must not matter. */
static uint64_t history(uint64_t seed, uint64_t step)
{
    struct card c = make(seed & 1 ? DV_ENGINE_SLICE_INSTANT : DV_ENGINE_SLICE_PHASE);
    struct dv_rng rng = {seed};
    struct dv_engine_completion d;
    uint64_t hash = 0, sum = 0, now = 0;
    uint32_t ctx[8], s[24];
    for (unsigned i = 0; i < 8; i++)
        ctx[i] = context(&c, i, i < 3 ? 5 : 0, i ? 0 : 40);
    for (unsigned i = 0; i < 24; i++)
        s[i] = stream(&c, ctx[i % 8]);
    for (unsigned i = 0; i < 2000; i++) {
        uint32_t k = s[dv_rng_below(&rng, 24)];
        struct dv_engine_op op = {.kind = DV_ENGINE_KERNEL,
                                  .work_ns = dv_rng_below(&rng, 300 * US),
                                  .sm_demand = (uint32_t)(1 + dv_rng_below(&rng, 120)),
                                  .bytes = dv_rng_below(&rng, DV_MIB),
                                  .direction = DV_ENGINE_H2D,
                                  .wait_stream = s[dv_rng_below(&rng, 24)],
                                  .wait_ticket = dv_rng_below(&rng, 5)};
        if (dv_rng_below(&rng, 4) == 0)
            op.kind = (enum dv_engine_kind)dv_rng_below(&rng, 4);
        dv_engine_submit(c.e, k, &op, dv_rng_below(&rng, 200 * MS), i, NULL);
    }
    while (now < 5 * DV_NS_PER_S) {
        now += step;
        dv_engine_advance(c.e, now);
        while (dv_engine_pop(c.e, &d))
            hash = (hash ^ d.tag ^ d.start_ns << 20 ^ d.end_ns) * UINT64_C(0x100000001B3);
    }
    struct dv_engine_context_stats cs;
    struct dv_engine_partition_stats ps;
    dv_engine_partition_stats(c.e, now, c.whole, &ps);
    for (unsigned i = 0; i < 8; i++) {
        dv_engine_context_stats(c.e, now, ctx[i], &cs);
        sum += cs.busy_sm_ns;
    }
    assert_in_range(ps.busy_sm_ns - sum, 0, 8); /* fractions of an SM x ns, one per context */
    finish(&c, now);
    return hash;
}

static void test_random_histories(void **state)
{
    for (uint64_t seed = 1; seed <= 10; seed++) {
        uint64_t hash = history(seed, 5 * DV_NS_PER_S);
        assert_int_equal(history(seed, 5 * DV_NS_PER_S), hash);
        assert_int_equal(history(seed, 100 * US), hash);
        assert_int_equal(history(seed, 7777777), hash);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_one_stream_is_fifo),
        cmocka_unit_test(test_two_contexts_take_turns),
        cmocka_unit_test(test_three_contexts_take_turns),
        cmocka_unit_test(test_timeslice_changes),
        cmocka_unit_test(test_newcomer),
        cmocka_unit_test(test_streams_share_sms),
        cmocka_unit_test(test_more_kernels_than_fit),
        cmocka_unit_test(test_copies_overlap),
        cmocka_unit_test(test_waits_and_hosts),
        cmocka_unit_test(test_long_chain),
        cmocka_unit_test(test_mps),
        cmocka_unit_test(test_mig),
        cmocka_unit_test(test_kill),
        cmocka_unit_test(test_kill_on_its_way_in),
        cmocka_unit_test(test_full_queues),
        cmocka_unit_test(test_removed_stream_drains),
        cmocka_unit_test(test_window),
        cmocka_unit_test(test_random_histories),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
