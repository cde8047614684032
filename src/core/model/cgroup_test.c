/* SPDX-License-Identifier: Apache-2.0 */
#include "model/cgroup.h"

#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#include <cmocka.h>

#define ID "0123456789abcdef0123456789abcdef0123456789abcdef0123456789abcdef"
#define ID2 "fedcba9876543210fedcba9876543210fedcba9876543210fedcba9876543210"
#define UID "3f2a9b6c-1111-4222-8333-0123456789ab"
#define UID_ "3f2a9b6c_1111_4222_8333_0123456789ab"
#define HASH "0123456789abcdef0123456789abcdef"

static void test_containers_by_driver_and_runtime(void **state)
{
    static const struct {
        const char *path, *id, *pod;
        enum dv_cgroup_runtime runtime;
    } cases[] = {
        /* systemd driver */
        {"/kubepods.slice/kubepods-burstable.slice/kubepods-burstable-pod" UID_
         ".slice/cri-containerd-" ID ".scope",
         ID, UID, DV_CGROUP_CONTAINERD},
        {"/kubepods.slice/kubepods-pod" UID_ ".slice/crio-" ID ".scope", ID, UID, DV_CGROUP_CRIO},
        {"/kubepods.slice/kubepods-besteffort.slice/kubepods-besteffort-pod" UID_
         ".slice/docker-" ID ".scope",
         ID, UID, DV_CGROUP_DOCKER},
        {"/kubepods.slice/kubepods-pod" HASH ".slice/cri-containerd-" ID ".scope", ID, HASH,
         DV_CGROUP_CONTAINERD},
        /* a container that has groups of its own: systemd, CRI-O's and Podman's "container" */
        {"/kubepods.slice/kubepods-pod" UID_ ".slice/crio-" ID ".scope/container", ID, UID,
         DV_CGROUP_CRIO},
        {"/machine.slice/libpod-" ID ".scope/container", ID, "", DV_CGROUP_PODMAN},
        {"/system.slice/docker-" ID ".scope/init.scope", ID, "", DV_CGROUP_DOCKER},
        /* cgroupfs driver */
        {"/kubepods/burstable/pod" UID "/" ID, ID, UID, DV_CGROUP_UNKNOWN},
        {"/kubepods/pod" UID "/" ID, ID, UID, DV_CGROUP_UNKNOWN},
        {"/kubepods/besteffort/pod" UID "/crio-" ID, ID, UID, DV_CGROUP_CRIO},
        {"/docker/" ID, ID, "", DV_CGROUP_UNKNOWN},
        /* a node in a container, with a kubelet that has a group of its own */
        {"/docker/" ID2 "/kubelet/kubepods/besteffort/pod" UID "/" ID, ID, UID, DV_CGROUP_UNKNOWN},
        {"/system.slice/docker-" ID2 ".scope/kubelet.slice/kubelet-kubepods.slice/"
         "kubelet-kubepods-burstable.slice/kubelet-kubepods-burstable-pod" UID_
         ".slice/cri-containerd-" ID ".scope",
         ID, UID, DV_CGROUP_CONTAINERD},
        /* Docker inside of a pod's container: it is the inner one's, and of that pod */
        {"/kubepods.slice/kubepods-pod" UID_ ".slice/cri-containerd-" ID2 ".scope/docker/" ID, ID,
         UID, DV_CGROUP_UNKNOWN},
        /* the two drivers at odds */
        {"/system.slice/containerd.service/kubepods-burstable-pod" UID_ ".slice:cri-containerd:" ID,
         ID, UID, DV_CGROUP_CONTAINERD},
        /* seen from inside of a cgroup namespace */
        {"/../../pod" UID "/" ID, ID, UID, DV_CGROUP_UNKNOWN},
        {"/" ID "/", ID, "", DV_CGROUP_UNKNOWN},
    };
    for (size_t i = 0; i < DV_ARRAY_SIZE(cases); i++) {
        struct dv_cgroup_container c;
        if (!dv_cgroup_parse(cases[i].path, &c))
            fail_msg("%s: no container", cases[i].path);
        assert_string_equal(c.id, cases[i].id);
        assert_string_equal(c.pod_uid, cases[i].pod);
        if (c.runtime != cases[i].runtime)
            fail_msg("%s: %s", cases[i].path, dv_cgroup_runtime_name(c.runtime));
    }
}

