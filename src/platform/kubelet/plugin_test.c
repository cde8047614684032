/* SPDX-License-Identifier: Apache-2.0 */
/* A plugin and a kubelet made of this room's neighbours, in one loop. Bytes are written out where
 * the numbers of fields matter. */
#include "grpc/client.h"
#include "grpc/server.h"
#include "kubelet/messages.h"
#include "kubelet/plugin.h"

#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cmocka.h>

struct fixture {
    struct dv_loop *loop;
    struct dv_loop_source *guard;
    char path[64], kubelet_path[96], plugin_path[96];
    struct dv_kubelet_dir *dir;
    struct dv_kubelet_plugin *plugin;
    int states[4], soon;
    char why[256];
    bool free_in_state;
    struct dv_kubelet_call *kept;
    bool keep, refuse;
    char asked[256];
    /* the kubelet */
    struct dv_grpc_server *kubelet;
    int registered;
    bool turn_away, stuck, keep_waiting;
    struct dv_grpc_call *waiting; /* a Register */
    uint8_t last_register[256];
    size_t last_register_size;
    struct dv_grpc_client *client; /* of the plugin */
    struct dv_grpc_asked *watch;
    int lists, watch_ends, ends;
    uint8_t list[1 << 18];
    size_t list_size;
    uint8_t answer[4096];
    size_t answer_size;
    struct dv_grpc_status status;
};

/* ---- the plugin's side ---- */

static void note_ids(struct fixture *f, const char *what, const struct dv_kubelet_ids *ids)
{
    size_t n = strlen(f->asked);
    n += (size_t)snprintf(f->asked + n, sizeof f->asked - n, "%s", what);
    for (size_t i = 0; i < ids->count && n < sizeof f->asked; i++)
        n += (size_t)snprintf(f->asked + n, sizeof f->asked - n, " %s", ids->ids[i]);
    if (n < sizeof f->asked)
        snprintf(f->asked + n, sizeof f->asked - n, ";");
}

static void give(struct dv_kubelet_call *call)
{
    static const struct dv_kubelet_pair envs[] = {{"A", "b"}}, annotations[] = {{"k", "v"}};
    static const struct dv_kubelet_mount mounts[] = {{"/c", "/h", true}};
    static const struct dv_kubelet_device_node nodes[] = {{"/dev/c", "/dev/h", "rw"}};
    static const char *const cdi[] = {"divvy.dev/slice=1"};
    const struct dv_kubelet_container container = {envs, 1,           mounts, 1,       nodes,
                                                   1,    annotations, 1,      {cdi, 1}};
    dv_kubelet_plugin_allocated(call, &container, 1);
}

static void allocate(void *arg, struct dv_kubelet_call *call,
                     const struct dv_kubelet_ids *containers, size_t count)
{
    struct fixture *f = arg;
    for (size_t i = 0; i < count; i++)
        note_ids(f, "allocate", &containers[i]);
    if (f->refuse)
        dv_kubelet_plugin_refuse(call, DV_GRPC_INVALID_ARGUMENT, "%s is sick", "gpu-0");
    else if (f->keep)
        f->kept = call;
    else
        give(call);
    if (f->keep)
        dv_loop_stop(f->loop);
}

static void prefer(void *arg, struct dv_kubelet_call *call,
                   const struct dv_kubelet_choice *containers, size_t count)
{
    struct fixture *f = arg;
    const char *ids[] = {"b"};
    struct dv_kubelet_ids answer = {ids, 1};
    for (size_t i = 0; i < count; i++) {
        note_ids(f, "of", &containers[i].available);
        note_ids(f, "must", &containers[i].must);
        snprintf(f->asked + strlen(f->asked), 16, "%d", containers[i].size);
    }
    dv_kubelet_plugin_preferred(call, &answer, 1);
}

static void pre_start(void *arg, struct dv_kubelet_call *call, struct dv_kubelet_ids devices)
{
    note_ids(arg, "start", &devices);
    dv_kubelet_plugin_started(call);
}

