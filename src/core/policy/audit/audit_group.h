/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A group of workloads of which nothing was measured: so many of so many GPUs each, so busy on
 * average, and of which kind, where that is said. What suits them is what `divvy advise` says of
 * the same kind, compute and trust: memory is not known, and does not count.
 */
#ifndef DV_POLICY_AUDIT_GROUP_H
#define DV_POLICY_AUDIT_GROUP_H

#include "policy/advise/advise.h"
#include "policy/audit/audit_judge.h"

#define DV_AUDIT_GROUPS_MAX 64u

struct dv_audit_group {
    char name[64];
    uint32_t count, gpus; /* workloads, GPUs of each */
    uint32_t busy_milli;  /* thousandths of a percent */
    enum dv_advise_kind kind;
};

/* "training", "inference", "interactive" or "notebook", "batch", and their plurals. false: it is
 * none of these, and *ret is left alone. */
bool dv_audit_group_kind(const char *word, enum dv_advise_kind *ret);

/* At least as busy as training, whatever it is called (as of a series, audit.h). */
bool dv_audit_group_is_busy(const struct dv_audit_group *g);

void dv_audit_group_judge(const struct dv_audit_group *g, const struct dv_audit_wish *wish,
                          struct dv_audit_choice *ret);

/* GPUs that hold all groups by compute alone, each in the mode above; of different modes none is on
 * the same GPU. No plan by the same recommendations needs fewer. */
uint64_t dv_audit_group_gpus(const struct dv_audit_group *groups, size_t n,
                             const struct dv_audit_wish *wish);

#endif
