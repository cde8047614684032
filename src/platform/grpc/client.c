/* SPDX-License-Identifier: Apache-2.0 */
#include "grpc/client.h"

#include "base/str.h"
#include "grpc/link.h"
#include "sys/fd.h"

#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <utlist.h>

/* Connections that only wait for the calls they have; a server says GOAWAY once in its life. */
#define DRAINING_MAX 4u

struct dv_grpc_client {
    struct dv_loop *loop;
    struct dv_grpc_link *link; /* for new calls; NULL: none yet, or lost */
    struct dv_grpc_link *draining[DRAINING_MAX];
    uint32_t calls;
    bool freeing;
    size_t buffered;
    char path[sizeof((struct sockaddr_un *)0)->sun_path];
};

struct dv_grpc_asked {
    struct dv_grpc_stream stream; /* first: one is made of the other */
    struct dv_grpc_client *client;
    struct dv_loop_source *deadline;
    const struct dv_grpc_call_ops *ops;
    void *arg;
    bool streaming, has_status;
    uint32_t messages;
    uint32_t http_status;
    struct dv_grpc_status status;
};

static struct dv_grpc_asked *call_of(struct dv_grpc_stream *stream)
{
    return (struct dv_grpc_asked *)stream;
}

/* ---- how a call ends ---- */

static void release(struct dv_grpc_asked *call)
{
    call->client->calls--;
    dv_loop_remove(call->deadline);
    dv_grpc_link_stream_done(&call->stream);
    free(call);
}

void dv_grpc_client_cancel(struct dv_grpc_asked *call)
{
    dv_grpc_link_reset(&call->stream, NGHTTP2_CANCEL);
    release(call);
}

/* Tells the caller how it ended; the call is out of its link. */
static void end(struct dv_grpc_asked *call)
{
    const struct dv_grpc_call_ops *ops = call->ops;
    void *arg = call->arg;
    struct dv_grpc_status status = call->status;
    release(call);
    ops->end(arg, &status);
}

static void dv_printf(3, 4)
    set_status(struct dv_grpc_asked *call, enum dv_grpc_code code, const char *fmt, ...)
{
    va_list args;
    va_start(args, fmt);
    call->status.code = code;
    vsnprintf(call->status.text, sizeof call->status.text, fmt, args);
    va_end(args);
}

/* We end it, whatever the server thinks. */
static void give_up(struct dv_grpc_asked *call)
{
    dv_grpc_link_reset(&call->stream, NGHTTP2_CANCEL);
    end(call);
}

static void on_deadline(void *arg)
{
    struct dv_grpc_asked *call = arg;
    set_status(call, DV_GRPC_DEADLINE_EXCEEDED, "%s: no answer in time", call->client->path);
    give_up(call);
}

/* The protocol's own table for answers of something that does not speak gRPC. */
static enum dv_grpc_code code_of_http(uint32_t http_status)
{
    switch (http_status) {
    case 400:
        return DV_GRPC_INTERNAL;
    case 401:
        return DV_GRPC_UNAUTHENTICATED;
    case 403:
        return DV_GRPC_PERMISSION_DENIED;
    case 404:
        return DV_GRPC_UNIMPLEMENTED;
    case 429:
    case 502:
    case 503:
    case 504:
        return DV_GRPC_UNAVAILABLE;
    default:
        return DV_GRPC_UNKNOWN;
    }
}

static enum dv_grpc_code code_of_reset(uint32_t http2_code)
{
    switch (http2_code) {
    case NGHTTP2_REFUSED_STREAM:
        return DV_GRPC_UNAVAILABLE;
    case NGHTTP2_CANCEL:
        return DV_GRPC_CANCELLED;
    case NGHTTP2_ENHANCE_YOUR_CALM:
        return DV_GRPC_RESOURCE_EXHAUSTED;
    case NGHTTP2_INADEQUATE_SECURITY:
        return DV_GRPC_PERMISSION_DENIED;
    default:
        return DV_GRPC_INTERNAL;
    }
}

