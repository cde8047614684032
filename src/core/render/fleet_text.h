/* SPDX-License-Identifier: Apache-2.0 */
/* The words of a fleet's plan: why a workload is in a mode, why it has no place, what binds. */
#ifndef DV_RENDER_FLEET_TEXT_H
#define DV_RENDER_FLEET_TEXT_H

#include "base/str.h"
#include "policy/fleet/fleet_plan.h"

/* "isolation: hardware asks for a MIG device or a card of its own". */
const char *dv_fleet_text_rule(enum dv_mode_rule rule);
/* Appends why a workload is in the modes `used` (bits), and which it had rather be in. */
void dv_fleet_text_why(const struct dv_fleet_choice *choice, uint32_t used, struct dv_str *text);
/* Appends why what is unplaced of the workload is so, with operands. */
void dv_fleet_text_lack(const struct dv_fleet_plan *plan, uint32_t workload, struct dv_str *text);
/* Appends the devices of a card: "7x 1g.10gb", "whole"; and what they hold: "7 inference". */
void dv_fleet_text_devices(const struct dv_fleet_plan *plan, const struct dv_fleet_card *card,
                           struct dv_str *text);
void dv_fleet_text_holds(const struct dv_fleet_plan *plan, const struct dv_fleet_card *card,
                         struct dv_str *text);
/* "memory", "compute", "slices". */
const char *dv_fleet_text_binds(enum dv_fleet_binds binds);
/* Appends what was proven: "10 GPUs, the fewest that hold all (proven)". */
void dv_fleet_text_verdict(const struct dv_fleet_plan *plan, enum dv_fleet_aim aim,
                           struct dv_str *text);

#endif
