/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The examples of docs/reference/plan-file.md are true: a block ```yaml is read without an error;
 * after ```yaml refused the next block is the message, letter by letter. And every key has a row.
 */
#include "fleetfile/plan_file.h"
#include "sys/testing/texts.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

static void check(const struct dv_texts_block *b, char **rest)
{
    dv_cleanup(dv_fleet_freep) struct dv_fleet *fleet = NULL;
    struct dv_err err = {{0}};
    char message[600] = "";
    struct dv_texts_block expected = {NULL, ""};
    int r = dv_plan_file_read("fleet.yaml", b->text, strlen(b->text), NULL, &fleet, &err);
    if (r < 0)
        snprintf(message, sizeof message, "%s\n", err.msg);
    if (strcmp(b->info, "yaml") != 0)
        assert_true(dv_texts_block(rest, &expected));
    assert_string_equal(message, expected.text);
    assert_int_equal(r < 0, !strcmp(b->info, "yaml refused"));
}

static void test_page(void **state)
{
    char *rest = dv_texts_page("docs/reference/plan-file.md");
    struct dv_texts_block b;
    int n = 0;
    while (dv_texts_block(&rest, &b)) {
        check(&b, &rest);
        n++;
    }
    assert_true(n >= 3);
}

static void test_keys(void **state)
{
    static const char *const keys[] = {
        "gpus",        "workloads", "headroom", "currency", "apiVersion",  "kind",
        "model",       "count",     "per_node", "replicas", "memory",      "price_per_hour",
        "name",        "compute",   "trust",    "training", "interactive", "isolation",
        "utilization", "tier",      "p99",      "topology", "modes",       "models",
        "context",     "processes", "inference"};
    const char *page = dv_texts_page("docs/reference/plan-file.md");
    for (size_t i = 0; i < DV_ARRAY_SIZE(keys); i++) {
        char row[64];
        snprintf(row, sizeof row, "`%s`", keys[i]);
        if (!strstr(page, row))
            fail_msg("no row for %s", keys[i]);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(test_page), cmocka_unit_test(test_keys)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
