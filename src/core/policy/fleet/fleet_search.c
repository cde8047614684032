/* SPDX-License-Identifier: Apache-2.0 */
#include "policy/fleet/fleet_search.h"

#include "policy/fleet/fleet_all.h"
#include "policy/fleet/fleet_branch.h"
#include "policy/fleet/fleet_draft.h"
#include "policy/fleet/fleet_fill.h"
#include "policy/fleet/fleet_lp.h"
#include "policy/fleet/fleet_off.h"
#include "policy/fleet/fleet_solver.h"

#include <errno.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

#define DEARER 64        /* between cards of equal use: the cheaper */
#define KINDS_RATHER 160 /* with more there is no work to spare for what they had rather */
#define PARTS 0.03       /* of the cards that are left, where no part is whole */
#define TINY 1e-4
/* Elementary steps, some seconds in all: after these the plan by preferences, the relaxation, the
 * dive end, and at last patterns that there are already have to do. */
#define WORK_RATHER UINT64_C(1000000000)
#define WORK_RELAX UINT64_C(4000000000)
#define WORK_DIVE UINT64_C(6000000000)
#define WORK_MAX UINT64_C(8000000000)
#define ROUNDS 300
#define TOGETHER 64 /* patterns of a side that are looked for by the same values */
#define TOGETHER_HARD 4
#define WORTH_LEAST INT64_C(1024) /* of a replica that is to be placed */
#define NEAR 0.9
#define NEAR_LEAST 0.1
#define PATTERNS_MAX 20000u /* of a side, to be exact with */
/* What decides between plans of equally many cards adds up to less than 0.3 of one, for the largest
 * fleets: 1e5 cards, 1e6 replicas. So a plan that is so close to a bound has the fewest. */
#define CLOSE 0.7
#define STEPS_MAX 300000u /* of the own search; beyond it a solver is asked */

struct search {
    const struct dv_fleet_view *view;
    const struct dv_fleet_options *options;
    const uint64_t *places, *rooms;
    int64_t cost[DV_FLEET_GROUPS_MAX]; /* of a card, with what breaks ties */
    int64_t pure[DV_FLEET_GROUPS_MAX]; /* what the bound is about */
    int64_t dearest;                   /* micros per hour; what pure is in parts of */
    int64_t coin;                      /* what every plan costs is a multiple of it; 0: unknown */
    struct dv_fleet_off off;           /* what leaving out costs */
    uint32_t n, max, n_wholes;         /* the first are of replicas with whole cards */
    struct dv_fleet_pattern *pool;
    int64_t *values;        /* duals of the workloads, as integers */
    int64_t *asked;         /* what patterns are looked for by: between these and worths */
    int64_t *kept;          /* values of the last program of a dive that was solved */
    uint64_t *rest;         /* scratch: of each workload */
    struct dv_fleet_lp *lp; /* of the last program */
    uint32_t *row_of;       /* of each workload in it, or NO_ROW */
    uint32_t n_demands;     /* rows before those of the sides */
    double *x;              /* of the pool */
    uint64_t work;          /* done so far; the same every time, unlike seconds */
    uint64_t until;         /* relaxations end when so much is done */
    int64_t *worths;        /* values by which no card is worth more than it costs */
    __int128 by_worths;
    __int128 least, all; /* of plans that place all; what all cards cost */
    bool stopped;
};
#define NO_ROW UINT32_MAX

static int64_t off(const struct search *s, uint32_t w)
{
    return dv_fleet_off_cost(&s->off, w);
}

static int keep(struct search *s, struct dv_fleet_pattern *p)
{
    if (s->n == s->max) {
        uint32_t max = s->max ? s->max * 2 : 64;
        struct dv_fleet_pattern *pool = realloc(s->pool, max * sizeof *pool);
        if (!pool) {
            dv_fleet_pattern_done(p);
            return -ENOMEM;
        }
        s->pool = pool;
        double *x = realloc(s->x, max * sizeof *x);
        if (!x) {
            dv_fleet_pattern_done(p);
            return -ENOMEM;
        }
        s->x = x;
        s->max = max;
    }
    s->x[s->n] = 0;
    s->pool[s->n++] = *p;
    return 0;
}

/* Does somebody want it to end? Then no more work is left to spend. */
static bool is_stopped(struct search *s)
{
    const struct dv_fleet_options *o = s->options;
    if (!s->stopped && o->go_on && !o->go_on(o->go_on_arg, s->work)) {
        s->stopped = true;
        s->work = DV_MAX(s->work, WORK_MAX + 1);
    }
    return s->stopped;
}

static bool is_cancelled(void *search)
{
    return is_stopped(search);
}

/* ---- what cards cost ---- */

static int64_t common(int64_t a, int64_t b)
{
    while (b) {
        int64_t rest = a % b;
        a = b;
        b = rest;
    }
    return a;
}

