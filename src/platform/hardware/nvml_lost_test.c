/* SPDX-License-Identifier: Apache-2.0 */
#include "abi_nvml.h"
#include "hardware/nvml_lost.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>

#include <cmocka.h>

static struct dv_nvml_lost lost;

static void make(uint32_t n_gpus, uint32_t n_places)
{
    lost = (struct dv_nvml_lost){.n_gpus = n_gpus, .n_places = n_places};
    for (uint32_t i = 0; i < n_places; i++)
        snprintf(lost.names[i], sizeof lost.names[i], "00000000:%02X:00.0", 0x10 + i);
}

static void test_by_rank(void **state)
{
    make(4, 4);
    lost.gpus[1] = lost.places[1] = DV_NVML_ERROR_UNKNOWN;
    lost.gpus[3] = lost.places[3] = DV_NVML_ERROR_GPU_IS_LOST;
    assert_string_equal(dv_nvml_lost_place(&lost, 1), "00000000:11:00.0");
    assert_string_equal(dv_nvml_lost_place(&lost, 3), "00000000:13:00.0");
    assert_null(dv_nvml_lost_place(&lost, 0));
    assert_null(dv_nvml_lost_place(&lost, 4));
}

/* A GPU that NVML does not count (another driver's, a guest's) has an address too. */
static void test_addresses_of_others(void **state)
{
    make(2, 4);
    lost.places[0] = lost.places[2] = DV_NVML_ERROR_NOT_FOUND;
    lost.gpus[1] = lost.places[3] = DV_NVML_ERROR_GPU_IS_LOST;
    assert_string_equal(dv_nvml_lost_place(&lost, 1), "00000000:13:00.0");
}

static void test_not_as_many(void **state)
{
    make(2, 2);
    lost.gpus[1] = DV_NVML_ERROR_GPU_IS_LOST; /* Linux has given it up too */
    assert_null(dv_nvml_lost_place(&lost, 1));
    lost.places[0] = lost.places[1] = DV_NVML_ERROR_UNKNOWN;
    assert_null(dv_nvml_lost_place(&lost, 1));
    make(2, 0); /* no such files here */
    lost.gpus[1] = DV_NVML_ERROR_GPU_IS_LOST;
    assert_null(dv_nvml_lost_place(&lost, 1));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_by_rank),
        cmocka_unit_test(test_addresses_of_others),
        cmocka_unit_test(test_not_as_many),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
