/* SPDX-License-Identifier: Apache-2.0 */
/* For whom entities wait, and what the device loses. Against the virtual GPU's own figures:
 * tests/scenarios/share_test.c. */
#include "base/rng.h"
#include "govern/arbiter.h"
#include "govern/lost.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#define US DV_NS_PER_US
#define MS DV_NS_PER_MS
#define ENTITIES 5
#define SLOTS 12

static struct dv_arbiter *make(uint32_t entities)
{
    struct dv_arbiter_config c;
    struct dv_arbiter *a = NULL;
    dv_arbiter_config_default(&c);
    c.entities_max = entities;
    assert_int_equal(dv_arbiter_new(&c, 0, &a), 0);
    return a;
}

static uint32_t tenant(struct dv_arbiter *a, uint64_t now, uint32_t share, uint32_t cap,
                       uint32_t slot)
{
    struct dv_arbiter_entity_spec s = {.share = share, .cap = cap};
    uint32_t e;
    assert_int_equal(dv_arbiter_entity_add(a, now, &s, &e), 0);
    assert_int_equal(dv_arbiter_member_add(a, now, e, slot), 0);
    return e;
}

static struct dv_arbiter_state page(const struct dv_arbiter *a)
{
    struct dv_arbiter_state s;
    dv_arbiter_page(a, &s);
    return s;
}

static struct dv_arbiter_waits waits(const struct dv_arbiter *a, uint64_t now, uint32_t e)
{
    struct dv_arbiter_waits w;
    assert_int_equal(dv_arbiter_entity_waits(a, now, e, &w), 0);
    return w;
}

static uint64_t sum(const struct dv_arbiter_waits *w)
{
    uint64_t s = w->nobody_ns + w->gone_ns;
    for (uint32_t i = 0; i < DV_ARBITER_ENTITIES_MAX; i++)
        s += w->for_entity_ns[i];
    return s;
}

static struct dv_arbiter_counters counters(const struct dv_arbiter *a, uint64_t now, uint32_t e)
{
    struct dv_arbiter_counters c;
    assert_int_equal(dv_arbiter_entity_counters(a, now, e, &c), 0);
    return c;
}

/* The holder ran from start to end, and is heard of at `now`. */
static void release(struct dv_arbiter *a, uint64_t now, uint64_t start, uint64_t end, bool wants)
{
    struct dv_arbiter_state s = page(a);
    bool other = s.next_slot != DV_ARBITER_NOBODY && s.next_slot != s.turn_slot;
    struct dv_arbiter_lease l = {.epoch = s.turn_epoch,
                                 .first_start_ns = start,
                                 .last_end_ns = end,
                                 .used_ns = end - start,
                                 .handed =
                                     other ? (uint64_t)(s.next_slot + 1) << 48 | s.next_epoch : 0,
                                 .wants = wants};
    assert_int_equal(dv_arbiter_released(a, now, s.turn_slot, &l), 0);
}

static void test_for_whom(void **state)
{
    struct dv_arbiter *a = make(8);
    uint32_t ann = tenant(a, 0, 2000, 0, 0), bob = tenant(a, 0, 2000, 0, 1),
             cyd = tenant(a, 0, 2000, 0, 2);
    dv_arbiter_want(a, 0, 0);
    dv_arbiter_want(a, MS, 1);
    dv_arbiter_want(a, 2 * MS, 2);
    release(a, 10 * MS, 0, 10 * MS, false); /* bob's, or cyd's turn */
    uint32_t second = page(a).turn_slot == 1 ? bob : cyd, third = second == bob ? cyd : bob;
    struct dv_arbiter_waits w = waits(a, 14 * MS, third);
    assert_int_equal(w.for_entity_ns[ann], third == bob ? 9 * MS : 8 * MS);
    assert_int_equal(w.for_entity_ns[second], 4 * MS);
    assert_int_equal(sum(&w), counters(a, 14 * MS, third).waited_ns);
    w = waits(a, 14 * MS, ann);
    assert_int_equal(sum(&w), 0);
    struct dv_arbiter_waits none;
    assert_true(dv_arbiter_entity_waits(a, 0, 7, &none) < 0);
    dv_arbiter_free(a);
}

