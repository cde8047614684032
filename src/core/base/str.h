/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A growing string. After a failed allocation it stays valid, keeps what it had and remembers the
 * failure (`failed`), so that a long run of appends is checked once, at its end.
 *
 *     dv_cleanup(dv_str_done) struct dv_str s = {0};
 *     dv_str_addf(&s, "%d slices", n);
 *     if (s.failed) return -ENOMEM;
 */
#ifndef DV_BASE_STR_H
#define DV_BASE_STR_H

#include "base/macros.h"

#include <stdbool.h>

struct dv_str {
    char *data; /* NUL-terminated when not NULL */
    size_t len;
    size_t cap;
    bool failed;
};

void dv_str_done(struct dv_str *s);
void dv_str_clear(struct dv_str *s);
void dv_str_add(struct dv_str *s, const char *text);
void dv_str_addn(struct dv_str *s, const char *text, size_t len);
void dv_str_addc(struct dv_str *s, char c);
void dv_str_addf(struct dv_str *s, const char *fmt, ...) dv_printf(2, 3);
/* The text, "" when empty. */
const char *dv_str_get(const struct dv_str *s);
/* Hands the text to the caller, who frees it; the string is empty after. NULL when it failed. */
char *dv_str_steal(struct dv_str *s);

/* Copies src into dst of `size` bytes, always terminated; -ENAMETOOLONG when it did not fit, and
 * dst is then the empty string: half a name is not a name. */
int dv_str_copy(char *dst, size_t size, const char *src);

/* The candidate nearest to word by edit distance, or NULL when none is near enough to suggest. */
const char *dv_str_nearest(const char *word, const char *const *candidates, size_t n);

#endif
