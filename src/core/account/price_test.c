/* SPDX-License-Identifier: Apache-2.0 */
#include "account/price.h"
#include "base/rng.h"

#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#include <cmocka.h>

#define ALWAYS                                                                                     \
    {                                                                                              \
        INT32_MIN, INT32_MAX                                                                       \
    }

/* Berlin in 2026. */
static const struct dv_zone berlin = {.name = "Europe/Berlin",
                                      .first_offset = 3600,
                                      .n = 2,
                                      .changes = {{1774746000, 7200}, {1792890000, 3600}}};

static struct dv_price_list *list_of(const struct dv_price_rule *rules, uint32_t n)
{
    struct dv_price_list *l = dv_price_list_new();
    assert_non_null(l);
    memcpy(l->currency, "EUR", 4);
    l->zone = berlin;
    for (uint32_t i = 0; i < n; i++)
        assert_int_equal(dv_price_add_rule(l, &rules[i], NULL), 0);
    return l;
}

static struct dv_price_rule rule(uint32_t line, int64_t micros)
{
    return (struct dv_price_rule){.line = line, .micros_per_hour = micros, .span = ALWAYS};
}

static int64_t at(const char *text)
{
    int64_t t = -1;
    assert_int_equal(dv_zone_parse(&berlin, text, &t, NULL), 0);
    return t;
}

static void expect(const struct dv_price_list *l, uint32_t line, const char *part)
{
    struct dv_err err = {{0}};
    uint32_t got = 99;
    assert_int_equal(dv_price_check(l, &got, &err), -EINVAL);
    assert_int_equal(got, line);
    if (!strstr(err.msg, part))
        fail_msg("\"%s\" is not in \"%s\"", part, err.msg);
}

static void test_money(void **state)
{
    static const struct {
        const char *text;
        int64_t micros;
        const char *usd, *jpy, *kwd;
    } good[] = {
        {"3.06", 3060000, "3.06", "3", "3.060"},
        {"0", 0, "0.00", "0", "0.000"},
        {"0.000001", 1, "0.00", "0", "0.000"},
        {"0.005", 5000, "0.01", "0", "0.005"},
        {"0.995", 995000, "1.00", "1", "0.995"},
        {"1000000", 1000000000000, "1000000.00", "1000000", "1000000.000"},
        {"007.50", 7500000, "7.50", "8", "7.500"},
    };
    static const char *const bad[] = {"",
                                      ".5",
                                      "5.",
                                      "-1",
                                      "+1",
                                      "1,5",
                                      "$3",
                                      "1e3",
                                      "0x1",
                                      "1 ",
                                      "1.2.3",
                                      "0.0000001",
                                      "nan",
                                      "3.06 USD",
                                      "1000000.000001",
                                      "99999999999999999999999"};
    char buf[DV_PRICE_TEXT];
    for (size_t i = 0; i < DV_ARRAY_SIZE(good); i++) {
        int64_t v = -1;
        assert_int_equal(dv_price_parse(good[i].text, &v, NULL), 0);
        assert_int_equal(v, good[i].micros);
        assert_string_equal(dv_price_format(v, "USD", buf), good[i].usd);
        assert_string_equal(dv_price_format(v, "JPY", buf), good[i].jpy);
        assert_string_equal(dv_price_format(v, "KWD", buf), good[i].kwd);
    }
    for (size_t i = 0; i < DV_ARRAY_SIZE(bad); i++) {
        int64_t v;
        struct dv_err err = {{0}};
        assert_true(dv_price_parse(bad[i], &v, &err) < 0);
        assert_true(err.msg[0]);
    }
    assert_string_equal(dv_price_format(-1234567, "USD", buf), "-1.23");
    assert_string_equal(dv_price_format(-4999, "USD", buf), "0.00");
    dv_price_format(INT64_MIN, "USD", buf);
    assert_string_equal(buf, "-9223372036854.78");
}

static void test_currencies(void **state)
{
    struct dv_err err = {{0}};
    assert_int_equal(dv_currency_check("USD", NULL), 0);
    assert_int_equal(dv_currency_check("usd", &err), -EINVAL);
    assert_non_null(strstr(err.msg, "did you mean \"USD\"?"));
    assert_int_equal(dv_currency_check("EUX", &err), -EINVAL);
    assert_non_null(strstr(err.msg, "did you mean \"EUR\"?"));
    assert_int_equal(dv_currency_check("dollars", &err), -EINVAL);
    assert_int_equal(dv_currency_check("", &err), -EINVAL);
    assert_int_equal(dv_currency_digits("JPY"), 0);
    assert_int_equal(dv_currency_digits("KWD"), 3);
}

