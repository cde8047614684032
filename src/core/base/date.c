/* SPDX-License-Identifier: Apache-2.0 */
#include "base/date.h"

#include <stdio.h>

#define DAY_S 86400
#define ERA_DAYS 146097 /* of 400 years */

/* Days since 1970-01-01 of a day of the calendar; years begin in March, so that the leap day is
 * their last. */
static int64_t days_of(int64_t year, int64_t month, int64_t day)
{
    int64_t months = month - 1;
    year += months / 12 - (months % 12 < 0);
    months = (months % 12 + 12) % 12;
    int64_t y = months < 2 ? year - 1 : year;
    int64_t era = (y >= 0 ? y : y - 399) / 400;
    int64_t of_era = y - era * 400;
    int64_t of_year = (153 * ((months + 10) % 12) + 2) / 5 + day - 1;
    return era * ERA_DAYS + of_era * 365 + of_era / 4 - of_era / 100 + of_year - 719468;
}

struct dv_date dv_date_of(int64_t unix)
{
    unix = unix < 0 ? 0 : unix > DV_DATE_UNIX_MAX ? DV_DATE_UNIX_MAX : unix;
    int64_t z = unix / DAY_S + 719468;
    int64_t era = z / ERA_DAYS;
    int64_t of_era = z % ERA_DAYS;
    int64_t year = (of_era - of_era / 1460 + of_era / 36524 - of_era / 146096) / 365;
    int64_t of_year = of_era - (365 * year + year / 4 - year / 100);
    int64_t march = (5 * of_year + 2) / 153;
    int64_t month = march < 10 ? march + 3 : march - 9;
    int64_t rest = unix % DAY_S;
    return (struct dv_date){(int)(year + era * 400 + (month <= 2)),
                            (unsigned)month,
                            (unsigned)(of_year - (153 * march + 2) / 5 + 1),
                            (unsigned)(rest / 3600),
                            (unsigned)(rest / 60 % 60),
                            (unsigned)(rest % 60)};
}

int64_t dv_date_unix(const struct dv_date *d)
{
    return days_of(d->year, d->month, d->day) * DAY_S + (int64_t)d->hour * 3600 +
           (int64_t)d->minute * 60 + d->second;
}

bool dv_date_valid(const struct dv_date *d)
{
    if (d->year < 1970 || d->year > 9999 || d->month < 1 || d->month > 12 || d->day < 1)
        return false;
    if (d->hour > 23 || d->minute > 59 || d->second > 59)
        return false;
    return d->day <= (unsigned)(days_of(d->year, (int64_t)d->month + 1, 1) -
                                days_of(d->year, d->month, 1));
}

const char *dv_date_format(int64_t unix, char buf[DV_DATE_TEXT])
{
    struct dv_date d = dv_date_of(unix);
    snprintf(buf, DV_DATE_TEXT, "%04u-%02u-%02uT%02u:%02u:%02uZ", (unsigned)d.year % 10000,
             d.month % 100, d.day % 100, d.hour % 100, d.minute % 100, d.second % 100);
    return buf;
}
