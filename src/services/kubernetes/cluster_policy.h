/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What the GPU Operator's ClusterPolicy says of this node's device plugin, live: spec.mig.strategy
 * and the ConfigMap that spec.devicePlugin.config names, with its default
 * (layoutfile/cluster_policy.h).
 *
 *     dv_policy_new(client, namespace, state, on_changed, self, &policy);
 *     dv_settings_policy(settings, dv_policy_settings(policy));        in on_changed, and at first
 *
 * The last that was good is kept in STATE/cluster-policy, so that a node that starts while there is
 * no API server is as it was: policy.json, and the ConfigMap's keys as files in config/.
 *
 * A ClusterPolicy that is wrong changes nothing; one that goes takes its words along.
 */
#ifndef DV_SERVICES_KUBERNETES_CLUSTER_POLICY_H
#define DV_SERVICES_KUBERNETES_CLUSTER_POLICY_H

#include "kube/client.h"
#include "kubernetes/settings.h"

struct dv_policy;

typedef void dv_policy_changed(void *arg);

/* Reads what was kept. client NULL: nothing more comes. Loans, also the namespace, in which the
 * ConfigMap is. 0, -ENOMEM. */
int dv_policy_new(struct dv_kube_client *client, const char *namespace, const char *state,
                  dv_policy_changed *changed, void *arg, struct dv_policy **ret);
/* Accepts NULL. */
void dv_policy_free(struct dv_policy *policy);

/* A loan until the next change. */
const struct dv_settings_policy *dv_policy_settings(const struct dv_policy *policy);
/* Why what there is does not count, or not yet. "": nothing. */
const char *dv_policy_problem(const struct dv_policy *policy);

#endif
