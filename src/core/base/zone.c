/* SPDX-License-Identifier: Apache-2.0 */
#include "base/zone.h"

#include "base/units.h"

#include <errno.h>
#include <inttypes.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define DAY_S 86400
#define FAR (INT64_C(1) << 40) /* beyond any date that is kept, and its days fit 32 bits */

static int64_t floor_div(int64_t a, int64_t b)
{
    int64_t q = a / b;
    return q * b > a ? q - 1 : q;
}

int dv_zone_check(const struct dv_zone *zone, struct dv_err *err)
{
    if (memchr(zone->name, 0, sizeof zone->name) == NULL)
        return dv_err_set(err, -EINVAL, "a time zone's name does not end");
    for (const char *p = zone->name; *p; p++)
        if (*p <= ' ' || *p > '~')
            return dv_err_set(err, -EINVAL, "a time zone's name has letters that do not print");
    if (zone->n > DV_ZONE_CHANGES_MAX)
        return dv_err_set(err, -EINVAL, "time zone %s: %u changes, at most %u", zone->name, zone->n,
                          DV_ZONE_CHANGES_MAX);
    if (abs(zone->first_offset) > DV_ZONE_OFFSET_MAX)
        return dv_err_set(err, -EINVAL, "time zone %s: more than a day from UTC", zone->name);
    for (uint32_t i = 0; i < zone->n; i++) {
        const struct dv_zone_change *c = &zone->changes[i];
        if (c->offset < -DV_ZONE_OFFSET_MAX || c->offset > DV_ZONE_OFFSET_MAX)
            return dv_err_set(err, -EINVAL, "time zone %s: more than a day from UTC", zone->name);
        if (c->at < -FAR || c->at > FAR || (i && c->at <= c[-1].at))
            return dv_err_set(err, -EINVAL, "time zone %s: its changes are out of order",
                              zone->name);
    }
    return 0;
}

/* How many changes are at or before the instant. */
static uint32_t changes_until(const struct dv_zone *zone, int64_t unix_s)
{
    uint32_t lo = 0, hi = zone->n;
    while (lo < hi) {
        uint32_t mid = lo + (hi - lo) / 2;
        if (zone->changes[mid].at <= unix_s)
            lo = mid + 1;
        else
            hi = mid;
    }
    return lo;
}

static int32_t offset_of(const struct dv_zone *zone, uint32_t segment)
{
    return segment ? zone->changes[segment - 1].offset : zone->first_offset;
}

int32_t dv_zone_offset(const struct dv_zone *zone, int64_t unix_s)
{
    return offset_of(zone, changes_until(zone, unix_s));
}

int64_t dv_zone_next_change(const struct dv_zone *zone, int64_t unix_s)
{
    uint32_t i = changes_until(zone, unix_s);
    return i < zone->n ? zone->changes[i].at : INT64_MAX;
}

static int64_t local_seconds(const struct dv_zone *zone, int64_t unix_s)
{
    int64_t t = unix_s < -FAR ? -FAR : unix_s > FAR ? FAR : unix_s;
    return t + dv_zone_offset(zone, t);
}

int32_t dv_zone_day(const struct dv_zone *zone, int64_t unix_s)
{
    return (int32_t)floor_div(local_seconds(zone, unix_s), DAY_S);
}

int32_t dv_zone_second(const struct dv_zone *zone, int64_t unix_s)
{
    int64_t local = local_seconds(zone, unix_s);
    return (int32_t)(local - floor_div(local, DAY_S) * DAY_S);
}

int64_t dv_zone_unix(const struct dv_zone *zone, int32_t day, int32_t second)
{
    int64_t wall = (int64_t)day * DAY_S + second;
    uint32_t i = changes_until(zone, wall - DV_ZONE_OFFSET_MAX - 1);
    for (;; i++) {
        int64_t t = wall - offset_of(zone, i);
        if (i && t < zone->changes[i - 1].at)
            t = zone->changes[i - 1].at;
        if (i == zone->n || t < zone->changes[i].at)
            return t;
    }
}

