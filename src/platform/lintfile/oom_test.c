/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Memory runs out at each allocation in turn, ours or the YAML library's, while a text is judged
 * and mended. Each time it is -ENOMEM, nothing is handed out, and nothing leaks (which the address
 * sanitizer sees).
 */
#include "base/testing/oom.h"
#include "lintfile/lintfile.h"

#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

static const struct {
    const char *name, *text;
} cases[] = {
    {"pod.yaml", "# divvy-lint: ignore DV101\napiVersion: v1\nkind: Pod\nspec:\n  containers:\n"
                 "  - name: a\n    resources:\n      requests:\n        nvidia.com/gpu: 1\n"
                 "      limits:\n        cpu: 1\n        nvidia.com/mig-3g.20GB: 1\n"
                 "        nvidia.com/gpu.shared: -1\n"},
    {"map.yaml", "kind: ConfigMap\napiVersion: v1\ndata:\n  a: |\n    version: v1\n    flags: "
                 "{migStrategy: mixed}\n    sharing: {mps: {resources: [{name: nvidia.com/gpu, "
                 "replicas: 2}]}}\n  b: |\n    version: v1\n    mig-configs:\n      x: [{devices: "
                 "all, mig-enabled: true, mig-devices: {3g.40gb: 3}}]\n---\na: [\n"},
    {"chart.yaml", "kind: HelmChart\napiVersion: helm.sh/v1\nspec:\n  chart: nvidia-device-plugin\n"
                   "  valuesContent: |\n    config: {map: {a: \"version: v1\"}}\n    x: 1\n"},
    {"own.yaml", "apiVersion: divvy/v1\nkind: Layout\ngpus: [{gpu: 0, mig: [3g.40gb, 3g.40gb, "
                 "3g.40gb]}]\n---\napiVersion: divvy/v1\nkind: PriceList\ncurrency: USD\nprices: "
                 "[{perGpuHour: 3}]\n"},
    {"a.sh", "sh -c 'nvidia-smi mig -cgi 9,9,9 -C'\necho \"quit x\" | nvidia-cuda-mps-control\n"
             "cat <<E | kubectl apply -f -\nkind: Pod\napiVersion: v2\nE\n"
             "kubectl patch clusterpolicy p -p '{\"spec\": {\"mig\": {\"strategy\": \"x\"}}}'\n"},
    {"a.promql", "rate(dcgm_fb_used{uuid=\"x\"}[5m]) > 3\n"},
};

static int life(const char *name, const char *text)
{
    dv_cleanup(dv_str_done) struct dv_str mended = {0};
    struct dv_lintfile_options how = {0};
    struct dv_err err;
    uint32_t n = 0;
    return dv_lintfile_fix(name, text, strlen(text), &how, &mended, &n, &err);
}

static void test_every_allocation_fails_once(void **state)
{
    for (size_t i = 0; i < DV_ARRAY_SIZE(cases); i++) {
        size_t n = 1;
        for (;; n++) {
            dv_oom_at(n);
            int r = life(cases[i].name, cases[i].text);
            if (!dv_oom_end()) {
                assert_int_equal(r, 0);
                break;
            }
            if (r != -ENOMEM)
                print_message("%s, allocation %zu\n", cases[i].name, n);
            assert_int_equal(r, -ENOMEM);
        }
        assert_in_range(n, 10, 5000); /* it did try them */
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_every_allocation_fails_once),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