static void on_state(void *arg, enum dv_kubelet_plugin_state state, const char *why)
{
    struct fixture *f = arg;
    f->states[state]++;
    snprintf(f->why, sizeof f->why, "%.250s", why);
    if (f->free_in_state) {
        dv_kubelet_plugin_free(f->plugin);
        f->plugin = NULL;
    }
    dv_loop_stop(f->loop);
}

static const struct dv_kubelet_plugin_ops ops = {allocate, prefer, pre_start, on_state};

/* ---- the kubelet's side ---- */

/* Who asked is gone before there was an answer. */
static void end_unheard(void *arg)
{
    dv_grpc_server_fail(arg, DV_GRPC_CANCELLED, "gone");
}

static void on_register(void *arg, struct dv_grpc_call *call, const uint8_t *message, size_t size)
{
    struct fixture *f = arg;
    f->registered++;
    f->last_register_size = DV_MIN(size, sizeof f->last_register);
    memcpy(f->last_register, message, f->last_register_size);
    if (f->keep_waiting) {
        f->waiting = call;
        dv_grpc_server_on_gone(call, end_unheard, call);
        dv_loop_stop(f->loop);
        return;
    }
    if (f->stuck)
        dv_grpc_server_fail(call, DV_GRPC_UNKNOWN, "device plugin already connected: gpu.sock");
    else if (f->turn_away)
        dv_grpc_server_fail(call, DV_GRPC_UNKNOWN, "not that name");
    else
        dv_grpc_server_reply(call, NULL, 0);
    dv_loop_stop(f->loop);
}

static const struct dv_grpc_method methods[] = {{"/v1beta1.Registration/Register", on_register}};

static void start_kubelet(struct fixture *f)
{
    struct dv_err err = {{0}};
    assert_int_equal(dv_grpc_server_new(f->loop, f->kubelet_path, methods, 1, f, &f->kubelet, &err),
                     0);
}

static void stop_kubelet(struct fixture *f)
{
    dv_grpc_server_free(f->kubelet);
    f->kubelet = NULL;
    dv_grpc_client_free(f->client);
    f->client = NULL;
}

static void on_list(void *arg, const uint8_t *message, size_t size)
{
    struct fixture *f = arg;
    f->lists++;
    assert_true(size <= sizeof f->list);
    memcpy(f->list, message, size);
    f->list_size = size;
    dv_loop_stop(f->loop);
}

static void on_watch_end(void *arg, const struct dv_grpc_status *status)
{
    struct fixture *f = arg;
    f->watch_ends++;
    dv_loop_stop(f->loop);
}

static void on_answer(void *arg, const uint8_t *message, size_t size)
{
    struct fixture *f = arg;
    assert_true(size <= sizeof f->answer);
    memcpy(f->answer, message, size);
    f->answer_size = size;
}

static void on_end(void *arg, const struct dv_grpc_status *status)
{
    struct fixture *f = arg;
    f->ends++;
    f->status = *status;
    dv_loop_stop(f->loop);
}

static void watch(struct fixture *f)
{
    static const struct dv_grpc_call_ops list_ops = {on_list, on_watch_end};
    struct dv_err err = {{0}};
    struct dv_grpc_ask question = {.path = "/v1beta1.DevicePlugin/ListAndWatch",
                                   .streaming = true,
                                   .ops = &list_ops,
                                   .arg = f};
    if (!f->client)
        assert_int_equal(dv_grpc_client_new(f->loop, f->plugin_path, &f->client, &err), 0);
    assert_int_equal(dv_grpc_client_call(f->client, &question, &f->watch, &err), 0);
}

static void ask(struct fixture *f, const char *method, const void *message, size_t size)
{
    static const struct dv_grpc_call_ops call_ops = {on_answer, on_end};
    char path[96];
    struct dv_err err = {{0}};
    struct dv_grpc_ask question = {
        .path = path, .message = message, .size = size, .ops = &call_ops, .arg = f};
    snprintf(path, sizeof path, "/v1beta1.DevicePlugin/%s", method);
    if (!f->client)
        assert_int_equal(dv_grpc_client_new(f->loop, f->plugin_path, &f->client, &err), 0);
    assert_int_equal(dv_grpc_client_call(f->client, &question, NULL, &err), 0);
}

