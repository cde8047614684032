/* SPDX-License-Identifier: Apache-2.0 */
#include "policy/mig_forecast.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#define ANY DV_MIG_FORECAST_ANY
#define MARGIN_MAX 100000u
#define SLICES_MAX 16u

/* ---- is it sane ---- */

static int check_sizes(const struct dv_mig_forecast_problem *p, struct dv_err *err)
{
    if (!p->n_profiles || p->n_profiles > DV_MIG_PROFILES_MAX || !p->n_layouts ||
        p->n_layouts > DV_MIG_FORECAST_LAYOUTS_MAX)
        return dv_err_set(err, -ERANGE, "1 to %u layouts and 1 to %u profiles can be compared",
                          DV_MIG_FORECAST_LAYOUTS_MAX, DV_MIG_PROFILES_MAX);
    if (!p->n || p->n > DV_MIG_FORECAST_STEPS_MAX || p->held_back > p->n)
        return dv_err_set(err, -ERANGE,
                          "%zu steps of history: 1 to %u can be used; take a longer "
                          "step",
                          p->n, DV_MIG_FORECAST_STEPS_MAX);
    if (!p->season || p->season > DV_MIG_DEMAND_SEASON_MAX)
        return dv_err_set(err, -ERANGE, "a season is 1 to %u steps", DV_MIG_DEMAND_SEASON_MAX);
    if (!p->horizon || p->horizon > DV_MIG_FORECAST_HORIZON_MAX)
        return dv_err_set(err, -ERANGE, "the time planned ahead is 1 to %u steps",
                          DV_MIG_FORECAST_HORIZON_MAX);
    if (p->margin_permille > MARGIN_MAX)
        return dv_err_set(err, -ERANGE, "the margin is at most 100 times what a switch costs");
    if (p->start != ANY && p->start >= p->n_layouts)
        return dv_err_set(err, -EINVAL, "the layout in force is not one of those compared");
    return 0;
}

static int check_values(const struct dv_mig_forecast_problem *p, struct dv_err *err)
{
    for (uint32_t i = 0; i < p->n_profiles; i++)
        if (!p->slices[i] || p->slices[i] > SLICES_MAX)
            return dv_err_set(err, -EINVAL, "a profile has 1 to %u slices", SLICES_MAX);
    for (uint32_t l = 0; l < p->n_layouts; l++) {
        for (uint32_t i = 0; i < p->n_profiles; i++)
            if (p->supply[l][i] > DV_MIG_FORECAST_SUPPLY_MAX)
                return dv_err_set(err, -ERANGE, "a layout has at most %u instances of a profile",
                                  DV_MIG_FORECAST_SUPPLY_MAX);
        for (uint32_t m = 0; m < p->n_layouts; m++)
            if (p->switching[l][m] < 0 || p->switching[l][m] > DV_MIG_FORECAST_SWITCH_MAX ||
                (l == m && p->switching[l][m]))
                return dv_err_set(err, -ERANGE,
                                  "a switch costs nothing less than 0, and to stay "
                                  "costs nothing");
    }
    for (size_t i = 0; i < p->n * p->n_profiles; i++)
        if (p->demand[i] != DV_MIG_DEMAND_UNKNOWN &&
            (p->demand[i] < 0 || p->demand[i] > DV_MIG_DEMAND_MAX))
            return dv_err_set(err, -ERANGE, "demand is 0 to a million instances");
    return 0;
}

/* ---- costs ---- */

int64_t dv_mig_forecast_unmet(const struct dv_mig_forecast_problem *p, uint32_t layout,
                              const int32_t *demand)
{
    int64_t sum = 0;
    for (uint32_t i = 0; i < p->n_profiles; i++) {
        int64_t over = (int64_t)demand[i] - (int64_t)p->supply[layout][i] * 1000;
        if (demand[i] != DV_MIG_DEMAND_UNKNOWN && over > 0)
            sum += over * p->slices[i];
    }
    return sum;
}

static void fill_unmet(const struct dv_mig_forecast_problem *p, const int32_t *demand, size_t n,
                       int64_t *ret)
{
    for (size_t t = 0; t < n; t++)
        for (uint32_t l = 0; l < p->n_layouts; l++)
            ret[t * p->n_layouts + l] = dv_mig_forecast_unmet(p, l, demand + t * p->n_profiles);
}

