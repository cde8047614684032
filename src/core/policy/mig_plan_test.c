/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The planner against brute force: every set of instances that can be created one after the other,
 * at any start, on every built-in geometry, must be planned; every other set must be refused.
 */
#include "base/rng.h"
#include "policy/mig_plan.h"

#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

/* ---- brute force, written apart from the code under test ---- */

/* A set of 64-bit keys: 4 bits per profile's count, the occupancy from bit 48 on. */
struct keys {
    uint64_t *slot;
    size_t cap, n;
};

static bool keys_add(struct keys *k, uint64_t key)
{
    if (2 * (k->n + 1) > k->cap) {
        struct keys old = *k;
        k->cap = old.cap ? old.cap * 2 : 1024;
        k->slot = calloc(k->cap, sizeof *k->slot);
        assert_non_null(k->slot);
        k->n = 0;
        for (size_t i = 0; i < old.cap; i++)
            if (old.slot[i])
                keys_add(k, old.slot[i] - 1);
        free(old.slot);
    }
    size_t i = (size_t)((key * UINT64_C(0x9e3779b97f4a7c15)) >> 20) & (k->cap - 1);
    for (; k->slot[i]; i = (i + 1) & (k->cap - 1))
        if (k->slot[i] == key + 1)
            return false;
    k->slot[i] = key + 1;
    k->n++;
    return true;
}

static bool keys_has(const struct keys *k, uint64_t key)
{
    size_t i = (size_t)((key * UINT64_C(0x9e3779b97f4a7c15)) >> 20) & (k->cap - 1);
    for (; k->slot[i]; i = (i + 1) & (k->cap - 1))
        if (k->slot[i] == key + 1)
            return true;
    return false;
}

static unsigned count_of(uint64_t key, uint32_t profile)
{
    return key >> (4 * profile) & 15;
}

/* Would a driver that has these counts take one more of profile p? Sums and media engines only. */
static bool driver_takes(const struct dv_mig_geometry *g, uint64_t counts, uint32_t p)
{
    unsigned slices = 0, me = 0, all = 0, with_media = 0;
    counts += UINT64_C(1) << (4 * p);
    if (count_of(counts, p) > g->profiles[p].max_instances)
        return false;
    for (uint32_t i = 0; i < g->n_profiles; i++) {
        const char *name = g->profiles[i].name;
        unsigned n = count_of(counts, i);
        size_t len = strlen(name);
        bool is_all = len > 7 && !strcmp(name + len - 7, "+me.all");
        bool is_me = len > 3 && !strcmp(name + len - 3, "+me");
        bool is_none = len > 3 && !strcmp(name + len - 3, "-me");
        slices += n * g->profiles[i].slices;
        all += is_all ? n : 0;
        me += is_me ? n : 0;
        with_media += is_none ? 0 : n;
    }
    return slices <= g->slices && me <= 1 && (!all || with_media == 1);
}

static void enumerate(const struct dv_mig_geometry *g, uint64_t counts, uint32_t taken,
                      struct keys *states, struct keys *sets)
{
    if (!keys_add(states, counts | (uint64_t)taken << 48))
        return;
    keys_add(sets, counts);
    for (uint32_t p = 0; p < g->n_profiles; p++) {
        if (!driver_takes(g, counts, p))
            continue;
        for (uint32_t s = 0; s < g->grid; s++) {
            uint32_t pieces = ((1u << g->profiles[p].size) - 1) << s;
            if ((g->profiles[p].starts >> s & 1) && !(taken & pieces))
                enumerate(g, counts + (UINT64_C(1) << (4 * p)), taken | pieces, states, sets);
        }
    }
}

/* ---- comparison ---- */

static size_t unpack(const struct dv_mig_geometry *g, uint64_t counts, struct dv_mig_instance *ret)
{
    size_t n = 0;
    for (uint32_t p = 0; p < g->n_profiles; p++)
        for (unsigned c = count_of(counts, p); c; c--)
            ret[n++] = (struct dv_mig_instance){p, DV_MIG_UNPLACED};
    return n;
}

