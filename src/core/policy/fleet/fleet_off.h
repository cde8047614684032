/* SPDX-License-Identifier: Apache-2.0 */
/* What it costs a plan to leave out a replica, in parts of what a card costs: more than any card;
 * and where cards may run short best-effort replicas are left out before any other. */
#ifndef DV_POLICY_FLEET_FLEET_OFF_H
#define DV_POLICY_FLEET_FLEET_OFF_H

#include "policy/fleet/fleet_price.h"

struct dv_fleet_off {
    const struct dv_fleet_view *view; /* lent */
    bool scarce;   /* not each place could have cards of its own: then the tier counts */
    int64_t lasts; /* scarce: best-effort replicas on a card, at most */
};

/* places[w] of each workload, rooms[s] cards of each side. */
void dv_fleet_off_init(const struct dv_fleet_view *view, const uint64_t *places,
                       const uint64_t *rooms, struct dv_fleet_off *ret);
/* 1 .. DV_FLEET_WORTH. */
int64_t dv_fleet_off_cost(const struct dv_fleet_off *off, uint32_t workload);

#endif
