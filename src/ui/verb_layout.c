/* SPDX-License-Identifier: Apache-2.0 */
/* divvy layout show, plan, apply, undo: what the node should have, and the way there. */
#include "ask.h"
#include "layout_change.h"
#include "layout_file.h"
#include "layout_view.h"
#include "verbs.h"

#include <string.h>

/* ---- show ----------------------------------------------------------------------------------- */

static int run_show(const struct dv_ui *ui)
{
    dv_cleanup(dv_output_free) struct dv_output *o = NULL;
    int exit = dv_ask(ui, "GET", "/v1/layout", NULL, &o);
    return exit ? exit : dv_layout_view_show(ui, o, DV_UI_OK);
}

static const struct dv_ui_example show_examples[] = {
    {"what each GPU should have, what it has, and who is in the way", "divvy layout show"},
};

const struct dv_ui_verb dv_verb_layout_show = {
    .name = "layout show",
    .summary = "the layout of this node: what is wanted, what is there",
    .details = "WANTED is how the layout shares a device, MODE how it is shared now; AT is the "
               "first memory slice of its MIG instance. A GPU that is not managed stays as it is.",
    .examples = show_examples,
    .n_examples = DV_ARRAY_SIZE(show_examples),
    .prints = true,
    .asks_daemon = true,
    .run = run_show,
};

/* ---- plan ----------------------------------------------------------------------------------- */

struct plan_values {
    const char *config;
};

#define CONFIG_HELP "which of the file's configurations (mig-parted, ConfigMap); default: its only"

static const struct dv_option plan_options[] = {
    {"config", 'c', "NAME", CONFIG_HELP, DV_OPTION_TEXT, offsetof(struct plan_values, config)},
};

/* Sends the file for a plan and prints that. */
static int plan(const struct dv_ui *ui, struct dv_output *body)
{
    struct dv_http_reply reply = {0};
    int exit = dv_ask_reply(ui, "POST", "/v1/layout/plan", body, &reply);
    if (exit)
        return exit;
    if (reply.status >= 400) {
        const struct dv_output_node *root = dv_output_root(reply.body);
        const char *reason = dv_output_text(dv_output_get(root, "reason"), "");
        bool infeasible = reply.status == 409 && !strcmp(reason, "infeasible");
        exit = dv_ask_refused(ui, &reply);
        return infeasible ? DV_UI_PROBLEMS : exit;
    }
    dv_cleanup(dv_output_free) struct dv_output *o = reply.body;
    return dv_layout_view_plan(ui, o, DV_UI_OK);
}

static int run_plan(const struct dv_ui *ui)
{
    const struct plan_values *v = ui->values;
    dv_cleanup(dv_output_free) struct dv_output *body = NULL;
    struct dv_err err = {{0}};
    if (dv_layout_file_body(ui->argv[0], v->config, &body, &err) < 0)
        return dv_ui_fail(ui, DV_UI_USAGE, "%s", err.msg);
    return plan(ui, body);
}

static const struct dv_ui_example plan_examples[] = {
    {"what a file would change, and whom that disturbs", "divvy layout plan node.yaml"},
    {"the same for one of a mig-parted file's configurations",
     "divvy layout plan mig-parted.yaml --config all-balanced"},
};

const struct dv_ui_verb dv_verb_layout_plan = {
    .name = "layout plan",
    .args = "FILE",
    .summary = "the steps to a layout, and whom they disturb",
    .details = "Changes nothing. FILE is divvy's own layout, mig-parted's file or the NVIDIA "
               "device plugin's, read as it is; - is the standard input. What is legal but likely "
               "not meant is said on the standard error. Ends with 3 when this node cannot have "
               "the layout, with 2 when the file is wrong.",
    .options = plan_options,
    .n_options = DV_ARRAY_SIZE(plan_options),
    .values_size = sizeof(struct plan_values),
    .examples = plan_examples,
    .n_examples = DV_ARRAY_SIZE(plan_examples),
    .min_words = 1,
    .max_words = 1,
    .prints = true,
    .asks_daemon = true,
    .run = run_plan,
};

/* ---- apply, undo ---------------------------------------------------------------------------- */

struct apply_values {
    const char *config;
    struct dv_layout_change change;
    bool dry_run;
};

