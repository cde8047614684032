/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Linear and integer programs (policy/program.h), by COIN-OR's CBC and CLP. Both, and what they
 * bring along, are in a library of their own beside the others, loaded by dv_solver_open, so that a
 * program that solves nothing carries none of it.
 *
 *     dv_cleanup(dv_solver_freep) struct dv_solver *solver = NULL;
 *     r = dv_place_library(DV_SOLVER_LIBRARY, path);           (ui/place.h)
 *     r = dv_solver_open(path, &solver, &err);                 -ENOSYS: none here
 *     r = dv_solver_solve(solver, &program, &limits, &result, &err);
 *
 * Each program is solved in a forked process: what the solver prints goes nowhere, a time limit and
 * a cancellation hold whatever it is doing, and one that crashes is an error (-EIO) and no crash.
 * Without a time limit the answer is the same every time; with one it depends on the machine:
 * limits.nodes repeats.
 */
#ifndef DV_SOLVER_SOLVER_H
#define DV_SOLVER_SOLVER_H

#include "policy/program.h"

#define DV_SOLVER_LIBRARY "libdivvy-solver.so" /* below lib/divvy */

struct dv_solver;

/* 0; -ENOSYS (no such library, or one that does not load: err says why and what to install),
 * -ENOMEM. */
int dv_solver_open(const char *path, struct dv_solver **ret, struct dv_err *err);
void dv_solver_free(struct dv_solver *solver);
void dv_solver_freep(struct dv_solver **solver);

/* The version of CBC, "2.10.8". */
const char *dv_solver_version(const struct dv_solver *solver);

/* A dv_program_solve_fn; solver is a struct dv_solver. 0 with *ret, or -EINVAL, -ENOMEM, -EIO, or
 * what fork and pipe said. */
int dv_solver_solve(void *solver, const struct dv_program *program,
                    const struct dv_program_limits *limits, struct dv_program_result *ret,
                    struct dv_err *err);

#endif
