/* SPDX-License-Identifier: Apache-2.0 */
/*
 * How long a MIG change takes to plan, and how much it moves: every pair of layouts of the A30,
 * 10,000 random pairs of larger boards (fixed seeds). The baseline in the same run is what
 * mig-parted does, which is to clear the GPU and create all of the wanted set, unless the GPU has
 * that set already. Then whole plans of a layout for one GPU of a full node: 8 GPUs, each cut at
 * random, 4 slices on every second device, sharing by the cut and by rules.
 *
 *     mig_change                 prints the tables
 */
#include "policy/mig_change.h"

#include "base/rng.h"
#include "policy/layout_plan.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#define PAIRS 10000
#define LAYOUTS_MAX 256

struct set {
    size_t n;
    struct dv_mig_instance v[DV_MIG_INSTANCES_MAX];
};

struct result {
    uint64_t *ns;
    size_t n, max;
    uint64_t moved, moved_by_clearing;         /* destroyed + created */
    uint64_t disturbed, disturbed_by_clearing; /* destroyed though in use */
};

static uint64_t now_ns(void)
{
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return (uint64_t)t.tv_sec * UINT64_C(1000000000) + (uint64_t)t.tv_nsec;
}

static bool same_profiles(const struct set *a, const struct set *b)
{
    int count[DV_MIG_PROFILES_MAX] = {0};
    for (size_t i = 0; i < a->n; i++)
        count[a->v[i].profile]++;
    for (size_t i = 0; i < b->n; i++)
        count[b->v[i].profile]--;
    for (size_t p = 0; p < DV_MIG_PROFILES_MAX; p++)
        if (count[p])
            return false;
    return true;
}

/* One in three of what is there is in use. */
static void measure(const struct dv_mig_geometry *g, const struct set *from, const struct set *to,
                    struct dv_rng *rng, struct result *result)
{
    struct dv_mig_have have[DV_MIG_INSTANCES_MAX];
    struct set want = *to;
    struct dv_mig_change change;
    size_t in_use = 0;
    for (size_t i = 0; i < from->n; i++) {
        have[i] = (struct dv_mig_have){from->v[i].profile, from->v[i].start,
                                       dv_rng_below(rng, 3) == 0, false};
        in_use += have[i].in_use;
    }
    for (size_t i = 0; i < want.n; i++)
        want.v[i].start = DV_MIG_UNPLACED;
    uint64_t start = now_ns();
    int r = dv_mig_change_find(g, have, from->n, want.v, want.n, &change);
    uint64_t end = now_ns();
    if (r || change.rule || result->n == result->max) {
        fprintf(stderr, "mig_change: no plan between two legal layouts\n");
        exit(1);
    }
    result->ns[result->n++] = end - start;
    result->moved += change.destroyed + change.created;
    result->disturbed += change.blocked;
    if (same_profiles(from, to))
        return;
    result->moved_by_clearing += from->n + to->n;
    result->disturbed_by_clearing += in_use;
}

static void enumerate(const struct dv_mig_geometry *g, uint32_t from, struct set *now,
                      struct set *list, size_t *n)
{
    if (*n < LAYOUTS_MAX)
        list[(*n)++] = *now;
    for (uint32_t k = from; k < g->n_profiles * g->grid; k++) {
        now->v[now->n] = (struct dv_mig_instance){k / g->grid, k % g->grid};
        if (now->n == DV_MIG_INSTANCES_MAX - 1 || dv_mig_check(g, now->v, now->n + 1, NULL))
            continue;
        now->n++;
        enumerate(g, k + 1, now, list, n);
        now->n--;
    }
}

static void all_pairs(const struct dv_mig_geometry *g, struct result *result)
{
    static struct set list[LAYOUTS_MAX];
    struct set now = {0};
    struct dv_rng rng = {1};
    size_t n = 0;
    enumerate(g, 0, &now, list, &n);
    for (size_t a = 0; a < n; a++)
        for (size_t b = 0; b < n; b++)
            measure(g, &list[a], &list[b], &rng, result);
}

