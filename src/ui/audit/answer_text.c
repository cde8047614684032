/* SPDX-License-Identifier: Apache-2.0 */
#include "answer.h"
#include "render/audit_text.h"
#include "render/value.h"

#include <errno.h>
#include <string.h>

#define LISTED_MAX 15u

static const struct dv_table_column columns[] = {
    {"WORKLOAD", "workload"},
    {"GPU", "gpu", .csv_only = true},
    {"CLASS", "class"},
    {"MODE", "mode"},
    {"PROFILE", "profile", .csv_only = true},
    {"MEMORY", "memory_bytes", DV_VALUE_BYTES, .right = true},
    {"COMPUTE", "compute_permille", DV_VALUE_PERMILLE, .right = true},
    {"PARK", "park", .csv_only = true},
    {"SAMPLES", "samples", .csv_only = true},
    {"BUSY %", "mean_busy_percent", .right = true},
    {"P95 %", "p95_busy_percent", .right = true},
    {"IDLE %", "idle_sample_percent", .csv_only = true},
    {"PEAK", "peak_memory_bytes", DV_VALUE_BYTES, .right = true},
    {"MEAN MEMORY", "mean_memory_bytes", .csv_only = true},
    {"TIME", "covered_seconds", DV_VALUE_SECONDS, .right = true},
    {"WASTED", "waste_cost_micros", DV_VALUE_MONEY, .right = true},
    {"PLAN GPU", "plan_gpu", .csv_only = true},
    {"WHY", "why", .csv_only = true},
    {"REASON", "reason", .csv_only = true},
};
const struct dv_table dv_audit_answer_view = {"recommendations", columns, DV_ARRAY_SIZE(columns)};

static const struct dv_output_node *at(const struct dv_output_node *n, const char *path)
{
    char key[64];
    while (n && *path) {
        size_t len = strcspn(path, ".");
        if (len >= sizeof key)
            return NULL;
        memcpy(key, path, len);
        key[len] = 0;
        n = dv_output_get(n, key);
        path += len + (path[len] == '.');
    }
    return n;
}

/* Writes a line in which each "{path}" is replaced by the value there. */
static void line(struct dv_str *text, const struct dv_output_node *from, const char *pattern)
{
    for (const char *p = pattern; *p; p++) {
        const char *end = *p == '{' ? strchr(p, '}') : NULL;
        char path[80];
        if (!end || (size_t)(end - p) > sizeof path) {
            dv_str_addc(text, *p);
            continue;
        }
        size_t len = (size_t)(end - p) - 1;
        memcpy(path, p + 1, len);
        path[len] = 0;
        const struct dv_output_node *n = at(from, path);
        bool money = len > 7 && !strcmp(path + len - 7, "_micros");
        dv_value_human(n, money ? DV_VALUE_MONEY : DV_VALUE_AUTO, text);
        p = end;
    }
    dv_str_addc(text, '\n');
}

static void say_waste(struct dv_str *text, const struct dv_output_node *root, bool withheld)
{
    bool timed = at(root, "waste.waste_percent")->type != DV_OUTPUT_NULL;
    line(text, root,
         timed
             ? "{workloads} workloads, {samples} samples, one every {step_seconds}, {from} to {to}"
             : "{workloads} workloads, {samples} samples, {from} to {to}");
    line(text, root,
         "busy {mean_busy_percent} % on average; {idle_sample_percent} % of the samples are idle");
    if (!timed) {
        line(
            text, root,
            "GPUs: {fleet.gpus_peak} in use; GPU time and waste are not known: no workload has two "
            "samples");
        return;
    }
    line(text, root,
         "GPUs: {fleet.gpus_mean} in use on average, {fleet.gpus_peak} at once at most; GPU time "
         "{fleet.gpu_seconds}, of it busy {fleet.busy_gpu_seconds}");
    if (at(root, "waste.cost_micros")->type == DV_OUTPUT_NULL) {
        line(text, root,
             withheld
                 ? "wasted: {waste.waste_percent} % of the GPU time that was counted; not said in "
                   "money, since most samples were not counted (note below)"
                 : "wasted: {waste.waste_percent} % of the GPU time (--price says in money)");
        return;
    }
    line(
        text, root,
        "wasted: {waste.waste_cost_micros} {currency} of {waste.cost_micros}; in a month like this "
        "{waste.waste_per_month_micros} of {waste.cost_per_month_micros} ({waste.waste_percent} "
        "%)");
}

static void say_replay(struct dv_str *text, const struct dv_output_node *replay)
{
    if (dv_output_count(dv_output_get(replay, "longest_wait_seconds"), 1) == 0)
        line(text, replay, "  none of {busy_samples} busy samples would have waited");
    else
        line(text, replay,
             "  of {busy_samples} busy samples {waited_percent} % would have waited, "
             "{mean_wait_seconds} on average, {longest_wait_seconds} at most");
    line(text, replay,
         "  (at least: were they busy at random instants, {met_percent} % of the busy time had met "
         "another's)");
    if (dv_output_count(dv_output_get(replay, "memory_over_steps"), 1) == 0)
        line(text, replay, "  memory: enough in all of {gpu_steps} steps");
    else
        line(text, replay,
             "  memory: too little in {memory_over_steps} of {gpu_steps} steps, by "
             "{memory_over_bytes} at most");
    if (dv_output_count(dv_output_get(replay, "unplanned_workloads"), 0))
        line(text, replay,
             "  workloads that the plan had not seen, and that would have needed places: "
             "{unplanned_workloads}");
}

