/* SPDX-License-Identifier: Apache-2.0 */
#include "policy/fleet/fleet_all.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#define STEPS_PER_PATTERN 200u

struct list {
    uint32_t n, max;
    struct dv_fleet_pattern *v; /* devices[0] only */
};

struct walk {
    const struct dv_fleet_all *all;
    const struct dv_fleet_side *side;
    const struct dv_fleet_need *needs;
    uint32_t given;
    uint64_t steps;
    struct list options[DV_FLEET_KINDS_MAX]; /* fillings of a MIG device of each kind */
    /* The filling at hand. */
    uint32_t *counts; /* of each workload */
    uint32_t kind;
    enum dv_fleet_mode mode;
    struct list *to;
};

static int count_step(struct walk *w)
{
    return ++w->steps > (uint64_t)w->all->most * STEPS_PER_PATTERN ? -E2BIG : 0;
}

static bool may(const struct walk *w, uint32_t workload, enum dv_fleet_mode mode)
{
    const struct dv_fleet_view *v = w->all->view;
    return w->all->limits[workload] && !v->gpus[workload] &&
           v->may[(size_t)w->all->side * v->n_workloads + workload] &&
           (v->choices[workload].modes & DV_FLEET_BIT(mode)) &&
           dv_fleet_fit_is(&v->fleet->workloads[workload], w->side, w->kind, mode);
}

static int give(struct walk *w, struct dv_fleet_pattern *p)
{
    if (w->given == w->all->most) {
        dv_fleet_pattern_done(p);
        return -E2BIG;
    }
    w->given++;
    return w->all->take(p, w->all->arg);
}

/* To the list at hand, or to the caller. */
static int put(struct walk *w, struct dv_fleet_pattern *p)
{
    struct list *to = w->to;
    if (!to)
        return give(w, p);
    if (to->n == to->max) {
        uint32_t max = to->max ? to->max * 2 : 16;
        struct dv_fleet_pattern *v = max > w->all->most ? NULL : realloc(to->v, max * sizeof *v);
        if (!v) {
            dv_fleet_pattern_done(p);
            return max > w->all->most ? -E2BIG : -ENOMEM;
        }
        to->v = v;
        to->max = max;
    }
    to->v[to->n++] = *p;
    return 0;
}

/* The counts at hand as a pattern of one device. */
static int put_counts(struct walk *w)
{
    struct dv_fleet_pattern p = {.side = w->all->side, .cards = 1, .n_devices = 1};
    int r = 0;
    p.mode = w->kind ? DV_FLEET_MIG : w->mode;
    p.devices[0] = (struct dv_fleet_device){(uint8_t)w->kind, w->mode};
    for (uint32_t i = 0; !r && i < w->all->view->n_workloads; i++)
        if (w->counts[i])
            r = dv_fleet_pattern_add(&p, i, 0, w->counts[i]);
    if (r < 0) {
        dv_fleet_pattern_done(&p);
        return r;
    }
    return p.n_items ? put(w, &p) : 0;
}

/* ---- a shared device ---- */

static uint64_t room_for(const struct walk *w, uint32_t i, uint64_t memory, uint32_t compute,
                         uint32_t most)
{
    const struct dv_fleet_need *n = &w->needs[i];
    uint64_t fit = DV_MIN((uint64_t)most, w->all->limits[i] - w->counts[i]);
    fit = DV_MIN(fit, memory / n->memory_bytes);
    return DV_MIN(fit, (uint64_t)(compute / n->compute));
}

/* Is there anything that still fits? */
static bool is_full(const struct walk *w, uint64_t memory, uint32_t compute, uint32_t most)
{
    for (uint32_t i = 0; i < w->all->view->n_workloads; i++)
        if (may(w, i, w->mode) && room_for(w, i, memory, compute, most))
            return false;
    return true;
}

