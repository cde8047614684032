/* SPDX-License-Identifier: Apache-2.0 */
/* divvy baseline: what a workload does alone; divvy explain compares with it. */
#include "ask.h"
#include "run/inside.h"
#include "verbs.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

/* ---- recording ---- */

struct values {
    struct dv_wish wish;
    const char *name;
};

static const struct dv_option options[] = {
    DV_WISH_OPTIONS(offsetof(struct values, wish)),
    {"name", 'n', "NAME",
     "what the baseline is called; default: the command's program, of Python the script",
     DV_OPTION_TEXT, offsetof(struct values, name)},
};

static int say_kept(const struct dv_ui *ui, struct dv_output *o)
{
    dv_cleanup(dv_str_done) struct dv_str text = {0};
    const struct dv_output_node *b = dv_output_root(o);
    dv_str_add(&text, "kept as '");
    dv_value_clean(dv_output_text(dv_output_get(b, "name"), ""), &text);
    dv_str_add(&text, "' of tenant ");
    dv_value_clean(dv_output_text(dv_output_get(b, "tenant"), ""), &text);
    dv_str_add(&text, ": ");
    dv_value_raw(dv_output_get(b, "launches_per_second"), &text);
    dv_str_add(&text, " launches a second, ");
    dv_value_raw(dv_output_get(b, "gpu_ms_per_launch"), &text);
    dv_str_add(&text, " ms of GPU each, over ");
    dv_value_human(dv_output_get(b, "wall_seconds"), DV_VALUE_SECONDS, &text);
    return dv_ui_fail(ui, DV_UI_OK, "%s", dv_str_get(&text));
}

/* While the claim is still held: what its processes did goes with it. */
static int keep(const struct dv_ui *ui, const struct dv_claim *claim)
{
    const struct values *v = ui->values;
    dv_cleanup(dv_output_free) struct dv_output *body = dv_output_new(NULL), *o = NULL;
    dv_output_string(dv_output_root(body), "claim", claim->id);
    if (v->name)
        dv_output_string(dv_output_root(body), "name", v->name);
    if (!body || dv_ask(ui, "POST", "/v1/baselines", body, &o))
        return DV_UI_RUN_FAILED;
    return say_kept(ui, o);
}

static int after(const struct dv_ui *ui, const struct dv_claim *claim, int exit)
{
    if (exit && exit < DV_UI_RUN_SIGNAL)
        return dv_ui_fail(ui, exit, "the command failed (%d), so nothing is kept", exit);
    int kept = keep(ui, claim);
    return exit ? exit : kept;
}

static int run(const struct dv_ui *ui)
{
    const struct values *v = ui->values;
    dv_cleanup(dv_output_free) struct dv_output *body = dv_wish_claim(&v->wish, ui->argv);
    dv_output_bool(dv_output_root(body), "alone", true);
    return dv_inside_run(ui, &v->wish, body, after);
}

static const struct dv_ui_example examples[] = {
    {"how a training step does in its slice when nobody else is there",
     "divvy baseline --memory 10GiB --compute 25% -- python3 train.py --steps 200"},
    {"thirty seconds of a server that does not end by itself",
     "timeout 30 divvy baseline --memory 10GiB --compute 25% --name serve -- ./server"},
};

const struct dv_ui_verb dv_verb_baseline = {
    .name = "baseline",
    .args = "[--] COMMAND [ARG...]",
    .summary = "run a command alone in its slice, and keep how fast it was",
    .details =
        "As 'run', in a slice of the same size, but on a device without other slices; none is "
        "placed there until it ends. When every device has slices it waits, and others are not "
        "disturbed. Kept are launches and GPU time per launch, over the time in which processes "
        "of the command used the GPU, by tenant and name; a baseline of the same name is "
        "replaced. 'explain' compares a workload with the baseline that has its command line, "
        "else its name.\n\n"
        "A command that fails is not kept; one that is ended by a signal is. The exit status is "
        "that of 'run', and 125 when nothing could be kept.",
    .options = options,
    .n_options = DV_ARRAY_SIZE(options),
    .values_size = sizeof(struct values),
    .examples = examples,
    .n_examples = DV_ARRAY_SIZE(examples),
    .min_words = 1,
    .max_words = -1,
    .asks_daemon = true,
    .runs_command = true,
    .run = run,
};

/* ---- what there is ---- */

struct which {
    const char *tenant;
};

