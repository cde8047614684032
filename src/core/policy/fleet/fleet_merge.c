/* SPDX-License-Identifier: Apache-2.0 */
#include "policy/fleet/fleet_merge.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

/* ---- which are alike ---- */

static bool is_last(const struct dv_fleet_workload *w)
{
    return w->has_tier && w->tier == DV_TIER_BEST_EFFORT;
}

/* On a device of its own all that counts is whether it fits. */
static bool fits_alike(const struct dv_fleet_view *v, uint32_t side, uint32_t a, uint32_t b,
                       enum dv_fleet_mode mode)
{
    const struct dv_fleet_workload *w = v->fleet->workloads;
    for (uint32_t k = 0; k < v->sides[side].n_kinds; k++)
        if (dv_fleet_fit_is(&w[a], &v->sides[side], k, mode) !=
            dv_fleet_fit_is(&w[b], &v->sides[side], k, mode))
            return false;
    return true;
}

static bool alike_on(const struct dv_fleet_view *v, uint32_t side, uint32_t a, uint32_t b)
{
    size_t first = (size_t)side * v->n_workloads;
    const struct dv_fleet_need *x = &v->shared[first + a], *y = &v->shared[first + b];
    if (v->may[first + a] != v->may[first + b])
        return false;
    for (int m = 0; v->may[first + a] && !v->gpus[a] && m < DV_FLEET_MODES; m++) {
        bool own = m == DV_FLEET_EXCLUSIVE || m == DV_FLEET_MIG;
        if (!(v->choices[a].modes & DV_FLEET_BIT(m)))
            continue;
        if (own ? !fits_alike(v, side, a, b, (enum dv_fleet_mode)m)
                : x->memory_bytes != y->memory_bytes || x->compute != y->compute)
            return false;
    }
    return true;
}

static bool alike(const struct dv_fleet_view *v, uint32_t a, uint32_t b)
{
    const struct dv_fleet_choice *x = &v->choices[a], *y = &v->choices[b];
    if (v->gpus[a] != v->gpus[b] || x->modes != y->modes || x->prefer != y->prefer ||
        is_last(&v->fleet->workloads[a]) != is_last(&v->fleet->workloads[b]))
        return false;
    for (uint32_t s = 0; s < v->n_sides; s++)
        if (!alike_on(v, s, a, b))
            return false;
    return true;
}

uint32_t dv_fleet_merge_kinds(const struct dv_fleet_view *view, uint32_t *ret)
{
    uint32_t n = 0;
    for (uint32_t w = 0; w < view->n_workloads; w++) {
        uint32_t first = 0;
        while (first < w && (ret[first] != first || !alike(view, first, w)))
            first++;
        ret[w] = first;
        n += first == w;
    }
    return n;
}

/* ---- the fleet of kinds ---- */

struct merged {
    const struct dv_fleet_view *whole;
    struct dv_fleet_view view; /* of the kinds; its sides are lent */
    struct dv_fleet fleet;
    uint64_t *places;
    uint32_t *first;   /* of each workload: the first of its kind */
    uint32_t *firsts;  /* of each kind */
    uint32_t *next;    /* of each workload: the next of its kind, or itself */
    uint32_t *current; /* of each kind: the one whose replicas are given places now */
    uint64_t *left;    /* of each workload */
};

static void merged_done(struct merged *m)
{
    free(m->fleet.workloads);
    free(m->view.choices);
    free(m->view.gpus);
    free(m->view.own);
    free(m->view.shared);
    free(m->view.may);
    free(m->places);
    free(m->first);
    free(m->firsts);
    free(m->next);
    free(m->current);
    free(m->left);
}

/* The kinds' own arrays; n of them. */
static int start(struct merged *m, uint32_t n)
{
    const struct dv_fleet_view *v = m->whole;
    m->fleet = *v->fleet;
    m->fleet.n_workloads = n;
    m->fleet.workloads = calloc(n, sizeof *m->fleet.workloads);
    m->view = (struct dv_fleet_view){
        .fleet = &m->fleet, .n_sides = v->n_sides, .n_workloads = n, .sides = v->sides};
    m->view.choices = calloc(n, sizeof *m->view.choices);
    m->view.gpus = calloc(n, sizeof *m->view.gpus);
    m->view.own = calloc(n, sizeof *m->view.own);
    m->view.shared = calloc((size_t)n * v->n_sides, sizeof *m->view.shared);
    m->view.may = calloc((size_t)n * v->n_sides, sizeof *m->view.may);
    m->places = calloc(n, sizeof *m->places);
    m->firsts = calloc(n, sizeof *m->firsts);
    m->current = calloc(n, sizeof *m->current);
    m->next = calloc(v->n_workloads, sizeof *m->next);
    m->left = calloc(v->n_workloads, sizeof *m->left);
    if (!m->fleet.workloads || !m->view.choices || !m->view.gpus || !m->view.own ||
        !m->view.shared || !m->view.may || !m->places || !m->firsts || !m->current || !m->next ||
        !m->left)
        return -ENOMEM;
    return 0;
}

static void add_kind(struct merged *m, uint32_t kind, uint32_t w)
{
    const struct dv_fleet_view *v = m->whole;
    m->firsts[kind] = m->current[kind] = w;
    m->fleet.workloads[kind] = v->fleet->workloads[w];
    m->view.choices[kind] = v->choices[w];
    m->view.gpus[kind] = v->gpus[w];
    m->view.own[kind] = v->own[w];
    for (uint32_t s = 0; s < v->n_sides; s++) {
        size_t to = (size_t)s * m->view.n_workloads + kind, from = (size_t)s * v->n_workloads + w;
        m->view.shared[to] = v->shared[from];
        m->view.may[to] = v->may[from];
    }
}

