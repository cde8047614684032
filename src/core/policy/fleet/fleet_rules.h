/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Which modes a workload of a fleet may be in, and which one it had rather: what the file says of
 * it, put to the table of policy/mode_choice.h. `modes` of the workload narrows what the rule
 * allows, and never lets an untrusted tenant behind a cooperative wall.
 */
#ifndef DV_POLICY_FLEET_FLEET_RULES_H
#define DV_POLICY_FLEET_FLEET_RULES_H

#include "policy/fleet/fleet.h"

struct dv_fleet_choice {
    enum dv_mode_rule rule;
    uint32_t modes; /* DV_FLEET_BITs; 0: what the author takes is not allowed */
    enum dv_fleet_mode prefer;
    uint32_t allowed; /* by the rule alone */
};

void dv_fleet_rules_choose(const struct dv_fleet_workload *workload, struct dv_fleet_choice *ret);

/* Whole cards of a replica: gpus, or 1 of a training that says none; 0: a part of one. */
uint32_t dv_fleet_rules_gpus(const struct dv_fleet_workload *workload);

/* dv_sharing_wall(). */
enum dv_wall dv_fleet_rules_wall(enum dv_fleet_mode mode);

#endif
