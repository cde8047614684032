/* SPDX-License-Identifier: Apache-2.0 */
/* Whom claims wait for in the queue, how many holders are kept, and what the store brings back.
 * Waiting for turns needs an arbiter: src/core/govern/lost_test.c, tests/e2e/waits_test.py. */
#include "base/units.h"
#include "store/store.h"
#include "waits.h"

#include <dirent.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <cmocka.h>

#define S DV_NS_PER_S

static struct dv_node *node_new(void)
{
    struct dv_node *node = calloc(1, sizeof *node);
    assert_int_equal(dv_snapshot_new(&node->snapshot), 0);
    return node;
}

static void node_free(struct dv_node *node)
{
    for (size_t i = 0; i < node->n_tenants; i++)
        dv_waits_done(&node->tenants[i].spent);
    free(node->tenants);
    dv_snapshot_free(node->snapshot);
    free(node);
}

static void apply(struct dv_node *node, const struct dv_event *e)
{
    struct dv_err err = {0};
    if (dv_event_apply(node->snapshot, e, &err) < 0)
        fail_msg("%s", err.msg);
}

static void add_gpu(struct dv_node *node, uint32_t index)
{
    struct dv_event e = {.kind = DV_EVENT_GPU_SEEN,
                         .gpu = {.index = index,
                                 .model = "NVIDIA A100-SXM4-80GB",
                                 .memory_bytes = 80 * DV_GIB,
                                 .usable_bytes = 80 * DV_GIB,
                                 .context_bytes = 300 * DV_MIB,
                                 .health = DV_GPU_HEALTH_OK}};
    struct dv_event d = {
        .kind = DV_EVENT_DEVICE_SEEN,
        .device = {.gpu = index, .memory_bytes = 80 * DV_GIB, .compute = DV_COMPUTE_FULL}};
    snprintf(e.gpu.uuid, sizeof e.gpu.uuid, "GPU-%u", index);
    snprintf(d.device.uuid, sizeof d.device.uuid, "GPU-%u", index);
    apply(node, &e);
    apply(node, &d);
}

static void hold(struct dv_node *node, uint64_t id, const char *tenant, uint32_t gpu,
                 uint32_t compute)
{
    struct dv_event e = {.kind = DV_EVENT_SLICE_GRANTED,
                         .slice = {.id = id,
                                   .mode = DV_MODE_GOVERNED,
                                   .memory_bytes = DV_GIB,
                                   .compute = compute,
                                   .memory_wall = DV_WALL_COOPERATIVE,
                                   .compute_wall = DV_WALL_COOPERATIVE}};
    strcpy(e.slice.tenant, tenant);
    snprintf(e.slice.device, sizeof e.slice.device, "GPU-%u", gpu);
    apply(node, &e);
}

static struct dv_holding queue(struct dv_node *node, uint64_t id, const char *tenant,
                               const char *gpu)
{
    struct dv_holding h = {.node = node, .state = DV_HOLDING_QUEUED, .entity = UINT32_MAX};
    struct dv_err err = {0};
    h.claim = (struct dv_claim){
        .id = id, .mode = DV_MODE_GOVERNED, .memory_bytes = DV_GIB, .compute = 5000, .wait = true};
    strcpy(h.claim.tenant, tenant);
    assert_int_equal(dv_claim_selector_parse(gpu, &h.claim.gpu, &err), 0);
    struct dv_event e = {.kind = DV_EVENT_CLAIM_QUEUED, .claim = h.claim};
    apply(node, &e);
    return h;
}

static uint64_t queued_for(const struct dv_time_spent *t, const char *holder)
{
    for (size_t i = 0; i < t->n_waits; i++)
        if (!strcmp(t->waits[i].holder, holder))
            return t->waits[i].queue_ns;
    return 0;
}

static void test_evenly_among_holders(void **state)
{
    struct dv_node *node = node_new();
    add_gpu(node, 0);
    add_gpu(node, 1);
    hold(node, 1, "ann", 0, 3000);
    hold(node, 2, "ann", 0, 1000);
    hold(node, 3, "bob", 0, 1000);
    hold(node, 4, "cyd", 1, 3000);
    struct dv_holding any = queue(node, 5, "dan", "any"), first = queue(node, 6, "dan", "0");
    dv_waits_holding(&any, 3 * S + 1);
    dv_waits_holding(&first, S);
    dv_waits_holding(&first, 2 * S);
    assert_int_equal(queued_for(&any.spent, "ann"), S + 1); /* by tenants, not by slices */
    assert_int_equal(queued_for(&any.spent, "bob"), S);
    assert_int_equal(queued_for(&any.spent, "cyd"), S);
    assert_int_equal(queued_for(&first.spent, "ann"), S);
    assert_int_equal(queued_for(&first.spent, "cyd"), 0);
    assert_int_equal(dv_waits_queue_ns(&first.spent), 2 * S);
    assert_int_equal(dv_waits_queue_ns(&dv_node_tenant(node, "dan")->spent), 5 * S + 1);
    assert_int_equal(dv_waits_turn_ns(&any.spent), 0);
    dv_waits_done(&any.spent);
    dv_waits_done(&first.spent);
    node_free(node);
}

