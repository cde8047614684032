/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Smaller dealings with single objects: ConfigMaps, Secrets, NodeFeatures, tokens, webhooks.
 * Functions return as dv_kube_client_call() does; cb and ret may be NULL where nothing else is
 * said.
 */
#ifndef DV_KUBE_OBJECT_H
#define DV_KUBE_OBJECT_H

#include "kube/json.h"
#include "kube/node.h"

#define DV_KUBE_TIME 32
/* "2026-11-27T04:09:44Z". Returns buf. */
const char *dv_kube_object_time(int64_t unix_s, char buf[DV_KUBE_TIME]);
/* The texts of a map, at most DV_KUBE_MARKS_MAX; *ret is to be freed, its texts are a loan. 0 and
 * NULL when there are none, or memory is out. */
uint32_t dv_kube_object_pairs(struct json_object *map, struct dv_kube_pair **ret);

/* ---- ConfigMap ---- */

/* Its data, by key; n 0 and pairs NULL with `there` false: there is no such ConfigMap. Lent. */
typedef void dv_kube_configmap_callback(void *arg, bool there, const struct dv_kube_pair *pairs,
                                        uint32_t n);
struct dv_kube_configmap_watch;
/* Called as soon as the server has said whether it is there, then at every change; may free the
 * watch. Getting it once is freeing it at the first call. 0, -ENOMEM. */
int dv_kube_configmap_watch(struct dv_kube_client *client, const char *namespace, const char *name,
                            dv_kube_configmap_callback *cb, void *arg,
                            struct dv_kube_configmap_watch **ret);
void dv_kube_configmap_watch_free(struct dv_kube_configmap_watch *watch);
void dv_kube_configmap_watch_state(const struct dv_kube_configmap_watch *watch,
                                   struct dv_kube_watch_state *ret);

/* ---- Secret ---- */

struct dv_kube_secret_entry {
    const char *key;
    const void *data; /* bytes; with a zero byte behind where it was read */
    size_t len;
};
struct dv_kube_secret {
    char namespace[DV_KUBE_NAME], name[DV_KUBE_NAME];
    char type[128];   /* "kubernetes.io/tls"; "": Opaque */
    char version[64]; /* what was read; "": create it */
    uint32_t n;
    const struct dv_kube_secret_entry *entries;
};
/* secret NULL: reply->error says why (-ENOENT: there is none). Lent. */
typedef void dv_kube_secret_callback(void *arg, const struct dv_kube_reply *reply,
                                     const struct dv_kube_secret *secret);
int dv_kube_secret_get(struct dv_kube_client *client, const char *namespace, const char *name,
                       dv_kube_secret_callback *cb, void *arg);
/* Creates it (version ""; -EEXIST when somebody was faster) or writes the entries into the one that
 * has that version (-ESTALE when it is another by now); its other entries and its labels stay. */
int dv_kube_secret_put(struct dv_kube_client *client, const struct dv_kube_secret *secret,
                       dv_kube_callback *cb, void *arg, struct dv_kube_call **ret);

/* ---- NodeFeature (nfd.k8s-sigs.io/v1alpha1) ---- */

/* Makes the labels of the object NAME, which is ours, exactly these: Node Feature Discovery puts
 * them on the node. By server-side apply as the field manager "divvy". -ENOENT: the cluster has no
 * NodeFeature resources. Source: Node Feature Discovery's documentation, "Custom resources". */
int dv_kube_nodefeature_apply(struct dv_kube_client *client, const char *namespace,
                              const char *name, const char *node, const struct dv_kube_pair *labels,
                              uint32_t n, dv_kube_callback *cb, void *arg,
                              struct dv_kube_call **ret);

/* ---- TokenReview ---- */

struct dv_kube_identity {
    bool authenticated;
    const char *username; /* "system:serviceaccount:NS:NAME"; "" */
    const char *uid;
    uint32_t n_groups;
    const char *groups[64];
    const char *error; /* why not authenticated, as far as the server says; "" */
};
/* Whose token it is. identity NULL: the server could not be asked; reply->error. Lent. */
typedef void dv_kube_identity_callback(void *arg, const struct dv_kube_reply *reply,
                                       const struct dv_kube_identity *identity);
/* audience NULL: the API server's own. */
int dv_kube_token_review(struct dv_kube_client *client, const char *token, const char *audience,
                         dv_kube_identity_callback *cb, void *arg);

/* ---- MutatingWebhookConfiguration ---- */

/* Writes the authority's certificates (PEM) into every webhook of the configuration; nothing is
 * written when they are there already. only_missing: nothing but where there are none, or where
 * there is *replaced. replaced (NULL: nobody remembers): becomes what the first of those that are
 * written had, in base64, from malloc; it has to outlive the client.
 * -ESTALE: somebody else changed it meanwhile. cb is needed. */
int dv_kube_webhook_set_ca(struct dv_kube_client *client, const char *name, const char *ca_pem,
                           bool only_missing, char **replaced, dv_kube_callback *cb, void *arg);

#endif
