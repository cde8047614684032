/* SPDX-License-Identifier: Apache-2.0 */
#include "books_view.h"

#include "account/tally.h"
#include "costs.h"
#include "meter.h"
#include "node.h"
#include "waits.h"

#include <string.h>

void dv_books_view_totals(const struct dv_node *node, dv_books_on_total *cb, void *arg)
{
    const struct dv_tally *tally = dv_meter_tally(node);
    for (size_t i = 0; i < tally->n; i++) {
        const struct dv_account *a = &tally->rows[i].account;
        const struct dv_charge *c = &tally->rows[i].charge;
        struct dv_books_total total = {.tenant = a->tenant,
                                       .gpu = a->gpu,
                                       .profile = a->profile,
                                       .mode = a->mode,
                                       .quality = a->quality,
                                       .busy_ns = c->busy_ns,
                                       .reserved_idle_ns = c->reserved_idle_ns,
                                       .wait_ns = c->wait_ns,
                                       .requested_ns = c->requested_compute / DV_COMPUTE_FULL,
                                       .byte_seconds = c->byte_seconds};
        if (a->tenant[0])
            cb(arg, &total);
    }
}

bool dv_books_view_gpu(const struct dv_node *node, const char *gpu_uuid, struct dv_books_gpu *ret)
{
    const struct dv_tally *tally = dv_meter_tally(node);
    bool any = false;
    *ret = (struct dv_books_gpu){0};
    for (size_t i = 0; i < tally->n; i++) {
        const struct dv_charge *c = &tally->rows[i].charge;
        if (strcmp(tally->rows[i].account.gpu, gpu_uuid) != 0)
            continue;
        ret->busy_ns += c->busy_ns;
        ret->overhead_ns += c->overhead_ns;
        ret->reserved_idle_ns += c->reserved_idle_ns;
        ret->unallocated_ns += c->unallocated_ns;
        ret->unhealthy_ns += c->unhealthy_ns;
        any = true;
    }
    return any;
}

void dv_books_view_waits(const struct dv_node *node, dv_books_on_wait *cb, void *arg)
{
    for (size_t i = 0; i < node->n_tenants; i++) {
        const struct dv_node_tenant *t = &node->tenants[i];
        for (size_t k = 0; k < t->spent.n_waits; k++)
            cb(arg, t->name, t->spent.waits[k].holder,
               t->spent.waits[k].turn_ns + t->spent.waits[k].queue_ns);
    }
}

void dv_books_view_costs(const struct dv_node *node, dv_books_on_cost *cb, void *arg)
{
    dv_costs_each(node->costs, cb, arg);
}

bool dv_books_view_ledger(const struct dv_node *node, struct dv_books_ledger *ret)
{
    struct dv_ledger_stats stats;
    if (!node->ledger)
        return false;
    dv_ledger_stats(node->ledger, &stats);
    *ret = (struct dv_books_ledger){.blocks = stats.sealed[DV_LEDGER_MINUTE],
                                    .bytes = stats.file_bytes,
                                    .up = stats.up,
                                    .last_flush_unix =
                                        stats.last_flush_unix_ns / (int64_t)DV_NS_PER_S};
    return true;
}
