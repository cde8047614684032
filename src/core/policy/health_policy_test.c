/* SPDX-License-Identifier: Apache-2.0 */
#include "base/rng.h"
#include "base/units.h"
#include "policy/health_policy.h"
#include "policy/xid.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

static struct dv_health h;
static struct dv_health_switches all, none_said;
static struct dv_health_facts facts;
static uint64_t now;

static void observe(uint64_t seconds)
{
    now += seconds * DV_NS_PER_S;
    facts.energy_mj += seconds;
    dv_health_observe(&h, &none_said, now, &facts);
}

static int setup(void **state)
{
    char bad[DV_HEALTH_WORD];
    dv_health_switches_read(NULL, NULL, &none_said, bad);
    dv_health_switches_read("all", "", &all, bad);
    now = 1000 * DV_NS_PER_S;
    facts = (struct dv_health_facts){.links_up = 12, .energy_mj = 1000};
    dv_health_init(&h, now);
    observe(1);
    return 0;
}

static void xid(uint64_t n)
{
    dv_health_xid(&h, &none_said, now, n, DV_HEALTH_UNKNOWN);
}

#define assert_verdict(is, because, back)                                                          \
    do {                                                                                           \
        assert_int_equal(h.verdict.health, is);                                                    \
        assert_int_equal(h.verdict.cause, because);                                                \
        assert_int_equal(h.verdict.remedy, back);                                                  \
    } while (0)
#define assert_well() assert_verdict(DV_GPU_HEALTH_OK, DV_HEALTH_NONE, DV_HEALTH_NOTHING)

static void test_before_the_first_answer(void **state)
{
    dv_health_init(&h, 5);
    assert_verdict(DV_GPU_HEALTH_UNKNOWN, DV_HEALTH_NOT_SEEN, DV_HEALTH_ANSWER);
    dv_health_driver(&h, 6, DV_HEALTH_DRIVER_ANSWERS);
    assert_int_equal(h.verdict.cause, DV_HEALTH_NOT_SEEN);
    dv_health_observe(&h, &none_said, 7, &facts);
    assert_well();
    assert_int_equal(h.verdict.since_ns, 7);
}

static void test_an_xid_that_goes_by_itself(void **state)
{
    xid(999);
    uint64_t at = now;
    assert_verdict(DV_GPU_HEALTH_FAILED, DV_HEALTH_XID, DV_HEALTH_TIME);
    assert_true(h.verdict.n == 999 && h.verdict.since_ns == at);
    assert_int_equal(h.verdict.until_ns, at + DV_HEALTH_HOLD_NS);
    observe(59);
    assert_verdict(DV_GPU_HEALTH_FAILED, DV_HEALTH_XID, DV_HEALTH_TIME);
    observe(1);
    assert_well();
    assert_int_equal(h.verdict.since_ns, now);
}

/* Nothing but an answer of the driver makes it well, however long it takes. */
static void test_a_probe_is_needed(void **state)
{
    xid(999);
    now += 7200 * DV_NS_PER_S;
    dv_health_driver(&h, now, DV_HEALTH_DRIVER_ANSWERS);
    assert_int_equal(h.verdict.health, DV_GPU_HEALTH_FAILED);
    observe(1);
    assert_well();
}

static void test_programs_do_not_count(void **state)
{
    static const uint64_t ignored[] = {13, 31, 43, 45, 68, 109, 0};
    for (size_t i = 0; i < DV_ARRAY_SIZE(ignored); i++)
        xid(ignored[i]);
    assert_well();
}

