/* SPDX-License-Identifier: Apache-2.0 */
#include "cli/cli.h"

#include <errno.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/time.h>
#include <sys/uio.h>
#include <sys/un.h>
#include <unistd.h>

static const char *hint(int error)
{
    switch (error) {
    case ENOENT:
    case ECONNREFUSED:
        return ": no simulated node there; 'divvy-sim start NODE' starts one";
    case EACCES:
        return ": the socket belongs to another user";
    default:
        return "";
    }
}

int dv_simcli_connect(const char *socket_path, struct dv_err *err)
{
    struct sockaddr_un address = {.sun_family = AF_UNIX};
    struct timeval patience = {.tv_sec = 10};
    struct dv_sim_hello hello = {DV_SIM_ABI, DV_SIM_CLIENT_CONTROL};
    struct dv_sim_welcome welcome;
    uint32_t size = sizeof(welcome);
    int fd, r;

    if (strlen(socket_path) >= sizeof(address.sun_path))
        return dv_err_set(err, -ENAMETOOLONG, "%.60s...: a socket's path has at most %zu bytes",
                          socket_path, sizeof(address.sun_path) - 1);
    memcpy(address.sun_path, socket_path, strlen(socket_path) + 1);
    fd = socket(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0);
    if (fd < 0)
        return dv_err_set(err, -errno, "socket: %s", strerror(errno));
    setsockopt(fd, SOL_SOCKET, SO_RCVTIMEO, &patience, sizeof(patience));
    if (connect(fd, (const struct sockaddr *)&address, sizeof(address)) < 0) {
        r = errno;
        close(fd);
        return dv_err_set(err, -r, "%s: %s%s", socket_path, strerror(r), hint(r));
    }
    r = dv_simcli_request(fd, DV_SIM_HELLO, &hello, sizeof(hello), &welcome, &size);
    if (r < 0) {
        close(fd);
        return dv_err_set(err, r, "%s: this is no divvy-sim of this version (%s)", socket_path,
                          strerror(-r));
    }
    return fd;
}

int dv_simcli_request(int fd, uint16_t op, const void *data, uint32_t size, void *ret,
                      uint32_t *ret_size)
{
    struct dv_sim_header h = {.magic = DV_SIM_MAGIC, .op = op, .size = size};
    struct iovec out[2] = {{&h, sizeof(h)}, {(void *)(uintptr_t)data, size}};
    struct msghdr message = {.msg_iov = out, .msg_iovlen = size ? 2 : 1};
    uint32_t room = ret_size ? *ret_size : 0;
    struct iovec in[2] = {{&h, sizeof(h)}, {ret, room}};
    ssize_t n;

    if (sendmsg(fd, &message, MSG_NOSIGNAL) < 0)
        return -errno;
    message = (struct msghdr){.msg_iov = in, .msg_iovlen = room ? 2 : 1};
    do {
        n = recvmsg(fd, &message, 0);
    } while (n < 0 && errno == EINTR);
    if (n < 0)
        return -errno;
    if ((size_t)n < sizeof(h) || h.magic != DV_SIM_MAGIC || h.op != op || h.size > room ||
        (size_t)n != sizeof(h) + h.size)
        return -EPROTO;
    if (ret_size)
        *ret_size = h.size;
    return h.status;
}
