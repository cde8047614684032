/* SPDX-License-Identifier: Apache-2.0 */
/*
 * divvy mig apply, assert, export, checkpoint, restore, generate: what nvidia-mig-parted's
 * commands mean, with its flags and environment, so that scripts can be moved over by their first
 * word. Source: github.com/NVIDIA/mig-parted, cmd/nvidia-mig-parted.
 */
#include "ask.h"
#include "layout_change.h"
#include "layout_file.h"
#include "render/json.h"
#include "verbs.h"
#include "yaml/yaml_output.h"

#include <stdio.h>
#include <string.h>

/* mig-parted ends with 1 whenever it did not do what was asked; only misuse of the command line
 * and a daemon that is not there stay what they are for all commands. */
static int exit_of(int exit)
{
    return exit == DV_UI_USAGE || exit == DV_UI_PROBLEMS ? DV_UI_FAILURE : exit;
}

static int needs(const struct dv_ui *ui, const char *value, const char *what)
{
    return value ? DV_UI_OK : dv_ui_fail(ui, DV_UI_USAGE, "%s is missing", what);
}

/* ---- apply, restore ------------------------------------------------------------------------- */

struct apply_values {
    const char *file, *config, *hooks;
    bool mode_only, skip_reset;
    struct dv_layout_change change;
};

#define FILE_OPTION(at)                                                                            \
    {                                                                                              \
        "config-file", 'f', "FILE", "the configurations; - is the standard input", DV_OPTION_TEXT, \
            (at), .env = "MIG_PARTED_CONFIG_FILE"                                                  \
    }
#define CONFIG_OPTION(at)                                                                          \
    {                                                                                              \
        "selected-config", 'c', "NAME", "which of them; default: the only one", DV_OPTION_TEXT,    \
            (at), .env = "MIG_PARTED_SELECTED_CONFIG"                                              \
    }
#define MODE_ONLY_OPTION(at)                                                                       \
    {                                                                                              \
        "mode-only", 'm', NULL, "only MIG mode, not the instances", DV_OPTION_FLAG, (at),          \
            .env = "MIG_PARTED_MODE_CHANGE_ONLY"                                                   \
    }
#define HOOKS_OPTION(at)                                                                           \
    {                                                                                              \
        "hooks-file", 'k', "FILE", "not run by divvy: refused", DV_OPTION_TEXT, (at),              \
            .env = "MIG_PARTED_HOOKS_FILE"                                                         \
    }
#define SKIP_RESET_OPTION(at)                                                                      \
    {                                                                                              \
        "skip-reset", 's', NULL, "not done by divvy: refused", DV_OPTION_FLAG, (at),               \
            .env = "MIG_PARTED_SKIP_RESET"                                                         \
    }

static const struct dv_option apply_options[] = {
    FILE_OPTION(offsetof(struct apply_values, file)),
    CONFIG_OPTION(offsetof(struct apply_values, config)),
    MODE_ONLY_OPTION(offsetof(struct apply_values, mode_only)),
    SKIP_RESET_OPTION(offsetof(struct apply_values, skip_reset)),
    HOOKS_OPTION(offsetof(struct apply_values, hooks)),
    DV_LAYOUT_CHANGE_OPTIONS(offsetof(struct apply_values, change)),
};

static int refuse_hooks(const struct dv_ui *ui, const char *hooks)
{
    return !hooks ? DV_UI_OK
                  : dv_ui_fail(ui, DV_UI_USAGE,
                               "divvy does not run hooks (%s): it drains what uses a GPU by itself "
                               "(--wait); leave out -k and $MIG_PARTED_HOOKS_FILE, and run what "
                               "else they do before and after",
                               hooks);
}

static int refuse_skipping(const struct dv_ui *ui)
{
    return dv_ui_fail(
        ui, DV_UI_USAGE,
        "divvy leaves no change of MIG mode pending: it resets a GPU where the change "
        "needs it and nothing uses the GPU; leave out -s and $MIG_PARTED_SKIP_RESET");
}

/* ---- MIG mode alone: by a layout of the GPUs whose mode is another than the file's ---------- */

