/* SPDX-License-Identifier: Apache-2.0 */
#include "render/gpu_request_text.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#include <cmocka.h>

static void test_words(void **state)
{
    static const struct {
        const char *resource, *request, *limit, *label, *words;
    } all[] = {
        {"nvidia.com/gpu", "250m", "250m", NULL,
         "nvidia.com/gpu: 0.25 becomes divvy.dev/gpu-percent: 25, 25 % of one GPU's memory and "
         "compute"},
        {"nvidia.com/gpu", NULL, "125m", NULL,
         "nvidia.com/gpu: 0.125 is no whole percent of a GPU; 0.12 or 0.13 would pass"},
        {"nvidia.com/gpu", NULL, "999m", NULL,
         "nvidia.com/gpu: 0.999 is no whole percent of a GPU; 0.99 or 1 would pass"},
        {"nvidia.com/gpu", NULL, "1m", NULL,
         "nvidia.com/gpu: 0.001 is no whole percent of a GPU; 0.01 would pass"},
        {"nvidia.com/gpu", NULL, "1.5", NULL,
         "nvidia.com/gpu: 1.5 is neither whole GPUs nor a fraction of one: a slice lies on one "
         "GPU; 1 or 2, or at most 0.99, would pass"},
        {"nvidia.com/gpu", "1", "2", NULL,
         "nvidia.com/gpu: 1 under requests, 2 under limits: they must be equal"},
        {"nvidia.com/gpu", "1", NULL, NULL,
         "nvidia.com/gpu: 1 is under requests only, and Kubernetes wants the same under limits; "
         "write it there (requests follow by themselves)"},
        {"nvidia.com/gpu", NULL, "-1", NULL,
         "nvidia.com/gpu: -1 is negative; leave it out, or ask for 1 or for a fraction as 0.25"},
        {"nvidia.com/gpu", NULL, "half", NULL,
         "nvidia.com/gpu: 'half' is no quantity that can be had; ask for 1 or for a fraction as "
         "0.25"},
        {"divvy.dev/gpu-percent", NULL, "150", NULL,
         "divvy.dev/gpu-percent: 150 is more than one GPU has; at most 100, or nvidia.com/gpu for "
         "whole GPUs"},
        {"nvidia.com/gpu.shared", NULL, "0.5", NULL,
         "nvidia.com/gpu.shared: 0.5 cannot be divided; ask for whole shares, as 1, or for a "
         "fraction by nvidia.com/gpu: 0.25"},
        {"nvidia.com/gpu", NULL, "1", "mig-only",
         "nvidia.com/gpu: 1 asks for whole GPUs, and the namespace's label gpu-strategy allows "
         "only MIG devices; nvidia.com/mig-1g.10gb: 1 would pass"},
        {"nvidia.com/gpu", NULL, "1", "mig_shared",
         "nvidia.com/gpu: 1 asks for whole GPUs, and the namespace's label gpu-strategy allows "
         "only MIG devices, shared GPUs and governed fractions; nvidia.com/mig-1g.10gb: 1, "
         "nvidia.com/gpu.shared: 1 or nvidia.com/gpu: 0.25 would pass"},
        {"nvidia.com/gpu-a100", NULL, "1", "whole",
         "nvidia.com/gpu-a100: 1 asks for governed slices (so its name says; --resource of the "
         "webhook may say otherwise), and the namespace's label gpu-strategy allows only whole "
         "GPUs; nvidia.com/gpu: 1 would pass"},
        {"divvy.dev/small", NULL, "1", "whole",
         "divvy.dev/small: 1 asks for governed slices, and the namespace's label gpu-strategy "
         "allows only whole GPUs; nvidia.com/gpu: 1 would pass"},
        {"nvidia.com/gpu", NULL, "1", NULL, "nvidia.com/gpu: 1, whole GPUs"},
        {"cpu", NULL, "1", NULL, "no GPU"},
    };
    for (size_t i = 0; i < DV_ARRAY_SIZE(all); i++) {
        struct dv_gpu_ask ask = {all[i].resource, all[i].request, all[i].limit};
        struct dv_gpu_verdict v;
        uint32_t allowed;
        dv_cleanup(dv_str_done) struct dv_str s = {0};
        assert_int_equal(dv_gpu_strategy_parse(all[i].label, &allowed), 0);
        dv_gpu_request_judge(&ask, 1, allowed, &v);
        dv_gpu_request_text(&v, &s);
        assert_string_equal(dv_str_get(&s), all[i].words);
    }
}

static void test_declared(void **state)
{
    struct dv_gpu_ask asks[] = {{"nvidia.com/gpu-a100", NULL, "1", DV_GPU_KIND_WHOLE},
                                {"nvidia.com/gpu-a100", NULL, "0.5", DV_GPU_KIND_WHOLE}};
    static const char *const words[] = {
        "nvidia.com/gpu-a100: 1, whole GPUs",
        "nvidia.com/gpu-a100: 0.5 cannot be divided; ask for whole ones, as 1, or for a fraction "
        "by nvidia.com/gpu: 0.25"};
    for (size_t i = 0; i < DV_ARRAY_SIZE(asks); i++) {
        struct dv_gpu_verdict v;
        dv_cleanup(dv_str_done) struct dv_str s = {0};
        dv_gpu_request_judge(&asks[i], 1, DV_GPU_REQUEST_ANY, &v);
        dv_gpu_request_text(&v, &s);
        assert_string_equal(dv_str_get(&s), words[i]);
    }
}

static void test_unknown_label(void **state)
{
    struct dv_gpu_ask ask = {"nvidia.com/gpu", NULL, "1"};
    struct dv_gpu_verdict v;
    dv_cleanup(dv_str_done) struct dv_str s = {0};
    dv_gpu_request_judge(&ask, 1, 0, &v);
    dv_gpu_request_text(&v, &s);
    assert_non_null(strstr(dv_str_get(&s), "a value that is not known"));
    assert_non_null(strstr(dv_str_get(&s), "any, whole, "));
}

/* Kubernetes cuts warnings after 256 characters. */
static void test_warnings(void **state)
{
    struct dv_gpu_ask ask = {"nvidia.com/gpu", NULL, "0.25"};
    struct dv_gpu_verdict v;
    char value[500];
    memset(value, 'x', sizeof value - 1);
    value[sizeof value - 1] = 0;
    dv_gpu_request_judge(&ask, 1, DV_GPU_REQUEST_ANY, &v);
    for (int w = DV_GPU_REQUEST_QUIET; w <= DV_GPU_REQUEST_MPS_PERCENTAGE; w++) {
        dv_cleanup(dv_str_done) struct dv_str s = {0};
        dv_gpu_request_text_warning(&v, (enum dv_gpu_request_warning)w, value, &s);
        assert_int_equal(s.len != 0, w != DV_GPU_REQUEST_QUIET);
        assert_true(s.len < 180);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_words),
        cmocka_unit_test(test_unknown_label),
        cmocka_unit_test(test_declared),
        cmocka_unit_test(test_warnings),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
