/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The least change against brute force, which works from the other side: of every subset of what is
 * there, could exactly that stay while the rest of the wanted set finds room around it? Every pair
 * of layouts of the A30 with every choice of instances in use; random pairs on larger boards.
 */
#include "base/rng.h"
#include "policy/mig_change.h"
#include "policy/mig_plan.h"

#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#define ANY DV_MIG_UNPLACED
#define LAYOUTS_MAX 512
#define PAIRS 10000

/* A placed, legal layout. */
struct set {
    size_t n;
    struct dv_mig_instance v[DV_MIG_INSTANCES_MAX];
};

/* ---- brute force ---- */

struct cost {
    unsigned blocked, destroyed, created;
};

static bool lower(struct cost a, struct cost b)
{
    if (a.blocked != b.blocked)
        return a.blocked < b.blocked;
    return a.destroyed != b.destroyed ? a.destroyed < b.destroyed : a.created < b.created;
}

static bool fits_around(const struct dv_mig_geometry *g, const struct dv_mig_instance *want,
                        size_t n, uint32_t taken)
{
    if (!n)
        return true;
    const struct dv_mig_profile *p = &g->profiles[want->profile];
    for (uint32_t s = 0; s < g->grid; s++) {
        uint32_t pieces = ((1u << p->size) - 1) << s;
        if ((want->start == ANY || want->start == s) && (p->starts >> s & 1) && !(taken & pieces) &&
            fits_around(g, want + 1, n - 1, taken | pieces))
            return true;
    }
    return false;
}

/* Takes the wanted instance out of the list that this one of `have` can be. One that names its
 * start comes first: nobody else can be it. */
static bool take_out(struct set *want, const struct dv_mig_have *have)
{
    size_t at = want->n;
    for (size_t i = 0; i < want->n; i++)
        if (want->v[i].profile == have->profile &&
            (want->v[i].start == have->start || (want->v[i].start == ANY && at == want->n)))
            at = i;
    if (at == want->n)
        return false;
    want->v[at] = want->v[--want->n];
    return true;
}

static bool can_stay(const struct dv_mig_geometry *g, const struct dv_mig_have *have, size_t n,
                     uint32_t subset, const struct set *want)
{
    struct set rest = *want;
    uint32_t taken = 0;
    for (size_t i = 0; i < n; i++) {
        if (!(subset >> i & 1))
            continue;
        taken |= ((1u << g->profiles[have[i].profile].size) - 1) << have[i].start;
        if (!take_out(&rest, &have[i]))
            return false;
    }
    return fits_around(g, rest.v, rest.n, taken);
}

static bool brute(const struct dv_mig_geometry *g, const struct dv_mig_have *have, size_t n,
                  const struct set *want, struct cost *ret)
{
    bool any = false;
    for (uint32_t subset = 0; subset < 1u << n; subset++) {
        struct cost c = {0, 0, (unsigned)want->n};
        for (size_t i = 0; i < n; i++) {
            bool stays = subset >> i & 1;
            c.destroyed += !stays;
            c.blocked += !stays && have[i].in_use;
            c.created -= stays;
        }
        if ((any && !lower(c, *ret)) || !can_stay(g, have, n, subset, want))
            continue;
        *ret = c;
        any = true;
    }
    return any;
}

/* ---- what must hold of every answer ---- */

static void assert_consistent(const struct dv_mig_geometry *g, const struct dv_mig_have *have,
                              size_t n_have, const struct set *want, const struct dv_mig_change *c)
{
    struct dv_mig_instance after[DV_MIG_INSTANCES_MAX];
    bool stays[DV_MIG_INSTANCES_MAX] = {false};
    unsigned created = 0, destroyed = 0, blocked = 0;
    assert_int_equal(c->rule, DV_MIG_OK);
    assert_int_equal(c->n, want->n);
    for (size_t i = 0; i < want->n; i++) {
        uint32_t from = c->instances[i].from;
        after[i] = (struct dv_mig_instance){want->v[i].profile, c->instances[i].start};
        assert_true(want->v[i].start == ANY || want->v[i].start == after[i].start);
        created += from == DV_MIG_CHANGE_NEW;
        if (from == DV_MIG_CHANGE_NEW)
            continue;
        assert_true(from < n_have);
        assert_false(stays[from]);
        assert_int_equal(have[from].profile, after[i].profile);
        assert_int_equal(have[from].start, after[i].start);
        stays[from] = true;
    }
    assert_int_equal(dv_mig_check(g, after, want->n, NULL), DV_MIG_OK);
    for (size_t i = 0; i < want->n; i++)
        assert_true(after[i].start != ANY);
    for (size_t i = 0; i < n_have; i++) {
        assert_int_equal(c->goes[i], !stays[i]);
        destroyed += c->goes[i];
        blocked += c->goes[i] && have[i].in_use;
    }
    assert_int_equal(c->created, created);
    assert_int_equal(c->destroyed, destroyed);
    assert_int_equal(c->blocked, blocked);
}

