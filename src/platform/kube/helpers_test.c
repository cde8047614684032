/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The helpers, against the fake API server, or against a real one: DIVVY_TEST_KUBECONFIG names a
 * kubeconfig of an administrator. Makes and removes objects whose names begin with
 * "divvy-live-test". No kubelet is needed.
 */
#include "kube/client.h"
#include "kube/event.h"
#include "kube/json.h"
#include "kube/node.h"
#include "kube/object.h"
#include "kube/pod.h"
#include "kube/testing/fake_api.h"
#include "kube/watch.h"

#include <errno.h>
#include <json-c/json.h>
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include <cmocka.h>

#define NODE "divvy-live-test"
#define NS "/api/v1/namespaces/default"
#define LONG_MS 30000

static struct dv_loop *loop;
static struct dv_kube_config *config;
static struct dv_kube_client *client;

/* ---- waiting -------------------------------------------------------------------------------- */

static bool timed_out;

static void on_late(void *arg)
{
    timed_out = true;
    dv_loop_stop(loop);
}

/* Runs the loop until somebody stops it. */
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

static struct dv_kube_reply last;
static bool ended_now; /* the call that is waited for */

static void on_reply(void *arg, const struct dv_kube_reply *reply)
{
    json_object_put(last.body);
    last = *reply;
    json_object_get(last.body);
    ended_now = true;
    dv_loop_stop(loop);
}

static void run_call(const char *what)
{
    while (!ended_now) /* a watch stops the loop, too */
        run(what);
    ended_now = false;
}

static void call(enum dv_kube_verb verb, const char *path, const char *body, int expected)
{
    struct dv_kube_request request = {.verb = verb, .path = path, .body = body};
    assert_int_equal(dv_kube_client_call(client, &request, on_reply, NULL, NULL), 0);
    run_call(path);
    if (last.error != expected)
        fail_msg("%s: %d, %s", path, last.error, last.message);
}

static void ended(int r, int expected)
{
    assert_int_equal(r, 0);
    run_call("a call");
    if (last.error != expected)
        fail_msg("%d, %s", last.error, last.message);
}

/* ---- nodes ---------------------------------------------------------------------------------- */

static struct seen {
    bool there, unschedulable, ours;
    char version[64], uid[64], label[64];
    uint32_t calls;
} node;

static void on_node(void *arg, const struct dv_kube_node *n)
{
    struct seen *s = arg;
    uint32_t calls = s->calls + 1;
    *s = (struct seen){.calls = calls, .there = n != NULL};
    if (n) {
        const char *label = dv_kube_node_find(n->labels, n->n_labels, "divvy.dev/test");
        s->unschedulable = n->unschedulable;
        s->ours = n->cordoned_by_us;
        snprintf(s->version, sizeof s->version, "%s", n->version);
        snprintf(s->uid, sizeof s->uid, "%s", n->uid);
        snprintf(s->label, sizeof s->label, "%s", label ? label : "");
    }
    dv_loop_stop(loop);
}

static void wait_label(const char *value)
{
    while (strcmp(node.label, value) != 0)
        run("a label");
}

