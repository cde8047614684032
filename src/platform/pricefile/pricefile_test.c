/* SPDX-License-Identifier: Apache-2.0 */
#include "pricefile/pricefile.h"

#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <cmocka.h>

#define HEAD "apiVersion: divvy/v1\nkind: PriceList\ncurrency: USD\n"

static struct dv_pricefile_info info;

static struct dv_price_list *good(const char *text)
{
    struct dv_price_list *l = NULL;
    struct dv_err err = {{0}};
    if (dv_pricefile_read("p.yaml", text, strlen(text), "/nonexistent", &l, &info, &err) < 0)
        fail_msg("%s", err.msg);
    return l;
}

static void test_all_keys(void **state)
{
    dv_cleanup(dv_price_list_freep) struct dv_price_list *l =
        good(HEAD "timezone: UTC\nprices:\n"
                  "- {perGpuHour: 1}\n"
                  "- perGpuHour: \"3.06\"\n"
                  "  model: [A100-80GB, H100-80GB]\n"
                  "  profile: 1g.10gb\n"
                  "  mode: [mps, timeslice, governed]\n"
                  "  tier: lc\n"
                  "  tenant: team-a\n"
                  "  from: 2026-01-01\n"
                  "  to: 2026-07-01\n"
                  "  hours: [mon-fri 22:00-06:00, Sunday, fri-mon 00:00-24:00, 07:30-8:00]\n"
                  "- {perGpuHour: 2, profile: whole, tenant: '@outside'}\n"
                  "fees:\n"
                  "- {tenant: team-a, perMonth: 1000.5, to: 2026-02-01}\n");
    assert_int_equal(info.n_warnings, 0);
    assert_string_equal(l->currency, "USD");
    assert_int_equal(l->n_rules, 1 + 6 + 1);
    assert_int_equal(l->n_fees, 1);
    const struct dv_price_rule *r = &l->rules[6];
    assert_int_equal(r->micros_per_hour, 3060000);
    assert_string_equal(r->model, "H100-80GB");
    assert_string_equal(r->profile, "1g.10gb");
    assert_true(r->has_mode && r->mode == DV_MODE_GOVERNED);
    assert_true(r->has_tier && r->tier == DV_TIER_LATENCY_CRITICAL);
    assert_string_equal(r->tenant, "team-a");
    assert_int_equal(r->span.from_day, 20454);
    assert_int_equal(r->span.to_day, 20635);
    assert_int_equal(r->line, 7);
    assert_int_equal(r->n_hours, 4);
    assert_int_equal(r->hours[0].days, 0x1f);
    assert_int_equal(r->hours[0].from_s, 22 * 3600);
    assert_int_equal(r->hours[0].to_s, 6 * 3600);
    assert_int_equal(r->hours[1].days, 0x40);
    assert_int_equal(r->hours[1].to_s, 86400);
    assert_int_equal(r->hours[2].days, 0x71);
    assert_int_equal(r->hours[3].days, 0x7f);
    assert_int_equal(r->hours[3].from_s, 27000);
    assert_true(l->rules[7].whole && !l->rules[7].profile[0]);
    assert_int_equal(l->rules[0].span.from_day, INT32_MIN);
    assert_int_equal(l->fees[0].micros_per_month, 1000500000);
}

