/* SPDX-License-Identifier: Apache-2.0 */
/* divvy plan: which GPU in which mode with which slices, for a fleet and what shall run on it. */
#include "ask.h"
#include "fleetfile/plan_file.h"
#include "layout_change.h"
#include "layout_file.h"
#include "layout_view.h"
#include "long_run.h"
#include "place.h"
#include "plan/layouts.h"
#include "plan/view.h"
#include "solver/solver.h"
#include "verbs.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#define NAMES_MAX 65536 /* of a line of fleets to compare */

struct values {
    const char *headroom, *minimize, *what_if, *print, *write, *node, *html;
    bool apply;
    struct dv_layout_change change;
};

static const struct dv_option options[] = {
    {"headroom", 0, "SHARE", "places of each workload that stay free, as 25%; default: the file's",
     DV_OPTION_TEXT, offsetof(struct values, headroom)},
    {"minimize", 0, "WHAT", "the fewest GPUs, or the least to pay", DV_OPTION_CHOICE,
     offsetof(struct values, minimize), .choices = "gpus|cost", .otherwise = "gpus"},
    {"what-if", 0, "FLEETS",
     "compare with other fleets: FILE, or H200:8, or H200:8@4.50,L4; several between ';'",
     DV_OPTION_TEXT, offsetof(struct values, what_if)},
    {"print", 0, "WHAT", "layouts: print the layout files of all nodes instead of the plan",
     DV_OPTION_CHOICE, offsetof(struct values, print), .choices = "layouts"},
    {"write", 0, "DIR", "write a layout file for each node into this directory", DV_OPTION_TEXT,
     offsetof(struct values, write)},
    {DV_REPORT_FILE_OPTION, offsetof(struct values, html)},
    {"apply", 0, NULL, "apply the layout of this node, by its daemon", DV_OPTION_FLAG,
     offsetof(struct values, apply)},
    {"node", 0, "NAME", "with --apply: which of the plan's nodes this one is; default: its only",
     DV_OPTION_TEXT, offsetof(struct values, node)},
    DV_LAYOUT_CHANGE_OPTIONS(offsetof(struct values, change)),
};

/* What a run needs; freed by job_done. */
struct job {
    const struct values *values;
    struct dv_fleet_options how;
    struct dv_solver *solver;
    struct dv_fleet *fleet;
    struct dv_fleet_plan *plan;
    struct dv_long_run run;
    uint64_t steps, before; /* of the search at hand, of those before it */
};

static void job_done(struct job *job)
{
    dv_fleet_plan_free(job->plan);
    dv_fleet_free(job->fleet);
    dv_solver_free(job->solver);
}

/* ---- reading -------------------------------------------------------------------------------- */

/* What is wrong: the file (DV_UI_FAILURE), or what was asked for beside it (DV_UI_USAGE). */
static int wrong(const struct dv_ui *ui, int exit, int r, const struct dv_err *err)
{
    if (r == -ENOMEM)
        return dv_ui_fail(ui, DV_UI_FAILURE, "out of memory");
    return dv_ui_fail(ui, exit, "%s", err->msg);
}

static int read_file(const char *path, const struct dv_fleet *workloads, struct dv_fleet **ret,
                     struct dv_err *err)
{
    dv_cleanup(dv_str_done) struct dv_str text = {0};
    int r = dv_layout_file_read(path, &text, err);
    const char *name = strcmp(path, "-") != 0 ? path : "standard input";
    return r ? r : dv_plan_file_read(name, dv_str_get(&text), text.len, workloads, ret, err);
}

static int check_words(const struct dv_ui *ui, const struct values *v)
{
    if (v->node && !v->apply)
        return dv_ui_fail(ui, DV_UI_USAGE, "--node goes with --apply");
    if (v->what_if && (v->print || v->write || v->apply))
        return dv_ui_fail(ui, DV_UI_USAGE,
                          "--what-if compares; it goes with none of --print, --write, --apply");
    return dv_layout_change_check(ui, &v->change);
}

