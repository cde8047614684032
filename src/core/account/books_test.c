/* SPDX-License-Identifier: Apache-2.0 */
#include "account/books.h"
#include "base/rng.h"

#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#include <cmocka.h>

#define S DV_NS_PER_S
#define GPUS 3
#define DEVICES 24
#define SLICES 12

/* A node that a test changes at will, and what it was charged. */
struct node {
    struct dv_snapshot snapshot;
    struct dv_gpu gpus[GPUS];
    struct dv_device devices[DEVICES];
    struct dv_slice slices[SLICES];
    struct dv_books *books;
    struct dv_charge gpu[GPUS], tenant[26], sum, last;
    struct dv_account account; /* of the last charge to a tenant */
    uint64_t now, next_id;
};

static void on_charge(void *arg, uint64_t slice, const struct dv_account *a,
                      const struct dv_charge *c)
{
    struct node *n = arg;
    dv_charge_add(&n->gpu[a->gpu[4] - '0'], c);
    dv_charge_add(&n->sum, c);
    if (!a->tenant[0]) {
        assert_int_equal(slice, 0);
        assert_int_equal(c->busy_ns + c->reserved_idle_ns, 0);
        return;
    }
    assert_int_equal(c->overhead_ns + c->unallocated_ns + c->unhealthy_ns, 0);
    n->account = *a;
    n->last = *c;
    if (a->tenant[0] >= 'a')
        dv_charge_add(&n->tenant[a->tenant[0] - 'a'], c);
}

static void setup(struct node *n, size_t gpus)
{
    memset(n, 0, sizeof *n);
    n->snapshot = (struct dv_snapshot){
        .gpus = n->gpus, .devices = n->devices, .slices = n->slices, .n_gpus = gpus};
    for (uint32_t i = 0; i < gpus; i++) {
        n->gpus[i].index = i;
        snprintf(n->gpus[i].uuid, sizeof n->gpus[i].uuid, "GPU-%u", i);
        snprintf(n->gpus[i].model, sizeof n->gpus[i].model, "NVIDIA A100");
        n->gpus[i].health = DV_GPU_HEALTH_OK;
    }
    n->now = 5 * S;
    n->next_id = 1;
    assert_int_equal(dv_books_new(n->now, on_charge, n, &n->books), 0);
}

static struct dv_device *device(struct node *n, uint32_t gpu, uint32_t compute, enum dv_mode mode)
{
    struct dv_device *d = &n->devices[n->snapshot.n_devices++];
    *d = (struct dv_device){.gpu = gpu, .compute = compute, .mode = mode};
    d->mig = compute < 7000;
    snprintf(d->uuid, sizeof d->uuid, d->mig ? "MIG-%u-%u" : "GPU-%u", gpu, (unsigned)n->next_id++);
    if (d->mig)
        snprintf(d->profile, sizeof d->profile, "%ug.x", compute / 1000);
    else
        snprintf(d->uuid, sizeof d->uuid, "GPU-%u", gpu);
    return d;
}

static uint64_t slice(struct node *n, const struct dv_device *d, const char *tenant,
                      uint32_t compute)
{
    struct dv_slice *s = &n->slices[n->snapshot.n_slices++];
    *s = (struct dv_slice){.id = n->next_id++,
                           .mode = d->mode,
                           .compute = compute,
                           .memory_bytes = DV_GIB,
                           .compute_wall = DV_WALL_DRIVER};
    snprintf(s->tenant, sizeof s->tenant, "%s", tenant);
    memcpy(s->device, d->uuid, sizeof s->device);
    return s->id;
}

static void pass(struct node *n, uint64_t ns)
{
    n->now += ns;
    assert_int_equal(dv_books_close(n->books, &n->snapshot, n->now), 0);
}

static void done(struct node *n)
{
    dv_books_free(n->books);
}

static void a_slice_is_charged_for_what_it_held_and_used(void **state)
{
    struct node n;
    setup(&n, 1);
    uint64_t id = slice(&n, device(&n, 0, 7000, DV_MODE_GOVERNED), "ann", 1750);
    strcpy(n.slices[0].pod, "train-0");
    pass(&n, 0);
    assert_int_equal(dv_books_busy(n.books, id, S / 2, DV_QUALITY_EXACT), 0);
    dv_books_wait(n.books, id, S / 10);
    dv_books_overhead(n.books, "GPU-0", S / 20);
    pass(&n, S);
    assert_int_equal(n.last.busy_ns, S / 2);
    assert_int_equal(n.last.reserved_idle_ns, S * 45 / 100 / 4);
    assert_int_equal(n.last.wait_ns, S / 10);
    assert_int_equal(n.last.held_ns, S);
    assert_true(n.last.requested_compute == 1750 * S);
    assert_true(n.last.byte_seconds == DV_GIB);
    assert_int_equal(n.gpu[0].overhead_ns, S / 20);
    assert_int_equal(dv_charge_wall_ns(&n.gpu[0]), S);
    assert_int_equal(n.account.source, DV_SOURCE_LEASES);
    assert_string_equal(n.account.pod, "train-0");
    assert_int_equal(n.account.quality, DV_QUALITY_EXACT);
    done(&n);
}

