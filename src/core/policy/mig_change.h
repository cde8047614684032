/* SPDX-License-Identifier: Apache-2.0 */
/*
 * From one set of MIG instances on a GPU to another with the fewest destroyed and created. Exact:
 * no legal placement of the wanted set keeps more of what is there.
 *
 * Cost, compared in this order: instances in use that would have to go (they block: the caller
 * waits for them, or refuses), instances destroyed, instances created; of equals the placement that
 * keeps most of those that the caller prefers, then the one that leaves most room (mig_plan.h),
 * then the lowest starts, large instances first. Instances of one profile are alike: which of
 * `want` is which does not matter, only their starts. Deterministic; the order of `want` changes no
 * cost.
 *
 *     struct dv_mig_have have[] = {{p1g, 0, true}, {p1g, 1, false}};
 *     struct dv_mig_instance want[] = {{p3g, DV_MIG_UNPLACED}, {p1g, DV_MIG_UNPLACED}};
 *     r = dv_mig_change_find(geometry, have, 2, want, 2, &change);
 */
#ifndef DV_POLICY_MIG_CHANGE_H
#define DV_POLICY_MIG_CHANGE_H

#include "policy/mig_plan.h"

struct dv_mig_have {
    uint32_t profile; /* index into geometry->profiles */
    uint32_t start;
    bool in_use;
    bool prefer; /* of instances that could stay as well as this one, rather this */
};

#define DV_MIG_CHANGE_NEW UINT32_MAX

struct dv_mig_change {
    enum dv_mig_rule rule; /* DV_MIG_OK: feasible; else the set cannot be on an empty GPU */
    struct dv_mig_refusal refusal;
    uint32_t n; /* as many as wanted, in the order of `want` */
    struct {
        uint32_t start;
        uint32_t from; /* index into `have` of the instance that stays as this one, or NEW */
    } instances[DV_MIG_INSTANCES_MAX];
    bool goes[DV_MIG_INSTANCES_MAX];      /* of each of `have` */
    uint32_t destroyed, created, blocked; /* blocked: of those destroyed, in use */
};

/* A wanted instance with a start must get that start. 0 or -ENOMEM, -EINVAL (`have` itself breaks a
 * rule or has no start, a profile does not exist, or n is too large). Where the set is infeasible,
 * nothing goes and nothing is placed. */
int dv_mig_change_find(const struct dv_mig_geometry *geometry, const struct dv_mig_have *have,
                       size_t n_have, const struct dv_mig_instance *want, size_t n_want,
                       struct dv_mig_change *ret);

#endif
