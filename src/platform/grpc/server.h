/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A gRPC server on a Unix socket, inside the caller's event loop (nghttp2): unary methods and
 * server streams. Messages are bytes here; what they mean is the caller's.
 *
 *     static void greet(void *self, struct dv_grpc_call *call, const uint8_t *message, size_t size)
 *     {
 *         dv_grpc_server_reply(call, answer, answer_size);        now, or later
 *     }
 *     static const struct dv_grpc_method methods[] = {{"/pkg.Service/Greet", greet}};
 *     dv_grpc_server_new(loop, path, methods, 1, self, &server, &err);
 *
 * A call that was handed out is ended by the caller, exactly once, with reply(), fail() or
 * finish(), whether or not anybody still listens (the peer hung up, its deadline passed, the
 * server is gone): to a peer that is gone nothing is said. All on the loop's thread; no callback
 * is made from within these functions, but `gone` from dv_grpc_server_free().
 *
 * A peer that closes its side of the socket is gone, though it might still read.
 *
 * Bounds: messages of DV_GRPC_MESSAGE_MAX bytes, DV_GRPC_BUFFERED_MAX of half-received ones in all,
 * DV_GRPC_CONNECTIONS_MAX connections (one that has no call makes room for a new one), 64 streams
 * on each, 16 KiB of headers, DV_GRPC_CALLS_MAX calls handed out. No compression.
 */
#ifndef DV_GRPC_SERVER_H
#define DV_GRPC_SERVER_H

#include "base/err.h"
#include "grpc/status.h"
#include "sys/loop.h"

#include <stdbool.h>

#define DV_GRPC_MESSAGE_MAX (4u << 20)
#define DV_GRPC_BUFFERED_MAX ((size_t)16 << 20)
#define DV_GRPC_CONNECTIONS_MAX 16u
#define DV_GRPC_CALLS_MAX 256u

struct dv_grpc_server;
struct dv_grpc_call;

/* message is a loan until it returns. */
typedef void dv_grpc_handler(void *arg, struct dv_grpc_call *call, const uint8_t *message,
                             size_t size);

struct dv_grpc_method {
    const char *path; /* "/package.Service/Method" */
    dv_grpc_handler *handler;
};

/*
 * Listens at path, mode 0600; a socket file that nobody listens on any more is replaced. methods
 * are borrowed. 0; -EADDRINUSE when somebody listens there, -ENAMETOOLONG, -ENOENT ... with a
 * message.
 */
int dv_grpc_server_new(struct dv_loop *loop, const char *path, const struct dv_grpc_method *methods,
                       size_t count, void *arg, struct dv_grpc_server **ret, struct dv_err *err);
/* Hangs up on everybody and removes the socket file, if it is still this server's. Calls that are
 * handed out are gone. Accepts NULL. */
void dv_grpc_server_free(struct dv_grpc_server *server);
/* Whether path still leads here: somebody may have removed the file, or put another there. */
bool dv_grpc_server_in_place(const struct dv_grpc_server *server);

/* ---- a call ---- */

/* Told once when nobody listens any more, unless the call was ended before; it may be ended there.
 */
void dv_grpc_server_on_gone(struct dv_grpc_call *call, dv_loop_callback *gone, void *arg);
/* Ends it with one message, which is copied. */
void dv_grpc_server_reply(struct dv_grpc_call *call, const void *message, size_t size);
/* Ends it with an error; code is not DV_GRPC_OK. */
void dv_grpc_server_fail(struct dv_grpc_call *call, enum dv_grpc_code code, const char *fmt, ...)
    dv_printf(3, 4);
/*
 * One message of a stream, which is copied. One that could not yet be sent, since the peer does not
 * read, is replaced: the peer gets the newest. 0, -ENOMEM.
 */
int dv_grpc_server_send(struct dv_grpc_call *call, const void *message, size_t size);
/* Ends a stream, after what was sent. */
void dv_grpc_server_finish(struct dv_grpc_call *call);

#endif