static void test_what_a_reset_mends(void **state)
{
    xid(48);
    assert_verdict(DV_GPU_HEALTH_FAILED, DV_HEALTH_XID_RESET, DV_HEALTH_RESET);
    facts.rows_pending = 1;
    facts.ecc_uncorrected = 2;
    observe(5);
    observe(100000);
    assert_verdict(DV_GPU_HEALTH_FAILED, DV_HEALTH_XID_RESET, DV_HEALTH_RESET);
    now++;
    xid(999); /* what goes by itself does not hide it */
    assert_int_equal(h.verdict.n, 48);
    facts.rows_pending = 0;
    facts.ecc_uncorrected = 0;
    observe(5);
    assert_true(h.restarted);
    assert_verdict(DV_GPU_HEALTH_FAILED, DV_HEALTH_XID_RESET, DV_HEALTH_TIME); /* for 999's sake, */
    observe(60); /* which may have come after the reset */
    assert_well();
    setup(NULL);
    facts.rows_pending = 1;
    facts.ecc_uncorrected = 2; /* its errors are new, but the reset mends them too */
    observe(5);
    facts.rows_pending = 0;
    facts.ecc_uncorrected = 0;
    observe(5);
    assert_well();
}

static void test_a_reset_alone_is_enough(void **state)
{
    facts.rows_pending = 1;
    observe(5);
    assert_verdict(DV_GPU_HEALTH_FAILED, DV_HEALTH_ROWS_PENDING, DV_HEALTH_RESET);
    facts.rows_pending = 0;
    observe(5);
    assert_well();
    setup(NULL);
    facts.pages_pending = 1;
    observe(5);
    assert_verdict(DV_GPU_HEALTH_FAILED, DV_HEALTH_PAGES_PENDING, DV_HEALTH_RESET);
    facts.pages_pending = 0;
    observe(5);
    assert_well();
}

/* A driver's process that dies, again and again, is no illness of the GPU: it is placed on as soon
 * as the driver has answered for it. */
static void test_silence_is_not_held_against_it(void **state)
{
    for (int i = 0; i < 5; i++) {
        dv_health_driver(&h, now, DV_HEALTH_DRIVER_SILENT);
        assert_verdict(DV_GPU_HEALTH_UNKNOWN, DV_HEALTH_DRIVER, DV_HEALTH_ANSWER);
        dv_health_driver(&h, now, DV_HEALTH_DRIVER_ANSWERS);
        assert_false(dv_health_is_well(h.verdict.health));
        observe(1);
        assert_well();
    }
}

/* How it shows that the GPU has started anew. */
static void test_signs_of_a_start(void **state)
{
    xid(62);
    observe(5);
    facts.energy_mj = 3;
    observe(5);
    assert_well();

    setup(NULL);
    facts.ecc_uncorrected = 7;
    observe(100);
    observe(100);  /* those errors' hold-off is over, */
    observe(3600); /* and they count no more */
    xid(119);
    observe(5);
    facts.ecc_uncorrected = 0;
    observe(5);
    assert_well();

    setup(NULL);
    xid(79);
    dv_health_lost(&h, now);
    assert_verdict(DV_GPU_HEALTH_FAILED, DV_HEALTH_LOST, DV_HEALTH_RESET);
    facts.lost = true;
    observe(5);
    assert_int_equal(h.verdict.cause, DV_HEALTH_LOST);
    facts.lost = false;
    observe(5);
    assert_well();

    setup(NULL);
    xid(120);
    dv_health_driver(&h, now, DV_HEALTH_DRIVER_UNLOADED);
    assert_verdict(DV_GPU_HEALTH_UNKNOWN, DV_HEALTH_DRIVER, DV_HEALTH_ANSWER);
    dv_health_driver(&h, now, DV_HEALTH_DRIVER_ANSWERS);
    assert_int_equal(h.verdict.health, DV_GPU_HEALTH_FAILED);
    observe(5);
    assert_well();
}

/* The first answer after it may not have the counter. */
static void test_a_start_behind_a_counter_that_is_not_known(void **state)
{
    xid(62);
    observe(5);
    facts.energy_mj = DV_HEALTH_UNKNOWN;
    dv_health_observe(&h, &none_said, now, &facts);
    assert_verdict(DV_GPU_HEALTH_FAILED, DV_HEALTH_XID_RESET, DV_HEALTH_RESET);
    facts.energy_mj = 3;
    observe(5);
    assert_true(h.restarted);
    assert_well();
}

