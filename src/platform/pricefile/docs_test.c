/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The examples of docs/reference/price-file.md are true. A block ```yaml is read without an error
 * and without a warning; after ```yaml refused and ```yaml warned the next block is the message,
 * letter by letter.
 */
#include "pricefile/pricefile.h"

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
    snprintf(path, sizeof path, "%s/docs/reference/price-file.md", source ? source : ".");
    FILE *f = fopen(path, "r");
    if (!f)
        fail_msg("%s is not there", path);
    page[fread(page, 1, sizeof page - 1, f)] = 0;
    fclose(f);
}

struct block {
    char *info, *text; /* what stands behind the ```, and the lines up to the next ``` */
};

/* Cuts the next block out of the page. */
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
    struct dv_price_list *l = NULL;
    struct dv_pricefile_info info = {0};
    struct dv_err err = {{0}};
    char message[600] = "";
    struct block expected = {NULL, ""};
    int r = dv_pricefile_read("prices.yaml", b->text, strlen(b->text), NULL, &l, &info, &err);
    if (r < 0)
        snprintf(message, sizeof message, "%s\n", err.msg);
    else if (info.n_warnings)
        snprintf(message, sizeof message, "prices.yaml:%u: %s\n", info.warnings[0].line,
                 info.warnings[0].text);
    dv_price_list_free(l);
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
    assert_true(n >= 7);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_page),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
