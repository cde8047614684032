/* SPDX-License-Identifier: Apache-2.0 */
#include "activity.h"

#include "node.h"

/* Totals that a process writes only grow; one that does not is taken as it is from now on. */
static uint64_t step(uint64_t *seen, uint64_t now)
{
    uint64_t more = now > *seen ? now - *seen : 0;
    *seen = now;
    return more;
}

void dv_activity_member(struct dv_member *m, uint64_t now)
{
    if (!m->holding || m->returns || !m->slot.page)
        return;
    struct dv_node_tenant *t = dv_node_tenant_of(m->holding);
    if (!t)
        return;
    uint64_t launches = step(&m->activity.launches_seen,
                             __atomic_load_n(&m->slot.page->launches_total, __ATOMIC_RELAXED));
    t->activity.launches += launches;
    t->activity.refused += step(&m->activity.refused_seen,
                                __atomic_load_n(&m->slot.page->refused_total, __ATOMIC_RELAXED));
    if (launches)
        t->activity.worked_ns = now;
}

void dv_activity_worked(struct dv_holding *h, uint64_t now)
{
    struct dv_node_tenant *t = dv_node_tenant_of(h);
    if (t)
        t->activity.worked_ns = now;
}

/* From the claim's coming to its grant. Of one that is taken back, the last two seconds are lost.
 */
static uint64_t waited(struct dv_holding *h, uint64_t now)
{
    const struct dv_slice *slice = dv_node_slice(h);
    struct dv_activity_claim *a = &h->activity;
    uint64_t from = a->waited_to_ns ? a->waited_to_ns : h->claim.since_ns;
    uint64_t to = h->state == DV_HOLDING_QUEUED ? now : slice ? slice->since_ns : from;
    a->done = h->state != DV_HOLDING_QUEUED;
    /* After a restart the waiting before it was counted by the daemon of before. */
    if (!a->waited_to_ns && from < h->node->started_ns)
        from = DV_MAX(from, DV_MIN(to, h->node->started_ns));
    a->waited_to_ns = DV_MAX(from, to);
    return to > from ? to - from : 0;
}

void dv_activity_tick(struct dv_node *node, uint64_t now)
{
    for (struct dv_member *m = node->members; m; m = m->next)
        dv_activity_member(m, now);
    for (struct dv_holding *h = node->holdings; h; h = h->next) {
        struct dv_node_tenant *t = dv_node_tenant_of(h);
        if (!t)
            continue;
        if (h->state != DV_HOLDING_QUEUED)
            t->activity.active_ns = now;
        if (!h->activity.done)
            t->activity.queue_wait_ns += waited(h, now);
    }
}
