/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What runs in a slice, as an orchestrator calls it: a container of a pod. Beside the tenant, who
 * is charged (the pod's namespace), it says which of his workloads a slice belongs to. Everything
 * is what the container runtime said, never the container itself.
 */
#ifndef DV_MODEL_WORKLOAD_H
#define DV_MODEL_WORKLOAD_H

#include "base/err.h"
#include "model/cgroup.h"

#define DV_WORKLOAD_NAME_SIZE 254   /* a DNS subdomain: pods */
#define DV_WORKLOAD_DEVICE_SIZE 128 /* of an id that is advertised; a kubelet takes 63 bytes */

struct dv_workload {
    char namespace[64]; /* "" outside of Kubernetes, like pod and pod_uid */
    char pod[DV_WORKLOAD_NAME_SIZE];
    char pod_uid[DV_CGROUP_POD_UID_SIZE];
    char container[DV_WORKLOAD_NAME_SIZE];       /* its name in the pod; "" where it has none */
    char container_id[DV_CGROUP_CONTAINER_SIZE]; /* the runtime's; "": this is no container */
    char device[DV_WORKLOAD_DEVICE_SIZE];        /* which of its devices the slice is */
    char cgroup[DV_CGROUP_GROUP_SIZE]; /* where its processes are (cgroup.h); "": unknown */
};

/* Names fit for logs, metrics and tables: UTF-8's bytes or printable ASCII, a container's id. 0, or
 * -EINVAL with a message. */
int dv_workload_check(const struct dv_workload *workload, struct dv_err *err);

/* For people: "team-a/train-0/main", or as much of it as there is, or the container's id. */
void dv_workload_title(const struct dv_workload *workload, char *ret, size_t size);

#endif
