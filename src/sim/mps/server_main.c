/* SPDX-License-Identifier: Apache-2.0 */
/* nvidia-cuda-mps-server for simulated GPUs: holds the contexts that its clients share. Started by
 * nvidia-cuda-mps-control only. */
#include "mps/log.h"
#include "mps/node.h"
#include "mps/serverlink.h"

#include <errno.h>
#include <poll.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#define LINGER_MS 100

static struct dv_mpslog server_log = {.fd = DV_MPSLINK_LOG_FD, .party = "Server"};

static int tell(enum dv_mpslink_what what)
{
    struct dv_mpslink m = {.what = (uint32_t)what};
    return send(DV_MPSLINK_FD, &m, sizeof(m), MSG_NOSIGNAL) == sizeof(m) ? 0 : -EPIPE;
}

/* False: the daemon is gone. */
static bool hear(struct dv_mpslink *ret)
{
    ssize_t n;

    do {
        n = recv(DV_MPSLINK_FD, ret, sizeof(*ret), 0);
    } while (n < 0 && errno == EINTR);
    return n == sizeof(*ret);
}

static int make_contexts(int node, const struct dv_mpslink *go)
{
    for (uint32_t i = 0; i < go->n_devices && i < DV_SIM_MPS_DEVICES_MAX; i++) {
        struct dv_sim_ctx_create q = {.device = go->device[i]};
        struct dv_sim_ctx_created made;
        uint32_t size = sizeof(made);
        int r = dv_mpsnode_request(node, DV_SIM_CUDA_CTX_CREATE, &q, sizeof(q), &made, &size);

        if (r != 0) {
            dv_mpslog_write(&server_log, "Failed to create server context on device %u: error %d",
                            i, r);
            return r;
        }
        dv_mpslog_write(&server_log, "Creating server context on device %u (%.95s)", i,
                        go->name[i]);
    }
    return 0;
}

/* Its daemon is gone: the clients may finish, and none come. */
static void linger(int node)
{
    uint32_t pid = (uint32_t)getpid();
    static struct dv_sim_mps_status status;
    struct dv_err err = {0};
    int control = dv_mpsnode_connect(DV_SIM_CLIENT_MPS, NULL, &err);
    struct pollfd hangup = {.fd = node};

    dv_mpslog_write(&server_log, "The control daemon is gone");
    for (;;) {
        uint32_t size = sizeof(status);
        int r = control < 0 ? control
                            : dv_mpsnode_request(control, DV_SIM_MPS_STATUS, &pid, sizeof(pid),
                                                 &status, &size);

        if (r != 0 || size != sizeof(status) || !status.clients)
            return;
        if (poll(&hangup, 1, LINGER_MS) > 0)
            return;
    }
}

static void serve(int node)
{
    struct pollfd fds[2] = {{.fd = DV_MPSLINK_FD, .events = POLLIN}, {.fd = node}};
    struct dv_mpslink m;

    while (poll(fds, 2, -1) >= 0 || errno == EINTR) {
        if (fds[1].revents)
            return; /* the node is gone */
        if (!fds[0].revents)
            continue;
        if (!hear(&m)) {
            linger(node);
            return;
        }
        if (m.what == DV_MPSLINK_QUIT)
            return;
    }
}

int main(int argc, char **argv)
{
    struct dv_mpslink go;
    struct dv_err err = {0};
    int node, type;
    socklen_t size = sizeof(type);

    if (getsockopt(DV_MPSLINK_FD, SOL_SOCKET, SO_TYPE, &type, &size) < 0 ||
        type != SOCK_SEQPACKET) {
        fprintf(stderr, "nvidia-cuda-mps-server: is started by nvidia-cuda-mps-control\n");
        return 1;
    }
    node = dv_mpsnode_connect(DV_SIM_CLIENT_CUDA, NULL, &err);
    if (node < 0) {
        dv_mpslog_write(&server_log, "%s", err.msg);
        return 1;
    }
    if (tell(DV_MPSLINK_HELLO) < 0 || !hear(&go) || go.what != DV_MPSLINK_GO)
        return 1;
    if (make_contexts(node, &go) != 0)
        return 1;
    dv_mpslog_write(&server_log, "Server has started");
    if (tell(DV_MPSLINK_READY) == 0)
        serve(node);
    dv_mpslog_write(&server_log, "Server is exiting");
    return 0;
}
