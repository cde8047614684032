/* SPDX-License-Identifier: Apache-2.0 */
#include "policy/queue.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

struct place {
    int32_t priority;
    uint64_t since_ns, id;
    size_t at;
};

static int by_turn(const void *x, const void *y)
{
    const struct place *a = x, *b = y;
    if (a->priority != b->priority)
        return a->priority > b->priority ? -1 : 1;
    if (a->since_ns != b->since_ns)
        return a->since_ns < b->since_ns ? -1 : 1;
    return a->id < b->id ? -1 : a->id > b->id;
}

static struct place *sorted(const struct dv_snapshot *s)
{
    struct place *p = calloc(s->n_claims + 1, sizeof *p);
    for (size_t i = 0; p && i < s->n_claims; i++) {
        const struct dv_claim *c = &s->claims[i];
        p[i] = (struct place){c->priority, c->since_ns, c->id, i};
    }
    if (p)
        qsort(p, s->n_claims, sizeof *p, by_turn);
    return p;
}

int dv_queue_order(const struct dv_snapshot *snapshot, size_t *ret)
{
    struct place *order = sorted(snapshot);
    if (!order)
        return -ENOMEM;
    for (size_t i = 0; i < snapshot->n_claims; i++)
        ret[i] = order[i].at;
    free(order);
    return 0;
}

/* A walk along the queue: devices become barred as claims that could use them are passed. */
struct walk {
    const struct dv_snapshot *s;
    struct place *order;
    struct dv_held *held;
    bool *barred;
    bool *marks;                   /* of the claim at hand */
    const struct dv_claim **first; /* who barred the device */
};

static void walk_done(struct walk *w)
{
    free(w->order);
    free(w->held);
    free(w->barred);
    free(w->marks);
    free(w->first);
}

static int walk_init(struct walk *w, const struct dv_snapshot *s)
{
    size_t n = s->n_devices + 1;
    *w = (struct walk){.s = s,
                       .order = sorted(s),
                       .held = calloc(n, sizeof *w->held),
                       .barred = calloc(n, sizeof *w->barred),
                       .marks = calloc(n, sizeof *w->marks),
                       .first = calloc(n, sizeof(struct dv_claim *))};
    if (!w->order || !w->held || !w->barred || !w->marks || !w->first)
        return -ENOMEM;
    for (size_t i = 0; i < s->n_devices; i++)
        w->held[i] = dv_snapshot_held(s, s->devices[i].uuid);
    return 0;
}

/* The answer to the claim at this place, and what it bars for those behind it. */
static const struct dv_claim *walk_step(struct walk *w, size_t place, struct dv_admission *ret)
{
    const struct dv_claim *c = &w->s->claims[w->order[place].at];
    const struct dv_admit_view view = {.held = w->held, .barred = w->barred};
    dv_admit_claim_except(w->s, c, &view, ret);
    ret->verdict.position = (uint32_t)place + 1;
    bool behind =
        ret->verdict.reason == DV_REASON_BEHIND ||
        (ret->verdict.reason == DV_REASON_NOT_WAITING && ret->verdict.because == DV_REASON_BEHIND);
    memset(w->marks, 0, w->s->n_devices * sizeof *w->marks);
    dv_admit_mark(w->s, c, w->marks);
    for (size_t i = 0; i < w->s->n_devices; i++) {
        if (behind && w->first[i] && !strcmp(w->s->devices[i].uuid, ret->device)) {
            ret->verdict.holder_id = w->first[i]->id;
            memcpy(ret->verdict.holder, w->first[i]->tenant, sizeof ret->verdict.holder);
        }
        if (w->marks[i] && !w->barred[i]) {
            w->barred[i] = true;
            w->first[i] = c;
        }
    }
    return c;
}

int dv_queue_next(const struct dv_snapshot *snapshot, uint64_t *ret_id,
                  struct dv_admission *ret_admission)
{
    struct walk w;
    int r = walk_init(&w, snapshot);
    for (size_t i = 0; !r && i <= snapshot->n_claims; i++) {
        if (i == snapshot->n_claims) {
            r = -ENOENT;
            break;
        }
        struct dv_admission a;
        const struct dv_claim *c = walk_step(&w, i, &a);
        if (a.verdict.result == DV_VERDICT_QUEUED)
            continue;
        *ret_id = c->id;
        *ret_admission = a;
        break;
    }
    walk_done(&w);
    return r;
}

int dv_queue_prepare(const struct dv_snapshot *snapshot, bool *marks)
{
    struct walk w;
    int r = walk_init(&w, snapshot);
    memset(marks, 0, snapshot->n_devices * sizeof *marks);
    for (size_t i = 0; !r && i < snapshot->n_claims; i++) {
        struct dv_admission a;
        walk_step(&w, i, &a);
        for (size_t d = 0; d < snapshot->n_devices; d++)
            if (a.verdict.reason == DV_REASON_PREPARING &&
                !strcmp(snapshot->devices[d].uuid, a.device))
                marks[d] = true;
    }
    walk_done(&w);
    return r;
}

int dv_queue_awaiting(const struct dv_snapshot *snapshot, const char *device, uint64_t *ret_id,
                      struct dv_verdict *ret)
{
    struct walk w;
    int r = walk_init(&w, snapshot);
    bool found = false;
    for (size_t i = 0; !r && i < snapshot->n_claims && !found; i++) {
        struct dv_admission a;
        const struct dv_claim *c = walk_step(&w, i, &a);
        found = a.verdict.reason == DV_REASON_PREPARING && !strcmp(device, a.device);
        if (!found)
            continue;
        *ret_id = c->id;
        *ret = a.verdict;
    }
    walk_done(&w);
    return r ? r : found ? 0 : -ENOENT;
}

int dv_queue_explain(const struct dv_snapshot *snapshot, uint64_t id, struct dv_verdict *ret)
{
    struct walk w;
    int r = dv_snapshot_claim(snapshot, id) ? 0 : -ENOENT;
    if (r < 0)
        return r;
    r = walk_init(&w, snapshot);
    for (size_t i = 0; !r && i < snapshot->n_claims; i++) {
        struct dv_admission a;
        if (walk_step(&w, i, &a)->id != id)
            continue;
        *ret = a.verdict;
        break;
    }
    walk_done(&w);
    return r;
}
