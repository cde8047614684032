/* SPDX-License-Identifier: Apache-2.0 */
#include "policy/audit/audit_judge.h"

#include <math.h>
#include <string.h>

#define NOBODYS_MEMORY DV_GIB /* who holds more than this is somebody, though no pod */

const char *dv_audit_class_name(enum dv_audit_class class)
{
    static const char *const names[] = {"unknown", "idle", "training", "steady", "bursty"};
    return names[class];
}

const char *dv_audit_how_name(enum dv_audit_how how)
{
    static const char *const names[] = {"keep", "exclusive", "mig", "mps", "governed"};
    return names[how];
}

enum dv_audit_class dv_audit_judge_class(const struct dv_audit_workload *w)
{
    const struct dv_audit_series *s = &w->series;
    if (s->busy_times.n < DV_AUDIT_SAMPLES_MIN)
        return DV_AUDIT_UNKNOWN;
    if (w->mean_percent < DV_AUDIT_IDLE_MEAN && w->idle_share >= DV_AUDIT_IDLE_SHARE)
        return DV_AUDIT_IDLE;
    if (w->mean_percent >= DV_AUDIT_TRAINING_MEAN &&
        dv_audit_series_quantile(s, 0.25) >= DV_AUDIT_TRAINING_QUARTER)
        return DV_AUDIT_TRAINING;
    if (w->mean_percent < DV_AUDIT_TRAINING_MEAN && w->idle_share <= DV_AUDIT_STEADY_IDLE &&
        w->deviation <= w->mean_percent)
        return DV_AUDIT_STEADY;
    return DV_AUDIT_BURSTY;
}

static uint64_t memory_needed(const struct dv_audit_workload *w, const struct dv_audit_wish *wish)
{
    double peak = (double)w->series.memory_peak;
    double bytes = peak + peak * wish->memory_margin_permille / 1000;
    if (bytes >= (double)wish->gpu_memory_bytes)
        return wish->gpu_memory_bytes;
    uint64_t units = ((uint64_t)bytes + DV_AUDIT_MEMORY_UNIT - 1) / DV_AUDIT_MEMORY_UNIT;
    return DV_MIN(DV_MAX(units, 1) * DV_AUDIT_MEMORY_UNIT, wish->gpu_memory_bytes);
}

/* The 95th percentile in whole percent, at least one. */
static uint32_t compute_needed(const struct dv_audit_workload *w)
{
    double percent = ceil(w->p95_percent);
    return (uint32_t)DV_MIN(DV_MAX(percent, 1.0), 100.0) * (DV_COMPUTE_FULL / 100);
}

enum dv_wall dv_audit_judge_isolation(const struct dv_audit_wish *wish)
{
    return wish->trust == DV_TRUST_UNTRUSTED ? DV_WALL_HARDWARE : wish->wall;
}

/* What a workload of that class needs, by figures. */
static struct dv_mode_needs needs_of(enum dv_audit_class class, const struct dv_audit_wish *wish)
{
    return (struct dv_mode_needs){
        .training = class == DV_AUDIT_TRAINING,
        .trust = wish->trust,
        .isolation = dv_audit_judge_isolation(wish),
        .serves = class == DV_AUDIT_STEADY,
    };
}

static enum dv_audit_why why_shared(enum dv_mode_rule rule)
{
    switch (rule) {
    case DV_MODE_RULE_DRIVER:
        return DV_AUDIT_WHY_DRIVER_WALL;
    case DV_MODE_RULE_SERVES:
        return DV_AUDIT_WHY_STEADY;
    case DV_MODE_RULE_INTERACTIVE:
        return DV_AUDIT_WHY_INTERACTIVE;
    default:
        return DV_AUDIT_WHY_BURSTY;
    }
}

