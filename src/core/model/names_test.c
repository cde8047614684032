/* SPDX-License-Identifier: Apache-2.0 */
#include "model/names.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

static void names_keep_their_numbers(void **unused)
{
    dv_cleanup(dv_names_done) struct dv_names names = {0};
    assert_int_equal(dv_names_find(&names, "a"), DV_NAMES_NONE);
    for (int round = 0; round < 2; round++)
        for (uint32_t i = 0; i < 5000; i++) {
            char text[16];
            uint32_t number = 0;
            snprintf(text, sizeof text, "n%u", i);
            assert_int_equal(dv_names_add(&names, text, &number), 0);
            assert_int_equal(number, i);
        }
    assert_int_equal(names.n, 5000);
    assert_int_equal(dv_names_find(&names, "n4999"), 4999);
    assert_int_equal(dv_names_find(&names, "n5000"), DV_NAMES_NONE);
    assert_string_equal(names.v[77], "n77");
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(names_keep_their_numbers)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
