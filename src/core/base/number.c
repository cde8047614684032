/* SPDX-License-Identifier: Apache-2.0 */
#include "base/number.h"

#include <errno.h>
#include <locale.h>
#include <math.h>
#include <stdbool.h>
#include <stdlib.h>
#include <string.h>

#define TEXT_MAX 400u /* no double needs more digits than this to be told apart */

static bool is_digit(char c)
{
    return c >= '0' && c <= '9';
}

static void trim(const char **text, const char **end)
{
    while (*text < *end && (**text == ' ' || **text == '\t'))
        (*text)++;
    while (*end > *text && ((*end)[-1] == ' ' || (*end)[-1] == '\t'))
        (*end)--;
}

/* A decimal number taken apart: digits * 10^exponent. */
struct parts {
    uint64_t digits; /* the first 19 significant ones */
    int exponent;
    bool negative, exact; /* exact: no digit was dropped */
};

static const char *read_digits(const char *p, const char *end, bool fraction, struct parts *parts)
{
    for (; p < end && is_digit(*p); p++) {
        if (parts->digits < UINT64_C(1000000000000000000)) {
            parts->digits = parts->digits * 10 + (uint64_t)(*p - '0');
            parts->exponent -= fraction;
        } else {
            parts->exact = parts->exact && *p == '0';
            parts->exponent += !fraction;
        }
    }
    return p;
}

/* NULL: not a number. */
static const char *read_exponent(const char *p, const char *end, struct parts *parts)
{
    if (p == end || (*p != 'e' && *p != 'E'))
        return p;
    p++;
    bool negative = p < end && *p == '-';
    if (p < end && (*p == '-' || *p == '+'))
        p++;
    if (p == end || !is_digit(*p))
        return NULL;
    int e = 0;
    for (; p < end && is_digit(*p); p++)
        if (e < 100000)
            e = e * 10 + (*p - '0');
    parts->exponent += negative ? -e : e;
    return p;
}

static bool take_apart(const char *p, const char *end, struct parts *ret)
{
    *ret = (struct parts){.exact = true, .negative = p < end && *p == '-'};
    if (p < end && (*p == '-' || *p == '+'))
        p++;
    const char *whole = p;
    p = read_digits(p, end, false, ret);
    size_t n = (size_t)(p - whole);
    if (p < end && *p == '.') {
        const char *fraction = ++p;
        p = read_digits(p, end, true, ret);
        n += (size_t)(p - fraction);
    }
    p = n ? read_exponent(p, end, ret) : NULL;
    return p == end && end;
}

/* The library's own, told that the decimal sign is a point. The text has been checked. */
static int by_library(const char *text, const char *end, double *ret)
{
    char copy[TEXT_MAX + 1];
    size_t len = (size_t)(end - text);
    if (len > TEXT_MAX)
        return -EINVAL;
    memcpy(copy, text, len);
    copy[len] = 0;
    locale_t c = newlocale(LC_ALL_MASK, "C", (locale_t)0);
    if (!c)
        return -ENOMEM;
    double v = strtod_l(copy, NULL, c);
    freelocale(c);
    if (!isfinite(v))
        return -ERANGE;
    *ret = v;
    return 0;
}

int dv_number_double(const char *text, size_t len, double *ret)
{
    /* Exact in a double, as are products and quotients of two such numbers, rounded once. */
    static const double tens[] = {1e0,  1e1,  1e2,  1e3,  1e4,  1e5,  1e6,  1e7,
                                  1e8,  1e9,  1e10, 1e11, 1e12, 1e13, 1e14, 1e15,
                                  1e16, 1e17, 1e18, 1e19, 1e20, 1e21, 1e22};
    const char *end = text + len;
    trim(&text, &end);
    struct parts parts;
    if (text == end || !take_apart(text, end, &parts))
        return -EINVAL;
    if (!parts.exact || parts.digits > (UINT64_C(1) << 53) || parts.exponent < -22 ||
        parts.exponent > 22)
        return by_library(text, end, ret);
    double v = (double)parts.digits;
    v = parts.exponent < 0 ? v / tens[-parts.exponent] : v * tens[parts.exponent];
    *ret = parts.negative ? -v : v;
    return 0;
}

static int magnitude(const char *p, const char *end, uint64_t *ret)
{
    uint64_t v = 0;
    bool fits = true;
    if (p == end)
        return -EINVAL;
    for (; p < end; p++) {
        if (!is_digit(*p))
            return -EINVAL;
        fits = fits && !__builtin_mul_overflow(v, UINT64_C(10), &v) &&
               !__builtin_add_overflow(v, (uint64_t)(*p - '0'), &v);
    }
    *ret = v;
    return fits ? 0 : -ERANGE;
}

int dv_number_int64(const char *text, size_t len, int64_t *ret)
{
    const char *end = text + len;
    trim(&text, &end);
    bool negative = text < end && *text == '-';
    if (text < end && (*text == '-' || *text == '+'))
        text++;
    uint64_t v = 0;
    int r = magnitude(text, end, &v);
    if (r < 0)
        return r;
    if (v > (uint64_t)INT64_MAX + negative)
        return -ERANGE;
    *ret = negative ? (int64_t)(0 - v) : (int64_t)v;
    return 0;
}

int dv_number_uint64(const char *text, size_t len, uint64_t *ret)
{
    const char *end = text + len;
    trim(&text, &end);
    bool negative = text < end && *text == '-';
    if (text < end && (*text == '-' || *text == '+'))
        text++;
    uint64_t v = 0;
    int r = magnitude(text, end, &v);
    if (r < 0)
        return r;
    if (negative && v)
        return -ERANGE;
    *ret = v;
    return 0;
}
