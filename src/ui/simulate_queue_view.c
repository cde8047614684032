/* SPDX-License-Identifier: Apache-2.0 */
#include "simulate_queue_view.h"

#include "base/units.h"
#include "render/fair_text.h"
#include "report_file.h"

#include <inttypes.h>
#include <stdio.h>

typedef unsigned __int128 u128;

#define SHOWN_MAX 5u /* workloads that wait, to people */

/* ---- the tree ------------------------------------------------------------------------------- */

/* Units as GPUs with three decimals. */
static void add_gpus(struct dv_output_node *at, const char *key, uint64_t units)
{
    if (units == DV_FAIR_UNLIMITED)
        dv_output_null(at, key);
    else
        dv_output_decimal(
            at, key, (int64_t)(((u128)units * 1000 + DV_COMPUTE_FULL / 2) / DV_COMPUTE_FULL), 3);
}

/* Unit nanoseconds as GPU seconds. */
static void add_gpu_seconds(struct dv_output_node *at, const char *key, u128 unit_ns)
{
    u128 ms = unit_ns / DV_NS_PER_MS / DV_COMPUTE_FULL;
    dv_output_decimal(at, key, ms > INT64_MAX ? INT64_MAX : (int64_t)ms, 3);
}

static void add_times(struct dv_output_node *at, const char *key,
                      const struct dv_queue_sim_times *t)
{
    struct dv_output_node *times = dv_output_object(at, key);
    dv_output_uint(times, "count", t->n);
    dv_output_seconds(times, "p50_seconds", t->p50);
    dv_output_seconds(times, "p99_seconds", t->p99);
    dv_output_seconds(times, "max_seconds", t->max);
}

static void add_series(struct dv_output_node *at, const struct dv_queue_sim_result *r,
                       const struct dv_queue_sim_queue *q)
{
    struct dv_output_node *list = dv_output_array(at, "over_time");
    for (uint32_t b = 0; b < r->buckets; b++) {
        struct dv_output_node *row = dv_output_object(list, NULL);
        dv_output_seconds(row, "from_seconds", b * r->bucket_ns);
        add_gpus(row, "held_gpus", q->held[b]);
        add_gpus(row, "deserved_gpus", q->share[b]);
    }
}

static void add_queue(struct dv_output_node *list, const struct dv_simulate_queue_view *view,
                      uint32_t i)
{
    const struct dv_queue_def *def = &view->scenario->queues[i];
    const struct dv_queue_sim_queue *q = &view->result->queues[i];
    struct dv_output_node *row = dv_output_object(list, NULL);
    dv_output_string(row, "queue", def->name);
    dv_output_string(row, "parent",
                     def->conf.parent ? view->scenario->queues[def->conf.parent - 1].name : NULL);
    add_gpus(row, "guarantee_gpus", def->conf.guarantee);
    add_gpus(row, "limit_gpus", def->conf.limit);
    dv_output_uint(row, "weight", def->conf.weight);
    dv_output_uint(row, "submitted", q->submitted);
    dv_output_uint(row, "refused", q->refused);
    dv_output_uint(row, "placed", q->started);
    dv_output_uint(row, "ended", q->ended);
    dv_output_uint(row, "evicted", q->evicted);
    dv_output_uint(row, "moved", q->moved);
    dv_output_uint(row, "pending", q->pending);
    dv_output_seconds(row, "wait_p50_seconds", q->waits.p50);
    dv_output_seconds(row, "wait_p99_seconds", q->waits.p99);
    dv_output_seconds(row, "wait_max_seconds", q->waits.max);
    dv_output_seconds(row, "longest_pending_seconds", q->longest_pending_ns);
    add_gpu_seconds(row, "gpu_seconds", q->held_unit_ns);
    add_series(row, view->result, q);
}

static const char *queue_name(uint32_t queue, const void *arg)
{
    const struct dv_queue_scenario *s = arg;
    return s->queues[queue - 1].name;
}

/* "train", or "train/3" of several. */
static void add_name(struct dv_str *s, const struct dv_queue_scenario *scenario, uint32_t jobs,
                     uint32_t instance)
{
    dv_str_add(s, scenario->jobs[jobs].name);
    if (scenario->jobs[jobs].count > 1)
        dv_str_addf(s, "/%u", instance);
}

