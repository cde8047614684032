/* SPDX-License-Identifier: Apache-2.0 */
#include "policy/lint/lint_command.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

static void on_inner(void *arg, enum dv_lint_inner kind, const char *text, size_t len,
                     const struct dv_lint_at *at)
{
    dv_str_addf(arg, "[%d %u:%u %.*s]", (int)kind, at->line, at->column, (int)len, text);
}

/* Ids of what is found; "-" in front: nothing of GPUs. */
static void check_on(const char *gpu, const char *text, const char *want)
{
    struct dv_lint_report r = {0};
    dv_cleanup(dv_str_done) struct dv_str got = {0};
    struct dv_lint_script script = {
        .report = &r, .at = {.line = 1, .column = 1}, .inner = on_inner, .arg = &got};
    script.gpu = gpu ? dv_gpu_model_find(gpu, NULL) : NULL;
    dv_lint_begin(&r, "script", NULL, 1);
    assert_int_equal(dv_lint_script(&script, text, strlen(text)), 0);
    dv_lint_finish(&r, text, strlen(text), NULL);
    if (r.verdict == DV_LINT_OUT_OF_SCOPE)
        dv_str_add(&got, "-");
    for (uint32_t i = 0; i < r.n_findings; i++)
        dv_str_addf(&got, "%s%s", got.len ? " " : "", dv_lint_rule(r.findings[i].rule)->id);
    if (strcmp(dv_str_get(&got), want) != 0)
        print_message("%s\n", text);
    assert_string_equal(dv_str_get(&got), want);
    dv_lint_report_done(&r);
}

static void check(const char *text, const char *want)
{
    check_on(NULL, text, want);
}

static void test_smi(void **state)
{
    check("nvidia-smi", "");
    check("sudo -E nvidia-smi -i 0 -mig 1", "");
    check("nvidia-smi -mig 1", "DV406");
    check("nvidia-smi -i 0 -mig on", "DV402");
    check_on("T4", "nvidia-smi -i 0 -mig 1", "DV108");
    check("nvidia-smi -i 0 -c EXCLUSIVE_PROCESS", "");
    check("nvidia-smi -i 0 -c EXCLUSIVE", "DV402");
    check("nvidia-smi --query-gpu=name,memory.total --format=csv,noheader", "");
    check("nvidia-smi --query-gpu=name,memory.totl --format=csv", "DV407");
    check("nvidia-smi --lsit-gpus", "DV401");
    check("nvidia-smi topo -m; nvidia-smi dmon -s u", "");
    check("nvidia-smi -i 0 mig -dci", "DV408"); /* the order, and nothing of what follows */
    check("nvidia-smi --id=0 mig -cgi 19 -C", "DV408");
    check("nvidia-smi -q -f mig", ""); /* a file's name */
    check("nvidia-smi --query-gpus=name --format=csv", "DV401");
    check("nvidia-smi --query-gpus=$FIELDS --format=csv", "DV401");
    check("nvidia-smi --query-$WHAT=name --format=csv", "");
    check("nvidia-smi --query-compute-app=pid --format=csv", "DV401");
    check("nvidia-smi --query-compute-apps=pid --format=csv", "");
    check("nvidia-smi --query-something-new=name --format=csv", "");
    check("nvidia-smi --help-query-gpus", "DV401");
    check("nvidia-smi --help-query-accounted-apps", "");
    check("nvidia-smi -i $GPU -pm 1", "");
    check("watch -n 1 nvidia-smi", "");
    check("ls", "-");
}

static void test_mig(void **state)
{
    check("nvidia-smi mig -i 0 -cgi 3g.20gb,3g.20gb -C", "");
    check("nvidia-smi mig -i 0 -cgi 3g.20gb,3g.20gb", "DV403");
    check("nvidia-smi mig -i 0 -cgi 19\nnvidia-smi mig -i 0 -cci", "");
    check("nvidia-smi mig -i 0 -cgi 9,9,9 -C", "DV222");
    check("nvidia-smi mig -i 0 -cgi 3g.21gb -C", "DV109");
    check_on("A100-40GB", "nvidia-smi mig -i 0 -cgi 3g.40gb -C", "DV109");
    check("nvidia-smi mig -i 0 -cgi $P -C", "");
    check("nvidia-smi mig -dgi", "DV404");
    check("nvidia-smi mig -dgi -gi 3 -i 0", "");
    check("nvidia-smi mig -lgip; nvidia-smi mig -lgx", "DV401");
}

static void test_mps(void **state)
{
    check("nvidia-cuda-mps-control -d", "");
    check("nvidia-cuda-mps-control -server -get x", "DV411");
    check("echo quit | nvidia-cuda-mps-control", "");
    check("echo \"set_default_active_thread_percentage 25\" | nvidia-cuda-mps-control", "");
    check("echo \"set_default_active_thread_percentage 250\" | nvidia-cuda-mps-control", "DV413");
    check("echo \"set_default_active_thread_percent 25\" | nvidia-cuda-mps-control", "DV412");
    check("nvidia-cuda-mps-control <<< 'get_client_list 5'", "");
    check("nvidia-cuda-mps-control <<E\nget_client_list\nE\n", "DV413");
    check("echo $CMD | nvidia-cuda-mps-control", "");
}

static void test_kubectl(void **state)
{
    check("kubectl get pods", "-");
    check("kubectl get nodes -o json | jq . | grep nvidia", "");
    check("kubectl label node n nvidia.com/device-plugin.config=a", "");
    check("kubectl label node n nvidia.com/mig.config=all", "DV405");
    check("kubectl label node n nvidia.com/mig-config=all", "DV421");
    check("kubectl label node n nvidia.com/mig-config-", "");
    check("kubectl -n x exec p -- nvidia-smi --foo", "DV401");
    check("nvidia-smi; kubectl top pods", "DV422");
    check("kubectl top pods", "-");
    check("cat <<E | kubectl apply -f -\na: b\nE\n", "[0 2:1 a: b\n]-");
    check("cat > x.yaml <<E\na: b\nE\n", "[0 2:1 a: b\n]-");
    check("cat <<E\na: b\nE\n", "-");
    check("kubectl patch clusterpolicy p -p '{}'", "[1 1:35 {}]-");
}

static void test_helm(void **state)
{
    check("helm install x bitnami/nginx --set a=b", "-");
    check("helm install o nvidia/gpu-operator --set mig.strategy=mixed", "");
    check("helm install o nvidia/gpu-operator --set mig.strategy=mix", "DV231");
    check("helm install o nvidia/gpu-operator --set=migg.strategy=mixed", "DV233");
    check("helm install o nvidia/gpu-operator --set devicePlugin.config.name=a", "DV232");
    check("helm install o nvidia/gpu-operator --set "
          "devicePlugin.config.name=a,devicePlugin.config.default=b",
          "");
}

static void test_inside(void **state)
{
    check("sh -c 'nvidia-smi --foo'", "DV401");
    check("curl 'http://p/q?query=dcgm_fb_used'", "DV501");
    check("for i in 1; do nvidia-smi -i $i --foo; done", "DV401");
    check("X=$(nvidia-smi --foo)", "DV401");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_smi),     cmocka_unit_test(test_mig),  cmocka_unit_test(test_mps),
        cmocka_unit_test(test_kubectl), cmocka_unit_test(test_helm), cmocka_unit_test(test_inside),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
