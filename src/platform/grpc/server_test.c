/* SPDX-License-Identifier: Apache-2.0 */
/* Server and client over a real socket in one loop, and peers that write bytes by hand. */
#include "grpc/client.h"
#include "grpc/server.h"
#include "grpc/wire.h"
#include "sys/fd.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cmocka.h>

struct fixture {
    struct dv_loop *loop;
    struct dv_loop_source *guard;
    struct dv_grpc_server *server;
    struct dv_grpc_client *client;
    struct dv_grpc_call *kept; /* what the handlers of "/t.T/Keep" and "/t.T/Watch" got last */
    int handled, gone;
    bool free_in_handler;
    char dir[64], path[96];
};

struct answer {
    struct fixture *f;
    struct dv_grpc_asked *asked;
    int messages, ends;
    size_t last_size;
    char last[64];
    struct dv_grpc_status status;
    int stop_at;      /* stops the loop at this many messages; 0: at the end */
    bool cancel_at;   /* cancels then */
    bool free_client; /* frees the client at the end */
};

static void echo(void *arg, struct dv_grpc_call *call, const uint8_t *message, size_t size)
{
    struct fixture *f = arg;
    f->handled++;
    dv_grpc_server_reply(call, message, size);
    if (f->free_in_handler) {
        dv_grpc_server_free(f->server);
        f->server = NULL;
    }
}

static void refuse(void *arg, struct dv_grpc_call *call, const uint8_t *message, size_t size)
{
    dv_grpc_server_fail(call, DV_GRPC_FAILED_PRECONDITION, "%.*s: 100%% \xc3\xbc", (int)size,
                        message);
}

static void on_gone(void *arg)
{
    struct fixture *f = arg;
    f->gone++;
    if (f->kept)
        dv_grpc_server_finish(f->kept);
    f->kept = NULL;
    dv_loop_stop(f->loop);
}

static void keep(void *arg, struct dv_grpc_call *call, const uint8_t *message, size_t size)
{
    struct fixture *f = arg;
    f->handled++;
    f->kept = call;
    dv_loop_stop(f->loop);
}

static void watch(void *arg, struct dv_grpc_call *call, const uint8_t *message, size_t size)
{
    keep(arg, call, message, size);
    dv_grpc_server_on_gone(call, on_gone, arg);
    assert_int_equal(dv_grpc_server_send(call, "first", 5), 0);
}

static const struct dv_grpc_method methods[] = {
    {"/t.T/Echo", echo}, {"/t.T/Refuse", refuse}, {"/t.T/Keep", keep}, {"/t.T/Watch", watch}};

static void on_guard(void *arg)
{
    fail_msg("nothing happened for 20 seconds");
}

static void on_message(void *arg, const uint8_t *message, size_t size)
{
    struct answer *a = arg;
    a->messages++;
    a->last_size = size;
    snprintf(a->last, sizeof a->last, "%.*s", (int)DV_MIN(size, (size_t)60), message);
    if (a->messages != a->stop_at)
        return;
    if (a->cancel_at)
        dv_grpc_client_cancel(a->asked);
    dv_loop_stop(a->f->loop);
}

static void on_end(void *arg, const struct dv_grpc_status *status)
{
    struct answer *a = arg;
    a->ends++;
    a->status = *status;
    if (a->free_client) {
        dv_grpc_client_free(a->f->client);
        a->f->client = NULL;
    }
    dv_loop_stop(a->f->loop);
}

static const struct dv_grpc_call_ops ops = {on_message, on_end};

static int set_up(void **state)
{
    struct fixture *f = calloc(1, sizeof *f);
    struct dv_err err = {{0}};
    strcpy(f->dir, "/tmp/divvy-grpc-XXXXXX");
    assert_non_null(mkdtemp(f->dir));
    snprintf(f->path, sizeof f->path, "%s/s", f->dir);
    assert_int_equal(dv_loop_new(&f->loop), 0);
    assert_int_equal(dv_loop_timer(f->loop, 20000, 0, on_guard, f, &f->guard), 0);
    assert_int_equal(
        dv_grpc_server_new(f->loop, f->path, methods, DV_ARRAY_SIZE(methods), f, &f->server, &err),
        0);
    assert_int_equal(dv_grpc_client_new(f->loop, f->path, &f->client, &err), 0);
    *state = f;
    return 0;
}

