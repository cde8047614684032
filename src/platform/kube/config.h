/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Where the Kubernetes API server is, how it is known to be the right one, and who we are: from the
 * service account that a pod is given, or from a kubeconfig file.
 *
 *     struct dv_kube_config *c = NULL;
 *     r = path ? dv_kube_config_read(path, false, &c, &err) : dv_kube_config_in_cluster(NULL, &c,
 * &err);
 *
 * Sources: Kubernetes documentation, "Organizing Cluster Access Using kubeconfig Files" and
 * "Accessing the Kubernetes API from a Pod". Of a kubeconfig these keys are known: current-context,
 * clusters (server, certificate-authority, certificate-authority-data, insecure-skip-tls-verify),
 * users (client-certificate, client-certificate-data, client-key, client-key-data, token,
 * tokenFile), contexts (cluster, user, namespace). What would change who we are or whom we reach
 * and is not known (exec, auth-provider, username, as, proxy-url, tls-server-name...) is refused;
 * all other keys are passed over, as kubectl does.
 */
#ifndef DV_KUBE_CONFIG_H
#define DV_KUBE_CONFIG_H

#include "base/err.h"

#include <stdbool.h>

#define DV_KUBE_PEM_MAX 262144u /* bytes of a certificate bundle or a key */
#define DV_KUBE_TOKEN_MAX 16384u

/* All texts are never NULL; "" is what is not given. A file is read anew whenever it is needed, so
 * that certificates and tokens may rotate; `_pem` are texts that the kubeconfig itself holds. */
struct dv_kube_config {
    char *server;    /* "https://10.96.0.1:443", without a slash at its end */
    char *namespace; /* of the context or the service account; "default" when none is named */
    char *ca_file, *ca_pem;
    char *cert_file, *cert_pem;
    char *key_file, *key_pem;
    char *token, *token_file;
    bool insecure; /* the server's certificate is not looked at */
};

/* dir: of the service account's files; NULL: /var/run/secrets/kubernetes.io/serviceaccount. The
 * address is KUBERNETES_SERVICE_HOST and KUBERNETES_SERVICE_PORT. -ENOENT: this is no pod. 0, or
 * negative errno with a message. */
int dv_kube_config_in_cluster(const char *dir, struct dv_kube_config **ret, struct dv_err *err);
/* allow_insecure: "insecure-skip-tls-verify: true" and http:// are taken; otherwise refused. 0;
 * -EINVAL, -E2BIG, -ENOENT ... with a message that names file, line and column. */
int dv_kube_config_read(const char *path, bool allow_insecure, struct dv_kube_config **ret,
                        struct dv_err *err);
/* The same from a text; relative paths in it are taken from `dir`. Opens no file. */
int dv_kube_config_parse(const char *name, const char *text, size_t len, const char *dir,
                         bool allow_insecure, struct dv_kube_config **ret, struct dv_err *err);
/* Accepts NULL. Secrets are wiped first. */
void dv_kube_config_free(struct dv_kube_config *config);
void dv_kube_config_freep(struct dv_kube_config **config);

#endif
