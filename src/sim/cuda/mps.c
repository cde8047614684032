/* SPDX-License-Identifier: Apache-2.0 */
/*
 * MPS, the client's side. As NVIDIA's driver: where a control daemon listens in the pipe directory,
 * cuInit makes the process its client; where none does, it goes on by itself. What it may use is
 * settled between daemon and divvy-sim.
 */
#include "abi_sim_mps.h"
#include "driver.h"

#include <errno.h>
#include <stdio.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

/* -1: no daemon there. */
static int connect_at(const char *directory)
{
    struct sockaddr_un a = {.sun_family = AF_UNIX};
    int n = snprintf(a.sun_path, sizeof(a.sun_path), "%s/control", directory);
    if (n < 0 || (size_t)n >= sizeof(a.sun_path))
        return -1;
    int fd = socket(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0);
    if (fd < 0)
        return -1;
    int r;
    do
        r = connect(fd, (struct sockaddr *)&a, sizeof(a));
    while (r < 0 && errno == EINTR);
    if (r == 0)
        return fd;
    close(fd);
    return -1;
}

static int connect_daemon(void)
{
    const char *directory = getenv(DV_MPS_PIPE_ENV);
    if (directory && *directory)
        return connect_at(directory);
    int fd = connect_at(DV_MPS_PIPE_DEFAULT);
    return fd >= 0 ? fd : connect_at(DV_MPS_PIPE_V3);
}

static void copy_env(const char *name, char *to, size_t size)
{
    const char *value = getenv(name);
    snprintf(to, size, "%s", value ? value : "");
}

/* The daemon's status; it may take its time. */
static int ask(int fd)
{
    struct dv_mps_message m = {
        .magic = DV_MPS_MAGIC, .kind = DV_MPS_CLIENT, .size = sizeof(struct dv_mps_client)};
    struct dv_mps_client client = {{0}, {0}, {0}, {0}};
    struct iovec iov[2] = {{&m, sizeof(m)}, {&client, sizeof(client)}};
    struct msghdr h = {.msg_iov = iov, .msg_iovlen = 2};
    copy_env(DV_MPS_THREADS_ENV, client.threads, sizeof(client.threads));
    copy_env(DV_MPS_PRIORITY_ENV, client.priority, sizeof(client.priority));
    copy_env(DV_MPS_MEMORY_ENV, client.memory, sizeof(client.memory));
    copy_env(DV_MPS_PARTITION_ENV, client.partition, sizeof(client.partition));
    ssize_t n;
    do
        n = sendmsg(fd, &h, MSG_NOSIGNAL);
    while (n < 0 && errno == EINTR);
    if (n < 0)
        return DV_CUDA_ERROR_MPS_CONNECTION_FAILED;
    do
        n = recv(fd, &m, sizeof(m), 0);
    while (n < 0 && errno == EINTR);
    if (n != sizeof(m) || m.magic != DV_MPS_MAGIC || m.kind != DV_MPS_CLIENT)
        return DV_CUDA_ERROR_MPS_CONNECTION_FAILED;
    return m.status;
}

int dv_cumps_join(void)
{
    if (P.mps >= 0)
        return 0;
    int fd = connect_daemon();
    if (fd < 0)
        return 0;
    int r = ask(fd);
    if (r == 0) {
        P.mps = fd;
        return 0;
    }
    close(fd);
    if (r == DV_MPS_OTHER_NODE)
        return 0;
    return r > 0 ? r : DV_CUDA_ERROR_MPS_CONNECTION_FAILED;
}
