/* SPDX-License-Identifier: Apache-2.0 */
/* A process may die between any two steps of a change; the word must stay exact. */
#include <setjmp.h>

static jmp_buf death;
static int die_at = -1; /* the step that is not reached */
#define dv_reservation_step(n)                                                                     \
    do {                                                                                           \
        if (die_at == (n))                                                                         \
            longjmp(death, 1);                                                                     \
    } while (0)

#include "abi_reservation.h"

#include <pthread.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#define PROCESSES 4
#define LIMIT 1000u

static struct dv_reservation_page page;
static struct dv_slot_page slots[PROCESSES + 1];

/* Returns 0 done, 1 refused, 2 died on the way. */
static int change_and_die(uint32_t process, int64_t delta, int step)
{
    die_at = step;
    int r = 2;
    if (!setjmp(death))
        r = dv_reservation_change(&page, &slots[process], process, delta, LIMIT);
    die_at = -1;
    return r;
}

static uint64_t sum_held(void)
{
    uint64_t sum = 0;
    for (uint32_t p = 1; p <= PROCESSES; p++)
        sum += dv_reservation_held(&page, &slots[p], p);
    return sum;
}

static void test_cap_to_the_byte(void **state)
{
    memset(&page, 0, sizeof page);
    memset(slots, 0, sizeof slots);
    assert_int_equal(dv_reservation_change(&page, &slots[1], 1, 600, LIMIT), 0);
    assert_int_equal(dv_reservation_change(&page, &slots[2], 2, 401, LIMIT), 1);
    assert_int_equal(dv_reservation_change(&page, &slots[2], 2, 400, LIMIT), 0);
    assert_int_equal(dv_reservation_change(&page, &slots[1], 1, 1, LIMIT), 1);
    assert_int_equal(page.word.bytes, LIMIT);
    assert_int_equal(dv_reservation_change(&page, &slots[1], 1, -9999, LIMIT), 0);
    assert_int_equal(page.word.bytes, 400);
    assert_int_equal(dv_reservation_change(&page, &slots[1], 1, INT64_MAX, LIMIT), 1);
}

/* Random lives: grow, shrink, die at a random step, be repaired, come back. */
static void test_death_at_every_step(void **state)
{
    uint64_t daemon_seq = 0;
    unsigned seed = 1;
    memset(&page, 0, sizeof page);
    memset(slots, 0, sizeof slots);
    for (int i = 0; i < 200000; i++) {
        uint32_t p = 1 + (uint32_t)rand_r(&seed) % PROCESSES;
        int64_t delta = rand_r(&seed) % 300 - 140;
        int step = rand_r(&seed) % 4 ? -1 : rand_r(&seed) % DV_RESERVATION_STEPS;
        if (change_and_die(p, delta, step) == 2) {
            assert_int_equal(page.word.bytes, sum_held());
            uint64_t before = page.word.bytes;
            uint64_t held = dv_reservation_repair(&page, &slots[p], p, &daemon_seq);
            assert_int_equal(page.word.bytes, before - held);
        }
        assert_int_equal(page.word.bytes, sum_held());
        assert_true(page.word.bytes <= LIMIT);
    }
}

/* Somebody else works between the dead one's last step and the repair. */
static void test_death_then_others(void **state)
{
    for (int step = 0; step < DV_RESERVATION_STEPS; step++) {
        uint64_t daemon_seq = 0;
        memset(&page, 0, sizeof page);
        memset(slots, 0, sizeof slots);
        assert_int_equal(change_and_die(1, 100, -1), 0);
        assert_int_equal(change_and_die(1, 50, step), 2);
        for (int i = 0; i < 300; i++)
            assert_int_equal(change_and_die(2, i % 2 ? -10 : 10, -1), 0);
        assert_int_equal(page.word.bytes, sum_held());
        assert_int_equal(dv_reservation_repair(&page, &slots[1], 1, &daemon_seq),
                         step == 4 ? 150 : 100);
        assert_int_equal(page.word.bytes, 0);
    }
}

static void *racer(void *arg)
{
    uint32_t p = (uint32_t)(uintptr_t)arg;
    unsigned seed = p;
    for (int i = 0; i < 100000; i++) {
        int64_t delta = rand_r(&seed) % 400 - 180;
        dv_reservation_change(&page, &slots[p], p, delta, LIMIT);
        uint64_t now = __atomic_load_n(&page.word.bytes, __ATOMIC_ACQUIRE);
        if (now > LIMIT)
            return (void *)1;
    }
    return NULL;
}

static void test_racing(void **state)
{
    pthread_t threads[PROCESSES];
    memset(&page, 0, sizeof page);
    memset(slots, 0, sizeof slots);
    for (uintptr_t i = 0; i < PROCESSES; i++)
        assert_int_equal(pthread_create(&threads[i], NULL, racer, (void *)(i + 1)), 0);
    for (int i = 0; i < PROCESSES; i++) {
        void *over = NULL;
        pthread_join(threads[i], &over);
        assert_null(over);
    }
    assert_int_equal(page.word.bytes, sum_held());
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_cap_to_the_byte),
        cmocka_unit_test(test_death_at_every_step),
        cmocka_unit_test(test_death_then_others),
        cmocka_unit_test(test_racing),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
