/* SPDX-License-Identifier: Apache-2.0 */
#include "base/number.h"
#include "base/rng.h"

#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

static void test_doubles(void **state)
{
    static const struct {
        const char *text;
        double value;
    } good[] = {
        {"0", 0},
        {"12", 12},
        {"-0.5", -0.5},
        {"+3", 3},
        {".5", 0.5},
        {"5.", 5},
        {" 7\t", 7},
        {"1e9", 1e9},
        {"1E+2", 100},
        {"1.662858720e+09", 1662858720},
        {"33879490560.0", 33879490560.0},
        {"0.1", 0.1},
        {"123456789012345678901234567890", 123456789012345678901234567890.0},
        {"9007199254740993", 9007199254740992.0}, /* a tie, to even */
        {"1e-320", 1e-320},
        {"1e-9999", 0},
        {"1.7976931348623157e308", 1.7976931348623157e308},
        {"1000000000000000000000", 1e21},
        {"0.000000000000000000000000000001", 1e-30},
    };
    for (size_t i = 0; i < DV_ARRAY_SIZE(good); i++) {
        double v = -1;
        assert_int_equal(dv_number_double(good[i].text, strlen(good[i].text), &v), 0);
        assert_memory_equal(&v, &good[i].value, sizeof v);
    }
    static const char *const bad[] = {"",    " ",   ".",   "-",    "1e",  "1e+", "e5",  "0x10",
                                      "nan", "inf", "1,5", "12kg", "1 2", "--1", "1..2"};
    double v = 42;
    for (size_t i = 0; i < DV_ARRAY_SIZE(bad); i++)
        assert_int_equal(dv_number_double(bad[i], strlen(bad[i]), &v), -EINVAL);
    assert_int_equal(dv_number_double("1e309", 5, &v), -ERANGE);
    assert_int_equal(dv_number_double("12345", 2, &v), 0); /* the length rules */
    assert_true(v == 12);
}

/* Against the library, for numbers of every size and shape. */
static void test_doubles_are_the_nearest(void **state)
{
    struct dv_rng rng = {.state = 11};
    for (int i = 0; i < 200000; i++) {
        char text[64];
        double whole = (double)dv_rng_next(&rng) / (double)(1u << dv_rng_below(&rng, 30));
        int n = i % 2 ? snprintf(text, sizeof text, "%.*f", (int)dv_rng_below(&rng, 9), whole)
                      : snprintf(text, sizeof text, "%.*e", (int)dv_rng_below(&rng, 18),
                                 whole * (i % 3 ? 1e-9 : 1e40));
        double mine = 0, theirs = strtod(text, NULL);
        assert_int_equal(dv_number_double(text, (size_t)n, &mine), 0);
        assert_memory_equal(&mine, &theirs, sizeof mine);
    }
}

static void test_integers(void **state)
{
    int64_t i = 0;
    uint64_t u = 0;
    assert_int_equal(dv_number_int64("-9223372036854775808", 20, &i), 0);
    assert_true(i == INT64_MIN);
    assert_int_equal(dv_number_int64("9223372036854775807", 19, &i), 0);
    assert_true(i == INT64_MAX);
    assert_int_equal(dv_number_int64("9223372036854775808", 19, &i), -ERANGE);
    assert_int_equal(dv_number_int64("1.0", 3, &i), -EINVAL);
    assert_int_equal(dv_number_int64("", 0, &i), -EINVAL);
    assert_int_equal(dv_number_int64("-", 1, &i), -EINVAL);
    assert_int_equal(dv_number_uint64(" 18446744073709551615 ", 22, &u), 0);
    assert_true(u == UINT64_MAX);
    assert_int_equal(dv_number_uint64("18446744073709551616", 20, &u), -ERANGE);
    assert_int_equal(dv_number_uint64("-1", 2, &u), -ERANGE);
    assert_int_equal(dv_number_uint64("-0", 2, &u), 0);
    assert_int_equal(dv_number_uint64("99999999999999999999x", 21, &u), -EINVAL);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_doubles),
        cmocka_unit_test(test_doubles_are_the_nearest),
        cmocka_unit_test(test_integers),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
