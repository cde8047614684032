/* SPDX-License-Identifier: Apache-2.0 */
#include "policy/fair/fair_internal.h"

#include <errno.h>
#include <stdlib.h>

const struct dv_fair_config dv_fair_defaults = {
    .half_life_ns = 7 * 24 * 3600 * DV_NS_PER_S,
    .pull_milli = 1000,
    .share_period_ns = DV_NS_PER_S,
    .patience_ns = 24 * 3600 * DV_NS_PER_S,
    .restart_ns = 60 * DV_NS_PER_S,
    .depth = 100,
};

struct dv_fair *dv_fair_new(const struct dv_fair_config *config)
{
    struct dv_fair *f = calloc(1, sizeof *f);
    if (!f)
        return NULL;
    f->config = *config;
    f->config.pull_milli = DV_MIN(f->config.pull_milli, DV_FAIR_PULL_MAX);
    f->free_workload = f->oldest = f->youngest = f->kept.holder = NONE;
    f->released = f->taken = f->changed = 1;
    f->retry_ns = DV_NEVER;
    f->shares_dirty = f->shares_urgent = true;
    f->pool = dv_fair_pool_new();
    f->queues = calloc(1, sizeof *f->queues);
    if (!f->pool || !f->queues) {
        dv_fair_free(f);
        return NULL;
    }
    f->n_queues = f->cap_queues = 1;
    f->queues[0].conf = (struct dv_fair_queue){
        .parent = NONE, .guarantee = DV_FAIR_UNLIMITED, .limit = DV_FAIR_UNLIMITED, .weight = 1};
    f->queues[0].first_child = f->queues[0].next_sibling = f->queues[0].leaf_index = NONE;
    f->queues[0].least = UINT64_MAX;
    return f;
}

void dv_fair_free(struct dv_fair *f)
{
    if (!f)
        return;
    for (uint32_t i = 0; i < f->n_workloads; i++) {
        free(f->workloads[i].places);
        free(f->workloads[i].left);
    }
    for (uint32_t i = 0; f->queues && i < f->n_queues; i++)
        free(f->queues[i].order);
    dv_fair_pool_free(f->pool);
    free(f->queues);
    free(f->leaves);
    free(f->workloads);
    free(f->running);
    free(f->kept.places);
    free(f->victims);
    free(f->moves);
    free(f->scratch);
    free(f);
}

void dv_fair_freep(struct dv_fair **f)
{
    dv_fair_free(*f);
    *f = NULL;
}

void *dv_fair_scratch(struct dv_fair *f, size_t size)
{
    if (size <= f->scratch_size)
        return f->scratch;
    size += size / 2;
    void *more = malloc(size);
    if (!more)
        return NULL;
    free(f->scratch);
    f->scratch = more;
    f->scratch_size = size;
    return more;
}

/* ---- queues --------------------------------------------------------------------------------- */

static bool sane(const struct dv_fair_queue *q)
{
    return q->weight <= DV_FAIR_QUEUE_WEIGHT_MAX && q->guarantee <= q->limit &&
           (q->guarantee <= DV_FAIR_CAPACITY_MAX || q->guarantee == DV_FAIR_UNLIMITED);
}

