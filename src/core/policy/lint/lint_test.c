/* SPDX-License-Identifier: Apache-2.0 */
#include "base/rng.h"
#include "policy/lint/lint.h"

#include <ctype.h>
#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

static void test_rules_are_sane(void **state)
{
    for (unsigned i = 0; i < DV_LINT_RULES; i++) {
        const struct dv_lint_rule_info *r = dv_lint_rule((enum dv_lint_rule)i);
        struct dv_err err;
        assert_int_equal(strlen(r->id), 5);
        assert_int_equal(dv_lint_rule_find(r->id, &err), i); /* also: no id is given twice */
        assert_int_equal(dv_lint_rule_find(r->name, &err), i);
        assert_true(*r->title && *r->why && *r->fix && *r->explanation);
        assert_int_equal(r->severity == DV_LINT_ERROR, r->verdict == DV_LINT_REFUSED);
        assert_int_equal(r->severity == DV_LINT_NOTE, r->verdict == DV_LINT_ACCEPTED);
        if (i)
            assert_true(strcmp(dv_lint_rule((enum dv_lint_rule)(i - 1))->id, r->id) < 0);
        for (const char *p = r->name; *p; p++)
            assert_true(islower((unsigned char)*p) || isdigit((unsigned char)*p) || *p == '-');
    }
}

static void test_words(void **state)
{
    struct dv_lint_report r = {0};
    dv_lint_begin(&r, "Pod", "a/b", 3);
    struct dv_lint_finding *f =
        dv_lint_add(&r, DV_LINT_NO_LIMIT, 5, 7, "nvidia.com/gpu", "1\n\x1b", NULL, NULL);
    assert_non_null(f);
    assert_non_null(strstr(f->why, "nvidia.com/gpu is requested"));
    assert_string_equal(f->fix, "put nvidia.com/gpu: 1   under limits; requests then follow by "
                                "themselves");
    /* The same once more counts once. */
    assert_null(dv_lint_add(&r, DV_LINT_NO_LIMIT, 5, 7, "nvidia.com/gpu", "1", NULL, NULL));
    assert_false(r.failed);
    dv_lint_finish(&r, "", 0, NULL);
    assert_int_equal(r.verdict, DV_LINT_REFUSED);
    assert_true(dv_lint_has_problems(&r));
    dv_lint_report_done(&r);
}

static void test_verdicts(void **state)
{
    struct dv_lint_report r = {0};
    dv_lint_begin(&r, "Service", NULL, 1);
    dv_lint_begin(&r, "Pod", NULL, 5);
    dv_lint_in_scope(&r);
    dv_lint_add(&r, DV_LINT_TOPOLOGY, 6, 1, "4", NULL, NULL, NULL);
    dv_lint_begin(&r, "Pod", NULL, 10);
    dv_lint_add(&r, DV_LINT_FRACTION, 12, 1, "a", "b", "c", NULL);
    dv_lint_finish(&r, "", 0, NULL);
    assert_int_equal(r.objects[0].verdict, DV_LINT_OUT_OF_SCOPE);
    assert_int_equal(r.objects[1].verdict, DV_LINT_ACCEPTED);
    assert_int_equal(r.objects[2].verdict, DV_LINT_REWRITTEN);
    assert_int_equal(r.verdict, DV_LINT_REWRITTEN);
    dv_lint_report_done(&r);
}

/* Findings DV105 in lines 1 to 4, and what a text and a filter leave of them. */
static uint32_t left(const char *text, const struct dv_lint_filter *filter, uint32_t *ret_notes)
{
    struct dv_lint_report r = {0};
    uint32_t n = 0;
    for (uint32_t line = 1; line <= 4; line++)
        dv_lint_add(&r, DV_LINT_VISIBLE_DEVICES, line, 1, "all", NULL, NULL, NULL);
    dv_lint_finish(&r, text, strlen(text), filter);
    *ret_notes = 0;
    for (uint32_t i = 0; i < r.n_findings; i++) {
        n += r.findings[i].rule == DV_LINT_VISIBLE_DEVICES;
        *ret_notes += r.findings[i].rule == DV_LINT_UNUSED_IGNORE;
    }
    dv_lint_report_done(&r);
    return n;
}

static void test_silence(void **state)
{
    struct dv_lint_filter only = {.n_only = 1, .only = {DV_LINT_NO_LIMIT}};
    struct dv_lint_filter deaf = {.no_comments = true};
    uint32_t notes;
    assert_int_equal(left("a\nb\nc\nd\n", NULL, &notes), 4);
    assert_int_equal(left("a\nb # divvy-lint: ignore DV105\nc\nd\n", NULL, &notes), 3);
    assert_int_equal(
        left("a\n# divvy-lint: ignore visible-devices, DV101 see ticket\nc\nd\n", NULL, &notes), 2);
    assert_int_equal(left("a # divvy-lint: ignore\nb\n", NULL, &notes), 3);
    assert_int_equal(left("a\n\n\n# divvy-lint: ignore-file DV105\n", NULL, &notes), 0);
    assert_int_equal(notes, 0);
    assert_int_equal(left("a # divvy-lint: ignore DV102\n", NULL, &notes), 4);
    assert_int_equal(notes, 1);
    assert_int_equal(left("a # divvy-lint: ignore DV105\n", &deaf, &notes), 4);
    assert_int_equal(left("x\n", &only, &notes), 0);
}

