/* SPDX-License-Identifier: Apache-2.0 */
#include "policy/fleet/fleet_price.h"

#include "policy/fleet/fleet_knapsack.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#define DISLIKE 16 /* of a mode that is not the preferred one */
#define DISLIKE_CARD 64
#define DISLIKE_INSIDE 4
#define STEPS_BOUND 50000u /* of a knapsack */
#define STEPS_FIND 2000u
#define CUTS_TRIED 3

int64_t dv_fleet_price_dislike(const struct dv_fleet_view *view, uint32_t workload,
                               enum dv_fleet_mode mode, bool inside_mig)
{
    int64_t inside = inside_mig ? DISLIKE_INSIDE : 0;
    if (view->gpus[workload] || view->choices[workload].prefer == mode)
        return inside;
    return inside + (mode == DV_FLEET_EXCLUSIVE ? DISLIKE_CARD : DISLIKE);
}

static bool is_inside(const struct dv_fleet_pattern *p, const struct dv_fleet_item *item)
{
    return p->mode == DV_FLEET_MIG && p->devices[item->device].mode != DV_FLEET_MIG;
}

int64_t dv_fleet_price_dislikes(const struct dv_fleet_view *view,
                                const struct dv_fleet_pattern *pattern)
{
    int64_t sum = 0;
    for (uint32_t i = 0; i < pattern->n_items; i++) {
        const struct dv_fleet_item *item = &pattern->items[i];
        enum dv_fleet_mode mode = pattern->devices[item->device].mode;
        sum += item->count *
               dv_fleet_price_dislike(view, item->workload, mode, is_inside(pattern, item));
    }
    return sum;
}

void dv_fleet_pattern_done(struct dv_fleet_pattern *pattern)
{
    if (!pattern)
        return;
    free(pattern->items);
    pattern->items = NULL;
    pattern->n_items = 0;
}

uint64_t dv_fleet_pattern_count(const struct dv_fleet_pattern *pattern, uint32_t workload)
{
    uint64_t n = 0;
    for (uint32_t i = 0; i < pattern->n_items; i++)
        if (pattern->items[i].workload == workload)
            n += pattern->items[i].count;
    return n;
}

int dv_fleet_pattern_add(struct dv_fleet_pattern *p, uint32_t workload, uint32_t device,
                         uint32_t count)
{
    struct dv_fleet_item *items = realloc(p->items, (p->n_items + 1) * sizeof *items);
    if (!items)
        return -ENOMEM;
    p->items = items;
    items[p->n_items++] = (struct dv_fleet_item){(uint16_t)workload, (uint16_t)device, count};
    return 0;
}

int dv_fleet_price_whole(uint32_t side, uint32_t workload, uint32_t cards,
                         struct dv_fleet_pattern *ret)
{
    struct dv_fleet_pattern p = {.side = side, .cards = cards, .mode = DV_FLEET_EXCLUSIVE};
    p.n_devices = 1;
    p.devices[0] = (struct dv_fleet_device){0, DV_FLEET_EXCLUSIVE};
    int r = dv_fleet_pattern_add(&p, workload, 0, 1);
    if (!r)
        *ret = p;
    return r;
}

/* ---- one search ---- */

struct search {
    const struct dv_fleet_view *view;
    const struct dv_fleet_side *side;
    uint32_t side_index;
    const struct dv_fleet_price *price;
    uint64_t *left; /* of each workload, while a pattern of several devices is filled */
    bool turns;     /* somebody may be in TIMESLICE who may not be GOVERNED */
    struct dv_fleet_pattern best[DV_FLEET_MODES];
    int64_t best_value[DV_FLEET_MODES], upper;
};

static int64_t worth(const struct search *s, uint32_t w, enum dv_fleet_mode mode, bool inside)
{
    int64_t v = s->price->values[w];
    return s->price->dislikes ? v - dv_fleet_price_dislike(s->view, w, mode, inside) : v;
}

static bool may(const struct search *s, uint32_t w, enum dv_fleet_mode mode)
{
    return s->view->may[(size_t)s->side_index * s->view->n_workloads + w] && !s->view->gpus[w] &&
           (s->view->choices[w].modes & DV_FLEET_BIT(mode)) && s->left[w];
}

/* Takes the pattern when it is better than the best; it is not ours any more. */
static void offer(struct search *s, struct dv_fleet_pattern *p, int64_t value)
{
    enum dv_fleet_mode mode = p->mode;
    if (value > s->best_value[mode]) {
        dv_fleet_pattern_done(&s->best[mode]);
        s->best[mode] = *p;
        s->best_value[mode] = value;
        *p = (struct dv_fleet_pattern){0};
    }
    dv_fleet_pattern_done(p);
}