static void add_verdict(struct dv_output_node *row, const struct dv_simulate_queue_view *view,
                        const struct dv_queue_sim_pending *p)
{
    const struct dv_fair_verdict *v = &p->verdict;
    const struct dv_queue_scenario *s = view->scenario;
    dv_cleanup(dv_str_done) struct dv_str name = {0};
    dv_cleanup(dv_str_done) struct dv_str other = {0};
    dv_cleanup(dv_str_done) struct dv_str text = {0};
    struct dv_fair_text_names names = {.queue = queue_name, .arg = s};
    add_name(&name, s, p->jobs, p->instance);
    if (v->other != DV_FAIR_NONE && p->other_jobs != UINT32_MAX) {
        add_name(&other, s, p->other_jobs, p->other_instance);
        names.other = dv_str_get(&other);
    }
    dv_fair_text(v, &names, view->result->now_ns, &text);
    dv_output_string(row, "workload", dv_str_get(&name));
    dv_output_string(row, "queue", s->queues[s->jobs[p->jobs].spec.queue].name);
    dv_output_seconds(row, "waited_seconds", p->waited_ns);
    dv_output_string(row, "reason", dv_fair_reason_name(v->reason));
    dv_output_string(row, "victims", dv_fair_no_victims_name(v->victims));
    add_gpus(row, "asked_gpus", v->asked);
    add_gpus(row, "free_gpus", v->free);
    dv_output_uint(row, "members_fit", v->members);
    dv_output_uint(row, "members_needed", v->min);
    dv_output_uint(row, "position", v->position);
    if (v->at_ns == DV_NEVER)
        dv_output_null(row, "starts_at_seconds");
    else
        dv_output_seconds(row, "starts_at_seconds", v->at_ns);
    dv_output_string(row, "text", dv_str_get(&text));
}

static void add_pending(struct dv_output_node *list, const struct dv_simulate_queue_view *view,
                        const struct dv_queue_sim_pending *p)
{
    add_verdict(dv_output_object(list, NULL), view, p);
}

/* The one that was asked about. */
static void add_about(struct dv_output_node *root, const struct dv_simulate_queue_view *view)
{
    static const char *const stages[] = {
        [DV_QUEUE_SIM_COMING] = "coming",   [DV_QUEUE_SIM_PENDING_STAGE] = "pending",
        [DV_QUEUE_SIM_RUNNING] = "running", [DV_QUEUE_SIM_ENDED] = "ended",
        [DV_QUEUE_SIM_REFUSED] = "refused",
    };
    const struct dv_queue_sim_about *about = view->about;
    const struct dv_queue_scenario *s = view->scenario;
    dv_cleanup(dv_str_done) struct dv_str name = {0};
    char buf[DV_UNITS_TEXT], text[DV_UNITS_TEXT + 16] = "";
    if (!about)
        return;
    struct dv_output_node *row = dv_output_object(root, "explained");
    dv_output_string(row, "stage", stages[about->stage]);
    dv_output_seconds(row, "comes_at_seconds", about->comes_ns);
    if (about->judged) {
        add_verdict(row, view, &about->answer);
        return;
    }
    add_name(&name, s, about->answer.jobs, about->answer.instance);
    dv_output_string(row, "workload", dv_str_get(&name));
    dv_output_string(row, "queue", s->queues[s->jobs[about->answer.jobs].spec.queue].name);
    if (about->stage == DV_QUEUE_SIM_COMING && about->comes_ns > view->result->now_ns)
        snprintf(text, sizeof text, "comes in %s",
                 dv_units_format_duration(about->comes_ns - view->result->now_ns, buf));
    dv_output_string(row, "text",
                     text[0]                               ? text
                     : about->stage == DV_QUEUE_SIM_ENDED  ? "has ended"
                     : about->stage == DV_QUEUE_SIM_COMING ? "has not come yet"
                                                           : "was refused");
}

static void add_published(struct dv_output_node *root, const struct dv_queue_published *p)
{
    struct dv_output_node *at = p && p->who ? dv_output_object(root, "published") : NULL;
    if (!at)
        return;
    dv_output_string(at, "who", p->who);
    dv_output_seconds(at, "seconds", p->ns);
    dv_output_string(at, "of", p->of);
}