/* One lease of 10 ms is charged when it is given back, 2 ms after the slice has gone. */
static void what_comes_late_is_charged_to_who_has_left(void **state)
{
    struct node n;
    setup(&n, 1);
    uint64_t id = slice(&n, device(&n, 0, 7000, DV_MODE_GOVERNED), "ann", 3500);
    pass(&n, 0);
    pass(&n, S);
    n.snapshot.n_slices = 0;
    pass(&n, 0); /* from here on it is gone */
    dv_books_busy(n.books, id, 10 * DV_NS_PER_MS, DV_QUALITY_EXACT);
    pass(&n, 2 * DV_NS_PER_MS);
    assert_int_equal(n.tenant[0].busy_ns, 2 * DV_NS_PER_MS);
    assert_int_equal(dv_books_pending_ns(n.books), 8 * DV_NS_PER_MS);
    pass(&n, S);
    assert_int_equal(n.tenant[0].busy_ns, 10 * DV_NS_PER_MS);
    assert_int_equal(n.tenant[0].held_ns, S);
    assert_int_equal(dv_books_busy(n.books, id, 1, DV_QUALITY_EXACT), -ENOENT);
    assert_int_equal(dv_charge_wall_ns(&n.gpu[0]), n.now - 5 * S);
    done(&n);
}

static void quality_is_the_modes_or_worse(void **state)
{
    struct node n;
    setup(&n, 2);
    uint64_t mps = slice(&n, device(&n, 0, 7000, DV_MODE_MPS), "ann", 3500);
    pass(&n, 0);
    pass(&n, S);
    dv_books_busy(n.books, mps, S / 2, DV_QUALITY_EXACT);
    pass(&n, S);
    assert_int_equal(n.account.quality, DV_QUALITY_ESTIMATED);
    n.snapshot.n_slices = n.snapshot.n_devices = 0;
    uint64_t turn = slice(&n, device(&n, 1, 7000, DV_MODE_TIMESLICE), "bob", 1750);
    pass(&n, 0);
    pass(&n, S);
    assert_int_equal(n.account.source, DV_SOURCE_DRIVER);
    assert_int_equal(n.account.quality, DV_QUALITY_SAMPLED);
    dv_books_busy(n.books, turn, S / 2, DV_QUALITY_ESTIMATED);
    pass(&n, S);
    assert_int_equal(n.account.quality, DV_QUALITY_ESTIMATED);
    pass(&n, S);
    assert_int_equal(n.account.quality, DV_QUALITY_SAMPLED);
    n.snapshot.n_slices = n.snapshot.n_devices = 0;
    uint64_t own = slice(&n, device(&n, 1, 7000, DV_MODE_GOVERNED), "cyd", 1750);
    pass(&n, 0);
    pass(&n, S);
    dv_books_source(n.books, own, DV_SOURCE_DRIVER, DV_QUALITY_SAMPLED);
    pass(&n, S);
    assert_int_equal(n.account.source, DV_SOURCE_DRIVER);
    dv_books_source(n.books, own, DV_SOURCE_NONE, DV_QUALITY_EXACT);
    pass(&n, S);
    assert_int_equal(n.account.source, DV_SOURCE_LEASES);
    done(&n);
}

static void a_gpu_that_is_lost_is_unhealthy_until_it_is_back(void **state)
{
    struct node n;
    setup(&n, 2);
    pass(&n, S);
    n.snapshot.n_gpus = 1;
    pass(&n, S);
    assert_int_equal(n.gpu[1].unhealthy_ns, S);
    n.snapshot.n_gpus = 2;
    n.gpus[1].health = DV_GPU_HEALTH_FAILED;
    pass(&n, S);
    assert_int_equal(n.gpu[1].unhealthy_ns, 2 * S);
    n.gpus[1].health = DV_GPU_HEALTH_OK;
    pass(&n, S);
    assert_int_equal(n.gpu[1].unhealthy_ns, 2 * S);
    assert_int_equal(n.gpu[1].unallocated_ns, 2 * S);
    done(&n);
}

