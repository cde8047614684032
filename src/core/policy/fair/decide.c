/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The next decision. In this order: who waited beyond patience; whoever fits, by the order of
 * queues; room made by moving, then by evicting; a place kept for the first who still waits; what
 * is left over for elastic workloads.
 */
#include "policy/fair/fair_internal.h"

#include <errno.h>
#include <stdlib.h>

/* ---- may it ------------------------------------------------------------------------------------
 */

bool dv_fair_quota(const struct dv_fair *f, const struct workload *w, uint32_t members,
                   bool passes_kept, uint32_t *ret_queue)
{
    uint64_t amount = (uint64_t)members * w->units;
    for (uint32_t i = w->spec.queue; i != NONE; i = f->queues[i].conf.parent) {
        const struct queue *q = &f->queues[i];
        uint64_t kept = passes_kept ? 0 : q->kept, kept_fixed = passes_kept ? 0 : q->kept_fixed;
        bool over = q->held + kept + amount > q->conf.limit;
        if (over || (!w->spec.preemptible && q->fixed + kept_fixed + amount > q->conf.guarantee)) {
            *ret_queue = i;
            return false;
        }
    }
    return true;
}

uint64_t dv_fair_cost(const struct dv_fair *f, const struct workload *w, uint64_t now_ns)
{
    uint64_t ran = now_ns > w->started_ns ? now_ns - w->started_ns : 0;
    return w->units * ((ran + f->config.restart_ns) / DV_NS_PER_MS + 1);
}

/* The shapes that fit now, as a mask; those that might on reserved GPUs too. */
static uint64_t fitting(struct dv_fair *f)
{
    if (f->fits_released == f->released && f->fits_taken == f->taken)
        return f->fits;
    bool spare = f->kept.holder != NONE && f->kept.at_ns != DV_NEVER;
    uint64_t fits = UINT64_C(1) << BIT_OTHERS;
    for (uint32_t i = 0; i < f->n_shapes; i++) {
        struct shape *s = &f->shapes[i];
        if (!s->refs)
            continue;
        /* What did not fit does not fit after more was taken. */
        bool known = s->released == f->released && (!s->fits || s->taken == f->taken);
        if (!known)
            s->fits = dv_fair_pool_slots(f->pool, &s->request, s->min) >= s->min;
        s->released = f->released;
        s->taken = f->taken;
        if (s->fits || (spare && s->request.kind == DV_FAIR_WHOLE))
            fits |= UINT64_C(1) << s->bit;
    }
    f->fits_released = f->released;
    f->fits_taken = f->taken;
    f->fits = fits;
    return fits;
}

/* ---- starting ---------------------------------------------------------------------------------
 */

void dv_fair_started(struct dv_fair *f, uint32_t w, uint64_t now_ns, struct dv_fair_decision *ret)
{
    struct workload *x = &f->workloads[w];
    if (f->kept.holder == w)
        dv_fair_unreserve(f);
    dv_fair_unqueue(f, w);
    dv_fair_hold(f, x, x->members, true, now_ns);
    dv_fair_run(f, w, now_ns);
    *ret = (struct dv_fair_decision){.kind = DV_FAIR_START,
                                     .workload = w,
                                     .members = x->members,
                                     .waits = x->state == DV_FAIR_STARTING};
}

/* Starts w if there is room and quota. */
static bool try_start(struct dv_fair *f, uint32_t w, uint64_t now_ns, bool passes,
                      struct dv_fair_decision *ret)
{
    struct workload *x = &f->workloads[w];
    bool holder = f->kept.holder == w;
    bool is_short = !holder && dv_fair_is_short(f, x, now_ns);
    uint32_t who;
    fitting(f);
    if (x->never || (!holder && !is_short && x->shape != NONE && !f->shapes[x->shape].fits) ||
        !dv_fair_quota(f, x, x->spec.min, holder || is_short, &who))
        return false;
    if (holder)
        dv_fair_reserve_open(f, true);
    uint32_t n = dv_fair_pool_take(f->pool, &x->spec.request, x->spec.min, x->spec.min, DV_FAIR_ANY,
                                   false, x->places);
    bool on_kept = !n && is_short;
    if (on_kept)
        n = dv_fair_pool_take(f->pool, &x->spec.request, x->spec.min, x->spec.min, DV_FAIR_ANY,
                              true, x->places);
    if (holder)
        dv_fair_reserve_open(f, false);
    if (!n)
        return false;
    x->members = n;
    dv_fair_started(f, w, now_ns, ret);
    ret->backfilled = passes || on_kept;
    return true;
}