/* How it ended: what the headers said, or what their lack means. */
static void judge(struct dv_grpc_asked *call, uint32_t http2_code)
{
    const char *path = call->client->path;
    bool good = call->has_status && call->status.code == DV_GRPC_OK;
    if (http2_code == DV_GRPC_LINK_LOST)
        set_status(call, DV_GRPC_UNAVAILABLE, "%s: the connection was lost", path);
    else if (!call->has_status && http2_code)
        set_status(call, code_of_reset(http2_code), "%s: the call was reset: %s", path,
                   nghttp2_http2_strerror(http2_code));
    else if (!call->has_status)
        set_status(call, DV_GRPC_UNKNOWN, "%s: the answer has no grpc-status", path);
    else if (good && dv_grpc_wire_is_partial(&call->stream.in))
        set_status(call, DV_GRPC_INTERNAL, "%s: the answer ends in the middle of a message", path);
    else if (good && !call->streaming && call->messages != 1)
        set_status(call, DV_GRPC_UNIMPLEMENTED, "%s: no message came with the status OK", path);
}

static void on_remote_end(struct dv_grpc_stream *stream)
{
    struct dv_grpc_asked *call = call_of(stream);
    judge(call, 0);
    dv_grpc_link_forget(stream);
    end(call);
}

static void on_closed(struct dv_grpc_stream *stream, uint32_t http2_code)
{
    struct dv_grpc_asked *call = call_of(stream);
    if (call->client->freeing) {
        release(call);
        return;
    }
    judge(call, http2_code);
    end(call);
}

/* ---- what the server says ---- */

static void on_header(struct dv_grpc_stream *stream, const char *name, const char *value)
{
    struct dv_grpc_asked *call = call_of(stream);
    if (!strcmp(name, ":status")) {
        call->http_status = (uint32_t)strtoul(value, NULL, 10);
    } else if (!strcmp(name, "grpc-status")) {
        unsigned long code = strtoul(value, NULL, 10);
        call->status.code =
            code <= DV_GRPC_UNAUTHENTICATED ? (enum dv_grpc_code)code : DV_GRPC_UNKNOWN;
        call->has_status = true;
    } else if (!strcmp(name, "grpc-message")) {
        dv_grpc_wire_unescape(value, call->status.text);
    }
}

static void on_headers_end(struct dv_grpc_stream *stream)
{
    struct dv_grpc_asked *call = call_of(stream);
    if (call->http_status == 200)
        return;
    /* A page for people, not messages. */
    set_status(call, code_of_http(call->http_status), "%s: HTTP status %u", call->client->path,
               call->http_status);
    give_up(call);
}

static void on_message(struct dv_grpc_stream *stream, const uint8_t *data, size_t size)
{
    struct dv_grpc_asked *call = call_of(stream);
    if (call->messages++ && !call->streaming) {
        set_status(call, DV_GRPC_UNIMPLEMENTED, "%s: more than one message came",
                   call->client->path);
        give_up(call);
    } else if (call->ops->message) {
        call->ops->message(call->arg, data, size);
    }
}

static void on_unreadable(struct dv_grpc_stream *stream, int r)
{
    struct dv_grpc_asked *call = call_of(stream);
    const char *path = call->client->path;
    if (r == -EMSGSIZE)
        set_status(call, DV_GRPC_RESOURCE_EXHAUSTED, "%s: a message has more than %zu bytes", path,
                   stream->in_max);
    else if (r == -EOPNOTSUPP)
        set_status(call, DV_GRPC_UNIMPLEMENTED, "%s: the message is compressed", path);
    else if (r == -EPROTO)
        set_status(call, DV_GRPC_INTERNAL, "%s: what came is no gRPC message", path);
    else
        set_status(call, DV_GRPC_RESOURCE_EXHAUSTED, "%s: out of memory", path);
    give_up(call);
}

static void forget(struct dv_grpc_client *client, struct dv_grpc_link *link)
{
    if (client->link == link)
        client->link = NULL;
    for (uint32_t i = 0; i < DRAINING_MAX; i++)
        if (client->draining[i] == link)
            client->draining[i] = NULL;
}

static void on_gone(void *owner, struct dv_grpc_link *link)
{
    forget(owner, link);
}

/* The next call makes a new connection; this one stays for the calls that it has. */
static void on_draining(void *owner, struct dv_grpc_link *link)
{
    struct dv_grpc_client *client = owner;
    if (client->link != link)
        return;
    client->link = NULL;
    for (uint32_t i = 0; i < DRAINING_MAX && dv_grpc_link_has_streams(link); i++) {
        if (client->draining[i])
            continue;
        client->draining[i] = link;
        return;
    }
    dv_grpc_link_free(link);
}

static const struct dv_grpc_link_ops link_ops = {
    .header = on_header,
    .headers_end = on_headers_end,
    .message = on_message,
    .unreadable = on_unreadable,
    .remote_end = on_remote_end,
    .closed = on_closed,
    .draining = on_draining,
    .gone = on_gone,
};

/* ---- calling ---- */

