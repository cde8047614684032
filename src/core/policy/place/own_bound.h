/* SPDX-License-Identifier: Apache-2.0 */
/*
 * How much of a cluster's GPUs any policy could have allocated when so much of them has been asked
 * for: two upper bounds, by linear programs (docs/explanation/placement.md has the proof).
 *
 * The first lets a policy refuse whom it likes and knows all arrivals beforehand: GPUs are cut into
 * patterns of sizes, of each model as many as there are, of each kind of pod at most as many as
 * came, within the CPU and memory of the whole cluster. Which node a GPU is in is left out, so it
 * is a bound for all.
 *
 * The second adds what holds for whoever refuses nothing that fits, while nobody leaves: room only
 * shrinks, so of each kind those who came first are served, and a pod that wants no more of
 * anything than another is refused no earlier. It takes each kind to arrive evenly; what chance
 * adds to that is of the order of 0.02 to 0.05 percent.
 */
#ifndef DV_POLICY_PLACE_OWN_BOUND_H
#define DV_POLICY_PLACE_OWN_BOUND_H

#include "model/cluster.h"
#include "policy/program.h"

/* The kinds that most GPUs are asked for by are compared with each other; the others are taken as
 * if they could be refused, which makes the bound weaker, not wrong. */
#define DV_OWN_BOUND_COMPARED_MAX 400u

struct dv_own_bound {
    double refusing_percent; /* of all GPUs */
    double percent;          /* without refusals */
    uint32_t arrivals;       /* that came until so much was asked for */
};

/* Of those `arrivals` (indices into pods) that ask for `asked_percent` of the GPUs, or of all where
 * they ask for less. Wishes beyond models are left out. 0; -ENOSYS: no solver; -EINVAL: the cluster
 * has no GPUs; -ENOMEM; -EIO, -ECANCELED; what the solver says. */
int dv_own_bound_find(const struct dv_cluster *cluster, const struct dv_cluster_pod *pods,
                      const uint32_t *arrivals, uint32_t n_arrivals, double asked_percent,
                      const struct dv_program_solver *solver,
                      const struct dv_program_limits *limits, struct dv_own_bound *ret,
                      struct dv_err *err);

#endif
