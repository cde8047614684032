/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What the GPU Operator's settings say to a node's device plugin: a ClusterPolicy object, or the
 * values of its Helm chart.
 *
 *     apiVersion: nvidia.com/v1                  mig: {strategy: mixed}
 *     kind: ClusterPolicy                        devicePlugin:
 *     spec:                                        config: {name: plugin-config, default: a100}
 *       mig: {strategy: mixed}
 *       devicePlugin:
 *         config: {name: plugin-config, default: a100}
 *
 * All else in it is about other programs and passed over. Source: NVIDIA/gpu-operator,
 * api/nvidia/v1 and deployments/gpu-operator/values.yaml.
 */
#ifndef DV_LAYOUTFILE_CLUSTER_POLICY_H
#define DV_LAYOUTFILE_CLUSTER_POLICY_H

#include "model/plugin_flags.h"

#define DV_CLUSTER_POLICY_NAME 254 /* Kubernetes' longest (253) and the NUL */

struct dv_cluster_policy {
    bool has_mig_strategy;
    enum dv_mig_strategy mig_strategy;           /* NONE where it is not said */
    char config_name[DV_CLUSTER_POLICY_NAME];    /* the ConfigMap; "": none is named */
    char config_default[DV_CLUSTER_POLICY_NAME]; /* the key for nodes without a label; "": none */
};

/* Other documents beside it are passed over. 0; -EINVAL, -E2BIG with a message (also where there is
 * no such object); -ENOMEM. */
int dv_cluster_policy_read(const char *name, const char *text, size_t len,
                           struct dv_cluster_policy *ret, struct dv_err *err);

#endif