void dv_audit_judge_needs(const struct dv_mode_needs *needs, const struct dv_audit_wish *wish,
                          uint64_t memory_bytes, uint32_t compute, struct dv_audit_choice *ret)
{
    struct dv_mode_choice c;
    const struct dv_mig_geometry *g = wish->mig;
    enum dv_mode_size size =
        dv_mode_size(wish->gpu_memory_bytes, memory_bytes, compute, wish->headroom);
    dv_mode_choose(needs, &c);
    *ret = (struct dv_audit_choice){DV_SHARING_EXCLUSIVE, .profile = DV_AUDIT_NONE};
    if (c.prefer == DV_SHARING_EXCLUSIVE) {
        ret->why = needs->whole ? DV_AUDIT_WHY_SEVERAL : DV_AUDIT_WHY_TRAINING;
    } else if (c.prefer == DV_SHARING_MIG) {
        const struct dv_mig_profile *p =
            dv_mode_profile(g, wish->gpu_memory_bytes, memory_bytes, compute);
        ret->mode = p ? DV_SHARING_MIG : DV_SHARING_EXCLUSIVE;
        ret->why = p ? DV_AUDIT_WHY_WALL : g ? DV_AUDIT_WHY_WALL_LARGE : DV_AUDIT_WHY_WALL_NO_MIG;
        ret->profile = p ? (uint32_t)(p - g->profiles) : DV_AUDIT_NONE;
    } else if (size == DV_MODE_SIZE_WHOLE) {
        ret->why = DV_AUDIT_WHY_LARGE;
    } else {
        ret->mode = c.prefer;
        ret->why = why_shared(c.rule);
        ret->half = size == DV_MODE_SIZE_HALF;
    }
}

/* Of a workload with figures enough, as far as its memory is known. */
static void decide(struct dv_audit_workload *w, const struct dv_audit_wish *wish)
{
    static const enum dv_audit_how hows[] = {[DV_SHARING_EXCLUSIVE] = DV_AUDIT_EXCLUSIVE,
                                             [DV_SHARING_MIG] = DV_AUDIT_MIG,
                                             [DV_SHARING_MPS] = DV_AUDIT_MPS,
                                             [DV_SHARING_GOVERNED] = DV_AUDIT_GOVERNED};
    struct dv_mode_needs needs = needs_of(w->class, wish);
    struct dv_audit_choice c;
    dv_audit_judge_needs(&needs, wish, w->memory_bytes, w->compute, &c);
    if (c.why != DV_AUDIT_WHY_TRAINING && !w->series.memory_times.n) {
        w->why = DV_AUDIT_WHY_NO_MEMORY;
        return;
    }
    w->how = hows[c.mode];
    w->why = c.why == DV_AUDIT_WHY_BURSTY && w->class == DV_AUDIT_IDLE ? DV_AUDIT_WHY_IDLE : c.why;
    w->profile = c.profile;
    w->half = c.half;
}

/* What somebody does outside of pods is busy, or holds memory. */
static bool is_nobodys(const struct dv_audit_workload *w)
{
    return !strcmp(w->name, DV_AUDIT_NOBODY) && w->class == DV_AUDIT_IDLE &&
           w->series.memory_peak < NOBODYS_MEMORY;
}

void dv_audit_judge(struct dv_audit_workload *w, const struct dv_audit_wish *wish)
{
    w->class = dv_audit_judge_class(w);
    w->memory_bytes = memory_needed(w, wish);
    w->compute = compute_needed(w);
    w->profile = DV_AUDIT_NONE;
    w->half = false;
    w->park = w->class == DV_AUDIT_IDLE;
    w->how = DV_AUDIT_KEEP;
    w->why = DV_AUDIT_WHY_TOO_LITTLE;
    if (is_nobodys(w)) {
        w->why = DV_AUDIT_WHY_NOBODY;
        w->park = false;
    } else if (w->class != DV_AUDIT_UNKNOWN) {
        decide(w, wish);
    }
    if (w->how <= DV_AUDIT_EXCLUSIVE) {
        w->memory_bytes = 0;
        w->compute = dv_audit_is_nobody(w) ? 0 : DV_COMPUTE_FULL;
    }
}
