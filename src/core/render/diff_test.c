/* SPDX-License-Identifier: Apache-2.0 */
#include "base/rng.h"
#include "render/diff.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

static void check(const char *before, const char *after, const char *want)
{
    dv_cleanup(dv_str_done) struct dv_str text = {0};
    assert_int_equal(dv_diff_write("a", before, strlen(before), "b", after, strlen(after), &text),
                     0);
    assert_string_equal(dv_str_get(&text), want);
}

static void test_small(void **state)
{
    check("", "", "");
    check("a\nb\n", "a\nb\n", "");
    check("a\nb\nc\n", "a\nx\nc\n", "--- a\n+++ b\n@@ -1,3 +1,3 @@\n a\n-b\n+x\n c\n");
    check("", "a\n", "--- a\n+++ b\n@@ -0,0 +1,1 @@\n+a\n");
    check("a\n", "", "--- a\n+++ b\n@@ -1,1 +0,0 @@\n-a\n");
    check("a", "a\n", "--- a\n+++ b\n@@ -1,1 +1,1 @@\n-a\n\\ No newline at end of file\n+a\n");
    /* Far apart: two pieces; near each other: one. */
    check("1\n2\n3\n4\n5\n6\n7\n8\n9\n", "x\n2\n3\n4\n5\n6\n7\n8\ny\n",
          "--- a\n+++ b\n@@ -1,4 +1,4 @@\n-1\n+x\n 2\n 3\n 4\n@@ -6,4 +6,4 @@\n 6\n 7\n 8\n-9\n"
          "+y\n");
    check("1\n2\n3\n4\n", "x\n2\n3\ny\n",
          "--- a\n+++ b\n@@ -1,4 +1,4 @@\n-1\n+x\n 2\n 3\n-4\n+y\n");
}

/* What patch(1) does: `before` and the pieces make `after`. The texts end with newlines. */
static void patch(const char *before, const char *diff, struct dv_str *ret)
{
    const char *p = before, *d = strstr(diff, "@@");
    unsigned line = 1;
    while (d && *d) {
        unsigned from = 0, n = 0;
        assert_int_equal(sscanf(d, "@@ -%u,%u", &from, &n), 2);
        for (from += !n; line < from; line++) {
            const char *next = strchr(p, '\n') + 1;
            dv_str_addn(ret, p, (size_t)(next - p));
            p = next;
        }
        for (d = strchr(d, '\n') + 1; *d && *d != '@';) {
            const char *end = strchr(d, '\n') + 1;
            if (*d != '+') {
                assert_memory_equal(p, d + 1, (size_t)(end - d - 1));
                p += end - d - 1;
                line++;
            }
            if (*d != '-')
                dv_str_addn(ret, d + 1, (size_t)(end - d - 1));
            d = end;
        }
    }
    dv_str_add(ret, p);
}

static void test_patch_makes_after(void **state)
{
    struct dv_rng rng = {5};
    for (int round = 0; round < 5000; round++) {
        char texts[2][256];
        for (int k = 0; k < 2; k++) {
            size_t n = 0, lines = dv_rng_below(&rng, 20);
            for (size_t i = 0; i < lines; i++)
                n += (size_t)snprintf(texts[k] + n, sizeof texts[k] - n, "%c\n",
                                      (int)('a' + dv_rng_below(&rng, 4)));
            texts[k][n] = 0;
        }
        dv_cleanup(dv_str_done) struct dv_str diff = {0}, made = {0};
        assert_int_equal(
            dv_diff_write("a", texts[0], strlen(texts[0]), "b", texts[1], strlen(texts[1]), &diff),
            0);
        patch(texts[0], dv_str_get(&diff), &made);
        assert_string_equal(dv_str_get(&made), texts[1]);
    }
}

/* Beyond the bound everything is replaced, which is right too. */
static void test_large(void **state)
{
    dv_cleanup(dv_str_done) struct dv_str a = {0}, b = {0}, diff = {0}, made = {0};
    for (int i = 0; i < 3000; i++) {
        dv_str_addf(&a, "a%d\n", i);
        dv_str_addf(&b, "b%d\n", i);
    }
    assert_int_equal(dv_diff_write("a", a.data, a.len, "b", b.data, b.len, &diff), 0);
    patch(a.data, dv_str_get(&diff), &made);
    assert_string_equal(dv_str_get(&made), b.data);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_small),
        cmocka_unit_test(test_patch_makes_after),
        cmocka_unit_test(test_large),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