static void set_costs(struct search *s)
{
    const struct dv_fleet *f = s->view->fleet;
    s->least = -1; /* no bound yet */
    for (uint32_t i = 0; i < s->view->n_sides; i++)
        s->dearest = DV_MAX(s->dearest, f->groups[i].micros_per_hour);
    for (uint32_t i = 0; s->options->aim == DV_FLEET_COST && i < s->view->n_sides; i++)
        s->coin = common(s->coin, f->groups[i].micros_per_hour);
    for (uint32_t i = 0; i < s->view->n_sides; i++) {
        int64_t cheaper = 0;
        for (uint32_t k = 0; k < s->view->n_sides; k++)
            cheaper += f->groups[k].micros_per_hour < f->groups[i].micros_per_hour;
        s->pure[i] = DV_FLEET_UNIT;
        s->cost[i] = DV_FLEET_UNIT + cheaper * DEARER;
        if (s->options->aim == DV_FLEET_COST && s->dearest) {
            __int128 part = (__int128)f->groups[i].micros_per_hour * DV_FLEET_UNIT / s->dearest;
            s->pure[i] = (int64_t)part;
            s->cost[i] = (int64_t)part + 1024; /* of two that cost nothing, one */
        }
        s->all += (__int128)s->pure[i] * s->rooms[i];
    }
}

/* ---- the linear program ---- */

static int add_column(struct search *s, uint32_t at)
{
    const struct dv_fleet_pattern *p = &s->pool[at];
    struct dv_fleet_lp_entry *e = calloc(p->n_items + 1, sizeof *e);
    uint32_t n = 0;
    if (!e)
        return -ENOMEM;
    for (uint32_t i = 0; i < p->n_items; i++) {
        uint32_t row = s->row_of[p->items[i].workload];
        if (row != NO_ROW)
            e[n++] = (struct dv_fleet_lp_entry){row, p->items[i].count};
    }
    e[n++] = (struct dv_fleet_lp_entry){s->n_demands + p->side, p->cards};
    double cost = (double)(s->cost[p->side] * p->cards + dv_fleet_price_dislikes(s->view, p));
    int r = dv_fleet_lp_add(s->lp, cost, e, n);
    free(e);
    return r;
}

static int start_program(struct search *s, const uint64_t *left, const uint64_t *room)
{
    uint32_t n_sides = s->view->n_sides;
    struct dv_fleet_lp_row *rows = calloc(s->view->n_workloads + n_sides, sizeof *rows);
    if (!rows)
        return -ENOMEM;
    s->n_demands = 0;
    for (uint32_t w = 0; w < s->view->n_workloads; w++) {
        s->row_of[w] = left[w] ? s->n_demands : NO_ROW;
        if (left[w])
            rows[s->n_demands++] = (struct dv_fleet_lp_row){(double)left[w], (double)off(s, w)};
    }
    for (uint32_t i = 0; i < n_sides; i++)
        rows[s->n_demands + i] = (struct dv_fleet_lp_row){.right = (double)room[i]};
    dv_fleet_lp_freep(&s->lp);
    int r = dv_fleet_lp_new(rows, s->n_demands + n_sides, &s->lp);
    free(rows);
    for (uint32_t i = 0; !r && i < s->n; i++)
        r = add_column(s, i);
    return r;
}

static void take_duals(struct search *s)
{
    for (uint32_t w = 0; w < s->view->n_workloads; w++) {
        double y = s->row_of[w] == NO_ROW ? 0 : dv_fleet_lp_dual(s->lp, s->row_of[w]);
        s->values[w] = y > 0 ? (int64_t)DV_MIN(y, (double)DV_FLEET_WORTH) : 0;
    }
}

/* What the pattern is worth beyond its cost, by the duals. */
static int64_t gain(const struct search *s, const struct dv_fleet_pattern *p)
{
    int64_t value = -dv_fleet_price_dislikes(s->view, p);
    double rent = DV_MAX(-dv_fleet_lp_dual(s->lp, s->n_demands + p->side), 0.0);
    for (uint32_t k = 0; k < p->n_items; k++)
        value += s->values[p->items[k].workload] * p->items[k].count;
    return value - (s->cost[p->side] + (int64_t)rent) * p->cards - 4 - (value >> 36);
}

/* The best patterns of each side by these values, into the pool and the program where they help. */
static int add_patterns(struct search *s, uint32_t side, const struct dv_fleet_price *price,
                        bool all, bool *ret_any)
{
    struct dv_fleet_pattern p[DV_FLEET_MODES] = {{0}};
    int64_t upper = 0;
    int r = dv_fleet_price_find(s->view, side, price, p, &upper);
    for (int m = 0; m < DV_FLEET_MODES; m++) {
        if (r || !p[m].n_items || (!all && gain(s, &p[m]) <= 0)) {
            dv_fleet_pattern_done(&p[m]);
            continue;
        }
        r = keep(s, &p[m]);
        r = r || all ? r : add_column(s, s->n - 1);
        *ret_any = true;
    }
    return r;
}

/* Patterns of one side that help, by the values asked for: the best, the best without what is in
 * it, and so on, so that a program with many rows does not wait for them one by one. */
