/* SPDX-License-Identifier: Apache-2.0 */
#include "policy/fleet/fleet_fit.h"

#include "policy/mig_plan.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

/* ---- sides ---- */

static void add_kinds(struct dv_fleet_side *side)
{
    struct dv_mig_geometry *g = &side->geometry;
    side->kinds[0] =
        (struct dv_fleet_kind){DV_FLEET_NOT, side->group->memory_bytes, DV_COMPUTE_FULL};
    side->n_kinds = 1;
    for (uint32_t p = 0; p < g->n_profiles && side->n_kinds < DV_FLEET_KINDS_MAX; p++)
        if (g->profiles[p].media == DV_MIG_MEDIA_DEFAULT && !g->profiles[p].graphics)
            side->kinds[side->n_kinds++] = (struct dv_fleet_kind){
                p, DV_MIN(g->profiles[p].memory_bytes, side->group->memory_bytes),
                dv_mig_compute(g, &g->profiles[p])};
}

struct cutter {
    struct dv_fleet_side *side;
    struct dv_mig_instance set[DV_MIG_INSTANCES_MAX + 1];
    size_t n;
    struct dv_fleet_cut now;
    uint32_t max;
};

static int is_possible(struct cutter *c, bool *ret)
{
    struct dv_mig_plan plan;
    *ret = false;
    if (c->n > DV_MIG_INSTANCES_MAX)
        return 0;
    int r = dv_mig_plan_find(&c->side->geometry, NULL, 0, c->set, c->n, &plan);
    *ret = !r && plan.rule == DV_MIG_OK;
    return r;
}

static int keep_cut(struct cutter *c)
{
    struct dv_fleet_side *s = c->side;
    if (s->n_cuts == c->max) {
        uint32_t max = c->max ? c->max * 2 : 32;
        struct dv_fleet_cut *more = realloc(s->cuts, max * sizeof *more);
        if (!more)
            return -ENOMEM;
        s->cuts = more;
        c->max = max;
    }
    s->cuts[s->n_cuts++] = c->now;
    return 0;
}

/* Can anything be added to what is there? */
static int is_full(struct cutter *c, bool *ret)
{
    int r = 0;
    bool possible = false;
    for (uint32_t k = 1; !r && !possible && k < c->side->n_kinds; k++) {
        c->set[c->n++] = (struct dv_mig_instance){c->side->kinds[k].profile, DV_MIG_UNPLACED};
        r = is_possible(c, &possible);
        c->n--;
    }
    *ret = !possible;
    return r;
}

/* All sets of kinds from `from` on, that are added to what is there; at most 16 deep. */
static int cut_from(struct cutter *c, uint32_t from)
{
    bool full = false;
    int r = is_full(c, &full);
    if (!r && full)
        r = c->side->n_cuts < DV_FLEET_CUTS_MAX ? keep_cut(c) : 0;
    for (uint32_t k = from; !r && !full && k < c->side->n_kinds; k++) {
        bool possible = false;
        c->set[c->n++] = (struct dv_mig_instance){c->side->kinds[k].profile, DV_MIG_UNPLACED};
        c->now.count[k]++;
        r = is_possible(c, &possible);
        if (!r && possible)
            r = cut_from(c, k);
        c->now.count[k]--;
        c->n--;
    }
    return r;
}

int dv_fleet_fit_side(const struct dv_fleet_group *group, struct dv_fleet_side *ret)
{
    *ret = (struct dv_fleet_side){.group = group};
    if (group->model->mig) {
        ret->geometry = *group->model->mig;
        dv_mig_geometry_estimate(&ret->geometry, group->memory_bytes, group->model->sm);
    }
    add_kinds(ret);
    struct cutter c = {.side = ret};
    int r = ret->n_kinds > 1 ? cut_from(&c, 1) : 0;
    if (r < 0)
        dv_fleet_fit_done(ret);
    return r;
}

void dv_fleet_fit_done(struct dv_fleet_side *side)
{
    if (!side)
        return;
    free(side->cuts);
    *side = (struct dv_fleet_side){0};
}

/* ---- what fits ---- */

bool dv_fleet_fit_model(const struct dv_fleet_workload *workload, const struct dv_fleet_side *side)
{
    const struct dv_gpu_model *m = side->group->model;
    if (workload->topology == DV_FLEET_NVLINK && !m->nvlinks)
        return false;
    for (uint32_t i = 0; i < workload->n_models; i++)
        if (workload->models[i] == m)
            return true;
    return !workload->n_models;
}

static uint64_t mib_up(uint64_t bytes)
{
    return (bytes + DV_MIB - 1) / DV_MIB * DV_MIB;
}

static uint64_t context(const struct dv_fleet_workload *w, const struct dv_fleet_side *side)
{
    uint64_t one = side->group->model->context_bytes;
    if (w->context_said)
        one = w->context_bytes;
    else if (!one)
        one = DV_FLEET_CONTEXT_BYTES;
    return one * w->processes;
}