static const struct dv_option which_options[] = {
    {"tenant", 't', "NAME", "whose", DV_OPTION_TEXT, offsetof(struct which, tenant)},
};

static const struct dv_table_column columns[] = {
    {"TENANT", "tenant"},
    {"NAME", "name"},
    {"LAUNCHES/S", "launches_per_second", .right = true},
    {"GPU EACH", "gpu_ms_per_launch", .right = true, .suffix = " ms"},
    {"OVER", "wall_seconds", DV_VALUE_SECONDS, .right = true},
    {"MODE", "mode"},
    {"COMPUTE", "compute_permille", DV_VALUE_PERMILLE, .right = true},
    {"MEMORY", "memory_bytes", DV_VALUE_BYTES, .right = true},
    {"GPU", "model"},
    {"COMMAND", "command"},
};
static const struct dv_table view = {"baselines", columns, DV_ARRAY_SIZE(columns)};

/* "/v1/baselines?tenant=T&name=N", each if it is given. */
static char *path_of(const char *tenant, const char *name)
{
    char *with = NULL, *path = NULL;
    if (tenant && dv_ask_path("/v1/baselines?tenant=", tenant, name ? "&name=" : "", &with) < 0)
        return NULL;
    if (name)
        dv_ask_path(with ? with : "/v1/baselines?name=", name, "", &path);
    else
        path = with ? strdup(with) : strdup("/v1/baselines");
    free(with);
    return path;
}

static int ask(const struct dv_ui *ui, const char *method, const char *tenant, const char *name,
               struct dv_output **ret)
{
    char *path = path_of(tenant, name);
    if (!path)
        return dv_ui_fail(ui, DV_UI_FAILURE, "out of memory");
    int exit = dv_ask(ui, method, path, NULL, ret);
    free(path);
    return exit;
}

static int run_list(const struct dv_ui *ui)
{
    const struct which *w = ui->values;
    dv_cleanup(dv_output_free) struct dv_output *o = NULL;
    int exit = ask(ui, "GET", w->tenant, NULL, &o);
    return exit ? exit : dv_ui_answer(ui, o, &view, "there are no baselines", DV_UI_OK);
}

const struct dv_ui_verb dv_verb_baseline_list = {
    .name = "baseline list",
    .summary = "the baselines that are kept",
    .details = "Of all tenants, or of one.",
    .options = which_options,
    .n_options = DV_ARRAY_SIZE(which_options),
    .values_size = sizeof(struct which),
    .prints = true,
    .asks_daemon = true,
    .run = run_list,
};

static int run_show(const struct dv_ui *ui)
{
    const struct which *w = ui->values;
    dv_cleanup(dv_output_free) struct dv_output *o = NULL;
    int exit = ask(ui, "GET", w->tenant, ui->argv[0], &o);
    const struct dv_output_node *list = o ? dv_output_get(dv_output_root(o), "baselines") : NULL;
    if (!exit && (!list || !list->first))
        return dv_ui_fail(ui, DV_UI_FAILURE, "there is no baseline '%s'", ui->argv[0]);
    return exit ? exit : dv_ui_answer(ui, o, &view, NULL, DV_UI_OK);
}

const struct dv_ui_verb dv_verb_baseline_show = {
    .name = "baseline show",
    .args = "NAME",
    .summary = "one baseline",
    .details = "Of every tenant that has one of this name, or of one.",
    .options = which_options,
    .n_options = DV_ARRAY_SIZE(which_options),
    .values_size = sizeof(struct which),
    .min_words = 1,
    .max_words = 1,
    .prints = true,
    .asks_daemon = true,
    .run = run_show,
};

static int run_rm(const struct dv_ui *ui)
{
    const struct which *w = ui->values;
    dv_cleanup(dv_output_free) struct dv_output *o = NULL;
    return ask(ui, "DELETE", w->tenant, ui->argv[0], &o);
}

static const struct dv_ui_example rm_examples[] = {
    {"forget how a workload did", "divvy baseline rm train.py"},
};

const struct dv_ui_verb dv_verb_baseline_rm = {
    .name = "baseline rm",
    .args = "NAME",
    .summary = "forget a baseline",
    .details = "Your own; only root and operators may name another tenant.",
    .options = which_options,
    .n_options = DV_ARRAY_SIZE(which_options),
    .values_size = sizeof(struct which),
    .examples = rm_examples,
    .n_examples = DV_ARRAY_SIZE(rm_examples),
    .min_words = 1,
    .max_words = 1,
    .asks_daemon = true,
    .run = run_rm,
};
