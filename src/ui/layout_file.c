/* SPDX-License-Identifier: Apache-2.0 */
#include "layout_file.h"

#include "render/json.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#define PIECE 65536

static bool is_stdin(const char *path)
{
    return !strcmp(path, "-");
}

static const char *name_of(const char *path)
{
    return is_stdin(path) ? "standard input" : path;
}

static int read_all(int fd, const char *path, struct dv_str *ret, struct dv_err *err)
{
    char *piece = malloc(PIECE);
    ssize_t n = piece ? 1 : 0;
    int r = piece ? 0 : dv_err_set(err, -ENOMEM, "out of memory");
    while (n > 0 && r == 0) {
        do
            n = read(fd, piece, PIECE);
        while (n < 0 && errno == EINTR);
        if (n < 0)
            r = dv_err_set(err, -errno, "cannot read %s: %s", name_of(path), strerror(errno));
        else
            dv_str_addn(ret, piece, (size_t)n);
        if (ret->len > DV_LAYOUT_FILE_MAX)
            r = dv_err_set(err, -E2BIG, "%s is longer than %u KiB", name_of(path),
                           DV_LAYOUT_FILE_MAX / 1024);
        else if (ret->failed)
            r = dv_err_set(err, -ENOMEM, "out of memory");
    }
    free(piece);
    return r;
}

/* JSON carries nothing else, and a file that is something else altogether is said to be so. */
static int check_text(const char *path, const struct dv_str *text, struct dv_err *err)
{
    const char *p = dv_str_get(text), *end = p + text->len;
    for (unsigned line = 1; p < end; line += *p++ == '\n') {
        unsigned n = *p ? dv_json_utf8(p) : 0;
        if (!n)
            return dv_err_set(err, -EINVAL, "%s:%u: the byte 0x%02x is not UTF-8 text",
                              name_of(path), line, (unsigned char)*p);
        p += n - 1;
    }
    return 0;
}

int dv_layout_file_read(const char *path, struct dv_str *ret, struct dv_err *err)
{
    int fd = is_stdin(path) ? STDIN_FILENO : open(path, O_RDONLY | O_CLOEXEC);
    if (fd < 0)
        return dv_err_set(err, -errno, "cannot open %s: %s", path, strerror(errno));
    int r = read_all(fd, path, ret, err);
    if (fd != STDIN_FILENO)
        close(fd);
    return r < 0 ? r : check_text(path, ret, err);
}

int dv_layout_file_body(const char *path, const char *config, struct dv_output **ret,
                        struct dv_err *err)
{
    dv_cleanup(dv_str_done) struct dv_str text = {0};
    int r = dv_layout_file_read(path, &text, err);
    if (r < 0)
        return r;
    struct dv_output *o = dv_output_new(NULL);
    if (!o)
        return dv_err_set(err, -ENOMEM, "out of memory");
    dv_output_string(dv_output_root(o), "name", name_of(path));
    dv_output_string(dv_output_root(o), "text", dv_str_get(&text));
    if (config)
        dv_output_string(dv_output_root(o), "config", config);
    *ret = o;
    return 0;
}

/* ---- writing -------------------------------------------------------------------------------- */

static int write_fd(int fd, const char *text, size_t len)
{
    while (len) {
        ssize_t n = write(fd, text, len);
        if (n < 0 && errno == EINTR)
            continue;
        if (n < 0)
            return -errno;
        text += n;
        len -= (size_t)n;
    }
    return 0;
}

/* What is no plain file (a pipe, /dev/stdout) is written to as it is. */
static bool is_replaceable(const char *path)
{
    struct stat st;
    return lstat(path, &st) < 0 || S_ISREG(st.st_mode);
}

static int replace(const char *path, const char *text, size_t len)
{
    dv_cleanup(dv_str_done) struct dv_str other = {0};
    dv_str_addf(&other, "%s.XXXXXX", path);
    if (other.failed)
        return -ENOMEM;
    int fd = mkostemp(other.data, O_CLOEXEC);
    if (fd < 0)
        return -errno;
    mode_t mask = umask(0);
    umask(mask);
    int r = write_fd(fd, text, len);
    if (r == 0 && (fchmod(fd, 0666 & ~mask) < 0 || fsync(fd) < 0))
        r = -errno;
    close(fd);
    if (r == 0 && rename(other.data, path) < 0)
        r = -errno;
    if (r < 0)
        unlink(other.data);
    return r;
}

int dv_layout_file_write(const char *path, const char *text, size_t len, struct dv_err *err)
{
    int r;
    if (is_stdin(path)) {
        r = write_fd(STDOUT_FILENO, text, len);
    } else if (is_replaceable(path)) {
        r = replace(path, text, len);
    } else {
        int fd = open(path, O_WRONLY | O_CLOEXEC);
        r = fd < 0 ? -errno : write_fd(fd, text, len);
        if (fd >= 0)
            close(fd);
    }
    if (r < 0)
        return dv_err_set(err, r, "cannot write %s: %s", path, strerror(-r));
    return 0;
}