int dv_fair_add_queue(struct dv_fair *f, const struct dv_fair_queue *queue, uint32_t *ret)
{
    if (queue->parent >= f->n_queues || !sane(queue) || f->queues[queue->parent].alive)
        return -EINVAL;
    if (f->n_queues == DV_FAIR_QUEUES_MAX ||
        f->queues[queue->parent].depth + 1 >= DV_FAIR_DEPTH_MAX)
        return -E2BIG;
    if (f->n_queues == f->cap_queues) {
        uint32_t cap = 2 * f->cap_queues;
        struct queue *more = realloc(f->queues, cap * sizeof *more);
        if (!more)
            return -ENOMEM;
        f->queues = more;
        uint32_t *leaves = realloc(f->leaves, cap * sizeof *leaves);
        if (!leaves)
            return -ENOMEM;
        f->leaves = leaves;
        f->cap_queues = cap;
    }
    uint32_t i = f->n_queues++;
    struct queue *q = &f->queues[i], *parent = &f->queues[queue->parent];
    memset(q, 0, sizeof *q);
    q->conf = *queue;
    q->depth = parent->depth + 1;
    q->first_child = q->leaf_index = NONE;
    q->least = UINT64_MAX;
    q->weight = queue->weight;
    q->next_sibling = parent->first_child;
    parent->first_child = i;
    parent->n_children++;
    if (parent->leaf_index != NONE) {
        uint32_t last = f->leaves[--f->n_leaves];
        f->leaves[parent->leaf_index] = last;
        f->queues[last].leaf_index = parent->leaf_index;
        parent->leaf_index = NONE;
    }
    q->leaf_index = f->n_leaves;
    f->leaves[f->n_leaves++] = i;
    f->shares_dirty = true;
    *ret = i;
    return 0;
}

int dv_fair_set_queue(struct dv_fair *f, uint32_t queue, const struct dv_fair_queue *values)
{
    if (queue >= f->n_queues || !sane(values))
        return -EINVAL;
    uint32_t parent = f->queues[queue].conf.parent;
    f->queues[queue].conf = *values;
    f->queues[queue].conf.parent = parent;
    f->released++;
    f->changed++;
    f->shares_dirty = true;
    return 0;
}

void dv_fair_usage_to(struct dv_fair *f, uint32_t queue, uint64_t now_ns)
{
    struct queue *q = &f->queues[queue];
    dv_fair_usage_advance(&q->usage, q->held, f->config.half_life_ns, now_ns);
}

void dv_fair_hold(struct dv_fair *f, const struct workload *w, uint32_t members, bool more,
                  uint64_t now_ns)
{
    uint64_t amount = (uint64_t)members * w->units;
    for (uint32_t i = w->spec.queue; i != NONE; i = f->queues[i].conf.parent) {
        struct queue *q = &f->queues[i];
        dv_fair_usage_to(f, i, now_ns);
        q->held = more ? q->held + amount : q->held - amount;
        if (!w->spec.preemptible)
            q->fixed = more ? q->fixed + amount : q->fixed - amount;
    }
    f->changed++;
    if (more)
        f->taken++;
    else
        f->released++;
}

static void want(struct dv_fair *f, const struct workload *w, bool more)
{
    uint64_t amount = (uint64_t)w->spec.max * w->units;
    for (uint32_t i = w->spec.queue; i != NONE; i = f->queues[i].conf.parent) {
        f->shares_urgent |= !f->queues[i].wanted;
        f->queues[i].wanted = more ? f->queues[i].wanted + amount : f->queues[i].wanted - amount;
    }
    f->shares_dirty = true;
}

/* ---- shapes --------------------------------------------------------------------------------- */

static bool same_request(const struct dv_fair_request *a, const struct dv_fair_request *b)
{
    return a->kind == b->kind && a->gpus == b->gpus && a->compute == b->compute &&
           a->one_rack == b->one_rack && a->models == b->models && !strcmp(a->profile, b->profile);
}

static void find_shape(struct dv_fair *f, struct workload *w)
{
    uint32_t spare = NONE;
    w->shape = NONE;
    w->bit = BIT_OTHERS;
    for (uint32_t i = 0; i < f->n_shapes; i++) {
        struct shape *s = &f->shapes[i];
        if (!s->refs)
            spare = spare == NONE ? i : spare;
        else if (s->min == w->spec.min && same_request(&s->request, &w->spec.request)) {
            s->refs++;
            w->shape = i;
            w->bit = s->bit;
            return;
        }
    }
    if (spare == NONE && f->n_shapes < SHAPES_MAX)
        spare = f->n_shapes++;
    if (spare == NONE)
        return;
    struct shape *s = &f->shapes[spare];
    *s = (struct shape){.request = w->spec.request, .min = w->spec.min, .refs = 1};
    uint64_t open = ~f->bits_used & ~(UINT64_C(1) << BIT_OTHERS);
    s->bit = open ? (uint8_t)__builtin_ctzll(open) : BIT_OTHERS;
    if (open)
        f->bits_used |= UINT64_C(1) << s->bit;
    w->shape = spare;
    w->bit = s->bit;
    f->fits_released = 0; /* what is known of those that fit says nothing about it */
}

