/* SPDX-License-Identifier: Apache-2.0 */
/*
 * divvy doctor: what the daemon finds, and what can be seen from here: also when there is no
 * daemon, which is when a doctor is needed most.
 */
#include "ask.h"
#include "place.h"
#include "render/diagnosis_text.h"
#include "verbs.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#define MPS_DIRECTORY "/tmp/nvidia-mps" /* where CUDA looks for a daemon by itself */

static void add(struct dv_output_node *list, enum dv_trouble trouble, const char *detail)
{
    struct dv_diagnosis_finding f = {.trouble = trouble, .gpu = DV_DIAGNOSE_UNKNOWN};
    snprintf(f.detail, sizeof f.detail, "%.*s", (int)sizeof f.detail - 1, detail ? detail : "");
    dv_diagnosis_text_add(list, &f);
}

static void look_at_daemon(const struct dv_http_client *client, int r, const struct dv_err *err,
                           struct dv_output_node *list)
{
    bool there = access(dv_http_client_socket(client), F_OK) == 0;
    add(list,
        r == -EACCES                   ? DV_TROUBLE_DAEMON_CLOSED
        : r == -ECONNREFUSED && !there ? DV_TROUBLE_DAEMON_NOT_STARTED
        : r == -ECONNREFUSED           ? DV_TROUBLE_DAEMON_DIED
                                       : DV_TROUBLE_DAEMON_STRANGE,
        err->msg);
}

static void look_at_library(const char *name, struct dv_output_node *list)
{
    char path[DV_PLACE_MAX];
    if (dv_place_library(name, path) < 0 || access(path, R_OK) != 0)
        add(list, DV_TROUBLE_NOT_INSTALLED, path[0] ? path : name);
}

static void look_at_driver(struct dv_output_node *list)
{
    if (access("/dev/nvidiactl", F_OK) != 0)
        add(list, DV_TROUBLE_NO_DEVICE_NODE, NULL);
    else if (access("/dev/nvidiactl", R_OK | W_OK) != 0)
        add(list, DV_TROUBLE_DEVICE_NODE_CLOSED, strerror(errno));
}

/* A control daemon listens on the socket `control` of its folder. */
static void look_at_mps(struct dv_output_node *list)
{
    const char *set = getenv("CUDA_MPS_PIPE_DIRECTORY");
    const char *directory = set && *set ? set : MPS_DIRECTORY;
    struct sockaddr_un at = {.sun_family = AF_UNIX};
    int n = snprintf(at.sun_path, sizeof at.sun_path, "%s/control", directory);
    if (n < 0 || (size_t)n >= sizeof at.sun_path || access(at.sun_path, F_OK) != 0)
        return;
    int fd = socket(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0);
    if (fd >= 0 && connect(fd, (struct sockaddr *)&at, sizeof at) < 0 && errno == ECONNREFUSED)
        add(list, DV_TROUBLE_MPS_STALE, directory);
    if (fd >= 0)
        close(fd);
}

/* Findings of the daemon into our list. 0 or the exit status. */
static int ask_daemon(const struct dv_ui *ui, struct dv_output_node *list, bool *ret_answered)
{
    static const char *const keys[] = {"code",  "severity", "subject", "problem",
                                       "cause", "remedy",   "command"};
    dv_cleanup(dv_http_client_free) struct dv_http_client *client = NULL;
    struct dv_http_reply reply = {0};
    struct dv_err err = {{0}};
    int r = dv_http_client_new(ui->socket, &client, &err);
    if (r < 0)
        return dv_ui_fail(ui, dv_ask_exit(r), "%s", err.msg);
    r = dv_http_client_call(client, "GET", "/v1/doctor", NULL, DV_ASK_TIMEOUT_MS, &reply, &err);
    if (r < 0) {
        look_at_daemon(client, r, &err, list);
        return DV_UI_OK;
    }
    const struct dv_output_node *root = dv_output_root(reply.body);
    const struct dv_output_node *found = dv_output_get(root, "findings");
    if (reply.status >= 400)
        add(list, DV_TROUBLE_DAEMON_REFUSES, dv_ask_message(root));
    for (const struct dv_output_node *n = found ? found->first : NULL; n; n = n->next) {
        struct dv_output_node *row = dv_output_object(list, NULL);
        for (size_t i = 0; i < DV_ARRAY_SIZE(keys); i++)
            dv_output_string(row, keys[i], dv_output_text(dv_output_get(n, keys[i]), NULL));
    }
    dv_http_reply_done(&reply);
    *ret_answered = true;
    return DV_UI_OK;
}

