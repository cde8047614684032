/* SPDX-License-Identifier: Apache-2.0 */
#include "base/str.h"

#include <errno.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define NEAREST_MAX_LEN 63

void dv_str_done(struct dv_str *s)
{
    if (!s)
        return;
    free(s->data);
    *s = (struct dv_str){0};
}

void dv_str_clear(struct dv_str *s)
{
    s->len = 0;
    s->failed = false;
    if (s->data)
        s->data[0] = 0;
}

static bool reserve(struct dv_str *s, size_t extra)
{
    if (s->failed)
        return false;
    size_t need = 0;
    if (__builtin_add_overflow(s->len, extra, &need) || __builtin_add_overflow(need, 1, &need)) {
        s->failed = true;
        return false;
    }
    if (s->data && need <= s->cap)
        return true;
    size_t cap = s->cap ? s->cap : 64;
    while (cap < need)
        cap *= 2;
    char *data = realloc(s->data, cap);
    if (!data) {
        s->failed = true;
        return false;
    }
    s->data = data;
    s->cap = cap;
    return true;
}

void dv_str_flush(struct dv_str *s)
{
    if (s->failed || !s->sink || !s->len)
        return;
    s->failed = s->sink->take(s->sink->arg, s->data, s->len) != 0;
    s->len = 0;
    s->data[0] = 0;
}

static void grown(struct dv_str *s, size_t by)
{
    s->len += by;
    s->data[s->len] = 0;
    if (s->sink && s->len >= DV_STR_PIECE)
        dv_str_flush(s);
}

void dv_str_addn(struct dv_str *s, const char *text, size_t len)
{
    if (!reserve(s, len))
        return;
    memcpy(s->data + s->len, text, len);
    grown(s, len);
}

void dv_str_add(struct dv_str *s, const char *text)
{
    dv_str_addn(s, text, strlen(text));
}

void dv_str_addc(struct dv_str *s, char c)
{
    dv_str_addn(s, &c, 1);
}

void dv_str_addf(struct dv_str *s, const char *fmt, ...)
{
    va_list ap;
    va_start(ap, fmt);
    va_list again;
    va_copy(again, ap);
    size_t room = s->cap - s->len; /* most often enough */
    int n = vsnprintf(s->data ? s->data + s->len : NULL, room, fmt, ap);
    va_end(ap);
    if (n >= 0 && reserve(s, (size_t)n)) {
        if ((size_t)n >= room)
            vsnprintf(s->data + s->len, (size_t)n + 1, fmt, again);
        grown(s, (size_t)n);
    } else {
        s->failed = true;
        if (s->data)
            s->data[s->len] = 0;
    }
    va_end(again);
}

const char *dv_str_get(const struct dv_str *s)
{
    return s->data ? s->data : "";
}

char *dv_str_steal(struct dv_str *s)
{
    char *data = s->failed ? NULL : s->data;
    if (!data && !s->failed)
        data = calloc(1, 1);
    if (data != s->data)
        free(s->data);
    *s = (struct dv_str){0};
    return data;
}

int dv_str_copy(char *dst, size_t size, const char *src)
{
    size_t len = strnlen(src, size);
    if (len == size) {
        if (size)
            dst[0] = 0;
        return -ENAMETOOLONG;
    }
    memcpy(dst, src, len + 1);
    return 0;
}

static size_t edit_distance(const char *a, size_t n, const char *b, size_t m)
{
    size_t row[NEAREST_MAX_LEN + 1];
    for (size_t j = 0; j <= m; j++)
        row[j] = j;
    for (size_t i = 1; i <= n; i++) {
        size_t diagonal = row[0];
        row[0] = i;
        for (size_t j = 1; j <= m; j++) {
            size_t replace = diagonal + (a[i - 1] != b[j - 1]);
            diagonal = row[j];
            row[j] = DV_MIN(replace, DV_MIN(row[j], row[j - 1]) + 1);
        }
    }
    return row[m];
}

const char *dv_str_nearest(const char *word, const char *const *candidates, size_t n)
{
    size_t len = strlen(word);
    if (!len || len > NEAREST_MAX_LEN)
        return NULL;
    const char *best = NULL;
    size_t best_distance = len / 3 + 2; /* a third of the letters wrong is a guess, not a typo */
    for (size_t i = 0; i < n; i++) {
        size_t m = strlen(candidates[i]);
        if (m > NEAREST_MAX_LEN)
            continue;
        size_t d = edit_distance(word, len, candidates[i], m);
        if (d < best_distance) {
            best_distance = d;
            best = candidates[i];
        }
    }
    return best;
}
