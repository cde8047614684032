/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The least change of a node against brute force: every way to give each wanted instance to one of
 * the GPUs. That a single GPU's change is the least is proven in mig_change_test.c.
 */
#include "base/rng.h"
#include "base/testing/oom.h"
#include "policy/mig_node.h"

#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#define GPUS_MAX 3
#define WANT_MAX 12

struct world {
    size_t n_gpus, n_want, n_items;
    struct dv_mig_node_gpu gpus[DV_MIG_NODE_GPUS_MAX];
    struct dv_mig_have have[DV_MIG_NODE_GPUS_MAX][DV_MIG_INSTANCES_MAX];
    struct dv_mig_node_want want[DV_MIG_NODE_PROFILES_MAX];
    const char *items[WANT_MAX]; /* `want` one by one */
};

struct cost {
    bool possible;
    unsigned blocked, moved, touched;
};

static bool lower(const struct cost *a, const struct cost *b)
{
    if (!a->possible || !b->possible)
        return a->possible;
    if (a->blocked != b->blocked)
        return a->blocked < b->blocked;
    return a->moved != b->moved ? a->moved < b->moved : a->touched < b->touched;
}

static uint32_t named(const struct dv_mig_geometry *g, const char *name)
{
    for (uint32_t i = 0; i < g->n_profiles; i++)
        if (!strcmp(g->profiles[i].name, name))
            return i;
    return UINT32_MAX;
}

/* ---- brute force ---- */

static void price(const struct world *w, const size_t *owner, struct cost *best)
{
    struct cost sum = {.possible = true};
    for (size_t i = 0; i < w->n_gpus; i++) {
        const struct dv_mig_node_gpu *g = &w->gpus[i];
        struct dv_mig_instance part[WANT_MAX];
        struct dv_mig_change c;
        size_t n = 0;
        for (size_t k = 0; k < w->n_items; k++)
            if (owner[k] == i) {
                part[n] =
                    (struct dv_mig_instance){named(g->geometry, w->items[k]), DV_MIG_UNPLACED};
                if (part[n++].profile == UINT32_MAX)
                    return;
            }
        assert_int_equal(dv_mig_change_find(g->geometry, g->have, g->n_have, part, n, &c), 0);
        if (c.rule != DV_MIG_OK)
            return;
        sum.blocked += c.blocked;
        sum.moved += c.destroyed + c.created;
        sum.touched += c.destroyed + c.created != 0;
    }
    if (lower(&sum, best))
        *best = sum;
}

static void brute(const struct world *w, size_t k, size_t *owner, struct cost *best)
{
    if (k == w->n_items) {
        price(w, owner, best);
        return;
    }
    for (owner[k] = 0; owner[k] < w->n_gpus; owner[k]++)
        brute(w, k + 1, owner, best);
}

/* ---- random nodes ---- */

static void fill_gpu(struct world *w, size_t i, const struct dv_mig_geometry *g, struct dv_rng *rng)
{
    struct dv_mig_instance placed[DV_MIG_INSTANCES_MAX + 1];
    size_t n = 0;
    for (uint64_t tries = dv_rng_below(rng, 30); tries && n < DV_MIG_INSTANCES_MAX; tries--) {
        placed[n] = (struct dv_mig_instance){(uint32_t)dv_rng_below(rng, g->n_profiles),
                                             (uint32_t)dv_rng_below(rng, g->grid)};
        n += dv_mig_check(g, placed, n + 1, NULL) == DV_MIG_OK;
    }
    for (size_t k = 0; k < n; k++)
        w->have[i][k] = (struct dv_mig_have){.profile = placed[k].profile,
                                             .start = placed[k].start,
                                             .in_use = dv_rng_below(rng, 3) == 0};
    w->gpus[i] = (struct dv_mig_node_gpu){g, w->have[i], n};
}

static void add_want(struct world *w, const char *name)
{
    size_t p = 0;
    while (p < w->n_want && strcmp(w->want[p].profile, name) != 0)
        p++;
    if (p == DV_MIG_NODE_PROFILES_MAX)
        return;
    if (p == w->n_want)
        w->want[w->n_want++] = (struct dv_mig_node_want){name, 0};
    w->want[p].count++;
    w->items[w->n_items++] = name;
}