static int tear_down(void **state)
{
    struct fixture *f = *state;
    dv_grpc_client_free(f->client);
    dv_grpc_server_free(f->server);
    if (f->kept)
        dv_grpc_server_finish(f->kept);
    dv_loop_free(f->loop);
    assert_int_equal(rmdir(f->dir), 0); /* the socket file is gone */
    free(f);
    return 0;
}

static int ask(struct fixture *f, const char *path, const char *text, struct answer *a)
{
    struct dv_err err = {{0}};
    struct dv_grpc_ask question = {.path = path,
                                   .message = text,
                                   .size = strlen(text),
                                   .streaming = !strcmp(path, "/t.T/Watch"),
                                   .ops = &ops,
                                   .arg = a};
    a->f = f;
    return dv_grpc_client_call(f->client, &question, &a->asked, &err);
}

static void on_soon(void *arg)
{
    dv_loop_stop(arg);
}

/* Lets the loop turn for a while, whatever stops it. */
static void turn(struct fixture *f, uint64_t ms)
{
    struct dv_loop_source *timer;
    assert_int_equal(dv_loop_timer(f->loop, ms, 0, on_soon, f->loop, &timer), 0);
    assert_int_equal(dv_loop_run(f->loop), 0);
    dv_loop_remove(timer);
}

static void ask_and_wait(struct fixture *f, const char *path, const char *text, struct answer *a)
{
    assert_int_equal(ask(f, path, text, a), 0);
    while (!a->ends)
        dv_loop_run(f->loop);
}

static void test_unary(void **state)
{
    struct fixture *f = *state;
    struct stat st;
    assert_int_equal(stat(f->path, &st), 0);
    assert_int_equal(st.st_mode & 0777, 0600);
    for (int i = 0; i < 3; i++) {
        struct answer a = {0};
        ask_and_wait(f, "/t.T/Echo", "hello", &a);
        assert_int_equal(a.status.code, DV_GRPC_OK);
        assert_int_equal(a.messages, 1);
        assert_string_equal(a.last, "hello");
    }
    struct answer empty = {0}, refused = {0}, unknown = {0};
    ask_and_wait(f, "/t.T/Echo", "", &empty);
    assert_int_equal(empty.messages, 1);
    assert_int_equal(empty.last_size, 0);
    ask_and_wait(f, "/t.T/Refuse", "no", &refused);
    assert_int_equal(refused.status.code, DV_GRPC_FAILED_PRECONDITION);
    assert_string_equal(refused.status.text, "no: 100% \xc3\xbc");
    assert_int_equal(refused.messages, 0);
    ask_and_wait(f, "/t.T/Nothing", "x", &unknown);
    assert_int_equal(unknown.status.code, DV_GRPC_UNIMPLEMENTED);
    assert_string_equal(unknown.status.text, "no method /t.T/Nothing here");
}

static void test_many_at_a_time(void **state)
{
    struct fixture *f = *state;
    struct answer a[DV_GRPC_CLIENT_CALLS_MAX] = {0}, more = {0};
    for (size_t i = 0; i < DV_ARRAY_SIZE(a); i++)
        assert_int_equal(ask(f, "/t.T/Echo", "x", &a[i]), 0);
    assert_int_equal(ask(f, "/t.T/Echo", "x", &more), -EBUSY);
    for (size_t i = 0; i < DV_ARRAY_SIZE(a); i++)
        while (!a[i].ends)
            dv_loop_run(f->loop);
    for (size_t i = 0; i < DV_ARRAY_SIZE(a); i++)
        assert_int_equal(a[i].status.code, DV_GRPC_OK);
}

/* 4 MiB pass, in both directions, through windows and socket buffers; one byte more does not. */
static void test_large(void **state)
{
    struct fixture *f = *state;
    struct answer a = {0}, b = {0};
    char *text = malloc(DV_GRPC_MESSAGE_MAX + 2);
    memset(text, 'x', DV_GRPC_MESSAGE_MAX + 1);
    text[DV_GRPC_MESSAGE_MAX] = 0;
    ask_and_wait(f, "/t.T/Echo", text, &a);
    assert_int_equal(a.status.code, DV_GRPC_OK);
    assert_int_equal(a.last_size, DV_GRPC_MESSAGE_MAX);
    text[DV_GRPC_MESSAGE_MAX] = 'x';
    text[DV_GRPC_MESSAGE_MAX + 1] = 0;
    ask_and_wait(f, "/t.T/Echo", text, &b);
    assert_int_equal(b.status.code, DV_GRPC_RESOURCE_EXHAUSTED);
    assert_string_equal(b.status.text, "a message may have 4194304 bytes");
    assert_int_equal(f->handled, 1);
    free(text);
}

