/* SPDX-License-Identifier: Apache-2.0 */
/* The client and its watches against a server that misbehaves: testing/fake_api.py. */
#include "kube/client.h"
#include "kube/internal.h"
#include "kube/json.h"
#include "kube/testing/fake_api.h"
#include "kube/watch.h"
#include "sys/clock.h"

#include <errno.h>
#include <json-c/json.h>
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#define LONG_MS 60000

static struct fake_api api;
static struct dv_loop *loop;
static struct dv_kube_config *config;
static struct dv_kube_client *client;
static struct dv_err err;

/* Shorter. */
static struct dv_kube_config *configure(const char *host, const char *ca, const char *user)
{
    return fake_api_config(&api, host, ca, user);
}

/* ---- calls ---------------------------------------------------------------------------------- */

static bool timed_out;
static struct dv_kube_reply last;
static uint32_t replies;

static void on_late(void *arg)
{
    timed_out = true;
    dv_loop_stop(loop);
}

static void run(const char *what)
{
    struct dv_loop_source *late;
    timed_out = false;
    assert_int_equal(dv_loop_timer(loop, LONG_MS, 0, on_late, NULL, &late), 0);
    dv_loop_run(loop);
    dv_loop_remove(late);
    if (timed_out)
        fail_msg("waiting for %s took too long", what);
}

static void on_wait(void *arg)
{
    dv_loop_stop(loop);
}

static void run_for(uint64_t ms)
{
    struct dv_loop_source *timer;
    assert_int_equal(dv_loop_timer(loop, ms, 0, on_wait, NULL, &timer), 0);
    dv_loop_run(loop);
    dv_loop_remove(timer);
}

static void on_reply(void *arg, const struct dv_kube_reply *reply)
{
    json_object_put(last.body);
    last = *reply;
    json_object_get(last.body);
    replies++;
    dv_loop_stop(loop);
}

static void call_by(struct dv_kube_client *by, const struct dv_kube_request *request, int expected)
{
    assert_int_equal(dv_kube_client_call(by, request, on_reply, NULL, NULL), 0);
    run(request->path);
    if (last.error != expected)
        fail_msg("%s: %d, %s", request->path, last.error, last.message);
    assert_int_equal(expected == 0, *last.message == 0);
}

static void get(const char *path, int expected)
{
    struct dv_kube_request request = {.path = path, .deadline_ms = 20000};
    call_by(client, &request, expected);
}

static const char *said(const char *key)
{
    return dv_kube_json_text(last.body, key, NULL);
}

static void test_verbs(void **state)
{
    static const char *const methods[] = {"GET",   "POST",  "PUT",   "DELETE",
                                          "PATCH", "PATCH", "PATCH", "PATCH"};
    static const char *const types[] = {"",
                                        "application/json",
                                        "application/json",
                                        "",
                                        "application/merge-patch+json",
                                        "application/strategic-merge-patch+json",
                                        "application/json-patch+json",
                                        "application/apply-patch+yaml"};
    for (int i = 0; i < 8; i++) {
        struct dv_kube_request request = {.verb = (enum dv_kube_verb)i,
                                          .path = "/echo?q=1",
                                          .body = *types[i] ? "{\"a\":\"\xc3\xa9\"}" : NULL};
        call_by(client, &request, 0);
        assert_string_equal(said("method"), methods[i]);
        assert_string_equal(said("type"), types[i]);
        assert_string_equal(said("body"), request.body ? request.body : "");
        assert_string_equal(said("path"), "/echo?q=1");
    }
    struct dv_kube_state s;
    dv_kube_client_state(client, &s);
    assert_true(s.connected);
    assert_true(s.since_ns > 0);
}

static void test_words(void **state)
{
    get("/status/404/NotFound", -ENOENT);
    assert_string_equal(last.reason, "NotFound");
    assert_string_equal(last.message, "GET /status/404/NotFound: says no");
    assert_int_equal(last.status, 404);
    get("/status/409/AlreadyExists", -EEXIST);
    get("/status/409/Conflict", -ESTALE);
    get("/status/410/Expired", -ESTALE);
    get("/status/403/Forbidden", -EACCES);
    get("/status/401/Unauthorized", -EACCES);
    get("/status/422/Invalid", -EINVAL);
    get("/status/400/BadRequest", -EINVAL);
    get("/html", -EPROTO);
    assert_string_equal(last.message, "GET /html: the answer is not a JSON object");
    get("/deep", -EPROTO);
    get("/empty", -EPROTO);
    get("/redirect", -EPROTO); /* nobody is followed with our token */
    get("/huge", -E2BIG);
    assert_string_equal(last.message, "GET /huge: the answer is larger than 8 MiB");
    struct dv_kube_request bad = {.path = "/status/503/ServiceUnavailable", .once = true};
    call_by(client, &bad, -EIO);
}

