/* SPDX-License-Identifier: Apache-2.0 */
/* The forecast's decisions: against every path there is, and by what must hold of any demand. */
#include "base/rng.h"
#include "base/testing/oom.h"
#include "policy/mig_forecast.h"

#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#define UNKNOWN DV_MIG_DEMAND_UNKNOWN
#define ANY DV_MIG_FORECAST_ANY
#define N_MAX 4000

/* An A100 in one of three layouts: 7 x 1g, 1 x 3g + 4 x 1g, 2 x 3g. */
static int32_t demand[N_MAX * 2];
static const struct dv_mig_forecast_problem three = {
    .n_profiles = 2,
    .slices = {1, 3},
    .n_layouts = 3,
    .supply = {{7, 0}, {4, 1}, {0, 2}},
    .switching = {{0, 500, 1000}, {500, 0, 500}, {1000, 500, 0}},
    .demand = demand,
    .season = 24,
    .horizon = 24,
    .margin_permille = 500,
    .start = 0,
};

static struct dv_mig_forecast *run(const struct dv_mig_forecast_problem *p)
{
    struct dv_mig_forecast *f = NULL;
    struct dv_err err = {{0}};
    int r = dv_mig_forecast_run(p, &f, &err);
    if (r < 0)
        fail_msg("%d %s", r, err.msg);
    return f;
}

static int64_t total(const struct dv_mig_forecast_score *s)
{
    return s->unmet + s->switching;
}

static void set(size_t t, int32_t small, int32_t large)
{
    demand[2 * t] = small;
    demand[2 * t + 1] = large;
}

/* ---- costs and the clairvoyant ---- */

static void test_unmet(void **state)
{
    struct dv_mig_forecast_problem p = three;
    p.n = 1;
    set(0, 5500, 1500);
    assert_int_equal(dv_mig_forecast_unmet(&p, 0, demand), 3 * 1500);
    assert_int_equal(dv_mig_forecast_unmet(&p, 1, demand), 1500 + 3 * 500);
    assert_int_equal(dv_mig_forecast_unmet(&p, 2, demand), 5500);
    set(0, UNKNOWN, 1500);
    assert_int_equal(dv_mig_forecast_unmet(&p, 2, demand), 0);
    assert_int_equal(dv_mig_forecast_unmet(&p, 0, demand), 4500);
}

static int64_t cheapest_path(const struct dv_mig_forecast_problem *p, size_t t, uint32_t now)
{
    int64_t best = INT64_MAX;
    if (t == p->n)
        return 0;
    for (uint32_t l = 0; l < p->n_layouts; l++) {
        int64_t cost = p->switching[now][l] +
                       dv_mig_forecast_unmet(p, l, p->demand + t * p->n_profiles) +
                       cheapest_path(p, t + 1, l);
        best = DV_MIN(best, cost);
    }
    return best;
}

static void random_problem(struct dv_mig_forecast_problem *p, struct dv_rng *rng, size_t n)
{
    *p = three;
    p->n = n;
    p->held_back = n;
    p->start = (uint32_t)dv_rng_below(rng, 3);
    p->season = 1 + (uint32_t)dv_rng_below(rng, 30);
    p->horizon = 1 + (uint32_t)dv_rng_below(rng, 30);
    p->hold = (uint32_t)dv_rng_below(rng, 6);
    p->margin_permille = (uint32_t)dv_rng_below(rng, 3000);
    for (size_t i = 0; i < 9; i++)
        p->switching[i / 3][i % 3] = i / 3 == i % 3 ? 0 : (int64_t)dv_rng_below(rng, 20000);
    for (size_t i = 0; i < 2 * n; i++)
        demand[i] =
            dv_rng_below(rng, 6) ? (int32_t)dv_rng_below(rng, i % 2 ? 4000 : 9000) : UNKNOWN;
}

static void test_clairvoyant_is_cheapest_path(void **state)
{
    struct dv_mig_forecast_problem p;
    struct dv_rng rng = {2};
    for (int i = 0; i < 300; i++) {
        random_problem(&p, &rng, 1 + dv_rng_below(&rng, 7));
        struct dv_mig_forecast *f = run(&p);
        assert_int_equal(total(&f->clairvoyant), cheapest_path(&p, 0, p.start));
        dv_mig_forecast_free(f);
    }
}

/* ---- any demand ---- */