static void work_outside_of_slices_has_a_name(void **state)
{
    struct node n;
    setup(&n, 1);
    device(&n, 0, 7000, DV_MODE_AUTO);
    pass(&n, S);
    assert_int_equal(dv_books_outside(n.books, "GPU-0", NULL, "", S / 4), 0);
    pass(&n, S);
    assert_string_equal(n.account.tenant, DV_ACCOUNT_OUTSIDE);
    assert_string_equal(n.account.model, "NVIDIA A100");
    assert_int_equal(n.last.busy_ns, S / 4);
    assert_int_equal(dv_books_outside(n.books, "GPU-0", "bob", "stray-0", S / 4), 0);
    pass(&n, S);
    assert_string_equal(n.account.tenant, "bob"); /* it is known whose it is */
    assert_string_equal(n.account.pod, "stray-0");
    assert_int_equal(n.last.busy_ns, S / 4);
    struct dv_account gone = {.mode = DV_MODE_GOVERNED, .quality = DV_QUALITY_SAMPLED};
    strcpy(gone.gpu, "GPU-0");
    strcpy(gone.tenant, "zoe");
    assert_int_equal(dv_books_late(n.books, &gone, "GPU-0", S / 8), 0);
    pass(&n, S);
    assert_int_equal(n.tenant['z' - 'a'].busy_ns, S / 8);
    assert_int_equal(dv_charge_wall_ns(&n.sum), n.now - 5 * S);
    done(&n);
}

/* What is left of a MIG device that has been destroyed is charged to the GPU all the same. */
static void a_device_that_is_gone_still_owes(void **state)
{
    struct node n;
    setup(&n, 1);
    uint64_t id = slice(&n, device(&n, 0, 3000, DV_MODE_EXCLUSIVE), "ann", 3000);
    pass(&n, 0);
    pass(&n, S);
    dv_books_busy(n.books, id, S, DV_QUALITY_EXACT);
    n.snapshot.n_devices = n.snapshot.n_slices = 0;
    pass(&n, 2 * S);
    assert_int_equal(dv_books_pending_ns(n.books), 0);
    assert_int_equal(dv_charge_wall_ns(&n.sum), n.now - 5 * S);
    done(&n);
}

static void a_clock_that_goes_back_charges_nothing(void **state)
{
    struct node n;
    setup(&n, 1);
    pass(&n, S);
    n.now -= 2 * S;
    assert_int_equal(dv_books_close(n.books, &n.snapshot, n.now), 0);
    assert_int_equal(dv_charge_wall_ns(&n.sum), S);
    done(&n);
}

/* ---- random lives ---- */

static void cut_anew(struct node *n, struct dv_rng *rng)
{
    static const enum dv_mode modes[] = {DV_MODE_GOVERNED, DV_MODE_EXCLUSIVE, DV_MODE_TIMESLICE,
                                         DV_MODE_MPS};
    n->snapshot.n_devices = n->snapshot.n_slices = 0;
    for (uint32_t g = 0; g < GPUS; g++) {
        if (dv_rng_below(rng, 2)) {
            device(n, g, 7000, modes[dv_rng_below(rng, 4)]);
            continue;
        }
        for (uint32_t left = 7; left && n->snapshot.n_devices < DEVICES;) {
            uint32_t part = 1 + (uint32_t)dv_rng_below(rng, left);
            device(n, g, part * 1000, modes[dv_rng_below(rng, 4)]);
            left -= part;
        }
    }
}

static void come_and_go(struct node *n, struct dv_rng *rng)
{
    char name[2] = {(char)('a' + dv_rng_below(rng, 26)), 0};
    if (dv_rng_below(rng, 2) && n->snapshot.n_slices < SLICES && n->snapshot.n_devices) {
        const struct dv_device *d = &n->devices[dv_rng_below(rng, n->snapshot.n_devices)];
        slice(n, d, name, 1 + (uint32_t)dv_rng_below(rng, d->compute));
    } else if (n->snapshot.n_slices) {
        size_t i = dv_rng_below(rng, n->snapshot.n_slices--);
        memmove(&n->slices[i], &n->slices[i + 1], (n->snapshot.n_slices - i) * sizeof n->slices[0]);
    }
}

/* An interval that stays open over a change: each holds its share for the time it was there. */
static void a_note_keeps_the_interval_open(void **state)
{
    struct node n;
    setup(&n, 1);
    slice(&n, device(&n, 0, 7000, DV_MODE_GOVERNED), "ann", 3500);
    pass(&n, 0);
    n.now += S;
    assert_int_equal(dv_books_note(n.books, &n.snapshot, n.now), 0);
    slice(&n, &n.devices[0], "bob", 3500);
    assert_int_equal(dv_books_note(n.books, &n.snapshot, n.now), 0);
    assert_int_equal(dv_charge_wall_ns(&n.sum), 0);
    pass(&n, S);
    assert_int_equal(dv_charge_wall_ns(&n.sum), 2 * S);
    assert_int_equal(n.tenant[0].held_ns, 2 * S);
    assert_int_equal(n.tenant[0].reserved_idle_ns, S);
    assert_int_equal(n.tenant[1].held_ns, S);
    assert_int_equal(n.tenant[1].reserved_idle_ns, S / 2);
    assert_int_equal(n.gpu[0].unallocated_ns, S / 2);
    done(&n);
}

