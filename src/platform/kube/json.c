/* SPDX-License-Identifier: Apache-2.0 */
#include "kube/json.h"

#include <errno.h>
#include <json-c/json.h>
#include <limits.h>
#include <string.h>

struct json_object *dv_kube_json_parse(const char *text, size_t len)
{
    if (len > INT_MAX)
        return NULL;
    struct json_tokener *tokener = json_tokener_new_ex(DV_KUBE_JSON_DEPTH_MAX);
    if (!tokener)
        return NULL;
    struct json_object *o = json_tokener_parse_ex(tokener, text, (int)len);
    bool whole = json_tokener_get_error(tokener) == json_tokener_success;
    json_tokener_free(tokener);
    if (whole && json_object_is_type(o, json_type_object))
        return o;
    json_object_put(o);
    return NULL;
}

static struct json_object *walk(struct json_object *from, va_list path)
{
    const char *key;
    while (from && (key = va_arg(path, const char *))) {
        struct json_object *next = NULL;
        if (json_object_is_type(from, json_type_object))
            json_object_object_get_ex(from, key, &next);
        from = next;
    }
    return from;
}

struct json_object *dv_kube_json_at(struct json_object *from, ...)
{
    va_list path;
    va_start(path, from);
    struct json_object *o = walk(from, path);
    va_end(path);
    return o;
}

const char *dv_kube_json_text(struct json_object *from, ...)
{
    va_list path;
    va_start(path, from);
    struct json_object *o = walk(from, path);
    va_end(path);
    return json_object_is_type(o, json_type_string) ? json_object_get_string(o) : "";
}

int64_t dv_kube_json_int(struct json_object *from, ...)
{
    va_list path;
    va_start(path, from);
    struct json_object *o = walk(from, path);
    va_end(path);
    return json_object_is_type(o, json_type_int) ? json_object_get_int64(o) : 0;
}

bool dv_kube_json_true(struct json_object *from, ...)
{
    va_list path;
    va_start(path, from);
    struct json_object *o = walk(from, path);
    va_end(path);
    return json_object_is_type(o, json_type_boolean) && json_object_get_boolean(o);
}

size_t dv_kube_json_length(struct json_object *array)
{
    return json_object_is_type(array, json_type_array) ? json_object_array_length(array) : 0;
}

struct json_object *dv_kube_json_item(struct json_object *array, size_t i)
{
    return i < dv_kube_json_length(array) ? json_object_array_get_idx(array, i) : NULL;
}

/* ---- quantities ----------------------------------------------------------------------------- */

typedef __int128 wide;

struct suffix {
    const char *text;
    int shift;   /* times 2^shift */
    int decimal; /* times 10^decimal */
};

static const struct suffix suffixes[] = {
    {"", 0, 0},    {"n", 0, -9},  {"u", 0, -6},  {"m", 0, -3},  {"k", 0, 3},   {"M", 0, 6},
    {"G", 0, 9},   {"T", 0, 12},  {"P", 0, 15},  {"E", 0, 18},  {"Ki", 10, 0}, {"Mi", 20, 0},
    {"Gi", 30, 0}, {"Ti", 40, 0}, {"Pi", 50, 0}, {"Ei", 60, 0},
};

/* "e3", "E-2": a decimal exponent. */
static bool read_exponent(const char *text, int *ret)
{
    if (*text != 'e' && *text != 'E')
        return false;
    text++;
    int sign = *text == '-' ? -1 : 1, v = 0;
    text += *text == '-' || *text == '+';
    size_t digits = strspn(text, "0123456789");
    if (!digits || digits > 2 || text[digits])
        return false;
    for (; *text; text++)
        v = v * 10 + (*text - '0');
    *ret = sign * v;
    return true;
}

static int read_suffix(const char *text, int *ret_shift, int *ret_decimal)
{
    for (size_t i = 0; i < DV_ARRAY_SIZE(suffixes); i++) {
        if (strcmp(text, suffixes[i].text) != 0)
            continue;
        *ret_shift = suffixes[i].shift;
        *ret_decimal = suffixes[i].decimal;
        return 0;
    }
    *ret_shift = 0;
    return read_exponent(text, ret_decimal) ? 0 : -EINVAL;
}

/* v * 2^shift * 10^decimal, rounded up. |v| < 10^19. */
static int scale(wide v, int shift, int decimal, int64_t *ret)
{
    const wide limit = (wide)1 << 126;
    for (; shift > 0; shift--)
        if ((v *= 2) > limit / 20)
            return -ERANGE;
    bool rest = false;
    for (; decimal > 0; decimal--)
        if ((v *= 10) > limit / 20)
            return -ERANGE;
    for (; decimal < 0; decimal++) {
        rest |= v % 10 != 0;
        v /= 10;
    }
    v += rest;
    if (v > INT64_MAX)
        return -ERANGE;
    *ret = (int64_t)v;
    return 0;
}

int dv_kube_json_quantity(const char *text, int64_t *ret)
{
    wide v = 0;
    int fraction = 0, digits = 0, shift, decimal;
    bool point = false, minus = *text == '-';
    text += *text == '-' || *text == '+';
    for (; (*text >= '0' && *text <= '9') || (*text == '.' && !point); text++) {
        if (*text == '.') {
            point = true;
            continue;
        }
        if (digits++ >= 18)
            return -ERANGE;
        v = v * 10 + (*text - '0');
        fraction += point;
    }
    if (!digits || read_suffix(text, &shift, &decimal) < 0)
        return -EINVAL;
    int64_t out;
    int r = minus && v ? -ERANGE : scale(v, shift, decimal - fraction, &out);
    if (r < 0)
        return r;
    *ret = out;
    return 0;
}
