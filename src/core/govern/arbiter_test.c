/* SPDX-License-Identifier: Apache-2.0 */
/* The arbiter alone, fed by hand. How well it shares a device: tests/scenarios/share_test.c. */
#include "base/rng.h"
#include "govern/arbiter.h"

#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#define US DV_NS_PER_US
#define MS DV_NS_PER_MS

static uint64_t packed(uint32_t slot, uint64_t epoch)
{
    return (uint64_t)(slot + 1) << 48 | epoch;
}

static struct dv_arbiter *make(void)
{
    struct dv_arbiter_config c;
    struct dv_arbiter *a = NULL;
    dv_arbiter_config_default(&c);
    assert_int_equal(dv_arbiter_new(&c, 0, &a), 0);
    return a;
}

static uint32_t entity(struct dv_arbiter *a, uint32_t share, uint32_t cap)
{
    struct dv_arbiter_entity_spec s = {.share = share, .cap = cap};
    uint32_t e;
    assert_int_equal(dv_arbiter_entity_add(a, 0, &s, &e), 0);
    return e;
}

/* An entity with one member in the slot of the same number. */
static void tenant(struct dv_arbiter *a, uint32_t share, uint32_t cap, uint32_t slot)
{
    assert_int_equal(dv_arbiter_member_add(a, 0, entity(a, share, cap), slot), 0);
}

static struct dv_arbiter_state page(const struct dv_arbiter *a)
{
    struct dv_arbiter_state s;
    dv_arbiter_page(a, &s);
    return s;
}

/* The holder gives up at `now`, having run since `start`, and hands over to what next says. */
static void release(struct dv_arbiter *a, uint64_t now, uint64_t start, bool wants)
{
    struct dv_arbiter_state s = page(a);
    bool other = s.next_slot != DV_ARBITER_NOBODY && s.next_slot != s.turn_slot;
    struct dv_arbiter_lease l = {.epoch = s.turn_epoch,
                                 .first_start_ns = start,
                                 .last_end_ns = now,
                                 .used_ns = now - start,
                                 .handed = other ? packed(s.next_slot, s.next_epoch) : 0,
                                 .wants = wants};
    assert_int_equal(dv_arbiter_released(a, now, s.turn_slot, &l), 0);
}

static struct dv_arbiter_counters counters(const struct dv_arbiter *a, uint64_t now, uint32_t e)
{
    struct dv_arbiter_counters c;
    assert_int_equal(dv_arbiter_entity_counters(a, now, e, &c), 0);
    return c;
}

static void test_alone_nothing_is_asked(void **state)
{
    struct dv_arbiter *a = make();
    tenant(a, 700, 0, 0);
    assert_int_equal(page(a).turn_slot, DV_ARBITER_NOBODY);
    assert_int_equal(dv_arbiter_want(a, MS, 0), 0);
    assert_int_equal(page(a).turn_slot, 0);
    assert_false(page(a).contended);
    assert_int_equal(dv_arbiter_next(a), DV_NEVER); /* extended in place, no timer */
    assert_int_equal(counters(a, 101 * MS, 0).charged_ns, 100 * MS);
    dv_arbiter_free(a);
}

static void test_successor_and_hand_over(void **state)
{
    struct dv_arbiter *a = make();
    tenant(a, 3500, 0, 0);
    tenant(a, 3500, 0, 1);
    dv_arbiter_want(a, 0, 0);
    dv_arbiter_want(a, 500 * US, 1);
    struct dv_arbiter_state s = page(a);
    assert_true(s.contended);
    assert_int_equal(s.turn_slot, 0);
    assert_int_equal(s.next_slot, 1);
    assert_true(s.next_epoch > s.turn_epoch);
    assert_int_equal(s.deadline_ns, 10 * MS);
    release(a, 10 * MS, 0, true);
    struct dv_arbiter_state t = page(a);
    assert_int_equal(t.turn_slot, 1);
    assert_int_equal(t.turn_epoch, s.next_epoch); /* the epoch that it was promised */
    assert_int_equal(t.next_slot, 0);
    assert_int_equal(counters(a, 10 * MS, 0).charged_ns, 10 * MS);
    assert_int_equal(counters(a, 10 * MS, 1).waited_ns, 9500 * US);
    dv_arbiter_free(a);
}

