/* SPDX-License-Identifier: Apache-2.0 */
#include "base/str.h"
#include "policy/fleet/fleet_testing.h"

#define TYPES DV_FLEET_TESTING_TYPES
#define COUNT_MAX 3
#define STATES ((COUNT_MAX + 1) * (COUNT_MAX + 1) * (COUNT_MAX + 1))

struct brute {
    const struct dv_fleet_view *view;
    uint32_t side;
    uint32_t left[TYPES];
};

static bool shares(const struct brute *b, uint32_t kind, enum dv_fleet_mode mode)
{
    const struct dv_fleet_side *side = &b->view->sides[b->side];
    uint64_t memory = 0, compute = 0, n = 0;
    for (uint32_t w = 0; w < TYPES; w++) {
        struct dv_fleet_need need = {0};
        if (!b->left[w])
            continue;
        if (b->view->gpus[w] || !(b->view->choices[w].modes & DV_FLEET_BIT(mode)) ||
            !dv_fleet_fit_is(&b->view->fleet->workloads[w], side, kind, mode))
            return false;
        need = dv_fleet_fit_need(&b->view->fleet->workloads[w], side, mode);
        if (mode == DV_FLEET_MPS) { /* judged one by one below */
            need.memory_bytes = need.compute = 0;
        }
        memory += b->left[w] * need.memory_bytes;
        compute += b->left[w] * need.compute;
        n += b->left[w];
    }
    for (uint32_t w = 0; mode == DV_FLEET_MPS && w < TYPES; w++) {
        struct dv_fleet_need need =
            dv_fleet_fit_need(&b->view->fleet->workloads[w], side, DV_FLEET_MPS);
        if (b->left[w] && (need.memory_bytes > side->kinds[0].memory_bytes / n / DV_MIB * DV_MIB ||
                           need.compute > DV_COMPUTE_FULL / n))
            return false;
    }
    return memory <= side->kinds[kind].memory_bytes && compute <= side->kinds[kind].compute;
}

static uint32_t total(const struct brute *b)
{
    return b->left[0] + b->left[1] + b->left[2];
}

/* Can what is left be on a device of this kind, all of it? */
static bool holds(const struct brute *b, uint32_t kind)
{
    enum dv_fleet_mode own = kind ? DV_FLEET_MIG : DV_FLEET_EXCLUSIVE;
    for (uint32_t w = 0; w < TYPES; w++)
        if (b->left[w] == 1 && total(b) == 1 && (b->view->choices[w].modes & DV_FLEET_BIT(own)) &&
            dv_fleet_fit_is(&b->view->fleet->workloads[w], &b->view->sides[b->side], kind, own))
            return true;
    return shares(b, kind, DV_FLEET_GOVERNED) || shares(b, kind, DV_FLEET_TIMESLICE) ||
           (!kind && shares(b, 0, DV_FLEET_MPS));
}

/* Can what is left be in the MIG devices of this cut from kind k on, used[k] of them taken? */
static bool cut_holds(struct brute *b, const struct dv_fleet_cut *cut, uint32_t k, uint32_t used)
{
    if (!total(b))
        return true;
    if (k == b->view->sides[b->side].n_kinds)
        return false;
    if (used == cut->count[k])
        return cut_holds(b, cut, k + 1, 0);
    for (uint32_t s = 0; s < STATES; s++) { /* what this device gets */
        uint32_t part[TYPES] = {s % 4, s / 4 % 4, s / 16};
        struct brute one = {b->view, b->side, {part[0], part[1], part[2]}};
        bool ok = part[0] <= b->left[0] && part[1] <= b->left[1] && part[2] <= b->left[2];
        if (!ok || (s && !holds(&one, k)))
            continue;
        struct brute rest = *b;
        for (uint32_t w = 0; w < TYPES; w++)
            rest.left[w] -= part[w];
        if (cut_holds(&rest, cut, k, used + 1))
            return true;
    }
    return false;
}

