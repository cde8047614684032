/* SPDX-License-Identifier: Apache-2.0 */
#include "base/rng.h"
#include "base/zone.h"

#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <string.h>
#include <time.h>

#include <cmocka.h>

/* Berlin in 2026: summer time from March 29 01:00 UTC to October 25 01:00 UTC. */
static const struct dv_zone berlin = {.name = "Europe/Berlin",
                                      .first_offset = 3600,
                                      .n = 2,
                                      .changes = {{1774746000, 7200}, {1792890000, 3600}}};
static const struct dv_zone utc;

static int64_t at(const struct dv_zone *zone, const char *text)
{
    int64_t t = -1;
    struct dv_err err = {{0}};
    if (dv_zone_parse(zone, text, &t, &err) < 0)
        fail_msg("%s", err.msg);
    return t;
}

static void test_dates(void **state)
{
    for (int32_t day = -800000; day < 800000; day += 1) {
        struct dv_date d = dv_date_of(day);
        assert_int_equal(dv_date_days(d), day);
        time_t t = (time_t)day * 86400;
        struct tm tm;
        if (day % 97)
            continue;
        gmtime_r(&t, &tm);
        assert_int_equal(d.year, tm.tm_year + 1900);
        assert_int_equal(d.month, tm.tm_mon + 1);
        assert_int_equal(d.day, tm.tm_mday);
        assert_int_equal(dv_date_weekday(day), (tm.tm_wday + 6) % 7);
    }
    int32_t feb = dv_date_days((struct dv_date){2028, 2, 29});
    assert_int_equal(dv_date_month(feb), feb - 28);
    assert_int_equal(dv_date_next_month(feb), feb + 1);
    assert_int_equal(DV_ZONE_DAY_MAX, dv_date_days((struct dv_date){2100, 12, 31}));
    assert_int_equal(DV_ZONE_UNIX_MAX, (DV_ZONE_DAY_MAX + 1) * INT64_C(86400));
}

static void test_summer_time_days(void **state)
{
    int32_t spring = dv_date_days((struct dv_date){2026, 3, 29});
    int32_t autumn = dv_date_days((struct dv_date){2026, 10, 25});
    assert_int_equal(dv_zone_day_start(&berlin, spring + 1) - dv_zone_day_start(&berlin, spring),
                     23 * 3600);
    assert_int_equal(dv_zone_day_start(&berlin, autumn + 1) - dv_zone_day_start(&berlin, autumn),
                     25 * 3600);
    assert_int_equal(dv_zone_day_start(&berlin, autumn) - dv_zone_day_start(&berlin, autumn - 1),
                     24 * 3600);
    /* 02:30 does not come: it is when it is skipped. 02:30 in autumn comes twice: the first. */
    assert_int_equal(dv_zone_unix(&berlin, spring, 9000), 1774746000);
    assert_int_equal(dv_zone_unix(&berlin, autumn, 9000), 1792890000 - 1800);
    assert_int_equal(dv_zone_second(&berlin, 1792890000 + 1800), 9000);
    assert_int_equal(dv_zone_next_change(&berlin, 1774746000 - 1), 1774746000);
    assert_int_equal(dv_zone_next_change(&berlin, 1774746000), 1792890000);
    assert_true(dv_zone_next_change(&berlin, 1792890000) == INT64_MAX);
}

/* Midnight itself is skipped (Cairo) or comes twice (Havana): a day begins once. */
static void test_midnight_moves(void **state)
{
    struct dv_zone z = {.first_offset = 7200,
                        .n = 2,
                        .changes = {{10 * 86400 - 7200, 10800}, {20 * 86400 - 7200, 7200}}};
    assert_int_equal(dv_zone_day_start(&z, 10), 10 * 86400 - 7200);
    assert_int_equal(dv_zone_second(&z, 10 * 86400 - 7200), 3600);
    assert_int_equal(dv_zone_day_start(&z, 20), 20 * 86400 - 10800);
    struct dv_zone back = {.first_offset = 0, .n = 1, .changes = {{86400, -3600}}};
    assert_int_equal(dv_zone_day_start(&back, 1), 86400 + 3600);
}

