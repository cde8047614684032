/* SPDX-License-Identifier: Apache-2.0 */
#include "policy/mig_plan.h"

#include "base/str.h"
#include "base/units.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#define LIST_MAX 64

/* The set of occupancy masks that can be reached by placing the first k of the free items, for
 * each k. At most 2^16 masks, so the search is exact and bounded whatever a driver claims. */
struct search {
    const struct dv_mig_geometry *g;
    uint32_t fixed; /* pieces taken by what must not move */
    size_t n;
    uint32_t profiles[DV_MIG_INSTANCES_MAX]; /* to be placed, large ones first */
    size_t origin[DV_MIG_INSTANCES_MAX];     /* where in the combined list it came from */
    size_t words;                            /* of one layer */
    uint64_t *reach;                         /* n + 1 layers */
};

static uint64_t *layer(const struct search *s, size_t k)
{
    return s->reach + k * s->words;
}

static bool has(const uint64_t *bits, uint32_t mask)
{
    return bits[mask / 64] >> (mask % 64) & 1;
}

static bool before(const struct dv_mig_geometry *g, uint32_t a, uint32_t b)
{
    uint32_t size_a = g->profiles[a].size, size_b = g->profiles[b].size;
    return size_a != size_b ? size_a > size_b : a < b;
}

/* Keeps items of one profile in the order in which they were asked for. */
static void search_add(struct search *s, uint32_t profile, size_t origin)
{
    size_t at = s->n++;
    for (; at && before(s->g, profile, s->profiles[at - 1]); at--) {
        s->profiles[at] = s->profiles[at - 1];
        s->origin[at] = s->origin[at - 1];
    }
    s->profiles[at] = profile;
    s->origin[at] = origin;
}

static bool spread(const struct dv_mig_geometry *g, uint32_t profile, const uint64_t *from,
                   uint64_t *to)
{
    const struct dv_mig_profile *p = &g->profiles[profile];
    bool any = false;
    for (uint32_t mask = 0; mask < UINT32_C(1) << g->grid; mask++) {
        if (!has(from, mask))
            continue;
        for (uint32_t start = 0; start + p->size <= g->grid; start++) {
            uint32_t pieces = dv_mig_mask(p, start);
            if (!(p->starts >> start & 1) || (mask & pieces))
                continue;
            to[(mask | pieces) / 64] |= UINT64_C(1) << ((mask | pieces) % 64);
            any = true;
        }
    }
    return any;
}

/* How many of the items can be placed, in order. All of them: s->n. -ENOMEM. */
static int search_run(struct search *s, size_t *ret_placed)
{
    s->words = ((size_t)1 << s->g->grid) / 64 + 1;
    s->reach = calloc((s->n + 1) * s->words, sizeof *s->reach);
    if (!s->reach)
        return -ENOMEM;
    layer(s, 0)[s->fixed / 64] |= UINT64_C(1) << (s->fixed % 64);
    size_t k = 0;
    while (k < s->n && spread(s->g, s->profiles[k], layer(s, k), layer(s, k + 1)))
        k++;
    *ret_placed = k;
    return 0;
}

void dv_mig_plan_addable(const struct dv_mig_geometry *geometry,
                         const struct dv_mig_instance *instances, size_t n,
                         bool ret[DV_MIG_PROFILES_MAX])
{
    struct dv_mig_instance all[DV_MIG_INSTANCES_MAX + 2];
    if (n)
        memcpy(all, instances, n * sizeof *all);
    for (uint32_t p = 0; p < geometry->n_profiles; p++) {
        all[n] = (struct dv_mig_instance){p, DV_MIG_UNPLACED};
        ret[p] = !dv_mig_check(geometry, all, n + 1, NULL);
    }
}

/* Large places weigh more, so that room for a large instance counts. */
uint32_t dv_mig_plan_room(const struct dv_mig_geometry *geometry,
                          const bool addable[DV_MIG_PROFILES_MAX], uint32_t taken)
{
    uint32_t sum = 0;
    for (uint32_t i = 0; i < geometry->n_profiles; i++) {
        const struct dv_mig_profile *p = &geometry->profiles[i];
        for (uint32_t start = 0; addable[i] && start + p->size <= geometry->grid; start++)
            if ((p->starts >> start & 1) && !(taken & dv_mig_mask(p, start)))
                sum += p->size;
    }
    return sum;
}

