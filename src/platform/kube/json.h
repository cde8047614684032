/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Reading what the API server sent: nothing is trusted to be there or to be of the right type. All
 * take NULL; keys are given as a path, ended by NULL.
 *
 *     const char *uid = dv_kube_json_text(pod, "metadata", "uid", NULL);
 *
 * Texts are a loan from the object, cut at a zero byte within.
 */
#ifndef DV_KUBE_JSON_H
#define DV_KUBE_JSON_H

#include "base/macros.h"

#include <stdarg.h>
#include <stdbool.h>

struct json_object; /* of json-c */

#define DV_KUBE_JSON_DEPTH_MAX 64

/* One whole text, an object. Free with json_object_put(). NULL: it is none, or memory is out. */
struct json_object *dv_kube_json_parse(const char *text, size_t len);
struct json_object *dv_kube_json_at(struct json_object *from, ...) __attribute__((sentinel));
/* "" when it is not there or no text. */
const char *dv_kube_json_text(struct json_object *from, ...) __attribute__((sentinel));
int64_t dv_kube_json_int(struct json_object *from, ...) __attribute__((sentinel));
bool dv_kube_json_true(struct json_object *from, ...) __attribute__((sentinel));
/* Of an array; 0 when it is none. */
size_t dv_kube_json_length(struct json_object *array);
struct json_object *dv_kube_json_item(struct json_object *array, size_t i);

/* A quantity ("25", "1k", "500m", "2Gi", "1e3") as a whole number, rounded up, as
 * resource.Quantity.Value() does. -EINVAL, -ERANGE. Source: Kubernetes API reference, "Quantity".
 */
int dv_kube_json_quantity(const char *text, int64_t *ret);

#endif
