/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Who may be asked to leave for a workload, and the asking.
 *
 * In its own queue: preemptible ones of lower priority, and surplus members of elastic ones of no
 * higher priority. In other queues (reclaim), where a and b are the queues just below the first
 * that both have in common: preemptible ones, as long as every queue from theirs up to b is above
 * its line. The line is the guarantee, if every queue from the workload's up to a stays within its
 * guarantee; else the larger of guarantee and fair share, if they all stay within their shares;
 * else nobody. So nobody ever takes what would make it the next to be taken from.
 */
#include "policy/fair/victims.h"

#include <errno.h>
#include <stdlib.h>

/* The path of a leaf, and how far up the path guarantees and shares still hold with one more. */
struct path {
    uint32_t queue[DV_FAIR_DEPTH_MAX];
    uint32_t n;                      /* the last is the root */
    uint32_t by_guarantee, by_share; /* the first so many */
};

static struct path path_of(const struct dv_fair *f, const struct workload *w)
{
    struct path path = {.n = 0};
    uint64_t amount = (uint64_t)w->spec.min * w->units;
    bool guarantee = true, share = true;
    for (uint32_t i = w->spec.queue; i != NONE; i = f->queues[i].conf.parent) {
        const struct queue *q = &f->queues[i];
        path.queue[path.n++] = i;
        if (i == DV_FAIR_ROOT)
            break;
        guarantee &= q->held + amount <= q->conf.guarantee;
        share &= q->held + amount <= q->share;
        path.by_guarantee += guarantee;
        path.by_share += share;
    }
    return path;
}

static bool may_preempt(const struct dv_fair *f, const struct workload *w)
{
    const struct queue *q = &f->queues[w->spec.queue];
    bool lower = q->lowest < w->spec.priority;
    return !f->config.no_preempt && q->n_running &&
           (lower || (q->lowest == w->spec.priority && f->n_stretchy));
}

static bool has_others(const struct dv_fair *f, const struct path *path)
{
    uint32_t top = DV_MAX(path->by_guarantee, path->by_share);
    for (uint32_t k = 0; k < top; k++)
        if (f->queues[path->queue[k + 1]].held > f->queues[path->queue[k]].held)
            return true;
    return false;
}

bool dv_fair_may_evict(struct dv_fair *f, uint32_t w)
{
    struct workload *x = &f->workloads[w];
    struct path path = path_of(f, x);
    bool within = path.by_guarantee || path.by_share;
    if (may_preempt(f, x) || (within && !f->config.no_reclaim && has_others(f, &path)))
        return true;
    x->victims = within || f->config.no_reclaim ? DV_FAIR_NO_CANDIDATE : DV_FAIR_OVER_SHARE;
    x->share_queue = x->spec.queue;
    x->share_after = f->queues[x->spec.queue].held + (uint64_t)x->spec.min * x->units;
    return false;
}

/* ---- candidates ----------------------------------------------------------------------------- */

struct asked {
    uint64_t *lines;
    uint32_t *top; /* per queue: the child of the common queue; NONE: nobody here is asked */
};

/* All queues below `queue` whose way up to it is above the lines. */
static void open_below(const struct dv_fair *f, struct asked *asked, uint32_t queue, uint32_t top,
                       bool by_guarantee)
{
    const struct queue *q = &f->queues[queue];
    asked->lines[queue] = by_guarantee ? q->conf.guarantee : DV_MAX(q->conf.guarantee, q->share);
    if (q->held <= asked->lines[queue])
        return;
    asked->top[queue] = top;
    for (uint32_t i = q->first_child; i != NONE; i = f->queues[i].next_sibling)
        open_below(f, asked, i, top, by_guarantee);
}

static void open_queues(const struct dv_fair *f, const struct path *path, struct asked *asked)
{
    for (uint32_t i = 0; i < f->n_queues; i++)
        asked->top[i] = NONE;
    if (f->config.no_reclaim)
        return;
    for (uint32_t k = 0; k + 1 < path->n; k++) {
        bool by_guarantee = k < path->by_guarantee;
        if (!by_guarantee && k >= path->by_share)
            return;
        for (uint32_t i = f->queues[path->queue[k + 1]].first_child; i != NONE;
             i = f->queues[i].next_sibling)
            if (i != path->queue[k])
                open_below(f, asked, i, i, by_guarantee);
    }
}

