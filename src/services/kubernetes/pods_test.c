/* SPDX-License-Identifier: Apache-2.0 */
#include "kubernetes/pods.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#include <cmocka.h>

#define UID "0c7f3c2e-6d7a-4f0e-9d3b-2f1f0f6d7a11"
#define STATIC_UID "7b8f1c9d0e2a4b6c8d0e1f2a3b4c5d6e"
#define ID "4f1d7a0c1e7a4a1fbc9d8f6e5d4c3b2a4f1d7a0c1e7a4a1fbc9d8f6e5d4c3b2a"
#define OTHER "aaaaaaaa1e7a4a1fbc9d8f6e5d4c3b2a4f1d7a0c1e7a4a1fbc9d8f6e5d4c3b2a"

static struct dv_pods *pods;

static int setup(void **state)
{
    return dv_pods_new(NULL, "n1", &pods);
}

static int teardown(void **state)
{
    dv_pods_free(pods);
    return 0;
}

static void tell(enum dv_kube_change change, const char *namespace, const char *name,
                 const char *uid, const char *container, const char *id)
{
    const struct dv_kube_container c = {.name = container, .id = id};
    const struct dv_kube_pod pod = {
        .namespace = namespace, .name = name, .uid = uid, .n_containers = 1, .containers = &c};
    dv_pods_change(pods, change, &pod);
}

static const struct dv_workload *in_pod(const char *uid, const char *id)
{
    char text[512];
    snprintf(text, sizeof text, "0::/kubepods/burstable/pod%s/%s\n", uid, id);
    return dv_pods_in_cgroup(pods, text);
}

static void test_a_container_is_known_by_its_id(void **state)
{
    tell(DV_KUBE_ADDED, "team-a", "train-0", UID, "main", "");
    const struct dv_workload *w = in_pod(UID, ID); /* before the server knows the id */
    assert_non_null(w);
    assert_string_equal(w->pod, "train-0");
    assert_string_equal(w->container, "");
    tell(DV_KUBE_MODIFIED, "team-a", "train-0", UID, "main", ID);
    w = in_pod(UID, ID);
    assert_string_equal(w->container, "main");
    assert_string_equal(w->namespace, "team-a");
    assert_string_equal(w->container_id, ID);
    assert_string_equal(in_pod(UID, OTHER)->container, ""); /* of the pod, since restarted */
    dv_pods_change(pods, DV_KUBE_SYNCED, NULL);
    assert_non_null(in_pod(UID, ID));
    tell(DV_KUBE_DELETED, "team-a", "train-0", UID, "", "");
    assert_null(in_pod(UID, ID));
}

/* The kubelet's own pods have another uid at the server than in the cgroup. */
static void test_a_static_pod(void **state)
{
    tell(DV_KUBE_ADDED, "kube-system", "exporter-n1", UID, "main", ID);
    assert_string_equal(in_pod(STATIC_UID, ID)->pod, "exporter-n1");
    assert_null(in_pod(STATIC_UID, OTHER));
}

static void test_what_is_no_pods(void **state)
{
    tell(DV_KUBE_ADDED, "team-a", "train-0", UID, "main", ID);
    assert_null(dv_pods_in_cgroup(pods, "0::/system.slice/ssh.service\n"));
    assert_null(dv_pods_in_cgroup(pods, ""));
    assert_null(dv_pods_in_cgroup(pods, "0::/docker/" OTHER "\n"));
    assert_null(dv_pods_of(NULL, 1));
    assert_null(dv_pods_of(pods, -1));
}

/* Names that no tenant can have, or that do not fit, are passed over; so is the 8193rd. */
static void test_bounds(void **state)
{
    char name[400];
    memset(name, 'x', sizeof name - 1);
    name[sizeof name - 1] = 0;
    tell(DV_KUBE_ADDED, "team-a", name, UID, "main", ID);
    assert_null(in_pod(UID, ID));
    tell(DV_KUBE_ADDED, "@outside", "p", UID, "main", ID);
    assert_null(in_pod(UID, ID));
    for (unsigned i = 0; i < DV_PODS_MAX; i++) {
        char uid[40];
        snprintf(uid, sizeof uid, "%08x-0000-4000-8000-000000000000", i);
        tell(DV_KUBE_ADDED, "team-a", "p", uid, "main", "");
    }
    assert_non_null(in_pod("00000000-0000-4000-8000-000000000000", ID));
    tell(DV_KUBE_ADDED, "team-a", "late", UID, "main", ID);
    assert_null(in_pod(UID, ID));
    tell(DV_KUBE_DELETED, "", "", "00000000-0000-4000-8000-000000000000", "", "");
    tell(DV_KUBE_MODIFIED, "team-a", "late", UID, "main", ID);
    assert_string_equal(in_pod(UID, ID)->pod, "late");
}

#define T(f) cmocka_unit_test_setup_teardown(f, setup, teardown)

/* The kubelet may list a pod that has ended until its object goes. */
static void test_a_pod_that_has_finished(void **state)
{
    bool finished = true;
    struct dv_kube_pod pod = {.namespace = "team-a", .name = "job", .uid = UID, .phase = "Running"};
    assert_null(dv_pods_find(pods, "team-a", "job", &finished));
    assert_null(dv_pods_find(NULL, "team-a", "job", &finished));
    dv_pods_change(pods, DV_KUBE_ADDED, &pod);
    assert_string_equal(dv_pods_find(pods, "team-a", "job", &finished)->pod_uid, UID);
    assert_false(finished);
    assert_null(dv_pods_find(pods, "team-b", "job", &finished));
    pod.phase = "Succeeded";
    dv_pods_change(pods, DV_KUBE_MODIFIED, &pod);
    assert_non_null(dv_pods_find(pods, "team-a", "job", &finished));
    assert_true(finished);
}

int main(void)
{
    const struct CMUnitTest tests[] = {T(test_a_container_is_known_by_its_id), T(test_a_static_pod),
                                       T(test_what_is_no_pods), T(test_bounds),
                                       T(test_a_pod_that_has_finished)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
