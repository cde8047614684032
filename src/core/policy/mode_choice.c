/* SPDX-License-Identifier: Apache-2.0 */
#include "policy/mode_choice.h"

#define EXCLUSIVE DV_SHARING_BIT(DV_SHARING_EXCLUSIVE)
#define MIG DV_SHARING_BIT(DV_SHARING_MIG)
#define MPS DV_SHARING_BIT(DV_SHARING_MPS)
#define GOVERNED DV_SHARING_BIT(DV_SHARING_GOVERNED)
#define TIMESLICE DV_SHARING_BIT(DV_SHARING_TIMESLICE)
#define OWN (EXCLUSIVE | MIG)
#define ENFORCED (OWN | MPS | GOVERNED)

enum dv_wall dv_sharing_wall(enum dv_sharing mode)
{
    switch (mode) {
    case DV_SHARING_EXCLUSIVE:
    case DV_SHARING_MIG:
        return DV_WALL_HARDWARE;
    case DV_SHARING_MPS:
        return DV_WALL_DRIVER;
    case DV_SHARING_GOVERNED:
        return DV_WALL_COOPERATIVE;
    default:
        return DV_WALL_NONE; /* of compute: turns count processes, not tenants */
    }
}

bool dv_mode_is_training(const struct dv_mode_needs *needs)
{
    return needs->training && (!needs->takes || (needs->takes & EXCLUSIVE));
}

static bool asks_whole(const struct dv_mode_needs *n)
{
    return n->whole;
}

static bool is_untrusted(const struct dv_mode_needs *n)
{
    return n->trust == DV_TRUST_UNTRUSTED && n->isolation != DV_WALL_DRIVER;
}

static bool wants_hardware(const struct dv_mode_needs *n)
{
    return n->isolation == DV_WALL_HARDWARE;
}

static bool wants_driver(const struct dv_mode_needs *n)
{
    return n->isolation == DV_WALL_DRIVER;
}

static bool has_tight_tail(const struct dv_mode_needs *n)
{
    return n->p99_ns && n->p99_ns < DV_MODE_TIGHT_NS;
}

static bool serves(const struct dv_mode_needs *n)
{
    return n->serves;
}

static bool is_critical(const struct dv_mode_needs *n)
{
    return n->p99_ns || n->latency_critical;
}

static bool wants_cooperative(const struct dv_mode_needs *n)
{
    return n->isolation == DV_WALL_COOPERATIVE;
}

static bool is_interactive(const struct dv_mode_needs *n)
{
    return n->interactive;
}

static bool is_best_effort(const struct dv_mode_needs *n)
{
    return n->best_effort;
}

static bool is_anything(const struct dv_mode_needs *n)
{
    (void)n;
    return true;
}

/* In the order in which they count. MPS is taken where a driver's wall is asked for, or MPS itself,
 * or by what serves requests: its clients share one fault domain, which nobody else gets by
 * default. */
