/* SPDX-License-Identifier: Apache-2.0 */
/* Who would have to leave: by examples, then against every subset of small random nodes. */
#include "base/rng.h"
#include "policy/unblock.h"

#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

static int apply(struct dv_snapshot *s, struct dv_event e)
{
    return dv_event_apply(s, &e, NULL);
}

static struct dv_snapshot *node(uint32_t gpus)
{
    struct dv_snapshot *s = NULL;
    assert_int_equal(dv_snapshot_new(&s), 0);
    for (uint32_t i = 0; i < gpus; i++) {
        struct dv_event g = {.kind = DV_EVENT_GPU_SEEN}, d = {.kind = DV_EVENT_DEVICE_SEEN};
        g.gpu = (struct dv_gpu){.index = i, .health = DV_GPU_HEALTH_OK};
        snprintf(g.gpu.uuid, DV_UUID_SIZE, "GPU-%u", i);
        d.device =
            (struct dv_device){.gpu = i, .memory_bytes = 80 * DV_GIB, .compute = DV_COMPUTE_FULL};
        snprintf(d.device.uuid, DV_UUID_SIZE, "GPU-%u", i);
        assert_int_equal(apply(s, g), 0);
        assert_int_equal(apply(s, d), 0);
    }
    return s;
}

static int hold(struct dv_snapshot *s, uint64_t id, uint32_t gpu, enum dv_mode mode, uint64_t gib,
                uint32_t compute)
{
    struct dv_event e = {.kind = DV_EVENT_SLICE_GRANTED};
    e.slice = (struct dv_slice){.id = id,
                                .tenant = "t",
                                .mode = mode,
                                .memory_bytes = gib * DV_GIB,
                                .compute = compute,
                                .memory_wall = DV_WALL_COOPERATIVE,
                                .compute_wall = DV_WALL_COOPERATIVE};
    snprintf(e.slice.device, DV_UUID_SIZE, "GPU-%u", gpu);
    return apply(s, e);
}

static void want(struct dv_snapshot *s, uint64_t id, enum dv_mode mode, uint64_t gib,
                 uint32_t compute)
{
    struct dv_event e = {.kind = DV_EVENT_CLAIM_QUEUED};
    e.claim = (struct dv_claim){.id = id,
                                .tenant = "w",
                                .mode = mode,
                                .memory_bytes = gib * DV_GIB,
                                .compute = compute,
                                .wait = true,
                                .gpu = {.text = "any"}};
    assert_int_equal(apply(s, e), 0);
}

static void test_examples(void **state)
{
    dv_cleanup(dv_snapshot_freep) struct dv_snapshot *s = node(2);
    struct dv_unblock u;
    assert_int_equal(dv_unblock_find(s, 9, &u), -ENOENT);
    assert_int_equal(hold(s, 1, 0, DV_MODE_GOVERNED, 30, 1000), 0);
    assert_int_equal(hold(s, 2, 0, DV_MODE_GOVERNED, 20, 1000), 0);
    assert_int_equal(hold(s, 3, 0, DV_MODE_GOVERNED, 30, 1000), 0);
    assert_int_equal(hold(s, 4, 1, DV_MODE_EXCLUSIVE, 80, DV_COMPUTE_FULL), 0);
    want(s, 9, DV_MODE_GOVERNED, 25, 700);
    assert_int_equal(dv_unblock_find(s, 9, &u), 0);
    assert_int_equal(u.n, 1);
    assert_int_equal(u.slices[0], 1); /* 30 GiB suffice, and are less than the exclusive one's 80 */
    want(s, 10, DV_MODE_GOVERNED, 55, 700);
    assert_int_equal(dv_unblock_find(s, 10, &u), 0);
    assert_int_equal(u.n, 1); /* one of GPU 1 rather than two of GPU 0 */
    assert_string_equal(u.device, "GPU-1");
    want(s, 11, DV_MODE_EXCLUSIVE, 1, 0);
    assert_int_equal(dv_unblock_find(s, 11, &u), 0);
    assert_int_equal(u.slices[0], 4);
    want(s, 12, DV_MODE_GOVERNED, 81, 0); /* never */
    assert_int_equal(dv_unblock_find(s, 12, &u), -ENOENT);
}

