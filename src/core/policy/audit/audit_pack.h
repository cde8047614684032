/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The plan that follows from an audit: which workloads could share which GPUs, by the modes that
 * are recommended for them. First fit in order of time, of those that begin together the largest
 * first: what a fleet could have done while it happened, without moving anybody. A place is free
 * again after a workload's last sample.
 *
 * A shared GPU holds memory up to its size (peaks with the margin) and shares up to its compute
 * less the headroom; MPS and governed workloads do not share one. MIG instances lie where the
 * hardware allows.
 */
#ifndef DV_POLICY_AUDIT_PACK_H
#define DV_POLICY_AUDIT_PACK_H

#include "policy/audit/audit.h"
#include "policy/mode_choice.h"

#define DV_AUDIT_TENANTS_MAX DV_MODE_MPS_CLIENTS /* on one GPU */

struct dv_audit_gpu {
    enum dv_audit_how how;
    uint32_t workloads, workloads_peak; /* that were on it, and at once */
    double filled_peak; /* of its memory or its compute, whichever is more, at most */
};

struct dv_audit_plan {
    uint32_t n_workloads;
    uint32_t *gpu_of; /* by workload of the audit; DV_AUDIT_NONE: it had no utilization samples, or
                         is nobody */
    uint32_t n_gpus;  /* how many the plan needs */
    struct dv_audit_gpu *gpus;
    uint32_t by_how[5];     /* GPUs */
    uint32_t gpus_at_least; /* no plan by the same recommendations and sizes needs fewer */
    bool memory_binds, compute_binds; /* which asks for more shared GPUs; neither: for as many */
};

/* 0 or -ENOMEM. */
int dv_audit_pack(const struct dv_audit *a, const struct dv_audit_wish *wish,
                  struct dv_audit_plan **ret);
void dv_audit_plan_free(struct dv_audit_plan *plan);
static inline void dv_audit_plan_freep(struct dv_audit_plan **plan)
{
    dv_audit_plan_free(*plan);
}

#endif
