/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Queues: who gets GPUs, in which order, at whose cost. The state is built by events (nodes,
 * queues, workloads that come and end) and answers one decision at a time; it has no clock and does
 * nothing itself. A scheduler and a simulator call the same functions. What the rules are and what
 * they promise: docs/explanation/queues.md.
 *
 *     dv_fair_submit(f, &spec, now, &w, &verdict);
 *     while (!dv_fair_next(f, now, &decision))
 *         ... the state has it already; carry it out: evict and move what it says, and start
 *         decision.workload when those whose places it takes are gone (dv_fair_gone) ...
 *     dv_fair_explain(f, w, now, &verdict);    why does it still wait
 *
 * Queues are a tree; workloads belong to leaves. Amounts are 1/7000 of a GPU, times nanoseconds of
 * one clock that does not go back. Workloads are named by handles, which are reused after a
 * workload has ended or was withdrawn.
 *
 * Only GPUs are divided. CPU and memory of the hosts have no quotas here.
 */
#ifndef DV_POLICY_FAIR_FAIR_H
#define DV_POLICY_FAIR_FAIR_H

#include "policy/fair/pool.h"
#include "policy/fair/share.h"

#define DV_FAIR_QUEUES_MAX 65536u
#define DV_FAIR_DEPTH_MAX 8u
#define DV_FAIR_WORKLOADS_MAX 4000000u
#define DV_FAIR_MEMBERS_MAX 65536u
#define DV_FAIR_QUEUE_WEIGHT_MAX 1000000u
#define DV_FAIR_PULL_MAX 100000u
#define DV_FAIR_ROOT 0u /* the queue that is always there; no workloads of its own */
#define DV_FAIR_NONE UINT32_MAX

struct dv_fair_config {
    uint64_t half_life_ns;    /* of what was used; 0: nothing is forgotten */
    uint32_t pull_milli;      /* how hard past use bends weights, thousandths; 0: not at all */
    uint64_t share_period_ns; /* shares are computed anew at most so often; 0: always fresh */
    uint64_t patience_ns;     /* who waited longer goes first, in order of waiting; DV_NEVER: off */
    uint64_t restart_ns;      /* what starting anew costs a victim, beside what it has done */
    uint32_t depth;           /* how many behind the head of a queue are looked at; 0: only it */
    bool no_preempt, no_reclaim, no_consolidate;
};
extern const struct dv_fair_config dv_fair_defaults;

struct dv_fair_queue {
    uint32_t parent;
    uint64_t guarantee;      /* what it gets whenever it wants it */
    uint64_t limit;          /* never more; DV_FAIR_UNLIMITED */
    uint32_t weight;         /* of what is left beyond guarantees; 0: only what nobody else wants */
    int32_t priority;        /* among siblings, of what is left beyond guarantees */
    uint64_t min_runtime_ns; /* its workloads are no victims before they have run so long */
};

struct dv_fair_spec {
    uint64_t id; /* the caller's; not looked at */
    uint32_t queue;
    int32_t priority;
    bool preemptible; /* if not: no victim, and must fit into the guarantees of its queues */
    bool movable;     /* a preemptible one that may be started anew elsewhere to make room */
    struct dv_fair_request request; /* of each member */
    uint32_t min, max;              /* members: all `min` or none; up to `max` when nobody waits */
    uint64_t estimate_ns;           /* how long it runs at most; 0: not known */
};

enum dv_fair_state {
    DV_FAIR_UNUSED,
    DV_FAIR_PENDING,
    DV_FAIR_STARTING, /* placed; somebody is still leaving its place */
    DV_FAIR_RUNNING,
    DV_FAIR_LEAVING, /* evicted, not gone yet */
};

/* ---- why ------------------------------------------------------------------------------------ */

