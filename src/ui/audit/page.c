/* SPDX-License-Identifier: Apache-2.0 */
#include "page.h"

#include "report_file.h"

#include <math.h>

#define BUCKETS 240u
#define ROWS 1000u

/* ---- utilization over time ------------------------------------------------------------------ */

struct timeline {
    int64_t from_ns;
    double width_ns;
    struct {
        double busy; /* percent, summed over samples */
        uint64_t n;
    } buckets[BUCKETS];
};

static bool add_samples(void *arg, const struct dv_spool_sample *s, size_t n)
{
    struct timeline *t = arg;
    for (size_t i = 0; i < n; i++) {
        double at = (double)(s[i].unix_ns - t->from_ns) / t->width_ns;
        if (s[i].memory || at < 0 || at >= BUCKETS)
            continue;
        t->buckets[(size_t)at].busy += (double)s[i].value;
        t->buckets[(size_t)at].n++;
    }
    return true;
}

static void add_rounded(struct dv_output_node *to, const char *key, double v, unsigned scale)
{
    dv_output_decimal(to, key, llround(v * pow(10, scale)), scale);
}

static int add_timeline(struct dv_output_node *root, const struct dv_audit_answer *a,
                        struct dv_err *err)
{
    const struct dv_audit_fleet *f = dv_audit_fleet(a->feed->audit);
    /* Whole steps, each sample in the middle of its own: else some buckets would have one more. */
    double step = (double)DV_MAX(f->step_ns, 1), span = (double)(f->last_ns - f->first_ns) + step;
    struct timeline t = {.from_ns = f->first_ns - (int64_t)(f->step_ns / 2),
                         .width_ns = ceil(span / BUCKETS / step) * step};
    if (!a->feed->spool || a->feed->spool_err.msg[0])
        return 0;
    int r = dv_spool_walk(a->feed->spool, add_samples, &t, err);
    struct dv_output_node *list = dv_output_array(root, "timeline");
    for (size_t i = 0; r == 0 && i < BUCKETS && (double)i * t.width_ns < span; i++) {
        struct dv_output_node *row = dv_output_object(list, NULL);
        double held = (double)t.buckets[i].n * step / t.width_ns;
        double n = t.buckets[i].n ? (double)t.buckets[i].n : 1;
        add_rounded(row, "hours", (double)i * t.width_ns / 3.6e12, 3);
        add_rounded(row, "busy_percent", t.buckets[i].busy / n, 3);
        add_rounded(row, "gpus_held", held, 2);
        add_rounded(row, "gpus_busy", held * t.buckets[i].busy / n / 100, 2);
    }
    return r;
}

/* ---- the plan's GPUs, the classes ----------------------------------------------------------- */

static void add_gpus(struct dv_output_node *root, const struct dv_audit_answer *a)
{
    const struct dv_audit_plan *p = a->work->plan;
    struct dv_output_node *list = dv_output_array(root, "plan_gpus");
    for (enum dv_audit_how how = DV_AUDIT_KEEP; how <= DV_AUDIT_GOVERNED; how++)
        for (uint32_t i = 0; i < p->n_gpus; i++) {
            if (p->gpus[i].how != how)
                continue;
            struct dv_output_node *row = dv_output_object(list, NULL);
            dv_cleanup(dv_str_done) struct dv_str name = {0};
            dv_str_addf(&name, "GPU %u, %s, at most %u at once of %u workloads", i,
                        dv_audit_how_name(how), p->gpus[i].workloads_peak, p->gpus[i].workloads);
            dv_output_string(row, "gpu", dv_str_get(&name));
            dv_output_string(row, "mode", dv_audit_how_name(how));
            add_rounded(row, "filled", p->gpus[i].filled_peak, 3);
        }
}

static void add_classes(struct dv_output_node *root, const struct dv_audit_answer *a)
{
    const struct dv_audit_fleet *f = dv_audit_fleet(a->feed->audit);
    struct dv_output_node *list = dv_output_array(root, "classes");
    for (enum dv_audit_class c = DV_AUDIT_UNKNOWN; c <= DV_AUDIT_BURSTY; c++) {
        struct dv_output_node *row = dv_output_object(list, NULL);
        dv_output_string(row, "class", dv_audit_class_name(c));
        dv_output_uint(row, "workloads", f->by_class[c]);
    }
}