/* The first of a leaf that can start, its head or one that may pass it. */
static bool start_in_leaf(struct dv_fair *f, uint32_t leaf, uint64_t now_ns,
                          struct dv_fair_decision *ret)
{
    const struct queue *q = &f->queues[leaf];
    uint64_t fits = fitting(f);
    uint32_t n = q->n - 1 > f->config.depth ? f->config.depth + 1 : q->n;
    for (uint32_t i = 0; i < n; i++) {
        uint32_t w = q->order[q->first + i];
        if (fits >> f->workloads[w].bit & 1 && try_start(f, w, now_ns, i > 0, ret))
            return true;
    }
    return false;
}

/* Can nothing here start before something is released? */
static bool closed(const struct dv_fair *f, const struct queue *q, uint64_t fits)
{
    return !(q->mask & fits) || q->skip == f->released ||
           (q->conf.limit != DV_FAIR_UNLIMITED && q->held + q->least > q->conf.limit);
}

static bool start_below(struct dv_fair *f, uint32_t queue, uint64_t now_ns,
                        struct dv_fair_decision *ret)
{
    for (;;) {
        uint64_t fits = fitting(f);
        uint32_t best = NONE;
        if (f->queues[queue].leaf_index != NONE) {
            if (start_in_leaf(f, queue, now_ns, ret))
                return true;
            f->queues[queue].skip = f->released;
            return false;
        }
        for (uint32_t i = f->queues[queue].first_child; i != NONE; i = f->queues[i].next_sibling)
            if (!closed(f, &f->queues[i], fits) &&
                (best == NONE || dv_fair_before(f->queues, i, best)))
                best = i;
        if (best == NONE) {
            f->queues[queue].skip = f->released;
            return false;
        }
        if (start_below(f, best, now_ns, ret))
            return true;
    }
}

/* ---- those who wait ----------------------------------------------------------------------------
 */

/* The one that has waited longest, if that is longer than patience. */
static uint32_t oldest_aged(const struct dv_fair *f, uint64_t now_ns)
{
    uint32_t i = f->oldest;
    if (f->config.patience_ns == DV_NEVER)
        return NONE;
    while (i != NONE && f->workloads[i].never)
        i = f->workloads[i].after;
    if (i == NONE || now_ns < f->workloads[i].since_ns ||
        now_ns - f->workloads[i].since_ns < f->config.patience_ns)
        return NONE;
    return i;
}

/* May it not ask anybody to leave yet? Notes when it may. */
static bool is_quiet(struct dv_fair *f, const struct workload *w, uint64_t now_ns)
{
    if (now_ns >= w->quiet_until_ns)
        return false;
    f->retry_ns = DV_MIN(f->retry_ns, w->quiet_until_ns);
    return true;
}

/* Room by moving, then by evicting. */
static int make_room_for(struct dv_fair *f, uint32_t w, uint64_t now_ns,
                         struct dv_fair_decision *ret)
{
    struct workload *x = &f->workloads[w];
    bool holder = f->kept.holder == w;
    if (x->never || x->tried == f->changed || is_quiet(f, x, now_ns))
        return -ENOENT;
    if (holder)
        dv_fair_reserve_open(f, true);
    int r = f->config.no_consolidate ? -ENOENT : dv_fair_consolidate(f, w, now_ns, ret);
    if (r == -ENOENT && dv_fair_may_evict(f, w))
        r = dv_fair_evict(f, w, now_ns, ret);
    if (holder)
        dv_fair_reserve_open(f, false);
    if (!r && holder)
        dv_fair_unreserve(f);
    if (r == -ENOENT)
        x->tried = f->changed;
    return r;
}

static int serve_aged(struct dv_fair *f, uint64_t now_ns, struct dv_fair_decision *ret)
{
    uint32_t w = oldest_aged(f, now_ns);
    if (w == NONE)
        return -ENOENT;
    if (f->kept.holder != w && !(f->kept.holder != NONE && f->kept.aged))
        dv_fair_unreserve(f);
    f->kept.aged |= f->kept.holder == w;
    if (f->kept.holder != w && try_start(f, w, now_ns, false, ret))
        return 0;
    int r = make_room_for(f, w, now_ns, ret);
    if (r != -ENOENT || f->kept.holder != NONE)
        return r;
    r = dv_fair_reserve(f, w, true, now_ns);
    return r == -ENOMEM ? r : -ENOENT;
}

