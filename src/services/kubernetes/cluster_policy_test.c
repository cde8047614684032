/* SPDX-License-Identifier: Apache-2.0 */
/* Against the fake API server: policies and ConfigMaps come, change and go. */
#include "kube/testing/fake_api.h"
#include "kubernetes/cluster_policy.h"

#include <errno.h>
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <cmocka.h>

#define POLICIES "/apis/nvidia.com/v1/clusterpolicies"
#define MAPS "/api/v1/namespaces/divvy/configmaps"
#define POLICY(name, created, spec)                                                                \
    "{\"apiVersion\":\"nvidia.com/v1\",\"kind\":\"ClusterPolicy\",\"metadata\":{\"name\":\"" name  \
    "\",\"creationTimestamp\":\"" created "\"},\"spec\":" spec "}"
#define EARLY "2026-01-01T00:00:00Z"
#define LATE "2026-02-01T00:00:00Z"
#define NAMED(map, chosen)                                                                         \
    "{\"driver\":{\"enabled\":true},\"mig\":{\"strategy\":\"mixed\"},\"devicePlugin\":{"           \
    "\"config\":{\"name\":\"" map "\",\"default\":\"" chosen "\"}}}"
#define REPLICAS(n)                                                                                \
    "\"version: v1\\nsharing: {timeSlicing: {resources: [{name: nvidia.com/gpu, replicas: " #n     \
    "}]}}\\n\""

static struct fake_api api;
static struct dv_loop *loop;
static struct dv_kube_config *config;
static struct dv_kube_client *client;
static struct dv_policy *policy;
static struct dv_settings *settings;
static char state_dir[64];
static bool late;

static void on_late(void *arg)
{
    late = true;
    dv_loop_stop(loop);
}

static void on_changed(void *arg)
{
    dv_settings_policy(settings, dv_policy_settings(policy));
    dv_loop_stop(loop);
}

static void on_reply(void *arg, const struct dv_kube_reply *reply)
{
    *(int *)arg = reply->error;
    dv_loop_stop(loop);
}

static void turn(const char *what)
{
    struct dv_loop_source *timer;
    late = false;
    assert_int_equal(dv_loop_timer(loop, 30000, 0, on_late, NULL, &timer), 0);
    dv_loop_run(loop);
    dv_loop_remove(timer);
    if (late)
        fail_msg("waiting for %s took too long; problem: %s", what, dv_policy_problem(policy));
}

static void call(enum dv_kube_verb verb, const char *path, const char *body)
{
    int result = 1;
    struct dv_kube_request request = {.verb = verb, .path = path, .body = body};
    assert_int_equal(dv_kube_client_call(client, &request, on_reply, &result, NULL), 0);
    while (result == 1)
        turn(path);
    assert_int_equal(result, 0);
}

/* The configuration in force, as "STRATEGY REPLICAS". */
static const char *in_force(void)
{
    static char text[64];
    dv_settings_look(settings);
    const struct dv_plugin_config *c = dv_settings_config(settings);
    const struct dv_plugin_sharing *s = &c->sharing[DV_PLUGIN_TIME_SLICING];
    snprintf(text, sizeof text, "%s %u", dv_plugin_flags_mig_strategy_name(c->flags.mig_strategy),
             s->n_shares ? s->shares[0].replicas : 0);
    return text;
}

static void await(const char *wanted)
{
    while (strcmp(in_force(), wanted) != 0)
        turn(wanted);
}

static void begin(struct dv_kube_client *with)
{
    struct dv_err err;
    assert_int_equal(dv_settings_new(&(struct dv_settings_options){0}, &settings, &err), 0);
    assert_int_equal(dv_policy_new(with, "divvy", state_dir, on_changed, NULL, &policy), 0);
    dv_settings_policy(settings, dv_policy_settings(policy));
}

static void end(void)
{
    dv_policy_free(policy);
    dv_settings_free(settings);
    policy = NULL;
    settings = NULL;
}

static int set_up(void **state)
{
    struct dv_err err = {{0}};
    signal(SIGPIPE, SIG_IGN);
    snprintf(state_dir, sizeof state_dir, "/tmp/divvy-policy-XXXXXX");
    fake_api_start(&api);
    config = fake_api_config(&api, "127.0.0.1", "ca.crt", "");
    return mkdtemp(state_dir) && dv_loop_new(&loop) == 0 &&
                   dv_kube_client_new(loop, config, 1, &client, &err) == 0
               ? 0
               : -1;
}