static void test_stream(void **state)
{
    struct fixture *f = *state;
    struct answer a = {.stop_at = 1};
    assert_int_equal(ask(f, "/t.T/Watch", "", &a), 0);
    while (a.messages < 1)
        dv_loop_run(f->loop);
    assert_string_equal(a.last, "first");
    for (int i = 0; i < 5; i++) {
        char text[16];
        int n = snprintf(text, sizeof text, "number %d", i);
        a.stop_at = a.messages + 1;
        assert_int_equal(dv_grpc_server_send(f->kept, text, (size_t)n), 0);
        while (a.messages < a.stop_at)
            dv_loop_run(f->loop);
        assert_string_equal(a.last, text);
    }
    assert_int_equal(dv_grpc_server_send(f->kept, "last", 4), 0);
    dv_grpc_server_finish(f->kept);
    f->kept = NULL;
    while (!a.ends)
        dv_loop_run(f->loop);
    assert_string_equal(a.last, "last");
    assert_int_equal(a.status.code, DV_GRPC_OK);
    assert_int_equal(f->gone, 0);
}

/* A stream that fails in its middle says so in the trailers. */
static void test_stream_fails(void **state)
{
    struct fixture *f = *state;
    struct answer a = {.stop_at = 1};
    assert_int_equal(ask(f, "/t.T/Watch", "", &a), 0);
    while (a.messages < 1)
        dv_loop_run(f->loop);
    dv_grpc_server_fail(f->kept, DV_GRPC_ABORTED, "enough");
    f->kept = NULL;
    while (!a.ends)
        dv_loop_run(f->loop);
    assert_int_equal(a.status.code, DV_GRPC_ABORTED);
    assert_string_equal(a.status.text, "enough");
}

static void test_cancel(void **state)
{
    struct fixture *f = *state;
    struct answer a = {.stop_at = 1, .cancel_at = true}, b = {0};
    assert_int_equal(ask(f, "/t.T/Watch", "", &a), 0);
    while (!f->gone)
        dv_loop_run(f->loop);
    assert_int_equal(a.messages, 1);
    assert_int_equal(a.ends, 0);
    ask_and_wait(f, "/t.T/Echo", "still there", &b);
    assert_int_equal(b.status.code, DV_GRPC_OK);
    /* Before anything was sent, too. */
    assert_int_equal(ask(f, "/t.T/Echo", "x", &a), 0);
    dv_grpc_client_cancel(a.asked);
    turn(f, 20);
    assert_int_equal(a.ends, 0);
}

static void test_client_vanishes(void **state)
{
    struct fixture *f = *state;
    struct answer a = {.stop_at = 1};
    assert_int_equal(ask(f, "/t.T/Watch", "", &a), 0);
    while (!a.messages)
        dv_loop_run(f->loop);
    dv_grpc_client_free(f->client);
    f->client = NULL;
    while (!f->gone)
        dv_loop_run(f->loop);
    assert_int_equal(a.ends, 0);
}

static void test_server_goes_and_comes(void **state)
{
    struct fixture *f = *state;
    struct answer kept = {0}, refused = {0}, again = {0};
    struct dv_err err = {{0}};
    assert_int_equal(ask(f, "/t.T/Keep", "", &kept), 0);
    while (!f->kept)
        dv_loop_run(f->loop);
    assert_true(dv_grpc_server_in_place(f->server));
    dv_grpc_server_free(f->server);
    f->server = NULL;
    while (!kept.ends)
        dv_loop_run(f->loop);
    assert_int_equal(kept.status.code, DV_GRPC_UNAVAILABLE);
    dv_grpc_server_reply(f->kept, "nobody listens", 14);
    f->kept = NULL;
    assert_int_equal(ask(f, "/t.T/Echo", "x", &refused), -ENOENT);
    assert_int_equal(
        dv_grpc_server_new(f->loop, f->path, methods, DV_ARRAY_SIZE(methods), f, &f->server, &err),
        0);
    ask_and_wait(f, "/t.T/Echo", "x", &again);
    assert_int_equal(again.status.code, DV_GRPC_OK);
}

