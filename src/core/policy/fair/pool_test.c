/* SPDX-License-Identifier: Apache-2.0 */
#include "base/rng.h"
#include "policy/fair/pool.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

static struct dv_fair_request whole(uint32_t gpus)
{
    struct dv_fair_request r;
    memset(&r, 0, sizeof r);
    r.kind = DV_FAIR_WHOLE;
    r.gpus = gpus;
    return r;
}

static struct dv_fair_request fraction(uint32_t compute)
{
    struct dv_fair_request r;
    memset(&r, 0, sizeof r);
    r.kind = DV_FAIR_FRACTION;
    r.compute = compute;
    return r;
}

static struct dv_fair_request mig(const char *profile)
{
    struct dv_fair_request r;
    memset(&r, 0, sizeof r);
    r.kind = DV_FAIR_MIG;
    snprintf(r.profile, sizeof r.profile, "%s", profile);
    return r;
}

/* n nodes of 8 A100s, per_rack of them in each rack. */
static struct dv_fair_pool *make(uint32_t n, uint32_t per_rack)
{
    struct dv_fair_pool *p = dv_fair_pool_new();
    uint32_t model, node;
    assert_int_equal(dv_fair_pool_model(p, "A100-80GB", dv_mig_geometry_find("A100-80GB"), &model),
                     0);
    for (uint32_t i = 0; i < n; i++) {
        assert_int_equal(dv_fair_pool_add(p, model, i / per_rack, 8, &node), 0);
        assert_int_equal(node, i);
    }
    return p;
}

static void test_best_fit(void **state)
{
    struct dv_fair_pool *p = make(3, 3);
    struct dv_fair_request three = whole(3), two = whole(2), eight = whole(8);
    struct dv_fair_place a, b, many[4];
    assert_int_equal(dv_fair_pool_take(p, &three, 1, 1, DV_FAIR_ANY, false, &a), 1);
    assert_int_equal(a.node, 0);
    assert_int_equal(a.gpus, 7);
    assert_int_equal(dv_fair_pool_take(p, &two, 1, 1, DV_FAIR_ANY, false, &b), 1);
    assert_int_equal(b.node, 0);
    assert_int_equal(dv_fair_pool_slots(p, &eight, 9), 2);
    assert_int_equal(dv_fair_pool_slots_empty(p, &eight, 9), 3);
    assert_int_equal(dv_fair_pool_take(p, &eight, 3, 4, DV_FAIR_ANY, false, many), 0);
    assert_int_equal(dv_fair_pool_take(p, &eight, 2, 4, DV_FAIR_ANY, false, many), 2);
    assert_int_equal(dv_fair_pool_free_gpus(p), 3);
    assert_int_equal(dv_fair_pool_check(p), 0);
    dv_fair_pool_release(p, &three, &a);
    assert_int_equal(dv_fair_pool_free_gpus(p), 6);
    assert_int_equal(dv_fair_pool_held(p), 18 * DV_COMPUTE_FULL);
    dv_fair_pool_free(p);
}

static void test_one_rack(void **state)
{
    struct dv_fair_pool *p = make(4, 2);
    struct dv_fair_request r = whole(8), one = whole(1);
    struct dv_fair_place places[4], x;
    r.one_rack = true;
    assert_int_equal(dv_fair_pool_slots(p, &r, 4), 2);
    assert_int_equal(dv_fair_pool_slots_empty(p, &r, 4), 2);
    dv_fair_pool_take(p, &one, 1, 1, DV_FAIR_ANY, false, &x);
    assert_int_equal(dv_fair_pool_take(p, &r, 2, 2, DV_FAIR_ANY, false, places), 2);
    assert_int_equal(dv_fair_pool_rack(p, places[0].node), 1);
    assert_int_equal(dv_fair_pool_rack(p, places[1].node), 1);
    dv_fair_pool_free(p);
}