static void test_several(void **state)
{
    dv_cleanup(dv_snapshot_freep) struct dv_snapshot *s = node(1);
    struct dv_unblock u;
    for (uint64_t i = 1; i <= 8; i++)
        assert_int_equal(hold(s, i, 0, DV_MODE_GOVERNED, i == 3 ? 24 : 8, 800), 0);
    want(s, 9, DV_MODE_GOVERNED, 30, 800);
    assert_int_equal(dv_unblock_find(s, 9, &u), 0);
    assert_int_equal(u.n, 2);
    assert_int_equal(u.slices[0], 3); /* the large one, and one more */
    want(s, 10, DV_MODE_EXCLUSIVE, 1, 0);
    assert_int_equal(dv_unblock_find(s, 10, &u), 0);
    assert_int_equal(u.n, 8);
    assert_true(u.memory_bytes == 80 * DV_GIB);
}

/* Without those of the mask, is the claim granted? */
static bool granted_without(const struct dv_snapshot *s, unsigned mask, uint64_t claim)
{
    dv_cleanup(dv_snapshot_freep) struct dv_snapshot *t = NULL;
    struct dv_admission a;
    assert_int_equal(dv_snapshot_dup(s, &t), 0);
    for (size_t i = 0; i < s->n_slices; i++)
        if (mask & (1u << i))
            assert_int_equal(
                apply(t, (struct dv_event){.kind = DV_EVENT_SLICE_RELEASED, .id = s->slices[i].id}),
                0);
    dv_admit_claim(t, dv_snapshot_claim(t, claim), &a);
    return a.verdict.result == DV_VERDICT_GRANTED;
}

static void test_against_every_subset(void **state)
{
    struct dv_rng rng = {7};
    unsigned several = 0, alike = 0;
    for (int round = 0; round < 400; round++) {
        dv_cleanup(dv_snapshot_freep) struct dv_snapshot *s = node(2);
        for (uint64_t i = 1; i <= 8; i++)
            (void)hold(s, i, (uint32_t)dv_rng_below(&rng, 2), DV_MODE_GOVERNED,
                       1 + dv_rng_below(&rng, 40), 1 + (uint32_t)dv_rng_below(&rng, 3000));
        want(s, 99, DV_MODE_GOVERNED, 1 + dv_rng_below(&rng, 80),
             1 + (uint32_t)dv_rng_below(&rng, 7000));
        uint32_t least = UINT32_MAX, mask = 0;
        struct dv_unblock u;
        for (unsigned m = 0; m < 1u << s->n_slices; m++)
            if ((uint32_t)__builtin_popcount(m) < least && granted_without(s, m, 99))
                least = (uint32_t)__builtin_popcount(m);
        assert_int_equal(dv_unblock_find(s, 99, &u), 0); /* an empty GPU always does */
        for (size_t i = 0; i < s->n_slices; i++)
            for (uint32_t k = 0; k < u.n; k++)
                mask |= s->slices[i].id == u.slices[k] ? 1u << i : 0;
        assert_true(granted_without(s, mask, 99)); /* they do suffice */
        assert_true(u.n >= least);
        if (least <= 1)
            assert_int_equal(u.n, least);
        for (uint32_t bit = mask; bit; bit &= bit - 1) /* and none of them for nothing */
            assert_false(granted_without(s, mask & ~(bit & -bit), 99));
        several += u.n > 1;
        alike += u.n > 1 && u.n == least;
    }
    assert_true(several > 50);
    assert_true(alike * 10 >= several * 9); /* the fewest, nearly always */
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_examples),
        cmocka_unit_test(test_several),
        cmocka_unit_test(test_against_every_subset),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