/* The holder decides whom it hands to: a later renaming does not make a second holder. */
static void test_handed_wins_over_renamed(void **state)
{
    struct dv_arbiter *a = make();
    tenant(a, 1000, 0, 0);
    tenant(a, 1000, 0, 1);
    tenant(a, 5000, 0, 2);
    dv_arbiter_want(a, 0, 0);
    dv_arbiter_want(a, MS, 1);
    struct dv_arbiter_state s = page(a);
    assert_int_equal(s.next_slot, 1);
    dv_arbiter_want(a, 2 * MS, 2);
    assert_int_equal(page(a).next_slot, 2); /* earlier virtual deadline */
    struct dv_arbiter_lease l = {.epoch = s.turn_epoch,
                                 .first_start_ns = US,
                                 .last_end_ns = 3 * MS,
                                 .used_ns = 3 * MS,
                                 .handed = packed(1, s.next_epoch)};
    assert_int_equal(dv_arbiter_released(a, 3 * MS, 0, &l), 0);
    assert_int_equal(page(a).turn_slot, 1);
    assert_int_equal(page(a).turn_epoch, s.next_epoch);
    assert_int_equal(page(a).next_slot, 2);
    dv_arbiter_free(a);
}

/* An epoch that was never offered, or to somebody who is gone, moves nothing. */
static void test_forged_hand_over(void **state)
{
    struct dv_arbiter *a = make();
    for (uint32_t i = 0; i < 3; i++)
        tenant(a, 1000, 0, i);
    dv_arbiter_want(a, 0, 0);
    dv_arbiter_want(a, 0, 1);
    struct dv_arbiter_lease l = {.epoch = page(a).turn_epoch, .handed = packed(2, 999)};
    assert_int_equal(dv_arbiter_released(a, MS, 0, &l), 0);
    assert_int_equal(page(a).turn_slot, 1);
    l = (struct dv_arbiter_lease){.epoch = 12345, .wants = true};
    assert_int_equal(dv_arbiter_released(a, MS, 2, &l), 0);
    assert_int_equal(page(a).turn_slot, 1);
    assert_int_equal(dv_arbiter_released(a, MS, 77, &l), -ENOENT);
    dv_arbiter_free(a);
}

/* The epoch is one that was offered, but to somebody else: the turn does not stay in the family. */
static void test_hand_over_to_the_family(void **state)
{
    for (uint32_t family = 0; family <= 2; family += 2) {
        struct dv_arbiter *a = make();
        tenant(a, 1000, 0, 0);
        tenant(a, 1000, 0, 1);
        assert_int_equal(dv_arbiter_member_add(a, 0, 0, 2), 0); /* the holder's sibling */
        for (uint32_t slot = 0; slot <= 2; slot++)
            dv_arbiter_want(a, 0, slot);
        struct dv_arbiter_state s = page(a);
        assert_int_equal(s.turn_slot, 0);
        assert_int_equal(s.next_slot, 1);
        struct dv_arbiter_lease l = {.epoch = s.turn_epoch,
                                     .first_start_ns = 1,
                                     .last_end_ns = MS,
                                     .used_ns = MS,
                                     .handed = packed(family, s.next_epoch),
                                     .wants = true};
        assert_int_equal(dv_arbiter_released(a, MS, 0, &l), 0);
        assert_int_equal(page(a).turn_slot, 1);
        assert_int_equal(page(a).turn_epoch, s.next_epoch);
        dv_arbiter_free(a);
    }
}

