/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The arbiter of one device's time: who may submit work now, and who is next. A pure state machine;
 * one per device; no allocation after creation.
 *
 * Entities are slices: a share (the weight), a cap. Members are processes of a slice, one per slot
 * of abi_tenant.h; the members of an entity take its turns in order. A turn is an exclusive lease
 * of one quantum, the same for all: the share sits in the ORDER (earliest eligible virtual deadline
 * first: Stoica, Abdel-Wahab, "Earliest Eligible Virtual Deadline First", 1995), so that a short
 * lease never has to carry a small share. The successor is named while the holder still runs, and
 * takes over by itself; the arbiter follows. What is charged is the time that the holder held the
 * device (see dv_arbiter_lease), whatever the quantum was: an overrun is paid back by waiting.
 *
 * One thread drives it. Everything that it has to be told, and what it answers:
 *
 *     dv_arbiter_new(&config, now, &a);
 *     dv_arbiter_entity_add(a, now, &(struct dv_arbiter_entity_spec){.share = 2100}, &entity);
 *     dv_arbiter_member_add(a, now, entity, slot);                 a process said READY
 *     ...
 *     on eventfd or timer, at time now:
 *         for the holder's and the named successor's slot page:    cheap words, see below
 *             dv_arbiter_observe(a, now, slot, &words);
 *         for each slot whose want_count moved:       dv_arbiter_want(a, now, slot);
 *         for each slot whose released_epoch moved:   dv_arbiter_released(a, now, slot, &lease);
 *         dv_arbiter_tick(a, now);
 *         if (dv_arbiter_page(a, &page) != last version)           copy the words to the page:
 *             next first, then deadline, contended and the rest, then turn, then raise wake[]
 *             of page.turn's, page.next's and the last turn's slot
 *         arm the timer for dv_arbiter_next(a);
 *     dv_arbiter_member_gone(a, now, slot);                        its socket hung up
 *
 * The hand-over is decided by the holder: when it announces or releases it writes what `next` said
 * then into its slot (`handed`), and only the process named there may start by itself. The arbiter
 * takes that word over (dv_arbiter_lease.handed), even if it has named somebody else meanwhile; so
 * there are never two holders, however late anybody reads. The one exception: a holder that does
 * not answer is replaced at max(deadline, its predicted end) + grace, and from the deadline on the
 * successor is not renamed.
 *
 * Constants and why they are what they are: docs/reference/arbiter.md. Times are nanoseconds of one
 * clock (CLOCK_MONOTONIC); `now` may repeat, and counts as the last one when it goes back. Shares
 * and caps are 1/7000 GPU. Slots are 0..slots_max-1. Errors: 0 or negative errno, nothing changed.
 */
#ifndef DV_GOVERN_ARBITER_H
#define DV_GOVERN_ARBITER_H

#include "base/macros.h"

#include <stdbool.h>

struct dv_arbiter;

#define DV_ARBITER_ENTITIES_MAX 64
#define DV_ARBITER_SLOTS_MAX 512
#define DV_ARBITER_NOBODY UINT32_MAX

struct dv_arbiter_config {
    uint32_t entities_max;    /* 1..DV_ARBITER_ENTITIES_MAX */
    uint32_t slots_max;       /* 1..DV_ARBITER_SLOTS_MAX */
    uint64_t quantum_ns;      /* Q with fewer than many_entities wanting or holding */
    uint64_t quantum_many_ns; /* Q from there on */
    uint32_t many_entities;
    uint64_t inflight_bound_ns;       /* D */
    uint64_t inflight_bound_short_ns; /* D while somebody here is latency critical or interactive */
    uint64_t overlap_ns;              /* x; never more than Q/25, 0 on leases that were cut short */
    uint64_t linger_ns;               /* upper bound of the adaptive linger */
    uint64_t grace_ns;
    uint64_t credit_ns;      /* most own time that a sleeper finds saved up */
    uint64_t preempt_lag_ns; /* a waker ahead of the holder by more than this may end the lease */
    uint64_t preempt_run_ns; /* once it has run for this long */
    uint32_t intruder_permille; /* measured/learnt time over four leases above this: an intruder */
    uint64_t intruder_hold_ns;  /* how long leases stay off after the last suspicious lease */
};

