/* SPDX-License-Identifier: Apache-2.0 */
#include "base/units.h"

#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <string.h>

#include <cmocka.h>

static void test_bytes(void **state)
{
    static const struct {
        const char *text;
        uint64_t bytes;
    } good[] = {
        {"1", 1},
        {"10GiB", 10 * DV_GIB},
        {"10Gi", 10 * DV_GIB},
        {"10GB", UINT64_C(10000000000)},
        {"10G", UINT64_C(10000000000)},
        {"1.5KiB", 1536},
        {"0.5GiB", DV_GIB / 2},
        {"1024TiB", UINT64_C(1) << 50},
    };
    for (size_t i = 0; i < DV_ARRAY_SIZE(good); i++) {
        uint64_t bytes = 0;
        assert_int_equal(dv_units_parse_bytes(good[i].text, &bytes, NULL), 0);
        assert_int_equal(bytes, good[i].bytes);
    }
    static const char *const bad[] = {"",     "-1GiB", "+1",     " 1",    "1 GiB", "GiB",
                                      "1GIB", "0x10",  "nan",    "inf",   "1e9",   "1,5GiB",
                                      "1.",   ".5",    "1.5.5G", "10Gib", "١",     "1GiB "};
    for (size_t i = 0; i < DV_ARRAY_SIZE(bad); i++) {
        struct dv_err err = {{0}};
        uint64_t bytes = 7;
        assert_int_equal(dv_units_parse_bytes(bad[i], &bytes, &err), -EINVAL);
        assert_int_equal(bytes, 7);
        assert_non_null(strstr(err.msg, "is not a size"));
    }
    uint64_t bytes = 0;
    assert_int_equal(dv_units_parse_bytes("0", &bytes, NULL), -ERANGE);
    assert_int_equal(dv_units_parse_bytes("0.0001B", &bytes, NULL), -ERANGE);
    assert_int_equal(dv_units_parse_bytes("1025TiB", &bytes, NULL), -ERANGE);
    assert_int_equal(dv_units_parse_bytes("99999999999999999999", &bytes, NULL), -EINVAL);
}

static void test_compute(void **state)
{
    static const struct {
        const char *text;
        uint32_t compute;
    } good[] = {{"25%", 1750}, {"0.25", 1750}, {"1/4", 1750}, {"250m", 1750}, {"250‰", 1750},
                {"2/7", 2000}, {"100%", 7000}, {"1", 7000},   {"7/7", 7000},  {"14.2857%", 1000}};
    for (size_t i = 0; i < DV_ARRAY_SIZE(good); i++) {
        uint32_t compute = 0;
        assert_int_equal(dv_units_parse_compute(good[i].text, &compute, NULL), 0);
        assert_int_equal(compute, good[i].compute);
    }
    uint32_t compute = 0;
    assert_int_equal(dv_units_parse_compute("0%", &compute, NULL), -ERANGE);
    assert_int_equal(dv_units_parse_compute("101%", &compute, NULL), -ERANGE);
    assert_int_equal(dv_units_parse_compute("1/0", &compute, NULL), -EINVAL);
    assert_int_equal(dv_units_parse_compute("-5%", &compute, NULL), -EINVAL);
    assert_int_equal(dv_units_parse_compute("lots", &compute, NULL), -EINVAL);
    assert_int_equal(dv_units_permille(2000), 286);
}

static void test_duration(void **state)
{
    uint64_t ns = 0;
    assert_int_equal(dv_units_parse_duration("90", &ns, NULL), 0);
    assert_int_equal(ns, 90 * DV_NS_PER_S);
    assert_int_equal(dv_units_parse_duration("1.5h", &ns, NULL), 0);
    assert_int_equal(ns, 5400 * DV_NS_PER_S);
    assert_int_equal(dv_units_parse_duration("250ms", &ns, NULL), 0);
    assert_int_equal(ns, 250 * DV_NS_PER_MS);
    assert_int_equal(dv_units_parse_duration("11y", &ns, NULL), -EINVAL);
    assert_int_equal(dv_units_parse_duration("4000d", &ns, NULL), -ERANGE);
}

static void test_integer(void **state)
{
    int64_t v = 0;
    assert_int_equal(dv_units_parse_integer("-9223372036854775808", "n", INT64_MIN, 0, &v, NULL),
                     0);
    assert_int_equal(v, INT64_MIN);
    assert_int_equal(dv_units_parse_integer("42", "n", 0, 100, &v, NULL), 0);
    assert_int_equal(v, 42);
    assert_int_equal(dv_units_parse_integer("101", "n", 0, 100, &v, NULL), -ERANGE);
    assert_int_equal(dv_units_parse_integer("99999999999999999999", "n", 0, 100, &v, NULL),
                     -ERANGE);
    assert_int_equal(dv_units_parse_integer("4x", "n", 0, 100, &v, NULL), -EINVAL);
    assert_int_equal(dv_units_parse_integer("", "n", 0, 100, &v, NULL), -EINVAL);
    assert_int_equal(dv_units_parse_integer("-", "n", -5, 100, &v, NULL), -EINVAL);
}

static void test_format(void **state)
{
    char buf[DV_UNITS_TEXT];
    assert_string_equal(dv_units_format_bytes(0, buf), "0 B");
    assert_string_equal(dv_units_format_bytes(10 * DV_GIB, buf), "10.0 GiB");
    assert_string_equal(dv_units_format_bytes(1023 * DV_MIB, buf), "1023 MiB");
    assert_string_equal(dv_units_format_compute(1750, buf), "25%");
    assert_string_equal(dv_units_format_compute(1000, buf), "14.3%");
    assert_string_equal(dv_units_format_duration(250 * DV_NS_PER_US, buf), "250us");
    assert_string_equal(dv_units_format_duration(3720 * DV_NS_PER_S, buf), "1h 02m");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_bytes),    cmocka_unit_test(test_compute),
        cmocka_unit_test(test_duration), cmocka_unit_test(test_integer),
        cmocka_unit_test(test_format),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
