/* SPDX-License-Identifier: Apache-2.0 */
#include "prometheus/matrix.h"

#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

static char out[4096];
static size_t n_out;

static int on_series(void *arg, const struct dv_prometheus_labels *labels)
{
    n_out += (size_t)snprintf(
        out + n_out, sizeof out - n_out, "<%s%s%s>", dv_prometheus_label(labels, "pod"),
        *dv_prometheus_label(labels, "gpu") ? "/" : "", dv_prometheus_label(labels, "gpu"));
    return 0;
}

static int on_sample(void *arg, int64_t unix_ns, double value, bool missing)
{
    n_out += (size_t)snprintf(out + n_out, sizeof out - n_out, "%lld=%s%g ",
                              (long long)(unix_ns / 1000000), missing ? "?" : "", value);
    return arg ? -ECANCELED : 0;
}

static const struct dv_prometheus_sink sink = {NULL, on_series, on_sample};

static const char *answer(const char *text)
{
    static struct dv_err err;
    struct dv_matrix *m = dv_matrix_new(&sink);
    assert_non_null(m);
    n_out = 0;
    out[0] = 0;
    int r = 0;
    for (const char *p = text; r == 0 && *p; p++)
        r = dv_matrix_feed(m, p, 1, &err);
    r = r ? r : dv_matrix_end(m, &err);
    if (r == 0 && *dv_matrix_warning(m))
        snprintf(out + n_out, sizeof out - n_out, "!%s", dv_matrix_warning(m));
    dv_matrix_free(m);
    return r < 0 ? err.msg : out;
}

static void test_answers(void **state)
{
    assert_string_equal(
        answer("{\"status\":\"success\",\"data\":{\"resultType\":\"matrix\",\"result\":["
               "{\"metric\":{\"__name__\":\"m\",\"pod\":\"a\",\"gpu\":\"0\"},"
               "\"values\":[[1662858720,\"12.5\"],[1662858780.057,\"NaN\"],[1e9,\"+Inf\"]]},"
               "{\"metric\":{},\"values\":[[1,\"-3e2\"]]}]}}"),
        "<a/0>1662858720000=12.5 1662858780057=?0 1000000000000=?0 <>1000=-300 ");
    assert_string_equal(
        answer("{\"data\":{\"result\":[],\"resultType\":\"matrix\",\"stats\":{}},"
               "\"warnings\":[\"a store is\\ngone\",\"b\"],\"status\":\"success\"}"),
        "!a store is?gone");
}

static void test_refused(void **state)
{
    assert_string_equal(answer("{\"status\":\"error\",\"errorType\":\"bad_data\",\"error\":"
                               "\"exceeded maximum resolution\"}"),
                        "exceeded maximum resolution");
    assert_string_equal(answer("{\"status\":\"success\",\"data\":{\"resultType\":\"vector\","
                               "\"result\":[]}}"),
                        "not an answer to a range query: its resultType is not matrix");
    assert_string_equal(answer("{\"hello\":1}"), "not an answer to a range query: no result in it");
    assert_string_equal(answer("[]"), "not an answer to a range query: no result in it");
    assert_non_null(strstr(answer("<html>"), "not JSON at byte 1"));
    static const char *const samples[] = {"[1]", "[\"1\",\"2\"]",   "[1,2]",       "[1,\"x\"]",
                                          "[]",  "[1,\"2\",\"3\"]", "[null,\"1\"]"};
    for (size_t i = 0; i < sizeof samples / sizeof *samples; i++) {
        char text[256];
        snprintf(text, sizeof text,
                 "{\"status\":\"success\",\"data\":{\"resultType\":\"matrix\",\"result\":["
                 "{\"metric\":{},\"values\":[%s]}]}}",
                 samples[i]);
        assert_non_null(strstr(answer(text), "not an answer to a range query"));
    }
    assert_non_null(strstr(answer("{\"status\":\"success\",\"data\":{\"result\":[{\"values\":[],"
                                  "\"metric\":{\"a\":\"b\"}}]}}"),
                           "labels after the samples"));
}

static void test_labels_are_bounded(void **state)
{
    char *text = calloc(1, 200000);
    assert_non_null(text);
    size_t n = (size_t)snprintf(text, 200000, "{\"data\":{\"result\":[{\"metric\":{\"l\":\"0\"");
    for (int i = 0; i < 70; i++)
        n += (size_t)snprintf(text + n, 200000 - n, ",\"l%d\":\"v\"", i);
    memcpy(text + n, "}}]}}", 6);
    assert_string_equal(answer(text), "a series with more than 64 labels");
    n = (size_t)snprintf(text, 200000, "{\"data\":{\"result\":[{\"metric\":{\"l\":\"");
    memset(text + n, 'x', 20000);
    memcpy(text + n + 20000, "\"}}]}}", 7);
    assert_string_equal(answer(text), "a series with more than 16384 bytes of labels");
    free(text);
}

static void test_the_sink_ends_it(void **state)
{
    static const char text[] = "{\"data\":{\"result\":[{\"metric\":{},\"values\":[[1,\"2\"]]}]}}";
    const struct dv_prometheus_sink stops = {out, on_series, on_sample};
    struct dv_matrix *m = dv_matrix_new(&stops);
    struct dv_err err = {{0}};
    n_out = 0;
    assert_int_equal(dv_matrix_feed(m, text, strlen(text), &err), -ECANCELED);
    assert_string_equal(err.msg, "");
    dv_matrix_free(m);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_answers),
        cmocka_unit_test(test_refused),
        cmocka_unit_test(test_labels_are_bounded),
        cmocka_unit_test(test_the_sink_ends_it),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
