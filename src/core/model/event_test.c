/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Lives of a node: random events, sensible and not. Whatever happens, the snapshot stays legal; an
 * event that is refused changes nothing; and the difference of any two moments leads from one to
 * the other.
 */
#include "base/rng.h"
#include "model/event.h"

#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#define GPUS 4
#define MEMORY (40 * DV_GIB)

static struct dv_event gpu_event(uint32_t index, bool mig)
{
    struct dv_event e = {.kind = DV_EVENT_GPU_SEEN};
    e.gpu = (struct dv_gpu){.index = index,
                            .memory_bytes = MEMORY,
                            .usable_bytes = MEMORY,
                            .mig_capable = true,
                            .mig_enabled = mig,
                            .numa = -1,
                            .health = DV_GPU_HEALTH_OK};
    snprintf(e.gpu.uuid, sizeof e.gpu.uuid, "GPU-%u", index);
    return e;
}

/* part 0 is the whole GPU, 1 and 2 are its MIG halves. */
static struct dv_event device_event(uint32_t gpu, unsigned part, enum dv_mode layout)
{
    struct dv_event e = {.kind = DV_EVENT_DEVICE_SEEN};
    e.device = (struct dv_device){.gpu = gpu,
                                  .mig = part > 0,
                                  .memory_bytes = part ? MEMORY / 2 : MEMORY,
                                  .compute = part ? 3000 : 7000,
                                  .layout = layout};
    if (part) {
        snprintf(e.device.uuid, sizeof e.device.uuid, "MIG-%u-%u", gpu, part);
        strcpy(e.device.profile, "3g.20gb");
    } else {
        snprintf(e.device.uuid, sizeof e.device.uuid, "GPU-%u", gpu);
    }
    return e;
}

static struct dv_event slice_event(uint64_t id, const char *device, enum dv_mode mode,
                                   uint64_t memory, uint32_t compute)
{
    struct dv_event e = {.kind = DV_EVENT_SLICE_GRANTED};
    e.slice = (struct dv_slice){
        .id = id, .tenant = "t", .mode = mode, .memory_bytes = memory, .compute = compute};
    strcpy(e.slice.device, device);
    return e;
}

static struct dv_event random_event(struct dv_rng *rng)
{
    uint32_t gpu = (uint32_t)dv_rng_below(rng, GPUS);
    unsigned part = (unsigned)dv_rng_below(rng, 3);
    enum dv_mode layout = dv_rng_below(rng, 6) ? DV_MODE_AUTO : (enum dv_mode)dv_rng_below(rng, 5);
    enum dv_mode mode = dv_rng_below(rng, 3)
                            ? DV_MODE_GOVERNED
                            : (enum dv_mode)(DV_MODE_EXCLUSIVE + dv_rng_below(rng, 3));
    uint64_t memory = dv_rng_below(rng, 9) * DV_GIB * 5;
    uint32_t compute = (uint32_t)dv_rng_below(rng, 8) * 1000;
    uint64_t id = dv_rng_below(rng, 12);
    struct dv_event e = device_event(gpu, part, layout);
    if (layout != DV_MODE_AUTO && layout != DV_MODE_EXCLUSIVE)
        e.device.replicas = (uint32_t)dv_rng_below(rng, 4);
    e.device.draining = !dv_rng_below(rng, 4);
    e.device.mps_up = dv_rng_below(rng, 2);
    switch (dv_rng_below(rng, 14)) {
    case 0:
        return gpu_event(gpu, dv_rng_below(rng, 2));
    case 1:
        e.kind = DV_EVENT_GPU_GONE;
        e.gpu.index = gpu;
        return e;
    case 2:
    case 3:
        return e;
    case 4:
        e.kind = DV_EVENT_DEVICE_GONE;
        return e;
    case 5:
        e = (struct dv_event){.kind = DV_EVENT_TOPOLOGY_SEEN};
        dv_topology_init(&e.topology, GPUS);
        dv_topology_set(
            &e.topology, gpu, (gpu + 1) % GPUS,
            (struct dv_link){DV_LINK_NVLINK, 4, (enum dv_link_kind)dv_rng_below(rng, 6)});
        return e;
    case 6:
    case 7:
        e = (struct dv_event){.kind = DV_EVENT_CLAIM_QUEUED};
        e.claim = (struct dv_claim){.id = id, .tenant = "t", .memory_bytes = memory};
        return e;
    case 8:
        return (struct dv_event){.kind = DV_EVENT_CLAIM_WITHDRAWN, .id = id};
    case 9:
        return (struct dv_event){.kind = DV_EVENT_SLICE_RELEASED, .id = id};
    case 10:
        return (struct dv_event){
            .kind = DV_EVENT_SLICE_LIMITED, .id = id, .memory_bytes = memory, .compute = compute};
    default:
        break;
    }
    char device[DV_UUID_SIZE];
    strcpy(device, e.device.uuid);
    return slice_event(id, device, mode, memory, compute);
}

