/* SPDX-License-Identifier: Apache-2.0 */
/*
 * divvy mig checkpoint: what is there, as a layout of divvy's own format that means exactly this
 * again: GPUs by UUID, instances with their places. Written as JSON, which is YAML too.
 */
#include "ask.h"
#include "layout_file.h"
#include "render/json.h"
#include "verbs.h"

#include <string.h>

struct values {
    const char *file;
};

static const struct dv_option options[] = {
    {"checkpoint-file", 'f', "FILE", "where to write it; - is the standard output", DV_OPTION_TEXT,
     offsetof(struct values, file), .env = "MIG_PARTED_CHECKPOINT_FILE"},
};

static const struct dv_output_node *get(const struct dv_output_node *o, const char *key)
{
    return dv_output_get(o, key);
}

/* How it is shared, where the layout says so. */
static void add_sharing(struct dv_output_node *to, const struct dv_output_node *from)
{
    const char *mode = dv_output_text(get(from, "layout_mode"), "auto");
    const char *timeslice = dv_output_text(get(from, "timeslice"), "default");
    uint64_t replicas = dv_output_count(get(from, "replicas"), 0);
    dv_output_string(to, "mode", mode);
    if (replicas > 1 && strcmp(mode, "auto") != 0)
        dv_output_uint(to, "replicas", replicas);
    if (!strcmp(mode, "timeslice") && strcmp(timeslice, "default") != 0)
        dv_output_string(to, "timeslice", timeslice);
}

static void add_gpu(struct dv_output_node *list, const struct dv_output_node *from)
{
    struct dv_output_node *gpu = dv_output_object(list, NULL);
    const struct dv_output_node *devices = get(from, "devices");
    const struct dv_output_node *d = devices ? devices->first : NULL;
    dv_output_string(gpu, "gpu", dv_output_text(get(from, "uuid"), ""));
    if (!dv_output_is_true(get(from, "mig_enabled"))) {
        add_sharing(gpu, d);
        return;
    }
    struct dv_output_node *mig = dv_output_array(gpu, "mig");
    for (; d; d = d->next) {
        struct dv_output_node *device = dv_output_object(mig, NULL);
        dv_output_string(device, "profile", dv_output_text(get(d, "profile"), ""));
        dv_output_uint(device, "start", dv_output_count(get(d, "placement_start"), 0));
        add_sharing(device, d);
    }
}

static int run(const struct dv_ui *ui)
{
    const struct values *v = ui->values;
    dv_cleanup(dv_output_free) struct dv_output *o = NULL;
    dv_cleanup(dv_output_free) struct dv_output *layout = dv_output_new("Layout");
    dv_cleanup(dv_str_done) struct dv_str text = {0};
    struct dv_err err = {{0}};
    if (!v->file)
        return dv_ui_fail(ui, DV_UI_USAGE, "-f FILE is missing");
    int exit = dv_ask(ui, "GET", "/v1/layout", NULL, &o);
    if (exit)
        return exit;
    dv_output_string(dv_output_root(layout), "part", "cut");
    struct dv_output_node *list = dv_output_array(dv_output_root(layout), "gpus");
    const struct dv_output_node *gpus = get(dv_output_root(o), "gpus");
    for (const struct dv_output_node *g = gpus ? gpus->first : NULL; g; g = g->next)
        add_gpu(list, g);
    if (!layout || dv_json_write(layout, true, &text) < 0)
        return dv_ui_fail(ui, DV_UI_FAILURE, "out of memory");
    if (dv_layout_file_write(v->file, dv_str_get(&text), text.len, &err) < 0)
        return dv_ui_fail(ui, DV_UI_FAILURE, "%s", err.msg);
    return DV_UI_OK;
}

static const struct dv_ui_example examples[] = {
    {"keep how the GPUs are cut, and put it back later",
     "divvy mig checkpoint -f before.yaml; ...; divvy mig restore -f before.yaml"},
};

const struct dv_ui_verb dv_verb_mig_checkpoint = {
    .name = "mig checkpoint",
    .summary = "keep how the GPUs are cut, with every place",
    .details = "Writes a layout of divvy's own format that names every GPU by its UUID and every "
               "instance with its place; 'mig restore' puts them back, 'layout plan' says what "
               "that would take.",
    .options = options,
    .n_options = DV_ARRAY_SIZE(options),
    .values_size = sizeof(struct values),
    .examples = examples,
    .n_examples = DV_ARRAY_SIZE(examples),
    .asks_daemon = true,
    .run = run,
};
