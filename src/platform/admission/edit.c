/* SPDX-License-Identifier: Apache-2.0 */
#include "internal.h"

void dv_admission_pointer_add(struct dv_str *pointer, const char *key)
{
    dv_str_addc(pointer, '/');
    for (; *key; key++) {
        if (*key == '~')
            dv_str_add(pointer, "~0");
        else if (*key == '/')
            dv_str_add(pointer, "~1");
        else
            dv_str_addc(pointer, *key);
    }
}

/* Takes value, which may be NULL: none. */
static void add_op(struct dv_admission_edit *edit, const char *what, const char *at,
                   const char *key, struct json_object *value)
{
    dv_cleanup(dv_str_done) struct dv_str path = {0};
    dv_str_add(&path, at);
    dv_admission_pointer_add(&path, key);
    struct json_object *op = json_object_new_object();
    if (!edit->ops)
        edit->ops = json_object_new_array();
    bool ok = op && edit->ops && !path.failed &&
              json_object_object_add(op, "op", json_object_new_string(what)) == 0 &&
              json_object_object_add(op, "path", json_object_new_string(dv_str_get(&path))) == 0;
    if (ok && value)
        ok = json_object_object_add(op, "value", json_object_get(value)) == 0;
    json_object_put(value);
    if (!ok || json_object_array_add(edit->ops, op) < 0) {
        json_object_put(op);
        edit->failed = true;
    }
}

void dv_admission_edit_set(struct dv_admission_edit *edit, const char *at,
                           struct json_object *object, const char *key, struct json_object *value)
{
    struct json_object *copy = NULL;
    if (!value || json_object_deep_copy(value, &copy, NULL) < 0) {
        json_object_put(value);
        edit->failed = true;
        return;
    }
    /* The operation has a value of its own: what is in the object may be changed further. */
    add_op(edit, "add", at, key, copy);
    if (json_object_object_add(object, key, value) < 0) {
        json_object_put(value);
        edit->failed = true;
    }
}

void dv_admission_edit_remove(struct dv_admission_edit *edit, const char *at,
                              struct json_object *object, const char *key)
{
    add_op(edit, "remove", at, key, NULL);
    json_object_object_del(object, key);
}