static void test_node(void **state)
{
    struct dv_kube_node_watch *watch;
    node = (struct seen){0};
    assert_int_equal(dv_kube_node_watch(client, NODE, on_node, &node, &watch), 0);
    run("the node's absence");
    assert_false(node.there);
    call(DV_KUBE_CREATE, "/api/v1/nodes",
         "{\"apiVersion\":\"v1\",\"kind\":\"Node\",\"metadata\":{\"name\":\"" NODE "\"}}", 0);
    while (!node.there)
        run("the node");
    struct dv_kube_pair label = {"divvy.dev/test", "a"};
    struct dv_kube_marks marks = {.labels = &label, .n_labels = 1};
    ended(dv_kube_node_patch(client, NODE, &marks, on_reply, NULL, NULL), 0);
    wait_label("a");
    label.value = NULL;
    ended(dv_kube_node_patch(client, NODE, &marks, on_reply, NULL, NULL), 0);
    wait_label("");

    struct dv_kube_node view = {.name = NODE, .version = node.version};
    ended(dv_kube_node_cordon(client, &view, "GPU 3: XID 79", on_reply, NULL, NULL), 0);
    while (!node.ours)
        run("the cordon");
    view.version = "1"; /* what was seen is old */
    ended(dv_kube_node_cordon(client, &view, "again", on_reply, NULL, NULL), -ESTALE);
    view.version = node.version;
    view.unschedulable = view.cordoned_by_us = true;
    assert_int_equal(dv_kube_node_cordon(client, &view, "again", on_reply, NULL, NULL),
                     DV_KUBE_CORDON_NOTHING);
    ended(dv_kube_node_uncordon(client, &view, on_reply, NULL, NULL), 0);
    while (node.unschedulable)
        run("the uncordon");
    struct dv_kube_condition c = {.type = "DivvyGpuHealthy",
                                  .status = DV_KUBE_FALSE,
                                  .reason = "GpuLost",
                                  .message = "GPU 3 fell off the bus",
                                  .transition_unix = 1774600000,
                                  .heartbeat_unix = 1774600001};
    ended(dv_kube_node_condition(client, NODE, &c, on_reply, NULL, NULL), 0);
    c.status = DV_KUBE_TRUE;
    ended(dv_kube_node_condition(client, NODE, &c, on_reply, NULL, NULL), 0);
    struct json_object *list = dv_kube_json_at(last.body, "status", "conditions", NULL);
    uint32_t found = 0;
    for (size_t i = 0; i < dv_kube_json_length(list); i++) {
        struct json_object *o = dv_kube_json_item(list, i);
        if (strcmp(dv_kube_json_text(o, "type", NULL), "DivvyGpuHealthy") == 0) {
            assert_string_equal(dv_kube_json_text(o, "status", NULL), "True");
            found++;
        }
    }
    assert_int_equal(found, 1);
    dv_kube_node_watch_free(watch);
}

/* ---- events --------------------------------------------------------------------------------- */

static void on_wait(void *arg)
{
    dv_loop_stop(loop);
}

static void sleep_ms(uint64_t ms)
{
    struct dv_loop_source *timer;
    assert_int_equal(dv_loop_timer(loop, ms, 0, on_wait, NULL, &timer), 0);
    dv_loop_run(loop);
    dv_loop_remove(timer);
}

static void test_events(void **state)
{
    struct dv_kube_recorder *rec;
    char uid[64];
    snprintf(uid, sizeof uid, "%ld", (long)time(NULL));
    struct dv_kube_event ev = {.kind = "Node",
                               .name = NODE,
                               .uid = uid,
                               .warning = true,
                               .reason = "GpuUnhealthy",
                               .message = "GPU 3: XID 79"};
    assert_int_equal(dv_kube_recorder_new(client, "divvyd", NODE, &rec), 0);
    for (int i = 0; i < 5; i++)
        assert_int_equal(dv_kube_recorder_add(rec, &ev), 0);
    char path[256];
    snprintf(path, sizeof path, NS "/events?fieldSelector=involvedObject.uid%%3D%s", uid);
    int64_t count = 0;
    for (int i = 0; i < 20 && count != 5; i++) {
        sleep_ms(500);
        call(DV_KUBE_GET, path, NULL, 0);
        struct json_object *items = dv_kube_json_at(last.body, "items", NULL);
        assert_true(dv_kube_json_length(items) <= 1);
        count = dv_kube_json_int(dv_kube_json_item(items, 0), "count", NULL);
    }
    assert_int_equal(count, 5);
    dv_kube_recorder_free(rec);
}

/* ---- pods ----------------------------------------------------------------------------------- */

#define POD                                                                                        \
    "{\"apiVersion\":\"v1\",\"kind\":\"Pod\",\"metadata\":{\"name\":\"%s\","                       \
    "\"labels\":{\"app\":\"divvy-live-test\"},\"annotations\":{\"divvy.dev/tier\":\"lc\"}},"       \
    "\"spec\":{\"nodeName\":\"" NODE "\",\"containers\":[{\"name\":\"main\",\"image\":\"none\","   \
    "\"resources\":{\"limits\":{\"nvidia.com/gpu\":\"2\",\"memory\":\"1Gi\"}}}]}}"

