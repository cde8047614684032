/* SPDX-License-Identifier: Apache-2.0 */
/*
 * How long a fleet takes to plan, and how close to the least number of GPUs the plan comes: about
 * 1,000 GPUs; then ten and a hundred times the GPUs, and ten and fifty times the workloads. The
 * baseline in the same run is first fit, decreasing: replicas by size, each into the first card
 * that takes it, a new card in the workload's preferred mode where none does.
 *
 *     brain-plan [LIBRARY]       prints the table; LIBRARY is the solver's, asked where the
 * planner's own search does not prove the least
 */
#include "base/rng.h"
#include "policy/fleet/fleet_plan.h"
#include "policy/mig_plan.h"
#include "solver/solver.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

static uint64_t now_ns(void)
{
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return (uint64_t)t.tv_sec * DV_NS_PER_S + (uint64_t)t.tv_nsec;
}

static void stop(const char *what)
{
    fprintf(stderr, "brain-plan: %s\n", what);
    exit(1);
}

/* ---- fleets ---- */

static struct dv_fleet_group group(const char *model, uint32_t count)
{
    struct dv_fleet_group g = {.model = dv_gpu_model_find(model, NULL),
                               .count = count ? count : DV_FLEET_CARDS_MAX,
                               .open = !count,
                               .per_node = 8};
    g.memory_bytes = dv_gpu_model_usable(g.model);
    return g;
}

/* A workload of one of six kinds; `cards` is about what all its replicas take. */
static void set_workload(struct dv_rng *rng, struct dv_fleet_workload *w, uint32_t i, double cards)
{
    double each = 1;
    snprintf(w->name, sizeof w->name, "w%u", i);
    w->processes = 1;
    w->memory_bytes = (2 + dv_rng_below(rng, 18)) * UINT64_C(1000000000);
    switch (i % 6) {
    case 0:
        w->memory_bytes = 0;
        w->gpus = 1u << dv_rng_below(rng, 3);
        each = w->gpus;
        break;
    case 1:
        w->isolation = DV_WALL_HARDWARE;
        each = w->memory_bytes > UINT64_C(10000000000) ? 0.25 : 1 / 7.0;
        break;
    case 2:
        w->interactive = true;
        each = 0.15;
        break;
    case 3:
        w->isolation = DV_WALL_HARDWARE;
        w->compute = 1000 + (uint32_t)dv_rng_below(rng, 3000);
        each = 0.4;
        break;
    default:
        w->compute = 200 + (uint32_t)dv_rng_below(rng, 3000);
        each = 0.25;
    }
    w->count = (uint32_t)(cards / each) + 1;
}

static struct dv_fleet *make_fleet(uint32_t cards, uint32_t n_workloads, bool mixed)
{
    struct dv_rng rng = {42};
    struct dv_fleet *f = calloc(1, sizeof *f);
    if (!f || !(f->workloads = calloc(n_workloads, sizeof *f->workloads)))
        stop("out of memory");
    memcpy(f->currency, "USD", 4);
    f->groups[f->n_groups++] = group("A100-80GB", mixed ? cards * 7 / 10 : 0);
    if (mixed) {
        f->groups[f->n_groups++] = group("H100-80GB", cards * 3 / 10);
        f->groups[f->n_groups++] = group("T4", cards);
    }
    f->n_workloads = n_workloads;
    for (uint32_t i = 0; i < n_workloads; i++)
        set_workload(&rng, &f->workloads[i], i, (double)cards / n_workloads);
    struct dv_err err = {{0}};
    if (dv_fleet_check(f, NULL, &err) < 0)
        stop(err.msg);
    return f;
}

/* ---- first fit, decreasing ---- */

struct card {
    uint32_t side;
    enum dv_fleet_mode mode;
    uint64_t memory;
    uint32_t compute, n;
    bool full;
    struct dv_mig_instance set[DV_MIG_INSTANCES_MAX + 1];
};

struct filling {
    const struct dv_fleet_view *view;
    struct card *cards;
    uint64_t n;
    uint64_t rooms[DV_FLEET_GROUPS_MAX], unplaced;
};

static bool add_instance(const struct dv_fleet_side *side, struct card *c, uint32_t profile)
{
    struct dv_mig_plan plan;
    c->set[c->n] = (struct dv_mig_instance){profile, DV_MIG_UNPLACED};
    if (c->n == DV_MIG_INSTANCES_MAX ||
        dv_mig_plan_find(&side->geometry, NULL, 0, c->set, c->n + 1, &plan) || plan.rule)
        return false;
    c->n++;
    return true;
}

static bool fits(const struct filling *f, struct card *c, uint32_t w)
{
    const struct dv_fleet_side *side = &f->view->sides[c->side];
    const struct dv_fleet_workload *workload = &f->view->fleet->workloads[w];
    if (c->full || !(f->view->choices[w].modes & DV_FLEET_BIT(c->mode)))
        return false;
    if (c->mode == DV_FLEET_MIG) {
        struct dv_fleet_bound b;
        dv_fleet_fit_bound(workload, side, &b);
        return b.mig_kind != DV_FLEET_NOT && add_instance(side, c, side->kinds[b.mig_kind].profile);
    }
    struct dv_fleet_need need = dv_fleet_fit_need(workload, side, c->mode);
    if (c->memory + need.memory_bytes > side->kinds[0].memory_bytes ||
        c->compute + need.compute > DV_COMPUTE_FULL || c->n == DV_FLEET_SHARE_MAX)
        return false;
    c->memory += need.memory_bytes;
    c->compute += need.compute;
    c->n++;
    return true;
}