static void ask_and_wait(struct fixture *f, const char *method, const void *message, size_t size)
{
    int before = f->ends;
    f->asked[0] = 0;
    f->answer_size = 0;
    ask(f, method, message, size);
    while (f->ends == before)
        dv_loop_run(f->loop);
}

/* ---- fixture ---- */

static void on_guard(void *arg)
{
    fail_msg("nothing happened for 100 seconds");
}

static void new_plugin(struct fixture *f)
{
    struct dv_err err = {{0}};
    struct dv_kubelet_plugin_config config = {"nvidia.com/gpu", "gpu.sock", &ops, f};
    assert_int_equal(dv_kubelet_plugin_new(f->dir, &config, &f->plugin, &err), 0);
}

static int set_up(void **state)
{
    struct fixture *f = calloc(1, sizeof *f);
    struct dv_err err = {{0}};
    strcpy(f->path, "/tmp/divvy-kubelet-XXXXXX");
    assert_non_null(mkdtemp(f->path));
    snprintf(f->kubelet_path, sizeof f->kubelet_path, "%s/kubelet.sock", f->path);
    snprintf(f->plugin_path, sizeof f->plugin_path, "%s/gpu.sock", f->path);
    assert_int_equal(dv_loop_new(&f->loop), 0);
    assert_int_equal(dv_loop_timer(f->loop, 100000, 0, on_guard, f, &f->guard), 0);
    assert_int_equal(dv_kubelet_dir_new(f->loop, f->path, &f->dir, &err), 0);
    new_plugin(f);
    *state = f;
    return 0;
}

static int tear_down(void **state)
{
    struct fixture *f = *state;
    stop_kubelet(f);
    dv_kubelet_plugin_free(f->plugin);
    dv_kubelet_dir_free(f->dir);
    dv_loop_free(f->loop);
    assert_int_equal(rmdir(f->path), 0);
    free(f);
    return 0;
}

static void run_until(struct fixture *f, const int *count, int value)
{
    while (*count < value)
        dv_loop_run(f->loop);
}

static void on_soon(void *arg)
{
    struct fixture *f = arg;
    f->soon = 1;
    dv_loop_stop(f->loop);
}

/* Lets the loop turn for a while, whatever stops it. */
static void turn(struct fixture *f, uint64_t ms)
{
    struct dv_loop_source *timer;
    f->soon = 0;
    assert_int_equal(dv_loop_timer(f->loop, ms, 0, on_soon, f, &timer), 0);
    run_until(f, &f->soon, 1);
    dv_loop_remove(timer);
}

static int offer(struct fixture *f, const char *id, bool healthy)
{
    struct dv_err err = {{0}};
    struct dv_kubelet_device device = {.id = id, .healthy = healthy};
    return dv_kubelet_plugin_offer(f->plugin, &device, 1, &err);
}

/* ---- tests ---- */

static void test_registers(void **state)
{
    struct fixture *f = *state;
    static const char expected[] = "\n\7v1beta1"          /* version 1 */
                                   "\22\10gpu.sock"       /* endpoint 2 */
                                   "\32\16nvidia.com/gpu" /* resource_name 3 */
                                   "\"\4\10\1\20\1";      /* options 4: both 1 and 2 */
    run_until(f, &f->states[DV_KUBELET_WAITING], 1);      /* no kubelet */
    assert_non_null(strstr(f->why, "kubelet.sock"));
    start_kubelet(f); /* seen by the watch */
    run_until(f, &f->states[DV_KUBELET_REGISTERED], 1);
    assert_int_equal(f->last_register_size, sizeof expected - 1);
    assert_memory_equal(f->last_register, expected, sizeof expected - 1);
    watch(f);
    run_until(f, &f->states[DV_KUBELET_WATCHED], 1);
    assert_int_equal(f->lists, 0); /* nothing was offered yet */
    assert_int_equal(offer(f, "a", true), 0);
    run_until(f, &f->lists, 1);
    assert_int_equal(f->list_size, 14);
    assert_memory_equal(f->list, "\n\14\n\1a\22\7Healthy", 14);
}

