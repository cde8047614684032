/* SPDX-License-Identifier: Apache-2.0 */
/* Certificates in the cluster, with an API server that keeps objects (kube/testing/fake_api.py). */
#include "base/base64.h"
#include "certs/certs.h"
#include "kube/client.h"
#include "kube/json.h"
#include "kube/testing/fake_api.h"
#include "sys/clock.h"
#include "sys/log.h"
#include "webhook/cluster.h"

#include <errno.h>
#include <json-c/json.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#define LONG_MS 120000
#define DAY INT64_C(86400)
#define SECRETS "/api/v1/namespaces/ns/secrets"
#define SECRET SECRETS "/tls"
#define HOOKS "/apis/admissionregistration.k8s.io/v1/mutatingwebhookconfigurations"
#define HOOK HOOKS "/hook"
#define NAME "svc.ns.svc"

static struct fake_api api;
static char kubeconfig[128];
static struct dv_loop *loop;
static struct dv_kube_config *config;
static struct dv_kube_client *client;

/* ---- waiting, and the objects --------------------------------------------------------------- */

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

static struct dv_kube_reply last;

static void on_reply(void *arg, const struct dv_kube_reply *reply)
{
    json_object_put(last.body);
    last = *reply;
    json_object_get(last.body);
    *(bool *)arg = true;
}

static int call(enum dv_kube_verb verb, const char *path, const char *body)
{
    struct dv_kube_request request = {.verb = verb, .path = path, .body = body};
    bool done = false;
    assert_int_equal(dv_kube_client_call(client, &request, on_reply, &done, NULL), 0);
    uint64_t ms = 0;
    while (!done) { /* on_reply's word */
        assert_true((ms += 5) < LONG_MS);
        run_for(5);
    }
    return last.error;
}

static char *decode(const char *text)
{
    char *bytes = NULL;
    size_t len;
    assert_int_equal(dv_base64_decode(text, &bytes, &len), 0);
    return bytes;
}

/* Of the Secret: from malloc, or NULL. */
static char *entry(const char *key)
{
    if (call(DV_KUBE_GET, SECRET, NULL) < 0)
        return NULL;
    const char *text = dv_kube_json_text(last.body, "data", key, NULL);
    return *text ? decode(text) : NULL;
}

/* What all webhooks of the configuration have; NULL: they differ, or there is none. */
static char *bundle(void)
{
    const char *first = NULL;
    if (call(DV_KUBE_GET, HOOK, NULL) < 0)
        return NULL;
    struct json_object *hooks = dv_kube_json_at(last.body, "webhooks", NULL);
    for (size_t i = 0; i < dv_kube_json_length(hooks); i++) {
        const char *one =
            dv_kube_json_text(dv_kube_json_item(hooks, i), "clientConfig", "caBundle", NULL);
        if (first && strcmp(first, one) != 0)
            return NULL;
        first = one;
    }
    return first && *first ? decode(first) : NULL;
}

static void make_secret(const char *data)
{
    char body[512];
    snprintf(body, sizeof body,
             "{\"kind\":\"Secret\",\"type\":\"Opaque\",\"metadata\":{\"name\":\"tls\",\"labels\":{"
             "\"of\":"
             "\"helm\"}}%s%s}",
             *data ? ",\"data\":" : "", data);
    assert_int_equal(call(DV_KUBE_CREATE, SECRETS, body), 0);
}

static void make_configuration(void)
{
    assert_int_equal(
        call(DV_KUBE_CREATE, HOOKS,
             "{\"metadata\":{\"name\":\"hook\"},\"webhooks\":[{\"name\":\"a\",\"clientConfig\":{"
             "\"service\":{\"path\":\"/a\"}}},{\"name\":\"b\",\"clientConfig\":{}}]}"),
        0);
}

/* ---- replicas ------------------------------------------------------------------------------- */

struct replica {
    struct dv_webhook_cluster *cluster;
    struct dv_webhook *webhook;
    const struct dv_certs *certs;
};

static void on_changed(void *arg, const struct dv_certs *certs)
{
    struct replica *r = arg;
    r->certs = certs;
    dv_webhook_cluster_changed(r->cluster, certs);
}

