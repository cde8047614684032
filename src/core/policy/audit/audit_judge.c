/* SPDX-License-Identifier: Apache-2.0 */
#include "policy/audit/audit_judge.h"

#include "policy/mode_choice.h"

#include <math.h>

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

static void decide(struct dv_audit_workload *w, enum dv_audit_how how, enum dv_audit_why why)
{
    w->how = how;
    w->why = why;
}

static void behind_hardware(struct dv_audit_workload *w, const struct dv_audit_wish *wish)
{
    const struct dv_mig_geometry *g = wish->mig;
    const struct dv_mig_profile *p =
        dv_mode_profile(g, wish->gpu_memory_bytes, w->memory_bytes, w->compute);
    if (!g) {
        decide(w, DV_AUDIT_EXCLUSIVE, DV_AUDIT_WHY_WALL_NO_MIG);
    } else if (p) {
        w->profile = (uint32_t)(p - g->profiles);
        decide(w, DV_AUDIT_MIG, DV_AUDIT_WHY_WALL);
    } else {
        decide(w, DV_AUDIT_EXCLUSIVE, DV_AUDIT_WHY_WALL_LARGE);
    }
}

/* What a workload of that class needs, by figures. Who calls his tenants untrusted asks for
 * hardware walls, whatever wall he names beside it. */
static struct dv_mode_needs needs_of(enum dv_audit_class class, const struct dv_audit_wish *wish)
{
    bool untrusted = wish->trust == DV_TRUST_UNTRUSTED;
    return (struct dv_mode_needs){
        .training = class == DV_AUDIT_TRAINING,
        .trust = wish->trust,
        .isolation = untrusted ? DV_WALL_HARDWARE : wish->wall,
        .serves = class == DV_AUDIT_STEADY,
    };
}

/* Leaves too little of a GPU for anybody else. */
static bool is_large(const struct dv_audit_workload *w, const struct dv_audit_wish *wish)
{
    return w->memory_bytes > wish->gpu_memory_bytes / 10 * 9 ||
           w->compute > DV_COMPUTE_FULL - wish->headroom;
}

static enum dv_audit_why why_shared(enum dv_audit_class class, enum dv_mode_rule rule)
{
    if (rule == DV_MODE_RULE_DRIVER)
        return DV_AUDIT_WHY_DRIVER_WALL;
    if (rule == DV_MODE_RULE_SERVES)
        return DV_AUDIT_WHY_STEADY;
    return class == DV_AUDIT_IDLE ? DV_AUDIT_WHY_IDLE : DV_AUDIT_WHY_BURSTY;
}

void dv_audit_judge(struct dv_audit_workload *w, const struct dv_audit_wish *wish)
{
    struct dv_mode_choice c;
    w->class = dv_audit_judge_class(w);
    w->memory_bytes = memory_needed(w, wish);
    w->compute = compute_needed(w);
    w->profile = DV_AUDIT_NONE;
    w->park = w->class == DV_AUDIT_IDLE;
    struct dv_mode_needs needs = needs_of(w->class, wish);
    dv_mode_choose(&needs, &c);
    if (w->class == DV_AUDIT_UNKNOWN)
        decide(w, DV_AUDIT_KEEP, DV_AUDIT_WHY_TOO_LITTLE);
    else if (c.prefer == DV_SHARING_EXCLUSIVE)
        decide(w, DV_AUDIT_EXCLUSIVE, DV_AUDIT_WHY_TRAINING);
    else if (!w->series.memory_times.n)
        decide(w, DV_AUDIT_KEEP, DV_AUDIT_WHY_NO_MEMORY);
    else if (c.prefer == DV_SHARING_MIG)
        behind_hardware(w, wish);
    else if (is_large(w, wish))
        decide(w, DV_AUDIT_EXCLUSIVE, DV_AUDIT_WHY_LARGE);
    else
        decide(w, c.prefer == DV_SHARING_MPS ? DV_AUDIT_MPS : DV_AUDIT_GOVERNED,
               why_shared(w->class, c.rule));
    if (w->how <= DV_AUDIT_EXCLUSIVE) {
        w->memory_bytes = 0;
        w->compute = DV_COMPUTE_FULL;
    }
}
