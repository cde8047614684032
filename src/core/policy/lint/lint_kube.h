/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What Kubernetes and NVIDIA's tools call things: API versions of kinds, node labels, resource
 * names, values of charts. Tables with the questions that rules ask of them.
 *
 * Sources: Kubernetes' deprecated API migration guide; README of NVIDIA/k8s-device-plugin (labels
 * of GPU feature discovery, chart values, v0.20.0); values.yaml of NVIDIA/gpu-operator (v26.7).
 */
#ifndef DV_POLICY_LINT_LINT_KUBE_H
#define DV_POLICY_LINT_LINT_KUBE_H

#include "base/str.h"

enum dv_lint_version {
    DV_LINT_VERSION_FINE, /* or a kind that is not known here */
    DV_LINT_VERSION_NEVER,
    DV_LINT_VERSION_REMOVED,
    DV_LINT_VERSION_OLD, /* not served by default */
};
struct dv_lint_api_answer {
    enum dv_lint_version result;
    const char *right; /* "policy/v1" */
    const char *since; /* "1.25": REMOVED: gone since; OLD: right is there since */
    bool drop_in;      /* nothing but the version has to change */
};
struct dv_lint_api_answer dv_lint_kube_api(const char *api_version, const char *kind);

/* Is it a label of nodes that some tool sets? Keys outside nvidia.com/ are not judged. *ret_near: a
 * label that was perhaps meant, or NULL. */
bool dv_lint_kube_node_label(const char *key, const char **ret_near);
/* Does a tool follow this label when somebody sets it on a node? */
bool dv_lint_kube_followed_label(const char *key, const char **ret_near);

/* What a name that looks like a GPU resource and is none here may be: " (HAMi's; ...)", or NULL
 * where the name is not of GPUs at all. Known names (policy/gpu_request.h) are not to be asked. */
const char *dv_lint_kube_resource_hint(const char *resource);

enum dv_lint_chart {
    DV_LINT_CHART_NONE, /* another chart */
    DV_LINT_CHART_PLUGIN,
    DV_LINT_CHART_OPERATOR,
};
/* "nvdp/nvidia-device-plugin", "nvidia/gpu-operator". */
enum dv_lint_chart dv_lint_kube_chart(const char *chart);
/* Has the chart this value ("config.map", "mig.strategy")? *ret_hint: what was perhaps meant. */
bool dv_lint_kube_chart_value(enum dv_lint_chart chart, const char *path, const char **ret_hint);
const char *dv_lint_kube_chart_name(enum dv_lint_chart chart);

/* Is this text of somebody who trains? "train", "finetune", torchrun, deepspeed and their like. */
bool dv_lint_kube_is_training(const char *text);

#endif