static void test_list_changes(void **state)
{
    struct fixture *f = *state;
    run_until(f, &f->states[DV_KUBELET_WAITING], 1);
    start_kubelet(f);
    run_until(f, &f->states[DV_KUBELET_REGISTERED], 1);
    assert_int_equal(offer(f, "a", true), 0);
    watch(f);
    run_until(f, &f->lists, 1);
    assert_int_equal(offer(f, "a", true), 0); /* no change, no message */
    turn(f, 20);
    assert_int_equal(f->lists, 1);
    for (int i = 0; i < 10; i++) {
        assert_int_equal(offer(f, "a", i % 2), 0);
        run_until(f, &f->lists, 2 + i);
        assert_int_equal(f->list_size, i % 2 ? 14 : 16);
    }
    turn(f, 20);
    assert_int_equal(f->lists, 11);
    assert_int_equal(f->registered, 1);
}

static void test_thousand_devices(void **state)
{
    struct fixture *f = *state;
    static char ids[1000][DV_KUBELET_ID_MAX + 1];
    static struct dv_kubelet_device devices[1000];
    static const int64_t numa[] = {0, 3};
    struct dv_err err = {{0}};
    for (int i = 0; i < 1000; i++) {
        snprintf(ids[i], sizeof ids[i], "GPU-%059d", i);
        devices[i] = (struct dv_kubelet_device){ids[i], numa, 2, true};
    }
    assert_int_equal(dv_kubelet_plugin_offer(f->plugin, devices, 1000, &err), 0);
    start_kubelet(f);
    run_until(f, &f->registered, 1);
    watch(f);
    run_until(f, &f->lists, 1);
    /* ID 1, health 2, topology 3: nodes 1, of which ID 1; 0 is not written. */
    static const char tail[] = "\22\7Healthy\32\6\n\0\n\2\10\3";
    assert_int_equal(f->list_size, 1000 * (2 + 2 + 63 + sizeof tail - 1));
    assert_memory_equal(f->list + f->list_size - (sizeof tail - 1), tail, sizeof tail - 1);
}

static void test_bad_offers(void **state)
{
    struct fixture *f = *state;
    struct dv_err err = {{0}};
    struct dv_kubelet_device twice[] = {{.id = "x"}, {.id = "y"}, {.id = "x"}};
    assert_int_equal(offer(f, "", true), -EINVAL);
    assert_int_equal(
        offer(f, "1234567890123456789012345678901234567890123456789012345678901234", true),
        -EINVAL);
    assert_int_equal(dv_kubelet_plugin_offer(f->plugin, twice, 3, &err), -EINVAL);
    assert_string_equal(err.msg, "device id 'x' is there twice");
    assert_int_equal(dv_kubelet_plugin_offer(f->plugin, NULL, 0, &err), 0);
    assert_int_equal(dv_kubelet_plugin_offer(f->plugin, NULL, DV_KUBELET_DEVICES_MAX + 1, &err),
                     -E2BIG);
}

static void test_bad_names(void **state)
{
    struct fixture *f = *state;
    static const char *const bad[] = {
        "", "a/b", ".", "kubelet.sock",
        "xxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxx"
        "xxxxxxxxxxxxxxxxxxxxxxxxxxxxxxx"};
    struct dv_kubelet_plugin *p = NULL;
    for (size_t i = 0; i < DV_ARRAY_SIZE(bad); i++) {
        struct dv_err err = {{0}};
        struct dv_kubelet_plugin_config config = {"nvidia.com/gpu", bad[i], &ops, f};
        assert_true(dv_kubelet_plugin_new(f->dir, &config, &p, &err) < 0);
        assert_true(err.msg[0]);
    }
}

static const char allocate_message[] = "\n\6\n\1a\n\1b"; /* one container: a, b */

