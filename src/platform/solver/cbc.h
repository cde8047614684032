/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What libdivvy-solver.so shows to solver.c: the only code that is linked against CBC and CLP. It
 * is called in a process of its own, with its output thrown away.
 */
#ifndef DV_SOLVER_CBC_H
#define DV_SOLVER_CBC_H

#include "policy/program.h"

#define DV_SOLVER_CBC_SYMBOL "dv_solver_cbc"
#define DV_SOLVER_VERSION_SYMBOL "dv_solver_cbc_version"

/* Solves a program that dv_program_check has passed. values (n_columns) and duals (n_rows) are the
 * caller's; ret->values and ret->duals point to them where they hold something, else are NULL. 0 or
 * -ENOMEM, -EIO. */
typedef int dv_solver_cbc_fn(const struct dv_program *p, const struct dv_program_limits *limits,
                             double *values, double *duals, struct dv_program_result *ret);

dv_public dv_solver_cbc_fn dv_solver_cbc;
dv_public const char *dv_solver_cbc_version(void);

#endif