static void assert_same(const struct dv_mig_change *a, const struct dv_mig_change *b, size_t n_have)
{
    assert_int_equal(a->n, b->n);
    for (size_t i = 0; i < a->n; i++) {
        assert_int_equal(a->instances[i].start, b->instances[i].start);
        assert_int_equal(a->instances[i].from, b->instances[i].from);
    }
    assert_memory_equal(a->goes, b->goes, n_have * sizeof a->goes[0]);
}

/* From what it leads to, nothing is left to do. */
static void assert_settles(const struct dv_mig_geometry *g, const struct set *want,
                           const struct dv_mig_change *c)
{
    struct dv_mig_have after[DV_MIG_INSTANCES_MAX];
    struct dv_mig_change again;
    for (size_t i = 0; i < want->n; i++)
        after[i] = (struct dv_mig_have){want->v[i].profile, c->instances[i].start, i % 2, false};
    assert_int_equal(dv_mig_change_find(g, after, want->n, want->v, want->n, &again), 0);
    assert_int_equal(again.rule, DV_MIG_OK);
    assert_int_equal(again.destroyed + again.created, 0);
}

/* Asked in the reverse order, the same instances go, and new ones come to the same places. */
static void assert_order_is_nothing(const struct dv_mig_geometry *g, const struct dv_mig_have *have,
                                    size_t n_have, const struct set *want,
                                    const struct dv_mig_change *c)
{
    struct set back = {.n = want->n};
    struct dv_mig_change other;
    uint32_t places[DV_MIG_PROFILES_MAX] = {0};
    for (size_t i = 0; i < want->n; i++)
        back.v[i] = want->v[want->n - 1 - i];
    assert_int_equal(dv_mig_change_find(g, have, n_have, back.v, back.n, &other), 0);
    assert_consistent(g, have, n_have, &back, &other);
    assert_memory_equal(c->goes, other.goes, n_have * sizeof c->goes[0]);
    for (size_t i = 0; i < want->n; i++) {
        places[want->v[i].profile] ^= 1u << c->instances[i].start;
        places[back.v[i].profile] ^= 1u << other.instances[i].start;
    }
    for (size_t p = 0; p < g->n_profiles; p++)
        assert_int_equal(places[p], 0);
}

static struct dv_mig_change assert_minimal(const struct dv_mig_geometry *g,
                                           const struct dv_mig_have *have, size_t n_have,
                                           const struct set *want)
{
    struct dv_mig_change c, again;
    struct cost least = {0};
    assert_true(brute(g, have, n_have, want, &least));
    assert_int_equal(dv_mig_change_find(g, have, n_have, want->v, want->n, &c), 0);
    assert_consistent(g, have, n_have, want, &c);
    assert_int_equal(c.blocked, least.blocked);
    assert_int_equal(c.destroyed, least.destroyed);
    assert_int_equal(c.created, least.created);
    assert_int_equal(dv_mig_change_find(g, have, n_have, want->v, want->n, &again), 0);
    assert_same(&c, &again, n_have);
    return c;
}

/* ---- layouts ---- */

/* All placed layouts of a geometry, the empty one too. */
static void enumerate(const struct dv_mig_geometry *g, uint32_t from, struct set *now,
                      struct set list[LAYOUTS_MAX], size_t *n)
{
    assert_true(*n < LAYOUTS_MAX);
    list[(*n)++] = *now;
    for (uint32_t k = from; k < g->n_profiles * g->grid; k++) {
        now->v[now->n] = (struct dv_mig_instance){k / g->grid, k % g->grid};
        if (now->n == DV_MIG_INSTANCES_MAX - 1 || dv_mig_check(g, now->v, now->n + 1, NULL))
            continue;
        now->n++;
        enumerate(g, k + 1, now, list, n);
        now->n--;
    }
}

/* Instances at random places until none fits, or until chance stops. */
static struct set random_set(const struct dv_mig_geometry *g, struct dv_rng *rng)
{
    struct set s = {0};
    for (uint64_t tries = dv_rng_below(rng, 60); tries && s.n < DV_MIG_INSTANCES_MAX; tries--) {
        s.v[s.n] = (struct dv_mig_instance){(uint32_t)dv_rng_below(rng, g->n_profiles),
                                            (uint32_t)dv_rng_below(rng, g->grid)};
        s.n += !dv_mig_check(g, s.v, s.n + 1, NULL);
    }
    return s;
}

