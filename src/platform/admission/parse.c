/* SPDX-License-Identifier: Apache-2.0 */
#include "internal.h"

#include <errno.h>
#include <stdlib.h>

#define DEPTH_MAX 64

int dv_admission_parse(const char *json, size_t len, struct json_object **ret, struct dv_err *err)
{
    if (len > DV_ADMISSION_MAX)
        return dv_err_set(err, -E2BIG, "more than %u bytes of JSON", DV_ADMISSION_MAX);
    struct json_tokener *tok = json_tokener_new_ex(DEPTH_MAX);
    if (!tok)
        return dv_err_set(err, -ENOMEM, "out of memory");
    json_tokener_set_flags(tok, JSON_TOKENER_STRICT | JSON_TOKENER_VALIDATE_UTF8);
    struct json_object *o = len ? json_tokener_parse_ex(tok, json, (int)len) : NULL;
    enum json_tokener_error e = len ? json_tokener_get_error(tok) : json_tokener_error_parse_eof;
    size_t at = json_tokener_get_parse_end(tok);
    json_tokener_free(tok);
    if (json_object_is_type(o, json_type_object)) {
        *ret = o;
        return 0;
    }
    json_object_put(o);
    return dv_err_set(err, -EINVAL, "not an object of JSON: %s at byte %zu",
                      e == json_tokener_success    ? "another value"
                      : e == json_tokener_continue ? "unexpected end"
                                                   : json_tokener_error_desc(e),
                      at);
}

struct json_object *dv_admission_member(struct json_object *object, const char *key,
                                        enum json_type type)
{
    struct json_object *o = NULL;
    if (!json_object_is_type(object, json_type_object) ||
        !json_object_object_get_ex(object, key, &o) || !json_object_is_type(o, type))
        return NULL;
    return o;
}

const char *dv_admission_string(struct json_object *object, const char *key)
{
    struct json_object *o = dv_admission_member(object, key, json_type_string);
    return o ? json_object_get_string(o) : "";
}

void dv_admission_clean(char *text)
{
    for (; text && *text; text++)
        if ((unsigned char)*text < ' ' || *text == 0x7f)
            *text = '?';
}
