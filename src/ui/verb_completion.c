/* SPDX-License-Identifier: Apache-2.0 */
#include "ui.h"

static int run(const struct dv_ui *ui)
{
    dv_cleanup(dv_str_done) struct dv_str text = {0};
    if (dv_completion_write(ui->program, ui->argv[0], &text) < 0)
        return dv_ui_fail(ui, DV_UI_USAGE, "unknown shell '%.40s'; there are: bash, zsh, fish",
                          ui->argv[0]);
    return dv_ui_print(dv_str_get(&text));
}

static const struct dv_ui_example examples[] = {
    {"for this bash", "source <(divvy completion bash)"},
    {"for every zsh of this user, in a directory of its fpath",
     "divvy completion zsh > ~/.zfunc/_divvy"},
    {"for every fish of this user",
     "divvy completion fish > ~/.config/fish/completions/divvy.fish"},
};

const struct dv_ui_verb dv_verb_completion = {
    .name = "completion",
    .args = "bash|zsh|fish",
    .summary = "print the completion for a shell",
    .examples = examples,
    .n_examples = DV_ARRAY_SIZE(examples),
    .min_words = 1,
    .max_words = 1,
    .run = run,
};