static void test_socket_file(void **state)
{
    struct fixture *f = *state;
    struct dv_grpc_server *other = NULL;
    struct dv_err err = {{0}};
    char path[200];
    /* A live one is not stolen. */
    assert_int_equal(dv_grpc_server_new(f->loop, f->path, methods, 1, f, &other, &err),
                     -EADDRINUSE);
    assert_non_null(strstr(err.msg, f->path));
    assert_true(dv_grpc_server_in_place(f->server));
    /* A dead one is replaced. */
    snprintf(path, sizeof path, "%s/dead", f->dir);
    int fd = dv_fd_listen(path, SOCK_STREAM, 0666, &err);
    assert_true(fd >= 0);
    close(fd);
    assert_int_equal(dv_grpc_server_new(f->loop, path, methods, 1, f, &other, &err), 0);
    /* What was put in its place stays. */
    assert_int_equal(unlink(path), 0);
    assert_false(dv_grpc_server_in_place(other));
    fclose(fopen(path, "w"));
    dv_grpc_server_free(other);
    assert_int_equal(unlink(path), 0);
    memset(path, 'x', sizeof path - 1);
    path[sizeof path - 1] = 0;
    assert_int_equal(dv_grpc_server_new(f->loop, path, methods, 1, f, &other, &err), -ENAMETOOLONG);
    struct dv_grpc_client *client;
    assert_int_equal(dv_grpc_client_new(f->loop, path, &client, &err), -ENAMETOOLONG);
}

static void test_deadline(void **state)
{
    struct fixture *f = *state;
    struct answer a = {.f = f};
    struct dv_err err = {{0}};
    struct dv_grpc_ask question = {
        .path = "/t.T/Watch", .timeout_ms = 500, .streaming = true, .ops = &ops, .arg = &a};
    assert_int_equal(dv_grpc_client_call(f->client, &question, NULL, &err), 0);
    while (!a.ends || !f->gone)
        dv_loop_run(f->loop);
    assert_int_equal(a.status.code, DV_GRPC_DEADLINE_EXCEEDED);
    assert_int_equal(f->gone, 1);
    assert_null(f->kept);
}

static void test_free_in_callbacks(void **state)
{
    struct fixture *f = *state;
    struct answer a = {.free_client = true};
    f->free_in_handler = true;
    ask_and_wait(f, "/t.T/Echo", "x", &a);
    assert_int_equal(a.ends, 1);
    assert_null(f->server);
    assert_null(f->client);
}

/* ---- peers that write bytes by hand ---- */

#define PREFACE "PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"

struct raw {
    struct fixture *f;
    int fd;
    uint8_t out[8192];
    size_t out_size;
    uint8_t in[1 << 16];
    size_t in_size;
    bool hung_up;
};

static void put(struct raw *p, const void *data, size_t size)
{
    assert_true(p->out_size + size <= sizeof p->out);
    memcpy(p->out + p->out_size, data, size);
    p->out_size += size;
}

static void put_frame(struct raw *p, uint32_t size, uint8_t type, uint8_t flags, uint32_t stream)
{
    const uint8_t head[9] = {(uint8_t)(size >> 16),
                             (uint8_t)(size >> 8),
                             (uint8_t)size,
                             type,
                             flags,
                             (uint8_t)(stream >> 24),
                             (uint8_t)(stream >> 16),
                             (uint8_t)(stream >> 8),
                             (uint8_t)stream};
    put(p, head, sizeof head);
}

static size_t put_text(uint8_t *to, const char *text)
{
    size_t n = strlen(text);
    to[0] = (uint8_t)n;
    memcpy(to + 1, text, n);
    return n + 1;
}

/* HEADERS, each field as a literal without an index (RFC 7541, 6.2.2). */
static void put_headers(struct raw *p, uint32_t stream, const char *path, const char *type,
                        const char *timeout)
{
    const char *fields[][2] = {
        {":method", "POST"},    {":scheme", "http"}, {":authority", "localhost"}, {":path", path},
        {"content-type", type}, {"te", "trailers"},  {"grpc-timeout", timeout}};
    uint8_t block[512];
    size_t n = 0;
    for (size_t i = 0; i < (timeout ? 7 : 6); i++) {
        block[n++] = 0;
        n += put_text(block + n, fields[i][0]);
        n += put_text(block + n, fields[i][1]);
    }
    put_frame(p, (uint32_t)n, 1, 4, stream);
    put(p, block, n);
}

