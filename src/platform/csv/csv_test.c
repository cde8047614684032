/* SPDX-License-Identifier: Apache-2.0 */
#include "base/rng.h"
#include "base/str.h"
#include "csv/csv.h"

#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>
#include <zlib.h>

#include <cmocka.h>

static const struct dv_csv_column abc[] = {{"a"}, {"b"}, {"c", .optional = true}};

/* All rows of a text as "a|b|c;", or the message. */
static const char *rows_of(const void *data, size_t size)
{
    static char out[4096];
    dv_cleanup(dv_csv_freep) struct dv_csv *csv = NULL;
    struct dv_err err = {{0}};
    size_t n = 0;
    int r = dv_csv_open_memory("t.csv", data, size, &csv, &err);
    r = r < 0 ? r : dv_csv_select(csv, abc, 3, &err);
    while (r >= 0 && (r = dv_csv_next(csv, &err)) > 0) {
        for (size_t i = 0; i < 3; i++) {
            struct dv_csv_field f = dv_csv_field(csv, i);
            assert_int_equal(f.text[f.len], 0);
            n += (size_t)snprintf(out + n, sizeof out - n, "%s%c", f.text, i < 2 ? '|' : ';');
        }
    }
    if (r < 0) {
        assert_string_not_equal(err.msg, "");
        snprintf(out, sizeof out, "%s", err.msg);
        if (csv) /* and it stays an error */
            assert_true(dv_csv_next(csv, &err) < 0);
    } else {
        out[n] = 0;
    }
    return out;
}

static const char *rows(const char *text)
{
    return rows_of(text, strlen(text));
}

static void test_rows(void **state)
{
    assert_string_equal(rows("a,b,c\n1,2,3\n4,5,6\n"), "1|2|3;4|5|6;");
    assert_string_equal(rows("a,b,c\r\n1,2,3\r\n4,5,6"), "1|2|3;4|5|6;");
    assert_string_equal(rows("c,x,b,a\n1,2,3,4\n"), "4|3|1;"); /* by name, others ignored */
    assert_string_equal(rows("a,b\n1,2\n"), "1|2|;");          /* an optional one is missing */
    assert_string_equal(rows("\xef\xbb\xbf"
                             "a,b\n1,2\n"),
                        "1|2|;");
    assert_string_equal(rows("\n\na,b\n\n1,2\n\r\n\n3,4\n\n"), "1|2|;3|4|;");
    assert_string_equal(rows("a,b\n,\n"), "||;");
    assert_string_equal(rows("a,b\n"), "");
    assert_string_equal(rows(" a , b\n1, 2\n"), "1| 2|;");
    assert_string_equal(rows("a;b\n1,5;2\n"), "1,5|2|;");
    assert_string_equal(rows("a\tb\n1\t2\n"), "1|2|;");
}

static void test_quotes(void **state)
{
    assert_string_equal(rows("a,\"b\"\n\"1,5\",\"say \"\"hi\"\"\"\n"), "1,5|say \"hi\"|;");
    assert_string_equal(rows("a,b\n\"x\ny\",2\n3,4\n"), "x\ny|2|;3|4|;");
    assert_string_equal(rows("a,b\r\n\"\",\"\"\r\n"), "||;");
    assert_string_equal(rows("a,b\n1,\"2\""), "1|2|;");
    assert_string_equal(rows("a,b\n1,2\"\n3,4\n"),
                        "t.csv:2: a double quote is opened here and never closed");
    assert_string_equal(rows("a,b\n1,x\"2\"\n"), "t.csv:2: field 2: a double quote in a field that "
                                                 "does not begin with one");
    assert_string_equal(rows("a,b\n\"1\"x,2\n"), "t.csv:2: field 1: text after the closing double "
                                                 "quote; a quote inside a field is written twice");
}

static void test_refused(void **state)
{
    assert_string_equal(rows(""), "t.csv:1: empty; a line with the names of the columns is needed");
    assert_string_equal(rows("\n\n"), "t.csv:1: empty; a line with the names of the columns is "
                                      "needed");
    assert_string_equal(rows("a,bb,c\n"),
                        "t.csv:1: no column 'b' (did you mean 'a'?); there are 'a', 'bb', 'c'");
    assert_string_equal(rows("time,value\n1,2\n"), "t.csv:1: no column 'a'; there are 'time', "
                                                   "'value'");
    assert_string_equal(rows("a,b,a\n"), "t.csv:1: column 'a' is there twice, as number 1 and 3");
    assert_string_equal(rows("a,b\n1,2,3\n"), "t.csv:2: 3 fields where the header has 2 columns");
    assert_string_equal(rows("a,b\n\"x\n\n\",2\n1\n3,4\n"),
                        "t.csv:5: 1 field where the header has 2 "
                        "columns");
    assert_string_equal(rows("a,b\n1,2\n1"),
                        "t.csv:3: 1 field where the header has 2 columns; this "
                        "is the last line: was the file cut?");
    assert_string_equal(rows("a,b\r1,2\r"), "t.csv:1: lines end in a carriage return alone; they "
                                            "must end in LF or CRLF");
    assert_string_equal(rows_of("a,b\n1,\0\n", 8),
                        "t.csv:2: a NUL byte: this is not a text file, or it was damaged");
    assert_string_equal(rows("PK\3\4xxxx"), "t.csv:1: is a zip archive, which is not read here: "
                                            "unzip -p FILE, and read '-'");
    assert_string_equal(rows_of("\xff\xfe"
                                "a\0,\0",
                                6),
                        "t.csv:1: is UTF-16, which is not read here: write it as UTF-8");
}