static int add_some(struct search *s, uint32_t side, const uint64_t *left, bool hard, bool *ret_any)
{
    struct dv_fleet_price price = {s->asked, s->rest, true, hard, &s->work};
    bool any = true;
    int r = 0;
    memcpy(s->rest, left, s->view->n_workloads * sizeof *s->rest);
    for (int k = 0; !r && any && k < (hard ? TOGETHER_HARD : TOGETHER); k++) {
        uint32_t from = s->n;
        any = false;
        r = add_patterns(s, side, &price, false, &any);
        for (; from < s->n; from++)
            for (uint32_t i = 0; i < s->pool[from].n_items; i++)
                s->rest[s->pool[from].items[i].workload] = 0;
        *ret_any = *ret_any || any;
    }
    return r;
}

/* part: how far from the duals, towards worths. */
static int add_helpful(struct search *s, const uint64_t *left, const uint64_t *room, double part,
                       bool hard, bool *ret_any)
{
    int r = 0;
    *ret_any = false;
    for (uint32_t w = 0; w < s->view->n_workloads; w++)
        s->asked[w] = (int64_t)(part * (double)s->worths[w] + (1 - part) * (double)s->values[w]);
    for (uint32_t i = 0; !r && i < s->view->n_sides; i++)
        r = room[i] ? add_some(s, i, left, hard, ret_any) : 0;
    return r;
}

/*
 * The duals of a program that has few of its patterns yet are far from the last ones and jump; the
 * values of the best bound so far are near. What helps by the duals is looked for close to these
 * (Wentges, Weighted Dantzig-Wolfe decomposition for linear mixed-integer programming, 1997), then
 * closer to the duals, and that nothing helps is said by the duals alone.
 */
static int add_round(struct search *s, const uint64_t *left, const uint64_t *room, bool hard,
                     bool *ret_any)
{
    int r = 0;
    *ret_any = false;
    for (double part = s->by_worths ? NEAR : 0; !r && !*ret_any && part > 0;
         part = part > NEAR_LEAST ? part / 2 : 0)
        r = add_helpful(s, left, room, part, hard, ret_any);
    return r || *ret_any ? r : add_helpful(s, left, room, 0, hard, ret_any);
}

/* To begin with: cards that are full of one workload. */
static int add_singles(struct search *s)
{
    uint64_t *one = calloc(s->view->n_workloads, sizeof *one);
    struct dv_fleet_price price = {s->values, one, true, false, &s->work};
    bool any = false;
    int r = one ? 0 : -ENOMEM;
    for (uint32_t w = 0; !r && w < s->view->n_workloads; w++) {
        one[w] = s->places[w];
        s->values[w] = DV_FLEET_UNIT;
        for (uint32_t i = 0; !r && one[w] && i < s->view->n_sides; i++)
            r = add_patterns(s, i, &price, true, &any);
        is_stopped(s); /* these are few, and without them there is no plan */
        s->values[w] = 0;
        one[w] = 0;
    }
    free(one);
    return r;
}

/* To the optimum over all patterns, or as near as the work allowed comes; x and the duals are kept.
 * prove: look harder before it is called the end. */
static int relax(struct search *s, const uint64_t *left, const uint64_t *room, bool prove)
{
    uint64_t until = s->until;
    int r = start_program(s, left, room);
    uint32_t rounds = ROUNDS + 40000 / (s->n_demands + 100);
    bool any = true, hard = false;
    for (uint32_t i = 0; !r && any && i < rounds && (!i || s->work < until); i++) {
        s->work += dv_fleet_lp_solve(s->lp, s->work < until ? until - s->work : 0);
        if (is_stopped(s) && i)
            break;
        take_duals(s);
        r = add_round(s, left, room, hard, &any);
        if (!r && !any && !hard && prove) {
            hard = true;
            r = add_helpful(s, left, room, 0, hard, &any);
        }
    }
    if (!r)
        dv_fleet_lp_values(s->lp, s->x);
    return r;
}

/* ---- the bound ---- */

/* In micros per hour, up to what a plan can cost. */
static int64_t least_cost(const struct search *s)
{
    if (!s->coin)
        return 0;
    __int128 micros = (s->least * s->dearest + DV_FLEET_UNIT - 1) / DV_FLEET_UNIT;
    micros = (micros + s->coin - 1) / s->coin * s->coin;
    return (int64_t)DV_MIN(micros, (__int128)INT64_MAX);
}

/* No plan that places all costs less than this. */
static void set_least(struct search *s, __int128 least, struct dv_fleet_solution *ret)
{
    s->least = DV_MAX(least, (__int128)0);
    ret->bounded = true;
    if (s->options->aim == DV_FLEET_COST)
        ret->least_cost = least_cost(s);
    else
        ret->least_cards = (uint64_t)((s->least + DV_FLEET_UNIT - 1) / DV_FLEET_UNIT);
    ret->proven = s->least > s->all;
}

/*
 * Every plan that places all pays for each card at least what its replicas are worth there, less
 * what the best pattern of that side is worth beyond a card's cost: so sum(value * places) less
 * that for every card there is. And where values are scaled down so that no pattern is worth more
 * than its card, nothing is to be taken off. Both hold for any values, wherever they come from; all
 * in integers.
 */