static void put_data(struct raw *p, uint32_t stream, const void *data, size_t size, bool last)
{
    put_frame(p, (uint32_t)size, 0, last, stream);
    put(p, data, size);
}

static struct raw *raw_new(struct fixture *f)
{
    struct raw *p = calloc(1, sizeof *p);
    p->f = f;
    p->fd = dv_fd_connect(f->path, SOCK_STREAM | SOCK_NONBLOCK, NULL);
    assert_true(p->fd >= 0);
    put(p, PREFACE, strlen(PREFACE));
    put_frame(p, 0, 4, 0, 0); /* SETTINGS */
    return p;
}

static void raw_free(struct raw *p)
{
    dv_fd_close(&p->fd);
    free(p);
}

/* Sends what was put, lets the server turn, takes what it says. */
static void converse(struct raw *p)
{
    if (p->out_size)
        assert_int_equal(send(p->fd, p->out, p->out_size, MSG_NOSIGNAL), (ssize_t)p->out_size);
    p->out_size = 0;
    for (int i = 0; i < 10; i++) {
        turn(p->f, 3);
        ssize_t n = recv(p->fd, p->in + p->in_size, sizeof p->in - p->in_size, 0);
        p->in_size += n > 0 ? (size_t)n : 0;
        p->hung_up = p->hung_up || n == 0 || (n < 0 && errno == ECONNRESET);
    }
}

/* The n-th frame of this type that came for the stream, NULL: none. ret: its payload's size. */
static const uint8_t *frame(const struct raw *p, uint8_t type, uint32_t stream, size_t *ret_size)
{
    for (size_t at = 0; at + 9 <= p->in_size;) {
        const uint8_t *h = p->in + at;
        size_t size = (size_t)h[0] << 16 | (size_t)h[1] << 8 | h[2];
        uint32_t id = (uint32_t)h[5] << 24 | (uint32_t)h[6] << 16 | (uint32_t)h[7] << 8 | h[8];
        if (h[3] == type && id == stream) {
            *ret_size = size;
            return h + 9;
        }
        at += 9 + size;
    }
    return NULL;
}

static void check_alive(struct fixture *f)
{
    struct answer a = {0};
    ask_and_wait(f, "/t.T/Echo", "alive", &a);
    assert_int_equal(a.status.code, DV_GRPC_OK);
}

static void test_raw_echo_and_ping(void **state)
{
    struct fixture *f = *state;
    struct raw *p = raw_new(f);
    size_t size;
    put_headers(p, 1, "/t.T/Echo", "application/grpc", NULL);
    put_data(p, 1, "\0\0\0\0\2hi", 7, true);
    put_frame(p, 8, 6, 0, 0);
    put(p, "12345678", 8);
    converse(p);
    const uint8_t *data = frame(p, 0, 1, &size), *pong;
    assert_non_null(data);
    assert_int_equal(size, 7);
    assert_memory_equal(data, "\0\0\0\0\2hi", 7);
    pong = frame(p, 6, 0, &size);
    assert_non_null(pong);
    assert_memory_equal(pong, "12345678", 8);
    raw_free(p);
}

