/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A trace replayed against a plan: would its workloads have waited for each other?
 *
 * Time is cut into steps. In each one a GPU's workloads ask for what they were seen to use; what is
 * more than the GPU can give waits for the next step, as in a queue (that is the least that must
 * have waited: samples are averages, and within one two workloads may have been busy at the same
 * instant or not). How often they would have met if each had been busy at random instants of its
 * sample is told beside it: the truth lies between, unless their work is synchronised. Samples that
 * are missing ask for nothing.
 *
 * A MIG instance is taken for a GPU of its own with its part of the compute. Memory is the driver's
 * figure for each workload, in the same step.
 *
 *     for (r = dv_audit_replay_new(a, plan, wish, from, to, &replay);
 * dv_audit_replay_slab(replay);) for each sample of the trace, in any order
 *             dv_audit_replay_busy(replay, workload, unix_ns, percent);
 *     dv_audit_replay_done(replay, &result);
 *
 * Memory is bounded by walking the trace several times where GPUs x steps are many: a slab of time
 * each, at most DV_AUDIT_SLABS_MAX; longer traces are cut into coarser steps.
 */
#ifndef DV_POLICY_AUDIT_REPLAY_H
#define DV_POLICY_AUDIT_REPLAY_H

#include "policy/audit/audit_pack.h"

#define DV_AUDIT_SLABS_MAX 64u
#define DV_AUDIT_CELLS 1048576u /* of 20 bytes */

struct dv_audit_replayed {
    uint64_t step_ns;
    uint64_t samples;      /* busy ones, on shared GPUs and instances */
    double waited;         /* of these: while more was asked for than there is */
    double met_percent;    /* of the busy time: while another was busy as well, were it random */
    uint64_t mean_wait_ns; /* of those that waited */
    uint64_t longest_wait_ns;
    uint64_t gpu_steps;         /* shared GPUs x steps in which somebody was on them */
    uint64_t memory_over_steps; /* of these: with more memory in use than there is */
    uint64_t memory_over_bytes; /* by how much at most */
    uint32_t unplanned;         /* workloads with samples here that the plan does not know */
};

struct dv_audit_replay;

/* [from, to): of the trace. `a` is the audit that the samples belong to, `plan` may be of another
 * one that has the same workloads as far as it has them (the first half of a trace). -ENOMEM. */
int dv_audit_replay_new(const struct dv_audit *a, const struct dv_audit *planned,
                        const struct dv_audit_plan *plan, const struct dv_audit_wish *wish,
                        int64_t from_ns, int64_t to_ns, struct dv_audit_replay **ret);
void dv_audit_replay_free(struct dv_audit_replay *r);
static inline void dv_audit_replay_freep(struct dv_audit_replay **r)
{
    dv_audit_replay_free(*r);
}

/* Begins the next slab: the whole trace is to be given again. false: that was the last one. */
bool dv_audit_replay_slab(struct dv_audit_replay *r);
void dv_audit_replay_busy(struct dv_audit_replay *r, uint32_t workload, int64_t unix_ns,
                          double percent);
void dv_audit_replay_memory(struct dv_audit_replay *r, uint32_t workload, int64_t unix_ns,
                            double bytes);
void dv_audit_replay_done(const struct dv_audit_replay *r, struct dv_audit_replayed *ret);

#endif