/* One that says that it used nothing still pays for most of the time that it kept others out. */
static void test_liar_pays(void **state)
{
    struct dv_arbiter *a = make();
    uint64_t now = 0, honest = 0;
    tenant(a, 3500, 0, 0);
    tenant(a, 3500, 0, 1);
    dv_arbiter_want(a, 0, 0);
    dv_arbiter_want(a, 0, 1);
    for (uint32_t i = 0; i < 200; i++) {
        struct dv_arbiter_state s = page(a);
        uint64_t start = now;
        now = DV_MAX(s.deadline_ns, now + 500 * US);
        honest += s.turn_slot == 1 ? now - start : 0;
        struct dv_arbiter_lease l = {.epoch = s.turn_epoch,
                                     .first_start_ns = start,
                                     .last_end_ns = now,
                                     .used_ns = s.turn_slot ? now - start : 1,
                                     .wants = true};
        assert_int_equal(dv_arbiter_released(a, now, s.turn_slot, &l), 0);
    }
    assert_true(honest > now * 2 / 5); /* of its half */
    assert_true(counters(a, now, 0).charged_ns > now * 2 / 5);
    dv_arbiter_free(a);
}

/* Announced at 9.9 ms with 0.2 ms left, really done at 12: charged to 10.1, and the successor,
 * whose first own start was at 10, pays from 10.1 on. */
static void test_announced_charging(void **state)
{
    struct dv_arbiter *a = make();
    tenant(a, 3500, 0, 0);
    tenant(a, 3500, 0, 1);
    dv_arbiter_want(a, 0, 0);
    dv_arbiter_want(a, 0, 1);
    struct dv_arbiter_state s = page(a);
    struct dv_arbiter_lease l = {.epoch = s.turn_epoch,
                                 .first_start_ns = 100 * US,
                                 .last_end_ns = 12 * MS,
                                 .announced_ns = 9900 * US,
                                 .remainder_ns = 200 * US,
                                 .used_ns = 10 * MS,
                                 .handed = packed(1, s.next_epoch),
                                 .wants = true};
    dv_arbiter_released(a, 12 * MS, 0, &l);
    assert_int_equal(counters(a, 12 * MS, 0).charged_ns, 10 * MS);
    l = (struct dv_arbiter_lease){.epoch = s.next_epoch,
                                  .first_start_ns = 10 * MS,
                                  .last_end_ns = 20 * MS,
                                  .used_ns = 10 * MS};
    dv_arbiter_released(a, 20 * MS, 1, &l);
    assert_int_equal(counters(a, 20 * MS, 1).charged_ns, 9900 * US);
    dv_arbiter_free(a);
}

static void test_grace_and_revocation(void **state)
{
    struct dv_arbiter *a = make();
    tenant(a, 3500, 0, 0);
    tenant(a, 3500, 0, 1);
    dv_arbiter_want(a, 0, 0);
    dv_arbiter_want(a, 0, 1);
    struct dv_arbiter_state s = page(a);
    struct dv_arbiter_words w = {.epoch = s.turn_epoch, .pred_end_ns = 40 * MS, .held = true};
    assert_int_equal(dv_arbiter_next(a), 13 * MS);
    dv_arbiter_tick(a, 12 * MS);
    assert_int_equal(page(a).turn_slot, 0);
    dv_arbiter_observe(a, 12 * MS, 0, &w); /* a long kernel: allowed to end */
    assert_int_equal(dv_arbiter_next(a), 43 * MS);
    dv_arbiter_tick(a, 42 * MS);
    assert_int_equal(page(a).turn_slot, 0);
    dv_arbiter_tick(a, 43 * MS);
    assert_int_equal(page(a).turn_slot, 1);
    assert_int_equal(page(a).turn_epoch, s.next_epoch);
    assert_int_equal(dv_arbiter_slot_revocations(a, 0), 1);
    assert_int_equal(counters(a, 43 * MS, 0).charged_ns, 43 * MS);
    struct dv_arbiter_lease late = {.epoch = s.turn_epoch,
                                    .first_start_ns = 1,
                                    .last_end_ns = 45 * MS,
                                    .used_ns = 45 * MS,
                                    .wants = true};
    dv_arbiter_released(a, 45 * MS, 0, &late); /* a late word: charged, nothing else */
    assert_int_equal(page(a).turn_slot, 1);
    assert_int_equal(counters(a, 45 * MS, 0).charged_ns, 45 * MS);
    dv_arbiter_free(a);
}