static int bound(struct search *s, struct dv_fleet_solution *ret)
{
    struct dv_fleet_price price = {s->values, s->places, false, true, &s->work};
    __int128 by_rent = 0, by_scale = 0;
    double scaled = HUGE_VAL;
    int r = 0;
    for (uint32_t w = 0; w < s->view->n_workloads; w++)
        by_rent += (__int128)s->values[w] * s->places[w];
    for (uint32_t i = 0; !r && i < s->view->n_sides; i++) {
        struct dv_fleet_pattern p[DV_FLEET_MODES] = {{0}};
        int64_t upper = 0;
        r = dv_fleet_price_find(s->view, i, &price, p, &upper);
        for (int m = 0; m < DV_FLEET_MODES; m++)
            dv_fleet_pattern_done(&p[m]);
        by_rent -= (__int128)DV_MAX(upper - s->pure[i], INT64_C(0)) * s->rooms[i];
        if (upper)
            scaled = DV_MIN(scaled, (double)s->pure[i] / (double)upper);
    }
    if (r || !isfinite(scaled))
        return r;
    /* (1 - 1e-9): the double's rounding, on the safe side. */
    for (uint32_t w = 0; w < s->view->n_workloads; w++)
        by_scale += (__int128)(int64_t)((double)s->values[w] * scaled * (1 - 1e-9)) * s->places[w];
    for (uint32_t w = 0; by_scale > s->by_worths && w < s->view->n_workloads; w++)
        s->worths[w] = (int64_t)((double)s->values[w] * scaled * (1 - 1e-9));
    s->by_worths = DV_MAX(s->by_worths, by_scale);
    __int128 least = DV_MAX(by_rent, by_scale);
    if (least > s->least)
        set_least(s, least, ret);
    return 0;
}

/* The part of a card that one replica takes at least: of memory and compute, weighed so. */
static double part_of_card(const struct search *s, uint32_t w, double of_memory)
{
    const struct dv_fleet_side *side = &s->view->sides[0];
    const struct dv_fleet_need *n = &s->view->shared[w];
    double memory = (double)n->memory_bytes, compute = n->compute;
    struct dv_fleet_bound b = {.mig_kind = DV_FLEET_NOT};
    bool own = !(s->view->choices[w].modes &
                 ~(DV_FLEET_BIT(DV_FLEET_EXCLUSIVE) | DV_FLEET_BIT(DV_FLEET_MIG)));
    if (s->view->gpus[w])
        return s->view->gpus[w];
    if (own) {
        dv_fleet_fit_bound(&s->view->fleet->workloads[w], side, &b);
        const struct dv_fleet_kind *k = &side->kinds[b.mig_kind == DV_FLEET_NOT ? 0 : b.mig_kind];
        memory = (double)k->memory_bytes;
        compute = k->compute;
    }
    return of_memory * memory / (double)side->kinds[0].memory_bytes +
           (1 - of_memory) * compute / DV_COMPUTE_FULL;
}

/* Bounds by sizes, for fleets of so many workloads that the relaxation is not brought to its end.
 */
static int bound_by_sizes(struct search *s, struct dv_fleet_solution *ret)
{
    int r = 0;
    for (int i = 0; !r && i <= 4; i++) {
        for (uint32_t w = 0; w < s->view->n_workloads; w++)
            s->values[w] = (int64_t)(part_of_card(s, w, i / 4.0) * (double)DV_FLEET_UNIT);
        r = bound(s, ret);
    }
    return r;
}

/* ---- drafts ---- */

/* What the pattern places of what is left, by these values, per unit of cost; of equals the one
 * that is liked more. */
static double yield(const struct search *s, const struct dv_fleet_draft *d, uint32_t at)
{
    const struct dv_fleet_pattern *p = &s->pool[at];
    double v = 0;
    for (uint32_t i = 0; i < p->n_items; i++) {
        uint64_t n = DV_MIN((uint64_t)p->items[i].count, d->left[p->items[i].workload]);
        v += (double)s->values[p->items[i].workload] * (double)n;
    }
    return v / (double)(s->cost[p->side] * p->cards);
}

/* Card by card the pattern that places most for its cost, by the values there are. */
static int finish_by_value(struct search *s, struct dv_fleet_draft *d)
{
    struct dv_fleet_price price = {s->values, d->left, true, false, &s->work};
    uint32_t wholes = s->n_wholes;
    bool any;
    int r = 0;
    while (!r && dv_fleet_draft_open(d, s->view)) {
        /* What was made for more than is left is no better than what is made now; but when that has
         * taken long enough, what there is has to do. */
        bool tired = is_stopped(s) || s->work > WORK_MAX;
        uint32_t made = tired ? wholes : s->n;
        for (uint32_t i = 0; !r && !tired && i < s->view->n_sides; i++)
            r = d->room[i] ? add_patterns(s, i, &price, true, &any) : 0;
        uint32_t best = NO_ROW;
        double most = 0;
        for (uint32_t i = 0; !r && i < wholes + (s->n - made); i++) {
            uint32_t at = i < wholes ? i : made + i - wholes;
            double y = dv_fleet_draft_useful(d, &s->pool[at]) ? yield(s, d, at) : 0;
            if (y > most) {
                most = y;
                best = at;
            }
        }
        if (r || best == NO_ROW)
            break;
        r = dv_fleet_draft_take(d, s->pool, best,
                                DV_MAX(dv_fleet_draft_whole(d, &s->pool[best]), UINT64_C(1)));
    }
    return r;
}

