/* SPDX-License-Identifier: Apache-2.0 */
#include "sys/fd.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <linux/sockios.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>

void dv_fd_close(int *fd)
{
    if (*fd >= 0)
        close(*fd);
    *fd = -1;
}

/* Out of the hands of dv_cleanup. */
static int take(int *fd)
{
    int taken = *fd;
    *fd = -1;
    return taken;
}

int dv_fd_set_nonblocking(int fd, bool on)
{
    int flags = fcntl(fd, F_GETFL);
    if (flags < 0)
        return -errno;
    flags = on ? flags | O_NONBLOCK : flags & ~O_NONBLOCK;
    return fcntl(fd, F_SETFL, flags) < 0 ? -errno : 0;
}

int dv_fd_set_cloexec(int fd, bool on)
{
    return fcntl(fd, F_SETFD, on ? FD_CLOEXEC : 0) < 0 ? -errno : 0;
}

int dv_fd_memfd(const char *name, size_t size)
{
    int fd = memfd_create(name, MFD_CLOEXEC | MFD_ALLOW_SEALING);
    if (fd < 0)
        return -errno;
    if (ftruncate(fd, (off_t)size) < 0 || fcntl(fd, F_ADD_SEALS, F_SEAL_SHRINK | F_SEAL_GROW) < 0) {
        int r = -errno;
        close(fd);
        return r;
    }
    return fd;
}

void *dv_fd_map(int fd, size_t size, bool writable)
{
    void *p = mmap(NULL, size, PROT_READ | (writable ? PROT_WRITE : 0), MAP_SHARED, fd, 0);
    return p == MAP_FAILED ? NULL : p;
}

int dv_fd_seal_writes(int fd)
{
    return fcntl(fd, F_ADD_SEALS, F_SEAL_FUTURE_WRITE | F_SEAL_SEAL) < 0 ? -errno : 0;
}

static int address(const char *path, struct sockaddr_un *ret, struct dv_err *err)
{
    size_t len = strlen(path);
    if (!len || len >= sizeof ret->sun_path)
        return dv_err_set(err, -ENAMETOOLONG,
                          "socket path '%.40s%s' has %zu bytes; at most %zu are possible", path,
                          len > 40 ? "..." : "", len, sizeof ret->sun_path - 1);
    memset(ret, 0, sizeof *ret);
    ret->sun_family = AF_UNIX;
    memcpy(ret->sun_path, path, len);
    return 0;
}

int dv_fd_connect(const char *path, int type, struct dv_err *err)
{
    struct sockaddr_un sun;
    int r = address(path, &sun, err);
    if (r < 0)
        return r;
    dv_cleanup(dv_fd_close) int fd = socket(AF_UNIX, type | SOCK_CLOEXEC, 0);
    if (fd < 0)
        return dv_err_set(err, -errno, "cannot make a socket: %s", strerror(errno));
    if (connect(fd, (struct sockaddr *)&sun, sizeof sun) < 0)
        return dv_err_set(err, -errno, "cannot connect to %s: %s", path, strerror(errno));
    return take(&fd);
}

/* Takes away the socket file that a dead listener left. */
static int remove_stale(const char *path, int type, struct dv_err *err)
{
    struct stat st;
    if (lstat(path, &st) < 0)
        return errno == ENOENT ? 0 : dv_err_set(err, -errno, "%s: %s", path, strerror(errno));
    if (!S_ISSOCK(st.st_mode))
        return dv_err_set(err, -EEXIST, "%s exists and is not a socket; remove it or name another",
                          path);
    int fd = dv_fd_connect(path, type, NULL);
    if (fd >= 0) {
        close(fd);
        return dv_err_set(err, -EADDRINUSE, "%s: somebody listens there already", path);
    }
    if (fd != -ECONNREFUSED && fd != -EPROTOTYPE)
        return dv_err_set(err, fd, "%s: %s", path, strerror(-fd));
    if (unlink(path) < 0 && errno != ENOENT)
        return dv_err_set(err, -errno, "cannot remove the stale socket %s: %s", path,
                          strerror(errno));
    return 0;
}

