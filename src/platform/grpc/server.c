/* SPDX-License-Identifier: Apache-2.0 */
#include "grpc/server.h"

#include "base/str.h"
#include "grpc/link.h"
#include "sys/fd.h"

#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>
#include <utlist.h>

/* When descriptors have run out, how long until we look again. */
#define ACCEPT_PAUSE_MS 200

struct connection {
    struct dv_grpc_link *link; /* NULL: free */
    uint64_t number;           /* the older, the smaller */
};

struct dv_grpc_server {
    struct dv_loop *loop;
    const struct dv_grpc_method *methods;
    size_t method_count;
    void *arg;
    int fd;
    dev_t dev;
    ino_t ino;
    struct dv_loop_source *watch, *pause;
    struct connection connections[DV_GRPC_CONNECTIONS_MAX];
    uint64_t connections_made;
    struct dv_grpc_call *calls;
    uint32_t call_count;
    size_t buffered;
    char path[sizeof((struct sockaddr_un *)0)->sun_path];
};

struct dv_grpc_call {
    struct dv_grpc_stream stream;  /* first: one is made of the other */
    struct dv_grpc_server *server; /* NULL: it is gone */
    struct dv_grpc_call *prev, *next;
    const struct dv_grpc_method *method;
    struct dv_loop_source *deadline;
    dv_loop_callback *gone;
    void *gone_arg;
    bool is_post, is_grpc, bad_timeout, has_timeout;
    bool has_message;
    bool responded; /* the response's headers are submitted */
    bool handed;    /* the handler has it ... */
    bool finished;  /* ... and has ended it */
    bool unheard;   /* nobody listens any more */
    uint64_t timeout_ms;
    struct dv_grpc_status status;
    char path[256];
};

static struct dv_grpc_call *call_of(struct dv_grpc_stream *stream)
{
    return (struct dv_grpc_call *)stream;
}

/* ---- how a call ends ---- */

static void release(struct dv_grpc_call *call)
{
    if (call->stream.link || (call->handed && !call->finished))
        return;
    if (call->server) {
        DL_DELETE(call->server->calls, call);
        call->server->call_count--;
    }
    dv_loop_remove(call->deadline);
    dv_grpc_link_stream_done(&call->stream);
    free(call);
}

static void tell_gone(struct dv_grpc_call *call)
{
    dv_loop_callback *gone = call->gone;
    call->unheard = true;
    dv_loop_remove(call->deadline);
    call->deadline = NULL;
    call->gone = NULL;
    if (gone && call->handed && !call->finished)
        gone(call->gone_arg);
}

static void on_closed(struct dv_grpc_stream *stream, uint32_t http2_code)
{
    struct dv_grpc_call *call = call_of(stream);
    bool handed = call->handed && !call->finished;
    if (!handed)
        release(call);
    else
        tell_gone(call); /* which may end it, and then it is freed */
}

static nghttp2_nv header(const char *name, const char *value, size_t size)
{
    return (nghttp2_nv){(uint8_t *)name, (uint8_t *)value, strlen(name), size,
                        NGHTTP2_NV_FLAG_NONE};
}

/* grpc-status and grpc-message, from ret on; returns how many. The buffers must live until nghttp2
 * has copied them. */
static size_t put_status(const struct dv_grpc_status *status, char number[12],
                         char text[DV_GRPC_WIRE_ESCAPED], nghttp2_nv *ret)
{
    int n = snprintf(number, 12, "%d", (int)status->code);
    ret[0] = header("grpc-status", number, (size_t)n);
    if (!status->text[0])
        return 1;
    ret[1] = header("grpc-message", text, dv_grpc_wire_escape(status->text, text));
    return 2;
}

static int submit_trailers(struct dv_grpc_stream *stream)
{
    struct dv_grpc_call *call = call_of(stream);
    char number[12], text[DV_GRPC_WIRE_ESCAPED];
    nghttp2_nv headers[2];
    size_t n = put_status(&call->status, number, text, headers);
    return nghttp2_submit_trailer(dv_grpc_link_session(stream->link), stream->id, headers, n);
}

/* The response's headers; without a source they are all there is, and say the status too. */
static void respond(struct dv_grpc_call *call, const char *http_status,
                    const nghttp2_data_provider *source)
{
    struct dv_grpc_link *link = call->stream.link;
    char number[12], text[DV_GRPC_WIRE_ESCAPED];
    nghttp2_nv headers[5] = {header(":status", http_status, 3),
                             header("content-type", "application/grpc", 16),
                             header("grpc-accept-encoding", "identity", 8)};
    size_t n = 3;
    if (!source)
        n += put_status(&call->status, number, text, headers + n);
    call->responded = true;
    if (nghttp2_submit_response(dv_grpc_link_session(link), call->stream.id, headers, n, source))
        nghttp2_submit_rst_stream(dv_grpc_link_session(link), NGHTTP2_FLAG_NONE, call->stream.id,
                                  NGHTTP2_INTERNAL_ERROR);
    dv_grpc_link_wake(link);
}

