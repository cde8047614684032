/* SPDX-License-Identifier: Apache-2.0 */
#include "internal.h"
#include "sys/fd.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

/* *ret NULL: there is no such file. */
static int read_one(const char *folder, const char *name, char **ret, struct dv_err *err)
{
    dv_cleanup(dv_str_done) struct dv_str path = {0};
    size_t len;
    dv_str_addf(&path, "%s/%s", folder, name);
    if (path.failed)
        return dv_err_set(err, -ENOMEM, "out of memory");
    *ret = NULL;
    int r = dv_fd_read_file(dv_str_get(&path), DV_CERTS_FILE_MAX, ret, &len, err);
    return r == -ENOENT ? 0 : r;
}

int dv_certs_load(const char *folder, char **ret_bundle, struct dv_certs_pair *ret,
                  struct dv_err *err)
{
    struct dv_certs_pair pair = {0};
    char *bundle = NULL;
    int r = read_one(folder, "ca.crt", &bundle, err);
    if (r == 0)
        r = read_one(folder, "tls.crt", &pair.certificate, err);
    if (r == 0)
        r = read_one(folder, "tls.key", &pair.key, err);
    if (r < 0) {
        free(bundle);
        dv_certs_pair_done(&pair);
        return r;
    }
    *ret_bundle = bundle;
    *ret = pair;
    return 0;
}

int dv_certs_read_bundle(const char *folder, char **ret, struct dv_err *err)
{
    char *bundle = NULL;
    int r = read_one(folder, "ca.crt", &bundle, err);
    if (r == 0 && !bundle)
        r = dv_err_set(err, -ENOENT, "there is no %s/ca.crt yet; the server makes it at its start",
                       folder);
    if (r == 0)
        *ret = bundle;
    return r;
}

static int write_all(int fd, const char *text)
{
    for (size_t left = strlen(text); left;) {
        ssize_t n = write(fd, text, left);
        if (n < 0 && errno == EINTR)
            continue;
        if (n < 0)
            return dv_fd_errno();
        text += n;
        left -= (size_t)n;
    }
    return fsync(fd) < 0 ? dv_fd_errno() : 0;
}

/* In its place whole, or not at all. mkostemp makes it readable for the owner alone. */
static int replace(int dir, const char *folder, const char *name, const char *text)
{
    dv_cleanup(dv_str_done) struct dv_str other = {0}, path = {0};
    dv_str_addf(&other, "%s/.%s.XXXXXX", folder, name);
    dv_str_addf(&path, "%s/%s", folder, name);
    if (other.failed || path.failed)
        return -ENOMEM;
    int fd = mkostemp(other.data, O_CLOEXEC);
    if (fd < 0)
        return dv_fd_errno();
    int r = write_all(fd, text);
    close(fd);
    if (r == 0 && rename(other.data, path.data) < 0)
        r = dv_fd_errno();
    if (r < 0)
        unlink(other.data);
    else if (fsync(dir) < 0)
        r = dv_fd_errno();
    return r;
}

/* The bundle is the first: whom it names may serve, whoever serves must be in it. */
int dv_certs_save(const char *folder, const char *bundle, const struct dv_certs_pair *pair,
                  struct dv_err *err)
{
    if (mkdir(folder, 0700) < 0 && errno != EEXIST)
        return dv_err_set(err, dv_fd_errno(), "cannot make %s: %s", folder, strerror(errno));
    dv_cleanup(dv_fd_close) int dir = open(folder, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    int r = dir < 0 ? dv_fd_errno() : replace(dir, folder, "ca.crt", bundle);
    if (r == 0 && pair)
        r = replace(dir, folder, "tls.key", pair->key);
    if (r == 0 && pair)
        r = replace(dir, folder, "tls.crt", pair->certificate);
    return r < 0 ? dv_err_set(err, r, "cannot write into %s: %s", folder, strerror(-r)) : 0;
}
