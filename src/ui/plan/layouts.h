/* SPDX-License-Identifier: Apache-2.0 */
/* A fleet's plan as layouts of nodes. */
#ifndef DV_UI_PLAN_LAYOUTS_H
#define DV_UI_PLAN_LAYOUTS_H

#include "base/str.h"
#include "policy/fleet/fleet_plan.h"

#define DV_PLAN_NODE 64

/* "a100-80gb-0": nodes of one model are counted over all groups. Returns buf. */
const char *dv_plan_layouts_node(const struct dv_fleet_plan *plan, const struct dv_fleet_card *card,
                                 char buf[DV_PLAN_NODE]);

/* The layout file of the cards of one node: those from `first` on that are on its node; *ret_next
 * is the first card behind them. Cards that hold nobody are left out: they stay as they are. 0,
 * -ENOMEM. */
int dv_plan_layouts_text(const struct dv_fleet_plan *plan, uint32_t first, struct dv_str *text,
                         uint32_t *ret_next);

#endif