/* In brackets: the operands that are set. */
enum dv_fair_reason {
    DV_FAIR_RUNS,           /* [members] */
    DV_FAIR_FITS,           /* it can start at the next decision */
    DV_FAIR_NEVER,          /* not even an empty cluster holds it [members: fit, min] */
    DV_FAIR_NO_MODEL,       /* no node has such GPUs or instances */
    DV_FAIR_OVER_LIMIT,     /* never: it alone is above a limit [queue, asked, limit] */
    DV_FAIR_OVER_GUARANTEE, /* never: not preemptible, larger than a guarantee [queue, asked, limit]
                             */
    DV_FAIR_LIMIT,          /* [queue, asked, held, limit] */
    DV_FAIR_GUARANTEE,      /* not preemptible: [queue, asked, held: not preemptible too, limit] */
    DV_FAIR_NO_ROOM,        /* [asked, free, members: fit now, min] */
    DV_FAIR_FRAGMENTED,     /* as much is free, but scattered [asked, free, members, min] */
    DV_FAIR_RESERVED,       /* what is free is kept for a workload that waits [other, at_ns] */
    DV_FAIR_BEHIND,         /* it would fit; others of its queue come first [position] */
    DV_FAIR_LEFT,           /* it has its place; who was there is leaving */
    DV_FAIR_EVICTED,        /* it is leaving itself */
};

/* Why nobody was asked to leave for it. */
enum dv_fair_no_victims {
    DV_FAIR_UNASKED,      /* does not apply */
    DV_FAIR_OVER_SHARE,   /* with it, its queue would be above its fair share [share_queue...] */
    DV_FAIR_NO_CANDIDATE, /* nobody is above a share, of lower priority, or old enough */
    DV_FAIR_NOT_ENOUGH,   /* all of them together would not make room */
};

struct dv_fair_verdict {
    enum dv_fair_reason reason;
    enum dv_fair_no_victims victims;
    uint32_t queue;
    uint64_t asked, held, limit, free; /* 1/7000 GPU */
    uint32_t members, min;
    uint32_t position;           /* in its queue, from 1 */
    uint64_t ahead;              /* in its queue */
    uint32_t share_queue;        /* of OVER_SHARE */
    uint64_t share, share_after; /* of OVER_SHARE: deserved; held with it */
    uint32_t other;              /* who holds the reservation, or DV_FAIR_NONE */
    bool reserved;               /* it holds the reservation itself */
    uint64_t at_ns;              /* when, by estimates, it starts; DV_NEVER: not known */
    uint64_t first_at_ns;        /* when it waits so long that it goes first */
};

/* "no_room", ...: stable, for JSON, logs and metrics. */
const char *dv_fair_reason_name(enum dv_fair_reason reason);
const char *dv_fair_no_victims_name(enum dv_fair_no_victims why);

/* ---- decisions ------------------------------------------------------------------------------ */

enum dv_fair_decision_kind {
    DV_FAIR_START, /* workload starts with `members`; with victims, at their cost */
    DV_FAIR_GROW,  /* an elastic workload gets `members` more */
    DV_FAIR_MOVE,  /* workload starts; those of `moves` start anew elsewhere */
};

struct dv_fair_victim {
    uint32_t workload;
    uint32_t members; /* that leave: all (it is pending again once gone), or surplus ones */
    bool all;
    bool reclaimed; /* from another queue */
};

struct dv_fair_move {
    uint32_t workload;
    struct dv_fair_place from, to;
};

struct dv_fair_decision {
    enum dv_fair_decision_kind kind;
    uint32_t workload, members;
    bool waits;      /* someone is still leaving its place: STARTING until dv_fair_gone */
    bool backfilled; /* it passed others of its queue, or runs on reserved GPUs */
    const struct dv_fair_victim *victims; /* loans until the next call of dv_fair_next */
    uint32_t n_victims;
    const struct dv_fair_move *moves;
    uint32_t n_moves;
    uint64_t cost_unit_ms; /* GPU time that victims or moved ones lose */
};

struct dv_fair;

/* ---- state ---------------------------------------------------------------------------------- */

/* NULL when memory is out. */
struct dv_fair *dv_fair_new(const struct dv_fair_config *config);
void dv_fair_free(struct dv_fair *f);
void dv_fair_freep(struct dv_fair **f);

/* As dv_fair_pool_model() and dv_fair_pool_add(). */
int dv_fair_model(struct dv_fair *f, const char *name, const struct dv_mig_geometry *mig,
                  uint32_t *ret);
int dv_fair_add_node(struct dv_fair *f, uint32_t model, uint32_t rack, uint32_t gpus,
                     uint32_t *ret_node);
void dv_fair_cordon(struct dv_fair *f, uint32_t node, bool cordoned);
/* For questions only. */
const struct dv_fair_pool *dv_fair_pool(const struct dv_fair *f);