/* Nobody has looked at it between the XID and the start, but its energy was read with the XID. */
static void test_a_start_before_the_first_look(void **state)
{
    now += 1;
    dv_health_xid(&h, &none_said, now, 62, 1003);
    now += 1;
    facts.energy_mj = 1002; /* more than at the look before the XID */
    observe(0);
    assert_true(h.restarted);
    assert_well();

    setup(NULL);
    now += 1;
    dv_health_xid(&h, &none_said, now, 62, 3); /* a start before it, */
    now += 1;
    facts.energy_mj = 4;
    observe(0);
    assert_true(h.restarted);
    assert_verdict(DV_GPU_HEALTH_FAILED, DV_HEALTH_XID_RESET, DV_HEALTH_RESET);
    facts.energy_mj = 2; /* and one after it */
    observe(0);
    assert_well();
}

/* A start that may have been before the XID mends nothing. */
static void test_a_start_before_the_xid(void **state)
{
    xid(62);
    now += 1;
    facts.energy_mj = 0; /* it fell since the observation that was before the XID */
    observe(0);
    assert_true(h.restarted);
    assert_verdict(DV_GPU_HEALTH_FAILED, DV_HEALTH_XID_RESET, DV_HEALTH_RESET);
    facts.energy_mj = 50;
    observe(5);
    facts.energy_mj = 0;
    observe(0);
    assert_well();
    /* But rows that waited are a memory error's own sign. */
    facts.rows_pending = 1;
    observe(5);
    xid(48);
    facts.rows_pending = 0;
    now += 1;
    observe(0);
    assert_int_not_equal(h.verdict.remedy, DV_HEALTH_RESET);
}

static void test_a_silent_driver(void **state)
{
    xid(79);
    dv_health_driver(&h, now, DV_HEALTH_DRIVER_SILENT);
    assert_verdict(DV_GPU_HEALTH_UNKNOWN, DV_HEALTH_DRIVER, DV_HEALTH_ANSWER);
    dv_health_driver(&h, now, DV_HEALTH_DRIVER_ANSWERS);
    observe(5); /* that it answers again says nothing of the GPU */
    assert_verdict(DV_GPU_HEALTH_FAILED, DV_HEALTH_XID_RESET, DV_HEALTH_RESET);
}

static void test_rows_that_failed(void **state)
{
    facts.rows_failed = 1;
    observe(5);
    observe(100000);
    assert_verdict(DV_GPU_HEALTH_FAILED, DV_HEALTH_ROWS_FAILED, DV_HEALTH_REPLACE);
}

static void test_memory_errors(void **state)
{
    facts.ecc_uncorrected = 3;
    observe(5);
    assert_verdict(DV_GPU_HEALTH_FAILED, DV_HEALTH_ECC, DV_HEALTH_TIME);
    assert_int_equal(h.verdict.n, 3);
    observe(60);
    assert_well();
    facts.ecc_uncorrected = DV_HEALTH_UNKNOWN;
    observe(5);
    assert_well();
    facts.ecc_uncorrected = 5;
    observe(5);
    assert_well(); /* since when, nobody knows */
}

static void test_links(void **state)
{
    facts.links_up = 10;
    observe(5);
    assert_verdict(DV_GPU_HEALTH_DEGRADED, DV_HEALTH_LINKS_DOWN, DV_HEALTH_LINKS);
    assert_true(h.verdict.n == 2 && dv_health_is_well(h.verdict.health));
    uint64_t since = now;
    xid(999);
    observe(60);
    assert_int_equal(h.verdict.health, DV_GPU_HEALTH_DEGRADED);
    assert_true(h.verdict.since_ns > since);
    facts.links_up = DV_HEALTH_UNKNOWN32;
    observe(5);
    assert_well();
    facts.links_up = 12;
    observe(5);
    assert_well();
}

