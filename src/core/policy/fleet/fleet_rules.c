/* SPDX-License-Identifier: Apache-2.0 */
#include "policy/fleet/fleet_rules.h"

static struct dv_mode_needs needs_of(const struct dv_fleet_workload *w)
{
    return (struct dv_mode_needs){
        .whole = w->gpus > 0,
        .training = w->training,
        .trust = w->trust,
        .isolation = w->isolation,
        .p99_ns = w->p99_ns,
        .serves = w->inference,
        .latency_critical = w->has_tier && w->tier == DV_TIER_LATENCY_CRITICAL,
        .interactive = w->interactive,
        .best_effort = w->has_tier && w->tier == DV_TIER_BEST_EFFORT,
        .takes = w->modes,
    };
}

void dv_fleet_rules_choose(const struct dv_fleet_workload *workload, struct dv_fleet_choice *ret)
{
    struct dv_mode_needs needs = needs_of(workload);
    struct dv_mode_choice c;
    dv_mode_choose(&needs, &c);
    *ret = (struct dv_fleet_choice){.rule = c.rule,
                                    .modes = c.modes,
                                    .prefer = (enum dv_fleet_mode)c.prefer,
                                    .allowed = c.allowed};
}

uint32_t dv_fleet_rules_gpus(const struct dv_fleet_workload *workload)
{
    struct dv_mode_needs needs = needs_of(workload);
    return workload->gpus ? workload->gpus : dv_mode_is_training(&needs);
}

enum dv_wall dv_fleet_rules_wall(enum dv_fleet_mode mode)
{
    return dv_sharing_wall((enum dv_sharing)mode);
}