static void fill(struct merged *m, const uint64_t *places)
{
    uint32_t n = 0;
    for (uint32_t w = 0; w < m->whole->n_workloads; w++)
        if (m->first[w] == w)
            add_kind(m, n++, w);
    for (uint32_t k = 0; k < n; k++) {
        uint32_t last = m->firsts[k];
        for (uint32_t w = last; w < m->whole->n_workloads; w++) {
            if (m->first[w] != m->firsts[k])
                continue;
            m->next[last] = w;
            m->next[w] = last = w;
            m->left[w] = places[w];
            m->places[k] += places[w];
        }
    }
}

/* ---- back to workloads ---- */

struct expansion {
    struct dv_fleet_solution *to;
    uint32_t max;
};

/* So many of a kind, from those that have places to give; beyond these the last has more. */
static int spread(struct merged *m, const struct dv_fleet_item *item, struct dv_fleet_pattern *p)
{
    uint32_t *at = &m->current[item->workload], left = item->count;
    int r = 0;
    while (!r && left) {
        while (!m->left[*at] && m->next[*at] != *at)
            *at = m->next[*at];
        uint32_t n = m->left[*at] ? (uint32_t)DV_MIN((uint64_t)left, m->left[*at]) : left;
        r = dv_fleet_pattern_add(p, *at, item->device, n);
        m->left[*at] -= DV_MIN((uint64_t)n, m->left[*at]);
        left -= n;
    }
    return r;
}

/* How often more the pattern can be used as it is. */
static uint64_t again(const struct merged *m, const struct dv_fleet_pattern *p)
{
    uint64_t n = UINT64_MAX;
    for (uint32_t i = 0; i < p->n_items; i++) {
        uint32_t w = p->items[i].workload;
        uint64_t all = dv_fleet_pattern_count(p, w);
        bool more = m->left[w] || m->next[w] != w;
        n = DV_MIN(n, more ? m->left[w] / all : UINT64_MAX);
    }
    return n;
}

static int grow(struct expansion *e)
{
    if (e->to->n_uses < e->max)
        return 0;
    uint32_t max = e->max ? e->max * 2 : 64;
    struct dv_fleet_pattern *patterns = realloc(e->to->patterns, max * sizeof *patterns);
    if (!patterns)
        return -ENOMEM;
    e->to->patterns = patterns;
    struct dv_fleet_use *uses = realloc(e->to->uses, max * sizeof *uses);
    if (!uses)
        return -ENOMEM;
    e->to->uses = uses;
    e->max = max;
    return 0;
}

static int expand_use(struct merged *m, const struct dv_fleet_pattern *of, uint32_t times,
                      struct expansion *e)
{
    int r = 0;
    while (!r && times) {
        struct dv_fleet_pattern p = *of;
        p.items = NULL;
        p.n_items = 0;
        r = grow(e);
        for (uint32_t i = 0; !r && i < of->n_items; i++)
            r = spread(m, &of->items[i], &p);
        if (r) {
            dv_fleet_pattern_done(&p);
            break;
        }
        uint32_t more = (uint32_t)DV_MIN((uint64_t)times - 1, again(m, &p));
        for (uint32_t i = 0; i < p.n_items; i++) {
            uint64_t *left = &m->left[p.items[i].workload];
            *left -= DV_MIN(*left, (uint64_t)more * p.items[i].count);
        }
        e->to->uses[e->to->n_uses++] = (struct dv_fleet_use){e->to->n_patterns, 1 + more};
        e->to->patterns[e->to->n_patterns++] = p;
        times -= 1 + more;
    }
    return r;
}

/* Takes what was found by kinds; what it says beside the patterns is true of the workloads too. */
static int expand(struct merged *m, struct dv_fleet_solution *by_kind,
                  struct dv_fleet_solution *ret)
{
    struct dv_fleet_solution s = *by_kind;
    struct expansion e = {.to = &s};
    int r = 0;
    s.patterns = NULL;
    s.uses = NULL;
    s.left = NULL;
    s.n_patterns = s.n_uses = 0;
    for (uint32_t i = 0; !r && i < by_kind->n_uses; i++)
        r = expand_use(m, &by_kind->patterns[by_kind->uses[i].pattern], by_kind->uses[i].times, &e);
    dv_fleet_solution_done(by_kind);
    if (r) {
        dv_fleet_solution_done(&s);
        return r;
    }
    s.left = m->left;
    m->left = NULL;
    *ret = s;
    return 0;
}

int dv_fleet_merge_search(const struct dv_fleet_view *view, const struct dv_fleet_options *options,
                          const uint64_t *places, const uint64_t *rooms,
                          struct dv_fleet_solution *ret)
{
    struct merged m = {.whole = view};
    struct dv_fleet_solution by_kind = {0};
    m.first = calloc(view->n_workloads, sizeof *m.first);
    if (!m.first)
        return -ENOMEM;
    uint32_t n = dv_fleet_merge_kinds(view, m.first);
    if (n == view->n_workloads) {
        merged_done(&m);
        return dv_fleet_search(view, options, places, rooms, ret);
    }
    int r = start(&m, n);
    if (r == 0) {
        fill(&m, places);
        r = dv_fleet_search(&m.view, options, m.places, rooms, &by_kind);
    }
    r = r ? r : expand(&m, &by_kind, ret);
    merged_done(&m);
    return r;
}
