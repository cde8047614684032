/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A Node of the cluster: what is known of it, and what may be changed.
 *
 *     r = dv_kube_node_watch(client, "n1", on_node, self, &watch);
 *     r = dv_kube_node_patch(client, "n1", &(struct dv_kube_marks){.labels = l, .n_labels = 2},
 * ...);
 */
#ifndef DV_KUBE_NODE_H
#define DV_KUBE_NODE_H

#include "kube/watch.h"

/* The annotation by which we know that it was us who cordoned; its value is the reason. */
#define DV_KUBE_CORDONED "divvy.dev/cordoned"
#define DV_KUBE_MARKS_MAX 2048u /* labels or annotations that are read of an object */

/* A label or an annotation, an entry of a ConfigMap. */
struct dv_kube_pair {
    const char *key;
    const char *value; /* NULL, where something is changed: the key is removed */
};

/* Lent to the callback. */
struct dv_kube_node {
    const char *name, *uid, *version;
    bool unschedulable;
    bool cordoned_by_us;
    uint32_t n_labels, n_annotations;
    struct dv_kube_pair *labels, *annotations;
};
/* node NULL: there is none of that name. Called for the first time when the server has said either,
 * then at every change. May free the watch. */
typedef void dv_kube_node_callback(void *arg, const struct dv_kube_node *node);

struct dv_kube_node_watch;

/* 0, -ENOMEM. */
int dv_kube_node_watch(struct dv_kube_client *client, const char *name, dv_kube_node_callback *cb,
                       void *arg, struct dv_kube_node_watch **ret);
void dv_kube_node_watch_free(struct dv_kube_node_watch *watch);
void dv_kube_node_watch_state(const struct dv_kube_node_watch *watch,
                              struct dv_kube_watch_state *ret);
/* The value of a label or an annotation; NULL when there is none. */
const char *dv_kube_node_find(const struct dv_kube_pair *pairs, uint32_t n, const char *key);

/* What shall be set or removed; all else stays. */
struct dv_kube_marks {
    const struct dv_kube_pair *labels, *annotations;
    uint32_t n_labels, n_annotations;
};
/* Return as dv_kube_client_call() does; cb and ret may be NULL. */
int dv_kube_node_patch(struct dv_kube_client *client, const char *name,
                       const struct dv_kube_marks *marks, dv_kube_callback *cb, void *arg,
                       struct dv_kube_call **ret);

enum dv_kube_condition_status {
    DV_KUBE_FALSE,
    DV_KUBE_TRUE,
    DV_KUBE_UNKNOWN,
};

struct dv_kube_condition {
    const char *type; /* "DivvyGpuHealthy" */
    enum dv_kube_condition_status status;
    const char *reason;      /* one word in CamelCase */
    const char *message;     /* for people */
    int64_t transition_unix; /* since when the status is this */
    int64_t heartbeat_unix;  /* when it was looked at last */
};
/* One condition in the Node's status; others stay. */
int dv_kube_node_condition(struct dv_kube_client *client, const char *name,
                           const struct dv_kube_condition *condition, dv_kube_callback *cb,
                           void *arg, struct dv_kube_call **ret);

enum dv_kube_cordon {
    DV_KUBE_CORDON_NOTHING = 1, /* nothing is to be done: no callback will come */
};
/*
 * No new pods on the node, or again. `node` is what was seen last: when it has changed since, the
 * call ends with -ESTALE, and one looks again. Who is cordoned by somebody else stays so, and only
 * what we have cordoned is uncordoned: that is DV_KUBE_CORDON_NOTHING. Otherwise as
 * dv_kube_client_call(). reason: one line.
 */
int dv_kube_node_cordon(struct dv_kube_client *client, const struct dv_kube_node *node,
                        const char *reason, dv_kube_callback *cb, void *arg,
                        struct dv_kube_call **ret);
int dv_kube_node_uncordon(struct dv_kube_client *client, const struct dv_kube_node *node,
                          dv_kube_callback *cb, void *arg, struct dv_kube_call **ret);

#endif