/* Days tile time: every instant is in the day whose start is at or before it. */
static void test_days_tile(void **state)
{
    struct dv_rng rng = {31};
    for (int round = 0; round < 3000; round++) {
        struct dv_zone z = {.first_offset = (int32_t)dv_rng_below(&rng, 100000) - 50000};
        int64_t t = 0;
        z.n = (uint32_t)dv_rng_below(&rng, 8);
        for (uint32_t i = 0; i < z.n; i++) {
            t += 200000 + (int64_t)dv_rng_below(&rng, 5000000);
            z.changes[i] = (struct dv_zone_change){t, (int32_t)dv_rng_below(&rng, 9) * 1800 - 7200};
        }
        assert_int_equal(dv_zone_check(&z, NULL), 0);
        for (int i = 0; i < 20; i++) {
            int64_t x = (int64_t)dv_rng_below(&rng, 40000000);
            int32_t day = dv_zone_day(&z, x);
            assert_true(dv_zone_day_start(&z, day) <= x);
            int64_t next = dv_zone_day_start(&z, day + 1);
            assert_true(next > dv_zone_day_start(&z, day));
            /* Only where a clock goes back over midnight is a day seen again after its end. */
            if (next <= x)
                assert_true(dv_zone_day(&z, next) == day + 1);
        }
    }
}

static void test_text(void **state)
{
    char buf[DV_ZONE_TEXT];
    int64_t t;
    int32_t day;
    assert_int_equal(at(&berlin, "2026-03-29"), 1774738800);
    assert_int_equal(at(&berlin, "2026-03"), 1772319600);
    assert_int_equal(at(&utc, "2026"), 1767225600);
    assert_int_equal(at(&berlin, "2026-03-29T14:30"), at(&utc, "2026-03-29T12:30:00Z"));
    assert_int_equal(at(&berlin, "2026-03-29 14:30:15+0000"), at(&utc, "2026-03-29T14:30:15"));
    assert_int_equal(at(&berlin, "2026-03-29T14:30-03:30"), at(&utc, "2026-03-29T18:00"));
    assert_int_equal(at(&berlin, "1774738800"), 1774738800);
    assert_string_equal(dv_zone_format(&berlin, 1774746000, buf), "2026-03-29T03:00:00+02:00");
    assert_string_equal(dv_zone_format(&utc, 0, buf), "1970-01-01T00:00:00Z");
    assert_string_equal(dv_date_format(dv_zone_day(&berlin, 1774738800), buf), "2026-03-29");
    static const char *const bad[] = {"",
                                      "2026-3",
                                      "2026-02-30",
                                      "26-01-01",
                                      "2026-01-01T",
                                      "2026-01-01T25:00",
                                      "2026-13",
                                      "yesterday",
                                      "2026-01-01x",
                                      "1969",
                                      "2101-01-01",
                                      "99999999999",
                                      "2026-01-01T00:00+25:00"};
    for (size_t i = 0; i < DV_ARRAY_SIZE(bad); i++) {
        struct dv_err err = {{0}};
        assert_true(dv_zone_parse(&utc, bad[i], &t, &err) < 0);
        assert_true(err.msg[0]);
        assert_true(dv_date_parse(bad[i], &day, &err) < 0);
    }
    assert_int_equal(dv_date_parse("2028-02-29", &day, NULL), 0);
}

static void test_check(void **state)
{
    struct dv_zone z = berlin;
    assert_int_equal(dv_zone_check(&z, NULL), 0);
    z.changes[1].at = z.changes[0].at;
    assert_int_equal(dv_zone_check(&z, NULL), -EINVAL);
    z = berlin;
    z.changes[0].offset = 100000;
    assert_int_equal(dv_zone_check(&z, NULL), -EINVAL);
    z = berlin;
    z.n = DV_ZONE_CHANGES_MAX + 1;
    assert_int_equal(dv_zone_check(&z, NULL), -EINVAL);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_dates),          cmocka_unit_test(test_summer_time_days),
        cmocka_unit_test(test_midnight_moves), cmocka_unit_test(test_days_tile),
        cmocka_unit_test(test_text),           cmocka_unit_test(test_check),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
