/* SPDX-License-Identifier: Apache-2.0 */
/* What tests of the planner share: fleets in a line, and the invariants of every plan. */
#ifndef DV_POLICY_FLEET_FLEET_TESTING_H
#define DV_POLICY_FLEET_FLEET_TESTING_H

#include "base/rng.h"
#include "policy/fleet/fleet_plan.h"

#define GB UINT64_C(1000000000)

/* A group of count cards (0: as many as are needed). */
struct dv_fleet_group dv_fleet_testing_group(const char *model, uint32_t count);
/* Fails the test when the plan breaks a promise of fleet_plan.h, found by other means than the
 * planner's: sums over slices, dv_mig_check(). */
void dv_fleet_testing_check(const struct dv_fleet_plan *plan);

/* A random small fleet: one or two models, as many cards as are needed, three workloads of at most
 * three replicas. */
#define DV_FLEET_TESTING_TYPES 3
void dv_fleet_testing_random(struct dv_rng *rng, struct dv_fleet *ret,
                             struct dv_fleet_workload workloads[DV_FLEET_TESTING_TYPES]);
/* The fewest cards that hold such a fleet, by brute force: every multiset of replicas on every
 * card, every way to spread it over every set of MIG devices. UINT32_MAX: no number of cards does.
 */
uint32_t dv_fleet_testing_least(const struct dv_fleet_view *view);

#endif
