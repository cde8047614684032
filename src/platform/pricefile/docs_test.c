/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The examples of docs/reference/price-file.md are true. A block ```yaml is read without an error
 * and without a warning; after ```yaml refused and ```yaml warned the next block is the message,
 * letter by letter.
 */
#include "pricefile/pricefile.h"
#include "sys/testing/texts.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

static void check(const struct dv_texts_block *b, char **rest)
{
    struct dv_price_list *l = NULL;
    struct dv_pricefile_info info = {0};
    struct dv_err err = {{0}};
    char message[600] = "";
    struct dv_texts_block expected = {NULL, ""};
    int r = dv_pricefile_read("prices.yaml", b->text, strlen(b->text), NULL, &l, &info, &err);
    if (r < 0)
        snprintf(message, sizeof message, "%s\n", err.msg);
    else if (info.n_warnings)
        snprintf(message, sizeof message, "prices.yaml:%u: %s\n", info.warnings[0].line,
                 info.warnings[0].text);
    dv_price_list_free(l);
    if (strcmp(b->info, "yaml") != 0)
        assert_true(dv_texts_block(rest, &expected));
    assert_string_equal(message, expected.text);
    assert_int_equal(r < 0, !strcmp(b->info, "yaml refused"));
}

static void test_page(void **state)
{
    char *rest = dv_texts_page("docs/reference/price-file.md");
    struct dv_texts_block b;
    int n = 0;
    while (dv_texts_block(&rest, &b)) {
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
