/* SPDX-License-Identifier: Apache-2.0 */
#include "policy/lint/lint_mig.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

static enum dv_lint_mig_result set(const char *list, const char *gpu, struct dv_str *text)
{
    char copy[512], *rest = copy;
    const char *names[64];
    struct dv_lint_mig_answer a;
    size_t n = 0;
    dv_str_copy(copy, sizeof copy, list);
    for (char *p; (p = strsep(&rest, ","));)
        names[n++] = p;
    assert_int_equal(dv_lint_mig_set(names, n, gpu ? dv_gpu_model_find(gpu, NULL) : NULL, &a), 0);
    dv_lint_mig_text(&a, text);
    return a.result;
}

static void test_sets(void **state)
{
    static const struct {
        const char *list, *gpu;
        enum dv_lint_mig_result want;
        const char *words;
    } cases[] = {
        {"3g.20gb,3g.20gb", NULL, DV_LINT_MIG_FITS, ""},
        {"3g.20gb,3g.20gb,3g.20gb,3g.20gb", NULL, DV_LINT_MIG_NO_ROOM, "at most 2 3g.20gb"},
        {"9,9,9", NULL, DV_LINT_MIG_NO_ROOM, "at most 2"},
        {"3g.40gb,2g.20gb,1g.10gb,1g.10gb", NULL, DV_LINT_MIG_FITS, ""},
        {"1g.10gb,1g.10gb,1g.10gb,1g.10gb,1g.10gb,1g.10gb,1g.10gb", NULL, DV_LINT_MIG_FITS, ""},
        {"1g.10gb,1g.10gb,1g.10gb,1g.10gb,1g.10gb", "A100-40GB", DV_LINT_MIG_NO_ROOM, "at most 4"},
        /* An A100-40GB has this profile too, and holds fewer: the GPU that comes nearest is named.
         */
        {"1g.10gb,1g.10gb,1g.10gb,1g.10gb,1g.10gb,1g.10gb,1g.10gb,1g.10gb", NULL,
         DV_LINT_MIG_NO_ROOM, "A100-80GB holds at most 7 1g.10gb"},
        {"3g.20gb,1g.10gb,7g.80gb", NULL, DV_LINT_MIG_NO_PROFILE, "no MIG profile"},
        {"1g.10gb", "T4", DV_LINT_MIG_NO_MIG, "T4 has no MIG"},
        {"1c.3g.40gb", NULL, DV_LINT_MIG_FITS, ""},
    };
    for (size_t i = 0; i < DV_ARRAY_SIZE(cases); i++) {
        dv_cleanup(dv_str_done) struct dv_str text = {0};
        assert_int_equal(set(cases[i].list, cases[i].gpu, &text), cases[i].want);
        if (!strstr(dv_str_get(&text), cases[i].words))
            print_message("%s: %s\n", cases[i].list, dv_str_get(&text));
        assert_non_null(strstr(dv_str_get(&text), cases[i].words));
    }
}

static void test_profiles(void **state)
{
    const char *near;
    assert_true(dv_lint_mig_profile("3g.40gb", NULL, &near));
    assert_true(dv_lint_mig_profile("1g.18gb", NULL, &near));
    assert_false(dv_lint_mig_profile("1g.10g", NULL, &near));
    assert_string_equal(near, "1g.10gb");
    assert_false(dv_lint_mig_profile("3g.40gb", dv_gpu_model_find("A100-40GB", NULL), &near));
    assert_true(dv_lint_mig_id(19, NULL));
    assert_false(dv_lint_mig_id(77, NULL));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_sets),
        cmocka_unit_test(test_profiles),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
