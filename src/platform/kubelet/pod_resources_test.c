/* SPDX-License-Identifier: Apache-2.0 */
#include "grpc/server.h"
#include "kubelet/messages.h"
#include "kubelet/pod_resources.h"

#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <cmocka.h>

struct fixture {
    struct dv_loop *loop;
    struct dv_loop_source *guard;
    struct dv_grpc_server *kubelet;
    struct dv_kubelet_pod_resources *client;
    const char *answer;
    size_t answer_size;
    struct dv_grpc_call *kept;
    bool keep, refuse, free_client;
    int called, r;
    char said[256];
    char dir[64], path[96];
};

static void on_list(void *arg, struct dv_grpc_call *call, const uint8_t *message, size_t size)
{
    struct fixture *f = arg;
    assert_int_equal(size, 0);
    if (f->keep)
        f->kept = call;
    else if (f->refuse)
        dv_grpc_server_fail(call, DV_GRPC_UNAUTHENTICATED, "who are you?");
    else
        dv_grpc_server_reply(call, f->answer, f->answer_size);
}

static const struct dv_grpc_method methods[] = {{"/v1.PodResourcesLister/List", on_list}};

static void on_rows(void *arg, int r, const struct dv_kubelet_held *rows, size_t count,
                    const struct dv_err *err)
{
    struct fixture *f = arg;
    f->called++;
    f->r = r;
    size_t n = (size_t)snprintf(f->said, sizeof f->said, "%s", r < 0 ? err->msg : "");
    for (size_t i = 0; i < count; i++) {
        n +=
            (size_t)snprintf(f->said + n, sizeof f->said - n, "%s/%s/%s %s:", rows[i].pod_namespace,
                             rows[i].pod, rows[i].container, rows[i].resource);
        for (size_t j = 0; j < rows[i].id_count; j++)
            n += (size_t)snprintf(f->said + n, sizeof f->said - n, " %s", rows[i].ids[j]);
        n += (size_t)snprintf(f->said + n, sizeof f->said - n, ";");
    }
    if (f->free_client) {
        dv_kubelet_pod_resources_free(f->client);
        f->client = NULL;
    }
    dv_loop_stop(f->loop);
}

static void on_guard(void *arg)
{
    fail_msg("nothing happened for 20 seconds");
}

static int set_up(void **state)
{
    struct fixture *f = calloc(1, sizeof *f);
    struct dv_err err = {{0}};
    strcpy(f->dir, "/tmp/divvy-pods-XXXXXX");
    assert_non_null(mkdtemp(f->dir));
    snprintf(f->path, sizeof f->path, "%s/kubelet.sock", f->dir);
    assert_int_equal(dv_loop_new(&f->loop), 0);
    assert_int_equal(dv_loop_timer(f->loop, 20000, 0, on_guard, f, &f->guard), 0);
    assert_int_equal(dv_grpc_server_new(f->loop, f->path, methods, 1, f, &f->kubelet, &err), 0);
    assert_int_equal(dv_kubelet_pod_resources_new(f->loop, f->path, &f->client, &err), 0);
    *state = f;
    return 0;
}

static int tear_down(void **state)
{
    struct fixture *f = *state;
    dv_kubelet_pod_resources_free(f->client);
    dv_grpc_server_free(f->kubelet);
    if (f->kept)
        dv_grpc_server_finish(f->kept);
    dv_loop_free(f->loop);
    assert_int_equal(rmdir(f->dir), 0);
    free(f);
    return 0;
}

static int list(struct fixture *f, uint64_t timeout_ms)
{
    struct dv_err err = {{0}};
    int r = dv_kubelet_pod_resources_list(f->client, timeout_ms, on_rows, f, &err);
    if (r < 0)
        return r;
    for (int before = f->called; f->called == before;)
        dv_loop_run(f->loop);
    return f->r;
}

/* Fields that nobody reads (cpu_ids 3 of a container, 9 of the pod) are skipped. */
static const char answer[] = "\nQ"
                             "\n\1p"   /* name 1 */
                             "\22\2ns" /* namespace 2 */
                             "\32>"    /* containers 3 */
                             "\n\1c"
                             "\22\27\n\16nvidia.com/gpu\22\1a\22\2bc"
                             "\22\27\n\16nvidia.com/gpu\22\1d\22\2ef"
                             "\32\7\1\2\3\4\5\6\7"
                             "J\10xxxxxxxx"
                             "\n\3\n\1q"; /* a pod with nothing */

static void test_list(void **state)
{
    struct fixture *f = *state;
    f->answer = answer;
    f->answer_size = sizeof answer - 1;
    for (int i = 0; i < 3; i++) {
        assert_int_equal(list(f, 5000), 0);
        assert_string_equal(f->said, "ns/p/c nvidia.com/gpu: a bc;ns/p/c nvidia.com/gpu: d ef;");
    }
    f->answer_size = 0; /* no pod at all */
    assert_int_equal(list(f, 0), 0);
    assert_string_equal(f->said, "");
    f->answer_size = 20; /* cut off */
    assert_int_equal(list(f, 0), -EBADMSG);
    assert_true(f->said[0]);
}

static void test_troubles(void **state)
{
    struct fixture *f = *state;
    struct dv_err err = {{0}};
    f->refuse = true;
    assert_int_equal(list(f, 5000), -EPROTO);
    assert_string_equal(f->said, "pod resources: UNAUTHENTICATED: who are you?");
    f->keep = true;
    assert_int_equal(list(f, 500), -ETIMEDOUT); /* by then the kubelet has it */
    assert_non_null(strstr(f->said, "no answer in time"));
    dv_grpc_server_finish(f->kept);
    f->kept = NULL;
    assert_int_equal(dv_kubelet_pod_resources_list(f->client, 5000, on_rows, f, &err), 0);
    assert_int_equal(dv_kubelet_pod_resources_list(f->client, 5000, on_rows, f, &err), -EBUSY);
    dv_grpc_server_free(f->kubelet);
    f->kubelet = NULL;
    while (f->called < 3)
        dv_loop_run(f->loop);
    assert_int_equal(f->r, -ECONNRESET);
    assert_int_equal(list(f, 5000), -ENOENT);
}

static void test_free_in_callback(void **state)
{
    struct fixture *f = *state;
    f->answer = answer;
    f->answer_size = sizeof answer - 1;
    f->free_client = true;
    assert_int_equal(list(f, 5000), 0);
    assert_null(f->client);
}

/* Two bytes on the wire become a message in memory: there is an end to it. */
static void test_memory_bounded(void **state)
{
    size_t size = 16u << 20;
    uint8_t *bytes = malloc(size);
    struct dv_kubelet_pods pods;
    for (size_t i = 0; i < size; i += 2) {
        bytes[i] = '\n';
        bytes[i + 1] = 0;
    }
    assert_int_equal(dv_kubelet_messages_read_pods(bytes, size, &pods), -EBADMSG);
    assert_int_equal(dv_kubelet_messages_read_pods(bytes, 2000, &pods), 0);
    dv_kubelet_messages_pods_done(&pods);
    free(bytes);
}

int main(void)
{
#define T(name) cmocka_unit_test_setup_teardown(name, set_up, tear_down)
    const struct CMUnitTest tests[] = {
        T(test_list),
        T(test_troubles),
        T(test_free_in_callback),
        cmocka_unit_test(test_memory_bounded),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