int64_t dv_zone_day_start(const struct dv_zone *zone, int32_t day)
{
    return dv_zone_unix(zone, day, 0);
}

/* ---- the calendar ---- */

/* Years are counted from March, so that the leap day is a year's last. */
int32_t dv_date_days(struct dv_date date)
{
    int64_t y = (int64_t)date.year - (date.month <= 2);
    int64_t m = date.month + (date.month <= 2 ? 9 : -3); /* 0: March */
    int64_t of_year = (153 * m + 2) / 5 + date.day - 1;
    int64_t leaps = floor_div(y, 4) - floor_div(y, 100) + floor_div(y, 400);
    return (int32_t)(y * 365 + leaps + of_year - 719468);
}

struct dv_date dv_date_of(int32_t days)
{
    int64_t z = (int64_t)days + 719468; /* since 0000-03-01 */
    int64_t y = floor_div(z * 400, 146097);
    /* The estimate is a year too late at most, around the end of February. */
    int64_t start = y * 365 + floor_div(y, 4) - floor_div(y, 100) + floor_div(y, 400);
    while (start > z || z - start > 365) {
        y += start > z ? -1 : 1;
        start = y * 365 + floor_div(y, 4) - floor_div(y, 100) + floor_div(y, 400);
    }
    int64_t next =
        (y + 1) * 365 + floor_div(y + 1, 4) - floor_div(y + 1, 100) + floor_div(y + 1, 400);
    if (next <= z) {
        y++;
        start = next;
    }
    int64_t of_year = z - start, m = (5 * of_year + 2) / 153;
    return (struct dv_date){(int32_t)(y + (m >= 10)), (int32_t)(m < 10 ? m + 3 : m - 9),
                            (int32_t)(of_year - (153 * m + 2) / 5 + 1)};
}

int32_t dv_date_month(int32_t days)
{
    return days - dv_date_of(days).day + 1;
}

int32_t dv_date_next_month(int32_t days)
{
    return dv_date_month(dv_date_month(days) + 31);
}

uint32_t dv_date_weekday(int32_t days)
{
    return (uint32_t)(((int64_t)days + 3 + 7 * INT64_C(1000000000)) % 7); /* 1970-01-01: Thursday */
}

/* ---- text ---- */

/* `digits` digits at *p, which moves past them. */
static bool number(const char **p, int digits, int32_t min, int32_t max, int32_t *ret)
{
    int32_t v = 0;
    for (int i = 0; i < digits; i++, (*p)++) {
        if (**p < '0' || **p > '9')
            return false;
        v = v * 10 + (**p - '0');
    }
    *ret = v;
    return v >= min && v <= max;
}

static bool letter(const char **p, char c)
{
    if (**p != c)
        return false;
    (*p)++;
    return true;
}

static bool is_date(struct dv_date d)
{
    struct dv_date back = dv_date_of(dv_date_days(d));
    return back.year == d.year && back.month == d.month && back.day == d.day;
}

int dv_date_parse(const char *text, int32_t *ret_days, struct dv_err *err)
{
    struct dv_date d;
    const char *p = text;
    bool ok = number(&p, 4, DV_ZONE_YEAR_MIN, DV_ZONE_YEAR_MAX, &d.year) && letter(&p, '-') &&
              number(&p, 2, 1, 12, &d.month) && letter(&p, '-') && number(&p, 2, 1, 31, &d.day) &&
              !*p;
    if (!ok)
        return dv_err_set(err, -EINVAL, "\"%.40s\" is no day; write YYYY-MM-DD, %d to %d", text,
                          DV_ZONE_YEAR_MIN, DV_ZONE_YEAR_MAX);
    if (!is_date(d))
        return dv_err_set(err, -EINVAL, "\"%.40s\" is no day: that month is shorter", text);
    *ret_days = dv_date_days(d);
    return 0;
}