/* The holder starts if it can; a reservation whose time has passed is made anew. */
static int serve_holder(struct dv_fair *f, uint64_t now_ns, struct dv_fair_decision *ret)
{
    uint32_t w = f->kept.holder;
    if (w == NONE)
        return -ENOENT;
    if (f->kept.tried != f->released) {
        f->kept.tried = f->released;
        if (try_start(f, w, now_ns, false, ret))
            return 0;
        f->kept.tried = f->released;
    }
    if (f->kept.at_ns == DV_NEVER || now_ns <= f->kept.at_ns)
        return -ENOENT;
    if (f->kept.aged) {
        /* The same place, now for as long as it takes: each change of mind could be put off by
         * newcomers, this one only by those who are there. */
        f->kept.at_ns = DV_NEVER;
        f->released++;
        return -ENOENT;
    }
    dv_fair_unreserve(f);
    int r = dv_fair_reserve(f, w, false, now_ns);
    return r == -ENOMEM ? r : -ENOENT;
}

/* ---- blocked heads ------------------------------------------------------------------------------
 */

static int by_order(const void *x, const void *y, void *arg)
{
    uint32_t a = *(const uint32_t *)x, b = *(const uint32_t *)y;
    return a == b ? 0 : dv_fair_leaf_before(arg, a, b) ? -1 : 1;
}

static uint32_t head_of(const struct dv_fair *f, uint32_t leaf)
{
    const struct queue *q = &f->queues[leaf];
    for (uint32_t i = 0; i < q->n; i++)
        if (!f->workloads[q->order[q->first + i]].never)
            return q->order[q->first + i];
    return NONE;
}

/* The first who may ask others to leave. */
static uint32_t asker_of(struct dv_fair *f, uint32_t leaf, uint64_t now_ns)
{
    const struct queue *q = &f->queues[leaf];
    uint32_t n = q->n - 1 > f->config.depth ? f->config.depth + 1 : q->n;
    for (uint32_t i = 0; i < n; i++) {
        const struct workload *w = &f->workloads[q->order[q->first + i]];
        if (!w->never && !is_quiet(f, w, now_ns))
            return q->order[q->first + i];
    }
    return NONE;
}

/* Is it worth while to look for room for this head? */
static bool promising(struct dv_fair *f, uint32_t w)
{
    const struct workload *x = &f->workloads[w];
    if (x->tried == f->changed)
        return false;
    bool scattered =
        !f->config.no_consolidate && x->spec.request.kind == DV_FAIR_WHOLE &&
        dv_fair_pool_free_gpus(f->pool) * DV_COMPUTE_FULL >= (uint64_t)x->spec.min * x->units;
    return scattered || dv_fair_may_evict(f, w);
}

static int serve_blocked(struct dv_fair *f, uint64_t now_ns, struct dv_fair_decision *ret)
{
    uint32_t n = 0, *leaves = malloc((f->n_leaves + 1) * sizeof *leaves);
    int r = -ENOENT;
    if (!leaves)
        return -ENOMEM;
    for (uint32_t i = 0; i < f->n_leaves; i++) {
        uint32_t w = f->queues[f->leaves[i]].mask ? asker_of(f, f->leaves[i], now_ns) : NONE;
        if (w != NONE && promising(f, w))
            leaves[n++] = f->leaves[i];
    }
    qsort_r(leaves, n, sizeof *leaves, by_order, f);
    for (uint32_t i = 0; r == -ENOENT && i < n; i++)
        r = make_room_for(f, asker_of(f, leaves[i], now_ns), now_ns, ret);
    free(leaves);
    return r;
}

/* The first head in order that quotas allow keeps a place. */
static int keep_place(struct dv_fair *f, uint64_t now_ns)
{
    uint32_t best = NONE, who;
    if (f->kept.holder != NONE || f->kept_tried == f->changed)
        return 0;
    for (uint32_t i = 0; i < f->n_leaves; i++) {
        uint32_t w = f->queues[f->leaves[i]].mask ? head_of(f, f->leaves[i]) : NONE;
        if (w != NONE && dv_fair_quota(f, &f->workloads[w], f->workloads[w].spec.min, true, &who) &&
            (best == NONE || dv_fair_leaf_before(f, f->leaves[i], best)))
            best = f->leaves[i];
    }
    int r = best == NONE ? 0 : dv_fair_reserve(f, head_of(f, best), false, now_ns);
    f->kept_tried = f->changed;
    return r == -ENOMEM ? r : 0;
}

