/* SPDX-License-Identifier: Apache-2.0 */
/* How a node stands with Kubernetes, in lines: for `divvy kubernetes` and `divvy status`. */
#ifndef DV_UI_KUBERNETES_TEXT_H
#define DV_UI_KUBERNETES_TEXT_H

#include "render/table.h"

extern const struct dv_table dv_kubernetes_text_view; /* resources, for CSV */

/* node: the object of a KubernetesNode. A line each of what there is to say. */
void dv_kubernetes_text(const struct dv_output_node *node, struct dv_str *text);
/* The table; rows: where the resources are in the answer. 0, -ENOMEM. */
int dv_kubernetes_text_resources(struct dv_output *o, const char *rows, bool colour,
                                 struct dv_str *text);

#endif