static struct dv_fleet_pattern start(const struct search *s, enum dv_fleet_mode mode)
{
    struct dv_fleet_pattern p = {.side = s->side_index, .cards = 1, .mode = mode};
    if (mode != DV_FLEET_MIG) {
        p.n_devices = 1;
        p.devices[0] = (struct dv_fleet_device){0, mode};
    }
    return p;
}

/* ---- a device of its own ---- */

/* The workload that is worth most on a device of its own, or NONE. */
#define NONE UINT32_MAX
static uint32_t best_own(const struct search *s, uint32_t kind, enum dv_fleet_mode mode,
                         int64_t *ret)
{
    const struct dv_fleet_kind *k = &s->side->kinds[kind];
    uint32_t best = NONE;
    *ret = 0;
    for (uint32_t w = 0; w < s->view->n_workloads; w++) {
        const struct dv_fleet_need *need = &s->view->own[w];
        int64_t v = worth(s, w, mode, false);
        if (v > *ret && may(s, w, mode) && need->memory_bytes <= k->memory_bytes &&
            need->compute <= k->compute) {
            *ret = v;
            best = w;
        }
    }
    return best;
}

static int price_exclusive(struct search *s)
{
    struct dv_fleet_pattern p = {0};
    int64_t value = 0;
    uint32_t w = best_own(s, 0, DV_FLEET_EXCLUSIVE, &value);
    for (uint32_t i = 0; i < s->view->n_workloads; i++) {
        size_t at = (size_t)s->side_index * s->view->n_workloads + i;
        uint32_t n = s->view->gpus[i];
        if (!n || !s->view->may[at] || !s->left[i])
            continue;
        int64_t v = s->price->values[i];
        s->upper = DV_MAX(s->upper, (v + n - 1) / n); /* per card */
        if (n == 1 && v > value) {
            value = v;
            w = i;
        }
    }
    s->upper = DV_MAX(s->upper, value);
    if (w == NONE)
        return 0;
    int r = dv_fleet_price_whole(s->side_index, w, 1, &p);
    if (!r)
        offer(s, &p, value);
    return r;
}

/* ---- a shared device ---- */

static uint32_t slices_max(const struct search *s)
{
    uint32_t n = s->side->group->slices_max;
    return n ? n : DV_FLEET_SHARE_MAX;
}

static int fill_knapsack(const struct search *s, uint32_t kind, enum dv_fleet_mode mode,
                         struct dv_fleet_knapsack *ret)
{
    const struct dv_fleet_need *needs =
        &s->view->shared[(size_t)s->side_index * s->view->n_workloads];
    struct dv_fleet_knapsack k = {.memory = s->side->kinds[kind].memory_bytes,
                                  .compute = s->side->kinds[kind].compute,
                                  .most = slices_max(s),
                                  .steps = s->price->bound ? STEPS_BOUND : STEPS_FIND};
    k.items = calloc(s->view->n_workloads, sizeof *k.items);
    if (!k.items)
        return -ENOMEM;
    for (uint32_t w = 0; w < s->view->n_workloads; w++) {
        int64_t v = worth(s, w, mode, kind > 0);
        if (v > 0 && may(s, w, mode) && needs[w].memory_bytes <= k.memory &&
            needs[w].compute <= k.compute)
            k.items[k.n++] = (struct dv_fleet_thing){.id = w,
                                                     .value = v,
                                                     .memory = needs[w].memory_bytes,
                                                     .compute = needs[w].compute,
                                                     .limit = s->left[w]};
    }
    *ret = k;
    return 0;
}

/* The best filling of a device; its items are added to p as those of `device`. */
static int share(const struct search *s, uint32_t kind, enum dv_fleet_mode mode, uint32_t device,
                 struct dv_fleet_pattern *p, int64_t *ret_value, int64_t *ret_upper)
{
    struct dv_fleet_knapsack k = {0};
    int r = fill_knapsack(s, kind, mode, &k);
    r = r ? r : dv_fleet_knapsack_solve(&k);
    for (uint32_t i = 0; !r && i < k.n; i++)
        if (p && k.items[i].taken)
            r = dv_fleet_pattern_add(p, k.items[i].id, device, k.items[i].taken);
    *ret_value = k.value;
    *ret_upper = k.upper;
    *s->price->work += k.work + s->view->n_workloads;
    free(k.items);
    return r;
}

