/* SPDX-License-Identifier: Apache-2.0 */
/* The parts of the planner by themselves: rules, the knapsack, the linear program, which workloads
 * are of one kind. */
#include "base/rng.h"
#include "policy/fleet/fleet_knapsack.h"
#include "policy/fleet/fleet_lp.h"
#include "policy/fleet/fleet_merge.h"
#include "policy/fleet/fleet_off.h"
#include "policy/fleet/fleet_testing.h"

#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

/* Whatever else is said: no untrusted workload behind a cooperative wall, none behind a weaker wall
 * than it asks for, and nothing that the author does not take. */
static void test_rules(void **state)
{
    struct dv_rng rng = {3};
    for (int i = 0; i < 20000; i++) {
        struct dv_fleet_workload w = {.count = 1, .memory_bytes = GB};
        struct dv_fleet_choice c;
        w.gpus = dv_rng_below(&rng, 4) == 0;
        w.training = dv_rng_below(&rng, 4) == 0;
        w.interactive = dv_rng_below(&rng, 3) == 0;
        w.inference = dv_rng_below(&rng, 3) == 0;
        w.trust = (enum dv_trust)dv_rng_below(&rng, 2);
        w.isolation = (enum dv_wall)dv_rng_below(&rng, 4);
        w.has_tier = dv_rng_below(&rng, 2);
        w.tier = (enum dv_tier)dv_rng_below(&rng, 2);
        w.p99_ns = dv_rng_below(&rng, 2) * dv_rng_below(&rng, 100) * DV_NS_PER_MS;
        w.modes = dv_rng_below(&rng, 2) ? 0 : (uint32_t)dv_rng_below(&rng, DV_FLEET_ANY + 1);
        dv_fleet_rules_choose(&w, &c);
        assert_true(!c.modes || (c.modes & DV_FLEET_BIT(c.prefer)));
        assert_int_equal(c.modes & ~c.allowed, 0);
        assert_int_equal(w.modes ? c.modes & ~w.modes : 0, 0);
        for (int m = 0; m < DV_FLEET_MODES; m++) {
            enum dv_wall wall = dv_fleet_rules_wall((enum dv_fleet_mode)m);
            if (!(c.modes & DV_FLEET_BIT(m)))
                continue;
            assert_true(wall >= w.isolation);
            assert_true(w.trust == DV_TRUST_TRUSTED || wall >= DV_WALL_DRIVER);
        }
    }
}

/* ---- the knapsack against brute force ---- */

static int64_t best_by_force(const struct dv_fleet_knapsack *k, uint32_t i, uint64_t memory,
                             uint32_t compute, uint32_t most)
{
    if (i == k->n)
        return 0;
    const struct dv_fleet_thing *t = &k->items[i];
    int64_t best = 0;
    for (uint32_t n = 0;
         n <= t->limit && n <= most && n * t->memory <= memory && n * t->compute <= compute; n++) {
        int64_t v = n * t->value + best_by_force(k, i + 1, memory - n * t->memory,
                                                 compute - n * t->compute, most - n);
        best = DV_MAX(best, v);
    }
    return best;
}

static void test_knapsack(void **state)
{
    struct dv_rng rng = {11};
    for (int i = 0; i < 1000; i++) {
        struct dv_fleet_thing things[4], copy[4];
        struct dv_fleet_knapsack k = {.memory = 100, .compute = 100, .most = 12, .items = things};
        k.n = 1 + (uint32_t)dv_rng_below(&rng, 4);
        k.steps = dv_rng_below(&rng, 4) ? 100000 : 5; /* cut short, the bound has to hold */
        for (uint32_t t = 0; t < k.n; t++)
            things[t] = (struct dv_fleet_thing){.id = t,
                                                .value = 1 + (int64_t)dv_rng_below(&rng, 1000),
                                                .memory = 5 + dv_rng_below(&rng, 60),
                                                .compute = (uint32_t)dv_rng_below(&rng, 60),
                                                .limit = dv_rng_below(&rng, 8)};
        memcpy(copy, things, sizeof copy);
        int64_t best = best_by_force(&k, 0, k.memory, k.compute, k.most), sum = 0;
        uint64_t memory = 0, compute = 0, n = 0;
        assert_int_equal(dv_fleet_knapsack_solve(&k), 0);
        for (uint32_t t = 0; t < k.n; t++) {
            sum += things[t].taken * things[t].value;
            memory += things[t].taken * things[t].memory;
            compute += things[t].taken * things[t].compute;
            n += things[t].taken;
            assert_true(things[t].taken <= things[t].limit);
        }
        assert_true(memory <= 100 && compute <= 100 && n <= 12);
        assert_int_equal(sum, k.value);
        assert_true(k.value <= best && best <= k.upper);
        if (k.steps > 5)
            assert_int_equal(k.value, best);
    }
}

