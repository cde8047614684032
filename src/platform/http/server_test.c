/* SPDX-License-Identifier: Apache-2.0 */
#include "http/server.h"
#include "sys/fd.h"

#include <pthread.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include <cmocka.h>

static struct {
    struct dv_loop *loop;
    struct dv_http_server *server;
    struct dv_loop_source *timer;
    struct dv_http_request *kept;
    char dir[32], path[64];
    char text[4096]; /* what the client got */
    const char *request;
    size_t extra; /* bytes of 'x' after the request */
    pthread_t client;
} t;

static void handle(void *arg, struct dv_http_request *rq)
{
    char body[256];
    if (!strcmp(rq->path, "/later")) {
        t.kept = rq;
        dv_loop_timer_set(t.timer, 10, 0);
        return;
    }
    const char *q = dv_http_server_query(rq, "q");
    int n = snprintf(body, sizeof body, "%s %s q=%s body=%zu%s pid=%d", rq->method, rq->path,
                     q ? q : "-", rq->body_size,
                     rq->body_too_long ? "!"
                     : rq->too_busy    ? "?"
                                       : "",
                     rq->pid == getpid());
    dv_http_server_reply(rq, rq->body_too_long ? 413 : rq->too_busy ? 503 : 200, body, (size_t)n);
}

static void on_timer(void *arg)
{
    dv_http_server_reply(t.kept, 200, "late", 4);
}

static void stop(void *arg)
{
    dv_loop_stop(t.loop);
}

static void *client(void *arg)
{
    int *done = arg;
    size_t n = 0;
    ssize_t got;
    int fd = dv_fd_connect(t.path, SOCK_STREAM, NULL);
    if (send(fd, t.request, strlen(t.request), MSG_NOSIGNAL) > 0)
        for (size_t i = 0; i < t.extra; i += 1000)
            if (send(fd, memset((char[1000]){0}, 'x', 1000), 1000, MSG_NOSIGNAL) < 0)
                break;
    while (n < sizeof t.text - 1 && (got = read(fd, t.text + n, sizeof t.text - 1 - n)) > 0)
        n += (size_t)got;
    t.text[n] = 0;
    close(fd);
    if (write(*done, "x", 1) != 1)
        abort();
    return NULL;
}

static void exchange(const char *request, size_t extra)
{
    int p[2];
    struct dv_loop_source *watch;
    t.request = request;
    t.extra = extra;
    assert_int_equal(pipe(p), 0);
    assert_int_equal(dv_loop_watch(t.loop, p[0], stop, NULL, &watch), 0);
    assert_int_equal(pthread_create(&t.client, NULL, client, &p[1]), 0);
    dv_loop_run(t.loop);
    pthread_join(t.client, NULL);
    dv_loop_remove(watch);
    close(p[0]);
    close(p[1]);
}

static int setup(void **state)
{
    strcpy(t.dir, "/tmp/divvy-http-XXXXXX");
    assert_non_null(mkdtemp(t.dir));
    snprintf(t.path, sizeof t.path, "%s/s", t.dir);
    assert_int_equal(dv_loop_new(&t.loop), 0);
    int fd = dv_fd_listen(t.path, SOCK_STREAM, 0600, NULL);
    assert_true(fd >= 0);
    assert_int_equal(dv_loop_timer(t.loop, UINT32_MAX, 0, on_timer, NULL, &t.timer), 0);
    assert_int_equal(dv_http_server_new(t.loop, fd, handle, NULL, &t.server), 0);
    dv_http_server_allow_large(t.server, "/big");
    return 0;
}

static int teardown(void **state)
{
    dv_http_server_free(t.server);
    dv_loop_free(t.loop);
    unlink(t.path);
    rmdir(t.dir);
    return 0;
}

static void test_requests(void **state)
{
    exchange("GET /a?q=1%202 HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n", 0);
    assert_non_null(strstr(t.text, "200 OK"));
    assert_non_null(strstr(t.text, "GET /a q=1 2 body=0 pid=1"));
    exchange("POST /b HTTP/1.1\r\nHost: x\r\nContent-Length: 5\r\nConnection: close\r\n\r\nhello",
             0);
    assert_non_null(strstr(t.text, "POST /b q=- body=5 pid=1"));
    exchange("GET /later HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n", 0);
    assert_non_null(strstr(t.text, "late"));
}

static void test_bounds(void **state)
{
    exchange("POST /b HTTP/1.1\r\nHost: x\r\nContent-Length: 100000\r\nConnection: close\r\n\r\n",
             100000);
    assert_non_null(strstr(t.text, "413"));
    assert_non_null(strstr(t.text, "body=0!"));
    exchange("\x01\x02\x03\r\n\r\n", 0);
    exchange("GET /a HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n", 0);
    assert_non_null(strstr(t.text, "200 OK"));
}