static int connect_to(struct dv_grpc_client *client, struct dv_err *err)
{
    int fd = dv_fd_connect(client->path, SOCK_STREAM | SOCK_NONBLOCK, err);
    if (fd < 0)
        return fd;
    struct dv_grpc_link_config config = {.loop = client->loop,
                                         .ops = &link_ops,
                                         .owner = client,
                                         .buffered = &client->buffered,
                                         .buffered_max = SIZE_MAX};
    int r = dv_grpc_link_new(&config, fd, &client->link);
    return r < 0 ? dv_err_set(err, r, "%s: %s", client->path, strerror(-r)) : 0;
}

static nghttp2_nv header(const char *name, const char *value)
{
    return (nghttp2_nv){(uint8_t *)name, (uint8_t *)value, strlen(name), strlen(value),
                        NGHTTP2_NV_FLAG_NONE};
}

/* The stream's number, or nghttp2's error. */
static int32_t submit(struct dv_grpc_asked *call, const struct dv_grpc_ask *ask)
{
    char timeout[16];
    nghttp2_nv headers[7] = {
        header(":method", "POST"),
        header(":scheme", "http"),
        header(":path", ask->path),
        header(":authority", "localhost"),
        header("content-type", "application/grpc"),
        header("te", "trailers"),
    };
    size_t n = 6;
    if (ask->timeout_ms) {
        dv_grpc_wire_format_timeout(ask->timeout_ms, timeout);
        headers[n++] = header("grpc-timeout", timeout);
    }
    nghttp2_data_provider source = dv_grpc_link_source();
    return nghttp2_submit_request(dv_grpc_link_session(call->client->link), NULL, headers, n,
                                  &source, &call->stream);
}

static int start(struct dv_grpc_client *client, const struct dv_grpc_ask *ask,
                 struct dv_grpc_asked *call)
{
    call->stream.out = dv_grpc_link_frame(ask->message, ask->size);
    call->stream.out_last = true;
    if (!call->stream.out.data)
        return -ENOMEM;
    int r = ask->timeout_ms ? dv_loop_timer(client->loop, ask->timeout_ms, 0, on_deadline, call,
                                            &call->deadline)
                            : 0;
    int32_t id = r < 0 ? r : submit(call, ask);
    if (id < 0)
        return r < 0 ? r : -ENOMEM;
    dv_grpc_link_add(client->link, &call->stream, id);
    return 0;
}

int dv_grpc_client_call(struct dv_grpc_client *client, const struct dv_grpc_ask *ask,
                        struct dv_grpc_asked **ret, struct dv_err *err)
{
    if (client->calls >= DV_GRPC_CLIENT_CALLS_MAX)
        return dv_err_set(err, -EBUSY, "%s: %u calls are under way already", client->path,
                          client->calls);
    int r = client->link ? 0 : connect_to(client, err);
    if (r < 0)
        return r;
    struct dv_grpc_asked *call = calloc(1, sizeof *call);
    if (!call)
        return dv_err_set(err, -ENOMEM, "out of memory");
    *call = (struct dv_grpc_asked){
        .client = client, .ops = ask->ops, .arg = ask->arg, .streaming = ask->streaming};
    call->stream.in_max = ask->answer_max ? ask->answer_max : DV_GRPC_ANSWER_MAX;
    client->calls++;
    r = start(client, ask, call);
    if (r < 0) {
        release(call);
        return dv_err_set(err, r, "%s: %s", client->path, strerror(-r));
    }
    if (ret)
        *ret = call;
    return 0;
}

int dv_grpc_client_new(struct dv_loop *loop, const char *path, struct dv_grpc_client **ret,
                       struct dv_err *err)
{
    struct dv_grpc_client *client = calloc(1, sizeof *client);
    if (!client)
        return dv_err_set(err, -ENOMEM, "out of memory");
    client->loop = loop;
    if (dv_str_copy(client->path, sizeof client->path, path) < 0) {
        int r = dv_err_set(err, -ENAMETOOLONG,
                           "socket path '%.80s...' has %zu bytes; at most %zu are possible", path,
                           strlen(path), sizeof client->path - 1);
        free(client);
        return r;
    }
    *ret = client;
    return 0;
}

void dv_grpc_client_free(struct dv_grpc_client *client)
{
    if (!client)
        return;
    client->freeing = true;
    dv_grpc_link_free(client->link);
    for (uint32_t i = 0; i < DRAINING_MAX; i++)
        dv_grpc_link_free(client->draining[i]);
    free(client);
}
