/* SPDX-License-Identifier: Apache-2.0 */
/* Who is a stranger, and what is remembered of it. With a driver: tests/e2e/health_test.py. */
#include "strangers.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <cmocka.h>

static char dir[64];
static struct dv_node *node;

/* A daemon that starts: it knows what the store knows. */
static void begin(void)
{
    dv_cleanup(dv_str_done) struct dv_str note = {0};
    struct dv_err err = {0};
    node = calloc(1, sizeof *node);
    assert_non_null(node);
    assert_int_equal(dv_snapshot_new(&node->snapshot), 0);
    assert_int_equal(dv_store_open(dir, &node->store, &note, &err), 0);
}

static void end(void)
{
    dv_strangers_free(node);
    dv_store_close(node->store);
    dv_snapshot_free(node->snapshot);
    free(node);
}

static int set_up(void **state)
{
    snprintf(dir, sizeof dir, "/tmp/divvy-strangers-XXXXXX");
    return mkdtemp(dir) ? (begin(), 0) : -1;
}

static int tear_down(void **state)
{
    char command[96];
    end();
    snprintf(command, sizeof command, "rm -r %s", dir);
    return system(command);
}

static void see(uint32_t index, const char *uuid)
{
    struct dv_event e = {.kind = DV_EVENT_GPU_SEEN, .gpu = {.index = index, .numa = -1}};
    struct dv_err err = {0};
    snprintf(e.gpu.uuid, sizeof e.gpu.uuid, "%s", uuid);
    snprintf(e.gpu.model, sizeof e.gpu.model, "NVIDIA A100 80GB");
    if (index != 2) /* of which nobody knows where it is */
        snprintf(e.gpu.pci_bus_id, sizeof e.gpu.pci_bus_id, "00000000:%02X:00.0", index + 1);
    assert_int_equal(dv_event_apply(node->snapshot, &e, &err), 0);
}

static const struct dv_gpu *stranger(uint32_t index)
{
    const struct dv_gpu *gpu = dv_strangers_gpu(node, index);
    assert_non_null(gpu);
    assert_null(dv_snapshot_gpu(node->snapshot, index));
    assert_int_equal(gpu->index, index);
    return gpu;
}

static void see_all(void)
{
    static const char *const uuids[] = {"GPU-a", "GPU-b", "GPU-c", "GPU-d"};
    node->driver.gpus = 4;
    for (uint32_t i = 0; i < 4; i++)
        see(i, uuids[i]);
    dv_strangers_tick(node);
    end();
    begin();
    node->driver.gpus = 4;
}

static void test_the_first_start(void **state)
{
    node->driver.gpus = 2;
    see(0, "GPU-a");
    dv_strangers_tick(node);
    assert_string_equal(stranger(1)->uuid, "");
    assert_null(dv_strangers_gpu(node, 2));
    assert_null(dv_strangers_gpu(node, DV_FACTS_GPUS_MAX));
    see(1, "GPU-b"); /* it is back */
    dv_strangers_tick(node);
    assert_ptr_equal(dv_strangers_gpu(node, 1), dv_snapshot_gpu(node->snapshot, 1));
    assert_null(node->gpus[1].stranger);
}

static void test_by_elimination(void **state)
{
    see_all();
    see(0, "GPU-a");
    see(3, "GPU-d");
    dv_strangers_tick(node);
    assert_string_equal(stranger(1)->uuid, "GPU-b");
    assert_string_equal(stranger(1)->pci_bus_id, "00000000:02:00.0");
    assert_string_equal(stranger(1)->model, "NVIDIA A100 80GB");
    assert_string_equal(stranger(2)->uuid, "GPU-c");
    assert_string_equal(stranger(2)->pci_bus_id, "");
    node->driver.gpus = 1; /* the driver counts it no more */
    dv_strangers_tick(node);
    assert_null(dv_strangers_gpu(node, 1));
}

/* A new card beside the lost one, or one taken out: who is who cannot be told, nor forgotten. */
static void test_not_as_many(void **state)
{
    see_all();
    see(0, "GPU-a");
    see(2, "GPU-new");
    dv_strangers_tick(node);
    assert_string_equal(stranger(1)->uuid, "");
    end();
    begin();
    node->driver.gpus = 4;
    see(0, "GPU-a");
    see(2, "GPU-c");
    see(3, "GPU-d");
    dv_strangers_tick(node);
    assert_string_equal(stranger(1)->uuid, "GPU-b");
}

static void test_what_the_driver_says_counts(void **state)
{
    node->driver.gpus = 1;
    node->gpus[0].facts = calloc(1, sizeof *node->gpus[0].facts);
    assert_non_null(node->gpus[0].facts);
    snprintf(node->gpus[0].facts->pci, sizeof node->gpus[0].facts->pci, "00000000:3B:00.0");
    dv_strangers_tick(node);
    assert_string_equal(stranger(0)->pci_bus_id, "00000000:3B:00.0");
    free(node->gpus[0].facts);
}

static void test_damage(void **state)
{
    static const char *const texts[] = {"", "\n", "GPU-a", "GPU-a\n", "GPU-a \n\n\n", "%s %n\n"};
    char longer[400];
    memset(longer, 'x', sizeof longer);
    memcpy(longer + sizeof longer - 2, "\n", 2);
    for (size_t i = 0; i <= DV_ARRAY_SIZE(texts); i++) {
        const char *text = i < DV_ARRAY_SIZE(texts) ? texts[i] : longer;
        struct dv_store_document d = {.key = "gpus", .text = text, .len = strlen(text)};
        struct dv_err err = {0};
        assert_int_equal(dv_store_put_document(node->store, &d, &err), 0);
        end();
        begin();
        node->driver.gpus = 1;
        dv_strangers_tick(node);
        assert_string_equal(stranger(0)->uuid, "");
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(test_the_first_start, set_up, tear_down),
        cmocka_unit_test_setup_teardown(test_by_elimination, set_up, tear_down),
        cmocka_unit_test_setup_teardown(test_not_as_many, set_up, tear_down),
        cmocka_unit_test_setup_teardown(test_what_the_driver_says_counts, set_up, tear_down),
        cmocka_unit_test_setup_teardown(test_damage, set_up, tear_down),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
