/* SPDX-License-Identifier: Apache-2.0 */
#include "account/price.h"

#include "base/str.h"
#include "model/gpu_model.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

#define DAY_S 86400

struct dv_price_list *dv_price_list_new(void)
{
    return calloc(1, sizeof(struct dv_price_list));
}

void dv_price_list_free(struct dv_price_list *list)
{
    if (!list)
        return;
    free(list->rules);
    free(list->fees);
    free(list);
}

void dv_price_list_freep(struct dv_price_list **list)
{
    dv_price_list_free(*list);
}

/* Room for one more: arrays grow at powers of two. */
static void *grown(void *array, uint32_t n, size_t size)
{
    return n & (n - 1) || n == 1 ? array : realloc(array, (n ? 2 * (size_t)n : 2) * size);
}

int dv_price_add_rule(struct dv_price_list *list, const struct dv_price_rule *rule,
                      struct dv_err *err)
{
    if (list->n_rules == DV_PRICE_RULES_MAX)
        return dv_err_set(err, -E2BIG, "at most %u prices", DV_PRICE_RULES_MAX);
    struct dv_price_rule *rules = grown(list->rules, list->n_rules, sizeof *rules);
    if (!rules)
        return -ENOMEM;
    list->rules = rules;
    rules[list->n_rules++] = *rule;
    return 0;
}

int dv_price_add_fee(struct dv_price_list *list, const struct dv_price_fee *fee, struct dv_err *err)
{
    if (list->n_fees == DV_PRICE_FEES_MAX)
        return dv_err_set(err, -E2BIG, "at most %u fees", DV_PRICE_FEES_MAX);
    struct dv_price_fee *fees = grown(list->fees, list->n_fees, sizeof *fees);
    if (!fees)
        return -ENOMEM;
    list->fees = fees;
    fees[list->n_fees++] = *fee;
    return 0;
}

/* ---- which rule ---- */

/* "NVIDIA A100-PCIE-40GB": the driver's product names have the maker before what the catalogue
 * knows. */
static const struct dv_gpu_model *known_model(const char *text)
{
    const struct dv_gpu_model *m = dv_gpu_model_find(text, NULL);
    if (!m && !strncasecmp(text, "NVIDIA ", 7))
        m = dv_gpu_model_find(text + 7, NULL);
    return m;
}

static bool same_model(const char *a, const char *b)
{
    if (!strcasecmp(a, b))
        return true;
    const struct dv_gpu_model *m = known_model(a);
    return m && m == known_model(b);
}

/* Which of the keys a rule names, the weightiest as the highest bit: a larger number wins. */
static uint32_t weight(const struct dv_price_rule *r)
{
    return (uint32_t)(r->tenant[0] != 0) << 5 | (uint32_t)(r->model[0] != 0) << 4 |
           (uint32_t)(r->whole || r->profile[0]) << 3 | (uint32_t)r->has_mode << 2 |
           (uint32_t)r->has_tier << 1 | (uint32_t)(r->n_hours != 0);
}

static bool is_of(const struct dv_price_rule *r, const struct dv_account *a)
{
    return (!r->has_mode || r->mode == a->mode) &&
           (!r->has_tier || (a->tenant[0] && r->tier == a->tier)) &&
           (!r->tenant[0] || !strcmp(r->tenant, a->tenant)) && (!r->whole || !a->profile[0]) &&
           (!r->profile[0] || !strcmp(r->profile, a->profile)) &&
           (!r->model[0] || same_model(r->model, a->model));
}

/* The time of day of an instant, and what it could be seen to change at. */
struct clock {
    uint32_t weekday;
    int32_t second;
};

static bool within(const struct dv_price_hours *h, const struct clock *c)
{
    uint32_t yesterday = (c->weekday + 6) % 7;
    if (h->from_s < h->to_s)
        return (h->days >> c->weekday & 1) && c->second >= h->from_s && c->second < h->to_s;
    return ((h->days >> c->weekday & 1) && c->second >= h->from_s) ||
           ((h->days >> yesterday & 1) && c->second < h->to_s);
}

/* Seconds until the local clock next comes to an edge of the hours, midnight included. */
static int32_t until_edge(const struct dv_price_hours *h, int32_t second)
{
    int32_t edge = DAY_S;
    if (h->from_s > second)
        edge = DV_MIN(edge, h->from_s);
    if (h->to_s > second)
        edge = DV_MIN(edge, h->to_s);
    return edge - second;
}

