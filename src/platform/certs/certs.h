/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Certificates that a server makes and renews by itself (GnuTLS; ECDSA P-256), and the folder that
 * keeps them.
 *
 *     r = dv_certs_open(&policy, "/var/lib/divvy/webhook", dv_clock_unix(), &certs, &err);
 *     dv_certs_certificate(certs), dv_certs_key(certs): to serve with
 *     dv_certs_bundle(certs): whom callers must trust
 *     every minute: switch (dv_certs_tick(certs, dv_clock_unix(), published, &err)) ...
 *
 * Every certificate has an authority of its own, whose key signs it and is forgotten: there is no
 * authority's key to steal. After two thirds of a certificate's life the next is made. Its
 * authority joins the bundle at once; it is served only when the bundle is published, and a while
 * after, so that callers know it by then. An authority stays in the bundle while it is valid,
 * because another process may still serve with its certificate. Of several who share theirs
 * (dv_certs_adopt) the one that is first makes the next; another does when a sixth of a life after
 * that it is not served, or half of the time that was left then, if that is less.
 *
 * Time is the caller's, in seconds since 1970 UTC, asked each time: a clock that jumps behind the
 * certificate's beginning, or past its end, makes a new one that is served at once.
 *
 * The folder: ca.crt (the bundle), tls.crt, tls.key; replaced one by one, atomically, readable for
 * the owner alone. The next certificate's key is not there before it is served.
 *
 * `external`: somebody else keeps the folder (a volume of a Secret that cert-manager writes). It is
 * read at every tick, what has changed there is served at once, and nothing is made or written.
 */
#ifndef DV_CERTS_CERTS_H
#define DV_CERTS_CERTS_H

#include "base/err.h"

#include <stdbool.h>

#define DV_CERTS_NAMES_MAX 8u
#define DV_CERTS_LIFE_MIN 2
#define DV_CERTS_LIFE_MAX (INT64_C(3650) * 86400)

struct dv_certs_policy {
    const char *names[DV_CERTS_NAMES_MAX]; /* DNS names; NULL ends them. Borrowed */
    int64_t life_s;                        /* of a certificate that is made */
    int64_t overlap_s;                     /* from its publishing to its serving */
    bool external;                         /* none is made */
    /* Nobody says when it is published: it is served a quarter of a life later, a twelfth of one
     * (two ticks at least) before the end. Else one that is not is served only when the old one
     * ends. */
    bool unheard;
};

enum dv_certs_event {
    DV_CERTS_UNCHANGED,
    DV_CERTS_PREPARED, /* there is a new bundle: publish it */
    DV_CERTS_SWITCHED, /* serve with the other certificate */
    DV_CERTS_RENEWED,  /* both, at once: the old one was not valid any more, or is not external's */
};

struct dv_certs;

/* Takes what the folder has, if that is valid, or makes it. Without a folder (NULL) nothing is
 * kept. *ret_note: why what was there was not taken, or "". 0; -EINVAL (the policy; external: what
 * is there cannot be served), -ENOENT (external: it is not there), -EACCES and others of the
 * folder, -EIO (GnuTLS), with a message. */
int dv_certs_open(const struct dv_certs_policy *policy, const char *folder, int64_t now,
                  struct dv_certs **ret, struct dv_err *ret_note, struct dv_err *err);
void dv_certs_free(struct dv_certs *certs);

/* An event, or negative errno with a message; then the next call tries again, and what was served
 * is served on. `published`: callers know the present bundle. */
int dv_certs_tick(struct dv_certs *certs, int64_t now, bool published, struct dv_err *err);

/*
 * Takes what another process made, who shares these with us: all three, or nothing; but the bundle
 * alone where we serve a newer certificate that it vouches for, too. What we have
 * made as the next stays if its authority is in this bundle and the certificate is in the last
 * third of its life. 0; -EINVAL with a message: they do not belong together, are for other names,
 * or not valid now; -ENOMEM.
 */
int dv_certs_adopt(struct dv_certs *certs, const char *bundle, const char *certificate,
                   const char *key, int64_t now, struct dv_err *err);

/* PEM; loans until the next tick or adoption. */
const char *dv_certs_bundle(const struct dv_certs *certs);
const char *dv_certs_certificate(const struct dv_certs *certs);
const char *dv_certs_key(const struct dv_certs *certs);
/* When what is served ends to be valid. */
int64_t dv_certs_until(const struct dv_certs *certs);

/* How often to tick: a hundredth of the life, 1 s to 60 s; external: 5 s. */
uint32_t dv_certs_tick_s(const struct dv_certs_policy *policy);

/* The bundle of a folder, from malloc; -ENOENT when there is none yet. */
int dv_certs_read_bundle(const char *folder, char **ret, struct dv_err *err);

#endif
