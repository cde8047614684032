/* SPDX-License-Identifier: Apache-2.0 */
#include "work.h"

#include <errno.h>
#include <stdlib.h>

#define HALF_SAMPLES_MIN (2 * DV_AUDIT_SAMPLES_MIN)

void dv_audit_work_done(struct dv_audit_work *w)
{
    dv_audit_plan_free(w->plan);
    w->plan = NULL;
}

/* ---- replay --------------------------------------------------------------------------------- */

struct pass {
    struct dv_audit_feed *feed;
    struct dv_audit_replay *replay;
    int64_t from_ns, to_ns;
    struct dv_audit *first, *second; /* halves, of another kind of pass */
};

static bool go_on(struct pass *p, size_t n)
{
    p->feed->done += n;
    return dv_long_run_at(&p->feed->run, p->feed->done);
}

static bool replay_samples(void *arg, const struct dv_spool_sample *s, size_t n)
{
    struct pass *p = arg;
    for (size_t i = 0; i < n; i++) {
        if (s[i].unix_ns < p->from_ns || s[i].unix_ns >= p->to_ns)
            continue;
        if (s[i].memory)
            dv_audit_replay_memory(p->replay, s[i].workload, s[i].unix_ns, (double)s[i].value);
        else
            dv_audit_replay_busy(p->replay, s[i].workload, s[i].unix_ns, (double)s[i].value);
    }
    return go_on(p, n);
}

/* 1: replayed; 0: interrupted. */
static int run_replay(struct dv_audit_feed *f, struct dv_audit_replay *replay, int64_t from_ns,
                      int64_t to_ns, struct dv_audit_replayed *ret, struct dv_err *err)
{
    struct pass p = {.feed = f, .replay = replay, .from_ns = from_ns, .to_ns = to_ns};
    while (dv_audit_replay_slab(replay)) {
        int r = dv_spool_walk(f->spool, replay_samples, &p, err);
        if (r < 0 || dv_long_run_signal())
            return r < 0 ? r : 0;
    }
    dv_audit_replay_done(replay, ret);
    return 1;
}

static int replay_whole(struct dv_audit_feed *f, const struct dv_audit_wish *wish,
                        struct dv_audit_work *w, struct dv_err *err)
{
    const struct dv_audit_fleet *fleet = dv_audit_fleet(f->audit);
    dv_cleanup(dv_audit_replay_freep) struct dv_audit_replay *replay = NULL;
    int r = dv_audit_replay_new(f->audit, f->audit, w->plan, wish, fleet->first_ns,
                                fleet->last_ns + 1, &replay);
    r = r < 0 ? r : run_replay(f, replay, INT64_MIN, INT64_MAX, &w->replay, err);
    w->replayed = r > 0;
    return r;
}

/* ---- halves --------------------------------------------------------------------------------- */

static bool split_samples(void *arg, const struct dv_spool_sample *s, size_t n)
{
    struct pass *p = arg;
    for (size_t i = 0; i < n; i++) {
        struct dv_audit *half = s[i].unix_ns < p->from_ns ? p->first : p->second;
        if (s[i].memory)
            dv_audit_memory(half, s[i].workload, s[i].unix_ns, (double)s[i].value);
        else
            dv_audit_busy(half, s[i].workload, s[i].unix_ns, (double)s[i].value);
    }
    return go_on(p, n);
}

/* An audit with the same workloads, under the same numbers, without samples. */
static struct dv_audit *same_workloads(const struct dv_audit *of)
{
    struct dv_audit *a = dv_audit_new();
    for (uint32_t i = 0; a && i < dv_audit_count(of); i++) {
        const struct dv_audit_workload *w = dv_audit_at(of, i);
        uint32_t same;
        if (dv_audit_find(a, w->name, w->gpu, &same) < 0) {
            dv_audit_free(a);
            a = NULL;
        }
    }
    return a;
}