/* Who waits because of its own cap waits for nobody. */
static void test_for_nobody(void **state)
{
    struct dv_arbiter *a = make(2);
    uint32_t e = tenant(a, 0, 700, 700, 0);
    dv_arbiter_want(a, 0, 0);
    uint64_t now = 30 * MS;
    release(a, now, 0, now, true);
    assert_int_equal(page(a).turn_slot, DV_ARBITER_NOBODY);
    struct dv_arbiter_waits w = waits(a, now + 5 * MS, e);
    assert_int_equal(w.nobody_ns, 5 * MS);
    assert_int_equal(sum(&w), 5 * MS);
    assert_int_equal(dv_arbiter_overhead(a), 0);
    dv_arbiter_free(a);
}

static void test_a_successor_inherits_nothing(void **state)
{
    struct dv_arbiter *a = make(2);
    uint32_t ann = tenant(a, 0, 2000, 0, 0), bob = tenant(a, 0, 2000, 0, 1);
    dv_arbiter_want(a, 0, 0);
    dv_arbiter_want(a, 0, 1);
    assert_int_equal(dv_arbiter_entity_remove(a, 3 * MS, ann), 0);
    uint32_t cyd = tenant(a, 3 * MS, 2000, 0, 0);
    assert_int_equal(cyd, ann);
    struct dv_arbiter_waits w = waits(a, 3 * MS, bob);
    assert_int_equal(w.for_entity_ns[cyd], 0);
    assert_int_equal(w.gone_ns, 3 * MS);
    assert_int_equal(sum(&w), counters(a, 3 * MS, bob).waited_ns);
    w = waits(a, 3 * MS, cyd);
    assert_int_equal(sum(&w), 0);
    dv_arbiter_free(a);
}

/* 0.2 ms before the first kernel and 0.1 ms after the last one, five times; the last lease's is
 * not believed yet. */
static void test_lost(void **state)
{
    struct dv_arbiter *a = make(2);
    tenant(a, 0, 3500, 0, 0);
    tenant(a, 0, 3500, 0, 1);
    dv_arbiter_want(a, 0, 0);
    dv_arbiter_want(a, 0, 1);
    for (uint64_t k = 0; k < 5; k++)
        release(a, (k + 1) * 10 * MS, k * 10 * MS + 200 * US, (k + 1) * 10 * MS - 100 * US, true);
    assert_int_equal(dv_arbiter_overhead(a), 4 * 300 * US);
    assert_int_equal(counters(a, 50 * MS, 0).lost_ns, 3 * 300 * US);
    assert_int_equal(counters(a, 50 * MS, 1).lost_ns, 2 * 300 * US);
    dv_arbiter_free(a);
}

/* An idle card loses nothing, and one that is held lazily neither. */
static void test_nobody_waits_nothing_is_lost(void **state)
{
    struct dv_arbiter *a = make(2);
    tenant(a, 0, 3500, 0, 0);
    for (uint64_t k = 0; k < 5; k++) {
        dv_arbiter_want(a, k * 10 * MS, 0);
        release(a, k * 10 * MS + 5 * MS, k * 10 * MS + MS, k * 10 * MS + 2 * MS, false);
    }
    assert_int_equal(dv_arbiter_overhead(a), 0);
    dv_arbiter_free(a);
}

/* The successor had begun at 9.9 ms, which its predecessor's turn covers: paid once, lost never. */
static void test_early_start_is_not_lost(void **state)
{
    struct dv_arbiter *a = make(2);
    tenant(a, 0, 3500, 0, 0);
    tenant(a, 0, 3500, 0, 1);
    dv_arbiter_want(a, 0, 0);
    dv_arbiter_want(a, 0, 1);
    release(a, 10 * MS, 0, 9800 * US, true);                 /* heard 0.2 ms late */
    release(a, 20 * MS, 9900 * US, 20 * MS - 50 * US, true); /* 0.1 ms of it were the hand-over */
    release(a, 30 * MS, 20 * MS, 30 * MS, true);
    assert_int_equal(dv_arbiter_overhead(a), 150 * US);
    dv_arbiter_free(a);
}

