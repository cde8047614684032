/* SPDX-License-Identifier: Apache-2.0 */
#include "kubernetes/container_request.h"

#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#define STATE(annotations)                                                                         \
    "\"state\":{\"ociVersion\":\"1.0.2\",\"id\":\"c0ffee\",\"status\":\"created\",\"pid\":4711,"   \
    "\"bundle\":\"/run/b\",\"annotations\":" annotations "}"
#define BODY(rest) "{\"resource\":\"nvidia.com/gpu\",\"devices\":[\"GPU-1\"]," rest "}"

static struct dv_container_request good(const char *body)
{
    struct dv_container_request q;
    struct dv_err err = {0};
    if (dv_container_request_parse(body, strlen(body), &q, &err) < 0)
        fail_msg("%s: %s", body, err.msg);
    return q;
}

static void bad(const char *body, const char *message)
{
    struct dv_container_request q;
    struct dv_err err = {0};
    assert_int_equal(dv_container_request_parse(body, strlen(body), &q, &err), -EINVAL);
    if (!strstr(err.msg, message))
        fail_msg("%s: said \"%s\", not \"%s\"", body, err.msg, message);
}

static void test_containerd(void **state)
{
    struct dv_container_request q =
        good(BODY(STATE("{\"io.kubernetes.cri.sandbox-namespace\":\"team-a\","
                        "\"io.kubernetes.cri.sandbox-name\":\"train-0\","
                        "\"io.kubernetes.cri.sandbox-uid\":\"3f2a9b6c\","
                        "\"io.kubernetes.cri.container-name\":\"main\","
                        "\"io.kubernetes.cri.container-type\":\"container\","
                        "\"divvy.dev/tenant\":\"root\"}")));
    assert_string_equal(q.tenant, "team-a"); /* whatever the pod's own annotations say */
    assert_string_equal(q.workload.namespace, "team-a");
    assert_string_equal(q.workload.pod, "train-0");
    assert_string_equal(q.workload.pod_uid, "3f2a9b6c");
    assert_string_equal(q.workload.container, "main");
    assert_string_equal(q.workload.container_id, "c0ffee");
    assert_int_equal(q.pid, 4711);
    assert_int_equal(q.n_devices, 1);
    assert_string_equal(q.devices[0], "GPU-1");
    assert_false(q.explicit_mode);
    dv_container_request_done(&q);
}

static void test_crio_and_neither(void **state)
{
    struct dv_container_request q =
        good(BODY(STATE("{\"io.kubernetes.pod.namespace\":\"b\",\"io.kubernetes.pod.name\":\"p\","
                        "\"io.kubernetes.pod.uid\":\"u\",\"io.kubernetes.container.name\":\"c\","
                        "\"io.kubernetes.cri-o.ContainerType\":\"container\"}")));
    assert_string_equal(q.tenant, "b");
    assert_string_equal(q.workload.container, "c");
    dv_container_request_done(&q);
    q = good(BODY(STATE("{\"divvy.dev/tenant\":\"ann\"}")));
    assert_string_equal(q.tenant, "ann");
    assert_string_equal(q.workload.pod, "");
    dv_container_request_done(&q);
    q = good(BODY(STATE("{}")));
    assert_string_equal(q.tenant, "container");
    dv_container_request_done(&q);
    q = good(BODY(STATE("null")));
    dv_container_request_done(&q);
}

static void test_sizes(void **state)
{
    struct dv_container_request q =
        good("{\"resource\":\"r\",\"devices\":[\"a\",\"b\"],\"mode\":\"governed\","
             "\"memory_bytes\":1024,\"compute\":1750," STATE("{}") "}");
    assert_true(q.explicit_mode);
    assert_int_equal(q.mode, DV_MODE_GOVERNED);
    assert_int_equal(q.memory_bytes, 1024);
    assert_int_equal(q.compute, 1750);
    assert_int_equal(q.n_devices, 2);
    dv_container_request_done(&q);
    bad(BODY("\"compute\":7," STATE("{}")), "need a mode");
    bad(BODY("\"mode\":\"some\"," STATE("{}")), "mode");
    bad(BODY("\"mode\":\"governed\",\"compute\":7001," STATE("{}")), "compute");
}

static void test_what_is_wrong(void **state)
{
    bad("{}", "resource");
    bad("[]", "object");
    bad("{\"resource\":\"r\",\"device\":[]}", "did you mean 'devices'");
    bad("{\"resource\":\"r\",\"devices\":[]," STATE("{}") "}", "1 to 1024");
    bad("{\"resource\":\"r\",\"devices\":\"GPU-1\"," STATE("{}") "}", "1 to 1024");
    bad("{\"resource\":\"r\",\"devices\":[1]," STATE("{}") "}", "printable");
    bad("{\"resource\":\"r\",\"devices\":[\"a b\"]," STATE("{}") "}", "printable");
    bad("{\"resource\":\"r\",\"devices\":[\"a\\u0000b\"]," STATE("{}") "}", "printable");
    bad("{\"resource\":\"r\",\"devices\":[\"a\",\"b\",\"a\"]," STATE("{}") "}", "a is named twice");
    bad("{\"resource\":\"r r\",\"devices\":[\"a\"]," STATE("{}") "}", "resource");
    bad(BODY("\"state\":1"), "OCI state");
    bad(BODY("\"state\":{\"pid\":4711}"), "no id");
    bad(BODY("\"state\":{\"id\":\"x\"}"), "createRuntime");
    bad(BODY("\"state\":{\"id\":\"x\",\"pid\":1}"), "createRuntime");
    bad(BODY("\"state\":{\"id\":\"x\",\"pid\":99999999}"), "pid");
    bad(BODY("\"state\":{\"id\":\"x\",\"pid\":9,\"annotations\":[]}"), "annotations");
    bad(BODY(STATE("{\"io.kubernetes.cri.sandbox-namespace\":7}")), "must be a string");
    bad(BODY(STATE("{\"io.kubernetes.cri.sandbox-name\":\"a\\u001bb\"}")), "control");
    bad(BODY(STATE("{\"io.kubernetes.cri.container-type\":\"sandbox\"}")), "pod's sandbox");
    bad(BODY(STATE("{\"divvy.dev/tenant\":\"-a\"}")), "tenant");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_containerd),
        cmocka_unit_test(test_crio_and_neither),
        cmocka_unit_test(test_sizes),
        cmocka_unit_test(test_what_is_wrong),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
