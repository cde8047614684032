/* SPDX-License-Identifier: Apache-2.0 */
#include "baselines.h"

#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <string.h>

#include <cmocka.h>

static void test_names(void **state)
{
    static const char *const good[] = {"train.py", "_", "a-b+c@d:e", "9"},
                             *const bad[] = {"",        "a b", "../x",    "a/b",
                                             ".hidden", "-x",  "\x1b[2J", "(others)"};
    struct dv_err err = {0};
    char long_name[80];
    memset(long_name, 'a', sizeof long_name);
    long_name[64] = 0;
    assert_int_equal(dv_baselines_check_name(long_name, &err), -EINVAL);
    long_name[63] = 0;
    assert_int_equal(dv_baselines_check_name(long_name, &err), 0);
    for (size_t i = 0; i < DV_ARRAY_SIZE(good); i++)
        assert_int_equal(dv_baselines_check_name(good[i], &err), 0);
    for (size_t i = 0; i < DV_ARRAY_SIZE(bad); i++)
        assert_int_equal(dv_baselines_check_name(bad[i], &err), -EINVAL);
}

/* Whatever the command is, its name is one. */
static void test_names_of_commands(void **state)
{
    static const struct {
        const char *command, *name;
    } cases[] = {{"/usr/bin/python3 src/train.py --steps 5", "train.py"},
                 {"python3 -c 'x'", "python3"},
                 {"python3 ", "python3"},
                 {"/usr/local/bin/divvy-load spin", "divvy-load"},
                 {"./server", "server"},
                 {"dir/", "_"},
                 {"", "_"},
                 {"\x1b[2J evil", "__2J"},
                 {".x", "_x"}};
    char name[DV_STORE_BASELINE_NAME];
    struct dv_err err = {0};
    char long_command[300];
    for (size_t i = 0; i < DV_ARRAY_SIZE(cases); i++) {
        dv_baselines_name(cases[i].command, name);
        assert_string_equal(name, cases[i].name);
        assert_int_equal(dv_baselines_check_name(name, &err), 0);
    }
    memset(long_command, '-', sizeof long_command);
    long_command[299] = 0;
    dv_baselines_name(long_command, name);
    assert_int_equal(dv_baselines_check_name(name, &err), 0);
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(test_names),
                                       cmocka_unit_test(test_names_of_commands)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
