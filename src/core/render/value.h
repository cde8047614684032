/* SPDX-License-Identifier: Apache-2.0 */
/*
 * One value of a tree as text: raw (what JSON and CSV print; exact) or for people (units).
 *
 *     dv_value_raw(node, &s);                          10737418240   3.500000000   500
 *     dv_value_human(node, DV_VALUE_BYTES, &s);        10.0 GiB      3.50s         50%
 */
#ifndef DV_RENDER_VALUE_H
#define DV_RENDER_VALUE_H

#include "base/str.h"
#include "render/output.h"

/* How people see it. AUTO goes by the node's type; the others are for values that came as plain
 * numbers in JSON. */
enum dv_value_as {
    DV_VALUE_AUTO = 0,
    DV_VALUE_BYTES,
    DV_VALUE_SECONDS,
    DV_VALUE_PERMILLE, /* thousandths, shown as percent */
    DV_VALUE_MONEY,    /* micros, with as many digits as the tree's `currency` has */
};

/* Scalars as they are; arrays of scalars joined by blanks; objects and null: nothing. Strings are
 * not escaped. */
void dv_value_raw(const struct dv_output_node *node, struct dv_str *text);

/* Nothing known is "-". Control characters of strings become "\xNN": a tenant's name never moves
 * anyone's cursor. */
void dv_value_human(const struct dv_output_node *node, enum dv_value_as as, struct dv_str *text);

/* Appends a string as dv_value_human does, and returns its width in code points. */
size_t dv_value_clean(const char *v, struct dv_str *text);

#endif