static void random_world(struct world *w, struct dv_rng *rng,
                         const struct dv_mig_geometry *const g[], size_t n_g, size_t n_items)
{
    memset(w, 0, sizeof *w);
    w->n_gpus = 1 + dv_rng_below(rng, GPUS_MAX);
    for (size_t i = 0; i < w->n_gpus; i++) {
        if (i && dv_rng_below(rng, 4) == 0) { /* alike: its options are taken over */
            memcpy(w->have[i], w->have[i - 1], sizeof w->have[i]);
            w->gpus[i] = w->gpus[i - 1];
            w->gpus[i].have = w->have[i];
        } else {
            fill_gpu(w, i, g[dv_rng_below(rng, n_g)], rng);
        }
    }
    for (uint64_t n = dv_rng_below(rng, n_items + 1); n; n--) {
        const struct dv_mig_node_gpu *from = &w->gpus[dv_rng_below(rng, w->n_gpus)];
        add_want(w, from->geometry->profiles[dv_rng_below(rng, from->geometry->n_profiles)].name);
    }
}

static void assert_consistent(const struct world *w, const struct dv_mig_node_change *c)
{
    unsigned blocked = 0, destroyed = 0, created = 0, touched = 0;
    size_t given[DV_MIG_NODE_PROFILES_MAX] = {0};
    assert_int_equal(c->n_gpus, w->n_gpus);
    for (size_t i = 0; i < w->n_gpus; i++) {
        const struct dv_mig_geometry *g = w->gpus[i].geometry;
        const struct dv_mig_change *x = &c->gpus[i].change;
        struct dv_mig_instance after[DV_MIG_INSTANCES_MAX];
        assert_int_equal(x->rule, DV_MIG_OK);
        assert_int_equal(x->n, c->gpus[i].n_want);
        for (size_t k = 0; k < x->n; k++) {
            after[k] = (struct dv_mig_instance){c->gpus[i].want[k].profile, x->instances[k].start};
            for (size_t p = 0; p < w->n_want; p++)
                given[p] += !strcmp(g->profiles[after[k].profile].name, w->want[p].profile);
        }
        assert_int_equal(dv_mig_check(g, after, x->n, NULL), DV_MIG_OK);
        blocked += x->blocked;
        destroyed += x->destroyed;
        created += x->created;
        touched += x->destroyed + x->created != 0;
    }
    for (size_t p = 0; p < w->n_want; p++)
        assert_int_equal(given[p], w->want[p].count);
    assert_int_equal(c->blocked, blocked);
    assert_int_equal(c->destroyed, destroyed);
    assert_int_equal(c->created, created);
    assert_int_equal(c->touched, touched);
}

static void compare(const struct world *w, unsigned *feasible)
{
    struct dv_mig_node_change *c = NULL;
    struct cost best = {false};
    size_t owner[WANT_MAX];
    brute(w, 0, owner, &best);
    assert_int_equal(dv_mig_node_find(w->gpus, w->n_gpus, w->want, w->n_want, &c), 0);
    assert_int_equal(c->feasible, best.possible);
    if (best.possible) {
        assert_consistent(w, c);
        assert_int_equal(c->blocked, best.blocked);
        assert_int_equal(c->destroyed + c->created, best.moved);
        assert_int_equal(c->touched, best.touched);
        (*feasible)++;
    }
    dv_mig_node_free(c);
}

static void compare_many(const char *const *names, size_t n, size_t n_items, unsigned rounds)
{
    const struct dv_mig_geometry *g[4];
    struct dv_rng rng = {11};
    struct world w;
    unsigned feasible = 0;
    for (size_t i = 0; i < n; i++) {
        g[i] = dv_mig_geometry_find(names[i]);
        assert_non_null(g[i]);
    }
    for (unsigned i = 0; i < rounds; i++) {
        random_world(&w, &rng, g, n, n_items);
        compare(&w, &feasible);
    }
    assert_in_range(feasible, rounds / 5, rounds - 1);
}

static void test_brute_a30(void **state)
{
    static const char *const names[] = {"A30"};
    compare_many(names, 1, 6, 10000);
}

static void test_brute_a100(void **state)
{
    static const char *const names[] = {"A100-80GB"};
    compare_many(names, 1, 6, 4000);
}

static void test_brute_mixed(void **state)
{
    static const char *const names[] = {"A30", "A100-80GB", "H100-80GB"};
    compare_many(names, 3, 5, 4000);
}

/* ---- by hand ---- */

static const struct dv_mig_geometry *a100(uint32_t *p1, uint32_t *p3)
{
    const struct dv_mig_geometry *g = dv_mig_geometry_find("A100-80GB");
    *p1 = named(g, "1g.10gb");
    *p3 = named(g, "3g.40gb");
    return g;
}

/* One GPU has small instances in use on both halves, the other is free: the large ones go there,
 * though the first GPU has more room. GPU by GPU in order, nothing would be left for them. */
