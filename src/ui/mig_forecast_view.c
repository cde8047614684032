/* SPDX-License-Identifier: Apache-2.0 */
#include "mig_forecast_view.h"

#include "base/str.h"
#include "base/zone.h"

#include <stdlib.h>

static const char *name_of(const struct dv_forecast_view *v, uint32_t layout)
{
    return v->layouts->names[layout];
}

static const struct dv_mig_profile *profile_of(const struct dv_forecast_view *v, uint32_t i)
{
    return &v->gpu->mig->profiles[v->history->profiles[i]];
}

/* Thousandths of a slice for one step, as thousandths of a slice-hour. */
static int64_t slice_hours(const struct dv_forecast_view *v, int64_t cost)
{
    return (int64_t)((double)cost * (double)v->history->step_s / 3600 + 0.5);
}

static void add_hours(const struct dv_forecast_view *v, struct dv_output_node *row, const char *key,
                      int64_t cost)
{
    dv_output_decimal(row, key, slice_hours(v, cost), 3);
}

static void add_time(const struct dv_forecast_view *v, struct dv_output_node *row, const char *key,
                     size_t step)
{
    static const struct dv_zone utc = {.name = ""};
    char text[DV_ZONE_TEXT];
    dv_zone_format(&utc, v->history->start_unix + (int64_t)(step * v->history->step_s), text);
    dv_output_string(row, key, text);
}

/* ---- the history and the layouts ---- */

static void add_history(const struct dv_forecast_view *v, struct dv_output_node *root)
{
    const struct dv_demand_file *h = v->history;
    struct dv_output_node *o = dv_output_object(root, "history");
    add_time(v, o, "from", 0);
    add_time(v, o, "to", h->n);
    dv_output_uint(o, "steps", h->n);
    dv_output_uint(o, "rows", h->rows);
    dv_output_uint(o, "steps_without_rows", h->gaps);
    dv_output_uint(o, "duplicate_rows", h->duplicates);
    dv_output_uint(o, "out_of_order_rows", h->out_of_order);
}

static void add_layouts(const struct dv_forecast_view *v, struct dv_output_node *root)
{
    struct dv_output_node *list = dv_output_array(root, "layouts");
    for (uint32_t l = 0; l < v->layouts->n; l++) {
        struct dv_output_node *row = dv_output_object(list, NULL);
        dv_output_string(row, "layout", name_of(v, l));
        struct dv_output_node *instances = dv_output_array(row, "instances");
        for (uint32_t p = 0; p < v->gpu->mig->n_profiles; p++) {
            if (!v->layouts->supply[l][p])
                continue;
            struct dv_output_node *i = dv_output_object(instances, NULL);
            dv_output_string(i, "profile", v->gpu->mig->profiles[p].name);
            dv_output_uint(i, "count", v->layouts->supply[l][p]);
        }
    }
}

static void add_demand(const struct dv_forecast_view *v, struct dv_output_node *root)
{
    struct dv_output_node *list = dv_output_array(root, "demand");
    for (uint32_t i = 0; i < v->history->n_profiles; i++) {
        struct dv_output_node *row = dv_output_object(list, NULL);
        const struct dv_mig_demand_rates *r = &v->forecast->rates[i];
        dv_output_string(row, "profile", profile_of(v, i)->name);
        dv_output_decimal(row, "mean_error_instances", v->forecast->error_milli[i], 3);
        dv_output_decimal(row, "alpha", (int64_t)(r->alpha * 1000 + 0.5), 3);
        dv_output_decimal(row, "gamma", (int64_t)(r->gamma * 1000 + 0.5), 3);
        dv_output_decimal(row, "fade", (int64_t)(r->fade * 1000 + 0.5), 3);
    }
}

/* ---- scores ---- */

static int64_t total(const struct dv_mig_forecast_score *s)
{
    return s->unmet + s->switching;
}

static void add_score(const struct dv_forecast_view *v, struct dv_output_node *list,
                      const char *strategy, const char *layout,
                      const struct dv_mig_forecast_score *s)
{
    struct dv_output_node *row = dv_output_object(list, NULL);
    dv_output_string(row, "strategy", strategy);
    dv_output_string(row, "layout", layout);
    add_hours(v, row, "unmet_slice_hours", s->unmet);
    add_hours(v, row, "switching_slice_hours", s->switching);
    add_hours(v, row, "total_slice_hours", total(s));
    dv_output_uint(row, "switches", s->switches);
}

/* How much of what is to be won over never switching was missed; nothing where there is nothing. */
static void add_regret(const struct dv_forecast_view *v, struct dv_output_node *o)
{
    const struct dv_mig_forecast *f = v->forecast;
    int64_t worth = total(&f->never) - total(&f->clairvoyant);
    int64_t regret = total(&f->policy) - total(&f->clairvoyant);
    add_hours(v, o, "regret_slice_hours", regret);
    if (worth > 0)
        dv_output_decimal(o, "regret_percent",
                          (int64_t)((double)regret * 1000 / (double)worth + 0.5), 1);
    else
        dv_output_null(o, "regret_percent");
}

static void add_scores(const struct dv_forecast_view *v, struct dv_output_node *root)
{
    const struct dv_mig_forecast *f = v->forecast;
    struct dv_output_node *o = dv_output_object(root, "held_back");
    add_time(v, o, "from", f->held_from);
    add_time(v, o, "to", v->history->n);
    dv_output_uint(o, "steps", v->history->n - f->held_from);
    dv_output_uint(o, "steps_with_demand", f->scored);
    add_regret(v, o);
    struct dv_output_node *list = dv_output_array(root, "scores");
    add_score(v, list, "forecast", NULL, &f->policy);
    add_score(v, list, "never_switch", name_of(v, f->start), &f->never);
    add_score(v, list, "best_single", name_of(v, f->fixed_layout), &f->fixed);
    add_score(v, list, "clairvoyant", NULL, &f->clairvoyant);
}

