/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Asks the daemon: HTTP/1.1 over its Unix socket, JSON in and out (docs/reference/api.md).
 *
 *     dv_cleanup(dv_http_client_free) struct dv_http_client *client = NULL;
 *     r = dv_http_client_new(NULL, &client, &err);
 *     r = dv_http_client_call(client, "GET", "/v1/status", NULL, 5000, &reply, &err);
 *     if (!r && reply.status == 200) ... dv_output_get(dv_output_root(reply.body), "gpus")
 *     dv_http_reply_done(&reply);
 *
 * One client is for one thread; its connection is kept open between calls. Answers are at most
 * 64 MiB.
 */
#ifndef DV_HTTP_CLIENT_H
#define DV_HTTP_CLIENT_H

#include "base/err.h"
#include "render/output.h"

struct dv_http_client;

struct dv_http_reply {
    unsigned status;        /* of HTTP */
    struct dv_output *body; /* an object; never NULL after a success */
};

/* socket NULL: $DIVVY_SOCKET, else the place where the daemon of this user would put it. Connects
 * at the first call. 0, -ENOMEM, -EINVAL (a path too long for a socket). */
int dv_http_client_new(const char *socket, struct dv_http_client **ret, struct dv_err *err);
void dv_http_client_free(struct dv_http_client **client);
const char *dv_http_client_socket(const struct dv_http_client *client);

/*
 * body: JSON or NULL. 0 with any status that the daemon answered; -ECONNREFUSED (no daemon there),
 * -EACCES (the socket is not for this user), -ETIMEDOUT, -EINTR (the `stop` flag, below), -EPROTO
 * (not an answer of divvyd), -EIO, each with a message for people.
 */
int dv_http_client_call(struct dv_http_client *client, const char *method, const char *path,
                        const char *body, unsigned timeout_ms, struct dv_http_reply *ret,
                        struct dv_err *err);
void dv_http_reply_done(struct dv_http_reply *reply);

/* A call under way ends with -EINTR within a second after *stop is set (by a signal handler). */
void dv_http_client_stop_at(struct dv_http_client *client, const volatile int *stop);

/* Appends text as one part of a path or a query, percent-encoded. */
struct dv_str;
void dv_http_client_escape(const char *text, struct dv_str *ret);

/* JSON text, one object, as a tree. 0, -EPROTO, -ENOMEM. */
int dv_http_client_parse(const char *text, size_t len, struct dv_output **ret, struct dv_err *err);

#endif