/* The largest part of a relaxation that can be taken, or NO_ROW. */
static uint32_t largest_part(const struct search *s, const struct dv_fleet_draft *d, bool whole)
{
    uint32_t at = NO_ROW;
    for (uint32_t i = 0; i < s->n; i++)
        if (s->x[i] > TINY && (at == NO_ROW || s->x[i] > s->x[at]) &&
            (whole ? dv_fleet_draft_whole(d, &s->pool[i]) > 0
                   : dv_fleet_draft_useful(d, &s->pool[i]) > 0))
            at = i;
    return at;
}

/* Takes the largest parts, one card of each; all but the first only where nothing of them would be
 * in vain. */
static int take_parts(struct search *s, struct dv_fleet_draft *d, bool *ret_any)
{
    double all = 0;
    int r = 0;
    for (uint32_t i = 0; i < s->n; i++)
        all += s->x[i];
    for (double n = 0; !r && n < DV_MAX(all * PARTS, 1); n++) {
        uint32_t at = largest_part(s, d, n > 0);
        if (at == NO_ROW)
            break;
        s->x[at] = 0;
        *ret_any = true;
        r = dv_fleet_draft_take(d, s->pool, at, 1);
    }
    return r;
}

/* Takes the whole parts of a relaxation; where there are none, some of the largest. */
static int take_whole(struct search *s, struct dv_fleet_draft *d, bool *ret_any)
{
    int r = 0;
    *ret_any = false;
    for (uint32_t i = 0; !r && i < s->n; i++) {
        uint64_t n = DV_MIN((uint64_t)(s->x[i] + TINY), dv_fleet_draft_useful(d, &s->pool[i]));
        *ret_any = *ret_any || n;
        r = n ? dv_fleet_draft_take(d, s->pool, i, n) : 0;
    }
    return r || *ret_any ? r : take_parts(s, d, ret_any);
}

/* Relax, take, relax what is left, while there is work to spend. The first relaxation is there
 * already. The values are then those of the last one that came to its end. */
static int dive(struct search *s, struct dv_fleet_draft *d)
{
    bool any = true;
    int r = take_whole(s, d, &any);
    while (!r && any && dv_fleet_draft_open(d, s->view)) {
        memcpy(s->kept, s->values, s->view->n_workloads * sizeof *s->kept);
        r = relax(s, d->left, d->room, false);
        if (s->work >= s->until) { /* maybe it had hardly begun */
            memcpy(s->values, s->kept, s->view->n_workloads * sizeof *s->kept);
            break;
        }
        r = r ? r : take_whole(s, d, &any);
    }
    return r;
}

/* ---- which draft ---- */

struct rank {
    double left, cost, dislikes;
};

static struct rank rank_of(const struct search *s, const struct dv_fleet_draft *d)
{
    struct rank k = {0};
    for (uint32_t w = 0; w < s->view->n_workloads; w++)
        k.left += (double)off(s, w) * (double)d->left[w];
    for (uint32_t i = 0; i < d->n; i++) {
        const struct dv_fleet_pattern *p = &s->pool[d->uses[i].pattern];
        k.cost += (double)(s->cost[p->side] * p->cards) * d->uses[i].times;
        k.dislikes += (double)dv_fleet_price_dislikes(s->view, p) * d->uses[i].times;
    }
    return k;
}

static bool is_better(const struct search *s, const struct dv_fleet_draft *a,
                      const struct dv_fleet_draft *b)
{
    struct rank x = rank_of(s, a), y = rank_of(s, b);
    if (x.left != y.left)
        return x.left < y.left;
    if (x.cost != y.cost)
        return x.cost < y.cost;
    return x.dislikes < y.dislikes;
}

static void keep_better(const struct search *s, struct dv_fleet_draft *best,
                        struct dv_fleet_draft *other)
{
    if (is_better(s, other, best)) {
        struct dv_fleet_draft swap = *best;
        *best = *other;
        *other = swap;
    }
    dv_fleet_draft_done(other);
}

/* Values by size, for a second opinion: the least part of a card that a replica takes. */
static void set_sizes(struct search *s)
{
    for (uint32_t w = 0; w < s->view->n_workloads; w++) {
        double least = 1;
        for (uint32_t i = 0; !s->view->gpus[w] && i < s->view->n_sides; i++) {
            const struct dv_fleet_need *n = &s->view->shared[(size_t)i * s->view->n_workloads + w];
            double m = (double)n->memory_bytes / (double)s->view->sides[i].kinds[0].memory_bytes;
            double c = (double)n->compute / DV_COMPUTE_FULL;
            least = DV_MIN(least, DV_MAX(m, c));
        }
        double cards = DV_MAX(s->view->gpus[w], 1u);
        s->values[w] = (int64_t)(least * cards * (double)DV_FLEET_UNIT) + WORTH_LEAST;
    }
}

/* ---- the solver ----------------------------------------------------------------------------- */

