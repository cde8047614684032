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
    struct dv_slice slices[16];
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

/* Its own size, on a device without others; and nobody comes while it is there. */
static void test_alone(void **state)
{
    struct node n = {0};
    add_gpu(&n, 40, DV_MODE_AUTO);
    hold(&n, 0, DV_MODE_GOVERNED, 10, 1750);
    struct dv_claim c = claim(DV_MODE_AUTO, 10, 1750);
    c.alone = true;
    struct dv_admission a = ask(&n, c);
    assert_verdict(a, QUEUED, BUSY);
    add_gpu(&n, 80, DV_MODE_AUTO); /* rather the larger one that is free */
    a = ask(&n, c);
    assert_verdict(a, GRANTED, FITS);
    assert_int_equal(a.verdict.gpu, 1);
    assert_int_equal(a.mode, DV_MODE_GOVERNED);
    assert_true(a.memory_bytes == 10 * DV_GIB && a.compute == 1750);
    struct dv_slice s = dv_admit_slice(&c, &a, 5);
    assert_true(s.alone);
    n.slices[n.s.n_slices++] = s;
    n.devices[1].mode = DV_MODE_GOVERNED;
    struct dv_claim other = claim(DV_MODE_GOVERNED, 10, 1750);
    other.gpu = (struct dv_selector){.kind = DV_SELECTOR_INDEX, .index = 1, .text = "1"};
    a = ask(&n, other);
    assert_verdict(a, QUEUED, BUSY);
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

/* Puts the granted slice on the node, whose arrays must have room. */
static void take(struct node *n, const struct dv_admission *a)
{
    struct dv_claim c = claim(a->mode, 0, 0);
    assert_verdict(*a, GRANTED, FITS);
    struct dv_slice s = dv_admit_slice(&c, a, 0);
    s.id = 100 + n->s.n_slices;
    strcpy(s.tenant, "holder");
    assert_true(n->s.n_slices < DV_ARRAY_SIZE(n->slices));
    n->slices[n->s.n_slices++] = s;
    for (size_t i = 0; i < n->s.n_devices; i++)
        if (!strcmp(n->devices[i].uuid, s.device))
            n->devices[i].mode = s.mode;
}

static struct node shared(enum dv_mode layout, uint32_t replicas)
{
    struct node n = {0};
    struct dv_device *d = add_gpu(&n, 40, layout);
    d->replicas = replicas;
    d->mps_up = layout == DV_MODE_MPS;
    return n;
}

/* A node whose pointers are its own again after it was copied. */
#define SHARED(n, layout, replicas)                                                                \
    struct node n = shared(DV_MODE_##layout, replicas);                                            \
    n.s.gpus = n.gpus, n.s.devices = n.devices, n.s.slices = n.slices

static void test_replicas_are_parts(void **state)
{
    static const enum dv_mode modes[] = {DV_MODE_MPS, DV_MODE_TIMESLICE, DV_MODE_GOVERNED};
    for (size_t m = 0; m < DV_ARRAY_SIZE(modes); m++) {
        for (uint32_t replicas = 2; replicas <= 16; replicas++) {
            struct node n = shared(modes[m], replicas);
            n.s.gpus = n.gpus, n.s.devices = n.devices, n.s.slices = n.slices;
            for (uint32_t i = 0; i < replicas; i++) {
                struct dv_admission a = ask(&n, claim(DV_MODE_AUTO, 0, 0));
                assert_true(a.memory_bytes == 40 * 1024 / replicas * DV_MIB);
                assert_int_equal(a.compute, 7000 / replicas);
                take(&n, &a);
            }
            struct dv_admission a = ask(&n, claim(DV_MODE_AUTO, 0, 0));
            assert_verdict(a, QUEUED, FULL);
            assert_int_equal(a.verdict.replicas, replicas);
            struct dv_err err = {0};
            assert_int_equal(dv_snapshot_check(&n.s, &err), 0);
        }
    }
}

static void test_parts_too_small_for_a_context(void **state)
{
    SHARED(n, TIMESLICE, 137); /* 40 GiB / 300 MiB = 136.5 */
    struct dv_admission a = ask(&n, claim(DV_MODE_AUTO, 0, 0));
    assert_verdict(a, REFUSED, TOO_SMALL_MEMORY);
    assert_int_equal(a.verdict.replicas, 137);
    assert_int_equal(a.verdict.limit_replicas, 136);
    assert_true(a.verdict.asked_bytes == 298 * DV_MIB && a.verdict.limit_bytes == 300 * DV_MIB);
    n.devices[0].replicas = 136;
    a = ask(&n, claim(DV_MODE_AUTO, 0, 0));
    assert_verdict(a, GRANTED, FITS);
    n.devices[0].replicas = 137; /* a size of one's own does not depend on the parts */
    a = ask(&n, claim(DV_MODE_AUTO, 1, 0));
    assert_verdict(a, GRANTED, FITS);
}

static void test_timeslice(void **state)
{
    SHARED(n, AUTO, 0);
    struct dv_admission a = ask(&n, claim(DV_MODE_TIMESLICE, 0, 0));
    assert_verdict(a, GRANTED, FITS);
    assert_true(a.memory_bytes == 10 * DV_GIB && a.compute == 1750);
    assert_true(a.memory_wall == DV_WALL_NONE && a.compute_wall == DV_WALL_NONE);
    take(&n, &a);
    a = ask(&n, claim(DV_MODE_TIMESLICE, 20, 0)); /* its memory, not more turns */
    assert_true(a.memory_bytes == 20 * DV_GIB && a.compute == 1750);
    assert_true(a.memory_wall == DV_WALL_COOPERATIVE && a.compute_wall == DV_WALL_NONE);
    take(&n, &a);
    a = ask(&n, claim(DV_MODE_TIMESLICE, 0, 3500));
    assert_verdict(a, REFUSED, NO_SHARES);
    assert_true(a.verdict.limit_compute == 1750 && a.verdict.replicas == 4);
    a = ask(&n, claim(DV_MODE_TIMESLICE, 0, 1750)); /* what it gets anyway */
    take(&n, &a);
    a = ask(&n, claim(DV_MODE_TIMESLICE, 0, 0)); /* nominal memory counts */
    assert_verdict(a, QUEUED, NO_MEMORY);
    a = ask(&n, claim(DV_MODE_GOVERNED, 1, 0));
    assert_verdict(a, QUEUED, BUSY);
}

static void test_mps(void **state)
{
    SHARED(n, MPS, 0);
    n.gpus[0].mps_clients = 3;
    static const uint32_t shares[] = {3500, 2100, 1400};
    for (size_t i = 0; i < DV_ARRAY_SIZE(shares); i++) {
        struct dv_admission a = ask(&n, claim(DV_MODE_AUTO, 1, shares[i]));
        assert_true(a.memory_bytes == DV_GIB && a.compute == shares[i] && a.mode == DV_MODE_MPS);
        assert_true(a.memory_wall == DV_WALL_COOPERATIVE && a.compute_wall == DV_WALL_COOPERATIVE);
        take(&n, &a);
    }
    struct dv_admission a = ask(&n, claim(DV_MODE_AUTO, 1, 0)); /* no client is left */
    assert_verdict(a, QUEUED, FULL);
    assert_int_equal(a.verdict.replicas, 3);
}

static void test_mps_parts_are_ceilings(void **state)
{
    SHARED(n, MPS, 4);
    struct dv_admission a = ask(&n, claim(DV_MODE_AUTO, 11, 0));
    assert_verdict(a, REFUSED, TOO_LARGE_PART);
    assert_true(a.verdict.limit_bytes == 10 * DV_GIB && a.verdict.limit_compute == 1750);
    a = ask(&n, claim(DV_MODE_AUTO, 5, 0));
    assert_verdict(a, GRANTED, FITS); /* less than a part, which the daemon does not know of */
    assert_int_equal(a.memory_wall, DV_WALL_COOPERATIVE);
    n.gpus[0].mps_namespaces = true;
    a = ask(&n, claim(DV_MODE_AUTO, 11, 0));
    assert_verdict(a, GRANTED, FITS);
    assert_true(a.memory_wall == DV_WALL_DRIVER && a.compute_wall == DV_WALL_DRIVER);
}

static void test_preparing(void **state)
{
    SHARED(n, AUTO, 0);
    struct dv_claim c = claim(DV_MODE_MPS, 10, 0);
    c.wait = false; /* the machine's time, not that of others */
    struct dv_admission a = ask(&n, c);
    assert_verdict(a, QUEUED, PREPARING);
    assert_string_equal(a.device, "GPU-0");
    assert_int_equal(a.verdict.gpu, 0);
    add_gpu(&n, 80, DV_MODE_AUTO)->mps_up = true; /* a larger one, but ready */
    a = ask(&n, c);
    assert_verdict(a, GRANTED, FITS);
    assert_string_equal(a.device, "GPU-1");
    struct dv_admit_view view = {.barred = (bool[]){false, true}};
    dv_admit_claim_except(&n.s, &c, &view, &a); /* not behind others where a start would do */
    assert_verdict(a, QUEUED, PREPARING);
    assert_string_equal(a.device, "GPU-0");
    view.barred = (bool[]){true, true};
    c.wait = true;
    dv_admit_claim_except(&n.s, &c, &view, &a);
    assert_verdict(a, QUEUED, BEHIND);
}

static void test_draining(void **state)
{
    SHARED(n, GOVERNED, 4);
    n.devices[0].draining = true;
    struct dv_admission a = ask(&n, claim(DV_MODE_AUTO, 1, 0));
    assert_verdict(a, QUEUED, DRAINING);
    assert_int_equal(a.verdict.gpu, 0);
    a = ask(&n, claim(DV_MODE_EXCLUSIVE, 0, 0)); /* the layout may bring it */
    assert_verdict(a, QUEUED, DRAINING);
    bool mark = false;
    struct dv_claim c = claim(DV_MODE_GOVERNED, 1, 0);
    dv_admit_mark(&n.s, &c, &mark);
    assert_false(mark);
    c.wait = false;
    a = ask(&n, c);
    assert_verdict(a, REFUSED, NOT_WAITING);
    assert_int_equal(a.verdict.because, DV_REASON_DRAINING);
    add_gpu(&n, 40, DV_MODE_AUTO);
    a = ask(&n, claim(DV_MODE_GOVERNED, 1, 0));
    assert_string_equal(a.device, "GPU-1");
    c = claim(DV_MODE_GOVERNED, 1, 0);
    c.gpu = (struct dv_selector){.kind = DV_SELECTOR_INDEX, .index = 0, .text = "0"};
    a = ask(&n, c);
    assert_verdict(a, QUEUED, DRAINING);
}

/* Untrusted, and what is refused or given for it. */
static void test_untrusted_walls(void **state)
{
    struct dv_claim c = claim(DV_MODE_AUTO, 0, 0);
    c.trust = DV_TRUST_UNTRUSTED;
    SHARED(n, MPS, 4);
    struct dv_admission a = ask(&n, c);
    assert_verdict(a, GRANTED, FITS);
    assert_true(a.memory_wall == DV_WALL_DRIVER && a.compute_wall == DV_WALL_DRIVER);
    c.memory_bytes = 10 * DV_GIB; /* exactly a part */
    a = ask(&n, c);
    assert_verdict(a, GRANTED, FITS);
    c.memory_bytes -= DV_MIB;
    a = ask(&n, c);
    assert_verdict(a, REFUSED, UNTRUSTED);
    n.gpus[0].mps_namespaces = true;
    a = ask(&n, c);
    assert_verdict(a, GRANTED, FITS);
    n.devices[0].replicas = 0;
    n.gpus[0].mps_namespaces = false;
    c.memory_bytes = 0;
    a = ask(&n, c);
    assert_verdict(a, REFUSED, UNTRUSTED);
    assert_false(a.verdict.mps_would_do);
    n.gpus[0].memory_limits = true; /* one wall of two */
    for (enum dv_mode m = DV_MODE_MPS; m <= DV_MODE_GOVERNED; m++) {
        n.devices[0].layout = n.devices[0].mode = m;
        a = ask(&n, c);
        assert_verdict(a, REFUSED, UNTRUSTED);
        assert_int_equal(a.verdict.mode, m);
    }
    n.gpus[0].mps_namespaces = true; /* under a layout for it */
    a = ask(&n, c);
    assert_verdict(a, REFUSED, UNTRUSTED);
    assert_true(a.verdict.mps_would_do);
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

static void test_limit_of_shared_modes(void **state)
{
    SHARED(n, MPS, 4);
    struct dv_admission a = ask(&n, claim(DV_MODE_AUTO, 0, 0));
    take(&n, &a);
    assert_int_equal(limit(&n, 5, 0, 0).reason, DV_REASON_FIXED);
    assert_int_equal(limit(&n, 10, 1750, 0).result, DV_VERDICT_GRANTED); /* no change at all */
    n.gpus[0].mps_namespaces = true;
    struct dv_verdict v = limit(&n, 30, 3500, 0);
    assert_int_equal(v.result, DV_VERDICT_GRANTED);
    assert_true(v.new_processes_only);
    n.gpus[0].mps_namespaces = false;
    n.s.n_slices = 0;
    a = ask(&n, claim(DV_MODE_AUTO, 5, 0));
    take(&n, &a);
    assert_int_equal(limit(&n, 8, 0, 0).result, DV_VERDICT_GRANTED);
    assert_int_equal(limit(&n, 11, 0, 0).reason, DV_REASON_TOO_LARGE_PART);
    SHARED(t, TIMESLICE, 4);
    a = ask(&t, claim(DV_MODE_AUTO, 5, 0));
    take(&t, &a);
    v = limit(&t, 12, 0, 0);
    assert_int_equal(v.result, DV_VERDICT_GRANTED);
    assert_false(v.new_processes_only);
    assert_int_equal(limit(&t, 12, 3500, 0).reason, DV_REASON_NO_SHARES);
    t.s.n_slices = 0;
    a = ask(&t, claim(DV_MODE_AUTO, 0, 0));
    take(&t, &a);
    assert_int_equal(limit(&t, 12, 0, 0).reason, DV_REASON_FIXED);
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
        cmocka_unit_test(test_alone),
        cmocka_unit_test(test_refused_for_ever),
        cmocka_unit_test(test_mig_devices_are_smaller),
        cmocka_unit_test(test_trust),
        cmocka_unit_test(test_replicas_are_parts),
        cmocka_unit_test(test_parts_too_small_for_a_context),
        cmocka_unit_test(test_timeslice),
        cmocka_unit_test(test_mps),
        cmocka_unit_test(test_mps_parts_are_ceilings),
        cmocka_unit_test(test_preparing),
        cmocka_unit_test(test_draining),
        cmocka_unit_test(test_untrusted_walls),
        cmocka_unit_test(test_layout_wins),
        cmocka_unit_test(test_limit_of_shared_modes),
        cmocka_unit_test(test_queued),
        cmocka_unit_test(test_best_fit),
        cmocka_unit_test(test_limit),
        cmocka_unit_test(test_names),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
