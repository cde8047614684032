/* SPDX-License-Identifier: Apache-2.0 */
/* The checker itself: a legal snapshot with one thing wrong must be found out, and by the right
 * name. */
#include "model/snapshot.h"

#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#include <cmocka.h>

struct node {
    struct dv_gpu gpus[2];
    struct dv_device devices[3];
    struct dv_slice slices[3];
    struct dv_claim claims[2];
    struct dv_snapshot s;
};

/* GPU 0 whole and governed by two tenants, GPU 1 cut in two, one half held. */
static void fill(struct node *n)
{
    *n = (struct node){0};
    n->gpus[1] = (struct dv_gpu){.index = 1, .mig_capable = true, .mig_enabled = true};
    n->devices[0] = (struct dv_device){
        .uuid = "GPU-0", .memory_bytes = 100, .compute = 7000, .mode = DV_MODE_GOVERNED};
    n->devices[1] = (struct dv_device){.uuid = "MIG-a",
                                       .gpu = 1,
                                       .mig = true,
                                       .memory_bytes = 50,
                                       .compute = 3000,
                                       .mode = DV_MODE_EXCLUSIVE};
    n->devices[2] = n->devices[1];
    snprintf(n->devices[2].uuid, DV_UUID_SIZE, "MIG-b");
    n->devices[2].mode = DV_MODE_AUTO;
    n->slices[0] = (struct dv_slice){.id = 1,
                                     .tenant = "a",
                                     .device = "GPU-0",
                                     .mode = DV_MODE_GOVERNED,
                                     .memory_bytes = 60,
                                     .compute = 3500,
                                     .memory_wall = DV_WALL_COOPERATIVE,
                                     .compute_wall = DV_WALL_COOPERATIVE};
    n->slices[1] = n->slices[0];
    n->slices[1].id = 2;
    n->slices[1].memory_bytes = 40;
    n->slices[2] = (struct dv_slice){.id = 3,
                                     .tenant = "c",
                                     .device = "MIG-a",
                                     .mode = DV_MODE_EXCLUSIVE,
                                     .memory_bytes = 50,
                                     .compute = 3000,
                                     .memory_wall = DV_WALL_HARDWARE,
                                     .compute_wall = DV_WALL_HARDWARE};
    n->claims[0] = (struct dv_claim){.id = 4, .tenant = "d"};
    n->claims[1] = (struct dv_claim){.id = 5, .tenant = "d"};
    n->s = (struct dv_snapshot){.gpus = n->gpus,
                                .n_gpus = 2,
                                .devices = n->devices,
                                .n_devices = 3,
                                .slices = n->slices,
                                .n_slices = 3,
                                .claims = n->claims,
                                .n_claims = 2};
    dv_topology_init(&n->s.topology, 2);
}

#define assert_found(change, words)                                                                \
    do {                                                                                           \
        struct node n;                                                                             \
        struct dv_err err = {0};                                                                   \
        fill(&n);                                                                                  \
        assert_int_equal(dv_snapshot_check(&n.s, &err), 0);                                        \
        change;                                                                                    \
        assert_int_equal(dv_snapshot_check(&n.s, &err), -EINVAL);                                  \
        if (!strstr(err.msg, words))                                                               \
            fail_msg("%s: \"%s\" expected", err.msg, words);                                       \
    } while (0)

static void test_every_rule(void **state)
{
    assert_found(n.gpus[1].index = 0, "GPU 0 is out of order");
    assert_found(n.devices[0].gpu = 9, "GPU 9, which is not there");
    assert_found(n.gpus[1].mig_enabled = false, "whose MIG mode is off");
    assert_found(n.devices[2].uuid[4] = 'a', "device MIG-a is out of order");
    assert_found(n.devices[2].memory_bytes = 0, "has 0 bytes");
    assert_found(n.slices[1].memory_bytes = 41, "2 slices hold 101 of 100 bytes");
    assert_found(n.slices[1].compute = 3501, "compute 7001 of 7000");
    assert_found(n.devices[2].mode = DV_MODE_GOVERNED, "in mode governed, auto expected");
    assert_found(n.devices[0].mode = DV_MODE_AUTO, "in mode auto, governed expected");
    assert_found(n.devices[0].layout = DV_MODE_EXCLUSIVE, "laid out as exclusive");
    assert_found(n.slices[1].mode = DV_MODE_EXCLUSIVE, "slice 2 is exclusive on a device");
    assert_found(n.devices[2].replicas = 2, "2 replicas in layout mode auto");
    assert_found(n.slices[1].id = 1, "slice 1 is out of order");
    assert_found(n.slices[2].device[4] = 'x', "in mode exclusive, auto expected");
    assert_found(n.slices[2].memory_bytes = 0, "slice 3 has 0 bytes");
    assert_found(n.slices[0].trust = DV_TRUST_UNTRUSTED, "untrusted behind a cooperative wall");
    assert_found(n.slices[2].tenant[0] = 0, "name is empty");
    assert_found(n.claims[0].id = 3, "claim 3 waits and has a slice");
    assert_found(n.claims[1].id = 4, "claim 4 is out of order");
    assert_found(n.claims[1].tenant[0] = '\n', "0x0a");
    assert_found(n.s.topology.links[0][1].kind = DV_LINK_PIX, "PIX one way");
}