static void add_counts(struct dv_output_node *root, const struct dv_simulate_queue_view *view)
{
    const struct dv_queue_sim_result *r = view->result;
    dv_output_string(root, "scenario", view->scenario->name);
    dv_output_bool(root, "partial", view->partial);
    dv_output_seconds(root, "simulated_seconds", r->now_ns);
    add_gpus(root, "total_gpus", r->capacity);
    add_gpu_seconds(root, "gpu_seconds", r->held_unit_ns);
    dv_output_uint(root, "submitted", r->submitted);
    dv_output_uint(root, "refused", r->refused);
    dv_output_uint(root, "placed", r->started);
    dv_output_uint(root, "ended", r->ended);
    dv_output_uint(root, "running", r->running);
    dv_output_uint(root, "pending", r->pending);
    dv_output_uint(root, "evicted", r->evicted);
    dv_output_uint(root, "shrunk", r->shrunk);
    dv_output_uint(root, "reclaimed", r->reclaims);
    dv_output_uint(root, "moved", r->moved);
    dv_output_uint(root, "grown", r->grown);
    dv_output_uint(root, "backfilled", r->backfilled);
    add_gpu_seconds(root, "lost_gpu_seconds", (u128)r->lost_unit_ms * DV_NS_PER_MS);
    add_times(root, "waits", &r->waits);
    add_times(root, "decisions", &r->decision);
    dv_output_seconds(root, "deciding_seconds", r->deciding_ns);
    dv_output_seconds(root, "verdict_seconds", r->explain_ns);
    add_published(root, view->published);
}

/* ---- for people ----------------------------------------------------------------------------- */

static void describe_decisions(const struct dv_simulate_queue_view *view, struct dv_str *s)
{
    char a[DV_UNITS_TEXT], b[DV_UNITS_TEXT], c[DV_UNITS_TEXT], d[DV_UNITS_TEXT];
    const struct dv_queue_sim_result *r = view->result;
    dv_str_addf(
        s, "%u decisions: p50 %s, p99 %s, longest %s; deciding took %s in all\n", r->decisions,
        dv_units_format_duration(r->decision.p50, b), dv_units_format_duration(r->decision.p99, c),
        dv_units_format_duration(r->decision.max, d), dv_units_format_duration(r->deciding_ns, a));
    if (view->published && view->published->who)
        dv_str_addf(s, "published: %s %s (%s); ours are decisions alone\n", view->published->who,
                    dv_units_format_duration(view->published->ns, a), view->published->of);
}

static void describe(const struct dv_simulate_queue_view *view, struct dv_str *s)
{
    char gpus[DV_FAIR_TEXT_GPUS], time[DV_UNITS_TEXT];
    const struct dv_queue_sim_result *r = view->result;
    double all = (double)r->capacity * (double)r->now_ns;
    dv_str_addf(s, "%s%s%u of %u workloads placed on %s GPUs in %s, %.1f%% of GPU time held%s\n",
                view->scenario->name, view->scenario->name[0] ? ": " : "", r->started, r->submitted,
                dv_fair_text_gpus(r->capacity, gpus), dv_units_format_duration(r->now_ns, time),
                all > 0 ? 100 * (double)r->held_unit_ns / all : 0.0,
                view->partial ? " (partial)" : "");
    dv_str_addf(s,
                "%u ended, %u run, %u wait, %u refused; %u evicted (%u reclaimed), %u moved, "
                "%u backfilled\n",
                r->ended, r->running, r->pending, r->refused, r->evicted, r->reclaims, r->moved,
                r->backfilled);
    describe_decisions(view, s);
    dv_str_add(s, "\n");
}

static void describe_row(const struct dv_output_node *row, struct dv_str *s)
{
    dv_str_addf(s, "%s (%s): %s\n", dv_output_text(dv_output_get(row, "workload"), ""),
                dv_output_text(dv_output_get(row, "queue"), ""),
                dv_output_text(dv_output_get(row, "text"), ""));
}

/* Those who wait, or were refused, behind the table. */
static void describe_list(struct dv_output *o, const char *key, uint32_t all, struct dv_str *s)
{
    const struct dv_output_node *list = dv_output_get(dv_output_root(o), key);
    const struct dv_output_node *row;
    unsigned i = 0;
    for (; i < SHOWN_MAX && (row = dv_output_at(list, i)) != NULL; i++) {
        dv_str_add(s, i ? "" : "\n");
        describe_row(row, s);
    }
    if (all > i)
        dv_str_addf(s, "and %u more\n", all - i);
}

static const struct dv_table_column columns[] = {
    {"QUEUE", "queue"},
    {"PARENT", "parent", .csv_only = true},
    {"GUARANTEE", "guarantee_gpus", .right = true},
    {"LIMIT", "limit_gpus", .right = true},
    {"WEIGHT", "weight", .right = true},
    {"SUBMITTED", "submitted", .right = true},
    {"REFUSED", "refused", .right = true, .csv_only = true},
    {"PLACED", "placed", .right = true},
    {"ENDED", "ended", .right = true, .csv_only = true},
    {"EVICTED", "evicted", .right = true},
    {"MOVED", "moved", .right = true},
    {"PENDING", "pending", .right = true},
    {"WAIT P50", "wait_p50_seconds", .right = true},
    {"P99", "wait_p99_seconds", .right = true},
    {"MAX", "wait_max_seconds", .right = true},
    {"LONGEST PENDING", "longest_pending_seconds", .right = true, .csv_only = true},
    {"GPU SECONDS", "gpu_seconds", .right = true},
};
static const struct dv_table table = {"queues", columns, DV_ARRAY_SIZE(columns)};

