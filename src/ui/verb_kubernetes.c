/* SPDX-License-Identifier: Apache-2.0 */
#include "ask.h"
#include "kubernetes_text.h"
#include "verbs.h"

static int print_tables(const struct dv_ui *ui, struct dv_output *o)
{
    dv_cleanup(dv_str_done) struct dv_str text = {0};
    if (!dv_output_is_true(dv_output_get(dv_output_root(o), "enabled")))
        return dv_ui_print("divvyd runs here without --kubernetes\n");
    dv_kubernetes_text(dv_output_root(o), &text);
    dv_str_addc(&text, '\n');
    int r = dv_kubernetes_text_resources(o, "resources", ui->colour, &text);
    if (r < 0 || text.failed)
        return dv_ui_fail(ui, DV_UI_FAILURE, "out of memory");
    return dv_ui_print(dv_str_get(&text));
}

static int run(const struct dv_ui *ui)
{
    dv_cleanup(dv_output_free) struct dv_output *o = NULL;
    int exit = dv_ask(ui, "GET", "/v1/kubernetes", NULL, &o);
    if (exit)
        return exit;
    if (dv_ui_is(ui, "table"))
        return print_tables(ui, o);
    return dv_ui_answer(ui, o, &dv_kubernetes_text_view, NULL, DV_UI_OK);
}

static const struct dv_ui_example examples[] = {
    {"what this node offers to Kubernetes, and who listens", "divvy kubernetes"},
    {"of all nodes", "kubectl -n divvy get pods -l app.kubernetes.io/component=node -o name | "
                     "xargs -I{} kubectl -n "
                     "divvy exec {} -- divvy kubernetes"},
};

const struct dv_ui_verb dv_verb_kubernetes = {
    .name = "kubernetes",
    .summary = "what this node offers to Kubernetes, and how it stands with it",
    .details = "The API server, the configuration in force, MIG by label, and each resource: how "
               "many units there are, how many are healthy, how many pods have, and what the "
               "kubelet makes of it (watched: it has the list; waiting: it is not there; lost: it "
               "has dropped it). What is wrong, 'divvy doctor' says with what to do.",
    .examples = examples,
    .n_examples = DV_ARRAY_SIZE(examples),
    .prints = true,
    .asks_daemon = true,
    .run = run,
};
