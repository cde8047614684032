/* SPDX-License-Identifier: Apache-2.0 */
/*
 * YAML text, one mapping, as the tree of an answer (render/output.h): to print as JSON what
 * somebody has as YAML. Plain scalars that look like JSON's null, booleans and numbers become
 * those, all others strings.
 *
 *     dv_cleanup(dv_output_free) struct dv_output *o = NULL;
 *     r = dv_yaml_output_read("answer", text, len, &o, &err);
 */
#ifndef DV_YAML_YAML_OUTPUT_H
#define DV_YAML_YAML_OUTPUT_H

#include "base/err.h"
#include "render/output.h"

/* Errors as dv_yaml_parse(). */
int dv_yaml_output_read(const char *name, const char *text, size_t len, struct dv_output **ret,
                        struct dv_err *err);

/* One node of a tree, a mapping, in the same way. -EINVAL (something else), -ENOMEM. */
struct dv_yaml_node;
int dv_yaml_output_node(const char *name, const struct dv_yaml_node *map, struct dv_output **ret,
                        struct dv_err *err);

#endif