static void test_retries(void **state)
{
    get("/flaky/3", 0);
    assert_int_equal(dv_kube_json_int(last.body, "n", NULL), 4);
    uint64_t before = dv_clock_now();
    struct dv_kube_request busy = {.verb = DV_KUBE_CREATE, .path = "/busy", .body = "{}"};
    call_by(client, &busy, 0);
    assert_true(dv_clock_now() - before >= DV_NS_PER_S); /* Retry-After: 1 */
    get("/cut/2", 0);
    assert_int_equal(dv_kube_json_int(last.body, "n", NULL), 3);
    /* A POST may have been done before the server failed. */
    struct dv_kube_request post = {.verb = DV_KUBE_CREATE, .path = "/flaky/1?post", .body = "{}"};
    call_by(client, &post, -EIO);
    /* The deadline holds, and says what the last try said. */
    struct dv_kube_request never = {.path = "/flaky/1000", .deadline_ms = 3000};
    call_by(client, &never, -EIO);
    assert_string_equal(last.message, "GET /flaky/1000: it says no");
}

static void test_deadlines(void **state)
{
    uint64_t before = dv_clock_now();
    struct dv_kube_request loris = {.path = "/loris", .deadline_ms = 700};
    call_by(client, &loris, -ETIMEDOUT);
    struct dv_kube_request silent = {.path = "/silent", .deadline_ms = 700};
    call_by(client, &silent, -ETIMEDOUT);
    assert_true(dv_clock_now() - before >= 1300 * DV_NS_PER_MS);
}

static void test_rate(void **state)
{
    run_for(2100); /* the bucket is full */
    uint64_t before = dv_clock_now();
    replies = 0;
    for (int i = 0; i < 35; i++) {
        struct dv_kube_request request = {
            .verb = DV_KUBE_MERGE, .path = "/echo", .body = "{}", .deadline_ms = 60000};
        assert_int_equal(dv_kube_client_call(client, &request, on_reply, NULL, NULL), 0);
    }
    while (replies < 35)
        run("writes");
    assert_true(dv_clock_now() - before >= 1400 * DV_NS_PER_MS); /* 15 had to wait */
}

static void on_never(void *arg, const struct dv_kube_reply *reply)
{
    fail_msg("a cancelled call has ended");
}

static void test_cancel_and_bound(void **state)
{
    struct dv_kube_call *calls[DV_KUBE_CALLS_MAX], *one;
    struct dv_kube_request request = {.path = "/silent"};
    for (uint32_t i = 0; i < DV_KUBE_CALLS_MAX; i++)
        assert_int_equal(dv_kube_client_call(client, &request, on_never, NULL, &calls[i]), 0);
    assert_int_equal(dv_kube_client_call(client, &request, on_never, NULL, &one), -EBUSY);
    run_for(300); /* some are on the wire */
    for (uint32_t i = 0; i < DV_KUBE_CALLS_MAX; i++)
        dv_kube_client_cancel(calls[i]);
    get("/echo", 0);
    /* In line behind others, the deadline holds as well. */
    for (uint32_t i = 0; i < 8; i++)
        assert_int_equal(dv_kube_client_call(client, &request, on_never, NULL, &calls[i]), 0);
    struct dv_kube_request late = {.path = "/echo", .deadline_ms = 300};
    call_by(client, &late, -ETIMEDOUT);
    assert_string_equal(last.message, "GET /echo: the deadline has passed");
    for (uint32_t i = 0; i < 8; i++)
        dv_kube_client_cancel(calls[i]);
}

/* ---- who is who ----------------------------------------------------------------------------- */

static void try_with(struct dv_kube_config *c, int expected)
{
    struct dv_kube_client *other = NULL;
    struct dv_kube_request request = {.path = "/echo", .deadline_ms = 20000, .once = true};
    assert_int_equal(dv_kube_client_new(loop, c, 3, &other, &err), 0);
    call_by(other, &request, expected);
    dv_kube_client_free(other);
    dv_kube_config_free(c);
}

static void test_server_identity(void **state)
{
    try_with(configure("127.0.0.1", "other.crt", ""), -EPROTO); /* not that authority's */
    try_with(configure("localhost", "ca.crt", ""), -EPROTO);    /* not that name's */
    try_with(configure("127.0.0.1", "absent.crt", ""), -EPROTO);
    try_with(configure("no-such-host.invalid", "ca.crt", ""), -EHOSTUNREACH);
    try_with(configure("127.0.0.1", "ca.crt", ""), 0);
}

