/* SPDX-License-Identifier: Apache-2.0 */
#include "internal.h"

#include <errno.h>
#include <gnutls/crypto.h>
#include <gnutls/x509.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define SERIAL_SIZE 16
#define SKEW_MAX_S 3600 /* clocks of other machines may be behind */

/* One certificate under way. */
struct making {
    gnutls_x509_privkey_t key;
    gnutls_x509_crt_t crt;
};

static void making_done(struct making *m)
{
    if (m->key)
        gnutls_x509_privkey_deinit(m->key);
    if (m->crt)
        gnutls_x509_crt_deinit(m->crt);
}

/* gnutls takes the first error; the calls after one are not made. */
#define TRY(r, call) ((r) = (r) < 0 ? (r) : (call))

/* A key, a serial number that nobody had, a time of life, a name. */
static int begin(struct making *m, const char *name, int64_t from, int64_t until)
{
    unsigned char serial[SERIAL_SIZE] = {0}, id[64];
    char dn[160];
    size_t size = sizeof id;
    int r = 0;
    TRY(r, gnutls_x509_privkey_init(&m->key));
    TRY(r, gnutls_x509_privkey_generate(m->key, GNUTLS_PK_ECDSA,
                                        GNUTLS_CURVE_TO_BITS(GNUTLS_ECC_CURVE_SECP256R1), 0));
    TRY(r, gnutls_x509_crt_init(&m->crt));
    TRY(r, gnutls_x509_crt_set_version(m->crt, 3));
    TRY(r, gnutls_rnd(GNUTLS_RND_NONCE, serial, sizeof serial));
    serial[0] = (unsigned char)((serial[0] & 0x3f) | 0x40);
    TRY(r, gnutls_x509_crt_set_serial(m->crt, serial, sizeof serial));
    TRY(r, gnutls_x509_crt_set_activation_time(m->crt, (time_t)from));
    TRY(r, gnutls_x509_crt_set_expiration_time(m->crt, (time_t)until));
    TRY(r, gnutls_x509_crt_set_key(m->crt, m->key));
    snprintf(dn, sizeof dn, "CN=%.60s,O=divvy", name);
    TRY(r, gnutls_x509_crt_set_dn(m->crt, dn, NULL));
    TRY(r, gnutls_x509_crt_get_key_id(m->crt, GNUTLS_KEYID_USE_SHA1, id, &size));
    TRY(r, gnutls_x509_crt_set_subject_key_id(m->crt, id, size));
    return r;
}

static int make_authority(struct making *m, int64_t from, int64_t until)
{
    char name[64];
    uint32_t tag = 0;
    int r = gnutls_rnd(GNUTLS_RND_NONCE, &tag, sizeof tag);
    /* Names differ, so that no client mixes two of them up. */
    snprintf(name, sizeof name, "divvy authority %08x", tag);
    TRY(r, begin(m, name, from, until));
    TRY(r, gnutls_x509_crt_set_basic_constraints(m->crt, 1, 0));
    TRY(r, gnutls_x509_crt_set_key_usage(m->crt, GNUTLS_KEY_KEY_CERT_SIGN));
    TRY(r, gnutls_x509_crt_sign2(m->crt, m->crt, m->key, GNUTLS_DIG_SHA256, 0));
    return r;
}

static int make_server(struct making *m, const struct making *authority, const char *const *names,
                       int64_t from, int64_t until)
{
    unsigned char id[64];
    size_t size = sizeof id;
    int r = begin(m, names[0], from, until);
    TRY(r, gnutls_x509_crt_set_basic_constraints(m->crt, 0, -1));
    TRY(r, gnutls_x509_crt_set_key_usage(m->crt, GNUTLS_KEY_DIGITAL_SIGNATURE));
    TRY(r, gnutls_x509_crt_set_key_purpose_oid(m->crt, GNUTLS_KP_TLS_WWW_SERVER, 0));
    for (size_t i = 0; i < DV_CERTS_NAMES_MAX && names[i]; i++)
        TRY(r,
            gnutls_x509_crt_set_subject_alt_name(m->crt, GNUTLS_SAN_DNSNAME, names[i],
                                                 (unsigned)strlen(names[i]), GNUTLS_FSAN_APPEND));
    TRY(r, gnutls_x509_crt_get_subject_key_id(authority->crt, id, &size, NULL));
    TRY(r, gnutls_x509_crt_set_authority_key_id(m->crt, id, size));
    TRY(r, gnutls_x509_crt_sign2(m->crt, authority->crt, authority->key, GNUTLS_DIG_SHA256, 0));
    return r;
}

static char *copy_text(gnutls_datum_t *d)
{
    char *text = strndup((const char *)d->data, d->size);
    gnutls_memset(d->data, 0, d->size);
    gnutls_free(d->data);
    return text;
}

static int export_pair(const struct making *server, const struct making *authority,
                       struct dv_certs_pair *ret)
{
    gnutls_datum_t d;
    int r = gnutls_x509_crt_export2(server->crt, GNUTLS_X509_FMT_PEM, &d);
    if (r == 0)
        ret->certificate = copy_text(&d);
    TRY(r, gnutls_x509_crt_export2(authority->crt, GNUTLS_X509_FMT_PEM, &d));
    if (r == 0)
        ret->authority = copy_text(&d);
    TRY(r, gnutls_x509_privkey_export2_pkcs8(server->key, GNUTLS_X509_FMT_PEM, NULL,
                                             GNUTLS_PKCS_PLAIN, &d));
    if (r == 0)
        ret->key = copy_text(&d);
    return r < 0 ? r : ret->certificate && ret->authority && ret->key ? 0 : GNUTLS_E_MEMORY_ERROR;
}

