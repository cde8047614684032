/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The gate: may this launch go to the device now? The tenant's side of the lease protocol as a pure
 * state machine; one per device in a process. It reads no clock, makes no system call and knows no
 * CUDA: the wrapper around it passes the time, places the markers (events) and sleeps.
 *
 *     dv_gate_init(&g, &(struct dv_gate_config){.slot = slot, .prices_max = 4096});
 *
 * A launch (price: found once per function and shape, and kept by the wrapper):
 *
 *     if (!dv_gate_try(&g, price)) {                 fast path: a compare, an atomic subtraction
 *         lock
 *         for (bool go = false; !go;) {
 *             dv_gate_view_read(&v, arbiter_page, slice_page, slot page of v's turn or NULL);
 *             dv_gate_look(&g, now(), &v);
 *             switch (dv_gate_ask(&g, now(), price, &wait)) {
 *             case DV_GATE_GO:         go = true; break;
 *             case DV_GATE_GO_STAMPED: record the batch's begin event in this stream; go = true;
 *                                      break;
 *             case DV_GATE_MARK:       marker = dv_gate_mark(&g, now());
 *                                      record an end event in every stream used since the last
 *                                      marker and remember the set under `marker`; break;
 *             case DV_GATE_WAIT:       publish(); unlock; sleep as `wait` says; lock; poll();
 * break;
 *             }
 *         }
 *         publish(); unlock
 *     }
 *     driver launch
 *
 *     poll():    while the oldest outstanding marker's events are all done:
 *                    dv_gate_complete(&g, now(), marker, begin or 0, latest end);
 *     publish(): flags = dv_gate_publish(&g, own_slot_page);
 *                if (flags & DV_GATE_WAKE) futex-wake own released_epoch and the arbiter page's
 *                                          wake[] word of the successor (dv_gate_successor)
 *                if (flags & DV_GATE_KICK) write the daemon's eventfd
 *
 * A helper thread (or whoever waits) sleeps until dv_gate_next, until the oldest marker is done, or
 * until own wake[] word moves, then under the lock: poll, look, `if (dv_gate_tick(&g, now()) ==
 * DV_GATE_MARK)` place a marker as above, publish. Around a host synchronization: lock, mark (if
 * dv_gate_mark gives one), unlock; synchronize; lock, poll, publish, unlock. A wait inside a batch
 * would enter its price otherwise.
 *
 * Rules inside (why: docs/reference/arbiter.md):
 *   - A price is the learnt duration of one launch with this signature when the device is held
 *     exclusively. An unknown one goes alone. A batch of launches between two markers moves each of
 *     its prices at most once, by at most a quarter of its part of the batch.
 *   - In flight is the price of all that was submitted and is not known to be done, at most D; or
 *     two launches, each at most D. A lease admits at least one launch.
 *   - The lease ends when now + in flight + half of the next price is past the deadline: errors
 *     have mean zero, and what is too much is charged and paid back.
 *   - Streams of one process are priced as if serial: what overlaps makes the learnt prices
 * smaller.
 *   - Charged is the time from first own start to last own end (or the announced end), gaps up to
 *     the linger included.
 *   - Without a daemon (heartbeat older than DV_GATE_DAEMON_LOST_NS) a bucket of learnt prices,
 *     filled at the slice's share, paces the launches.
 *
 * dv_gate_try may run in any number of threads at any time; everything else needs the wrapper's
 * lock. Times are CLOCK_MONOTONIC ns and 0 = none; a marker's begin and end are device times on
 * that clock (as exact as the wrapper can map them). Nothing allocates after dv_gate_init.
 */
#ifndef DV_GOVERNOR_GATE_H
#define DV_GOVERNOR_GATE_H

#include "abi_tenant.h"

#include <stdbool.h>

#define DV_GATE_MARKERS 16u /* outstanding at most; their ids count from 1 */
#define DV_GATE_BATCH_SIGNATURES 32u
#define DV_GATE_DAEMON_LOST_NS 100000000u

/* What is known about launches of one signature. Lives as long as the gate. */
struct dv_gate_price {
    uint64_t key;
    uint64_t price_ns; /* learnt; 0 = unknown */
    uint64_t slow_ns;  /* the same, slower: what the cheat detector compares with */
    uint64_t launched; /* by dv_gate_try and dv_gate_ask, ever */
    uint64_t settled;  /* of those, in closed batches */
    uint32_t batch;    /* the open batch that lists it */
    uint32_t samples;  /* clean batches learnt from, saturating */
};

struct dv_gate_batch {
    uint64_t id; /* of its marker */
    uint64_t predicted_ns;
    uint64_t opened_ns; /* when its first launch was submitted */
    uint32_t launches;
    uint32_t signatures;
    bool from_idle; /* nothing of ours was in flight when it began */
    bool stamped;   /* a begin event was asked for */
    bool first;     /* of its lease */
    bool exclusive; /* under a lease, alone on the device as far as known */
    struct dv_gate_price *price[DV_GATE_BATCH_SIGNATURES];
    uint32_t count[DV_GATE_BATCH_SIGNATURES];
};

/* Words of the pages, copied at one moment. */
struct dv_gate_view {
    uint64_t turn, next;
    uint64_t deadline_ns, quantum_ns, inflight_bound_ns, overlap_ns, linger_ns, grace_ns;
    uint64_t heartbeat_ns;
    bool contended, open;
    uint32_t compute; /* of the slice: for pacing without a daemon */
    bool unleased;    /* the slice waits for no turns: metered, not limited */
    bool ended;       /* the slice is no more: nothing goes */
    /* Of the slot that `turn` names, if it is another's; zero when its page is not at hand. */
    uint64_t holder_epoch, holder_announced_ns, holder_remainder_ns, holder_handed;
    uint64_t holder_pred_end_ns, holder_last_end_ns;
    uint32_t holder_released_epoch;
};

struct dv_gate_config {
    uint32_t slot;       /* own slot on the device */
    uint32_t prices_max; /* a power of two, 16..2^20; signatures beyond it share entries */
};

struct dv_gate {
    /* The fast path's two words. */
    int64_t budget_ns;
    uint32_t batch_number;

    /* Private from here on. */
    uint32_t slot;
    uint32_t state; /* enum dv_slot_state */
    struct dv_gate_view view;
    struct dv_gate_price *prices;
    uint32_t prices_mask;

    /* In flight. */
    int64_t budget_set_ns;
    uint64_t inflight_ns; /* of closed batches; the open one's is in open.predicted_ns */
    uint32_t inflight_launches;
    uint64_t pred_end_ns;
    uint64_t marker_next, marker_done; /* ids: next to give, last complete */
    struct dv_gate_batch open;
    struct dv_gate_batch closed[DV_GATE_MARKERS];
    bool unknown_inflight;

    /* The lease. */
    uint64_t epoch;
    uint64_t lease_start_ns; /* when the gate opened */
    uint64_t lease_launches;
    uint64_t pred_edge_ns; /* the predecessor's announced end */
    uint64_t first_start_ns, last_end_ns;
    uint64_t span_start_ns;  /* of the present stretch without a long gap */
    uint64_t used_closed_ns; /* of the stretches before */
    uint64_t used_final_ns;  /* of the whole lease, once it is given up */
    uint64_t announced_ns, remainder_ns, handed;
    uint64_t timed_ns, predicted_ns;
    uint32_t released_epoch;

    /* Waiting and idling. */
    uint64_t want_ns, want_count, asked_ns;
    uint64_t idle_since_ns; /* device time of the last end; 0 = busy */
    uint64_t idle_seen_ns;  /* when that was seen */
    bool parked;            /* idle for longer than the linger, the lease kept lazily */
    uint64_t gap_mean_ns, gap_dev_ns;
    uint64_t last_submit_ns;

    /* Without a daemon. */
    bool selfpaced;
    int64_t bucket_ns;
    uint64_t bucket_at_ns;

    uint64_t charged_total_ns, wait_total_ns, launches_total, selfpaced_total_ns;
    uint64_t ran_total_ns;
    uint64_t start_ns; /* learnt: from a launch to its start on an idle device */
    uint64_t now_ns;   /* the last time that was told */
    uint32_t flags;    /* DV_GATE_WAKE, DV_GATE_KICK: since the last publish */
};

/* 0, -EINVAL, -ENOMEM. */
int dv_gate_init(struct dv_gate *g, const struct dv_gate_config *c);
void dv_gate_done(struct dv_gate *g);
/* The process goes on with g after `before`: its totals are those of its whole life. */
void dv_gate_inherit(struct dv_gate *g, const struct dv_gate *before);

/* The entry for a signature: a hash of function, grid, block, shared memory, or of a graph's exec
 * handle and update count; copies by direction and size class. Never NULL. Needs the lock. */
struct dv_gate_price *dv_gate_price(struct dv_gate *g, uint64_t key);

/* May go at once? Then it is counted already. False: take the lock and ask. */
static inline bool dv_gate_try(struct dv_gate *g, struct dv_gate_price *p)
{
    if (__atomic_load_n(&p->batch, __ATOMIC_RELAXED) !=
        __atomic_load_n(&g->batch_number, __ATOMIC_RELAXED))
        return false;
    int64_t cost = (int64_t)__atomic_load_n(&p->price_ns, __ATOMIC_RELAXED);
    int64_t left = __atomic_load_n(&g->budget_ns, __ATOMIC_RELAXED);
    do {
        if (left < cost || !cost)
            return false;
    } while (!__atomic_compare_exchange_n(&g->budget_ns, &left, left - cost, true, __ATOMIC_RELAXED,
                                          __ATOMIC_RELAXED));
    __atomic_fetch_add(&p->launched, 1, __ATOMIC_RELAXED);
    return true;
}

enum dv_gate_verdict {
    DV_GATE_GO,
    DV_GATE_GO_STAMPED, /* go, with a begin event right before the launch, for the open batch */
    DV_GATE_MARK,       /* close the batch (dv_gate_mark), then ask again */
    DV_GATE_WAIT,
};

/* Wakes on whichever comes first; then poll, look, ask again. */
struct dv_gate_wait {
    uint64_t until_ns; /* UINT64_MAX = no time */
    uint64_t marker;   /* the oldest outstanding marker that matters; 0 = none */
    bool turn;         /* own wake[] word, and the released_epoch word of view.turn's slot */
};

/* Takes over what the pages say; may start, extend or lose a lease. */
void dv_gate_look(struct dv_gate *g, uint64_t now, const struct dv_gate_view *v);
/* One launch with this price. On GO it is counted. */
enum dv_gate_verdict dv_gate_ask(struct dv_gate *g, uint64_t now, struct dv_gate_price *p,
                                 struct dv_gate_wait *ret_wait);
/* The launch that had been told to wait will not come (its thread ends, the call failed). */
void dv_gate_give_up(struct dv_gate *g, uint64_t now);

/* Closes the open batch; the marker's id, or 0 when nothing was launched since the last one or
 * DV_GATE_MARKERS are outstanding (then wait for the oldest). */
uint64_t dv_gate_mark(struct dv_gate *g, uint64_t now);
/* Markers complete in the order of their ids; an id out of order closes all before it too.
 * begin_ns: the begin event of that batch, 0 if none was asked for. */
void dv_gate_complete(struct dv_gate *g, uint64_t now, uint64_t marker, uint64_t begin_ns,
                      uint64_t end_ns);

/* Lets time pass: announces, releases, parks. DV_GATE_MARK: place a marker, then tick again;
 * anything else: nothing to do. */
enum dv_gate_verdict dv_gate_tick(struct dv_gate *g, uint64_t now);
/* When tick has something to do; UINT64_MAX if nothing without further input. */
uint64_t dv_gate_next(const struct dv_gate *g);

#define DV_GATE_WAKE 1u /* the successor: announced or released */
#define DV_GATE_KICK 2u /* the daemon's eventfd: a want, a release */
/* Writes own words into the slot page, in the order that readers rely on; returns what is to be
 * done after it, once. */
unsigned dv_gate_publish(struct dv_gate *g, struct dv_slot_page *slot);
/* The slot that the last lease was handed to, + 1; 0 = nobody. */
uint32_t dv_gate_successor(const struct dv_gate *g);

/* Copies the words. `holder` is the slot page of dv_turn_slot_plus_1(page's turn), NULL if it is
 * nobody, oneself, or not mapped: load the turn, find the page, then call; a turn that moves in
 * between is found out by its epoch. */
void dv_gate_view_read(struct dv_gate_view *v, const struct dv_arbiter_page *arbiter,
                       const struct dv_slice_page *slice, const struct dv_slot_page *holder);

#endif
