/* SPDX-License-Identifier: Apache-2.0 */
#include "ask.h"
#include "verbs.h"

static const struct dv_table_column columns[] = {
    {"POSITION", "position", .right = true},
    {"CLAIM", "id", .csv = "claim"},
    {"TENANT", "tenant"},
    {"PRIORITY", "priority", .right = true},
    {"MODE", "mode"},
    {"COMPUTE", "compute_permille", DV_VALUE_PERMILLE, .right = true},
    {"MEMORY", "memory_bytes", DV_VALUE_BYTES, .right = true},
    {"WAITS FOR", "verdict.message", .csv = "reason"},
};
static const struct dv_table view = {"claims", columns, DV_ARRAY_SIZE(columns)};

static int run(const struct dv_ui *ui)
{
    dv_cleanup(dv_output_free) struct dv_output *o = NULL;
    int exit = dv_ask(ui, "GET", "/v1/queue", NULL, &o);
    return exit ? exit : dv_ui_answer(ui, o, &view, "the queue is empty", DV_UI_OK);
}

static const struct dv_ui_example examples[] = {
    {"who waits, and for what", "divvy queue"},
};

const struct dv_ui_verb dv_verb_queue = {
    .name = "queue",
    .summary = "the claims that wait",
    .details = "By priority, then by time of arrival.",
    .examples = examples,
    .n_examples = DV_ARRAY_SIZE(examples),
    .prints = true,
    .asks_daemon = true,
    .run = run,
};
