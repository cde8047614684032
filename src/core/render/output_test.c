/* SPDX-License-Identifier: Apache-2.0 */
#include "base/rng.h"
#include "render/json.h"
#include "render/output.h"
#include "render/value.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

static void test_json_golden(void **state)
{
    dv_cleanup(dv_output_free) struct dv_output *o = dv_output_new("Usage");
    struct dv_output_node *list = dv_output_array(dv_output_root(o), "tenants");
    struct dv_output_node *row = dv_output_object(list, NULL);
    dv_output_string(row, "tenant", "alice");
    dv_output_seconds(row, "busy_seconds", UINT64_C(3500000001));
    dv_output_bytes(row, "memory_bytes", UINT64_MAX);
    dv_output_compute(row, "compute_permille", 3500);
    dv_output_int(row, "priority", -3);
    dv_output_decimal(row, "p50_ms", -1234567, 6);
    dv_output_bool(row, "own", true);
    dv_output_string(row, "profile", NULL);
    dv_output_array(row, "pids");
    dv_cleanup(dv_str_done) struct dv_str text = {0};
    assert_int_equal(dv_json_write(o, false, &text), 0);
    assert_string_equal(dv_str_get(&text),
                        "{\"apiVersion\":\"divvy/v1\",\"kind\":\"Usage\",\"tenants\":[{"
                        "\"tenant\":\"alice\",\"busy_seconds\":3.500000001,"
                        "\"memory_bytes\":18446744073709551615,\"compute_permille\":500,"
                        "\"priority\":-3,\"p50_ms\":-1.234567,\"own\":true,\"profile\":null,"
                        "\"pids\":[]}]}\n");
}

static void test_json_pretty(void **state)
{
    dv_cleanup(dv_output_free) struct dv_output *o = dv_output_new(NULL);
    struct dv_output_node *list = dv_output_array(dv_output_root(o), "a");
    dv_output_uint(list, NULL, 1);
    dv_output_object(list, NULL);
    dv_cleanup(dv_str_done) struct dv_str text = {0};
    assert_int_equal(dv_json_write(o, true, &text), 0);
    assert_string_equal(dv_str_get(&text), "{\n  \"a\": [\n    1,\n    {}\n  ]\n}\n");
}

static void assert_quoted(const char *in, const char *out)
{
    dv_cleanup(dv_str_done) struct dv_str text = {0};
    dv_json_quote(in, &text);
    assert_string_equal(dv_str_get(&text), out);
}

static void test_json_strings(void **state)
{
    assert_quoted("", "\"\"");
    assert_quoted("a\"b\\c/d", "\"a\\\"b\\\\c/d\"");
    assert_quoted("\b\f\n\r\t\x01\x1f\x7f", "\"\\b\\f\\n\\r\\t\\u0001\\u001f\\u007f\"");
    assert_quoted("gr\xc3\xbc\xc3\x9f \xf0\x9f\x90\xa7", "\"gr\xc3\xbc\xc3\x9f \xf0\x9f\x90\xa7\"");
    /* A lone tail, a cut sequence, an overlong slash, a surrogate, above U+10FFFF. */
    assert_quoted("\x80|", "\"\xef\xbf\xbd|\"");
    assert_quoted("\xe2\x82", "\"\xef\xbf\xbd\xef\xbf\xbd\"");
    assert_quoted("\xc0\xaf", "\"\xef\xbf\xbd\xef\xbf\xbd\"");
    assert_quoted("\xed\xa0\x80", "\"\xef\xbf\xbd\xef\xbf\xbd\xef\xbf\xbd\"");
    assert_quoted("\xf4\x90\x80\x80", "\"\xef\xbf\xbd\xef\xbf\xbd\xef\xbf\xbd\xef\xbf\xbd\"");
}

/* Whatever the bytes, the result is printable, valid UTF-8, and has its quotes escaped. */
static void test_json_random_strings(void **state)
{
    struct dv_rng rng = {1};
    for (int round = 0; round < 20000; round++) {
        char in[24];
        size_t len = dv_rng_below(&rng, sizeof in);
        for (size_t i = 0; i < len; i++)
            in[i] = (char)(1 + dv_rng_below(&rng, 255));
        in[len] = 0;
        dv_cleanup(dv_str_done) struct dv_str text = {0};
        dv_json_quote(in, &text);
        assert_true(text.len >= 2 && text.data[0] == '"' && text.data[text.len - 1] == '"');
        for (const char *p = text.data + 1; p < text.data + text.len - 1;) {
            unsigned n = dv_json_utf8(p);
            assert_true(n > 0 && (unsigned char)*p >= 0x20 && *p != '"' && *p != 0x7f);
            p += *p == '\\' ? 2 : n;
        }
    }
}

