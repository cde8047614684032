/* SPDX-License-Identifier: Apache-2.0 */
/*
 * How a process in a container has its devices, without device nodes. Beside its socket divvy-sim
 * keeps a directory SOCKET.inside: another socket, on which nothing is visible, and an empty file
 * for each device, named by its UUID. A container gets that socket and the files of its devices, as
 * it would get /dev/nvidia0; whoever connects there shows an open descriptor of each, as many
 * allocations together as it was given. The server compares the file itself, not its name, so one
 * that the container made shows nothing.
 */
#ifndef DV_ABI_SIM_SHOW_H
#define DV_ABI_SIM_SHOW_H

#include "abi_sim.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#define DV_SIM_INSIDE ".inside"               /* behind the path of the server's socket */
#define DV_SIM_INSIDE_SOCKET "socket"         /* in there */
#define DV_SIM_SHOWN "/run/divvy/sim-devices" /* in a container: the files of its devices */
#define DV_SIM_SHOWN_MAX 128u

/* Shows one file; the server answers whatever it is. 0, or negative errno: the connection is of no
 * use any more. */
static inline int dv_sim_show(int socket, int file)
{
    struct dv_sim_header h = {.magic = DV_SIM_MAGIC, .op = DV_SIM_SHOW};
    union {
        struct cmsghdr header;
        char bytes[CMSG_SPACE(sizeof(int))];
    } control = {{0}};
    struct iovec part = {&h, sizeof(h)};
    struct msghdr m = {.msg_iov = &part,
                       .msg_iovlen = 1,
                       .msg_control = &control,
                       .msg_controllen = sizeof(control.bytes)};
    struct cmsghdr *c = CMSG_FIRSTHDR(&m);
    ssize_t n;
    c->cmsg_level = SOL_SOCKET;
    c->cmsg_type = SCM_RIGHTS;
    c->cmsg_len = CMSG_LEN(sizeof(int));
    memcpy(CMSG_DATA(c), &file, sizeof(file));
    do
        n = sendmsg(socket, &m, MSG_NOSIGNAL);
    while (n < 0 && errno == EINTR);
    if (n < 0)
        return -errno;
    do
        n = recv(socket, &h, sizeof(h), 0);
    while (n < 0 && errno == EINTR);
    if (n < 0)
        return -errno;
    return n == (ssize_t)sizeof(h) && h.magic == DV_SIM_MAGIC && h.op == DV_SIM_SHOW ? 0 : -EPROTO;
}

/* Shows all that this process was given; after HELLO. Outside of a container there is nothing. */
static inline int dv_sim_show_all(int socket)
{
    DIR *dir = opendir(DV_SIM_SHOWN);
    unsigned n = 0;
    int r = 0;
    if (!dir)
        return 0;
    for (struct dirent *e; r == 0 && n < DV_SIM_SHOWN_MAX && (e = readdir(dir));) {
        int file = e->d_name[0] == '.' ? -1 : openat(dirfd(dir), e->d_name, O_PATH | O_CLOEXEC);
        if (file < 0)
            continue;
        r = dv_sim_show(socket, file);
        close(file);
        n++;
    }
    closedir(dir);
    return r;
}

#endif