/* ---- the page of --html ---- */

static const struct dv_table_column tile_columns[] = {
    {"submitted", "submitted"}, {"placed", "placed"},
    {"pending", "pending"},     {"refused", "refused"},
    {"evicted", "evicted"},     {"moved", "moved"},
    {"GPUs", "total_gpus"},     {"simulated", "simulated_seconds"},
};
static const struct dv_table tiles = {"", tile_columns, DV_ARRAY_SIZE(tile_columns)};

static const struct dv_table_column why_columns[] = {
    {"WORKLOAD", "workload"},
    {"QUEUE", "queue"},
    {"WAITED", "waited_seconds", .right = true},
    {"WHY", "text"},
};
static const struct dv_table why = {"pending_workloads", why_columns, DV_ARRAY_SIZE(why_columns)};
static const struct dv_table why_not = {"refused_workloads", why_columns,
                                        DV_ARRAY_SIZE(why_columns)};

static const struct dv_report_series held[] = {{"held_gpus", "held"}};
static const struct dv_report_series deserved[] = {{"deserved_gpus", "deserved"}};
static const struct dv_report_series waits[] = {{"wait_p50_seconds", "p50"},
                                                {"wait_p99_seconds", "p99"}};

static const struct dv_report_part parts[] = {
    {DV_REPORT_TILES, .table = &tiles},
    {DV_REPORT_LINES, "GPUs held", "Mean over each interval; the first queues.",
     .rows = "queues.over_time", .x = "from_seconds", .x_title = "time, s", .y_title = "GPUs",
     .by = "^queue", .series = held, .n_series = 1, .from_zero = true},
    {DV_REPORT_LINES, "GPUs deserved", "The fair share at the end of each interval.",
     .rows = "queues.over_time", .x = "from_seconds", .x_title = "time, s", .y_title = "GPUs",
     .by = "^queue", .series = deserved, .n_series = 1, .from_zero = true},
    {DV_REPORT_BARS, "Waits", "From submission to the start, in seconds.", .rows = "queues",
     .x = "queue", .y_title = "s", .series = waits, .n_series = 2},
    {DV_REPORT_TABLE, "Queues", .table = &table},
    {DV_REPORT_TABLE, "Why they wait", .table = &why},
    {DV_REPORT_TABLE, "Why they were refused", .table = &why_not},
};
static const struct dv_report report = {"Queue simulation", parts, DV_ARRAY_SIZE(parts)};

int dv_simulate_queue_answer(const struct dv_ui *ui, const struct dv_simulate_queue_view *view)
{
    dv_cleanup(dv_output_free) struct dv_output *o = dv_output_new("QueueSimulation");
    struct dv_output_node *root = dv_output_root(o);
    bool for_people = !dv_ui_is(ui, "json") && !dv_ui_is(ui, "csv");
    dv_cleanup(dv_str_done) struct dv_str text = {0}, after = {0};
    add_counts(root, view);
    struct dv_output_node *queues = dv_output_array(root, "queues");
    for (uint32_t i = 0; i < view->scenario->n_queues; i++)
        add_queue(queues, view, i);
    struct dv_output_node *pending = dv_output_array(root, "pending_workloads");
    for (uint32_t i = 0; i < view->result->n_explained; i++)
        add_pending(pending, view, &view->result->explained[i]);
    struct dv_output_node *refused = dv_output_array(root, "refused_workloads");
    for (uint32_t i = 0; i < view->result->n_turned_down; i++)
        add_pending(refused, view, &view->result->turned_down[i]);
    add_about(root, view);
    int failed = dv_report_file_write(ui, &report, o, view->html);
    if (failed)
        return failed;
    if (for_people) {
        describe(view, &text);
        int exit = dv_ui_print(dv_str_get(&text));
        if (exit)
            return exit;
    }
    int exit = dv_ui_answer(ui, o, &table, "no queue", DV_UI_OK);
    if (exit || !for_people)
        return exit;
    if (view->about) {
        dv_str_add(&after, "\n");
        describe_row(dv_output_get(root, "explained"), &after);
        return dv_ui_print(dv_str_get(&after));
    }
    describe_list(o, "pending_workloads", view->result->pending, &after);
    describe_list(o, "refused_workloads", view->result->refused, &after);
    return after.len ? dv_ui_print(dv_str_get(&after)) : DV_UI_OK;
}