void dv_price_span_unix(const struct dv_price_list *list, const struct dv_price_span *span,
                        int64_t *ret_from, int64_t *ret_to)
{
    *ret_from =
        span->from_day == INT32_MIN ? INT64_MIN : dv_zone_day_start(&list->zone, span->from_day);
    *ret_to = span->to_day == INT32_MAX ? INT64_MAX : dv_zone_day_start(&list->zone, span->to_day);
}

/* Does the rule apply at t, its account being right? *until is lowered to when that may change. */
static bool in_force(const struct dv_price_list *list, const struct dv_price_rule *r, int64_t t,
                     int64_t *until)
{
    int64_t from, to;
    dv_price_span_unix(list, &r->span, &from, &to);
    if (t < from) {
        *until = DV_MIN(*until, from);
        return false;
    }
    if (t >= to)
        return false;
    *until = DV_MIN(*until, to);
    if (!r->n_hours)
        return true;
    const struct clock c = {dv_date_weekday(dv_zone_day(&list->zone, t)),
                            dv_zone_second(&list->zone, t)};
    bool ok = false;
    for (uint32_t i = 0; i < r->n_hours; i++) {
        ok = ok || within(&r->hours[i], &c);
        *until = DV_MIN(*until, t + until_edge(&r->hours[i], c.second));
    }
    *until = DV_MIN(*until, dv_zone_next_change(&list->zone, t));
    return ok;
}

const struct dv_price_rule *dv_price_find(const struct dv_price_list *list,
                                          const struct dv_account *account, int64_t unix_s,
                                          int64_t *ret_until)
{
    const struct dv_price_rule *best = NULL;
    int64_t until = INT64_MAX;
    for (uint32_t i = 0; i < list->n_rules; i++) {
        const struct dv_price_rule *r = &list->rules[i];
        if (!is_of(r, account) || !in_force(list, r, unix_s, &until))
            continue;
        if (!best || weight(r) > weight(best))
            best = r;
    }
    *ret_until = until;
    return best;
}

/* ---- is the list sound? ---- */

static bool spans_meet(const struct dv_price_span *a, const struct dv_price_span *b)
{
    return a->from_day < b->to_day && b->from_day < a->to_day;
}

/* Hours of a week as pieces [from, to) from Monday 00:00, at most two each (over Sunday night). */
static bool hours_meet(const struct dv_price_hours *a, const struct dv_price_hours *b)
{
    for (uint32_t i = 0; i < 7; i++) {
        for (uint32_t k = 0; k < 7; k++) {
            if (!(a->days >> i & 1) || !(b->days >> k & 1))
                continue;
            int32_t a0 = (int32_t)i * DAY_S + a->from_s, b0 = (int32_t)k * DAY_S + b->from_s;
            int32_t a1 = (int32_t)i * DAY_S + a->to_s + (a->to_s <= a->from_s ? DAY_S : 0);
            int32_t b1 = (int32_t)k * DAY_S + b->to_s + (b->to_s <= b->from_s ? DAY_S : 0);
            for (int32_t week = -7 * DAY_S; week <= 7 * DAY_S; week += 7 * DAY_S)
                if (a0 + week < b1 && b0 < a1 + week)
                    return true;
        }
    }
    return false;
}

static bool times_meet(const struct dv_price_rule *a, const struct dv_price_rule *b)
{
    if (!spans_meet(&a->span, &b->span))
        return false;
    for (uint32_t i = 0; i < a->n_hours; i++)
        for (uint32_t k = 0; k < b->n_hours; k++)
            if (hours_meet(&a->hours[i], &b->hours[k]))
                return true;
    return !a->n_hours;
}

/* Of the same weight: do they tie for some account at some instant? */
static bool tie(const struct dv_price_rule *a, const struct dv_price_rule *b)
{
    return weight(a) == weight(b) && a->whole == b->whole && a->mode == b->mode &&
           a->tier == b->tier && !strcmp(a->tenant, b->tenant) && !strcmp(a->profile, b->profile) &&
           same_model(a->model, b->model) && times_meet(a, b);
}