/* ---- the linear program ---- */

/* Cutting stock from a text book: rolls of 9, pieces of 4, 3 and 2. */
static void test_lp(void **state)
{
    static const struct dv_fleet_lp_row rows[] = {{20, 1000}, {50, 1000}, {12, 1000}, {100, 0}};
    static const double patterns[][3] = {{2, 0, 0}, {0, 3, 0}, {0, 0, 4}, {1, 1, 1}};
    dv_cleanup(dv_fleet_lp_freep) struct dv_fleet_lp *lp = NULL;
    double x[4], cost = 0;
    assert_int_equal(dv_fleet_lp_new(rows, 4, &lp), 0);
    for (int i = 0; i < 4; i++) {
        struct dv_fleet_lp_entry e[4] = {{3, 1}};
        uint32_t n = 1;
        for (uint32_t k = 0; k < 3; k++)
            if (patterns[i][k] > 0)
                e[n++] = (struct dv_fleet_lp_entry){k, patterns[i][k]};
        assert_int_equal(dv_fleet_lp_add(lp, 1, e, n), 0);
    }
    dv_fleet_lp_solve(lp, 1000000);
    dv_fleet_lp_values(lp, x);
    for (int i = 0; i < 4; i++)
        cost += x[i];
    /* 12 of {1,1,1}: then 8 / 2 and 38 / 3. */
    assert_true(fabs(cost - (12 + 4 + 38 / 3.0)) < 1e-3);
    double worth = 20 * dv_fleet_lp_dual(lp, 0) + 50 * dv_fleet_lp_dual(lp, 1) +
                   12 * dv_fleet_lp_dual(lp, 2) + 100 * dv_fleet_lp_dual(lp, 3);
    assert_true(fabs(worth - cost) < 1e-3);
}

/* After many steps, in which the duals are only kept up: the cost is what the duals say, and no
 * column gains by them. */
static void test_lp_duals(void **state)
{
    enum { ROWS = 60, COLUMNS = 400 };
    struct dv_rng rng = {21};
    for (int round = 0; round < 10; round++) {
        dv_cleanup(dv_fleet_lp_freep) struct dv_fleet_lp *lp = NULL;
        struct dv_fleet_lp_row rows[ROWS];
        struct dv_fleet_lp_entry e[COLUMNS][4];
        double costs[COLUMNS], x[COLUMNS], cost = 0, worth = 0;
        for (uint32_t i = 0; i < ROWS; i++)
            rows[i] = (struct dv_fleet_lp_row){(double)dv_rng_below(&rng, 50), i % 10 ? 500 : 0};
        assert_int_equal(dv_fleet_lp_new(rows, ROWS, &lp), 0);
        for (uint32_t c = 0; c < COLUMNS; c++) {
            uint32_t first = (uint32_t)dv_rng_below(&rng, ROWS);
            for (uint32_t k = 0; k < 4; k++)
                e[c][k] = (struct dv_fleet_lp_entry){(first + k * 7) % ROWS,
                                                     1 + (double)dv_rng_below(&rng, 5)};
            costs[c] = 1 + (double)dv_rng_below(&rng, 100);
            assert_int_equal(dv_fleet_lp_add(lp, costs[c], e[c], 4), 0);
        }
        assert_true(dv_fleet_lp_solve(lp, UINT64_MAX) > 0);
        dv_fleet_lp_values(lp, x);
        double placed[ROWS] = {0};
        for (uint32_t c = 0; c < COLUMNS; c++) {
            double gain = -costs[c];
            for (uint32_t k = 0; k < 4; k++) {
                placed[e[c][k].row] += e[c][k].value * x[c];
                gain += e[c][k].value * dv_fleet_lp_dual(lp, e[c][k].row);
            }
            assert_true(gain < 1e-5);
            cost += costs[c] * x[c];
        }
        for (uint32_t i = 0; i < ROWS; i++) {
            if (rows[i].off > 0) /* what is not placed is bought off */
                cost += rows[i].off * DV_MAX(rows[i].right - placed[i], 0.0);
            else
                assert_true(placed[i] < rows[i].right + 1e-4);
            worth += rows[i].right * dv_fleet_lp_dual(lp, i);
        }
        assert_true(fabs(worth - cost) < 1e-3);
    }
}

