/* SPDX-License-Identifier: Apache-2.0 */
/* divvy simulate queue: who gets GPUs when, under queues. Needs no daemon, no GPU. */
#include "base/number.h"
#include "fleetfile/queue_file.h"
#include "long_run.h"
#include "report_file.h"
#include "simulate_queue_view.h"
#include "sys/clock.h"
#include "verbs.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

struct values {
    const char *shape, *html, *explain;
    bool list;
    uint64_t until_ns;
};

static const struct dv_option options[] = {
    {"shape", 's', "NAME", "a scenario that is built in, instead of FILE", DV_OPTION_TEXT,
     offsetof(struct values, shape)},
    {"list", 'l', NULL, "the scenarios that are built in", DV_OPTION_FLAG,
     offsetof(struct values, list)},
    {DV_REPORT_FILE_OPTION, offsetof(struct values, html)},
    {"until", 'u', "TIME", "look no further; default: the scenario's, or until all have ended",
     DV_OPTION_DURATION, offsetof(struct values, until_ns), 0, INT64_MAX},
    {"explain", 'e', "WORKLOAD",
     "how it stands at the end with this one: NAME, or NAME/3 of several", DV_OPTION_TEXT,
     offsetof(struct values, explain)},
};

/* ---- built-in scenarios --------------------------------------------------------------------- */

static const struct dv_table_column shape_columns[] = {
    {"SHAPE", "shape"},
    {"WHAT", "what"},
    {"PUBLISHED", "published_seconds", .right = true},
    {"BY", "published_by"},
};
static const struct dv_table shape_table = {"shapes", shape_columns, DV_ARRAY_SIZE(shape_columns)};

static int list_shapes(const struct dv_ui *ui)
{
    dv_cleanup(dv_output_free) struct dv_output *o = dv_output_new("QueueShapes");
    struct dv_output_node *list = dv_output_array(dv_output_root(o), "shapes");
    const struct dv_queue_shape *shape;
    for (size_t i = 0; (shape = dv_queue_shape_at(i)) != NULL; i++) {
        struct dv_output_node *row = dv_output_object(list, NULL);
        dv_output_string(row, "shape", shape->name);
        dv_output_string(row, "what", shape->what);
        if (shape->published.who)
            dv_output_seconds(row, "published_seconds", shape->published.ns);
        else
            dv_output_null(row, "published_seconds");
        dv_output_string(row, "published_by", shape->published.who);
    }
    return dv_ui_answer(ui, o, &shape_table, NULL, DV_UI_OK);
}

/* ---- what is asked -------------------------------------------------------------------------- */

/* The whole file; "-" is the standard input. 0 or a negative errno with a message. */
static int read_text(const char *path, struct dv_str *ret, struct dv_err *err)
{
    FILE *f = strcmp(path, "-") != 0 ? fopen(path, "re") : stdin;
    char buf[4096];
    size_t n;
    if (!f)
        return dv_err_set(err, -errno, "%s: %s", path, strerror(errno));
    while (ret->len <= DV_QUEUE_FILE_MAX && (n = fread(buf, 1, sizeof buf, f)) > 0)
        dv_str_addn(ret, buf, n);
    int r = ferror(f) ? -EIO : 0;
    if (f != stdin)
        fclose(f);
    if (r < 0)
        return dv_err_set(err, r, "%s: cannot be read", path);
    if (ret->len > DV_QUEUE_FILE_MAX)
        return dv_err_set(err, -E2BIG, "%s: larger than %u bytes", path, DV_QUEUE_FILE_MAX);
    return ret->failed ? dv_err_set(err, -ENOMEM, "out of memory") : 0;
}

static int read_file(const char *path, struct dv_queue_scenario **ret, struct dv_err *err)
{
    dv_cleanup(dv_str_done) struct dv_str text = {0};
    int r = read_text(path, &text, err);
    r = r ? r : dv_queue_file_read(path, dv_str_get(&text), text.len, ret, err);
    return r == -ENOMEM && !err->msg[0] ? dv_err_set(err, r, "out of memory") : r;
}

static int read_asked(const struct dv_ui *ui, struct dv_queue_scenario **ret,
                      const struct dv_queue_shape **ret_shape)
{
    const struct values *v = ui->values;
    struct dv_err err = {{0}};
    if ((v->shape != NULL) + ui->argc != 1)
        return dv_ui_fail(ui, DV_UI_USAGE, "give one FILE, or --shape NAME (--list names them)");
    if (!v->shape)
        return read_file(ui->argv[0], ret, &err) < 0 ? dv_ui_fail(ui, DV_UI_FAILURE, "%s", err.msg)
                                                     : DV_UI_OK;
    *ret_shape = dv_queue_shape_find(v->shape, &err);
    if (!*ret_shape)
        return dv_ui_fail(ui, DV_UI_USAGE, "--shape: %s", err.msg);
    return dv_queue_shape_make(*ret_shape, ret) < 0 ? dv_ui_fail(ui, DV_UI_FAILURE, "out of memory")
                                                    : DV_UI_OK;
}

static uint32_t find_jobs(const struct dv_queue_scenario *s, const char *name, size_t len)
{
    uint32_t i = 0;
    while (i < s->n_jobs && (strncmp(s->jobs[i].name, name, len) != 0 || s->jobs[i].name[len]))
        i++;
    return i;
}

