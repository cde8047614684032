/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Local time as a value: a list of instants at which a place's distance from UTC changes. Days and
 * months of a bill, and the hours of a price, are those of such a place, with the 23 and the 25
 * hour days that summer time brings.
 *
 *     int32_t day = dv_zone_day(&zone, unix);          // local days since 1970-01-01
 *     int64_t midnight = dv_zone_day_start(&zone, day);
 *
 * Times are seconds since 1970 UTC without leap seconds. An all-zero zone is UTC. platform/sys/zone
 * reads one from the system's database.
 */
#ifndef DV_BASE_ZONE_H
#define DV_BASE_ZONE_H

#include "base/err.h"

#define DV_ZONE_NAME 64
#define DV_ZONE_CHANGES_MAX 512u
#define DV_ZONE_OFFSET_MAX 90000             /* seconds; RFC 8536 allows 25 hours east */
#define DV_ZONE_YEAR_MAX 2100                /* the years that dates and zones are kept for... */
#define DV_ZONE_YEAR_MIN 1970                /* ...from here */
#define DV_ZONE_DAY_MAX 47846                /* 2100-12-31, as days since 1970-01-01 */
#define DV_ZONE_UNIX_MAX INT64_C(4133980800) /* 2101-01-01 */

struct dv_zone {
    char name[DV_ZONE_NAME]; /* "Europe/Berlin"; "" is UTC */
    int32_t first_offset;    /* before the first change: local time is UTC + offset */
    uint32_t n;
    struct dv_zone_change {
        int64_t at; /* from this instant on */
        int32_t offset;
    } changes[DV_ZONE_CHANGES_MAX]; /* in order of time */
};

/* In order, within bounds, named with letters that print? 0, or -EINVAL with a message. */
int dv_zone_check(const struct dv_zone *zone, struct dv_err *err);

/* Seconds east of UTC at that instant. */
int32_t dv_zone_offset(const struct dv_zone *zone, int64_t unix_s);
/* The next change after the instant, INT64_MAX when none is known. */
int64_t dv_zone_next_change(const struct dv_zone *zone, int64_t unix_s);

/* The local day of an instant, in days since 1970-01-01. */
int32_t dv_zone_day(const struct dv_zone *zone, int64_t unix_s);
/* Seconds that the local clock shows past midnight: 0 .. 86399. */
int32_t dv_zone_second(const struct dv_zone *zone, int64_t unix_s);
/* The first instant at which the local clock shows that time or a later one. An hour that is
 * skipped begins when it is skipped; of an hour that comes twice, the first is meant. */
int64_t dv_zone_unix(const struct dv_zone *zone, int32_t day, int32_t second);
int64_t dv_zone_day_start(const struct dv_zone *zone, int32_t day);

/* ---- the calendar (Gregorian) ---- */

struct dv_date {
    int32_t year, month, day; /* month 1..12, day 1..31 */
};
int32_t dv_date_days(struct dv_date date); /* days since 1970-01-01 */
struct dv_date dv_date_of(int32_t days);
/* The first day of this day's month, and of the month after. */
int32_t dv_date_month(int32_t days);
int32_t dv_date_next_month(int32_t days);
/* 0: Monday .. 6: Sunday. */
uint32_t dv_date_weekday(int32_t days);
/* "2026-03-29". -EINVAL for what is no day ("2026-02-30"). */
int dv_date_parse(const char *text, int32_t *ret_days, struct dv_err *err);

#define DV_ZONE_TEXT 32
/* "2026-03-29" and "2026-03-29T01:00:00+01:00"; a whole UTC is "...Z". Return buf. */
const char *dv_date_format(int32_t days, char buf[DV_ZONE_TEXT]);
const char *dv_zone_format(const struct dv_zone *zone, int64_t unix_s, char buf[DV_ZONE_TEXT]);

/*
 * A time as people write it: "2026-03" and "2026-03-29" (the local midnight with which they begin),
 * "2026-03-29T14:30[:15]" (a blank does for the T) in local time, the same with "Z" or "+02:00", or
 * seconds since 1970. 0, -EINVAL, -ERANGE with a message.
 */
int dv_zone_parse(const struct dv_zone *zone, const char *text, int64_t *ret_unix,
                  struct dv_err *err);

#endif
