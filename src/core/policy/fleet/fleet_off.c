/* SPDX-License-Identifier: Apache-2.0 */
#include "policy/fleet/fleet_off.h"

/* More than any card; of what is not best-effort, also more than all best-effort replicas that its
 * cards would hold. */
#define OFF (DV_FLEET_UNIT * 512)
#define OFF_LAST DV_FLEET_UNIT
#define OFF_CARD (DV_FLEET_UNIT * 2)

static bool is_last(const struct dv_fleet_view *view, uint32_t w)
{
    const struct dv_fleet_workload *workload = &view->fleet->workloads[w];
    return workload->has_tier && workload->tier == DV_TIER_BEST_EFFORT;
}

/* The most best-effort replicas that a card holds. */
static int64_t count_lasts(const struct dv_fleet_view *view)
{
    int64_t most = 0;
    for (uint32_t w = 0; w < view->n_workloads; w++)
        for (uint32_t i = 0; is_last(view, w) && i < view->n_sides; i++) {
            struct dv_fleet_bound b = {.fits = 1};
            if (!view->may[(size_t)i * view->n_workloads + w])
                continue;
            if (!view->gpus[w])
                dv_fleet_fit_bound(&view->fleet->workloads[w], &view->sides[i], &b);
            most = DV_MAX(most, (int64_t)DV_MAX(b.fits, b.mig_fits));
        }
    return most;
}

void dv_fleet_off_init(const struct dv_fleet_view *view, const uint64_t *places,
                       const uint64_t *rooms, struct dv_fleet_off *ret)
{
    uint64_t all = 0;
    *ret = (struct dv_fleet_off){.view = view};
    for (uint32_t w = 0; w < view->n_workloads; w++)
        all += places[w] * DV_MAX(view->gpus[w], 1u);
    for (uint32_t i = 0; i < view->n_sides; i++)
        ret->scarce = ret->scarce || rooms[i] < all;
    if (ret->scarce)
        ret->lasts = count_lasts(view);
}

int64_t dv_fleet_off_cost(const struct dv_fleet_off *off, uint32_t workload)
{
    int64_t cards = DV_MAX(off->view->gpus[workload], 1u);
    if (off->scarce && is_last(off->view, workload))
        return OFF_LAST + cards * OFF_CARD;
    int64_t cost = OFF + cards * (OFF_CARD + off->lasts * (OFF_LAST + OFF_CARD));
    return DV_MIN(cost, DV_FLEET_WORTH);
}