static uint32_t best_mask(const struct search *s, const bool addable[DV_MIG_PROFILES_MAX])
{
    uint32_t best = 0;
    int64_t best_room = -1;
    for (uint32_t mask = 0; mask < UINT32_C(1) << s->g->grid; mask++) {
        if (!has(layer(s, s->n), mask))
            continue;
        uint32_t r = dv_mig_plan_room(s->g, addable, mask);
        if (r > best_room) {
            best_room = r;
            best = mask;
        }
    }
    return best;
}

/* Walks back from a reachable mask: which start did each item get? The later of two equal items
 * gets the higher start. */
static void trace_back(const struct search *s, uint32_t mask, uint32_t starts[])
{
    for (size_t k = s->n; k-- > 0;) {
        const struct dv_mig_profile *p = &s->g->profiles[s->profiles[k]];
        for (uint32_t start = s->g->grid - p->size + 1; start-- > 0;) {
            uint32_t pieces = dv_mig_mask(p, start);
            if (!(p->starts >> start & 1) || (mask & pieces) != pieces ||
                !has(layer(s, k), mask & ~pieces))
                continue;
            starts[k] = start;
            mask &= ~pieces;
            break;
        }
    }
}

/* Would they all fit if nothing had a place yet? */
static int fits_on_empty(const struct dv_mig_geometry *g, const struct dv_mig_instance *all,
                         size_t n, bool *ret)
{
    struct search s = {.g = g};
    size_t placed = 0;
    for (size_t i = 0; i < n; i++)
        search_add(&s, all[i].profile, i);
    int r = search_run(&s, &placed);
    *ret = !r && placed == n;
    free(s.reach);
    return r;
}

static int find_places(const struct dv_mig_geometry *g, struct dv_mig_instance *all, size_t n_have,
                       size_t n, struct dv_mig_plan *plan)
{
    struct search s = {.g = g};
    size_t placed = 0;
    for (size_t i = 0; i < n; i++)
        if (all[i].start == DV_MIG_UNPLACED)
            search_add(&s, all[i].profile, i);
        else
            s.fixed |= dv_mig_mask(&g->profiles[all[i].profile], all[i].start);
    int r = search_run(&s, &placed);
    if (r < 0)
        return r;
    if (placed == s.n) {
        bool addable[DV_MIG_PROFILES_MAX];
        uint32_t starts[DV_MIG_INSTANCES_MAX] = {0};
        dv_mig_plan_addable(g, all, n, addable);
        trace_back(&s, best_mask(&s, addable), starts);
        for (size_t k = 0; k < s.n; k++)
            all[s.origin[k]].start = starts[k];
        plan->n = (uint32_t)(n - n_have);
        if (plan->n)
            memcpy(plan->instances, all + n_have, plan->n * sizeof *all);
    } else {
        uint32_t profile = s.profiles[placed];
        uint32_t taken = 0;
        for (size_t i = 0; i < n; i++)
            taken += g->profiles[all[i].profile].size;
        plan->rule = DV_MIG_RULE_PLACEMENT;
        plan->refusal = (struct dv_mig_refusal){
            .rule = DV_MIG_RULE_PLACEMENT, .profile = profile, .asked = taken, .limit = g->grid};
        r = fits_on_empty(g, all, n, &plan->fits_if_moved);
    }
    free(s.reach);
    return r;
}

int dv_mig_plan_find(const struct dv_mig_geometry *geometry, const struct dv_mig_instance *have,
                     size_t n_have, const struct dv_mig_instance *want, size_t n_want,
                     struct dv_mig_plan *ret)
{
    struct dv_mig_plan plan = {0};
    size_t n = n_have + n_want;
    struct dv_mig_instance *all = calloc(n + 1, sizeof *all);
    if (!all)
        return -ENOMEM;
    if (n_have)
        memcpy(all, have, n_have * sizeof *all);
    if (n_want)
        memcpy(all + n_have, want, n_want * sizeof *all);
    int r = 0;
    plan.rule = dv_mig_check(geometry, all, n, &plan.refusal);
    if (!plan.rule)
        r = find_places(geometry, all, n_have, n, &plan);
    free(all);
    if (r < 0)
        return r;
    *ret = plan;
    return 0;
}