int dv_fd_listen(const char *path, int type, mode_t mode, struct dv_err *err)
{
    struct sockaddr_un sun;
    int r = address(path, &sun, err);
    if (r >= 0)
        r = remove_stale(path, type, err);
    if (r < 0)
        return r;
    dv_cleanup(dv_fd_close) int fd = socket(AF_UNIX, type | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
    if (fd < 0)
        return dv_err_set(err, -errno, "cannot make a socket: %s", strerror(errno));
    if (bind(fd, (struct sockaddr *)&sun, sizeof sun) < 0)
        return dv_err_set(err, -errno, "cannot make the socket %s: %s", path, strerror(errno));
    if (chmod(path, mode) < 0 || listen(fd, 128) < 0)
        return dv_err_set(err, -errno, "cannot listen on %s: %s", path, strerror(errno));
    return take(&fd);
}

union control {
    char bytes[CMSG_SPACE(DV_FD_PASS_MAX * sizeof(int))];
    struct cmsghdr align;
};

int dv_fd_send(int sock, const void *data, size_t size, const int *fds, uint32_t count)
{
    struct iovec iov = {(void *)data, size};
    union control control = {0};
    struct msghdr m = {.msg_iov = &iov, .msg_iovlen = 1};
    if (count > DV_FD_PASS_MAX)
        return -E2BIG;
    if (count) {
        m.msg_control = control.bytes;
        m.msg_controllen = CMSG_SPACE(count * sizeof(int));
        struct cmsghdr *c = CMSG_FIRSTHDR(&m);
        c->cmsg_level = SOL_SOCKET;
        c->cmsg_type = SCM_RIGHTS;
        c->cmsg_len = CMSG_LEN(count * sizeof(int));
        memcpy(CMSG_DATA(c), fds, count * sizeof(int));
    }
    ssize_t n;
    do
        n = sendmsg(sock, &m, MSG_NOSIGNAL);
    while (n < 0 && errno == EINTR);
    return n < 0 ? -errno : 0;
}

/* Hands out the first `room` descriptors of the message and closes the others. */
static uint32_t take_descriptors(struct msghdr *m, int *fds, uint32_t room)
{
    uint32_t taken = 0;
    for (struct cmsghdr *c = CMSG_FIRSTHDR(m); c; c = CMSG_NXTHDR(m, c)) {
        if (c->cmsg_level != SOL_SOCKET || c->cmsg_type != SCM_RIGHTS)
            continue;
        size_t n = (c->cmsg_len - CMSG_LEN(0)) / sizeof(int);
        for (size_t i = 0; i < n; i++) {
            int fd;
            memcpy(&fd, CMSG_DATA(c) + i * sizeof fd, sizeof fd);
            if (taken < room)
                fds[taken++] = fd;
            else
                close(fd);
        }
    }
    return taken;
}

ssize_t dv_fd_receive(int sock, void *data, size_t size, int *ret_fds, uint32_t *count)
{
    struct iovec iov = {data, size};
    union control control;
    struct msghdr m = {.msg_iov = &iov,
                       .msg_iovlen = 1,
                       .msg_control = control.bytes,
                       .msg_controllen = sizeof control.bytes};
    ssize_t n;
    do
        n = recvmsg(sock, &m, MSG_CMSG_CLOEXEC);
    while (n < 0 && errno == EINTR);
    if (n < 0)
        return -errno;
    bool cut = m.msg_flags & MSG_TRUNC;
    uint32_t taken = take_descriptors(&m, ret_fds, ret_fds && !cut ? *count : 0);
    if (count)
        *count = taken;
    return cut ? -EMSGSIZE : n;
}

int dv_fd_unread(int sock)
{
    int n;
    return ioctl(sock, SIOCOUTQ, &n) < 0 ? dv_fd_errno() : n;
}

/* ---- files ---- */

static int read_all(int fd, const char *path, size_t max, char **ret, size_t *ret_len,
                    struct dv_err *err)
{
    size_t size = 0, capacity = 4096;
    char *text = malloc(capacity + 1);
    ssize_t n = 1;
    while (text && n > 0) {
        n = read(fd, text + size, capacity - size);
        if (n < 0 && errno == EINTR)
            n = 1;
        else if (n > 0)
            size += (size_t)n;
        if (n < 0 || size < capacity || capacity > max)
            continue;
        capacity = DV_MIN(capacity * 2, max + 1);
        char *more = realloc(text, capacity + 1);
        if (!more)
            free(text);
        text = more;
    }
    int error = n < 0 ? dv_fd_errno() : 0;
    if (text && !error && size <= max) {
        text[size] = 0;
        *ret = text;
        *ret_len = size;
        return 0;
    }
    bool memory = !text;
    free(text);
    if (memory)
        return dv_err_set(err, -ENOMEM, "%s: out of memory", path);
    return error ? dv_err_set(err, error, "%s: %s", path, strerror(-error))
                 : dv_err_set(err, -E2BIG, "%s: it has more than %zu bytes", path, max);
}

int dv_fd_read_file(const char *path, size_t max, char **ret, size_t *ret_len, struct dv_err *err)
{
    if (!strcmp(path, "-"))
        return read_all(STDIN_FILENO, "the standard input", max, ret, ret_len, err);
    dv_cleanup(dv_fd_close) int fd = open(path, O_RDONLY | O_CLOEXEC | O_NOCTTY);
    if (fd < 0)
        return dv_err_set(err, dv_fd_errno(), "%s: %s", path, strerror(errno));
    return read_all(fd, path, max, ret, ret_len, err);
}

/* In the same folder, hidden from those who read all files of it; the name that nobody else has. */
static int name_beside(const char *path, char *ret, size_t size)
{
    const char *slash = strrchr(path, '/');
    int folder = slash ? (int)(slash - path) + 1 : 0;
    int n = snprintf(ret, size, "%.*s.%s.%d", folder, path, path + folder, (int)getpid());
    return n < 0 || (size_t)n >= size ? -ENAMETOOLONG : 0;
}

static int write_all(int fd, const char *data, size_t size)
{
    while (size) {
        ssize_t n = write(fd, data, size);
        if (n < 0 && errno == EINTR)
            continue;
        if (n <= 0)
            return dv_fd_errno();
        data += n;
        size -= (size_t)n;
    }
    return 0;
}

static int write_new(const char *path, const void *data, size_t size, mode_t mode)
{
    dv_cleanup(dv_fd_close) int fd =
        open(path, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC | O_NOFOLLOW, 0600);
    if (fd < 0)
        return dv_fd_errno();
    int r = write_all(fd, data, size);
    if (r == 0 && (fchmod(fd, mode) < 0 || fsync(fd) < 0))
        r = dv_fd_errno();
    return r;
}

int dv_fd_replace_file(const char *path, const void *data, size_t size, mode_t mode,
                       struct dv_err *err)
{
    char beside[PATH_MAX];
    int r = name_beside(path, beside, sizeof beside);
    if (r == 0) {
        unlink(beside); /* of a process of that number that died in between */
        r = write_new(beside, data, size, mode);
        if (r == 0 && rename(beside, path) < 0)
            r = dv_fd_errno();
        if (r < 0)
            unlink(beside);
    }
    return r < 0 ? dv_err_set(err, r, "%s: %s", path, strerror(-r)) : 0;
}

/* What is there and is no plain file, open for writing; -ENOENT: a plain file, or nothing. */
static int open_special(const char *path)
{
    struct stat st;
    if (lstat(path, &st) < 0 || S_ISREG(st.st_mode) || S_ISDIR(st.st_mode))
        return -ENOENT;
    int fd = open(path, O_WRONLY | O_CLOEXEC | O_NOCTTY);
    return fd < 0 ? dv_fd_errno() : fd;
}

int dv_fd_write_file(const char *path, const void *data, size_t size, mode_t mode,
                     struct dv_err *err)
{
    dv_cleanup(dv_fd_close) int fd = open_special(path);
    struct stat st;
    if (fd == -ENOENT)
        return dv_fd_replace_file(path, data, size, mode, err);
    int r = DV_MIN(fd, 0);
    /* Where a symbolic link leads to may be a plain file with something in it. */
    if (r == 0 && (fstat(fd, &st) < 0 || (S_ISREG(st.st_mode) && ftruncate(fd, 0) < 0)))
        r = dv_fd_errno();
    if (r == 0)
        r = write_all(fd, data, size);
    return r < 0 ? dv_err_set(err, r, "%s: %s", path, strerror(-r)) : 0;
}
