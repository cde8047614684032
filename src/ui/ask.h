/* SPDX-License-Identifier: Apache-2.0 */
/*
 * One question to the daemon on behalf of a verb; what goes wrong is said on stderr, once.
 *
 *     dv_cleanup(dv_output_free) struct dv_output *answer = NULL;
 *     int exit = dv_ask(ui, "GET", "/v1/queue", NULL, &answer);
 *     if (exit) return exit;
 */
#ifndef DV_UI_ASK_H
#define DV_UI_ASK_H

#include "http/client.h"
#include "ui.h"

#define DV_ASK_TIMEOUT_MS 30000u

/* body: a tree to send, or NULL. Returns DV_UI_OK and the answer, or the exit status of an error
 * that has been explained. */
int dv_ask(const struct dv_ui *ui, const char *method, const char *path, struct dv_output *body,
           struct dv_output **ret);

/* The same, with whatever the daemon answered, errors too; and how an error is said. The reply is
 * done after dv_ask_refused(). */
int dv_ask_reply(const struct dv_ui *ui, const char *method, const char *path,
                 struct dv_output *body, struct dv_http_reply *ret);
int dv_ask_refused(const struct dv_ui *ui, struct dv_http_reply *reply);

/* One call on a client of the caller's, which is made again while the daemon says that it has just
 * started and does not know its GPUs yet: until it knows them, until the deadline (CLOCK_MONOTONIC
 * nanoseconds, or DV_NEVER), until *signal is other than 0 (NULL: never), for a minute at most. The
 * last reply, then; or a negative errno of dv_http_client_call() with err. */
struct dv_ask_until {
    uint64_t deadline;
    const volatile int *signal;
};
int dv_ask_call(const struct dv_ui *ui, struct dv_http_client *client, const char *method,
                const char *path, const char *body, const struct dv_ask_until *until,
                struct dv_http_reply *ret, struct dv_err *err);

/* 503 with that reason: "starting" (it does not know its GPUs yet), "stopping", ... */
bool dv_ask_is_unavailable(const struct dv_http_reply *reply, const char *reason);
/* The exit status for a negative errno of dv_http_client_*. */
int dv_ask_exit(int r);
/* "/v1/slices/" + escaped id + tail. */
int dv_ask_path(const char *before, const char *id, const char *tail, char **ret);
/* The sentence in an error, or in a claim's verdict; never NULL. */
const char *dv_ask_message(const struct dv_output_node *answer);

#endif
