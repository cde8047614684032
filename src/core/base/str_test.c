/* SPDX-License-Identifier: Apache-2.0 */
#include "base/err.h"
#include "base/str.h"

#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
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

struct taken {
    char first[16];
    size_t calls, bytes, longest, refuse_at;
};

static int take(void *arg, const char *text, size_t len)
{
    struct taken *t = arg;
    if (!t->calls)
        snprintf(t->first, sizeof t->first, "%s", text);
    if (++t->calls == t->refuse_at)
        return -EPIPE;
    t->bytes += len;
    t->longest = DV_MAX(t->longest, len);
    return 0;
}

/* However much is added, no more than a piece is held. */
static void test_sink(void **state)
{
    struct taken t = {0};
    const struct dv_str_sink sink = {take, &t};
    dv_cleanup(dv_str_done) struct dv_str s = {.sink = &sink};
    size_t added = 0;
    for (int i = 0; i < 200000; i++) {
        dv_str_addf(&s, "%06d", i);
        dv_str_addc(&s, ',');
        dv_str_add(&s, "text");
        added += 11;
    }
    dv_str_flush(&s);
    dv_str_flush(&s);
    assert_false(s.failed);
    assert_int_equal(t.bytes, added);
    assert_memory_equal(t.first, "000000,text0000", 15);
    assert_in_range(t.longest, DV_STR_PIECE, DV_STR_PIECE + 6);
    assert_int_equal(t.calls, added / DV_STR_PIECE + 1);
    assert_true(s.cap <= 2 * DV_STR_PIECE);
    assert_string_equal(dv_str_get(&s), "");
}

/* What the sink does not take ends the text, as missing memory does. */
static void test_sink_that_refuses(void **state)
{
    struct taken t = {.refuse_at = 2};
    const struct dv_str_sink sink = {take, &t};
    dv_cleanup(dv_str_done) struct dv_str s = {.sink = &sink};
    for (int i = 0; i < 100000; i++)
        dv_str_addf(&s, "%06d", i);
    dv_str_flush(&s);
    assert_true(s.failed);
    assert_int_equal(t.calls, 2);
}

/* In what room there is left, in none, and in too little. */
static void test_formatted(void **state)
{
    for (size_t before = 0; before < 200; before++) {
        dv_cleanup(dv_str_done) struct dv_str s = {0};
        for (size_t i = 0; i < before; i++)
            dv_str_addc(&s, 'x');
        dv_str_addf(&s, "%s%d", "some words and ", 12345);
        assert_int_equal(s.len, before + 20);
        assert_int_equal(strlen(s.data), s.len);
        assert_string_equal(s.data + before, "some words and 12345");
    }
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
        cmocka_unit_test(test_sink),
        cmocka_unit_test(test_sink_that_refuses),
        cmocka_unit_test(test_formatted),
        cmocka_unit_test(test_copy),
        cmocka_unit_test(test_nearest),
        cmocka_unit_test(test_err),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
