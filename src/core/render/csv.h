/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The same rows and columns as a table (render/table.h) as CSV, RFC 4180: a heading of keys, CR LF,
 * quotes where needed, exact values in base units.
 *
 *     r = dv_csv_write(&view, o, &text);
 */
#ifndef DV_RENDER_CSV_H
#define DV_RENDER_CSV_H

#include "render/table.h"

/* Appends. The heading is each column's `csv`, or its path. 0, -ENOMEM. */
int dv_csv_write(const struct dv_table *view, struct dv_output *o, struct dv_str *text);
/* Appends one field, in quotes where it needs them. */
void dv_csv_quote(const char *v, struct dv_str *text);

#endif