/* Q 10 ms, 5 ms from 10 entities on; D 4 ms, 1 ms; x 200 us; linger 1 ms; grace 3 ms; credit 20 ms;
 * preemption 1 ms behind, 0.5 ms run; 1300; 1 s; room for 64 entities and 512 slots. */
void dv_arbiter_config_default(struct dv_arbiter_config *c);

/* 0, -EINVAL, -ENOMEM. */
int dv_arbiter_new(const struct dv_arbiter_config *c, uint64_t now, struct dv_arbiter **ret);
void dv_arbiter_free(struct dv_arbiter *a);

/* ---- who there is ---- */

struct dv_arbiter_entity_spec {
    uint32_t share; /* 1..7000: the weight among those who have work */
    uint32_t cap;   /* 1..7000: never more than this; 7000 or 0 = may take all that is idle */
    uint32_t tier;  /* 0 best effort, 1 latency critical: shortens D (leases alike for now) */
};

/* A newcomer starts without lag. 0, -EINVAL, -ENOSPC. */
int dv_arbiter_entity_add(struct dv_arbiter *a, uint64_t now,
                          const struct dv_arbiter_entity_spec *spec, uint32_t *ret_entity);
/* Live change: counts from the next pick on. 0, -EINVAL, -ENOENT. */
int dv_arbiter_entity_change(struct dv_arbiter *a, uint64_t now, uint32_t entity,
                             const struct dv_arbiter_entity_spec *spec);
/* With all its members. 0, -ENOENT. */
int dv_arbiter_entity_remove(struct dv_arbiter *a, uint64_t now, uint32_t entity);

/* 0, -ENOENT (entity), -EEXIST (slot in use), -EINVAL (slot out of range). */
int dv_arbiter_member_add(struct dv_arbiter *a, uint64_t now, uint32_t entity, uint32_t slot);
/* The process died or left. If it held the lease, it is charged for the time until now (or what
 * was last observed of it, when that is more exact) and the lease goes on at once. 0, -ENOENT. */
int dv_arbiter_member_gone(struct dv_arbiter *a, uint64_t now, uint32_t slot);

/* ---- what happens ---- */

/* A launch waits at the gate of slot. Repeating it is harmless. 0, -ENOENT. */
int dv_arbiter_want(struct dv_arbiter *a, uint64_t now, uint32_t slot);
/* It gave up waiting (nothing waits any more). 0, -ENOENT. */
int dv_arbiter_unwant(struct dv_arbiter *a, uint64_t now, uint32_t slot);

/* Words of a slot page, read without waiting for anybody. A word that is not known may be 0. */
struct dv_arbiter_words {
    uint64_t epoch;         /* of the lease that it holds or held last */
    uint64_t used_ns;       /* charge of that lease so far, as of */
    uint64_t last_end_ns;   /* its last own end */
    uint64_t pred_end_ns;   /* when what it has submitted will have run */
    uint64_t idle_since_ns; /* parked: idle for longer than its linger; 0 = busy */
    uint64_t handed;        /* packed turn, when announced or released */
    bool held;              /* state HELD, STOPPING or DRAINING */
};

/*
 * What the holder's (or the named successor's) slot says right now. Makes three things exact:
 * the grace of a long kernel; a holder that is idle loses the device to a waker without being
 * asked; and a successor that has started by itself is followed although the holder never
 * released. Without it the arbiter assumes a busy holder. 0, -ENOENT.
 */
int dv_arbiter_observe(struct dv_arbiter *a, uint64_t now, uint32_t slot,
                       const struct dv_arbiter_words *words);

/*
 * A lease that was given up: words of the slot page, read in one piece (lease_seq). Charged is
 *     used_ns - max(0, the predecessor's announced_ns + remainder_ns - first_start_ns),
 * where used_ns is, by the gate's rule, min(last own end, announced_ns + remainder_ns) - first own
 * start, without long gaps; less what was charged for this epoch already. An epoch that is not the
 * newest is a late word from somebody who was replaced: charged, nothing else.
 */
