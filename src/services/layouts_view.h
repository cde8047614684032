/* SPDX-License-Identifier: Apache-2.0 */
/* The daemon's answers about layouts: the section "Layouts" of docs/reference/api.md in code. */
#ifndef DV_SERVICES_LAYOUTS_VIEW_H
#define DV_SERVICES_LAYOUTS_VIEW_H

#include "layouts.h"
#include "render/output.h"

struct dv_output *dv_layouts_view(struct dv_node *node);
struct dv_output *dv_layouts_view_plan(struct dv_node *node,
                                       const struct dv_layouts_request *request,
                                       const struct dv_layouts_plans *plans);
/* Whether the node is as the file says, and where it is not. */
struct dv_output *dv_layouts_view_assert(struct dv_node *node,
                                         const struct dv_layouts_plans *plans);
/* mig-parted's files: of what is there, and of what there could be. */
struct dv_output *dv_layouts_view_export(struct dv_node *node, const char *config);
struct dv_output *dv_layouts_view_generate(struct dv_node *node);
/* Into an error: who is in the way. */
void dv_layouts_view_blockers(struct dv_output_node *parent, struct dv_node *node,
                              const struct dv_layouts_plans *plans);

#endif