/* ---- the best path through n steps, by dynamic programming from the end ---- */

/* Where to go before the step of cost `best`, from layout l; stays where that is as good. */
static uint32_t cheapest(const struct dv_mig_forecast_problem *p, uint32_t l, const int64_t *best)
{
    uint32_t to = l;
    for (uint32_t m = 0; m < p->n_layouts; m++)
        if (p->switching[l][m] + best[m] < p->switching[l][to] + best[to])
            to = m;
    return to;
}

/*
 * unmet: n rows of a value for each layout. next[t * n_layouts + l]: who is in l before step t
 * takes that step in this layout.
 */
static void solve(const struct dv_mig_forecast_problem *p, const int64_t *unmet, size_t n,
                  uint8_t *next)
{
    int64_t best[DV_MIG_FORECAST_LAYOUTS_MAX] = {0};
    for (size_t t = n; t-- > 0;) {
        int64_t in[DV_MIG_FORECAST_LAYOUTS_MAX];
        for (uint32_t l = 0; l < p->n_layouts; l++)
            in[l] = unmet[t * p->n_layouts + l] + best[l];
        for (uint32_t l = 0; l < p->n_layouts; l++) {
            uint32_t to = cheapest(p, l, in);
            next[t * p->n_layouts + l] = (uint8_t)to;
            best[l] = p->switching[l][to] + in[to];
        }
    }
}

/* ---- the one that decides ---- */

struct planner {
    const struct dv_mig_forecast_problem *p;
    struct dv_mig_demand demands[DV_MIG_PROFILES_MAX];
    int32_t *predicted; /* horizon * n_profiles */
    int64_t *unmet;     /* horizon * n_layouts */
    uint8_t *next;      /* the same */
    uint32_t now;
    size_t last_switch; /* SIZE_MAX: none yet */
};

static void planner_done(struct planner *w)
{
    for (uint32_t i = 0; i < w->p->n_profiles; i++)
        dv_mig_demand_done(&w->demands[i]);
    free(w->predicted);
    free(w->unmet);
    free(w->next);
}

static int planner_init(struct planner *w, const struct dv_mig_forecast_problem *p,
                        struct dv_mig_forecast *f)
{
    size_t known = f->held_from;
    *w = (struct planner){.p = p, .last_switch = SIZE_MAX};
    w->predicted = calloc((size_t)p->horizon * p->n_profiles, sizeof *w->predicted);
    w->unmet = calloc((size_t)p->horizon * p->n_layouts, sizeof *w->unmet);
    w->next = calloc((size_t)p->horizon * p->n_layouts, sizeof *w->next);
    int r = w->predicted && w->unmet && w->next ? 0 : -ENOMEM;
    for (uint32_t i = 0; i < p->n_profiles && r == 0; i++) {
        r = dv_mig_demand_fit(p->demand + i, known, p->n_profiles, p->season, p->horizon,
                              &f->rates[i], &f->error_milli[i]);
        if (r == 0)
            r = dv_mig_demand_init(&w->demands[i], p->season, f->rates[i]);
    }
    return r;
}

static void see(struct planner *w, const int32_t *demand)
{
    for (uint32_t i = 0; i < w->p->n_profiles; i++)
        dv_mig_demand_see(&w->demands[i], demand ? demand[i] : DV_MIG_DEMAND_UNKNOWN);
}

static void predict(struct planner *w)
{
    const struct dv_mig_forecast_problem *p = w->p;
    for (uint32_t h = 0; h < p->horizon; h++)
        for (uint32_t i = 0; i < p->n_profiles; i++)
            w->predicted[h * p->n_profiles + i] = dv_mig_demand_predict(&w->demands[i], h);
    fill_unmet(p, w->predicted, p->horizon, w->unmet);
}