static int fill_from(struct walk *w, uint32_t i, uint64_t memory, uint32_t compute, uint32_t most)
{
    int r = count_step(w);
    if (r < 0)
        return r;
    while (i < w->all->view->n_workloads && !may(w, i, w->mode))
        i++;
    if (i == w->all->view->n_workloads)
        return is_full(w, memory, compute, most) ? put_counts(w) : 0;
    uint64_t n = room_for(w, i, memory, compute, most);
    for (uint64_t c = n + 1; !r && c-- > 0;) {
        w->counts[i] = (uint32_t)c;
        r = fill_from(w, i + 1, memory - c * w->needs[i].memory_bytes,
                      compute - (uint32_t)c * w->needs[i].compute, most - (uint32_t)c);
    }
    w->counts[i] = 0;
    return r;
}

static uint32_t slices_max(const struct walk *w)
{
    return w->side->group->slices_max ? w->side->group->slices_max : DV_FLEET_SHARE_MAX;
}

static int fill_shared(struct walk *w, uint32_t kind, enum dv_fleet_mode mode)
{
    w->kind = kind;
    w->mode = mode;
    return fill_from(w, 0, w->side->kinds[kind].memory_bytes, w->side->kinds[kind].compute,
                     slices_max(w));
}

static int fill_own(struct walk *w, uint32_t kind)
{
    int r = 0;
    w->kind = kind;
    w->mode = kind ? DV_FLEET_MIG : DV_FLEET_EXCLUSIVE;
    for (uint32_t i = 0; !r && i < w->all->view->n_workloads; i++) {
        if (!may(w, i, w->mode))
            continue;
        w->counts[i] = 1;
        r = put_counts(w);
        w->counts[i] = 0;
    }
    return r;
}

/* ---- MPS ---- */

static bool fits_part(const struct walk *w, uint32_t i, uint32_t parts)
{
    uint64_t memory = w->side->kinds[0].memory_bytes / parts / DV_MIB * DV_MIB;
    return may(w, i, DV_FLEET_MPS) && w->needs[i].memory_bytes <= memory &&
           w->needs[i].compute <= DV_COMPUTE_FULL / parts;
}

static int fill_parts(struct walk *w, uint32_t i, uint32_t parts, uint32_t left)
{
    int r = count_step(w);
    if (r < 0)
        return r;
    while (i < w->all->view->n_workloads && !fits_part(w, i, parts))
        i++;
    if (!left || i == w->all->view->n_workloads)
        return put_counts(w);
    uint64_t n = DV_MIN((uint64_t)left, w->all->limits[i]);
    for (uint64_t c = n + 1; !r && c-- > 0;) {
        w->counts[i] = (uint32_t)c;
        r = fill_parts(w, i + 1, parts, left - (uint32_t)c);
    }
    w->counts[i] = 0;
    return r;
}

static int fill_mps(struct walk *w)
{
    uint32_t most = DV_MIN(slices_max(w), DV_MODE_MPS_CLIENTS);
    int r = 0;
    w->kind = 0;
    w->mode = DV_FLEET_MPS;
    for (uint32_t n = 1; !r && n <= most; n++)
        r = fill_parts(w, 0, n, n);
    return r;
}

/* ---- MIG ---- */

static int join(struct walk *w, const struct dv_fleet_cut *cut, const uint32_t *picks)
{
    struct dv_fleet_pattern p = {.side = w->all->side, .cards = 1, .mode = DV_FLEET_MIG};
    uint32_t at = 0;
    int r = 0;
    for (uint32_t k = 1; k < w->side->n_kinds; k++)
        for (uint32_t c = 0; c < cut->count[k]; c++, at++) {
            const struct list *l = &w->options[k];
            const struct dv_fleet_pattern *one = l->n ? &l->v[picks[at]] : NULL;
            uint32_t d = p.n_devices++;
            p.devices[d] =
                one ? one->devices[0] : (struct dv_fleet_device){(uint8_t)k, DV_FLEET_MIG};
            for (uint32_t i = 0; !r && one && i < one->n_items; i++)
                r = dv_fleet_pattern_add(&p, one->items[i].workload, d, one->items[i].count);
        }
    if (r < 0 || !p.n_items) {
        dv_fleet_pattern_done(&p);
        return r;
    }
    return give(w, &p);
}

