/* SPDX-License-Identifier: Apache-2.0 */
#include "meter.h"

#include "sys/clock.h"

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
    dv_books_view_charge(h, more);
    if (more->busy_ns)
        dv_activity_worked(h, dv_clock_now());
}

/*
 * A slice that is alone on its device, or overlaps with others under MPS, has no leases: its
 * processes time their own work. What they say is bounded by the time that has passed; under MPS
 * it is an estimate, since kernels that overlap each count in full. Time-slices are metered by the
 * driver's utilization (audit.h): a process cannot tell its own turns from those of others.
 */
static uint64_t own_metering(struct dv_holding *h, uint64_t now)
{
    uint64_t sum = 0;
    for (struct dv_member *m = h->node->members; m; m = m->next) {
        if (m->holding != h || !m->slot.page)
            continue;
        uint64_t said = __atomic_load_n(&m->slot.page->charged_total_ns, __ATOMIC_ACQUIRE);
        sum += step(&m->charged_seen_ns, DV_MIN(said, now - m->since_ns));
    }
    return sum;
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
    const struct dv_slice *slice = dv_node_slice(h);
    if (slice && (slice->mode == DV_MODE_EXCLUSIVE || slice->mode == DV_MODE_MPS))
        dv_usage_busy(&more, own_metering(h, now));
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
