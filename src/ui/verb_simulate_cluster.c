/* SPDX-License-Identifier: Apache-2.0 */
/* divvy simulate cluster: a trace of pods against a cluster and a placement policy. */
#include "fleetfile/nodes.h"
#include "fleetfile/pods.h"
#include "long_run.h"
#include "model/names.h"
#include "render/place_text.h"
#include "report_file.h"
#include "simulate/cluster/arrivals.h"
#include "simulate/cluster/cluster_sim.h"
#include "simulate_cluster_bound.h"
#include "simulate_cluster_view.h"
#include "sys/clock.h"
#include "verbs.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

struct values {
    const char *nodes, *pods, *arrivals, *node_order, *policy, *explain, *html;
    int64_t seed, load, learn;
    uint64_t compress_milli;
    bool departures, migrate, unknown_models, bounds;
};

static const struct dv_option options[] = {
    {"nodes", 'n', "CSV", "the cluster's nodes; needed", DV_OPTION_TEXT,
     offsetof(struct values, nodes)},
    {"pods", 0, "CSV", "the pods; needed", DV_OPTION_TEXT, offsetof(struct values, pods)},
    {"policy", 'p', "NAME", "who decides; an unknown name lists all", DV_OPTION_TEXT,
     offsetof(struct values, policy)},
    {"arrivals", 'a', "FILE", "in which order pods come: their names, one per line", DV_OPTION_TEXT,
     offsetof(struct values, arrivals)},
    {"node-order", 0, "FILE", "which node comes first among equals: their names, one per line",
     DV_OPTION_TEXT, offsetof(struct values, node_order)},
    {"seed", 's', "N", "of the shuffles of pods and nodes, and of chance in a policy",
     DV_OPTION_INTEGER, offsetof(struct values, seed), 0, INT64_MAX, .otherwise = "42"},
    {"load", 0, "PERCENT",
     "repeat or drop pods until they ask for so much of all GPUs; 0: as they are",
     DV_OPTION_INTEGER, offsetof(struct values, load), 0, 100000, .otherwise = "130"},
    {"departures", 'd', NULL, "pods come and go by creation_time and deletion_time", DV_OPTION_FLAG,
     offsetof(struct values, departures)},
    {"compress", 0, "FACTOR", "with --departures: they come so many times faster", DV_OPTION_MILLI,
     offsetof(struct values, compress_milli), 1, INT64_C(1000000000000), .otherwise = "1"},
    {"migrate", 0, NULL, "a pod that fits nowhere may have others moved", DV_OPTION_FLAG,
     offsetof(struct values, migrate)},
    {"learn", 0, "N", "the policy knows only who has come, and looks again every N pods",
     DV_OPTION_INTEGER, offsetof(struct values, learn), 0, 1000000000, .otherwise = "0"},
    {"unknown-models", 0, NULL, "pods may ask for GPU models that no node has", DV_OPTION_FLAG,
     offsetof(struct values, unknown_models)},
    {"explain", 'e', "POD", "say why this pod went where it went, or nowhere", DV_OPTION_TEXT,
     offsetof(struct values, explain)},
    {"bounds", 'b', NULL, "say too how much any policy could have allocated", DV_OPTION_FLAG,
     offsetof(struct values, bounds)},
    {DV_REPORT_FILE_OPTION, offsetof(struct values, html)},
};

/* ---- what is asked -------------------------------------------------------------------------- */

struct asked {
    struct dv_cluster *cluster;
    struct dv_fleet_pods pods;
    struct dv_cluster_sim_times *times;
    uint32_t *arrivals, n_arrivals;
    uint32_t explain; /* a pod; DV_NAMES_NONE: none */
    struct dv_cluster_sim_config config;
};

static void asked_done(struct asked *a)
{
    dv_cluster_free(a->cluster);
    dv_fleet_pods_done(&a->pods);
    free(a->times);
    free(a->arrivals);
}

static int check_values(const struct dv_ui *ui, const struct dv_place_policy **ret)
{
    const struct values *v = ui->values;
    struct dv_err err = {{0}};
    if (!v->nodes || !v->pods)
        return dv_ui_fail(ui, DV_UI_USAGE, "--%s CSV is missing", v->nodes ? "pods" : "nodes");
    if (v->departures && v->arrivals)
        return dv_ui_fail(ui, DV_UI_USAGE,
                          "--departures: pods come by creation_time, not by --arrivals");
    if (!strcmp(v->nodes, "-") && !strcmp(v->pods, "-"))
        return dv_ui_fail(ui, DV_UI_USAGE, "--nodes and --pods cannot both be stdin");
    if (!v->departures && v->compress_milli != 1000)
        return dv_ui_fail(ui, DV_UI_USAGE, "--compress goes with --departures");
    if (v->departures && v->bounds)
        return dv_ui_fail(ui, DV_UI_USAGE,
                          "--bounds hold where nobody leaves: not with "
                          "--departures");
    *ret = v->policy ? dv_place_policy_find(v->policy, &err) : dv_place_policy_at(0);
    return *ret ? DV_UI_OK : dv_ui_fail(ui, DV_UI_USAGE, "--policy: %s", err.msg);
}