/* Each key alone beats all that come after it together. */
static void test_most_specific_wins(void **state)
{
    struct dv_account a = {.model = "NVIDIA A100-SXM4-80GB",
                           .profile = "1g.10gb",
                           .mode = DV_MODE_MPS,
                           .tenant = "alice",
                           .tier = DV_TIER_LATENCY_CRITICAL};
    for (uint32_t high = 0; high < 64; high++) {
        for (uint32_t low = 0; low < high; low++) {
            struct dv_price_rule rules[2];
            for (uint32_t i = 0; i < 2; i++) {
                uint32_t keys = i ? high : low;
                struct dv_price_rule r = rule(i + 1, 1000 + i);
                if (keys & 32)
                    snprintf(r.tenant, sizeof r.tenant, "alice");
                if (keys & 16)
                    snprintf(r.model, sizeof r.model, "a100-80gb");
                if (keys & 8)
                    snprintf(r.profile, sizeof r.profile, "1g.10gb");
                r.has_mode = keys & 4;
                r.mode = keys & 4 ? DV_MODE_MPS : DV_MODE_AUTO;
                r.has_tier = keys & 2;
                r.tier = keys & 2 ? DV_TIER_LATENCY_CRITICAL : DV_TIER_BEST_EFFORT;
                r.n_hours = keys & 1;
                r.hours[0] = (struct dv_price_hours){DV_PRICE_DAYS_ALL, 0, 86400};
                rules[i] = r;
            }
            for (int turn = 0; turn < 2; turn++) { /* the order in the file does not matter */
                dv_cleanup(dv_price_list_freep) struct dv_price_list *l = list_of(rules, 2);
                int64_t until;
                assert_int_equal(dv_price_check(l, NULL, NULL), 0);
                const struct dv_price_rule *found = dv_price_find(l, &a, at("2026-06-01"), &until);
                assert_non_null(found);
                assert_int_equal(found->line, 2);
                struct dv_price_rule swap = rules[0];
                rules[0] = rules[1];
                rules[1] = swap;
            }
        }
    }
}

static void test_what_applies(void **state)
{
    struct dv_account a = {.model = "NVIDIA A100-PCIE-40GB", .tenant = "", .mode = DV_MODE_AUTO};
    struct dv_price_rule r = rule(1, 1);
    int64_t until;
    snprintf(r.model, sizeof r.model, "A100");
    dv_cleanup(dv_price_list_freep) struct dv_price_list *l = list_of(&r, 1);
    assert_non_null(dv_price_find(l, &a, 0, &until)); /* a name, an alias, the maker before it */
    assert_true(until == INT64_MAX);
    snprintf(l->rules[0].model, sizeof r.model, "nvidia a100-pcie-40gb");
    assert_non_null(dv_price_find(l, &a, 0, &until));
    snprintf(l->rules[0].model, sizeof r.model, "A100-80GB");
    assert_null(dv_price_find(l, &a, 0, &until));
    snprintf(a.model, sizeof a.model, "NVIDIA B999");
    snprintf(l->rules[0].model, sizeof r.model, "NVIDIA B999"); /* not in the catalogue */
    assert_non_null(dv_price_find(l, &a, 0, &until));
    l->rules[0].whole = true;
    assert_non_null(dv_price_find(l, &a, 0, &until));
    snprintf(a.profile, sizeof a.profile, "1g.10gb");
    assert_null(dv_price_find(l, &a, 0, &until));
    l->rules[0].whole = false;
    l->rules[0].has_mode = true; /* AUTO: no mode in force */
    assert_non_null(dv_price_find(l, &a, 0, &until));
    a.mode = DV_MODE_MPS;
    assert_null(dv_price_find(l, &a, 0, &until));
    assert_true(until == INT64_MAX);
}

