/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The node's MIG layout by its label, as NVIDIA's MIG manager has it: nvidia.com/mig.config names a
 * configuration of mig-parted's file, nvidia.com/mig.config.state answers pending, success or
 * failed.
 *
 * Unlike there nothing is taken out of service: each GPU goes its own way (layouts.h), instances
 * that stay are not touched, and new pods are kept only from GPUs that change, whose units are
 * unhealthy to the kubelet meanwhile. What is in the way is waited for; with the annotation
 * divvy.dev/mig.evict: "true" on the node those pods, and no others, are evicted through the
 * Eviction API, so that PodDisruptionBudgets hold. A step that fails leads that GPU back to what it
 * was.
 */
#ifndef DV_SERVICES_KUBERNETES_MIG_LABEL_H
#define DV_SERVICES_KUBERNETES_MIG_LABEL_H

#include "kubernetes/node_object.h"
#include "node.h"

#define DV_MIG_LABEL "nvidia.com/mig.config"
#define DV_MIG_LABEL_STATE "nvidia.com/mig.config.state"
#define DV_MIG_EVICT "divvy.dev/mig.evict"

struct dv_mig_label;

/* path: of mig-parted's file, which is read anew for each label; usual: what nodes without the
 * label have, NULL or "": what they have stays. Loans, like the others. 0, -ENOMEM. */
int dv_mig_label_new(struct dv_node *node, struct dv_node_object *object, const char *path,
                     const char *usual, struct dv_mig_label **ret);
/* The object's client is freed next, before the loop runs again: answers to come find nobody. */
void dv_mig_label_free(struct dv_mig_label *label);
void dv_mig_label_tick(struct dv_mig_label *label, uint64_t now);

/* The configuration that the label names; "": none. */
const char *dv_mig_label_config(const struct dv_mig_label *label);
/* What has been told of it last: "pending", "success", "failed"; "": nothing since the start. */
const char *dv_mig_label_state(const struct dv_mig_label *label);
/* Why it could not even be begun: there is no such configuration, this node cannot have it; "". */
const char *dv_mig_label_problem(const struct dv_mig_label *label);

#endif