static int price_shared(struct search *s, enum dv_fleet_mode mode)
{
    struct dv_fleet_pattern p = start(s, mode);
    int64_t value = 0, upper = 0;
    int r = share(s, 0, mode, 0, &p, &value, &upper);
    s->upper = DV_MAX(s->upper, upper);
    if (!r)
        offer(s, &p, value);
    dv_fleet_pattern_done(&p);
    return r;
}

/* ---- MPS: equal parts ---- */

static bool fits_part(const struct search *s, uint32_t w, uint32_t parts)
{
    const struct dv_fleet_need *need =
        &s->view->shared[(size_t)s->side_index * s->view->n_workloads + w];
    uint64_t memory = s->side->group->memory_bytes / parts / DV_MIB * DV_MIB;
    return may(s, w, DV_FLEET_MPS) && need->memory_bytes <= memory &&
           need->compute <= DV_COMPUTE_FULL / parts;
}

struct candidate {
    uint32_t workload;
    int64_t value;
};

/* The most valuable replicas that fit into such parts, in their order: the parts are alike, so the
 * greedy choice is the best. */
static int fill_parts(struct search *s, uint32_t parts, const struct candidate *list,
                      uint32_t n_list)
{
    struct dv_fleet_pattern p = start(s, DV_FLEET_MPS);
    uint32_t n = 0;
    int64_t value = 0;
    int r = 0;
    for (uint32_t i = 0; !r && i < n_list && n < parts; i++) {
        if (!fits_part(s, list[i].workload, parts))
            continue;
        uint32_t taken = (uint32_t)DV_MIN(s->left[list[i].workload], (uint64_t)(parts - n));
        value += list[i].value * taken;
        n += taken;
        r = dv_fleet_pattern_add(&p, list[i].workload, 0, taken);
    }
    s->upper = DV_MAX(s->upper, value);
    if (!r)
        offer(s, &p, value);
    dv_fleet_pattern_done(&p);
    return r;
}

static int by_value(const void *a, const void *b)
{
    const struct candidate *x = a, *y = b;
    if (x->value != y->value)
        return x->value > y->value ? -1 : 1;
    return x->workload < y->workload ? -1 : x->workload > y->workload;
}

static int price_mps(struct search *s)
{
    uint32_t most = DV_MIN(slices_max(s), DV_MODE_MPS_CLIENTS), n = 0;
    struct candidate *list = calloc(s->view->n_workloads, sizeof *list);
    if (!list)
        return -ENOMEM;
    for (uint32_t w = 0; w < s->view->n_workloads; w++) {
        int64_t v = worth(s, w, DV_FLEET_MPS, false);
        if (v > 0 && fits_part(s, w, 1))
            list[n++] = (struct candidate){w, v};
    }
    qsort(list, n, sizeof *list, by_value);
    int r = 0;
    for (uint32_t parts = 1; !r && n && parts <= most; parts++)
        r = fill_parts(s, parts, list, n);
    *s->price->work += (uint64_t)most * n;
    free(list);
    return r;
}

/* ---- MIG ---- */

struct filling { /* the best that one device of a kind can hold, by itself */
    enum dv_fleet_mode mode;
    int64_t value, upper;
};

static int best_filling(const struct search *s, uint32_t kind, struct filling *ret)
{
    int64_t own = 0;
    best_own(s, kind, DV_FLEET_MIG, &own);
    *ret = (struct filling){DV_FLEET_MIG, own, own};
    int r = 0;
    int last = s->turns ? DV_FLEET_TIMESLICE : DV_FLEET_GOVERNED;
    for (int m = DV_FLEET_GOVERNED; !r && !s->view->apart && m <= last; m++) {
        int64_t value = 0, upper = 0;
        r = share(s, kind, (enum dv_fleet_mode)m, 0, NULL, &value, &upper);
        ret->upper = DV_MAX(ret->upper, upper);
        if (value > ret->value) {
            ret->value = value;
            ret->mode = (enum dv_fleet_mode)m;
        }
    }
    return r;
}

