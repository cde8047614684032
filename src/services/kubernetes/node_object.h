/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The Node object of this node at the API server: its labels say what people want of it, its events
 * and its labels tell them what has become of that. While the server is away what was read last
 * counts, and events wait for ten minutes.
 *
 *     dv_node_object_new(loop, "node-1", NULL, on_change, self, &object, &err);
 *     const char *v = dv_node_object_label(object, "nvidia.com/mig.config");
 */
#ifndef DV_SERVICES_KUBERNETES_NODE_OBJECT_H
#define DV_SERVICES_KUBERNETES_NODE_OBJECT_H

#include "kube/node.h"

struct dv_node_object;

typedef void dv_node_object_changed(void *arg);

/* kubeconfig NULL: the pod's service account. changed: its labels or annotations may have. -ENOENT:
 * this is no pod and no kubeconfig is named; -EINVAL ... with a message. */
int dv_node_object_new(struct dv_loop *loop, const char *name, const char *kubeconfig,
                       dv_node_object_changed *changed, void *arg, struct dv_node_object **ret,
                       struct dv_err *err);
/* Accepts NULL. */
void dv_node_object_free(struct dv_node_object *object);
const char *dv_node_object_name(const struct dv_node_object *object);
struct dv_kube_client *dv_node_object_client(struct dv_node_object *object);

/* Raised whenever the node's labels or annotations may have changed; 0: nothing is known yet. */
uint64_t dv_node_object_generation(const struct dv_node_object *object);
/* Another where it was deleted and made anew. "": none was seen yet. */
const char *dv_node_object_uid(const struct dv_node_object *object);
/* NULL: it has none. Good until the loop goes on. */
const char *dv_node_object_label(const struct dv_node_object *object, const char *key);
const char *dv_node_object_annotation(const struct dv_node_object *object, const char *key);

/* Puts a label, or removes it (value NULL); nothing is written where it is so already. */
void dv_node_object_set_label(struct dv_node_object *object, const char *key, const char *value);
/* An event of the node. reason: one word in CamelCase. */
void dv_node_object_event(struct dv_node_object *object, bool warning, const char *reason,
                          const char *fmt, ...) dv_printf(4, 5);
/* An event of a pod. */
void dv_node_object_pod_event(struct dv_node_object *object, const char *namespace,
                              const char *name, const char *uid, bool warning, const char *reason,
                              const char *fmt, ...) dv_printf(7, 8);
/* A condition of the node (one of ours); written when status, reason or message differ from what
 * was written, and again where that has failed: to be called now and then. */
void dv_node_object_condition(struct dv_node_object *object, const char *type, bool status,
                              const char *reason, const char *message);
/* "" while the server is reached, else why not. */
const char *dv_node_object_problem(struct dv_node_object *object);
/* Since when it is reached, or is not. */
uint64_t dv_node_object_since(const struct dv_node_object *object);

#endif