typedef void visit_mode(const struct dv_output_node *gpu, bool now, bool then, void *arg);

/* Calls visit for each GPU that the file means, with its mode now and then. */
static int each_mode(const struct dv_ui *ui, struct dv_output *body, visit_mode *visit, void *arg)
{
    dv_cleanup(dv_output_free) struct dv_output *planned = NULL;
    dv_cleanup(dv_output_free) struct dv_output *layout = NULL;
    int exit = dv_ask(ui, "POST", "/v1/layout/plan", body, &planned);
    if (!exit)
        exit = dv_ask(ui, "GET", "/v1/layout", NULL, &layout);
    if (exit)
        return exit_of(exit);
    const struct dv_output_node *to = dv_output_get(dv_output_root(planned), "gpus");
    const struct dv_output_node *from = dv_output_get(dv_output_root(layout), "gpus");
    for (const struct dv_output_node *p = to ? to->first : NULL; p; p = p->next)
        for (const struct dv_output_node *n = from ? from->first : NULL; n; n = n->next)
            if (dv_output_is_true(dv_output_get(p, "managed")) &&
                !strcmp(dv_output_text(dv_output_get(p, "uuid"), ""),
                        dv_output_text(dv_output_get(n, "uuid"), "-")))
                visit(n, dv_output_is_true(dv_output_get(n, "mig_enabled")),
                      dv_output_is_true(dv_output_get(p, "mig")), arg);
    return DV_UI_OK;
}

static void add_mode(const struct dv_output_node *gpu, bool now, bool then, void *list)
{
    if (now == then)
        return;
    struct dv_output_node *entry = dv_output_object(list, NULL);
    dv_output_string(entry, "gpu", dv_output_text(dv_output_get(gpu, "uuid"), ""));
    if (then)
        dv_output_array(entry, "mig");
    else
        dv_output_string(entry, "mode", "auto");
}

/* Replaces the body's file by such a layout; *body is NULL after when there is nothing to do. */
static int only_modes(const struct dv_ui *ui, const char *name, struct dv_output **body)
{
    dv_cleanup(dv_output_free) struct dv_output *layout = dv_output_new("Layout");
    dv_cleanup(dv_str_done) struct dv_str text = {0};
    dv_output_string(dv_output_root(layout), "part", "cut");
    struct dv_output_node *list = dv_output_array(dv_output_root(layout), "gpus");
    int exit = each_mode(ui, *body, add_mode, list);
    if (exit)
        return exit;
    dv_output_free(body);
    if (!list || dv_json_write(layout, false, &text) < 0)
        return dv_ui_fail(ui, DV_UI_FAILURE, "out of memory");
    if (!list->children)
        return DV_UI_OK;
    *body = dv_output_new(NULL);
    dv_output_string(dv_output_root(*body), "name", name);
    dv_output_string(dv_output_root(*body), "text", dv_str_get(&text));
    return *body ? DV_UI_OK : dv_ui_fail(ui, DV_UI_FAILURE, "out of memory");
}

/* The file goes to the daemon, which makes it so. */
static int apply(const struct dv_ui *ui, const struct apply_values *v, const char *done)
{
    dv_cleanup(dv_output_free) struct dv_output *body = NULL;
    dv_cleanup(dv_output_free) struct dv_output *o = NULL;
    struct dv_err err = {{0}};
    int exit = refuse_hooks(ui, v->hooks);
    if (!exit && v->skip_reset)
        exit = refuse_skipping(ui);
    if (!exit)
        exit = dv_layout_change_check(ui, &v->change);
    if (exit)
        return exit;
    if (dv_layout_file_body(v->file, v->config, &body, &err) < 0)
        return dv_ui_fail(ui, DV_UI_FAILURE, "%s", err.msg);
    exit = v->mode_only ? only_modes(ui, v->file, &body) : DV_UI_OK;
    if (exit || !body)
        return exit ? exit : dv_ui_print(done);
    exit = dv_layout_change_run(ui, "/v1/layout/apply", body, &v->change, &o);
    return exit ? exit_of(exit) : dv_ui_print(done);
}