static void test_calls(void **state)
{
    struct fixture *f = *state;
    start_kubelet(f);
    run_until(f, &f->registered, 1);
    ask_and_wait(f, "GetDevicePluginOptions", "", 0);
    assert_int_equal(f->answer_size, 4);
    assert_memory_equal(f->answer, "\10\1\20\1", 4);
    ask_and_wait(f, "Allocate", allocate_message, sizeof allocate_message - 1);
    assert_string_equal(f->asked, "allocate a b;");
    static const char allocated[] = "\nG"
                                    "\n\6\n\1A\22\1b"                    /* envs 1 */
                                    "\22\12\n\2/c\22\2/h\30\1"           /* mounts 2 */
                                    "\32\24\n\6/dev/c\22\6/dev/h\32\2rw" /* devices 3 */
                                    "\"\6\n\1k\22\1v"                    /* annotations 4 */
                                    "*\23\n\21divvy.dev/slice=1";        /* cdi_devices 5 */
    assert_int_equal(f->answer_size, sizeof allocated - 1);
    assert_memory_equal(f->answer, allocated, sizeof allocated - 1);
    static const char choice[] = "\n\13\n\1a\n\1b\22\1b\30\1";
    ask_and_wait(f, "GetPreferredAllocation", choice, sizeof choice - 1);
    assert_string_equal(f->asked, "of a b;must b;1");
    assert_int_equal(f->answer_size, 5);
    assert_memory_equal(f->answer, "\n\3\n\1b", 5);
    ask_and_wait(f, "PreStartContainer", "\n\1a", 3);
    assert_string_equal(f->asked, "start a;");
    assert_int_equal(f->status.code, DV_GRPC_OK);
    assert_int_equal(f->answer_size, 0);
    ask_and_wait(f, "Allocate", "\377\377\377", 3);
    assert_int_equal(f->status.code, DV_GRPC_INVALID_ARGUMENT);
    f->refuse = true;
    ask_and_wait(f, "Allocate", allocate_message, sizeof allocate_message - 1);
    assert_int_equal(f->status.code, DV_GRPC_INVALID_ARGUMENT);
    assert_string_equal(f->status.text, "gpu-0 is sick");
}

/* Answered later: after other calls, or when the kubelet or the plugin is gone. */
static void test_later(void **state)
{
    struct fixture *f = *state;
    start_kubelet(f);
    run_until(f, &f->registered, 1);
    f->keep = true;
    ask(f, "Allocate", allocate_message, sizeof allocate_message - 1);
    while (!f->kept)
        dv_loop_run(f->loop);
    ask_and_wait(f, "PreStartContainer", "\n\1a", 3);
    give(f->kept);
    run_until(f, &f->ends, 2);
    assert_int_equal(f->status.code, DV_GRPC_OK);
    f->kept = NULL;
    ask(f, "Allocate", allocate_message, sizeof allocate_message - 1);
    while (!f->kept)
        dv_loop_run(f->loop);
    /* The wrong number of answers is no answer. */
    dv_kubelet_plugin_allocated(f->kept, NULL, 0);
    run_until(f, &f->ends, 3);
    assert_int_equal(f->status.code, DV_GRPC_INTERNAL);
    f->kept = NULL;
    ask(f, "Allocate", allocate_message, sizeof allocate_message - 1);
    while (!f->kept)
        dv_loop_run(f->loop);
    dv_kubelet_plugin_free(f->plugin);
    f->plugin = NULL;
    run_until(f, &f->ends, 4);
    assert_int_equal(f->status.code, DV_GRPC_UNAVAILABLE);
    give(f->kept);
}

/* What a kubelet does that starts: it empties the directory and listens anew. */
static void test_kubelet_restarts(void **state)
{
    struct fixture *f = *state;
    run_until(f, &f->states[DV_KUBELET_WAITING], 1);
    start_kubelet(f);
    assert_int_equal(offer(f, "a", true), 0);
    for (int i = 1; i <= 5; i++) {
        run_until(f, &f->registered, i);
        watch(f);
        run_until(f, &f->lists, i);
        stop_kubelet(f);
        run_until(f, &f->states[DV_KUBELET_LOST], i);
        if (i % 2)
            assert_int_equal(unlink(f->plugin_path), 0);
        start_kubelet(f);
    }
    run_until(f, &f->registered, 6);
    turn(f, 30);
    assert_int_equal(f->registered, 6);
}

