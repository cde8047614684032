/* SPDX-License-Identifier: Apache-2.0 */
#include "base/err.h"

#include <stdarg.h>
#include <stdio.h>
#include <string.h>

int dv_err_set(struct dv_err *err, int r, const char *fmt, ...)
{
    if (err) {
        va_list ap;
        va_start(ap, fmt);
        vsnprintf(err->msg, sizeof err->msg, fmt, ap);
        va_end(ap);
    }
    return r;
}

void dv_err_prefix(struct dv_err *err, const char *fmt, ...)
{
    if (!err)
        return;
    char tail[sizeof err->msg];
    memcpy(tail, err->msg, sizeof tail);
    va_list ap;
    va_start(ap, fmt);
    int n = vsnprintf(err->msg, sizeof err->msg, fmt, ap);
    va_end(ap);
    if (n < 0 || (size_t)n >= sizeof err->msg)
        return;
    size_t left = sizeof err->msg - (size_t)n;
    size_t len = strnlen(tail, left - 1);
    memcpy(err->msg + n, tail, len);
    err->msg[(size_t)n + len] = 0;
}
