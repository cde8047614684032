/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Memory runs out at the first, the second, the third... allocation, ours or nghttp2's, while a
 * client and a server talk. Each call still comes to its end, well or badly; nothing leaks (which
 * the address sanitizer sees); and the same server serves the next client.
 */
#include "base/testing/oom.h"
#include "grpc/client.h"
#include "grpc/server.h"

#include <nghttp2/nghttp2.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <cmocka.h>

int __wrap_nghttp2_session_server_new(nghttp2_session **ret,
                                      const nghttp2_session_callbacks *callbacks, void *user);
int __wrap_nghttp2_session_client_new(nghttp2_session **ret,
                                      const nghttp2_session_callbacks *callbacks, void *user);

static void *their_malloc(size_t size, void *user)
{
    return dv_oom_malloc(size);
}

static void *their_calloc(size_t n, size_t size, void *user)
{
    return dv_oom_calloc(n, size);
}

static void *their_realloc(void *old, size_t size, void *user)
{
    return dv_oom_realloc(old, size);
}

static void their_free(void *old, void *user)
{
    free(old);
}

static nghttp2_mem memory = {NULL, their_malloc, their_free, their_calloc, their_realloc};

int __wrap_nghttp2_session_server_new(nghttp2_session **ret,
                                      const nghttp2_session_callbacks *callbacks, void *user)
{
    return nghttp2_session_server_new3(ret, callbacks, user, NULL, &memory);
}

int __wrap_nghttp2_session_client_new(nghttp2_session **ret,
                                      const nghttp2_session_callbacks *callbacks, void *user)
{
    return nghttp2_session_client_new3(ret, callbacks, user, NULL, &memory);
}

static struct dv_loop *loop;
static int under_way, messages;

static void echo(void *arg, struct dv_grpc_call *call, const uint8_t *message, size_t size)
{
    dv_grpc_server_reply(call, message, size);
}

static void stream(void *arg, struct dv_grpc_call *call, const uint8_t *message, size_t size)
{
    if (dv_grpc_server_send(call, message, size) < 0)
        dv_grpc_server_fail(call, DV_GRPC_RESOURCE_EXHAUSTED, "out of memory");
    else
        dv_grpc_server_finish(call);
}

static void on_message(void *arg, const uint8_t *message, size_t size)
{
    messages++;
}

static void on_end(void *arg, const struct dv_grpc_status *status)
{
    if (!--under_way)
        dv_loop_stop(loop);
}

static void on_guard(void *arg)
{
    fail_msg("a call did not end");
}

/* Two calls; returns how many messages came. */
static int talk(const char *path)
{
    static const struct dv_grpc_call_ops ops = {on_message, on_end};
    struct dv_grpc_client *client = NULL;
    struct dv_grpc_ask ask = {
        .path = "/t.T/Echo", .message = "hi", .size = 2, .timeout_ms = 10000, .ops = &ops};
    messages = under_way = 0;
    if (dv_grpc_client_new(loop, path, &client, NULL) == 0) {
        under_way += dv_grpc_client_call(client, &ask, NULL, NULL) == 0;
        ask.path = "/t.T/Stream";
        ask.streaming = true;
        under_way += dv_grpc_client_call(client, &ask, NULL, NULL) == 0;
    }
    if (under_way)
        dv_loop_run(loop);
    dv_grpc_client_free(client);
    return messages;
}

static void test_talk(void **state)
{
    static const struct dv_grpc_method methods[] = {{"/t.T/Echo", echo}, {"/t.T/Stream", stream}};
    struct dv_loop_source *guard;
    struct dv_grpc_server *server;
    char path[64];
    size_t n = 0, bad = 0;
    snprintf(path, sizeof path, "/tmp/divvy-grpc-oom-%d", (int)getpid());
    assert_int_equal(dv_loop_new(&loop), 0);
    assert_int_equal(dv_loop_timer(loop, 100000, 0, on_guard, NULL, &guard), 0);
    assert_int_equal(dv_grpc_server_new(loop, path, methods, 2, NULL, &server, NULL), 0);
    do {
        dv_oom_at(++n);
        bad += talk(path) < 2;
        dv_oom_end();
        assert_int_equal(talk(path), 2);
    } while (dv_oom_met());
    assert_true(n > 50 && bad > 20);
    dv_grpc_server_free(server);
    dv_loop_free(loop);
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(test_talk)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
