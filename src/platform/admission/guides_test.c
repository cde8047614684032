/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What popular guides tell people to write, where the tree lies beside those snippets
 * (../shared/data/guides): every pod, deployment and job gets the verdict that its row in
 * expected.tsv wants. In a plain clone there is nothing to read, and the test is skipped.
 */
#include "admission/admission.h"
#include "base/str.h"
#include "render/json.h"
#include "sys/testing/texts.h"
#include "yaml/yaml_output.h"
#include "yaml/yaml_tree.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

/* A container's resources, put into a pod. */
static void wrap(const struct dv_str *fragment, struct dv_str *pod)
{
    const char *text = dv_str_get(fragment);
    dv_str_add(pod, "{\"apiVersion\":\"v1\",\"kind\":\"Pod\",\"spec\":{\"containers\":[");
    dv_str_add(pod, text);
    dv_str_add(pod, "]}}");
}

enum verdict { ACCEPTED, WARNED, REWRITTEN, REFUSED };

static enum verdict judge(const struct dv_yaml_node *node, bool fragment)
{
    dv_cleanup(dv_output_free) struct dv_output *o = NULL;
    dv_cleanup(dv_str_done) struct dv_str json = {0}, pod = {0};
    dv_cleanup(dv_admission_free) struct dv_admission *a = NULL;
    static const struct dv_admission_rules none;
    struct dv_err err;
    assert_int_equal(dv_yaml_output_node("guide", node, &o, &err), 0);
    assert_int_equal(dv_json_write(o, false, &json), 0);
    if (fragment)
        wrap(&json, &pod);
    const struct dv_str *text = fragment ? &pod : &json;
    assert_int_equal(dv_admission_object(text->data, text->len, &none, &a, &err), 0);
    for (uint32_t i = 0; i < a->n_findings; i++)
        print_message("    %s\n", a->findings[i].text);
    assert_int_not_equal(a->result, DV_ADMISSION_NONE);
    return a->result == DV_ADMISSION_REFUSED     ? REFUSED
           : a->result == DV_ADMISSION_REWRITTEN ? REWRITTEN
           : a->warned                           ? WARNED
                                                 : ACCEPTED;
}

/* A file with several objects has the verdict of the worst. */
static enum verdict judge_all(const char *text, size_t len, bool fragment)
{
    dv_cleanup(dv_yaml_freep) struct dv_yaml *yaml = NULL;
    struct dv_err err;
    enum verdict worst = ACCEPTED;
    assert_int_equal(dv_yaml_parse("guide", text, len, &yaml, &err), 0);
    for (uint32_t i = 0; i < yaml->n_roots; i++) {
        enum verdict v = judge(yaml->roots[i], fragment);
        worst = DV_MAX(worst, v);
    }
    return worst;
}

static void test_guides(void **state)
{
    static const char *const verdicts[] = {"accepted", "warned", "rewritten", "refused"};
    static const char *const kinds[] = {"pod", "pod-fragment", "deployment", "job"};
    const char *dir = dv_texts_guides();
    size_t len;
    int files = 0, wrong = 0;
    if (!dir) {
        print_message("no guides beside this tree\n");
        skip();
    }
    char *table = dv_texts_guide(dir, "expected.tsv", &len), *rest = table;
    for (char *row; (row = strsep(&rest, "\n"));) {
        char *file = strsep(&row, "\t"), *kind = strsep(&row, "\t"), *want = strsep(&row, "\t");
        bool known = false;
        for (size_t i = 0; want && i < DV_ARRAY_SIZE(kinds); i++)
            known = known || !strcmp(kind, kinds[i]);
        if (!known)
            continue;
        char *text = dv_texts_guide(dir, file, &len);
        print_message("%s\n", file);
        const char *got = verdicts[judge_all(text, len, !strcmp(kind, "pod-fragment"))];
        if (strcmp(got, want) != 0) {
            print_message("  %s, where %s is wanted\n", got, want);
            wrong++;
        }
        files++;
        free(text);
    }
    free(table);
    assert_int_equal(wrong, 0);
    assert_true(files >= 12);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_guides),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
