/* SPDX-License-Identifier: Apache-2.0 */
#include "policy/fleet/fleet_fill.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#define USES_MAX 200u /* beyond these only cards that hold something in vain are looked at */
#define NONE UINT32_MAX

/* What all uses but one card of `skip` leave without a place. */
static void count_left(const struct dv_fleet_view *view, const struct dv_fleet_solution *s,
                       const uint64_t *places, uint32_t skip, uint64_t *left)
{
    memcpy(left, places, view->n_workloads * sizeof *left);
    for (uint32_t i = 0; i < s->n_uses; i++) {
        const struct dv_fleet_pattern *p = &s->patterns[s->uses[i].pattern];
        uint64_t times = s->uses[i].times - (i == skip);
        for (uint32_t k = 0; k < p->n_items; k++) {
            uint64_t *rest = &left[p->items[k].workload];
            *rest -= DV_MIN(*rest, times * p->items[k].count);
        }
    }
}

/* What the pattern places of what is left is worth; *ret_vain: it holds more than that. */
static __int128 worth_of(const struct dv_fleet_pattern *p, const int64_t *worth,
                         const uint64_t *left, bool *ret_vain)
{
    __int128 v = 0;
    *ret_vain = false;
    for (uint32_t i = 0; i < p->n_items; i++) {
        uint32_t w = p->items[i].workload;
        uint64_t before = 0; /* on its other devices */
        for (uint32_t k = 0; k < i; k++)
            before += p->items[k].workload == w ? p->items[k].count : 0;
        uint64_t rest = left[w] - DV_MIN(left[w], before);
        *ret_vain = *ret_vain || p->items[i].count > rest;
        v += (__int128)worth[w] * DV_MIN(rest, (uint64_t)p->items[i].count);
    }
    return v;
}

/* One card of the use gets the pattern, which is the solution's then. */
static int swap(struct dv_fleet_solution *s, uint32_t use, struct dv_fleet_pattern *p)
{
    struct dv_fleet_pattern *patterns =
        realloc(s->patterns, (s->n_patterns + 1) * sizeof *s->patterns);
    if (patterns)
        s->patterns = patterns;
    struct dv_fleet_use *uses = realloc(s->uses, (s->n_uses + 1) * sizeof *s->uses);
    if (uses)
        s->uses = uses;
    if (!patterns || !uses)
        return -ENOMEM;
    uses[use].times--;
    uses[s->n_uses++] = (struct dv_fleet_use){s->n_patterns, 1};
    patterns[s->n_patterns++] = *p;
    *p = (struct dv_fleet_pattern){0};
    return 0;
}

/* *ret_any: one card of the use places more than before. */
static int fill_one(const struct dv_fleet_view *view, const int64_t *worth, const uint64_t *left,
                    struct dv_fleet_solution *s, uint32_t use, bool *ret_any)
{
    const struct dv_fleet_pattern *now = &s->patterns[s->uses[use].pattern];
    struct dv_fleet_pattern found[DV_FLEET_MODES] = {{0}};
    uint64_t work = 0;
    struct dv_fleet_price price = {worth, left, true, false, &work};
    int64_t upper = 0;
    bool vain = false;
    uint32_t best = NONE;
    *ret_any = false;
    __int128 most = worth_of(now, worth, left, &vain);
    if (now->cards > 1 || (!vain && s->n_uses > USES_MAX))
        return 0;
    int r = dv_fleet_price_find(view, now->side, &price, found, &upper);
    for (uint32_t m = 0; !r && m < DV_FLEET_MODES; m++) {
        __int128 v = worth_of(&found[m], worth, left, &vain);
        if (v > most) {
            most = v;
            best = m;
        }
    }
    if (!r && best != NONE)
        r = swap(s, use, &found[best]);
    *ret_any = !r && best != NONE;
    for (uint32_t m = 0; m < DV_FLEET_MODES; m++)
        dv_fleet_pattern_done(&found[m]);
    return r;
}

static void drop_empty(struct dv_fleet_solution *s)
{
    uint32_t n = 0;
    for (uint32_t i = 0; i < s->n_uses; i++)
        if (s->uses[i].times)
            s->uses[n++] = s->uses[i];
    s->n_uses = n;
}

int dv_fleet_fill(const struct dv_fleet_view *view, const int64_t *worth, const uint64_t *places,
                  struct dv_fleet_solution *solution)
{
    uint32_t uses = solution->n_uses;
    uint64_t *left = malloc(view->n_workloads * sizeof *left);
    int r = left ? 0 : -ENOMEM;
    for (uint32_t i = 0; !r && i < uses; i++)
        for (bool any = true; !r && any && solution->uses[i].times;) {
            count_left(view, solution, places, i, left);
            r = fill_one(view, worth, left, solution, i, &any);
        }
    drop_empty(solution);
    count_left(view, solution, places, NONE, solution->left);
    free(left);
    return r;
}
