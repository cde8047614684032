/* SPDX-License-Identifier: Apache-2.0 */
/* What people see of the Kubernetes side: the daemon's answers, and its metrics. */
#ifndef DV_SERVICES_KUBERNETES_KUBERNETES_VIEW_H
#define DV_SERVICES_KUBERNETES_KUBERNETES_VIEW_H

#include "kubernetes/kubernetes.h"
#include "render/openmetrics.h"
#include "render/output.h"

/* GET /v1/kubernetes. Without --kubernetes it says so, and nothing else. */
struct dv_output *dv_kubernetes_view(const struct dv_node *node);
/* The same, as a part of another answer. Needs node->kubernetes. */
void dv_kubernetes_view_add(struct dv_output_node *to, const struct dv_node *node);
/* divvy_kubernetes_*; none without --kubernetes. */
void dv_kubernetes_view_metrics(const struct dv_node *node, struct dv_openmetrics *w);

#endif
