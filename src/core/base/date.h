/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Dates of the Gregorian calendar in UTC, without a C library's opinion of time zones.
 *
 *     struct dv_date d = dv_date_of(1795651200);           2026-11-26 00:00:00
 *     dv_date_unix(&(struct dv_date){2026, 12, 1, 0, 0, 0})
 */
#ifndef DV_BASE_DATE_H
#define DV_BASE_DATE_H

#include <stdbool.h>
#include <stdint.h>

struct dv_date {
    int year;       /* 1970 .. 9999 */
    unsigned month; /* 1 .. 12 */
    unsigned day;   /* 1 .. 31 */
    unsigned hour, minute, second;
};

#define DV_DATE_UNIX_MAX INT64_C(253402300799) /* 9999-12-31T23:59:59Z */

/* unix is cut to [0, DV_DATE_UNIX_MAX]. */
struct dv_date dv_date_of(int64_t unix);
/* Month and day may lie outside of their range: month 13 is January of the next year. */
int64_t dv_date_unix(const struct dv_date *date);
/* Is there such a day and such a time of day? (No leap seconds.) */
bool dv_date_valid(const struct dv_date *date);

#define DV_DATE_TEXT 24
/* "2026-11-26T00:00:00Z". Returns buf. */
const char *dv_date_format(int64_t unix, char buf[DV_DATE_TEXT]);

#endif
