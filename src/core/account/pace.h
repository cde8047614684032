/* SPDX-License-Identifier: Apache-2.0 */
/*
 * How fast a workload runs, and what makes the difference between two runs of it: alone (its
 * baseline) and as it is now. Everything is compared per launch, since runs are of different
 * length. Whole numbers; where a run has no launches there is nothing to compare.
 *
 *     if (dv_pace_compare(&alone, &now, &c))
 *         ... c.slower_permille; of c.difference_ps, c.wait_ps is waiting, c.gpu_ps its own work
 * ...
 */
#ifndef DV_ACCOUNT_PACE_H
#define DV_ACCOUNT_PACE_H

#include "base/macros.h"

#include <stdbool.h>

struct dv_pace {
    uint64_t launches;
    uint64_t wall_ns; /* in which a process of it was there */
    uint64_t busy_ns; /* GPU time charged */
    uint64_t wait_ns; /* its slice waited for turns */
};

/* Launches per second, in thousandths; 0 without any. */
uint64_t dv_pace_rate_milli(const struct dv_pace *pace);
/* GPU time per launch in nanoseconds; 0 without any. */
uint64_t dv_pace_gpu_ns(const struct dv_pace *pace);

/* Picoseconds per launch, now less alone: the three parts sum to the difference, exactly. */
struct dv_pace_comparison {
    int64_t difference_ps;
    int64_t wait_ps;         /* waiting for turns */
    int64_t gpu_ps;          /* longer on the GPU */
    int64_t rest_ps;         /* its own: the host's side, and what is lost in hand-overs */
    int64_t slower_permille; /* of the time alone: 0 as fast, 1000 half as fast; negative faster */
};
bool dv_pace_compare(const struct dv_pace *alone, const struct dv_pace *now,
                     struct dv_pace_comparison *ret);
/* Which part of the difference, in permille, is `ns` of all the waiting now; 0 when now is not
 * slower. What was waited for when it ran alone is taken off in proportion. */
int64_t dv_pace_share_permille(const struct dv_pace_comparison *c, const struct dv_pace *now,
                               uint64_t ns);

#endif