static void test_no_such_file(void **state)
{
    struct dv_csv *csv = NULL;
    struct dv_err err = {{0}};
    assert_int_equal(dv_csv_open("/nonexistent/x.csv", &csv, &err), -ENOENT);
    assert_string_equal(err.msg, "/nonexistent/x.csv: No such file or directory");
    assert_int_equal(dv_csv_open("/", &csv, &err), -EISDIR);
    assert_string_equal(err.msg, "/:1: Is a directory");
    assert_null(csv);
}

static void test_numbers(void **state)
{
    static const struct dv_csv_column columns[] = {{"n"}};
    static const char text[] = "n\n1.5\n-3\nx\n1e400\n18446744073709551615\n";
    dv_cleanup(dv_csv_freep) struct dv_csv *csv = NULL;
    struct dv_err err = {{0}};
    double d = 0;
    int64_t i = 0;
    uint64_t u = 0;
    assert_int_equal(dv_csv_open_memory("n.csv", text, strlen(text), &csv, &err), 0);
    assert_int_equal(dv_csv_select(csv, columns, 1, &err), 0);
    assert_int_equal(dv_csv_next(csv, &err), 1);
    assert_int_equal(dv_csv_double(csv, 0, 0, 2, &d, &err), 0);
    assert_true(d == 1.5);
    assert_int_equal(dv_csv_double(csv, 0, 0, 1, &d, &err), -ERANGE);
    assert_string_equal(err.msg, "n.csv:2: column 'n': 1.5 is not between 0 and 1");
    assert_int_equal(dv_csv_int64(csv, 0, 0, 9, &i, &err), -EINVAL);
    assert_string_equal(err.msg, "n.csv:2: column 'n': '1.5' is not a whole number");
    assert_int_equal(dv_csv_next(csv, &err), 1);
    assert_int_equal(dv_csv_int64(csv, 0, -5, 9, &i, &err), 0);
    assert_int_equal(i, -3);
    assert_int_equal(dv_csv_uint64(csv, 0, 0, 9, &u, &err), -ERANGE);
    assert_string_equal(err.msg, "n.csv:3: column 'n': the number is negative");
    assert_int_equal(dv_csv_next(csv, &err), 1);
    assert_int_equal(dv_csv_double(csv, 0, 0, 1, &d, &err), -EINVAL);
    assert_string_equal(err.msg, "n.csv:4: column 'n': 'x' is not a number");
    assert_int_equal(dv_csv_next(csv, &err), 1);
    assert_int_equal(dv_csv_double(csv, 0, 0, 1, &d, &err), -ERANGE);
    assert_string_equal(err.msg, "n.csv:5: column 'n': 1e400 is too large");
    assert_int_equal(dv_csv_next(csv, &err), 1);
    assert_int_equal(dv_csv_uint64(csv, 0, 0, UINT64_MAX, &u, &err), 0);
    assert_true(u == UINT64_MAX);
    assert_int_equal(dv_csv_fail(csv, DV_CSV_ROW, &err, -EINVAL, "why %d", 1), -EINVAL);
    assert_string_equal(err.msg, "n.csv:6: why 1");
    assert_int_equal(dv_csv_next(csv, &err), 0);
    assert_int_equal(dv_csv_next(csv, &err), 0);
}

/* ---- gzip ----------------------------------------------------------------------------------- */

static size_t gzip(const char *text, size_t len, unsigned char *out, size_t size)
{
    z_stream z = {0};
    assert_int_equal(deflateInit2(&z, 6, Z_DEFLATED, 15 + 16, 8, Z_DEFAULT_STRATEGY), Z_OK);
    z.next_in = (unsigned char *)(uintptr_t)text;
    z.avail_in = (uInt)len;
    z.next_out = out;
    z.avail_out = (uInt)size;
    assert_int_equal(deflate(&z, Z_FINISH), Z_STREAM_END);
    size_t n = z.total_out;
    deflateEnd(&z);
    return n;
}

