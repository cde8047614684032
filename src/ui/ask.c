/* SPDX-License-Identifier: Apache-2.0 */
#include "ask.h"

#include "render/json.h"
#include "sys/clock.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>

#define STARTING_NS (60 * DV_NS_PER_S)
#define TELL_NS DV_NS_PER_S

int dv_ask_exit(int r)
{
    return r == -EACCES                                            ? DV_UI_PERMISSION
           : r == -EINVAL                                          ? DV_UI_USAGE
           : r == -ECONNREFUSED || r == -EPROTO || r == -ETIMEDOUT ? DV_UI_UNAVAILABLE
                                                                   : DV_UI_FAILURE;
}

const char *dv_ask_message(const struct dv_output_node *answer)
{
    const char *text = dv_output_text(dv_output_get(answer, "message"), NULL);
    if (text)
        return text;
    return dv_output_text(dv_output_get(dv_output_get(answer, "verdict"), "message"),
                          "the daemon gave no reason");
}

int dv_ask_path(const char *before, const char *id, const char *tail, char **ret)
{
    struct dv_str path = {0};
    dv_str_add(&path, before);
    dv_http_client_escape(id, &path);
    dv_str_add(&path, tail);
    *ret = dv_str_steal(&path);
    return *ret ? 0 : -ENOMEM;
}

static int exit_of(const struct dv_http_reply *reply)
{
    const struct dv_output_node *root = dv_output_root(reply->body);
    uint64_t code = dv_output_count(dv_output_get(root, "exit_code"), 0);
    if (code >= DV_UI_FAILURE && code <= DV_UI_UNAVAILABLE)
        return (int)code;
    return reply->status == 403   ? DV_UI_PERMISSION
           : reply->status == 503 ? DV_UI_UNAVAILABLE
           : reply->status == 400 ? DV_UI_USAGE
                                  : DV_UI_FAILURE;
}

bool dv_ask_is_unavailable(const struct dv_http_reply *reply, const char *reason)
{
    const struct dv_output_node *root = reply->body ? dv_output_root(reply->body) : NULL;
    return reply->status == 503 && root &&
           !strcmp(dv_output_text(dv_output_get(root, "reason"), ""), reason);
}

int dv_ask_call(const struct dv_ui *ui, struct dv_http_client *client, const char *method,
                const char *path, const char *body, const struct dv_ask_until *until,
                struct dv_http_reply *ret, struct dv_err *err)
{
    static const struct timespec pause = {0, 50 * DV_NS_PER_MS};
    uint64_t begun = dv_clock_now();
    uint64_t end = DV_MIN(until->deadline, begun + STARTING_NS);
    bool told = false;
    for (;;) {
        int r = dv_http_client_call(client, method, path, body, DV_ASK_TIMEOUT_MS, ret, err);
        if (r < 0 || !dv_ask_is_unavailable(ret, "starting") || dv_clock_now() >= end ||
            (until->signal && *until->signal))
            return r;
        if (!told && dv_clock_now() - begun > TELL_NS) {
            told = true;
            fprintf(stderr, "%s %s: the daemon has just started: waiting until it knows its GPUs\n",
                    ui->program->name, ui->verb->name);
        }
        nanosleep(&pause, NULL);
        if (until->signal && *until->signal)
            return r;
        dv_http_reply_done(ret);
    }
}

int dv_ask_reply(const struct dv_ui *ui, const char *method, const char *path,
                 struct dv_output *body, struct dv_http_reply *ret)
{
    dv_cleanup(dv_http_client_free) struct dv_http_client *client = NULL;
    dv_cleanup(dv_str_done) struct dv_str text = {0};
    struct dv_err err = {{0}};
    int r = body ? dv_json_write(body, false, &text) : 0;
    if (r < 0)
        return dv_ui_fail(ui, DV_UI_FAILURE, "out of memory");
    r = dv_http_client_new(ui->socket, &client, &err);
    if (!r)
        r = dv_ask_call(ui, client, method, path, body ? dv_str_get(&text) : NULL,
                        &(struct dv_ask_until){DV_NEVER, NULL}, ret, &err);
    return r < 0 ? dv_ui_fail(ui, dv_ask_exit(r), "%s", err.msg) : DV_UI_OK;
}

int dv_ask_refused(const struct dv_ui *ui, struct dv_http_reply *reply)
{
    dv_cleanup(dv_str_done) struct dv_str message = {0};
    dv_value_clean(dv_ask_message(dv_output_root(reply->body)), &message);
    int exit = dv_ui_fail(ui, exit_of(reply), "%s", dv_str_get(&message));
    dv_http_reply_done(reply);
    return exit;
}

int dv_ask(const struct dv_ui *ui, const char *method, const char *path, struct dv_output *body,
           struct dv_output **ret)
{
    struct dv_http_reply reply = {0};
    int exit = dv_ask_reply(ui, method, path, body, &reply);
    if (exit)
        return exit;
    if (reply.status >= 400)
        return dv_ask_refused(ui, &reply);
    *ret = reply.body;
    return DV_UI_OK;
}