/* Somebody removes the socket alone. */
static void test_socket_removed(void **state)
{
    struct fixture *f = *state;
    run_until(f, &f->states[DV_KUBELET_WAITING], 1);
    start_kubelet(f);
    assert_int_equal(offer(f, "a", true), 0);
    run_until(f, &f->states[DV_KUBELET_REGISTERED], 1);
    watch(f);
    run_until(f, &f->lists, 1);
    assert_int_equal(unlink(f->plugin_path), 0);
    run_until(f, &f->registered, 2);
    run_until(f, &f->watch_ends, 1); /* the one that hung on the old socket */
    watch(f);
    run_until(f, &f->lists, 2);
}

/* The whole directory goes, and comes back. */
static void test_directory_removed(void **state)
{
    struct fixture *f = *state;
    start_kubelet(f);
    run_until(f, &f->states[DV_KUBELET_REGISTERED], 1);
    stop_kubelet(f);
    assert_int_equal(unlink(f->plugin_path), 0);
    assert_int_equal(rmdir(f->path), 0);
    run_until(f, &f->states[DV_KUBELET_WAITING], 1);
    assert_int_equal(mkdir(f->path, 0755), 0);
    start_kubelet(f);
    run_until(f, &f->registered, 2);
}

static void test_turned_away(void **state)
{
    struct fixture *f = *state;
    f->turn_away = true;
    start_kubelet(f);
    run_until(f, &f->states[DV_KUBELET_WAITING], 1);
    run_until(f, &f->registered, 3); /* it tries on, and says so once */
    while (!strstr(f->why, "not that name"))
        dv_loop_run(f->loop);
    assert_int_equal(f->states[DV_KUBELET_WAITING], 1);
    f->turn_away = false;
    run_until(f, &f->states[DV_KUBELET_REGISTERED], 1);
}

/* The kubelet's socket is made anew, as far as one can see, while it is being asked, and while it
 * watches: it is asked once. */
static void test_asked_once(void **state)
{
    struct fixture *f = *state;
    char aside[128];
    snprintf(aside, sizeof aside, "%s/aside", f->path);
    f->keep_waiting = true;
    start_kubelet(f);
    assert_int_equal(offer(f, "a", true), 0);
    run_until(f, &f->registered, 1);
    for (int i = 0; i < 2; i++) {
        assert_int_equal(rename(f->kubelet_path, aside), 0);
        assert_int_equal(rename(aside, f->kubelet_path), 0);
        turn(f, 50);
        if (i == 0) {
            dv_grpc_server_reply(f->waiting, NULL, 0);
            run_until(f, &f->states[DV_KUBELET_REGISTERED], 1);
            watch(f);
            run_until(f, &f->lists, 1);
        }
    }
    turn(f, 800);
    assert_int_equal(f->registered, 1);
    assert_int_equal(f->watch_ends, 0);
}

/* What a kubelet makes that starts is seen before the end of the connection to the one before. */
static void test_seen_before_the_end(void **state)
{
    struct fixture *f = *state;
    struct dv_loop_source *timer;
    char aside[128];
    snprintf(aside, sizeof aside, "%s/aside", f->path);
    start_kubelet(f);
    assert_int_equal(offer(f, "a", true), 0);
    run_until(f, &f->states[DV_KUBELET_REGISTERED], 1);
    watch(f);
    run_until(f, &f->lists, 1);
    assert_int_equal(rename(f->kubelet_path, aside), 0);
    assert_int_equal(rename(aside, f->kubelet_path), 0);
    turn(f, 50);
    dv_grpc_client_free(f->client);
    f->client = NULL;
    run_until(f, &f->states[DV_KUBELET_LOST], 1);
    assert_int_equal(dv_loop_timer(f->loop, 30000, 0, on_soon, f, &timer), 0);
    for (f->soon = 0; f->registered < 2 && !f->soon;)
        dv_loop_run(f->loop);
    assert_int_equal(f->registered, 2); /* not when who is lost for good is asked again */
    dv_loop_remove(timer);
}