static int run_apply(const struct dv_ui *ui)
{
    const struct apply_values *v = ui->values;
    int exit = needs(ui, v->file, "-f FILE");
    return exit ? exit
                : apply(ui, v, v->change.no_watch ? "the change is under way\n" : "applied\n");
}

static const struct dv_ui_example apply_examples[] = {
    {"cut all GPUs as mig-parted's file says",
     "divvy mig apply -f /etc/nvidia-mig-manager/config.yaml -c all-1g.10gb"},
    {"the same when running work has ended",
     "divvy mig apply -f config.yaml -c all-balanced --wait --timeout 1h"},
};

const struct dv_ui_verb dv_verb_mig_apply = {
    .name = "mig apply",
    .summary = "cut the GPUs as a configuration of mig-parted's file says",
    .details = "As nvidia-mig-parted apply, with its flags and environment. Other than there, "
               "instances in use are kept where the new cut has such an instance, and what is in "
               "the way is named and left alone unless --wait or --evict is given. Ends with 1 "
               "when it was not done.",
    .options = apply_options,
    .n_options = DV_ARRAY_SIZE(apply_options),
    .values_size = sizeof(struct apply_values),
    .examples = apply_examples,
    .n_examples = DV_ARRAY_SIZE(apply_examples),
    .asks_daemon = true,
    .run = run_apply,
};

#define CHECKPOINT_OPTION(at)                                                                      \
    {                                                                                              \
        "checkpoint-file", 'f', "FILE", "the checkpoint", DV_OPTION_TEXT, (at),                    \
            .env = "MIG_PARTED_CHECKPOINT_FILE"                                                    \
    }

static const struct dv_option restore_options[] = {
    CHECKPOINT_OPTION(offsetof(struct apply_values, file)),
    MODE_ONLY_OPTION(offsetof(struct apply_values, mode_only)),
    HOOKS_OPTION(offsetof(struct apply_values, hooks)),
    DV_LAYOUT_CHANGE_OPTIONS(offsetof(struct apply_values, change)),
};

static int run_restore(const struct dv_ui *ui)
{
    const struct apply_values *v = ui->values;
    int exit = needs(ui, v->file, "-f FILE");
    return exit ? exit
                : apply(ui, v, v->change.no_watch ? "the change is under way\n" : "restored\n");
}

static const struct dv_ui_example restore_examples[] = {
    {"put every instance back to its place", "divvy mig restore -f before.yaml"},
};

const struct dv_ui_verb dv_verb_mig_restore = {
    .name = "mig restore",
    .summary = "put MIG devices back as a checkpoint has them",
    .details = "FILE is what 'divvy mig checkpoint' wrote: a layout of divvy's own format with the "
               "place of every instance, which 'divvy layout plan' and 'apply' take too. A "
               "checkpoint of nvidia-mig-parted itself is another format and is not read.",
    .options = restore_options,
    .n_options = DV_ARRAY_SIZE(restore_options),
    .values_size = sizeof(struct apply_values),
    .examples = restore_examples,
    .n_examples = DV_ARRAY_SIZE(restore_examples),
    .asks_daemon = true,
    .run = run_restore,
};

/* ---- assert --------------------------------------------------------------------------------- */

struct assert_values {
    const char *file, *config;
    bool mode_only, valid_config;
};

static const struct dv_option assert_options[] = {
    FILE_OPTION(offsetof(struct assert_values, file)),
    CONFIG_OPTION(offsetof(struct assert_values, config)),
    MODE_ONLY_OPTION(offsetof(struct assert_values, mode_only)),
    {"valid-config", 'a', NULL, "only whether the file is right and has the configuration",
     DV_OPTION_FLAG, offsetof(struct assert_values, valid_config),
     .env = "MIG_PARTED_VALID_CONFIG"},
};

