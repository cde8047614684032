/* SPDX-License-Identifier: Apache-2.0 */
/* Which queue is next: shares, weights bent by past use, and the order that follows from them. */
#include "policy/fair/fair_internal.h"

#include <errno.h>

/* ---- shares --------------------------------------------------------------------------------- */

struct level {
    struct dv_fair_claim *claims;
    uint64_t *weights, *shares;
    u128 *used;
    uint32_t *who;
};

static struct level level_of(struct dv_fair *f, void *memory, size_t n)
{
    struct level l;
    l.used = memory;
    l.claims = (struct dv_fair_claim *)(l.used + n);
    l.weights = (uint64_t *)(l.claims + n);
    l.shares = l.weights + n;
    l.who = (uint32_t *)(l.shares + n);
    return l;
}

static size_t level_size(size_t n)
{
    return n *
           (sizeof(u128) + sizeof(struct dv_fair_claim) + 2 * sizeof(uint64_t) + sizeof(uint32_t));
}

/* What a queue can make use of: its own limit, and what its children can. */
static void find_caps(struct dv_fair *f)
{
    for (uint32_t i = 0; i < f->n_queues; i++)
        f->queues[i].cap = f->queues[i].n_children ? 0 : f->queues[i].wanted;
    for (uint32_t i = f->n_queues; i--;) {
        struct queue *q = &f->queues[i];
        q->cap = DV_MIN(q->cap, q->conf.limit);
        if (i)
            f->queues[q->conf.parent].cap += q->cap;
    }
}

static uint64_t in_ms(u128 unit_ns)
{
    u128 ms = unit_ns / DV_NS_PER_MS;
    return ms > UINT64_MAX ? UINT64_MAX : (uint64_t)ms;
}

static int divide_among_children(struct dv_fair *f, uint32_t parent, struct level *l,
                                 uint64_t now_ns)
{
    size_t n = 0;
    for (uint32_t i = f->queues[parent].first_child; i != NONE; i = f->queues[i].next_sibling) {
        struct queue *q = &f->queues[i];
        dv_fair_usage_to(f, i, now_ns);
        q->used_ms = in_ms(q->usage.unit_ns);
        q->share = 0;
        if (!q->cap)
            continue;
        l->who[n] = i;
        l->weights[n] = q->conf.weight;
        l->used[n++] = q->usage.unit_ns;
    }
    uint64_t all = 0;
    for (size_t k = 0; k < n; k++)
        all += l->weights[k];
    for (size_t k = 0; k < n; k++)
        f->queues[l->who[k]].ideal =
            DV_COMPUTE_FULL / 2 +
            (uint64_t)((u128)f->queues[parent].share * l->weights[k] / DV_MAX(all, 1));
    dv_fair_bend(l->weights, l->used, n, f->config.pull_milli, l->weights);
    for (size_t k = 0; k < n; k++) {
        struct queue *q = &f->queues[l->who[k]];
        q->weight = l->weights[k];
        l->claims[k] = (struct dv_fair_claim){.guarantee = q->conf.guarantee,
                                              .cap = q->cap,
                                              .weight = q->weight,
                                              .priority = q->conf.priority};
    }
    int r = dv_fair_divide(l->claims, n, f->queues[parent].share, l->shares);
    for (size_t k = 0; !r && k < n; k++)
        f->queues[l->who[k]].share = l->shares[k];
    return r;
}

int dv_fair_refresh(struct dv_fair *f, uint64_t now_ns)
{
    bool due = now_ns >= f->shares_at_ns + f->config.share_period_ns &&
               (f->shares_dirty || now_ns > f->shares_at_ns);
    if (!due && !f->shares_urgent)
        return 0;
    uint32_t most = 1;
    for (uint32_t i = 0; i < f->n_queues; i++)
        most = DV_MAX(most, f->queues[i].n_children);
    void *memory = dv_fair_scratch(f, level_size(most));
    if (!memory)
        return -ENOMEM;
    struct level l = level_of(f, memory, most);
    find_caps(f);
    f->queues[0].share = DV_MIN(f->capacity, f->queues[0].cap);
    for (uint32_t i = 0; i < f->n_queues; i++) {
        int r = f->queues[i].n_children ? divide_among_children(f, i, &l, now_ns) : 0;
        if (r < 0)
            return r;
    }
    f->shares_at_ns = now_ns;
    f->shares_dirty = f->shares_urgent = false;
    f->changed++;
    return 0;
}

/* ---- order ---------------------------------------------------------------------------------- */

/* a/b < c/d, with b and d above 0: -1, 0, 1. */
static int compare_ratios(uint64_t a, uint64_t b, uint64_t c, uint64_t d)
{
    u128 left = (u128)a * d, right = (u128)c * b;
    return left < right ? -1 : left > right;
}

static uint64_t bounded(uint64_t amount)
{
    return DV_MIN(amount, DV_FAIR_CAPACITY_MAX);
}

bool dv_fair_before(const struct queue *queues, uint32_t a, uint32_t b)
{
    const struct queue *x = &queues[a], *y = &queues[b];
    uint64_t gx = bounded(x->conf.guarantee), gy = bounded(y->conf.guarantee);
    bool below_x = x->held < gx, below_y = y->held < gy;
    int c;
    if (below_x != below_y)
        return below_x;
    if (below_x) {
        c = compare_ratios(x->held, gx, y->held, gy);
    } else {
        if (x->conf.priority != y->conf.priority)
            return x->conf.priority > y->conf.priority;
        if (!x->weight != !y->weight)
            return x->weight > 0;
        c = compare_ratios(x->held - gx + x->ideal, DV_MAX(x->weight, 1), y->held - gy + y->ideal,
                           DV_MAX(y->weight, 1));
    }
    if (!c)
        c = compare_ratios(x->used_ms, DV_MAX(x->conf.weight, 1), y->used_ms,
                           DV_MAX(y->conf.weight, 1));
    return c ? c < 0 : a < b;
}

bool dv_fair_leaf_before(const struct dv_fair *f, uint32_t a, uint32_t b)
{
    const struct queue *q = f->queues;
    while (q[a].depth > q[b].depth)
        a = q[a].conf.parent;
    while (q[b].depth > q[a].depth)
        b = q[b].conf.parent;
    while (q[a].conf.parent != q[b].conf.parent) {
        a = q[a].conf.parent;
        b = q[b].conf.parent;
    }
    return a != b && dv_fair_before(q, a, b);
}