/* Which profile gains most by the switch, and its mean predicted demand while it lasts. */
static void find_reason(const struct planner *w, uint32_t steps, struct dv_mig_forecast_switch *s)
{
    const struct dv_mig_forecast_problem *p = w->p;
    int64_t best = INT64_MIN;
    for (uint32_t i = 0; i < p->n_profiles; i++) {
        int64_t gain = 0, sum = 0;
        for (uint32_t h = 0; h < steps; h++) {
            int64_t d = w->predicted[h * p->n_profiles + i];
            if (d == DV_MIG_DEMAND_UNKNOWN)
                continue;
            int64_t before = DV_MAX(0, d - (int64_t)p->supply[s->from][i] * 1000);
            int64_t after = DV_MAX(0, d - (int64_t)p->supply[s->to][i] * 1000);
            gain += (before - after) * p->slices[i];
            sum += d;
        }
        if (gain <= best)
            continue;
        best = gain;
        s->profile = i;
        s->demand = (int32_t)(sum / DV_MAX(steps, 1));
    }
}

/* What the plan's first switch is worth while it lasts, and what it costs: with a way on to where
 * one would have been cheaper to go from here. */
static void weigh(const struct planner *w, size_t step, uint32_t to,
                  struct dv_mig_forecast_switch *s)
{
    const struct dv_mig_forecast_problem *p = w->p;
    uint32_t steps = 0;
    *s = (struct dv_mig_forecast_switch){.step = step, .from = w->now, .to = to};
    do {
        const int64_t *unmet = w->unmet + (size_t)steps * p->n_layouts;
        s->gain += unmet[w->now] - unmet[to];
        steps++;
    } while (steps < p->horizon && w->next[(size_t)steps * p->n_layouts + to] == to);
    s->open = steps == p->horizon;
    s->until = step + steps;
    s->cost = p->switching[w->now][to];
    if (!s->open) {
        uint32_t on = w->next[(size_t)steps * p->n_layouts + to];
        s->cost += p->switching[to][on] - p->switching[w->now][on];
        s->cost = DV_MAX(s->cost, 0);
    }
    find_reason(w, steps, s);
}

/* Before the demand of `step` is seen: the switch to make now. False: stay. */
static bool decide(struct planner *w, size_t step, struct dv_mig_forecast_switch *ret)
{
    const struct dv_mig_forecast_problem *p = w->p;
    if (w->last_switch != SIZE_MAX && step - w->last_switch < p->hold)
        return false;
    predict(w);
    solve(p, w->unmet, p->horizon, w->next);
    uint32_t to = w->next[w->now];
    if (to == w->now)
        return false;
    weigh(w, step, to, ret);
    if (ret->gain <= 0 || ret->gain * 1000 < ret->cost * (1000 + (int64_t)p->margin_permille))
        return false;
    w->now = to;
    w->last_switch = step;
    return true;
}

/* ---- the held-back part ---- */

static int append(struct dv_mig_forecast_switch **list, size_t *n,
                  const struct dv_mig_forecast_switch *s)
{
    if ((*n & (*n - 1)) == 0) { /* full: a power of two */
        struct dv_mig_forecast_switch *more = realloc(*list, (*n ? *n * 2 : 1) * sizeof *more);
        if (!more)
            return -ENOMEM;
        *list = more;
    }
    (*list)[(*n)++] = *s;
    return 0;
}

static int run_policy(struct planner *w, struct dv_mig_forecast *f)
{
    const struct dv_mig_forecast_problem *p = w->p;
    struct dv_mig_forecast_switch s;
    int r = 0;
    w->now = f->start;
    for (size_t t = 0; t < p->n && r == 0; t++) {
        const int32_t *demand = p->demand + t * p->n_profiles;
        if (t >= f->held_from) {
            if (decide(w, t, &s)) {
                f->policy.switching += p->switching[s.from][s.to];
                f->policy.switches++;
                r = append(&f->done, &f->n_done, &s);
            }
            f->policy.unmet += dv_mig_forecast_unmet(p, w->now, demand);
        }
        see(w, demand);
    }
    f->policy.last = w->now;
    return r;
}

/* Nothing more is learnt: what would be done if all came as predicted. */
static int plan_ahead(struct planner *w, struct dv_mig_forecast *f)
{
    struct dv_mig_forecast_switch s;
    int r = 0;
    if (w->p->start != ANY) {
        w->now = w->p->start;
        w->last_switch = SIZE_MAX;
    }
    for (size_t t = w->p->n; t < w->p->n + w->p->horizon && r == 0; t++) {
        if (decide(w, t, &s))
            r = append(&f->plan, &f->n_plan, &s);
        see(w, NULL);
    }
    return r;
}

