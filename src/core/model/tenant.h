/* SPDX-License-Identifier: Apache-2.0 */
/* A tenant is who is charged: a user, a team, a namespace. It is known by its name alone. */
#ifndef DV_MODEL_TENANT_H
#define DV_MODEL_TENANT_H

#include "base/err.h"

#include <stdbool.h>

#define DV_TENANT_SIZE 64 /* 63 characters and the NUL */

enum dv_trust {
    DV_TRUST_TRUSTED,   /* behind a cooperative wall if need be */
    DV_TRUST_UNTRUSTED, /* never behind a cooperative wall */
};

/*
 * Is this a tenant's name? 1 to 63 of the characters A-Z a-z 0-9 . _ : / @ -, the first of them a
 * letter, a digit or '_': names go into file names' neighbours, logs, metrics and command lines.
 * 0, or -EINVAL with a message that shows the offending byte without printing it raw.
 */
int dv_tenant_check_name(const char *name, struct dv_err *err);

/* "trusted", "untrusted". */
const char *dv_tenant_trust_name(enum dv_trust trust);
int dv_tenant_trust_parse(const char *text, enum dv_trust *ret, struct dv_err *err);

#endif