static void test_around_those_in_use(void **state)
{
    uint32_t p1, p3;
    const struct dv_mig_geometry *g = a100(&p1, &p3);
    struct dv_mig_have first[] = {{p1, 0, true, false}, {p1, 4, true, false}};
    struct dv_mig_have second[] = {{p1, 6, false, false}};
    struct dv_mig_node_gpu gpus[] = {{g, first, 2}, {g, second, 1}};
    struct dv_mig_node_want want[] = {{"1g.10gb", 3}, {"3g.40gb", 2}};
    struct dv_mig_node_change *c = NULL;
    assert_int_equal(dv_mig_node_find(gpus, 2, want, 2, &c), 0);
    assert_true(c->feasible);
    assert_int_equal(c->blocked, 0);
    assert_int_equal(c->destroyed, 1);
    assert_int_equal(c->created, 3);
    assert_int_equal(c->gpus[0].n_want, 3);
    assert_int_equal(c->gpus[1].n_want, 2);
    dv_mig_node_free(c);
}

static void test_as_wanted_is_not_touched(void **state)
{
    uint32_t p1, p3;
    const struct dv_mig_geometry *g = a100(&p1, &p3);
    struct dv_mig_have first[] = {{p1, 0, true, false}, {p3, 4, false, false}};
    struct dv_mig_node_gpu gpus[] = {{g, NULL, 0}, {g, first, 2}, {g, NULL, 0}};
    struct dv_mig_node_want want[] = {{"3g.40gb", 1}, {"1g.10gb", 1}};
    struct dv_mig_node_change *c = NULL;
    assert_int_equal(dv_mig_node_find(gpus, 3, want, 2, &c), 0);
    assert_int_equal(c->destroyed + c->created + c->touched, 0);
    assert_int_equal(c->gpus[1].n_want, 2);
    dv_mig_node_free(c);
    want[1].count = 2; /* of three places for one more: where something changes anyway, or one */
    assert_int_equal(dv_mig_node_find(gpus, 3, want, 2, &c), 0);
    assert_int_equal(c->created, 1);
    assert_int_equal(c->touched, 1);
    dv_mig_node_free(c);
}

static void test_bounds(void **state)
{
    uint32_t p1, p3;
    const struct dv_mig_geometry *g = a100(&p1, &p3);
    struct dv_mig_node_gpu gpus[17];
    struct dv_mig_node_change *c = NULL;
    for (size_t i = 0; i < 17; i++)
        gpus[i] = (struct dv_mig_node_gpu){g, NULL, 0};
    struct dv_mig_node_want want[] = {{"1g.10gb", 112}, {"1g.10gb", 1}};
    assert_int_equal(dv_mig_node_find(gpus, 17, want, 1, &c), -EINVAL);
    assert_int_equal(dv_mig_node_find(gpus, 16, want, 2, &c), -EINVAL);
    assert_int_equal(dv_mig_node_find(gpus, 16, want, 1, &c), 0);
    assert_true(c->feasible);
    assert_int_equal(c->created, 112);
    dv_mig_node_free(c);
    want[0].count = 113;
    assert_int_equal(dv_mig_node_find(gpus, 16, want, 1, &c), 0);
    assert_false(c->feasible);
    dv_mig_node_free(c);
    c = NULL;
    want[0].count = 2000000;
    assert_int_equal(dv_mig_node_find(gpus, 16, want, 1, &c), -E2BIG);
    want[0].count = UINT32_MAX;
    assert_int_equal(dv_mig_node_find(gpus, 16, want, 1, &c), -E2BIG);
    assert_null(c);
    want[0] = (struct dv_mig_node_want){"9g.10gb", 1};
    assert_int_equal(dv_mig_node_find(gpus, 1, want, 1, &c), 0);
    assert_false(c->feasible);
    dv_mig_node_free(c);
}

static void test_no_memory(void **state)
{
    static const char *const names[] = {"A30"};
    const struct dv_mig_geometry *g[] = {dv_mig_geometry_find(names[0])};
    struct dv_rng rng = {3};
    struct world w;
    for (int i = 0; i < 20; i++) {
        random_world(&w, &rng, g, 1, 4);
        for (size_t n = 1;; n++) {
            struct dv_mig_node_change *c = NULL;
            dv_oom_at(n);
            int r = dv_mig_node_find(w.gpus, w.n_gpus, w.want, w.n_want, &c);
            bool met = dv_oom_end();
            assert_int_equal(r, met ? -ENOMEM : 0);
            assert_true((c != NULL) == !met);
            dv_mig_node_free(c);
            if (!met)
                break;
        }
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_brute_a30),
        cmocka_unit_test(test_brute_a100),
        cmocka_unit_test(test_brute_mixed),
        cmocka_unit_test(test_around_those_in_use),
        cmocka_unit_test(test_as_wanted_is_not_touched),
        cmocka_unit_test(test_bounds),
        cmocka_unit_test(test_no_memory),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
