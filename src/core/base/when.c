/* SPDX-License-Identifier: Apache-2.0 */
#include "base/when.h"

#include "base/str.h"

#include <errno.h>
#include <string.h>

#define MINUTE_S 60
#define NONE INT64_MIN
#define AGO_MAX_S INT64_C(3155760000) /* a hundred years */

static int64_t month_start(const struct dv_zone *zone, int32_t day)
{
    return dv_zone_day_start(zone, dv_date_month(day));
}

/* 1: it is such a name. */
static int parse_name(const struct dv_zone *zone, int64_t now, const char *text, int64_t *ret,
                      int64_t *ret_end)
{
    int32_t today = dv_zone_day(zone, now);
    *ret_end = NONE;
    if (!strcmp(text, "now")) {
        *ret = now;
    } else if (!strcmp(text, "today")) {
        *ret = dv_zone_day_start(zone, today);
    } else if (!strcmp(text, "yesterday")) {
        *ret = dv_zone_day_start(zone, today - 1);
        *ret_end = dv_zone_day_start(zone, today);
    } else if (!strcmp(text, "this-month")) {
        *ret = month_start(zone, today);
    } else if (!strcmp(text, "last-month")) {
        *ret = month_start(zone, dv_date_month(today) - 1);
        *ret_end = month_start(zone, today);
    } else {
        return 0;
    }
    return 1;
}

static int parse_ago(int64_t now, const char *text, int64_t *ret, struct dv_err *err)
{
    int64_t n = 0, unit;
    const char *p = text + 1;
    for (; *p >= '0' && *p <= '9' && n <= AGO_MAX_S; p++)
        n = n * 10 + (*p - '0');
    unit = *p == 'm' ? 60 : *p == 'h' ? 3600 : *p == 'd' ? 86400 : *p == 'w' ? 7 * 86400 : 0;
    if (p == text + 1 || !unit || p[1])
        return dv_err_set(err, -EINVAL, "'%.40s' is no time before now: -7d, -12h, -90m, -2w",
                          text);
    if (n > AGO_MAX_S / unit || now - n * unit < 0)
        return dv_err_set(err, -ERANGE, "'%.40s' lies before 1970", text);
    *ret = now - n * unit;
    return 0;
}

static int suggest(const char *text, struct dv_err *err)
{
    static const char *const names[] = {"now", "today", "yesterday", "this-month", "last-month"};
    const char *near = dv_str_nearest(text, names, DV_ARRAY_SIZE(names));
    return near ? dv_err_set(err, -EINVAL, "'%.40s' is no time; did you mean '%s'?", text, near)
                : dv_err_set(err, -EINVAL,
                             "'%.40s' is no time: 2026-11, 2026-11-01, 2026-11-01T14:30:00Z, "
                             "yesterday, last-month, -7d",
                             text);
}

int dv_when_parse(const struct dv_zone *zone, int64_t now_unix, const char *text, int64_t *ret_unix,
                  int64_t *ret_end, struct dv_err *err)
{
    int64_t at = 0, end = NONE;
    int r = 0;
    if (parse_name(zone, now_unix, text, &at, &end)) {
        *ret_unix = at;
        *ret_end = end;
        return 0;
    }
    if (text[0] == '-')
        r = parse_ago(now_unix, text, &at, err);
    else if (text[0] >= '0' && text[0] <= '9')
        r = dv_zone_parse(zone, text, &at, err);
    else
        r = suggest(text, err);
    if (r < 0)
        return r;
    if (strlen(text) == 7 && text[4] == '-') /* a month */
        end = dv_zone_day_start(zone, dv_date_next_month(dv_zone_day(zone, at)));
    *ret_unix = at;
    *ret_end = end;
    return 0;
}

static int64_t whole_minute(int64_t unix_s, bool up)
{
    int64_t over = unix_s % MINUTE_S;
    return unix_s - over + (up && over ? MINUTE_S : 0);
}

int dv_when_range(const struct dv_zone *zone, int64_t now_unix, const char *from, const char *to,
                  int64_t *ret_from, int64_t *ret_to, struct dv_err *err)
{
    int64_t begin, end = now_unix, whole, unused;
    int r = dv_when_parse(zone, now_unix, from ? from : "this-month", &begin, &whole, err);
    if (r == 0 && to)
        r = dv_when_parse(zone, now_unix, to, &end, &unused, err);
    else if (r == 0 && whole != NONE)
        end = whole;
    if (r < 0)
        return r;
    begin = whole_minute(begin, false);
    end = whole_minute(end, true);
    if (begin < end) {
        *ret_from = begin;
        *ret_to = end;
        return 0;
    }
    char a[DV_ZONE_TEXT], b[DV_ZONE_TEXT];
    dv_zone_format(zone, begin, a);
    dv_zone_format(zone, end, b);
    if (begin == end)
        return dv_err_set(err, -EINVAL, "there is no time between from (%s) and to (%s)", a, b);
    return dv_err_set(err, -EINVAL, "from (%s) lies after to (%s)", a, b);
}
