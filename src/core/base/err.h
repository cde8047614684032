/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A message that goes with an error number: what is wrong, where, and what to do. It lives on the
 * caller's stack, has a fixed size, and is not touched on success.
 *
 *     struct dv_err err = {0};
 *     int r = dv_units_parse_bytes("10Gib", &bytes, &err);
 *     if (r < 0)
 *         fprintf(stderr, "divvy: %s\n", err.msg);
 */
#ifndef DV_BASE_ERR_H
#define DV_BASE_ERR_H

#include "base/macros.h"

struct dv_err {
    char msg[480];
};

/* Writes the message (err may be NULL) and returns r, so that a function can end with
 * `return dv_err_set(err, -EINVAL, "...")`. */
int dv_err_set(struct dv_err *err, int r, const char *fmt, ...) dv_printf(3, 4);

/* Puts "where: " before the message that err already holds. */
void dv_err_prefix(struct dv_err *err, const char *fmt, ...) dv_printf(2, 3);

#endif