static bool all_priced(const struct dv_fleet *fleet)
{
    for (uint32_t i = 0; i < fleet->n_groups; i++)
        if (!fleet->groups[i].priced)
            return false;
    return true;
}

/* The solver is a library beside the others; the planner does without it. */
static void find_solver(struct job *job)
{
    char path[DV_PLACE_MAX];
    struct dv_err err = {{0}};
    if (dv_place_library(DV_SOLVER_LIBRARY, path) == 0 &&
        dv_solver_open(path, &job->solver, &err) == 0)
        job->how.solver = (struct dv_program_solver){dv_solver_solve, job->solver};
}

static int read_job(const struct dv_ui *ui, struct job *job)
{
    const struct values *v = ui->values;
    struct dv_err err = {{0}};
    int exit = check_words(ui, v);
    if (exit)
        return exit;
    int r = read_file(ui->argv[0], NULL, &job->fleet, &err);
    if (r != 0 || !job->fleet)
        return wrong(ui, DV_UI_FAILURE, r, &err);
    if (v->headroom)
        r = dv_plan_file_headroom(v->headroom, &job->fleet->headroom, &err);
    if (r < 0) {
        dv_err_prefix(&err, "--headroom: ");
        return wrong(ui, DV_UI_USAGE, r, &err);
    }
    r = dv_fleet_check(job->fleet, NULL, &err);
    if (r < 0)
        return wrong(ui, DV_UI_FAILURE, r, &err);
    job->how.aim = !strcmp(v->minimize, "cost") ? DV_FLEET_COST : DV_FLEET_CARDS;
    if (job->how.aim == DV_FLEET_COST && !all_priced(job->fleet))
        return dv_ui_fail(ui, DV_UI_USAGE,
                          "--minimize cost needs price_per_hour in every entry of gpus");
    find_solver(job);
    return DV_UI_OK;
}

static bool go_on(void *arg, uint64_t steps)
{
    struct job *job = arg;
    if (steps < job->steps)
        job->before += job->steps;
    job->steps = steps;
    return dv_long_run_at(&job->run, job->before + steps);
}

static int make(const struct dv_ui *ui, struct job *job, const struct dv_fleet *fleet,
                struct dv_fleet_plan **ret)
{
    job->steps = job->before = 0;
    job->how.go_on = go_on;
    job->how.go_on_arg = job;
    dv_long_run_begin(&job->run, "planning", "steps", 0);
    int r = dv_fleet_plan_new(fleet, &job->how, ret);
    int stopped = dv_long_run_end(&job->run);
    if (r == 0 && stopped)
        dv_ui_fail(ui, 0, "interrupted: %s",
                   (*ret)->partial ? "this is the best plan so far" : "the plan was there already");
    if (r == 0)
        return DV_UI_OK;
    dv_ui_fail(ui, DV_UI_FAILURE, "%s", strerror(-r));
    return DV_UI_FAILURE;
}

/* The exit of who was interrupted; 0: nobody was. */
static int stopped_by(void)
{
    return dv_long_run_signal() ? 128 + dv_long_run_signal() : DV_UI_OK;
}

/* ---- what if -------------------------------------------------------------------------------- */

static int read_other(const struct job *job, const char *name, struct dv_fleet **ret,
                      struct dv_err *err)
{
    int r = access(name, F_OK) == 0 ? read_file(name, job->fleet, ret, err)
                                    : dv_plan_file_gpus(name, job->fleet, ret, err);
    if (!r && job->values->headroom)
        (*ret)->headroom = job->fleet->headroom;
    if (!r && job->how.aim == DV_FLEET_COST && !all_priced(*ret))
        r = dv_err_set(err, -EINVAL, "--minimize cost needs prices: write H200:8@4.50");
    return r;
}

