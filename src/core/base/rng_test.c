/* SPDX-License-Identifier: Apache-2.0 */
#include "base/rng.h"

#include <math.h>
#include <setjmp.h>
#include <stdarg.h>

#include <cmocka.h>

static void test_repeats(void **state)
{
    struct dv_rng a = {42};
    struct dv_rng b = {42};
    for (int i = 0; i < 1000; i++)
        assert_int_equal(dv_rng_next(&a), dv_rng_next(&b));
}

static void test_ranges(void **state)
{
    struct dv_rng rng = {7};
    double sum = 0;
    for (int i = 0; i < 100000; i++) {
        assert_true(dv_rng_below(&rng, 3) < 3);
        double u = dv_rng_unit(&rng);
        assert_true(u >= 0 && u < 1);
        sum += dv_rng_exponential(&rng, 5.0);
    }
    assert_true(fabs(sum / 100000 - 5.0) < 0.1);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_repeats),
        cmocka_unit_test(test_ranges),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