static void drop_shape(struct dv_fair *f, struct workload *w)
{
    if (w->shape == NONE)
        return;
    struct shape *s = &f->shapes[w->shape];
    if (!--s->refs && s->bit != BIT_OTHERS)
        f->bits_used &= ~(UINT64_C(1) << s->bit);
    w->shape = NONE;
}

/* ---- pending -------------------------------------------------------------------------------- */

static bool comes_before(const struct workload *a, const struct workload *b)
{
    if (a->spec.priority != b->spec.priority)
        return a->spec.priority > b->spec.priority;
    if (a->since_ns != b->since_ns)
        return a->since_ns < b->since_ns;
    return a->seq < b->seq;
}

/* The first place in a leaf's order that does not come before w. */
static uint32_t place_in(const struct dv_fair *f, const struct queue *q, const struct workload *w)
{
    uint32_t lo = 0, hi = q->n;
    while (lo < hi) {
        uint32_t mid = lo + (hi - lo) / 2;
        if (comes_before(&f->workloads[q->order[q->first + mid]], w))
            lo = mid + 1;
        else
            hi = mid;
    }
    return lo;
}

/* Room for all that live in the leaf and one more, twice, so that an evicted workload always finds
 * its place and closing the gap at the front stays rare. */
static int make_room(struct queue *q)
{
    if (q->room >= 2 * (q->alive + 1))
        return 0;
    uint32_t room = 4 * (q->alive + 4);
    uint32_t *order = realloc(q->order, room * sizeof *order);
    if (!order)
        return -ENOMEM;
    q->order = order;
    q->room = room;
    return 0;
}

/* Counts w among the pending of its queues, or no longer. */
static void count_pending(struct dv_fair *f, const struct workload *w, bool more)
{
    for (uint32_t i = w->spec.queue; i != NONE; i = f->queues[i].conf.parent) {
        struct queue *q = &f->queues[i];
        q->n_pending += more ? 1u : -1u;
        if (w->never)
            continue;
        q->bits[w->bit] += more ? 1u : -1u;
        if (q->bits[w->bit])
            q->mask |= UINT64_C(1) << w->bit;
        else
            q->mask &= ~(UINT64_C(1) << w->bit);
        if (!q->mask)
            q->least = UINT64_MAX;
        if (more) {
            q->skip = 0;
            q->least = DV_MIN(q->least, (uint64_t)w->spec.min * w->units);
        }
    }
}

void dv_fair_enqueue(struct dv_fair *f, uint32_t w, uint64_t now_ns)
{
    struct workload *x = &f->workloads[w];
    struct queue *q = dv_fair_queue_of(f, x);
    x->state = DV_FAIR_PENDING;
    x->since_ns = now_ns;
    x->tried = 0;
    x->victims = DV_FAIR_UNASKED;
    if (q->first + q->n == q->room) {
        memmove(q->order, q->order + q->first, q->n * sizeof *q->order);
        q->first = 0;
    }
    uint32_t at = place_in(f, q, x);
    uint32_t *order = q->order + q->first;
    memmove(order + at + 1, order + at, (q->n - at) * sizeof *order);
    order[at] = w;
    q->n++;
    x->before = f->youngest;
    x->after = NONE;
    if (f->youngest != NONE)
        f->workloads[f->youngest].after = w;
    else
        f->oldest = w;
    f->youngest = w;
    count_pending(f, x, true);
    f->n_never += x->never;
    f->changed++;
}