/* A question in order of what is wrong with it; none reaches the handler, none ends the server. */
static void test_raw_bad_requests(void **state)
{
    struct fixture *f = *state;
    static const struct {
        const char *type, *timeout, *data;
        size_t size;
    } bad[] = {
        {"application/json", NULL, "\0\0\0\0\2hi", 7},          /* not gRPC */
        {"application/grpcx", NULL, "\0\0\0\0\2hi", 7},         /* nor is this */
        {"application/grpc", "soon", "\0\0\0\0\2hi", 7},        /* no timeout */
        {"application/grpc", NULL, "\1\0\0\0\2hi", 7},          /* compressed */
        {"application/grpc", NULL, "\7\0\0\0\2hi", 7},          /* neither */
        {"application/grpc", NULL, "\0\377\377\377\377hi", 7},  /* 4 GiB */
        {"application/grpc", NULL, "\0\0\0\0\3hi", 7},          /* ends early */
        {"application/grpc", NULL, "\0\0\0", 3},                /* in the head */
        {"application/grpc", NULL, "", 0},                      /* no message */
        {"application/grpc", NULL, "\0\0\0\0\0\0\0\0\0\0", 10}, /* two */
    };
    for (size_t i = 0; i < DV_ARRAY_SIZE(bad); i++) {
        struct raw *p = raw_new(f);
        size_t size;
        put_headers(p, 1, "/t.T/Echo", bad[i].type, bad[i].timeout);
        put_data(p, 1, bad[i].data, bad[i].size, true);
        put_headers(p, 3, "/t.T/Echo", "application/grpc", NULL);
        put_data(p, 3, "\0\0\0\0\2ok", 7, true);
        converse(p);
        assert_non_null(frame(p, 1, 1, &size)); /* an answer of headers alone ... */
        assert_null(frame(p, 0, 1, &size));
        assert_non_null(frame(p, 0, 3, &size)); /* and the connection is as good as before */
        assert_false(p->hung_up);
        raw_free(p);
    }
    assert_int_equal(f->handled, DV_ARRAY_SIZE(bad));
    check_alive(f);
}

/* What is no HTTP/2 costs the one who sends it the connection, and nobody else. */
static void test_raw_garbage(void **state)
{
    struct fixture *f = *state;
    struct raw *p = raw_new(f);
    p->out_size = 0;
    put(p, "GET / HTTP/1.1\r\nHost: localhost\r\n\r\n", 35);
    converse(p);
    assert_true(p->hung_up);
    raw_free(p);
    p = raw_new(f);
    put_frame(p, 0xffffff, 0, 0, 1); /* a frame of 16 MiB */
    converse(p);
    assert_true(p->hung_up);
    raw_free(p);
    p = raw_new(f); /* headers that no table explains */
    put_frame(p, 4, 1, 5, 1);
    put(p, "\377\377\377\377", 4);
    converse(p);
    assert_true(p->hung_up);
    raw_free(p);
    check_alive(f);
}

/* Ends its side of the socket in the middle, at every byte. */
static void test_raw_half(void **state)
{
    struct fixture *f = *state;
    struct raw *whole = raw_new(f);
    put_headers(whole, 1, "/t.T/Echo", "application/grpc", NULL);
    put_data(whole, 1, "\0\0\0\0\2hi", 7, true);
    for (size_t n = 0; n < whole->out_size; n += 5) {
        int fd = dv_fd_connect(f->path, SOCK_STREAM, NULL);
        assert_int_equal(send(fd, whole->out, n, MSG_NOSIGNAL), (ssize_t)n);
        shutdown(fd, SHUT_WR);
        turn(f, 2);
        close(fd);
    }
    raw_free(whole);
    assert_int_equal(f->handled, 0);
    check_alive(f);
}

static void test_raw_many_headers(void **state)
{
    struct fixture *f = *state;
    struct raw *p = raw_new(f);
    uint8_t block[4096];
    size_t n = 0, size;
    while (n < 3900) { /* each counts 32 bytes more than it has */
        block[n++] = 0;
        n += put_text(block + n, "x");
        n += put_text(block + n, "");
    }
    put_frame(p, (uint32_t)n, 1, 4, 1);
    put(p, block, n);
    converse(p);
    assert_non_null(frame(p, 3, 1, &size)); /* RST_STREAM */
    raw_free(p);
    check_alive(f);
}