static void random_lives_sum_to_the_wall_clock(void **state)
{
    struct dv_rng rng = {2026};
    for (int life = 0; life < 60; life++) {
        struct node n;
        uint64_t told = 0;
        setup(&n, GPUS);
        cut_anew(&n, &rng);
        for (int step = 0; step < 200; step++) {
            uint64_t wall = dv_rng_below(&rng, 3 * S);
            pass(&n, 0); /* those that came have an entry */
            for (size_t i = 0; i < n.snapshot.n_slices; i++) {
                uint64_t ns = dv_rng_below(&rng, 3) ? dv_rng_below(&rng, wall + 1) : 0;
                assert_int_equal(dv_books_busy(n.books, n.slices[i].id, ns, 0), 0);
                told += ns;
            }
            for (size_t i = 0; i < n.snapshot.n_devices; i++)
                dv_books_overhead(n.books, n.devices[i].uuid, dv_rng_below(&rng, wall / 4 + 1));
            n.gpus[dv_rng_below(&rng, GPUS)].health =
                dv_rng_below(&rng, 4) ? DV_GPU_HEALTH_OK : DV_GPU_HEALTH_FAILED;
            pass(&n, wall);
            for (uint32_t g = 0; g < GPUS; g++)
                assert_int_equal(dv_charge_wall_ns(&n.gpu[g]), n.now - 5 * S);
            if (dv_rng_below(&rng, 20))
                come_and_go(&n, &rng);
            else
                cut_anew(&n, &rng);
        }
        assert_true(n.sum.busy_ns <= told);
        n.snapshot.n_slices = 0;
        for (int i = 0; i < 40; i++)
            pass(&n, 10 * S);
        assert_int_equal(dv_books_pending_ns(n.books), 0);
        for (uint32_t g = 0; g < GPUS; g++)
            assert_int_equal(dv_charge_wall_ns(&n.gpu[g]), n.now - 5 * S);
        done(&n);
    }
}

/* However often an interval is cut up, the sums stay: less than 1 ns per cut and party apart. */
static void more_closes_change_nothing(void **state)
{
    struct node once, often;
    struct dv_rng rng = {5};
    setup(&once, 1);
    setup(&often, 1);
    uint64_t a = slice(&once, device(&once, 0, 7000, DV_MODE_GOVERNED), "ann", 1234);
    uint64_t b = slice(&often, device(&often, 0, 7000, DV_MODE_GOVERNED), "ann", 1234);
    pass(&once, 0);
    pass(&often, 0);
    for (int i = 0; i < 1000; i++) {
        uint64_t wall = 1 + dv_rng_below(&rng, DV_NS_PER_MS), busy = dv_rng_below(&rng, wall + 1);
        dv_books_busy(once.books, a, busy, 0);
        dv_books_busy(often.books, b, busy, 0);
        once.now += wall;
        pass(&often, wall);
    }
    pass(&once, 0);
    assert_int_equal(once.sum.busy_ns, often.sum.busy_ns);
    assert_int_equal(dv_charge_wall_ns(&once.sum), dv_charge_wall_ns(&often.sum));
    assert_in_range(often.sum.reserved_idle_ns, once.sum.reserved_idle_ns - 1000,
                    once.sum.reserved_idle_ns + 1000);
    assert_true(once.sum.requested_compute == often.sum.requested_compute);
    assert_int_equal(once.sum.byte_seconds, often.sum.byte_seconds);
    done(&once);
    done(&often);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_slice_is_charged_for_what_it_held_and_used),
        cmocka_unit_test(what_comes_late_is_charged_to_who_has_left),
        cmocka_unit_test(quality_is_the_modes_or_worse),
        cmocka_unit_test(a_gpu_that_is_lost_is_unhealthy_until_it_is_back),
        cmocka_unit_test(work_outside_of_slices_has_a_name),
        cmocka_unit_test(a_device_that_is_gone_still_owes),
        cmocka_unit_test(a_clock_that_goes_back_charges_nothing),
        cmocka_unit_test(a_note_keeps_the_interval_open),
        cmocka_unit_test(random_lives_sum_to_the_wall_clock),
        cmocka_unit_test(more_closes_change_nothing),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
