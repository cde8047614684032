/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A range of time as people ask for it, in a place's local time:
 *
 *     r = dv_when_range(&zone, now, "last-month", NULL, &from, &to, &err);
 *
 * What dv_zone_parse() reads, and: now, today, yesterday, this-month, last-month; "-7d" is so long
 * before now (m, h, d, w; days are of 24 hours). A name means its beginning; from alone, a month
 * ("2026-11", last-month) or yesterday means all of it.
 */
#ifndef DV_BASE_WHEN_H
#define DV_BASE_WHEN_H

#include "base/zone.h"

/* One point. *ret_end: the end of what it names as a whole, or INT64_MIN when it names none.
 * 0, -EINVAL, -ERANGE with a message. */
int dv_when_parse(const struct dv_zone *zone, int64_t now_unix, const char *text, int64_t *ret_unix,
                  int64_t *ret_end, struct dv_err *err);

/*
 * from NULL: the beginning of this month; to NULL: the end of what from names, else now. Whole
 * minutes around what was asked, as the ledger has them: [*ret_from, *ret_to). 0; -EINVAL, -ERANGE
 * with a message, for a range the wrong way round one that shows both ends.
 */
int dv_when_range(const struct dv_zone *zone, int64_t now_unix, const char *from, const char *to,
                  int64_t *ret_from, int64_t *ret_to, struct dv_err *err);

#endif