/* A file is right when it can be planned, and also when this node cannot have it. */
static int assert_valid(const struct dv_ui *ui, struct dv_output *body)
{
    struct dv_http_reply reply = {0};
    int exit = dv_ask_reply(ui, "POST", "/v1/layout/plan", body, &reply);
    if (exit)
        return exit;
    const char *reason = dv_output_text(dv_output_get(dv_output_root(reply.body), "reason"), "");
    if (reply.status >= 400 && strcmp(reason, "infeasible") != 0)
        return exit_of(dv_ask_refused(ui, &reply));
    dv_http_reply_done(&reply);
    return dv_ui_print("the selected configuration is valid\n");
}

static int assert_applied(const struct dv_ui *ui, struct dv_output *body)
{
    dv_cleanup(dv_output_free) struct dv_output *o = NULL;
    int exit = exit_of(dv_ask(ui, "POST", "/v1/layout/assert", body, &o));
    if (exit)
        return exit;
    const struct dv_output_node *root = dv_output_root(o);
    if (dv_output_is_true(dv_output_get(root, "applied")))
        return dv_ui_print("the selected configuration is applied\n");
    dv_ui_fail(ui, DV_UI_FAILURE,
               "assertion failure: selected configuration not currently applied");
    const struct dv_output_node *list = dv_output_get(root, "differences");
    for (const struct dv_output_node *n = list ? list->first : NULL; n; n = n->next) {
        dv_cleanup(dv_str_done) struct dv_str text = {0};
        dv_value_clean(dv_output_text(n, ""), &text);
        dv_ui_fail(ui, DV_UI_FAILURE, "%s", dv_str_get(&text));
    }
    return DV_UI_FAILURE;
}

static void say_mode(const struct dv_output_node *gpu, bool now, bool then, void *text)
{
    if (now == then)
        return;
    dv_str_add(text, "GPU ");
    dv_value_human(dv_output_get(gpu, "index"), DV_VALUE_AUTO, text);
    dv_str_addf(text, ": MIG mode is %s, not %s\n", now ? "on" : "off", then ? "on" : "off");
}

static int assert_modes(const struct dv_ui *ui, struct dv_output *body)
{
    dv_cleanup(dv_str_done) struct dv_str text = {0};
    int exit = each_mode(ui, body, say_mode, &text);
    if (exit || !text.len)
        return exit ? exit : dv_ui_print("the MIG modes of the selected configuration are set\n");
    exit = dv_ui_fail(ui, DV_UI_FAILURE,
                      "assertion failure: selected configuration not currently applied");
    fputs(dv_str_get(&text), stderr);
    return exit;
}

static int run_assert(const struct dv_ui *ui)
{
    const struct assert_values *v = ui->values;
    dv_cleanup(dv_output_free) struct dv_output *body = NULL;
    struct dv_err err = {{0}};
    int exit = needs(ui, v->file, "-f FILE");
    if (exit)
        return exit;
    if (dv_layout_file_body(v->file, v->config, &body, &err) < 0)
        return dv_ui_fail(ui, DV_UI_FAILURE, "%s", err.msg);
    if (v->valid_config)
        return assert_valid(ui, body);
    return v->mode_only ? assert_modes(ui, body) : assert_applied(ui, body);
}

static const struct dv_ui_example assert_examples[] = {
    {"is the node cut as the file says", "divvy mig assert -f config.yaml -c all-balanced"},
};

const struct dv_ui_verb dv_verb_mig_assert = {
    .name = "mig assert",
    .summary = "whether a configuration of mig-parted's file is what is there",
    .details = "Ends with 0 when it is, with 1 when it is not, or when the file is wrong.",
    .options = assert_options,
    .n_options = DV_ARRAY_SIZE(assert_options),
    .values_size = sizeof(struct assert_values),
    .examples = assert_examples,
    .n_examples = DV_ARRAY_SIZE(assert_examples),
    .asks_daemon = true,
    .run = run_assert,
};

/* ---- export, generate ----------------------------------------------------------------------- */

struct export_values {
    const char *file, *format, *label;
};

#define FORMAT_OPTION(at)                                                                          \
    {                                                                                              \
        "output-format", 'o', "FORMAT", "how to print", DV_OPTION_CHOICE, (at),                    \
            .choices = "yaml|json", .otherwise = "yaml", .env = "MIG_PARTED_OUTPUT_FORMAT"         \
    }

