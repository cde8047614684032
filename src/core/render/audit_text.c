/* SPDX-License-Identifier: Apache-2.0 */
#include "render/audit_text.h"

#include "base/units.h"

static const struct {
    const char *name, *rule;
} reasons[] = {
    [DV_AUDIT_WHY_TOO_LITTLE] = {"too_little_data", "too few samples to tell; watch it longer"},
    [DV_AUDIT_WHY_NO_MEMORY] = {"memory_unknown",
                                "its memory is not known, so nothing can be put beside it"},
    [DV_AUDIT_WHY_TRAINING] = {"training", "keeps a GPU busy: sharing would only slow it down"},
    [DV_AUDIT_WHY_LARGE] = {"large", "leaves too little of a GPU for anybody else"},
    [DV_AUDIT_WHY_WALL] = {"hardware_wall", "the smallest instance that holds its peaks, behind a "
                                            "hardware wall"},
    [DV_AUDIT_WHY_WALL_LARGE] = {"hardware_wall_large",
                                 "needs a hardware wall, and no MIG instance is large enough"},
    [DV_AUDIT_WHY_WALL_NO_MIG] = {"hardware_wall_no_mig",
                                  "needs a hardware wall, and these GPUs have no MIG"},
    [DV_AUDIT_WHY_DRIVER_WALL] = {"driver_wall",
                                  "shares a GPU behind MPS' limits, which the driver keeps"},
    [DV_AUDIT_WHY_STEADY] = {"steady",
                             "steady work far below a GPU: runs beside others at the same "
                             "time"},
    [DV_AUDIT_WHY_BURSTY] = {"bursty", "busy in bursts: others can have the time between"},
    [DV_AUDIT_WHY_IDLE] = {"idle", "hardly ever busy: a small share is enough, and others have the "
                                   "rest"},
};

const char *dv_audit_text_rule(enum dv_audit_why why)
{
    return reasons[why].rule;
}

const char *dv_audit_text_name(enum dv_audit_why why)
{
    return reasons[why].name;
}

void dv_audit_text_why(const struct dv_audit_workload *w, const struct dv_audit_wish *wish,
                       struct dv_str *text)
{
    char bytes[DV_UNITS_TEXT], time[DV_UNITS_TEXT];
    if (w->why == DV_AUDIT_WHY_TOO_LITTLE) {
        dv_str_addf(text, "%llu sample%s: too few to tell (%u are needed); watch it longer",
                    (unsigned long long)w->series.busy_times.n,
                    w->series.busy_times.n == 1 ? "" : "s", DV_AUDIT_SAMPLES_MIN);
        return;
    }
    dv_str_addf(text, "busy %.1f %% of the time, %.0f %% in 19 of 20 samples", w->mean_percent,
                w->p95_percent);
    if (w->series.memory_times.n)
        dv_str_addf(text, ", at most %s", dv_units_format_bytes(w->series.memory_peak, bytes));
    dv_str_addf(text, ": %s", dv_audit_text_rule(w->why));
    if (w->how == DV_AUDIT_MIG)
        dv_str_addf(text, ": %s", wish->mig->profiles[w->profile].name);
    if (w->park && w->series.longest_idle_ns > 0)
        dv_str_addf(text, "; idle for up to %s at a stretch: its memory could be parked",
                    dv_units_format_duration((uint64_t)w->series.longest_idle_ns, time));
}
