/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The GPU Operator's ClusterPolicy (nvidia.com/v1, of the cluster): which counts, and what it
 * wants.
 *
 *     dv_kube_policy_watch(client, on_policy, self, &watch);
 *
 * Of several the oldest counts, as for the operator, which ignores the others. A cluster without
 * such a resource is asked again, at most every 30 s (watch.h), and nothing is told.
 *
 * Source: NVIDIA/gpu-operator, api/nvidia/v1.
 */
#ifndef DV_KUBE_POLICY_H
#define DV_KUBE_POLICY_H

#include "kube/watch.h"

#define DV_KUBE_POLICIES_MAX 16u /* what is beyond is passed over */

/* Once the server has said what there is, then whenever another counts or its spec has changed.
 * text: {"apiVersion", "kind", "metadata": {"name"}, "spec"} as JSON, lent; NULL: there is none. */
typedef void dv_kube_policy_callback(void *arg, const char *name, const char *text, size_t len);

struct dv_kube_policy_watch;

/* 0, -ENOMEM. */
int dv_kube_policy_watch(struct dv_kube_client *client, dv_kube_policy_callback *cb, void *arg,
                         struct dv_kube_policy_watch **ret);
/* Accepts NULL. */
void dv_kube_policy_watch_free(struct dv_kube_policy_watch *watch);
void dv_kube_policy_watch_state(const struct dv_kube_policy_watch *watch,
                                struct dv_kube_watch_state *ret);

#endif
