/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Events (core/v1), which people see with `kubectl describe`: what happened to a node or a pod.
 * The same event again within 10 minutes raises the count of the one that there is, in one write
 * every 5 seconds at most, so that a fault that repeats a thousand times a second costs nothing.
 * The last 64 different events are remembered; while the server is away they wait, for 10 minutes.
 *
 *     dv_kube_recorder_add(recorder, &(struct dv_kube_event){.kind = "Node", .name = "n1",
 *         .uid = "n1", .warning = true, .reason = "GpuUnhealthy", .message = "GPU 3: XID 79"});
 *
 * Source: Kubernetes API reference, "Event v1".
 */
#ifndef DV_KUBE_EVENT_H
#define DV_KUBE_EVENT_H

#include "kube/client.h"

#define DV_KUBE_EVENTS_MAX 64u
#define DV_KUBE_EVENT_MESSAGE 1024 /* what the API takes, with the zero byte; longer is cut */

struct dv_kube_event {
    const char *kind; /* "Node", "Pod"; of apiVersion v1 */
    const char
        *namespace; /* of the object; NULL or "": it has none, and the event is in "default" */
    const char *name;
    const char *uid;    /* of a Node its name, as the kubelet does it: kubectl finds it by that */
    bool warning;       /* else Normal */
    const char *reason; /* one word in CamelCase */
    const char *message;
};

struct dv_kube_recorder;

/* component: who reports ("divvyd"); node: where; both are copied. 0, -ENOMEM. */
int dv_kube_recorder_new(struct dv_kube_client *client, const char *component, const char *node,
                         struct dv_kube_recorder **ret);
/* What has not been written is lost. Accepts NULL. */
void dv_kube_recorder_free(struct dv_kube_recorder *recorder);
/* 0; -ENOMEM; -EINVAL: a name that is too long. */
int dv_kube_recorder_add(struct dv_kube_recorder *recorder, const struct dv_kube_event *event);

#endif
