/* SPDX-License-Identifier: Apache-2.0 */
/* What the files of this room share: objects of json-c. */
#ifndef DV_ADMISSION_INTERNAL_H
#define DV_ADMISSION_INTERNAL_H

#include "admission/admission.h"
#include "base/str.h"

#include <json-c/json.h>

/* ---- parse.c ---- */

int dv_admission_parse(const char *json, size_t len, struct json_object **ret, struct dv_err *err);
/* A member of this type, or NULL; takes NULL and what is no object. A loan. */
struct json_object *dv_admission_member(struct json_object *object, const char *key,
                                        enum json_type type);
/* A string member, or "". */
const char *dv_admission_string(struct json_object *object, const char *key);
/* Control characters become '?'. */
void dv_admission_clean(char *text);

/* ---- edit.c: changes an object, and keeps the operations that do the same ---- */

struct dv_admission_edit {
    struct json_object *ops; /* an array, or NULL: nothing yet */
    bool failed;             /* out of memory */
};
/* `at` is the pointer of `object`. Takes `value`, also when it fails. */
void dv_admission_edit_set(struct dv_admission_edit *edit, const char *at,
                           struct json_object *object, const char *key, struct json_object *value);
void dv_admission_edit_remove(struct dv_admission_edit *edit, const char *at,
                              struct json_object *object, const char *key);
/* "/" and the key, escaped. */
void dv_admission_pointer_add(struct dv_str *pointer, const char *key);

/* ---- object.c ---- */

/* Changes `object`. a->patch is made, a->object is not. 0 or -ENOMEM. */
int dv_admission_judge(struct json_object *object, const struct dv_admission_rules *rules,
                       struct dv_admission *a);

#endif
