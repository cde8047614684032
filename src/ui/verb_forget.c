/* SPDX-License-Identifier: Apache-2.0 */
#include "ask.h"
#include "verbs.h"

#include <stdlib.h>

static int run(const struct dv_ui *ui)
{
    dv_cleanup(dv_output_free) struct dv_output *body = dv_output_new(NULL), *answer = NULL;
    char *path = NULL;
    if (!body || dv_ask_path("/v1/gpus/", ui->argv[0], "/forget", &path) < 0)
        return dv_ui_fail(ui, DV_UI_FAILURE, "out of memory");
    int exit = dv_ask(ui, "POST", path, body, &answer);
    free(path);
    return exit;
}

static const struct dv_ui_example examples[] = {
    {"a card was taken out, and no other will come in its place",
     "divvy forget GPU-bf4bc6e4-3f2c-47fd-8eac-e14c2f90ce5d"},
};

const struct dv_ui_verb dv_verb_forget = {
    .name = "forget",
    .args = "GPU-UUID",
    .summary = "do not miss a GPU that is gone for good",
    .details =
        "A GPU that was there and that the driver no longer counts is missing: 'divvy status' "
        "and 'divvy doctor' name it, and on Kubernetes its units are unhealthy, until it is "
        "back, another card is at its address, or this is said. Changes nothing on a GPU. "
        "Allowed to operators and root.",
    .examples = examples,
    .n_examples = DV_ARRAY_SIZE(examples),
    .min_words = 1,
    .max_words = 1,
    .asks_daemon = true,
    .run = run,
};