/* By time; of pods that come together the file's order. */
static int compare_created(const void *a, const void *b, void *times)
{
    const struct dv_cluster_sim_times *t = times;
    uint32_t x = *(const uint32_t *)a, y = *(const uint32_t *)b;
    if (t[x].created_s != t[y].created_s)
        return t[x].created_s < t[y].created_s ? -1 : 1;
    return (x > y) - (x < y);
}

static int arrive_by_time(struct asked *a, const char *path, struct dv_err *err)
{
    const struct dv_fleet_pods *p = &a->pods;
    if (!p->times)
        return dv_err_set(err, -EINVAL,
                          "%s: --departures needs the columns creation_time and deletion_time",
                          path);
    a->times = malloc(p->n * sizeof *a->times);
    a->arrivals = malloc(p->n * sizeof *a->arrivals);
    if (!a->times || !a->arrivals)
        return dv_err_set(err, -ENOMEM, "out of memory");
    for (uint32_t i = 0; i < p->n; i++) {
        a->times[i] = (struct dv_cluster_sim_times){p->times[i].created_s, p->times[i].deleted_s};
        a->arrivals[i] = i;
    }
    a->n_arrivals = p->n;
    qsort_r(a->arrivals, p->n, sizeof *a->arrivals, compare_created, a->times);
    return 0;
}

static int arrive_by_chance(struct asked *a, uint64_t load, uint64_t seed, struct dv_err *err)
{
    uint64_t milli = dv_cluster_total(a->cluster).gpu_milli * load / 100;
    int r = dv_arrivals_make(a->pods.v, a->pods.n, milli, seed, &a->arrivals, &a->n_arrivals);
    return r < 0 ? dv_err_set(err, r, r == -E2BIG ? "--load: more than %u pods" : "out of memory",
                              DV_ARRIVALS_MAX)
                 : 0;
}

static int read_files(const struct values *v, struct asked *a, struct dv_err *err)
{
    struct dv_rng seeds = {(uint64_t)v->seed};
    uint64_t of_arrivals = dv_rng_next(&seeds);
    struct dv_fleet_nodes_order order = {.by = v->node_order ? DV_FLEET_ORDER_FILE
                                                             : DV_FLEET_ORDER_SEED,
                                         .seed = dv_rng_next(&seeds),
                                         .path = v->node_order};
    a->config.seed = dv_rng_next(&seeds);
    int r = dv_fleet_nodes_read(v->nodes, &order, &a->cluster, err);
    if (!r)
        r = dv_fleet_pods_read(v->pods, a->cluster, v->unknown_models, &a->pods, err);
    if (r < 0)
        return r;
    if (v->departures)
        return arrive_by_time(a, v->pods, err);
    if (v->arrivals)
        return dv_fleet_arrivals_read(v->arrivals, &a->pods, &a->arrivals, &a->n_arrivals, err);
    return arrive_by_chance(a, (uint64_t)v->load, of_arrivals, err);
}

static int read_asked(const struct dv_ui *ui, struct asked *a)
{
    const struct values *v = ui->values;
    struct dv_err err = {{0}};
    const struct dv_place_policy *policy = NULL;
    int exit = check_values(ui, &policy);
    if (exit != DV_UI_OK)
        return exit;
    if (read_files(v, a, &err) < 0)
        return dv_ui_fail(ui, DV_UI_FAILURE, "%s", err.msg);
    if (v->explain)
        a->explain = dv_names_find(&a->pods.names, v->explain);
    if (v->explain && a->explain == DV_NAMES_NONE)
        return dv_ui_fail(ui, DV_UI_FAILURE, "--explain: no pod '%s' in %s", v->explain, v->pods);
    a->config.cluster = a->cluster;
    a->config.policy = policy;
    a->config.pods = a->pods.v;
    a->config.n_pods = a->pods.n;
    a->config.arrivals = a->arrivals;
    a->config.n_arrivals = a->n_arrivals;
    a->config.times = a->times;
    a->config.compress = (double)v->compress_milli / 1000;
    a->config.migrate = v->migrate;
    a->config.learn_every = (uint32_t)v->learn;
    return DV_UI_OK;
}

/* ---- the run -------------------------------------------------------------------------------- */

