/* SPDX-License-Identifier: Apache-2.0 */
#include "mps/node.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/uio.h>
#include <sys/un.h>
#include <unistd.h>

int dv_mpsnode_request(int fd, uint16_t op, const void *data, uint32_t size, void *ret,
                       uint32_t *ret_size)
{
    struct dv_sim_header h = {.magic = DV_SIM_MAGIC, .op = op, .size = size};
    struct iovec out[2] = {{&h, sizeof(h)}, {(void *)(uintptr_t)data, size}};
    struct msghdr message = {.msg_iov = out, .msg_iovlen = size ? 2 : 1};
    uint32_t room = ret_size ? *ret_size : 0;
    struct iovec in[2] = {{&h, sizeof(h)}, {ret, room}};
    ssize_t n;

    if (sendmsg(fd, &message, MSG_NOSIGNAL) < 0)
        return -EPIPE;
    message = (struct msghdr){.msg_iov = in, .msg_iovlen = room ? 2 : 1};
    do {
        n = recvmsg(fd, &message, MSG_CMSG_CLOEXEC);
    } while (n < 0 && errno == EINTR);
    if (n < (ssize_t)sizeof(h) || h.magic != DV_SIM_MAGIC || h.op != op || h.size > room ||
        (size_t)n != sizeof(h) + h.size)
        return -EPIPE;
    if (ret_size)
        *ret_size = h.size;
    return h.status;
}

int dv_mpsnode_connect(enum dv_sim_client kind, struct dv_sim_welcome *ret, struct dv_err *err)
{
    const char *path = getenv(DV_SIM_SOCKET_ENV);
    struct sockaddr_un address = {.sun_family = AF_UNIX};
    struct dv_sim_hello hello = {DV_SIM_ABI, (uint32_t)kind};
    struct dv_sim_welcome welcome;
    uint32_t size = sizeof(welcome);
    int fd, r;

    if (!path || !*path || strlen(path) >= sizeof(address.sun_path))
        return dv_err_set(err, -ENOENT,
                          DV_SIM_SOCKET_ENV " names no simulated node; see 'divvy-sim env'");
    memcpy(address.sun_path, path, strlen(path) + 1);
    fd = socket(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0);
    if (fd < 0)
        return dv_err_set(err, -errno, "socket: %s", strerror(errno));
    if (connect(fd, (const struct sockaddr *)&address, sizeof(address)) < 0) {
        r = -errno;
        close(fd);
        return dv_err_set(err, r, "%s: no simulated node: %s", path, strerror(-r));
    }
    r = dv_mpsnode_request(fd, DV_SIM_HELLO, &hello, sizeof(hello), &welcome, &size);
    if (r != 0 || size != sizeof(welcome)) {
        close(fd);
        return dv_err_set(err, -EPROTO, "%s: this is no divvy-sim of this version", path);
    }
    if (ret)
        *ret = welcome;
    return fd;
}