static void test_dates_and_hours(void **state)
{
    struct dv_price_rule rules[2] = {rule(1, 100), rule(2, 200)};
    const struct dv_account a = {.model = "X"};
    int64_t until;
    rules[0].span.to_day = dv_zone_day(&berlin, at("2026-10-01"));
    rules[1].span = (struct dv_price_span){rules[0].span.to_day, INT32_MAX};
    rules[1].n_hours = 1; /* nights, Monday to Friday */
    rules[1].hours[0] = (struct dv_price_hours){0x1f, 22 * 3600, 6 * 3600};
    dv_cleanup(dv_price_list_freep) struct dv_price_list *l = list_of(rules, 2);
    assert_int_equal(dv_price_check(l, NULL, NULL), 0);
    assert_int_equal(dv_price_find(l, &a, at("2026-09-30T23:59:59"), &until)->line, 1);
    assert_int_equal(until, at("2026-10-01"));
    /* Thursday, before six: Wednesday's night. */
    assert_int_equal(dv_price_find(l, &a, at("2026-10-01"), &until)->line, 2);
    assert_int_equal(until, at("2026-10-01T06:00"));
    assert_null(dv_price_find(l, &a, at("2026-10-01T06:00"), &until));
    assert_int_equal(until, at("2026-10-01T22:00"));
    /* Saturday morning is Friday's night; Saturday evening is none. */
    assert_non_null(dv_price_find(l, &a, at("2026-10-03T05:59"), &until));
    assert_null(dv_price_find(l, &a, at("2026-10-03T22:30"), &until));
    assert_null(dv_price_find(l, &a, at("2026-10-05T05:00"), &until)); /* Monday: Sunday's night */
    /* The night in which the hour from two to three comes twice. */
    l->rules[1].hours[0] = (struct dv_price_hours){DV_PRICE_DAYS_ALL, 2 * 3600, 3 * 3600};
    int64_t hours = 0, t = at("2026-10-25");
    while (t < at("2026-10-26")) {
        int64_t from = t;
        bool on = dv_price_find(l, &a, t, &until) != NULL;
        assert_true(until > t);
        t = DV_MIN(until, at("2026-10-26"));
        hours += on ? t - from : 0;
    }
    assert_int_equal(hours, 2 * 3600);
}

/* What find says holds until the instant that it names: asked second by second it is the same. */
static void test_until_holds(void **state)
{
    struct dv_rng rng = {41};
    const struct dv_account a = {.model = "X"};
    for (int round = 0; round < 60; round++) {
        dv_cleanup(dv_price_list_freep) struct dv_price_list *l = list_of(NULL, 0);
        int64_t edge = round % 2 ? at("2026-03-28") : at("2026-10-24"), t = edge;
        for (uint32_t i = 0; i < 6; i++) {
            struct dv_price_rule r = rule(i + 1, i);
            r.span.from_day = dv_zone_day(&berlin, edge) + (int32_t)dv_rng_below(&rng, 3);
            r.span.to_day = r.span.from_day + 1 + (int32_t)dv_rng_below(&rng, 3);
            r.n_hours = (uint32_t)dv_rng_below(&rng, 3);
            for (uint32_t k = 0; k < r.n_hours; k++)
                r.hours[k] = (struct dv_price_hours){1 + (uint32_t)dv_rng_below(&rng, 127),
                                                     (int32_t)dv_rng_below(&rng, 96) * 900,
                                                     (int32_t)dv_rng_below(&rng, 97) * 900};
            assert_int_equal(dv_price_add_rule(l, &r, NULL), 0);
        }
        while (t < edge + 3 * 86400) {
            int64_t until, ignored;
            const struct dv_price_rule *r = dv_price_find(l, &a, t, &until);
            assert_true(until > t);
            for (int64_t s = t; s < DV_MIN(until, edge + 3 * 86400); s += 450)
                assert_ptr_equal(dv_price_find(l, &a, s, &ignored), r);
            t = until;
        }
    }
}

static void test_overlaps(void **state)
{
    struct dv_price_rule rules[2] = {rule(7, 1), rule(9, 2)};
    dv_cleanup(dv_price_list_freep) struct dv_price_list *l = list_of(rules, 2);
    expect(l, 9, "lines 7 and 9");
    l->rules[0].span.to_day = 20000;
    expect(l, 9, "lines 7 and 9");
    l->rules[1].span.from_day = 19999;
    expect(l, 9, "lines 7 and 9");
    l->rules[1].span.from_day = 20000;
    assert_int_equal(dv_price_check(l, NULL, NULL), 0);
    /* An alias is the same model; the other tenant is another price. */
    l->rules[1].span.from_day = INT32_MIN;
    snprintf(l->rules[0].model, DV_GPU_NAME_SIZE, "A100");
    snprintf(l->rules[1].model, DV_GPU_NAME_SIZE, "NVIDIA A100-SXM4-40GB");
    expect(l, 9, "lines 7 and 9");
    snprintf(l->rules[0].tenant, DV_TENANT_SIZE, "a");
    assert_int_equal(dv_price_check(l, NULL, NULL), 0);
    snprintf(l->rules[1].tenant, DV_TENANT_SIZE, "a");
    expect(l, 9, "lines 7 and 9");
    snprintf(l->rules[1].tenant, DV_TENANT_SIZE, "b");
    assert_int_equal(dv_price_check(l, NULL, NULL), 0);
    snprintf(l->rules[1].tenant, DV_TENANT_SIZE, "a");
    /* Hours that meet only over Sunday midnight. */
    l->rules[0].n_hours = l->rules[1].n_hours = 1;
    l->rules[0].hours[0] = (struct dv_price_hours){1 << 6, 23 * 3600, 3600};
    l->rules[1].hours[0] = (struct dv_price_hours){1 << 0, 0, 7200};
    expect(l, 9, "lines 7 and 9");
    l->rules[1].hours[0].from_s = 3600;
    assert_int_equal(dv_price_check(l, NULL, NULL), 0);
}

