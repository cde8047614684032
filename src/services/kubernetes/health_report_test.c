/* SPDX-License-Identifier: Apache-2.0 */
/* The words of the condition; events and pods: tests/kubernetes/health_test.py. */
#include "kubernetes/health_report.h"
#include "missing.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

static struct dv_gpu gpus[32];
static struct dv_snapshot snapshot = {.gpus = gpus};
static struct dv_node node = {.snapshot = &snapshot};

static void make(size_t n)
{
    snapshot.n_gpus = n;
    for (uint32_t i = 0; i < n; i++) {
        gpus[i] = (struct dv_gpu){.index = i, .health = DV_GPU_HEALTH_OK};
        snprintf(gpus[i].uuid, sizeof gpus[i].uuid, "GPU-%08x-0000-4000-8000-000000000000", i);
    }
}

static void ail(uint32_t i, enum dv_gpu_health health, const char *why)
{
    gpus[i].health = health;
    snprintf(gpus[i].health_detail, sizeof gpus[i].health_detail, "%s", why);
}

static void check(uint32_t sick, const char *words)
{
    dv_cleanup(dv_str_done) struct dv_str text = {0};
    assert_int_equal(dv_health_report_text(&node, &text), sick);
    assert_string_equal(dv_str_get(&text), words);
}

static void test_words(void **state)
{
    make(0);
    check(0, "0 GPUs are well");
    make(1);
    check(0, "1 GPU is well");
    make(8);
    ail(1, DV_GPU_HEALTH_DEGRADED, "2 NVLinks are down");
    check(0, "8 GPUs are well");
    ail(3, DV_GPU_HEALTH_FAILED, "XID 79; until the GPU is reset");
    ail(5, DV_GPU_HEALTH_UNKNOWN, "");
    check(2, "GPU 3 (GPU-00000003-0000-4000-8000-000000000000): XID 79; until the GPU is reset, "
             "GPU 5 (GPU-00000005-0000-4000-8000-000000000000): unknown");
}

/* Since before divvyd has seen it: its address is known, or not even that. */
static void test_strangers(void **state)
{
    struct dv_gpu lost = {.index = 2, .health = DV_GPU_HEALTH_FAILED};
    make(2);
    node.gpus[2].stranger = &lost;
    snprintf(lost.health_detail, sizeof lost.health_detail, "lost");
    check(1, "GPU 2: lost");
    snprintf(lost.pci_bus_id, sizeof lost.pci_bus_id, "00000000:3B:00.0");
    check(1, "GPU 2 (at PCI 00000000:3B:00.0): lost");
    snprintf(lost.uuid, sizeof lost.uuid, "GPU-1");
    check(1, "GPU 2 (GPU-1): lost");
    lost.health = DV_GPU_HEALTH_OK;
    check(0, "3 GPUs are well");
    node.gpus[2].stranger = NULL;
}

/* Counted no more: by its UUID, for its index may be another's. */
static void test_missing(void **state)
{
    make(3);
    node.driver.gpus = 3;
    dv_missing_load(&node);
    dv_missing_tick(&node);
    struct dv_gpu was = gpus[1];
    make(3);
    gpus[1] = gpus[2];
    gpus[1].index = 1;
    snapshot.n_gpus = 2;
    node.driver.gpus = 2;
    dv_missing_tick(&node);
    check(0, "2 GPUs are well");
    dv_missing_tick(&node);
    check(
        1,
        "GPU-00000001-0000-4000-8000-000000000000 (GPU 1 before): the driver no longer counts it");
    ail(0, DV_GPU_HEALTH_FAILED, "XID 79; until the GPU is reset");
    check(
        2,
        "GPU 0 (GPU-00000000-0000-4000-8000-000000000000): XID 79; until the GPU is reset, "
        "GPU-00000001-0000-4000-8000-000000000000 (GPU 1 before): the driver no longer counts it");
    /* It stays in the snapshot while somebody holds a part of it: it is named once. */
    gpus[2] = was;
    gpus[2].index = 2;
    snapshot.n_gpus = 3;
    check(
        2,
        "GPU 0 (GPU-00000000-0000-4000-8000-000000000000): XID 79; until the GPU is reset, "
        "GPU-00000001-0000-4000-8000-000000000000 (GPU 1 before): the driver no longer counts it");
    dv_missing_free(&node);
}

/* It says how many it does not name, and does not grow. */
static void test_many(void **state)
{
    dv_cleanup(dv_str_done) struct dv_str text = {0};
    make(32);
    for (uint32_t i = 0; i < 32; i++)
        ail(i, DV_GPU_HEALTH_UNKNOWN, "the driver does not answer; until it does");
    assert_int_equal(dv_health_report_text(&node, &text), 32);
    assert_in_range(text.len, 300, 500);
    assert_non_null(strstr(dv_str_get(&text), " more"));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_words),
        cmocka_unit_test(test_strangers),
        cmocka_unit_test(test_missing),
        cmocka_unit_test(test_many),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