static struct pods {
    uint32_t added, deleted, synced;
    int64_t gpus;
    char uid[64], tier[16];
} pods;

static void on_pod(void *arg, enum dv_kube_change change, const struct dv_kube_pod *pod)
{
    pods.added += change == DV_KUBE_ADDED;
    pods.deleted += change == DV_KUBE_DELETED;
    pods.synced += change == DV_KUBE_SYNCED;
    if (change == DV_KUBE_ADDED) {
        assert_string_equal(pod->node, NODE);
        assert_int_equal(pod->n_containers, 1);
        for (uint32_t i = 0; i < pod->containers[0].n_limits; i++)
            if (strcmp(pod->containers[0].limits[i].name, "nvidia.com/gpu") == 0)
                pods.gpus = pod->containers[0].limits[i].value;
        snprintf(pods.uid, sizeof pods.uid, "%s", pod->uid);
        snprintf(pods.tier, sizeof pods.tier, "%s", pod->annotations[0] ? pod->annotations[0] : "");
    }
    dv_loop_stop(loop);
}

static enum dv_kube_evicted evicted;

static void on_evicted(void *arg, enum dv_kube_evicted result, uint32_t retry_after_s,
                       const struct dv_kube_reply *reply)
{
    evicted = result;
    assert_true(result != DV_KUBE_EVICT_BLOCKED || retry_after_s > 0);
    if (result == DV_KUBE_EVICT_FAILED)
        fail_msg("%s", reply->message);
    ended_now = true;
    dv_loop_stop(loop);
}

static void test_pods(void **state)
{
    static const char *const annotations[] = {"divvy.dev/tier"};
    struct dv_kube_pod_spec spec = {
        .node = NODE, .annotations = annotations, .n_annotations = 1, .cb = on_pod};
    struct dv_kube_pod_watch *watch;
    char body[1024];
    pods = (struct pods){0};
    assert_int_equal(dv_kube_pod_watch(client, &spec, &watch), 0);
    while (!pods.synced)
        run("the pods");
    snprintf(body, sizeof body, POD, "divvy-live-test-1");
    call(DV_KUBE_CREATE, NS "/pods", body, 0);
    call(DV_KUBE_CREATE, NS "/pods", body, -EEXIST);
    while (!pods.added)
        run("the pod");
    assert_int_equal(pods.gpus, 2);
    assert_string_equal(pods.tier, "lc");

    assert_int_equal(
        dv_kube_pod_evict(client, "default", "divvy-live-test-1", "another", on_evicted, NULL), 0);
    run_call("an eviction");
    assert_int_equal(evicted, DV_KUBE_EVICT_GONE);
    /* A budget that the server has not got to yet keeps every pod where it is. */
    call(DV_KUBE_CREATE, "/apis/policy/v1/namespaces/default/poddisruptionbudgets",
         "{\"apiVersion\":\"policy/v1\",\"kind\":\"PodDisruptionBudget\","
         "\"metadata\":{\"name\":\"divvy-live-test\"},\"spec\":{\"minAvailable\":1,"
         "\"selector\":{\"matchLabels\":{\"app\":\"divvy-live-test\"}}}}",
         0);
    call(DV_KUBE_MERGE, NS "/pods/divvy-live-test-1/status",
         "{\"status\":{\"phase\":\"Running\",\"conditions\":[{\"type\":\"Ready\",\"status\":"
         "\"True\"}]}}",
         0);
    assert_int_equal(
        dv_kube_pod_evict(client, "default", "divvy-live-test-1", pods.uid, on_evicted, NULL), 0);
    run_call("an eviction");
    assert_int_equal(evicted, DV_KUBE_EVICT_BLOCKED);
    call(DV_KUBE_DELETE, "/apis/policy/v1/namespaces/default/poddisruptionbudgets/divvy-live-test",
         NULL, 0);
    assert_int_equal(
        dv_kube_pod_evict(client, "default", "divvy-live-test-1", pods.uid, on_evicted, NULL), 0);
    run_call("an eviction");
    assert_int_equal(evicted, DV_KUBE_EVICTED);
    call(DV_KUBE_DELETE, NS "/pods/divvy-live-test-1?gracePeriodSeconds=0", NULL, 0);
    while (!pods.deleted)
        run("the pod's end");
    dv_kube_pod_watch_free(watch);
}

