/* SPDX-License-Identifier: Apache-2.0 */
/* What tests of the planner share: fleets in a line, and the invariants of every plan. */
#ifndef DV_POLICY_FLEET_FLEET_TESTING_H
#define DV_POLICY_FLEET_FLEET_TESTING_H

#include "policy/fleet/fleet_plan.h"

#define GB UINT64_C(1000000000)

/* A group of count cards (0: as many as are needed). */
struct dv_fleet_group dv_fleet_testing_group(const char *model, uint32_t count);
/* Fails the test when the plan breaks a promise of fleet_plan.h, found by other means than the
 * planner's: sums over slices, dv_mig_check(). */
void dv_fleet_testing_check(const struct dv_fleet_plan *plan);

#endif
