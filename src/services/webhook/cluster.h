/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The webhook's certificates in the cluster: in a Secret, which its replicas share, and their
 * authorities in the MutatingWebhookConfiguration.
 *
 *     struct dv_webhook_options o = {..., .publish = dv_webhook_cluster_changed,
 *                                    .publish_arg = cluster};
 *     r = dv_webhook_new(loop, &o, &webhook, &err);
 *     r = dv_webhook_cluster_start(cluster, webhook, &err);
 *
 * At every change, and every minute, the Secret is read: what somebody else has written there since
 * is taken, else what we have is written (by its version: of two that write, one sees that it was
 * late, and reads again). Then the bundle is put into the configuration, where it is not there. An
 * API server that is away, or that refuses, is logged when that begins and when it ends.
 */
#ifndef DV_WEBHOOK_CLUSTER_H
#define DV_WEBHOOK_CLUSTER_H

#include "webhook/webhook.h"

struct dv_webhook_cluster_options {
    const char *kubeconfig;         /* NULL: the pod's own service account */
    const char *namespace, *secret; /* secret NULL: certificates are not shared */
    const char *configuration;      /* NULL: somebody else writes the bundle */
    /* The certificates are somebody else's, and each replica sees a change when it does: who has
     * not seen it yet shall not take back what the others have told. What one has replaced itself
     * is replaced again: it is of a replica that was on its way out, or that is behind. */
    bool external;
    uint32_t every_ms; /* how often the Secret is read; 0: a minute */
};

struct dv_webhook_cluster;

/* Borrows what the options point to. -ENOENT (no pod, no kubeconfig), -EINVAL, with a message. */
int dv_webhook_cluster_new(struct dv_loop *loop, const struct dv_webhook_cluster_options *options,
                           struct dv_webhook_cluster **ret, struct dv_err *err);
/* A dv_webhook_publish; arg is the cluster. */
void dv_webhook_cluster_changed(void *arg, const struct dv_certs *certs);
/* From here on. The webhook must not be freed before. */
int dv_webhook_cluster_start(struct dv_webhook_cluster *cluster, struct dv_webhook *webhook,
                             struct dv_err *err);
void dv_webhook_cluster_free(struct dv_webhook_cluster *cluster);

#endif
