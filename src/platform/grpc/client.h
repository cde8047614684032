/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A gRPC client on a Unix socket, inside the caller's event loop (nghttp2): unary calls and server
 * streams over one connection, which is made at the first call and again after it was lost.
 *
 *     static const struct dv_grpc_call_ops ops = {.message = on_answer, .end = on_end};
 *     dv_grpc_client_new(loop, "/run/x.sock", &client, &err);
 *     r = dv_grpc_client_call(client, &(struct dv_grpc_ask){.path = "/pkg.Service/Greet",
 *                             .message = bytes, .size = n, .timeout_ms = 5000,
 *                             .ops = &ops, .arg = self}, NULL, &err);
 *
 * Callbacks come from the loop, never out of a call into this file. All on the loop's thread.
 * Bounds: messages of answer_max bytes, 64 calls at a time, 16 KiB of headers.
 */
#ifndef DV_GRPC_CLIENT_H
#define DV_GRPC_CLIENT_H

#include "base/err.h"
#include "grpc/status.h"
#include "sys/loop.h"

#include <stdbool.h>

#define DV_GRPC_CLIENT_CALLS_MAX 64u
/* What a client takes unless it is told otherwise. */
#define DV_GRPC_ANSWER_MAX (4u << 20)

struct dv_grpc_client;
struct dv_grpc_asked;

struct dv_grpc_call_ops {
    /* One message of the answer, a loan until it returns. May be NULL. */
    void (*message)(void *arg, const uint8_t *message, size_t size);
    /* The call is over, and the handle is gone. A unary call that ends with DV_GRPC_OK had exactly
     * one message before. The status is a loan. */
    void (*end)(void *arg, const struct dv_grpc_status *status);
};

struct dv_grpc_ask {
    const char *path; /* "/package.Service/Method", borrowed for the call */
    const void *message;
    size_t size;
    uint64_t timeout_ms; /* for the whole call; 0 = none. The server is told, too */
    size_t answer_max;   /* bytes per message; 0 = DV_GRPC_ANSWER_MAX */
    bool streaming;      /* any number of messages may come */
    const struct dv_grpc_call_ops *ops;
    void *arg;
};

/* Connects at the first call. 0, -ENAMETOOLONG, -ENOMEM. */
int dv_grpc_client_new(struct dv_loop *loop, const char *path, struct dv_grpc_client **ret,
                       struct dv_err *err);
/* Calls under way end without a callback. Accepts NULL; also from a callback. */
void dv_grpc_client_free(struct dv_grpc_client *client);
/*
 * ret (may be NULL) is good until `end` is called. 0, and `end` will be called; -ENOENT and
 * -ECONNREFUSED (nobody listens), -EAGAIN (the server is behind with accepting), -EACCES, -EBUSY
 * (too many calls at a time), -ENOMEM, with a message, and it will not.
 */
int dv_grpc_client_call(struct dv_grpc_client *client, const struct dv_grpc_ask *ask,
                        struct dv_grpc_asked **ret, struct dv_err *err);
/* Ends it now, without a callback. */
void dv_grpc_client_cancel(struct dv_grpc_asked *call);

#endif
