/* SPDX-License-Identifier: Apache-2.0 */
#include "base/when.h"

#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <string.h>

#include <cmocka.h>

#define NOW INT64_C(1795689030) /* 2026-11-26T10:30:30Z, a Thursday */

/* Two hours east until 2026-10-25T01:00Z, one after. */
static const struct dv_zone zone = {"Test/Place", 7200, 1, {{INT64_C(1792890000), 3600}}};
static const struct dv_zone utc;

static const struct {
    const char *from, *to;
    const char *begin, *end; /* in UTC */
} ranges[] = {
    {NULL, NULL, "2026-10-31T23:00:00Z", "2026-11-26T10:31:00Z"},
    {"this-month", NULL, "2026-10-31T23:00:00Z", "2026-11-26T10:31:00Z"},
    {"last-month", NULL, "2026-09-30T22:00:00Z", "2026-10-31T23:00:00Z"},
    {"2026-10", NULL, "2026-09-30T22:00:00Z", "2026-10-31T23:00:00Z"},
    {"2026-10", "2026-11", "2026-09-30T22:00:00Z", "2026-10-31T23:00:00Z"},
    {"yesterday", NULL, "2026-11-24T23:00:00Z", "2026-11-25T23:00:00Z"},
    {"today", NULL, "2026-11-25T23:00:00Z", "2026-11-26T10:31:00Z"},
    {"2026-10-25", "2026-10-26", "2026-10-24T22:00:00Z", "2026-10-25T23:00:00Z"},
    {"-7d", "now", "2026-11-19T10:30:00Z", "2026-11-26T10:31:00Z"},
    {"-90m", NULL, "2026-11-26T09:00:00Z", "2026-11-26T10:31:00Z"},
    {"2026-11-01T00:00:01Z", "2026-11-01T00:00:02Z", "2026-11-01T00:00:00Z",
     "2026-11-01T00:01:00Z"},
    {"2026-11-20", NULL, "2026-11-19T23:00:00Z", "2026-11-26T10:31:00Z"},
};

static void ranges_as_people_write_them(void **state)
{
    for (size_t i = 0; i < DV_ARRAY_SIZE(ranges); i++) {
        int64_t from = 0, to = 0;
        char a[DV_ZONE_TEXT], b[DV_ZONE_TEXT];
        struct dv_err err = {{0}};
        int r = dv_when_range(&zone, NOW, ranges[i].from, ranges[i].to, &from, &to, &err);
        if (r)
            fail_msg("%s: %s", ranges[i].from, err.msg);
        assert_string_equal(dv_zone_format(&utc, from, a), ranges[i].begin);
        assert_string_equal(dv_zone_format(&utc, to, b), ranges[i].end);
    }
}

static void wrong_ranges(void **state)
{
    static const struct {
        const char *from, *to, *message;
    } wrong[] = {
        {"2026-12-01", "2026-11-01",
         "from (2026-12-01T00:00:00+01:00) lies after to (2026-11-01T00:00:00+01:00)"},
        {"2026-11-01", "2026-11-01",
         "there is no time between from (2026-11-01T00:00:00+01:00) and to "
         "(2026-11-01T00:00:00+01:00)"},
        {"2027-01-01", NULL, "lies after"},
        {"-7", NULL, "'-7' is no time before now: -7d, -12h, -90m, -2w"},
        {"-7days", NULL, "no time before now"},
        {"-99999999999999999999d", NULL, "no time before now"},
        {"-9999999w", NULL, "before 1970"},
        {"last-moth", NULL, "'last-moth' is no time; did you mean 'last-month'?"},
        {"whenever it was", NULL, "is no time: 2026-11"},
        {"", NULL, "is no time"},
    };
    for (size_t i = 0; i < DV_ARRAY_SIZE(wrong); i++) {
        int64_t from = 7, to = 8;
        struct dv_err err = {{0}};
        assert_true(dv_when_range(&zone, NOW, wrong[i].from, wrong[i].to, &from, &to, &err) < 0);
        if (!strstr(err.msg, wrong[i].message))
            fail_msg("%s is not in: %s", wrong[i].message, err.msg);
        assert_true(from == 7 && to == 8);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(ranges_as_people_write_them),
        cmocka_unit_test(wrong_ranges),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
