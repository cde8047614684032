/* SPDX-License-Identifier: Apache-2.0 */
#include "policy/fleet/fleet_branch.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

struct order {
    uint32_t pattern;
    double yield;
};

struct search {
    struct dv_fleet_branch *b;
    uint32_t *workloads;  /* the most constrained first: that worth most */
    struct order *orders; /* patterns, those that hold most for their cost first */
    uint64_t *left;       /* of each depth, one after the other */
    uint64_t rooms[DV_FLEET_GROUPS_MAX];
    uint32_t steps;
    bool cut_short; /* by the depth or the steps */
    uint32_t now[DV_FLEET_BRANCH_CARDS_MAX];
};

static int64_t cost_of(const struct dv_fleet_branch *b, uint32_t pattern)
{
    return b->costs[b->patterns[pattern].side] * b->patterns[pattern].cards;
}

static int64_t worth_left(const struct dv_fleet_branch *b, const uint64_t *left)
{
    __int128 sum = 0;
    for (uint32_t w = 0; w < b->view->n_workloads; w++)
        sum += (__int128)b->worths[w] * left[w];
    return sum > INT64_MAX ? INT64_MAX : (int64_t)sum;
}

/* Places what the pattern holds of what is left. */
static void place(const struct dv_fleet_pattern *p, const uint64_t *left, uint32_t n, uint64_t *ret)
{
    memcpy(ret, left, n * sizeof *ret);
    for (uint32_t i = 0; i < p->n_items; i++) {
        uint64_t *of = &ret[p->items[i].workload];
        *of -= DV_MIN(*of, (uint64_t)p->items[i].count);
    }
}

/* depth: uses so far, at most DV_FLEET_BRANCH_CARDS_MAX deep. */
static void descend(struct search *s, uint32_t depth, int64_t cost)
{
    struct dv_fleet_branch *b = s->b;
    uint32_t n = b->view->n_workloads, i = 0;
    const uint64_t *left = s->left + (size_t)depth * n;
    uint64_t *next = s->left + (size_t)(depth + 1) * n;
    while (i < n && !left[s->workloads[i]])
        i++;
    if (i == n) {
        b->found = true;
        b->below = cost;
        b->n_uses = depth;
        memcpy(b->uses, s->now, depth * sizeof *b->uses);
        return;
    }
    if (depth == DV_FLEET_BRANCH_CARDS_MAX) {
        s->cut_short = true;
        return;
    }
    for (uint32_t k = 0; k < b->n && !s->cut_short; k++) {
        uint32_t at = s->orders[k].pattern;
        const struct dv_fleet_pattern *p = &b->patterns[at];
        if (s->rooms[p->side] < p->cards || !dv_fleet_pattern_count(p, s->workloads[i]))
            continue;
        s->cut_short = s->steps++ >= b->steps_max;
        place(p, left, n, next);
        if (cost + cost_of(b, at) + worth_left(b, next) >= b->below)
            continue;
        s->now[depth] = at;
        s->rooms[p->side] -= p->cards;
        descend(s, depth + 1, cost + cost_of(b, at));
        s->rooms[p->side] += p->cards;
    }
}

static int by_yield(const void *a, const void *b)
{
    const struct order *x = a, *y = b;
    if (x->yield != y->yield)
        return x->yield > y->yield ? -1 : 1;
    return x->pattern < y->pattern ? -1 : x->pattern > y->pattern;
}

static void set_orders(struct search *s)
{
    const struct dv_fleet_branch *b = s->b;
    for (uint32_t i = 0; i < b->n; i++) {
        double worth = 0;
        for (uint32_t k = 0; k < b->patterns[i].n_items; k++)
            worth +=
                (double)b->worths[b->patterns[i].items[k].workload] * b->patterns[i].items[k].count;
        s->orders[i] = (struct order){i, worth / ((double)cost_of(b, i) + 1)};
    }
    qsort(s->orders, b->n, sizeof *s->orders, by_yield);
    for (uint32_t w = 0; w < b->view->n_workloads; w++) {
        uint32_t at = w;
        for (; at && b->worths[s->workloads[at - 1]] < b->worths[w]; at--)
            s->workloads[at] = s->workloads[at - 1];
        s->workloads[at] = w;
    }
}

int dv_fleet_branch_search(struct dv_fleet_branch *branch)
{
    struct search s = {.b = branch};
    uint32_t n = branch->view->n_workloads;
    s.workloads = calloc(n, sizeof *s.workloads);
    s.orders = calloc(branch->n + 1, sizeof *s.orders);
    s.left = calloc((size_t)n * (DV_FLEET_BRANCH_CARDS_MAX + 2), sizeof *s.left);
    int r = s.workloads && s.orders && s.left ? 0 : -ENOMEM;
    branch->found = branch->finished = false;
    if (!r) {
        set_orders(&s);
        memcpy(s.left, branch->places, n * sizeof *s.left);
        memcpy(s.rooms, branch->rooms, branch->view->n_sides * sizeof *s.rooms);
        descend(&s, 0, 0);
        branch->finished = !s.cut_short;
    }
    free(s.workloads);
    free(s.orders);
    free(s.left);
    return r;
}
