/* SPDX-License-Identifier: Apache-2.0 */
/* A peer that sends any bytes and hangs up: to our server (first byte even), and as an answer to
 * our client (odd). The loop goes on, and every call comes to its end. */
#include "grpc/client.h"
#include "grpc/server.h"
#include "sys/fd.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static struct dv_loop *loop;
static struct dv_grpc_server *server;
static char server_path[64], client_path[64];
static int peer;

static void echo(void *arg, struct dv_grpc_call *call, const uint8_t *message, size_t size)
{
    dv_grpc_server_reply(call, message, size);
}

static void stream(void *arg, struct dv_grpc_call *call, const uint8_t *message, size_t size)
{
    if (dv_grpc_server_send(call, message, size) < 0)
        abort();
    dv_grpc_server_finish(call);
}

static const struct dv_grpc_method methods[] = {{"/t.T/Echo", echo}, {"/t.T/Stream", stream}};

static void clean_up(void)
{
    dv_grpc_server_free(server);
    dv_loop_free(loop);
}

static void set_up(void)
{
    snprintf(server_path, sizeof server_path, "/tmp/divvy-fuzz-grpc-%d.s", (int)getpid());
    snprintf(client_path, sizeof client_path, "/tmp/divvy-fuzz-grpc-%d.c", (int)getpid());
    if (dv_loop_new(&loop) < 0 ||
        dv_grpc_server_new(loop, server_path, methods, 2, NULL, &server, NULL) < 0)
        abort();
    atexit(clean_up);
}

/* What our side says is read and dropped; when it hangs up, that is the end. */
static void on_peer(void *arg)
{
    char buf[4096];
    ssize_t n = recv(peer, buf, sizeof buf, MSG_DONTWAIT);
    if (!n || (n < 0 && errno != EAGAIN && errno != EINTR))
        dv_loop_stop(loop);
}

static void send_and_wait(const uint8_t *data, size_t size)
{
    struct dv_loop_source *watch;
    /* It fits into the socket's buffer: inputs have 64 KiB at most. */
    if (send(peer, data, size, MSG_NOSIGNAL | MSG_DONTWAIT) != (ssize_t)size && size)
        abort();
    shutdown(peer, SHUT_WR);
    if (dv_loop_watch(loop, peer, on_peer, NULL, &watch) < 0)
        abort();
    dv_loop_run(loop);
    dv_loop_remove(watch);
    close(peer);
}

static void on_end(void *arg, const struct dv_grpc_status *status)
{
    int *ends = arg;
    ++*ends;
}

static void answer_client(const uint8_t *data, size_t size)
{
    static const struct dv_grpc_call_ops ops = {.end = on_end};
    struct dv_grpc_client *client;
    int ends = 0, fd = dv_fd_listen(client_path, SOCK_STREAM, 0600, NULL);
    struct dv_grpc_ask ask = {
        .path = "/t.T/Echo", .message = "hi", .size = 2, .ops = &ops, .arg = &ends};
    if (fd < 0 || dv_grpc_client_new(loop, client_path, &client, NULL) < 0)
        abort();
    for (int i = 0; i < 2; i++, ask.streaming = true)
        if (dv_grpc_client_call(client, &ask, NULL, NULL) < 0)
            abort();
    peer = accept4(fd, NULL, NULL, SOCK_CLOEXEC);
    send_and_wait(data, size);
    if (ends != 2)
        abort();
    dv_grpc_client_free(client);
    close(fd);
    unlink(client_path);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    if (!size)
        return 0;
    if (!loop)
        set_up();
    if (data[0] & 1) {
        answer_client(data + 1, size - 1);
        return 0;
    }
    peer = dv_fd_connect(server_path, SOCK_STREAM, NULL);
    if (peer < 0)
        abort();
    send_and_wait(data + 1, size - 1);
    return 0;
}
