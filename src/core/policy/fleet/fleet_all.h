/* SPDX-License-Identifier: Apache-2.0 */
/*
 * All patterns of one card that nothing can be added to: with these an integer program is exact,
 * since a plan stays one when its cards are filled up. There may be too many.
 */
#ifndef DV_POLICY_FLEET_FLEET_ALL_H
#define DV_POLICY_FLEET_FLEET_ALL_H

#include "policy/fleet/fleet_price.h"

struct dv_fleet_all {
    const struct dv_fleet_view *view;
    uint32_t side;
    const uint64_t *limits; /* replicas of each that there are; 0: leave it out */
    uint32_t most;          /* patterns, and steps of a thousand times as many */
    /* Takes the pattern over; 0 or a negative errno, which ends the walk. */
    int (*take)(struct dv_fleet_pattern *pattern, void *arg);
    void *arg;
};

/* 0; -E2BIG: there are more than `most`, and not all were given; -ENOMEM, or what take said. */
int dv_fleet_all_find(const struct dv_fleet_all *all);

#endif
