/* SPDX-License-Identifier: Apache-2.0 */
/* Pods as small numbers: the first is 0, the next 1, one alike in everything keeps its number. */
#ifndef DV_POLICY_PLACE_POD_KINDS_H
#define DV_POLICY_PLACE_POD_KINDS_H

#include "model/cluster.h"

#define DV_POD_KINDS_NONE UINT32_MAX

struct dv_pod_kinds { /* all zero: empty */
    struct dv_cluster_pod *v;
    uint32_t n, capacity;
    uint32_t *slots; /* a hash table over v, number + 1; 0: free */
    uint32_t n_slots;
};

void dv_pod_kinds_done(struct dv_pod_kinds *kinds);
/* DV_POD_KINDS_NONE where it has no number. */
uint32_t dv_pod_kinds_find(const struct dv_pod_kinds *kinds, const struct dv_cluster_pod *pod);
/* One that has no number: the next is its. -ENOMEM. */
int dv_pod_kinds_add(struct dv_pod_kinds *kinds, const struct dv_cluster_pod *pod);

#endif
