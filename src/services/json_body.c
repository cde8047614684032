/* SPDX-License-Identifier: Apache-2.0 */
#include "json_body.h"

#include "base/str.h"

#include <errno.h>
#include <limits.h>
#include <string.h>

#define DEPTH_MAX 8

void dv_json_body_put(struct json_object **o)
{
    json_object_put(*o);
}

int dv_json_body_parse(const char *body, size_t size, struct json_object **ret, struct dv_err *err)
{
    struct json_tokener *tok = json_tokener_new_ex(DEPTH_MAX);
    int r = 0;
    if (!tok)
        return dv_err_set(err, -ENOMEM, "out of memory");
    json_tokener_set_flags(tok, JSON_TOKENER_STRICT | JSON_TOKENER_VALIDATE_UTF8);
    struct json_object *o =
        size && size <= INT_MAX ? json_tokener_parse_ex(tok, body, (int)size) : NULL;
    enum json_tokener_error e = json_tokener_get_error(tok);
    size_t end = json_tokener_get_parse_end(tok);
    if (size && e == json_tokener_continue) { /* a bare word may go on for all it knows */
        o = json_tokener_parse_ex(tok, " ", 1);
        e = json_tokener_get_error(tok);
        end = size;
    }
    if (!size)
        r = dv_err_set(err, -EINVAL, "the body is empty; it must be a JSON object");
    else if (e != json_tokener_success)
        r = dv_err_set(
            err, -EINVAL, "the body is not JSON: %s at byte %zu",
            e == json_tokener_continue ? "it ends too early" : json_tokener_error_desc(e), end);
    else if (end < size && strspn(body + end, " \t\r\n") < size - end)
        r = dv_err_set(err, -EINVAL, "there is more after the JSON object, from byte %zu on", end);
    else if (!json_object_is_type(o, json_type_object))
        r = dv_err_set(err, -EINVAL, "the body must be a JSON object");
    json_tokener_free(tok);
    if (r < 0) {
        json_object_put(o);
        return r;
    }
    *ret = o;
    return 0;
}

int dv_json_body_check_keys(struct json_object *o, const char *const *keys, size_t n,
                            struct dv_err *err)
{
    json_object_object_foreach(o, key, value)
    {
        size_t i = 0;
        (void)value;
        while (i < n && strcmp(keys[i], key) != 0)
            i++;
        if (i < n)
            continue;
        /* The key goes into a message for a terminal: only plain letters of it. */
        char shown[32];
        size_t len = 0;
        for (const char *p = key; *p && len < sizeof shown - 1; p++)
            shown[len++] = *p > ' ' && *p < 0x7f ? *p : '?';
        shown[len] = 0;
        const char *near = dv_str_nearest(shown, keys, n);
        return dv_err_set(err, -EINVAL, "unknown key '%s'%s%s%s", shown,
                          near ? "; did you mean '" : "", near ? near : "", near ? "'?" : "");
    }
    return 0;
}

int dv_json_body_integer(struct json_object *o, const char *key, int64_t min, int64_t max,
                         int64_t *ret, struct dv_err *err)
{
    struct json_object *v;
    if (!json_object_object_get_ex(o, key, &v))
        return 0;
    if (!json_object_is_type(v, json_type_int))
        return dv_err_set(err, -EINVAL, "%s must be an integer", key);
    int64_t n = json_object_get_int64(v);
    if (n < min || n > max)
        return dv_err_set(err, -EINVAL, "%s must lie between %lld and %lld", key, (long long)min,
                          (long long)max);
    *ret = n;
    return 0;
}

/* Errors quote what was said, and end up on terminals. */
static bool has_control(const char *text)
{
    for (; *text; text++)
        if ((unsigned char)*text < ' ' || *text == 0x7f)
            return true;
    return false;
}

int dv_json_body_text(struct json_object *o, const char *key, char *ret, size_t size,
                      struct dv_err *err)
{
    struct json_object *v;
    if (!json_object_object_get_ex(o, key, &v))
        return 0;
    if (!json_object_is_type(v, json_type_string))
        return dv_err_set(err, -EINVAL, "%s must be a string", key);
    const char *text = json_object_get_string(v);
    if (strlen(text) != (size_t)json_object_get_string_len(v) || has_control(text))
        return dv_err_set(err, -EINVAL, "%s must not have control characters in it", key);
    if (dv_str_copy(ret, size, text) < 0)
        return dv_err_set(err, -EINVAL, "%s is too long; at most %zu bytes", key, size - 1);
    return 0;
}

int dv_json_body_bool(struct json_object *o, const char *key, bool *ret, struct dv_err *err)
{
    struct json_object *v;
    if (!json_object_object_get_ex(o, key, &v))
        return 0;
    if (!json_object_is_type(v, json_type_boolean))
        return dv_err_set(err, -EINVAL, "%s must be true or false", key);
    *ret = json_object_get_boolean(v);
    return 0;
}