/* theirs: the folder that somebody else keeps, or NULL. */
static void launch(struct replica *r, const char *secret, int64_t life_s, const char *theirs)
{
    struct dv_webhook_cluster_options options = {.kubeconfig = kubeconfig,
                                                 .namespace = "ns",
                                                 .secret = secret,
                                                 .configuration = "hook",
                                                 .external = theirs != NULL,
                                                 .every_ms = 100};
    struct dv_webhook_options webhook = {.listen = "127.0.0.1:0",
                                         .namespace = "ns",
                                         .service = "svc",
                                         .life_s = life_s,
                                         .tls_dir = theirs,
                                         .tls_external = theirs != NULL,
                                         .publish = on_changed,
                                         .publish_arg = r};
    struct dv_err err;
    *r = (struct replica){0};
    if (dv_webhook_cluster_new(loop, &options, &r->cluster, &err) < 0 ||
        dv_webhook_new(loop, &webhook, &r->webhook, &err) < 0 ||
        dv_webhook_cluster_start(r->cluster, r->webhook, &err) < 0)
        fail_msg("%s", err.msg);
}

static void start(struct replica *r, const char *secret, int64_t life_s)
{
    launch(r, secret, life_s, NULL);
}

static void stop(struct replica *r)
{
    dv_webhook_cluster_free(r->cluster);
    dv_webhook_free(r->webhook);
}

/* Secret, configuration and replica have the same. */
static bool agrees(const struct replica *r)
{
    char *ca = entry("ca.crt"), *crt = entry("tls.crt"), *key = entry("tls.key"), *told = bundle();
    bool same = ca && crt && key && told && !strcmp(ca, dv_certs_bundle(r->certs)) &&
                !strcmp(crt, dv_certs_certificate(r->certs)) &&
                !strcmp(key, dv_certs_key(r->certs)) && !strcmp(told, ca);
    free(ca);
    free(crt);
    free(key);
    free(told);
    return same;
}

static void await_agreement(const struct replica *r, const char *when)
{
    uint64_t end = dv_clock_now() + LONG_MS * UINT64_C(1000000);
    while (!agrees(r)) {
        if (dv_clock_now() > end)
            fail_msg("%s: no agreement", when);
        run_for(20);
    }
}

static bool serve_the_same(const struct replica *a, const struct replica *b)
{
    return !strcmp(dv_certs_certificate(a->certs), dv_certs_certificate(b->certs));
}

/* ---- tests ---------------------------------------------------------------------------------- */

/* As the chart makes it: empty, and not to be created. */
static void test_empty_secret(void **state)
{
    struct replica a, b;
    make_secret("");
    make_configuration();
    start(&a, "tls", 90 * DAY);
    await_agreement(&a, "an empty Secret");
    call(DV_KUBE_GET, SECRET, NULL);
    assert_string_equal(dv_kube_json_text(last.body, "metadata", "labels", "of", NULL), "helm");
    char *before = strdup(dv_kube_json_text(last.body, "metadata", "resourceVersion", NULL));

    start(&b, "tls", 90 * DAY);
    await_agreement(&b, "a second replica");
    assert_true(serve_the_same(&a, &b));
    run_for(500);
    call(DV_KUBE_GET, SECRET, NULL); /* nobody writes what is there */
    assert_string_equal(dv_kube_json_text(last.body, "metadata", "resourceVersion", NULL), before);
    free(before);
    stop(&a);
    stop(&b);

    start(&a, "tls", 90 * DAY); /* all of them are new */
    await_agreement(&a, "a restart");
    assert_true(agrees(&a));
    stop(&a);
}

/* Two that begin at the same time, and nothing is there: one of them is first. */
static void test_race(void **state)
{
    struct replica all[4];
    make_configuration();
    for (size_t i = 0; i < DV_ARRAY_SIZE(all); i++)
        start(&all[i], "tls", 90 * DAY);
    for (size_t i = 0; i < DV_ARRAY_SIZE(all); i++)
        await_agreement(&all[i], "a race");
    for (size_t i = 1; i < DV_ARRAY_SIZE(all); i++)
        assert_true(serve_the_same(&all[0], &all[i]));
    for (size_t i = 0; i < DV_ARRAY_SIZE(all); i++)
        stop(&all[i]);
}

