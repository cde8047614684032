/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Where bill, usage and ledger get their answers from: the daemon, or the file of a ledger that
 * --ledger names. Both are the same trees, made by the same code (billing/billing.h); what goes
 * wrong is said on stderr, once.
 */
#ifndef DV_UI_BILL_SOURCE_H
#define DV_UI_BILL_SOURCE_H

#include "base/zone.h"
#include "render/output.h"
#include "ui.h"

/* As given on the command line; NULL: not given. */
struct dv_bill_source {
    const char *ledger, *price_file;
    const char *from, *to, *timezone;
    const char *by, *basis, *idle;
    const char *tenant, *gpu, *pod;
};

/* Each returns DV_UI_OK and the tree, or the exit status. */
int dv_bill_source_bill(const struct dv_ui *ui, const struct dv_bill_source *source,
                        struct dv_output **ret);
int dv_bill_source_usage(const struct dv_ui *ui, const struct dv_bill_source *source,
                         struct dv_output **ret);
int dv_bill_source_rows(const struct dv_ui *ui, const struct dv_bill_source *source,
                        struct dv_output **ret);
int dv_bill_source_show(const struct dv_ui *ui, const char *ledger, bool verify,
                        struct dv_output **ret);

/* The zone that an answer's `timezone` names; UTC, and a warning, where it is not known here. */
void dv_bill_source_zone(const struct dv_ui *ui, struct dv_output *answer, struct dv_zone *ret);

#endif