/* ---- other objects -------------------------------------------------------------------------- */

static char map_value[64];

static void on_map(void *arg, bool there, const struct dv_kube_pair *pairs, uint32_t n)
{
    const char *v = there ? dv_kube_node_find(pairs, n, "k") : "gone";
    snprintf(map_value, sizeof map_value, "%s", v ? v : "no key");
    dv_loop_stop(loop);
}

static void wait_map(const char *value)
{
    while (strcmp(map_value, value) != 0)
        run(value);
}

static void test_configmap(void **state)
{
    struct dv_kube_configmap_watch *watch;
    assert_int_equal(dv_kube_configmap_watch(client, "default", NODE, on_map, NULL, &watch), 0);
    wait_map("gone");
    call(DV_KUBE_CREATE, NS "/configmaps",
         "{\"metadata\":{\"name\":\"" NODE "\"},\"data\":{\"k\":\"1\"}}", 0);
    wait_map("1");
    call(DV_KUBE_JSONPATCH, NS "/configmaps/" NODE,
         "[{\"op\":\"replace\",\"path\":\"/data/k\",\"value\":\"2\"}]", 0);
    wait_map("2");
    call(DV_KUBE_APPLY, NS "/configmaps/" NODE "?fieldManager=divvy&force=true",
         "{\"apiVersion\":\"v1\",\"kind\":\"ConfigMap\",\"metadata\":{\"name\":\"" NODE
         "\"},\"data\":{\"k\":\"3\"}}",
         0);
    wait_map("3");
    call(DV_KUBE_DELETE, NS "/configmaps/" NODE, NULL, 0);
    wait_map("gone");
    dv_kube_configmap_watch_free(watch);
}

static struct dv_kube_secret got;
static char got_data[16];

static void on_secret(void *arg, const struct dv_kube_reply *reply, const struct dv_kube_secret *s)
{
    got = s ? *s : (struct dv_kube_secret){0};
    last.error = reply->error;
    if (s)
        memcpy(got_data, s->entries[0].data, DV_MIN(s->entries[0].len, sizeof got_data));
    ended_now = true;
    dv_loop_stop(loop);
}

static void test_secret(void **state)
{
    struct dv_kube_secret_entry e = {"k", "a\0b", 3};
    struct dv_kube_secret s = {.namespace = "default", .name = NODE, .n = 1, .entries = &e};
    ended(dv_kube_secret_get(client, "default", NODE, on_secret, NULL), -ENOENT);
    ended(dv_kube_secret_put(client, &s, on_reply, NULL, NULL), 0);
    ended(dv_kube_secret_put(client, &s, on_reply, NULL, NULL), -EEXIST);
    ended(dv_kube_secret_get(client, "default", NODE, on_secret, NULL), 0);
    assert_int_equal(got.n, 1);
    assert_memory_equal(got_data, "a\0b", 3);
    snprintf(s.version, sizeof s.version, "%s", got.version);
    snprintf(s.type, sizeof s.type, "%s", got.type);
    e.data = "xyz";
    call(DV_KUBE_MERGE, NS "/secrets/" NODE, "{\"metadata\":{\"labels\":{\"of\":\"helm\"}}}", 0);
    ended(dv_kube_secret_put(client, &s, on_reply, NULL, NULL), -ESTALE);
    ended(dv_kube_secret_get(client, "default", NODE, on_secret, NULL), 0);
    snprintf(s.version, sizeof s.version, "%s", got.version);
    ended(dv_kube_secret_put(client, &s, on_reply, NULL, NULL), 0);
    assert_string_equal(dv_kube_json_text(last.body, "metadata", "labels", "of", NULL), "helm");
    call(DV_KUBE_DELETE, NS "/secrets/" NODE, NULL, 0);
}

