/* SPDX-License-Identifier: Apache-2.0 */
#include "costs.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#include <cmocka.h>

struct seen {
    char text[400];
};

static void on_cost(void *arg, const char *tenant, const char *currency, const char *basis,
                    uint64_t micros)
{
    struct seen *s = arg;
    size_t len = strlen(s->text);
    snprintf(s->text + len, sizeof s->text - len, "%s %s %s %llu\n", tenant, currency, basis,
             (unsigned long long)micros);
}

static void costs_follow_the_price_of_the_moment(void **state)
{
    struct dv_err err;
    struct dv_price_list *list = dv_price_list_new();
    memcpy(list->currency, "EUR", 4);
    struct dv_price_rule any = {.line = 1, .micros_per_hour = 3600000000, .span = {INT32_MIN, 1}};
    struct dv_price_rule later = {.line = 2, .micros_per_hour = 7200000000, .span = {1, INT32_MAX}};
    assert_int_equal(dv_price_add_rule(list, &any, &err), 0);
    assert_int_equal(dv_price_add_rule(list, &later, &err), 0);
    struct dv_costs *costs = dv_costs_new(list);
    struct dv_account a = {.tenant = "bob", .model = "A100"};
    struct dv_charge c = {.busy_ns = DV_NS_PER_S, .requested_compute = 3500 * DV_NS_PER_S};
    struct seen seen = {0};
    dv_costs_add(costs, &a, &c, 100);
    dv_costs_add(costs, &a, &c, 86400 + 100);
    memcpy(a.tenant, "ann", 4);
    dv_costs_add(costs, &a, &c, 100);
    a.tenant[0] = 0;
    dv_costs_add(costs, &a, &c, 100);
    dv_costs_each(costs, on_cost, &seen);
    assert_string_equal(seen.text, "ann EUR used 1000000\nann EUR requested 500000\n"
                                   "bob EUR used 3000000\nbob EUR requested 1500000\n");
    dv_costs_free(costs);
    dv_costs_add(NULL, &a, &c, 1);
    dv_costs_each(NULL, on_cost, &seen);
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(costs_follow_the_price_of_the_moment)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
