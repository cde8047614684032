/* SPDX-License-Identifier: Apache-2.0 */
#ifndef DV_CERTS_INTERNAL_H
#define DV_CERTS_INTERNAL_H

#include "base/str.h"
#include "certs/certs.h"

#define DV_CERTS_FILE_MAX 65536u
#define DV_CERTS_BUNDLE_MAX 16u /* certificates; whoever makes one keeps to it */

/* A certificate, its key, and the authority that signed it; PEM, from malloc. */
struct dv_certs_pair {
    char *certificate, *key, *authority;
    int64_t from, until, made;
};
void dv_certs_pair_done(struct dv_certs_pair *pair);

/* ---- make.c: X.509 ---- */

/* -EIO with a message, -ENOMEM. */
int dv_certs_make(const struct dv_certs_policy *policy, int64_t now, struct dv_certs_pair *ret,
                  struct dv_err *err);
/* Reads `from` and `until`. -EINVAL with a message: it is not a pair, not for these names, or not
 * signed by one of the bundle. */
int dv_certs_check(const struct dv_certs_policy *policy, const char *bundle,
                   struct dv_certs_pair *pair, struct dv_err *err);
/* Appends the authorities of `bundle` that are still valid, the newest `max` of them. */
int dv_certs_keep_valid(const char *bundle, int64_t now, unsigned max, struct dv_str *ret);

/* When the last of the bundle's ends to be valid; 0: it does not read. */
int64_t dv_certs_last_until(const char *bundle);

/* ---- folder.c ---- */

/* Any of them is NULL where there is no such file. */
int dv_certs_load(const char *folder, char **ret_bundle, struct dv_certs_pair *ret,
                  struct dv_err *err);
/* pair NULL: the bundle only. */
int dv_certs_save(const char *folder, const char *bundle, const struct dv_certs_pair *pair,
                  struct dv_err *err);

#endif