static void explain(const struct asked *a, const struct dv_cluster_sim *sim, uint32_t arrival,
                    struct dv_simulate_cluster_view *view)
{
    const struct dv_place_verdict *verdict = dv_cluster_sim_last(sim);
    struct dv_place_most most;
    uint32_t node = dv_cluster_sim_node(sim, arrival);
    dv_cluster_sim_most(sim, arrival, &most);
    dv_place_text(a->cluster, &a->pods.v[a->arrivals[arrival]], verdict, &most, &view->explained);
    struct dv_place_term terms[DV_PLACE_TERMS_MAX];
    dv_place_terms_text(terms, dv_cluster_sim_terms(sim, terms), &view->explained);
    if (!verdict->placed && node != DV_CLUSTER_NONE)
        dv_str_addf(&view->explained, "; others were moved, and it went to node %s",
                    dv_cluster_fixed(a->cluster, node)->name);
}

/* 1: all have come; 0: interrupted. */
static int run_steps(const struct asked *a, struct dv_cluster_sim *sim,
                     struct dv_simulate_cluster_view *view, int *ret_exit)
{
    struct dv_long_run run;
    bool wanted = a->explain != DV_NAMES_NONE;
    int r = 0;
    dv_long_run_begin(&run, "placing", "pods", a->n_arrivals);
    for (uint32_t i = 0; dv_long_run_at(&run, i) && (r = dv_cluster_sim_step(sim)) == 0; i++) {
        if (!wanted || a->arrivals[i] != a->explain)
            continue;
        explain(a, sim, i, view);
        wanted = false;
    }
    *ret_exit = dv_long_run_end(&run);
    return r;
}

static int run_asked(const struct dv_ui *ui, struct asked *a)
{
    const struct values *v = ui->values;
    struct dv_err err = {{0}};
    dv_cleanup(dv_cluster_sim_freep) struct dv_cluster_sim *sim = NULL;
    int exit = read_asked(ui, a);
    if (exit != DV_UI_OK)
        return exit;
    if (dv_cluster_sim_new(&a->config, &sim, &err) < 0)
        return dv_ui_fail(ui, DV_UI_FAILURE, "%s", err.msg);
    struct dv_simulate_cluster_view view = {
        .config = &a->config, .explain = v->explain, .html = v->html};
    if (v->bounds) {
        exit = dv_simulate_cluster_bound(ui, &a->config, &view.bound);
        if (exit != DV_UI_OK)
            return exit;
        view.bounded = true;
    }
    uint64_t started_ns = dv_clock_thread();
    int r = run_steps(a, sim, &view, &view.exit);
    view.took_ns = dv_clock_thread() - started_ns;
    view.partial = r == 0;
    dv_cluster_sim_result(sim, &view.result);
    if (r == 0)
        dv_ui_fail(ui, 0, "interrupted after %u of %u pods", view.result.arrived, a->n_arrivals);
    dv_long_run_release();
    exit = r < 0 ? dv_ui_fail(ui, DV_UI_FAILURE, "%s",
                              r == -E2BIG ? DV_CLUSTER_SIM_TOO_MANY : strerror(-r))
                 : dv_simulate_cluster_answer(ui, &view);
    dv_str_done(&view.explained);
    return exit;
}

static int run_cluster(const struct dv_ui *ui)
{
    struct asked a = {.explain = DV_NAMES_NONE};
    int exit = run_asked(ui, &a);
    asked_done(&a);
    return exit;
}

static const struct dv_ui_example examples[] = {
    {"the published experiment, as it was published",
     "divvy simulate cluster --nodes nodes.csv --pods pods.csv --policy fgd "
     "--arrivals order.txt --node-order prefixes.txt -o json"},
    {"another policy on the same shuffle",
     "divvy simulate cluster --nodes nodes.csv --pods pods.csv --policy best-fit --seed 7"},
    {"pods that come and go, 100 times faster than they did",
     "divvy simulate cluster --nodes nodes.csv --pods pods.csv --departures --compress 100"},
};

const struct dv_ui_verb dv_verb_simulate_cluster = {
    .name = "simulate cluster",
    .summary = "how much of a cluster a placement policy can allocate",
    .details =
        "Replays pods against nodes: each pod is placed when it comes, or is dropped. Shown is "
        "what share of all GPUs is allocated and fragmented when pods have asked for so many "
        "percent of them (ARRIVED). Without --arrivals pods come in an order of chance, repeated "
        "until they ask for --load percent; without --node-order nodes are in an order of chance "
        "too, both by --seed.\n\n"
        "Nodes: columns sn, cpu_milli, memory_mib, gpu, model. Pods: columns name, cpu_milli, "
        "memory_mib, num_gpu, gpu_milli and, if there, gpu_spec, creation_time, deletion_time.\n\n"
        "When interrupted it answers with what has been so far, marked partial, and ends with 128 "
        "and "
        "the signal.",
    .options = options,
    .n_options = DV_ARRAY_SIZE(options),
    .values_size = sizeof(struct values),
    .examples = examples,
    .n_examples = DV_ARRAY_SIZE(examples),
    .prints = true,
    .run = run_cluster,
};
