/* SPDX-License-Identifier: Apache-2.0 */
#include "policy/place/pod_kinds.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#define N 1000u

static struct dv_cluster_pod pod_of(uint32_t i)
{
    return (struct dv_cluster_pod){.cpu_milli = i % 10,
                                   .memory_mib = i / 10 % 10,
                                   .gpus = (uint8_t)(i / 100 % 2),
                                   .gpu_milli = (uint16_t)(i / 200 % 5),
                                   .spec = (uint16_t)(i % 3),
                                   .wish = (uint16_t)(i % 7)};
}

static void test_numbers(void **state)
{
    struct dv_pod_kinds kinds = {.v = NULL};
    struct dv_cluster_pod pod = pod_of(0);
    assert_int_equal(dv_pod_kinds_find(&kinds, &pod), DV_POD_KINDS_NONE);
    for (uint32_t i = 0; i < N; i++) {
        pod = pod_of(i);
        assert_int_equal(dv_pod_kinds_find(&kinds, &pod), DV_POD_KINDS_NONE);
        assert_int_equal(dv_pod_kinds_add(&kinds, &pod), 0);
        assert_int_equal(kinds.n, i + 1);
    }
    for (uint32_t i = 0; i < N; i++) {
        pod = pod_of(i);
        assert_int_equal(dv_pod_kinds_find(&kinds, &pod), i);
        assert_memory_equal(&kinds.v[i], &pod, sizeof pod);
    }
    dv_pod_kinds_done(&kinds);
    dv_pod_kinds_done(&kinds);
    assert_int_equal(dv_pod_kinds_find(&kinds, &pod), DV_POD_KINDS_NONE);
}

/* Each field tells two apart. */
static void test_fields(void **state)
{
    struct dv_cluster_pod pods[7];
    struct dv_pod_kinds kinds = {.v = NULL};
    for (size_t i = 0; i < DV_ARRAY_SIZE(pods); i++)
        pods[i] = (struct dv_cluster_pod){1, 2, 3, 4, 5, 6};
    pods[1].cpu_milli++;
    pods[2].memory_mib++;
    pods[3].gpus++;
    pods[4].gpu_milli++;
    pods[5].spec++;
    pods[6].wish++;
    for (uint32_t i = 0; i < DV_ARRAY_SIZE(pods); i++) {
        assert_int_equal(dv_pod_kinds_find(&kinds, &pods[i]), DV_POD_KINDS_NONE);
        assert_int_equal(dv_pod_kinds_add(&kinds, &pods[i]), 0);
    }
    for (uint32_t i = 0; i < DV_ARRAY_SIZE(pods); i++)
        assert_int_equal(dv_pod_kinds_find(&kinds, &pods[i]), i);
    dv_pod_kinds_done(&kinds);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_numbers),
        cmocka_unit_test(test_fields),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
