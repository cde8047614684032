/* SPDX-License-Identifier: Apache-2.0 */
#include "ask.h"
#include "verbs.h"

#include <stddef.h>
#include <stdlib.h>

struct values {
    const char *strategy;
};

#define AT(field) offsetof(struct values, field)
static const struct dv_option options[] = {
    {"mig-strategy", 0, "STRATEGY", "as with this one; default: the one configured, else none",
     DV_OPTION_CHOICE, AT(strategy), .choices = "none|single|mixed"},
};

static const struct dv_table_column columns[] = {
    {"LABEL", "key", .csv = "label"},
    {"VALUE", "value"},
};
static const struct dv_table view = {"labels", columns, DV_ARRAY_SIZE(columns)};

static int run(const struct dv_ui *ui)
{
    const struct values *v = ui->values;
    dv_cleanup(dv_output_free) struct dv_output *o = NULL;
    char *path = NULL;
    if (v->strategy && dv_ask_path("/v1/labels?mig_strategy=", v->strategy, "", &path) < 0)
        return dv_ui_fail(ui, DV_UI_FAILURE, "out of memory");
    int exit = dv_ask(ui, "GET", path ? path : "/v1/labels", NULL, &o);
    free(path);
    return exit ? exit : dv_ui_answer(ui, o, &view, "no labels", DV_UI_OK);
}

static const struct dv_ui_example examples[] = {
    {"what the node is labelled in a cluster", "divvy labels"},
    {"with a resource for each MIG profile", "divvy labels --mig-strategy mixed"},
    {"for kubectl, by hand",
     "kubectl label node $(hostname) --overwrite $(divvy labels -o csv | tail -n +2 | tr , =)"},
};

const struct dv_ui_verb dv_verb_labels = {
    .name = "labels",
    .summary = "the labels that this node has in a cluster",
    .details = "Those of NVIDIA's GPU feature discovery, with its rules for MIG strategies and for "
               "resources that are shared. Outside a cluster they show what the node would have.",
    .options = options,
    .n_options = DV_ARRAY_SIZE(options),
    .values_size = sizeof(struct values),
    .examples = examples,
    .n_examples = DV_ARRAY_SIZE(examples),
    .prints = true,
    .asks_daemon = true,
    .run = run,
};
