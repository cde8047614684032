/* SPDX-License-Identifier: Apache-2.0 */
/*
 * File descriptors: closing them at the end of a scope, sealed shared memory, and messages with
 * descriptors over SOCK_SEQPACKET sockets.
 *
 *     dv_cleanup(dv_fd_close) int fd = dv_fd_listen(path, SOCK_STREAM, 0666, &err);
 *
 * All descriptors made here are close-on-exec. Functions return 0 or a descriptor; negative errno.
 */
#ifndef DV_SYS_FD_H
#define DV_SYS_FD_H

#include "base/err.h"

#include <errno.h>
#include <stdbool.h>
#include <sys/types.h>

/* -errno of a call that has just failed; never 0, so that one sees that it is an error. */
static inline int dv_fd_errno(void)
{
    int r = -errno;
    return r < 0 ? r : -EIO;
}

/* Closes *fd if it is one and sets it to -1. */
void dv_fd_close(int *fd);
int dv_fd_set_nonblocking(int fd, bool on);
int dv_fd_set_cloexec(int fd, bool on);

/* A memfd of `size` zero bytes that can neither shrink nor grow; more seals may follow. */
int dv_fd_memfd(const char *name, size_t size);
/* Maps all of it. NULL and errno on failure. */
void *dv_fd_map(int fd, size_t size, bool writable);
/* From now on nobody can make a writable mapping; those that exist stay writable. */
int dv_fd_seal_writes(int fd);

/* Listens on a Unix socket of this type. A socket file that nobody listens on any more is
 * replaced; -EADDRINUSE when somebody does. `mode` are the file's permissions. */
int dv_fd_listen(const char *path, int type, mode_t mode, struct dv_err *err);
int dv_fd_connect(const char *path, int type, struct dv_err *err);

/* A whole file ("-": the standard input) of at most `max` bytes, NUL-terminated, malloc'ed. -E2BIG
 * when it is longer, -EISDIR, -ENOENT ... with a message that names it. */
int dv_fd_read_file(const char *path, size_t max, char **ret, size_t *ret_len, struct dv_err *err);

/* Replaces a file, or makes it: whoever reads it sees the old content or the new, never a part.
 * 0, or negative errno with a message that names it. */
int dv_fd_replace_file(const char *path, const void *data, size_t size, mode_t mode,
                       struct dv_err *err);
/* The same where a user named the file: a device, a pipe, or what a symbolic link leads to is
 * written into, and stays what it is. */
int dv_fd_write_file(const char *path, const void *data, size_t size, mode_t mode,
                     struct dv_err *err);

#define DV_FD_PASS_MAX 8u
/* One message and up to DV_FD_PASS_MAX descriptors. Does not raise SIGPIPE. 0 or -errno. */
int dv_fd_send(int sock, const void *data, size_t size, const int *fds, uint32_t count);
/* Receives one message of at most `size` bytes. Returns its length, 0 at hang-up; -EMSGSIZE when
 * it was longer. ret_fds takes `*count` at most; the rest is closed. ret_fds may be NULL. */
ssize_t dv_fd_receive(int sock, void *data, size_t size, int *ret_fds, uint32_t *count);
/* Bytes that were sent on a Unix socket and not read yet, with what the kernel adds to each
 * message. */
int dv_fd_unread(int sock);

#endif
