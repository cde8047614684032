/* SPDX-License-Identifier: Apache-2.0 */
/*
 * From patterns to cards: each use of a pattern becomes a card with its slices, cards get nodes.
 * Replicas with several GPUs go first, the largest first, each onto the node that it fills best.
 */
#ifndef DV_POLICY_FLEET_FLEET_CARDS_H
#define DV_POLICY_FLEET_FLEET_CARDS_H

#include "policy/fleet/fleet_plan.h"

/* Fills in cards and slices, up to places[w] of each workload; found->left becomes what has none. A
 * workload of which a replica finds no node lacks NODE. 0 or -ENOMEM. */
int dv_fleet_cards_lay(const struct dv_fleet_view *view, struct dv_fleet_solution *found,
                       const uint64_t *places, struct dv_fleet_plan *ret);

#endif