/* 60 s, 2 min, 4 min ... at most an hour; an hour of health and it begins anew. */
static void test_flapping(void **state)
{
    uint64_t expected = DV_HEALTH_HOLD_NS;
    for (int i = 0; i < 40; i++) {
        xid(999);
        assert_int_equal(h.verdict.hold_ns, expected);
        now = h.verdict.until_ns;
        observe(0);
        assert_well();
        now += 10 * DV_NS_PER_S;
        expected = DV_MIN(2 * expected, DV_HEALTH_HOLD_MAX_NS);
    }
    observe(3600);
    xid(999);
    assert_int_equal(h.verdict.hold_ns, DV_HEALTH_HOLD_NS);
}

/* The first reset mends at once; the second within an hour is watched for a minute. */
static void test_flapping_with_resets(void **state)
{
    for (int i = 0; i < 2; i++) {
        facts.rows_pending = 1;
        observe(5);
        facts.rows_pending = 0;
        observe(5);
    }
    assert_verdict(DV_GPU_HEALTH_FAILED, DV_HEALTH_ROWS_PENDING, DV_HEALTH_TIME);
    assert_int_equal(h.verdict.hold_ns, DV_HEALTH_HOLD_NS);
    observe(60);
    assert_well();
}

static bool counts(const char *disable, const char *enable, uint64_t n)
{
    struct dv_health_switches s;
    char bad[DV_HEALTH_WORD];
    dv_health_switches_read(disable, enable, &s, bad);
    assert_string_equal(bad, "");
    return dv_health_switches_counts(&s, n);
}

static void test_switches(void **state)
{
    struct dv_health_switches s;
    char bad[DV_HEALTH_WORD];
    assert_true(counts("", NULL, 48) && counts(NULL, NULL, 5000));
    assert_false(counts(NULL, NULL, 31));
    assert_true(counts("", "31", 31));
    assert_false(counts("48, 79", NULL, 79));
    assert_true(counts("48,79", "79", 79));
    assert_false(counts("xids", NULL, 48) || counts("ALL", NULL, 5000) || counts("48", "", 48));
    assert_true(counts("all", "48", 48) && counts("all", "All", 13));
    assert_false(counts("all", "48", 79));
    dv_health_switches_read("12x,,7,99999999999999999999,1024", "-1", &s, bad);
    assert_string_equal(bad, "12x");
    assert_false(dv_health_switches_counts(&s, 7));
    dv_health_switches_read("all", NULL, &s, bad);
    assert_true(s.all_off);
    dv_health_switches_read("all", "all", &s, bad);
    assert_false(s.all_off);
    dv_health_switches_read("xids", NULL, &s, bad);
    assert_true(!s.all_off && s.xids_off);
}

static void test_all_switched_off(void **state)
{
    facts.rows_pending = facts.rows_failed = facts.pages_pending = 1;
    facts.ecc_uncorrected = 9;
    facts.links_up = 0;
    dv_health_xid(&h, &all, now, 48, facts.energy_mj);
    dv_health_observe(&h, &all, now, &facts);
    assert_well();
    facts.lost = true;
    dv_health_observe(&h, &all, now, &facts);
    assert_int_equal(h.verdict.cause, DV_HEALTH_LOST);
}

static void test_words(void **state)
{
    for (int i = 0; i <= DV_HEALTH_DRIVER; i++)
        assert_non_null(dv_health_cause_name((enum dv_health_cause)i));
    assert_string_equal(dv_health_cause_name(DV_HEALTH_XID_RESET), "xid");
    assert_string_equal(dv_health_remedy_name(DV_HEALTH_RESET), "reset");
}

/* ---- any life of a GPU ---------------------------------------------------------------------- */

/* What the test knows to be so, beside the policy. */
struct truth {
    uint64_t latched; /* an XID that needs a reset and has had none, seen by an observation */
    bool silent;
};

static void random_reset(struct truth *t)
{
    facts.lost = false;
    facts.rows_pending = facts.pages_pending = 0;
    facts.ecc_uncorrected = facts.energy_mj = 0;
    t->latched = 0;
}