static void shuffle(struct dv_rng *rng, struct dv_mig_instance *v, size_t n)
{
    for (size_t i = n; i > 1; i--) {
        size_t k = dv_rng_below(rng, i);
        struct dv_mig_instance t = v[i - 1];
        v[i - 1] = v[k];
        v[k] = t;
    }
}

static void assert_planned(const struct dv_mig_geometry *g, const struct dv_mig_instance *want,
                           size_t n, uint32_t taken, const struct dv_mig_plan *plan)
{
    assert_int_equal(plan->rule, DV_MIG_OK);
    assert_int_equal(plan->n, n);
    for (size_t i = 0; i < n; i++) {
        const struct dv_mig_profile *p = &g->profiles[plan->instances[i].profile];
        assert_int_equal(plan->instances[i].profile, want[i].profile);
        assert_true(plan->instances[i].start < g->grid);
        assert_true(p->starts >> plan->instances[i].start & 1);
        uint32_t pieces = ((1u << p->size) - 1) << plan->instances[i].start;
        assert_false(taken & pieces);
        taken |= pieces;
    }
}

static void compare(const struct dv_mig_geometry *g, uint64_t counts, bool feasible,
                    struct dv_rng *rng)
{
    struct dv_mig_instance want[16 * DV_MIG_PROFILES_MAX];
    struct dv_mig_plan plan;
    size_t n = unpack(g, counts, want);
    shuffle(rng, want, n);
    assert_int_equal(dv_mig_plan_find(g, NULL, 0, want, n, &plan), 0);
    if (feasible)
        assert_planned(g, want, n, 0, &plan);
    else
        assert_int_not_equal(plan.rule, DV_MIG_OK);
}

static void test_every_set_on_every_geometry(void **state)
{
    struct dv_rng rng = {1};
    const struct dv_mig_geometry *g;
    for (size_t i = 0; (g = dv_mig_geometry_at(i)); i++) {
        struct keys states = {0}, sets = {0};
        enumerate(g, 0, 0, &states, &sets);
        for (size_t k = 0; k < sets.cap; k++) {
            if (!sets.slot[k])
                continue;
            uint64_t counts = sets.slot[k] - 1;
            compare(g, counts, true, &rng);
            /* Taking an instance away leaves a legal set, so the sets just outside are enough... */
            for (uint32_t p = 0; p < g->n_profiles; p++) {
                uint64_t more = counts + (UINT64_C(1) << (4 * p));
                if (!keys_has(&sets, more))
                    compare(g, more, false, &rng);
            }
        }
        free(states.slot);
        free(sets.slot);
    }
}

/* ... but for the boards with seven profiles all sets, one over each maximum, are tried too. */
static void test_all_multisets_of_the_a100(void **state)
{
    struct dv_rng rng = {2};
    const struct dv_mig_geometry *g = dv_mig_geometry_find("A100-40GB");
    struct keys states = {0}, sets = {0};
    enumerate(g, 0, 0, &states, &sets);
    size_t feasible = 0, tried = 0;
    for (uint64_t counts = 0;;) {
        bool ok = keys_has(&sets, counts);
        compare(g, counts, ok, &rng);
        feasible += ok;
        tried++;
        uint32_t p = 0;
        while (p < g->n_profiles && count_of(counts, p) > g->profiles[p].max_instances) {
            counts &= ~(UINT64_C(15) << (4 * p));
            p++;
        }
        if (p == g->n_profiles)
            break;
        counts += UINT64_C(1) << (4 * p);
    }
    assert_int_equal(tried, 9 * 3 * 6 * 5 * 4 * 3 * 3);
    assert_int_equal(feasible, sets.n);
    free(states.slot);
    free(sets.slot);
}

static bool brute_fits(const struct dv_mig_geometry *g, const struct dv_mig_instance *want,
                       size_t n, uint32_t taken)
{
    if (!n)
        return true;
    const struct dv_mig_profile *p = &g->profiles[want->profile];
    for (uint32_t s = 0; s < g->grid; s++) {
        uint32_t pieces = ((1u << p->size) - 1) << s;
        if ((p->starts >> s & 1) && !(taken & pieces) &&
            brute_fits(g, want + 1, n - 1, taken | pieces))
            return true;
    }
    return false;
}

