/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A price list: what an hour of a GPU costs, by what it is, how it is shared, who holds it, and
 * when; and what a tenant pays per month whatever it uses. platform/pricefile reads one from a
 * file.
 *
 * A rule applies to time whose account has everything that the rule names (what it leaves out is
 * any), from its first day up to the day it ends, within its hours. Of the rules that apply the
 * most specific one wins: one that names a tenant before one that does not; then, among those alike
 * so far, the same with model, profile, mode, tier and hours, in this order. Days of validity do
 * not make a rule more specific. Two rules that tie at any instant are refused (dv_price_check()).
 *
 * Amounts are millionths of the currency. A price is that of the whole GPU for an hour: a bill's
 * rows are GPU nanoseconds, already weighted by the part of the GPU that was held.
 */
#ifndef DV_ACCOUNT_PRICE_H
#define DV_ACCOUNT_PRICE_H

#include "account/charge.h"
#include "base/zone.h"

#define DV_PRICE_RULES_MAX 1024u
#define DV_PRICE_FEES_MAX 1024u
#define DV_PRICE_HOURS_MAX 16u
#define DV_PRICE_MICROS_MAX INT64_C(1000000000000) /* a million of the currency */
#define DV_PRICE_DAYS_ALL 0x7fu

#define DV_PRICE_MICROS_PER_UNIT INT64_C(1000000)
#define DV_PRICE_NS_PER_HOUR UINT64_C(3600000000000)

/* ---- currencies: ISO 4217 ---- */

/* 0, or -EINVAL with a message that suggests. */
int dv_currency_check(const char *code, struct dv_err *err);
/* Digits after the point that people write: 2 of USD, 0 of JPY, 3 of KWD; 2 of an unknown code. */
unsigned dv_currency_digits(const char *code);

/* Micros as text with the currency's digits, rounded half away from zero: "71481.60". No code. */
#define DV_PRICE_TEXT 32
const char *dv_price_format(int64_t micros, const char *currency, char buf[DV_PRICE_TEXT]);
/* "3.06" -> 3060000: digits, at most six behind a point; nothing else. 0, -EINVAL, -ERANGE. */
int dv_price_parse(const char *text, int64_t *ret_micros, struct dv_err *err);

/* ---- the list ---- */

/* Hours of a local day: [from, to) in seconds past midnight, to up to 86400. to <= from: past
 * midnight, and the weekdays are those on which it begins. */
struct dv_price_hours {
    uint32_t days; /* bit 0: Monday .. bit 6: Sunday */
    int32_t from_s, to_s;
};

struct dv_price_span { /* local days, [from, to) */
    int32_t from_day;  /* INT32_MIN: always was */
    int32_t to_day;    /* INT32_MAX: no end */
};

struct dv_price_rule {
    uint32_t line;                /* in the file, for messages */
    int64_t micros_per_hour;      /* of the whole GPU */
    char model[DV_GPU_NAME_SIZE]; /* a catalogue name, an alias or a product name; "": any */
    bool whole;                   /* GPUs that are not a MIG device; excludes profile */
    char profile[DV_MIG_NAME];    /* "1g.10gb"; "": any */
    bool has_mode, has_tier;
    enum dv_mode mode;           /* AUTO: time in which no mode is in force */
    enum dv_tier tier;           /* of tenants: the GPU's own time has none */
    char tenant[DV_TENANT_SIZE]; /* "": any, and the GPU's own time */
    struct dv_price_span span;
    uint32_t n_hours; /* 0: at any time */
    struct dv_price_hours hours[DV_PRICE_HOURS_MAX];
};

struct dv_price_fee {
    uint32_t line;
    char tenant[DV_TENANT_SIZE];
    int64_t micros_per_month; /* calendar month, local; a part of one is a part of the fee */
    struct dv_price_span span;
};

struct dv_price_list {
    char currency[4];
    struct dv_zone zone;
    uint32_t n_rules, n_fees;
    struct dv_price_rule *rules;
    struct dv_price_fee *fees;
};

/* NULL when memory is out. */
struct dv_price_list *dv_price_list_new(void);
void dv_price_list_free(struct dv_price_list *list);
void dv_price_list_freep(struct dv_price_list **list);
/* Copies it to the end. -E2BIG with a message, -ENOMEM. */
int dv_price_add_rule(struct dv_price_list *list, const struct dv_price_rule *rule,
                      struct dv_err *err);
int dv_price_add_fee(struct dv_price_list *list, const struct dv_price_fee *fee,
                     struct dv_err *err);

/*
 * Is it a list that a bill can be made with? Known currency, amounts, days and hours within bounds,
 * no two rules that tie, no two fees of one tenant at once. 0; -EINVAL with a message that names
 * the lines; *ret_line (may be NULL) is then the later one, 0 where the message is about the list.
 */
int dv_price_check(const struct dv_price_list *list, uint32_t *ret_line, struct dv_err *err);

/* Which rule applies to the account's time at that instant, and until when that is certain to stay
 * so (exclusive; it may be cut finer than needed). NULL: none does, and *ret_until holds too. */
const struct dv_price_rule *dv_price_find(const struct dv_price_list *list,
                                          const struct dv_account *account, int64_t unix_s,
                                          int64_t *ret_until);
/* The fee's instants: [*ret_from, *ret_to), INT64_MIN and INT64_MAX where it has no end. */
void dv_price_span_unix(const struct dv_price_list *list, const struct dv_price_span *span,
                        int64_t *ret_from, int64_t *ret_to);

#endif
