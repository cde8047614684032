/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Memory runs out at the first, the second, the third... allocation, ours or protobuf-c's, while
 * each message is written and read. Each time it is -ENOMEM, nothing is handed out, and nothing
 * leaks (which the address sanitizer sees).
 */
#include "base/testing/oom.h"
#include "kubelet/messages.h"

#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

static int write_one(int which, struct dv_kubelet_bytes *ret)
{
    static const char *const ids[] = {"a", "b"};
    static const int64_t numa[] = {0, 1};
    static const struct dv_kubelet_pair pairs[] = {{"A", "b"}, {"C", NULL}};
    static const struct dv_kubelet_mount mounts[] = {{"/c", "/h", true}};
    static const struct dv_kubelet_device_node nodes[] = {{"/dev/c", "/dev/h", "rw"}};
    const struct dv_kubelet_device devices[] = {{"a", numa, 2, true}, {"b", NULL, 0, false}};
    const struct dv_kubelet_ids lists[] = {{ids, 2}, {NULL, 0}};
    const struct dv_kubelet_container container = {pairs, 2,     mounts, 1,       nodes,
                                                   1,     pairs, 2,      {ids, 2}};
    switch (which) {
    case 0:
        return dv_kubelet_messages_options(true, false, ret);
    case 1:
        return dv_kubelet_messages_register("a.sock", "nvidia.com/gpu", true, true, ret);
    case 2:
        return dv_kubelet_messages_devices(devices, 2, ret);
    case 3:
        return dv_kubelet_messages_allocated(&container, 1, ret);
    default:
        return dv_kubelet_messages_preferred(lists, 2, ret);
    }
}

static void test_write(void **state)
{
    for (int which = 0; which < 5; which++) {
        size_t n = 0;
        do {
            struct dv_kubelet_bytes bytes = {0};
            dv_oom_at(++n);
            int r = write_one(which, &bytes);
            bool met = dv_oom_end();
            assert_int_equal(r, met ? -ENOMEM : 0);
            assert_int_equal(!bytes.data, met);
            free(bytes.data);
        } while (dv_oom_met());
        assert_true(n > 1);
    }
}

static int read_one(int which, struct dv_kubelet_request *request, struct dv_kubelet_pods *pods)
{
    static const char allocate[] = "\n\6\n\1a\n\1b", choice[] = "\n\13\n\1a\n\1b\22\1b\30\1",
                      start[] = "\n\1a\n\1b",
                      list[] = "\n\26\n\1p\22\2ns\32\15\n\1c\22\10"
                               "\n\1r\22\1a\30\1";
    switch (which) {
    case 0:
        return dv_kubelet_messages_read_allocate(allocate, sizeof allocate - 1, request);
    case 1:
        return dv_kubelet_messages_read_prefer(choice, sizeof choice - 1, request);
    case 2:
        return dv_kubelet_messages_read_pre_start(start, sizeof start - 1, request);
    default:
        return dv_kubelet_messages_read_pods(list, sizeof list - 1, pods);
    }
}

static void test_read(void **state)
{
    for (int which = 0; which < 4; which++) {
        size_t n = 0;
        do {
            struct dv_kubelet_request request = {0};
            struct dv_kubelet_pods pods = {0};
            dv_oom_at(++n);
            int r = read_one(which, &request, &pods);
            bool met = dv_oom_end();
            assert_int_equal(r, met ? -ENOMEM : 0);
            assert_int_equal(!request.message && !pods.message, met);
            dv_kubelet_messages_request_done(&request);
            dv_kubelet_messages_pods_done(&pods);
        } while (dv_oom_met());
        assert_true(n > 3);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(test_write), cmocka_unit_test(test_read)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