void dv_fair_unqueue(struct dv_fair *f, uint32_t w)
{
    struct workload *x = &f->workloads[w];
    struct queue *q = dv_fair_queue_of(f, x);
    uint32_t at = place_in(f, q, x), *order = q->order + q->first;
    if (!at)
        q->first++;
    else
        memmove(order + at, order + at + 1, (q->n - at - 1) * sizeof *order);
    q->n--;
    if (x->before != NONE)
        f->workloads[x->before].after = x->after;
    else
        f->oldest = x->after;
    if (x->after != NONE)
        f->workloads[x->after].before = x->before;
    else
        f->youngest = x->before;
    count_pending(f, x, false);
    f->n_never -= x->never;
}

static bool too_large(const struct dv_fair *f, const struct workload *w)
{
    return dv_fair_pool_slots_empty(f->pool, &w->spec.request, w->spec.min) < w->spec.min;
}

/* ---- workloads ------------------------------------------------------------------------------ */

static int grow_workloads(struct dv_fair *f)
{
    uint32_t cap = f->cap_workloads ? 2 * f->cap_workloads : 64;
    struct workload *more = realloc(f->workloads, cap * sizeof *more);
    if (!more)
        return -ENOMEM;
    f->workloads = more;
    uint32_t *running = realloc(f->running, cap * sizeof *running);
    if (!running)
        return -ENOMEM;
    f->running = running;
    f->cap_workloads = cap;
    return 0;
}

static int new_workload(struct dv_fair *f, uint32_t max, uint32_t *ret)
{
    uint32_t i = f->free_workload;
    if (i == NONE && f->n_workloads == DV_FAIR_WORKLOADS_MAX)
        return -E2BIG;
    if (i == NONE && f->n_workloads == f->cap_workloads) {
        int r = grow_workloads(f);
        if (r < 0)
            return r;
    }
    struct dv_fair_place *places = calloc(max, sizeof *places);
    if (!places)
        return -ENOMEM;
    if (i == NONE)
        i = f->n_workloads++;
    else
        f->free_workload = f->workloads[i].after;
    f->workloads[i] = (struct workload){.places = places,
                                        .seq = ++f->seq,
                                        .running_at = NONE,
                                        .shape = NONE,
                                        .before = NONE,
                                        .after = NONE};
    *ret = i;
    return 0;
}

static void drop_workload(struct dv_fair *f, uint32_t w)
{
    struct workload *x = &f->workloads[w];
    drop_shape(f, x);
    free(x->places);
    free(x->left);
    *x = (struct workload){.state = DV_FAIR_UNUSED, .after = f->free_workload};
    f->free_workload = w;
}

static bool sane_spec(const struct dv_fair *f, const struct dv_fair_spec *s)
{
    const struct dv_fair_request *r = &s->request;
    if (s->queue >= f->n_queues || f->queues[s->queue].leaf_index == NONE || !s->min ||
        s->min > s->max || s->max > DV_FAIR_MEMBERS_MAX)
        return false;
    switch (r->kind) {
    case DV_FAIR_WHOLE:
        return r->gpus && r->gpus <= DV_FAIR_NODE_GPUS_MAX;
    case DV_FAIR_FRACTION:
        return r->compute && r->compute <= DV_COMPUTE_FULL;
    case DV_FAIR_MIG:
        return r->profile[0] && memchr(r->profile, 0, sizeof r->profile);
    }
    return false;
}

/* Can it never run under limits that no end of others changes? */
static bool refused(const struct dv_fair *f, const struct dv_fair_spec *s, uint64_t units,
                    struct dv_fair_verdict *ret)
{
    uint64_t asked = s->min * units;
    for (uint32_t i = s->queue; i != NONE; i = f->queues[i].conf.parent) {
        const struct dv_fair_queue *q = &f->queues[i].conf;
        bool fixed = !s->preemptible && asked > q->guarantee;
        if (asked <= q->limit && !fixed)
            continue;
        *ret = (struct dv_fair_verdict){.reason = asked > q->limit ? DV_FAIR_OVER_LIMIT
                                                                   : DV_FAIR_OVER_GUARANTEE,
                                        .queue = i,
                                        .asked = asked,
                                        .limit = asked > q->limit ? q->limit : q->guarantee,
                                        .min = s->min,
                                        .other = DV_FAIR_NONE,
                                        .at_ns = DV_NEVER,
                                        .first_at_ns = DV_NEVER};
        return true;
    }
    return false;
}

