/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Planning MIG changes over the GPUs of a node: processor time per GPU, and instances moved against
 * two baselines in the same run: the wanted set dealt out GPU by GPU in order, the most that each
 * still takes (then the least change of each), and clearing all GPUs. Then forecasts: a year of
 * hours, and a tenth and ten times of it, against the sum without the planner (never switching).
 */
#include "base/rng.h"
#include "policy/mig_forecast.h"
#include "policy/mig_node.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#define ROUNDS 200
#define WANT_MAX (DV_MIG_NODE_GPUS_MAX * DV_MIG_INSTANCES_MAX)

static double cpu_ms(void)
{
    struct timespec t;
    clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &t);
    return (double)t.tv_sec * 1e3 + (double)t.tv_nsec / 1e6;
}

struct node {
    const struct dv_mig_geometry *g;
    size_t n_gpus, n_want;
    struct dv_mig_have have[DV_MIG_NODE_GPUS_MAX][DV_MIG_INSTANCES_MAX];
    struct dv_mig_node_gpu gpus[DV_MIG_NODE_GPUS_MAX];
    struct dv_mig_node_want want[DV_MIG_NODE_PROFILES_MAX];
};

struct sums {
    double ms, worst_ms;
    uint64_t plans, moved, in_order, clearing, blocked, blocked_in_order, no_order;
};

/* ---- random nodes ---- */

static size_t random_set(const struct dv_mig_geometry *g, struct dv_rng *rng,
                         struct dv_mig_instance *v)
{
    size_t n = 0;
    for (uint64_t tries = dv_rng_below(rng, 40); tries && n < DV_MIG_INSTANCES_MAX - 1; tries--) {
        uint32_t p = (uint32_t)dv_rng_below(rng, g->n_profiles);
        if (g->profiles[p].media != DV_MIG_MEDIA_DEFAULT)
            continue;
        v[n] = (struct dv_mig_instance){p, (uint32_t)dv_rng_below(rng, g->grid)};
        n += dv_mig_check(g, v, n + 1, NULL) == DV_MIG_OK;
    }
    return n;
}

static void add_want(struct node *node, const char *name)
{
    size_t p = 0;
    while (p < node->n_want && strcmp(node->want[p].profile, name) != 0)
        p++;
    if (p == DV_MIG_NODE_PROFILES_MAX)
        return;
    if (p == node->n_want)
        node->want[node->n_want++] = (struct dv_mig_node_want){name, 0};
    node->want[p].count++;
}

/* What is wanted fits: it is the sum of legal sets. */
static void random_node(struct node *node, const struct dv_mig_geometry *g, size_t n_gpus,
                        struct dv_rng *rng)
{
    struct dv_mig_instance v[DV_MIG_INSTANCES_MAX];
    memset(node, 0, sizeof *node);
    node->g = g;
    node->n_gpus = n_gpus;
    for (size_t i = 0; i < n_gpus; i++) {
        size_t n = random_set(g, rng, v);
        for (size_t k = 0; k < n; k++)
            node->have[i][k] = (struct dv_mig_have){
                .profile = v[k].profile, .start = v[k].start, .in_use = dv_rng_below(rng, 3) == 0};
        node->gpus[i] = (struct dv_mig_node_gpu){g, node->have[i], n};
        n = random_set(g, rng, v);
        for (size_t k = 0; k < n; k++)
            add_want(node, g->profiles[v[k].profile].name);
    }
}

/* ---- the baseline: GPU by GPU, large ones first, as much as still fits ---- */

static bool deal_out(const struct node *node, uint64_t *moved, uint64_t *blocked)
{
    uint32_t left[DV_MIG_NODE_PROFILES_MAX];
    uint32_t sum = 0;
    for (size_t p = 0; p < node->n_want; p++)
        sum += left[p] = node->want[p].count;
    for (size_t i = 0; i < node->n_gpus; i++) {
        struct dv_mig_instance part[DV_MIG_INSTANCES_MAX + 1];
        struct dv_mig_change change;
        struct dv_mig_plan plan;
        size_t n = 0;
        for (uint32_t q = node->g->n_profiles; q-- > 0;)
            for (size_t p = 0; p < node->n_want; p++)
                while (left[p] && n < DV_MIG_INSTANCES_MAX &&
                       !strcmp(node->want[p].profile, node->g->profiles[q].name)) {
                    part[n] = (struct dv_mig_instance){q, DV_MIG_UNPLACED};
                    if (dv_mig_plan_find(node->g, NULL, 0, part, n + 1, &plan) || plan.rule)
                        break;
                    n++;
                    left[p]--;
                    sum--;
                }
        if (dv_mig_change_find(node->g, node->have[i], node->gpus[i].n_have, part, n, &change))
            exit(1);
        *moved += change.destroyed + change.created;
        *blocked += change.blocked;
    }
    return !sum;
}

