/* SPDX-License-Identifier: Apache-2.0 */
#include "policy/fleet/fleet_search.h"

#include "policy/fleet/fleet_all.h"
#include "policy/fleet/fleet_branch.h"
#include "policy/fleet/fleet_lp.h"
#include "policy/fleet/fleet_solver.h"

#include <errno.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

#define OFF (DV_FLEET_UNIT * 64) /* what leaving out a replica costs: more than any card */
#define OFF_WEIGHT 8             /* of those that are not best-effort */
#define DEARER 64                /* between cards of equal use: the cheaper */
#define ROWS_DIVE 160 /* more open workloads are finished by value, not by further programs */
#define TINY 1e-4
/* Elementary steps, some seconds in all: after these the relaxation ends, and patterns that there
 * are already have to do. */
#define WORK_RELAX UINT64_C(4000000000)
#define WORK_MAX UINT64_C(8000000000)
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
    uint32_t n, max, n_wholes;         /* the first are of replicas with whole cards */
    struct dv_fleet_pattern *pool;
    int64_t *values;        /* duals of the workloads, as integers */
    struct dv_fleet_lp *lp; /* of the last program */
    uint32_t *row_of;       /* of each workload in it, or NO_ROW */
    uint32_t n_demands;     /* rows before those of the sides */
    double *x;              /* of the pool */
    uint64_t work;          /* done so far; the same every time, unlike seconds */
    int64_t *worths;        /* values by which no card is worth more than it costs */
    __int128 by_worths;
    __int128 least, all; /* of plans that place all; what all cards cost */
    bool stopped;
};
#define NO_ROW UINT32_MAX

/* A plan in the making. */
struct draft {
    uint64_t *left;
    uint64_t room[DV_FLEET_GROUPS_MAX];
    uint32_t n, max;
    struct dv_fleet_use *uses;
};