int dv_fair_submit(struct dv_fair *f, const struct dv_fair_spec *spec, uint64_t now_ns,
                   uint32_t *ret, struct dv_fair_verdict *ret_verdict)
{
    uint32_t w = NONE;
    if (!sane_spec(f, spec))
        return -EINVAL;
    uint32_t units = dv_fair_pool_units(f->pool, &spec->request);
    if (refused(f, spec, units, ret_verdict))
        return DV_FAIR_REFUSED;
    int r = make_room(&f->queues[spec->queue]);
    r = r ? r : dv_fair_pool_room(f->pool, spec->min);
    r = r ? r : new_workload(f, spec->max, &w);
    if (r < 0)
        return r;
    struct workload *x = &f->workloads[w];
    x->spec = *spec;
    x->units = units;
    x->never = too_large(f, x);
    find_shape(f, x);
    if (!x->never)
        want(f, x, true);
    f->queues[spec->queue].alive++;
    dv_fair_enqueue(f, w, now_ns);
    *ret = w;
    return 0;
}

void dv_fair_run(struct dv_fair *f, uint32_t w, uint64_t now_ns)
{
    struct workload *x = &f->workloads[w];
    bool left = true;
    for (uint32_t i = 0; left && i < x->members; i++)
        left = dv_fair_pool_is_left(f->pool, &x->places[i]);
    x->state = left ? DV_FAIR_RUNNING : DV_FAIR_STARTING;
    x->started_ns = now_ns;
    if (x->running_at != NONE)
        return;
    x->running_at = f->n_running;
    f->running[f->n_running++] = w;
    f->n_elastic += x->members < x->spec.max;
    f->n_stretchy += x->spec.min < x->spec.max;
    struct queue *leaf = dv_fair_queue_of(f, x);
    leaf->lowest = leaf->n_running ? DV_MIN(leaf->lowest, x->spec.priority) : x->spec.priority;
    for (uint32_t i = x->spec.queue; i != NONE; i = f->queues[i].conf.parent)
        f->queues[i].n_running++;
}

void dv_fair_stop_running(struct dv_fair *f, uint32_t w)
{
    struct workload *x = &f->workloads[w];
    uint32_t last = f->running[--f->n_running];
    f->running[x->running_at] = last;
    f->workloads[last].running_at = x->running_at;
    x->running_at = NONE;
    f->n_elastic -= x->members < x->spec.max;
    f->n_stretchy -= x->spec.min < x->spec.max;
    for (uint32_t i = x->spec.queue; i != NONE; i = f->queues[i].conf.parent)
        f->queues[i].n_running--;
}

/* Takes all places, or none. */
static bool take_all(struct dv_fair *f, const struct dv_fair_request *request,
                     const struct dv_fair_place *places, uint32_t n)
{
    for (uint32_t i = 0; i < n; i++) {
        if (dv_fair_pool_holds(f->pool, request, &places[i])) {
            dv_fair_pool_retake(f->pool, request, &places[i]);
            continue;
        }
        while (i)
            dv_fair_pool_release(f->pool, request, &places[--i]);
        return false;
    }
    return true;
}

int dv_fair_adopt(struct dv_fair *f, const struct dv_fair_spec *spec,
                  const struct dv_fair_place *places, uint32_t n, uint64_t started_ns,
                  uint64_t now_ns, uint32_t *ret)
{
    uint32_t w = NONE;
    if (!sane_spec(f, spec) || n < spec->min || n > spec->max)
        return -EINVAL;
    int r = make_room(&f->queues[spec->queue]);
    r = r ? r : dv_fair_pool_room(f->pool, spec->min);
    r = r ? r : new_workload(f, spec->max, &w);
    if (r < 0)
        return r;
    struct workload *x = &f->workloads[w];
    x->spec = *spec;
    x->units = dv_fair_pool_units(f->pool, &spec->request);
    if (!take_all(f, &spec->request, places, n)) {
        drop_workload(f, w);
        return -EINVAL;
    }
    memcpy(x->places, places, n * sizeof *places);
    x->members = n;
    find_shape(f, x);
    want(f, x, true);
    f->queues[spec->queue].alive++;
    dv_fair_hold(f, x, n, true, now_ns);
    dv_fair_run(f, w, now_ns);
    x->started_ns = started_ns;
    *ret = w;
    return 0;
}

