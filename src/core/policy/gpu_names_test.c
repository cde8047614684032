/* SPDX-License-Identifier: Apache-2.0 */
#include "policy/gpu_names.h"

#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#include <cmocka.h>

static void test_declared(void **state)
{
    struct dv_gpu_names names = {0};
    struct dv_err err;
    assert_int_equal(dv_gpu_names_add(&names, "nvidia.com/gpu-a100=whole", &err), 0);
    assert_int_equal(dv_gpu_names_add(&names,
                                      "nvidia.com/a100-small=governed,nvidia.com/small=mig,"
                                      "nvidia.com/gpu=shared,divvy.dev/odd=shared",
                                      &err),
                     0);
    assert_int_equal(names.n, 5);
    assert_int_equal(dv_gpu_names_kind(&names, "nvidia.com/gpu-a100"), DV_GPU_KIND_WHOLE);
    assert_int_equal(dv_gpu_names_kind(&names, "nvidia.com/a100-small"), DV_GPU_KIND_SLICE);
    assert_int_equal(dv_gpu_names_kind(&names, "nvidia.com/small"), DV_GPU_KIND_MIG);
    assert_int_equal(dv_gpu_names_kind(&names, "nvidia.com/gpu"), DV_GPU_KIND_SHARED);
    assert_int_equal(dv_gpu_names_kind(&names, "divvy.dev/odd"), DV_GPU_KIND_SHARED);
    /* All others by their form. */
    assert_int_equal(dv_gpu_names_kind(&names, "nvidia.com/gpu-a10"), DV_GPU_KIND_SLICE);
    assert_int_equal(dv_gpu_names_kind(&names, "nvidia.com/gpu.shared"), DV_GPU_KIND_SHARED);
    assert_int_equal(dv_gpu_names_kind(&names, "nvidia.com/a100"), DV_GPU_KIND_NONE);
    assert_int_equal(dv_gpu_names_kind(NULL, "nvidia.com/gpu-a100"), DV_GPU_KIND_SLICE);
    assert_int_equal(dv_gpu_names_declared(&names, "nvidia.com/gpu"), DV_GPU_KIND_SHARED);
    assert_int_equal(dv_gpu_names_declared(&names, "nvidia.com/gpu.shared"), DV_GPU_KIND_NONE);
    assert_int_equal(dv_gpu_names_declared(NULL, "nvidia.com/gpu"), DV_GPU_KIND_NONE);
    /* The same again is no news. */
    assert_int_equal(dv_gpu_names_add(&names, "nvidia.com/gpu-a100=whole", &err), 0);
    assert_int_equal(names.n, 5);
}

static void test_refused(void **state)
{
    static const struct {
        const char *text, *words;
    } all[] = {
        {"", "NAME=MODE"},
        {"nvidia.com/gpu-a100", "NAME=MODE"},
        {"nvidia.com/gpu-a100=", "is no mode"},
        {"nvidia.com/gpu-a100=hole", "did you mean 'whole'"},
        {"nvidia.com/x=whole,", "NAME=MODE"},
        {"gpu-a100=whole", "nvidia.com/"},
        {"nvidia.com/=whole", "nvidia.com/"},
        {"amd.com/gpu=whole", "nvidia.com/"},
        {"nvidia.com/A100=whole", "small letters"},
        {"nvidia.com/a/b=whole", "small letters"},
        {"nvidia.com/-a=whole", "small letters"},
        {"nvidia.com/a.=whole", "small letters"},
        {"divvy.dev/gpu-percent=whole", "percent"},
        {"nvidia.com/b=whole,nvidia.com/b=mig", "already"},
        {"nvidia.com/aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa=whole", "63"},
    };
    for (size_t i = 0; i < DV_ARRAY_SIZE(all); i++) {
        struct dv_gpu_names names = {0};
        struct dv_err err = {{0}};
        if (dv_gpu_names_add(&names, all[i].text, &err) != -EINVAL)
            fail_msg("'%s' was taken", all[i].text);
        if (!strstr(err.msg, all[i].words))
            fail_msg("'%s': %s", all[i].text, err.msg);
    }
}

static void test_many(void **state)
{
    struct dv_gpu_names names = {0};
    struct dv_err err;
    char text[64];
    for (unsigned i = 0; i < DV_GPU_NAMES_MAX; i++) {
        snprintf(text, sizeof text, "nvidia.com/a%u=whole", i);
        assert_int_equal(dv_gpu_names_add(&names, text, &err), 0);
    }
    assert_int_equal(dv_gpu_names_add(&names, "nvidia.com/b=whole", &err), -E2BIG);
    assert_int_equal(dv_gpu_names_add(&names, "nvidia.com/a7=whole", &err), 0);
    assert_int_equal(names.n, DV_GPU_NAMES_MAX);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_declared),
        cmocka_unit_test(test_refused),
        cmocka_unit_test(test_many),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