static void open_card(struct filling *f, uint32_t w)
{
    for (uint32_t s = 0; s < f->view->n_sides; s++) {
        struct card *c = &f->cards[f->n];
        uint32_t gpus = f->view->gpus[w];
        *c = (struct card){.side = s, .mode = f->view->choices[w].prefer, .full = gpus > 0};
        if (f->rooms[s] < DV_MAX(gpus, 1u) || (!gpus && !fits(f, c, w)))
            continue;
        for (uint32_t i = 0; i < DV_MAX(gpus, 1u); i++)
            f->cards[f->n++] = *c;
        f->rooms[s] -= DV_MAX(gpus, 1u);
        return;
    }
    f->unplaced++;
}

static double size_of(const struct dv_fleet_view *v, uint32_t w)
{
    const struct dv_fleet_need *n = &v->shared[w];
    double m = (double)n->memory_bytes / (double)v->sides[0].kinds[0].memory_bytes;
    return v->gpus[w] ? v->gpus[w] : DV_MAX(m, (double)n->compute / DV_COMPUTE_FULL);
}

static uint64_t first_fit(const struct dv_fleet *fleet, uint64_t *ret_unplaced, uint64_t *ret_ns)
{
    struct filling f = {0};
    struct dv_fleet_view *v = NULL;
    uint32_t *order = calloc(fleet->n_workloads, sizeof *order);
    uint64_t start = now_ns();
    f.cards = calloc(DV_FLEET_REPLICAS_MAX, sizeof *f.cards);
    if (!order || !f.cards || dv_fleet_view_new(fleet, &v) < 0)
        stop("out of memory");
    f.view = v;
    for (uint32_t s = 0; s < v->n_sides; s++)
        f.rooms[s] = fleet->groups[s].count;
    for (uint32_t w = 0; w < fleet->n_workloads; w++) {
        uint32_t at = w;
        for (; at && size_of(v, order[at - 1]) < size_of(v, w); at--)
            order[at] = order[at - 1];
        order[at] = w;
    }
    for (uint32_t i = 0; i < fleet->n_workloads; i++) {
        uint64_t from = 0; /* alike replicas: what did not take one takes none */
        for (uint32_t k = 0; k < fleet->workloads[order[i]].count; k++) {
            while (from < f.n && !fits(&f, &f.cards[from], order[i]))
                from++;
            if (from == f.n)
                open_card(&f, order[i]);
        }
    }
    *ret_ns = now_ns() - start;
    *ret_unplaced = f.unplaced;
    dv_fleet_view_free(v);
    free(f.cards);
    free(order);
    return f.n;
}

/* ---- the table ---- */

static void row(const char *what, uint32_t cards, uint32_t n_workloads, bool mixed,
                const struct dv_program_solver *solver)
{
    struct dv_fleet *fleet = make_fleet(cards, n_workloads, mixed);
    struct dv_fleet_options options = {.aim = DV_FLEET_CARDS, .solver = *solver};
    struct dv_fleet_plan *plan = NULL;
    uint64_t replicas = 0, ffd_unplaced = 0, ffd_ns = 0, unplaced = 0;
    uint64_t start = now_ns();
    if (dv_fleet_plan_new(fleet, &options, &plan) < 0)
        stop("no plan");
    uint64_t ns = now_ns() - start;
    uint64_t ffd = first_fit(fleet, &ffd_unplaced, &ffd_ns);
    for (uint32_t w = 0; w < n_workloads; w++) {
        replicas += fleet->workloads[w].count;
        unplaced += plan->unplaced[w].replicas;
    }
    printf("%-22s %9u %9" PRIu64 " %8u %8" PRIu64 " %7.2f%% %9.1f ms %6s", what, n_workloads,
           replicas, plan->n_cards, plan->least_cards,
           100.0 * (double)(plan->needed_cards - plan->least_cards) / (double)plan->needed_cards,
           (double)ns / 1e6, plan->proven ? "yes" : "no");
    printf(" %8" PRIu64 " %9.1f ms %6.2fx", ffd, (double)ffd_ns / 1e6,
           (double)ffd / (double)plan->n_cards);
    if (unplaced || ffd_unplaced)
        printf("  unplaced %" PRIu64 ", first fit %" PRIu64, unplaced, ffd_unplaced);
    printf("\n");
    fflush(stdout);
    dv_fleet_plan_free(plan);
    dv_fleet_free(fleet);
}

int main(int argc, char **argv)
{
    struct dv_solver *solver = NULL;
    struct dv_program_solver asked = {0};
    struct dv_err err = {{0}};
    if (argc > 1 && dv_solver_open(argv[1], &solver, &err) < 0)
        stop(err.msg);
    if (solver)
        asked = (struct dv_program_solver){dv_solver_solve, solver};
    printf("solver: %s\n", solver ? dv_solver_version(solver) : "none");
    printf("%-22s %9s %9s %8s %8s %8s %12s %6s %8s %12s %7s\n", "fleet", "workloads", "replicas",
           "GPUs", "at least", "gap", "time", "proven", "ffd GPUs", "ffd time", "ffd/us");
    row("A100-80GB", 1000, 18, false, &asked);
    row("A100-80GB, GPUs x10", 10000, 18, false, &asked);
    row("A100-80GB, GPUs x90", 90000, 18, false, &asked);
    row("workloads x10", 1000, 180, false, &asked);
    row("workloads x50", 1000, 900, false, &asked);
    row("mixed", 1000, 18, true, &asked);
    row("mixed, workloads x10", 1000, 180, true, &asked);
    row("mixed, workloads x50", 1000, 900, true, &asked);
    dv_solver_free(solver);
    return 0;
}