static uint64_t times(uint64_t cost, uint32_t n)
{
    uint64_t all;
    return __builtin_mul_overflow(cost, n, &all) ? UINT64_MAX / 2 : all;
}

static void add_piece(struct dv_fair_problem *p, uint32_t workload, uint32_t member, uint32_t top,
                      uint64_t now_ns)
{
    const struct workload *v = &p->f->workloads[workload];
    const struct queue *q = &p->f->queues[v->spec.queue];
    uint32_t members = member == NONE ? v->members : 1;
    p->pieces[p->n++] =
        (struct dv_fair_piece){.workload = workload,
                               .member = member,
                               .top = top,
                               .priority = v->spec.priority,
                               .cost = times(dv_fair_cost(p->f, v, now_ns), members),
                               .units = (uint64_t)members * v->units,
                               .over = q->held * 1000 / DV_MAX(q->share, 1),
                               .seq = v->seq};
}

static void ask(struct dv_fair_problem *p, const struct asked *asked, uint32_t workload,
                uint64_t now_ns)
{
    const struct workload *v = &p->f->workloads[workload];
    const struct dv_fair *f = p->f;
    bool own = v->spec.queue == p->w->spec.queue;
    uint32_t top = own ? NONE : asked->top[v->spec.queue];
    if (v->state != DV_FAIR_RUNNING || v->n_left ||
        (!own && (top == NONE || !v->spec.preemptible)) ||
        (own && (f->config.no_preempt || !p->own)) ||
        now_ns - v->started_ns < f->queues[v->spec.queue].conf.min_runtime_ns)
        return;
    bool lower = !own || v->spec.priority < p->w->spec.priority;
    if (lower && v->spec.preemptible)
        add_piece(p, workload, NONE, top, now_ns);
    if (lower || v->spec.priority == p->w->spec.priority)
        for (uint32_t m = v->spec.min; m < v->members; m++)
            add_piece(p, workload, m, top, now_ns);
}

static int list_candidates(struct dv_fair_problem *p, const struct asked *asked, uint64_t now_ns)
{
    struct dv_fair *f = p->f;
    size_t most = 1;
    int32_t lowest = INT32_MAX;
    for (uint32_t i = 0; i < f->n_running; i++) {
        const struct workload *v = &f->workloads[f->running[i]];
        most += 1 + v->members - v->spec.min;
        if (v->spec.queue == p->w->spec.queue)
            lowest = DV_MIN(lowest, v->spec.priority);
    }
    p->pieces = malloc(most * sizeof *p->pieces);
    if (!p->pieces)
        return -ENOMEM;
    f->queues[p->w->spec.queue].lowest = lowest;
    for (uint32_t i = 0; i < f->n_running; i++)
        ask(p, asked, f->running[i], now_ns);
    return 0;
}

/* ---- doing it ------------------------------------------------------------------------------- */

static int victim_rooms(struct dv_fair_problem *p)
{
    struct dv_fair *f = p->f;
    uint32_t n = 0;
    for (uint32_t i = 0; i < p->n; i++) {
        struct workload *v = &f->workloads[p->pieces[i].workload];
        if (!p->best[i])
            continue;
        n++;
        if (!v->left && !(v->left = calloc(v->spec.max, sizeof *v->left)))
            return -ENOMEM;
    }
    if (n <= f->cap_victims)
        return 0;
    struct dv_fair_victim *victims = realloc(f->victims, n * sizeof *victims);
    if (!victims)
        return -ENOMEM;
    f->victims = victims;
    f->cap_victims = n;
    return 0;
}

/* The chosen members of v go: from its places to those that it is leaving. */
static uint32_t part(struct dv_fair_problem *p, struct workload *v)
{
    uint32_t stay = 0;
    v->n_left = 0;
    for (uint32_t m = 0; m < v->members; m++) {
        if (!p->gone[v->first_piece + m]) {
            v->places[stay++] = v->places[m];
            continue;
        }
        dv_fair_pool_leaving(p->f->pool, &v->places[m], 1);
        v->left[v->n_left++] = v->places[m];
    }
    return stay;
}

