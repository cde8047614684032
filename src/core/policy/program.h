/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A linear or integer program as plain numbers, so that policies can state one without knowing who
 * solves it: the solver is a function that the caller hands in (platform/solver has one).
 *
 *     optimise  sum objective[j] x[j]
 *     subject to  lower[i] <= sum value[i][j] x[j] <= upper[i],  lower[j] <= x[j] <= upper[j]
 *
 *     dv_cleanup(dv_program_done) struct dv_program p = {.maximize = true};
 *     uint32_t x = dv_program_column(&p, 3, 0, INFINITY, true);
 *     uint32_t row = dv_program_row(&p, -INFINITY, 10);
 *     dv_program_entry(&p, row, x, 4);
 *     r = solver.solve(solver.arg, &p, &limits, &result, &err);     // x = 2, objective 6
 *
 * Columns, rows and entries may be added after a solution too (column generation). A failure while
 * building is kept in `error` and seen by the solver, so that a long run of calls is checked once.
 */
#ifndef DV_POLICY_PROGRAM_H
#define DV_POLICY_PROGRAM_H

#include "base/err.h"

#include <stdbool.h>

#define DV_PROGRAM_COLUMNS_MAX 2000000
#define DV_PROGRAM_ROWS_MAX 1000000
#define DV_PROGRAM_ENTRIES_MAX 20000000
/* No finite number may be larger: beyond it a double's digits do not carry a sum. */
#define DV_PROGRAM_NUMBER_MAX 1e15

#define DV_PROGRAM_NONE UINT32_MAX

struct dv_program_column {
    double objective;
    double lower, upper; /* -INFINITY and INFINITY: none */
    bool integer;
};

struct dv_program_row {
    double lower, upper; /* the same */
};

struct dv_program_entry {
    uint32_t row, column;
    double value;
};

struct dv_program {
    bool maximize;
    int error; /* 0; -ENOMEM, -E2BIG (a limit above), -EINVAL (a number or an index) */
    size_t n_columns, n_rows, n_entries;
    size_t cap_columns, cap_rows, cap_entries;
    struct dv_program_column *columns;
    struct dv_program_row *rows;
    struct dv_program_entry *entries;
};

/* The index of the new column or row; DV_PROGRAM_NONE after a failure. */
uint32_t dv_program_column(struct dv_program *p, double objective, double lower, double upper,
                           bool integer);
uint32_t dv_program_row(struct dv_program *p, double lower, double upper);
/* One number per row and column: a second one is found by dv_program_check. Zero is left out. */
void dv_program_entry(struct dv_program *p, uint32_t row, uint32_t column, double value);
void dv_program_done(struct dv_program *p);

/* Whether the program can be solved: 0; p->error; -EINVAL with which column or row breaks what;
 * -ENOMEM. Whoever solves calls this first. */
int dv_program_check(const struct dv_program *p, struct dv_err *err);
/* True when some column is an integer: then there are no duals. */
bool dv_program_has_integers(const struct dv_program *p);

enum dv_program_status {
    DV_PROGRAM_OPTIMAL,    /* within the gap that was allowed */
    DV_PROGRAM_FEASIBLE,   /* a limit stopped it: `values` hold, `bound` says how far it may be */
    DV_PROGRAM_INFEASIBLE, /* proven: no values satisfy all */
    DV_PROGRAM_UNBOUNDED,  /* the objective has no limit; of an integer program: its relaxation */
    DV_PROGRAM_STOPPED,    /* a limit came before any solution */
    DV_PROGRAM_CANCELLED,  /* by limits.cancelled */
};
const char *dv_program_status_name(enum dv_program_status status);

struct dv_program_limits {
    uint64_t time_ns;             /* of wall time; 0: none */
    uint32_t nodes;               /* of the search tree; 0: none */
    double gap;                   /* relative: stop within this of the bound; 0: prove it */
    bool (*cancelled)(void *arg); /* asked some times a second; NULL: never */
    void *cancelled_arg;
};

struct dv_program_result {
    enum dv_program_status status;
    double objective; /* of `values`; 0 where there are none */
    double bound;     /* no solution is better than this; = objective when OPTIMAL */
    double *values;   /* n_columns; NULL where there are none. Integers are exact integers. */
    double *duals;    /* n_rows; only of an OPTIMAL linear program, else NULL. What one unit more
                       * of the row's binding bound adds to the objective as it is stated. */
};
void dv_program_result_done(struct dv_program_result *result);

/* 0 with *ret (whatever the status); negative errno: -ENOSYS (no solver here), -EINVAL (the
 * program), -ENOMEM, -EIO (the solver broke). */
typedef int dv_program_solve_fn(void *arg, const struct dv_program *program,
                                const struct dv_program_limits *limits,
                                struct dv_program_result *ret, struct dv_err *err);

/* Who solves, for policies that are handed one; .solve NULL: nobody. */
struct dv_program_solver {
    dv_program_solve_fn *solve;
    void *arg;
};

#endif