static void test_granted_and_nobody_came(void **state)
{
    struct dv_arbiter *a = make();
    tenant(a, 3500, 0, 0);
    tenant(a, 3500, 0, 1);
    dv_arbiter_want(a, 0, 0);
    dv_arbiter_want(a, 0, 1);
    dv_arbiter_observe(a, MS, 0, &(struct dv_arbiter_words){.epoch = 0});
    assert_int_equal(dv_arbiter_next(a), 3 * MS);
    dv_arbiter_tick(a, 3 * MS);
    assert_int_equal(page(a).turn_slot, 1);
    assert_int_equal(page(a).next_slot, 0); /* its request is not forgotten */
    dv_arbiter_free(a);
}

static void test_death(void **state)
{
    struct dv_arbiter *a = make();
    for (uint32_t i = 0; i < 3; i++)
        tenant(a, 1000, 0, i);
    for (uint32_t i = 0; i < 3; i++)
        dv_arbiter_want(a, 0, i);
    assert_int_equal(page(a).next_slot, 1);
    dv_arbiter_member_gone(a, MS, 1); /* as the successor: another is named */
    assert_int_equal(page(a).next_slot, 2);
    dv_arbiter_member_gone(a, 2 * MS, 0); /* as the holder: the next one runs */
    assert_int_equal(page(a).turn_slot, 2);
    assert_int_equal(counters(a, 2 * MS, 0).charged_ns, 2 * MS);
    dv_arbiter_member_gone(a, 3 * MS, 2);
    assert_int_equal(page(a).turn_slot, DV_ARBITER_NOBODY);
    assert_int_equal(dv_arbiter_member_gone(a, 3 * MS, 2), -ENOENT);
    assert_int_equal(dv_arbiter_member_add(a, 4 * MS, 0, 1), 0); /* the slot is used again */
    assert_int_equal(dv_arbiter_want(a, 4 * MS, 1), 0);
    assert_int_equal(page(a).turn_slot, 1);
    assert_int_equal(dv_arbiter_entity_remove(a, 5 * MS, 0), 0);
    assert_int_equal(page(a).turn_slot, DV_ARBITER_NOBODY);
    dv_arbiter_free(a);
}

static void test_members_take_turns(void **state)
{
    struct dv_arbiter *a = make();
    uint32_t e = entity(a, 7000, 0);
    for (uint32_t i = 0; i < 3; i++)
        assert_int_equal(dv_arbiter_member_add(a, 0, e, i), 0);
    for (uint32_t i = 0; i < 3; i++)
        dv_arbiter_want(a, 0, i);
    for (uint32_t i = 0; i < 9; i++) {
        assert_int_equal(page(a).turn_slot, i % 3);
        assert_int_equal(page(a).next_slot, (i + 1) % 3);
        release(a, (i + 1) * 10 * MS, i * 10 * MS + 1, true);
    }
    dv_arbiter_free(a);
}

static void test_parked_holder_is_not_asked(void **state)
{
    struct dv_arbiter *a = make();
    tenant(a, 3500, 0, 0);
    tenant(a, 3500, 0, 1);
    dv_arbiter_want(a, 0, 0);
    struct dv_arbiter_words w = {.epoch = page(a).turn_epoch,
                                 .used_ns = 5 * MS,
                                 .last_end_ns = 4 * MS,
                                 .idle_since_ns = 4 * MS,
                                 .held = true};
    dv_arbiter_observe(a, 50 * MS, 0, &w);
    assert_int_equal(counters(a, 50 * MS, 0).charged_ns, 5 * MS); /* idle time is not charged */
    dv_arbiter_want(a, 50 * MS, 1);
    assert_int_equal(page(a).turn_slot, 1);
    dv_arbiter_free(a);
}