/* Says call->status, whatever was said before; the stream ends with it. */
static void end_badly(struct dv_grpc_call *call, const char *http_status)
{
    dv_loop_remove(call->deadline);
    call->deadline = NULL;
    call->stream.deaf = true;
    dv_grpc_link_release_input(&call->stream);
    if (call->responded)
        dv_grpc_link_finish(&call->stream, true);
    else
        respond(call, http_status, NULL);
}

/* Refuses it before any handler has seen it. */
static void dv_printf(4, 5) refuse(struct dv_grpc_call *call, const char *http_status,
                                   enum dv_grpc_code code, const char *fmt, ...)
{
    va_list args;
    va_start(args, fmt);
    call->status.code = code;
    vsnprintf(call->status.text, sizeof call->status.text, fmt, args);
    va_end(args);
    end_badly(call, http_status);
}

static void on_deadline(void *arg)
{
    struct dv_grpc_call *call = arg;
    call->status = (struct dv_grpc_status){DV_GRPC_DEADLINE_EXCEEDED, "the call's deadline passed"};
    end_badly(call, "200");
    tell_gone(call);
}

/* ---- what the handler does with it ---- */

static bool is_heard(const struct dv_grpc_call *call)
{
    return call->stream.link && !call->unheard;
}

static void finish(struct dv_grpc_call *call)
{
    call->finished = true;
    dv_loop_remove(call->deadline);
    call->deadline = NULL;
    release(call);
}

void dv_grpc_server_on_gone(struct dv_grpc_call *call, dv_loop_callback *gone, void *arg)
{
    call->gone = gone;
    call->gone_arg = arg;
}

void dv_grpc_server_fail(struct dv_grpc_call *call, enum dv_grpc_code code, const char *fmt, ...)
{
    if (is_heard(call)) {
        va_list args;
        va_start(args, fmt);
        call->status.code = code;
        vsnprintf(call->status.text, sizeof call->status.text, fmt, args);
        va_end(args);
        end_badly(call, "200");
    }
    finish(call);
}

int dv_grpc_server_send(struct dv_grpc_call *call, const void *message, size_t size)
{
    if (!is_heard(call))
        return 0;
    struct dv_grpc_frame frame = dv_grpc_link_frame(message, size);
    if (!frame.data)
        return -ENOMEM;
    dv_grpc_link_send(&call->stream, frame);
    nghttp2_data_provider source = dv_grpc_link_source();
    if (!call->responded)
        respond(call, "200", &source);
    return 0;
}

void dv_grpc_server_finish(struct dv_grpc_call *call)
{
    if (is_heard(call) && call->responded)
        dv_grpc_link_finish(&call->stream, false);
    else if (is_heard(call))
        respond(call, "200", NULL); /* no message at all: the status alone */
    finish(call);
}

void dv_grpc_server_reply(struct dv_grpc_call *call, const void *message, size_t size)
{
    if (dv_grpc_server_send(call, message, size) < 0)
        dv_grpc_server_fail(call, DV_GRPC_RESOURCE_EXHAUSTED, "out of memory");
    else
        dv_grpc_server_finish(call);
}

/* ---- what the peer does ---- */

static struct dv_grpc_stream *on_opened(void *owner)
{
    struct dv_grpc_server *server = owner;
    if (server->call_count >= DV_GRPC_CALLS_MAX)
        return NULL;
    struct dv_grpc_call *call = calloc(1, sizeof *call);
    if (!call)
        return NULL;
    call->server = server;
    call->stream.in_max = DV_GRPC_MESSAGE_MAX;
    DL_APPEND(server->calls, call);
    server->call_count++;
    return &call->stream;
}

static void on_header(struct dv_grpc_stream *stream, const char *name, const char *value)
{
    struct dv_grpc_call *call = call_of(stream);
    if (!strcmp(name, ":method")) {
        call->is_post = !strcmp(value, "POST");
    } else if (!strcmp(name, ":path")) {
        snprintf(call->path, sizeof call->path, "%s", value);
    } else if (!strcmp(name, "content-type")) {
        /* "application/grpc", "application/grpc+proto", "application/grpc;..." */
        size_t n = strlen("application/grpc");
        call->is_grpc = !strncmp(value, "application/grpc", n) && strchr("+;", value[n]);
    } else if (!strcmp(name, "grpc-timeout")) {
        call->has_timeout = true;
        call->bad_timeout = dv_grpc_wire_parse_timeout(value, &call->timeout_ms) < 0;
    }
}

