/* SPDX-License-Identifier: Apache-2.0 */
#include "meter.h"

/* Counters only grow; one that does not is taken as it is from now on. */
static uint64_t step(uint64_t *seen, uint64_t now)
{
    uint64_t more = now > *seen ? now - *seen : 0;
    *seen = now;
    return more;
}

static void charge(struct dv_holding *h, const struct dv_usage *more)
{
    struct dv_node_tenant *t = dv_node_tenant(h->node, h->claim.tenant);
    dv_usage_add(&h->used, more);
    if (t) {
        dv_usage_add(&t->used, more);
        t->dirty = true;
    }
}

void dv_meter_holding(struct dv_holding *h, uint64_t now)
{
    struct dv_usage more = {0};
    struct dv_arbiter_counters counters;
    if (h->entity == UINT32_MAX)
        return;
    dv_usage_meter_accrue(&h->meter, &more, now);
    if (dv_lease_slice_counters(h->node->lease, h->device, h->entity, &counters) == 0) {
        dv_usage_busy(&more, step(&h->charged_seen_ns, counters.charged_ns));
        dv_usage_wait(&more, step(&h->waited_seen_ns, counters.waited_ns));
    }
    charge(h, &more);
}

void dv_meter_add_busy(struct dv_holding *h, uint64_t ns)
{
    struct dv_usage more = {.busy_ns = ns};
    charge(h, &more);
}

void dv_meter_tick(struct dv_node *node, uint64_t now)
{
    for (struct dv_holding *h = node->holdings; h; h = h->next)
        dv_meter_holding(h, now);
}
