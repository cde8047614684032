/* SPDX-License-Identifier: Apache-2.0 */
#include "policy/admit.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#include <cmocka.h>

/* A node under test: plain arrays, no allocation. */
struct node {
    struct dv_gpu gpus[4];
    struct dv_device devices[4];
    struct dv_slice slices[8];
    struct dv_snapshot s;
};

static struct dv_device *add_gpu(struct node *n, uint64_t gib, enum dv_mode layout)
{
    size_t i = n->s.n_gpus++;
    n->s.n_devices++;
    n->s.gpus = n->gpus;
    n->s.devices = n->devices;
    n->s.slices = n->slices;
    n->gpus[i] = (struct dv_gpu){.index = (uint32_t)i,
                                 .model = "NVIDIA A100-SXM4-40GB",
                                 .usable_bytes = gib * DV_GIB,
                                 .context_bytes = 300 * DV_MIB,
                                 .health = DV_GPU_HEALTH_OK};
    n->devices[i] = (struct dv_device){.gpu = (uint32_t)i,
                                       .memory_bytes = gib * DV_GIB,
                                       .compute = DV_COMPUTE_FULL,
                                       .layout = layout,
                                       .mode = layout};
    snprintf(n->gpus[i].uuid, DV_UUID_SIZE, "GPU-%zu", i);
    snprintf(n->devices[i].uuid, DV_UUID_SIZE, "GPU-%zu", i);
    return &n->devices[i];
}

static void hold(struct node *n, uint32_t gpu, enum dv_mode mode, uint64_t gib, uint32_t compute)
{
    struct dv_slice *s = &n->slices[n->s.n_slices++];
    *s = (struct dv_slice){.id = 100 + n->s.n_slices,
                           .tenant = "holder",
                           .mode = mode,
                           .memory_bytes = gib * DV_GIB,
                           .compute = compute};
    strcpy(s->device, n->devices[gpu].uuid);
    n->devices[gpu].mode = mode;
}

static struct dv_claim claim(enum dv_mode mode, uint64_t gib, uint32_t compute)
{
    return (struct dv_claim){.id = 1,
                             .tenant = "t",
                             .mode = mode,
                             .memory_bytes = gib * DV_GIB,
                             .compute = compute,
                             .wait = true,
                             .gpu = {.text = "any"}};
}

static struct dv_admission ask(const struct node *n, struct dv_claim c)
{
    struct dv_admission a;
    dv_admit_claim(&n->s, &c, &a);
    return a;
}

