/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The arbiter thread against threads that play tenants by the rules of abi_tenant.h, while main
 * adds and removes slices and slots. What is checked is the protocol: every tenant that wants gets
 * turns, turns are exclusive, a holder that dies is replaced. Run under ThreadSanitizer too.
 */
#include "lease.h"
#include "sys/clock.h"

#include <errno.h>
#include <pthread.h>
#include <setjmp.h>
#include <stdarg.h>
#include <string.h>
#include <unistd.h>

#include <cmocka.h>

#define GET(p, w) __atomic_load_n(&(p)->w, __ATOMIC_ACQUIRE)
#define PUT(p, w, v) __atomic_store_n(&(p)->w, (v), __ATOMIC_RELEASE)

struct tenant {
    struct dv_lease *lease;
    uint32_t device, entity, slot;
    struct dv_governor_slice slice;
    struct dv_governor_slot pages;
    pthread_t thread;
    int turns, wanted_turns;
    bool stop; /* dies in the middle of its turn */
};

static bool my_turn(const struct tenant *t, uint64_t *epoch)
{
    uint64_t turn = GET(dv_lease_pages(t->lease, t->device)->page, turn);
    *epoch = dv_turn_epoch(turn);
    return dv_turn_slot_plus_1(turn) == t->slot + 1;
}

static void kick(const struct tenant *t)
{
    uint64_t one = 1;
    assert_int_equal(write(t->pages.event_fd, &one, sizeof one), sizeof one);
}

static void take_turn(struct tenant *t, uint64_t count)
{
    struct dv_slot_page *p = t->pages.page;
    uint64_t epoch, start = dv_clock_now();
    PUT(p, want_count, count);
    PUT(p, want_ns, start);
    PUT(p, state, DV_SLOT_WANT);
    kick(t);
    while (!my_turn(t, &epoch) || epoch == GET(p, epoch))
        usleep(100);
    start = dv_clock_now();
    PUT(p, want_ns, 0);
    PUT(p, epoch, epoch);
    PUT(p, state, DV_SLOT_HELD);
    kick(t);
    usleep(500);
    if (t->stop)
        return;
    uint32_t seq = GET(p, lease_seq);
    PUT(p, lease_seq, seq + 1);
    PUT(p, first_start_ns, start);
    PUT(p, last_end_ns, dv_clock_now());
    PUT(p, used_ns, GET(p, last_end_ns) - start);
    PUT(p, lease_seq, seq + 2);
    PUT(p, state, DV_SLOT_IDLE);
    PUT(p, released_epoch, (uint32_t)epoch);
    kick(t);
}

static void *tenant_thread(void *arg)
{
    struct tenant *t = arg;
    for (int i = 1; i <= t->wanted_turns; i++) {
        take_turn(t, (uint64_t)i);
        t->turns = i;
    }
    return NULL;
}

static void join_device(struct tenant *t, struct dv_lease *lease, uint32_t share)
{
    const struct dv_governor_spec spec = {.slice_id = "s-1",
                                          .tenant = "t",
                                          .device_uuid = "GPU-1",
                                          .libcuda = "a",
                                          .libnvml = "b",
                                          .memory_bytes = 1,
                                          .compute = share};
    const struct dv_arbiter_entity_spec entity = {.share = share, .cap = 7000};
    t->lease = lease;
    assert_int_equal(dv_lease_device(lease, "GPU-1", &t->device), 0);
    assert_int_equal(dv_lease_slice_add(lease, t->device, &entity, &t->entity), 0);
    assert_int_equal(dv_governor_slice_new(&spec, &t->slice), 0);
    assert_int_equal(dv_governor_slot_new(1, &t->slice, &t->pages), 0);
    assert_int_equal(dv_lease_slot_take(lease, t->device, &t->slot), 0);
    assert_int_equal(dv_lease_slot_join(lease, t->device, t->entity, t->slot, &t->pages), 0);
}

static void leave_device(struct tenant *t)
{
    dv_lease_slot_leave(t->lease, t->device, t->slot);
    dv_governor_slot_end(&t->pages, &t->slice);
    dv_governor_slice_end(&t->slice);
    dv_lease_slice_remove(t->lease, t->device, t->entity);
}