static int compare(const struct dv_ui *ui, struct job *job, const char *name,
                   struct dv_output_node *list)
{
    dv_cleanup(dv_fleet_freep) struct dv_fleet *fleet = NULL;
    dv_cleanup(dv_fleet_plan_freep) struct dv_fleet_plan *plan = NULL;
    struct dv_err err = {{0}};
    int r = read_other(job, name, &fleet, &err);
    if (r < 0) {
        dv_err_prefix(&err, "--what-if: ");
        return wrong(ui, DV_UI_USAGE, r, &err);
    }
    int exit = make(ui, job, fleet, &plan);
    if (!exit)
        dv_plan_view_compare(list, name, plan);
    return exit;
}

static int run_what_if(const struct dv_ui *ui, struct job *job)
{
    dv_cleanup(dv_output_free) struct dv_output *o = dv_output_new("FleetComparison");
    struct dv_output_node *list = dv_output_array(dv_output_root(o), "fleets");
    dv_cleanup(dv_str_done) struct dv_str names = {0};
    int exit = make(ui, job, job->fleet, &job->plan);
    if (exit)
        return exit;
    dv_plan_view_compare(list, "as given", job->plan);
    dv_output_string(dv_output_root(o), "currency", job->fleet->currency);
    dv_str_add(&names, job->values->what_if);
    if (names.failed || names.len > NAMES_MAX)
        return dv_ui_fail(ui, DV_UI_USAGE, "--what-if: too long");
    for (char *name = names.data, *next = NULL; !exit && name && !dv_long_run_signal();
         name = next) {
        next = strchr(name, ';');
        if (next)
            *next++ = 0;
        exit = compare(ui, job, name, list);
    }
    if (!exit)
        exit = dv_report_file_write(ui, &dv_plan_view_fleets_page, o, job->values->html);
    bool csv = dv_ui_is(ui, "csv");
    return exit ? exit
                : dv_ui_answer(ui, o, csv ? &dv_plan_view_fleets_csv : &dv_plan_view_fleets, NULL,
                               stopped_by());
}

/* ---- layouts -------------------------------------------------------------------------------- */

static int print_layouts(const struct dv_ui *ui, const struct dv_fleet_plan *plan)
{
    dv_cleanup(dv_str_done) struct dv_str text = {0};
    char node[DV_PLAN_NODE];
    int r = 0;
    for (uint32_t i = 0; !r && i < plan->n_cards;) {
        dv_str_addf(&text, "%s# %s\n", i ? "---\n" : "",
                    dv_plan_layouts_node(plan, &plan->cards[i], node));
        r = dv_plan_layouts_text(plan, i, &text, &i);
    }
    return r ? dv_ui_fail(ui, DV_UI_FAILURE, "out of memory") : dv_ui_print(dv_str_get(&text));
}

static int write_layouts(const struct dv_ui *ui, const struct dv_fleet_plan *plan, const char *dir)
{
    struct dv_err err = {{0}};
    char node[DV_PLAN_NODE];
    uint32_t n = 0;
    if (mkdir(dir, 0777) < 0 && errno != EEXIST)
        return dv_ui_fail(ui, DV_UI_FAILURE, "cannot make %s: %s", dir, strerror(errno));
    int r = 0;
    for (uint32_t i = 0; !r && i < plan->n_cards; n++) {
        dv_cleanup(dv_str_done) struct dv_str text = {0};
        dv_cleanup(dv_str_done) struct dv_str path = {0};
        dv_str_addf(&path, "%s/%s.yaml", dir, dv_plan_layouts_node(plan, &plan->cards[i], node));
        r = dv_plan_layouts_text(plan, i, &text, &i);
        if (!r && !path.failed)
            r = dv_layout_file_write(dv_str_get(&path), dv_str_get(&text), text.len, &err);
    }
    if (r < 0)
        return dv_ui_fail(ui, DV_UI_FAILURE, "%s", *err.msg ? err.msg : "out of memory");
    fprintf(stderr, "divvy plan: wrote the layouts of %u node%s to %s\n", n, n == 1 ? "" : "s",
            dir);
    return DV_UI_OK;
}

