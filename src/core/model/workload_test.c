/* SPDX-License-Identifier: Apache-2.0 */
#include "model/workload.h"

#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <string.h>

#include <cmocka.h>

static void test_titles(void **state)
{
    char title[64];
    struct dv_workload w = {.container_id = "0123456789abcdef"};
    dv_workload_title(&w, title, sizeof title);
    assert_string_equal(title, "0123456789ab");
    strcpy(w.container, "main");
    dv_workload_title(&w, title, sizeof title);
    assert_string_equal(title, "main");
    strcpy(w.pod, "train-0");
    dv_workload_title(&w, title, sizeof title);
    assert_string_equal(title, "train-0/main");
    strcpy(w.namespace, "team-a");
    dv_workload_title(&w, title, sizeof title);
    assert_string_equal(title, "team-a/train-0/main");
    dv_workload_title(&w, title, 8);
    assert_string_equal(title, "team-a/");
}

static void test_what_is_a_workload(void **state)
{
    struct dv_err err;
    struct dv_workload w = {.container_id = "x"};
    assert_int_equal(dv_workload_check(&w, &err), 0);
    strcpy(w.pod, "a\033[2J");
    assert_int_equal(dv_workload_check(&w, &err), -EINVAL);
    assert_string_equal(err.msg, "the pod's name has the byte 0x1b");
    w = (struct dv_workload){.pod = "p"};
    assert_int_equal(dv_workload_check(&w, &err), -EINVAL);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_titles),
        cmocka_unit_test(test_what_is_a_workload),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