static void test_gzip(void **state)
{
    unsigned char buf[512];
    size_t first = gzip("a,b\n1,2\n3", 9, buf, 256);
    size_t n = first + gzip(",4\n", 3, buf + first, 200);
    assert_string_equal(rows_of(buf, n), "1|2|;3|4|;"); /* two members */
    memset(buf + n, 0, 30);
    assert_string_equal(rows_of(buf, n + 30), "1|2|;3|4|;");
    for (size_t cut = first + 1; cut < n; cut++)
        assert_non_null(strstr(rows_of(buf, cut), cut == first + 1 ? "not gzip" : "was cut"));
    for (size_t cut = 2; cut < first; cut++)
        assert_string_equal(rows_of(buf, cut) + 9, "the gzip data ends in the middle: the file was "
                                                   "cut; copy it again");
    buf[n] = 'x';
    assert_non_null(strstr(rows_of(buf, n + 1), "followed by bytes that are not gzip"));
    buf[first - 6] ^= 1; /* the check sum */
    assert_non_null(strstr(rows_of(buf, n), "is damaged (incorrect data check)"));
}

/* ---- large ---------------------------------------------------------------------------------- */

static void test_bounds(void **state)
{
    dv_cleanup(dv_str_done) struct dv_str s = {0};
    dv_str_add(&s, "a,b\n");
    for (size_t i = 0; i < 700000; i++)
        dv_str_addc(&s, 'x');
    dv_str_add(&s, ",1\n");
    assert_string_equal(rows(dv_str_get(&s)), "t.csv:2: the line is longer than 262144 bytes; is "
                                              "this CSV?");
    s.data[4] = '"';
    assert_string_equal(rows(dv_str_get(&s)),
                        "t.csv:2: a double quote is opened here and not closed "
                        "within 262144 bytes");
    dv_str_clear(&s);
    for (int i = 0; i < 1100; i++)
        dv_str_addf(&s, "c%d,", i);
    dv_str_add(&s, "a,b\n");
    assert_string_equal(rows(dv_str_get(&s)), "t.csv:1: 1102 columns; at most 1024 are read");
    dv_str_clear(&s);
    dv_str_add(&s, "a,b\n1,");
    for (size_t i = 0; i < DV_CSV_RECORD_MAX - 2; i++) /* as long as allowed */
        dv_str_addc(&s, 'x');
    dv_str_addc(&s, '\n');
    dv_cleanup(dv_csv_freep) struct dv_csv *csv = NULL;
    struct dv_err err = {{0}};
    assert_int_equal(dv_csv_open_memory("t.csv", s.data, s.len, &csv, &err), 0);
    assert_int_equal(dv_csv_select(csv, abc, 2, &err), 0);
    assert_int_equal(dv_csv_next(csv, &err), 1);
    assert_int_equal(dv_csv_field(csv, 1).len, DV_CSV_RECORD_MAX - 2);
}

/* Many rows, some over two lines, come back as they were and on the lines where they were. */
static void test_many_rows(void **state)
{
    struct dv_rng rng = {.state = 5};
    dv_cleanup(dv_str_done) struct dv_str s = {0};
    dv_str_add(&s, "x,b,a\n");
    for (unsigned long long i = 0; i < 60000; i++) {
        if (dv_rng_below(&rng, 3))
            dv_str_addf(&s, "%llu,%llu,%llu\n", i, i * 3, i * 7);
        else
            dv_str_addf(&s, "\"x\n%llu\",\"%llu\",%llu\r\n", i, i * 3, i * 7);
    }
    size_t size = s.len;
    unsigned char *packed = malloc(size);
    assert_non_null(packed);
    char path[] = "/tmp/divvy-csv-XXXXXX";
    int fd = mkstemp(path);
    assert_true(fd >= 0);
    size_t n = gzip(s.data, size, packed, size);
    assert_int_equal(write(fd, packed, n), n);
    close(fd);
    free(packed);
    dv_cleanup(dv_csv_freep) struct dv_csv *csv = NULL;
    struct dv_err err = {{0}};
    assert_int_equal(dv_csv_open(path, &csv, &err), 0);
    unlink(path);
    assert_int_equal(dv_csv_select(csv, abc, 2, &err), 0);
    struct dv_rng again = {.state = 5};
    uint64_t line = 2;
    for (uint64_t i = 0; i < 60000; i++) {
        uint64_t a = 0, b = 0;
        assert_int_equal(dv_csv_next(csv, &err), 1);
        assert_int_equal(dv_csv_uint64(csv, 0, 0, UINT64_MAX, &a, &err), 0);
        assert_int_equal(dv_csv_uint64(csv, 1, 0, UINT64_MAX, &b, &err), 0);
        assert_true(a == i * 7 && b == i * 3 && dv_csv_line(csv) == line);
        line += dv_rng_below(&again, 3) ? 1 : 2;
    }
    assert_int_equal(dv_csv_next(csv, &err), 0);
    uint64_t at = 0, total = 0;
    dv_csv_progress(csv, &at, &total);
    assert_int_equal(at, n);
    assert_int_equal(total, n);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_rows),    cmocka_unit_test(test_quotes),
        cmocka_unit_test(test_refused), cmocka_unit_test(test_no_such_file),
        cmocka_unit_test(test_numbers), cmocka_unit_test(test_gzip),
        cmocka_unit_test(test_bounds),  cmocka_unit_test(test_many_rows),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
