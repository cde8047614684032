/* SPDX-License-Identifier: Apache-2.0 */
#include "policy/fleet/fleet_draft.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

int dv_fleet_draft_new(const struct dv_fleet_view *view, const uint64_t *places,
                       const uint64_t *rooms, struct dv_fleet_draft *ret)
{
    *ret = (struct dv_fleet_draft){.left = malloc(view->n_workloads * sizeof *ret->left)};
    if (!ret->left)
        return -ENOMEM;
    memcpy(ret->left, places, view->n_workloads * sizeof *ret->left);
    memcpy(ret->room, rooms, view->n_sides * sizeof *ret->room);
    return 0;
}

void dv_fleet_draft_done(struct dv_fleet_draft *draft)
{
    free(draft->left);
    free(draft->uses);
    *draft = (struct dv_fleet_draft){0};
}

uint64_t dv_fleet_draft_useful(const struct dv_fleet_draft *draft,
                               const struct dv_fleet_pattern *pattern)
{
    uint64_t n = 0;
    for (uint32_t i = 0; i < pattern->n_items; i++) {
        uint32_t w = pattern->items[i].workload;
        uint64_t all = dv_fleet_pattern_count(pattern, w);
        n = DV_MAX(n, (draft->left[w] + all - 1) / all);
    }
    return DV_MIN(n, draft->room[pattern->side] / pattern->cards);
}

uint64_t dv_fleet_draft_whole(const struct dv_fleet_draft *draft,
                              const struct dv_fleet_pattern *pattern)
{
    uint64_t n = draft->room[pattern->side] / pattern->cards;
    for (uint32_t i = 0; i < pattern->n_items; i++) {
        uint32_t w = pattern->items[i].workload;
        n = DV_MIN(n, draft->left[w] / dv_fleet_pattern_count(pattern, w));
    }
    return n;
}

int dv_fleet_draft_take(struct dv_fleet_draft *draft, const struct dv_fleet_pattern *pool,
                        uint32_t at, uint64_t times)
{
    const struct dv_fleet_pattern *p = &pool[at];
    times = DV_MIN(times, dv_fleet_draft_useful(draft, p));
    if (!times)
        return 0;
    if (draft->n == draft->max) {
        uint32_t max = draft->max ? draft->max * 2 : 32;
        struct dv_fleet_use *uses = realloc(draft->uses, max * sizeof *uses);
        if (!uses)
            return -ENOMEM;
        draft->uses = uses;
        draft->max = max;
    }
    draft->uses[draft->n++] = (struct dv_fleet_use){at, (uint32_t)times};
    draft->room[p->side] -= times * p->cards;
    for (uint32_t i = 0; i < p->n_items; i++) {
        uint64_t *left = &draft->left[p->items[i].workload];
        *left -= DV_MIN(*left, times * p->items[i].count);
    }
    return 0;
}

uint32_t dv_fleet_draft_open(const struct dv_fleet_draft *draft, const struct dv_fleet_view *view)
{
    uint32_t n = 0;
    for (uint32_t w = 0; w < view->n_workloads; w++)
        n += draft->left[w] > 0;
    return n;
}
