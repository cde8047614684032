/* SPDX-License-Identifier: Apache-2.0 */
#include "base/date.h"

#include "base/macros.h"

#include <setjmp.h>
#include <stdarg.h>
#include <string.h>
#include <time.h>

#include <cmocka.h>

static void agrees_with_the_c_library(void **state)
{
    for (int64_t t = 0; t < DV_DATE_UNIX_MAX; t += 86399 * 13) {
        struct tm tm;
        time_t when = (time_t)t;
        assert_non_null(gmtime_r(&when, &tm));
        struct dv_date d = dv_date_of(t);
        assert_int_equal(d.year, tm.tm_year + 1900);
        assert_int_equal(d.month, tm.tm_mon + 1);
        assert_int_equal(d.day, tm.tm_mday);
        assert_int_equal(d.hour * 3600 + d.minute * 60 + d.second,
                         tm.tm_hour * 3600 + tm.tm_min * 60 + tm.tm_sec);
        assert_true(dv_date_valid(&d));
        assert_true(dv_date_unix(&d) == t);
    }
}

static void months_run_over(void **state)
{
    struct dv_date next = {2026, 13, 1, 0, 0, 0}, january = {2027, 1, 1, 0, 0, 0};
    struct dv_date last = {2026, 12, 0, 0, 0, 0}, november = {2026, 11, 30, 0, 0, 0};
    assert_true(dv_date_unix(&next) == dv_date_unix(&january));
    assert_true(dv_date_unix(&last) == dv_date_unix(&november));
}

static void knows_what_is_no_date(void **state)
{
    static const struct dv_date wrong[] = {
        {2026, 2, 29, 0, 0, 0},  {2100, 2, 29, 0, 0, 0}, {2026, 4, 31, 0, 0, 0},
        {2026, 0, 1, 0, 0, 0},   {2026, 13, 1, 0, 0, 0}, {2026, 1, 0, 0, 0, 0},
        {1969, 1, 1, 0, 0, 0},   {10000, 1, 1, 0, 0, 0}, {2026, 1, 1, 24, 0, 0},
        {2026, 1, 1, 0, 60, 0},  {2026, 1, 1, 0, 0, 60},
    };
    for (size_t i = 0; i < DV_ARRAY_SIZE(wrong); i++)
        assert_false(dv_date_valid(&wrong[i]));
    assert_true(dv_date_valid(&(struct dv_date){2028, 2, 29, 23, 59, 59}));
    assert_true(dv_date_valid(&(struct dv_date){2000, 2, 29, 0, 0, 0}));
}

static void formats(void **state)
{
    char buf[DV_DATE_TEXT];
    assert_string_equal(dv_date_format(0, buf), "1970-01-01T00:00:00Z");
    assert_string_equal(dv_date_format(1795651200, buf), "2026-11-26T00:00:00Z");
    assert_string_equal(dv_date_format(-5, buf), "1970-01-01T00:00:00Z");
    assert_string_equal(dv_date_format(INT64_MAX, buf), "9999-12-31T23:59:59Z");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(agrees_with_the_c_library),
        cmocka_unit_test(months_run_over),
        cmocka_unit_test(knows_what_is_no_date),
        cmocka_unit_test(formats),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