/* Nobody holds anything: it waits for the one ahead of it, or for the machine. */
static void test_behind_and_nobody(void **state)
{
    struct dv_node *node = node_new();
    add_gpu(node, 0);
    struct dv_holding first = queue(node, 5, "dan", "0"), second = queue(node, 6, "eve", "0");
    dv_waits_holding(&first, S);
    dv_waits_holding(&second, S);
    assert_int_equal(queued_for(&first.spent, DV_WAITS_NOBODY), S);
    assert_int_equal(queued_for(&second.spent, "dan"), S);
    dv_waits_done(&first.spent);
    dv_waits_done(&second.spent);
    node_free(node);
}

static void test_granted_at_once_did_not_wait(void **state)
{
    struct dv_node *node = node_new();
    add_gpu(node, 0);
    struct dv_holding h = queue(node, 5, "dan", "0");
    dv_waits_holding(&h, DV_NS_PER_MS / 2);
    assert_int_equal(h.spent.n_waits, 0);
    assert_int_equal(h.spent.since_unix, 0);
    node_free(node);
}

static void test_bounded(void **state)
{
    struct dv_node *node = node_new();
    struct dv_store_wait row = {.tenant = "ann", .kind = "turn", .ns = 5, .since_unix = 100};
    for (unsigned i = 0; i < 200; i++) {
        snprintf(row.holder, sizeof row.holder, "t%u", i);
        row.since_unix = 300 - i;
        dv_waits_restore(node, &row);
    }
    const struct dv_time_spent *t = &dv_node_tenant(node, "ann")->spent;
    assert_int_equal(t->n_waits, DV_WAITS_HOLDERS_MAX + 1);
    assert_int_equal(dv_waits_turn_ns(t), 200 * 5);
    assert_int_equal(t->since_unix, 101);
    node_free(node);
}

static void on_wait(void *arg, const struct dv_store_wait *row)
{
    dv_waits_restore(arg, row);
}

static void remove_all(const char *dir)
{
    DIR *d = opendir(dir);
    for (struct dirent *e; (e = readdir(d));)
        unlinkat(dirfd(d), e->d_name, 0);
    closedir(d);
    rmdir(dir);
}

static void test_kept(void **state)
{
    char dir[] = "/tmp/divvy-waits-XXXXXX";
    struct dv_err err = {0};
    dv_cleanup(dv_str_done) struct dv_str note = {0};
    struct dv_node *node = node_new(), *again = node_new();
    assert_non_null(mkdtemp(dir));
    assert_int_equal(dv_store_open(dir, &node->store, &note, &err), 0);
    add_gpu(node, 0);
    hold(node, 1, "ann", 0, 3000);
    struct dv_holding h = queue(node, 5, "dan", "0");
    dv_waits_holding(&h, S);
    struct dv_time_spent *t = &dv_node_tenant(node, "dan")->spent;
    t->held_ns = 11;
    t->run_ns = 7;
    t->lost_ns = 1;
    t->waits[0].turn_ns = 2;
    assert_true(dv_waits_dirty(node));
    assert_int_equal(dv_waits_write(node, false, &err), 0);
    dv_waits_clean(node);
    assert_false(dv_waits_dirty(node));
    assert_int_equal(dv_waits_write(node, true, &err), 0);
    assert_int_equal(dv_store_load_waits(node->store, on_wait, again, &err), 0);
    const struct dv_time_spent *u = &dv_node_tenant(again, "dan")->spent;
    assert_int_equal(u->held_ns, 11);
    assert_int_equal(u->run_ns, 7);
    assert_int_equal(u->lost_ns, 1);
    assert_int_equal(u->since_unix, t->since_unix);
    assert_int_equal(dv_waits_turn_ns(u), 2);
    assert_int_equal(dv_waits_idle_ns(u), 1);
    assert_int_equal(queued_for(u, "ann"), S);
    assert_false(dv_waits_dirty(again));
    dv_store_close(node->store);
    remove_all(dir);
    dv_waits_done(&h.spent);
    node_free(node);
    node_free(again);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_evenly_among_holders),
        cmocka_unit_test(test_behind_and_nobody),
        cmocka_unit_test(test_granted_at_once_did_not_wait),
        cmocka_unit_test(test_bounded),
        cmocka_unit_test(test_kept),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
