/* SPDX-License-Identifier: Apache-2.0 */
#include "costs.h"

#include <stdlib.h>
#include <string.h>

#define TENANTS_MAX 16384u

struct cost {
    char tenant[DV_TENANT_SIZE];
    dv_u128 used, requested; /* micros x ns per hour */
};

struct dv_costs {
    struct dv_price_list *prices;
    struct cost *rows; /* by tenant */
    size_t n;
};

struct dv_costs *dv_costs_new(struct dv_price_list *prices)
{
    struct dv_costs *c = calloc(1, sizeof *c);
    if (!c) {
        dv_price_list_free(prices);
        return NULL;
    }
    c->prices = prices;
    return c;
}

void dv_costs_free(struct dv_costs *c)
{
    if (!c)
        return;
    dv_price_list_free(c->prices);
    free(c->rows);
    free(c);
}

static struct cost *row_of(struct dv_costs *c, const char *tenant)
{
    size_t low = 0, high = c->n;
    while (low < high) {
        size_t middle = low + (high - low) / 2;
        if (strcmp(c->rows[middle].tenant, tenant) < 0)
            low = middle + 1;
        else
            high = middle;
    }
    if (low < c->n && !strcmp(c->rows[low].tenant, tenant))
        return &c->rows[low];
    struct cost *more = c->n == TENANTS_MAX ? NULL : realloc(c->rows, (c->n + 1) * sizeof *c->rows);
    if (!more)
        return NULL;
    c->rows = more;
    memmove(&more[low + 1], &more[low], (c->n++ - low) * sizeof *more);
    more[low] = (struct cost){.used = 0};
    memcpy(more[low].tenant, tenant, sizeof more[low].tenant);
    return &more[low];
}

void dv_costs_add(struct dv_costs *c, const struct dv_account *account,
                  const struct dv_charge *charge, int64_t unix_s)
{
    int64_t until;
    const struct dv_price_rule *rule =
        c && account->tenant[0] ? dv_price_find(c->prices, account, unix_s, &until) : NULL;
    struct cost *row = rule ? row_of(c, account->tenant) : NULL;
    if (!row)
        return;
    dv_u128 price = (dv_u128)rule->micros_per_hour;
    row->used += price * charge->busy_ns;
    row->requested += price * (charge->requested_compute / DV_COMPUTE_FULL);
}

void dv_costs_each(const struct dv_costs *c, dv_costs_on_cost *on_cost, void *arg)
{
    for (size_t i = 0; c && i < c->n; i++) {
        const struct cost *r = &c->rows[i];
        on_cost(arg, r->tenant, c->prices->currency, "used",
                (uint64_t)(r->used / DV_PRICE_NS_PER_HOUR));
        on_cost(arg, r->tenant, c->prices->currency, "requested",
                (uint64_t)(r->requested / DV_PRICE_NS_PER_HOUR));
    }
}