/* A peer that does not read gets the newest message when it does, and we hold two at most. */
static void test_raw_slow_reader(void **state)
{
    struct fixture *f = *state;
    struct raw *p = raw_new(f);
    size_t size, big = 300000;
    uint8_t *message = malloc(big);
    put_headers(p, 1, "/t.T/Watch", "application/grpc", NULL);
    put_data(p, 1, "\0\0\0\0\0", 5, true);
    converse(p);
    assert_non_null(frame(p, 0, 1, &size));
    assert_int_equal(size, 10); /* "first" */
    for (int i = 0; i < 200; i++) {
        memset(message, i, big);
        assert_int_equal(dv_grpc_server_send(f->kept, message, big), 0);
        turn(f, i < 3);
    }
    /* The stream's window lets 65535 bytes through, ten of which are spent. */
    size_t expected = 2 * (big + DV_GRPC_WIRE_HEAD), got = 0;
    int first = -1, last = -1;
    put_frame(p, 4, 8, 0, 0);
    put(p, "\0\20\0\0", 4);
    put_frame(p, 4, 8, 0, 1);
    put(p, "\0\20\0\0", 4);
    for (int i = 0; i < 200 && got < expected; i++) {
        p->in_size = 0;
        converse(p);
        for (size_t at = 0; at + 9 <= p->in_size; at += 9 + size) {
            const uint8_t *h = p->in + at;
            size = (size_t)h[0] << 16 | (size_t)h[1] << 8 | h[2];
            got += h[3] == 0 ? size : 0;
            /* Frames fall where they fall: what is beyond this piece is not looked at. */
            if (h[3] == 0 && first < 0 && size > 6)
                first = h[9 + 6];
            if (h[3] == 0 && at + 9 + size <= p->in_size)
                last = h[9 + size - 1];
            if (at + 9 + size > p->in_size) {
                size_t missing = at + 9 + size - p->in_size;
                while (missing) {
                    ssize_t n = recv(p->fd, message, missing, 0);
                    missing -= n > 0 ? (size_t)n : 0;
                    if (n > 0 && h[3] == 0)
                        last = message[n - 1];
                    if (missing)
                        turn(f, 1);
                }
            }
        }
    }
    assert_int_equal(got, expected);
    assert_int_equal(first, 0);  /* the one that was under way */
    assert_int_equal(last, 199); /* and then the newest */
    free(message);
    raw_free(p);
    while (!f->gone)
        dv_loop_run(f->loop);
}

/* Who opens connections and says nothing does not keep others out. */
static void test_raw_idle_connections(void **state)
{
    struct fixture *f = *state;
    int fds[DV_GRPC_CONNECTIONS_MAX + 4];
    for (size_t i = 0; i < DV_ARRAY_SIZE(fds); i++) {
        fds[i] = dv_fd_connect(f->path, SOCK_STREAM | SOCK_NONBLOCK, NULL);
        assert_true(fds[i] >= 0);
        turn(f, 2);
    }
    check_alive(f);
    for (size_t i = 0; i < DV_ARRAY_SIZE(fds); i++)
        close(fds[i]);
}

/* Calls that are asked, reset, and never answered: the server takes a bounded number. */
static void test_raw_calls_bounded(void **state)
{
    struct fixture *f = *state;
    struct raw *p = raw_new(f);
    struct dv_grpc_call *calls[DV_GRPC_CALLS_MAX + 64];
    size_t n = 0;
    for (uint32_t id = 1; id < 2 * DV_ARRAY_SIZE(calls); id += 2) {
        put_headers(p, id, "/t.T/Keep", "application/grpc", NULL);
        put_data(p, id, "\0\0\0\0\0", 5, true);
        put_frame(p, 4, 3, 0, id);
        put(p, "\0\0\0\10", 4);
        f->kept = NULL;
        assert_int_equal(send(p->fd, p->out, p->out_size, MSG_NOSIGNAL), (ssize_t)p->out_size);
        p->out_size = 0;
        turn(f, 1);
        if (f->kept)
            calls[n++] = f->kept;
        p->in_size = 0;
    }
    f->kept = NULL;
    assert_int_equal(n, DV_GRPC_CALLS_MAX);
    for (size_t i = 0; i < n; i++)
        dv_grpc_server_reply(calls[i], "x", 1);
    raw_free(p);
    check_alive(f);
}

int main(void)
{
#define T(name) cmocka_unit_test_setup_teardown(name, set_up, tear_down)
    const struct CMUnitTest tests[] = {
        T(test_unary),
        T(test_many_at_a_time),
        T(test_large),
        T(test_stream),
        T(test_stream_fails),
        T(test_cancel),
        T(test_client_vanishes),
        T(test_server_goes_and_comes),
        T(test_socket_file),
        T(test_deadline),
        T(test_free_in_callbacks),
        T(test_raw_echo_and_ping),
        T(test_raw_bad_requests),
        T(test_raw_garbage),
        T(test_raw_half),
        T(test_raw_many_headers),
        T(test_raw_slow_reader),
        T(test_raw_idle_connections),
        T(test_raw_calls_bounded),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