static bool card_holds(struct brute *b)
{
    const struct dv_fleet_side *side = &b->view->sides[b->side];
    if (holds(b, 0))
        return true;
    for (uint32_t c = 0; c < side->n_cuts; c++)
        if (cut_holds(b, &side->cuts[c], 1, 0))
            return true;
    return false;
}

uint32_t dv_fleet_testing_least(const struct dv_fleet_view *view)
{
    static uint32_t least[STATES];
    static bool can[STATES];
    uint32_t goal = 0;
    for (uint32_t w = 0, unit = 1; w < TYPES; w++, unit *= 4)
        goal += unit * view->fleet->workloads[w].count;
    for (uint32_t s = 0; s < STATES; s++) {
        can[s] = false;
        for (uint32_t side = 0; !can[s] && side < view->n_sides; side++) {
            struct brute b = {view, side, {s % 4, s / 4 % 4, s / 16}};
            can[s] = s && card_holds(&b);
        }
    }
    for (uint32_t s = 0; s < STATES; s++) {
        least[s] = s ? UINT32_MAX : 0;
        for (uint32_t t = 1; t <= s; t++) {
            bool part = t % 4 <= s % 4 && t / 4 % 4 <= s / 4 % 4 && t / 16 <= s / 16;
            if (part && can[t] && least[s - t] != UINT32_MAX)
                least[s] = DV_MIN(least[s], least[s - t] + 1);
        }
    }
    return least[goal];
}

static void random_workload(struct dv_rng *rng, struct dv_fleet_workload *w)
{
    static const enum dv_wall walls[] = {DV_WALL_NONE, DV_WALL_NONE, DV_WALL_COOPERATIVE,
                                         DV_WALL_DRIVER, DV_WALL_HARDWARE};
    w->count = 1 + (uint32_t)dv_rng_below(rng, COUNT_MAX);
    w->processes = 1 + (dv_rng_below(rng, 5) == 0);
    if (dv_rng_below(rng, 8) == 0) {
        w->gpus = 1;
        return;
    }
    w->memory_bytes = (1 + dv_rng_below(rng, 14)) * GB;
    if (dv_rng_below(rng, 3) == 0)
        w->memory_bytes = (10 + dv_rng_below(rng, 40)) * GB;
    if (dv_rng_below(rng, 2))
        w->compute = 200 + 100 * (uint32_t)dv_rng_below(rng, 40);
    w->isolation = walls[dv_rng_below(rng, DV_ARRAY_SIZE(walls))];
    w->interactive = dv_rng_below(rng, 3) == 0;
    w->inference = dv_rng_below(rng, 6) == 0;
    if (dv_rng_below(rng, 5) == 0)
        w->trust = DV_TRUST_UNTRUSTED;
    if (dv_rng_below(rng, 5) == 0)
        w->p99_ns = (1 + dv_rng_below(rng, 100)) * DV_NS_PER_MS;
    w->training = dv_rng_below(rng, 10) == 0;
}

void dv_fleet_testing_random(struct dv_rng *rng, struct dv_fleet *ret,
                             struct dv_fleet_workload workloads[DV_FLEET_TESTING_TYPES])
{
    static const char *const models[] = {"A100-40GB", "A30", "T4", "H100-80GB", "A100-80GB"};
    static const char *const names[] = {"a", "b", "c"};
    *ret = (struct dv_fleet){
        .n_groups = 1, .n_workloads = TYPES, .workloads = workloads, .currency = "USD"};
    ret->groups[0] = dv_fleet_testing_group(models[dv_rng_below(rng, DV_ARRAY_SIZE(models))], 0);
    if (dv_rng_below(rng, 3) == 0) {
        const char *model = models[dv_rng_below(rng, DV_ARRAY_SIZE(models))];
        ret->groups[ret->n_groups++] = dv_fleet_testing_group(model, 0);
    }
    for (int i = 0; i < TYPES; i++) {
        workloads[i] = (struct dv_fleet_workload){.count = 1};
        dv_str_copy(workloads[i].name, sizeof workloads[i].name, names[i]);
        random_workload(rng, &workloads[i]);
    }
}
