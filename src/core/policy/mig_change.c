/* SPDX-License-Identifier: Apache-2.0 */
#include "policy/mig_change.h"

#include "policy/mig_plan.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

/*
 * Destroyed and created are what is not kept of the two sets, so the least of them is the most
 * kept, and what a placement keeps is the sum of what each start keeps: a wanted instance stays
 * exactly where one of its profile lies already. So the best end of a placement depends on nothing
 * but the pieces taken so far and how many are placed, and each such state is worked out once.
 *
 * A value compares whole placements: kept in use, kept, kept of those preferred, room. Every count
 * is at most 16, and room at most 24 profiles * 16 starts * 16 pieces.
 */
#define IN_USE_UNIT (INT32_C(1) << 23)
#define KEPT_UNIT (INT32_C(1) << 18)
#define PREFER_UNIT (INT32_C(1) << 13)
#define NO_WAY (-1)
_Static_assert(DV_MIG_PROFILES_MAX *DV_MIG_GRID_MAX *DV_MIG_GRID_MAX < PREFER_UNIT, "room fits");
_Static_assert(DV_MIG_INSTANCES_MAX *PREFER_UNIT < KEPT_UNIT, "preferred fit");
_Static_assert(DV_MIG_INSTANCES_MAX *KEPT_UNIT < IN_USE_UNIT, "kept fit");

struct search {
    const struct dv_mig_geometry *g;
    const struct dv_mig_have *have;
    size_t n_have;
    bool addable[DV_MIG_PROFILES_MAX];
    size_t n;                                /* to be placed, large ones first */
    uint32_t profiles[DV_MIG_INSTANCES_MAX]; /* of those */
    size_t origin[DV_MIG_INSTANCES_MAX];     /* where in `want` it came from */
    uint32_t fixed;                          /* pieces of those that have a start */
    int32_t *values;                         /* of n + 1 layers; 0: not worked out yet */
};

static uint32_t find_have(const struct search *s, uint32_t profile, uint32_t start)
{
    for (uint32_t i = 0; i < s->n_have; i++)
        if (s->have[i].profile == profile && s->have[i].start == start)
            return i;
    return DV_MIG_CHANGE_NEW;
}

static int32_t worth(const struct search *s, uint32_t profile, uint32_t start)
{
    uint32_t i = find_have(s, profile, start);
    if (i == DV_MIG_CHANGE_NEW)
        return 0;
    return KEPT_UNIT + (s->have[i].in_use ? IN_USE_UNIT : 0) +
           (s->have[i].prefer ? PREFER_UNIT : 0);
}

/* Large ones first; items of one profile in the order in which they were asked for. */
static void add_item(struct search *s, uint32_t profile, size_t origin)
{
    const struct dv_mig_profile *p = s->g->profiles;
    size_t at = s->n++;
    for (;
         at && (p[s->profiles[at - 1]].size < p[profile].size ||
                (p[s->profiles[at - 1]].size == p[profile].size && s->profiles[at - 1] > profile));
         at--) {
        s->profiles[at] = s->profiles[at - 1];
        s->origin[at] = s->origin[at - 1];
    }
    s->profiles[at] = profile;
    s->origin[at] = origin;
}

static int32_t best_value(const struct search *s, size_t k, uint32_t taken);

/* What item k at this start comes to, with the best that the others can do after it. */
static int32_t value_at(const struct search *s, size_t k, uint32_t taken, uint32_t start)
{
    const struct dv_mig_profile *p = &s->g->profiles[s->profiles[k]];
    uint32_t pieces = dv_mig_mask(p, start);
    if (!(p->starts >> start & 1) || (taken & pieces))
        return NO_WAY;
    int32_t rest = best_value(s, k + 1, taken | pieces);
    return rest == NO_WAY ? NO_WAY : rest + worth(s, s->profiles[k], start);
}

/* The best that items k and later can do where these pieces are taken; NO_WAY: not all fit. Goes
 * at most DV_MIG_INSTANCES_MAX deep. */
static int32_t best_value(const struct search *s, size_t k, uint32_t taken)
{
    int32_t *known = &s->values[(k << s->g->grid) + taken];
    if (*known)
        return *known - 2;
    int32_t best = NO_WAY;
    if (k == s->n)
        best = (int32_t)dv_mig_plan_room(s->g, s->addable, taken);
    for (uint32_t start = 0; k < s->n && start < s->g->grid; start++) {
        int32_t v = value_at(s, k, taken, start);
        best = DV_MAX(best, v);
    }
    *known = best + 2;
    return best;
}