/* An evicted workload may start where there is room, but asks nobody to leave for a while, twice as
 * long each time. A gang that goes takes more with it than was needed, others borrow what is left,
 * it takes it back from them, and so on: so each asks at most once at an instant, and ever more
 * seldom. */
static void be_quiet(const struct dv_fair *f, struct workload *v, uint64_t now_ns)
{
    uint64_t pause = DV_MAX(f->config.restart_ns, DV_NS_PER_S);
    uint32_t doublings = DV_MIN(v->evictions, 12);
    v->evictions++;
    v->quiet_until_ns = pause >> (50 - doublings) ? DV_NEVER / 2 : now_ns + (pause << doublings);
}

static void evict_one(struct dv_fair_problem *p, uint32_t piece, uint64_t now_ns,
                      struct dv_fair_decision *ret)
{
    struct dv_fair *f = p->f;
    uint32_t w = p->pieces[piece].workload;
    struct workload *v = &f->workloads[w];
    if (v->n_left)
        return; /* another piece of it was here before */
    uint32_t stay = part(p, v), gone = v->members - stay;
    if (stay) {
        f->n_elastic += v->members == v->spec.max;
    } else {
        dv_fair_stop_running(f, w);
        v->state = DV_FAIR_LEAVING;
        be_quiet(f, v, now_ns);
    }
    dv_fair_hold(f, v, gone, false, now_ns);
    v->members = stay;
    f->victims[ret->n_victims++] = (struct dv_fair_victim){
        .workload = w, .members = gone, .all = !stay, .reclaimed = p->pieces[piece].top != NONE};
    ret->cost_unit_ms += times(dv_fair_cost(f, v, now_ns), gone);
}

static int carry_out(struct dv_fair_problem *p, uint32_t w, uint64_t now_ns,
                     struct dv_fair_decision *ret)
{
    struct dv_fair *f = p->f;
    struct workload *x = p->w;
    struct dv_fair_decision d = {.n_victims = 0};
    int r = victim_rooms(p);
    uint32_t n = r ? 0
                   : dv_fair_pool_take(f->pool, &x->spec.request, x->spec.min, x->spec.min,
                                       DV_FAIR_ANY, false, x->places);
    if (!n) {
        dv_fair_victims_undo(p);
        return r ? r : -ENOENT;
    }
    for (uint32_t i = 0; i < p->n; i++)
        if (p->best[i])
            evict_one(p, i, now_ns, &d);
    x->members = n;
    dv_fair_started(f, w, now_ns, ret);
    ret->victims = f->victims;
    ret->n_victims = d.n_victims;
    ret->cost_unit_ms = d.cost_unit_ms;
    return 0;
}

static int solve(struct dv_fair *f, uint32_t w, const struct asked *asked, bool own,
                 uint64_t now_ns, struct dv_fair_decision *ret)
{
    struct dv_fair_problem p = {.f = f, .w = &f->workloads[w], .lines = asked->lines, .own = own};
    int r = list_candidates(&p, asked, now_ns);
    r = r ? r : dv_fair_victims_prepare(&p);
    if (!r) {
        p.w->victims = p.n ? DV_FAIR_NOT_ENOUGH : DV_FAIR_NO_CANDIDATE;
        r = p.n ? dv_fair_victims_find(&p) : -ENOENT;
        r = r ? r : carry_out(&p, w, now_ns, ret);
    }
    dv_fair_victims_done(&p);
    free(p.pieces);
    return r;
}

/* What a queue deserves it takes from others first; from itself where that does not suffice. */
int dv_fair_evict(struct dv_fair *f, uint32_t w, uint64_t now_ns, struct dv_fair_decision *ret)
{
    struct workload *x = &f->workloads[w];
    struct path path = path_of(f, x);
    struct asked asked = {.lines = calloc(f->n_queues, sizeof *asked.lines),
                          .top = calloc(f->n_queues, sizeof *asked.top)};
    bool within = !f->config.no_reclaim && (path.by_guarantee || path.by_share);
    int r = -ENOMEM;
    if (asked.lines && asked.top) {
        open_queues(f, &path, &asked);
        r = within ? solve(f, w, &asked, false, now_ns, ret) : -ENOENT;
        if (r == -ENOENT)
            r = solve(f, w, &asked, true, now_ns, ret);
    }
    free(asked.lines);
    free(asked.top);
    return r;
}