static int ask_solver(struct search *s, struct dv_fleet_draft *best, bool *ret_solved,
                      bool *ret_optimal)
{
    struct dv_fleet_draft d = {0};
    uint32_t *times = calloc(s->n + 1, sizeof *times);
    int64_t *offs = calloc(s->view->n_workloads, sizeof *offs);
    int r = times && offs ? 0 : -ENOMEM;
    for (uint32_t w = 0; !r && w < s->view->n_workloads; w++)
        offs[w] = off(s, w);
    struct rank k = rank_of(s, best);
    double gap = CLOSE * (double)DV_FLEET_UNIT / (k.left + k.cost + k.dislikes + 1);
    struct dv_fleet_choose choose = {.view = s->view,
                                     .patterns = s->pool,
                                     .n = s->n,
                                     .places = s->places,
                                     .rooms = s->rooms,
                                     .costs = s->cost,
                                     .offs = offs,
                                     .gap = s->options->aim == DV_FLEET_CARDS ? gap : 0,
                                     .cancelled = is_cancelled,
                                     .cancelled_arg = s};
    r = r ? r
          : dv_fleet_solver_choose(&choose, &s->options->solver, times, ret_solved, ret_optimal);
    r = r || !*ret_solved ? r : dv_fleet_draft_new(s->view, s->places, s->rooms, &d);
    for (uint32_t i = 0; !r && *ret_solved && i < s->n; i++)
        r = dv_fleet_draft_take(&d, s->pool, i, times[i]);
    if (!r && *ret_solved)
        keep_better(s, best, &d);
    dv_fleet_draft_done(&d);
    free(times);
    free(offs);
    return r;
}

/* ---- all of it ---- */

static int add_wholes(struct search *s)
{
    int r = 0;
    for (uint32_t w = 0; w < s->view->n_workloads; w++)
        for (uint32_t i = 0; !r && s->view->gpus[w] && i < s->view->n_sides; i++) {
            struct dv_fleet_pattern p = {0};
            if (!s->view->may[(size_t)i * s->view->n_workloads + w])
                continue;
            r = dv_fleet_price_whole(i, w, s->view->gpus[w], &p);
            r = r ? r : keep(s, &p);
        }
    return r;
}

/* In what the bound is in. */
static __int128 pure_cost(const struct search *s, const struct dv_fleet_draft *d)
{
    __int128 pure = 0;
    for (uint32_t i = 0; i < d->n; i++) {
        const struct dv_fleet_pattern *p = &s->pool[d->uses[i].pattern];
        pure += (__int128)d->uses[i].times * p->cards * s->pure[p->side];
    }
    return pure;
}

/* In micros per hour. */
static __int128 money_of(const struct search *s, const struct dv_fleet_draft *d)
{
    __int128 micros = 0;
    for (uint32_t i = 0; i < d->n; i++) {
        const struct dv_fleet_pattern *p = &s->pool[d->uses[i].pattern];
        micros +=
            (__int128)d->uses[i].times * p->cards * s->view->fleet->groups[p->side].micros_per_hour;
    }
    return micros;
}

/* Is the draft as good as the bound says that any can be? Cards are whole, and so are coins. */
static bool meets(const struct search *s, const struct dv_fleet_draft *d)
{
    __int128 pure = pure_cost(s, d);
    if (dv_fleet_draft_open(d, s->view))
        return false;
    if (s->coin && s->least >= 0 && money_of(s, d) <= least_cost(s))
        return true;
    return pure <= s->least ||
           (s->options->aim == DV_FLEET_CARDS && pure < s->least + DV_FLEET_UNIT);
}

/* ---- exactly -------------------------------------------------------------------------------- */

/* A better plan than the best costs less than this. */
static __int128 to_beat(const struct search *s, const struct dv_fleet_draft *best)
{
    return dv_fleet_draft_open(best, s->view) ? s->all + 1 : pure_cost(s, best);
}

struct filter {
    struct search *s;
    __int128 spare; /* what a plan may waste and still be better */
};

/* Keeps the patterns that a better plan may use: what one wastes, by the duals, adds up. */
static int keep_useful(struct dv_fleet_pattern *p, void *arg)
{
    const struct filter *f = arg;
    const struct search *s = f->s;
    __int128 wasted = (__int128)s->pure[p->side];
    for (uint32_t i = 0; i < p->n_items; i++)
        wasted -= (__int128)s->worths[p->items[i].workload] * p->items[i].count;
    if (wasted > f->spare) {
        dv_fleet_pattern_done(p);
        return 0;
    }
    return keep(f->s, p);
}

/* All patterns that matter into the pool. *ret_all: there were not too many. */
static int add_all(struct search *s, const struct dv_fleet_draft *best, bool *ret_all)
{
    struct filter f = {s, 0};
    for (uint32_t w = 0; w < s->view->n_workloads; w++)
        f.spare -= (__int128)s->worths[w] * s->places[w];
    f.spare += to_beat(s, best);
    int r = 0;
    *ret_all = true;
    for (uint32_t i = 0; !r && i < s->view->n_sides; i++) {
        if (is_stopped(s))
            r = -E2BIG;
        if (r)
            break;
        struct dv_fleet_all all = {s->view, i, s->places, PATTERNS_MAX, keep_useful, &f};
        r = s->rooms[i] ? dv_fleet_all_find(&all) : 0;
    }
    *ret_all = !r;
    return r == -E2BIG ? 0 : r;
}

