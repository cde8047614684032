/* SPDX-License-Identifier: Apache-2.0 */
#include "policy/program.h"

#include <errno.h>
#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <string.h>

#include <cmocka.h>

static void grows(void **state)
{
    dv_cleanup(dv_program_done) struct dv_program p = {0};
    for (uint32_t i = 0; i < 1000; i++) {
        assert_int_equal(dv_program_column(&p, i, 0, INFINITY, false), i);
        assert_int_equal(dv_program_row(&p, -INFINITY, i), i);
        dv_program_entry(&p, i, i, 1);
        dv_program_entry(&p, i, 0, 0); /* left out */
    }
    assert_int_equal(dv_program_check(&p, NULL), 0);
    assert_int_equal(p.n_entries, 1000);
    assert_false(dv_program_has_integers(&p));
    dv_program_column(&p, 0, 0, 1, true);
    assert_true(dv_program_has_integers(&p));
}

static void refused(void (*build)(struct dv_program *p), int r, const char *words)
{
    dv_cleanup(dv_program_done) struct dv_program p = {0};
    struct dv_err err = {0};
    build(&p);
    assert_int_equal(dv_program_check(&p, &err), r);
    assert_non_null(strstr(err.msg, words));
}

static void empty(struct dv_program *p)
{
}

static void not_a_number(struct dv_program *p)
{
    assert_int_equal(dv_program_column(p, NAN, 0, 1, false), DV_PROGRAM_NONE);
    assert_int_equal(dv_program_column(p, 1, 0, 1, false), DV_PROGRAM_NONE); /* it is kept */
}

static void infinite_objective(struct dv_program *p)
{
    dv_program_column(p, INFINITY, 0, 1, false);
}

static void bound_is_nan(struct dv_program *p)
{
    dv_program_column(p, 1, 0, 1, false);
    dv_program_row(p, 0, NAN);
}

static void huge(struct dv_program *p)
{
    dv_program_column(p, 1e16, 0, 1, false);
}

static void no_such_column(struct dv_program *p)
{
    dv_program_column(p, 1, 0, 1, false);
    dv_program_entry(p, dv_program_row(p, 0, 1), 1, 1);
}

static void no_such_row(struct dv_program *p)
{
    dv_program_entry(p, 0, dv_program_column(p, 1, 0, 1, false), 1);
}

static void crossed_column(struct dv_program *p)
{
    dv_program_column(p, 1, 0, 1, false);
    dv_program_column(p, 1, 2, 1, false);
}

static void crossed_row(struct dv_program *p)
{
    dv_program_column(p, 1, 0, 1, false);
    dv_program_row(p, 2, 1);
}

static void twice(struct dv_program *p)
{
    uint32_t a = dv_program_column(p, 1, 0, 1, false);
    uint32_t b = dv_program_column(p, 1, 0, 1, false);
    uint32_t row = dv_program_row(p, 0, 1);
    dv_program_entry(p, row, a, 1);
    dv_program_entry(p, row, b, 1);
    dv_program_entry(p, row, a, 2);
}

static void says_what_is_wrong(void **state)
{
    refused(empty, -EINVAL, "no columns");
    refused(not_a_number, -EINVAL, "out of range");
    refused(infinite_objective, -EINVAL, "out of range");
    refused(bound_is_nan, -EINVAL, "out of range");
    refused(huge, -EINVAL, "out of range");
    refused(no_such_column, -EINVAL, "out of range");
    refused(no_such_row, -EINVAL, "out of range");
    refused(crossed_column, -EINVAL, "column 1: lower bound 2 above upper 1");
    refused(crossed_row, -EINVAL, "row 0: lower bound 2 above upper 1");
    refused(twice, -EINVAL, "row 0 has two numbers for column 0");
}

static void names(void **state)
{
    assert_string_equal(dv_program_status_name(DV_PROGRAM_OPTIMAL), "optimal");
    assert_string_equal(dv_program_status_name(DV_PROGRAM_CANCELLED), "cancelled");
    assert_string_equal(dv_program_status_name((enum dv_program_status)99), "unknown");
    dv_program_done(NULL);
    dv_program_result_done(NULL);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(grows),
        cmocka_unit_test(says_what_is_wrong),
        cmocka_unit_test(names),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