/* Devices of one kind are alike: their fillings in ascending order. */
static int pick(struct walk *w, const struct dv_fleet_cut *cut, uint32_t kind, uint32_t nth,
                uint32_t at, uint32_t *picks)
{
    int r = count_step(w);
    if (r < 0)
        return r;
    while (kind < w->side->n_kinds && nth == cut->count[kind]) {
        kind++;
        nth = 0;
    }
    if (kind == w->side->n_kinds)
        return join(w, cut, picks);
    uint32_t n = DV_MAX(w->options[kind].n, 1u);
    for (uint32_t i = nth ? picks[at - 1] : 0; !r && i < n; i++) {
        picks[at] = i;
        r = pick(w, cut, kind, nth + 1, at + 1, picks);
    }
    return r;
}

/* Does a hold all that b does? */
static bool covers(const struct dv_fleet_pattern *a, const struct dv_fleet_pattern *b)
{
    for (uint32_t i = 0; i < b->n_items; i++)
        if (dv_fleet_pattern_count(a, b->items[i].workload) < b->items[i].count)
            return false;
    return true;
}

/* Of the fillings of a device only those that no other one holds. */
static void drop_covered(struct list *l)
{
    uint32_t n = 0;
    for (uint32_t i = 0; i < l->n; i++) {
        bool keep = true;
        for (uint32_t k = 0; keep && k < n; k++)
            keep = !covers(&l->v[k], &l->v[i]);
        for (uint32_t k = i + 1; keep && k < l->n; k++)
            keep = !covers(&l->v[k], &l->v[i]) || covers(&l->v[i], &l->v[k]);
        if (keep)
            l->v[n++] = l->v[i];
        else
            dv_fleet_pattern_done(&l->v[i]);
    }
    l->n = n;
}

static int fill_mig(struct walk *w)
{
    uint32_t picks[DV_MIG_INSTANCES_MAX + 1] = {0};
    int r = 0;
    for (uint32_t k = 1; !r && k < w->side->n_kinds; k++) {
        w->to = &w->options[k];
        r = fill_own(w, k);
        r = r ? r : fill_shared(w, k, DV_FLEET_GOVERNED);
        r = r ? r : fill_shared(w, k, DV_FLEET_TIMESLICE);
        drop_covered(&w->options[k]);
    }
    w->to = NULL;
    for (uint32_t c = 0; !r && c < w->side->n_cuts; c++)
        r = pick(w, &w->side->cuts[c], 1, 0, 0, picks);
    return r;
}

int dv_fleet_all_find(const struct dv_fleet_all *all)
{
    const struct dv_fleet_view *v = all->view;
    struct walk w = {.all = all,
                     .side = &v->sides[all->side],
                     .needs = &v->shared[(size_t)all->side * v->n_workloads]};
    w.counts = calloc(v->n_workloads, sizeof *w.counts);
    if (!w.counts)
        return -ENOMEM;
    int r = fill_own(&w, 0);
    r = r ? r : fill_shared(&w, 0, DV_FLEET_GOVERNED);
    r = r ? r : fill_shared(&w, 0, DV_FLEET_TIMESLICE);
    r = r ? r : fill_mps(&w);
    r = r ? r : fill_mig(&w);
    for (uint32_t k = 0; k < DV_FLEET_KINDS_MAX; k++) {
        for (uint32_t i = 0; i < w.options[k].n; i++)
            dv_fleet_pattern_done(&w.options[k].v[i]);
        free(w.options[k].v);
    }
    free(w.counts);
    return r;
}
