/* SPDX-License-Identifier: Apache-2.0 */
#include "kubernetes/host_files.h"

#include <errno.h>
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

static char dir[64];

static void sh(const char *fmt, ...) dv_printf(1, 2);
static void sh(const char *fmt, ...)
{
    char script[600], command[700];
    va_list ap;
    va_start(ap, fmt);
    vsnprintf(script, sizeof script, fmt, ap);
    va_end(ap);
    snprintf(command, sizeof command, "cd %s && %s", dir, script);
    assert_int_equal(0, system(command));
}

static int setup(void **state)
{
    (void)state;
    snprintf(dir, sizeof dir, "/tmp/divvy-host-XXXXXX");
    if (!mkdtemp(dir))
        return -1;
    sh("mkdir -p from/sim/bin && echo lib > from/lib.so.1 && echo tool > from/sim/bin/tool && "
       "chmod 755 from/sim/bin/tool && ln -s lib.so.1 from/lib.so");
    return 0;
}

static int teardown(void **state)
{
    (void)state;
    sh("rm -rf from to");
    return rmdir(dir);
}

static ino_t inode(const char *name)
{
    char path[160];
    struct stat st;
    snprintf(path, sizeof path, "%s/%s", dir, name);
    assert_int_equal(0, stat(path, &st));
    return st.st_ino;
}

static int copy(struct dv_err *err)
{
    char from[80], to[80];
    snprintf(from, sizeof from, "%s/from", dir);
    snprintf(to, sizeof to, "%s/to", dir);
    return dv_host_files_copy(from, to, err);
}

static void the_tree_is_copied(void **state)
{
    (void)state;
    struct dv_err err;
    assert_int_equal(0, copy(&err));
    sh("diff -r from to && test -x to/sim/bin/tool && test ! -x to/lib.so.1 && "
       "test \"$(readlink to/lib.so)\" = lib.so.1");
}

static void what_is_the_same_stays_and_what_is_not_is_replaced(void **state)
{
    (void)state;
    struct dv_err err;
    assert_int_equal(0, copy(&err));
    ino_t lib = inode("to/lib.so.1"), tool = inode("to/sim/bin/tool");
    sh("exec 3< to/sim/bin/tool; echo other > from/sim/bin/tool; true");
    assert_int_equal(0, copy(&err));
    assert_int_equal(lib, inode("to/lib.so.1"));
    assert_true(tool != inode("to/sim/bin/tool"));
    sh("grep -q other to/sim/bin/tool && test -x to/sim/bin/tool");
}

static void a_copy_that_was_cut_off_is_mended(void **state)
{
    (void)state;
    struct dv_err err;
    sh("mkdir -p to && echo l > to/lib.so.1 && echo rest > to/lib.so.1.divvy-new && ln -s x "
       "to/lib.so");
    assert_int_equal(0, copy(&err));
    sh("diff -r from to");
}

static void what_cannot_be_written_is_said(void **state)
{
    (void)state;
    struct dv_err err;
    sh("echo file > to");
    assert_int_equal(-ENOTDIR, copy(&err));
    assert_non_null(strstr(err.msg, "to"));
}

int main(void)
{
#define T(f) cmocka_unit_test_setup_teardown(f, setup, teardown)
    const struct CMUnitTest tests[] = {
        T(the_tree_is_copied),
        T(what_is_the_same_stays_and_what_is_not_is_replaced),
        T(a_copy_that_was_cut_off_is_mended),
        T(what_cannot_be_written_is_said),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
