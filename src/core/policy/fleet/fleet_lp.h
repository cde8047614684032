/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The planner's linear program, small and dense: the revised simplex method with columns that are
 * added while it runs.
 *
 *     minimise  cost x   where  demand rows: sum >= right,  room rows: sum <= right,  x >= 0
 *
 * Each demand row has a column that buys it off at `off` a piece, so that there always is a
 * solution. The answer is a guide, in doubles: whoever uses it proves what he claims by integers.
 *
 * Source: any text book; Dantzig, Linear programming and extensions, 1963, chapter 9.
 */
#ifndef DV_POLICY_FLEET_FLEET_LP_H
#define DV_POLICY_FLEET_FLEET_LP_H

#include <stddef.h>
#include <stdint.h>

struct dv_fleet_lp;

struct dv_fleet_lp_row {
    double right; /* >= 0 */
    double off;   /* of a demand; 0: a room row */
};

/* 0 or -ENOMEM. */
int dv_fleet_lp_new(const struct dv_fleet_lp_row *rows, uint32_t n, struct dv_fleet_lp **ret);
void dv_fleet_lp_free(struct dv_fleet_lp *lp);
void dv_fleet_lp_freep(struct dv_fleet_lp **lp);

struct dv_fleet_lp_entry {
    uint32_t row;
    double value;
};
/* Copies the entries; columns are numbered from 0. 0 or -ENOMEM. */
int dv_fleet_lp_add(struct dv_fleet_lp *lp, double cost, const struct dv_fleet_lp_entry *entries,
                    uint32_t n);
/* To the optimum over the columns there are, or as near as so many elementary operations come;
 * returns about how many it took. */
uint64_t dv_fleet_lp_solve(struct dv_fleet_lp *lp, uint64_t work_max);
/* What a unit more of the row would cost (demand: >= 0, room: <= 0, but for rounding). */
double dv_fleet_lp_dual(const struct dv_fleet_lp *lp, uint32_t row);
/* ret[i] is column i's value. */
void dv_fleet_lp_values(const struct dv_fleet_lp *lp, double *ret);

#endif