/* The first card of the node that is meant. */
static int find_node(const struct dv_ui *ui, const struct dv_fleet_plan *plan, const char *name,
                     uint32_t *ret)
{
    dv_cleanup(dv_str_done) struct dv_str names = {0};
    char node[DV_PLAN_NODE], last[DV_PLAN_NODE] = "";
    uint32_t n = 0;
    for (uint32_t i = 0; i < plan->n_cards; i++) {
        dv_plan_layouts_node(plan, &plan->cards[i], node);
        if (!strcmp(node, last))
            continue;
        memcpy(last, node, sizeof last);
        if (name && !strcmp(name, node)) {
            *ret = i;
            return DV_UI_OK;
        }
        *ret = i;
        if (n++ < 20)
            dv_str_addf(&names, "%s%s", n > 1 ? ", " : "", node);
    }
    if (!name && n == 1)
        return DV_UI_OK;
    if (!n)
        return dv_ui_fail(ui, DV_UI_PROBLEMS, "there is nothing to apply");
    return dv_ui_fail(ui, DV_UI_USAGE, "%s; say with --node which this one is: %s%s",
                      name ? "the plan has no such node" : "the plan has several nodes",
                      dv_str_get(&names), n > 20 ? ", ..." : "");
}

/* Are the daemon's GPUs of the models that the plan is for? */
static int check_models(const struct dv_ui *ui, const struct dv_fleet_plan *plan, uint32_t first)
{
    dv_cleanup(dv_output_free) struct dv_output *o = NULL;
    int exit = dv_ask(ui, "GET", "/v1/layout", NULL, &o);
    const struct dv_output_node *gpus = exit ? NULL : dv_output_get(dv_output_root(o), "gpus");
    const struct dv_fleet_card *card = &plan->cards[first];
    for (; !exit && card < plan->cards + plan->n_cards && card->node == plan->cards[first].node &&
           card->side == plan->cards[first].side;
         card++) {
        const struct dv_gpu_model *want = plan->view->fleet->groups[card->side].model;
        const struct dv_output_node *g = gpus ? gpus->first : NULL;
        while (g && dv_output_count(dv_output_get(g, "index"), UINT64_MAX) != card->index)
            g = g->next;
        const char *model = g ? dv_output_text(dv_output_get(g, "model"), "unknown") : NULL;
        if (!model || dv_gpu_model_find(model, NULL) != want)
            exit = dv_ui_fail(ui, DV_UI_PROBLEMS, "GPU %u of this node is %s, the plan is for %s",
                              card->index, model ? model : "not there", want->name);
    }
    return exit;
}

static int apply(const struct dv_ui *ui, const struct job *job)
{
    dv_cleanup(dv_output_free) struct dv_output *body = NULL;
    dv_cleanup(dv_output_free) struct dv_output *answer = NULL;
    dv_cleanup(dv_str_done) struct dv_str text = {0};
    char node[DV_PLAN_NODE];
    uint32_t first = 0, next = 0;
    if (!job->plan->feasible)
        return dv_ui_fail(ui, DV_UI_PROBLEMS, "not applied: the plan is infeasible");
    int exit = find_node(ui, job->plan, job->values->node, &first);
    exit = exit ? exit : check_models(ui, job->plan, first);
    if (exit)
        return exit;
    body = dv_output_new(NULL);
    if (!body || dv_plan_layouts_text(job->plan, first, &text, &next) < 0)
        return dv_ui_fail(ui, DV_UI_FAILURE, "out of memory");
    dv_output_string(dv_output_root(body), "name",
                     dv_plan_layouts_node(job->plan, &job->plan->cards[first], node));
    dv_output_string(dv_output_root(body), "text", dv_str_get(&text));
    exit = dv_layout_change_run(ui, "/v1/layout/apply", body, &job->values->change, &answer);
    const char *kind =
        answer ? dv_output_text(dv_output_get(dv_output_root(answer), "kind"), "") : "";
    return !strcmp(kind, "Layout") ? dv_layout_view_show(ui, answer, exit) : exit;
}

