/* SPDX-License-Identifier: Apache-2.0 */
#include "policy/fleet/fleet_plan.h"

#include "policy/fleet/fleet_cards.h"
#include "policy/fleet/fleet_merge.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

const char *dv_fleet_plan_lack_name(enum dv_fleet_lack lack)
{
    static const char *const names[] = {
        [DV_FLEET_LACK_NOTHING] = "nothing", [DV_FLEET_LACK_MODE] = "mode",
        [DV_FLEET_LACK_MODEL] = "model",     [DV_FLEET_LACK_SIZE] = "size",
        [DV_FLEET_LACK_NODE] = "node",       [DV_FLEET_LACK_CARDS] = "cards",
    };
    return lack < DV_ARRAY_SIZE(names) ? names[lack] : "unknown";
}

const char *dv_fleet_plan_profile(const struct dv_fleet_plan *plan,
                                  const struct dv_fleet_card *card, uint32_t device)
{
    const struct dv_fleet_side *side = &plan->view->sides[card->side];
    uint32_t profile = side->kinds[card->devices[device].kind].profile;
    return profile == DV_FLEET_NOT ? "" : side->geometry.profiles[profile].name;
}

/* ---- what can never be placed ---- */

bool dv_fleet_plan_fits(const struct dv_fleet_view *view, uint32_t workload, uint32_t side)
{
    const struct dv_fleet_workload *w = &view->fleet->workloads[workload];
    if (!dv_fleet_fit_model(w, &view->sides[side]))
        return false;
    for (uint32_t k = 0; k < view->sides[side].n_kinds; k++)
        for (int m = 0; m < DV_FLEET_MODES; m++)
            if ((view->choices[workload].modes & DV_FLEET_BIT(m)) &&
                dv_fleet_fit_is(w, &view->sides[side], k, (enum dv_fleet_mode)m))
                return true;
    return false;
}

/* The largest device that the workload may be on, for the message. */
static void note_largest(const struct dv_fleet_view *v, uint32_t w, uint32_t s,
                         struct dv_fleet_unplaced *ret)
{
    bool whole = (v->choices[w].modes & ~DV_FLEET_BIT(DV_FLEET_MIG)) != 0;
    for (uint32_t k = 0; k < v->sides[s].n_kinds; k++) {
        const struct dv_fleet_kind *kind = &v->sides[s].kinds[k];
        if ((k > 0 || whole) && kind->memory_bytes > ret->memory_bytes) {
            ret->memory_bytes = kind->memory_bytes;
            ret->compute = kind->compute;
            ret->side = s;
        }
    }
}

static void judge(const struct dv_fleet_view *v, uint32_t w, struct dv_fleet_unplaced *ret)
{
    bool model = false, fits = false;
    for (uint32_t s = 0; s < v->n_sides; s++) {
        if (!dv_fleet_fit_model(&v->fleet->workloads[w], &v->sides[s]))
            continue;
        model = true;
        fits = fits || dv_fleet_plan_fits(v, w, s);
        note_largest(v, w, s, ret);
    }
    if (!v->choices[w].modes)
        ret->lack = DV_FLEET_LACK_MODE;
    else if (!model)
        ret->lack = DV_FLEET_LACK_MODEL;
    else if (!fits)
        ret->lack = DV_FLEET_LACK_SIZE;
}

/* ---- the plan ---- */

static void set_rooms(const struct dv_fleet *f, bool open, uint64_t *rooms)
{
    for (uint32_t s = 0; s < f->n_groups; s++)
        rooms[s] = open || f->groups[s].open ? DV_FLEET_CARDS_MAX : f->groups[s].count;
}

static void count_needed(struct dv_fleet_plan *p, const struct dv_fleet_solution *found)
{
    p->needed_cards = found->cards;
    p->needed_cost = found->cost;
    p->least_cards = found->least_cards;
    p->least_cost = found->least_cost;
    p->proven = found->complete && found->proven;
    memset(p->needed, 0, sizeof p->needed);
    for (uint32_t i = 0; i < found->n_uses; i++) {
        const struct dv_fleet_pattern *pattern = &found->patterns[found->uses[i].pattern];
        p->needed[pattern->side] += found->uses[i].times * pattern->cards;
    }
}