static struct set random_set(const struct dv_mig_geometry *g, struct dv_rng *rng)
{
    struct set s = {0};
    for (uint64_t tries = dv_rng_below(rng, 60); tries && s.n < DV_MIG_INSTANCES_MAX; tries--) {
        s.v[s.n] = (struct dv_mig_instance){(uint32_t)dv_rng_below(rng, g->n_profiles),
                                            (uint32_t)dv_rng_below(rng, g->grid)};
        s.n += !dv_mig_check(g, s.v, s.n + 1, NULL);
    }
    return s;
}

static void random_pairs(const struct dv_mig_geometry *g, struct result *result)
{
    struct dv_rng rng = {1};
    for (int i = 0; i < PAIRS; i++) {
        struct set from = random_set(g, &rng), to = random_set(g, &rng);
        measure(g, &from, &to, &rng, result);
    }
}

static int by_number(const void *a, const void *b)
{
    uint64_t x = *(const uint64_t *)a, y = *(const uint64_t *)b;
    return x < y ? -1 : x > y;
}

/* ---- whole plans ---- */

#define GPUS 8
#define SLICES 4

struct node {
    struct dv_gpu gpus[GPUS];
    struct dv_device devices[GPUS * DV_MIG_INSTANCES_MAX];
    struct dv_slice slices[GPUS * DV_MIG_INSTANCES_MAX * SLICES];
    struct dv_snapshot snapshot;
    struct dv_plan_gpu now[GPUS];
};

static void add_device(struct node *n, uint32_t gpu, const struct dv_mig_profile *p, uint32_t start)
{
    size_t at = n->snapshot.n_devices++;
    struct dv_device *d = &n->devices[at];
    *d = (struct dv_device){.gpu = gpu,
                            .mig = true,
                            .placement_start = start,
                            .placement_size = p->size,
                            .mode = at % 2 ? DV_MODE_GOVERNED : DV_MODE_MPS,
                            .layout = at % 2 ? DV_MODE_GOVERNED : DV_MODE_MPS};
    snprintf(d->uuid, sizeof d->uuid, "MIG-7a9c3f6e-0b52-5d10-8e44-%012zx", at);
    memcpy(d->profile, p->name, sizeof d->profile);
    struct dv_plan_instance *i = &n->now[gpu].instances[n->now[gpu].n_instances - 1];
    i->n_ci = 1;
    i->ci[0].slices = p->slices;
    memcpy(i->ci[0].uuid, d->uuid, sizeof d->uuid);
    for (size_t k = 0; at % 4 < 2 && k < SLICES; k++) {
        struct dv_slice *s = &n->slices[n->snapshot.n_slices];
        *s = (struct dv_slice){.id = ++n->snapshot.n_slices, .mode = d->mode};
        memcpy(s->device, d->uuid, sizeof s->device);
    }
}

static void fill_node(struct node *n, const struct dv_mig_geometry *g, struct dv_rng *rng)
{
    memset(n, 0, sizeof *n);
    n->snapshot = (struct dv_snapshot){
        .gpus = n->gpus, .n_gpus = GPUS, .devices = n->devices, .slices = n->slices};
    for (uint32_t i = 0; i < GPUS; i++) {
        struct set set = random_set(g, rng);
        n->gpus[i] = (struct dv_gpu){.index = i, .mig_capable = true, .mig_enabled = true};
        n->now[i] = (struct dv_plan_gpu){
            .index = i, .geometry = g, .mig_enabled = true, .mig_pending = true};
        for (size_t k = 0; k < set.n; k++) {
            n->now[i].instances[n->now[i].n_instances++] = (struct dv_plan_instance){
                .id = (uint32_t)k, .profile = set.v[k].profile, .start = set.v[k].start};
            add_device(n, i, &g->profiles[set.v[k].profile], set.v[k].start);
        }
    }
}

static void random_entry(const struct dv_mig_geometry *g, struct dv_rng *rng,
                         struct dv_layout_gpu *entry)
{
    struct set set = random_set(g, rng);
    *entry = (struct dv_layout_gpu){.gpus.kind = DV_SELECTOR_ANY, .n_devices = (uint32_t)set.n};
    for (size_t i = 0; i < set.n; i++) {
        memcpy(entry->devices[i].profile, g->profiles[set.v[i].profile].name, DV_MIG_NAME);
        entry->devices[i].start = DV_MIG_UNPLACED;
        entry->devices[i].sharing.mode = (enum dv_mode)dv_rng_below(rng, DV_MODE_GOVERNED + 1);
    }
}

