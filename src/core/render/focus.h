/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A bill as FOCUS, the FinOps Open Cost and Usage Specification: CSV (RFC 4180) whose columns are
 * those of a version of it, and divvy's own with the prefix x_.
 *
 *     r = dv_focus_write(bill, &zone, DV_FOCUS_1_2, &text, &err);
 *
 * The bill is a tree of kind Bill (docs/reference/api.md) with lines by all dimensions and day.
 * What a GPU costs in a day is the origin charge; it is split into one row per line of a tenant and
 * one row for what no tenant is charged for, and these rows sum to it exactly, in money and in
 * quantity. What a bill charges tenants beyond their lines (shares of idle time, fixed prices)
 * comes as further rows, with one row that takes their sum off again: the sum of BilledCost over
 * the whole file is the bill's origin cost. Of a bill that shows one tenant's part there are that
 * tenant's rows, and nothing that speaks of the rest.
 */
#ifndef DV_RENDER_FOCUS_H
#define DV_RENDER_FOCUS_H

#include "base/err.h"
#include "base/str.h"
#include "base/zone.h"
#include "render/output.h"

enum dv_focus_version { DV_FOCUS_1_2, DV_FOCUS_1_3, DV_FOCUS_VERSIONS };

/* "1.2", "1.3". 0 or -EINVAL. */
int dv_focus_version_parse(const char *text, enum dv_focus_version *ret, struct dv_err *err);

/* Appends. zone: the bill's, whose months are the billing periods. 0; -EINVAL when the tree is not
 * such a bill; -ENOMEM. */
int dv_focus_write(struct dv_output *bill, const struct dv_zone *zone,
                   enum dv_focus_version version, struct dv_str *text, struct dv_err *err);

#endif
