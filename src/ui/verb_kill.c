/* SPDX-License-Identifier: Apache-2.0 */
#include "ask.h"
#include "verbs.h"

#include <signal.h>
#include <stdlib.h>
#include <string.h>

struct values {
    const char *signal;
};

static const struct dv_option options[] = {
    {"signal", 's', "NAME", "which signal", DV_OPTION_CHOICE, offsetof(struct values, signal),
     .choices = "TERM|KILL|INT|HUP|QUIT|USR1|USR2|STOP|CONT", .otherwise = "TERM"},
};

static int number(const char *name)
{
    static const struct {
        const char *name;
        int number;
    } signals[] = {{"TERM", SIGTERM}, {"KILL", SIGKILL}, {"INT", SIGINT},
                   {"HUP", SIGHUP},   {"QUIT", SIGQUIT}, {"USR1", SIGUSR1},
                   {"USR2", SIGUSR2}, {"STOP", SIGSTOP}, {"CONT", SIGCONT}};
    for (size_t i = 0; i < DV_ARRAY_SIZE(signals); i++)
        if (!strcmp(signals[i].name, name))
            return signals[i].number;
    return SIGTERM;
}

static int run(const struct dv_ui *ui)
{
    const struct values *v = ui->values;
    dv_cleanup(dv_output_free) struct dv_output *body = dv_output_new(NULL);
    dv_cleanup(dv_output_free) struct dv_output *answer = NULL;
    char *path = NULL;
    dv_output_int(dv_output_root(body), "signal", number(v->signal));
    if (dv_ask_path("/v1/slices/", ui->argv[0], "/kill", &path) < 0)
        return dv_ui_fail(ui, DV_UI_FAILURE, "out of memory");
    int exit = dv_ask(ui, "POST", path, body, &answer);
    free(path);
    return exit;
}

static const struct dv_ui_example examples[] = {
    {"end what runs in a slice", "divvy kill s-3"},
    {"at once", "divvy kill --signal KILL s-3"},
};

const struct dv_ui_verb dv_verb_kill = {
    .name = "kill",
    .args = "SLICE",
    .summary = "send a signal to the processes of a slice",
    .details = "Allowed to the slice's owner and to root.",
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