static void assert_sound(const struct dv_mig_forecast_problem *p, const struct dv_mig_forecast *f)
{
    assert_true(total(&f->clairvoyant) <= total(&f->policy));
    assert_true(total(&f->clairvoyant) <= total(&f->never));
    assert_true(total(&f->clairvoyant) <= total(&f->fixed));
    assert_true(total(&f->fixed) <= total(&f->never));
    assert_int_equal(f->never.switches, 0);
    assert_int_equal(f->policy.switches, f->n_done);
    uint32_t now = f->start;
    int64_t paid = 0;
    for (size_t i = 0; i < f->n_done; i++) {
        const struct dv_mig_forecast_switch *s = &f->done[i];
        assert_int_equal(s->from, now);
        assert_true(s->to != now);
        assert_in_range(s->step, f->held_from, p->n - 1);
        assert_in_range(s->until, s->step + 1, s->step + p->horizon);
        assert_true(s->gain > 0);
        assert_true(s->gain * 1000 >= s->cost * (1000 + (int64_t)p->margin_permille));
        if (i)
            assert_true(s->step - f->done[i - 1].step >= p->hold);
        now = s->to;
        paid += p->switching[s->from][s->to];
    }
    assert_int_equal(paid, f->policy.switching);
    assert_int_equal(now, f->policy.last);
    for (size_t i = 0; i < f->n_plan; i++)
        assert_in_range(f->plan[i].step, p->n, p->n + p->horizon - 1);
}

static void test_sound(void **state)
{
    struct dv_mig_forecast_problem p;
    struct dv_rng rng = {3};
    for (int i = 0; i < 300; i++) {
        random_problem(&p, &rng, 1 + dv_rng_below(&rng, 200));
        p.held_back = dv_rng_below(&rng, p.n + 1);
        if (dv_rng_below(&rng, 2))
            p.start = ANY;
        struct dv_mig_forecast *f = run(&p);
        assert_sound(&p, f);
        dv_mig_forecast_free(f);
    }
}

/* Demand that does not change: at most one switch, and never worse than not switching by more than
 * that; over as long as is planned ahead, not worse at all. */
static void test_constant(void **state)
{
    struct dv_mig_forecast_problem p;
    struct dv_rng rng = {4};
    unsigned switched = 0;
    for (int i = 0; i < 300; i++) {
        random_problem(&p, &rng, 1 + dv_rng_below(&rng, 100));
        int32_t small = (int32_t)dv_rng_below(&rng, 9000),
                large = (int32_t)dv_rng_below(&rng, 4000);
        for (size_t t = 0; t < p.n; t++)
            set(t, small, large);
        struct dv_mig_forecast *f = run(&p);
        int64_t most = 0;
        for (uint32_t l = 0; l < 3; l++)
            most = DV_MAX(most, p.switching[p.start][l]);
        assert_in_range(f->policy.switches, 0, 2); /* the way may lead over a third layout */
        if (f->policy.switches <= 1)
            assert_true(total(&f->policy) <= total(&f->never) + most);
        if (p.n > p.horizon + 1 && f->policy.switches <= 1)
            assert_true(total(&f->policy) <= total(&f->never));
        assert_int_equal(f->n_plan, f->policy.last == p.start ? 0 : f->n_plan);
        switched += f->policy.switches;
        dv_mig_forecast_free(f);
    }
    assert_true(switched > 50);
}

/* ---- a day ---- */

/* Small instances by day, large ones by night; some noise. */
static void fill_days(size_t n, struct dv_rng *rng, uint64_t noise, bool gaps)
{
    for (size_t t = 0; t < n; t++) {
        bool day = t % 24 >= 8 && t % 24 < 18;
        set(t, (day ? 7000 : 1000) + (int32_t)dv_rng_below(rng, noise + 1),
            (day ? 0 : 2000) + (int32_t)dv_rng_below(rng, noise + 1));
        if (gaps && dv_rng_below(rng, 4) == 0)
            set(t, UNKNOWN, UNKNOWN);
    }
}

static void assert_follows_days(bool gaps)
{
    struct dv_mig_forecast_problem p = three;
    struct dv_rng rng = {6};
    p.n = 24 * 60;
    p.held_back = 24 * 20;
    p.start = ANY;
    fill_days(p.n, &rng, 500, gaps);
    struct dv_mig_forecast *f = run(&p);
    assert_sound(&p, f);
    int64_t regret = total(&f->policy) - total(&f->clairvoyant);
    int64_t worth = total(&f->never) - total(&f->clairvoyant);
    assert_true(worth > total(&f->never) / 3);
    assert_true(regret * 100 < worth * 5);
    assert_in_range(f->policy.switches, 38, 42);      /* two a day */
    assert_in_range(f->clairvoyant.switches, 40, 41); /* one may come with the first night */
    /* It does not wait for the morning to be seen: it switches with it. */
    for (size_t i = 1; i < f->n_done; i++)
        assert_true(f->done[i].step % 24 == 8 || f->done[i].step % 24 == 18);
    /* The plan for tomorrow, from midnight on. */
    assert_int_equal(f->n_plan, 2);
    assert_int_equal(f->plan[0].step, p.n + 8);
    assert_int_equal(f->plan[0].to, 0);
    assert_int_equal(f->plan[0].until, p.n + 18);
    assert_false(f->plan[0].open);
    assert_int_equal(f->plan[0].profile, 0);
    assert_in_range(f->plan[0].demand, 7000, 7500);
    assert_int_equal(f->plan[1].step, p.n + 18);
    assert_int_equal(f->plan[1].to, 2);
    assert_int_equal(f->plan[1].profile, 1);
    assert_int_equal(f->scored > 479, !gaps);
    dv_mig_forecast_free(f);
}