/* The root may be given a limit by dv_fair_set_queue(f, DV_FAIR_ROOT, ...), its parent ignored.
 * -ENOMEM; -E2BIG (too many, too deep); -EINVAL (no such parent, it has workloads, a weight or an
 * amount out of range, guarantee above limit). */
int dv_fair_add_queue(struct dv_fair *f, const struct dv_fair_queue *queue, uint32_t *ret);
int dv_fair_set_queue(struct dv_fair *f, uint32_t queue, const struct dv_fair_queue *values);

/*
 * 0; -ENOMEM; -EINVAL (no leaf, min 0 or above max, sizes out of range; *ret_verdict unset);
 * DV_FAIR_REFUSED: it can never run under these limits, *ret_verdict says why, and it was not
 * taken. What only the cluster is too small for is taken and waits (reason NEVER).
 */
#define DV_FAIR_REFUSED 1
int dv_fair_submit(struct dv_fair *f, const struct dv_fair_spec *spec, uint64_t now_ns,
                   uint32_t *ret, struct dv_fair_verdict *ret_verdict);
/*
 * A workload that runs already, as after a restart of the scheduler: its members are where `places`
 * says. Limits and guarantees are not asked, and may be exceeded by it; it counts towards them.
 * 0; -ENOMEM; -EINVAL (as above; n not between min and max; a place that does not exist, does not
 * suit, or is held).
 */
int dv_fair_adopt(struct dv_fair *f, const struct dv_fair_spec *spec,
                  const struct dv_fair_place *places, uint32_t n, uint64_t started_ns,
                  uint64_t now_ns, uint32_t *ret);
/* It ended by itself, or is withdrawn, in whatever state. */
void dv_fair_ended(struct dv_fair *f, uint32_t workload, uint64_t now_ns);
/* What an evicted, shrunk or moved workload held before is free now. */
void dv_fair_gone(struct dv_fair *f, uint32_t workload, uint64_t now_ns);

/* The next decision; the state has it when this returns. 0; -ENOENT: none now; -ENOMEM: nothing was
 * decided, ask again. */
int dv_fair_next(struct dv_fair *f, uint64_t now_ns, struct dv_fair_decision *ret);
/* When to ask again though nothing happens: shares are due, somebody's patience ends, a
 * reservation is due. DV_NEVER: no need. */
uint64_t dv_fair_next_time(const struct dv_fair *f, uint64_t now_ns);

int dv_fair_explain(struct dv_fair *f, uint32_t workload, uint64_t now_ns,
                    struct dv_fair_verdict *ret);

/* ---- looking ----------------------------------------------------------------------------------
 */

enum dv_fair_state dv_fair_state(const struct dv_fair *f, uint32_t workload);
const struct dv_fair_spec *dv_fair_spec(const struct dv_fair *f, uint32_t workload);
/* Its members' places; *ret_n 0 while it has none. A loan until the next event. */
const struct dv_fair_place *dv_fair_places(const struct dv_fair *f, uint32_t workload,
                                           uint32_t *ret_n);
uint32_t dv_fair_units(const struct dv_fair *f, uint32_t workload); /* of one member */
uint64_t dv_fair_started_ns(const struct dv_fair *f, uint32_t workload);
uint32_t dv_fair_workloads(const struct dv_fair *f); /* handles are below this */
uint32_t dv_fair_queues(const struct dv_fair *f);
uint64_t dv_fair_capacity(const struct dv_fair *f); /* units of nodes not cordoned */

struct dv_fair_view {
    uint64_t held, held_fixed;      /* of which not preemptible */
    uint64_t wanted;                /* held + pending */
    uint64_t share;                 /* deserved, as last computed */
    uint64_t weight;                /* as bent by past use */
    unsigned __int128 used_unit_ns; /* decayed to now */
    uint32_t pending, running;
};
void dv_fair_look(const struct dv_fair *f, uint32_t queue, uint64_t now_ns,
                  struct dv_fair_view *ret);
/* Who holds the reservation and for when (DV_NEVER: when its place is free); DV_FAIR_NONE. */
uint32_t dv_fair_reservation(const struct dv_fair *f, uint64_t *ret_at_ns);
/* Every sum against what it is the sum of (tests): 0 or -EINVAL. */
int dv_fair_check(const struct dv_fair *f);

#endif
