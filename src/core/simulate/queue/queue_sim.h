/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Queues under a virtual clock: workloads come, the functions of policy/fair decide as they would
 * in production, workloads end. Who is evicted or moved starts its work anew.
 *
 *     r = dv_queue_sim_new(scenario, clock, arg, &sim, &err);
 *     while (!(r = dv_queue_sim_step(sim)))
 *         ;                                  1: all is over
 *     dv_queue_sim_finish(sim);
 *     ... dv_queue_sim_result(sim) ...
 */
#ifndef DV_SIMULATE_QUEUE_QUEUE_SIM_H
#define DV_SIMULATE_QUEUE_QUEUE_SIM_H

#include "simulate/queue/scenario.h"

#define DV_QUEUE_SIM_BUCKETS 32u
#define DV_QUEUE_SIM_PENDING 20u /* that are explained one by one */

struct dv_queue_sim;

struct dv_queue_sim_times { /* nanoseconds */
    uint64_t n, p50, p99, max, sum;
};

struct dv_queue_sim_queue {
    uint32_t parent; /* as in the scenario */
    uint32_t submitted, refused, started, ended, evicted, moved, pending;
    struct dv_queue_sim_times waits;     /* from coming to the first start, of those that started */
    uint64_t longest_pending_ns;         /* of those that wait still */
    unsigned __int128 held_unit_ns;      /* GPU time held */
    uint64_t held[DV_QUEUE_SIM_BUCKETS]; /* mean units per bucket of time */
    uint64_t share[DV_QUEUE_SIM_BUCKETS]; /* deserved, at the end of the bucket */
};

struct dv_queue_sim_pending {
    uint32_t jobs;     /* index in the scenario */
    uint32_t instance; /* of its count, from 0 */
    uint64_t waited_ns;
    uint32_t other_jobs, other_instance; /* who holds the reservation, if the verdict names it */
    struct dv_fair_verdict verdict;      /* queue and share_queue: index in the scenario + 1 */
};

struct dv_queue_sim_result {
    uint64_t now_ns;   /* of the virtual clock */
    uint64_t capacity; /* units */
    uint32_t submitted, refused, started, ended, running, pending;
    uint32_t decisions, backfilled, grown, evicted, shrunk, moved, reclaims;
    uint64_t lost_unit_ms;
    unsigned __int128 held_unit_ns;
    struct dv_queue_sim_times waits;
    struct dv_queue_sim_times decision; /* by the clock given: each call that decided */
    uint64_t deciding_ns;               /* all calls, also those that found nothing to do */
    uint64_t explain_ns;                /* the longest time that one verdict took */
    uint32_t buckets;                   /* of the queues' held and share that are set */
    uint64_t bucket_ns;
    const struct dv_queue_sim_queue *queues; /* as in the scenario */
    const struct dv_queue_sim_pending *explained;
    uint32_t n_explained;
    const struct dv_queue_sim_pending *turned_down; /* the first that were refused */
    uint32_t n_turned_down;
};

enum dv_queue_sim_stage {
    DV_QUEUE_SIM_COMING, /* it has not come yet */
    DV_QUEUE_SIM_PENDING_STAGE,
    DV_QUEUE_SIM_RUNNING,
    DV_QUEUE_SIM_ENDED,
    DV_QUEUE_SIM_REFUSED,
};

/* How it stands with one workload. */
struct dv_queue_sim_about {
    enum dv_queue_sim_stage stage;
    uint64_t comes_ns;                  /* by the virtual clock */
    bool judged;                        /* there is a verdict: it waits, runs, or was refused */
    struct dv_queue_sim_pending answer; /* without one: jobs and instance alone */
};

/* clock: nanoseconds, for the times of decisions only; NULL: they stay 0. The scenario is lent.
 * 0; -ENOMEM; -EINVAL, -E2BIG with a message. */
int dv_queue_sim_new(const struct dv_queue_scenario *scenario, uint64_t (*clock)(void),
                     struct dv_queue_sim **ret, struct dv_err *err);
void dv_queue_sim_free(struct dv_queue_sim *sim);
void dv_queue_sim_freep(struct dv_queue_sim **sim);

/* The next instant at which something happens, and its decisions. 0; 1: nothing more happens;
 * -ENOMEM. */
int dv_queue_sim_step(struct dv_queue_sim *sim);
/* Workloads that have ended or were refused, of all. */
uint32_t dv_queue_sim_done(const struct dv_queue_sim *sim, uint32_t *ret_all);
/* Sums up and explains who waits, at any time. -ENOMEM. */
int dv_queue_sim_finish(struct dv_queue_sim *sim);
const struct dv_queue_sim_result *dv_queue_sim_result(const struct dv_queue_sim *sim);
/* One workload at this time: jobs and instance as in dv_queue_sim_pending. 0; -ENOENT: there is no
 * such one; -ENOMEM. */
int dv_queue_sim_explain(struct dv_queue_sim *sim, uint32_t jobs, uint32_t instance,
                         struct dv_queue_sim_about *ret);

#endif