/* ---- what it is measured against ---- */

static int64_t total_unmet(const struct dv_mig_forecast_problem *p, uint32_t layout, size_t from,
                           size_t to)
{
    int64_t sum = 0;
    for (size_t t = from; t < to; t++)
        sum += dv_mig_forecast_unmet(p, layout, p->demand + t * p->n_profiles);
    return sum;
}

static void score_fixed(const struct dv_mig_forecast_problem *p, struct dv_mig_forecast *f)
{
    for (uint32_t l = 0; l < p->n_layouts; l++) {
        struct dv_mig_forecast_score s = {.unmet = total_unmet(p, l, f->held_from, p->n),
                                          .switching = p->switching[f->start][l],
                                          .switches = l != f->start,
                                          .last = l};
        if (l == f->start)
            f->never = s;
        if (!l || s.unmet + s.switching < f->fixed.unmet + f->fixed.switching) {
            f->fixed = s;
            f->fixed_layout = l;
        }
    }
}

static int score_clairvoyant(const struct dv_mig_forecast_problem *p, struct dv_mig_forecast *f)
{
    size_t n = p->n - f->held_from;
    const int32_t *demand = p->demand + f->held_from * p->n_profiles;
    int64_t *unmet = calloc(n * p->n_layouts + 1, sizeof *unmet);
    uint8_t *next = calloc(n * p->n_layouts + 1, sizeof *next);
    int r = unmet && next ? 0 : -ENOMEM;
    uint32_t now = f->start;
    if (r == 0) {
        fill_unmet(p, demand, n, unmet);
        solve(p, unmet, n, next);
        for (size_t t = 0; t < n; t++) {
            uint32_t to = next[t * p->n_layouts + now];
            f->clairvoyant.switching += p->switching[now][to];
            f->clairvoyant.switches += to != now;
            f->clairvoyant.unmet += unmet[t * p->n_layouts + to];
            now = to;
        }
        f->clairvoyant.last = now;
    }
    free(unmet);
    free(next);
    return r;
}

static uint32_t best_until(const struct dv_mig_forecast_problem *p, size_t to)
{
    uint32_t best = 0;
    int64_t least = INT64_MAX;
    for (uint32_t l = 0; l < p->n_layouts; l++) {
        int64_t unmet = total_unmet(p, l, 0, to);
        if (unmet >= least)
            continue;
        least = unmet;
        best = l;
    }
    return best;
}

static size_t count_scored(const struct dv_mig_forecast_problem *p, size_t from)
{
    size_t n = 0;
    for (size_t t = from; t < p->n; t++) {
        bool known = false;
        for (uint32_t i = 0; i < p->n_profiles; i++)
            known = known || p->demand[t * p->n_profiles + i] != DV_MIG_DEMAND_UNKNOWN;
        n += known;
    }
    return n;
}

/* ---- all ---- */

static int run(const struct dv_mig_forecast_problem *p, struct dv_mig_forecast *f)
{
    struct planner w;
    f->held_from = p->n - p->held_back;
    f->scored = count_scored(p, f->held_from);
    f->start = p->start != ANY ? p->start : best_until(p, f->held_from);
    int r = planner_init(&w, p, f);
    if (r == 0)
        r = run_policy(&w, f);
    if (r == 0)
        r = plan_ahead(&w, f);
    planner_done(&w);
    if (r < 0)
        return r;
    score_fixed(p, f);
    return score_clairvoyant(p, f);
}

int dv_mig_forecast_run(const struct dv_mig_forecast_problem *p, struct dv_mig_forecast **ret,
                        struct dv_err *err)
{
    int r = check_sizes(p, err);
    if (r == 0)
        r = check_values(p, err);
    if (r < 0)
        return r;
    struct dv_mig_forecast *f = calloc(1, sizeof *f);
    if (!f)
        return -ENOMEM;
    r = run(p, f);
    if (r < 0)
        dv_mig_forecast_free(f);
    else
        *ret = f;
    return r;
}

void dv_mig_forecast_free(struct dv_mig_forecast *f)
{
    if (!f)
        return;
    free(f->done);
    free(f->plan);
    free(f);
}