/* One that slept comes back while the other has run for long: it need not wait for the quantum. */
static void test_waker_ends_the_lease(void **state)
{
    struct dv_arbiter *a = make();
    tenant(a, 3500, 0, 0);
    tenant(a, 3500, 0, 1);
    dv_arbiter_want(a, 0, 1);
    release(a, MS, 0, false);
    dv_arbiter_want(a, MS, 0);
    dv_arbiter_want(a, 101 * MS + 1, 1);
    struct dv_arbiter_state s = page(a);
    assert_int_equal(s.next_slot, 1);
    assert_int_equal(s.deadline_ns, 101 * MS + 1);
    assert_int_equal(s.overlap_ns, 0);
    assert_in_range(counters(a, 101 * MS + 1, 1).lag_ns, 9 * MS,
                    20 * MS); /* of 20 ms credit, half */
    dv_arbiter_free(a);
}

static void test_cap_alone_stops_and_goes_on(void **state)
{
    struct dv_arbiter *a = make();
    tenant(a, 7000, 700, 0); /* a tenth */
    uint64_t now = 0, used = 0;
    dv_arbiter_want(a, 0, 0);
    while (now < 10000 * MS) {
        if (page(a).turn_slot == 0) {
            uint64_t end = page(a).deadline_ns;
            if (!page(a).contended) {
                now = dv_arbiter_next(a);
                dv_arbiter_tick(a, now);
                continue;
            }
            used += end - now;
            uint64_t start = now ? now : 1;
            now = end;
            release(a, now, start, true);
        } else {
            now = dv_arbiter_next(a);
            assert_true(now != DV_NEVER);
            dv_arbiter_tick(a, now);
        }
    }
    assert_in_range(used, 980 * MS, 1030 * MS);
    dv_arbiter_free(a);
}

static void test_change_of_share(void **state)
{
    struct dv_arbiter *a = make();
    struct dv_arbiter_entity_spec bad = {.share = 0}, good = {.share = 6300, .cap = 7000};
    tenant(a, 700, 0, 0);
    assert_int_equal(dv_arbiter_entity_change(a, 0, 0, &bad), -EINVAL);
    assert_int_equal(dv_arbiter_entity_change(a, 0, 9, &good), -ENOENT);
    assert_int_equal(dv_arbiter_entity_change(a, 0, 0, &good), 0);
    assert_int_equal(counters(a, 0, 0).share, 6300);
    bad = (struct dv_arbiter_entity_spec){.share = 7001};
    uint32_t e;
    assert_int_equal(dv_arbiter_entity_add(a, 0, &bad, &e), -EINVAL);
    assert_int_equal(dv_arbiter_member_add(a, 0, 0, 0), -EEXIST);
    assert_int_equal(dv_arbiter_member_add(a, 0, 5, 1), -ENOENT);
    assert_int_equal(dv_arbiter_member_add(a, 0, 0, 100000), -EINVAL);
    dv_arbiter_free(a);
}

static void leases_with_ratio(struct dv_arbiter *a, uint64_t *now, uint64_t permille, unsigned n)
{
    for (unsigned i = 0; i < n && !page(a).open; i++) {
        struct dv_arbiter_state s = page(a);
        uint64_t start = *now + 1;
        *now += 10 * MS;
        struct dv_arbiter_lease l = {.epoch = s.turn_epoch,
                                     .first_start_ns = start,
                                     .last_end_ns = *now,
                                     .used_ns = *now - start,
                                     .timed_ns = 9 * MS,
                                     .predicted_ns = 9 * MS * 1000 / permille,
                                     .handed = packed(s.next_slot, s.next_epoch),
                                     .wants = true};
        dv_arbiter_released(a, *now, s.turn_slot, &l);
    }
}

