/* SPDX-License-Identifier: Apache-2.0 */
#include "simulate_cluster_view.h"

#include "report_file.h"

#include <stdio.h>
#include <string.h>

static const uint32_t marks[] = {95, 100, 110, 120, 130};

static double share(double part, double whole)
{
    return whole > 0 ? part * 100 / whole : 0;
}

static void add_hundredths(struct dv_output_node *parent, const char *key, double v)
{
    char text[32];
    snprintf(text, sizeof text, "%.2f", v);
    dv_output_number(parent, key, text);
}

static void add_marks(struct dv_output_node *root, const struct dv_cluster_sim_result *r)
{
    struct dv_output_node *allocated = dv_output_object(root, "allocated_percent_at");
    struct dv_output_node *fragmented = dv_output_object(root, "fragmented_percent_at");
    for (size_t i = 0; i < DV_ARRAY_SIZE(marks); i++) {
        char key[16];
        const struct dv_cluster_sim_point *p = &r->points[marks[i]];
        snprintf(key, sizeof key, "%u", marks[i]);
        if (p->rows) {
            add_hundredths(allocated, key, p->allocated_percent);
            add_hundredths(fragmented, key, p->fragmented_percent);
        } else {
            dv_output_null(allocated, key);
            dv_output_null(fragmented, key);
        }
    }
}

static void add_counts(struct dv_output_node *root, const struct dv_cluster_sim_result *r)
{
    struct dv_output_node *failures = dv_output_object(root, "failures");
    for (int i = 0; i < DV_PLACE_LACKS; i++)
        dv_output_uint(failures, dv_place_lack_name((enum dv_place_lack)i), r->failures[i]);
    struct dv_output_node *classes = dv_output_object(root, "free_gpu_milli_by_class");
    for (int i = 0; i < DV_FRAG_CLASSES; i++)
        dv_output_uint(classes, dv_frag_class_name((enum dv_frag_class)i),
                       (uint64_t)(r->fragmented_by[i] + 0.5));
}

/* Is this the last point with rows up to a mark: every tenth, and 95? */
static bool is_for_people(const struct dv_cluster_sim_result *r, uint32_t percent)
{
    for (uint32_t i = percent; i <= DV_CLUSTER_SIM_PERCENT_MAX; i++) {
        if (i > percent && r->points[i].rows)
            return false;
        if (i % 10 == 0 || i == 95)
            return true;
    }
    return true;
}

/* Every percent that has rows. */
static void add_series(struct dv_output_node *root, const struct dv_cluster_sim_result *r,
                       bool for_people)
{
    struct dv_output_node *series = dv_output_array(root, "series");
    for (uint32_t i = 0; i <= DV_CLUSTER_SIM_PERCENT_MAX; i++) {
        const struct dv_cluster_sim_point *p = &r->points[i];
        if (!p->rows || (for_people && !is_for_people(r, i)))
            continue;
        struct dv_output_node *row = dv_output_object(series, NULL);
        dv_output_uint(row, "arrived_percent", i);
        dv_output_uint(row, "arrivals", p->rows);
        add_hundredths(row, "allocated_percent", p->allocated_percent);
        add_hundredths(row, "fragmented_percent", p->fragmented_percent);
    }
}

