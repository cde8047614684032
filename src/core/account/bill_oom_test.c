/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Memory runs out at the first, the second, the third... allocation while a bill is made. Each time
 * it is -ENOMEM, nothing is handed out, and nothing leaks (which the address sanitizer sees).
 */
#include "account/bill.h"
#include "base/testing/oom.h"

#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

static int life(enum dv_bill_by by)
{
    dv_cleanup(dv_price_list_freep) struct dv_price_list *l = dv_price_list_new();
    dv_cleanup(dv_bill_freep) struct dv_bill *b = NULL;
    struct dv_price_rule rule = {.micros_per_hour = 1, .span = {INT32_MIN, INT32_MAX}};
    struct dv_price_fee fee = {
        .tenant = "a", .micros_per_month = 1, .span = {INT32_MIN, INT32_MAX}};
    struct dv_bill_query q = {
        .to_unix = 86400 * 30, .by = by, .idle = DV_BILL_IDLE_EVEN, .basis = DV_BILL_MAX};
    struct dv_bill_result result = {0};
    if (!l)
        return -ENOMEM;
    memcpy(l->currency, "USD", 4);
    int r = dv_price_add_rule(l, &rule, NULL);
    r = r ? r : dv_price_add_fee(l, &fee, NULL);
    r = r ? r : dv_bill_new(l, &q, &b, NULL);
    for (int i = 0; !r && i < 200; i++) {
        struct dv_charge_row row = {.from_unix = i * 3600, .to_unix = i * 3600 + 7200};
        snprintf(row.account.gpu, DV_UUID_SIZE, "GPU-%d", i % 40);
        snprintf(row.account.tenant, DV_TENANT_SIZE, "t%d", i % 50);
        row.account.mode = (enum dv_mode)(i % 5);
        row.charge.busy_ns = 7200 * DV_NS_PER_S;
        r = dv_bill_add(b, &row, NULL);
    }
    r = r ? r : dv_bill_finish(b, &result, NULL);
    assert_int_equal(result.n_lines != 0, !r);
    return r;
}

static void test_every_allocation_fails_once(void **state)
{
    for (int by = 0; by < 5; by++) {
        size_t n = 1;
        for (;; n++) {
            dv_oom_at(n);
            int r = life((enum dv_bill_by)by);
            if (!dv_oom_end()) {
                assert_int_equal(r, 0);
                break;
            }
            assert_int_equal(r, -ENOMEM);
        }
        assert_in_range(n, 30, 2000); /* it did try them */
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_every_allocation_fails_once),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