/* Those who waited for places that are left now. */
static void start_waiting(struct dv_fair *f, uint64_t now_ns)
{
    for (uint32_t i = 0; i < f->n_running; i++) {
        struct workload *x = &f->workloads[f->running[i]];
        if (x->state == DV_FAIR_STARTING)
            dv_fair_run(f, f->running[i], now_ns);
    }
}

void dv_fair_gone(struct dv_fair *f, uint32_t workload, uint64_t now_ns)
{
    struct workload *x = &f->workloads[workload];
    if (!x->n_left)
        return;
    for (uint32_t i = 0; i < x->n_left; i++)
        dv_fair_pool_leaving(f->pool, &x->left[i], -1);
    x->n_left = 0;
    if (x->state == DV_FAIR_LEAVING) {
        x->never = too_large(f, x);
        if (x->never)
            want(f, x, false);
        dv_fair_enqueue(f, workload, now_ns);
    }
    start_waiting(f, now_ns);
}

void dv_fair_ended(struct dv_fair *f, uint32_t workload, uint64_t now_ns)
{
    struct workload *x = &f->workloads[workload];
    if (x->state == DV_FAIR_UNUSED)
        return;
    if (f->kept.holder == workload)
        dv_fair_unreserve(f);
    if (x->running_at != NONE) {
        dv_fair_stop_running(f, workload);
        for (uint32_t i = 0; i < x->members; i++)
            dv_fair_pool_release(f->pool, &x->spec.request, &x->places[i]);
        dv_fair_hold(f, x, x->members, false, now_ns);
    }
    for (uint32_t i = 0; i < x->n_left; i++)
        dv_fair_pool_leaving(f->pool, &x->left[i], -1);
    bool left = x->n_left > 0;
    if (x->state == DV_FAIR_PENDING)
        dv_fair_unqueue(f, workload);
    if (!x->never)
        want(f, x, false);
    f->queues[x->spec.queue].alive--;
    drop_workload(f, workload);
    f->changed++;
    if (left)
        start_waiting(f, now_ns);
}

/* ---- nodes ---------------------------------------------------------------------------------- */

int dv_fair_model(struct dv_fair *f, const char *name, const struct dv_mig_geometry *mig,
                  uint32_t *ret)
{
    return dv_fair_pool_model(f->pool, name, mig, ret);
}

/* The cluster changed: what was too large for it may not be so now, and the other way round. */
static void judge_again(struct dv_fair *f)
{
    f->capacity = dv_fair_pool_gpus(f->pool) * DV_COMPUTE_FULL;
    f->released++;
    f->changed++;
    f->shares_dirty = true;
    dv_fair_unreserve(f);
    for (uint32_t i = f->oldest; i != NONE; i = f->workloads[i].after) {
        struct workload *w = &f->workloads[i];
        if (too_large(f, w) == w->never)
            continue;
        count_pending(f, w, false);
        f->n_never += w->never ? -1u : 1u;
        if (!w->never)
            want(f, w, false);
        w->never = !w->never;
        if (!w->units)
            w->units = dv_fair_pool_units(f->pool, &w->spec.request);
        if (!w->never)
            want(f, w, true);
        count_pending(f, w, true);
    }
}

int dv_fair_add_node(struct dv_fair *f, uint32_t model, uint32_t rack, uint32_t gpus,
                     uint32_t *ret_node)
{
    int r = dv_fair_pool_add(f->pool, model, rack, gpus, ret_node);
    if (!r)
        judge_again(f);
    return r;
}