/* It watches, and the connection of its answer breaks. */
static void test_watches_without_an_answer(void **state)
{
    struct fixture *f = *state;
    f->keep_waiting = true;
    start_kubelet(f);
    assert_int_equal(offer(f, "a", true), 0);
    run_until(f, &f->registered, 1);
    watch(f);
    run_until(f, &f->states[DV_KUBELET_WATCHED], 1);
    dv_grpc_server_fail(f->waiting, DV_GRPC_UNAVAILABLE, "not now");
    run_until(f, &f->states[DV_KUBELET_WAITING], 1);
    run_until(f, &f->states[DV_KUBELET_WATCHED], 2);
    assert_int_equal(f->registered, 1);
}

/* A kubelet that has lost its way with our socket is given another. */
static void test_stuck(void **state)
{
    struct fixture *f = *state;
    f->stuck = true;
    start_kubelet(f);
    run_until(f, &f->registered, 1);
    f->stuck = false;
    run_until(f, &f->states[DV_KUBELET_REGISTERED], 1);
    assert_non_null(memmem(f->last_register, f->last_register_size, "\22\12gpu.sock.1", 12));
    snprintf(f->plugin_path, sizeof f->plugin_path, "%s/gpu.sock.1", f->path);
    watch(f);
    run_until(f, &f->states[DV_KUBELET_WATCHED], 1);
}

/* A kubelet that takes its time: with its answer to Register, and then with its list, which it does
 * not read while the devices change a thousand times. It gets the last of them, and not all. */
static void test_slow(void **state)
{
    enum { DEVICES = 1000, CHANGES = 1000, LAST = 7 };
    static char ids[DEVICES][DV_KUBELET_ID_MAX + 1];
    static struct dv_kubelet_device devices[DEVICES];
    struct fixture *f = *state;
    struct dv_loop *own = f->loop;
    struct dv_err err = {{0}};
    for (int i = 0; i < DEVICES; i++) {
        snprintf(ids[i], sizeof ids[i], "GPU-00000000-0000-0000-0000-%012u", (unsigned)i % 1000);
        devices[i] = (struct dv_kubelet_device){.id = ids[i], .healthy = true};
    }
    f->keep_waiting = true;
    start_kubelet(f);
    run_until(f, &f->registered, 1);
    for (int i = 0; i < 5; i++) {
        assert_int_equal(dv_kubelet_plugin_offer(f->plugin, devices, (size_t)i + 1, &err), 0);
        turn(f, 100);
    }
    assert_int_equal(f->registered, 1); /* not asked again while it thinks */
    dv_grpc_server_reply(f->waiting, NULL, 0);
    run_until(f, &f->states[DV_KUBELET_REGISTERED], 1);
    /* Its side in a loop of its own, which does not turn by itself. */
    assert_int_equal(dv_loop_new(&f->loop), 0);
    struct dv_loop *far = f->loop;
    watch(f);
    turn(f, 50);
    f->loop = own;
    run_until(f, &f->states[DV_KUBELET_WATCHED], 1);
    for (int i = 0; i < CHANGES; i++) {
        devices[i % DEVICES].healthy = i % 2;
        assert_int_equal(dv_kubelet_plugin_offer(f->plugin, devices, DEVICES - i % 2, &err), 0);
        turn(f, 0);
    }
    assert_int_equal(dv_kubelet_plugin_offer(f->plugin, devices, LAST, &err), 0);
    for (int i = 0; i < 200 && (!f->lists || f->list_size > LAST * 60); i++) {
        f->loop = far;
        turn(f, 5);
        f->loop = own;
        turn(f, 5);
    }
    assert_in_range(f->list_size, LAST * 50, LAST * 60); /* a device is 53 or 55 bytes */
    assert_in_range(f->lists, 1, CHANGES / 10);
    dv_grpc_client_free(f->client);
    f->client = NULL;
    dv_loop_free(far);
}