static void test_follows_days(void **state)
{
    assert_follows_days(false);
}

static void test_follows_days_with_gaps(void **state)
{
    assert_follows_days(true);
}

/* A switch that costs more than a day brings is not made. */
static void test_too_dear(void **state)
{
    struct dv_mig_forecast_problem p = three;
    struct dv_rng rng = {6};
    p.n = 24 * 30;
    p.held_back = 24 * 10;
    fill_days(p.n, &rng, 500, false);
    for (size_t i = 0; i < 9; i++)
        p.switching[i / 3][i % 3] *= 100;
    struct dv_mig_forecast *f = run(&p);
    assert_int_equal(f->policy.switches, 0);
    assert_in_range(f->clairvoyant.switches, 0, 1);
    dv_mig_forecast_free(f);
}

/* ---- hysteresis: demand that hovers about the point where another layout is better ---- */

static uint32_t switches_hovering(uint32_t margin, uint32_t hold)
{
    struct dv_mig_forecast_problem p = three;
    struct dv_rng rng = {8};
    p.n = N_MAX;
    p.held_back = N_MAX / 2;
    p.season = 1;
    p.horizon = 6;
    p.margin_permille = margin;
    p.hold = hold;
    for (size_t i = 0; i < 9; i++)
        p.switching[i / 3][i % 3] = p.switching[i / 3][i % 3] * 3 / 5;
    /* What drifts is predicted to stay: without hysteresis it is followed to and fro. */
    double drift = 0;
    for (size_t t = 0; t < p.n; t++) {
        drift = 0.9 * drift + (dv_rng_unit(&rng) - 0.5) * 800;
        set(t, (int32_t)DV_MAX(5400 + drift, 0), 450);
    }
    struct dv_mig_forecast *f = run(&p);
    uint32_t n = f->policy.switches;
    assert_sound(&p, f);
    dv_mig_forecast_free(f);
    return n;
}

static void test_hysteresis(void **state)
{
    uint32_t without = switches_hovering(0, 0), some = switches_hovering(2000, 0),
             much = switches_hovering(20000, 0);
    assert_true(without > 100);
    assert_true(some < without * 3 / 4);
    assert_in_range(much, 0, 1);
    uint32_t held = switches_hovering(0, 100);
    assert_in_range(held, 1, N_MAX / 2 / 100 + 1);
}

/* ---- refusals ---- */

static void refuse(const struct dv_mig_forecast_problem *p, int r)
{
    struct dv_mig_forecast *f = NULL;
    struct dv_err err = {{0}};
    assert_int_equal(dv_mig_forecast_run(p, &f, &err), r);
    assert_null(f);
    assert_string_not_equal(err.msg, "");
}

static void test_refused(void **state)
{
    struct dv_mig_forecast_problem p = three;
    set(0, 1, 1);
    p.n = 1;
    dv_mig_forecast_free(run(&p));
    p.n = 0;
    refuse(&p, -ERANGE);
    p.n = 1;
    p.held_back = 2;
    refuse(&p, -ERANGE);
    p = three;
    p.n = 1;
    p.n_layouts = 17;
    refuse(&p, -ERANGE);
    p.n_layouts = 3;
    p.start = 3;
    refuse(&p, -EINVAL);
    p.start = 0;
    p.season = 0;
    refuse(&p, -ERANGE);
    p.season = 1;
    p.horizon = 0;
    refuse(&p, -ERANGE);
    p.horizon = 1;
    p.switching[1][1] = 1;
    refuse(&p, -ERANGE);
    p.switching[1][1] = 0;
    p.slices[0] = 0;
    refuse(&p, -EINVAL);
    p.slices[0] = 1;
    set(0, -1, 0);
    refuse(&p, -ERANGE);
}

static void test_no_memory(void **state)
{
    struct dv_mig_forecast_problem p = three;
    struct dv_rng rng = {6};
    p.n = 24 * 6;
    p.held_back = 24 * 3;
    fill_days(p.n, &rng, 500, false);
    for (size_t n = 1;; n++) {
        struct dv_mig_forecast *f = NULL;
        dv_oom_at(n);
        int r = dv_mig_forecast_run(&p, &f, NULL);
        bool met = dv_oom_end();
        assert_int_equal(r, met ? -ENOMEM : 0);
        assert_true((f != NULL) == !met);
        dv_mig_forecast_free(f);
        if (!met) {
            assert_true(n > 10);
            break;
        }
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_unmet),        cmocka_unit_test(test_clairvoyant_is_cheapest_path),
        cmocka_unit_test(test_sound),        cmocka_unit_test(test_constant),
        cmocka_unit_test(test_follows_days), cmocka_unit_test(test_follows_days_with_gaps),
        cmocka_unit_test(test_too_dear),     cmocka_unit_test(test_hysteresis),
        cmocka_unit_test(test_refused),      cmocka_unit_test(test_no_memory),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