static void add_base64(const char *name, char *text, size_t size)
{
    char command[256];
    snprintf(command, sizeof command, "base64 -w0 %s/%s", api.dir, name);
    FILE *f = popen(command, "r");
    assert_non_null(f);
    size_t at = strlen(text);
    size_t n = fread(text + at, 1, size - at - 1, f);
    text[at + n] = 0;
    pclose(f);
}

static void test_client_certificate(void **state)
{
    char user[3000] = "client-certificate: client.crt, client-key: client.key";
    try_with(configure("127.0.0.1", "ca.crt", user), 0);
    assert_string_equal(said("peer"), "node-agent");
    strcpy(user, "client-certificate-data: ");
    add_base64("client.crt", user, sizeof user);
    strcat(user, ", client-key-data: ");
    add_base64("client.key", user, sizeof user);
    try_with(configure("127.0.0.1", "ca.crt", user), 0);
    assert_string_equal(said("peer"), "node-agent");
}

static void put_token(const char *text)
{
    char path[128], next[128];
    snprintf(path, sizeof path, "%s/token", api.dir);
    snprintf(next, sizeof next, "%s/token.next", api.dir);
    FILE *f = fopen(next, "w");
    assert_non_null(f);
    fputs(text, f);
    fclose(f);
    assert_int_equal(rename(next, path), 0);
}

static void test_token(void **state)
{
    struct dv_kube_config *c = configure("127.0.0.1", "ca.crt", "tokenFile: token");
    struct dv_kube_client *other = NULL;
    struct dv_kube_request request = {.path = "/echo", .deadline_ms = 20000};
    assert_int_equal(dv_kube_client_new(loop, c, 3, &other, &err), 0);
    call_by(other, &request, -ENOENT);
    put_token("first\n");
    call_by(other, &request, 0);
    assert_string_equal(said("auth"), "Bearer first");
    put_token("second");
    call_by(other, &request, 0);
    assert_string_equal(said("auth"), "Bearer second");
    put_token("no header\r\nX: y");
    call_by(other, &request, -EINVAL);
    dv_kube_client_free(other);
    dv_kube_config_free(c);
}

/* ---- watches -------------------------------------------------------------------------------- */

static char told[512];
static struct dv_kube_watch *watch;
static const char *free_at;

static void on_change(void *arg, enum dv_kube_change change, struct json_object *object)
{
    static const char *const signs[] = {"+", "~", "-", "S"};
    size_t n = strlen(told);
    snprintf(told + n, sizeof told - n, "%s%s%s ", signs[change],
             dv_kube_json_text(object, "metadata", "name", NULL),
             change == DV_KUBE_ADDED &&
                     strstr(dv_kube_json_text(object, "metadata", "uid", NULL), "2")
                 ? "2"
                 : "");
    if (free_at && strstr(told, free_at)) {
        dv_kube_watch_free(watch);
        watch = NULL;
    }
    dv_loop_stop(loop);
}

static void start_watch(const char *path)
{
    struct dv_kube_watch_spec spec = {.path = path, .cb = on_change};
    *told = 0;
    assert_int_equal(dv_kube_watch_start(client, &spec, &watch), 0);
}

/* Until all that is told is this. */
static void wait_told(const char *all)
{
    while (strlen(told) < strlen(all))
        run(all);
    assert_string_equal(told, all);
}

static void check_watch(const char *path, const char *all)
{
    start_watch(path);
    wait_told(all);
    struct dv_kube_watch_state s;
    dv_kube_watch_state(watch, &s);
    assert_true(s.synced && s.connected);
    run_for(300); /* and no more */
    assert_string_equal(told, all);
    dv_kube_watch_free(watch);
}

static void test_watch(void **state)
{
    check_watch("/w/basic/pods", "+a +b +c S +d ~a -b +e -d +d2 -e S ~c ");
}

static void test_watch_gone(void **state)
{
    check_watch("/w/gone/pods", "+a S S -a S ");
    check_watch("/w/expired/pods", "+a +x +b -x S ");
}

static void test_watch_nonsense(void **state)
{
    check_watch("/w/hugeline/pods", "+a S S +b ");
    check_watch("/w/garbage/pods", "+a S S S S S +b ");
}

/* Pages shrink until they fit: 3 MiB each. */
static void test_watch_large(void **state)
{
    check_watch("/w/large/pods", "+a +b +c +d S ");
}

static void test_watch_forbidden(void **state)
{
    struct dv_kube_watch_state s;
    start_watch("/w/forbidden/pods");
    for (int i = 0; i < 6000; i++) {
        run_for(10);
        dv_kube_watch_state(watch, &s);
        if (s.error)
            break;
    }
    assert_false(s.connected || s.synced);
    assert_int_equal(s.error, -EACCES);
    assert_string_equal(s.message, "/w/forbidden/pods: it says no");
    wait_told("+a S ");
    dv_kube_watch_free(watch);
}

