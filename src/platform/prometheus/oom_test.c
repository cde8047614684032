/* SPDX-License-Identifier: Apache-2.0 */
/* Memory runs out at each allocation of reading an answer in turn: -ENOMEM, and nothing leaks. */
#include "base/testing/oom.h"
#include "prometheus/matrix.h"

#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <string.h>

#include <cmocka.h>

static int on_series(void *arg, const struct dv_prometheus_labels *labels)
{
    return 0;
}

static int on_sample(void *arg, int64_t unix_ns, double value, bool missing)
{
    return 0;
}

static int life(const char *text)
{
    const struct dv_prometheus_sink sink = {NULL, on_series, on_sample};
    struct dv_err err = {{0}};
    struct dv_matrix *m = dv_matrix_new(&sink);
    if (!m)
        return -ENOMEM;
    int r = dv_matrix_feed(m, text, strlen(text), &err);
    r = r ? r : dv_matrix_end(m, &err);
    dv_matrix_free(m);
    return r;
}

static void test_every_allocation_fails_once(void **state)
{
    static char text[4096] =
        "{\"status\":\"success\",\"data\":{\"resultType\":\"matrix\",\"result\":["
        "{\"metric\":{\"long\":\"";
    size_t at = strlen(text), n = 0;
    memset(text + at, 'x', 2000); /* so that the text must grow */
    memcpy(text + at + 2000, "\"},\"values\":[[1,\"2\"]]}]}}", 25);
    bool met;
    do {
        dv_oom_at(++n);
        int r = life(text);
        met = dv_oom_end();
        assert_int_equal(r, met ? -ENOMEM : 0);
    } while (met);
    assert_in_range(n, 4, 50);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_every_allocation_fails_once),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
