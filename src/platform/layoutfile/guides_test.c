/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What popular guides tell people to write, where the tree lies beside those snippets
 * (../shared/data/guides): every plugin and mig-parted configuration and every ClusterPolicy gets
 * the verdict that its row in expected.tsv wants. In a plain clone there is nothing to read, and
 * the test is skipped.
 */
#include "layoutfile/cluster_policy.h"
#include "layoutfile/layoutfile.h"
#include "sys/testing/texts.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#define ROWS_MAX 256

enum verdict { ACCEPTED, WARNED, REFUSED };

static enum verdict read_one(const char *name, const char *text, size_t len, const char *config)
{
    struct dv_layout *layout = NULL;
    struct dv_layoutfile_info info;
    struct dv_err err = {{0}};
    if (dv_layoutfile_read(name, text, len, config, &layout, &info, &err) < 0) {
        print_message("    %s\n", err.msg);
        assert_true(err.msg[0]);
        return REFUSED;
    }
    for (uint32_t i = 0; i < info.n_warnings; i++)
        print_message("    line %u: %s\n", info.warnings[i].line, info.warnings[i].text);
    dv_layout_free(layout);
    return info.n_warnings ? WARNED : ACCEPTED;
}

/* A file with several configurations has the verdict of the worst. */
static enum verdict read_all(const char *name, const char *text, size_t len)
{
    static char names[DV_LAYOUTFILE_CONFIGS_MAX][64];
    int n = dv_layoutfile_configs(name, text, len, names, NULL);
    if (n <= 0)
        return read_one(name, text, len, NULL);
    enum verdict worst = ACCEPTED;
    for (int i = 0; i < n; i++) {
        enum verdict v = read_one(name, text, len, names[i]);
        worst = DV_MAX(worst, v);
    }
    return worst;
}

static enum verdict read_policy(const char *name, const char *text, size_t len)
{
    struct dv_cluster_policy policy;
    struct dv_err err = {{0}};
    int r = dv_cluster_policy_read(name, text, len, &policy, &err);
    print_message("%s", r < 0 ? err.msg : "");
    return r < 0 ? REFUSED : ACCEPTED;
}

static void test_guides(void **state)
{
    static const char *const verdicts[] = {"accepted", "warned", "refused"};
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
        bool policy = want && !strcmp(kind, "clusterpolicy");
        if (!want || (!policy && strcmp(kind, "device-plugin-config") != 0 &&
                      strcmp(kind, "mig-parted-config") != 0))
            continue;
        char *text = dv_texts_guide(dir, file, &len);
        print_message("%s\n", file);
        const char *got =
            verdicts[policy ? read_policy(file, text, len) : read_all(file, text, len)];
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