static void add_totals(struct dv_output_node *root, const struct dv_simulate_cluster_view *view)
{
    const struct dv_cluster_sim_result *r = &view->result;
    const struct dv_cluster_sim_config *c = view->config;
    double idle = (double)(r->total_gpu_milli - r->used_gpu_milli);
    dv_output_string(root, "policy", c->policy->name);
    dv_output_bool(root, "partial", view->partial);
    dv_output_uint(root, "nodes", dv_cluster_nodes(c->cluster));
    dv_output_uint(root, "arrived", r->arrived);
    dv_output_uint(root, "placed", r->placed);
    dv_output_uint(root, "failed", r->failed);
    dv_output_uint(root, "arrived_gpu_milli", r->arrived_gpu_milli);
    dv_output_uint(root, "used_gpu_milli", r->used_gpu_milli);
    dv_output_uint(root, "total_gpu_milli", r->total_gpu_milli);
    dv_output_uint(root, "used_cpu_milli", r->used_cpu_milli);
    dv_output_uint(root, "total_cpu_milli", r->total_cpu_milli);
    dv_output_uint(root, "used_memory_mib", r->used_memory_mib);
    dv_output_uint(root, "total_memory_mib", r->total_memory_mib);
    dv_output_uint(root, "free_gpus", r->idle_gpus);
    dv_output_uint(root, "fragmented_gpu_milli", (uint64_t)(r->fragmented_milli + 0.5));
    add_hundredths(root, "fragmented_percent_of_free", share(r->fragmented_milli, idle));
    if (c->times) {
        dv_output_uint(root, "departed", r->departed);
        dv_output_uint(root, "simulated_seconds", r->span_s);
        add_hundredths(root, "mean_allocated_percent", r->mean_allocated_percent);
        add_hundredths(root, "peak_allocated_percent", r->peak_allocated_percent);
    }
    if (c->migrate) {
        dv_output_uint(root, "migrations", r->migrations);
        dv_output_uint(root, "placed_by_migration", r->migrated_for);
    }
}

static const struct dv_table_column columns[] = {
    {"ARRIVED", "arrived_percent", .right = true, .suffix = "%"},
    {"PODS", "arrivals", .right = true},
    {"ALLOCATED", "allocated_percent", .right = true, .suffix = "%"},
    {"FRAGMENTED", "fragmented_percent", .right = true, .suffix = "%"},
};
static const struct dv_table table = {"series", columns, DV_ARRAY_SIZE(columns)};

static const struct dv_table_column totals[] = {
    {"Policy", "policy"},
    {"Nodes", "nodes"},
    {"Pods that came", "arrived"},
    {"Placed", "placed"},
    {"Not placed", "failed"},
    {"Wholly free GPUs", "free_gpus"},
    {"Fragmented, of what is free", "fragmented_percent_of_free", .suffix = " %"},
};
static const struct dv_table totals_table = {"", totals, DV_ARRAY_SIZE(totals)};
static const struct dv_report_series lines[] = {{"allocated_percent", "allocated"},
                                                {"fragmented_percent", "fragmented"}};
static const struct dv_report_series cells[] = {{"allocated", "allocated"}};
static const struct dv_report_part parts[] = {
    {DV_REPORT_TILES, .table = &totals_table},
    {DV_REPORT_LINES, "Allocated and fragmented",
     "Percent of all GPUs, when pods had asked for so many percent of them.", .rows = "series",
     .x = "arrived_percent", .x_title = "arrived, %", .y_title = "%", .series = lines,
     .n_series = DV_ARRAY_SIZE(lines), .from_zero = true},
    {DV_REPORT_MAP, "The cluster at the end",
     "A cell is a GPU, a group a node, filled as much as it is allocated.", .rows = "hosts.gpus",
     .x = "^name", .series = cells, .n_series = DV_ARRAY_SIZE(cells), .by = "^name",
     .colour = "^model"},
    {DV_REPORT_TABLE, "By arrival", .table = &table},
};
static const struct dv_report report = {"Cluster simulation", parts, DV_ARRAY_SIZE(parts)};

