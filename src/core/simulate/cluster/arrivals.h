/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Who comes, in which order: a shuffle of the pods, stretched or cut until they ask for so much of
 * the cluster's GPUs (the procedure of Weng et al., USENIX ATC 2023, with numbers of our own).
 */
#ifndef DV_SIMULATE_CLUSTER_ARRIVALS_H
#define DV_SIMULATE_CLUSTER_ARRIVALS_H

#include "base/rng.h"
#include "model/cluster.h"

#define DV_ARRIVALS_MAX UINT32_C(20000000)

/* 0..n-1 in an order of chance (Fisher, Yates). */
void dv_arrivals_shuffle(struct dv_rng *rng, uint32_t *v, uint32_t n);

/*
 * The pods shuffled; then, where they ask for less than `milli` GPU milli, copies of pods drawn by
 * chance until the next would be too much (as published: a copy of several GPUs is counted as one
 * GPU by that test, though not in the sum), and where they ask for more, pods drawn by chance go.
 * `milli` 0: shuffled only. *ret are indices into `pods`, malloc'd. 0, -ENOMEM, -E2BIG.
 */
int dv_arrivals_make(const struct dv_cluster_pod *pods, uint32_t n, uint64_t milli, uint64_t seed,
                     uint32_t **ret, uint32_t *ret_n);

#endif