/* Adds a device of that kind with the best that is left for it. */
static int add_device(struct search *s, uint32_t kind, struct dv_fleet_pattern *p, int64_t *value)
{
    struct filling f = {0};
    uint32_t first = p->n_items, device = p->n_devices++;
    int64_t v = 0, upper = 0;
    int r = best_filling(s, kind, &f);
    p->devices[device] = (struct dv_fleet_device){(uint8_t)kind, f.mode};
    if (!r && f.mode == DV_FLEET_MIG) {
        uint32_t w = best_own(s, kind, DV_FLEET_MIG, &v);
        r = w == NONE ? 0 : dv_fleet_pattern_add(p, w, device, 1);
    } else if (!r) {
        r = share(s, kind, f.mode, device, p, &v, &upper);
    }
    for (uint32_t i = first; i < p->n_items; i++)
        s->left[p->items[i].workload] -= p->items[i].count;
    *value += v;
    return r;
}

/* Fills the devices of a cut one after the other, the large ones first or last. */
static int fill_cut(struct search *s, const struct dv_fleet_cut *cut, bool up)
{
    struct dv_fleet_pattern p = start(s, DV_FLEET_MIG);
    uint32_t n = s->side->n_kinds;
    int64_t value = 0;
    int r = 0;
    for (uint32_t i = 1; i < n; i++) {
        uint32_t kind = up ? i : n - i;
        for (uint32_t c = 0; !r && c < cut->count[kind]; c++)
            r = add_device(s, kind, &p, &value);
    }
    for (uint32_t i = 0; i < p.n_items; i++)
        s->left[p.items[i].workload] += p.items[i].count;
    if (!r)
        offer(s, &p, value);
    dv_fleet_pattern_done(&p);
    return r;
}

/* What the cut could be worth, if the best filling of each device could be had as often. */
static int64_t could_be(const struct search *s, const struct dv_fleet_cut *cut,
                        const struct filling *f, bool upper)
{
    int64_t value = 0;
    for (uint32_t k = 1; k < s->side->n_kinds; k++)
        value += cut->count[k] * (upper ? f[k].upper : f[k].value);
    return value;
}

/* Cuts in the order of what they could be worth, until none can be better than what was found, or
 * some were tried. */
static int price_mig(struct search *s)
{
    struct filling f[DV_FLEET_KINDS_MAX] = {{0}};
    bool tried[DV_FLEET_CUTS_MAX] = {false};
    int r = 0;
    for (uint32_t k = 1; !r && k < s->side->n_kinds; k++)
        r = best_filling(s, k, &f[k]);
    for (uint32_t c = 0; !r && c < s->side->n_cuts; c++)
        s->upper = DV_MAX(s->upper, could_be(s, &s->side->cuts[c], f, true));
    for (int i = 0; !r && i < CUTS_TRIED; i++) {
        int64_t best = s->best_value[DV_FLEET_MIG];
        uint32_t at = NONE;
        for (uint32_t c = 0; c < s->side->n_cuts; c++) {
            int64_t value = tried[c] ? 0 : could_be(s, &s->side->cuts[c], f, false);
            if (value > best) {
                best = value;
                at = c;
            }
        }
        if (at == NONE)
            break;
        tried[at] = true;
        r = fill_cut(s, &s->side->cuts[at], false);
        r = r ? r : fill_cut(s, &s->side->cuts[at], true);
    }
    return r;
}

static bool needs_turns(const struct dv_fleet_view *v)
{
    for (uint32_t w = 0; w < v->n_workloads; w++)
        if ((v->choices[w].modes & DV_FLEET_BIT(DV_FLEET_TIMESLICE)) &&
            !(v->choices[w].modes & DV_FLEET_BIT(DV_FLEET_GOVERNED)))
            return true;
    return false;
}

int dv_fleet_price_find(const struct dv_fleet_view *view, uint32_t side,
                        const struct dv_fleet_price *price,
                        struct dv_fleet_pattern ret[DV_FLEET_MODES], int64_t *ret_upper)
{
    struct search s = {
        .view = view, .side = &view->sides[side], .side_index = side, .price = price};
    s.turns = needs_turns(view);
    s.left = malloc(view->n_workloads * sizeof *s.left);
    if (!s.left)
        return -ENOMEM;
    memcpy(s.left, price->limits, view->n_workloads * sizeof *s.left);
    int r = price_exclusive(&s);
    r = r ? r : price_shared(&s, DV_FLEET_GOVERNED);
    r = r ? r : price_shared(&s, DV_FLEET_TIMESLICE);
    r = r ? r : price_mps(&s);
    r = r ? r : price_mig(&s);
    free(s.left);
    for (int m = 0; m < DV_FLEET_MODES; m++) {
        if (r < 0)
            dv_fleet_pattern_done(&s.best[m]);
        else
            ret[m] = s.best[m];
    }
    if (!r)
        *ret_upper = s.upper;
    return r;
}
