/* SPDX-License-Identifier: Apache-2.0 */
#include "kubernetes/host_files.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdbool.h>
#include <stdio.h>
#include <string.h>
#include <sys/sendfile.h>
#include <sys/stat.h>
#include <unistd.h>

#define DEPTH_MAX 8
#define ENTRIES_MAX 512
#define BLOCK 65536
#define NEW ".divvy-new"

static int fail(struct dv_err *err, const char *path)
{
    return dv_err_set(err, -errno, "%s: %s", path, strerror(errno));
}

/* Reads as much as there is, up to a block. */
static ssize_t read_block(int fd, char *buf)
{
    size_t n = 0;
    while (n < BLOCK) {
        ssize_t got = read(fd, buf + n, BLOCK - n);
        if (got < 0 && errno == EINTR)
            continue;
        if (got < 0)
            return -1;
        if (got == 0)
            break;
        n += (size_t)got;
    }
    return (ssize_t)n;
}

static bool same_content(int a, int b)
{
    static char x[BLOCK], y[BLOCK]; /* at the start, by one thread */
    for (;;) {
        ssize_t n = read_block(a, x), m = read_block(b, y);
        if (n < 0 || n != m || memcmp(x, y, (size_t)n) != 0)
            return false;
        if (n == 0)
            return true;
    }
}

static bool is_there(const char *path, int from, const struct stat *st)
{
    struct stat old;
    int fd = open(path, O_RDONLY | O_CLOEXEC | O_NOFOLLOW);
    bool same = fd >= 0 && fstat(fd, &old) == 0 && S_ISREG(old.st_mode) &&
                old.st_size == st->st_size && (old.st_mode & 0777) == (st->st_mode & 0777) &&
                same_content(from, fd);
    if (fd >= 0)
        close(fd);
    return same && lseek(from, 0, SEEK_SET) == 0;
}

static int write_copy(int from, const struct stat *st, const char *temporary)
{
    off_t at = 0;
    unlink(temporary);
    int fd = open(temporary, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0600);
    if (fd < 0)
        return -1;
    while (at < st->st_size) {
        ssize_t n = sendfile(fd, from, &at, (size_t)(st->st_size - at));
        if (n < 0 && errno == EINTR)
            continue;
        if (n <= 0)
            break;
    }
    bool whole = at == st->st_size && fchmod(fd, st->st_mode & 0755) == 0;
    if (close(fd) < 0 || !whole)
        return -1;
    return 0;
}

static int copy_file(const char *from, const char *to, struct dv_err *err)
{
    char temporary[PATH_MAX + sizeof NEW];
    struct stat st;
    int r = 0;
    int fd = open(from, O_RDONLY | O_CLOEXEC | O_NOFOLLOW);
    if (fd < 0 || fstat(fd, &st) < 0) {
        r = fail(err, from);
    } else if (!is_there(to, fd, &st)) {
        snprintf(temporary, sizeof temporary, "%s" NEW, to);
        if (lseek(fd, 0, SEEK_SET) < 0 || write_copy(fd, &st, temporary) < 0 ||
            rename(temporary, to) < 0) {
            r = fail(err, to);
            unlink(temporary);
        }
    }
    if (fd >= 0)
        close(fd);
    return r;
}

static int copy_link(const char *from, const char *to, struct dv_err *err)
{
    char target[PATH_MAX], old[PATH_MAX], temporary[PATH_MAX + sizeof NEW];
    ssize_t n = readlink(from, target, sizeof target - 1);
    if (n < 0)
        return fail(err, from);
    target[n] = 0;
    ssize_t m = readlink(to, old, sizeof old - 1);
    if (m == n && !memcmp(old, target, (size_t)n))
        return 0;
    snprintf(temporary, sizeof temporary, "%s" NEW, to);
    unlink(temporary);
    if (symlink(target, temporary) < 0 || rename(temporary, to) < 0)
        return fail(err, to);
    return 0;
}

static int copy_tree(const char *from, const char *to, int depth, struct dv_err *err);

static int copy_entry(const char *from, const char *to, const char *name, int depth,
                      struct dv_err *err)
{
    char a[PATH_MAX], b[PATH_MAX];
    struct stat st;
    if (snprintf(a, sizeof a, "%s/%s", from, name) >= (int)sizeof a ||
        snprintf(b, sizeof b, "%s/%s", to, name) >= (int)sizeof b)
        return dv_err_set(err, -ENAMETOOLONG, "%s/%s: the path is too long", from, name);
    if (lstat(a, &st) < 0)
        return fail(err, a);
    if (S_ISDIR(st.st_mode))
        return copy_tree(a, b, depth + 1, err);
    if (S_ISLNK(st.st_mode))
        return copy_link(a, b, err);
    return S_ISREG(st.st_mode) ? copy_file(a, b, err) : 0;
}

static int copy_tree(const char *from, const char *to, int depth, struct dv_err *err)
{
    int r = 0, n = 0;
    if (depth > DEPTH_MAX)
        return dv_err_set(err, -ELOOP, "%s: more than %d levels", from, DEPTH_MAX);
    if (mkdir(to, 0755) < 0 && errno != EEXIST)
        return fail(err, to);
    DIR *dir = opendir(from);
    if (!dir)
        return fail(err, from);
    for (struct dirent *e; r == 0 && (e = readdir(dir));) {
        if (!strcmp(e->d_name, ".") || !strcmp(e->d_name, ".."))
            continue;
        r = ++n > ENTRIES_MAX
                ? dv_err_set(err, -E2BIG, "%s: more than %d entries", from, ENTRIES_MAX)
                : copy_entry(from, to, e->d_name, depth, err);
    }
    closedir(dir);
    return r;
}

int dv_host_files_copy(const char *from, const char *to, struct dv_err *err)
{
    return copy_tree(from, to, 0, err);
}