int dv_certs_make(const struct dv_certs_policy *policy, int64_t now, struct dv_certs_pair *ret,
                  struct dv_err *err)
{
    struct making authority = {0}, server = {0};
    struct dv_certs_pair made = {.from = now - DV_MIN(policy->life_s, SKEW_MAX_S),
                                 .until = now + policy->life_s,
                                 .made = now};
    int r = make_authority(&authority, made.from, made.until);
    TRY(r, make_server(&server, &authority, policy->names, made.from, made.until));
    TRY(r, export_pair(&server, &authority, &made));
    making_done(&server);
    making_done(&authority);
    if (r < 0) {
        dv_certs_pair_done(&made);
        return r == GNUTLS_E_MEMORY_ERROR
                   ? dv_err_set(err, -ENOMEM, "out of memory")
                   : dv_err_set(err, -EIO, "cannot make a certificate: %s", gnutls_strerror(r));
    }
    *ret = made;
    return 0;
}

void dv_certs_pair_done(struct dv_certs_pair *pair)
{
    if (pair->key)
        explicit_bzero(pair->key, strlen(pair->key));
    free(pair->certificate);
    free(pair->key);
    free(pair->authority);
    *pair = (struct dv_certs_pair){0};
}

/* ---- what was there before ------------------------------------------------------------------ */

static gnutls_datum_t datum(const char *text)
{
    return (gnutls_datum_t){(unsigned char *)text, (unsigned)strlen(text)};
}

/* How many, or a negative error. */
static int import(const char *text, gnutls_x509_crt_t crts[DV_CERTS_BUNDLE_MAX])
{
    gnutls_datum_t d = datum(text);
    unsigned n = DV_CERTS_BUNDLE_MAX;
    return gnutls_x509_crt_list_import(crts, &n, &d, GNUTLS_X509_FMT_PEM, 0);
}

static void free_all(gnutls_x509_crt_t *crts, int n)
{
    for (int i = 0; i < n; i++)
        gnutls_x509_crt_deinit(crts[i]);
}

static bool belong_together(const struct dv_certs_pair *pair)
{
    gnutls_certificate_credentials_t c;
    gnutls_datum_t crt = datum(pair->certificate), key = datum(pair->key);
    if (gnutls_certificate_allocate_credentials(&c) < 0)
        return false;
    int r = gnutls_certificate_set_x509_key_mem(c, &crt, &key, GNUTLS_X509_FMT_PEM);
    gnutls_certificate_free_credentials(c);
    return r >= 0;
}

/* crts: the server's, then those between it and the authority. */
static bool is_signed(const gnutls_x509_crt_t *crts, unsigned n_crts, const char *bundle)
{
    gnutls_x509_crt_t cas[DV_CERTS_BUNDLE_MAX];
    int n = import(bundle, cas);
    unsigned status = 1;
    if (n <= 0)
        return false;
    int r = gnutls_x509_crt_list_verify(crts, n_crts, cas, (unsigned)n, NULL, 0,
                                        GNUTLS_VERIFY_DISABLE_TIME_CHECKS, &status);
    free_all(cas, n);
    return r == 0 && status == 0;
}

static int check_crt(const struct dv_certs_policy *policy, const char *bundle,
                     const gnutls_x509_crt_t *crts, unsigned n, struct dv_err *err)
{
    for (size_t i = 0; i < DV_CERTS_NAMES_MAX && policy->names[i]; i++)
        if (!gnutls_x509_crt_check_hostname(crts[0], policy->names[i]))
            return dv_err_set(err, -EINVAL, "tls.crt is not for %s", policy->names[i]);
    if (!is_signed(crts, n, bundle))
        return dv_err_set(err, -EINVAL, "tls.crt is signed by nobody in ca.crt");
    return 0;
}

int dv_certs_check(const struct dv_certs_policy *policy, const char *bundle,
                   struct dv_certs_pair *pair, struct dv_err *err)
{
    gnutls_x509_crt_t crts[DV_CERTS_BUNDLE_MAX];
    int n = import(pair->certificate, crts);
    if (n <= 0)
        return dv_err_set(err, -EINVAL, "tls.crt does not read");
    pair->from = gnutls_x509_crt_get_activation_time(crts[0]);
    pair->until = gnutls_x509_crt_get_expiration_time(crts[0]);
    pair->made = pair->from;
    int r = check_crt(policy, bundle, crts, (unsigned)n, err);
    free_all(crts, n);
    if (r == 0 && !belong_together(pair))
        r = dv_err_set(err, -EINVAL, "tls.key is not the key of tls.crt");
    return r;
}

int dv_certs_keep_valid(const char *bundle, int64_t now, unsigned max, struct dv_str *ret)
{
    gnutls_x509_crt_t crts[DV_CERTS_BUNDLE_MAX];
    int n = import(bundle, crts), kept = 0;
    for (int i = 0; i < n && kept < (int)max; i++) {
        gnutls_datum_t d;
        if (gnutls_x509_crt_get_expiration_time(crts[i]) <= now ||
            gnutls_x509_crt_export2(crts[i], GNUTLS_X509_FMT_PEM, &d) < 0)
            continue;
        dv_str_addn(ret, (const char *)d.data, d.size);
        gnutls_free(d.data);
        kept++;
    }
    free_all(crts, n);
    return ret->failed ? -ENOMEM : 0;
}

int64_t dv_certs_last_until(const char *bundle)
{
    gnutls_x509_crt_t crts[DV_CERTS_BUNDLE_MAX];
    int64_t last = 0;
    int n = import(bundle, crts);
    for (int i = 0; i < n; i++)
        last = DV_MAX(last, (int64_t)gnutls_x509_crt_get_expiration_time(crts[i]));
    free_all(crts, n);
    return last;
}