static void test_two_on_an_exclusive_device(void **state)
{
    assert_found(
        {
            n.slices[0].mode = n.slices[1].mode = DV_MODE_EXCLUSIVE;
            n.devices[0].mode = DV_MODE_EXCLUSIVE;
        },
        "is exclusive and has 2 slices");
    assert_found(
        {
            n.devices[0].layout = DV_MODE_GOVERNED;
            n.devices[0].replicas = 1;
        },
        "1 replicas and 2 slices");
}

static void test_held(void **state)
{
    struct node n;
    fill(&n);
    struct dv_held held = dv_snapshot_held(&n.s, "GPU-0");
    assert_true(held.memory_bytes == 100 && held.compute == 7000 && held.slices == 2);
    assert_ptr_equal(held.first, &n.slices[0]);
    held = dv_snapshot_held(&n.s, "MIG-b");
    assert_true(!held.memory_bytes && !held.slices && !held.first);
}

/* A change of any one field is a difference. */
static void test_equal_looks_at_everything(void **state)
{
    struct node n;
    dv_cleanup(dv_snapshot_freep) struct dv_snapshot *copy = NULL;
    fill(&n);
    assert_int_equal(dv_snapshot_dup(&n.s, &copy), 0);
    assert_true(dv_snapshot_equal(&n.s, copy));
    uint64_t *numbers[] = {&n.gpus[0].memory_bytes,    &n.gpus[1].context_bytes,
                           &n.devices[2].memory_bytes, &n.slices[1].since_ns,
                           &n.slices[2].memory_bytes,  &n.claims[0].since_ns};
    char *texts[] = {n.gpus[0].health_detail, n.gpus[1].pci_bus_id, n.devices[0].profile,
                     n.slices[0].tenant,      n.claims[1].tenant,   n.claims[0].gpu.text};
    for (size_t i = 0; i < DV_ARRAY_SIZE(numbers); i++) {
        ++*numbers[i];
        assert_false(dv_snapshot_equal(&n.s, copy));
        --*numbers[i];
        texts[i][0] ^= 'x';
        assert_false(dv_snapshot_equal(&n.s, copy));
        texts[i][0] ^= 'x';
    }
    n.s.topology.numa[1] = 1;
    assert_false(dv_snapshot_equal(&n.s, copy));
    n.s.topology.numa[1] = -1;
    struct dv_link link = {DV_LINK_NVLINK, 4, DV_LINK_SYS};
    dv_topology_set(&copy->topology, 0, 1, link);
    dv_topology_set(&n.s.topology, 0, 1, link);
    assert_true(dv_snapshot_equal(&n.s, copy));
    link.pcie = DV_LINK_PIX;
    dv_topology_set(&n.s.topology, 0, 1, link);
    assert_false(dv_snapshot_equal(&n.s, copy));
    dv_topology_set(&copy->topology, 0, 1, link);
    n.s.version++;
    assert_true(dv_snapshot_equal(&n.s, copy));
    n.s.n_claims--;
    assert_false(dv_snapshot_equal(&n.s, copy));
}

static void test_words(void **state)
{
    assert_string_equal(dv_gpu_health_name(DV_GPU_HEALTH_OK), "ok");
    assert_string_equal(dv_gpu_health_name(DV_GPU_HEALTH_DEGRADED), "degraded");
    assert_string_equal(dv_gpu_health_name(DV_GPU_HEALTH_FAILED), "failed");
    assert_string_equal(dv_gpu_health_name(DV_GPU_HEALTH_UNKNOWN), "unknown");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_every_rule), cmocka_unit_test(test_two_on_an_exclusive_device),
        cmocka_unit_test(test_held),       cmocka_unit_test(test_equal_looks_at_everything),
        cmocka_unit_test(test_words),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
