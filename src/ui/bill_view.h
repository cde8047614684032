/* SPDX-License-Identifier: Apache-2.0 */
/* A bill's and a usage's tables, for people and as CSV. */
#ifndef DV_UI_BILL_VIEW_H
#define DV_UI_BILL_VIEW_H

#include "base/zone.h"
#include "ui.h"

/* The rows that --by asks for: tenants, GPUs, or lines. */
const struct dv_table *dv_bill_view(const char *by);
const struct dv_table *dv_usage_view(const char *by);

/* The whole bill for people: the range, the rows, where the money went, notes. 0, -ENOMEM. */
int dv_bill_view_write(const struct dv_ui *ui, struct dv_output *bill, const struct dv_zone *zone,
                       const char *by, struct dv_str *text);
/* Times of an array's objects as local days, in `day`, for the views. */
void dv_bill_view_days(struct dv_output *o, const struct dv_zone *zone);

#endif
