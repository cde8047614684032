/* SPDX-License-Identifier: Apache-2.0 */
#include "sys/fd.h"

#include <errno.h>
#include <fcntl.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cmocka.h>

static void test_seal(void **state)
{
    int fd = dv_fd_memfd("test", 4096);
    assert_true(fd >= 0);
    char *before = dv_fd_map(fd, 4096, true);
    assert_non_null(before);
    assert_int_equal(dv_fd_seal_writes(fd), 0);
    assert_null(dv_fd_map(fd, 4096, true));
    char *reader = dv_fd_map(fd, 4096, false);
    assert_non_null(reader);
    before[7] = 42;
    assert_int_equal(reader[7], 42);
    assert_true(ftruncate(fd, 0) < 0);
    assert_true(fcntl(fd, F_ADD_SEALS, F_SEAL_WRITE) < 0);
    munmap(before, 4096);
    munmap(reader, 4096);
    close(fd);
}

static void test_pass(void **state)
{
    int pair[2], pipes[2];
    assert_int_equal(socketpair(AF_UNIX, SOCK_SEQPACKET, 0, pair), 0);
    assert_int_equal(pipe(pipes), 0);
    assert_int_equal(dv_fd_send(pair[0], "hello", 5, pipes, 2), 0);
    char buf[8];
    int got[2];
    uint32_t count = 1; /* room for one: the other must not leak */
    assert_int_equal(dv_fd_receive(pair[1], buf, sizeof buf, got, &count), 5);
    assert_int_equal(count, 1);
    close(got[0]);
    assert_int_equal(dv_fd_send(pair[0], "too long for this", 17, NULL, 0), 0);
    assert_int_equal(dv_fd_receive(pair[1], buf, sizeof buf, NULL, NULL), -EMSGSIZE);
    count = 2; /* what came with a message that was cut does not leak either */
    assert_int_equal(dv_fd_send(pair[0], "too long for this", 17, &pipes[1], 1), 0);
    assert_int_equal(dv_fd_receive(pair[1], buf, sizeof buf, got, &count), -EMSGSIZE);
    assert_int_equal(count, 0);
    close(pair[0]);
    assert_int_equal(dv_fd_receive(pair[1], buf, sizeof buf, NULL, NULL), 0);
    close(pair[1]);
    close(pipes[1]);
    assert_int_equal(read(pipes[0], buf, 1), 0); /* nobody holds the other end */
    close(pipes[0]);
}

static void test_listen(void **state)
{
    char dir[] = "/tmp/divvy-fd-XXXXXX", path[64];
    struct dv_err err;
    assert_non_null(mkdtemp(dir));
    snprintf(path, sizeof path, "%s/s", dir);
    int a = dv_fd_listen(path, SOCK_STREAM, 0600, &err);
    assert_true(a >= 0);
    assert_int_equal(dv_fd_listen(path, SOCK_STREAM, 0600, &err), -EADDRINUSE);
    int c = dv_fd_connect(path, SOCK_STREAM, &err);
    assert_true(c >= 0);
    close(c);
    close(a);
    a = dv_fd_listen(path, SOCK_STREAM, 0600, &err); /* the file of a dead listener */
    assert_true(a >= 0);
    close(a);
    unlink(path);
    close(open(path, O_CREAT | O_WRONLY, 0600));
    assert_int_equal(dv_fd_listen(path, SOCK_STREAM, 0600, &err), -EEXIST);
    unlink(path);
    rmdir(dir);
    char longname[200];
    memset(longname, 'x', sizeof longname);
    longname[199] = 0;
    assert_int_equal(dv_fd_listen(longname, SOCK_STREAM, 0600, &err), -ENAMETOOLONG);
}

static void test_read_file(void **state)
{
    char path[] = "/tmp/divvy-fd-XXXXXX", block[5000], *text;
    struct dv_err err;
    size_t len;
    int fd = mkstemp(path);
    memset(block, 'x', sizeof block);
    assert_int_equal(write(fd, block, sizeof block), sizeof block);
    assert_int_equal(dv_fd_read_file(path, sizeof block, &text, &len, &err), 0);
    assert_int_equal(len, sizeof block);
    assert_memory_equal(text, block, sizeof block);
    assert_int_equal(text[len], 0);
    free(text);
    assert_int_equal(dv_fd_read_file(path, sizeof block - 1, &text, &len, &err), -E2BIG);
    assert_non_null(strstr(err.msg, "more than 4999 bytes"));
    assert_int_equal(dv_fd_read_file("/dev/zero", 100000, &text, &len, &err), -E2BIG);
    assert_int_equal(dv_fd_read_file("/tmp", 100, &text, &len, &err), -EISDIR);
    close(fd);
    unlink(path);
    assert_int_equal(dv_fd_read_file(path, 100, &text, &len, &err), -ENOENT);
    assert_non_null(strstr(err.msg, path));
}

static void expect_content(const char *path, const char *expected)
{
    char *text;
    size_t len;
    struct dv_err err;
    assert_int_equal(dv_fd_read_file(path, 100, &text, &len, &err), 0);
    assert_string_equal(text, expected);
    free(text);
}

/* As root, too: what is no plain file must not be replaced by one. */
static void test_write_file(void **state)
{
    char dir[] = "/tmp/divvy-fd-XXXXXX", file[64], link[64], pipe_path[64], got[8] = "";
    struct dv_err err;
    struct stat st;
    assert_non_null(mkdtemp(dir));
    snprintf(file, sizeof file, "%s/file", dir);
    snprintf(link, sizeof link, "%s/link", dir);
    snprintf(pipe_path, sizeof pipe_path, "%s/pipe", dir);
    assert_int_equal(symlink("file", link), 0);
    assert_int_equal(mkfifo(pipe_path, 0600), 0);

    assert_int_equal(dv_fd_write_file(file, "longer", 6, 0644, &err), 0);
    expect_content(file, "longer");
    assert_int_equal(dv_fd_write_file(link, "new", 3, 0644, &err), 0);
    assert_int_equal(lstat(link, &st), 0);
    assert_true(S_ISLNK(st.st_mode));
    expect_content(file, "new");

    int reader = open(pipe_path, O_RDONLY | O_NONBLOCK | O_CLOEXEC);
    assert_int_equal(dv_fd_write_file(pipe_path, "piped", 5, 0644, &err), 0);
    assert_int_equal(read(reader, got, sizeof got), 5);
    assert_memory_equal(got, "piped", 5);
    assert_int_equal(lstat(pipe_path, &st), 0);
    assert_true(S_ISFIFO(st.st_mode));
    close(reader);

    assert_int_equal(dv_fd_write_file(dir, "x", 1, 0644, &err), -EISDIR);
    unlink(file); /* the link leads nowhere: it becomes the file */
    assert_int_equal(dv_fd_write_file(link, "x", 1, 0644, &err), 0);
    expect_content(link, "x");
    unlink(link);
    unlink(pipe_path);
    rmdir(dir);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_seal), cmocka_unit_test(test_pass), cmocka_unit_test(test_listen),
        cmocka_unit_test(test_read_file), cmocka_unit_test(test_write_file)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
