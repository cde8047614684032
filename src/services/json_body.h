/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What all request bodies have in common: a JSON object, strictly read. For the files that make
 * checked structs of bodies (request.c); everything here is pure.
 */
#ifndef DV_SERVICES_JSON_BODY_H
#define DV_SERVICES_JSON_BODY_H

#include "base/err.h"

#include <json-c/json.h>
#include <stdbool.h>
#include <stdint.h>

/* For dv_cleanup(). */
void dv_json_body_put(struct json_object **o);
/* A reference for the caller. 0; -EINVAL with a message: no JSON, no object, more behind it. */
int dv_json_body_parse(const char *body, size_t size, struct json_object **ret, struct dv_err *err);
/* -EINVAL at the first key that is none of these, with a suggestion. */
int dv_json_body_check_keys(struct json_object *o, const char *const *keys, size_t n,
                            struct dv_err *err);

/* These leave *ret alone when the key is not there. -EINVAL with a message. */
int dv_json_body_integer(struct json_object *o, const char *key, int64_t min, int64_t max,
                         int64_t *ret, struct dv_err *err);
/* Without control characters, and no longer than `size` takes. */
int dv_json_body_text(struct json_object *o, const char *key, char *ret, size_t size,
                      struct dv_err *err);
int dv_json_body_bool(struct json_object *o, const char *key, bool *ret, struct dv_err *err);

#endif