static void whole_plans(const struct dv_mig_geometry *g, struct result *result)
{
    static struct node node;
    static struct dv_gpu_plan plan;
    struct dv_rng rng = {1};
    struct dv_layout_gpu entry;
    struct dv_layout_rule rules[] = {
        {.profile = "2g.20gb", .sharing = {DV_MODE_TIMESLICE, 4, 0}},
        {.profile = "*", .count = 20, .sharing = {DV_MODE_MPS, 4, 0}},
    };
    struct dv_layout layout = {
        .entries = &entry, .n_entries = 1, .rules = rules, .n_rules = DV_ARRAY_SIZE(rules)};
    for (int i = 0; i < PAIRS; i++) {
        if (i % GPUS == 0)
            fill_node(&node, g, &rng);
        random_entry(g, &rng, &entry);
        uint64_t start = now_ns();
        int r = dv_layout_plan_gpu(&layout, &node.snapshot, &node.now[i % GPUS], &plan, NULL);
        uint64_t end = now_ns();
        if (r) {
            fprintf(stderr, "mig_change: no plan between two legal layouts\n");
            exit(1);
        }
        result->ns[result->n++] = end - start;
        result->moved += plan.n_steps;
        result->disturbed += plan.n_blockers;
    }
}

static void print_plans(const char *name, struct result *r)
{
    qsort(r->ns, r->n, sizeof *r->ns, by_number);
    uint64_t median = r->ns[r->n / 2];
    printf("  %-13s %6zu %8.1f us %8.1f us %10.2f %10.2f\n", name, r->n, (double)median / 1e3,
           (double)r->ns[r->n - 1] / 1e3, (double)r->moved / (double)r->n,
           (double)r->disturbed / (double)r->n);
}

static void print(const char *name, struct result *r)
{
    qsort(r->ns, r->n, sizeof *r->ns, by_number);
    uint64_t median = r->ns[r->n / 2];
    printf("  %-13s %6zu %8.1f us %8.1f us %10.2f %10.2f %6.2f %10.2f %10.2f\n", name, r->n,
           (double)median / 1e3, (double)r->ns[r->n - 1] / 1e3, (double)r->moved / (double)r->n,
           (double)r->moved_by_clearing / (double)r->n,
           (double)r->moved / (double)r->moved_by_clearing, (double)r->disturbed / (double)r->n,
           (double)r->disturbed_by_clearing / (double)r->n);
}

static int each(const char *const names[4],
                void (*fill)(const struct dv_mig_geometry *, struct result *),
                void (*show)(const char *, struct result *))
{
    for (size_t i = 0; i < 4; i++) {
        struct result r = {.max = PAIRS};
        r.ns = calloc(r.max, sizeof *r.ns);
        if (!r.ns)
            return 1;
        fill(dv_mig_geometry_find(names[i]), &r);
        show(names[i], &r);
        free(r.ns);
    }
    return 0;
}

static void changes(const struct dv_mig_geometry *g, struct result *r)
{
    if (g->grid == 4)
        all_pairs(g, r);
    else
        random_pairs(g, r);
}

int main(void)
{
    static const char *const names[] = {"A30", "A100-40GB", "H200-141GB", "RTX-PRO-6000"};
    printf("MIG changes: time to plan one; instances moved (destroyed + created) and destroyed in "
           "use, per change,\nby divvy and by clearing the GPU as mig-parted does\n");
    printf("  %-13s %6s %11s %11s %10s %10s %6s %10s %10s\n", "board", "pairs", "p50", "max",
           "moved", "clearing", "ratio", "in use", "clearing");
    if (each(names, changes, print))
        return 1;
    printf("layout plans of one GPU of a full node of %d\n", GPUS);
    printf("  %-13s %6s %11s %11s %10s %10s\n", "board", "plans", "p50", "max", "steps",
           "blockers");
    return each(names, whole_plans, print_plans);
}