static void on_headers_end(struct dv_grpc_stream *stream)
{
    struct dv_grpc_call *call = call_of(stream);
    struct dv_grpc_server *server = call->server;
    if (call->method)
        return; /* trailers */
    for (size_t i = 0; i < server->method_count; i++)
        if (!strcmp(server->methods[i].path, call->path))
            call->method = &server->methods[i];
    if (!call->is_post)
        refuse(call, "405", DV_GRPC_INTERNAL, "gRPC calls are made with POST");
    else if (!call->is_grpc)
        refuse(call, "415", DV_GRPC_INTERNAL, "the content-type is not application/grpc");
    else if (!call->method)
        refuse(call, "200", DV_GRPC_UNIMPLEMENTED, "no method %.200s here", call->path);
    else if (call->bad_timeout)
        refuse(call, "200", DV_GRPC_INTERNAL, "grpc-timeout is not 1 to 8 digits and a unit");
    else if (call->has_timeout &&
             dv_loop_timer(server->loop, call->timeout_ms, 0, on_deadline, call, &call->deadline))
        refuse(call, "200", DV_GRPC_RESOURCE_EXHAUSTED, "out of memory");
}

static void on_message(struct dv_grpc_stream *stream, const uint8_t *data, size_t size)
{
    struct dv_grpc_call *call = call_of(stream);
    if (call->has_message)
        refuse(call, "200", DV_GRPC_UNIMPLEMENTED, "%s takes one message, more came", call->path);
    call->has_message = true;
}

static void on_unreadable(struct dv_grpc_stream *stream, int r)
{
    struct dv_grpc_call *call = call_of(stream);
    if (r == -EMSGSIZE)
        refuse(call, "200", DV_GRPC_RESOURCE_EXHAUSTED, "a message may have %u bytes",
               DV_GRPC_MESSAGE_MAX);
    else if (r == -EOPNOTSUPP)
        refuse(call, "200", DV_GRPC_UNIMPLEMENTED,
               "the message is compressed, and only identity is understood");
    else if (r == -EPROTO)
        refuse(call, "200", DV_GRPC_INTERNAL, "this is no gRPC message");
    else
        refuse(call, "200", DV_GRPC_RESOURCE_EXHAUSTED, "too much is being received at a time");
}

/* The question is complete. */
static void on_remote_end(struct dv_grpc_stream *stream)
{
    struct dv_grpc_call *call = call_of(stream);
    if (dv_grpc_wire_is_partial(&stream->in)) {
        refuse(call, "200", DV_GRPC_INTERNAL, "the message ends early");
        return;
    }
    if (!call->has_message) {
        refuse(call, "200", DV_GRPC_UNIMPLEMENTED, "%s takes one message, none came", call->path);
        return;
    }
    /* Out of the stream, so that it lives until the handler returns, whatever that does. */
    struct dv_grpc_reader in = stream->in;
    stream->in = (struct dv_grpc_reader){0};
    call->server->buffered -= in.capacity;
    call->handed = true;
    call->method->handler(call->server->arg, call, in.data, in.size);
    dv_grpc_wire_done(&in);
}

static void on_gone(void *owner, struct dv_grpc_link *link)
{
    struct dv_grpc_server *server = owner;
    for (size_t i = 0; i < DV_GRPC_CONNECTIONS_MAX; i++)
        if (server->connections[i].link == link)
            server->connections[i].link = NULL;
}

static const struct dv_grpc_link_ops link_ops = {
    .opened = on_opened,
    .header = on_header,
    .headers_end = on_headers_end,
    .message = on_message,
    .unreadable = on_unreadable,
    .remote_end = on_remote_end,
    .submit_trailers = submit_trailers,
    .closed = on_closed,
    .gone = on_gone,
};

/* ---- connections ---- */

/* A free place, or that of the oldest which has no call; NULL: none. */
static struct connection *make_place(struct dv_grpc_server *server)
{
    struct connection *idle = NULL;
    for (size_t i = 0; i < DV_GRPC_CONNECTIONS_MAX; i++) {
        struct connection *c = &server->connections[i];
        if (!c->link)
            return c;
        if (!dv_grpc_link_has_streams(c->link) && (!idle || c->number < idle->number))
            idle = c;
    }
    if (idle) {
        dv_grpc_link_free(idle->link);
        idle->link = NULL;
    }
    return idle;
}