/* It finds two Registers of ours at once: it answers the second so although it watches. */
static void test_stuck_while_it_watches(void **state)
{
    struct fixture *f = *state;
    f->keep_waiting = true;
    start_kubelet(f);
    assert_int_equal(offer(f, "a", true), 0);
    run_until(f, &f->registered, 1);
    watch(f);
    run_until(f, &f->lists, 1);
    f->keep_waiting = false;
    dv_grpc_server_fail(f->waiting, DV_GRPC_UNKNOWN, "device plugin already connected: gpu.sock");
    run_until(f, &f->states[DV_KUBELET_REGISTERED], 1);
    assert_non_null(memmem(f->last_register, f->last_register_size, "\22\12gpu.sock.1", 12));
    assert_int_equal(f->states[DV_KUBELET_LOST], 0);
    dv_grpc_client_free(f->client);
    f->client = NULL;
    snprintf(f->plugin_path, sizeof f->plugin_path, "%s/gpu.sock.1", f->path);
    watch(f);
    run_until(f, &f->lists, 2);
}

/* A plugin goes while the kubelet thinks about it; who comes next has a socket of its own, until
 * there is another kubelet. */
static void test_cut_off(void **state)
{
    struct fixture *f = *state;
    f->keep_waiting = true;
    start_kubelet(f);
    run_until(f, &f->registered, 1);
    for (int i = 0; i < 2; i++) {
        dv_kubelet_plugin_free(f->plugin);
        new_plugin(f);
        run_until(f, &f->registered, 2 + i);
        const char *wanted[] = {"\22\12gpu.sock.1", "\22\12gpu.sock.2"};
        assert_non_null(memmem(f->last_register, f->last_register_size, wanted[i], 12));
    }
    stop_kubelet(f);
    dv_kubelet_plugin_free(f->plugin);
    f->keep_waiting = false;
    f->registered = 0;
    f->plugin = NULL;
    start_kubelet(f);
    turn(f, 50); /* it is seen */
    new_plugin(f);
    run_until(f, &f->registered, 1);
    assert_non_null(memmem(f->last_register, f->last_register_size, "\22\10gpu.sock", 10));
}

static void test_free_in_state(void **state)
{
    struct fixture *f = *state;
    f->free_in_state = true;
    start_kubelet(f);
    while (f->plugin)
        dv_loop_run(f->loop);
}

/* Several plugins share the watch. */
static void test_many_plugins(void **state)
{
    struct fixture *f = *state;
    struct dv_kubelet_plugin *more[40];
    for (size_t i = 0; i < DV_ARRAY_SIZE(more); i++) {
        char endpoint[32];
        struct dv_err err = {{0}};
        snprintf(endpoint, sizeof endpoint, "p%zu.sock", i);
        struct dv_kubelet_plugin_config config = {"nvidia.com/mig-1g.10gb", endpoint, &ops, f};
        assert_int_equal(dv_kubelet_plugin_new(f->dir, &config, &more[i], &err), 0);
    }
    start_kubelet(f);
    run_until(f, &f->registered, 41);
    turn(f, 50);
    assert_int_equal(f->registered, 41); /* also those that began just before the kubelet did */
    f->registered = 0;
    stop_kubelet(f);
    start_kubelet(f);
    run_until(f, &f->registered, 41);
    for (size_t i = 0; i < DV_ARRAY_SIZE(more); i++)
        dv_kubelet_plugin_free(more[i]);
}

int main(void)
{
#define T(name) cmocka_unit_test_setup_teardown(name, set_up, tear_down)
    const struct CMUnitTest tests[] = {
        T(test_registers),
        T(test_list_changes),
        T(test_thousand_devices),
        T(test_bad_offers),
        T(test_bad_names),
        T(test_calls),
        T(test_later),
        T(test_kubelet_restarts),
        T(test_socket_removed),
        T(test_directory_removed),
        T(test_turned_away),
        T(test_seen_before_the_end),
        T(test_watches_without_an_answer),
        T(test_asked_once),
        T(test_stuck),
        T(test_stuck_while_it_watches),
        T(test_slow),
        T(test_cut_off),
        T(test_free_in_state),
        T(test_many_plugins),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