static const char *round_trip(const char *number, char buf[64])
{
    dv_cleanup(dv_output_free) struct dv_output *o = dv_output_new(NULL);
    dv_output_number(dv_output_root(o), "n", number);
    dv_cleanup(dv_str_done) struct dv_str text = {0};
    dv_value_raw(dv_output_get(dv_output_root(o), "n"), &text);
    assert_int_equal(dv_str_copy(buf, 64, dv_str_get(&text)), 0);
    return dv_output_failed(o) ? NULL : buf;
}

static void test_numbers(void **state)
{
    static const char *const good[] = {
        "0",
        "-0",
        "1",
        "-1",
        "18446744073709551615",
        "18446744073709551616",
        "-9223372036854775807",
        "-9223372036854775808",
        "0.1",
        "-0.25",
        "3.500000000",
        "1.0000000001",
        "1e9",
        "-2.5E-3",
        "123456789012345678901234567890",
    };
    static const char *const bad[] = {"", "-", "01", "1.", ".5", "1e", "0x1", "NaN", "+1", "1 "};
    char buf[64];
    for (size_t i = 0; i < DV_ARRAY_SIZE(good); i++)
        assert_string_equal(round_trip(good[i], buf), good[i]);
    for (size_t i = 0; i < DV_ARRAY_SIZE(bad); i++)
        assert_null(round_trip(bad[i], buf));
}

static void test_reading(void **state)
{
    dv_cleanup(dv_output_free) struct dv_output *o = dv_output_new("K");
    struct dv_output_node *root = dv_output_root(o);
    dv_output_number(root, "s", "1.5");
    dv_output_number(root, "whole", "2");
    dv_output_number(root, "huge", "99999999999999");
    dv_output_seconds(root, "exact", 7);
    dv_output_int(root, "neg", -4);
    assert_int_equal(dv_output_ns(dv_output_get(root, "s"), 0), 1500000000);
    assert_int_equal(dv_output_ns(dv_output_get(root, "whole"), 0), 2000000000);
    assert_int_equal(dv_output_ns(dv_output_get(root, "huge"), 5), 5);
    assert_int_equal(dv_output_ns(dv_output_get(root, "exact"), 0), 7);
    assert_int_equal(dv_output_count(dv_output_get(root, "neg"), 9), 9);
    assert_int_equal(dv_output_signed(dv_output_get(root, "neg"), 9), -4);
    assert_int_equal(dv_output_signed(dv_output_get(root, "whole"), 9), 2);
    assert_string_equal(dv_output_text(dv_output_get(root, "kind"), ""), "K");
    assert_string_equal(dv_output_text(dv_output_get(root, "none"), "x"), "x");
    assert_null(dv_output_at(root, 0));
}

/* Misuse and depth are remembered, not undefined. */
static void test_failures(void **state)
{
    dv_cleanup(dv_output_free) struct dv_output *o = dv_output_new(NULL);
    struct dv_output_node *node = dv_output_array(dv_output_root(o), "a");
    for (int i = 0; i < DV_OUTPUT_DEPTH_MAX - 1; i++)
        node = dv_output_array(node, NULL);
    assert_non_null(node);
    assert_false(dv_output_failed(o));
    assert_null(dv_output_array(node, NULL));
    assert_true(dv_output_failed(o));
    dv_output_string(NULL, "x", "y");
    dv_cleanup(dv_str_done) struct dv_str text = {0};
    assert_true(dv_json_write(o, false, &text) < 0);

    dv_cleanup(dv_output_free) struct dv_output *missing_key = dv_output_new(NULL);
    dv_output_uint(dv_output_root(missing_key), NULL, 1);
    assert_true(dv_output_failed(missing_key));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_json_golden),  cmocka_unit_test(test_json_pretty),
        cmocka_unit_test(test_json_strings), cmocka_unit_test(test_json_random_strings),
        cmocka_unit_test(test_numbers),      cmocka_unit_test(test_reading),
        cmocka_unit_test(test_failures),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
