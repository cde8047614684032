/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What the files of the queues share: state.c (events), decide.c (order and starts), reserve.c
 * (the place kept for who waits), evict.c with victims.c (who leaves), consolidate.c (who moves),
 * explain.c (why).
 */
#ifndef DV_POLICY_FAIR_FAIR_INTERNAL_H
#define DV_POLICY_FAIR_FAIR_INTERNAL_H

#include "policy/fair/fair.h"

#include <string.h>

#define NONE UINT32_MAX
#define SHAPES_MAX 1024u
#define SHAPE_BITS 64u
#define BIT_OTHERS 63u /* shapes without a bit of their own: always worth a look */

typedef unsigned __int128 u128;

struct workload {
    struct dv_fair_spec spec;
    enum dv_fair_state state;
    uint64_t seq;   /* order of coming; never reused */
    uint32_t units; /* of a member */
    uint32_t shape; /* or NONE */
    uint8_t bit;
    bool never;       /* the cluster cannot hold it: in no sum, in no search */
    bool reclaimable; /* scratch of evict.c */
    uint64_t since_ns, started_ns;
    uint64_t quiet_until_ns; /* having been evicted, it asks nobody to leave before this */
    uint32_t evictions;
    uint32_t members; /* that have a place */
    uint32_t n_left;
    struct dv_fair_place *places; /* room for spec.max */
    struct dv_fair_place *left;   /* what it is leaving; room for spec.max */
    uint32_t before, after;       /* PENDING: in the list by since */
    uint32_t running_at;          /* index in f->running, or NONE */
    uint64_t tried;               /* f->changed when eviction and moving were last tried in vain */
    enum dv_fair_no_victims victims; /* and why */
    uint32_t share_queue;
    uint64_t share_after;
    uint32_t first_piece; /* scratch of evict.c */
};

struct queue {
    struct dv_fair_queue conf;
    uint32_t depth, leaf_index; /* leaf_index: in f->leaves, or NONE */
    uint32_t first_child, next_sibling, n_children;
    uint64_t held, fixed; /* fixed: of which not preemptible */
    uint64_t wanted, cap;
    uint64_t kept, kept_fixed; /* headroom kept for the reservation's holder */
    uint64_t share, weight;
    /* Added to what is held beyond the guarantee when queues are ordered by that over their weight.
     * Half a GPU: the divisors of Sainte-Lague, which favour neither small nor large queues. And
     * its part of all by weight alone, so that queues that used just their part are equal whatever
     * their size: else the bent weight of a small one could never win a single GPU. */
    uint64_t ideal;
    struct dv_fair_usage usage;
    uint64_t used_ms; /* unit milliseconds, at the last look at shares */
    uint32_t n_pending, n_running;
    int32_t lowest; /* of a leaf: nobody running has a lower priority (it may be too low) */
    uint32_t bits[SHAPE_BITS]; /* pending workloads by their shape's bit */
    uint64_t mask;             /* bits that are not zero */
    uint64_t skip;             /* f->released when nothing here could start */
    uint64_t least;            /* no pending member set below is smaller (may be too low) */
    /* Of a leaf: in order; the first is at `first`. */
    uint32_t *order;
    uint32_t first, n, room;
    uint32_t alive; /* workloads in any state */
};

struct shape {
    struct dv_fair_request request;
    uint32_t min, refs;
    uint8_t bit;
    bool fits;
    uint64_t released, taken; /* versions at which `fits` was found */
};

struct reservation {
    uint32_t holder; /* NONE: nobody */
    bool aged;
    uint64_t at_ns; /* DV_NEVER: when its place is free */
    uint64_t tried; /* f->released when it last could not start */
    uint32_t n;
    struct dv_fair_place *places;
    uint32_t room;
};

