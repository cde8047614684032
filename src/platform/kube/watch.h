/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A collection of objects, kept up to date: lists it in pages, then follows its changes, and begins
 * again when the server no longer has the past that is needed (410 Gone). While the server is away
 * it tries again, 0.5 s to 30 s apart with jitter, for ever; what changed meanwhile is told after.
 *
 *     r = dv_kube_watch_start(client, &(struct dv_kube_watch_spec){
 *             .path = "/api/v1/pods", .fields = "spec.nodeName=n1", .cb = on_pod, .arg = self},
 *             &watch);
 *
 * ADDED, MODIFIED and DELETED tell true changes only: what a new list shows again is not told
 * again, what it no longer shows is DELETED, and what has the same name but another uid is DELETED
 * and ADDED. SYNCED comes after every complete list: now everything that there is has been told. A
 * list once is a watch that is freed at SYNCED.
 *
 * Memory: uid, names and version of each object (the objects themselves are the callee's to keep),
 * and one answer or line of at most 8 MiB at a time.
 *
 * Source: Kubernetes documentation, "API Concepts": efficient detection of changes, bookmarks,
 * retrieving large results sets in chunks.
 */
#ifndef DV_KUBE_WATCH_H
#define DV_KUBE_WATCH_H

#include "kube/client.h"

#define DV_KUBE_OBJECTS_MAX 65536u

enum dv_kube_change {
    DV_KUBE_ADDED,
    DV_KUBE_MODIFIED,
    DV_KUBE_DELETED, /* the object may be no more than its metadata: name, namespace, uid */
    DV_KUBE_SYNCED,  /* no object */
};
/* The object is lent. The callback may free the watch. */
typedef void dv_kube_watch_callback(void *arg, enum dv_kube_change change,
                                    struct json_object *object);

struct dv_kube_watch_spec {
    const char *path;   /* of the collection, without a query */
    const char *fields; /* field selector, not escaped; or NULL */
    const char *labels; /* label selector, not escaped; or NULL */
    dv_kube_watch_callback *cb;
    void *arg;
};

struct dv_kube_watch_state {
    bool synced;       /* the first list has been told */
    bool connected;    /* the changes of now are known */
    int error;         /* of the last try, as in struct dv_kube_reply; 0 while connected */
    uint64_t since_ns; /* CLOCK_MONOTONIC: since when it is (not) connected */
    uint32_t n_objects;
    char message[400]; /* why it is not connected; "" */
};

struct dv_kube_watch;

/* The client is lent. 0, -ENOMEM. */
int dv_kube_watch_start(struct dv_kube_client *client, const struct dv_kube_watch_spec *spec,
                        struct dv_kube_watch **ret);
/* Accepts NULL. */
void dv_kube_watch_free(struct dv_kube_watch *watch);
void dv_kube_watch_state(const struct dv_kube_watch *watch, struct dv_kube_watch_state *ret);

#endif