static void test_intruder_opens_and_closes(void **state)
{
    struct dv_arbiter *a = make();
    uint64_t now = MS;
    tenant(a, 3500, 0, 0);
    tenant(a, 3500, 0, 1);
    dv_arbiter_want(a, now, 0);
    dv_arbiter_want(a, now, 1);
    leases_with_ratio(a, &now, 1050, 20);
    assert_false(page(a).open);
    assert_in_range(dv_arbiter_intruder_ratio(a), 1040, 1060);
    leases_with_ratio(a, &now, 1900, 4);
    assert_true(page(a).open);
    assert_int_equal(page(a).turn_slot, DV_ARBITER_NOBODY);
    assert_int_equal(dv_arbiter_next(a), now + 1000 * MS);
    dv_arbiter_tick(a, now + 1000 * MS);
    assert_false(page(a).open);
    assert_int_not_equal(page(a).turn_slot, DV_ARBITER_NOBODY);
    dv_arbiter_free(a);
}

/* Virtual time lasts: years of one tenant with the least share, then a second one comes. */
static void test_years(void **state)
{
    struct dv_arbiter *a = make();
    uint64_t now = 1, day = 86400 * DV_NS_PER_S;
    tenant(a, 1, 0, 0);
    tenant(a, 1, 0, 1);
    dv_arbiter_want(a, now, 0);
    for (unsigned i = 0; i < 3650; i++) {
        now += day;
        dv_arbiter_tick(a, now);
    }
    assert_int_equal(counters(a, now, 0).charged_ns, 3650 * day);
    dv_arbiter_want(a, now, 1);
    assert_in_range(counters(a, now, 1).lag_ns, 0, 20 * MS);
    assert_true(page(a).contended);
    assert_true(page(a).deadline_ns <= now + 10 * MS);
    dv_arbiter_free(a);
}

/* Always-busy entities: everybody's lag stays within a quantum or so, for any shares. */
static void busy_world(uint64_t seed)
{
    struct dv_rng rng = {seed};
    struct dv_arbiter *a = make();
    uint32_t n = 2 + (uint32_t)dv_rng_below(&rng, 7);
    uint64_t now = 1, charged[9] = {0};
    for (uint32_t i = 0; i < n; i++)
        tenant(a, 1 + (uint32_t)dv_rng_below(&rng, 7000), 0, i);
    for (uint32_t i = 0; i < n; i++)
        dv_arbiter_want(a, now, i);
    for (unsigned step = 0; step < 500; step++) {
        struct dv_arbiter_state s = page(a);
        bool goes_on = s.next_slot == s.turn_slot;
        now = DV_MAX(goes_on ? dv_arbiter_next(a) : s.deadline_ns, now);
        dv_arbiter_tick(a, now);
        if (goes_on)
            continue;
        /* It was charged by the wall while it ran; its last word says the same. */
        uint64_t total = counters(a, now, s.turn_slot).charged_ns;
        struct dv_arbiter_lease l = {.epoch = s.turn_epoch,
                                     .first_start_ns = 1,
                                     .last_end_ns = now,
                                     .used_ns = total - charged[s.turn_slot],
                                     .handed = packed(s.next_slot, s.next_epoch),
                                     .wants = true};
        charged[s.turn_slot] = total;
        dv_arbiter_released(a, now, s.turn_slot, &l);
        for (uint32_t i = 0; i < n; i++)
            assert_true(llabs(counters(a, now, i).lag_ns) <= (int64_t)(11 * MS));
    }
    dv_arbiter_free(a);
}

static void test_lag_is_bounded(void **state)
{
    for (uint64_t seed = 1; seed <= 50; seed++)
        busy_world(seed);
}

/* Pages say whatever they like: the state stays sound, and no member is charged for more
 * than the time that has passed. */
