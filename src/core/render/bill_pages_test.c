/* SPDX-License-Identifier: Apache-2.0 */
/*
 * FOCUS and HTML of a bill made of a row or two: what is split, what is refused, and what happens
 * when memory runs out at the first, the second, the third... allocation. What the files look like
 * as a whole is tested in tests/golden.
 */
#include "account/bill.h"
#include "base/testing/oom.h"
#include "render/bill_html.h"
#include "render/bill_text.h"
#include "render/focus.h"
#include "render/json.h"

#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#define FROM INT64_C(1767225600) /* 2026-01-01 */
#define DAY_NS (86400 * DV_NS_PER_S)

static const struct dv_zone utc;

/* A GPU's day, a third of it one tenant's. */
static struct dv_output *bill(enum dv_bill_by by, const char *tenant)
{
    dv_cleanup(dv_price_list_freep) struct dv_price_list *prices = dv_price_list_new();
    struct dv_price_rule rule = {.micros_per_hour = 3060000, .span = {INT32_MIN, INT32_MAX}};
    struct dv_bill_query query = {
        .from_unix = FROM, .to_unix = FROM + 86400, .by = by, .idle = DV_BILL_IDLE_NONE};
    struct dv_charge_row row = {FROM, FROM + 86400, {.gpu = "GPU-12345678", .model = "M"}, {0}};
    dv_cleanup(dv_bill_freep) struct dv_bill *b = NULL;
    struct dv_bill_result result;
    struct dv_err err = {{0}};
    assert_non_null(prices);
    memcpy(prices->currency, "USD", 4);
    strcpy(query.tenant, tenant);
    assert_int_equal(dv_price_add_rule(prices, &rule, &err), 0);
    assert_int_equal(dv_bill_new(prices, &query, &b, &err), 0);
    row.charge.unallocated_ns = DAY_NS - DAY_NS / 3;
    assert_int_equal(dv_bill_add(b, &row, &err), 0);
    strcpy(row.account.tenant, "ann");
    row.account.mode = DV_MODE_MPS;
    row.charge = (struct dv_charge){.busy_ns = DAY_NS / 3};
    assert_int_equal(dv_bill_add(b, &row, &err), 0);
    assert_int_equal(dv_bill_finish(b, &result, &err), 0);
    return dv_bill_text_output(&result, "p.yaml");
}

static size_t lines_of(const char *text)
{
    size_t n = 0;
    for (; *text; text++)
        n += *text == '\n';
    return n;
}

static void test_split(void **state)
{
    dv_cleanup(dv_output_free) struct dv_output *o = bill(DV_BILL_BY_ALL, "");
    dv_cleanup(dv_str_done) struct dv_str text = {0};
    struct dv_err err = {{0}};
    assert_int_equal(dv_focus_write(o, &utc, DV_FOCUS_1_3, &text, &err), 0);
    assert_int_equal(lines_of(dv_str_get(&text)), 3);
    /* 8 hours at 3.06, and the 16 that are left. */
    assert_non_null(strstr(dv_str_get(&text), ",24.480000,"));
    assert_non_null(strstr(dv_str_get(&text), ",48.960000,"));
    assert_non_null(strstr(dv_str_get(&text), "\"AllocatedRatio\"\":0.333333333333,"));
    assert_non_null(strstr(dv_str_get(&text), "\"AllocatedRatio\"\":0.666666666667,"));
    assert_non_null(strstr(dv_str_get(&text), "Time of M that no tenant is charged for"));
}

static void test_one_tenant(void **state)
{
    dv_cleanup(dv_output_free) struct dv_output *o = bill(DV_BILL_BY_ALL, "ann");
    dv_cleanup(dv_str_done) struct dv_str text = {0};
    struct dv_err err = {{0}};
    assert_int_equal(dv_focus_write(o, &utc, DV_FOCUS_1_2, &text, &err), 0);
    assert_int_equal(lines_of(dv_str_get(&text)), 2);
    assert_null(strstr(dv_str_get(&text), "48.960000"));
}

static void test_refused(void **state)
{
    dv_cleanup(dv_str_done) struct dv_str text = {0};
    enum dv_focus_version version = DV_FOCUS_1_3;
    struct dv_err err = {{0}};
    struct dv_output *o = bill(DV_BILL_BY_DAY, "");
    assert_int_equal(dv_focus_write(o, &utc, DV_FOCUS_1_2, &text, &err), -EINVAL);
    assert_non_null(strstr(err.msg, "by all dimensions"));
    dv_output_free(&o);
    o = dv_output_new("Usage");
    assert_int_equal(dv_focus_write(o, &utc, DV_FOCUS_1_2, &text, &err), -EINVAL);
    assert_int_equal(dv_bill_html_write(o, &utc, &text, &err), -EINVAL);
    dv_output_free(&o);
    assert_string_equal(dv_str_get(&text), "");
    assert_int_equal(dv_focus_version_parse("1.4", &version, &err), -EINVAL);
    assert_int_equal(version, DV_FOCUS_1_3);
    assert_int_equal(dv_focus_version_parse("1.2", &version, &err), 0);
    assert_int_equal(version, DV_FOCUS_1_2);
}

static int write_focus(struct dv_output *o, struct dv_str *text, struct dv_err *err)
{
    return dv_focus_write(o, &utc, DV_FOCUS_1_3, text, err);
}

static int write_html(struct dv_output *o, struct dv_str *text, struct dv_err *err)
{
    return dv_bill_html_write(o, &utc, text, err);
}

static void without_memory(int (*write)(struct dv_output *, struct dv_str *, struct dv_err *))
{
    dv_cleanup(dv_output_free) struct dv_output *o = bill(DV_BILL_BY_ALL, "");
    struct dv_err err;
    size_t n = 0;
    do {
        struct dv_str text = {0};
        dv_oom_at(++n);
        int r = write(o, &text, &err);
        bool met = dv_oom_end();
        assert_int_equal(r, met ? -ENOMEM : 0);
        dv_str_done(&text);
    } while (dv_oom_met());
    assert_true(n > 5);
}

static void test_memory(void **state)
{
    without_memory(write_focus);
    without_memory(write_html);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_split),
        cmocka_unit_test(test_one_tenant),
        cmocka_unit_test(test_refused),
        cmocka_unit_test(test_memory),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