static void test_every_pair_of_the_a30(void **state)
{
    const struct dv_mig_geometry *g = dv_mig_geometry_find("A30");
    struct set *list = calloc(LAYOUTS_MAX, sizeof *list), now = {0};
    size_t n = 0, cases = 0, blocked = 0;
    assert_non_null(list);
    enumerate(g, 0, &now, list, &n);
    for (size_t a = 0; a < n; a++)
        for (uint32_t used = 0; used < 1u << list[a].n; used++) {
            struct dv_mig_have have[DV_MIG_INSTANCES_MAX];
            for (size_t i = 0; i < list[a].n; i++)
                have[i] = (struct dv_mig_have){list[a].v[i].profile, list[a].v[i].start,
                                               used >> i & 1, false};
            for (size_t b = 0; b < 2 * n; b++) {
                struct set want = list[b / 2];
                for (size_t i = 0; b % 2 && i < want.n; i++)
                    want.v[i].start = ANY;
                blocked += assert_minimal(g, have, list[a].n, &want).blocked;
                cases++;
            }
        }
    /* Each half: nothing, 1g or 2g in 5 ways, with the one +me in 5; and the 4g. */
    assert_int_equal(n, 25 + 2 * 25 + 1);
    assert_true(cases > 50000);
    assert_true(blocked > 1000);
    free(list);
}

static void check_random_pairs(const char *name, uint64_t seed)
{
    const struct dv_mig_geometry *g = dv_mig_geometry_find(name);
    struct dv_rng rng = {seed};
    size_t kept = 0, moved = 0, blocked = 0;
    for (int round = 0; round < PAIRS; round++) {
        struct set from = random_set(g, &rng), want = random_set(g, &rng);
        struct dv_mig_have have[DV_MIG_INSTANCES_MAX];
        uint64_t named = dv_rng_below(&rng, 4);
        for (size_t i = 0; i < from.n; i++)
            have[i] = (struct dv_mig_have){from.v[i].profile, from.v[i].start,
                                           dv_rng_below(&rng, 3) == 0, dv_rng_below(&rng, 2)};
        for (size_t i = 0; i < want.n; i++)
            if (named != 0 || dv_rng_below(&rng, 2))
                want.v[i].start = ANY;
        struct dv_mig_change c = assert_minimal(g, have, from.n, &want);
        assert_settles(g, &want, &c);
        assert_order_is_nothing(g, have, from.n, &want, &c);
        kept += want.n - c.created;
        moved += c.created;
        blocked += c.blocked;
    }
    assert_true(kept > PAIRS / 4);
    assert_true(moved > PAIRS);
    assert_true(blocked > PAIRS / 10);
}

static void test_random_pairs_a100(void **state)
{
    check_random_pairs("A100-40GB", 11);
}

static void test_random_pairs_h200(void **state)
{
    check_random_pairs("H200-141GB", 12);
}

static void test_random_pairs_rtx_pro(void **state)
{
    check_random_pairs("RTX-PRO-6000", 13);
}

/* ---- of equals, which: all placements compared ---- */

struct best {
    bool found;
    uint32_t rank[4]; /* kept in use, kept, preferred, room */
    uint32_t starts[DV_MIG_INSTANCES_MAX];
};

static uint32_t room_left(const struct dv_mig_geometry *g, const struct set *placed)
{
    struct set more = *placed;
    uint32_t sum = 0;
    more.n++;
    for (uint32_t p = 0; p < g->n_profiles; p++)
        for (uint32_t s = 0; s < g->grid && placed->n < DV_MIG_INSTANCES_MAX; s++) {
            more.v[placed->n] = (struct dv_mig_instance){p, s};
            sum += dv_mig_check(g, more.v, more.n, NULL) ? 0 : g->profiles[p].size;
        }
    return sum;
}

static void compare(const struct dv_mig_geometry *g, const struct dv_mig_have *have, size_t n_have,
                    const struct set *placed, struct best *best)
{
    uint32_t rank[4] = {0, 0, 0, room_left(g, placed)};
    for (size_t i = 0; i < placed->n; i++)
        for (size_t k = 0; k < n_have; k++)
            if (have[k].profile == placed->v[i].profile && have[k].start == placed->v[i].start) {
                rank[0] += have[k].in_use;
                rank[1]++;
                rank[2] += have[k].prefer;
            }
    for (size_t i = 0; best->found && i < 4; i++) {
        if (rank[i] < best->rank[i])
            return;
        if (rank[i] > best->rank[i])
            break;
        if (i == 3)
            return; /* an equal one with lower starts was there before */
    }
    best->found = true;
    memcpy(best->rank, rank, sizeof rank);
    for (size_t i = 0; i < placed->n; i++)
        best->starts[i] = placed->v[i].start;
}

