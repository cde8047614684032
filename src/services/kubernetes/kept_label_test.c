/* SPDX-License-Identifier: Apache-2.0 */
#include "kubernetes/kept_label.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cmocka.h>

static char dir[] = "/tmp/divvy-kept-label-XXXXXX";
static char path[64];

static int setup(void **state)
{
    (void)state;
    if (!mkdtemp(dir))
        return -1;
    snprintf(path, sizeof path, "%s/label", dir);
    return 0;
}

static int teardown(void **state)
{
    (void)state;
    unlink(path);
    return rmdir(dir);
}

static void expect(bool known, const char *value)
{
    struct dv_kept_label l;
    dv_kept_label_read(&l, path);
    assert_int_equal(known, l.known);
    assert_string_equal(value, l.value);
}

static void write_file(const char *text)
{
    FILE *f = fopen(path, "we");
    assert_non_null(f);
    fputs(text, f);
    assert_int_equal(0, fclose(f));
}

static void what_was_put_is_read(void **state)
{
    (void)state;
    struct dv_kept_label l;
    expect(false, "");
    dv_kept_label_read(&l, path);
    dv_kept_label_put(&l, "t4-shared");
    expect(true, "t4-shared");
    dv_kept_label_put(&l, NULL);
    expect(true, "");
    dv_kept_label_put(&l, ""); /* a label without a value chooses nothing */
    expect(true, "");
}

static void the_same_is_not_written_again(void **state)
{
    (void)state;
    struct dv_kept_label l;
    struct stat before, after;
    write_file("a\n");
    assert_int_equal(0, stat(path, &before));
    dv_kept_label_read(&l, path);
    dv_kept_label_put(&l, "a");
    assert_int_equal(0, stat(path, &after));
    assert_int_equal(before.st_ino, after.st_ino);
    dv_kept_label_put(&l, "b");
    assert_int_equal(0, stat(path, &after));
    assert_int_not_equal(before.st_ino, after.st_ino);
}

static void what_is_no_label_is_unknown(void **state)
{
    (void)state;
    static const char *const texts[] = {
        "",       "half",
        "a b\n",  "../etc/passwd\n",
        "a\nb\n", "0123456789012345678901234567890123456789012345678901234567890123\n"};
    for (size_t i = 0; i < sizeof texts / sizeof *texts; i++) {
        write_file(texts[i]);
        expect(false, "");
    }
}

static void a_folder_that_is_not_there_is_no_reason_to_forget(void **state)
{
    (void)state;
    struct dv_kept_label l;
    dv_kept_label_read(&l, "/nowhere/label");
    dv_kept_label_put(&l, "a");
    assert_true(l.known);
    assert_string_equal("a", l.value);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(what_was_put_is_read),
        cmocka_unit_test(the_same_is_not_written_again),
        cmocka_unit_test(what_is_no_label_is_unknown),
        cmocka_unit_test(a_folder_that_is_not_there_is_no_reason_to_forget),
    };
    return cmocka_run_group_tests(tests, setup, teardown);
}
