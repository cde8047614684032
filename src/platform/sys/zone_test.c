/* SPDX-License-Identifier: Apache-2.0 */
/* The zones of the machine that runs the test, against libc's own reading of them. */
#include "base/rng.h"
#include "sys/zone.h"

#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include <cmocka.h>

static const char *const zones[] = {
    "Europe/Berlin",   "America/New_York",    "America/Sao_Paulo", "Australia/Lord_Howe",
    "Asia/Kathmandu",  "Africa/Casablanca",   "America/Havana",    "Africa/Cairo",
    "Pacific/Apia",    "Antarctica/Troll",    "Europe/Dublin",     "Asia/Gaza",
    "America/Nuuk",    "Pacific/Kiritimati",  "Asia/Tehran",       "Etc/GMT+12",
    "America/Caracas", "Antarctica/Macquarie"};

static bool have_database(void)
{
    return access("/usr/share/zoneinfo/Europe/Berlin", R_OK) == 0;
}

static void test_like_libc(void **state)
{
    struct dv_rng rng = {5};
    if (!have_database())
        skip();
    for (size_t i = 0; i < DV_ARRAY_SIZE(zones); i++) {
        static struct dv_zone z;
        struct dv_err err = {{0}};
        if (dv_zone_load("/usr/share/zoneinfo", zones[i], &z, &err) < 0)
            fail_msg("%s", err.msg);
        setenv("TZ", zones[i], 1);
        tzset();
        for (int k = 0; k < 20000; k++) {
            time_t t = (time_t)dv_rng_below(&rng, DV_ZONE_UNIX_MAX - 86400 * 2);
            struct tm tm;
            /* Half of them at and around the changes. */
            if (k % 2 && z.n)
                t = z.changes[dv_rng_below(&rng, z.n)].at + (int)dv_rng_below(&rng, 5) - 2;
            if (t < 0)
                continue;
            localtime_r(&t, &tm);
            if (dv_zone_offset(&z, t) != tm.tm_gmtoff)
                fail_msg("%s at %lld: %d, libc says %ld", zones[i], (long long)t,
                         dv_zone_offset(&z, t), tm.tm_gmtoff);
        }
    }
    unsetenv("TZ");
    tzset();
}

static void expect(const char *dir, const char *name, int r, const char *part)
{
    static struct dv_zone z;
    struct dv_err err = {{0}};
    assert_int_equal(dv_zone_load(dir, name, &z, &err), r);
    if (!strstr(err.msg, part))
        fail_msg("\"%s\" is not in \"%s\"", part, err.msg);
}

static void test_unknown(void **state)
{
    static struct dv_zone z;
    assert_int_equal(dv_zone_load("/nonexistent", "UTC", &z, NULL), 0);
    assert_int_equal(z.n, 0);
    assert_string_equal(z.name, "UTC");
    expect("/nonexistent", "Europe/Berlin", -ENOENT, "tzdata");
    expect(NULL, "../../etc/passwd", -EINVAL, "no time zone's name");
    expect(NULL, "/etc/passwd", -EINVAL, "no time zone's name");
    expect(NULL, "", -EINVAL, "no time zone's name");
    if (!have_database())
        skip();
    expect("/usr/share/zoneinfo", "Europe/Berlim", -ENOENT, "did you mean \"Europe/Berlin\"?");
    expect("/usr/share/zoneinfo", "Kathmandu", -ENOENT, "did you mean \"Asia/Kathmandu\"?");
    expect("/usr/share/zoneinfo", "Europe", -ENOENT, "unknown time zone");
    expect("/usr/share/zoneinfo", "zone.tab", -EBADMSG, "broken");
}

/* Version 2: an empty first block, one change in the second, and the rule. */
static size_t build(unsigned char *to, const char *rule)
{
    static const unsigned char head[44] = {'T', 'Z', 'i', 'f', '2', [39] = 1, [43] = 4};
    size_t n = 0;
    memcpy(to, head, 44);
    n = 44;
    memset(to + n, 0, 6 + 4);
    n += 10;
    memcpy(to + n, head, 44);
    n += 44;
    memset(to + n, 0, 6 + 4);
    n += 10;
    n += (size_t)sprintf((char *)to + n, "\n%s\n", rule);
    return n;
}

static void test_rules(void **state)
{
    static struct dv_zone z;
    unsigned char file[512];
    static const char *const bad[] = {"XX0",
                                      "ABC",
                                      "ABC0DEF,",
                                      "ABC0DEF,M13.1.0,M1.1.0",
                                      "ABC0DEF,J1,J",
                                      "<AB0",
                                      "ABC0DEF,M1.0.0,M2.1.0",
                                      "ABC999",
                                      "ABC0DEF",
                                      "ABC0DEF,M3.2.0,M11.1.0x"};
    size_t n = build(file, "ABC-1DEF,M3.5.0,M10.5.0/3");
    assert_int_equal(dv_zone_decode("X", file, n, &z, NULL), 0);
    assert_int_equal(dv_zone_offset(&z, 1774746000), 7200);
    assert_int_equal(dv_zone_offset(&z, 1774746000 - 1), 3600);
    assert_int_equal(dv_zone_offset(&z, 1792890000), 3600);
    n = build(file, "XXX3EDT4,0/0,J365/23"); /* summer time all year: RFC 8536, 3.3.1 */
    assert_int_equal(dv_zone_decode("X", file, n, &z, NULL), 0);
    assert_int_equal(dv_zone_offset(&z, 1774746000), -4 * 3600);
    assert_int_equal(dv_zone_offset(&z, 1767225600 + 4 * 3600), -4 * 3600);
    for (size_t i = 0; i < DV_ARRAY_SIZE(bad); i++) {
        struct dv_err err = {{0}};
        n = build(file, bad[i]);
        if (dv_zone_decode("X", file, n, &z, &err) != -EBADMSG)
            fail_msg("%s was taken", bad[i]);
        assert_non_null(strstr(err.msg, "rule"));
    }
    /* Cut anywhere, it is broken, never read past its end (which the sanitizer sees). */
    n = build(file, "ABC-1DEF,M3.5.0,M10.5.0/3");
    for (size_t len = 0; len < n; len++) {
        unsigned char *exact = malloc(len ? len : 1);
        memcpy(exact, file, len);
        assert_int_equal(dv_zone_decode("X", exact, len, &z, NULL), -EBADMSG);
        free(exact);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_like_libc),
        cmocka_unit_test(test_unknown),
        cmocka_unit_test(test_rules),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