struct dv_fair {
    struct dv_fair_config config;
    struct dv_fair_pool *pool;
    struct queue *queues;
    uint32_t n_queues, cap_queues;
    uint32_t *leaves;
    uint32_t n_leaves;
    struct workload *workloads;
    uint32_t n_workloads, cap_workloads, free_workload; /* free: a list by `after` */
    uint32_t oldest, youngest;                          /* pending, by since */
    uint32_t *running, n_running;
    uint32_t n_elastic;  /* running below their max */
    uint32_t n_stretchy; /* running, with a max above their min */
    struct shape shapes[SHAPES_MAX];
    uint32_t n_shapes;
    uint64_t bits_used;
    uint64_t seq;
    uint64_t released, taken, changed; /* versions; from 1 */
    uint64_t fits_released, fits_taken, fits;
    bool shares_dirty;
    bool shares_urgent; /* somebody wants something who did not when weights were bent */
    uint64_t shares_at_ns;
    uint32_t n_never;
    struct reservation kept;
    uint64_t retry_ns;   /* when the next of those who may not ask yet may; DV_NEVER */
    uint64_t kept_tried; /* f->changed when nobody's place could be kept */
    uint64_t capacity;   /* units */
    /* Of the last decision. */
    struct dv_fair_victim *victims;
    struct dv_fair_move *moves;
    uint32_t cap_victims, cap_moves;
    void *scratch; /* of evict.c and consolidate.c */
    size_t scratch_size;
};

static inline struct queue *dv_fair_queue_of(struct dv_fair *f, const struct workload *w)
{
    return &f->queues[w->spec.queue];
}

/* state.c */
void dv_fair_usage_to(struct dv_fair *f, uint32_t queue, uint64_t now_ns);
/* Held units of a queue and all above it change by members of w. */
void dv_fair_hold(struct dv_fair *f, const struct workload *w, uint32_t members, bool more,
                  uint64_t now_ns);
void dv_fair_unqueue(struct dv_fair *f, uint32_t w);
/* Again among the pending, as one that waits since now; room for it is always there. */
void dv_fair_enqueue(struct dv_fair *f, uint32_t w, uint64_t now_ns);
/* w has its `members` places: it runs, or starts when its place is left. */
void dv_fair_run(struct dv_fair *f, uint32_t w, uint64_t now_ns);
void dv_fair_stop_running(struct dv_fair *f, uint32_t w);
void *dv_fair_scratch(struct dv_fair *f, size_t size);

/* order.c */
int dv_fair_refresh(struct dv_fair *f, uint64_t now_ns);
/* Does a come before b, both children of one queue? */
bool dv_fair_before(const struct queue *queues, uint32_t a, uint32_t b);
/* The same of any two leaves: by their ancestors below the common one. */
bool dv_fair_leaf_before(const struct dv_fair *f, uint32_t a, uint32_t b);

/* decide.c */
/* Would so many members of w keep within limits and guarantees? passes_kept: the headroom of the
 * reservation counts as free. *ret_queue: which queue says no. */
bool dv_fair_quota(const struct dv_fair *f, const struct workload *w, uint32_t members,
                   bool passes_kept, uint32_t *ret_queue);

/* w has its places, `members` of them: it is pending no longer. Fills in START. */
void dv_fair_started(struct dv_fair *f, uint32_t w, uint64_t now_ns, struct dv_fair_decision *ret);

/* reserve.c */
bool dv_fair_is_short(const struct dv_fair *f, const struct workload *w, uint64_t now_ns);
/* Keeps the earliest place for w. aged: at any price; otherwise only when its time is known.
 * 0: kept; -ENOENT: not possible, or not known when; -ENOMEM. */
int dv_fair_reserve(struct dv_fair *f, uint32_t w, bool aged, uint64_t now_ns);
/* When w could start by estimates. Changes nothing in the end. */
int dv_fair_reserve_when(struct dv_fair *f, uint32_t w, uint64_t now_ns, uint64_t *ret_at_ns);
void dv_fair_unreserve(struct dv_fair *f);
/* Takes the kept GPUs out of the reservation and back into it, for a try of the holder. */
void dv_fair_reserve_open(struct dv_fair *f, bool open);

/* evict.c */
/* 0: done, *ret filled; -ENOENT: nobody can be asked to leave, or not enough; -ENOMEM. */
int dv_fair_evict(struct dv_fair *f, uint32_t w, uint64_t now_ns, struct dv_fair_decision *ret);
/* Might it? Cheap. Sets why not. */
bool dv_fair_may_evict(struct dv_fair *f, uint32_t w);

/* consolidate.c */
int dv_fair_consolidate(struct dv_fair *f, uint32_t w, uint64_t now_ns,
                        struct dv_fair_decision *ret);

/* What starting anew costs per member, unit milliseconds. */
uint64_t dv_fair_cost(const struct dv_fair *f, const struct workload *w, uint64_t now_ns);

#endif