static bool who_known;
static char who_name[256];

static void on_who(void *arg, const struct dv_kube_reply *reply, const struct dv_kube_identity *who)
{
    last.error = reply->error;
    who_known = who && who->authenticated;
    snprintf(who_name, sizeof who_name, "%s", who ? who->username : "");
    ended_now = true;
    dv_loop_stop(loop);
}

static void test_token(void **state)
{
    char token[4096];
    ended(dv_kube_token_review(client, "nonsense", NULL, on_who, NULL), 0);
    assert_false(who_known);
    call(DV_KUBE_CREATE, NS "/serviceaccounts", "{\"metadata\":{\"name\":\"" NODE "\"}}", 0);
    call(DV_KUBE_CREATE, NS "/serviceaccounts/" NODE "/token",
         "{\"apiVersion\":\"authentication.k8s.io/v1\",\"kind\":\"TokenRequest\","
         "\"spec\":{\"audiences\":[\"divvy\"]}}",
         0);
    snprintf(token, sizeof token, "%s", dv_kube_json_text(last.body, "status", "token", NULL));
    ended(dv_kube_token_review(client, token, "divvy", on_who, NULL), 0);
    assert_true(who_known);
    assert_string_equal(who_name, "system:serviceaccount:default:" NODE);
    call(DV_KUBE_DELETE, NS "/serviceaccounts/" NODE, NULL, 0);
}

#define WEBHOOKS "/apis/admissionregistration.k8s.io/v1/mutatingwebhookconfigurations"

static void test_webhook(void **state)
{
    static const char hook[] =
        "{\"name\":\"%s.divvy.dev\",\"admissionReviewVersions\":[\"v1\"],\"sideEffects\":\"None\","
        "\"failurePolicy\":\"Ignore\",\"clientConfig\":{\"url\":\"https://127.0.0.1:1/"
        "\"},\"rules\":[]}";
    char a[512], b[512], body[2048];
    snprintf(a, sizeof a, hook, "a");
    snprintf(b, sizeof b, hook, "b");
    snprintf(body, sizeof body,
             "{\"apiVersion\":\"admissionregistration.k8s.io/v1\",\"kind\":"
             "\"MutatingWebhookConfiguration\",\"metadata\":{\"name\":\"" NODE "\"},"
             "\"webhooks\":[%s,%s]}",
             a, b);
    call(DV_KUBE_CREATE, WEBHOOKS, body, 0);
    char *ca = NULL;
    FILE *f = popen(
        "openssl req -x509 -newkey rsa:2048 -nodes -keyout /dev/null -subj /CN=t 2>/dev/null", "r");
    size_t cap = 0;
    assert_true(getdelim(&ca, &cap, 0, f) > 0);
    pclose(f);
    ended(dv_kube_webhook_set_ca(client, NODE, ca, false, NULL, on_reply, NULL), 0);
    int64_t generation = dv_kube_json_int(last.body, "metadata", "generation", NULL);
    struct json_object *hooks = dv_kube_json_at(last.body, "webhooks", NULL);
    assert_int_equal(dv_kube_json_length(hooks), 2);
    for (size_t i = 0; i < 2; i++) {
        struct json_object *c = dv_kube_json_at(dv_kube_json_item(hooks, i), "clientConfig", NULL);
        assert_true(*dv_kube_json_text(c, "caBundle", NULL));
        assert_string_equal(dv_kube_json_text(c, "url", NULL), "https://127.0.0.1:1/");
    }
    ended(dv_kube_webhook_set_ca(client, NODE, ca, false, NULL, on_reply, NULL), 0);
    assert_int_equal(dv_kube_json_int(last.body, "metadata", "generation", NULL), generation);
    ended(dv_kube_webhook_set_ca(client, NODE, "another", true, NULL, on_reply, NULL), 0);
    assert_int_equal(dv_kube_json_int(last.body, "metadata", "generation", NULL), generation);
    call(DV_KUBE_DELETE, WEBHOOKS "/" NODE, NULL, 0);
    free(ca);
}