/* For whom t waited: only for its neighbours, and no less than the counter says. */
static void check_waits(const struct tenant *t, struct dv_lease *lease)
{
    struct dv_arbiter_waits waits;
    struct dv_arbiter_counters counters;
    assert_int_equal(dv_lease_slice_waits(lease, t->device, t->entity, &waits), 0);
    uint64_t sum = waits.nobody_ns + waits.gone_ns;
    for (uint32_t i = 0; i < DV_ARBITER_ENTITIES_MAX; i++) {
        assert_true(i < 3 || waits.for_entity_ns[i] == 0);
        sum += waits.for_entity_ns[i];
    }
    assert_true(sum > 0);
    assert_int_equal(waits.for_entity_ns[t->entity], 0);
    assert_int_equal(dv_lease_slice_counters(lease, t->device, t->entity, &counters), 0);
    assert_true(counters.waited_ns >= sum);
}

static void test_turns(void **state)
{
    struct dv_lease *lease;
    struct tenant t[3] = {{.wanted_turns = 40}, {.wanted_turns = 40}, {.wanted_turns = 40}};
    struct dv_arbiter_counters counters;
    assert_int_equal(dv_lease_new(0, &lease), 0);
    for (int i = 0; i < 3; i++) {
        join_device(&t[i], lease, 2000);
        assert_int_equal(t[i].slot, i);
    }
    for (int i = 0; i < 3; i++)
        assert_int_equal(pthread_create(&t[i].thread, NULL, tenant_thread, &t[i]), 0);
    for (int i = 0; i < 20; i++) { /* main goes on meanwhile */
        assert_int_equal(dv_lease_slice_counters(lease, 0, t[0].entity, &counters), 0);
        dv_lease_slots_changed(lease, 0);
        usleep(1000);
    }
    for (int i = 0; i < 3; i++) {
        pthread_join(t[i].thread, NULL);
        assert_int_equal(t[i].turns, 40);
    }
    assert_int_equal(dv_lease_slice_counters(lease, 0, t[0].entity, &counters), 0);
    assert_true(counters.charged_ns > 0);
    for (int i = 0; i < 3; i++)
        check_waits(&t[i], lease);
    assert_true(dv_lease_device_overhead(lease, 0) >
                0); /* they start some 100 us after their turn */
    assert_int_equal(dv_lease_slice_waits(lease, 0, 9, &(struct dv_arbiter_waits){0}), -ENOENT);
    for (int i = 0; i < 3; i++)
        leave_device(&t[i]);
    dv_lease_free(lease);
}

/* A holder that ends without a word: the next one gets its turn all the same. */
static void test_death(void **state)
{
    struct dv_lease *lease;
    struct tenant dying = {.wanted_turns = 1, .stop = true}, next = {.wanted_turns = 3};
    assert_int_equal(dv_lease_new(0, &lease), 0);
    join_device(&dying, lease, 3500);
    join_device(&next, lease, 3500);
    tenant_thread(&dying);
    assert_int_equal(pthread_create(&next.thread, NULL, tenant_thread, &next), 0);
    leave_device(&dying);
    pthread_join(next.thread, NULL);
    assert_int_equal(next.turns, 3);
    leave_device(&next);
    dv_lease_free(lease);
}

static void test_open(void **state)
{
    struct dv_lease *lease;
    struct tenant t = {0};
    assert_int_equal(dv_lease_new(0, &lease), 0);
    join_device(&t, lease, 7000);
    const struct dv_arbiter_page *page = dv_lease_pages(lease, t.device)->page;
    uint32_t wake = GET(page, wake[t.slot]);
    dv_lease_set_open(lease, t.device, true);
    assert_int_equal(GET(page, flags), DV_ARBITER_FLAG_OPEN);
    assert_true(GET(page, wake[t.slot]) != wake);
    dv_lease_set_open(lease, t.device, false);
    assert_int_equal(GET(page, flags), 0);
    leave_device(&t);
    dv_lease_free(lease);
}

static void test_bounds(void **state)
{
    struct dv_lease *lease;
    uint32_t device, slot;
    assert_int_equal(dv_lease_new(0, &lease), 0);
    assert_int_equal(dv_lease_device(lease, "GPU-1", &device), 0);
    for (uint32_t i = 0; i < DV_TENANT_SLOTS_MAX; i++) {
        assert_int_equal(dv_lease_slot_take(lease, device, &slot), 0);
        assert_int_equal(slot, i);
    }
    assert_int_equal(dv_lease_slot_take(lease, device, &slot), -ENOSPC);
    dv_lease_slot_leave(lease, device, 7);
    assert_int_equal(dv_lease_slot_take(lease, device, &slot), 0);
    assert_int_equal(slot, 7);
    dv_lease_free(lease);
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(test_turns), cmocka_unit_test(test_death),
                                       cmocka_unit_test(test_open), cmocka_unit_test(test_bounds)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
