/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The examples of docs/reference/plan-file.md are true: a block ```yaml is read without an error;
 * after ```yaml refused the next block is the message, letter by letter. And every key has a row.
 */
#include "fleetfile/plan_file.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

static char page[1 << 16];

static void load(void)
{
    char path[4096];
    const char *source = getenv("DIVVY_SOURCE");
    snprintf(path, sizeof path, "%s/docs/reference/plan-file.md", source ? source : ".");
    FILE *f = fopen(path, "r");
    if (!f)
        fail_msg("%s is not there", path);
    page[fread(page, 1, sizeof page - 1, f)] = 0;
    fclose(f);
}

struct block {
    char *info, *text; /* what stands behind the ```, and the lines up to the next ``` */
};

static bool next_block(char **rest, struct block *ret)
{
    char *start = strstr(*rest, "```");
    char *line = start ? strchr(start, '\n') : NULL;
    char *end = line ? strstr(line, "\n```") : NULL;
    if (!end)
        return false;
    *line = 0;
    end[1] = 0;
    *ret = (struct block){start + 3, line + 1};
    *rest = end + 4;
    return true;
}

static void check(const struct block *b, char **rest)
{
    dv_cleanup(dv_fleet_freep) struct dv_fleet *fleet = NULL;
    struct dv_err err = {{0}};
    char message[600] = "";
    struct block expected = {NULL, ""};
    int r = dv_plan_file_read("fleet.yaml", b->text, strlen(b->text), NULL, &fleet, &err);
    if (r < 0)
        snprintf(message, sizeof message, "%s\n", err.msg);
    if (strcmp(b->info, "yaml") != 0)
        assert_true(next_block(rest, &expected));
    assert_string_equal(message, expected.text);
    assert_int_equal(r < 0, !strcmp(b->info, "yaml refused"));
}

static void test_page(void **state)
{
    char *rest = page;
    struct block b;
    int n = 0;
    load();
    while (next_block(&rest, &b)) {
        check(&b, &rest);
        n++;
    }
    assert_true(n >= 3);
}

static void test_keys(void **state)
{
    static const char *const keys[] = {
        "gpus",     "workloads", "headroom",    "currency",  "apiVersion",     "kind", "model",
        "count",    "per_node",  "replicas",    "memory",    "price_per_hour", "name", "compute",
        "trust",    "training",  "interactive", "isolation", "utilization",    "tier", "p99",
        "topology", "modes",     "models",      "context",   "processes"};
    load();
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