/* What is refused, where, and why. */
static const struct {
    const char *text, *message;
} bad[] = {
    {"", "p.yaml: an empty file"},
    {"a: [", "p.yaml:"},
    {"kind: PriceList\n", "p.yaml:1:1: apiVersion is missing"},
    {"apiVersion: divvy/v1\n", "p.yaml:1:1: kind is missing"},
    {"apiVersion: divvy/v2\nkind: PriceList\n", "p.yaml:1:13: apiVersion: \"divvy/v2\""},
    {"apiVersion: divvy/v1\nkind: Layout\n", "p.yaml:2:7: kind: \"Layout\""},
    {"apiVersion: divvy/v1\nkind: PriceList\n", "currency is missing"},
    {"apiVersion: divvy/v1\nkind: PriceList\ncurrency: USX\n",
     "p.yaml:3:11: currency: unknown currency \"USX\", did you mean \"USD\"?"},
    {HEAD, "prices is missing"},
    {HEAD "prices: []\n", "p.yaml:4:9: prices: an empty list"},
    {HEAD "prices: 3.06\n", "prices: \"3.06\", where a list is wanted"},
    {HEAD "price: []\n",
     "p.yaml:4:1: unknown key \"price\" in a price list; did you mean \"prices\"?"},
    {HEAD "prices: [{}]\n", "perGpuHour is missing"},
    {HEAD "prices:\n- {perGpuHour: 1, modell: A100}\n",
     "p.yaml:5:19: unknown key \"modell\" in a price; did you mean \"model\"?"},
    {HEAD "prices:\n- {perGpuHour: 3.0600001}\n",
     "p.yaml:5:16: perGpuHour: \"3.0600001\": at most 6 digits behind the point"},
    {HEAD "prices: [{perGpuHour: $3}]\n", "perGpuHour: \"$3\" is no amount"},
    {HEAD "prices: [{perGpuHour: -1}]\n", "no amount"},
    {HEAD "prices: [{perGpuHour: 1000001}]\n", "more than 1000000"},
    {HEAD "prices: [{perGpuHour: [1]}]\n", "where a text is wanted"},
    {HEAD "prices: [{perGpuHour: 1, mode: mig}]\n", "said by profile"},
    {HEAD "prices: [{perGpuHour: 1, mode: msp}]\n", "mode: "},
    {HEAD "prices: [{perGpuHour: 1, tier: gold}]\n", "tier: unknown tier \"gold\""},
    {HEAD "prices: [{perGpuHour: 1, profile: 1g}]\n", "profile: "},
    {HEAD "prices: [{perGpuHour: 1, tenant: 'a b'}]\n", "tenant: "},
    {HEAD "prices: [{perGpuHour: 1, model: []}]\n", "model: an empty list"},
    {HEAD "prices: [{perGpuHour: 1, from: 2026-02-30}]\n", "from: \"2026-02-30\" is no day"},
    {HEAD "prices: [{perGpuHour: 1, from: 2026-02-02, to: 2026-02-02}]\n", "is not after from"},
    {HEAD "prices: [{perGpuHour: 1, hours: 22-6}]\n", "hours: \"22-6\""},
    {HEAD "prices: [{perGpuHour: 1, hours: 22:00-22:00}]\n", "hours: \"22:00-22:00\""},
    {HEAD "prices: [{perGpuHour: 1, hours: 24:00-06:00}]\n", "hours: "},
    {HEAD "prices: [{perGpuHour: 1, hours: 12:60-13:00}]\n", "hours: "},
    {HEAD "prices: [{perGpuHour: 1, hours: mo-fr}]\n", "hours: "},
    {HEAD "prices: [{perGpuHour: 1, hours: -1:00-2:00}]\n", "hours: "},
    {HEAD "prices: [{perGpuHour: 1, hours: 1:+5-2:00}]\n", "hours: "},
    {HEAD "prices: [{perGpuHour: 1, hours: []}]\n", "hours: an empty list"},
    {HEAD "timezone: Mars/Base\nprices: [{perGpuHour: 1}]\n", "p.yaml:4:11: timezone: "},
    {HEAD "timezone: ../x\nprices: [{perGpuHour: 1}]\n", "no time zone's name"},
    {HEAD "prices:\n- {perGpuHour: 1, model: A100}\n- {perGpuHour: 2, model: A100-40GB}\n",
     "p.yaml:6:3: the prices of lines 5 and 6 can apply at the same instant"},
    {HEAD "prices: [{perGpuHour: 1, model: [A100, A100]}]\n", "the prices of lines 4 and 4"},
    {HEAD "prices: [{perGpuHour: 1}]\nfees: [{tenant: a}]\n", "perMonth is missing"},
    {HEAD "prices: [{perGpuHour: 1}]\nfees: [{perMonth: 1}]\n", "tenant is missing"},
    {HEAD
     "prices: [{perGpuHour: 1}]\nfees:\n- {tenant: a, perMonth: 1}\n- {tenant: a, perMonth: 2}\n",
     "p.yaml:7:3: the fees of lines 6 and 7 are tenant a's"},
    {HEAD "prices: [{perGpuHour: 1}]\n---\n" HEAD, "several documents"},
};