/* Two rules are refused exactly if there is a quarter of an hour at which both apply. */
static void test_overlap_by_search(void **state)
{
    struct dv_rng rng = {42};
    const struct dv_account a = {.model = "X"};
    int refused = 0;
    for (int round = 0; round < 400; round++) {
        struct dv_price_rule r[2] = {rule(1, 1), rule(2, 2)};
        for (int i = 0; i < 2; i++) {
            r[i].n_hours = 1;
            r[i].hours[0] = (struct dv_price_hours){1 << dv_rng_below(&rng, 7),
                                                    (int32_t)dv_rng_below(&rng, 24) * 3600,
                                                    (int32_t)dv_rng_below(&rng, 25) * 3600};
        }
        dv_cleanup(dv_price_list_freep) struct dv_price_list *both = list_of(r, 2);
        dv_cleanup(dv_price_list_freep) struct dv_price_list *one = list_of(r, 1);
        dv_cleanup(dv_price_list_freep) struct dv_price_list *two = list_of(r + 1, 1);
        bool meet = false;
        int64_t until;
        for (int64_t t = at("2026-06-01"); t < at("2026-06-08"); t += 900)
            meet = meet || (dv_price_find(one, &a, t, &until) && dv_price_find(two, &a, t, &until));
        assert_int_equal(dv_price_check(both, NULL, NULL), meet ? -EINVAL : 0);
        refused += meet;
    }
    assert_in_range(refused, 20, 380);
}

static void test_bad_lists(void **state)
{
    struct dv_price_rule r = rule(3, 1);
    struct dv_price_fee fee = {.line = 5, .tenant = "a", .micros_per_month = 1, .span = ALWAYS};
    dv_cleanup(dv_price_list_freep) struct dv_price_list *l = list_of(&r, 1);
    memcpy(l->currency, "XYZ", 4);
    expect(l, 0, "unknown currency");
    memcpy(l->currency, "USD", 4);
    l->rules[0].micros_per_hour = -1;
    expect(l, 3, "price per hour");
    l->rules[0] = r;
    l->rules[0].span = (struct dv_price_span){100, 100};
    expect(l, 3, "ended");
    l->rules[0].span = (struct dv_price_span){DV_ZONE_DAY_MAX + 1, INT32_MAX};
    expect(l, 3, "between 1970 and 2100");
    l->rules[0] = r;
    l->rules[0].n_hours = 1;
    expect(l, 3, "hours");
    l->rules[0] = r;
    assert_int_equal(dv_price_add_fee(l, &fee, NULL), 0);
    fee.line = 6;
    fee.span.from_day = 20000;
    assert_int_equal(dv_price_add_fee(l, &fee, NULL), 0);
    expect(l, 6, "lines 5 and 6");
    l->fees[0].span.to_day = 20000;
    assert_int_equal(dv_price_check(l, NULL, NULL), 0);
    l->fees[1].tenant[0] = 0;
    expect(l, 6, "some tenant");
    while (l->n_rules < DV_PRICE_RULES_MAX)
        assert_int_equal(dv_price_add_rule(l, &r, NULL), 0);
    assert_int_equal(dv_price_add_rule(l, &r, NULL), -E2BIG);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_money),
        cmocka_unit_test(test_currencies),
        cmocka_unit_test(test_most_specific_wins),
        cmocka_unit_test(test_what_applies),
        cmocka_unit_test(test_dates_and_hours),
        cmocka_unit_test(test_until_holds),
        cmocka_unit_test(test_overlaps),
        cmocka_unit_test(test_overlap_by_search),
        cmocka_unit_test(test_bad_lists),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