struct dv_arbiter_lease {
    uint64_t epoch;
    uint64_t first_start_ns, last_end_ns; /* 0, 0 = it ran nothing */
    uint64_t announced_ns, remainder_ns;  /* 0, 0 = not announced */
    uint64_t used_ns;
    uint64_t timed_ns;     /* cheat detector: measured time of its batches, and */
    uint64_t predicted_ns; /* what they should have taken by slow prices; 0 = not known */
    uint64_t handed;       /* packed turn that it handed over to; 0 = nobody */
    bool wants;            /* more launches wait at its gate */
};

/* 0, -ENOENT. */
int dv_arbiter_released(struct dv_arbiter *a, uint64_t now, uint32_t slot,
                        const struct dv_arbiter_lease *lease);

/* Lets time pass: extensions, graces, caps. */
void dv_arbiter_tick(struct dv_arbiter *a, uint64_t now);
/* When tick has something to do without further input; DV_NEVER if nothing. */
uint64_t dv_arbiter_next(const struct dv_arbiter *a);

/* ---- what the page should say ---- */

struct dv_arbiter_state {
    uint32_t turn_slot, next_slot; /* DV_ARBITER_NOBODY */
    uint64_t turn_epoch, next_epoch;
    uint64_t deadline_ns;
    uint64_t quantum_ns, inflight_bound_ns, overlap_ns, linger_ns, grace_ns;
    bool contended; /* the deadline counts: others wait, or the holder's cap ends the lease */
    bool open;      /* leases are off: an intruder was found (DV_ARBITER_FLAG_OPEN) */
};

/* Returns a version that changes whenever the state does. */
uint64_t dv_arbiter_page(const struct dv_arbiter *a, struct dv_arbiter_state *ret);

/* ---- what was used ---- */

struct dv_arbiter_counters {
    uint64_t charged_ns; /* includes the running lease as far as it is known */
    uint64_t waited_ns;  /* a member wanted and none of the entity's members held */
    uint64_t grants;
    uint64_t revocations; /* leases taken away after the grace */
    uint64_t lost_ns; /* of its own turns: not charged, while others waited; may shrink a little */
    int64_t lag_ns;   /* own time that it is owed (positive) or owes, now */
    int64_t cap_balance_ns;
    uint32_t share, cap, members;
    bool wants, holds;
};

/* As of `now`. 0, -ENOENT. */
int dv_arbiter_entity_counters(const struct dv_arbiter *a, uint64_t now, uint32_t entity,
                               struct dv_arbiter_counters *ret);

/* For whom an entity waited: who held the device meanwhile. The sum is waited_ns, exactly. Nobody
 * holds while its own cap, or an intruder, keeps it from going on. An entity that is added in the
 * place of one that has gone inherits nothing. */
struct dv_arbiter_waits {
    uint64_t for_entity_ns[DV_ARBITER_ENTITIES_MAX];
    uint64_t nobody_ns;
    uint64_t gone_ns; /* for entities that were removed since */
};
/* As of `now`. 0, -ENOENT. */
int dv_arbiter_entity_waits(const struct dv_arbiter *a, uint64_t now, uint32_t entity,
                            struct dv_arbiter_waits *ret);
/* What the device lost to drains and hand-overs while somebody waited; only grows. The switch to a
 * context itself is in that one's first own time, and charged. The last lease's loss is in it when
 * the next one has ended (lost.h). With what was ever charged, by those
 * who have gone as well, it is at most the time since dv_arbiter_new(). */
uint64_t dv_arbiter_overhead(const struct dv_arbiter *a);
/* Leases of a slot that were taken away after the grace; a second one is worth a demotion. */
uint32_t dv_arbiter_slot_revocations(const struct dv_arbiter *a, uint32_t slot);

/* Measured over learnt time of the last four leases, in permille; 1000 is clean, 0 not known.
 * Above intruder_permille somebody runs beside the leases; `open` follows. */
uint32_t dv_arbiter_intruder_ratio(const struct dv_arbiter *a);

#endif