static int plan_halves(struct pass *p, const struct dv_audit_wish *wish,
                       struct dv_audit_plan **ret_first, struct dv_audit_plan **ret_second,
                       struct dv_err *err)
{
    int r = dv_spool_walk(p->feed->spool, split_samples, p, err);
    r = r < 0 ? r : dv_audit_finish(p->first, wish);
    r = r < 0 ? r : dv_audit_finish(p->second, wish);
    r = r < 0 ? r : dv_audit_pack(p->first, wish, ret_first);
    return r < 0 ? r : dv_audit_pack(p->second, wish, ret_second);
}

/* The plan of one half on the samples of the other. */
static int replay_other(struct dv_audit_feed *f, const struct dv_audit_wish *wish,
                        const struct dv_audit *planned, const struct dv_audit_plan *plan,
                        const struct dv_audit *other, int64_t from_ns, int64_t to_ns,
                        struct dv_audit_half *ret, struct dv_err *err)
{
    dv_cleanup(dv_audit_replay_freep) struct dv_audit_replay *replay = NULL;
    int r = dv_audit_replay_new(other, planned, plan, wish, from_ns, to_ns, &replay);
    ret->gpus = plan->n_gpus;
    return r < 0 ? r : run_replay(f, replay, from_ns, to_ns, &ret->other, err);
}

static int replay_halves(struct dv_audit_feed *f, const struct dv_audit_wish *wish,
                         struct dv_audit_work *w, struct dv_err *err)
{
    const struct dv_audit_fleet *fleet = dv_audit_fleet(f->audit);
    dv_cleanup(dv_audit_freep) struct dv_audit *first = same_workloads(f->audit);
    dv_cleanup(dv_audit_freep) struct dv_audit *second = same_workloads(f->audit);
    dv_cleanup(dv_audit_plan_freep) struct dv_audit_plan *plan = NULL;
    dv_cleanup(dv_audit_plan_freep) struct dv_audit_plan *other = NULL;
    if (!first || !second)
        return -ENOMEM;
    int64_t begin = fleet->first_ns, end = fleet->last_ns + 1, middle = begin + (end - begin) / 2;
    struct pass p = {.feed = f, .from_ns = middle, .first = first, .second = second};
    int r = plan_halves(&p, wish, &plan, &other, err);
    if (r < 0 || dv_long_run_signal())
        return r;
    r = replay_other(f, wish, first, plan, second, middle, end, &w->halves[0], err);
    if (r > 0)
        r = replay_other(f, wish, second, other, first, begin, middle, &w->halves[1], err);
    w->held_back = r > 0;
    return r;
}

/* With fewer samples a half says nothing of anybody. */
static uint64_t longest_series(const struct dv_audit *a)
{
    uint64_t n = 0;
    for (uint32_t i = 0; i < dv_audit_count(a); i++)
        n = DV_MAX(n, dv_audit_at(a, i)->series.busy_times.n);
    return n;
}

int dv_audit_work_do(struct dv_audit_feed *f, const struct dv_audit_wish *wish,
                     struct dv_audit_work *ret, struct dv_err *err)
{
    const struct dv_audit_fleet *fleet = dv_audit_fleet(f->audit);
    *ret = (struct dv_audit_work){.plan = NULL};
    f->done = 0;
    dv_long_run_begin(&f->run, "replaying", "samples", 0);
    int r = dv_audit_pack(f->audit, wish, &ret->plan);
    if (r == 0 && f->spool && !f->spool_err.msg[0] && !f->interrupted && fleet->samples) {
        r = replay_whole(f, wish, ret, err);
        if (r > 0 && longest_series(f->audit) >= 2 * HALF_SAMPLES_MIN)
            r = replay_halves(f, wish, ret, err);
    }
    f->interrupted = f->interrupted || dv_long_run_signal() != 0;
    dv_long_run_end(&f->run);
    if (r == -ENOMEM)
        dv_err_set(err, r, "out of memory");
    return r < 0 ? r : 0;
}
