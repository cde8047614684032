/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What the demand for one MIG profile will be, from what it was: a usual value for each place in a
 * season (each hour of a day), and how far the last hours were off, which fades.
 *
 *     usual[k] += gamma * (seen - usual[k])             k: the place in the season
 *     off      += alpha * (seen - usual[k] - off)       before usual[k] is moved
 *     predicted in h steps = usual[k + h] + off * fade^h, at least 0
 *
 * Both are exponentially weighted: without the season this is simple exponential smoothing, with it
 * the additive seasonal method (Holt, 1957; Winters, 1960) with an error term instead of a level.
 * A place that was never seen counts as the smoothed value of all. A step without a value teaches
 * nothing, and lets `off` fade.
 *
 * Demand is in thousandths of an instance. Not thread-safe.
 */
#ifndef DV_POLICY_MIG_DEMAND_H
#define DV_POLICY_MIG_DEMAND_H

#include "base/macros.h"

#include <stdbool.h>

#define DV_MIG_DEMAND_UNKNOWN INT32_MIN
#define DV_MIG_DEMAND_MAX 1000000000 /* a million instances */
#define DV_MIG_DEMAND_SEASON_MAX 10000u

struct dv_mig_demand_rates {
    double alpha, gamma, fade; /* 0..1 */
};

struct dv_mig_demand {
    uint32_t season; /* steps; 1: none */
    struct dv_mig_demand_rates rates;
    double *usual; /* of each place; below 0: never seen */
    double level;  /* smoothed value of all; below 0: nothing was seen */
    double off;
    uint64_t at; /* the next step */
};

/* season 1..DV_MIG_DEMAND_SEASON_MAX. 0 or -ENOMEM. */
int dv_mig_demand_init(struct dv_mig_demand *d, uint32_t season, struct dv_mig_demand_rates rates);
void dv_mig_demand_done(struct dv_mig_demand *d);
/* The value of the next step, 0..DV_MIG_DEMAND_MAX, or DV_MIG_DEMAND_UNKNOWN. */
void dv_mig_demand_see(struct dv_mig_demand *d, int32_t milli);
/* Of the next step (ahead 0) or later; UNKNOWN before anything was seen. */
int32_t dv_mig_demand_predict(const struct dv_mig_demand *d, uint32_t ahead);

/*
 * The rates that would have predicted this series best, one to `reach` steps ahead, in the mean of
 * the absolute errors, out of a grid; *ret_error_milli is that mean. The series is every stride-th
 * value from `milli`. 0 or -ENOMEM.
 */
int dv_mig_demand_fit(const int32_t *milli, size_t n, size_t stride, uint32_t season,
                      uint32_t reach, struct dv_mig_demand_rates *ret, int32_t *ret_error_milli);

#endif
