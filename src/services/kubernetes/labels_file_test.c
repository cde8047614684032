/* SPDX-License-Identifier: Apache-2.0 */
#include "kubernetes/labels_file.h"
#include "sys/fd.h"

#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cmocka.h>

static char folder[64], path[128];
static struct dv_loop *loop;
static struct dv_labels_file *file;
static int answer; /* of the source */
static const char *count, *timestamp;
static int asked, stop_at;

static int source(void *arg, struct dv_labels *ret, struct dv_err *err)
{
    if (++asked >= stop_at)
        dv_loop_stop(loop);
    if (answer)
        return dv_err_set(err, answer, "not now");
    struct dv_label *l = calloc(2, sizeof *l);
    assert_non_null(l);
    strcpy(l[0].key, "nvidia.com/gfd.timestamp");
    strcpy(l[0].value, timestamp);
    strcpy(l[1].key, "nvidia.com/gpu.count");
    strcpy(l[1].value, count);
    *ret = (struct dv_labels){l, 2};
    return 0;
}

static int setup(void **state)
{
    strcpy(folder, "/tmp/divvy-labels-XXXXXX");
    assert_non_null(mkdtemp(folder));
    snprintf(path, sizeof path, "%s/gfd", folder);
    answer = asked = 0;
    count = "8";
    timestamp = "1";
    return dv_loop_new(&loop);
}

static int teardown(void **state)
{
    dv_labels_file_free(file);
    file = NULL;
    dv_loop_free(loop);
    unlink(path);
    assert_int_equal(rmdir(folder), 0); /* nothing else was left there */
    return 0;
}

/* Until the source has been asked that often. */
static void run(int times)
{
    stop_at = asked + times;
    assert_int_equal(dv_loop_run(loop), 0);
}

static void begin(struct dv_labels_file_options options)
{
    options.path = path;
    assert_int_equal(dv_labels_file_new(loop, &options, source, NULL, &file, NULL), 0);
    run(1);
}

static void assert_file(const char *expected)
{
    char *text;
    size_t len;
    struct stat st;
    struct dv_err err;
    assert_int_equal(dv_fd_read_file(path, 4096, &text, &len, &err), 0);
    assert_string_equal(text, expected);
    assert_int_equal(stat(path, &st), 0);
    assert_int_equal(st.st_mode & 0777, 0644);
    free(text);
}

static void test_written_when_something_changes(void **state)
{
    begin((struct dv_labels_file_options){.interval_ms = 10});
    assert_file("nvidia.com/gfd.timestamp=1\nnvidia.com/gpu.count=8\n");
    timestamp = "2"; /* the time alone is no change */
    run(2);
    assert_file("nvidia.com/gfd.timestamp=1\nnvidia.com/gpu.count=8\n");
    count = "7";
    run(2);
    assert_file("nvidia.com/gfd.timestamp=2\nnvidia.com/gpu.count=7\n");
    assert_int_equal(unlink(path), 0); /* somebody else did */
    dv_labels_file_look(file);
    assert_file("nvidia.com/gfd.timestamp=2\nnvidia.com/gpu.count=7\n");
    dv_labels_file_free(file);
    file = NULL;
    assert_int_equal(access(path, F_OK), -1);
}

static void test_what_cannot_be_said_changes_nothing(void **state)
{
    answer = -EAGAIN;
    begin((struct dv_labels_file_options){.interval_ms = 10});
    assert_false(dv_labels_file_written(file));
    assert_int_equal(access(path, F_OK), -1);
    answer = 0;
    run(1); /* a second later, not an interval */
    assert_true(dv_labels_file_written(file));
    answer = -EAGAIN;
    run(2);
    assert_file("nvidia.com/gfd.timestamp=1\nnvidia.com/gpu.count=8\n");
}

static void test_oneshot(void **state)
{
    begin((struct dv_labels_file_options){.interval_ms = 10, .oneshot = true});
    count = "7";
    dv_labels_file_look(file);
    assert_file("nvidia.com/gfd.timestamp=1\nnvidia.com/gpu.count=8\n");
    dv_labels_file_free(file);
    file = NULL;
    assert_int_equal(access(path, F_OK), 0);
}

static void test_without_an_interval(void **state)
{
    begin((struct dv_labels_file_options){0});
    count = "7";
    dv_labels_file_look(file); /* when told */
    assert_file("nvidia.com/gfd.timestamp=1\nnvidia.com/gpu.count=7\n");
}

/* A reader would take a file that is gone for a GPU-less node, be it for a moment. */
static void test_the_next_keeps_the_file(void **state)
{
    struct dv_labels_file_options options = {.path = path, .interval_ms = 10};
    begin(options);
    answer = -EAGAIN;
    assert_int_equal(dv_labels_file_follow(file, loop, &options, source, NULL, &file, NULL), 0);
    run(1);
    assert_file("nvidia.com/gfd.timestamp=1\nnvidia.com/gpu.count=8\n");
    assert_false(dv_labels_file_written(file));
    options.path = "/nonexistent/gfd"; /* another path: the old goes */
    assert_int_equal(dv_labels_file_follow(file, loop, &options, source, NULL, &file, NULL), 0);
    assert_int_equal(access(path, F_OK), -1);
}

static void test_a_folder_that_comes_later(void **state)
{
    struct dv_labels_file_options options = {.path = "/nonexistent/gfd", .interval_ms = 10};
    struct dv_err err;
    assert_int_equal(dv_labels_file_new(loop, &options, source, NULL, &file, &err), 0);
    run(1);
    assert_false(dv_labels_file_written(file));
    options.path = "";
    struct dv_labels_file *none;
    assert_int_equal(dv_labels_file_new(loop, &options, source, NULL, &none, &err), -EINVAL);
    assert_string_equal(err.msg, "the file of labels has no path");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(test_written_when_something_changes, setup, teardown),
        cmocka_unit_test_setup_teardown(test_what_cannot_be_said_changes_nothing, setup, teardown),
        cmocka_unit_test_setup_teardown(test_oneshot, setup, teardown),
        cmocka_unit_test_setup_teardown(test_without_an_interval, setup, teardown),
        cmocka_unit_test_setup_teardown(test_the_next_keeps_the_file, setup, teardown),
        cmocka_unit_test_setup_teardown(test_a_folder_that_comes_later, setup, teardown),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