static void post(const char *path, size_t size)
{
    char head[128];
    snprintf(head, sizeof head,
             "POST %s HTTP/1.1\r\nHost: x\r\nContent-Length: %zu\r\nConnection: close\r\n\r\n",
             path, size);
    exchange(head, size);
}

static void test_large(void **state)
{
    post("/big", 100000);
    assert_non_null(strstr(t.text, "POST /big q=- body=100000 "));
    post("/big/er", DV_HTTP_BODY_LARGE_MAX / 1000 * 1000);
    assert_non_null(strstr(t.text, "200 OK"));
    post("/bigger", 100000);
    assert_non_null(strstr(t.text, "413"));
    post("/big", 1200000);
    assert_non_null(strstr(t.text, "413"));
    assert_non_null(strstr(t.text, "body=0!"));
}

/* Sends the head and the first bytes of a large body, and leaves the rest open. What is sent fits
 * the socket's buffer, so that nobody need read it yet. */
static int begin_large(void)
{
    static const char head[] = "POST /big HTTP/1.1\r\nHost: x\r\nContent-Length: 200000\r\n\r\n";
    static const char body[70000] = {'x'};
    int fd = dv_fd_connect(t.path, SOCK_STREAM, NULL);
    assert_true(fd >= 0);
    assert_int_equal(send(fd, head, sizeof head - 1, MSG_NOSIGNAL), sizeof head - 1);
    assert_int_equal(send(fd, body, sizeof body, MSG_NOSIGNAL), sizeof body);
    return fd;
}

/* While so many are on their way, one more is refused; when they are gone, it is not. One that
 * comes while another has the last place is refused itself: hence more than there are places. */
static void test_many_large(void **state)
{
    int fds[8 * DV_HTTP_LARGE_MAX];
    size_t n = 0;
    do {
        assert_true(n < DV_ARRAY_SIZE(fds));
        fds[n++] = begin_large();
        post("/big", 100000);
    } while (strstr(t.text, "200 OK"));
    assert_non_null(strstr(t.text, "503"));
    assert_non_null(strstr(t.text, "body=0?"));
    post("/big", 1000);
    assert_non_null(strstr(t.text, "200 OK"));
    while (n)
        close(fds[--n]);
    do {
        post("/big", 100000);
    } while (strstr(t.text, "503")); /* until the server has seen them go */
    assert_non_null(strstr(t.text, "200 OK"));
}

static void note(void *arg, struct dv_http_request *rq)
{
    unsigned *calls = arg;
    ++*calls;
    if (strcmp(rq->path, "/later") != 0)
        dv_http_server_reply(rq, 200, "now", 3);
    dv_loop_stop(t.loop);
}

static void ask(int fd, const char *path)
{
    char text[80];
    int n = snprintf(text, sizeof text, "GET %s HTTP/1.1\r\nHost: x\r\n\r\n", path);
    assert_int_equal(send(fd, text, (size_t)n, MSG_NOSIGNAL), n);
}

static void read_all(int fd)
{
    size_t n = 0;
    ssize_t got;
    while ((got = read(fd, t.text + n, sizeof t.text - 1 - n)) > 0)
        n += (size_t)got;
    t.text[n] = 0;
    close(fd);
}

/* What the handler works on is gone by then: who waits and who asks while it stops is told so. */
static void test_stopping(void **state)
{
    unsigned calls = 0;
    char path[sizeof t.dir + 8];
    struct dv_http_server *server;
    snprintf(path, sizeof path, "%s/2", t.dir);
    int fd = dv_fd_listen(path, SOCK_STREAM, 0600, NULL);
    assert_true(fd >= 0);
    assert_int_equal(dv_http_server_new(t.loop, fd, note, &calls, &server), 0);
    int asks = dv_fd_connect(path, SOCK_STREAM, NULL);
    int waits = dv_fd_connect(path, SOCK_STREAM, NULL);
    assert_true(asks >= 0 && waits >= 0);
    ask(asks, "/now");
    dv_loop_run(t.loop);
    ask(waits, "/later");
    dv_loop_run(t.loop);
    assert_int_equal(calls, 2);
    ask(asks, "/now");
    dv_http_server_free(server);
    assert_int_equal(calls, 2);
    read_all(waits);
    assert_non_null(strstr(t.text, "503"));
    assert_non_null(strstr(t.text, "stopping"));
    read_all(asks);
    assert_non_null(strstr(t.text, "200 OK"));
    assert_non_null(strstr(t.text, "stopping"));
    unlink(path);
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(test_requests),
                                       cmocka_unit_test(test_bounds), cmocka_unit_test(test_large),
                                       cmocka_unit_test(test_many_large),
                                       cmocka_unit_test(test_stopping)};
    return cmocka_run_group_tests(tests, setup, teardown);
}
