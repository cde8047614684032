/* SPDX-License-Identifier: Apache-2.0 */
#include "base/err.h"
#include "base/str.h"

#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

static void test_append(void **state)
{
    dv_cleanup(dv_str_done) struct dv_str s = {0};
    assert_string_equal(dv_str_get(&s), "");
    for (int i = 0; i < 100; i++)
        dv_str_addf(&s, "%d,", i);
    dv_str_addc(&s, '!');
    assert_false(s.failed);
    assert_int_equal(s.len, strlen(s.data));
    assert_int_equal(s.data[s.len - 1], '!');
    char *text = dv_str_steal(&s);
    assert_non_null(text);
    assert_null(s.data);
    free(text);
}

static void test_copy(void **state)
{
    char buf[4];
    assert_int_equal(dv_str_copy(buf, sizeof buf, "abc"), 0);
    assert_string_equal(buf, "abc");
    assert_int_equal(dv_str_copy(buf, sizeof buf, "abcd"), -ENAMETOOLONG);
    assert_string_equal(buf, "");
}

static void test_nearest(void **state)
{
    static const char *const keys[] = {"replicas", "rename", "devices"};
    assert_string_equal(dv_str_nearest("replica", keys, 3), "replicas");
    assert_string_equal(dv_str_nearest("renmae", keys, 3), "rename");
    assert_null(dv_str_nearest("memory", keys, 3));
    assert_null(dv_str_nearest("", keys, 3));
}

static void test_err(void **state)
{
    struct dv_err err = {{0}};
    assert_int_equal(dv_err_set(&err, -EINVAL, "bad %s", "key"), -EINVAL);
    dv_err_prefix(&err, "%s:%d: ", "node.yaml", 3);
    assert_string_equal(err.msg, "node.yaml:3: bad key");
    assert_int_equal(dv_err_set(NULL, -EIO, "x"), -EIO);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_append),
        cmocka_unit_test(test_copy),
        cmocka_unit_test(test_nearest),
        cmocka_unit_test(test_err),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
