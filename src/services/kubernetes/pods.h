/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Whose process is this? For those that have no slice: what uses a GPU in a container that did not
 * get it from divvy (another device plugin, NVIDIA's runtime by environment variable, a mount). The
 * process's cgroup names the container, the API server the pod:
 *
 *     dv_pods_new(client, "node-1", &node->pods);
 *     const struct dv_workload *w = dv_pods_of(node->pods, pid);        NULL: it is no pod's
 *
 * The container's id decides, and where the server does not know it yet the pod's uid (a static
 * pod's is another there). While the server is away what was known last counts.
 */
#ifndef DV_SERVICES_KUBERNETES_PODS_H
#define DV_SERVICES_KUBERNETES_PODS_H

#include "kube/pod.h"
#include "model/workload.h"

#include <sys/types.h>

#define DV_PODS_MAX 8192u /* containers, and pods; more are not known */

struct dv_pods;

/* The client is lent; NULL: nobody is asked, dv_pods_change() tells. 0, -ENOMEM. */
int dv_pods_new(struct dv_kube_client *client, const char *node, struct dv_pods **ret);
/* Accepts NULL. */
void dv_pods_free(struct dv_pods *pods);
void dv_pods_change(struct dv_pods *pods, enum dv_kube_change change,
                    const struct dv_kube_pod *pod);

/* The container, or the pod with container "", that a process with this text of /proc/PID/cgroup
 * is in. NULL: none that is known. Lent until the next change; device and cgroup are "". */
const struct dv_workload *dv_pods_in_cgroup(const struct dv_pods *pods, const char *text);
/* A pod by its name; finished: it has ended for good, though the kubelet may still list it. NULL:
 * none that is known. Lent likewise; accepts NULL. */
const struct dv_workload *dv_pods_find(const struct dv_pods *pods, const char *namespace,
                                       const char *pod, bool *ret_finished);
/* The same of a process. Accepts NULL. */
const struct dv_workload *dv_pods_of(const struct dv_pods *pods, pid_t pid);

#endif
