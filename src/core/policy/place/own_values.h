/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What the rest of a GPU is worth to those who come: the values behind the policy "divvy".
 *
 * Sizes are cut from GPUs as lengths from rolls (Gilmore and Gomory 1961). The program that serves
 * most of what is asked for has a price for a GPU and one for each size; a size's price over the
 * GPU's is its value v(m): 1 for a whole GPU, about 1/2 for 470 milli (two go into a GPU), 1 for
 * 810 (nothing that comes goes into the 190 beside it). The value of a rest r is the best that can
 * be cut of it: u(r) = max sum v(m) x(m) with sum m x(m) <= r. u(1000) = 1, u never falls.
 *
 * Values are integers in 1/DV_OWN_UNIT, so that sums over a cluster are exact in any order.
 */
#ifndef DV_POLICY_PLACE_OWN_VALUES_H
#define DV_POLICY_PLACE_OWN_VALUES_H

#include "policy/place/popularity.h"
#include "policy/program.h"

#define DV_OWN_UNIT 1048576
/* Distinct sizes in the program; rarer ones beyond are left out: their value is that of a rest. */
#define DV_OWN_SIZES_MAX 64

struct dv_own_values {
    int32_t rest[DV_CLUSTER_MILLI + 1]; /* u, by milli */
    int32_t size[DV_CLUSTER_MILLI + 1]; /* v; of sizes that nobody asks for: u */
    double served;                      /* the program's optimum, as a share of the GPUs: 0..1 */
};

/* Values from how often each size comes. solver NULL or {0}: by policy/simplex.h. Nobody asks for
 * GPUs, or the popularity is NULL: a rest is worth its size. 0, -ENOMEM, -EIO (the solver found no
 * optimum), or what the solver said. */
int dv_own_values_solve(const struct dv_popularity *popularity,
                        const struct dv_program_solver *solver, struct dv_own_values *ret,
                        struct dv_err *err);

/* u from v: an unbounded knapsack over milli. v of sizes not asked for is 0 before. */
void dv_own_values_rest(struct dv_own_values *values);

#endif