/* Asks for a LayoutExport and writes its text, as it is or as JSON. */
static int export(const struct dv_ui *ui, const struct export_values *v, const char *path)
{
    dv_cleanup(dv_output_free) struct dv_output *o = NULL;
    dv_cleanup(dv_output_free) struct dv_output *tree = NULL;
    dv_cleanup(dv_str_done) struct dv_str json = {0};
    struct dv_err err = {{0}};
    int exit = dv_ask(ui, "GET", path, NULL, &o);
    if (exit)
        return exit;
    const char *text = dv_output_text(dv_output_get(dv_output_root(o), "text"), NULL);
    if (!text)
        return dv_ui_fail(ui, DV_UI_FAILURE, "the daemon's answer has no text");
    if (!strcmp(v->format, "json")) {
        if (dv_yaml_output_read("the daemon's answer", text, strlen(text), &tree, &err) < 0)
            return dv_ui_fail(ui, DV_UI_FAILURE, "%s", err.msg);
        if (dv_json_write(tree, true, &json) < 0)
            return dv_ui_fail(ui, DV_UI_FAILURE, "out of memory");
        text = dv_str_get(&json);
    }
    if (dv_layout_file_write(v->file ? v->file : "-", text, strlen(text), &err) < 0)
        return dv_ui_fail(ui, DV_UI_FAILURE, "%s", err.msg);
    return DV_UI_OK;
}

static const struct dv_option export_options[] = {
    FORMAT_OPTION(offsetof(struct export_values, format)),
    {"config-label", 'l', "NAME", "what to call the configuration", DV_OPTION_TEXT,
     offsetof(struct export_values, label), .otherwise = "current",
     .env = "MIG_PARTED_CONFIG_LABEL"},
};

static int run_export(const struct dv_ui *ui)
{
    const struct export_values *v = ui->values;
    dv_cleanup(dv_str_done) struct dv_str path = {0};
    dv_str_add(&path, "/v1/layout/export?config=");
    dv_http_client_escape(v->label, &path);
    if (path.failed)
        return dv_ui_fail(ui, DV_UI_FAILURE, "out of memory");
    return export(ui, v, dv_str_get(&path));
}

static const struct dv_ui_example export_examples[] = {
    {"keep how the GPUs are cut as a configuration", "divvy mig export > current.yaml"},
};

const struct dv_ui_verb dv_verb_mig_export = {
    .name = "mig export",
    .summary = "how the GPUs are cut, in mig-parted's format",
    .details = "Counts of MIG devices, without places; 'mig checkpoint' keeps those.",
    .options = export_options,
    .n_options = DV_ARRAY_SIZE(export_options),
    .values_size = sizeof(struct export_values),
    .examples = export_examples,
    .n_examples = DV_ARRAY_SIZE(export_examples),
    .asks_daemon = true,
    .run = run_export,
};

static const struct dv_option generate_options[] = {
    {"output-file", 'f', "FILE", "write it there; default: the standard output", DV_OPTION_TEXT,
     offsetof(struct export_values, file), .env = "MIG_PARTED_OUTPUT_FILE"},
    FORMAT_OPTION(offsetof(struct export_values, format)),
};

static int run_generate(const struct dv_ui *ui)
{
    return export(ui, ui->values, "/v1/layout/generate");
}

static const struct dv_ui_example generate_examples[] = {
    {"the configurations that these GPUs can have", "divvy mig generate -f config.yaml"},
};

const struct dv_ui_verb dv_verb_mig_generate = {
    .name = "mig generate",
    .summary = "a file for mig-parted with what these GPUs can be cut into",
    .details = "all-disabled, all-enabled, all-balanced and all-PROFILE for each profile; as "
               "nvidia-mig-parted generate-config.",
    .options = generate_options,
    .n_options = DV_ARRAY_SIZE(generate_options),
    .values_size = sizeof(struct export_values),
    .examples = generate_examples,
    .n_examples = DV_ARRAY_SIZE(generate_examples),
    .asks_daemon = true,
    .run = run_generate,
};
