/* SPDX-License-Identifier: Apache-2.0 */
/* divvy mig forecast: when to switch MIG layouts, by a history of demand. Needs no daemon. */
#include "mig_forecast_view.h"
#include "report_file.h"
#include "verbs.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

struct values {
    const char *history, *layouts, *only, *gpu, *current, *html;
    int64_t gpus, margin, held_back;
    uint64_t step_ns, season_ns, horizon_ns, switch_ns, hold_ns;
};

#define DAY_NS (24 * 3600 * DV_NS_PER_S)

static const struct dv_option options[] = {
    {"history", 0, "CSV", "demand: columns time, and one for each MIG profile (- is stdin); needed",
     DV_OPTION_TEXT, offsetof(struct values, history)},
    {"layouts", 'f', "FILE", "the layouts to choose from: mig-parted's configurations; needed",
     DV_OPTION_TEXT, offsetof(struct values, layouts)},
    {"only", 0, "LIST", "only these configurations of it", DV_OPTION_TEXT,
     offsetof(struct values, only)},
    {"gpu", 'g', "MODEL", "the GPUs' model; needed", DV_OPTION_TEXT, offsetof(struct values, gpu)},
    {"gpus", 'n', "N", "how many GPUs of it", DV_OPTION_INTEGER, offsetof(struct values, gpus), 1,
     DV_FORECAST_GPUS_MAX, .otherwise = "1"},
    {"current", 0, "NAME", "the layout in force; default: the best one before what is held back",
     DV_OPTION_TEXT, offsetof(struct values, current)},
    {"step", 0, "TIME", "how often a switch is thought about", DV_OPTION_DURATION,
     offsetof(struct values, step_ns), DV_NS_PER_S, 31 * DAY_NS, .otherwise = "1h"},
    {"season", 0, "TIME", "what repeats: a day, or 168h for a week", DV_OPTION_DURATION,
     offsetof(struct values, season_ns), DV_NS_PER_S, 366 * DAY_NS, .otherwise = "24h"},
    {"horizon", 0, "TIME", "how far ahead is planned", DV_OPTION_DURATION,
     offsetof(struct values, horizon_ns), DV_NS_PER_S, 366 * DAY_NS, .otherwise = "24h"},
    {"switch-cost", 0, "TIME", "how long an instance that is destroyed or made is out of use",
     DV_OPTION_DURATION, offsetof(struct values, switch_ns), 0, DAY_NS, .otherwise = "5m"},
    {"hold", 0, "TIME", "at least so long between two switches", DV_OPTION_DURATION,
     offsetof(struct values, hold_ns), 0, 366 * DAY_NS, .otherwise = "1h"},
    {"margin", 0, "PERCENT", "what a switch has to bring beyond its cost", DV_OPTION_INTEGER,
     offsetof(struct values, margin), 0, 10000, .otherwise = "50"},
    {"held-back", 0, "PERCENT", "of the history, its end, to be scored on", DV_OPTION_INTEGER,
     offsetof(struct values, held_back), 1, 90, .otherwise = "30"},
    {DV_REPORT_FILE_OPTION, offsetof(struct values, html)},
};

/* ---- what is asked -------------------------------------------------------------------------- */

struct asked {
    const struct dv_gpu_model *gpu;
    struct dv_forecast_layouts layouts;
    struct dv_demand_file *history;
    struct dv_mig_forecast_problem problem;
    struct dv_mig_forecast *forecast;
};

static int read_gpu(const struct dv_ui *ui, struct asked *a)
{
    const struct values *v = ui->values;
    struct dv_err err = {{0}};
    const char *missing = !v->history ? "history CSV" : !v->layouts ? "layouts FILE" : "gpu MODEL";
    if (!v->history || !v->layouts || !v->gpu)
        return dv_ui_fail(ui, DV_UI_USAGE, "--%s is missing", missing);
    if (!strcmp(v->history, "-") && !strcmp(v->layouts, "-"))
        return dv_ui_fail(ui, DV_UI_USAGE, "--history and --layouts cannot both be stdin");
    a->gpu = dv_gpu_model_find(v->gpu, &err);
    if (!a->gpu)
        return dv_ui_fail(ui, DV_UI_USAGE, "%s", err.msg);
    if (!a->gpu->mig)
        return dv_ui_fail(ui, DV_UI_PROBLEMS, "%s has no MIG", a->gpu->name);
    if (v->season_ns % v->step_ns || v->season_ns < v->step_ns)
        return dv_ui_fail(ui, DV_UI_USAGE, "--season is a whole number of steps (--step)");
    if (v->season_ns / v->step_ns > DV_MIG_DEMAND_SEASON_MAX)
        return dv_ui_fail(ui, DV_UI_USAGE, "--season is at most %u steps (--step)",
                          DV_MIG_DEMAND_SEASON_MAX);
    return DV_UI_OK;
}