static void test_refused(void **state)
{
    for (size_t i = 0; i < DV_ARRAY_SIZE(bad); i++) {
        struct dv_price_list *l = NULL;
        struct dv_err err = {{0}};
        int r = dv_pricefile_read("p.yaml", bad[i].text, strlen(bad[i].text), "/nonexistent", &l,
                                  NULL, &err);
        assert_null(l);
        if (r != -EINVAL || !strstr(err.msg, bad[i].message))
            fail_msg("%zu: %d, \"%s\" is not in \"%s\"", i, r, bad[i].message, err.msg);
    }
}

static void test_warnings(void **state)
{
    dv_cleanup(dv_price_list_freep) struct dv_price_list *l =
        good(HEAD "prices:\n- {perGpuHour: 1, model: NVIDIA A100-PCIE-40GB}\n"
                  "- {perGpuHour: 1, model: A100-80BG}\n");
    assert_non_null(l);
    assert_int_equal(info.n_warnings, 1);
    assert_int_equal(info.warnings[0].line, 6);
    assert_non_null(strstr(info.warnings[0].text, "did you mean \"A100-80GB\"?"));
}

static void test_bounds(void **state)
{
    dv_cleanup(dv_str_done) struct dv_str text = {0};
    struct dv_price_list *l = NULL;
    struct dv_err err = {{0}};
    dv_str_add(&text, HEAD "prices:\n");
    for (int i = 0; i < 1025; i++)
        dv_str_addf(&text, "- {perGpuHour: 1, tenant: t%d}\n", i);
    assert_int_equal(dv_pricefile_read("p", text.data, text.len, NULL, &l, NULL, &err), -EINVAL);
    assert_non_null(strstr(err.msg, "at most 1024"));
    dv_str_clear(&text); /* 17 lists of 64 make too many as well */
    dv_str_add(&text, HEAD "prices:\n");
    for (int i = 0; i < 17; i++) {
        dv_str_addf(&text, "- {perGpuHour: 1, tenant: [t%d", i);
        for (int k = 1; k < 64; k++)
            dv_str_addf(&text, ", t%d-%d", i, k);
        dv_str_add(&text, "]}\n");
    }
    assert_int_equal(dv_pricefile_read("p", text.data, text.len, NULL, &l, NULL, &err), -EINVAL);
    assert_non_null(strstr(err.msg, "at most 1024 prices"));
    while (text.len <= DV_PRICEFILE_MAX)
        dv_str_add(&text, "# a line that says nothing at all, many times over\n");
    assert_int_equal(dv_pricefile_read("p", text.data, text.len, NULL, &l, NULL, &err), -E2BIG);
}

static void test_files(void **state)
{
    struct dv_price_list *l = NULL;
    struct dv_err err = {{0}};
    char path[4096];
    const char *source = getenv("DIVVY_SOURCE");
    assert_int_equal(dv_pricefile_load("/nonexistent/p.yaml", &l, NULL, &err), -ENOENT);
    assert_non_null(strstr(err.msg, "/nonexistent/p.yaml"));
    assert_int_equal(dv_pricefile_load("/", &l, NULL, &err), -EISDIR);
    snprintf(path, sizeof path, "%s/packaging/prices/example.yaml", source ? source : ".");
    if (dv_pricefile_load(path, &l, &info, &err) < 0)
        fail_msg("%s", err.msg);
    const struct dv_account a = {
        .model = "NVIDIA A100-SXM4-80GB", .tenant = "a", .tier = DV_TIER_LATENCY_CRITICAL};
    int64_t until;
    assert_int_equal(info.n_warnings, 0);
    assert_int_equal(dv_price_find(l, &a, 1774746000, &until)->micros_per_hour, 3060000);
    dv_price_list_free(l);
    assert_non_null(strstr(dv_pricefile_help, "--price-file"));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_all_keys), cmocka_unit_test(test_refused),
        cmocka_unit_test(test_warnings), cmocka_unit_test(test_bounds),
        cmocka_unit_test(test_files),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
