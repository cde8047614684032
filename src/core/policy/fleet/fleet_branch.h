/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The exact answer for few cards, without a solver: branch over the patterns that hold the first
 * workload that is not placed yet, bounded by the duals' worth of what is left.
 */
#ifndef DV_POLICY_FLEET_FLEET_BRANCH_H
#define DV_POLICY_FLEET_FLEET_BRANCH_H

#include "policy/fleet/fleet_price.h"

#define DV_FLEET_BRANCH_CARDS_MAX 64u

struct dv_fleet_branch {
    const struct dv_fleet_view *view;
    const struct dv_fleet_pattern *patterns;
    uint32_t n;
    const uint64_t *places, *rooms;
    const int64_t *costs; /* of a card of each side */
    /* Such that no card holds more of it than it costs: what is left costs at least its worth. */
    const int64_t *worths;
    int64_t below;      /* only plans that cost less are looked for */
    uint32_t steps_max; /* patterns tried */
    /* Out: */
    bool found, finished; /* finished: there is no cheaper one than that */
    uint32_t n_uses;
    uint32_t uses[DV_FLEET_BRANCH_CARDS_MAX]; /* patterns, one per use */
};

/* 0 or -ENOMEM. */
int dv_fleet_branch_search(struct dv_fleet_branch *branch);

#endif
