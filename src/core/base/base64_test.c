/* SPDX-License-Identifier: Apache-2.0 */
#include "base/base64.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <string.h>

#include <cmocka.h>

/* The vectors of RFC 4648, chapter 10, and bytes that are no text. */
static void test_vectors(void **state)
{
    static const struct {
        const char *data, *text;
    } all[] = {{"", ""},
               {"f", "Zg=="},
               {"fo", "Zm8="},
               {"foo", "Zm9v"},
               {"foob", "Zm9vYg=="},
               {"fooba", "Zm9vYmE="},
               {"foobar", "Zm9vYmFy"},
               {"\xff\xfe\xfd", "//79"},
               {"\xfb\xef\xbe", "++++"}};
    for (size_t i = 0; i < DV_ARRAY_SIZE(all); i++) {
        dv_cleanup(dv_str_done) struct dv_str s = {0};
        dv_base64_add(all[i].data, strlen(all[i].data), &s);
        assert_string_equal(dv_str_get(&s), all[i].text);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_vectors),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