/* What somebody else has made of the objects is mended with what is served. */
static void test_damage(void **state)
{
    static const char *const secrets[] = {
        "{\"data\":{\"tls.crt\":\"bm9uc2Vuc2U=\"}}",
        "{\"data\":{\"tls.key\":null}}",
        "{\"data\":null}",
    };
    struct replica a;
    make_secret("{\"other\":\"eA==\"}");
    make_configuration();
    start(&a, "tls", 90 * DAY);
    await_agreement(&a, "the beginning");
    char *served = strdup(dv_certs_certificate(a.certs));
    for (size_t i = 0; i < DV_ARRAY_SIZE(secrets); i++) {
        assert_int_equal(call(DV_KUBE_MERGE, SECRET, secrets[i]), 0);
        await_agreement(&a, secrets[i]);
    }
    assert_int_equal(call(DV_KUBE_DELETE, SECRET, NULL), 0);
    await_agreement(&a, "a deleted Secret");
    assert_int_equal(
        call(DV_KUBE_STRATEGIC, HOOK,
             "{\"webhooks\":[{\"name\":\"b\",\"clientConfig\":{\"caBundle\":\"eA==\"}}]}"),
        0);
    await_agreement(&a, "another bundle");
    assert_int_equal(call(DV_KUBE_DELETE, HOOK, NULL), 0);
    run_for(300);
    make_configuration();
    await_agreement(&a, "a configuration that is made again");
    assert_string_equal(dv_certs_certificate(a.certs), served);
    free(served);
    stop(&a);
}

/* Without a Secret: the configuration only. */
static void test_configuration_alone(void **state)
{
    struct replica a;
    make_configuration();
    start(&a, NULL, 90 * DAY);
    char *told = NULL;
    for (int i = 0; i < 200 && !told; i++) {
        run_for(20);
        told = bundle();
    }
    assert_non_null(told);
    assert_string_equal(told, dv_certs_bundle(a.certs));
    free(told);
    assert_int_equal(call(DV_KUBE_GET, SECRET, NULL), -ENOENT);
    stop(&a);
}

static void await_bundle(const char *wanted, const char *when)
{
    uint64_t end = dv_clock_now() + LONG_MS * UINT64_C(1000000);
    for (bool there = false; !there;) {
        char *told = bundle();
        there = told && !strcmp(told, wanted);
        free(told);
        if (dv_clock_now() > end)
            fail_msg("%s: the bundle does not come", when);
        run_for(20);
    }
}

static void tell(const char *what)
{
    struct dv_str body = {0}, text = {0};
    dv_base64_add(what, strlen(what), &text);
    dv_str_addf(&body,
                "{\"webhooks\":[{\"name\":\"a\",\"clientConfig\":{\"caBundle\":\"%s\"}},"
                "{\"name\":\"b\",\"clientConfig\":{\"caBundle\":\"%s\"}}]}",
                dv_str_get(&text), dv_str_get(&text));
    assert_int_equal(call(DV_KUBE_STRATEGIC, HOOK, dv_str_get(&body)), 0);
    dv_str_done(&body);
    dv_str_done(&text);
}

/* Certificates of somebody else come into service while a replica of before is still there and
 * tells its own once more. What another replica tells is left alone: it may be ahead. */
static void test_who_is_on_its_way_out(void **state)
{
    static const struct dv_certs_policy policy = {.names = {NAME}, .life_s = DAY};
    struct dv_certs *made;
    struct dv_err note, err;
    struct replica a;
    char dir[160];
    snprintf(dir, sizeof dir, "%s/theirs", api.dir);
    assert_int_equal(dv_certs_open(&policy, dir, dv_clock_unix(), &made, &note, &err), 0);
    make_configuration();
    tell("of before");
    launch(&a, NULL, DAY, dir);
    await_bundle(dv_certs_bundle(made), "the beginning");
    tell("of before");
    await_bundle(dv_certs_bundle(made), "told once more");
    tell("of one that is ahead");
    run_for(500);
    await_bundle("of one that is ahead", "left alone");
    stop(&a);
    dv_certs_free(made);
}

/* An API server that is away, and comes back without anything. */
static void test_away(void **state)
{
    struct replica a;
    fake_api_stop(&api);
    start(&a, "tls", 90 * DAY);
    run_for(500);
    fake_api_start(&api);
    make_configuration();
    await_agreement(&a, "a server that was away at the beginning");
    char *served = strdup(dv_certs_certificate(a.certs));
    fake_api_stop(&api);
    run_for(500);
    fake_api_start(&api);
    make_secret("");
    make_configuration();
    await_agreement(&a, "a server that has forgotten all");
    assert_string_equal(dv_certs_certificate(a.certs), served);
    free(served);
    stop(&a);
}

/* A certificate is changed two seconds before its end here at the latest: on a machine that pauses,
 * later. */
#define LATE_S 4

/* At any time, who knows what the configuration says trusts what each replica serves. */
static void check_trust(struct dv_certs *judge, const struct replica *r, const char *told)
{
    struct dv_err err;
    if (dv_certs_adopt(judge, told, dv_certs_certificate(r->certs), dv_certs_key(r->certs),
                       dv_clock_unix() - LATE_S, &err) < 0)
        fail_msg("%s", err.msg);
}