/* ---- the page ------------------------------------------------------------------------------- */

static const struct dv_table_column tiles[] = {
    {"Workloads", "workloads"},
    {"Busy on average", "mean_busy_percent", .suffix = " %"},
    {"Samples that are idle", "idle_sample_percent", .suffix = " %"},
    {"GPUs at once", "fleet.gpus_peak"},
    {"Wasted in a month", "waste.waste_per_month_micros", DV_VALUE_MONEY},
    {"Currency", "currency"},
    {"GPUs that would do", "plan.gpus_needed"},
    {"Saved", "plan.saved_percent", .suffix = " %"},
    {"Busy samples that would have waited", "plan.replay.waited_percent", .suffix = " %"},
};
static const struct dv_table tiles_view = {"", tiles, DV_ARRAY_SIZE(tiles)};

static const struct dv_table_column half_columns[] = {
    {"PLANNED ON", "planned_on"},
    {"GPUS", "gpus_needed", .right = true},
    {"REPLAYED ON", "replayed_on"},
    {"WAITED", "replay.waited_percent", .right = true, .suffix = " %"},
    {"LONGEST WAIT", "replay.longest_wait_seconds", .right = true},
    {"MEMORY OVER, STEPS", "replay.memory_over_steps", .right = true},
    {"OF STEPS", "replay.gpu_steps", .right = true},
    {"NOT PLANNED", "replay.unplanned_workloads", .right = true},
};
static const struct dv_table half_view = {"plan.held_back", half_columns,
                                          DV_ARRAY_SIZE(half_columns)};

static const struct dv_report_series busy_lines[] = {{"busy_percent", "busy"}};
static const struct dv_report_series gpu_lines[] = {{"gpus_held", "held"}, {"gpus_busy", "busy"}};
static const struct dv_report_series class_bars[] = {{"workloads", "workloads"}};
static const struct dv_report_series filled[] = {{"filled", "filled"}};
static const char *const modes[] = {"keep", "exclusive", "mig", "mps", "governed", NULL};
static const struct dv_report_part parts[] = {
    {DV_REPORT_TILES, .table = &tiles_view},
    {DV_REPORT_LINES, "Utilization over time", "Of the GPUs that were held.", .rows = "timeline",
     .x = "hours", .x_title = "hours from the first sample", .y_title = "%", .series = busy_lines,
     .n_series = DV_ARRAY_SIZE(busy_lines), .from_zero = true},
    {DV_REPORT_LINES, "GPUs over time",
     "Held by a workload, and as many as all their busy time would fill.", .rows = "timeline",
     .x = "hours", .x_title = "hours from the first sample", .y_title = "GPUs", .series = gpu_lines,
     .n_series = DV_ARRAY_SIZE(gpu_lines), .from_zero = true},
    {DV_REPORT_BARS, "Workloads by class", .rows = "classes", .x = "class", .series = class_bars,
     .n_series = DV_ARRAY_SIZE(class_bars), .from_zero = true},
    {DV_REPORT_MAP, "The plan",
     "A cell is a GPU of the plan, filled as its memory or its compute is, whichever is more.",
     .rows = "plan_gpus", .x = "gpu", .by = "mode", .series = filled, .n_series = 1,
     .colour = "mode", .colours = modes},
    {DV_REPORT_TABLE, "Planned on one half of the time, replayed on the other",
     "What a plan does on days that it has not seen.", .table = &half_view},
    {DV_REPORT_TABLE, "Workloads, those that waste most first", .table = &dv_audit_answer_view},
};
static const struct dv_report report = {"Audit", parts, DV_ARRAY_SIZE(parts)};

int dv_audit_page_write(const struct dv_ui *ui, const struct dv_audit_answer *a, const char *path)
{
    struct dv_err err = {{0}};
    if (!path)
        return DV_UI_OK;
    dv_cleanup(dv_output_free) struct dv_output *o = dv_audit_answer_tree(a, ROWS);
    if (!o)
        return dv_ui_fail(ui, DV_UI_FAILURE, "out of memory");
    struct dv_output_node *root = dv_output_root(o);
    add_gpus(root, a);
    add_classes(root, a);
    if (add_timeline(root, a, &err) < 0)
        return dv_ui_fail(ui, DV_UI_FAILURE, "%s", err.msg);
    return dv_report_file_write(ui, &report, o, path);
}