static int branch(struct search *s, struct dv_fleet_draft *best, struct dv_fleet_solution *ret)
{
    struct dv_fleet_draft d = {0};
    struct dv_fleet_branch b = {s->view, s->pool,   s->n, s->places, s->rooms,
                                s->pure, s->worths, 0,    STEPS_MAX};
    __int128 beat = to_beat(s, best);
    if (beat > INT64_MAX)
        return 0;
    b.below = (int64_t)beat;
    int r = dv_fleet_branch_search(&b);
    if (!r && b.finished)
        set_least(s, b.found ? b.below : beat, ret);
    if (!r && b.finished && !b.found && dv_fleet_draft_open(best, s->view))
        ret->proven = true;
    if (r || !b.found)
        return r;
    r = dv_fleet_draft_new(s->view, s->places, s->rooms, &d);
    for (uint32_t i = 0; !r && i < b.n_uses; i++)
        r = dv_fleet_draft_take(&d, s->pool, b.uses[i], 1);
    if (!r)
        keep_better(s, best, &d);
    dv_fleet_draft_done(&d);
    return r;
}

/* With all patterns at hand the solver's proof is ours too. */
static int solve(struct search *s, struct dv_fleet_draft *best, bool all,
                 struct dv_fleet_solution *ret)
{
    bool optimal = false;
    int r = ask_solver(s, best, &ret->solved, &optimal);
    if (r || !all || !optimal)
        return r;
    if (dv_fleet_draft_open(best, s->view))
        ret->proven = true;
    else if (pure_cost(s, best) > s->least)
        set_least(s, pure_cost(s, best), ret);
    return 0;
}

static int find_exactly(struct search *s, struct dv_fleet_draft *best,
                        struct dv_fleet_solution *ret)
{
    bool all = false;
    int r = add_all(s, best, &all);
    if (!r && all && !is_stopped(s))
        r = branch(s, best, ret);
    if (!r && !is_stopped(s) && s->options->solver.solve && !meets(s, best) && !ret->proven)
        r = solve(s, best, all, ret);
    return r;
}

/* A plan by the relaxation: its whole parts, and so on, and what is left by its values. */
static int make_draft(struct search *s, struct dv_fleet_draft *ret)
{
    int r = dv_fleet_draft_new(s->view, s->places, s->rooms, ret);
    r = r ? r : dive(s, ret);
    for (uint32_t w = 0; w < s->view->n_workloads; w++)
        s->values[w] = DV_MAX(s->values[w], WORTH_LEAST); /* or it would be left out */
    return r ? r : finish_by_value(s, ret);
}

/* Of the patterns from one on only those stay that the draft uses. */
static void forget_unused(struct search *s, uint32_t from, struct dv_fleet_draft *d)
{
    uint32_t n = from;
    for (uint32_t i = from; i < s->n; i++) {
        bool used = false;
        for (uint32_t k = 0; k < d->n; k++) {
            if (d->uses[k].pattern != i)
                continue;
            d->uses[k].pattern = n;
            used = true;
        }
        if (used)
            s->pool[n++] = s->pool[i];
        else
            dv_fleet_pattern_done(&s->pool[i]);
    }
    s->n = n;
}

/* By sizes, as somebody would without a relaxation; the patterns of such a draft are a good start
 * for one. */
static int make_by_size(struct search *s, struct dv_fleet_draft *ret)
{
    int r = add_singles(s);
    uint32_t from = s->n;
    r = r ? r : dv_fleet_draft_new(s->view, s->places, s->rooms, ret);
    set_sizes(s);
    r = r ? r : finish_by_value(s, ret);
    if (!r)
        forget_unused(s, from, ret);
    return r;
}

static bool fits_rather(const struct dv_fleet_view *v, uint32_t w)
{
    enum dv_fleet_mode mode = v->choices[w].prefer;
    for (uint32_t s = 0; s < v->n_sides; s++)
        for (uint32_t k = 0; v->may[(size_t)s * v->n_workloads + w] && k < v->sides[s].n_kinds; k++)
            if (dv_fleet_fit_is(&v->fleet->workloads[w], &v->sides[s], k, mode))
                return true;
    return false;
}

/* A plan in which everybody is in the mode that he had rather be in, and not inside a MIG device:
 * where it needs no more cards than others, it is the one to have. */
static int make_rather(struct search *s, struct dv_fleet_draft *ret)
{
    const struct dv_fleet_view *whole = s->view;
    struct dv_fleet_view view = *whole;
    view.apart = true;
    view.choices = calloc(view.n_workloads, sizeof *view.choices);
    if (!view.choices)
        return -ENOMEM;
    for (uint32_t w = 0; w < view.n_workloads; w++) {
        view.choices[w] = whole->choices[w];
        if (view.choices[w].modes && fits_rather(whole, w))
            view.choices[w].modes = DV_FLEET_BIT(view.choices[w].prefer);
    }
    struct dv_fleet_draft other = {0};
    s->view = &view;
    int r = make_by_size(s, &other);
    r = r ? r : relax(s, s->places, s->rooms, false);
    r = r ? r : make_draft(s, ret);
    if (!r)
        keep_better(s, ret, &other);
    dv_fleet_draft_done(&other);
    s->view = whole;
    free(view.choices);
    return r;
}

