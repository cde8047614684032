/* SPDX-License-Identifier: Apache-2.0 */
#include "policy/audit/audit_judge.h"

#include <math.h>

#define MEMORY_UNIT (256 * DV_MIB) /* sizes are rounded up to this */

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
    uint64_t units = ((uint64_t)bytes + MEMORY_UNIT - 1) / MEMORY_UNIT;
    return DV_MIN(DV_MAX(units, 1) * MEMORY_UNIT, wish->gpu_memory_bytes);
}

/* The 95th percentile in whole percent, at least one. */
static uint32_t compute_needed(const struct dv_audit_workload *w)
{
    double percent = ceil(w->p95_percent);
    return (uint32_t)DV_MIN(DV_MAX(percent, 1.0), 100.0) * (DV_COMPUTE_FULL / 100);
}

/* The smallest profile that holds both, of plain ones. */
static bool find_profile(const struct dv_audit_workload *w, const struct dv_mig_geometry *g,
                         uint32_t *ret)
{
    bool found = false;
    for (uint32_t i = 0; i < g->n_profiles; i++) {
        const struct dv_mig_profile *p = &g->profiles[i];
        if (p->media != DV_MIG_MEDIA_DEFAULT || p->graphics || p->memory_bytes < w->memory_bytes ||
            dv_mig_compute(g, p) < w->compute)
            continue;
        const struct dv_mig_profile *best = found ? &g->profiles[*ret] : NULL;
        if (best && (p->size > best->size || (p->size == best->size && p->slices >= best->slices)))
            continue;
        *ret = i;
        found = true;
    }
    return found;
}

static void decide(struct dv_audit_workload *w, enum dv_audit_how how, enum dv_audit_why why)
{
    w->how = how;
    w->why = why;
}

static void behind_hardware(struct dv_audit_workload *w, const struct dv_audit_wish *wish)
{
    if (!wish->mig)
        decide(w, DV_AUDIT_EXCLUSIVE, DV_AUDIT_WHY_WALL_NO_MIG);
    else if (find_profile(w, wish->mig, &w->profile))
        decide(w, DV_AUDIT_MIG, DV_AUDIT_WHY_WALL);
    else
        decide(w, DV_AUDIT_EXCLUSIVE, DV_AUDIT_WHY_WALL_LARGE);
}

void dv_audit_judge(struct dv_audit_workload *w, const struct dv_audit_wish *wish)
{
    bool hardware = wish->wall == DV_WALL_HARDWARE || wish->trust == DV_TRUST_UNTRUSTED;
    w->class = dv_audit_judge_class(w);
    w->memory_bytes = memory_needed(w, wish);
    w->compute = compute_needed(w);
    w->profile = DV_AUDIT_NONE;
    w->park = w->class == DV_AUDIT_IDLE;
    if (w->class == DV_AUDIT_UNKNOWN)
        decide(w, DV_AUDIT_KEEP, DV_AUDIT_WHY_TOO_LITTLE);
    else if (w->class == DV_AUDIT_TRAINING)
        decide(w, DV_AUDIT_EXCLUSIVE, DV_AUDIT_WHY_TRAINING);
    else if (!w->series.memory_times.n)
        decide(w, DV_AUDIT_KEEP, DV_AUDIT_WHY_NO_MEMORY);
    else if (hardware)
        behind_hardware(w, wish);
    else if (w->memory_bytes > wish->gpu_memory_bytes / 10 * 9 ||
             w->compute > DV_COMPUTE_FULL - wish->headroom)
        decide(w, DV_AUDIT_EXCLUSIVE, DV_AUDIT_WHY_LARGE);
    else if (wish->wall == DV_WALL_DRIVER)
        decide(w, DV_AUDIT_MPS, DV_AUDIT_WHY_DRIVER_WALL);
    else if (w->class == DV_AUDIT_STEADY)
        decide(w, DV_AUDIT_MPS, DV_AUDIT_WHY_STEADY);
    else
        decide(w, DV_AUDIT_GOVERNED,
               w->class == DV_AUDIT_IDLE ? DV_AUDIT_WHY_IDLE : DV_AUDIT_WHY_BURSTY);
    if (w->how <= DV_AUDIT_EXCLUSIVE) {
        w->memory_bytes = 0;
        w->compute = DV_COMPUTE_FULL;
    }
}
