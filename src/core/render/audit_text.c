/* SPDX-License-Identifier: Apache-2.0 */
#include "render/audit_text.h"

#include "base/units.h"

#define PEOPLE "people who wait are not seen: for a notebook, time-slices)"
#define HALF                                                                                       \
    "; it takes more than half of a GPU, which only smaller ones fit beside: alone it would have " \
    "the whole"

_Static_assert(DV_MODE_TIGHT_NS / DV_NS_PER_MS == 50, "what the words below say");

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
    [DV_AUDIT_WHY_SEVERAL] = {"several_gpus", "several GPUs each are had whole or not at all"},
    [DV_AUDIT_WHY_INTERACTIVE] = {"interactive", "people think longer than they compute, and take "
                                                 "turns"},
    [DV_AUDIT_WHY_STEADY] = {"steady",
                             "steady work, as of what serves requests: runs beside others at the "
                             "same time (a p99 to keep is not seen: below 50 ms, a device of its "
                             "own)"},
    [DV_AUDIT_WHY_BURSTY] = {"bursty", "busy in bursts: others can have the time between (" PEOPLE},
    [DV_AUDIT_WHY_NOBODY] = {"nobody", "no workload has this GPU: the plan does without it"},
    [DV_AUDIT_WHY_IDLE] = {"idle", "hardly ever busy: a small share is enough, and others have the "
                                   "rest (" PEOPLE},
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
    if (w->half)
        dv_str_add(text, HALF);
    if (w->park && w->series.longest_idle_ns > 0)
        dv_str_addf(text, "; idle for up to %s at a stretch: its memory could be parked",
                    dv_units_format_duration((uint64_t)w->series.longest_idle_ns, time));
}

/* Where a group's kind was said, or nothing but its figure is known. */
static const char *group_rule(const struct dv_audit_group *g, enum dv_audit_why why)
{
    if (dv_audit_group_is_busy(g))
        return "keeps its GPUs busy";
    switch (why) {
    case DV_AUDIT_WHY_TRAINING:
        return "training gets whole GPUs";
    case DV_AUDIT_WHY_WALL:
        return "the smallest instance with compute enough, behind a hardware wall";
    case DV_AUDIT_WHY_STEADY:
        return "serves requests: runs beside others at the same time";
    case DV_AUDIT_WHY_BURSTY:
        return "others can have the rest of the time";
    default:
        return dv_audit_text_rule(why);
    }
}

void dv_audit_text_group(const struct dv_audit_group *g, const struct dv_audit_choice *c,
                         struct dv_str *text)
{
    dv_str_addf(text, "busy %g %% on average: %s", g->busy_milli / 1000.0, group_rule(g, c->why));
    if (c->half)
        dv_str_add(text, HALF);
}
