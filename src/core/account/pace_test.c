/* SPDX-License-Identifier: Apache-2.0 */
#include "account/pace.h"
#include "base/rng.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>

#include <cmocka.h>

#define MS DV_NS_PER_MS
#define S DV_NS_PER_S

static void test_where_the_difference_is(void **state)
{
    const struct dv_pace alone = {1000, 10 * S, 5 * S, 0};  /* 10 ms each, 5 ms on the GPU */
    const struct dv_pace now = {500, 10 * S, 3 * S, 4 * S}; /* 20 ms: 8 waiting, 6 on the GPU */
    struct dv_pace_comparison c;
    assert_int_equal(dv_pace_rate_milli(&alone), 100000);
    assert_int_equal(dv_pace_gpu_ns(&now), 6 * MS);
    assert_true(dv_pace_compare(&alone, &now, &c));
    assert_int_equal(c.slower_permille, 1000);
    assert_int_equal(c.difference_ps, 10 * MS * 1000);
    assert_int_equal(c.wait_ps, 8 * MS * 1000);
    assert_int_equal(c.gpu_ps, 1 * MS * 1000);
    assert_int_equal(c.rest_ps, 1 * MS * 1000);
    assert_int_equal(dv_pace_share_permille(&c, &now, 3 * S), 600); /* of the 800 */
    assert_int_equal(dv_pace_share_permille(&c, &now, 4 * S), 800);
}

static void test_faster_or_nothing(void **state)
{
    const struct dv_pace alone = {100, S, S / 2, 0}, now = {200, S, S, 0}, none = {0, S, 0, 0};
    struct dv_pace_comparison c;
    assert_true(dv_pace_compare(&alone, &now, &c));
    assert_int_equal(c.slower_permille, -500);
    assert_int_equal(dv_pace_share_permille(&c, &now, S), 0);
    assert_false(dv_pace_compare(&alone, &none, &c));
    assert_false(dv_pace_compare(&none, &now, &c));
    assert_int_equal(dv_pace_rate_milli(&none), 0);
    assert_int_equal(dv_pace_gpu_ns(&none), 0);
}

/* Whatever the words of a tenant's page are, nothing overflows, and parts sum to the whole. */
static void test_anything(void **state)
{
    struct dv_rng rng = {7};
    for (unsigned i = 0; i < 100000; i++) {
        struct dv_pace p[2];
        struct dv_pace_comparison c;
        for (unsigned k = 0; k < 2; k++)
            p[k] = (struct dv_pace){dv_rng_next(&rng) >> dv_rng_below(&rng, 64),
                                    dv_rng_next(&rng) >> dv_rng_below(&rng, 64),
                                    dv_rng_next(&rng) >> dv_rng_below(&rng, 64),
                                    dv_rng_next(&rng) >> dv_rng_below(&rng, 64)};
        dv_pace_rate_milli(&p[0]);
        if (!dv_pace_compare(&p[0], &p[1], &c))
            continue;
        assert_true(c.wait_ps + c.gpu_ps + c.rest_ps == c.difference_ps);
        dv_pace_share_permille(&c, &p[1], dv_rng_next(&rng));
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_where_the_difference_is),
        cmocka_unit_test(test_faster_or_nothing),
        cmocka_unit_test(test_anything),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