static void measure_node(const struct node *node, struct sums *s)
{
    struct dv_mig_node_change *c = NULL;
    uint64_t moved = 0, blocked = 0, wanted = 0;
    double start = cpu_ms();
    if (dv_mig_node_find(node->gpus, node->n_gpus, node->want, node->n_want, &c) || !c->feasible)
        exit(1);
    double took = (cpu_ms() - start) / (double)node->n_gpus;
    s->ms += took;
    s->worst_ms = took > s->worst_ms ? took : s->worst_ms;
    s->plans++;
    if (deal_out(node, &moved, &blocked)) {
        for (size_t p = 0; p < node->n_want; p++)
            wanted += node->want[p].count;
        for (size_t i = 0; i < node->n_gpus; i++)
            wanted += node->gpus[i].n_have;
        s->moved += c->destroyed + c->created;
        s->blocked += c->blocked;
        s->in_order += moved;
        s->blocked_in_order += blocked;
        s->clearing += wanted;
    } else {
        s->no_order++;
    }
    dv_mig_node_free(c);
}

static void nodes(const char *name)
{
    const struct dv_mig_geometry *g = dv_mig_geometry_find(name);
    for (size_t n = 1; n <= DV_MIG_NODE_GPUS_MAX; n = n == 1 ? 4 : n * 2) {
        struct dv_rng rng = {1};
        struct sums s = {0};
        struct node node;
        for (int i = 0; i < ROUNDS; i++) {
            random_node(&node, g, n, &rng);
            measure_node(&node, &s);
        }
        double compared = (double)(s.plans - s.no_order);
        printf("  %-12s %4zu %9.3f ms %9.3f ms %8.2f %9.2f %9.2f %8.2f %9.2f %7llu\n", name, n,
               s.ms / (double)s.plans, s.worst_ms, (double)s.moved / compared,
               (double)s.in_order / compared, (double)s.clearing / compared,
               (double)s.blocked / compared, (double)s.blocked_in_order / compared,
               (unsigned long long)s.no_order);
    }
}

/* ---- forecasts ---- */

static void forecast(size_t n)
{
    static const struct dv_mig_forecast_problem three = {
        .n_profiles = 2,
        .slices = {1, 3},
        .n_layouts = 3,
        .supply = {{14, 0}, {7, 2}, {0, 4}},
        .switching = {{0, 1000, 2000}, {1000, 0, 1000}, {2000, 1000, 0}},
        .season = 24,
        .horizon = 24,
        .hold = 1,
        .margin_permille = 500,
        .start = DV_MIG_FORECAST_ANY,
    };
    struct dv_mig_forecast_problem p = three;
    struct dv_mig_forecast *f = NULL;
    struct dv_rng rng = {1};
    int32_t *demand = calloc(n * 2, sizeof *demand);
    if (!demand)
        exit(1);
    double drift = 0;
    for (size_t t = 0; t < n; t++) {
        bool day = t % 24 >= 8 && t % 24 < 18 && t / 24 % 7 < 5;
        drift = 0.95 * drift + (dv_rng_unit(&rng) - 0.5) * 2000;
        double small = (day ? 11000 : 2000) + drift, large = (day ? 500 : 3500) - drift / 3;
        demand[2 * t] = (int32_t)DV_MAX(small, 0);
        demand[2 * t + 1] = (int32_t)DV_MAX(large, 0);
    }
    p.demand = demand;
    p.n = n;
    p.held_back = n * 3 / 10;
    double start = cpu_ms();
    if (dv_mig_forecast_run(&p, &f, NULL))
        exit(1);
    double took = cpu_ms() - start;
    double never = (double)(f->never.unmet + f->never.switching),
           policy = (double)(f->policy.unmet + f->policy.switching),
           best = (double)(f->clairvoyant.unmet + f->clairvoyant.switching);
    printf("  %9zu %9.1f ms %9.3f us %10.1f %10.1f %11.1f %7.1f%% %8u\n", n, took,
           took * 1e3 / (double)n, never / 1e3, policy / 1e3, best / 1e3,
           never > best ? (policy - best) / (never - best) * 100 : 0, f->policy.switches);
    dv_mig_forecast_free(f);
    free(demand);
}

int main(void)
{
    printf("mig: the least change of a node; time per GPU; instances moved (destroyed + created) "
           "and in use among\nthem: exact, dealt out in order, by clearing; 'fails': the order "
           "finds no way where there is one\n");
    printf("  %-12s %4s %12s %12s %8s %9s %9s %8s %9s %7s\n", "board", "GPUs", "mean", "longest",
           "moved", "in order", "clearing", "in use", "in order", "fails");
    nodes("A30");
    nodes("A100-80GB");
    nodes("H200-141GB");
    printf("mig: forecasts of an hourly demand with days, weekends and drift; slice-hours missed "
           "on the last 30 %%\n");
    printf("  %9s %12s %12s %10s %10s %11s %8s %8s\n", "hours", "took", "per hour", "never",
           "forecast", "clairvoyant", "regret", "switches");
    for (size_t n = 876; n <= 87600; n *= 10)
        forecast(n);
    return 0;
}
