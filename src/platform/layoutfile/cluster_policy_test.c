/* SPDX-License-Identifier: Apache-2.0 */
#include "layoutfile/cluster_policy.h"

#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <string.h>

#include <cmocka.h>

static struct dv_cluster_policy policy;
static struct dv_err err;

static int read_policy(const char *text)
{
    memset(&policy, 0, sizeof policy);
    err.msg[0] = 0;
    return dv_cluster_policy_read("p.yaml", text, strlen(text), &policy, &err);
}

#define HEAD "apiVersion: nvidia.com/v1\nkind: ClusterPolicy\n"

static void test_object(void **state)
{
    assert_int_equal(read_policy(HEAD "metadata: {name: cluster-policy}\n"
                                      "spec:\n"
                                      "  driver: {enabled: true, version: \"580\"}\n"
                                      "  mig: {strategy: mixed}\n"
                                      "  devicePlugin:\n"
                                      "    enabled: true\n"
                                      "    config: {name: plugin-config, default: a100}\n"),
                     0);
    assert_true(policy.has_mig_strategy);
    assert_int_equal(policy.mig_strategy, DV_MIG_STRATEGY_MIXED);
    assert_string_equal(policy.config_name, "plugin-config");
    assert_string_equal(policy.config_default, "a100");
}

static void test_little(void **state)
{
    assert_int_equal(read_policy(HEAD "spec: {mig: , devicePlugin: {config: }}\n"), 0);
    assert_false(policy.has_mig_strategy);
    assert_string_equal(policy.config_name, "");
    assert_int_equal(read_policy("{\"mig\": {\"strategy\": \"single\"}, \"gfd\": {}}"), 0);
    assert_int_equal(policy.mig_strategy, DV_MIG_STRATEGY_SINGLE);
}

static void test_values_of_the_chart(void **state)
{
    assert_int_equal(read_policy("driver: {enabled: false}\n"
                                 "devicePlugin:\n"
                                 "  config: {create: true, name: c, default: any, data: {any: x}}\n"
                                 "---\nkind: Namespace\n"),
                     0);
    assert_string_equal(policy.config_default, "any");
}

static void test_bad(void **state)
{
    static const struct {
        const char *text, *message;
    } bad[] = {
        {"", "p.yaml: there is no ClusterPolicy here, nor values of the GPU Operator's chart (mig, "
             "devicePlugin)"},
        {"kind: Pod\n", "p.yaml: there is no ClusterPolicy here, nor values of the GPU Operator's "
                        "chart (mig, devicePlugin)"},
        {"kind: ClusterPolicy\napiVersion: nvidia.com/v2\n",
         "p.yaml:2:13: apiVersion: nvidia.com/v1 is wanted of a ClusterPolicy"},
        {HEAD, "p.yaml:1:1: spec: \"key: value\" lines are wanted"},
        {HEAD "spec:\n  mig: {strategy: mix}\n",
         "p.yaml:4:19: strategy: \"mix\", did you mean \"mixed\"?; one of none, single, mixed is "
         "wanted"},
        {HEAD "spec:\n  mig: {stratgy: mixed}\n",
         "p.yaml:4:9: unknown key \"stratgy\" in mig; did you mean \"strategy\"?"},
        {HEAD "spec:\n  devicePlugin: {config: {nam: x}}\n",
         "p.yaml:4:27: unknown key \"nam\" in devicePlugin.config; did you mean \"name\"?"},
        {HEAD "spec:\n  devicePlugin: {config: {default: x}}\n",
         "p.yaml:4:36: default: a key of a ConfigMap, whose name is not given"},
        {HEAD "spec:\n  devicePlugin: true\n",
         "p.yaml:4:17: devicePlugin: \"true\", where \"key: value\" lines are wanted"},
        {"mig: {}\n---\nmig: {}\n",
         "p.yaml:3:1: a second ClusterPolicy in one file; the first is in line 1"},
    };
    for (size_t i = 0; i < DV_ARRAY_SIZE(bad); i++) {
        assert_int_equal(read_policy(bad[i].text), -EINVAL);
        assert_string_equal(err.msg, bad[i].message);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_object),
        cmocka_unit_test(test_little),
        cmocka_unit_test(test_values_of_the_chart),
        cmocka_unit_test(test_bad),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