/* ---- the verb ------------------------------------------------------------------------------- */

static int show(const struct dv_ui *ui, const struct job *job, int exit)
{
    bool table = dv_ui_is(ui, "table");
    dv_cleanup(dv_output_free) struct dv_output *o =
        dv_plan_view_tree(job->plan, job->how.aim, !table);
    dv_cleanup(dv_output_free) struct dv_output *page = NULL;
    dv_cleanup(dv_str_done) struct dv_str text = {0};
    if (job->values->html) {
        page = dv_plan_view_tree(job->plan, job->how.aim, true);
        int failed = dv_report_file_write(ui, &dv_plan_view_page, page, job->values->html);
        if (failed)
            return failed;
    }
    if (!table)
        return dv_ui_answer(ui, o, &dv_plan_view_csv, NULL, exit);
    if (!o || dv_output_failed(o) || dv_plan_view_write(ui, o, &text) < 0)
        return dv_ui_fail(ui, DV_UI_FAILURE, "out of memory");
    int r = dv_ui_print(dv_str_get(&text));
    return r ? r : exit;
}

static int run_job(const struct dv_ui *ui, struct job *job)
{
    const struct values *v = ui->values;
    job->values = v;
    int exit = read_job(ui, job);
    if (exit)
        return exit;
    if (v->what_if)
        return run_what_if(ui, job);
    exit = make(ui, job, job->fleet, &job->plan);
    if (exit)
        return exit;
    int status = job->plan->feasible ? DV_UI_OK : DV_UI_PROBLEMS;
    dv_long_run_release();
    if (stopped_by()) {
        if (v->write || v->apply || v->print)
            return dv_ui_fail(ui, stopped_by(),
                              "no layouts are made of a plan that was interrupted");
        return show(ui, job, stopped_by());
    }
    if (v->write)
        exit = write_layouts(ui, job->plan, v->write);
    if (!exit && v->apply)
        return apply(ui, job);
    if (!exit && v->print)
        exit = print_layouts(ui, job->plan);
    else if (!exit)
        return show(ui, job, status);
    return exit ? exit : status;
}

static int run(const struct dv_ui *ui)
{
    struct job job = {0};
    int exit = run_job(ui, &job);
    job_done(&job);
    return exit;
}

static const struct dv_ui_example examples[] = {
    {"which GPU in which mode, and how many it takes at least", "divvy plan fleet.yaml"},
    {"the same with a quarter of the places kept free, for a script",
     "divvy plan fleet.yaml --headroom 25% -o json"},
    {"what if we bought H200s, at 4.50 an hour each",
     "divvy plan fleet.yaml --what-if 'H200:8@4.50'"},
    {"a layout file for each node", "divvy plan fleet.yaml --write layouts"},
};

const struct dv_ui_verb dv_verb_plan = {
    .name = "plan",
    .args = "FILE",
    .summary = "which GPUs in which mode with which slices, for workloads on a fleet",
    .details =
        "FILE lists gpus (models, how many, prices) and workloads (how many replicas, what each "
        "needs, which walls); - is the standard input. The plan says how each GPU is shared and "
        "by whom, the fewest GPUs that hold all, what they cost, what does not fit and why, and "
        "what binds on a card: memory or compute. Fewest is proven, or a bound is printed. Memory "
        "of shared cards counts a CUDA context per process. Ends with 3 when not all can be "
        "placed. When interrupted it answers with the best plan so far, marked partial, and ends "
        "with 128 and the signal.\n\n"
        "Needs no daemon, but for --apply.",
    .options = options,
    .n_options = DV_ARRAY_SIZE(options),
    .values_size = sizeof(struct values),
    .examples = examples,
    .n_examples = DV_ARRAY_SIZE(examples),
    .min_words = 1,
    .max_words = 1,
    .prints = true,
    .asks_daemon = true,
    .run = run,
};