static int read_files(const struct dv_ui *ui, struct asked *a)
{
    const struct values *v = ui->values;
    dv_cleanup(dv_str_done) struct dv_str notes = {0};
    struct dv_err err = {{0}};
    int r = dv_forecast_layouts_load(v->layouts, a->gpu, (uint32_t)v->gpus, v->only, &a->layouts,
                                     &notes, &err);
    if (r == 0 && notes.len)
        fputs(dv_str_get(&notes), stderr);
    if (r == 0)
        r = dv_demand_file_load(v->history, a->gpu->mig, v->step_ns / DV_NS_PER_S, &a->history,
                                &err);
    if (r < 0)
        return dv_ui_fail(ui, DV_UI_FAILURE, "%s", err.msg);
    const struct dv_demand_file *h = a->history;
    if (h->n_foreign == 1)
        dv_ui_fail(ui, 0, "%s: the column '%s' is left out: it is no MIG profile of %s", v->history,
                   h->foreign, a->gpu->name);
    else if (h->n_foreign)
        dv_ui_fail(ui, 0,
                   "%s: '%s' and %u more columns are left out: they are no MIG profiles of %s",
                   v->history, h->foreign, h->n_foreign - 1, a->gpu->name);
    return DV_UI_OK;
}

static int no_layout(const struct dv_ui *ui, const struct asked *a, const char *name)
{
    const char *names[DV_MIG_FORECAST_LAYOUTS_MAX];
    for (uint32_t l = 0; l < a->layouts.n; l++)
        names[l] = a->layouts.names[l];
    const char *near = dv_str_nearest(name, names, a->layouts.n);
    return dv_ui_fail(ui, DV_UI_USAGE, "--current: no layout '%s' among those compared%s%s%s", name,
                      near ? "; did you mean '" : "", near ? near : "", near ? "'?" : "");
}

static int find_current(const struct dv_ui *ui, struct asked *a)
{
    const struct values *v = ui->values;
    a->problem.start = DV_MIG_FORECAST_ANY;
    for (uint32_t l = 0; v->current && l < a->layouts.n; l++)
        if (!strcmp(a->layouts.names[l], v->current))
            a->problem.start = l;
    if (v->current && a->problem.start == DV_MIG_FORECAST_ANY)
        return no_layout(ui, a, v->current);
    return DV_UI_OK;
}

/* A switch is as dear as the slices that it moves are missed, in thousandths of one for a step. */
static void fill_costs(const struct values *v, struct asked *a)
{
    struct dv_mig_forecast_problem *p = &a->problem;
    for (uint32_t l = 0; l < p->n_layouts; l++) {
        for (uint32_t i = 0; i < p->n_profiles; i++)
            p->supply[l][i] = a->layouts.supply[l][a->history->profiles[i]];
        for (uint32_t m = 0; m < p->n_layouts; m++)
            p->switching[l][m] = (int64_t)((double)a->layouts.moved[l][m] * 1000 *
                                           (double)v->switch_ns / (double)v->step_ns);
    }
}

static int fill_problem(const struct dv_ui *ui, struct asked *a)
{
    const struct values *v = ui->values;
    const struct dv_demand_file *h = a->history;
    uint64_t horizon = DV_MAX(v->horizon_ns / v->step_ns, 1);
    a->problem = (struct dv_mig_forecast_problem){
        .n_profiles = h->n_profiles,
        .n_layouts = a->layouts.n,
        .demand = h->demand,
        .n = h->n,
        .held_back = h->n * (size_t)v->held_back / 100,
        .season = (uint32_t)(v->season_ns / v->step_ns),
        .horizon = (uint32_t)DV_MIN(horizon, DV_MIG_FORECAST_HORIZON_MAX + 1),
        .hold = (uint32_t)DV_MIN(v->hold_ns / v->step_ns, UINT32_MAX),
        .margin_permille = (uint32_t)v->margin * 10,
    };
    for (uint32_t i = 0; i < h->n_profiles; i++)
        a->problem.slices[i] = a->gpu->mig->profiles[h->profiles[i]].slices;
    fill_costs(v, a);
    return find_current(ui, a);
}