/* As many cards as it takes, of the models there are. */
static int find_needed(struct dv_fleet_plan *p, const struct dv_fleet_options *options,
                       const uint64_t *places)
{
    uint64_t rooms[DV_FLEET_GROUPS_MAX];
    struct dv_fleet_solution found = {0};
    set_rooms(p->view->fleet, true, rooms);
    int r = dv_fleet_merge_search(p->view, options, places, rooms, &found);
    if (!r)
        count_needed(p, &found);
    p->possible = p->possible && found.complete;
    p->partial = p->partial || (found.stopped && !p->proven);
    dv_fleet_solution_done(&found);
    return r;
}

static void count_unplaced(struct dv_fleet_plan *p, const uint64_t *left)
{
    const struct dv_fleet *f = p->view->fleet;
    for (uint32_t w = 0; w < f->n_workloads; w++) {
        uint64_t all = dv_fleet_places(f, &f->workloads[w]);
        struct dv_fleet_unplaced *u = &p->unplaced[w];
        bool asked = !u->lack || u->lack == DV_FLEET_LACK_NODE; /* the others fit nowhere */
        uint64_t missing = asked ? left[w] : all;
        uint64_t placed = all - missing;
        u->replicas = placed < f->workloads[w].count ? f->workloads[w].count - (uint32_t)placed : 0;
        u->spares = (uint32_t)(missing - u->replicas);
        if (missing && !u->lack)
            u->lack = DV_FLEET_LACK_CARDS;
        p->feasible = p->feasible && !missing;
    }
}

static void count_cards(struct dv_fleet_plan *p)
{
    const struct dv_fleet *f = p->view->fleet;
    p->priced = p->n_cards > 0; /* of no card no price is known */
    for (uint32_t i = 0; i < p->n_cards; i++) {
        const struct dv_fleet_group *g = &f->groups[p->cards[i].side];
        p->used[p->cards[i].side]++;
        p->cost += g->micros_per_hour;
        p->priced = p->priced && g->priced;
    }
}

/* The uses of another solution behind those of this one. 0 or -ENOMEM; `more` is freed. */
static int append(struct dv_fleet_solution *to, struct dv_fleet_solution *more)
{
    size_t n = to->n_patterns + more->n_patterns, uses = to->n_uses + more->n_uses;
    struct dv_fleet_pattern *patterns = realloc(to->patterns, (n + 1) * sizeof *patterns);
    if (patterns)
        to->patterns = patterns;
    struct dv_fleet_use *all = realloc(to->uses, (uses + 1) * sizeof *all);
    if (all)
        to->uses = all;
    if (!patterns || !all) {
        dv_fleet_solution_done(more);
        return -ENOMEM;
    }
    for (uint32_t i = 0; i < more->n_uses; i++)
        all[to->n_uses++] =
            (struct dv_fleet_use){to->n_patterns + more->uses[i].pattern, more->uses[i].times};
    for (uint32_t i = 0; i < more->n_patterns; i++)
        patterns[to->n_patterns++] = more->patterns[i];
    more->n_patterns = 0;
    to->cards += more->cards;
    dv_fleet_solution_done(more);
    return 0;
}