#define CRD "/apis/apiextensions.k8s.io/v1/customresourcedefinitions"
#define FEATURES "/apis/nfd.k8s-sigs.io/v1alpha1/namespaces/default/nodefeatures"

static void test_nodefeature(void **state)
{
    struct dv_kube_pair labels[] = {{"nvidia.com/gpu.count", "8"}, {"nvidia.com/gpu.product", "X"}};
    ended(dv_kube_nodefeature_apply(client, "default", NODE, NODE, labels, 2, on_reply, NULL, NULL),
          -ENOENT);
    call(DV_KUBE_CREATE, CRD,
         "{\"apiVersion\":\"apiextensions.k8s.io/v1\",\"kind\":\"CustomResourceDefinition\","
         "\"metadata\":{\"name\":\"nodefeatures.nfd.k8s-sigs.io\",\"annotations\":"
         "{\"api-approved.kubernetes.io\":\"unapproved, for a test\"}},\"spec\":{\"group\":"
         "\"nfd.k8s-sigs.io\",\"scope\":\"Namespaced\",\"names\":{\"kind\":\"NodeFeature\","
         "\"plural\":\"nodefeatures\"},\"versions\":[{\"name\":\"v1alpha1\",\"served\":true,"
         "\"storage\":true,\"schema\":{\"openAPIV3Schema\":{\"type\":\"object\",\"properties\":"
         "{\"spec\":{\"type\":\"object\",\"x-kubernetes-preserve-unknown-fields\":true}}}}}]}}",
         0);
    for (int i = 0; i < 20; i++) {
        sleep_ms(500);
        assert_int_equal(dv_kube_nodefeature_apply(client, "default", NODE, NODE, labels, 2,
                                                   on_reply, NULL, NULL),
                         0);
        run_call("the NodeFeature");
        if (!last.error)
            break;
    }
    assert_int_equal(last.error, 0);
    ended(dv_kube_nodefeature_apply(client, "default", NODE, NODE, labels, 1, on_reply, NULL, NULL),
          0);
    struct json_object *has = dv_kube_json_at(last.body, "spec", "labels", NULL);
    assert_string_equal(dv_kube_json_text(has, "nvidia.com/gpu.count", NULL), "8");
    assert_null(dv_kube_json_at(has, "nvidia.com/gpu.product", NULL));
    call(DV_KUBE_DELETE, CRD "/nodefeatures.nfd.k8s-sigs.io", NULL, 0);
}

/* ---- all ------------------------------------------------------------------------------------ */

static struct fake_api api;

static int setup(void **state)
{
    struct dv_err err = {{0}};
    const char *path = getenv("DIVVY_TEST_KUBECONFIG");
    signal(SIGPIPE, SIG_IGN);
    if (!path) {
        fake_api_start(&api);
        config = fake_api_config(&api, "127.0.0.1", "ca.crt", "");
    }
    if (dv_loop_new(&loop) < 0 || (path && dv_kube_config_read(path, false, &config, &err) < 0) ||
        dv_kube_client_new(loop, config, 1, &client, &err) < 0) {
        fprintf(stderr, "%s\n", err.msg);
        return -1;
    }
    return 0;
}

static void forget(const char *path)
{
    struct dv_kube_request request = {.verb = DV_KUBE_DELETE, .path = path};
    if (dv_kube_client_call(client, &request, on_reply, NULL, NULL) == 0)
        dv_loop_run(loop);
}

static int teardown(void **state)
{
    forget("/api/v1/nodes/" NODE);
    json_object_put(last.body);
    dv_kube_client_free(client);
    dv_kube_config_free(config);
    dv_loop_free(loop);
    if (api.port)
        fake_api_done(&api);
    return 0;
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_node),    cmocka_unit_test(test_events),
        cmocka_unit_test(test_pods),    cmocka_unit_test(test_configmap),
        cmocka_unit_test(test_secret),  cmocka_unit_test(test_token),
        cmocka_unit_test(test_webhook), cmocka_unit_test(test_nodefeature),
    };
    return cmocka_run_group_tests(tests, setup, teardown);
}