static void say_plan(struct dv_str *text, const struct dv_output_node *root)
{
    const struct dv_output_node *plan = dv_output_get(root, "plan");
    dv_str_addc(text, '\n');
    bool binds = at(root, "plan.binds")->type != DV_OUTPUT_NULL;
    line(text, root,
         binds ? "plan: GPUs needed {plan.gpus_needed}, in use {fleet.gpus} (no plan of this kind "
                 "needs fewer than {plan.gpus_at_least}; {plan.binds} binds)"
               : "plan: GPUs needed {plan.gpus_needed}, in use {fleet.gpus} (no plan of this kind "
                 "needs fewer than {plan.gpus_at_least})");
    static const char *const modes[] = {"exclusive", "keep", "mig", "mps", "governed"};
    const char *sign = "  of them ";
    for (size_t i = 0; i < DV_ARRAY_SIZE(modes); i++) {
        uint64_t n =
            dv_output_count(dv_output_get(dv_output_get(plan, "gpus_by_mode"), modes[i]), 0);
        if (n)
            dv_str_addf(text, "%s%llu %s", sign, (unsigned long long)n, modes[i]);
        sign = n ? ", " : sign;
    }
    dv_str_addc(text, '\n');
    if (at(plan, "saved_per_month_micros")->type == DV_OUTPUT_NULL)
        line(text, root, "saved: GPUs {plan.saved_gpus} ({plan.saved_percent} %)");
    else
        line(
            text, root,
            "saved: GPUs {plan.saved_gpus} ({plan.saved_percent} %), {plan.saved_per_month_micros} "
            "{currency} a month");
    const struct dv_output_node *replay = dv_output_get(plan, "replay");
    const struct dv_output_node *held = dv_output_get(plan, "held_back");
    if (replay && replay->type == DV_OUTPUT_OBJECT) {
        dv_str_add(text, "replayed against the plan:\n");
        say_replay(text, replay);
    }
    const struct dv_output_node *half;
    for (unsigned i = 0; (half = dv_output_at(held, i)); i++) {
        line(text, half,
             i ? "planned on the second half (GPUs {gpus_needed}), replayed on the first:"
               : "planned on the first half of the time ({gpus_needed} GPUs), replayed on the "
                 "second:");
        say_replay(text, dv_output_get(half, "replay"));
    }
}

static void say_quality(struct dv_str *text, const struct dv_output_node *root)
{
    static const struct {
        const char *key, *word;
    } counts[] = {
        {"missing_samples", "missing"},
        {"gaps", "gaps"},
        {"missing_values", "without a value"},
        {"duplicates", "duplicates"},
        {"out_of_order", "out of order"},
        {"too_late", "too late"},
        {"newest_first_workloads", "workloads newest first, read backwards"},
        {"over_100_percent", "above 100 %"},
        {"outside_range", "outside the range"},
        {"memory_only_workloads", "workloads with memory alone"},
        {"step_corrections", "answers at another step"},
        {"unnamed_series", "series without a name"},
    };
    const struct dv_output_node *q = dv_output_get(root, "data_quality");
    const char *sign = "\ndata: ";
    for (size_t i = 0; i < DV_ARRAY_SIZE(counts); i++) {
        uint64_t n = dv_output_count(dv_output_get(q, counts[i].key), 0);
        if (!n)
            continue;
        dv_str_addf(text, "%s%llu %s", sign, (unsigned long long)n, counts[i].word);
        sign = ", ";
    }
    if (*sign == ',')
        dv_str_addc(text, '\n');
    const struct dv_output_node *notes = dv_output_get(root, "notes"), *note;
    for (unsigned i = 0; (note = dv_output_at(notes, i)); i++)
        dv_str_addf(text, "note: %s\n", dv_output_text(note, ""));
}

/* How many workloads have the same class, mode and reason, by class. */
static void say_groups(struct dv_str *text, const struct dv_audit *audit)
{
    static const char *const titles[] = {"WORKLOADS", "CLASS", "MODE"};
    uint32_t counts[DV_AUDIT_BURSTY + 1][DV_AUDIT_GOVERNED + 1][DV_AUDIT_WHY_IDLE + 1] = {0};
    for (uint32_t i = 0; i < dv_audit_count(audit); i++) {
        const struct dv_audit_workload *w = dv_audit_at(audit, i);
        counts[w->class][w->how][w->why] += w->series.busy_times.n > 0;
    }
    dv_str_addf(text, "\n%-10s %-9s %-10s WHY\n", titles[0], titles[1], titles[2]);
    for (enum dv_audit_class c = DV_AUDIT_UNKNOWN; c <= DV_AUDIT_BURSTY; c++)
        for (enum dv_audit_how h = DV_AUDIT_KEEP; h <= DV_AUDIT_GOVERNED; h++)
            for (enum dv_audit_why y = DV_AUDIT_WHY_TOO_LITTLE; y <= DV_AUDIT_WHY_IDLE; y++)
                if (counts[c][h][y])
                    dv_str_addf(text, "%-10u %-9s %-10s %s\n", counts[c][h][y],
                                dv_audit_class_name(c),
                                y == DV_AUDIT_WHY_NOBODY ? "-" : dv_audit_how_name(h),
                                dv_audit_text_rule(y));
}

int dv_audit_answer_text(const struct dv_audit_answer *a, bool colour, struct dv_str *text)
{
    dv_cleanup(dv_output_free) struct dv_output *o = dv_audit_answer_tree(a, LISTED_MAX);
    if (!o)
        return -ENOMEM;
    struct dv_output_node *root = dv_output_root(o);
    say_waste(text, root, a->money.withheld);
    say_plan(text, root);
    say_quality(text, root);
    say_groups(text, a->feed->audit);
    dv_str_add(text, "\nthose that waste most (-o csv has all):\n");
    int r =
        dv_table_write(&dv_audit_answer_view, o, (struct dv_table_style){.colour = colour}, text);
    return r < 0 ? r : text->failed ? -ENOMEM : 0;
}