static int find(struct search *s, struct dv_fleet_draft *best, struct dv_fleet_solution *ret)
{
    struct dv_fleet_draft by_size = {0}, other = {0};
    int r = add_wholes(s);
    s->n_wholes = s->n;
    r = r ? r : bound_by_sizes(s, ret);
    s->until = WORK_RATHER;
    if (!r && s->view->n_workloads <= KINDS_RATHER)
        r = make_rather(s, best);
    else if (!r)
        r = dv_fleet_draft_new(s->view, s->places, s->rooms, best);
    r = r ? r : make_by_size(s, &by_size);
    s->until = WORK_RELAX;
    r = r ? r : relax(s, s->places, s->rooms, true);
    r = r ? r : bound(s, ret);
    s->until = WORK_DIVE;
    if (!r && !meets(s, best)) {
        r = make_draft(s, &other);
        if (!r)
            keep_better(s, best, &other);
    }
    if (!r) /* the last, since it does not care for what anybody had rather */
        keep_better(s, best, &by_size);
    if (!r && !meets(s, best) && !ret->proven && !is_stopped(s))
        r = find_exactly(s, best, ret);
    ret->stopped = s->stopped;
    dv_fleet_draft_done(&by_size);
    dv_fleet_draft_done(&other);
    return r;
}

static void hand_over(struct search *s, struct dv_fleet_draft *d, struct dv_fleet_solution *ret)
{
    const struct dv_fleet *f = s->view->fleet;
    ret->complete = !dv_fleet_draft_open(d, s->view);
    if (ret->complete)
        ret->proven = meets(s, d);
    for (uint32_t i = 0; i < d->n; i++) {
        const struct dv_fleet_pattern *p = &s->pool[d->uses[i].pattern];
        uint64_t n = (uint64_t)d->uses[i].times * p->cards;
        ret->cards += n;
        ret->cost += (int64_t)n * f->groups[p->side].micros_per_hour;
    }
    ret->patterns = s->pool;
    ret->n_patterns = s->n;
    ret->uses = d->uses;
    ret->n_uses = d->n;
    ret->left = d->left;
    s->pool = NULL;
    s->n = 0;
    *d = (struct dv_fleet_draft){0};
}

static bool has_left(const struct dv_fleet_view *view, const uint64_t *left)
{
    for (uint32_t w = 0; w < view->n_workloads; w++)
        if (left[w])
            return true;
    return false;
}

/* Where not all has a place, cards that hold places in vain get others. */
static int fill(struct search *s, struct dv_fleet_solution *solution)
{
    for (uint32_t w = 0; w < s->view->n_workloads; w++)
        s->values[w] = off(s, w);
    if (solution->complete || solution->stopped)
        return 0;
    int r = dv_fleet_fill(s->view, s->values, s->places, solution);
    if (!r && !has_left(s->view, solution->left)) {
        solution->complete = true;
        solution->proven = false; /* of the cards: nobody has looked for fewer */
    }
    return r;
}

int dv_fleet_search(const struct dv_fleet_view *view, const struct dv_fleet_options *options,
                    const uint64_t *places, const uint64_t *rooms, struct dv_fleet_solution *ret)
{
    struct search s = {.view = view, .options = options, .places = places, .rooms = rooms};
    struct dv_fleet_solution solution = {0};
    struct dv_fleet_draft best = {0};
    s.values = calloc(view->n_workloads, sizeof *s.values);
    s.row_of = calloc(view->n_workloads, sizeof *s.row_of);
    s.worths = calloc(view->n_workloads, sizeof *s.worths);
    s.asked = calloc(view->n_workloads, sizeof *s.asked);
    s.kept = calloc(view->n_workloads, sizeof *s.kept);
    s.rest = calloc(view->n_workloads, sizeof *s.rest);
    bool ok = s.values && s.row_of && s.worths && s.asked && s.kept && s.rest;
    int r = ok ? 0 : -ENOMEM;
    set_costs(&s);
    dv_fleet_off_init(view, places, rooms, &s.off);
    r = r ? r : find(&s, &best, &solution);
    if (!r) {
        hand_over(&s, &best, &solution);
        r = fill(&s, &solution);
    }
    if (!r)
        *ret = solution;
    else
        dv_fleet_solution_done(&solution);
    for (uint32_t i = 0; i < s.n; i++)
        dv_fleet_pattern_done(&s.pool[i]);
    free(s.pool);
    free(s.x);
    free(s.values);
    free(s.row_of);
    free(s.worths);
    free(s.asked);
    free(s.kept);
    free(s.rest);
    dv_fleet_lp_free(s.lp);
    dv_fleet_draft_done(&best);
    return r;
}

void dv_fleet_solution_done(struct dv_fleet_solution *solution)
{
    if (!solution)
        return;
    for (uint32_t i = 0; i < solution->n_patterns; i++)
        dv_fleet_pattern_done(&solution->patterns[i]);
    free(solution->patterns);
    free(solution->uses);
    free(solution->left);
    *solution = (struct dv_fleet_solution){0};
}
