/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What tenants' time has cost since the daemon's start, by the prices that it was started with
 * (`--prices`): for the metrics. Bills are made of the ledger (bill.h); this only keeps up with the
 * charges as they come, each at the price of its moment.
 */
#ifndef DV_SERVICES_COSTS_H
#define DV_SERVICES_COSTS_H

#include "account/price.h"

struct dv_costs;

/* Takes `prices`, in any case. NULL when memory is out. */
struct dv_costs *dv_costs_new(struct dv_price_list *prices);
void dv_costs_free(struct dv_costs *costs);
/* Time without a price, and the GPU's own time, cost no tenant anything. NULL: nothing. */
void dv_costs_add(struct dv_costs *costs, const struct dv_account *account,
                  const struct dv_charge *charge, int64_t unix_s);

/* basis: "used", "requested". Micros are rounded down. */
typedef void dv_costs_on_cost(void *arg, const char *tenant, const char *currency,
                              const char *basis, uint64_t micros);
void dv_costs_each(const struct dv_costs *costs, dv_costs_on_cost *on_cost, void *arg);

#endif
