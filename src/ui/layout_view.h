/* SPDX-License-Identifier: Apache-2.0 */
/* Layouts and plans of the daemon's answers, as people see them. docs/reference/api.md has the
 * fields. */
#ifndef DV_UI_LAYOUT_VIEW_H
#define DV_UI_LAYOUT_VIEW_H

#include "ui.h"

/* A Layout and a LayoutPlan on stdout, as -o asks; returns `exit`, or DV_UI_FAILURE. */
int dv_layout_view_show(const struct dv_ui *ui, struct dv_output *o, int exit);
int dv_layout_view_plan(const struct dv_ui *ui, struct dv_output *o, int exit);

/* "GPU 0: s-3 of ann on MIG-... (destroy instance), pids 12 13", a line each. gpu NULL: each
 * blocker's own. */
void dv_layout_view_blockers(const struct dv_output_node *list, const struct dv_output_node *gpu,
                             const char *indent, struct dv_str *text);
/* What each GPU that is not settled does and waits for; empty when all are. */
void dv_layout_view_progress(const struct dv_output_node *layout, struct dv_str *text);
/* The same of those that wait for somebody; false: none does. */
bool dv_layout_view_waits(const struct dv_output_node *layout, struct dv_str *text);

#endif
