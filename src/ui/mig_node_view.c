/* SPDX-License-Identifier: Apache-2.0 */
#include "mig_node_view.h"

#include "base/str.h"
#include "policy/mig_node.h"

#include <errno.h>
#include <string.h>

#define LIST_MAX 64 /* dv_mig_plan_parse() */

struct node {
    const struct dv_ui *ui;
    const struct dv_gpu_model *model;
    size_t n_gpus, n_want;
    struct dv_mig_have have[DV_MIG_NODE_GPUS_MAX][DV_MIG_INSTANCES_MAX];
    struct dv_mig_node_gpu gpus[DV_MIG_NODE_GPUS_MAX];
    struct dv_mig_node_want want[DV_MIG_NODE_PROFILES_MAX];
};

/* ---- reading -------------------------------------------------------------------------------- */

/* The part of the text for GPU i, or "". */
static int part_of(const char *text, size_t i, struct dv_str *ret)
{
    dv_str_clear(ret);
    for (; i && text; i--) {
        text = strchr(text, '/');
        text = text ? text + 1 : NULL;
    }
    size_t len = text ? strcspn(text, "/") : 0;
    while (len && (text[len - 1] == ' ' || *text == ' ')) {
        text += *text == ' ';
        len--;
    }
    dv_str_addn(ret, text ? text : "", len);
    return ret->failed ? -ENOMEM : 0;
}

static size_t count_parts(const char *text)
{
    size_t n = 1;
    for (; *text; text++)
        n += *text == '/';
    return n;
}

static int parse(const struct node *node, const char *option, size_t gpu, const char *text,
                 struct dv_mig_instance ret[LIST_MAX], int *ret_n)
{
    struct dv_err err = {{0}};
    *ret_n = dv_mig_plan_parse(node->model->mig, text, ret, &err);
    if (*ret_n < 0)
        return dv_ui_fail(node->ui, DV_UI_USAGE, "%s: GPU %zu: %s", option, gpu, err.msg);
    for (int i = 0; i < *ret_n; i++)
        if (ret[i].start == DV_MIG_UNPLACED)
            return dv_ui_fail(
                node->ui, DV_UI_USAGE,
                "%s: GPU %zu: with --change each instance needs its start, as in %s@0", option, gpu,
                node->model->mig->profiles[ret[i].profile].name);
    return DV_UI_OK;
}

static int read_gpu(struct node *node, size_t gpu, const char *have, const char *in_use)
{
    struct dv_mig_instance list[LIST_MAX];
    int n = 0, n_used = 0;
    int exit = parse(node, "--have", gpu, have, list, &n);
    if (exit != DV_UI_OK)
        return exit;
    if (n > (int)DV_MIG_INSTANCES_MAX)
        return dv_ui_fail(node->ui, DV_UI_USAGE, "--have: GPU %zu: no GPU has so many", gpu);
    for (int i = 0; i < n; i++)
        node->have[gpu][i] =
            (struct dv_mig_have){.profile = list[i].profile, .start = list[i].start};
    node->gpus[gpu] = (struct dv_mig_node_gpu){node->model->mig, node->have[gpu], (size_t)n};
    exit = parse(node, "--in-use", gpu, in_use, list, &n_used);
    for (int k = 0; k < n_used && exit == DV_UI_OK; k++) {
        int i = 0;
        while (i < n && (node->have[gpu][i].profile != list[k].profile ||
                         node->have[gpu][i].start != list[k].start))
            i++;
        if (i == n)
            return dv_ui_fail(node->ui, DV_UI_USAGE,
                              "--in-use: GPU %zu: %s is not in --have; name profile and start as "
                              "there",
                              gpu, node->model->mig->profiles[list[k].profile].name);
        node->have[gpu][i].in_use = true;
    }
    return exit;
}

static int read_want(struct node *node, const char *text)
{
    struct dv_mig_instance list[LIST_MAX];
    struct dv_err err = {{0}};
    int n = dv_mig_plan_parse(node->model->mig, text, list, &err);
    if (n < 0)
        return dv_ui_fail(node->ui, DV_UI_USAGE, "--want: %s", err.msg);
    for (int i = 0; i < n; i++) {
        const char *name = node->model->mig->profiles[list[i].profile].name;
        size_t p = 0;
        if (list[i].start != DV_MIG_UNPLACED)
            return dv_ui_fail(node->ui, DV_UI_USAGE,
                              "--want: over several GPUs an instance cannot name its start");
        while (p < node->n_want && strcmp(node->want[p].profile, name) != 0)
            p++;
        if (p == DV_MIG_NODE_PROFILES_MAX)
            return dv_ui_fail(node->ui, DV_UI_USAGE, "--want: more than %u different profiles",
                              DV_MIG_NODE_PROFILES_MAX);
        if (p == node->n_want)
            node->want[node->n_want++] = (struct dv_mig_node_want){name, 0};
        node->want[p].count++;
    }
    return DV_UI_OK;
}

static int read_node(struct node *node, const char *have, const char *in_use, const char *want)
{
    dv_cleanup(dv_str_done) struct dv_str one = {0};
    dv_cleanup(dv_str_done) struct dv_str used = {0};
    node->n_gpus = count_parts(have);
    if (node->n_gpus > DV_MIG_NODE_GPUS_MAX)
        return dv_ui_fail(node->ui, DV_UI_USAGE, "--have: more than %u GPUs", DV_MIG_NODE_GPUS_MAX);
    if (in_use && count_parts(in_use) > node->n_gpus)
        return dv_ui_fail(node->ui, DV_UI_USAGE, "--in-use: more GPUs than --have has");
    for (size_t i = 0; i < node->n_gpus; i++) {
        if (part_of(have, i, &one) < 0 || part_of(in_use, i, &used) < 0)
            return dv_ui_fail(node->ui, DV_UI_FAILURE, "out of memory");
        int exit = read_gpu(node, i, dv_str_get(&one), dv_str_get(&used));
        if (exit != DV_UI_OK)
            return exit;
    }
    return read_want(node, want);
}