static int no_such_jobs(const struct dv_ui *ui, const struct dv_queue_scenario *s, const char *name)
{
    const char **names = calloc(s->n_jobs + 1, sizeof *names), *near = NULL;
    for (uint32_t i = 0; names && i < s->n_jobs; i++)
        names[i] = s->jobs[i].name;
    if (names)
        near = dv_str_nearest(name, names, s->n_jobs);
    int exit = dv_ui_fail(ui, DV_UI_USAGE, "--explain: no workload '%.80s'%s%s%s", name,
                          near ? "; did you mean '" : "", near ? near : "", near ? "'?" : "");
    free(names);
    return exit;
}

/* "train", of several the first, or "train/3". */
static int find_explained(const struct dv_ui *ui, const struct dv_queue_scenario *s,
                          uint32_t *ret_jobs, uint32_t *ret_instance)
{
    const char *name = ((const struct values *)ui->values)->explain, *slash = strrchr(name, '/');
    uint64_t instance = 0;
    uint32_t i = find_jobs(s, name, strlen(name));
    if (i == s->n_jobs && slash && dv_number_uint64(slash + 1, strlen(slash + 1), &instance) == 0)
        i = find_jobs(s, name, (size_t)(slash - name));
    if (i == s->n_jobs)
        return no_such_jobs(ui, s, name);
    if (instance >= s->jobs[i].count)
        return dv_ui_fail(ui, DV_UI_USAGE, "--explain: there are %u of '%s', from 0 on",
                          s->jobs[i].count, s->jobs[i].name);
    *ret_jobs = i;
    *ret_instance = (uint32_t)instance;
    return DV_UI_OK;
}

/* ---- the run -------------------------------------------------------------------------------- */

static int run_steps(struct dv_queue_sim *sim)
{
    struct dv_long_run run;
    uint32_t all, done = dv_queue_sim_done(sim, &all);
    int r = 0;
    dv_long_run_begin(&run, "simulating", "workloads", all);
    while (!r && dv_long_run_at(&run, done)) {
        r = dv_queue_sim_step(sim);
        done = dv_queue_sim_done(sim, &all);
    }
    dv_long_run_end(&run);
    return r;
}

static int run_queue(const struct dv_ui *ui)
{
    const struct values *v = ui->values;
    dv_cleanup(dv_queue_scenario_freep) struct dv_queue_scenario *scenario = NULL;
    dv_cleanup(dv_queue_sim_freep) struct dv_queue_sim *sim = NULL;
    const struct dv_queue_shape *shape = NULL;
    struct dv_queue_sim_about about;
    struct dv_err err = {{0}};
    uint32_t jobs = 0, instance = 0;
    if (v->list)
        return list_shapes(ui);
    int exit = read_asked(ui, &scenario, &shape);
    if (exit == DV_UI_OK && scenario && v->explain)
        exit = find_explained(ui, scenario, &jobs, &instance);
    if (exit != DV_UI_OK || !scenario)
        return exit;
    if (v->until_ns)
        scenario->until_ns = v->until_ns;
    int r = dv_queue_sim_new(scenario, dv_clock_now, &sim, &err);
    if (r < 0)
        return dv_ui_fail(ui, DV_UI_FAILURE, "%s", err.msg[0] ? err.msg : "out of memory");
    r = run_steps(sim);
    if (r < 0 || dv_queue_sim_finish(sim) < 0 ||
        (v->explain && dv_queue_sim_explain(sim, jobs, instance, &about) < 0))
        return dv_ui_fail(ui, DV_UI_FAILURE, "out of memory");
    struct dv_simulate_queue_view view = {.scenario = scenario,
                                          .result = dv_queue_sim_result(sim),
                                          .published = shape ? &shape->published : NULL,
                                          .partial = r != 1,
                                          .about = v->explain ? &about : NULL,
                                          .html = v->html};
    if (view.partial)
        dv_ui_fail(ui, 0, "interrupted; this is what had been until then");
    dv_long_run_release();
    exit = dv_simulate_queue_answer(ui, &view);
    return view.partial && exit == DV_UI_OK ? DV_UI_RUN_SIGNAL + dv_long_run_signal() : exit;
}

static const struct dv_ui_example examples[] = {
    {"two teams share a cluster", "divvy simulate queue teams.yaml"},
    {"one gang reclaims its guarantee from 8,000 running workloads",
     "divvy simulate queue --shape reclaim-1000"},
    {"why a workload waits after two hours",
     "divvy simulate queue teams.yaml --until 2h --explain train/3"},
    {"shares over time, for a plot", "divvy simulate queue --shape fair-week -o json"},
};

const struct dv_ui_verb dv_verb_simulate_queue = {
    .name = "simulate queue",
    .args = "[FILE]",
    .summary = "who gets GPUs when, under queues, priorities and fair shares",
    .details =
        "Workloads come, wait, start, are evicted or moved, and end, under a virtual clock; the "
        "decisions are those of production. FILE lists nodes, queues and workloads (YAML or "
        "JSON); - is the standard input. The answer has waits per queue, what each queue held "
        "over time against its fair share, how long decisions took, and for each workload that "
        "waits at the end why it does.\n\n"
        "Built-in scenarios repeat what other schedulers publish times for. Those times are "
        "printed as published: they include an API server and other machines, ours are "
        "the decisions alone.\n\n"
        "When interrupted it answers with what has been so far, marked partial, and ends with 128 "
        "and the signal.",
    .options = options,
    .n_options = DV_ARRAY_SIZE(options),
    .values_size = sizeof(struct values),
    .examples = examples,
    .n_examples = DV_ARRAY_SIZE(examples),
    .max_words = 1,
    .prints = true,
    .run = run_queue,
};