/* ---- kinds ---- */

static void test_kinds(void **state)
{
    struct dv_fleet_workload w[9] = {0};
    uint32_t kinds[9];
    struct dv_fleet fleet = {.n_groups = 1, .n_workloads = 9, .workloads = w};
    dv_cleanup(dv_fleet_view_freep) struct dv_fleet_view *view = NULL;
    fleet.groups[0] = dv_fleet_testing_group("A100-80GB", 0);
    for (uint32_t i = 0; i < 9; i++)
        w[i] = (struct dv_fleet_workload){
            .count = 1, .processes = 1, .memory_bytes = (4 + i % 3) * GB};
    w[3].isolation = w[4].isolation = w[5].isolation = DV_WALL_HARDWARE; /* 1g.10gb for all */
    w[5].memory_bytes = 12 * GB;                                         /* but for this one */
    w[7].has_tier = true;
    w[7].tier = DV_TIER_BEST_EFFORT; /* the first to be left out */
    w[8].gpus = 1;
    assert_int_equal(dv_fleet_view_new(&fleet, &view), 0);
    assert_int_equal(dv_fleet_merge_kinds(view, kinds), 7);
    for (uint32_t i = 0; i < 9; i++)
        assert_int_equal(kinds[i], i == 4 ? 3 : i == 6 ? 0 : i);
}

/* Best-effort replicas are left out first where cards may run short; where each replica could have
 * cards of its own, the tier decides nothing. */
static void test_off(void **state)
{
    struct dv_fleet_workload w[3] = {{.name = "sweep", .count = 6, .processes = 1},
                                     {.name = "chat", .count = 3, .processes = 1},
                                     {.name = "wide", .count = 1, .processes = 1, .gpus = 4}};
    struct dv_fleet f = {.currency = "USD", .n_groups = 1, .n_workloads = 3, .workloads = w};
    const uint64_t places[3] = {6, 3, 1}, enough = 6 + 3 + 4, few = enough - 1;
    dv_cleanup(dv_fleet_view_freep) struct dv_fleet_view *v = NULL;
    struct dv_fleet_off off;
    f.groups[0] = dv_fleet_testing_group("A100-80GB", 0);
    w[0].memory_bytes = GB;
    w[1].memory_bytes = 30 * GB;
    w[0].has_tier = true;
    w[0].tier = DV_TIER_BEST_EFFORT;
    assert_int_equal(dv_fleet_view_new(&f, &v), 0);
    dv_fleet_off_init(v, places, &enough, &off);
    assert_int_equal(dv_fleet_off_cost(&off, 0), dv_fleet_off_cost(&off, 1));
    dv_fleet_off_init(v, places, &few, &off);
    assert_true(off.lasts > 30);
    assert_true(dv_fleet_off_cost(&off, 0) > DV_FLEET_UNIT);
    assert_true(dv_fleet_off_cost(&off, 1) > off.lasts * dv_fleet_off_cost(&off, 0));
    assert_true(dv_fleet_off_cost(&off, 2) > 4 * off.lasts * dv_fleet_off_cost(&off, 0));
    assert_true(dv_fleet_off_cost(&off, 2) <= DV_FLEET_WORTH);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_rules), cmocka_unit_test(test_knapsack),
        cmocka_unit_test(test_lp),    cmocka_unit_test(test_lp_duals),
        cmocka_unit_test(test_kinds), cmocka_unit_test(test_off)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