#define assert_verdict(a, what, why)                                                               \
    do {                                                                                           \
        assert_int_equal((a).verdict.result, DV_VERDICT_##what);                                   \
        assert_string_equal(dv_verdict_reason_name((a).verdict.reason),                            \
                            dv_verdict_reason_name(DV_REASON_##why));                              \
    } while (0)

static void test_sizes(void **state)
{
    struct node n = {0};
    add_gpu(&n, 40, DV_MODE_AUTO);
    struct dv_admission a = ask(&n, claim(DV_MODE_AUTO, 10, 1750));
    assert_verdict(a, GRANTED, FITS);
    assert_int_equal(a.mode, DV_MODE_GOVERNED);
    assert_int_equal(a.memory_wall, DV_WALL_COOPERATIVE);
    assert_true(a.memory_bytes == 10 * DV_GIB && a.compute == 1750);
    a = ask(&n, claim(DV_MODE_AUTO, 0, 1750)); /* a quarter brings a quarter */
    assert_true(a.memory_bytes == 10 * DV_GIB && a.compute == 1750);
    a = ask(&n, claim(DV_MODE_AUTO, 10, 0));
    assert_true(a.memory_bytes == 10 * DV_GIB && a.compute == 1750);
    a = ask(&n, claim(DV_MODE_AUTO, 0, 0));
    assert_int_equal(a.mode, DV_MODE_EXCLUSIVE);
    assert_int_equal(a.memory_wall, DV_WALL_HARDWARE);
    assert_true(a.memory_bytes == 40 * DV_GIB && a.compute == 7000);
    a = ask(&n, claim(DV_MODE_EXCLUSIVE, 10, 1000)); /* at least so much; it gets all */
    assert_true(a.memory_bytes == 40 * DV_GIB && a.compute == 7000);
    a = ask(&n, claim(DV_MODE_GOVERNED, 0, 0));
    assert_true(a.memory_bytes == 40 * DV_GIB && a.compute == 7000);
}

static void test_refused_for_ever(void **state)
{
    struct node n = {0};
    struct dv_admission a = ask(&n, claim(DV_MODE_AUTO, 1, 0));
    assert_verdict(a, REFUSED, NO_GPU);
    assert_int_equal(a.verdict.gpu, -1);
    add_gpu(&n, 24, DV_MODE_AUTO);
    add_gpu(&n, 40, DV_MODE_AUTO);
    hold(&n, 1, DV_MODE_EXCLUSIVE, 40, 7000); /* held or not: it is too large */
    a = ask(&n, claim(DV_MODE_AUTO, 41, 0));
    assert_verdict(a, REFUSED, TOO_LARGE_MEMORY);
    assert_true(a.verdict.limit_bytes == 40 * DV_GIB && a.verdict.asked_bytes == 41 * DV_GIB);
    assert_int_equal(a.verdict.gpu, 1);
    a = ask(&n, claim(DV_MODE_EXCLUSIVE, 41, 0));
    assert_verdict(a, REFUSED, TOO_LARGE_MEMORY);
    struct dv_claim c = claim(DV_MODE_AUTO, 30, 0);
    c.gpu = (struct dv_selector){.kind = DV_SELECTOR_INDEX, .index = 0, .text = "0"};
    a = ask(&n, c);
    assert_verdict(a, REFUSED, TOO_LARGE_MEMORY);
    assert_true(a.verdict.limit_bytes == 24 * DV_GIB);
    c.gpu.index = 7;
    a = ask(&n, c);
    assert_verdict(a, REFUSED, NO_SUCH_GPU);
    assert_string_equal(a.verdict.text, "0");
    a = ask(&n, claim(DV_MODE_MPS, 1, 0));
    assert_verdict(a, REFUSED, MODE_UNSUPPORTED);
    c = claim(DV_MODE_GOVERNED, 0, 0);
    c.memory_bytes = DV_MIB;
    a = ask(&n, c);
    assert_verdict(a, REFUSED, TOO_SMALL_MEMORY);
    assert_true(a.verdict.limit_bytes == 300 * DV_MIB);
    a = ask(&n, claim(DV_MODE_GOVERNED, 0, 1)); /* a 7000th of the memory is too small as well */
    assert_verdict(a, REFUSED, TOO_SMALL_MEMORY);
}

static void test_mig_devices_are_smaller(void **state)
{
    struct node n = {0};
    struct dv_device *d = add_gpu(&n, 20, DV_MODE_AUTO);
    d->mig = true;
    d->compute = 3000;
    struct dv_admission a = ask(&n, claim(DV_MODE_GOVERNED, 0, 3500));
    assert_verdict(a, REFUSED, TOO_LARGE_COMPUTE);
    assert_int_equal(a.verdict.limit_compute, 3000);
    a = ask(&n, claim(DV_MODE_GOVERNED, 0, 1500));
    assert_verdict(a, GRANTED, FITS);
    assert_true(a.memory_bytes == 10 * DV_GIB);
}

static void test_trust(void **state)
{
    struct node n = {0};
    add_gpu(&n, 40, DV_MODE_AUTO);
    struct dv_claim c = claim(DV_MODE_GOVERNED, 10, 0);
    c.trust = DV_TRUST_UNTRUSTED;
    struct dv_admission a = ask(&n, c);
    assert_verdict(a, REFUSED, UNTRUSTED);
    c.mode = DV_MODE_AUTO; /* left to divvy: a card to itself */
    a = ask(&n, c);
    assert_verdict(a, GRANTED, FITS);
    assert_int_equal(a.mode, DV_MODE_EXCLUSIVE);
    n.devices[0].layout = n.devices[0].mode = DV_MODE_GOVERNED;
    a = ask(&n, c);
    assert_verdict(a, REFUSED, UNTRUSTED);
}

static void test_layout_wins(void **state)
{
    struct node n = {0};
    add_gpu(&n, 40, DV_MODE_EXCLUSIVE);
    struct dv_admission a = ask(&n, claim(DV_MODE_GOVERNED, 10, 0));
    assert_verdict(a, REFUSED, LAYOUT);
    assert_int_equal(a.verdict.mode, DV_MODE_EXCLUSIVE);
    a = ask(&n, claim(DV_MODE_AUTO, 10, 0));
    assert_verdict(a, GRANTED, FITS);
    assert_int_equal(a.mode, DV_MODE_EXCLUSIVE);
    n.devices[0].layout = n.devices[0].mode = DV_MODE_GOVERNED;
    a = ask(&n, claim(DV_MODE_AUTO, 0, 0));
    assert_verdict(a, GRANTED, FITS);
    assert_int_equal(a.mode, DV_MODE_GOVERNED);
}

static void test_queued(void **state)
{
    struct node n = {0};
    add_gpu(&n, 40, DV_MODE_AUTO);
    add_gpu(&n, 40, DV_MODE_AUTO);
    hold(&n, 0, DV_MODE_GOVERNED, 30, 1000);
    hold(&n, 1, DV_MODE_GOVERNED, 35, 1000);
    struct dv_admission a = ask(&n, claim(DV_MODE_GOVERNED, 11, 100));
    assert_verdict(a, QUEUED, NO_MEMORY);
    assert_int_equal(a.verdict.gpu, 0); /* where most is free */
    assert_true(a.verdict.free_bytes == 10 * DV_GIB && a.verdict.asked_bytes == 11 * DV_GIB);
    a = ask(&n, claim(DV_MODE_GOVERNED, 1, 6001));
    assert_verdict(a, QUEUED, NO_COMPUTE);
    assert_int_equal(a.verdict.free_compute, 6000);
    a = ask(&n, claim(DV_MODE_EXCLUSIVE, 0, 0));
    assert_verdict(a, QUEUED, BUSY);
    assert_string_equal(a.verdict.holder, "holder");
    struct dv_claim c = claim(DV_MODE_EXCLUSIVE, 0, 0);
    c.wait = false;
    a = ask(&n, c);
    assert_verdict(a, REFUSED, NOT_WAITING);
    assert_int_equal(a.verdict.because, DV_REASON_BUSY);
    n.gpus[0].health = n.gpus[1].health = DV_GPU_HEALTH_FAILED;
    a = ask(&n, claim(DV_MODE_GOVERNED, 1, 0));
    assert_verdict(a, QUEUED, UNHEALTHY);
}

static void test_best_fit(void **state)
{
    struct node n = {0};
    add_gpu(&n, 80, DV_MODE_AUTO);
    add_gpu(&n, 40, DV_MODE_AUTO);
    add_gpu(&n, 40, DV_MODE_AUTO);
    struct dv_admission a = ask(&n, claim(DV_MODE_AUTO, 0, 0));
    assert_string_equal(a.device, "GPU-1"); /* the smallest that is free, the first of equals */
    a = ask(&n, claim(DV_MODE_AUTO, 50, 0));
    assert_string_equal(a.device, "GPU-0");
    hold(&n, 0, DV_MODE_GOVERNED, 8, 700);
    a = ask(&n, claim(DV_MODE_AUTO, 8, 700));
    assert_string_equal(a.device, "GPU-0"); /* no new card while one in use has room */
    hold(&n, 2, DV_MODE_GOVERNED, 20, 3500);
    a = ask(&n, claim(DV_MODE_AUTO, 8, 700));
    assert_string_equal(a.device, "GPU-2"); /* the fuller one */
    a = ask(&n, claim(DV_MODE_AUTO, 8, 3501));
    assert_string_equal(a.device, "GPU-0");
}

static struct dv_verdict limit(const struct node *n, uint64_t gib, uint32_t compute, uint64_t used)
{
    struct dv_verdict v;
    dv_admit_limit(&n->s, &n->s.slices[0], gib * DV_GIB, compute, used * DV_GIB, &v);
    return v;
}

static void test_limit(void **state)
{
    struct node n = {0};
    add_gpu(&n, 40, DV_MODE_AUTO);
    hold(&n, 0, DV_MODE_GOVERNED, 10, 1000);
    hold(&n, 0, DV_MODE_GOVERNED, 20, 2000);
    struct dv_verdict v = limit(&n, 20, 0, 9);
    assert_int_equal(v.result, DV_VERDICT_GRANTED);
    assert_true(v.asked_bytes == 20 * DV_GIB && v.asked_compute == 1000);
    v = limit(&n, 0, 5000, 9);
    assert_int_equal(v.result, DV_VERDICT_GRANTED);
    assert_int_equal(limit(&n, 21, 0, 9).reason, DV_REASON_NO_ROOM);
    assert_int_equal(limit(&n, 0, 5001, 9).reason, DV_REASON_NO_ROOM);
    assert_int_equal(limit(&n, 41, 0, 9).reason, DV_REASON_TOO_LARGE_MEMORY);
    assert_int_equal(limit(&n, 0, 7001, 9).reason, DV_REASON_TOO_LARGE_COMPUTE);
    v = limit(&n, 8, 0, 9);
    assert_int_equal(v.reason, DV_REASON_BELOW_USE);
    assert_true(v.limit_bytes == 9 * DV_GIB);
    assert_int_equal(limit(&n, 9, 0, 9).result, DV_VERDICT_GRANTED);
    dv_admit_limit(&n.s, &n.s.slices[0], DV_MIB, 0, 0, &v);
    assert_int_equal(v.reason, DV_REASON_TOO_SMALL_MEMORY);
    n.s.n_slices = 0;
    hold(&n, 0, DV_MODE_EXCLUSIVE, 40, 7000);
    assert_int_equal(limit(&n, 10, 0, 0).reason, DV_REASON_FIXED);
}

static void test_names(void **state)
{
    for (int i = DV_REASON_FITS; i <= DV_REASON_FIXED; i++) {
        const char *name = dv_verdict_reason_name((enum dv_reason)i);
        assert_string_not_equal(name, "unknown");
        for (int k = DV_REASON_FITS; k < i; k++)
            assert_string_not_equal(name, dv_verdict_reason_name((enum dv_reason)k));
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_sizes),
        cmocka_unit_test(test_refused_for_ever),
        cmocka_unit_test(test_mig_devices_are_smaller),
        cmocka_unit_test(test_trust),
        cmocka_unit_test(test_layout_wins),
        cmocka_unit_test(test_queued),
        cmocka_unit_test(test_best_fit),
        cmocka_unit_test(test_limit),
        cmocka_unit_test(test_names),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