static bool has_problems(const struct dv_output_node *list)
{
    for (const struct dv_output_node *n = list ? list->first : NULL; n; n = n->next)
        if (strcmp(dv_output_text(dv_output_get(n, "severity"), ""), "note") != 0)
            return true;
    return false;
}

static const char *part(const struct dv_output_node *finding, const char *key)
{
    return dv_output_text(dv_output_get(finding, key), "");
}

static void add_line(const char *before, const char *line, struct dv_str *text)
{
    if (!*line)
        return;
    dv_str_add(text, before);
    dv_value_clean(line, text);
    dv_str_addc(text, '\n');
}

/* A few lines a finding: people read sentences, not columns, when something is wrong. */
static int print_findings(const struct dv_ui *ui, const struct dv_output_node *list, int exit)
{
    static const char *const colours[] = {"31", "33", "36"};
    dv_cleanup(dv_str_done) struct dv_str text = {0};
    for (const struct dv_output_node *n = list->first; n; n = n->next) {
        const char *severity = part(n, "severity");
        const char *colour = colours[!strcmp(severity, "warning") ? 1 : *severity == 'n' ? 2 : 0];
        if (ui->colour)
            dv_str_addf(&text, "\033[%sm%s\033[0m: ", colour, severity);
        else
            dv_str_addf(&text, "%s: ", severity);
        dv_value_clean(part(n, "subject"), &text);
        dv_str_add(&text, ": ");
        dv_value_clean(part(n, "problem"), &text);
        dv_str_addc(&text, '\n');
        add_line("    because: ", part(n, "cause"), &text);
        add_line("    to do: ", part(n, "remedy"), &text);
        add_line("    run: ", part(n, "command"), &text);
    }
    if (exit == DV_UI_OK)
        dv_str_add(&text, "nothing is wrong\n");
    int r = dv_ui_print(dv_str_get(&text));
    return r ? r : exit;
}

static const struct dv_table_column columns[] = {
    {"CODE", "code"},       {"SEVERITY", "severity", .state = true},
    {"SUBJECT", "subject"}, {"PROBLEM", "problem"},
    {"CAUSE", "cause"},     {"REMEDY", "remedy"},
    {"COMMAND", "command"},
};
static const struct dv_table view = {"findings", columns, DV_ARRAY_SIZE(columns)};

static int run(const struct dv_ui *ui)
{
    dv_cleanup(dv_output_free) struct dv_output *o = dv_output_new("Diagnosis");
    struct dv_output_node *list = dv_output_array(dv_output_root(o), "findings");
    bool answered = false;
    int exit = ask_daemon(ui, list, &answered);
    if (exit)
        return exit;
    look_at_library("standin/libcuda.so.1", list);
    look_at_mps(list);
    if (!answered)
        look_at_driver(list);
    exit = has_problems(list) ? DV_UI_PROBLEMS : DV_UI_OK;
    if (dv_ui_is(ui, "table") && list)
        return print_findings(ui, list, exit);
    return dv_ui_answer(ui, o, &view, NULL, exit);
}

static const struct dv_ui_example examples[] = {
    {"what is wrong here, and what to do", "divvy doctor"},
};

const struct dv_ui_verb dv_verb_doctor = {
    .name = "doctor",
    .summary = "look for what is wrong, and say what to do",
    .details = "Each finding has its cause, what to do, and the command that mends it, where one "
               "does; docs/reference/doctor.md lists them. Works without a daemon too. Ends with 3 "
               "when there are errors or warnings.",
    .examples = examples,
    .n_examples = DV_ARRAY_SIZE(examples),
    .prints = true,
    .asks_daemon = true,
    .run = run,
};
