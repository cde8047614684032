/* SPDX-License-Identifier: Apache-2.0 */
#include "base/macros.h"
#include "spool.h"

#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

struct walk {
    uint64_t n, stop_at;
};

static struct dv_spool_sample sample(uint64_t i)
{
    return (struct dv_spool_sample){(int64_t)i * 1000, (uint32_t)(i % 77777), i % 2,
                                    (float)(i % 100)};
}

static bool check(void *arg, const struct dv_spool_sample *samples, size_t n)
{
    struct walk *w = arg;
    for (size_t i = 0; i < n; i++) {
        struct dv_spool_sample s = sample(w->n++);
        if (samples[i].unix_ns != s.unix_ns || samples[i].workload != s.workload ||
            samples[i].memory != s.memory || samples[i].value != s.value)
            fail();
    }
    return w->n < w->stop_at;
}

static void try_with(uint64_t count)
{
    dv_cleanup(dv_spool_freep) struct dv_spool *s = dv_spool_new();
    struct dv_err err = {{0}};
    assert_non_null(s);
    for (uint64_t i = 0; i < count; i++)
        assert_int_equal(dv_spool_add(s, sample(i), &err), 0);
    for (int again = 0; again < 2; again++) {
        struct walk w = {.stop_at = UINT64_MAX};
        assert_int_equal(dv_spool_walk(s, check, &w, &err), 0);
        assert_int_equal(w.n, count);
    }
    struct walk part = {.stop_at = 1};
    assert_int_equal(dv_spool_walk(s, check, &part, &err), 0);
    assert_true(part.n <= 4096);
}

static void test_in_memory(void **state)
{
    try_with(0);
    try_with(1);
    try_with(4096);
    try_with(100001);
    try_with(DV_SPOOL_IN_MEMORY);
}

static void test_in_a_file(void **state)
{
    try_with(DV_SPOOL_IN_MEMORY + 1);
    try_with(2 * DV_SPOOL_IN_MEMORY + 12345);
}

static void test_no_room_for_a_file(void **state)
{
    dv_cleanup(dv_spool_freep) struct dv_spool *s = dv_spool_new();
    struct dv_err err = {{0}};
    struct walk w = {0};
    assert_non_null(s);
    setenv("TMPDIR", "/nonexistent", 1);
    for (uint64_t i = 0; i < DV_SPOOL_IN_MEMORY; i++)
        assert_int_equal(dv_spool_add(s, sample(i), &err), 0);
    assert_int_equal(dv_spool_add(s, sample(0), &err), -ENOENT);
    assert_non_null(strstr(err.msg, "/nonexistent/divvy-audit-"));
    assert_int_equal(dv_spool_add(s, sample(0), &err), -ENOENT);
    assert_int_equal(dv_spool_walk(s, check, &w, &err), -ENOENT);
    unsetenv("TMPDIR");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_in_memory),
        cmocka_unit_test(test_in_a_file),
        cmocka_unit_test(test_no_room_for_a_file),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
