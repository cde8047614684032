/* SPDX-License-Identifier: Apache-2.0 */
/*
 * From the MIG instances on the GPUs of a node to a wanted number of each profile on all of them
 * together, with the fewest destroyed and created. Exact: no way to divide the wanted set among the
 * GPUs, and to place each part, keeps more of what is there.
 *
 * Cost, compared in this order: instances in use that would have to go (they block: 0 unless the
 * wanted set cannot be had beside them), instances destroyed, instances created, GPUs that are
 * touched at all; of equals a fixed one. Each GPU's part is placed by mig_change.h.
 *
 *     struct dv_mig_node_gpu gpus[] = {{g, have0, n0}, {g, have1, n1}};
 *     struct dv_mig_node_want want[] = {{"3g.40gb", 1}, {"1g.10gb", 5}};
 *     r = dv_mig_node_find(gpus, 2, want, 2, &change);
 *     ... change->gpus[i].change is GPU i's, in the order of change->gpus[i].want
 *     dv_mig_node_free(change);
 *
 * How: what a GPU's part costs does not depend on the others, so after each GPU the best for every
 * remainder of the wanted set is worked out once, from the best of the GPUs before it; only for
 * those remainders from which the GPUs to come could still end within a bound, which is raised from
 * below until there is a way.
 */
#ifndef DV_POLICY_MIG_NODE_H
#define DV_POLICY_MIG_NODE_H

#include "policy/mig_change.h"

#define DV_MIG_NODE_GPUS_MAX 16u
#define DV_MIG_NODE_PROFILES_MAX 8u         /* different ones wanted */
#define DV_MIG_NODE_REMAINDERS_MAX 1000000u /* product of (wanted of each profile + 1) */

struct dv_mig_node_gpu {
    const struct dv_mig_geometry *geometry;
    const struct dv_mig_have *have;
    size_t n_have;
};

/* A GPU without a profile of that name gets none of it. */
struct dv_mig_node_want {
    const char *profile;
    uint32_t count;
};

struct dv_mig_node_change {
    bool feasible; /* false: the set cannot be on these GPUs, were they empty; nothing is placed */
    uint32_t blocked, destroyed, created, touched; /* of all; touched: GPUs */
    uint32_t n_gpus;
    struct {
        uint32_t n_want; /* its part of the wanted set, unplaced */
        struct dv_mig_instance want[DV_MIG_INSTANCES_MAX];
        struct dv_mig_change change;
    } gpus[DV_MIG_NODE_GPUS_MAX];
};

/* 0; -ENOMEM; -EINVAL (too many GPUs or profiles, one wanted twice, a `have` that breaks a rule);
 * -E2BIG (more remainders than DV_MIG_NODE_REMAINDERS_MAX: plan the GPUs in groups). */
int dv_mig_node_find(const struct dv_mig_node_gpu *gpus, size_t n_gpus,
                     const struct dv_mig_node_want *want, size_t n_want,
                     struct dv_mig_node_change **ret);
void dv_mig_node_free(struct dv_mig_node_change *change);

#endif