static void random_lease(struct dv_rng *rng, uint64_t now, struct dv_arbiter *a, uint32_t slot,
                         struct dv_arbiter_lease *l)
{
    uint64_t used = dv_rng_below(rng, 20 * MS);
    l->epoch = page(a).turn_epoch - dv_rng_below(rng, 3);
    l->used_ns = DV_MIN(used, now);
    l->last_end_ns = now - dv_rng_below(rng, MS);
    l->first_start_ns = l->last_end_ns - DV_MIN(l->last_end_ns, l->used_ns);
    l->handed = (uint64_t)(dv_rng_below(rng, SLOTS) + 1) << 48 | page(a).next_epoch;
    l->wants = dv_rng_below(rng, 2);
    dv_arbiter_released(a, now, slot, l);
}

/* Anything may happen, lies too. */
static void random_step(struct dv_rng *rng, struct dv_arbiter *a, uint64_t now)
{
    uint32_t slot = (uint32_t)dv_rng_below(rng, SLOTS), e = (uint32_t)dv_rng_below(rng, ENTITIES);
    struct dv_arbiter_lease l = {0};
    struct dv_arbiter_entity_spec s = {1 + (uint32_t)dv_rng_below(rng, 7000),
                                       (uint32_t)dv_rng_below(rng, 7000), 0};
    struct dv_arbiter_words words = {.epoch = page(a).turn_epoch,
                                     .used_ns = dv_rng_below(rng, 10 * MS),
                                     .idle_since_ns = dv_rng_below(rng, 2)};
    switch (dv_rng_below(rng, 12)) {
    case 0:
        dv_arbiter_entity_remove(a, now, e);
        break;
    case 1:
        dv_arbiter_entity_add(a, now, &s, &e);
        break;
    case 2:
        dv_arbiter_member_add(a, now, e, slot);
        break;
    case 3:
        dv_arbiter_member_gone(a, now, slot);
        break;
    case 4:
        dv_arbiter_unwant(a, now, slot);
        break;
    case 5:
        dv_arbiter_entity_change(a, now, e, &s);
        break;
    case 6:
    case 7:
        dv_arbiter_observe(a, now, slot, &words);
        break;
    case 8:
        random_lease(rng, now, a, slot, &l);
        break;
    case 9:
        if (page(a).turn_slot != DV_ARBITER_NOBODY)
            random_lease(rng, now, a, page(a).turn_slot, &l);
        break;
    default:
        dv_arbiter_want(a, now, slot);
    }
    dv_arbiter_tick(a, now);
}

static void test_rows_add_up(void **state)
{
    for (uint64_t seed = 1; seed <= 40; seed++) {
        struct dv_rng rng = {seed};
        struct dv_arbiter *a = make(ENTITIES);
        uint64_t now = MS, overhead = 0, before[ENTITIES] = {0};
        for (uint32_t i = 0; i < ENTITIES; i++)
            tenant(a, 0, 1 + (uint32_t)dv_rng_below(&rng, 7000), 0, i);
        for (unsigned step = 0; step < 3000; step++) {
            now += dv_rng_below(&rng, 5 * MS);
            random_step(&rng, a, now);
            uint64_t later = now + dv_rng_below(&rng, MS);
            for (uint32_t i = 0; i < ENTITIES; i++) {
                struct dv_arbiter_waits w;
                if (dv_arbiter_entity_waits(a, later, i, &w) < 0) {
                    before[i] = 0;
                    continue;
                }
                assert_int_equal(sum(&w), counters(a, later, i).waited_ns);
                assert_int_equal(w.for_entity_ns[i], 0);
                w = waits(a, now, i);
                assert_true(sum(&w) >= before[i] || sum(&w) == 0); /* 0: added anew */
                before[i] = sum(&w);
            }
            assert_true(dv_arbiter_overhead(a) >= overhead);
            overhead = dv_arbiter_overhead(a);
            assert_true(overhead <= now);
        }
        dv_arbiter_free(a);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_for_whom),
        cmocka_unit_test(test_for_nobody),
        cmocka_unit_test(test_a_successor_inherits_nothing),
        cmocka_unit_test(test_lost),
        cmocka_unit_test(test_nobody_waits_nothing_is_lost),
        cmocka_unit_test(test_early_start_is_not_lost),
        cmocka_unit_test(test_rows_add_up),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