/* ---- the answer ----------------------------------------------------------------------------- */

static int answer(const struct dv_ui *ui, const struct asked *a)
{
    const struct values *v = ui->values;
    dv_cleanup(dv_output_free) struct dv_output *o = dv_output_new("MigForecast");
    const struct dv_forecast_view view = {a->gpu,      (uint32_t)v->gpus, a->history,
                                          &a->layouts, &a->problem,       a->forecast};
    dv_forecast_view_add(&view, dv_output_root(o));
    int failed = dv_report_file_write(ui, &dv_forecast_report, o, v->html);
    if (failed)
        return failed;
    if (!dv_ui_is(ui, "table"))
        return dv_ui_answer(ui, o, &dv_forecast_schedule_table, NULL, DV_UI_OK);
    dv_cleanup(dv_str_done) struct dv_str text = {0};
    struct dv_table_style style = {.colour = ui->colour};
    int r = dv_table_write(&dv_forecast_score_table, o, style, &text);
    dv_str_addf(&text, "in slice-hours; %zu of %zu steps held back\n\n", a->problem.held_back,
                a->problem.n);
    style.nothing = "no switch is worth its cost in the time planned ahead";
    r = r < 0 ? r : dv_table_write(&dv_forecast_schedule_table, o, style, &text);
    if (r < 0 || text.failed)
        return dv_ui_fail(ui, DV_UI_FAILURE, "out of memory");
    return dv_ui_print(dv_str_get(&text));
}

static int run(const struct dv_ui *ui)
{
    struct asked *a = calloc(1, sizeof *a);
    struct dv_err err = {{0}};
    if (!a)
        return dv_ui_fail(ui, DV_UI_FAILURE, "out of memory");
    int exit = read_gpu(ui, a);
    if (exit == DV_UI_OK)
        exit = read_files(ui, a);
    if (exit == DV_UI_OK)
        exit = fill_problem(ui, a);
    if (exit == DV_UI_OK) {
        int r = dv_mig_forecast_run(&a->problem, &a->forecast, &err);
        if (r < 0)
            exit = dv_ui_fail(ui, r == -ENOMEM ? DV_UI_FAILURE : DV_UI_USAGE, "%s",
                              *err.msg ? err.msg : "out of memory");
    }
    if (exit == DV_UI_OK)
        exit = answer(ui, a);
    dv_mig_forecast_free(a->forecast);
    dv_demand_file_free(a->history);
    free(a);
    return exit;
}

static const struct dv_ui_example examples[] = {
    {"tomorrow's switches on two A100s, and how such switching would have done",
     "divvy mig forecast --gpu A100-80GB --gpus 2 --history demand.csv --layouts configs.yaml"},
    {"a week that repeats, switches that take 20 minutes",
     "divvy mig forecast --gpu H100 --history demand.csv --layouts configs.yaml --season 168h "
     "--switch-cost 20m"},
};

const struct dv_ui_verb dv_verb_mig_forecast = {
    .name = "mig forecast",
    .summary = "when to switch MIG layouts, by a history of demand",
    .details =
        "Demand is predicted from what is usual at that time of the season and how far the last "
        "hours were off. The switches with the least sum of unmet demand and of switching are "
        "planned, one step at a time; a switch is made when it pays for itself while it lasts, "
        "with a margin. Costs are in slice-hours: compute slices that tenants wanted and did "
        "not have, or that were out of use.\n\n"
        "The end of the history is held back, and the same decisions are scored on it: against "
        "never switching, the best single layout in hindsight, and the optimum of one who knew "
        "all demand before. Times are UTC.",
    .options = options,
    .n_options = DV_ARRAY_SIZE(options),
    .values_size = sizeof(struct values),
    .examples = examples,
    .n_examples = DV_ARRAY_SIZE(examples),
    .prints = true,
    .run = run,
};
