/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A bill as one page of HTML for people: nothing is loaded from anywhere, no scripts; it prints on
 * A4, follows the reader's dark mode, and says everything in text too, for a text browser.
 *
 *     r = dv_bill_html_write(bill, &zone, &text, &err);
 *
 * Names in it (tenants, GPUs, notes) are hostile input: they are escaped and cannot leave their
 * place.
 */
#ifndef DV_RENDER_BILL_HTML_H
#define DV_RENDER_BILL_HTML_H

#include "base/err.h"
#include "base/str.h"
#include "base/zone.h"
#include "render/output.h"

#define DV_BILL_HTML_LINES_MAX 1000u /* more are left out, and the page says so */

/* Appends. bill: a tree of kind Bill; zone: the one that its times are shown in. 0; -EINVAL when
 * the tree is no bill; -ENOMEM. */
int dv_bill_html_write(struct dv_output *bill, const struct dv_zone *zone, struct dv_str *text,
                       struct dv_err *err);

#endif
