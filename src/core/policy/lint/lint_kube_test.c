/* SPDX-License-Identifier: Apache-2.0 */
#include "policy/lint/lint_kube.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

static void test_versions(void **state)
{
    assert_int_equal(dv_lint_kube_api("v1", "Pod").result, DV_LINT_VERSION_FINE);
    assert_int_equal(dv_lint_kube_api("v1", "PodDisruptionBudget").result, DV_LINT_VERSION_NEVER);
    assert_string_equal(dv_lint_kube_api("v1", "PodDisruptionBudget").right, "policy/v1");
    assert_int_equal(dv_lint_kube_api("batch/v1beta1", "CronJob").result, DV_LINT_VERSION_REMOVED);
    assert_int_equal(dv_lint_kube_api("resource.k8s.io/v1beta1", "DeviceClass").result,
                     DV_LINT_VERSION_OLD);
    /* Other people's kinds. */
    assert_int_equal(dv_lint_kube_api("batch.volcano.sh/v1alpha1", "Job").result,
                     DV_LINT_VERSION_FINE);
    assert_int_equal(dv_lint_kube_api("kyverno.io/v1", "ClusterPolicy").result,
                     DV_LINT_VERSION_FINE);
    assert_int_equal(dv_lint_kube_api("helm.sh/v1", "HelmChart").result, DV_LINT_VERSION_NEVER);
    assert_int_equal(dv_lint_kube_api("autoscaling/v1", "HorizontalPodAutoscaler").result,
                     DV_LINT_VERSION_FINE);
    assert_int_equal(dv_lint_kube_api("example.com/v1", "Thing").result, DV_LINT_VERSION_FINE);
}

static void test_labels(void **state)
{
    const char *near;
    assert_true(dv_lint_kube_node_label("nvidia.com/gpu.present", &near));
    assert_true(dv_lint_kube_node_label("nvidia.com/mig-1g.10gb.count", &near));
    assert_true(dv_lint_kube_node_label("example.com/pool", &near));
    assert_false(dv_lint_kube_node_label("nvidia.com/gpu", &near));
    assert_string_equal(near, "nvidia.com/gpu.present");
    assert_false(dv_lint_kube_followed_label("nvidia.com/mig-config", &near));
    assert_string_equal(near, "nvidia.com/mig.config");
}

static void test_resources(void **state)
{
    assert_null(dv_lint_kube_resource_hint("cpu"));
    assert_null(dv_lint_kube_resource_hint("example.com/gpu"));
    assert_non_null(dv_lint_kube_resource_hint("nvidia.com/gpus"));
    assert_non_null(dv_lint_kube_resource_hint("nvidia.com/gpumem"));
    assert_non_null(dv_lint_kube_resource_hint("NVIDIA.com/gpu"));
}

static void test_charts(void **state)
{
    const char *hint;
    assert_int_equal(dv_lint_kube_chart("nvidia/gpu-operator"), DV_LINT_CHART_OPERATOR);
    assert_int_equal(dv_lint_kube_chart("nvdp/nvidia-device-plugin"), DV_LINT_CHART_PLUGIN);
    assert_int_equal(dv_lint_kube_chart("bitnami/nginx"), DV_LINT_CHART_NONE);
    assert_true(dv_lint_kube_chart_value(DV_LINT_CHART_OPERATOR, "mig.strategy", &hint));
    assert_false(dv_lint_kube_chart_value(DV_LINT_CHART_OPERATOR, "migStrategy", &hint));
    assert_false(
        dv_lint_kube_chart_value(DV_LINT_CHART_OPERATOR, "devicePlugin.config.map", &hint));
    assert_true(dv_lint_kube_chart_value(DV_LINT_CHART_PLUGIN, "config.map.a", &hint));
    assert_false(dv_lint_kube_chart_value(DV_LINT_CHART_PLUGIN, "config.migStrategy", &hint));
    assert_string_equal(hint, " (it is a top-level value)");
}

static void test_training(void **state)
{
    static const char *const yes[] = {"training-job", "my-train", "torchrun --nproc 4 x.py",
                                      "llm-finetune", "pretraining"};
    static const char *const no[] = {"inference", "constraint", "serve-trained-model",
                                     "restrained"};
    for (size_t i = 0; i < DV_ARRAY_SIZE(yes); i++)
        assert_true(dv_lint_kube_is_training(yes[i]));
    for (size_t i = 0; i < DV_ARRAY_SIZE(no); i++)
        assert_false(dv_lint_kube_is_training(no[i]));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_versions),  cmocka_unit_test(test_labels),
        cmocka_unit_test(test_resources), cmocka_unit_test(test_charts),
        cmocka_unit_test(test_training),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
