/* SPDX-License-Identifier: Apache-2.0 */
/* What is taken for what, and what one document of a file says of another. The rules themselves:
 * tests/golden/lint. */
#include "lintfile/lintfile.h"

#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

/* The verdict, and the ids of what is found. */
static void check_as(const char *name, const char *text, const char *want)
{
    struct dv_lint_report r = {0};
    struct dv_lintfile_options how = {0};
    struct dv_err err = {{0}};
    dv_cleanup(dv_str_done) struct dv_str got = {0};
    assert_int_equal(dv_lintfile_read(name, text, strlen(text), &how, &r, &err), 0);
    dv_str_add(&got, dv_lint_verdict_name(r.verdict));
    for (uint32_t i = 0; i < r.n_findings; i++)
        dv_str_addf(&got, " %s", dv_lint_rule(r.findings[i].rule)->id);
    if (strcmp(dv_str_get(&got), want) != 0)
        print_message("%s\n", text);
    assert_string_equal(dv_str_get(&got), want);
    dv_lint_report_done(&r);
}

static void check(const char *text, const char *want)
{
    check_as("x.yaml", text, want);
}

static void test_strangers(void **state)
{
    check("", "out-of-scope");
    check("# nothing\n---\n...\n", "out-of-scope");
    check("- a\n- b\n", "out-of-scope");
    check("version: v1\nname: app\n", "out-of-scope");
    check("version: v1\nflags: {verbose: true}\nname: x\n", "refused DV201 DV201");
    check("flags: {verbose: true}\n", "out-of-scope");
    check("groups: [a, b]\n", "out-of-scope");
    check("sharing: {photos: true}\n", "out-of-scope");
    check("mig: {strategy: mixed}\nmyOwnValue: 3\n", "accepted"); /* somebody's chart */
    check("mig: {strategy: mxed}\n", "refused DV231");
    check("version: v1\nsharign: {}\n", "refused DV201");
    check("apiVersion: apps/v1\nkind: Deployment\nspec: {template: {spec: {containers: [{name: "
          "a}]}}}\n",
          "out-of-scope");
    check("apiVersion: x.y/v1\nkind: Job\nspec: 3\n", "out-of-scope");
    check("apiVersion: batch/v1beta1\nkind: CronJob\n", "out-of-scope");
    check("apiVersion: policy/v1\nkind: PodDisruptionBudget\nspec: {maxUnavailable: 0}\n",
          "out-of-scope");
    check("apiVersion: v1\nkind: Pod\nspec:\n  containers:\n  - {name: a, image: "
          "nvcr.io/nvidia/k8s-device-plugin:v0.17.1, command: [/usr/bin/gpu-feature-discovery]}\n",
          "accepted");
    check("kind: ConfigMap\napiVersion: v1\ndata: {a: \"version: v1\\nx: y\", b: [1]}\n",
          "out-of-scope");
}

static void test_any_kind(void **state)
{
    check("apiVersion: kubeflow.org/v1\nkind: PyTorchJob\nspec:\n  pytorchReplicaSpecs:\n    "
          "Worker:\n"
          "      template:\n        spec:\n          containers:\n          - name: a\n            "
          "resources: {requests: {nvidia.com/gpu: 1}}\n",
          "refused DV102");
    check("apiVersion: v1\nkind: List\nitems:\n- apiVersion: v1\n  kind: PodDisruptionBudget\n  "
          "metadata: {name: gpu}\n",
          "refused DV301");
}

static void test_types(void **state)
{
    check_as("x.sh", "nvidia-smi -L\n", "accepted");
    check_as("x", "#!/bin/bash\nnvidia-smi -L\n", "accepted");
    check_as("x", "kubectl get pods\n", "out-of-scope");
    check_as("x", "DCGM_FI_DEV_FB_USED\n", "accepted");
    check_as("x", "kind: Pod\n", "out-of-scope");
    check_as("x.json",
             "{\"groups\": [{\"rules\": [{\"alert\": \"a\", \"expr\": \"dcgm_fb_used\"}]}]}",
             "warned DV501");
}

static void test_together(void **state)
{
    static const char pod[] = "---\napiVersion: v1\nkind: Pod\nmetadata: {namespace: a}\nspec:\n  "
                              "containers:\n  - name: m\n    resources: {limits: "
                              "{nvidia.com/mig-1g.10gb: 1}}\n";
    dv_cleanup(dv_str_done) struct dv_str one = {0}, two = {0}, both = {0};
    dv_str_addf(&one, "version: v1\nflags: {migStrategy: single}\n%s", pod);
    check(dv_str_get(&one), "warned DV112");
    dv_str_addf(&two,
                "kind: ConfigMap\ndata:\n  a: |\n    version: v1\n    flags: {migStrategy: mixed}\n"
                "  b: |\n    version: v1\n    flags: {migStrategy: none}\n%s",
                pod);
    check(dv_str_get(&two), "accepted"); /* two answers are none */
    dv_str_addf(&both, "kind: Namespace\nmetadata: {name: a, labels: {gpu-strategy: whole}}\n%s",
                pod);
    check(dv_str_get(&both), "refused DV113");
    check("kind: Namespace\nmetadata: {name: a, labels: {gpu-strategy: comfy}}\n", "refused DV113");
}

static void test_errors(void **state)
{
    struct dv_lint_report r = {0};
    struct dv_lintfile_options how = {0};
    struct dv_err err = {{0}};
    char *big = malloc(DV_LINTFILE_MAX + 1);
    assert_non_null(big);
    memset(big, ' ', DV_LINTFILE_MAX + 1);
    assert_int_equal(dv_lintfile_read("x", big, DV_LINTFILE_MAX + 1, &how, &r, &err), -E2BIG);
    assert_int_equal(dv_lintfile_read("x", "a\0b", 3, &how, &r, &err), -EINVAL);
    free(big);
    /* One bad document does not hide the others. */
    check("a: [\n---\napiVersion: v1\nkind: PodDisruptionBudget # GPUs\n", "refused DV901 DV301");
    check("a: &x [1]\nb: {<<: *x}\n", "out-of-scope DV902");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_strangers), cmocka_unit_test(test_any_kind),
        cmocka_unit_test(test_types),     cmocka_unit_test(test_together),
        cmocka_unit_test(test_errors),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
