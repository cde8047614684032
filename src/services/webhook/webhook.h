/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The admission webhook: HTTPS for Kubernetes' API server (admission/admission.h says what is
 * answered), with certificates that it makes and renews by itself (certs/certs.h).
 *
 *     struct dv_webhook_options o = {.listen = "0.0.0.0:8443", .tls_dir = "/var/lib/divvy/webhook",
 *                                    .namespace = "divvy-system", .service = "divvy-webhook"};
 *     r = dv_webhook_new(loop, &o, &webhook, &err);
 *
 * Paths: POST /admit, and /admit/VALUE for namespaces whose label gpu-strategy is VALUE: the API
 * server knows the labels and chooses by namespaceSelector (manifest.h), so that nothing has to be
 * looked up here. GET /healthz, /readyz, /metrics. Everything is answered at once, from the
 * request and the options alone. Ready is who serves with a certificate that the API server has
 * been told about.
 */
#ifndef DV_WEBHOOK_WEBHOOK_H
#define DV_WEBHOOK_WEBHOOK_H

#include "base/err.h"
#include "sys/loop.h"

#include <stdbool.h>

#define DV_WEBHOOK_PATH "/admit"
#define DV_WEBHOOK_PORT 8443

#define DV_WEBHOOK_RESOURCES_MAX 64u

struct dv_certs;

/* The certificates have changed, also at the start: Kubernetes' caBundle has to become their
 * bundle, and then dv_webhook_published() is called (webhook/cluster.h does it). The webhook serves
 * with a new certificate only after. */
typedef void dv_webhook_publish(void *arg, const struct dv_certs *certs);

struct dv_webhook_options {
    const char *listen;              /* ADDR:PORT */
    const char *tls_dir;             /* where the certificates are kept; NULL: nowhere */
    bool tls_external;               /* who keeps tls_dir is somebody else: it is only read */
    const char *namespace, *service; /* whose name they are for: SERVICE.NAMESPACE.svc */
    int64_t life_s;                  /* of a certificate */
    /* What is declared of resources' names, each as policy/gpu_names.h reads it. */
    const char *resources[DV_WEBHOOK_RESOURCES_MAX];
    /* NULL: somebody publishes ca.crt of tls_dir, and nobody says when. A new certificate is then
     * served as late as can be, a quarter of a life after its authority has joined ca.crt. */
    dv_webhook_publish *publish;
    void *publish_arg;
};

struct dv_webhook;

/* Serves from here on. 0; -EINVAL (an option), -EADDRINUSE and others, with a message. Borrows what
 * the options point to. */
int dv_webhook_new(struct dv_loop *loop, const struct dv_webhook_options *options,
                   struct dv_webhook **ret, struct dv_err *err);
void dv_webhook_free(struct dv_webhook *webhook);
/* The present bundle is in the cluster. */
void dv_webhook_published(struct dv_webhook *webhook);
/* Takes certificates that another replica has made (dv_certs_adopt); `publish` is not called. */
int dv_webhook_adopt(struct dv_webhook *webhook, const char *bundle, const char *certificate,
                     const char *key, struct dv_err *err);
/* "0.0.0.0:8443", with the port that the kernel chose for 0. */
const char *dv_webhook_address(const struct dv_webhook *webhook);

/* The names as Kubernetes takes them (RFC 1123 labels)? 0 or -EINVAL with a message. */
int dv_webhook_check_names(const char *namespace, const char *service, struct dv_err *err);

#endif
