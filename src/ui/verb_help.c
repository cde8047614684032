/* SPDX-License-Identifier: Apache-2.0 */
#include "ui.h"

#include <string.h>

struct values {
    bool man;
};

static const struct dv_option options[] = {
    {"man", 0, NULL, "print the manual page of all commands as mdoc(7) source", DV_OPTION_FLAG,
     offsetof(struct values, man)},
};

static int run(const struct dv_ui *ui)
{
    const struct values *v = ui->values;
    dv_cleanup(dv_str_done) struct dv_str text = {0};
    int used = 0;
    const struct dv_ui_verb *verb = dv_ui_find(ui->program, ui->argc, ui->argv, &used);
    if (ui->argc == 1 && !verb && dv_help_group(ui->program, ui->argv[0], &text))
        return dv_ui_print(dv_str_get(&text));
    if (ui->argc && !verb)
        return dv_ui_unknown(ui->program, ui->argv[0]);
    if (v->man)
        dv_man_write(ui->program, &text);
    else if (verb)
        dv_help_verb(ui->program, verb, &text);
    else
        dv_help_program(ui->program, &text);
    return dv_ui_print(dv_str_get(&text));
}

static const struct dv_ui_example examples[] = {
    {"what a command takes", "divvy help run"},
    {"read the manual page without installing it", "divvy help --man | man -l -"},
};

const struct dv_ui_verb dv_verb_help = {
    .name = "help",
    .args = "[COMMAND]",
    .summary = "explain the commands",
    .options = options,
    .n_options = DV_ARRAY_SIZE(options),
    .values_size = sizeof(struct values),
    .examples = examples,
    .n_examples = DV_ARRAY_SIZE(examples),
    .max_words = 2,
    .run = run,
};
