/* SPDX-License-Identifier: Apache-2.0 */
#include "ask.h"
#include "verbs.h"

static const struct dv_table_column columns[] = {
    {"TENANT", "tenant"},
    {"BUSY", "busy_seconds", DV_VALUE_SECONDS, .right = true},
    {"WAITED", "wait_seconds", DV_VALUE_SECONDS, .right = true},
    {"RESERVED", "reserved_seconds", DV_VALUE_SECONDS, .right = true},
    {"MEMORY BYTE SECONDS", "memory_byte_seconds", .right = true},
};
static const struct dv_table view = {"tenants", columns, DV_ARRAY_SIZE(columns)};

static int run(const struct dv_ui *ui)
{
    dv_cleanup(dv_output_free) struct dv_output *o = NULL;
    int exit = dv_ask(ui, "GET", "/v1/usage", NULL, &o);
    return exit ? exit : dv_ui_answer(ui, o, &view, "nobody has used anything yet", DV_UI_OK);
}

static const struct dv_ui_example examples[] = {
    {"GPU time per tenant as a spreadsheet", "divvy usage -o csv > usage.csv"},
};

const struct dv_ui_verb dv_verb_usage = {
    .name = "usage",
    .summary = "what each tenant has used",
    .details = "BUSY is GPU time in which the tenant's work ran; WAITED is time in which it had "
               "work and not its turn; RESERVED is time in which it held a slice, weighed by the "
               "slice's compute. All since the daemon's state directory was made.",
    .examples = examples,
    .n_examples = DV_ARRAY_SIZE(examples),
    .prints = true,
    .asks_daemon = true,
    .run = run,
};
