/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A growing string. After a failed allocation it stays valid, keeps what it had and remembers the
 * failure (`failed`), so that a long run of appends is checked once, at its end.
 *
 *     dv_cleanup(dv_str_done) struct dv_str s = {0};
 *     dv_str_addf(&s, "%d slices", n);
 *     if (s.failed) return -ENOMEM;
 *
 * A string with a sink passes its text on, a piece at a time, and forgets it.
 */
#ifndef DV_BASE_STR_H
#define DV_BASE_STR_H

#include "base/macros.h"

#include <stdbool.h>

/* Where a long text goes as it grows, so that it is never whole in memory. 0, or it ends there: the
 * string has failed. */
struct dv_str_sink {
    int (*take)(void *arg, const char *text, size_t len);
    void *arg;
};
#define DV_STR_PIECE ((size_t)64 << 10) /* what gathers before a sink gets it */

struct dv_str {
    char *data; /* NUL-terminated when not NULL */
    size_t len;
    size_t cap;
    const struct dv_str_sink *sink; /* NULL: the text is kept */
    bool failed;
};

void dv_str_done(struct dv_str *s);
void dv_str_clear(struct dv_str *s);
void dv_str_add(struct dv_str *s, const char *text);
void dv_str_addn(struct dv_str *s, const char *text, size_t len);
void dv_str_addc(struct dv_str *s, char c);
void dv_str_addf(struct dv_str *s, const char *fmt, ...) dv_printf(2, 3);
/* Hands to the sink, if there is one, what it did not get yet. */
void dv_str_flush(struct dv_str *s);
/* The text, "" when empty; with a sink, what it did not get yet. */
const char *dv_str_get(const struct dv_str *s);
/* Hands the text to the caller, who frees it; the string is empty after. NULL when it failed. */
char *dv_str_steal(struct dv_str *s);

/* Copies src into dst of `size` bytes, always terminated; -ENAMETOOLONG when it did not fit, and
 * dst is then the empty string: half a name is not a name. */
int dv_str_copy(char *dst, size_t size, const char *src);

/* The candidate nearest to word by edit distance, or NULL when none is near enough to suggest. */
const char *dv_str_nearest(const char *word, const char *const *candidates, size_t n);

#endif
