/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A bill as the answer that people and programs get: kind "Bill" (docs/reference/api.md). Money is
 * in integer micros, times are seconds.
 */
#ifndef DV_RENDER_BILL_TEXT_H
#define DV_RENDER_BILL_TEXT_H

#include "account/bill.h"
#include "base/str.h"
#include "render/output.h"

/* price_file: what to say the prices came from. NULL when memory is out, or a failed tree. */
struct dv_output *dv_bill_text_output(const struct dv_bill_result *bill, const char *price_file);

/* The sentence about time without a price: "no price applies to tenant a's time on GPU-... (model
 * ..., mode ...) from ... to ...". */
void dv_bill_text_gap(const struct dv_price_list *prices, const struct dv_bill_gap *gap,
                      struct dv_str *text);

#endif
