/* SPDX-License-Identifier: Apache-2.0 */
#include "ask.h"
#include "verbs.h"

static const struct dv_table_column columns[] = {
    {"PID", "pid", .right = true},
    {"TENANT", "^tenant", .csv = "tenant"},
    {"SLICE", "^id", .csv = "slice"},
    {"GPU", "^gpu_index", .right = true, .csv = "gpu_index"},
    {"COMPUTE", "^compute_permille", DV_VALUE_PERMILLE, .right = true, .csv = "compute_permille"},
    {"MEMORY", "memory_bytes", DV_VALUE_BYTES, .right = true},
    {"OF", "^memory_bytes", DV_VALUE_BYTES, .right = true, .csv = "slice_memory_bytes"},
    {"LAUNCHES", "launches", .right = true},
    {"STATE", "state"},
    {"BUSY", "^busy_seconds", DV_VALUE_SECONDS, .right = true, .csv = "busy_seconds"},
    {"WAITED", "^wait_seconds", DV_VALUE_SECONDS, .right = true, .csv = "wait_seconds"},
    {"COMMAND", "^command", .csv = "command"},
};
static const struct dv_table view = {"slices.processes", columns, DV_ARRAY_SIZE(columns),
                                     .keep_empty = true};

static int run(const struct dv_ui *ui)
{
    dv_cleanup(dv_output_free) struct dv_output *o = NULL;
    int exit = dv_ask(ui, "GET", "/v1/slices", NULL, &o);
    return exit ? exit : dv_ui_answer(ui, o, &view, "no slices: nobody holds anything", DV_UI_OK);
}

static const struct dv_ui_example examples[] = {
    {"the processes on the GPUs, and what they hold", "divvy ps"},
};

const struct dv_ui_verb dv_verb_ps = {
    .name = "ps",
    .summary = "the processes in the slices",
    .details = "One row per process that has opened a GPU; a slice whose command has not yet is "
               "shown without one. BUSY and WAITED are the slice's.",
    .examples = examples,
    .n_examples = DV_ARRAY_SIZE(examples),
    .prints = true,
    .asks_daemon = true,
    .run = run,
};
