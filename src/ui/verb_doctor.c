/* SPDX-License-Identifier: Apache-2.0 */
/*
 * divvy doctor: what the daemon finds, and what can be seen from here: also when there is no
 * daemon, which is when a doctor is needed most.
 */
#include "ask.h"
#include "place.h"
#include "verbs.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

struct finding {
    const char *severity, *subject, *problem, *cause, *remedy;
};

static void add(struct dv_output_node *list, const struct finding *f)
{
    struct dv_output_node *row = dv_output_object(list, NULL);
    dv_output_string(row, "severity", f->severity);
    dv_output_string(row, "subject", f->subject);
    dv_output_string(row, "problem", f->problem);
    dv_output_string(row, "cause", f->cause);
    dv_output_string(row, "remedy", f->remedy);
}

static void look_at_daemon(const struct dv_http_client *client, int r, const struct dv_err *err,
                           struct dv_output_node *list)
{
    const char *socket = dv_http_client_socket(client);
    bool there = access(socket, F_OK) == 0;
    struct finding f = {"error", "divvyd", err->msg, NULL, NULL};
    if (r == -EACCES) {
        f.cause = "the socket's owner and mode do not let this user in";
        f.remedy = "join the group of the socket, or ask as root";
    } else if (r == -ECONNREFUSED && !there) {
        f.cause = "there is no socket: no daemon was started with it";
        f.remedy = "systemctl start divvyd; or, without a GPU: divvyd --sim dgx-a100; or name "
                   "another socket with --socket";
    } else if (r == -ECONNREFUSED) {
        f.cause = "the socket is there but nobody listens: the daemon has died";
        f.remedy = "systemctl status divvyd tells why; systemctl restart divvyd";
    } else {
        f.cause = "something answers there that does not speak divvyd's API, or too slowly";
        f.remedy = "check --socket and $DIVVY_SOCKET";
    }
    add(list, &f);
}

static void look_at_library(const char *name, const char *what, const char *severity,
                            struct dv_output_node *list)
{
    char path[DV_PLACE_MAX], problem[DV_PLACE_MAX + 64];
    if (dv_place_library(name, path) == 0 && access(path, R_OK) == 0)
        return;
    snprintf(problem, sizeof problem, "%s is missing", path[0] ? path : name);
    add(list, &(struct finding){severity, what, problem, "divvy is not installed completely",
                                "install it again, or set DIVVY_LIBDIR to its lib/divvy"});
}

static void look_at_driver(struct dv_output_node *list)
{
    if (access("/dev/nvidiactl", F_OK) != 0)
        add(list, &(struct finding){"note", "driver", "there is no /dev/nvidiactl",
                                    "no NVIDIA driver is loaded on this machine",
                                    "fine with a simulated node (divvyd --sim); else install and "
                                    "load NVIDIA's driver"});
    else if (access("/dev/nvidiactl", R_OK | W_OK) != 0)
        add(list, &(struct finding){"warning", "driver", "no permission for /dev/nvidiactl",
                                    strerror(errno),
                                    "processes of this user cannot use the GPUs; check the "
                                    "device's group"});
}

/* Findings of the daemon into our list. 0 or the exit status. */
static int ask_daemon(const struct dv_ui *ui, struct dv_output_node *list, bool *ret_answered)
{
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
        add(list, &(struct finding){"error", "divvyd", dv_ask_message(root), NULL, NULL});
    for (const struct dv_output_node *n = found ? found->first : NULL; n; n = n->next)
        add(list, &(struct finding){dv_output_text(dv_output_get(n, "severity"), "warning"),
                                    dv_output_text(dv_output_get(n, "subject"), NULL),
                                    dv_output_text(dv_output_get(n, "problem"), NULL),
                                    dv_output_text(dv_output_get(n, "cause"), NULL),
                                    dv_output_text(dv_output_get(n, "remedy"), NULL)});
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

/* Three lines a finding: people read sentences, not columns, when something is wrong. */
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
        if (*part(n, "cause")) {
            dv_str_add(&text, "    because ");
            dv_value_clean(part(n, "cause"), &text);
            dv_str_addc(&text, '\n');
        }
        if (*part(n, "remedy")) {
            dv_str_add(&text, "    to do: ");
            dv_value_clean(part(n, "remedy"), &text);
            dv_str_addc(&text, '\n');
        }
    }
    if (exit == DV_UI_OK)
        dv_str_add(&text, "nothing is wrong\n");
    int r = dv_ui_print(dv_str_get(&text));
    return r ? r : exit;
}

static const struct dv_table_column columns[] = {
    {"SEVERITY", "severity", .state = true},
    {"SUBJECT", "subject"},
    {"PROBLEM", "problem"},
    {"CAUSE", "cause"},
    {"REMEDY", "remedy"},
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
    look_at_library("standin/libcuda.so.1", "governor", "error", list);
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
    .details = "Works without a daemon too. Ends with 3 when there are errors or warnings.",
    .examples = examples,
    .n_examples = DV_ARRAY_SIZE(examples),
    .prints = true,
    .asks_daemon = true,
    .run = run,
};