static const struct {
    enum dv_mode_rule rule;
    bool (*applies)(const struct dv_mode_needs *n);
    uint32_t allowed; /* what an author may name */
    uint32_t usual;   /* where he names none */
    enum dv_sharing prefer;
    const char *name;
} rules[] = {
    {DV_MODE_RULE_WHOLE, asks_whole, EXCLUSIVE, EXCLUSIVE, DV_SHARING_EXCLUSIVE, "whole_gpus"},
    {DV_MODE_RULE_TRAINING, dv_mode_is_training, EXCLUSIVE, EXCLUSIVE, DV_SHARING_EXCLUSIVE,
     "training"},
    {DV_MODE_RULE_UNTRUSTED, is_untrusted, OWN, OWN, DV_SHARING_MIG, "untrusted"},
    {DV_MODE_RULE_HARDWARE, wants_hardware, OWN, OWN, DV_SHARING_MIG, "isolation_hardware"},
    {DV_MODE_RULE_DRIVER, wants_driver, OWN | MPS, OWN | MPS, DV_SHARING_MPS, "isolation_driver"},
    {DV_MODE_RULE_TAIL, has_tight_tail, OWN, OWN, DV_SHARING_MIG, "tight_p99"},
    {DV_MODE_RULE_SERVES, serves, ENFORCED, ENFORCED, DV_SHARING_MPS, "serves"},
    {DV_MODE_RULE_CRITICAL, is_critical, ENFORCED, OWN | GOVERNED, DV_SHARING_GOVERNED,
     "latency_critical"},
    {DV_MODE_RULE_COOPERATIVE, wants_cooperative, ENFORCED, OWN | GOVERNED, DV_SHARING_GOVERNED,
     "isolation_cooperative"},
    {DV_MODE_RULE_INTERACTIVE, is_interactive, DV_SHARING_ANY, OWN | GOVERNED | TIMESLICE,
     DV_SHARING_TIMESLICE, "interactive"},
    {DV_MODE_RULE_BEST_EFFORT, is_best_effort, DV_SHARING_ANY, OWN | GOVERNED | TIMESLICE,
     DV_SHARING_GOVERNED, "best_effort"},
    {DV_MODE_RULE_SHARE, is_anything, DV_SHARING_ANY, OWN | GOVERNED, DV_SHARING_GOVERNED, "share"},
};

enum dv_sharing dv_mode_choice_next(enum dv_mode_rule rule, uint32_t among)
{
    /* Where the rule's own is not to be had: the rest in this order. */
    static const enum dv_sharing order[] = {DV_SHARING_GOVERNED, DV_SHARING_MIG, DV_SHARING_MPS,
                                            DV_SHARING_TIMESLICE, DV_SHARING_EXCLUSIVE};
    if (among & DV_SHARING_BIT(rules[rule].prefer))
        return rules[rule].prefer;
    for (size_t i = 0; i < DV_ARRAY_SIZE(order); i++)
        if (among & DV_SHARING_BIT(order[i]))
            return order[i];
    return DV_SHARING_MODES;
}

void dv_mode_choose(const struct dv_mode_needs *needs, struct dv_mode_choice *ret)
{
    size_t i = 0;
    while (!rules[i].applies(needs))
        i++;
    uint32_t modes = needs->takes ? rules[i].allowed & needs->takes : rules[i].usual;
    *ret =
        (struct dv_mode_choice){.rule = rules[i].rule, .allowed = rules[i].allowed, .modes = modes};
    ret->prefer = dv_mode_choice_next(ret->rule, modes ? modes : EXCLUSIVE);
}

const char *dv_mode_rule_name(enum dv_mode_rule rule)
{
    return rule < DV_ARRAY_SIZE(rules) ? rules[rule].name : "unknown";
}

enum dv_mode_size dv_mode_size(uint64_t usable_bytes, uint64_t memory_bytes, uint32_t compute,
                               uint32_t headroom)
{
    uint64_t memory = usable_bytes ? memory_bytes : 0;
    if (memory > usable_bytes / 10 * 9 || compute > DV_COMPUTE_FULL - headroom)
        return DV_MODE_SIZE_WHOLE;
    return memory > usable_bytes / 2 || compute > DV_COMPUTE_FULL / 2 ? DV_MODE_SIZE_HALF
                                                                      : DV_MODE_SIZE_PART;
}

const struct dv_mig_profile *dv_mode_profile(const struct dv_mig_geometry *g, uint64_t usable_bytes,
                                             uint64_t memory_bytes, uint32_t compute)
{
    const struct dv_mig_profile *best = NULL;
    for (uint32_t i = 0; g && i < g->n_profiles; i++) {
        const struct dv_mig_profile *p = &g->profiles[i];
        uint64_t memory = p->memory_bytes ? p->memory_bytes : usable_bytes / g->grid * p->size;
        bool plain = p->media == DV_MIG_MEDIA_DEFAULT && !p->graphics && p->size < g->grid;
        bool holds = memory >= memory_bytes && dv_mig_compute(g, p) >= compute;
        bool smaller =
            !best || p->size < best->size || (p->size == best->size && p->slices < best->slices);
        if (plain && holds && smaller)
            best = p;
    }
    return best;
}
