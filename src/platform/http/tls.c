/* SPDX-License-Identifier: Apache-2.0 */
#include "http/tls.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#define CHAIN_MAX 16u

struct dv_http_tls {
    char *certificate, *key;
};

static gnutls_datum_t datum(const char *text)
{
    return (gnutls_datum_t){(unsigned char *)text, (unsigned)strlen(text)};
}

/* Do they read, and belong together? */
static int check(const char *certificate, const char *key)
{
    gnutls_certificate_credentials_t c;
    gnutls_datum_t cert_text = datum(certificate), key_text = datum(key);
    if (gnutls_certificate_allocate_credentials(&c) < 0)
        return -ENOMEM;
    int r = gnutls_certificate_set_x509_key_mem(c, &cert_text, &key_text, GNUTLS_X509_FMT_PEM);
    gnutls_certificate_free_credentials(c);
    return r < 0 ? -EINVAL : 0;
}

int dv_http_tls_new(const char *certificate, const char *key, struct dv_http_tls **ret)
{
    struct dv_http_tls *t;
    int r = check(certificate, key);
    if (r < 0)
        return r;
    t = calloc(1, sizeof *t);
    if (!t)
        return -ENOMEM;
    t->certificate = strdup(certificate);
    t->key = strdup(key);
    if (!t->certificate || !t->key) {
        dv_http_tls_free(t);
        return -ENOMEM;
    }
    *ret = t;
    return 0;
}

void dv_http_tls_free(struct dv_http_tls *t)
{
    if (!t)
        return;
    free(t->certificate);
    if (t->key)
        explicit_bzero(t->key, strlen(t->key));
    free(t->key);
    free(t);
}

int dv_http_tls_copy(const struct dv_http_tls *t, gnutls_pcert_st **ret_certs, unsigned *ret_n,
                     gnutls_privkey_t *ret_key)
{
    gnutls_datum_t cert_text = datum(t->certificate), key_text = datum(t->key);
    gnutls_pcert_st *certs = gnutls_calloc(CHAIN_MAX, sizeof *certs);
    gnutls_privkey_t key = NULL;
    unsigned n = CHAIN_MAX;
    if (!certs ||
        gnutls_pcert_list_import_x509_raw(certs, &n, &cert_text, GNUTLS_X509_FMT_PEM, 0) < 0) {
        gnutls_free(certs);
        return -1;
    }
    if (gnutls_privkey_init(&key) < 0 ||
        gnutls_privkey_import_x509_raw(key, &key_text, GNUTLS_X509_FMT_PEM, NULL, 0) < 0) {
        for (unsigned i = 0; i < n; i++)
            gnutls_pcert_deinit(&certs[i]);
        gnutls_free(certs);
        if (key)
            gnutls_privkey_deinit(key);
        return -1;
    }
    *ret_certs = certs;
    *ret_n = n;
    *ret_key = key;
    return 0;
}
