/* SPDX-License-Identifier: Apache-2.0 */
#include "base/base64.h"
#include "base/rng.h"

#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdlib.h>
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

static void test_decode(void **state)
{
    struct dv_rng rng = {7};
    for (size_t len = 0; len < 80; len++) {
        unsigned char in[80];
        char *out = NULL;
        size_t n = 0;
        struct dv_str text = {0};
        for (size_t i = 0; i < len; i++)
            in[i] = (unsigned char)dv_rng_next(&rng);
        dv_base64_add(in, len, &text);
        assert_int_equal(text.len, (len + 2) / 3 * 4);
        assert_int_equal(dv_base64_decode(dv_str_get(&text), &out, &n), 0);
        assert_int_equal(n, len);
        assert_memory_equal(in, out, len);
        free(out);
        dv_str_done(&text);
    }
    static const char *const bad[] = {"A",
                                      "AA",
                                      "AAA",
                                      "=",
                                      "A===",
                                      "AA=A",
                                      "AAA=AAAA",
                                      "AA==A",
                                      "A-AA",
                                      "====",
                                      "AA=\x80",
                                      "AA=="
                                      "=="};
    for (size_t i = 0; i < DV_ARRAY_SIZE(bad); i++) {
        char *out = NULL;
        size_t n;
        if (dv_base64_decode(bad[i], &out, &n) != -EINVAL)
            fail_msg("%s", bad[i]);
    }
    char *out;
    size_t n;
    assert_int_equal(dv_base64_decode("QU\nJD\r\n", &out, &n), 0);
    assert_string_equal(out, "ABC");
    free(out);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_vectors),
        cmocka_unit_test(test_decode),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
