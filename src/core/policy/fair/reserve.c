/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The place that is kept for one who waits. Those who run are taken out of the pool in the order
 * of their estimated ends until the waiting one fits; where it fits then is its place, the last end
 * is its time; all is put back. The GPUs of that place, and the headroom in its queues, are
 * closed to newcomers, except to those who end before that time.
 */
#include "policy/fair/fair_internal.h"

#include <errno.h>
#include <stdlib.h>

bool dv_fair_is_short(const struct dv_fair *f, const struct workload *w, uint64_t now_ns)
{
    uint64_t end;
    return f->kept.holder != NONE && f->kept.at_ns != DV_NEVER && w->spec.estimate_ns &&
           !__builtin_add_overflow(now_ns, w->spec.estimate_ns, &end) && end <= f->kept.at_ns;
}

void dv_fair_reserve_open(struct dv_fair *f, bool open)
{
    for (uint32_t i = 0; i < f->kept.n; i++)
        dv_fair_pool_reserve(f->pool, f->kept.places[i].node, f->kept.places[i].gpus, !open);
}

static void keep_headroom(struct dv_fair *f, bool keep)
{
    const struct workload *w = &f->workloads[f->kept.holder];
    uint64_t amount = keep ? (uint64_t)w->spec.min * w->units : 0;
    for (uint32_t i = w->spec.queue; i != NONE; i = f->queues[i].conf.parent) {
        f->queues[i].kept = amount;
        f->queues[i].kept_fixed = w->spec.preemptible ? 0 : amount;
    }
}

void dv_fair_unreserve(struct dv_fair *f)
{
    if (f->kept.holder == NONE)
        return;
    dv_fair_reserve_open(f, true);
    keep_headroom(f, false);
    f->kept.holder = NONE;
    f->kept.n = 0;
    f->kept.aged = false;
    f->released++;
    f->changed++;
}

/* ---- when ----------------------------------------------------------------------------------- */

struct end {
    uint64_t at_ns; /* DV_NEVER: not known */
    uint64_t started_ns, seq;
    uint32_t workload;
};

static int by_end(const void *x, const void *y)
{
    const struct end *a = x, *b = y;
    if (a->at_ns != b->at_ns)
        return a->at_ns < b->at_ns ? -1 : 1;
    if (a->started_ns != b->started_ns)
        return a->started_ns < b->started_ns ? -1 : 1;
    return a->seq < b->seq ? -1 : 1;
}

/* In order; where only known ends matter, those alone. Returns how many. */
static uint32_t list_ends(const struct dv_fair *f, bool known, struct end *ends, uint64_t now_ns)
{
    uint32_t n = 0;
    for (uint32_t i = 0; i < f->n_running; i++) {
        const struct workload *w = &f->workloads[f->running[i]];
        uint64_t at = w->started_ns + w->spec.estimate_ns;
        /* Who ran over its estimate may end any time. */
        if (!w->spec.estimate_ns || at < w->started_ns || at < now_ns)
            at = DV_NEVER;
        if (at != DV_NEVER || !known)
            ends[n++] = (struct end){at, w->started_ns, w->seq, f->running[i]};
    }
    if (n)
        qsort(ends, n, sizeof *ends, by_end);
    return n;
}

/* Takes a running workload out of pool and quotas, or puts it back. */
static void leave(struct dv_fair *f, const struct workload *w, bool leaves)
{
    uint64_t amount = (uint64_t)w->members * w->units;
    for (uint32_t i = 0; i < w->members; i++)
        if (leaves)
            dv_fair_pool_release(f->pool, &w->spec.request, &w->places[i]);
        else
            dv_fair_pool_retake(f->pool, &w->spec.request, &w->places[i]);
    for (uint32_t i = w->spec.queue; i != NONE; i = f->queues[i].conf.parent) {
        struct queue *q = &f->queues[i];
        q->held = leaves ? q->held - amount : q->held + amount;
        if (!w->spec.preemptible)
            q->fixed = leaves ? q->fixed - amount : q->fixed + amount;
    }
}

static bool ready(struct dv_fair *f, const struct workload *w)
{
    uint32_t who;
    return dv_fair_quota(f, w, w->spec.min, true, &who) &&
           dv_fair_pool_slots(f->pool, &w->spec.request, w->spec.min) >= w->spec.min;
}

/* The earliest time and, where `ret_places` is given, the place. Nothing is reserved meanwhile.
 * known: give up (-ENOENT) where it takes an end that nobody knows. */
static int sweep(struct dv_fair *f, const struct workload *w, bool known, uint64_t now_ns,
                 struct dv_fair_place *ret_places, uint64_t *ret_at_ns)
{
    struct end *ends = calloc(f->n_running + 1, sizeof *ends);
    uint32_t n = 0, all;
    uint64_t at = now_ns;
    if (!ends)
        return -ENOMEM;
    all = list_ends(f, known, ends, now_ns);
    bool fits = ready(f, w);
    while (!fits && n < all) {
        leave(f, &f->workloads[ends[n].workload], true);
        at = ends[n++].at_ns;
        fits = ready(f, w);
    }
    if (fits && ret_places) {
        uint32_t got = dv_fair_pool_take(f->pool, &w->spec.request, w->spec.min, w->spec.min,
                                         DV_FAIR_ANY, false, ret_places);
        for (uint32_t i = got; i--;)
            dv_fair_pool_release(f->pool, &w->spec.request, &ret_places[i]);
        fits = got > 0;
    }
    while (n)
        leave(f, &f->workloads[ends[--n].workload], false);
    free(ends);
    *ret_at_ns = at;
    return fits ? 0 : -ENOENT;
}

int dv_fair_reserve_when(struct dv_fair *f, uint32_t w, uint64_t now_ns, uint64_t *ret_at_ns)
{
    bool kept = f->kept.holder != NONE;
    if (kept)
        dv_fair_reserve_open(f, true);
    int r = sweep(f, &f->workloads[w], true, now_ns, NULL, ret_at_ns);
    if (r == -ENOENT)
        *ret_at_ns = DV_NEVER;
    if (kept)
        dv_fair_reserve_open(f, false);
    return r;
}

int dv_fair_reserve(struct dv_fair *f, uint32_t w, bool aged, uint64_t now_ns)
{
    const struct workload *x = &f->workloads[w];
    uint64_t at;
    if (x->spec.min > f->kept.room) {
        struct dv_fair_place *places = realloc(f->kept.places, x->spec.min * sizeof *places);
        if (!places)
            return -ENOMEM;
        f->kept.places = places;
        f->kept.room = x->spec.min;
    }
    int r = sweep(f, x, !aged, now_ns, f->kept.places, &at);
    if (r < 0)
        return r;
    f->kept.holder = w;
    f->kept.aged = aged;
    f->kept.at_ns = at;
    f->kept.n = x->spec.min;
    f->kept.tried = 0;
    keep_headroom(f, true);
    dv_fair_reserve_open(f, false);
    f->released++;
    f->changed++;
    return 0;
}
