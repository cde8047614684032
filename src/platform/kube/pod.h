/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Pods: those of one node, as plain structs, and how to have one leave.
 *
 *     static const char *const annotations[] = {"divvy.dev/tier"};
 *     r = dv_kube_pod_watch(client, &(struct dv_kube_pod_spec){.node = "n1",
 *             .annotations = annotations, .n_annotations = 1, .cb = on_pod, .arg = self}, &watch);
 */
#ifndef DV_KUBE_POD_H
#define DV_KUBE_POD_H

#include "kube/watch.h"

#define DV_KUBE_CONTAINERS_MAX 256u /* of a pod; more are passed over */
#define DV_KUBE_LIMITS_MAX 32u      /* of a container */
#define DV_KUBE_ASKED_MAX 16u
#define DV_KUBE_VALUE_MAX 4096u /* a longer label or annotation counts as none */

struct dv_kube_limit {
    const char *name; /* "nvidia.com/gpu", "memory" */
    int64_t value;    /* whole units, rounded up; memory in bytes */
};

struct dv_kube_container {
    const char *name;
    const char *id; /* of the runtime, without "containerd://"; "": not started yet */
    bool init;      /* an init container, or one of the kind that keeps running (a sidecar) */
    bool running;
    uint32_t n_limits;
    struct dv_kube_limit limits[DV_KUBE_LIMITS_MAX];
};

/* Lent to the callback. */
struct dv_kube_pod {
    const char *namespace, *name, *uid;
    const char *node;
    const char *phase;                   /* Pending, Running, Succeeded, Failed, Unknown */
    bool deleting;                       /* it has been asked to go */
    bool is_static;                      /* the kubelet's own, from a file: cannot be evicted */
    const char *owner_kind, *owner_name; /* of its controller: "DaemonSet", "Job"; "" */
    uint32_t n_containers;
    const struct dv_kube_container *containers;
    /* Values of what was asked for, in that order; NULL where there is none. */
    const char *labels[DV_KUBE_ASKED_MAX], *annotations[DV_KUBE_ASKED_MAX];
};
/* DELETED: only namespace, name and uid count. SYNCED: pod is NULL. May free the watch. */
typedef void dv_kube_pod_callback(void *arg, enum dv_kube_change change,
                                  const struct dv_kube_pod *pod);

struct dv_kube_pod_spec {
    const char *node; /* its name; NULL: pods of all nodes */
    const char *const *labels, *const
                                   *annotations; /* keys to read; lent until the watch is freed */
    uint32_t n_labels, n_annotations;            /* at most DV_KUBE_ASKED_MAX */
    dv_kube_pod_callback *cb;
    void *arg;
};

struct dv_kube_pod_watch;

/* 0, -ENOMEM, -EINVAL (more keys than that). */
int dv_kube_pod_watch(struct dv_kube_client *client, const struct dv_kube_pod_spec *spec,
                      struct dv_kube_pod_watch **ret);
void dv_kube_pod_watch_free(struct dv_kube_pod_watch *watch);
void dv_kube_pod_watch_state(const struct dv_kube_pod_watch *watch,
                             struct dv_kube_watch_state *ret);

enum dv_kube_evicted {
    DV_KUBE_EVICTED,       /* it has been asked to go; its watch says when it has gone */
    DV_KUBE_EVICT_GONE,    /* there is no such pod any more */
    DV_KUBE_EVICT_BLOCKED, /* a PodDisruptionBudget wants it to stay; again in retry_after_s */
    DV_KUBE_EVICT_FAILED,  /* reply->error */
};
typedef void dv_kube_evict_callback(void *arg, enum dv_kube_evicted result, uint32_t retry_after_s,
                                    const struct dv_kube_reply *reply);
/* uid "": whichever pod has that name. Returns as dv_kube_client_call() does; it is not tried again
 * by itself. Source: Kubernetes documentation, "API-initiated Eviction". */
int dv_kube_pod_evict(struct dv_kube_client *client, const char *namespace, const char *name,
                      const char *uid, dv_kube_evict_callback *cb, void *arg);

#endif