static uint32_t share_said(const struct dv_fleet_workload *w)
{
    if (w->compute)
        return w->compute;
    if (w->busy)
        return w->busy;
    return w->interactive ? DV_MODE_INTERACTIVE_COMPUTE : 0;
}

/* a * b / c, rounded down; memory times a share does not fit 64 bits for the largest sizes. */
static uint64_t scale(uint64_t a, uint64_t b, uint64_t c)
{
    return (uint64_t)((unsigned __int128)a * b / c);
}

struct dv_fleet_need dv_fleet_fit_need(const struct dv_fleet_workload *workload,
                                       const struct dv_fleet_side *side, enum dv_fleet_mode mode)
{
    uint64_t card = side->group->memory_bytes;
    struct dv_fleet_need need = {.memory_bytes = workload->memory_bytes,
                                 .compute = share_said(workload)};
    bool own = mode == DV_FLEET_EXCLUSIVE || mode == DV_FLEET_MIG;
    if (need.memory_bytes && !own)
        need.memory_bytes += context(workload, side);
    if (own)
        return need;
    if (!need.memory_bytes)
        need.memory_bytes = scale(card, need.compute, DV_COMPUTE_FULL) / DV_MIB * DV_MIB;
    need.memory_bytes = DV_MAX(mib_up(need.memory_bytes), DV_MIB);
    if (!need.compute) {
        uint64_t part = scale(DV_COMPUTE_FULL, need.memory_bytes, card);
        need.compute = (uint32_t)DV_MIN(DV_MAX(part, UINT64_C(1)), (uint64_t)DV_COMPUTE_FULL + 1);
    }
    return need;
}

bool dv_fleet_fit_is(const struct dv_fleet_workload *workload, const struct dv_fleet_side *side,
                     uint32_t kind, enum dv_fleet_mode mode)
{
    const struct dv_fleet_kind *k = &side->kinds[kind];
    bool whole = k->profile == DV_FLEET_NOT;
    if ((mode == DV_FLEET_EXCLUSIVE || mode == DV_FLEET_MPS) ? !whole
                                                             : mode == DV_FLEET_MIG && whole)
        return false;
    if (dv_fleet_rules_gpus(workload)) /* a training may say what memory its card has at least */
        return mode == DV_FLEET_EXCLUSIVE && workload->memory_bytes <= k->memory_bytes;
    struct dv_fleet_need need = dv_fleet_fit_need(workload, side, mode);
    return need.memory_bytes <= k->memory_bytes && need.compute <= k->compute;
}

/* ---- the packing bound ---- */

static void bound_mig(const struct dv_fleet_workload *w, const struct dv_fleet_side *side,
                      struct dv_fleet_bound *ret)
{
    for (uint32_t k = 1; k < side->n_kinds; k++) {
        const struct dv_fleet_kind *best = &side->kinds[ret->mig_kind % DV_FLEET_KINDS_MAX];
        if (!dv_fleet_fit_is(w, side, k, DV_FLEET_MIG))
            continue;
        if (ret->mig_kind == DV_FLEET_NOT || side->kinds[k].memory_bytes < best->memory_bytes ||
            (side->kinds[k].memory_bytes == best->memory_bytes &&
             side->kinds[k].compute < best->compute))
            ret->mig_kind = k;
    }
    for (uint32_t c = 0; c < side->n_cuts; c++) {
        uint32_t n = 0;
        for (uint32_t k = 1; k < side->n_kinds; k++)
            if (dv_fleet_fit_is(w, side, k, DV_FLEET_MIG))
                n += side->cuts[c].count[k];
        ret->mig_fits = DV_MAX(ret->mig_fits, n);
    }
}

void dv_fleet_fit_bound(const struct dv_fleet_workload *workload, const struct dv_fleet_side *side,
                        struct dv_fleet_bound *ret)
{
    struct dv_fleet_need need = dv_fleet_fit_need(workload, side, DV_FLEET_GOVERNED);
    uint32_t most = side->group->slices_max ? side->group->slices_max : DV_FLEET_SHARE_MAX;
    *ret = (struct dv_fleet_bound){.mig_kind = DV_FLEET_NOT};
    ret->by_memory = side->group->memory_bytes / need.memory_bytes;
    ret->by_compute = DV_COMPUTE_FULL / DV_MAX(need.compute, 1u);
    uint64_t n = DV_MIN(ret->by_memory, ret->by_compute);
    ret->binds = ret->by_compute < ret->by_memory ? DV_FLEET_COMPUTE : DV_FLEET_MEMORY;
    if (most < n)
        ret->binds = DV_FLEET_SLICES;
    ret->fits = (uint32_t)DV_MIN(n, most);
    bound_mig(workload, side, ret);
}