static void keep_or_create(const struct search *s, size_t i, uint32_t profile, uint32_t start,
                           struct dv_mig_change *change)
{
    uint32_t from = find_have(s, profile, start);
    change->instances[i].start = start;
    change->instances[i].from = from;
    if (from == DV_MIG_CHANGE_NEW)
        change->created++;
    else
        change->goes[from] = false;
}

/* Along the best values, each item at the lowest start that has it. */
static void take_best(const struct search *s, struct dv_mig_change *change)
{
    uint32_t taken = s->fixed;
    for (size_t k = 0; k < s->n; k++) {
        int32_t best = best_value(s, k, taken);
        uint32_t start = 0;
        while (value_at(s, k, taken, start) != best)
            start++;
        keep_or_create(s, s->origin[k], s->profiles[k], start, change);
        taken |= dv_mig_mask(&s->g->profiles[s->profiles[k]], start);
    }
}

static void take(const struct search *s, const struct dv_mig_instance *want, size_t n_want,
                 struct dv_mig_change *change)
{
    change->n = (uint32_t)n_want;
    for (size_t i = 0; i < s->n_have; i++)
        change->goes[i] = true;
    for (size_t i = 0; i < n_want; i++)
        if (want[i].start != DV_MIG_UNPLACED)
            keep_or_create(s, i, want[i].profile, want[i].start, change);
    take_best(s, change);
    for (size_t i = 0; i < s->n_have; i++) {
        change->destroyed += change->goes[i];
        change->blocked += change->goes[i] && s->have[i].in_use;
    }
}

static bool is_sane(const struct dv_mig_geometry *g, const struct dv_mig_have *have, size_t n_have,
                    const struct dv_mig_instance *want, size_t n_want)
{
    struct dv_mig_instance placed[DV_MIG_INSTANCES_MAX];
    if (n_have > DV_MIG_INSTANCES_MAX || n_want > DV_MIG_INSTANCES_MAX)
        return false;
    for (size_t i = 0; i < n_have; i++) {
        placed[i] = (struct dv_mig_instance){have[i].profile, have[i].start};
        if (have[i].profile >= g->n_profiles || have[i].start == DV_MIG_UNPLACED)
            return false;
    }
    for (size_t i = 0; i < n_want; i++)
        if (want[i].profile >= g->n_profiles)
            return false;
    return !dv_mig_check(g, placed, n_have, NULL);
}

/* The set cannot be: in the words of the planner that looks at an empty GPU. */
static int refuse(const struct dv_mig_geometry *g, const struct dv_mig_instance *want,
                  size_t n_want, struct dv_mig_change *ret)
{
    struct dv_mig_plan plan;
    int r = dv_mig_plan_find(g, NULL, 0, want, n_want, &plan);
    if (!r)
        *ret = (struct dv_mig_change){.rule = plan.rule, .refusal = plan.refusal};
    return r;
}

int dv_mig_change_find(const struct dv_mig_geometry *geometry, const struct dv_mig_have *have,
                       size_t n_have, const struct dv_mig_instance *want, size_t n_want,
                       struct dv_mig_change *ret)
{
    if (!is_sane(geometry, have, n_have, want, n_want))
        return -EINVAL;
    if (dv_mig_check(geometry, want, n_want, NULL))
        return refuse(geometry, want, n_want, ret);
    struct search s = {.g = geometry, .have = have, .n_have = n_have};
    for (size_t i = 0; i < n_want; i++)
        if (want[i].start == DV_MIG_UNPLACED)
            add_item(&s, want[i].profile, i);
        else
            s.fixed |= dv_mig_mask(&geometry->profiles[want[i].profile], want[i].start);
    dv_mig_plan_addable(geometry, want, n_want, s.addable);
    s.values = calloc((s.n + 1) << geometry->grid, sizeof *s.values);
    if (!s.values)
        return -ENOMEM;
    int r = 0;
    struct dv_mig_change change = {.rule = DV_MIG_OK};
    if (best_value(&s, 0, s.fixed) == NO_WAY) {
        r = refuse(geometry, want, n_want, &change);
    } else {
        take(&s, want, n_want, &change);
    }
    free(s.values);
    if (!r)
        *ret = change;
    return r;
}
