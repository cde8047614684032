/* SPDX-License-Identifier: Apache-2.0 */
/* A fleet's plan as an answer: FleetPlan; several fleets side by side: FleetComparison. */
#ifndef DV_UI_PLAN_VIEW_H
#define DV_UI_PLAN_VIEW_H

#include "policy/fleet/fleet_plan.h"
#include "report_file.h"
#include "ui.h"

/* With every slice of every card (JSON and CSV), or without (tables). NULL when memory is out. */
struct dv_output *dv_plan_view_tree(const struct dv_fleet_plan *plan, enum dv_fleet_aim aim,
                                    bool slices);
extern const struct dv_table dv_plan_view_csv;
extern const struct dv_report dv_plan_view_page;
/* The plan for people. 0, -ENOMEM. */
int dv_plan_view_write(const struct dv_ui *ui, struct dv_output *tree, struct dv_str *text);

/* A fleet of a comparison: its row. */
void dv_plan_view_compare(struct dv_output_node *list, const char *name,
                          const struct dv_fleet_plan *plan);
extern const struct dv_table dv_plan_view_fleets, dv_plan_view_fleets_csv;
extern const struct dv_report dv_plan_view_fleets_page;

#endif