/* Not all find a place: then tenants come first, and headroom gets what they leave. */
static int without_headroom(struct dv_fleet_plan *p, const struct dv_fleet_options *options,
                            const uint64_t *places, uint64_t *rooms, struct dv_fleet_solution *ret)
{
    const struct dv_fleet *f = p->view->fleet;
    struct dv_fleet_solution first = {0}, rest = {0};
    uint64_t *some = calloc(f->n_workloads, sizeof *some);
    if (!some)
        return -ENOMEM;
    for (uint32_t w = 0; w < f->n_workloads; w++)
        some[w] = DV_MIN(places[w], (uint64_t)f->workloads[w].count);
    int r = dv_fleet_merge_search(p->view, options, some, rooms, &first);
    for (uint32_t i = 0; !r && i < first.n_uses; i++) {
        const struct dv_fleet_pattern *pattern = &first.patterns[first.uses[i].pattern];
        rooms[pattern->side] -= (uint64_t)first.uses[i].times * pattern->cards;
        for (uint32_t k = 0; k < pattern->n_items; k++)
            some[pattern->items[k].workload] +=
                (uint64_t)first.uses[i].times * pattern->items[k].count;
    }
    /* `some` held what was asked for, and now also what the patterns hold, free places included. */
    for (uint32_t w = 0; !r && w < f->n_workloads; w++) {
        uint64_t held = some[w] - DV_MIN(places[w], (uint64_t)f->workloads[w].count);
        some[w] = places[w] - DV_MIN(places[w], held);
    }
    r = r ? r : dv_fleet_merge_search(p->view, options, some, rooms, &rest);
    bool rest_stopped = rest.stopped;
    r = r ? r : append(&first, &rest);
    free(some);
    if (r < 0) {
        dv_fleet_solution_done(&first);
        return r;
    }
    first.stopped = first.stopped || rest_stopped || ret->stopped;
    first.proven = ret->proven;
    first.complete = false;
    dv_fleet_solution_done(ret);
    *ret = first;
    return 0;
}

static bool has_headroom(const struct dv_fleet *f)
{
    for (uint32_t w = 0; w < f->n_workloads; w++)
        if (dv_fleet_places(f, &f->workloads[w]) > f->workloads[w].count)
            return true;
    return false;
}

static int place(struct dv_fleet_plan *p, const struct dv_fleet_options *options,
                 const uint64_t *places)
{
    uint64_t rooms[DV_FLEET_GROUPS_MAX];
    struct dv_fleet_solution found = {0};
    set_rooms(p->view->fleet, false, rooms);
    int r = dv_fleet_merge_search(p->view, options, places, rooms, &found);
    if (!r && !found.complete && has_headroom(p->view->fleet))
        r = without_headroom(p, options, places, rooms, &found);
    r = r ? r : dv_fleet_cards_lay(p->view, &found, places, p);
    if (!r) {
        p->feasible = true;
        count_unplaced(p, found.left);
        count_cards(p);
        count_needed(p, &found);
        p->proven_infeasible = !p->feasible && (!p->possible || (!found.complete && found.proven));
        p->partial = found.stopped && !p->proven && !p->proven_infeasible;
    }
    dv_fleet_solution_done(&found);
    return r;
}

static int make(struct dv_fleet_plan *p, const struct dv_fleet_options *options)
{
    const struct dv_fleet *f = p->view->fleet;
    uint64_t *places = calloc(f->n_workloads, sizeof *places);
    if (!places)
        return -ENOMEM;
    p->possible = true;
    for (uint32_t w = 0; w < f->n_workloads; w++) {
        judge(p->view, w, &p->unplaced[w]);
        p->possible = p->possible && !p->unplaced[w].lack;
        places[w] = p->unplaced[w].lack ? 0 : dv_fleet_places(f, &f->workloads[w]);
    }
    int r = place(p, options, places);
    if (!r && !p->feasible)
        r = find_needed(p, options, places);
    free(places);
    return r;
}

int dv_fleet_plan_new(const struct dv_fleet *fleet, const struct dv_fleet_options *options,
                      struct dv_fleet_plan **ret)
{
    struct dv_fleet_plan *p = calloc(1, sizeof *p);
    if (!p)
        return -ENOMEM;
    p->unplaced = calloc(fleet->n_workloads, sizeof *p->unplaced);
    int r = p->unplaced ? dv_fleet_view_new(fleet, &p->view) : -ENOMEM;
    r = r ? r : make(p, options);
    if (r < 0)
        dv_fleet_plan_free(p);
    else
        *ret = p;
    return r;
}

void dv_fleet_plan_free(struct dv_fleet_plan *plan)
{
    if (!plan)
        return;
    dv_fleet_view_free(plan->view);
    free(plan->cards);
    free(plan->slices);
    free(plan->unplaced);
    free(plan);
}

void dv_fleet_plan_freep(struct dv_fleet_plan **plan)
{
    dv_fleet_plan_free(*plan);
    *plan = NULL;
}