static void random_step(struct dv_rng *rng, struct truth *t)
{
    static const uint64_t xids[] = {13, 31, 48, 62, 63, 74, 79, 92, 94, 95, 119, 999};
    uint64_t n = xids[dv_rng_below(rng, DV_ARRAY_SIZE(xids))];
    switch (dv_rng_below(rng, 8)) {
    case 0:
        xid(n);
        if (dv_xid_needs_reset(n))
            t->latched = n;
        if (n == 48 || n == 94 || n == 95) /* as memory errors do */
            facts.rows_pending = 1;
        break;
    case 1:
        facts.rows_pending |= (uint32_t)dv_rng_below(rng, 2);
        facts.pages_pending |= (uint32_t)dv_rng_below(rng, 2);
        break;
    case 2:
        facts.ecc_uncorrected += dv_rng_below(rng, 3);
        break;
    case 3:
        facts.lost |= dv_rng_below(rng, 3) == 0;
        if (facts.lost)
            dv_health_lost(&h, now);
        break;
    case 4:
        t->silent = dv_rng_below(rng, 3) == 0;
        dv_health_driver(&h, now, t->silent ? DV_HEALTH_DRIVER_SILENT : DV_HEALTH_DRIVER_ANSWERS);
        break;
    case 5:
        random_reset(t);
        break;
    default:
        break;
    }
    now += dv_rng_below(rng, 100) * DV_NS_PER_S;
    facts.energy_mj += 1 + dv_rng_below(rng, 5);
}

static bool stands(const struct truth *t)
{
    return t->latched || t->silent || facts.lost || facts.rows_pending || facts.pages_pending;
}

/* Never well while something stands; well within the bound once the last has gone. */
static void test_any_life(void **state)
{
    for (uint64_t seed = 0; seed < 300; seed++) {
        struct dv_rng rng = {seed};
        struct truth t = {0};
        setup(NULL);
        for (int i = 0; i < 200; i++) {
            random_step(&rng, &t);
            if (t.silent)
                continue;
            observe(0);
            if (stands(&t))
                assert_false(dv_health_is_well(h.verdict.health));
            assert_true(h.verdict.hold_ns <= DV_HEALTH_HOLD_MAX_NS);
        }
        observe(1); /* it is seen as it is before it is reset */
        random_reset(&t);
        observe(0);
        observe(DV_HEALTH_HOLD_MAX_NS / DV_NS_PER_S);
        assert_true(dv_health_is_well(h.verdict.health));
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup(test_before_the_first_answer, setup),
        cmocka_unit_test_setup(test_an_xid_that_goes_by_itself, setup),
        cmocka_unit_test_setup(test_a_probe_is_needed, setup),
        cmocka_unit_test_setup(test_programs_do_not_count, setup),
        cmocka_unit_test_setup(test_what_a_reset_mends, setup),
        cmocka_unit_test_setup(test_a_reset_alone_is_enough, setup),
        cmocka_unit_test_setup(test_silence_is_not_held_against_it, setup),
        cmocka_unit_test_setup(test_signs_of_a_start, setup),
        cmocka_unit_test_setup(test_a_start_before_the_first_look, setup),
        cmocka_unit_test_setup(test_a_start_behind_a_counter_that_is_not_known, setup),
        cmocka_unit_test_setup(test_a_start_before_the_xid, setup),
        cmocka_unit_test_setup(test_a_silent_driver, setup),
        cmocka_unit_test_setup(test_rows_that_failed, setup),
        cmocka_unit_test_setup(test_memory_errors, setup),
        cmocka_unit_test_setup(test_links, setup),
        cmocka_unit_test_setup(test_flapping, setup),
        cmocka_unit_test_setup(test_flapping_with_resets, setup),
        cmocka_unit_test(test_switches),
        cmocka_unit_test_setup(test_all_switched_off, setup),
        cmocka_unit_test(test_words),
        cmocka_unit_test_setup(test_any_life, setup),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
