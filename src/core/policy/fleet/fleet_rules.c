/* SPDX-License-Identifier: Apache-2.0 */
#include "policy/fleet/fleet_rules.h"

#define EXCLUSIVE DV_FLEET_BIT(DV_FLEET_EXCLUSIVE)
#define MIG DV_FLEET_BIT(DV_FLEET_MIG)
#define MPS DV_FLEET_BIT(DV_FLEET_MPS)
#define GOVERNED DV_FLEET_BIT(DV_FLEET_GOVERNED)
#define TIMESLICE DV_FLEET_BIT(DV_FLEET_TIMESLICE)
#define OWN (EXCLUSIVE | MIG)

static bool asks_whole(const struct dv_fleet_workload *w)
{
    return w->gpus > 0;
}

/* Somebody who says in which other modes a training may be has thought about it. */
static bool is_training(const struct dv_fleet_workload *w)
{
    return w->training && (!w->modes || (w->modes & EXCLUSIVE));
}

static bool is_untrusted(const struct dv_fleet_workload *w)
{
    return w->trust == DV_TRUST_UNTRUSTED && w->isolation != DV_WALL_DRIVER;
}

static bool wants_hardware(const struct dv_fleet_workload *w)
{
    return w->isolation == DV_WALL_HARDWARE;
}

static bool wants_driver(const struct dv_fleet_workload *w)
{
    return w->isolation == DV_WALL_DRIVER;
}

static bool has_tight_tail(const struct dv_fleet_workload *w)
{
    return w->p99_ns && w->p99_ns < DV_FLEET_TIGHT_NS;
}

static bool is_critical(const struct dv_fleet_workload *w)
{
    return w->p99_ns || (w->has_tier && w->tier == DV_TIER_LATENCY_CRITICAL);
}

static bool wants_cooperative(const struct dv_fleet_workload *w)
{
    return w->isolation == DV_WALL_COOPERATIVE;
}

static bool is_interactive(const struct dv_fleet_workload *w)
{
    return w->interactive;
}

static bool is_best_effort(const struct dv_fleet_workload *w)
{
    return w->has_tier && w->tier == DV_TIER_BEST_EFFORT;
}

static bool is_anything(const struct dv_fleet_workload *w)
{
    (void)w;
    return true;
}

/* In the order in which they count. MPS is taken where a driver's wall is asked for, or MPS itself:
 * its clients share one fault domain, which nobody gets by default. */
static const struct {
    enum dv_fleet_rule rule;
    bool (*applies)(const struct dv_fleet_workload *w);
    uint32_t allowed; /* what modes may name */
    uint32_t usual;   /* without modes */
    enum dv_fleet_mode prefer;
    const char *name;
} rules[] = {
    {DV_FLEET_RULE_WHOLE, asks_whole, EXCLUSIVE, EXCLUSIVE, DV_FLEET_EXCLUSIVE, "whole_gpus"},
    {DV_FLEET_RULE_TRAINING, is_training, EXCLUSIVE, EXCLUSIVE, DV_FLEET_EXCLUSIVE, "training"},
    {DV_FLEET_RULE_UNTRUSTED, is_untrusted, OWN, OWN, DV_FLEET_MIG, "untrusted"},
    {DV_FLEET_RULE_HARDWARE, wants_hardware, OWN, OWN, DV_FLEET_MIG, "isolation_hardware"},
    {DV_FLEET_RULE_DRIVER, wants_driver, OWN | MPS, OWN | MPS, DV_FLEET_MPS, "isolation_driver"},
    {DV_FLEET_RULE_TAIL, has_tight_tail, OWN, OWN, DV_FLEET_MIG, "tight_p99"},
    {DV_FLEET_RULE_CRITICAL, is_critical, OWN | MPS | GOVERNED, OWN | GOVERNED, DV_FLEET_GOVERNED,
     "latency_critical"},
    {DV_FLEET_RULE_COOPERATIVE, wants_cooperative, OWN | MPS | GOVERNED, OWN | GOVERNED,
     DV_FLEET_GOVERNED, "isolation_cooperative"},
    {DV_FLEET_RULE_INTERACTIVE, is_interactive, DV_FLEET_ANY, OWN | GOVERNED | TIMESLICE,
     DV_FLEET_TIMESLICE, "interactive"},
    {DV_FLEET_RULE_BEST_EFFORT, is_best_effort, DV_FLEET_ANY, OWN | GOVERNED | TIMESLICE,
     DV_FLEET_GOVERNED, "best_effort"},
    {DV_FLEET_RULE_SHARE, is_anything, DV_FLEET_ANY, OWN | GOVERNED, DV_FLEET_GOVERNED, "share"},
};

/* The mode preferred where the rule's own is not taken: the rest in this order. */
static enum dv_fleet_mode first_of(uint32_t modes)
{
    static const enum dv_fleet_mode order[] = {DV_FLEET_GOVERNED, DV_FLEET_MIG, DV_FLEET_MPS,
                                               DV_FLEET_TIMESLICE};
    for (size_t i = 0; i < DV_ARRAY_SIZE(order); i++)
        if (modes & DV_FLEET_BIT(order[i]))
            return order[i];
    return DV_FLEET_EXCLUSIVE;
}

void dv_fleet_rules_choose(const struct dv_fleet_workload *workload, struct dv_fleet_choice *ret)
{
    size_t i = 0;
    while (!rules[i].applies(workload))
        i++;
    *ret = (struct dv_fleet_choice){.rule = rules[i].rule,
                                    .allowed = rules[i].allowed,
                                    .modes = rules[i].usual,
                                    .prefer = rules[i].prefer};
    if (workload->modes)
        ret->modes = rules[i].allowed & workload->modes;
    if (!(ret->modes & DV_FLEET_BIT(ret->prefer)))
        ret->prefer = first_of(ret->modes);
}

const char *dv_fleet_rules_name(enum dv_fleet_rule rule)
{
    for (size_t i = 0; i < DV_ARRAY_SIZE(rules); i++)
        if (rules[i].rule == rule)
            return rules[i].name;
    return "unknown";
}

uint32_t dv_fleet_rules_gpus(const struct dv_fleet_workload *workload)
{
    return workload->gpus ? workload->gpus : is_training(workload);
}

enum dv_wall dv_fleet_rules_wall(enum dv_fleet_mode mode)
{
    switch (mode) {
    case DV_FLEET_EXCLUSIVE:
    case DV_FLEET_MIG:
        return DV_WALL_HARDWARE;
    case DV_FLEET_MPS:
        return DV_WALL_DRIVER;
    case DV_FLEET_GOVERNED:
        return DV_WALL_COOPERATIVE;
    default:
        return DV_WALL_NONE; /* of compute: turns count processes, not tenants */
    }
}
