/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Which modes a workload may be in, and which one it had rather: a table of rules, the first that
 * applies counts. `modes` of the workload narrows what the rule allows, and never lets an untrusted
 * tenant behind a cooperative wall. docs/explanation/fleet-planning.md shows the table.
 */
#ifndef DV_POLICY_FLEET_FLEET_RULES_H
#define DV_POLICY_FLEET_FLEET_RULES_H

#include "policy/fleet/fleet.h"

enum dv_fleet_rule {
    DV_FLEET_RULE_WHOLE,       /* it asks for whole GPUs */
    DV_FLEET_RULE_TRAINING,    /* training keeps a card busy and its memory full */
    DV_FLEET_RULE_UNTRUSTED,   /* strangers: hardware walls */
    DV_FLEET_RULE_HARDWARE,    /* isolation: hardware */
    DV_FLEET_RULE_DRIVER,      /* isolation: driver */
    DV_FLEET_RULE_TAIL,        /* a p99 so low that nobody else's turn fits into it */
    DV_FLEET_RULE_CRITICAL,    /* a p99, or latency-critical */
    DV_FLEET_RULE_COOPERATIVE, /* isolation: cooperative */
    DV_FLEET_RULE_INTERACTIVE, /* people who think longer than they compute */
    DV_FLEET_RULE_BEST_EFFORT,
    DV_FLEET_RULE_SHARE, /* the rest: an enforced fraction */
};

struct dv_fleet_choice {
    enum dv_fleet_rule rule;
    uint32_t modes; /* DV_FLEET_BITs; 0: what the author takes is not allowed */
    enum dv_fleet_mode prefer;
    uint32_t allowed; /* by the rule alone */
};

void dv_fleet_rules_choose(const struct dv_fleet_workload *workload, struct dv_fleet_choice *ret);
/* "isolation_hardware", for JSON. */
const char *dv_fleet_rules_name(enum dv_fleet_rule rule);

/* Whole cards of a replica: gpus, or 1 of a training that says none; 0: a part of one. */
uint32_t dv_fleet_rules_gpus(const struct dv_fleet_workload *workload);

/* The walls around a slice in that mode on a driver without cgroup limits: the weaker of both. */
enum dv_wall dv_fleet_rules_wall(enum dv_fleet_mode mode);

#endif