static uint32_t count(const char *text, const char *word)
{
    uint32_t n = 0;
    for (; (text = strstr(text, word)); text++)
        n++;
    return n;
}

/* More than a bundle once had room for, all of them at the same moment. */
#define REPLICAS 5

static void test_rotation(void **state)
{
    static const struct dv_certs_policy policy = {.names = {NAME, "localhost"}, .life_s = DAY};
    struct replica all[REPLICAS];
    struct dv_certs *judge;
    struct dv_err note, err;
    uint32_t changes = 0, most = 0;
    make_secret("");
    make_configuration();
    for (size_t i = 0; i < REPLICAS; i++)
        start(&all[i], "tls", 12);
    for (size_t i = 0; i < REPLICAS; i++)
        await_agreement(&all[i], "the first");
    assert_int_equal(dv_certs_open(&policy, NULL, dv_clock_unix(), &judge, &note, &err), 0);
    uint64_t begin = dv_clock_now(), end = begin + LONG_MS * DV_NS_PER_MS;
    char *served = strdup(dv_certs_certificate(all[0].certs));
    while (changes < 2 && dv_clock_now() < end) {
        char *told = bundle();
        assert_non_null(told);
        /* The first is younger than that in the beginning; all others are made long before. */
        for (size_t i = 0; i < REPLICAS && dv_clock_now() - begin > LATE_S * DV_NS_PER_S; i++)
            check_trust(judge, &all[i], told);
        most = DV_MAX(most, count(told, "BEGIN"));
        free(told);
        if (strcmp(served, dv_certs_certificate(all[0].certs)) != 0) {
            changes++;
            free(served);
            served = strdup(dv_certs_certificate(all[0].certs));
        }
        run_for(20);
    }
    assert_int_equal(changes, 2);
    /* One of them prepares, on a slow machine a second; what the others made at the same moment
     * goes nowhere. */
    assert_in_range(most, 2, REPLICAS);
    for (size_t i = 0; i < REPLICAS; i++)
        await_agreement(&all[i], "after two changes");
    free(served);
    dv_certs_free(judge);
    for (size_t i = 0; i < REPLICAS; i++)
        stop(&all[i]);
}

static void test_refused(void **state)
{
    struct dv_webhook_cluster_options options = {.configuration = "x"};
    struct dv_webhook_cluster *cluster = NULL;
    struct dv_err err;
    unsetenv("KUBERNETES_SERVICE_HOST");
    assert_int_equal(dv_webhook_cluster_new(loop, &options, &cluster, &err), -ENOENT);
    options.kubeconfig = "/nonexistent";
    assert_int_equal(dv_webhook_cluster_new(loop, &options, &cluster, &err), -ENOENT);
    assert_non_null(strstr(err.msg, "/nonexistent"));
    dv_webhook_cluster_free(NULL);
}

/* ---- the world ------------------------------------------------------------------------------ */

static int setup(void **state)
{
    struct dv_err err;
    api = (struct fake_api){{0}};
    fake_api_start(&api);
    snprintf(kubeconfig, sizeof kubeconfig, "%s/kubeconfig", api.dir);
    FILE *f = fopen(kubeconfig, "we");
    assert_non_null(f);
    fprintf(
        f,
        "current-context: x\nclusters:\n- name: c\n  cluster:\n    server: https://127.0.0.1:%u\n"
        "    certificate-authority: ca.crt\nusers:\n- name: u\n  user: {token: t}\ncontexts:\n"
        "- name: x\n  context: {cluster: c, user: u}\n",
        api.port);
    fclose(f);
    assert_int_equal(dv_loop_new(&loop), 0);
    config = fake_api_config(&api, "127.0.0.1", "ca.crt", "token: t");
    return dv_kube_client_new(loop, config, 1, &client, &err);
}

static int teardown(void **state)
{
    dv_kube_client_free(client);
    dv_kube_config_free(config);
    dv_loop_free(loop);
    json_object_put(last.body);
    last.body = NULL;
    fake_api_done(&api);
    return 0;
}

#define TEST(f) cmocka_unit_test_setup_teardown(f, setup, teardown)

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(test_empty_secret), TEST(test_race),
        TEST(test_damage),       TEST(test_configuration_alone),
        TEST(test_away),         TEST(test_rotation),
        TEST(test_refused),      TEST(test_who_is_on_its_way_out),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
