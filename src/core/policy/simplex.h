/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A small linear solver without any library: the simplex method on a dense tableau (Dantzig 1947),
 * with Bland's rule (1977) once it makes no progress, so that it ends. For programs of up to a few
 * hundred rows whose answer is wanted where no solver is loaded: the size values of the placement
 * policy.
 *
 * Only programs that start feasible: all columns from 0 without an upper bound, all rows
 * `sum <= upper` with upper >= 0. No integers.
 */
#ifndef DV_POLICY_SIMPLEX_H
#define DV_POLICY_SIMPLEX_H

#include "policy/program.h"

#define DV_SIMPLEX_CELLS_MAX 4000000u /* rows times (rows + columns): 32 MB */

/* A dv_program_solve_fn; arg is not used, of the limits only `cancelled`. -EOPNOTSUPP: a program of
 * another shape, or a larger one. */
int dv_simplex_solve(void *arg, const struct dv_program *program,
                     const struct dv_program_limits *limits, struct dv_program_result *ret,
                     struct dv_err *err);

#endif
