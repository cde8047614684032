/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A certificate and its key, as a server needs them for each handshake (GnuTLS). Each handshake
 * takes a copy, so that they may be exchanged at any time.
 */
#ifndef DV_HTTP_TLS_H
#define DV_HTTP_TLS_H

#include <gnutls/abstract.h>

struct dv_http_tls;

/* PEM texts, copied; the server's own certificate first. -EINVAL when GnuTLS does not take them, or
 * the key is another's; -ENOMEM. */
int dv_http_tls_new(const char *certificate, const char *key, struct dv_http_tls **ret);
void dv_http_tls_free(struct dv_http_tls *tls);

/* For a gnutls_certificate_retrieve_function3, which GnuTLS frees (GNUTLS_CERT_RETR_DEINIT_ALL).
 * 0, or -1. */
int dv_http_tls_copy(const struct dv_http_tls *tls, gnutls_pcert_st **ret_certs, unsigned *ret_n,
                     gnutls_privkey_t *ret_key);

#endif