uint32_t dv_mig_plan_pick_start(const struct dv_mig_geometry *geometry,
                                const struct dv_mig_instance *have, size_t n_have, uint32_t profile)
{
    const struct dv_mig_profile *p = &geometry->profiles[profile];
    struct dv_mig_instance all[DV_MIG_INSTANCES_MAX + 2];
    bool addable[DV_MIG_PROFILES_MAX];
    uint32_t taken = 0, best = DV_MIG_UNPLACED;
    int64_t best_room = -1;
    if (n_have > DV_MIG_INSTANCES_MAX)
        return DV_MIG_UNPLACED;
    if (n_have)
        memcpy(all, have, n_have * sizeof *all);
    all[n_have] = (struct dv_mig_instance){profile, DV_MIG_UNPLACED};
    if (dv_mig_check(geometry, all, n_have + 1, NULL))
        return DV_MIG_UNPLACED;
    dv_mig_plan_addable(geometry, all, n_have + 1, addable);
    for (size_t i = 0; i < n_have; i++)
        if (have[i].start != DV_MIG_UNPLACED)
            taken |= dv_mig_mask(&geometry->profiles[have[i].profile], have[i].start);
    for (uint32_t start = 0; start + p->size <= geometry->grid; start++) {
        if (!(p->starts >> start & 1) || (taken & dv_mig_mask(p, start)))
            continue;
        uint32_t r = dv_mig_plan_room(geometry, addable, taken | dv_mig_mask(p, start));
        if (r > best_room) {
            best_room = r;
            best = start;
        }
    }
    return best;
}

uint32_t dv_mig_plan_free(const struct dv_mig_geometry *geometry,
                          const struct dv_mig_instance *have, size_t n_have, uint32_t profile)
{
    struct dv_mig_instance want[DV_MIG_INSTANCES_MAX];
    uint32_t n = 0;
    for (; n < DV_MIG_INSTANCES_MAX; n++) {
        struct dv_mig_plan plan;
        want[n] = (struct dv_mig_instance){profile, DV_MIG_UNPLACED};
        if (dv_mig_plan_find(geometry, have, n_have, want, n + 1, &plan) < 0 || plan.rule)
            break;
    }
    return n;
}

/* ---- lists as people write them ---- */

/* Cuts "3x" off the front or "*3" off the end. */
static int take_times(char *item, char **ret_name, int64_t *ret_times, struct dv_err *err)
{
    char *name = item, *count = NULL;
    char *x = item + strspn(item, "0123456789");
    char *star = strchr(item, '*');
    if (*x == 'x' && x > item) {
        *x = 0;
        count = item;
        name = x + 1;
    } else if (star) {
        *star = 0;
        count = star + 1;
    }
    *ret_name = name;
    *ret_times = 1;
    return count ? dv_units_parse_integer(count, "number of instances", 1, LIST_MAX, ret_times, err)
                 : 0;
}

static int parse_item(const struct dv_mig_geometry *g, char *item, struct dv_mig_instance *ret,
                      int64_t *ret_times, struct dv_err *err)
{
    char *name = NULL;
    int r = take_times(item, &name, ret_times, err);
    if (r < 0)
        return r;
    int64_t start = DV_MIG_UNPLACED;
    char *at = strchr(name, '@');
    if (at) {
        *at = 0;
        r = dv_units_parse_integer(at + 1, "start of an instance", 0, g->grid - 1, &start, err);
        if (r < 0)
            return r;
        if (*ret_times > 1)
            return dv_err_set(err, -EINVAL, "\"%.40s@%s\": several instances at one start", name,
                              at + 1);
    }
    const struct dv_mig_profile *p = dv_mig_profile_find(g, name, err);
    if (!p)
        return -EINVAL;
    *ret = (struct dv_mig_instance){(uint32_t)(p - g->profiles), (uint32_t)start};
    return 0;
}

static char *trim(char *text)
{
    text += strspn(text, " \t");
    for (size_t n = strlen(text); n && strchr(" \t", text[n - 1]); n--)
        text[n - 1] = 0;
    return text;
}

int dv_mig_plan_parse(const struct dv_mig_geometry *geometry, const char *text,
                      struct dv_mig_instance ret[64], struct dv_err *err)
{
    struct dv_mig_instance list[LIST_MAX];
    char copy[1024];
    int n = 0;
    if (dv_str_copy(copy, sizeof copy, text) < 0)
        return dv_err_set(err, -E2BIG, "a list of MIG instances has at most %zu characters",
                          sizeof copy - 1);
    char *rest = trim(copy);
    while (rest && (*rest || n)) {
        char *item = strsep(&rest, ",");
        struct dv_mig_instance one;
        int64_t times = 0;
        int r = parse_item(geometry, trim(item), &one, &times, err);
        if (r < 0)
            return r;
        if (n + times > LIST_MAX)
            return dv_err_set(err, -E2BIG, "a list of MIG instances has at most %d", LIST_MAX);
        while (times-- > 0)
            list[n++] = one;
    }
    if (n)
        memcpy(ret, list, (size_t)n * sizeof *list);
    return n;
}
