/* SPDX-License-Identifier: Apache-2.0 */
#include "policy/fleet/fleet_price.h"

#include <errno.h>
#include <stdlib.h>

static void fill(struct dv_fleet_view *v)
{
    for (uint32_t w = 0; w < v->n_workloads; w++) {
        const struct dv_fleet_workload *workload = &v->fleet->workloads[w];
        dv_fleet_rules_choose(workload, &v->choices[w]);
        v->gpus[w] = dv_fleet_rules_gpus(workload);
        if (v->gpus[w])
            v->choices[w].modes &= DV_FLEET_BIT(DV_FLEET_EXCLUSIVE);
        v->own[w] = dv_fleet_fit_need(workload, &v->sides[0], DV_FLEET_MIG);
        for (uint32_t s = 0; s < v->n_sides; s++) {
            size_t at = (size_t)s * v->n_workloads + w;
            v->may[at] =
                dv_fleet_fit_model(workload, &v->sides[s]) &&
                (!v->gpus[w] || dv_fleet_fit_is(workload, &v->sides[s], 0, DV_FLEET_EXCLUSIVE));
            v->shared[at] = v->gpus[w]
                                ? (struct dv_fleet_need){0}
                                : dv_fleet_fit_need(workload, &v->sides[s], DV_FLEET_GOVERNED);
        }
    }
}

int dv_fleet_view_new(const struct dv_fleet *fleet, struct dv_fleet_view **ret)
{
    struct dv_fleet_view *v = calloc(1, sizeof *v);
    if (!v)
        return -ENOMEM;
    size_t n = fleet->n_workloads, all = n * fleet->n_groups;
    v->fleet = fleet;
    v->n_workloads = fleet->n_workloads;
    v->sides = calloc(fleet->n_groups, sizeof *v->sides);
    v->choices = calloc(n, sizeof *v->choices);
    v->gpus = calloc(n, sizeof *v->gpus);
    v->own = calloc(n, sizeof *v->own);
    v->shared = calloc(all, sizeof *v->shared);
    v->may = calloc(all, sizeof *v->may);
    bool ok = v->sides && v->choices && v->gpus && v->own && v->shared && v->may;
    int r = ok ? 0 : -ENOMEM;
    for (uint32_t s = 0; !r && s < fleet->n_groups; s++) {
        r = dv_fleet_fit_side(&fleet->groups[s], &v->sides[s]);
        v->n_sides += !r;
    }
    if (r < 0) {
        dv_fleet_view_free(v);
        return r;
    }
    fill(v);
    *ret = v;
    return 0;
}

void dv_fleet_view_free(struct dv_fleet_view *view)
{
    if (!view)
        return;
    for (uint32_t s = 0; s < view->n_sides; s++)
        dv_fleet_fit_done(&view->sides[s]);
    free(view->sides);
    free(view->choices);
    free(view->gpus);
    free(view->own);
    free(view->shared);
    free(view->may);
    free(view);
}

void dv_fleet_view_freep(struct dv_fleet_view **view)
{
    dv_fleet_view_free(*view);
    *view = NULL;
}