/* All placements, lowest starts first. `want` has large instances first. */
static void try_all(const struct dv_mig_geometry *g, const struct dv_mig_have *have, size_t n_have,
                    const struct set *want, struct set *placed, struct best *best)
{
    if (placed->n == want->n) {
        compare(g, have, n_have, placed, best);
        return;
    }
    for (uint32_t s = 0; s < g->grid; s++) {
        placed->v[placed->n] = (struct dv_mig_instance){want->v[placed->n].profile, s};
        placed->n++;
        if (!dv_mig_check(g, placed->v, placed->n, NULL))
            try_all(g, have, n_have, want, placed, best);
        placed->n--;
    }
}

static int by_size(const struct dv_mig_geometry *g, const struct dv_mig_instance *a,
                   const struct dv_mig_instance *b)
{
    uint32_t sa = g->profiles[a->profile].size, sb = g->profiles[b->profile].size;
    return sa != sb ? (int)sb - (int)sa : (int)a->profile - (int)b->profile;
}

static void sort(const struct dv_mig_geometry *g, struct set *s)
{
    for (size_t i = 1; i < s->n; i++)
        for (size_t k = i; k && by_size(g, &s->v[k - 1], &s->v[k]) > 0; k--) {
            struct dv_mig_instance t = s->v[k];
            s->v[k] = s->v[k - 1];
            s->v[k - 1] = t;
        }
}

static void test_of_equals_the_best(void **state)
{
    static const char *const names[] = {"A30", "A100-40GB", "RTX-PRO-6000"};
    struct dv_rng rng = {21};
    for (int round = 0; round < 1500; round++) {
        const struct dv_mig_geometry *g = dv_mig_geometry_find(names[round % 3]);
        struct set from = random_set(g, &rng), want = random_set(g, &rng), placed = {0};
        struct dv_mig_have have[DV_MIG_INSTANCES_MAX];
        struct dv_mig_change c;
        struct best best = {0};
        if (want.n > 5)
            want.n = 5; /* all orders of seven alike would be tried */
        sort(g, &want);
        for (size_t i = 0; i < from.n; i++)
            have[i] = (struct dv_mig_have){from.v[i].profile, from.v[i].start,
                                           dv_rng_below(&rng, 3) == 0, dv_rng_below(&rng, 2)};
        for (size_t i = 0; i < want.n; i++)
            want.v[i].start = ANY;
        try_all(g, have, from.n, &want, &placed, &best);
        assert_true(best.found);
        assert_int_equal(dv_mig_change_find(g, have, from.n, want.v, want.n, &c), 0);
        for (size_t i = 0; i < want.n; i++)
            assert_int_equal(c.instances[i].start, best.starts[i]);
    }
}

/* ---- by hand ---- */

static struct dv_mig_change change(const char *gpu, const char *have_text, uint32_t in_use,
                                   const char *want_text, int expected)
{
    const struct dv_mig_geometry *g = dv_mig_geometry_find(gpu);
    struct dv_mig_instance h[64], w[64];
    struct dv_mig_have have[64];
    struct dv_mig_change c = {.rule = DV_MIG_RULE_PLACEMENT};
    int n_have = dv_mig_plan_parse(g, have_text, h, NULL);
    int n_want = dv_mig_plan_parse(g, want_text, w, NULL);
    assert_true(n_have >= 0 && n_want >= 0);
    for (int i = 0; i < n_have; i++)
        have[i] = (struct dv_mig_have){h[i].profile, h[i].start, in_use >> i & 1, false};
    assert_int_equal(dv_mig_change_find(g, have, (size_t)n_have, w, (size_t)n_want, &c), expected);
    return c;
}