static void take_connection(struct dv_grpc_server *server, int fd)
{
    struct connection *place = make_place(server);
    if (!place) {
        close(fd);
        return;
    }
    struct dv_grpc_link_config config = {.loop = server->loop,
                                         .ops = &link_ops,
                                         .owner = server,
                                         .buffered = &server->buffered,
                                         .buffered_max = DV_GRPC_BUFFERED_MAX,
                                         .server = true};
    place->number = server->connections_made++;
    if (dv_grpc_link_new(&config, fd, &place->link) < 0)
        place->link = NULL;
}

static void on_connection(void *arg);

static void on_pause_over(void *arg)
{
    struct dv_grpc_server *server = arg;
    if (!server->watch &&
        dv_loop_watch(server->loop, server->fd, on_connection, server, &server->watch) < 0)
        dv_loop_timer_set(server->pause, ACCEPT_PAUSE_MS, 0);
}

/* Out of descriptors: the one who waits would wake us again and again. */
static void pause_accepting(struct dv_grpc_server *server)
{
    dv_loop_remove(server->watch);
    server->watch = NULL;
    dv_loop_timer_set(server->pause, ACCEPT_PAUSE_MS, 0);
}

static void on_connection(void *arg)
{
    struct dv_grpc_server *server = arg;
    for (int i = 0; i < 16; i++) {
        int fd = accept4(server->fd, NULL, NULL, SOCK_CLOEXEC | SOCK_NONBLOCK);
        if (fd >= 0)
            take_connection(server, fd);
        else if (errno != ECONNABORTED && errno != EINTR) {
            if (errno != EAGAIN)
                pause_accepting(server);
            return;
        }
    }
}

/* ---- its life ---- */

static int set_up(struct dv_grpc_server *server, struct dv_err *err)
{
    struct stat st;
    int r = dv_fd_listen(server->path, SOCK_STREAM | SOCK_NONBLOCK, 0600, err);
    if (r < 0)
        return r;
    server->fd = r;
    if (lstat(server->path, &st) < 0)
        return dv_err_set(err, dv_fd_errno(), "%s: %s", server->path, strerror(errno));
    server->dev = st.st_dev;
    server->ino = st.st_ino;
    r = dv_loop_timer(server->loop, DV_NEVER / 2, 0, on_pause_over, server, &server->pause);
    if (r >= 0)
        r = dv_loop_watch(server->loop, server->fd, on_connection, server, &server->watch);
    return r < 0 ? dv_err_set(err, r, "%s: %s", server->path, strerror(-r)) : 0;
}

int dv_grpc_server_new(struct dv_loop *loop, const char *path, const struct dv_grpc_method *methods,
                       size_t count, void *arg, struct dv_grpc_server **ret, struct dv_err *err)
{
    struct dv_grpc_server *server = calloc(1, sizeof *server);
    if (!server)
        return dv_err_set(err, -ENOMEM, "out of memory");
    *server = (struct dv_grpc_server){
        .loop = loop, .methods = methods, .method_count = count, .arg = arg, .fd = -1};
    int r = dv_str_copy(server->path, sizeof server->path, path);
    if (r < 0)
        dv_err_set(err, r, "socket path '%.80s...' has %zu bytes; at most %zu are possible", path,
                   strlen(path), sizeof server->path - 1);
    else
        r = set_up(server, err);
    if (r < 0) {
        dv_grpc_server_free(server);
        return r;
    }
    *ret = server;
    return 0;
}

bool dv_grpc_server_in_place(const struct dv_grpc_server *server)
{
    struct stat st;
    return lstat(server->path, &st) == 0 && st.st_dev == server->dev && st.st_ino == server->ino;
}

void dv_grpc_server_free(struct dv_grpc_server *server)
{
    if (!server)
        return;
    for (size_t i = 0; i < DV_GRPC_CONNECTIONS_MAX; i++)
        dv_grpc_link_free(server->connections[i].link);
    /* Those that are handed out and not ended are their holders' now. */
    while (server->calls) {
        struct dv_grpc_call *call = server->calls;
        DL_DELETE(server->calls, call);
        call->server = NULL;
    }
    dv_loop_remove(server->watch);
    dv_loop_remove(server->pause);
    if (server->fd >= 0 && server->ino && dv_grpc_server_in_place(server))
        unlink(server->path);
    dv_fd_close(&server->fd);
    free(server);
}
