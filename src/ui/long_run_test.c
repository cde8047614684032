/* SPDX-License-Identifier: Apache-2.0 */
#include "long_run.h"

#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

static void check(uint64_t total, uint64_t done, uint64_t elapsed_ns, const char *expected)
{
    dv_cleanup(dv_str_done) struct dv_str text = {0};
    const struct dv_long_run run = {.what = "placing", .units = "pods", .total = total};
    dv_long_run_line(&run, done, elapsed_ns, &text);
    assert_string_equal(dv_str_get(&text), expected);
}

static void test_line(void **state)
{
    check(10866, 4812, DV_NS_PER_S, "placing  44% 4,812 of 10,866 pods, 4,812/s, 2s left");
    check(0, 1234567, 2 * DV_NS_PER_S, "placing  1,234,567 pods, 617,283/s");
    check(100, 0, DV_NS_PER_S, "placing  0% 0 of 100 pods, 0/s");
    check(100, 200, DV_NS_PER_S, "placing  100% 100 of 100 pods, 200/s, 0s left");
    check(100000, 10, DV_NS_PER_S, "placing  0% 10 of 100,000 pods, 10/s, 2h46m left");
    check(1000, 10, DV_NS_PER_S, "placing  1% 10 of 1,000 pods, 10/s, 1m39s left");
    check(UINT64_MAX, 1, UINT64_MAX, "placing  0% 1 of 18,446,744,073,709,551,615 pods, 0/s");
}

static void test_stops(void **state)
{
    struct dv_long_run run;
    dv_long_run_begin(&run, "a", "b", 10);
    assert_true(dv_long_run_at(&run, 1));
    raise(SIGINT);
    assert_false(dv_long_run_at(&run, 2));
    assert_int_equal(dv_long_run_signal(), SIGINT);
    assert_int_equal(dv_long_run_end(&run), 128 + SIGINT);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_line),
        cmocka_unit_test(test_stops),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
