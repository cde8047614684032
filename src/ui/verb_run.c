/* SPDX-License-Identifier: Apache-2.0 */
/* divvy run: a command inside a slice. */
#include "ask.h"
#include "run/child.h"
#include "run/claim.h"
#include "verbs.h"

#include <errno.h>
#include <string.h>
#include <time.h>

#define COMMAND_MAX 200 /* of the command line that others see in ps */

struct values {
    const char *tenant, *mode, *tier, *trust, *gpu;
    uint64_t memory, wait_timeout;
    uint32_t compute;
    int64_t priority;
    bool no_wait;
};

static const struct dv_option options[] = {
    {"tenant", 't', "NAME", "who is charged; default: your user name", DV_OPTION_TEXT,
     offsetof(struct values, tenant)},
    {"mode", 0, "MODE", "how the device is shared", DV_OPTION_CHOICE, offsetof(struct values, mode),
     .choices = "auto|exclusive|governed|timeslice|mps"},
    {"memory", 'm', "SIZE", "memory of the slice", DV_OPTION_BYTES,
     offsetof(struct values, memory)},
    {"compute", 'c', "SHARE", "compute share of the slice", DV_OPTION_COMPUTE,
     offsetof(struct values, compute)},
    {"priority", 'p', "N", "place in the queue: higher first", DV_OPTION_INTEGER,
     offsetof(struct values, priority), .min = -100, .max = 100, .otherwise = "0"},
    {"tier", 0, "TIER", "latency-critical or best-effort", DV_OPTION_CHOICE,
     offsetof(struct values, tier), .choices = "lc|be"},
    {"trust", 0, "TRUST", "untrusted: only behind walls that no tenant can climb", DV_OPTION_CHOICE,
     offsetof(struct values, trust), .choices = "trusted|untrusted"},
    {"gpu", 'g', "GPU", "which: an index, a UUID or its beginning, a model, any", DV_OPTION_TEXT,
     offsetof(struct values, gpu)},
    {"no-wait", 0, NULL, "fail rather than wait", DV_OPTION_FLAG, offsetof(struct values, no_wait)},
    {"wait-timeout", 0, "TIME", "wait at most so long, then end with 124", DV_OPTION_DURATION,
     offsetof(struct values, wait_timeout)},
};

/* What people see of the command: its words, cut at COMMAND_MAX bytes between characters. */
static void describe(char **argv, struct dv_str *text)
{
    for (; *argv && text->len < COMMAND_MAX; argv++) {
        if (text->len)
            dv_str_addc(text, ' ');
        dv_value_clean(*argv, text);
    }
    if (text->failed || text->len <= COMMAND_MAX)
        return;
    size_t len = COMMAND_MAX;
    while (len && ((unsigned char)text->data[len] & 0xc0) == 0x80)
        len--;
    text->len = len;
    text->data[len] = 0;
}

static struct dv_output *make_claim(const struct values *v, char **argv)
{
    dv_cleanup(dv_str_done) struct dv_str command = {0};
    describe(argv, &command);
    struct dv_output *o = dv_output_new(NULL);
    struct dv_output_node *root = dv_output_root(o);
    const struct {
        const char *key, *value;
    } texts[] = {{"tenant", v->tenant}, {"mode", v->mode}, {"tier", v->tier},
                 {"trust", v->trust},   {"gpu", v->gpu},   {"command", dv_str_get(&command)}};
    for (size_t i = 0; i < DV_ARRAY_SIZE(texts); i++)
        if (texts[i].value)
            dv_output_string(root, texts[i].key, texts[i].value);
    if (v->memory)
        dv_output_bytes(root, "memory_bytes", v->memory);
    if (v->compute)
        dv_output_uint(root, "compute", v->compute);
    if (v->priority)
        dv_output_int(root, "priority", v->priority);
    dv_output_bool(root, "wait", !v->no_wait);
    return o;
}

static uint64_t deadline_of(const struct values *v)
{
    struct timespec ts;
    if (!v->wait_timeout)
        return DV_NEVER;
    clock_gettime(CLOCK_MONOTONIC, &ts);
    return (uint64_t)ts.tv_sec * DV_NS_PER_S + (uint64_t)ts.tv_nsec + v->wait_timeout;
}

static int run_inside(const struct dv_ui *ui, struct dv_claim *claim, struct dv_child *child)
{
    struct dv_err err = {{0}};
    if (dv_child_environment(dv_claim_environment(claim), &err) < 0)
        return dv_ui_fail(ui, DV_UI_RUN_FAILED, "%s", err.msg);
    int exit = dv_child_run(child, ui->argv, &err);
    return err.msg[0] ? dv_ui_fail(ui, exit, "%s", err.msg) : exit;
}

static int run(const struct dv_ui *ui)
{
    const struct values *v = ui->values;
    struct dv_err err = {{0}};
    struct dv_child child;
    dv_cleanup(dv_http_client_free) struct dv_http_client *client = NULL;
    dv_cleanup(dv_claim_done) struct dv_claim claim = {0};
    dv_cleanup(dv_output_free) struct dv_output *body = make_claim(v, ui->argv);
    uint64_t deadline = deadline_of(v);
    int r = dv_http_client_new(ui->socket, &client, &err);
    if (!r)
        r = dv_child_prepare(&child, &err);
    if (r < 0)
        return dv_ui_fail(ui, r == -EINVAL ? DV_UI_USAGE : DV_UI_RUN_FAILED, "%s", err.msg);
    claim.client = client;
    int exit = dv_claim_ask(ui, &claim, body);
    dv_http_client_stop_at(client, dv_child_signal());
    if (!exit)
        exit = dv_claim_wait(ui, &claim, deadline, dv_child_signal());
    if (!exit)
        exit = run_inside(ui, &claim, &child);
    dv_claim_give_back(&claim);
    return exit;
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
    .values_size = sizeof(struct values),
    .examples = examples,
    .n_examples = DV_ARRAY_SIZE(examples),
    .min_words = 1,
    .max_words = -1,
    .asks_daemon = true,
    .runs_command = true,
    .run = run,
};