static int64_t off(const struct search *s, uint32_t w)
{
    const struct dv_fleet_workload *workload = &s->view->fleet->workloads[w];
    bool last = workload->has_tier && workload->tier == DV_TIER_BEST_EFFORT;
    int64_t cards = DV_MAX(s->view->gpus[w], 1u);
    return OFF * (last ? 1 : OFF_WEIGHT) + cards * 2 * DV_FLEET_UNIT;
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

static int add_helpful(struct search *s, const uint64_t *left, const uint64_t *room, bool hard,
                       bool *ret_any)
{
    struct dv_fleet_price price = {s->values, left, true, hard, &s->work};
    int r = 0;
    *ret_any = false;
    for (uint32_t i = 0; !r && i < s->view->n_sides; i++)
        r = room[i] ? add_patterns(s, i, &price, false, ret_any) : 0;
    return r;
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

/* To the optimum over all patterns, or nearly; x and the duals are kept. */
static int relax(struct search *s, const uint64_t *left, const uint64_t *room)
{
    int r = start_program(s, left, room);
    uint32_t rounds = 40 + 40000 / (s->n_demands + 100);
    bool any = true, hard = false;
    for (uint32_t i = 0; !r && any && i < rounds && (!i || s->work < WORK_RELAX); i++) {
        s->work += dv_fleet_lp_solve(s->lp, s->work < WORK_RELAX ? WORK_RELAX - s->work : 0);
        if (is_stopped(s) && i)
            break;
        take_duals(s);
        r = add_helpful(s, left, room, hard, &any);
        if (!r && !any && !hard) { /* look harder before it is called the end */
            hard = true;
            r = add_helpful(s, left, room, hard, &any);
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

static void draft_done(struct draft *d)
{
    free(d->left);
    free(d->uses);
    *d = (struct draft){0};
}

static int draft_new(const struct search *s, struct draft *ret)
{
    *ret = (struct draft){.left = malloc(s->view->n_workloads * sizeof *ret->left)};
    if (!ret->left)
        return -ENOMEM;
    memcpy(ret->left, s->places, s->view->n_workloads * sizeof *ret->left);
    memcpy(ret->room, s->rooms, s->view->n_sides * sizeof *ret->room);
    return 0;
}

/* How often the pattern can be used so that each use places something. */
static uint64_t useful(const struct search *s, const struct draft *d, uint32_t at)
{
    const struct dv_fleet_pattern *p = &s->pool[at];
    uint64_t n = 0;
    for (uint32_t i = 0; i < p->n_items; i++) {
        uint64_t all = dv_fleet_pattern_count(p, p->items[i].workload);
        n = DV_MAX(n, (d->left[p->items[i].workload] + all - 1) / all);
    }
    return DV_MIN(n, d->room[p->side] / p->cards);
}

static int take(const struct search *s, struct draft *d, uint32_t at, uint64_t times)
{
    const struct dv_fleet_pattern *p = &s->pool[at];
    times = DV_MIN(times, useful(s, d, at));
    if (!times)
        return 0;
    if (d->n == d->max) {
        uint32_t max = d->max ? d->max * 2 : 32;
        struct dv_fleet_use *uses = realloc(d->uses, max * sizeof *uses);
        if (!uses)
            return -ENOMEM;
        d->uses = uses;
        d->max = max;
    }
    d->uses[d->n++] = (struct dv_fleet_use){at, (uint32_t)times};
    d->room[p->side] -= times * p->cards;
    for (uint32_t i = 0; i < p->n_items; i++) {
        uint64_t *left = &d->left[p->items[i].workload];
        *left -= DV_MIN(*left, times * p->items[i].count);
    }
    return 0;
}

static uint32_t n_open(const struct search *s, const struct draft *d)
{
    uint32_t n = 0;
    for (uint32_t w = 0; w < s->view->n_workloads; w++)
        n += d->left[w] > 0;
    return n;
}

/* What the pattern places of what is left, by these values, per unit of cost. */
static double yield(const struct search *s, const struct draft *d, uint32_t at)
{
    const struct dv_fleet_pattern *p = &s->pool[at];
    double v = 0;
    for (uint32_t i = 0; i < p->n_items; i++) {
        uint64_t n = DV_MIN((uint64_t)p->items[i].count, d->left[p->items[i].workload]);
        v += (double)s->values[p->items[i].workload] * (double)n;
    }
    return v / (double)(s->cost[p->side] * p->cards);
}

/* Times that the pattern can be used whole; at least 1. */
static uint64_t whole_times(const struct search *s, const struct draft *d, uint32_t at)
{
    const struct dv_fleet_pattern *p = &s->pool[at];
    uint64_t n = UINT64_MAX;
    for (uint32_t i = 0; i < p->n_items; i++)
        n = DV_MIN(n,
                   d->left[p->items[i].workload] / dv_fleet_pattern_count(p, p->items[i].workload));
    return n == UINT64_MAX ? 1 : DV_MAX(n, UINT64_C(1));
}

/* Card by card the pattern that places most for its cost, by the values there are. */
static int finish_by_value(struct search *s, struct draft *d)
{
    struct dv_fleet_price price = {s->values, d->left, true, false, &s->work};
    uint32_t wholes = s->n_wholes;
    bool any;
    int r = 0;
    while (!r && n_open(s, d)) {
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
            double y = useful(s, d, at) ? yield(s, d, at) : 0;
            if (y > most) {
                most = y;
                best = at;
            }
        }
        if (r || best == NO_ROW)
            break;
        r = take(s, d, best, whole_times(s, d, best));
    }
    return r;
}

/* Takes the whole parts of a relaxation; where there are none, one of the largest. */
static int take_whole(struct search *s, struct draft *d, bool *ret_any)
{
    uint32_t largest = NO_ROW;
    int r = 0;
    *ret_any = false;
    for (uint32_t i = 0; !r && i < s->n; i++) {
        uint64_t n = DV_MIN((uint64_t)(s->x[i] + TINY), useful(s, d, i));
        if (s->x[i] > TINY && useful(s, d, i) && (largest == NO_ROW || s->x[i] > s->x[largest]))
            largest = i;
        *ret_any = *ret_any || n;
        r = n ? take(s, d, i, n) : 0;
    }
    if (r || *ret_any || largest == NO_ROW)
        return r;
    *ret_any = true;
    return take(s, d, largest, 1);
}

/* Relax, take, relax what is left. The first relaxation is there already. */
static int dive(struct search *s, struct draft *d)
{
    bool any = true;
    int r = take_whole(s, d, &any);
    while (!r && any && n_open(s, d) && n_open(s, d) <= ROWS_DIVE) {
        r = relax(s, d->left, d->room);
        r = r ? r : take_whole(s, d, &any);
    }
    return r;
}

/* ---- which draft ---- */

struct rank {
    double left, cost, dislikes;
};

static struct rank rank_of(const struct search *s, const struct draft *d)
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

static bool is_better(const struct search *s, const struct draft *a, const struct draft *b)
{
    struct rank x = rank_of(s, a), y = rank_of(s, b);
    if (x.left != y.left)
        return x.left < y.left;
    if (x.cost != y.cost)
        return x.cost < y.cost;
    return x.dislikes < y.dislikes;
}

static void keep_better(const struct search *s, struct draft *best, struct draft *other)
{
    if (is_better(s, other, best)) {
        struct draft swap = *best;
        *best = *other;
        *other = swap;
    }
    draft_done(other);
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
        s->values[w] = (int64_t)(least * cards * (double)DV_FLEET_UNIT) + 1024;
    }
}

/* ---- the solver ----------------------------------------------------------------------------- */

static int ask_solver(struct search *s, struct draft *best, bool *ret_solved, bool *ret_optimal)
{
    struct draft d = {0};
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
    r = r || !*ret_solved ? r : draft_new(s, &d);
    for (uint32_t i = 0; !r && *ret_solved && i < s->n; i++)
        r = take(s, &d, i, times[i]);
    if (!r && *ret_solved)
        keep_better(s, best, &d);
    draft_done(&d);
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
static __int128 pure_cost(const struct search *s, const struct draft *d)
{
    __int128 pure = 0;
    for (uint32_t i = 0; i < d->n; i++) {
        const struct dv_fleet_pattern *p = &s->pool[d->uses[i].pattern];
        pure += (__int128)d->uses[i].times * p->cards * s->pure[p->side];
    }
    return pure;
}

/* In micros per hour. */
static __int128 money_of(const struct search *s, const struct draft *d)
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
static bool meets(const struct search *s, const struct draft *d)
{
    __int128 pure = pure_cost(s, d);
    if (n_open(s, d))
        return false;
    if (s->coin && s->least >= 0 && money_of(s, d) <= least_cost(s))
        return true;
    return pure <= s->least ||
           (s->options->aim == DV_FLEET_CARDS && pure < s->least + DV_FLEET_UNIT);
}

/* ---- exactly -------------------------------------------------------------------------------- */

/* A better plan than the best costs less than this. */
static __int128 to_beat(const struct search *s, const struct draft *best)
{
    return n_open(s, best) ? s->all + 1 : pure_cost(s, best);
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
static int add_all(struct search *s, const struct draft *best, bool *ret_all)
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

static int branch(struct search *s, struct draft *best, struct dv_fleet_solution *ret)
{
    struct draft d = {0};
    struct dv_fleet_branch b = {s->view, s->pool,   s->n, s->places, s->rooms,
                                s->pure, s->worths, 0,    STEPS_MAX};
    __int128 beat = to_beat(s, best);
    if (beat > INT64_MAX)
        return 0;
    b.below = (int64_t)beat;
    int r = dv_fleet_branch_search(&b);
    if (!r && b.finished)
        set_least(s, b.found ? b.below : beat, ret);
    if (!r && b.finished && !b.found && n_open(s, best))
        ret->proven = true;
    if (r || !b.found)
        return r;
    r = draft_new(s, &d);
    for (uint32_t i = 0; !r && i < b.n_uses; i++)
        r = take(s, &d, b.uses[i], 1);
    if (!r)
        keep_better(s, best, &d);
    draft_done(&d);
    return r;
}

/* With all patterns at hand the solver's proof is ours too. */
static int solve(struct search *s, struct draft *best, bool all, struct dv_fleet_solution *ret)
{
    bool optimal = false;
    int r = ask_solver(s, best, &ret->solved, &optimal);
    if (r || !all || !optimal)
        return r;
    if (n_open(s, best))
        ret->proven = true;
    else if (pure_cost(s, best) > s->least)
        set_least(s, pure_cost(s, best), ret);
    return 0;
}

static int find_exactly(struct search *s, struct draft *best, struct dv_fleet_solution *ret)
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
static int make_draft(struct search *s, struct draft *ret)
{
    int r = draft_new(s, ret);
    r = r ? r : dive(s, ret);
    if (!r)
        take_duals(s);
    return r ? r : finish_by_value(s, ret);
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

/* A plan in which everybody is in the mode that he had rather be in: where it needs no more cards
 * than others, it is the one to have. */
static int make_rather(struct search *s, struct draft *ret)
{
    const struct dv_fleet_view *whole = s->view;
    struct dv_fleet_view view = *whole;
    view.choices = calloc(view.n_workloads, sizeof *view.choices);
    if (!view.choices)
        return -ENOMEM;
    for (uint32_t w = 0; w < view.n_workloads; w++) {
        view.choices[w] = whole->choices[w];
        if (view.choices[w].modes && fits_rather(whole, w))
            view.choices[w].modes = DV_FLEET_BIT(view.choices[w].prefer);
    }
    s->view = &view;
    int r = add_singles(s);
    r = r ? r : relax(s, s->places, s->rooms);
    r = r ? r : make_draft(s, ret);
    s->view = whole;
    free(view.choices);
    return r;
}

/* By sizes, as somebody would without a relaxation. */
static int make_by_size(struct search *s, struct draft *ret)
{
    int r = draft_new(s, ret);
    set_sizes(s);
    return r ? r : finish_by_value(s, ret);
}

static int find(struct search *s, struct draft *best, struct dv_fleet_solution *ret)
{
    struct draft other = {0};
    int r = add_wholes(s);
    s->n_wholes = s->n;
    r = r ? r : s->view->n_workloads <= ROWS_DIVE ? make_rather(s, best) : draft_new(s, best);
    r = r ? r : add_singles(s);
    r = r ? r : relax(s, s->places, s->rooms);
    r = r ? r : bound(s, ret);
    if (!r && !meets(s, best)) {
        r = make_draft(s, &other);
        if (!r)
            keep_better(s, best, &other);
    }
    if (!r && !meets(s, best)) {
        r = make_by_size(s, &other);
        if (!r)
            keep_better(s, best, &other);
    }
    if (!r && !meets(s, best) && !ret->proven)
        r = bound_by_sizes(s, ret);
    if (!r && !meets(s, best) && !ret->proven && !is_stopped(s))
        r = find_exactly(s, best, ret);
    ret->stopped = s->stopped;
    draft_done(&other);
    return r;
}

static void hand_over(struct search *s, struct draft *d, struct dv_fleet_solution *ret)
{
    const struct dv_fleet *f = s->view->fleet;
    ret->complete = !n_open(s, d);
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
    *d = (struct draft){0};
}

int dv_fleet_search(const struct dv_fleet_view *view, const struct dv_fleet_options *options,
                    const uint64_t *places, const uint64_t *rooms, struct dv_fleet_solution *ret)
{
    struct search s = {.view = view, .options = options, .places = places, .rooms = rooms};
    struct dv_fleet_solution solution = {0};
    struct draft best = {0};
    s.values = calloc(view->n_workloads, sizeof *s.values);
    s.row_of = calloc(view->n_workloads, sizeof *s.row_of);
    s.worths = calloc(view->n_workloads, sizeof *s.worths);
    int r = s.values && s.row_of && s.worths ? 0 : -ENOMEM;
    set_costs(&s);
    r = r ? r : find(&s, &best, &solution);
    if (!r) {
        hand_over(&s, &best, &solution);
        *ret = solution;
    }
    for (uint32_t i = 0; i < s.n; i++)
        dv_fleet_pattern_done(&s.pool[i]);
    free(s.pool);
    free(s.x);
    free(s.values);
    free(s.row_of);
    free(s.worths);
    dv_fleet_lp_free(s.lp);
    draft_done(&best);
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