/* ---- switches ---- */

static void add_reason(const struct dv_forecast_view *v, const struct dv_mig_forecast_switch *s,
                       struct dv_output_node *row)
{
    dv_cleanup(dv_str_done) struct dv_str text = {0};
    int64_t gain = slice_hours(v, s->gain) + 50, cost = slice_hours(v, s->cost) + 50;
    dv_str_addf(&text, "about %d.%d x %s wanted, %s has %u and %s %u: ", (s->demand + 50) / 1000,
                (s->demand + 50) % 1000 / 100, profile_of(v, s->profile)->name, name_of(v, s->from),
                v->problem->supply[s->from][s->profile], name_of(v, s->to),
                v->problem->supply[s->to][s->profile]);
    dv_str_addf(&text, "%lld.%lld slice-hours less unmet for %lld.%lld of switching",
                (long long)gain / 1000, (long long)gain % 1000 / 100, (long long)cost / 1000,
                (long long)cost % 1000 / 100);
    dv_output_string(row, "reason", dv_str_get(&text));
}

static void add_switch(const struct dv_forecast_view *v, const struct dv_mig_forecast_switch *s,
                       struct dv_output_node *list)
{
    struct dv_output_node *row = dv_output_object(list, NULL);
    add_time(v, row, "at", s->step);
    dv_output_string(row, "from", name_of(v, s->from));
    dv_output_string(row, "to", name_of(v, s->to));
    if (s->open)
        dv_output_null(row, "until");
    else
        add_time(v, row, "until", s->until);
    add_hours(v, row, "gain_slice_hours", s->gain);
    add_hours(v, row, "cost_slice_hours", s->cost);
    dv_output_string(row, "profile", profile_of(v, s->profile)->name);
    dv_output_decimal(row, "predicted_instances", s->demand, 3);
    add_reason(v, s, row);
}

static void add_switches(const struct dv_forecast_view *v, struct dv_output_node *root,
                         const char *key, const struct dv_mig_forecast_switch *s, size_t n)
{
    struct dv_output_node *list = dv_output_array(root, key);
    for (size_t i = 0; i < n; i++)
        add_switch(v, &s[i], list);
}

void dv_forecast_view_add(const struct dv_forecast_view *v, struct dv_output_node *root)
{
    const struct dv_mig_forecast_problem *p = v->problem;
    uint64_t step_ns = v->history->step_s * DV_NS_PER_S;
    dv_output_string(root, "gpu", v->gpu->name);
    dv_output_uint(root, "gpus", v->n_gpus);
    dv_output_seconds(root, "step_seconds", step_ns);
    dv_output_seconds(root, "season_seconds", step_ns * p->season);
    dv_output_seconds(root, "horizon_seconds", step_ns * p->horizon);
    dv_output_string(
        root, "current",
        name_of(v, p->start == DV_MIG_FORECAST_ANY ? v->forecast->policy.last : p->start));
    add_history(v, root);
    add_layouts(v, root);
    add_demand(v, root);
    add_scores(v, root);
    add_switches(v, root, "schedule", v->forecast->plan, v->forecast->n_plan);
    add_switches(v, root, "decisions", v->forecast->done, v->forecast->n_done);
}

static const struct dv_table_column schedule_columns[] = {
    {"AT", "at"},
    {"FROM", "from"},
    {"TO", "to"},
    {"UNTIL", "until"},
    {"GAINS", "gain_slice_hours", .right = true},
    {"COSTS", "cost_slice_hours", .right = true},
    {"WHY", "reason"},
};
static const struct dv_table_column score_columns[] = {
    {"HELD BACK", "strategy"},
    {"LAYOUT", "layout"},
    {"UNMET", "unmet_slice_hours", .right = true},
    {"SWITCHING", "switching_slice_hours", .right = true},
    {"TOTAL", "total_slice_hours", .right = true},
    {"SWITCHES", "switches", .right = true},
};
const struct dv_table dv_forecast_schedule_table = {"schedule", schedule_columns,
                                                    DV_ARRAY_SIZE(schedule_columns)};
const struct dv_table dv_forecast_score_table = {"scores", score_columns,
                                                 DV_ARRAY_SIZE(score_columns)};

/* ---- the page ------------------------------------------------------------------------------- */

static const struct dv_table decisions_table = {"decisions", schedule_columns,
                                                DV_ARRAY_SIZE(schedule_columns)};
static const struct dv_report_series missed[] = {{"total_slice_hours", "slice-hours missed"}};
static const struct dv_report_part parts[] = {
    {DV_REPORT_BARS, "Missed in the time held back",
     "Demand that was not met, and what switches took, in slice-hours.", .rows = "scores",
     .x = "strategy", .series = missed, .n_series = DV_ARRAY_SIZE(missed)},
    {DV_REPORT_TABLE, "How it compares", .table = &dv_forecast_score_table},
    {DV_REPORT_TABLE, "The next switches", .table = &dv_forecast_schedule_table},
    {DV_REPORT_TABLE, "What would have been done in the time held back", .table = &decisions_table},
};
const struct dv_report dv_forecast_report = {"MIG forecast", parts, DV_ARRAY_SIZE(parts)};