static int check_span(const struct dv_price_span *s, struct dv_err *err)
{
    if ((s->from_day != INT32_MIN && (s->from_day < 0 || s->from_day > DV_ZONE_DAY_MAX)) ||
        (s->to_day != INT32_MAX && (s->to_day < 0 || s->to_day > DV_ZONE_DAY_MAX)))
        return dv_err_set(err, -EINVAL, "a day of validity is not between 1970 and 2100");
    if (s->from_day >= s->to_day)
        return dv_err_set(err, -EINVAL,
                          "valid from a day on which it has ended; `to` is the first day that is "
                          "not in it");
    return 0;
}

static int check_rule(const struct dv_price_rule *r, struct dv_err *err)
{
    if (r->micros_per_hour < 0 || r->micros_per_hour > DV_PRICE_MICROS_MAX)
        return dv_err_set(err, -EINVAL, "a price per hour is from 0 to a million");
    if (r->whole && r->profile[0])
        return dv_err_set(err, -EINVAL, "a whole GPU has no MIG profile");
    if ((!r->has_mode && r->mode) || (!r->has_tier && r->tier))
        return dv_err_set(err, -EINVAL, "a mode or tier that is not said to count");
    if (r->n_hours > DV_PRICE_HOURS_MAX)
        return dv_err_set(err, -EINVAL, "at most %u hours of a day", DV_PRICE_HOURS_MAX);
    for (uint32_t i = 0; i < r->n_hours; i++) {
        const struct dv_price_hours *h = &r->hours[i];
        if (!(h->days & DV_PRICE_DAYS_ALL) || h->days & ~DV_PRICE_DAYS_ALL || h->from_s < 0 ||
            h->from_s >= DAY_S || h->to_s < 0 || h->to_s > DAY_S)
            return dv_err_set(err, -EINVAL, "hours that are none of a day");
    }
    return check_span(&r->span, err);
}

/* A line, or a place in the list where there is no file. */
static unsigned place(uint32_t line, uint32_t i)
{
    return line ? line : i + 1;
}

static int check_rules(const struct dv_price_list *list, uint32_t *ret_line, struct dv_err *err)
{
    const struct dv_price_rule *r = list->rules;
    for (uint32_t i = 0; i < list->n_rules; i++) {
        *ret_line = r[i].line;
        if (check_rule(&r[i], err) < 0)
            return -EINVAL;
        for (uint32_t k = 0; k < i; k++)
            if (tie(&r[k], &r[i]))
                return dv_err_set(
                    err, -EINVAL,
                    "the prices of lines %u and %u can apply at the same instant, and "
                    "neither is more specific; end one before the other begins "
                    "(to:), or name more in one",
                    place(r[k].line, k), place(r[i].line, i));
    }
    return 0;
}

static int check_fees(const struct dv_price_list *list, uint32_t *ret_line, struct dv_err *err)
{
    const struct dv_price_fee *f = list->fees;
    for (uint32_t i = 0; i < list->n_fees; i++) {
        *ret_line = f[i].line;
        if (!f[i].tenant[0])
            return dv_err_set(err, -EINVAL, "a fee is some tenant's");
        if (f[i].micros_per_month < 0 || f[i].micros_per_month > DV_PRICE_MICROS_MAX)
            return dv_err_set(err, -EINVAL, "a fee per month is from 0 to a million");
        if (check_span(&f[i].span, err) < 0)
            return -EINVAL;
        for (uint32_t k = 0; k < i; k++)
            if (!strcmp(f[k].tenant, f[i].tenant) && spans_meet(&f[k].span, &f[i].span))
                return dv_err_set(err, -EINVAL,
                                  "the fees of lines %u and %u are tenant %s's at the same time; "
                                  "end one before the other begins (to:)",
                                  place(f[k].line, k), place(f[i].line, i), f[i].tenant);
    }
    return 0;
}

int dv_price_check(const struct dv_price_list *list, uint32_t *ret_line, struct dv_err *err)
{
    uint32_t line = 0;
    int r = dv_currency_check(list->currency, err);
    r = r ? r : dv_zone_check(&list->zone, err);
    r = r ? r : check_rules(list, &line, err);
    r = r ? r : check_fees(list, &line, err);
    if (ret_line)
        *ret_line = line;
    return r;
}
