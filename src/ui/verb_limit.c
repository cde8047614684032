/* SPDX-License-Identifier: Apache-2.0 */
#include "ask.h"
#include "verbs.h"

#include <stdio.h>
#include <stdlib.h>

struct values {
    uint64_t memory;
    uint32_t compute;
};

static const struct dv_option options[] = {
    {"memory", 'm', "SIZE", "the slice's new memory", DV_OPTION_BYTES,
     offsetof(struct values, memory)},
    {"compute", 'c', "SHARE", "the slice's new compute share", DV_OPTION_COMPUTE,
     offsetof(struct values, compute)},
};

static int run(const struct dv_ui *ui)
{
    const struct values *v = ui->values;
    dv_cleanup(dv_output_free) struct dv_output *body = dv_output_new(NULL);
    dv_cleanup(dv_output_free) struct dv_output *answer = NULL;
    char *path = NULL;
    if (!v->memory && !v->compute)
        return dv_ui_fail(ui, DV_UI_USAGE, "say --memory SIZE, --compute SHARE or both");
    if (v->memory)
        dv_output_bytes(dv_output_root(body), "memory_bytes", v->memory);
    if (v->compute)
        dv_output_uint(dv_output_root(body), "compute", v->compute);
    if (dv_ask_path("/v1/slices/", ui->argv[0], "/limit", &path) < 0)
        return dv_ui_fail(ui, DV_UI_FAILURE, "out of memory");
    int exit = dv_ask(ui, "POST", path, body, &answer);
    free(path);
    const struct dv_output_node *verdict =
        exit ? NULL : dv_output_get(dv_output_root(answer), "verdict");
    if (dv_output_get(verdict, "new_processes_only"))
        fprintf(stderr, "divvy: %s\n", dv_output_text(dv_output_get(verdict, "message"), ""));
    return exit;
}

static const struct dv_ui_example examples[] = {
    {"give a running slice more memory and half the GPU",
     "divvy limit s-3 --memory 20GiB --compute 50%"},
};

const struct dv_ui_verb dv_verb_limit = {
    .name = "limit",
    .args = "SLICE",
    .summary = "change the limits of a slice while it runs",
    .details = "Refused below what is in use, and above what the GPU has left. Nothing is changed "
               "when one of both is refused. In MPS mode, without namespaces, the driver keeps "
               "the limits that a process started with: then it says that only new processes have "
               "the new ones.",
    .options = options,
    .n_options = DV_ARRAY_SIZE(options),
    .values_size = sizeof(struct values),
    .examples = examples,
    .n_examples = DV_ARRAY_SIZE(examples),
    .min_words = 1,
    .max_words = 1,
    .asks_daemon = true,
    .run = run,
};