/* Random instances that lie anywhere and must not move, random wishes beside them. */
static void test_beside_instances_in_use(void **state)
{
    struct dv_rng rng = {3};
    size_t feasible = 0, moved = 0;
    for (int round = 0; round < 60000; round++) {
        const struct dv_mig_geometry *g = dv_mig_geometry_at(dv_rng_below(&rng, 13));
        struct dv_mig_instance have[16], want[4];
        uint64_t counts = 0;
        uint32_t taken = 0;
        size_t n_have = 0, n_want = 0;
        for (uint64_t tries = dv_rng_below(&rng, 6); tries; tries--) {
            uint32_t p = (uint32_t)dv_rng_below(&rng, g->n_profiles);
            uint32_t s = (uint32_t)dv_rng_below(&rng, g->grid);
            uint32_t pieces = ((1u << g->profiles[p].size) - 1) << s;
            if (!(g->profiles[p].starts >> s & 1) || (taken & pieces) ||
                !driver_takes(g, counts, p))
                continue;
            have[n_have++] = (struct dv_mig_instance){p, s};
            counts += UINT64_C(1) << (4 * p);
            taken |= pieces;
        }
        bool sums = true;
        for (uint64_t tries = dv_rng_below(&rng, 5); tries; tries--) {
            uint32_t p = (uint32_t)dv_rng_below(&rng, g->n_profiles);
            sums = sums && driver_takes(g, counts, p);
            counts += UINT64_C(1) << (4 * p);
            want[n_want++] = (struct dv_mig_instance){p, DV_MIG_UNPLACED};
        }
        struct dv_mig_plan plan;
        assert_int_equal(dv_mig_plan_find(g, have, n_have, want, n_want, &plan), 0);
        bool ok = sums && brute_fits(g, want, n_want, taken);
        if (ok)
            assert_planned(g, want, n_want, taken, &plan);
        else
            assert_int_not_equal(plan.rule, DV_MIG_OK);
        feasible += ok;
        moved += !ok && plan.fits_if_moved;
    }
    assert_in_range(feasible, 5000, 55000);
    assert_true(moved > 100);
}

static struct dv_mig_plan plan_for(const char *gpu, const char *have, const char *want)
{
    const struct dv_mig_geometry *g = dv_mig_geometry_find(gpu);
    struct dv_mig_instance h[64], w[64];
    struct dv_mig_plan plan;
    int n_have = dv_mig_plan_parse(g, have, h, NULL);
    int n_want = dv_mig_plan_parse(g, want, w, NULL);
    assert_true(n_have >= 0 && n_want >= 0);
    assert_int_equal(dv_mig_plan_find(g, h, (size_t)n_have, w, (size_t)n_want, &plan), 0);
    return plan;
}

static void test_room_is_kept_for_large_ones(void **state)
{
    struct dv_mig_plan plan = plan_for("A100-80GB", "", "3g.40gb,2g.20gb,1g.10gb");
    assert_int_equal(plan.rule, DV_MIG_OK);
    assert_int_equal(plan.instances[0].start, 4);
    assert_int_equal(plan.instances[1].start, 0);
    assert_int_equal(plan.instances[2].start, 2);
    plan = plan_for("A100-40GB", "", "1g.5gb"); /* in the corner where it harms least */
    assert_int_equal(plan.instances[0].start, 6);
    plan = plan_for("A100-40GB", "", "19,19,14,9"); /* an order in which the driver gets stuck */
    assert_int_equal(plan.rule, DV_MIG_OK);
    plan = plan_for("A100-40GB", "", "");
    assert_int_equal(plan.rule, DV_MIG_OK);
    assert_int_equal(plan.n, 0);
    plan = plan_for("A100-40GB", "", "3g.20gb@0,19*4");
    assert_int_equal(plan.rule, DV_MIG_RULE_PLACEMENT);
}

