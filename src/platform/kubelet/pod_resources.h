/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Which container of this node has which devices, as the kubelet knows it (pod resources API, v1).
 *
 *     dv_kubelet_pod_resources_new(loop, DV_KUBELET_POD_RESOURCES, &client, &err);
 *     dv_kubelet_pod_resources_list(client, 5000, on_list, self, &err);
 *
 * All on the loop's thread; the callback comes from the loop.
 */
#ifndef DV_KUBELET_POD_RESOURCES_H
#define DV_KUBELET_POD_RESOURCES_H

#include "base/err.h"
#include "sys/loop.h"

#define DV_KUBELET_POD_RESOURCES "/var/lib/kubelet/pod-resources/kubelet.sock"

struct dv_kubelet_pod_resources;

/* Devices of one resource in one container; a resource may come in several rows (the kubelet lists
 * by NUMA node). Containers without devices have none. */
struct dv_kubelet_held {
    const char *pod_namespace, *pod, *container, *resource;
    const char *const *ids;
    size_t id_count;
};

/* r: 0; -ETIMEDOUT, -ECONNRESET (the kubelet went away), -EBADMSG, -EPROTO (it refused), with err's
 * message, and no rows. The rows are a loan until it returns. */
typedef void dv_kubelet_pod_resources_callback(void *arg, int r, const struct dv_kubelet_held *rows,
                                               size_t count, const struct dv_err *err);

/* Connects at the first question. 0, -ENAMETOOLONG, -ENOMEM. */
int dv_kubelet_pod_resources_new(struct dv_loop *loop, const char *path,
                                 struct dv_kubelet_pod_resources **ret, struct dv_err *err);
/* A question under way ends without a callback. Accepts NULL; also from the callback. */
void dv_kubelet_pod_resources_free(struct dv_kubelet_pod_resources *client);
/* Asks; one question at a time. 0, and the callback will be called; -EBUSY, -ENOENT and
 * -ECONNREFUSED (no kubelet), -EACCES, -ENOMEM, with a message, and it will not. Answers have
 * 16 MiB at most. */
int dv_kubelet_pod_resources_list(struct dv_kubelet_pod_resources *client, uint64_t timeout_ms,
                                  dv_kubelet_pod_resources_callback *cb, void *arg,
                                  struct dv_err *err);

#endif
