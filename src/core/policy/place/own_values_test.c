/* SPDX-License-Identifier: Apache-2.0 */
/* Values of sizes and of rests, by hand. */
#include "base/rng.h"
#include "policy/place/own_values.h"

#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>

#include <cmocka.h>

#define UNIT DV_OWN_UNIT
#define NEAR(a, b) assert_true(fabs((double)(a) - (double)(b)) <= 2)

static struct dv_own_values values_of(const uint32_t (*sizes)[2], size_t n)
{
    dv_cleanup(dv_popularity_freep) struct dv_popularity *p = dv_popularity_new(NULL);
    assert_non_null(p);
    for (size_t i = 0; i < n; i++) {
        struct dv_cluster_pod pod = {.gpus = 1, .gpu_milli = (uint16_t)sizes[i][0]};
        assert_int_equal(dv_popularity_add(p, &pod, sizes[i][1]), 0);
    }
    struct dv_own_values v;
    assert_int_equal(dv_own_values_solve(p, NULL, &v, NULL), 0);
    return v;
}

static void halves(void **state)
{
    static const uint32_t sizes[][2] = {{500, 10}};
    struct dv_own_values v = values_of(sizes, 1);
    NEAR(v.size[500], UNIT / 2);
    assert_int_equal(v.rest[499], 0);
    NEAR(v.rest[500], UNIT / 2);
    NEAR(v.rest[999], UNIT / 2);
    assert_int_equal(v.rest[1000], UNIT);
    assert_true(fabs(v.served - 1) < 1e-9);
}

/* 470 goes in twice as 500 does; what it leaves is worth nothing, so it is worth a half. */
static void a_size_is_worth_what_it_keeps_others_from(void **state)
{
    static const uint32_t sizes[][2] = {{470, 10}, {1000, 10}};
    struct dv_own_values v = values_of(sizes, 2);
    NEAR(v.size[470], UNIT / 2);
    NEAR(v.rest[530], UNIT / 2);
    NEAR(v.rest[469], 0);
    /* into the 530 beside another: nothing is lost; into a whole one: nothing either */
    NEAR(v.rest[530] - v.rest[60] - v.size[470], 0);
    NEAR(v.rest[1000] - v.rest[530] - v.size[470], 0);
}

/* 810 leaves 190, and nobody asks for so little. */
static void nobody_fits_beside_810(void **state)
{
    static const uint32_t sizes[][2] = {{810, 30}, {320, 20}, {1000, 50}};
    struct dv_own_values v = values_of(sizes, 3);
    NEAR(v.size[810], UNIT);
    NEAR(v.size[320], UNIT / 3);
    NEAR(v.rest[190], 0);
    NEAR(v.rest[680], UNIT * 2 / 3);
    /* a 320 into what two others of 320 left */
    NEAR(v.rest[360] - v.rest[40] - v.size[320], 0);
}

/* 650 beside 320: together they are a GPU. */
static void pairs(void **state)
{
    static const uint32_t sizes[][2] = {{650, 10}, {320, 10}};
    struct dv_own_values v = values_of(sizes, 2);
    NEAR(v.size[650] + v.size[320], UNIT);
    NEAR(v.rest[350], v.size[320]);
    assert_true(fabs(v.served - 0.97) < 1e-9);
}

static void nothing_is_known(void **state)
{
    struct dv_own_values v;
    assert_int_equal(dv_own_values_solve(NULL, NULL, &v, NULL), 0);
    assert_int_equal(v.rest[0], 0);
    assert_int_equal(v.rest[1000], UNIT);
    NEAR(v.rest[250], UNIT / 4);
    static const uint32_t cpu_only[][2] = {{0, 5}};
    dv_cleanup(dv_popularity_freep) struct dv_popularity *p = dv_popularity_new(NULL);
    struct dv_cluster_pod pod = {.cpu_milli = 1000};
    assert_int_equal(dv_popularity_add(p, &pod, cpu_only[0][1]), 0);
    assert_int_equal(dv_own_values_solve(p, NULL, &v, NULL), 0);
    NEAR(v.rest[250], UNIT / 4);
}

/* Whatever comes: u never falls, is 1 for a whole GPU, and no size loses less than nothing. */
static void rests_make_sense(void **state)
{
    struct dv_rng rng = {17};
    for (int round = 0; round < 20; round++) {
        uint32_t sizes[300][2];
        size_t n = 1 + dv_rng_below(&rng, 300);
        for (size_t i = 0; i < n; i++) {
            sizes[i][0] = 1 + (uint32_t)dv_rng_below(&rng, 1000);
            sizes[i][1] = 1 + (uint32_t)dv_rng_below(&rng, 1000);
        }
        struct dv_own_values v = values_of((const uint32_t(*)[2])sizes, n);
        assert_int_equal(v.rest[1000], UNIT);
        for (uint32_t r = 1; r <= 1000; r++)
            assert_true(v.rest[r] >= v.rest[r - 1]);
        for (size_t i = 0; i < n; i++)
            for (uint32_t r = sizes[i][0]; r <= 1000; r++)
                assert_true(v.rest[r] - v.rest[r - sizes[i][0]] - v.size[sizes[i][0]] >= -8);
        assert_true(v.served > 0 && v.served <= 1 + 1e-9);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(halves),
        cmocka_unit_test(a_size_is_worth_what_it_keeps_others_from),
        cmocka_unit_test(nobody_fits_beside_810),
        cmocka_unit_test(pairs),
        cmocka_unit_test(nothing_is_known),
        cmocka_unit_test(rests_make_sense),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
