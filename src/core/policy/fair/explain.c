/* SPDX-License-Identifier: Apache-2.0 */
/* Why a workload waits, and what would change it. */
#include "policy/fair/fair_internal.h"

#include <errno.h>

const char *dv_fair_reason_name(enum dv_fair_reason reason)
{
    static const char *const names[] = {
        [DV_FAIR_RUNS] = "runs",
        [DV_FAIR_FITS] = "fits",
        [DV_FAIR_NEVER] = "never_fits",
        [DV_FAIR_NO_MODEL] = "no_such_gpu",
        [DV_FAIR_OVER_LIMIT] = "over_limit",
        [DV_FAIR_OVER_GUARANTEE] = "over_guarantee",
        [DV_FAIR_LIMIT] = "limit",
        [DV_FAIR_GUARANTEE] = "guarantee",
        [DV_FAIR_NO_ROOM] = "no_room",
        [DV_FAIR_FRAGMENTED] = "fragmented",
        [DV_FAIR_RESERVED] = "reserved",
        [DV_FAIR_BEHIND] = "behind",
        [DV_FAIR_LEFT] = "leaving_place",
        [DV_FAIR_EVICTED] = "evicted",
    };
    return names[reason];
}

const char *dv_fair_no_victims_name(enum dv_fair_no_victims why)
{
    static const char *const names[] = {
        [DV_FAIR_UNASKED] = "unasked",
        [DV_FAIR_OVER_SHARE] = "over_share",
        [DV_FAIR_NO_CANDIDATE] = "no_candidate",
        [DV_FAIR_NOT_ENOUGH] = "not_enough",
    };
    return names[why];
}

/* Place in its queue from 1, and units before it. */
static void find_position(const struct dv_fair *f, uint32_t w, struct dv_fair_verdict *v)
{
    const struct queue *q = &f->queues[f->workloads[w].spec.queue];
    for (uint32_t i = 0; i < q->n; i++) {
        uint32_t other = q->order[q->first + i];
        v->position = i + 1;
        if (other == w)
            return;
        v->ahead += (uint64_t)f->workloads[other].spec.min * f->workloads[other].units;
    }
}

static void room(struct dv_fair *f, const struct workload *w, struct dv_fair_verdict *v)
{
    const struct dv_fair_spec *s = &w->spec;
    if (v->reserved)
        dv_fair_reserve_open(f, true); /* what is kept for it is free to it */
    v->free = dv_fair_pool_free_gpus(f->pool) * DV_COMPUTE_FULL;
    v->members = dv_fair_pool_slots(f->pool, &s->request, s->min);
    if (v->members >= s->min)
        v->reason = v->position > 1 ? DV_FAIR_BEHIND : DV_FAIR_FITS;
    else
        v->reason = v->free >= v->asked ? DV_FAIR_FRAGMENTED : DV_FAIR_NO_ROOM;
    if (v->reserved) {
        dv_fair_reserve_open(f, false);
        return;
    }
    if (f->kept.holder == NONE || v->members >= s->min)
        return;
    dv_fair_reserve_open(f, true);
    if (dv_fair_pool_slots(f->pool, &s->request, s->min) >= s->min) {
        v->reason = DV_FAIR_RESERVED;
        v->other = f->kept.holder;
    }
    dv_fair_reserve_open(f, false);
}

static void quota(const struct dv_fair *f, const struct workload *w, uint32_t queue,
                  struct dv_fair_verdict *v)
{
    const struct queue *q = &f->queues[queue];
    v->queue = queue;
    bool limit = q->held + q->kept + v->asked > q->conf.limit;
    v->reason = limit ? DV_FAIR_LIMIT : DV_FAIR_GUARANTEE;
    v->held = limit ? q->held + q->kept : q->fixed + q->kept_fixed;
    v->limit = limit ? q->conf.limit : q->conf.guarantee;
}

static int explain_pending(struct dv_fair *f, uint32_t w, uint64_t now_ns,
                           struct dv_fair_verdict *v)
{
    const struct workload *x = &f->workloads[w];
    uint32_t who;
    find_position(f, w, v);
    if (x->never) {
        v->members = dv_fair_pool_slots_empty(f->pool, &x->spec.request, x->spec.min);
        v->reason =
            v->members || x->spec.request.kind == DV_FAIR_WHOLE ? DV_FAIR_NEVER : DV_FAIR_NO_MODEL;
        return 0;
    }
    v->reserved = f->kept.holder == w;
    dv_fair_may_evict(f, w);
    v->victims = x->victims;
    if (x->victims == DV_FAIR_OVER_SHARE) {
        v->share_queue = x->share_queue;
        v->share = f->queues[x->share_queue].share;
        v->share_after = x->share_after;
    }
    if (!dv_fair_quota(f, x, x->spec.min, v->reserved, &who))
        quota(f, x, who, v);
    else
        room(f, x, v);
    if (f->config.patience_ns != DV_NEVER)
        v->first_at_ns = x->since_ns + f->config.patience_ns;
    if (v->reserved) {
        v->at_ns = f->kept.at_ns;
        return 0;
    }
    int r = dv_fair_reserve_when(f, w, now_ns, &v->at_ns);
    return r == -ENOMEM ? r : 0;
}

int dv_fair_explain(struct dv_fair *f, uint32_t workload, uint64_t now_ns,
                    struct dv_fair_verdict *ret)
{
    const struct workload *x = &f->workloads[workload];
    struct dv_fair_verdict v = {.queue = x->spec.queue,
                                .asked = (uint64_t)x->spec.min * x->units,
                                .min = x->spec.min,
                                .members = x->members,
                                .other = DV_FAIR_NONE,
                                .at_ns = DV_NEVER,
                                .first_at_ns = DV_NEVER};
    int r = 0;
    switch (x->state) {
    case DV_FAIR_UNUSED:
        return -EINVAL;
    case DV_FAIR_RUNNING:
        v.reason = DV_FAIR_RUNS;
        break;
    case DV_FAIR_STARTING:
        v.reason = DV_FAIR_LEFT;
        break;
    case DV_FAIR_LEAVING:
        v.reason = DV_FAIR_EVICTED;
        break;
    case DV_FAIR_PENDING:
        r = explain_pending(f, workload, now_ns, &v);
        break;
    }
    if (!r)
        *ret = v;
    return r;
}