/* From its own callback, at each thing that it may tell. */
static void test_watch_free(void **state)
{
    static const char *const points[] = {"+a", "+c", "S", "+d", "-b"};
    for (size_t i = 0; i < DV_ARRAY_SIZE(points); i++) {
        fake_api_stop(&api); /* its scenes begin anew */
        fake_api_start(&api);
        free_at = points[i];
        start_watch("/w/basic/pods");
        while (watch)
            run(points[i]);
        run_for(50);
    }
    free_at = NULL;
}

static void test_server_away(void **state)
{
    struct dv_kube_state s;
    struct dv_kube_watch_state w;
    struct dv_kube_request request = {.path = "/echo", .deadline_ms = 20000, .once = true};
    start_watch("/w/restart/pods");
    wait_told("+a S ");
    fake_api_stop(&api);
    call_by(client, &request, -EHOSTUNREACH);
    dv_kube_client_state(client, &s);
    dv_kube_watch_state(watch, &w);
    assert_false(s.connected || w.connected);
    assert_true(w.synced); /* it was, once */
    assert_true(s.failures > 1);
    assert_true(*s.message && *w.message);
    assert_true(dv_clock_now() >= s.since_ns);
    assert_string_equal(told, "+a S ");
    fake_api_start(&api);
    request.deadline_ms = 20000;
    call_by(client, &request, 0);
    for (int i = 0; i < 600 && !w.connected; i++) {
        run_for(100);
        dv_kube_watch_state(watch, &w);
    }
    assert_true(w.connected);
    dv_kube_client_state(client, &s);
    assert_true(s.connected);
    assert_int_equal(s.failures, 0);
    assert_string_equal(told, "+a S "); /* nothing was missed, nothing is told again */
    dv_kube_watch_free(watch);
}

/* How often a server that is away is asked, by a clock of its own: an hour, a year. */
static void test_pauses_for_hours(void **state)
{
    const uint64_t first = 500, cap = 30000, hour = 3600 * 1000;
    struct dv_rng rng = {7};
    for (uint64_t hours = 1; hours <= 24 * 365; hours = hours == 1 ? 24 * 365 : hours + 1) {
        uint64_t now = 0, longest = 0;
        uint32_t tries = 0;
        while (now < hours * hour) {
            uint64_t ms = dv_kube_client_pause_ms(&rng, ++tries, first, cap);
            uint64_t full = tries < 7 ? first << (tries - 1) : cap;
            assert_in_range(ms, DV_MIN(full, cap) / 2, DV_MIN(full, cap));
            now += ms;
            longest = DV_MAX(longest, ms);
        }
        /* Half of the cap at least, all of it at most: 120 to 250 questions an hour. */
        assert_in_range(tries, hours * 120, hours * 250);
        assert_true(longest <= cap); /* so late at most is a server noticed that is back */
    }
    assert_in_range(dv_kube_client_pause_ms(&rng, UINT32_MAX, first, cap), cap / 2, cap);
}

/* ---- all ------------------------------------------------------------------------------------ */

static int setup(void **state)
{
    signal(SIGPIPE, SIG_IGN);
    if (dv_loop_new(&loop) < 0)
        return -1;
    fake_api_start(&api);
    config = configure("127.0.0.1", "ca.crt", "");
    return dv_kube_client_new(loop, config, 1, &client, &err);
}

static int teardown(void **state)
{
    json_object_put(last.body);
    dv_kube_client_free(client);
    dv_kube_config_free(config);
    dv_loop_free(loop);
    fake_api_done(&api);
    return 0;
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_verbs),
        cmocka_unit_test(test_words),
        cmocka_unit_test(test_retries),
        cmocka_unit_test(test_deadlines),
        cmocka_unit_test(test_rate),
        cmocka_unit_test(test_cancel_and_bound),
        cmocka_unit_test(test_server_identity),
        cmocka_unit_test(test_client_certificate),
        cmocka_unit_test(test_token),
        cmocka_unit_test(test_watch),
        cmocka_unit_test(test_watch_gone),
        cmocka_unit_test(test_watch_nonsense),
        cmocka_unit_test(test_watch_large),
        cmocka_unit_test(test_watch_forbidden),
        cmocka_unit_test(test_watch_free),
        cmocka_unit_test(test_pauses_for_hours),
        cmocka_unit_test(test_server_away),
    };
    return cmocka_run_group_tests(tests, setup, teardown);
}