/* ---- the answer ----------------------------------------------------------------------------- */

static void add_move(const struct node *node, struct dv_output_node *list, uint32_t profile,
                     uint32_t start, const char *action, bool in_use)
{
    struct dv_output_node *row = dv_output_object(list, NULL);
    dv_output_string(row, "profile", node->model->mig->profiles[profile].name);
    dv_output_uint(row, "start", start);
    dv_output_uint(row, "size", node->model->mig->profiles[profile].size);
    dv_output_string(row, "action", action);
    dv_output_bool(row, "in_use", in_use);
}

static void add_gpu(const struct node *node, const struct dv_mig_node_change *c, uint32_t i,
                    struct dv_output_node *gpus)
{

    const struct dv_mig_change *change = &c->gpus[i].change;
    struct dv_output_node *gpu = dv_output_object(gpus, NULL);
    dv_output_uint(gpu, "index", i);
    struct dv_output_node *list = dv_output_array(gpu, "instances");
    for (size_t k = 0; k < node->gpus[i].n_have; k++)
        if (change->goes[k])
            add_move(node, list, node->have[i][k].profile, node->have[i][k].start,
                     node->have[i][k].in_use ? "wait" : "destroy", node->have[i][k].in_use);
    for (uint32_t k = 0; k < change->n; k++) {
        uint32_t from = change->instances[k].from;
        bool is_new = from == DV_MIG_CHANGE_NEW;
        add_move(node, list, c->gpus[i].want[k].profile, change->instances[k].start,
                 is_new ? "create" : "keep", !is_new && node->have[i][from].in_use);
    }
}

static const struct dv_table_column columns[] = {
    {"GPU", "^index", .right = true, .csv = "gpu"},
    {"PROFILE", "profile"},
    {"START", "start", .right = true},
    {"SIZE", "size", .right = true},
    {"ACTION", "action"},
    {"IN USE", "in_use"},
};
static const struct dv_table view = {"gpus.instances", columns, DV_ARRAY_SIZE(columns)};

int dv_mig_node_blocked(const struct dv_ui *ui, uint32_t in_use)
{
    if (!in_use)
        return DV_UI_OK;
    return dv_ui_fail(ui, DV_UI_PROBLEMS,
                      "%u instance%s in use %s in the way (ACTION wait): nothing is destroyed "
                      "under a tenant, the change can be made once %s ended",
                      in_use, in_use == 1 ? "" : "s", in_use == 1 ? "is" : "are",
                      in_use == 1 ? "its user has" : "their users have");
}

static int answer(const struct node *node, const struct dv_mig_node_change *c)
{
    dv_cleanup(dv_output_free) struct dv_output *o = dv_output_new("MigNodeChange");
    struct dv_output_node *root = dv_output_root(o);
    uint64_t wanted = 0;
    for (size_t p = 0; p < node->n_want; p++)
        wanted += node->want[p].count;
    dv_output_string(root, "gpu", node->model->name);
    dv_output_bool(root, "feasible", c->feasible);
    if (!c->feasible) {
        static const char reason[] = "no way to divide the wanted instances among the GPUs";
        dv_output_string(root, "reason", reason);
        dv_ui_fail(node->ui, DV_UI_PROBLEMS, "infeasible: %s, were they empty", reason);
        return dv_ui_is(node->ui, "json") ? dv_ui_answer(node->ui, o, &view, NULL, DV_UI_PROBLEMS)
                                          : DV_UI_PROBLEMS;
    }
    dv_output_uint(root, "kept", wanted - c->created);
    dv_output_uint(root, "destroyed", c->destroyed);
    dv_output_uint(root, "created", c->created);
    dv_output_uint(root, "in_use_in_the_way", c->blocked);
    dv_output_uint(root, "gpus_touched", c->touched);
    struct dv_output_node *gpus = dv_output_array(root, "gpus");
    for (uint32_t i = 0; i < c->n_gpus; i++)
        add_gpu(node, c, i, gpus);
    return dv_ui_answer(node->ui, o, &view, "nothing is there and nothing is wanted",
                        dv_mig_node_blocked(node->ui, c->blocked));
}

int dv_mig_node_answer(const struct dv_ui *ui, const struct dv_gpu_model *model, const char *have,
                       const char *in_use, const char *want)
{
    struct node node = {.ui = ui, .model = model};
    struct dv_mig_node_change *change = NULL;
    int exit = read_node(&node, have, in_use, want);
    if (exit != DV_UI_OK)
        return exit;
    int r = dv_mig_node_find(node.gpus, node.n_gpus, node.want, node.n_want, &change);
    if (r == -EINVAL)
        return dv_ui_fail(ui, DV_UI_USAGE,
                          "--have: no GPU of this model can have these instances together");
    if (r < 0)
        return dv_ui_fail(ui, DV_UI_FAILURE, "%s",
                          r == -E2BIG ? "too many different instances to be sure of the least "
                                        "change: plan the GPUs in groups"
                                      : "out of memory");
    exit = answer(&node, change);
    dv_mig_node_free(change);
    return exit;
}
