/* SPDX-License-Identifier: Apache-2.0 */
/* A plan in the making: which patterns of a pool are used how often, and who has no place yet. */
#ifndef DV_POLICY_FLEET_FLEET_DRAFT_H
#define DV_POLICY_FLEET_FLEET_DRAFT_H

#include "policy/fleet/fleet_search.h"

struct dv_fleet_draft {
    uint64_t *left;                     /* of each workload, places that are missing */
    uint64_t room[DV_FLEET_GROUPS_MAX]; /* cards of each side that are not used */
    uint32_t n, max;
    struct dv_fleet_use *uses;
};

/* An empty one. 0 or -ENOMEM. */
int dv_fleet_draft_new(const struct dv_fleet_view *view, const uint64_t *places,
                       const uint64_t *rooms, struct dv_fleet_draft *ret);
void dv_fleet_draft_done(struct dv_fleet_draft *draft);

/* How often the pattern can be used so that each use places something. */
uint64_t dv_fleet_draft_useful(const struct dv_fleet_draft *draft,
                               const struct dv_fleet_pattern *pattern);
/* How often so that nothing of it is in vain. */
uint64_t dv_fleet_draft_whole(const struct dv_fleet_draft *draft,
                              const struct dv_fleet_pattern *pattern);
/* Uses pattern `at` of the pool so often, or as often as is useful. 0 or -ENOMEM. */
int dv_fleet_draft_take(struct dv_fleet_draft *draft, const struct dv_fleet_pattern *pool,
                        uint32_t at, uint64_t times);
/* Workloads that have places missing. */
uint32_t dv_fleet_draft_open(const struct dv_fleet_draft *draft, const struct dv_fleet_view *view);

#endif
