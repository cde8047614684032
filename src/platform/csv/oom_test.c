/* SPDX-License-Identifier: Apache-2.0 */
/* Memory runs out at the first, the second, the third... allocation while a file is opened and
 * read: -ENOMEM each time, nothing is handed out and nothing leaks (which the address sanitizer
 * sees). */
#include "base/testing/oom.h"
#include "csv/csv.h"

#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

static const unsigned char gzipped[] = {/* "a,b\n1,2\n" */
                                        0x1f, 0x8b, 0x08, 0x00, 0x00, 0x00, 0x00, 0x00, 0x02, 0xff,
                                        0x4b, 0xd4, 0x49, 0xe2, 0x32, 0xd4, 0x31, 0xe2, 0x02, 0x00,
                                        0x7b, 0x07, 0x97, 0x0a, 0x08, 0x00, 0x00, 0x00};

static int life(const void *data, size_t size)
{
    static const struct dv_csv_column columns[] = {{"a"}, {"b"}};
    dv_cleanup(dv_csv_freep) struct dv_csv *csv = NULL;
    struct dv_err err = {{0}};
    int r = dv_csv_open_memory("t.csv", data, size, &csv, &err);
    if (r < 0)
        assert_null(csv);
    r = r < 0 ? r : dv_csv_select(csv, columns, 2, &err);
    while (r >= 0 && (r = dv_csv_next(csv, &err)) > 0)
        ;
    if (r < 0)
        assert_string_equal(err.msg, "out of memory");
    return r;
}

static void try_all(const void *data, size_t size)
{
    size_t n = 0;
    bool met;
    do {
        dv_oom_at(++n);
        int r = life(data, size);
        met = dv_oom_end();
        assert_int_equal(r, met ? -ENOMEM : 0);
    } while (met);
    assert_in_range(n, 6, 100);
}

static void test_plain(void **state)
{
    try_all("a,b\n1,2\n", 8);
}

static void test_gzip(void **state)
{
    try_all(gzipped, sizeof gzipped);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_plain),
        cmocka_unit_test(test_gzip),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