static uint64_t wild(struct dv_rng *rng)
{
    switch (dv_rng_below(rng, 4)) {
    case 0:
        return dv_rng_below(rng, 100 * MS);
    case 1:
        return UINT64_MAX - dv_rng_below(rng, 3);
    case 2:
        return (uint64_t)INT64_MAX + dv_rng_below(rng, 3) - 1;
    default:
        return dv_rng_next(rng) >> dv_rng_below(rng, 64);
    }
}

static void liar_step(struct dv_arbiter *a, struct dv_rng *rng, uint64_t now)
{
    uint32_t slot = (uint32_t)dv_rng_below(rng, 6);
    struct dv_arbiter_state s = page(a);
    uint64_t epoch = dv_rng_below(rng, 2) ? s.turn_epoch : s.turn_epoch + dv_rng_below(rng, 4);
    uint64_t handed = dv_rng_below(rng, 2) ? packed(slot, epoch + 1) : wild(rng);
    struct dv_arbiter_lease l = {epoch,     wild(rng), wild(rng), wild(rng), wild(rng),
                                 wild(rng), wild(rng), wild(rng), handed,    dv_rng_below(rng, 2)};
    struct dv_arbiter_words w = {epoch, wild(rng), wild(rng), wild(rng), wild(rng), handed, true};
    switch (dv_rng_below(rng, 6)) {
    case 0:
        dv_arbiter_released(a, now, slot, &l);
        break;
    case 1:
        dv_arbiter_observe(a, now, slot, &w);
        break;
    case 2:
        dv_arbiter_member_gone(a, now, slot);
        dv_arbiter_member_add(a, now, slot % 3, slot);
        break;
    case 3:
        dv_arbiter_unwant(a, now, slot);
        break;
    default:
        dv_arbiter_want(a, now, slot);
    }
    dv_arbiter_tick(a, now);
}

static void test_liars(void **state)
{
    for (uint64_t seed = 1; seed <= 30; seed++) {
        struct dv_rng rng = {seed};
        struct dv_arbiter *a = make();
        uint64_t now = MS;
        for (uint32_t i = 0; i < 3; i++)
            entity(a, 1 + (uint32_t)dv_rng_below(&rng, 7000), i == 2 ? 1000 : 0);
        for (uint32_t i = 0; i < 6; i++)
            assert_int_equal(dv_arbiter_member_add(a, 0, i % 3, i), 0);
        for (unsigned step = 0; step < 3000; step++) {
            uint64_t charged = 0;
            now += dv_rng_below(&rng, 5 * MS);
            liar_step(a, &rng, now);
            for (uint32_t i = 0; i < 3; i++)
                charged += counters(a, now, i).charged_ns;
            assert_true(charged <= 6 * now + (step + 1) * 10 * MS); /* six members, late words */
            assert_true(page(a).turn_slot == DV_ARBITER_NOBODY || page(a).turn_slot < 6);
        }
        dv_arbiter_free(a);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_alone_nothing_is_asked),
        cmocka_unit_test(test_successor_and_hand_over),
        cmocka_unit_test(test_handed_wins_over_renamed),
        cmocka_unit_test(test_forged_hand_over),
        cmocka_unit_test(test_hand_over_to_the_family),
        cmocka_unit_test(test_liar_pays),
        cmocka_unit_test(test_announced_charging),
        cmocka_unit_test(test_grace_and_revocation),
        cmocka_unit_test(test_granted_and_nobody_came),
        cmocka_unit_test(test_death),
        cmocka_unit_test(test_members_take_turns),
        cmocka_unit_test(test_parked_holder_is_not_asked),
        cmocka_unit_test(test_waker_ends_the_lease),
        cmocka_unit_test(test_cap_alone_stops_and_goes_on),
        cmocka_unit_test(test_change_of_share),
        cmocka_unit_test(test_intruder_opens_and_closes),
        cmocka_unit_test(test_years),
        cmocka_unit_test(test_lag_is_bounded),
        cmocka_unit_test(test_liars),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
