/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Which kinds of pods come how often. A kind is CPU, GPUs, milli per GPU and allowed models; memory
 * is not part of it (as in the fragmentation measure of Weng et al., USENIX ATC 2023).
 *
 * Counts are integers, so what is made of them is exact and does not depend on an order. A table
 * can be filled at once from a workload, or learnt pod by pod; a prior is added like pods.
 */
#ifndef DV_POLICY_PLACE_POPULARITY_H
#define DV_POLICY_PLACE_POPULARITY_H

#include "policy/place/pod_kinds.h"

#define DV_POPULARITY_KINDS_MAX 65536u

struct dv_popularity_kind {
    struct dv_cluster_pod pod; /* memory and wish 0: not part of it */
    uint64_t count;            /* pods, or the weight given to them */
    uint64_t memory_mib;       /* summed over them */
};

struct dv_popularity {
    const struct dv_cluster *cluster; /* for the texts of specs; borrowed */
    struct dv_pod_kinds pods;         /* that came, without memory and wish; n of them */
    struct dv_popularity_kind *kinds; /* by their numbers */
    uint32_t n, capacity;
    uint64_t total;   /* the sum of counts */
    uint32_t version; /* goes up with every change */
};

struct dv_popularity *dv_popularity_new(const struct dv_cluster *cluster); /* NULL: no memory */
void dv_popularity_free(struct dv_popularity *popularity);
void dv_popularity_freep(struct dv_popularity **popularity);
/* `weight` pods of this kind more. 0, -ENOMEM, -E2BIG. */
int dv_popularity_add(struct dv_popularity *popularity, const struct dv_cluster_pod *pod,
                      uint64_t weight);
/* Halves all counts (at least 1 is kept of what was seen): learning that forgets. */
void dv_popularity_halve(struct dv_popularity *popularity);

/* The most frequent kinds (of equals: more CPU, more milli, more GPUs, the later spec by its text)
 * until they are `permille` of all: as many indices into `kinds` as returned, most frequent first.
 * *ret is malloc'd. -ENOMEM. */
int64_t dv_popularity_head(const struct dv_popularity *popularity, uint32_t permille,
                           uint32_t **ret);

#endif