static void describe(const struct dv_simulate_cluster_view *view, struct dv_str *s)
{
    const struct dv_cluster_sim_result *r = &view->result;
    double total = (double)r->total_gpu_milli, idle = total - (double)r->used_gpu_milli;
    dv_str_addf(s, "%s: %u of %u pods placed on %u nodes, %u not%s\n", view->config->policy->name,
                r->placed, r->arrived, dv_cluster_nodes(view->config->cluster), r->failed,
                view->partial ? " (partial)" : "");
    dv_str_addf(s, "%.2f of %.0f GPUs allocated (%.2f%%), %.2f%% of the rest is fragmented\n",
                (double)r->used_gpu_milli / 1000, total / 1000,
                share((double)r->used_gpu_milli, total), share(r->fragmented_milli, idle));
    if (view->bounded)
        dv_str_addf(
            s,
            "at 100%% arrived at most %.2f%% can be allocated, about %.2f%% without refusing "
            "pods that fit\n",
            view->bound.refusing_percent, view->bound.percent);
    if (view->config->times)
        dv_str_addf(s, "over time %.2f%% allocated, at most %.2f%%; %u pods left\n",
                    r->mean_allocated_percent, r->peak_allocated_percent, r->departed);
    if (view->config->migrate)
        dv_str_addf(s, "%u pods moved to make room for %u\n", r->migrations, r->migrated_for);
    const char *before = "not placed for want of: ";
    for (int i = 0; r->failed && i < DV_PLACE_LACKS; i++) {
        if (!r->failures[i])
            continue;
        dv_str_addf(s, "%s%s %u", before, dv_place_lack_name((enum dv_place_lack)i),
                    r->failures[i]);
        before = ", ";
    }
    if (r->failed)
        dv_str_add(s, "\n");
    if (view->explain)
        dv_str_addf(s, "%s: %s\n", view->explain,
                    view->explained.len ? dv_str_get(&view->explained) : "did not come");
    dv_str_add(s, "\n");
}

static struct dv_output *make(const struct dv_simulate_cluster_view *view, bool for_people)
{
    struct dv_output *o = dv_output_new("ClusterSimulation");
    struct dv_output_node *root = dv_output_root(o);
    add_totals(root, view);
    add_marks(root, &view->result);
    if (view->bounded) {
        struct dv_output_node *bound = dv_output_object(root, "bound_percent_at_100");
        add_hundredths(bound, "without_refusals", view->bound.percent);
        add_hundredths(bound, "with_refusals", view->bound.refusing_percent);
    }
    add_counts(root, &view->result);
    double seconds = (double)view->took_ns / 1e9;
    dv_output_uint(root, "placements_per_second",
                   seconds > 0 ? (uint64_t)(view->result.arrived / seconds) : 0);
    if (view->explain) {
        struct dv_output_node *pod = dv_output_object(root, "explained");
        dv_output_string(pod, "pod", view->explain);
        dv_output_string(pod, "reason", view->explained.len ? dv_str_get(&view->explained) : NULL);
    }
    add_series(root, &view->result, for_people);
    return o;
}

/* Each GPU, for the page alone: there are many. */
static void add_hosts(struct dv_output_node *root, const struct dv_cluster *c)
{
    struct dv_output_node *hosts = dv_output_array(root, "hosts");
    for (uint32_t i = 0; i < dv_cluster_nodes(c); i++) {
        const struct dv_cluster_state *s = dv_cluster_state(c, i);
        if (!s->n_gpus)
            continue;
        struct dv_output_node *host = dv_output_object(hosts, NULL);
        dv_output_string(host, "name", dv_cluster_fixed(c, i)->name);
        dv_output_string(host, "model", dv_cluster_model(c, s->model));
        struct dv_output_node *gpus = dv_output_array(host, "gpus");
        for (uint32_t g = 0; g < s->n_gpus; g++) {
            struct dv_output_node *gpu = dv_output_object(gpus, NULL);
            bool cut = s->mig >> g & 1;
            dv_output_decimal(gpu, "allocated", cut ? 1000 : (int64_t)DV_CLUSTER_MILLI - s->gpu[g],
                              3);
        }
    }
}

int dv_simulate_cluster_answer(const struct dv_ui *ui, const struct dv_simulate_cluster_view *view)
{
    bool for_people = !dv_ui_is(ui, "json") && !dv_ui_is(ui, "csv");
    dv_cleanup(dv_output_free) struct dv_output *o = make(view, for_people);
    dv_cleanup(dv_output_free) struct dv_output *page = view->html ? make(view, false) : NULL;
    if (page)
        add_hosts(dv_output_root(page), view->config->cluster);
    int failed = dv_report_file_write(ui, &report, page, view->html);
    if (failed)
        return failed;
    if (for_people) {
        dv_cleanup(dv_str_done) struct dv_str text = {0};
        describe(view, &text);
        failed = dv_ui_print(dv_str_get(&text));
        if (failed)
            return failed;
    }
    return dv_ui_answer(ui, o, &table, "no pod asked for a GPU", view->exit);
}