static const struct dv_option apply_options[] = {
    {"config", 'c', "NAME", CONFIG_HELP, DV_OPTION_TEXT, offsetof(struct apply_values, config)},
    DV_LAYOUT_CHANGE_OPTIONS(offsetof(struct apply_values, change)),
    {"dry-run", 0, NULL, "only say what would be done, as 'layout plan'", DV_OPTION_FLAG,
     offsetof(struct apply_values, dry_run)},
};

static int change(const struct dv_ui *ui, const char *path, struct dv_output *body,
                  const struct dv_layout_change *how)
{
    dv_cleanup(dv_output_free) struct dv_output *o = NULL;
    int exit = dv_layout_change_run(ui, path, body, how, &o);
    const char *kind = o ? dv_output_text(dv_output_get(dv_output_root(o), "kind"), "") : "";
    if (!strcmp(kind, "Layout"))
        return dv_layout_view_show(ui, o, exit);
    if (o && dv_ui_is(ui, "json")) /* who is in the way, for scripts */
        return dv_ui_answer(ui, o, NULL, NULL, exit);
    return exit;
}

static int run_apply(const struct dv_ui *ui)
{
    const struct apply_values *v = ui->values;
    dv_cleanup(dv_output_free) struct dv_output *body = NULL;
    struct dv_err err = {{0}};
    int exit = dv_layout_change_check(ui, &v->change);
    if (exit)
        return exit;
    if (dv_layout_file_body(ui->argv[0], v->config, &body, &err) < 0)
        return dv_ui_fail(ui, DV_UI_USAGE, "%s", err.msg);
    if (v->dry_run)
        return plan(ui, body);
    return change(ui, "/v1/layout/apply", body, &v->change);
}

static const struct dv_ui_example apply_examples[] = {
    {"change what is idle; refused, with names, when somebody is in the way",
     "divvy layout apply node.yaml"},
    {"let running work end by itself, for at most two hours",
     "divvy layout apply node.yaml --wait --timeout 2h"},
};

const struct dv_ui_verb dv_verb_layout_apply = {
    .name = "layout apply",
    .args = "FILE",
    .summary = "bring the GPUs to a layout",
    .details =
        "Each GPU by itself; those that are as wanted, or not in FILE, do not notice. Instances in "
        "use are kept where any placement can keep them. When slices are in the way, nothing is "
        "changed and they are named (exit status 1), unless --wait or --evict is given. With "
        "--wait nothing new is placed on what is to go, and the change is made when it is free. A "
        "step that fails is undone with those before it on that GPU. FILE as for 'layout plan'; "
        "the layout is kept over restarts of the daemon.\n\n"
        "Returns when the change is through. Ctrl-C only ends the watching (exit status 128+2): "
        "the change goes on, 'layout show' shows it, 'layout undo' takes it back.",
    .options = apply_options,
    .n_options = DV_ARRAY_SIZE(apply_options),
    .values_size = sizeof(struct apply_values),
    .examples = apply_examples,
    .n_examples = DV_ARRAY_SIZE(apply_examples),
    .min_words = 1,
    .max_words = 1,
    .prints = true,
    .asks_daemon = true,
    .run = run_apply,
};

static const struct dv_option undo_options[] = {DV_LAYOUT_CHANGE_OPTIONS(0)};

static int run_undo(const struct dv_ui *ui)
{
    dv_cleanup(dv_output_free) struct dv_output *body = dv_output_new(NULL);
    if (!body)
        return dv_ui_fail(ui, DV_UI_FAILURE, "out of memory");
    return change(ui, "/v1/layout/undo", body, ui->values);
}

static const struct dv_ui_example undo_examples[] = {
    {"back to the layout before the last one", "divvy layout undo"},
};

const struct dv_ui_verb dv_verb_layout_undo = {
    .name = "layout undo",
    .summary = "bring the GPUs back to the layout before the last one",
    .details = "As 'layout apply' of what was there before. Undoing twice is where one began.",
    .options = undo_options,
    .n_options = DV_ARRAY_SIZE(undo_options),
    .values_size = sizeof(struct dv_layout_change),
    .examples = undo_examples,
    .n_examples = DV_ARRAY_SIZE(undo_examples),
    .prints = true,
    .asks_daemon = true,
    .run = run_undo,
};