void dv_fair_cordon(struct dv_fair *f, uint32_t node, bool cordoned)
{
    dv_fair_unreserve(f);
    dv_fair_pool_cordon(f->pool, node, cordoned);
    judge_again(f);
}

const struct dv_fair_pool *dv_fair_pool(const struct dv_fair *f)
{
    return f->pool;
}

/* ---- looking -------------------------------------------------------------------------------- */

enum dv_fair_state dv_fair_state(const struct dv_fair *f, uint32_t workload)
{
    return f->workloads[workload].state;
}

const struct dv_fair_spec *dv_fair_spec(const struct dv_fair *f, uint32_t workload)
{
    return &f->workloads[workload].spec;
}

const struct dv_fair_place *dv_fair_places(const struct dv_fair *f, uint32_t workload,
                                           uint32_t *ret_n)
{
    *ret_n = f->workloads[workload].running_at == NONE ? 0 : f->workloads[workload].members;
    return f->workloads[workload].places;
}

uint32_t dv_fair_units(const struct dv_fair *f, uint32_t workload)
{
    return f->workloads[workload].units;
}

uint64_t dv_fair_started_ns(const struct dv_fair *f, uint32_t workload)
{
    return f->workloads[workload].started_ns;
}

uint32_t dv_fair_workloads(const struct dv_fair *f)
{
    return f->n_workloads;
}

uint32_t dv_fair_queues(const struct dv_fair *f)
{
    return f->n_queues;
}

uint64_t dv_fair_capacity(const struct dv_fair *f)
{
    return f->capacity;
}

void dv_fair_look(const struct dv_fair *f, uint32_t queue, uint64_t now_ns,
                  struct dv_fair_view *ret)
{
    const struct queue *q = &f->queues[queue];
    struct dv_fair_usage usage = q->usage;
    dv_fair_usage_advance(&usage, q->held, f->config.half_life_ns, now_ns);
    *ret = (struct dv_fair_view){.held = q->held,
                                 .held_fixed = q->fixed,
                                 .wanted = q->wanted,
                                 .share = q->share,
                                 .weight = q->weight,
                                 .used_unit_ns = usage.unit_ns,
                                 .pending = q->n_pending,
                                 .running = q->n_running};
}

uint32_t dv_fair_reservation(const struct dv_fair *f, uint64_t *ret_at_ns)
{
    *ret_at_ns = f->kept.at_ns;
    return f->kept.holder;
}

/* ---- for tests ------------------------------------------------------------------------------ */

static int check_queue(const struct dv_fair *f, uint32_t index)
{
    const struct queue *q = &f->queues[index];
    uint64_t held = 0, fixed = 0, pending = 0, running = 0;
    for (uint32_t i = 0; i < f->n_workloads; i++) {
        const struct workload *w = &f->workloads[i];
        uint32_t at = w->state == DV_FAIR_UNUSED ? NONE : w->spec.queue;
        while (at != NONE && at != index)
            at = f->queues[at].conf.parent;
        if (at == NONE)
            continue;
        pending += w->state == DV_FAIR_PENDING;
        if (w->running_at == NONE)
            continue;
        running++;
        held += (uint64_t)w->members * w->units;
        fixed += w->spec.preemptible ? 0 : (uint64_t)w->members * w->units;
    }
    return held == q->held && fixed == q->fixed && pending == q->n_pending &&
                   running == q->n_running && q->held <= q->conf.limit &&
                   q->fixed <= q->conf.guarantee
               ? 0
               : -EINVAL;
}

int dv_fair_check(const struct dv_fair *f)
{
    for (uint32_t i = 0; i < f->n_queues; i++)
        if (check_queue(f, i) < 0)
            return -EINVAL;
    for (uint32_t i = 0; i < f->n_workloads; i++) {
        const struct workload *w = &f->workloads[i];
        if (w->running_at != NONE && (w->members < w->spec.min || w->members > w->spec.max))
            return -EINVAL;
    }
    if (f->queues[0].held != dv_fair_pool_held(f->pool))
        return -EINVAL;
    return dv_fair_pool_check(f->pool);
}