static void test_by_hand(void **state)
{
    /* 1g in use at 0, 1g idle at 4: the 3g goes to 4, and only the idle one goes. */
    struct dv_mig_change c =
        change("A100-40GB", "1g.5gb@0,1g.5gb@4", 1, "3g.20gb,1g.5gb,2g.10gb", 0);
    assert_int_equal(c.destroyed, 1);
    assert_true(c.goes[1]);
    assert_int_equal(c.blocked, 0);
    assert_int_equal(c.instances[0].start, 4);
    assert_int_equal(c.instances[1].from, 0);
    /* Seven in use, the whole wanted: all block. */
    c = change("A100-40GB", "1g.5gb@0,1g.5gb@1,1g.5gb@6", 5, "7g.40gb", 0);
    assert_int_equal(c.blocked, 2);
    assert_int_equal(c.destroyed, 3);
    /* One in use is worth more than two that are not. */
    c = change("A100-40GB", "3g.20gb@0,2g.10gb@4", 1, "3g.20gb@4,2g.10gb", 0);
    assert_int_equal(c.blocked, 1); /* the start was named: it must go there */
    c = change("A100-40GB", "1g.5gb@4,1g.5gb@0,1g.5gb@1", 1, "3g.20gb,1g.5gb*3", 0);
    assert_int_equal(c.instances[0].start, 0);
    assert_int_equal(c.blocked, 0);
    assert_int_equal(c.destroyed, 2);
    c = change("A100-40GB", "", 0, "", 0);
    assert_int_equal(c.n + c.destroyed + c.created, 0);
    c = change("A100-40GB", "7g.40gb@0", 1, "", 0);
    assert_int_equal(c.blocked, 1);
}

static void test_the_set_cannot_be(void **state)
{
    struct dv_mig_change c = change("A100-40GB", "1g.5gb@0", 1, "3g.20gb*3", 0);
    assert_int_equal(c.rule, DV_MIG_RULE_COUNT);
    assert_int_equal(c.refusal.asked, 3);
    assert_false(c.goes[0]);
    c = change("A100-40GB", "1g.5gb@0", 1, "3g.20gb@0,1g.5gb*4", 0);
    assert_int_equal(c.rule, DV_MIG_RULE_PLACEMENT);
    c = change("A100-40GB", "", 0, "2g.10gb@1", 0);
    assert_int_equal(c.rule, DV_MIG_RULE_START);
}

static void test_wrong_input(void **state)
{
    const struct dv_mig_geometry *g = dv_mig_geometry_find("A30");
    struct dv_mig_have have = {.profile = g->n_profiles};
    struct dv_mig_instance want = {g->n_profiles, ANY};
    struct dv_mig_change c;
    change("A100-40GB", "1g.5gb@0,2g.10gb@0", 0, "", -EINVAL); /* overlap */
    change("A100-40GB", "1g.5gb", 0, "", -EINVAL);             /* lies nowhere */
    change("A100-40GB", "1g.5gb*17", 0, "", -EINVAL);
    change("A100-40GB", "", 0, "1g.5gb*17", -EINVAL);
    assert_int_equal(dv_mig_change_find(g, &have, 1, NULL, 0, &c), -EINVAL);
    assert_int_equal(dv_mig_change_find(g, NULL, 0, &want, 1, &c), -EINVAL);
}

/* The largest grid that is allowed, full: the values still fit, the work is bounded. */
static void test_largest_grid(void **state)
{
    struct dv_mig_geometry g = {.grid = DV_MIG_GRID_MAX, .slices = 16, .n_profiles = 1};
    struct dv_mig_have have[DV_MIG_INSTANCES_MAX];
    struct dv_mig_instance want[DV_MIG_INSTANCES_MAX];
    struct dv_mig_change c;
    g.profiles[0] = (struct dv_mig_profile){
        .name = "1g.1gb", .slices = 1, .size = 1, .starts = 0xffff, .max_instances = 16};
    for (uint32_t i = 0; i < DV_MIG_INSTANCES_MAX; i++) {
        have[i] = (struct dv_mig_have){0, i, true, true};
        want[i] = (struct dv_mig_instance){0, i % 2 ? i : ANY};
    }
    assert_int_equal(dv_mig_change_find(&g, have, 16, want, 16, &c), 0);
    assert_int_equal(c.rule, DV_MIG_OK);
    assert_int_equal(c.destroyed + c.created, 0);
    assert_int_equal(dv_mig_change_find(&g, have + 8, 8, want, 16, &c), 0);
    assert_int_equal(c.created, 8);
    assert_int_equal(c.destroyed, 0);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_every_pair_of_the_a30), cmocka_unit_test(test_random_pairs_a100),
        cmocka_unit_test(test_random_pairs_h200),     cmocka_unit_test(test_random_pairs_rtx_pro),
        cmocka_unit_test(test_of_equals_the_best),    cmocka_unit_test(test_by_hand),
        cmocka_unit_test(test_the_set_cannot_be),     cmocka_unit_test(test_wrong_input),
        cmocka_unit_test(test_largest_grid),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