static void test_fractions_and_mig(void **state)
{
    struct dv_fair_pool *p = make(1, 1);
    struct dv_fair_request half = fraction(3500), big = fraction(4000), g3 = mig("3g.40gb"),
                           g4 = mig("4g.40gb"), nope = mig("9g.99gb");
    struct dv_fair_place a, b, c, d, e, many[20];
    dv_fair_pool_take(p, &half, 1, 1, DV_FAIR_ANY, false, &a);
    dv_fair_pool_take(p, &big, 1, 1, DV_FAIR_ANY, false, &b);
    dv_fair_pool_take(p, &half, 1, 1, DV_FAIR_ANY, false, &c);
    assert_int_equal(a.gpus, c.gpus);
    assert_int_not_equal(a.gpus, b.gpus);
    assert_int_equal(dv_fair_pool_units(p, &g3), 3000);
    assert_int_equal(dv_fair_pool_units(p, &nope), 0);
    dv_fair_pool_take(p, &g3, 1, 1, DV_FAIR_ANY, false, &d);
    dv_fair_pool_take(p, &g4, 1, 1, DV_FAIR_ANY, false, &e);
    assert_int_equal(d.gpus, e.gpus);
    assert_int_equal(e.start, 0);
    assert_int_equal(d.start, 4);
    assert_int_equal(dv_fair_pool_free_gpus(p), 5);
    assert_int_equal(dv_fair_pool_take(p, &g4, 6, 6, DV_FAIR_ANY, false, many), 0);
    assert_int_equal(dv_fair_pool_take(p, &g4, 1, 6, DV_FAIR_ANY, false, many), 5);
    assert_int_equal(dv_fair_pool_check(p), 0);
    dv_fair_pool_release(p, &g3, &d);
    dv_fair_pool_release(p, &g4, &e);
    assert_int_equal(dv_fair_pool_free_gpus(p), 1);
    assert_int_equal(dv_fair_pool_slots(p, &nope, 1), 0);
    dv_fair_pool_free(p);
}

static void test_reserved_and_cordoned(void **state)
{
    struct dv_fair_pool *p = make(2, 2);
    struct dv_fair_request r = whole(8);
    struct dv_fair_place x;
    dv_fair_pool_reserve(p, 0, 0xff, true);
    assert_int_equal(dv_fair_pool_slots(p, &r, 2), 1);
    dv_fair_pool_cordon(p, 1, true);
    assert_int_equal(dv_fair_pool_slots(p, &r, 2), 0);
    assert_int_equal(dv_fair_pool_take(p, &r, 1, 1, DV_FAIR_ANY, false, &x), 0);
    assert_int_equal(dv_fair_pool_take(p, &r, 1, 1, DV_FAIR_ANY, true, &x), 1);
    assert_int_equal(x.node, 0);
    dv_fair_pool_cordon(p, 1, false);
    dv_fair_pool_release(p, &r, &x);
    dv_fair_pool_reserve(p, 0, 0xff, false);
    assert_int_equal(dv_fair_pool_slots(p, &r, 2), 2);
    assert_int_equal(dv_fair_pool_check(p), 0);
    dv_fair_pool_free(p);
}

/* Random takes and releases: indexes stay true, nothing is lost, slots say what take then does. */
static void test_random(void **state)
{
    struct dv_rng rng = {11};
    struct dv_fair_pool *p = make(70, 7);
    struct held {
        struct dv_fair_request request;
        struct dv_fair_place place;
    } held[1200];
    uint32_t n = 0;
    uint64_t units = 0;
    for (int step = 0; step < 20000; step++) {
        if (dv_rng_below(&rng, 100) < 45 && n) {
            uint32_t i = (uint32_t)dv_rng_below(&rng, n);
            dv_fair_pool_release(p, &held[i].request, &held[i].place);
            units -= dv_fair_pool_units(p, &held[i].request);
            held[i] = held[--n];
            continue;
        }
        static const char *const profiles[] = {"1g.10gb", "2g.20gb", "3g.40gb", "7g.80gb"};
        uint64_t kind = dv_rng_below(&rng, 3);
        struct dv_fair_request r = kind == 0   ? whole(1 + (uint32_t)dv_rng_below(&rng, 8))
                                   : kind == 1 ? fraction(1 + (uint32_t)dv_rng_below(&rng, 7000))
                                               : mig(profiles[dv_rng_below(&rng, 4)]);
        uint32_t slots = dv_fair_pool_slots(p, &r, 1);
        uint32_t got =
            n < 1200 ? dv_fair_pool_take(p, &r, 1, 1, DV_FAIR_ANY, false, &held[n].place) : slots;
        assert_int_equal(got, slots);
        if (got && n < 1200) {
            held[n++].request = r;
            units += dv_fair_pool_units(p, &r);
        }
        if (step % 500 == 0)
            assert_int_equal(dv_fair_pool_check(p), 0);
    }
    assert_int_equal(dv_fair_pool_held(p), units);
    while (n) {
        n--;
        dv_fair_pool_release(p, &held[n].request, &held[n].place);
    }
    assert_int_equal(dv_fair_pool_free_gpus(p), 560);
    assert_int_equal(dv_fair_pool_check(p), 0);
    dv_fair_pool_free(p);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_best_fit),
        cmocka_unit_test(test_one_rack),
        cmocka_unit_test(test_fractions_and_mig),
        cmocka_unit_test(test_reserved_and_cordoned),
        cmocka_unit_test(test_random),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