/* ---- elastic workloads
 * --------------------------------------------------------------------------- */

static uint32_t next_elastic(const struct dv_fair *f)
{
    uint32_t best = NONE;
    for (uint32_t i = 0; i < f->n_running; i++) {
        const struct workload *x = &f->workloads[f->running[i]];
        if (x->state != DV_FAIR_RUNNING || x->members == x->spec.max || x->tried == f->changed)
            continue;
        const struct workload *y = best == NONE ? NULL : &f->workloads[best];
        if (!y ||
            (x->spec.queue == y->spec.queue ? x->seq < y->seq
                                            : dv_fair_leaf_before(f, x->spec.queue, y->spec.queue)))
            best = f->running[i];
    }
    return best;
}

static int grow(struct dv_fair *f, uint64_t now_ns, struct dv_fair_decision *ret)
{
    uint32_t w, who;
    if (!f->n_elastic)
        return -ENOENT;
    while ((w = next_elastic(f)) != NONE) {
        struct workload *x = &f->workloads[w];
        uint32_t want = x->spec.max - x->members, n = 0;
        while (want && !dv_fair_quota(f, x, want, false, &who))
            want /= 2;
        uint32_t rack =
            x->spec.request.one_rack ? dv_fair_pool_rack(f->pool, x->places[0].node) : DV_FAIR_ANY;
        if (want)
            n = dv_fair_pool_take(f->pool, &x->spec.request, 1, want, rack, false,
                                  x->places + x->members);
        if (!n) {
            x->tried = f->changed;
            continue;
        }
        bool waits = false;
        for (uint32_t i = 0; i < n; i++)
            waits |= !dv_fair_pool_is_left(f->pool, &x->places[x->members + i]);
        x->members += n;
        f->n_elastic -= x->members == x->spec.max;
        dv_fair_hold(f, x, n, true, now_ns);
        *ret = (struct dv_fair_decision){
            .kind = DV_FAIR_GROW, .workload = w, .members = n, .waits = waits};
        return 0;
    }
    return -ENOENT;
}

/* ---- the decision
 * --------------------------------------------------------------------------------- */

int dv_fair_next(struct dv_fair *f, uint64_t now_ns, struct dv_fair_decision *ret)
{
    int r = dv_fair_refresh(f, now_ns);
    f->retry_ns = DV_NEVER;
    r = r < 0 ? r : serve_aged(f, now_ns, ret);
    if (r == -ENOENT)
        r = serve_holder(f, now_ns, ret);
    if (r == -ENOENT && start_below(f, DV_FAIR_ROOT, now_ns, ret))
        r = 0;
    if (r == -ENOENT && f->queues[0].mask)
        r = serve_blocked(f, now_ns, ret);
    if (r != -ENOENT)
        return r;
    if (f->queues[0].mask) {
        r = keep_place(f, now_ns);
        if (r < 0)
            return r;
        /* What is not kept may be open to others again, and the other way round. */
        if (start_below(f, DV_FAIR_ROOT, now_ns, ret))
            return 0;
    }
    return grow(f, now_ns, ret);
}

uint64_t dv_fair_next_time(const struct dv_fair *f, uint64_t now_ns)
{
    uint64_t next = DV_NEVER;
    if (!f->queues[0].mask)
        return next;
    if (f->config.share_period_ns && (f->shares_dirty || f->config.pull_milli))
        next = DV_MAX(f->shares_at_ns + f->config.share_period_ns, now_ns + 1);
    uint32_t i = f->oldest;
    while (i != NONE && f->workloads[i].never)
        i = f->workloads[i].after;
    if (i != NONE && f->config.patience_ns != DV_NEVER) {
        uint64_t at = f->workloads[i].since_ns + f->config.patience_ns;
        if (at > now_ns)
            next = DV_MIN(next, at);
    }
    if (f->retry_ns > now_ns)
        next = DV_MIN(next, f->retry_ns);
    if (f->kept.holder != NONE && f->kept.at_ns != DV_NEVER)
        next = DV_MIN(next, DV_MAX(f->kept.at_ns, now_ns) + 1);
    return next;
}