static void test_no_containers(void **state)
{
    static const char *const paths[] = {
        "",
        "/",
        "//",
        "/user.slice/user-1000.slice/session-2.scope",
        "/system.slice/containerd.service",
        "/kubepods.slice/kubepods-pod" UID_ ".slice",
        "/kubepods/pod" UID,
        "/docker/0123456789abcdef",
        "/docker/" ID "0",
        "/docker/0123456789ABCDEF0123456789ABCDEF0123456789ABCDEF0123456789ABCDEF",
        "/system.slice/crio-conmon-" ID ".scope",
        "/a:cri-containerd:",
    };
    struct dv_cgroup_container c = {.id = "kept"};
    for (size_t i = 0; i < DV_ARRAY_SIZE(paths); i++)
        if (dv_cgroup_parse(paths[i], &c))
            fail_msg("%s: container %s", paths[i], c.id);
    assert_string_equal(c.id, "kept");
    assert_true(dv_cgroup_parse("/kubepods/podnonsense/" ID, &c));
    assert_string_equal(c.pod_uid, "");
}

static void test_texts_of_processes(void **state)
{
    static const char v1[] = "12:memory:/kubepods/pod" UID "/" ID "\n"
                             "3:cpu,cpuacct:/kubepods/pod" UID "/" ID "\n"
                             "1:name=systemd:/\n"
                             "0::/system.slice/containerd.service\n";
    static const char v2[] =
        "0::/kubepods.slice/kubepods-pod" UID_ ".slice/cri-containerd-" ID ".scope\n";
    struct dv_cgroup_container c;
    assert_true(dv_cgroup_find(v1, &c));
    assert_string_equal(c.id, ID);
    assert_true(dv_cgroup_find(v2, &c));
    assert_int_equal(c.runtime, DV_CGROUP_CONTAINERD);
    assert_false(dv_cgroup_find("0::/\n", &c));
    assert_false(dv_cgroup_find("", &c));
    assert_false(dv_cgroup_find("nonsense\n0:\n:::\n0::relative/" ID "\n", &c));
}

static void test_the_group_of_a_container(void **state)
{
    char group[DV_CGROUP_GROUP_SIZE];
    static const char v2[] = "0::/a/cri-containerd-" ID ".scope\n";
    assert_int_equal(dv_cgroup_of(v2, ID, group), 0);
    assert_string_equal(group, ":/a/cri-containerd-" ID ".scope");
    assert_true(dv_cgroup_is_within(v2, group));
    assert_true(dv_cgroup_is_within("0::/a/cri-containerd-" ID ".scope/sub/deep\n", group));
    assert_false(dv_cgroup_is_within("0::/a/cri-containerd-" ID ".scopes\n", group));
    assert_false(dv_cgroup_is_within("0::/a\n", group));
    assert_false(dv_cgroup_is_within("2:cpu:/a/cri-containerd-" ID ".scope\n", group));
    assert_false(dv_cgroup_is_within("", group));

    /* A container's own groups below, whatever they are called, change nothing. */
    assert_int_equal(dv_cgroup_of("0::/box/sub/box\n", "box", group), 0);
    assert_string_equal(group, ":/box");
    static const char v1[] = "9:name=systemd:/\n4:memory:/top/box\n0::/\n";
    assert_int_equal(dv_cgroup_of(v1, "box", group), 0);
    assert_string_equal(group, "memory:/top/box");
    assert_true(dv_cgroup_is_within("0::/\n4:memory:/top/box/x\n", group));
    assert_false(dv_cgroup_is_within("0::/\n4:memory:/top/boxer\n", group));
    /* Who can make groups in his own container does not get into another's. */
    assert_false(dv_cgroup_is_within("4:memory:/top/mine/top/box\n", group));

    /* A group shared with others is nobody's. */
    assert_int_equal(dv_cgroup_of("0::/user.slice/session-2.scope\n", "box", group), -ENOENT);
    assert_int_equal(dv_cgroup_of("0::/\n", "box", group), -ENOENT);
    assert_int_equal(dv_cgroup_of("0::/sandbox\n", "box", group), -ENOENT);
    assert_int_equal(dv_cgroup_of(v1, "", group), -ENOENT);
    assert_false(dv_cgroup_is_within(v1, ""));
    assert_false(dv_cgroup_is_within(v1, "memory:"));
    char longer[DV_CGROUP_GROUP_SIZE + 64];
    snprintf(longer, sizeof longer, "0::/%0*d/box\n", DV_CGROUP_GROUP_SIZE, 0);
    assert_int_equal(dv_cgroup_of(longer, "box", group), -ENAMETOOLONG);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_containers_by_driver_and_runtime),
        cmocka_unit_test(test_no_containers),
        cmocka_unit_test(test_texts_of_processes),
        cmocka_unit_test(test_the_group_of_a_container),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
