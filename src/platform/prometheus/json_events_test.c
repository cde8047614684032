/* SPDX-License-Identifier: Apache-2.0 */
#include "prometheus/json_events.h"

#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

static char out[4096];
static size_t n_out;

static int on_event(void *arg, enum dv_json_event event, const char *text, size_t len)
{
    static const char marks[] = "{}[]ks#=";
    assert_true(event == DV_JSON_OBJECT || event == DV_JSON_ARRAY || event == DV_JSON_OBJECT_END ||
                event == DV_JSON_ARRAY_END || strlen(text) == len);
    n_out += (size_t)snprintf(out + n_out, sizeof out - n_out, "%c%s", marks[event],
                              event >= DV_JSON_KEY ? text : "");
    return 0;
}

/* In pieces of every size; the events must not depend on it. */
static const char *events_of(const char *text, size_t piece)
{
    static struct dv_err err;
    struct dv_json_events e = {.on_event = on_event};
    n_out = 0;
    out[0] = 0;
    int r = 0;
    for (size_t at = 0, len = strlen(text); r == 0 && at < len; at += piece)
        r = dv_json_events_feed(&e, text + at, piece < len - at ? piece : len - at, &err);
    r = r ? r : dv_json_events_end(&e, &err);
    dv_json_events_done(&e);
    return r < 0 ? err.msg : out;
}

static const char *events(const char *text)
{
    static char first[4096];
    snprintf(first, sizeof first, "%s", events_of(text, 1));
    for (size_t piece = 2; piece < 9; piece++)
        assert_string_equal(events_of(text, piece), first);
    return first;
}

static void test_events(void **state)
{
    assert_string_equal(events("{}"), "{}");
    assert_string_equal(events(" [ ] \n"), "[]");
    assert_string_equal(events("{\"a\":[1,-2.5e3,\"x\",true,null],\"b\":{}}"),
                        "{ka[#1#-2.5e3sx=true=null]kb{}}");
    assert_string_equal(events("\"\\u00e4\\ud83d\\ude00\\n\\\"\\/\""),
                        "s\xc3\xa4\xf0\x9f\x98\x80\n\"/");
    assert_string_equal(events("[\"\\ud83d\",\"\\ud83dx\",\"\\ude00\",\"\"]"), "[s?s?xs?s]");
    assert_string_equal(events("12"), "#12");
    assert_string_equal(events("{\"\":\"\"}"), "{ks}");
}

static void test_refused(void **state)
{
    static const char *const bad[] = {
        "",      "{",         "[1,]", "[1 2]",       "{\"a\"}", "{\"a\":}", "{a:1}",     "[1}",
        "tru",   "truee",     "01",   "1.",          "-",       "1e",       "\"a",       "\"\\x\"",
        "[] []", "\"\\u12\"", "{,}",  "\"\\u0000\"", "\"\t\"",  "]",        "{\"a\":1,}"};
    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++)
        assert_non_null(strstr(events(bad[i]), "not JSON at byte"));
}

static void test_bounds(void **state)
{
    struct dv_json_events e = {.on_event = on_event};
    struct dv_err err = {{0}};
    int r = 0;
    n_out = 0;
    for (int i = 0; r == 0 && i < 40; i++)
        r = dv_json_events_feed(&e, "[", 1, &err);
    assert_int_equal(r, -E2BIG);
    assert_string_equal(err.msg, "nested deeper than 32");
    dv_json_events_done(&e);
    e = (struct dv_json_events){.on_event = on_event};
    r = dv_json_events_feed(&e, "\"", 1, &err);
    for (size_t i = 0; r == 0 && i < 70000; i++)
        r = dv_json_events_feed(&e, "x", 1, &err);
    assert_int_equal(r, -E2BIG);
    dv_json_events_done(&e);
}

static int stop_at_key(void *arg, enum dv_json_event event, const char *text, size_t len)
{
    return event == DV_JSON_KEY ? 7 : 0;
}

static void test_the_callback_ends_it(void **state)
{
    struct dv_json_events e = {.on_event = stop_at_key};
    struct dv_err err = {{0}};
    assert_int_equal(dv_json_events_feed(&e, "{\"a\":1}", 7, &err), 7);
    dv_json_events_done(&e);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_events),
        cmocka_unit_test(test_refused),
        cmocka_unit_test(test_bounds),
        cmocka_unit_test(test_the_callback_ends_it),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