static void test_reasons(void **state)
{
    struct dv_mig_plan plan = plan_for("A100-40GB", "", "4g.20gb,4g.20gb");
    assert_int_equal(plan.rule, DV_MIG_RULE_COUNT);
    assert_int_equal(plan.refusal.limit, 1);
    plan = plan_for("A100-40GB", "", "4g.20gb,3g.20gb,1g.5gb");
    assert_int_equal(plan.rule, DV_MIG_RULE_COMPUTE);
    assert_int_equal(plan.refusal.asked, 8);
    plan = plan_for("A100-40GB", "", "3g.20gb*2,1g.5gb");
    assert_int_equal(plan.rule, DV_MIG_RULE_MEMORY);
    plan = plan_for("A30", "", "1g.6gb+me,2g.12gb+me");
    assert_int_equal(plan.rule, DV_MIG_RULE_MEDIA);
    plan = plan_for("A100-40GB", "1g.5gb@5", "4g.20gb,2g.10gb");
    assert_int_equal(plan.rule, DV_MIG_RULE_PLACEMENT);
    assert_true(plan.fits_if_moved);
    plan = plan_for("A100-40GB", "1g.5gb@5", "1g.5gb@5");
    assert_int_equal(plan.rule, DV_MIG_RULE_OVERLAP);
    plan = plan_for("A100-40GB", "", "2g.10gb@1");
    assert_int_equal(plan.rule, DV_MIG_RULE_START);
}

/* The creations of the MIG user guide (r580) and where its listings show the instances. */
static void test_drivers_own_choice(void **state)
{
    static const struct {
        const char *create;
        uint32_t starts[8];
    } seen[] = {
        {"19,14,5", {6, 4, 0}},
        {"9,19,14,19", {4, 0, 2, 1}},
        {"14,19,19,19,19,19", {4, 6, 0, 1, 2, 3}},
        {"19,19,19,19,19,19,19", {6, 4, 5, 0, 1, 2, 3}},
        {"19,19,14,9", {6, 4, 0, DV_MIG_UNPLACED}}, /* "Insufficient Resources" */
        {"9,9", {4, 0}},
        {"0", {0}},
        {"20,20", {6, DV_MIG_UNPLACED}},
    };
    const struct dv_mig_geometry *g = dv_mig_geometry_find("A100-40GB");
    for (size_t i = 0; i < DV_ARRAY_SIZE(seen); i++) {
        struct dv_mig_instance v[64];
        int n = dv_mig_plan_parse(g, seen[i].create, v, NULL);
        assert_true(n > 0);
        for (size_t k = 0; k < (size_t)n; k++) {
            v[k].start = dv_mig_plan_pick_start(g, v, k, v[k].profile);
            assert_int_equal(v[k].start, seen[i].starts[k]);
        }
    }
}

static void test_how_many_more(void **state)
{
    const struct dv_mig_geometry *g = dv_mig_geometry_find("A100-40GB");
    static const uint32_t empty[] = {7, 1, 4, 3, 2, 1, 1}, beside_3g[] = {4, 1, 2, 2, 1, 1, 0};
    struct dv_mig_instance have[64];
    assert_int_equal(dv_mig_plan_parse(g, "3g.20gb@4", have, NULL), 1);
    for (uint32_t p = 0; p < g->n_profiles; p++) {
        assert_int_equal(dv_mig_plan_free(g, NULL, 0, p), empty[p]);
        assert_int_equal(dv_mig_plan_free(g, have, 1, p), beside_3g[p]);
    }
}

static void test_lists(void **state)
{
    const struct dv_mig_geometry *g = dv_mig_geometry_find("A100-40GB");
    struct dv_mig_instance v[64];
    struct dv_err err = {0};
    assert_int_equal(dv_mig_plan_parse(g, " 3g.20gb@4 , 2x1g.5gb,9, MIG 2g.10gb*2", v, &err), 6);
    assert_int_equal(v[0].start, 4);
    assert_int_equal(v[1].start, DV_MIG_UNPLACED);
    assert_int_equal(v[3].profile, v[0].profile);
    static const char *const bad[] = {
        ",",        "1g.5gb,",     "1g.5gb,,1g.5gb", "1g.5gb@8",   "1g.5gb@",
        "1g.5gb*0", "0x1g.5gb",    "1g.5gb*65",      "2x1g.5gb@0", "1g.5gb@-1",
        "3g.40gb",  "33x19,33x19", "1g.5gb*2*2",     "2x2x1g.5gb", "\n"};
    for (size_t i = 0; i < DV_ARRAY_SIZE(bad); i++) {
        err.msg[0] = 0;
        assert_true(dv_mig_plan_parse(g, bad[i], v, &err) < 0);
        assert_true(err.msg[0]);
    }
    char huge[3000];
    memset(huge, '1', sizeof huge - 1);
    huge[sizeof huge - 1] = 0;
    assert_int_equal(dv_mig_plan_parse(g, huge, v, &err), -E2BIG);
}

