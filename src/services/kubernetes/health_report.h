/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Tells the cluster how the node's GPUs are: the Node's condition DivvyGPUHealthy (False names the
 * GPUs and what is wrong), an event of the Node whenever a GPU falls ill or is well again, and one
 * of each pod that has a part of a GPU that falls ill: by its slice, or as the kubelet says.
 *
 *     dv_health_report_new(node, object, holders, &report);
 *     dv_health_report_tick(report, now, offers);
 *
 * When a GPU is sick is policy/health_policy.h's to say; that the kubelet counts its units as
 * unhealthy is the offers'.
 */
#ifndef DV_SERVICES_KUBERNETES_HEALTH_REPORT_H
#define DV_SERVICES_KUBERNETES_HEALTH_REPORT_H

#include "kubernetes/node_object.h"
#include "kubernetes/unit_holders.h"
#include "node.h"
#include "policy/offers.h"

#define DV_HEALTH_REPORT_CONDITION "DivvyGPUHealthy"

struct dv_health_report;

/* Loans. -ENOMEM. */
int dv_health_report_new(struct dv_node *node, struct dv_node_object *object,
                         struct dv_unit_holders *holders, struct dv_health_report **ret);
/* Accepts NULL. */
void dv_health_report_free(struct dv_health_report *report);
/* offers: what the units of the kubelet are; NULL: not known yet. */
void dv_health_report_tick(struct dv_health_report *report, uint64_t now,
                           const struct dv_offers *offers);

/* The condition's words: "8 GPUs are well"; "GPU 3 (GPU-...): XID 79; until the GPU is reset". Of
 * one that nobody has seen (strangers.h), its address where that is known. Returns how many are not
 * well. */
uint32_t dv_health_report_text(const struct dv_node *node, struct dv_str *text);

#endif
