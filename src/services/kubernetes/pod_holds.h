/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Pods in the way of a change of a GPU that no slice speaks for: those that have a device which the
 * change takes away, by the kubelet's account. Their containers never ask for a slice (whole GPUs
 * by NVIDIA's runtime), or have not started yet, or are between two starts.
 *
 *     size_t at = 0;
 *     while (dv_pod_holds_next(&where, plan, &at, &pod))
 *         ... pod.namespace, pod.pod, pod.pod_uid
 */
#ifndef DV_SERVICES_KUBERNETES_POD_HOLDS_H
#define DV_SERVICES_KUBERNETES_POD_HOLDS_H

#include "kubernetes/pods.h"
#include "kubernetes/unit_holders.h"
#include "policy/layout_plan.h"
#include "policy/offers.h"

struct dv_pod_holds {
    const struct dv_snapshot *snapshot;
    const struct dv_offers *offers; /* NULL: ids by index say nothing */
    const struct dv_unit_holders *holders;
    const struct dv_pods *pods; /* NULL: no API server */
    uint32_t gpu;
};

/* The next from *at on, which it moves. A pod may come more than once. pod_uid "": not known. */
bool dv_pod_holds_next(const struct dv_pod_holds *where, const struct dv_gpu_plan *plan, size_t *at,
                       struct dv_workload *ret);
/* Does the plan take any device away? */
bool dv_pod_holds_matters(const struct dv_gpu_plan *plan);

#endif
