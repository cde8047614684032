/* SPDX-License-Identifier: Apache-2.0 */
/*
 * How often each of some patterns is used, as an integer program for a solver:
 *
 *     minimise   sum cost[p] x[p] + sum off[w] u[w]
 *     where      sum count[p][w] x[p] + u[w] >= places[w],   sum cards[p] x[p] <= rooms[side]
 */
#ifndef DV_POLICY_FLEET_FLEET_SOLVER_H
#define DV_POLICY_FLEET_FLEET_SOLVER_H

#include "policy/fleet/fleet_search.h"

struct dv_fleet_choose {
    const struct dv_fleet_view *view;
    const struct dv_fleet_pattern *patterns;
    uint32_t n;
    const uint64_t *places, *rooms; /* of workloads, of sides */
    const int64_t *costs, *offs;    /* of a card of each side, of a replica left out */
    double gap;                     /* relative: how far from the best the answer may be */
    bool (*cancelled)(void *arg);   /* asked while the solver is at it */
    void *cancelled_arg;
};

/* ret[i]: uses of pattern i. *ret_solved: it has answered; false also where there is no solver or
 * it broke. *ret_optimal: no choice of these patterns is better by more than
 * the gap. 0 or -ENOMEM. */
int dv_fleet_solver_choose(const struct dv_fleet_choose *choose,
                           const struct dv_program_solver *solver, uint32_t *ret, bool *ret_solved,
                           bool *ret_optimal);

#endif