static int tear_down(void **state)
{
    char command[100];
    end();
    dv_kube_client_free(client);
    dv_kube_config_free(config);
    dv_loop_free(loop);
    fake_api_done(&api);
    api = (struct fake_api){0};
    snprintf(command, sizeof command, "rm -rf %s", state_dir);
    return system(command);
}

static void test_live(void **state)
{
    begin(client);
    assert_string_equal(in_force(), "none 0");
    call(DV_KUBE_CREATE, POLICIES, POLICY("cp", EARLY, "{\"mig\":{\"strategy\":\"single\"}}"));
    await("single 0");
    /* The ConfigMap that it names comes later: until then all stays, and why is said. */
    call(DV_KUBE_MERGE, POLICIES "/cp", "{\"spec\":" NAMED("gpus", "four") "}");
    await("mixed 0");
    while (!strstr(dv_policy_problem(policy), "gpus"))
        turn("a complaint");
    assert_string_equal(in_force(), "mixed 0");
    call(DV_KUBE_CREATE, MAPS,
         "{\"metadata\":{\"name\":\"gpus\"},\"data\":{\"four\":" REPLICAS(4) ",\"eight\":" REPLICAS(
             8) "}}");
    await("mixed 4");
    assert_string_equal(dv_policy_problem(policy), "");
    /* Its default; a node's label goes before it; and an option before its strategy (settings). */
    call(DV_KUBE_MERGE, POLICIES "/cp", "{\"spec\":" NAMED("gpus", "eight") "}");
    await("mixed 8");
    dv_settings_label(settings, "four");
    assert_string_equal(in_force(), "mixed 4");
    dv_settings_label(settings, NULL);
    assert_string_equal(in_force(), "mixed 8");
    /* What is wrong changes nothing. */
    uint64_t generation = dv_settings_generation(settings);
    call(DV_KUBE_MERGE, POLICIES "/cp", "{\"spec\":{\"mig\":{\"strategy\":\"mixd\"}}}");
    while (!strstr(dv_policy_problem(policy), "mixd"))
        turn("a complaint");
    assert_non_null(strstr(dv_policy_problem(policy), "mixed"));
    assert_string_equal(in_force(), "mixed 8");
    assert_int_equal(dv_settings_generation(settings), generation);
    /* Its status is nobody's business here. */
    call(DV_KUBE_MERGE, POLICIES "/cp", "{\"status\":{\"state\":\"ready\"}}");
    assert_int_equal(dv_settings_generation(settings), generation);
    call(DV_KUBE_DELETE, POLICIES "/cp", NULL);
    await("none 0");
    assert_string_equal(dv_policy_problem(policy), "");
}

static void test_the_oldest_counts(void **state)
{
    begin(client);
    call(DV_KUBE_CREATE, POLICIES, POLICY("a", LATE, "{\"mig\":{\"strategy\":\"single\"}}"));
    await("single 0");
    call(DV_KUBE_CREATE, POLICIES, POLICY("b", EARLY, "{\"mig\":{\"strategy\":\"mixed\"}}"));
    await("mixed 0");
    call(DV_KUBE_DELETE, POLICIES "/b", NULL);
    await("single 0");
}

/* A node that starts without an API server is as it was. */
static void test_it_is_kept(void **state)
{
    begin(client);
    call(DV_KUBE_CREATE, MAPS,
         "{\"metadata\":{\"name\":\"gpus\"},\"data\":{\"four\":" REPLICAS(
             4) ",\"..\":\"\",\"a/b\":\"\",\".x\":\"\"}}");
    call(DV_KUBE_CREATE, POLICIES, POLICY("cp", EARLY, NAMED("gpus", "four")));
    await("mixed 4");
    end();
    begin(NULL);
    assert_string_equal(in_force(), "mixed 4");
    end();
    begin(client);
    assert_string_equal(in_force(), "mixed 4");
    uint64_t generation = dv_settings_generation(settings);
    call(DV_KUBE_DELETE, POLICIES "/cp", NULL);
    await("none 0");
    assert_int_equal(dv_settings_generation(settings), generation + 1); /* the same was not new */
    end();
    begin(NULL);
    assert_string_equal(in_force(), "none 0");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(test_live, set_up, tear_down),
        cmocka_unit_test_setup_teardown(test_the_oldest_counts, set_up, tear_down),
        cmocka_unit_test_setup_teardown(test_it_is_kept, set_up, tear_down),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