static void assert_leads(const struct dv_snapshot *from, const struct dv_snapshot *to)
{
    dv_cleanup(dv_snapshot_freep) struct dv_snapshot *walk = NULL;
    struct dv_event *events = NULL;
    struct dv_err err = {0};
    size_t n = 0;
    assert_int_equal(dv_snapshot_dup(from, &walk), 0);
    assert_int_equal(dv_event_diff(from, to, &events, &n), 0);
    for (size_t i = 0; i < n; i++)
        if (dv_event_apply(walk, &events[i], &err) < 0)
            fail_msg("event %zu (%s): %s", i, dv_event_name(events[i].kind), err.msg);
    free(events);
    assert_true(dv_snapshot_equal(walk, to));
    assert_int_equal(dv_event_diff(walk, to, &events, &n), 0);
    assert_int_equal(n, 0);
    free(events);
}

static void test_random_lives(void **state)
{
    struct dv_rng rng = {11};
    size_t applied[16] = {0}, refused = 0;
    for (int life = 0; life < 60; life++) {
        dv_cleanup(dv_snapshot_freep) struct dv_snapshot *now = NULL;
        dv_cleanup(dv_snapshot_freep) struct dv_snapshot *past = NULL;
        dv_cleanup(dv_snapshot_freep) struct dv_snapshot *replay = NULL;
        assert_int_equal(dv_snapshot_new(&now), 0);
        assert_int_equal(dv_snapshot_new(&past), 0);
        assert_int_equal(dv_snapshot_new(&replay), 0);
        for (int step = 0; step < 300; step++) {
            dv_cleanup(dv_snapshot_freep) struct dv_snapshot *before = NULL;
            struct dv_err err = {0};
            struct dv_event e = random_event(&rng);
            assert_int_equal(dv_snapshot_dup(now, &before), 0);
            int r = dv_event_apply(now, &e, &err);
            if (r < 0) {
                refused++;
                assert_true(err.msg[0]);
                assert_true(dv_snapshot_equal(now, before));
                assert_int_equal(now->version, before->version);
                continue;
            }
            applied[e.kind]++;
            assert_int_equal(dv_event_apply(replay, &e, NULL), 0);
            err.msg[0] = 0;
            if (dv_snapshot_check(now, &err) < 0)
                fail_msg("after %s: %s", dv_event_name(e.kind), err.msg);
            assert_leads(past, now);
            if (!dv_rng_below(&rng, 20)) {
                dv_snapshot_freep(&past);
                assert_int_equal(dv_snapshot_dup(now, &past), 0);
            }
        }
        assert_leads(now, past);
        assert_true(dv_snapshot_equal(now, replay));
    }
    assert_true(refused > 1000);
    for (int k = DV_EVENT_GPU_SEEN; k <= DV_EVENT_SLICE_RELEASED; k++)
        if (applied[k] <= 20)
            fail_msg("%s was applied only %zu times", dv_event_name((enum dv_event_kind)k),
                     applied[k]);
}

static void apply_ok(struct dv_snapshot *s, struct dv_event e)
{
    struct dv_err err = {0};
    if (dv_event_apply(s, &e, &err) < 0)
        fail_msg("%s: %s", dv_event_name(e.kind), err.msg);
}

static void test_auto_device(void **state)
{
    dv_cleanup(dv_snapshot_freep) struct dv_snapshot *s = NULL;
    assert_int_equal(dv_snapshot_new(&s), 0);
    apply_ok(s, gpu_event(0, false));
    apply_ok(s, device_event(0, 0, DV_MODE_AUTO));
    assert_int_equal(s->devices[0].mode, DV_MODE_AUTO);
    apply_ok(s, slice_event(1, "GPU-0", DV_MODE_GOVERNED, DV_GIB, 3500));
    assert_int_equal(s->devices[0].mode, DV_MODE_GOVERNED);
    apply_ok(s, slice_event(2, "GPU-0", DV_MODE_GOVERNED, DV_GIB, 3500));
    struct dv_event e = slice_event(3, "GPU-0", DV_MODE_GOVERNED, DV_GIB, 1);
    assert_int_equal(dv_event_apply(s, &e, NULL), -EINVAL);
    e = (struct dv_event){.kind = DV_EVENT_DEVICE_GONE};
    strcpy(e.device.uuid, "GPU-0");
    assert_int_equal(dv_event_apply(s, &e, NULL), -EBUSY);
    apply_ok(s, (struct dv_event){.kind = DV_EVENT_SLICE_RELEASED, .id = 1});
    assert_int_equal(s->devices[0].mode, DV_MODE_GOVERNED);
    apply_ok(s, (struct dv_event){.kind = DV_EVENT_SLICE_RELEASED, .id = 2});
    assert_int_equal(s->devices[0].mode, DV_MODE_AUTO);
    e = slice_event(4, "GPU-0", DV_MODE_GOVERNED, DV_GIB, 1000);
    e.slice.trust = DV_TRUST_UNTRUSTED;
    assert_int_equal(dv_event_apply(s, &e, NULL), -EINVAL);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_random_lives),
        cmocka_unit_test(test_auto_device),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
