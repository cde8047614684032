/* SPDX-License-Identifier: Apache-2.0 */
/* divvy run: a command inside a slice. */
#include "run/inside.h"
#include "verbs.h"

static const struct dv_option options[] = {DV_WISH_OPTIONS(0)};

static int run(const struct dv_ui *ui)
{
    const struct dv_wish *wish = ui->values;
    dv_cleanup(dv_output_free) struct dv_output *body = dv_wish_claim(wish, ui->argv);
    return dv_inside_run(ui, wish, body, NULL);
}

static const struct dv_ui_example examples[] = {
    {"train in a quarter of a GPU with 10 GiB",
     "divvy run --memory 10GiB --compute 25% -- python3 train.py"},
    {"on a card of one's own, or not at all",
     "divvy run --mode exclusive --gpu A100 --no-wait -- ./benchmark"},
    {"for a team, waiting at most an hour",
     "divvy run --tenant vision --memory 20GiB --wait-timeout 1h -- make -C evaluation"},
};

const struct dv_ui_verb dv_verb_run = {
    .name = "run",
    .args = "[--] COMMAND [ARG...]",
    .summary = "run a command inside a slice",
    .details = "Asks the daemon for a slice, waits until there is one (saying its position in the "
               "queue on the standard error), and runs the command in it. The slice is given back "
               "when the command ends, however it ends; what it left running is ended too. "
               "Signals are passed on to the command. Ctrl-C while waiting withdraws the claim.\n\n"
               "The exit status is the command's own; 124 when --wait-timeout passed, 125 when "
               "divvy failed or refused, 126 or 127 when the command cannot be run or found, 128+N "
               "when it was ended by signal N, 2 for misuse.",
    .options = options,
    .n_options = DV_ARRAY_SIZE(options),
    .values_size = sizeof(struct dv_wish),
    .examples = examples,
    .n_examples = DV_ARRAY_SIZE(examples),
    .min_words = 1,
    .max_words = -1,
    .asks_daemon = true,
    .runs_command = true,
    .run = run,
};