static void test_filter(void **state)
{
    enum dv_lint_rule list[DV_LINT_FILTER_MAX];
    struct dv_err err;
    uint32_t n = 0;
    assert_int_equal(dv_lint_filter_add(list, &n, "DV102,gpu-quantity,dv102", &err), 0);
    assert_int_equal(n, 2);
    assert_int_equal(dv_lint_filter_add(list, &n, "DV6", &err), 0);
    assert_int_equal(n, 6);
    assert_int_equal(dv_lint_filter_add(list, &n, "DV999", &err), -EINVAL);
    assert_int_equal(dv_lint_filter_add(list, &n, "gpu-quantty", &err), -EINVAL);
    assert_non_null(strstr(err.msg, "gpu-quantity"));
}

static void apply(struct dv_lint_report *r, const char *text, const char *want, uint32_t n)
{
    dv_cleanup(dv_str_done) struct dv_str s = {0};
    assert_int_equal(dv_lint_apply(r, text, strlen(text), &s), n);
    assert_string_equal(dv_str_get(&s), want);
    dv_lint_report_done(r);
}

static void test_edits(void **state)
{
    struct dv_lint_report r = {0};
    struct dv_lint_finding *f = dv_lint_add(&r, DV_LINT_NO_LIMIT, 1, 1, "a", NULL, NULL, NULL);
    dv_lint_edit(&r, f, 2, 3, "requests", "limits");
    dv_lint_edit(&r, f, 3, 1, "", "new\n");
    f = dv_lint_add(&r, DV_LINT_UNEQUAL, 1, 1, "b", NULL, NULL, NULL);
    dv_lint_edit(&r, f, 2, 5, "quests", "x"); /* overlaps: left for another time */
    f = dv_lint_add(&r, DV_LINT_FRACTION, 1, 1, "c", NULL, NULL, NULL);
    dv_lint_edit(&r, f, 3, 1, "gone", ""); /* not there: the whole finding is left */
    dv_lint_edit(&r, f, 1, 1, "a", "b");
    apply(&r, "a\n  requests: é\nlast\n", "a\n  limits: é\nnew\nlast\n", 1);
    /* Columns count letters, not bytes. */
    f = dv_lint_add(&r, DV_LINT_NO_LIMIT, 1, 1, "a", NULL, NULL, NULL);
    dv_lint_edit(&r, f, 1, 4, "x", "y");
    apply(&r, "éé x", "éé y", 1);
    /* The same edit of two findings is made once. */
    for (int i = 0; i < 2; i++) {
        f = dv_lint_add(&r, DV_LINT_NO_LIMIT, 1, (uint32_t)i + 1, "a", NULL, NULL, NULL);
        dv_lint_edit(&r, f, 1, 1, "a", "bb");
    }
    apply(&r, "a", "bb", 2);
}

/* Random edits: what comes out has the texts of those that were made, and nothing is lost. */
static void test_random_edits(void **state)
{
    struct dv_rng rng = {3};
    for (int round = 0; round < 3000; round++) {
        struct dv_lint_report r = {0};
        char text[64];
        size_t len = dv_rng_below(&rng, 60);
        for (size_t i = 0; i < len; i++)
            text[i] = "ab\n"[dv_rng_below(&rng, 3)];
        text[len] = 0;
        for (int i = 0; i < 6; i++) {
            struct dv_lint_finding *f =
                dv_lint_add(&r, DV_LINT_NO_LIMIT, 1, (uint32_t)i + 1, "x", NULL, NULL, NULL);
            dv_lint_edit(&r, f, 1 + (uint32_t)dv_rng_below(&rng, 5),
                         1 + (uint32_t)dv_rng_below(&rng, 8), dv_rng_below(&rng, 2) ? "a" : "ab",
                         "Q");
        }
        dv_cleanup(dv_str_done) struct dv_str s = {0};
        uint32_t n = dv_lint_apply(&r, text, len, &s);
        size_t marks = 0;
        for (size_t i = 0; i < s.len; i++)
            marks += s.data[i] == 'Q';
        assert_true(marks <= n && (n == 0) == (marks == 0));
        assert_true(s.len <= len);
        dv_lint_report_done(&r);
    }
}

static void test_bounds(void **state)
{
    struct dv_lint_report r = {0};
    for (uint32_t i = 0; i < DV_LINT_FINDINGS_MAX + 10; i++) {
        dv_lint_begin(&r, "Pod", NULL, i + 1);
        dv_lint_add(&r, DV_LINT_NO_LIMIT, i + 1, 1, "a", NULL, NULL, NULL);
    }
    assert_int_equal(r.n_findings, DV_LINT_FINDINGS_MAX);
    assert_int_equal(r.n_dropped, 10);
    assert_int_equal(r.n_objects, DV_LINT_OBJECTS_MAX);
    assert_false(r.failed);
    dv_lint_report_done(&r);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_rules_are_sane), cmocka_unit_test(test_words),
        cmocka_unit_test(test_verdicts),       cmocka_unit_test(test_silence),
        cmocka_unit_test(test_filter),         cmocka_unit_test(test_edits),
        cmocka_unit_test(test_random_edits),   cmocka_unit_test(test_bounds),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