const char *dv_date_format(int32_t days, char buf[DV_ZONE_TEXT])
{
    struct dv_date d = dv_date_of(days);
    snprintf(buf, DV_ZONE_TEXT, "%04d-%02d-%02d", d.year, d.month, d.day);
    return buf;
}

const char *dv_zone_format(const struct dv_zone *zone, int64_t unix_s, char buf[DV_ZONE_TEXT])
{
    struct dv_date d = dv_date_of(dv_zone_day(zone, unix_s));
    int32_t s = dv_zone_second(zone, unix_s), offset = dv_zone_offset(zone, unix_s);
    int n = snprintf(buf, DV_ZONE_TEXT, "%04d-%02d-%02dT%02d:%02d:%02d", d.year, d.month, d.day,
                     s / 3600, s / 60 % 60, s % 60);
    if (n < 0 || n >= DV_ZONE_TEXT)
        return buf;
    if (!offset)
        snprintf(buf + n, DV_ZONE_TEXT - (size_t)n, "Z");
    else
        snprintf(buf + n, DV_ZONE_TEXT - (size_t)n, "%c%02d:%02d", offset < 0 ? '-' : '+',
                 abs(offset) / 3600, abs(offset) / 60 % 60);
    return buf;
}

static bool parse_clock(const char **p, int32_t *ret_second)
{
    int32_t h = 0, m = 0, s = 0;
    bool ok = number(p, 2, 0, 23, &h) && letter(p, ':') && number(p, 2, 0, 59, &m);
    if (ok && letter(p, ':'))
        ok = number(p, 2, 0, 59, &s);
    *ret_second = h * 3600 + m * 60 + s;
    return ok;
}

/* "Z", "+02:00", "-0330", or nothing: *ret_known is false. */
static bool parse_offset(const char **p, bool *ret_known, int32_t *ret_offset)
{
    int32_t h = 0, m = 0;
    int sign = **p == '-' ? -1 : 1;
    *ret_known = true;
    *ret_offset = 0;
    if (letter(p, 'Z') || letter(p, 'z'))
        return true;
    if (!letter(p, '+') && !letter(p, '-')) {
        *ret_known = false;
        return true;
    }
    bool ok = number(p, 2, 0, 23, &h);
    letter(p, ':');
    ok = ok && number(p, 2, 0, 59, &m);
    *ret_offset = sign * (h * 3600 + m * 60);
    return ok;
}

static bool parse_calendar(const struct dv_zone *zone, const char *p, int64_t *ret)
{
    struct dv_date d = {0, 1, 1};
    int32_t second = 0, offset = 0;
    bool known = false;
    if (!number(&p, 4, DV_ZONE_YEAR_MIN, DV_ZONE_YEAR_MAX, &d.year))
        return false;
    if (*p && !(letter(&p, '-') && number(&p, 2, 1, 12, &d.month)))
        return false;
    if (*p && !(letter(&p, '-') && number(&p, 2, 1, 31, &d.day) && is_date(d)))
        return false;
    if (*p && !((letter(&p, 'T') || letter(&p, ' ')) && parse_clock(&p, &second) &&
                parse_offset(&p, &known, &offset) && !*p))
        return false;
    int32_t day = dv_date_days(d);
    *ret = known ? (int64_t)day * DAY_S + second - offset : dv_zone_unix(zone, day, second);
    return true;
}

int dv_zone_parse(const struct dv_zone *zone, const char *text, int64_t *ret_unix,
                  struct dv_err *err)
{
    size_t digits = strspn(text, "0123456789");
    if (digits > 4 && !text[digits])
        return dv_units_parse_integer(text, "time", 0, DV_ZONE_UNIX_MAX, ret_unix, err);
    if (parse_calendar(zone, text, ret_unix))
        return 0;
    return dv_err_set(err, -EINVAL,
                      "\"%.40s\" is no time; write 2026-03, 2026-03-29, 2026-03-29T14:30, the same "
                      "with Z or +02:00 behind it, or seconds since 1970",
                      text);
}
