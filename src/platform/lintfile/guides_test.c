/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What popular guides tell people to type, where the tree lies beside those snippets
 * (../shared/data/guides): every file gets the verdict that its row in expected.tsv wants, and
 * mending it twice is mending it once. In a plain clone there is nothing to read, and the test is
 * skipped.
 */
#include "lintfile/lintfile.h"
#include "sys/testing/texts.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

static bool check_verdict(const char *file, const char *text, size_t len, const char *want)
{
    struct dv_lint_report report = {0};
    struct dv_lintfile_options how = {0};
    struct dv_err err = {{0}};
    assert_int_equal(dv_lintfile_read(file, text, len, &how, &report, &err), 0);
    const char *got = dv_lint_verdict_name(report.verdict);
    bool right = !strcmp(got, want);
    if (!right)
        print_message("%s: %s, where %s is wanted\n", file, got, want);
    for (uint32_t i = 0; !right && i < report.n_findings; i++)
        print_message("  %u:%u: %s: %s\n", report.findings[i].line, report.findings[i].column,
                      dv_lint_rule(report.findings[i].rule)->id, report.findings[i].why);
    /* A finding names its place in the file. */
    for (uint32_t i = 0; i < report.n_findings; i++)
        assert_true(report.findings[i].line > 0 && report.findings[i].column > 0);
    dv_lint_report_done(&report);
    return right;
}

static void check_fix(const char *file, const char *text, size_t len)
{
    dv_cleanup(dv_str_done) struct dv_str once = {0}, twice = {0};
    struct dv_lintfile_options how = {0};
    struct dv_err err = {{0}};
    uint32_t first = 0, second = 0;
    assert_int_equal(dv_lintfile_fix(file, text, len, &how, &once, &first, &err), 0);
    assert_int_equal(
        dv_lintfile_fix(file, dv_str_get(&once), once.len, &how, &twice, &second, &err), 0);
    assert_int_equal(second, 0);
    assert_string_equal(dv_str_get(&once), dv_str_get(&twice));
    if (!first)
        assert_string_equal(dv_str_get(&once), text);
}

static void test_guides(void **state)
{
    const char *dir = dv_texts_guides();
    size_t len;
    int files = 0, wrong = 0;
    if (!dir) {
        print_message("no guides beside this tree\n");
        skip();
    }
    char *table = dv_texts_guide(dir, "expected.tsv", &len), *rest = table;
    strsep(&rest, "\n");
    for (char *row; (row = strsep(&rest, "\n"));) {
        char *file = strsep(&row, "\t"), *kind = strsep(&row, "\t"), *want = strsep(&row, "\t");
        if (!kind || !want)
            continue;
        char *text = dv_texts_guide(dir, file, &len);
        wrong += !check_verdict(file, text, len, want);
        check_fix(file, text, len);
        files++;
        free(text);
    }
    free(table);
    assert_int_equal(wrong, 0);
    assert_int_equal(files, 60);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_guides),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
