/* SPDX-License-Identifier: Apache-2.0 */
/* The driver's figures in ours, and drivers that have only some of the calls. */
#include "hardware/nvml_accounting.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>

#include <cmocka.h>

static struct dv_facts_accounted convert(struct dv_nvml_accounting_stats_v2 s, uint64_t now_us)
{
    struct dv_facts_accounted f;
    dv_nvml_accounting_convert(&s, now_us, &f);
    return f;
}

static void test_ended(void **state)
{
    struct dv_facts_accounted f =
        convert((struct dv_nvml_accounting_stats_v2){.pid = 7,
                                                     .gpu_utilization = 33,
                                                     .max_memory_usage = 5,
                                                     .sample_count = 6,
                                                     .sum_gpu_util = 6 * 3333,
                                                     .time_ms = 1000,
                                                     .start_time_us = 99},
                0);
    assert_int_equal(f.pid, 7);
    assert_int_equal(f.is_running, 0);
    assert_int_equal(f.start_us, 99);
    assert_int_equal(f.life_ns, DV_NS_PER_S);
    assert_int_equal(f.busy_ns, 333300000);
    assert_int_equal(f.resolution_ns, DV_NS_PER_MS);
    assert_int_equal(f.max_memory_bytes, 5);
}

static void test_without_samples(void **state)
{
    struct dv_facts_accounted f =
        convert((struct dv_nvml_accounting_stats_v2){.gpu_utilization = 33, .time_ms = 1000}, 0);
    assert_int_equal(f.busy_ns, 330000000);
    assert_int_equal(f.resolution_ns, 10 * DV_NS_PER_MS);
    f = convert((struct dv_nvml_accounting_stats_v2){.gpu_utilization = 50, .time_ms = 2}, 0);
    assert_int_equal(f.busy_ns, DV_NS_PER_MS);
    assert_int_equal(f.resolution_ns, DV_NS_PER_MS); /* nothing is told finer */
}

static void test_running(void **state)
{
    struct dv_nvml_accounting_stats_v2 s = {
        .is_running = 1, .sample_count = 12, .sum_gpu_util = 12 * 5000, .start_time_us = 1000000};
    struct dv_facts_accounted f = convert(s, 3000000);
    assert_int_equal(f.is_running, 1);
    assert_int_equal(f.life_ns, 2 * DV_NS_PER_S);
    assert_int_equal(f.busy_ns, DV_NS_PER_S);
    assert_int_equal(f.resolution_ns, 2 * DV_NS_PER_S / 12);
    f = convert(s, 5); /* a clock set back */
    assert_int_equal(f.life_ns, 0);
    assert_int_equal(f.busy_ns, 0);
}

/* Nobody uses a GPU for longer than he lives; and a long life does not overflow. */
static void test_bounds(void **state)
{
    struct dv_facts_accounted f = convert(
        (struct dv_nvml_accounting_stats_v2){
            .sample_count = 1, .sum_gpu_util = UINT64_MAX, .time_ms = UINT64_C(315360000000)},
        0);
    assert_int_equal(f.busy_ns, f.life_ns);
    assert_int_equal(f.life_ns, UINT64_C(315360000000) * DV_NS_PER_MS);
    f = convert((struct dv_nvml_accounting_stats_v2){.gpu_utilization = 250, .time_ms = 10}, 0);
    assert_int_equal(f.busy_ns, f.life_ns);
}

/* ---- calls that are there or not ---- */

static uint32_t mode_now;
static int set_answer, sets;

static int get(struct dv_nvml_device *device, uint32_t *mode)
{
    *mode = mode_now;
    return DV_NVML_SUCCESS;
}

static int set(struct dv_nvml_device *device, uint32_t mode)
{
    sets++;
    return set_answer;
}

static int stats(struct dv_nvml_device *device, uint32_t pid, struct dv_nvml_accounting_stats *s)
{
    *s = (struct dv_nvml_accounting_stats){.gpu_utilization = 10, .time_ms = 100};
    return pid == 1 ? DV_NVML_SUCCESS : DV_NVML_ERROR_NOT_FOUND;
}

static int stats_v2(struct dv_nvml_device *device, struct dv_nvml_accounting_stats_v2 *s)
{
    s->sample_count = 1;
    s->sum_gpu_util = 1234;
    s->time_ms = 100;
    return s->pid == 1 ? DV_NVML_SUCCESS : DV_NVML_ERROR_NOT_FOUND;
}

static int stats_v2_absent(struct dv_nvml_device *device, struct dv_nvml_accounting_stats_v2 *s)
{
    return DV_NVML_ERROR_FUNCTION_NOT_FOUND;
}

static void test_forms(void **state)
{
    struct dv_nvml_accounting a = {.stats = stats};
    struct dv_facts_accounted f;
    assert_int_equal(dv_nvml_accounting_read(&a, NULL, 1, &f), DV_NVML_SUCCESS);
    assert_int_equal(f.busy_ns, 10 * DV_NS_PER_MS);
    a.stats_v2 = stats_v2_absent;
    assert_int_equal(dv_nvml_accounting_read(&a, NULL, 1, &f), DV_NVML_SUCCESS);
    assert_int_equal(f.busy_ns, 10 * DV_NS_PER_MS);
    assert_int_equal(f.pid, 1);
    a.stats_v2 = stats_v2;
    assert_int_equal(dv_nvml_accounting_read(&a, NULL, 1, &f), DV_NVML_SUCCESS);
    assert_int_equal(f.busy_ns, 12340000);
    assert_int_equal(dv_nvml_accounting_read(&a, NULL, 2, &f), DV_NVML_ERROR_NOT_FOUND);
    a = (struct dv_nvml_accounting){0};
    assert_int_equal(dv_nvml_accounting_read(&a, NULL, 1, &f), DV_NVML_ERROR_FUNCTION_NOT_FOUND);
}

static void test_mode(void **state)
{
    struct dv_nvml_accounting a = {0};
    assert_int_equal(dv_nvml_accounting_mode(&a, NULL), DV_FACT_UNKNOWN32);
    assert_int_equal(dv_nvml_accounting_set(&a, NULL, true), DV_NVML_ERROR_FUNCTION_NOT_FOUND);
    a = (struct dv_nvml_accounting){.get = get, .set = set};
    mode_now = 1;
    set_answer = DV_NVML_ERROR_NO_PERMISSION;
    assert_int_equal(dv_nvml_accounting_set(&a, NULL, true), DV_NVML_SUCCESS); /* it is on */
    assert_int_equal(sets, 0);
    assert_int_equal(dv_nvml_accounting_set(&a, NULL, false), DV_NVML_ERROR_NO_PERMISSION);
    assert_int_equal(sets, 1);
    mode_now = 7;
    assert_int_equal(dv_nvml_accounting_mode(&a, NULL), DV_FACT_UNKNOWN32);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_ended),   cmocka_unit_test(test_without_samples),
        cmocka_unit_test(test_running), cmocka_unit_test(test_bounds),
        cmocka_unit_test(test_forms),   cmocka_unit_test(test_mode),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