/* Random text never crashes the list's parser; what it takes stays within its bounds. */
static void test_lists_fuzz(void **state)
{
    static const char *const words[] = {"1g.5gb", "3g.20gb", "9",  "19", ",",  "@",   "*",
                                        "x",      "2",       "0",  "+",  "me", "-1",  "MIG",
                                        " ",      "7g.40gb", "64", "\t", "gb", "\xff"};
    const struct dv_mig_geometry *g = dv_mig_geometry_find("A100-40GB");
    struct dv_rng rng = {31};
    size_t taken = 0;
    for (int round = 0; round < 200000; round++) {
        char text[128] = "";
        size_t len = 0;
        for (uint64_t n = dv_rng_below(&rng, 9); n; n--)
            len += (size_t)snprintf(text + len, sizeof text - len, "%s",
                                    words[dv_rng_below(&rng, DV_ARRAY_SIZE(words))]);
        struct dv_mig_instance v[64];
        struct dv_err err = {0};
        int n = dv_mig_plan_parse(g, text, v, &err);
        assert_true(n < 0 ? err.msg[0] != 0 : n <= 64);
        taken += n > 1;
        for (int i = 0; i < n; i++) {
            assert_true(v[i].profile < g->n_profiles);
            assert_true(v[i].start < g->grid || v[i].start == DV_MIG_UNPLACED);
        }
    }
    assert_true(taken > 100);
}

/* The largest grid that is allowed, from a driver with strange ideas, is planned in bounded work.
 */
static void test_largest_grid(void **state)
{
    struct dv_mig_geometry g = {.grid = DV_MIG_GRID_MAX, .slices = 16, .n_profiles = 2};
    g.profiles[0] = (struct dv_mig_profile){
        .name = "1g.1gb", .slices = 1, .size = 1, .starts = 0xffff, .max_instances = 16};
    g.profiles[1] = (struct dv_mig_profile){
        .name = "2g.2gb", .id = 1, .slices = 2, .size = 2, .starts = 0x7fff, .max_instances = 8};
    assert_int_equal(dv_mig_geometry_check(&g, NULL), 0);
    struct dv_mig_instance want[16] = {0};
    struct dv_mig_plan plan;
    for (size_t i = 0; i < 16; i++)
        want[i] = (struct dv_mig_instance){0, DV_MIG_UNPLACED};
    assert_int_equal(dv_mig_plan_find(&g, NULL, 0, want, 16, &plan), 0);
    assert_planned(&g, want, 16, 0, &plan);
    want[0].profile = 1;
    assert_int_equal(dv_mig_plan_find(&g, NULL, 0, want, 15, &plan), 0);
    assert_planned(&g, want, 15, 0, &plan);
    assert_int_equal(dv_mig_plan_find(&g, NULL, 0, want, 16, &plan), 0);
    assert_int_equal(plan.rule, DV_MIG_RULE_COMPUTE);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_every_set_on_every_geometry),
        cmocka_unit_test(test_all_multisets_of_the_a100),
        cmocka_unit_test(test_beside_instances_in_use),
        cmocka_unit_test(test_room_is_kept_for_large_ones),
        cmocka_unit_test(test_reasons),
        cmocka_unit_test(test_drivers_own_choice),
        cmocka_unit_test(test_how_many_more),
        cmocka_unit_test(test_lists),
        cmocka_unit_test(test_lists_fuzz),
        cmocka_unit_test(test_largest_grid),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
