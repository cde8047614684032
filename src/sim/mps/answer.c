/* SPDX-License-Identifier: Apache-2.0 */
#include "mps/daemon.h"

#include <errno.h>
#include <fcntl.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

static int fail(struct dv_str *out, const char *fmt, ...) dv_printf(2, 3);

static int fail(struct dv_str *out, const char *fmt, ...)
{
    char text[512];
    va_list ap;

    va_start(ap, fmt);
    vsnprintf(text, sizeof(text), fmt, ap);
    va_end(ap);
    dv_str_addf(out, "%s\n", text);
    return 1;
}

/* ---- lists ---- */

static int list_servers(struct dv_mpsd *d, struct dv_str *out)
{
    for (uint32_t i = 0; i < DV_SIM_MPS_SERVERS_MAX; i++) {
        if (d->server[i].state != DV_MPSD_FREE)
            dv_str_addf(out, "%d\n", (int)d->server[i].pid);
    }
    return 0;
}

static int list_clients(struct dv_mpsd *d, const struct dv_mpsd_server *s, struct dv_str *out)
{
    static struct dv_sim_mps_status status;

    if (dv_mpsd_status(d, s, &status) != 0)
        return 0; /* it has no clients yet */
    for (uint32_t i = 0; i < status.clients; i++)
        dv_str_addf(out, "%u\n", status.client[i].pid);
    return 0;
}

static void list_device(struct dv_mpsd *d, uint32_t device, uint32_t server, struct dv_str *out)
{
    static struct dv_sim_mps_status status;

    dv_str_addf(out, "Device %s\n", d->device[device].uuid);
    for (uint32_t i = 0; i < DV_SIM_MPS_SERVERS_MAX; i++) {
        const struct dv_mpsd_server *s = &d->server[i];

        if (s->state == DV_MPSD_FREE || (server && s->pid != (pid_t)server) ||
            dv_mpsd_status(d, s, &status) != 0)
            continue;
        for (uint32_t k = 0; k < status.clients; k++) {
            if (status.client[k].devices & 1u << device)
                dv_str_addf(out, "%u\n", status.client[k].pid);
        }
    }
}

static int list_devices(struct dv_mpsd *d, uint32_t server, struct dv_str *out)
{
    for (uint32_t i = 0; i < d->n_devices; i++)
        list_device(d, i, server, out);
    return 0;
}

void dv_mpsd_command_of(uint32_t pid, char ret[64])
{
    char path[64];
    ssize_t n = 0;
    int fd;

    snprintf(path, sizeof(path), "/proc/%u/cmdline", pid);
    fd = open(path, O_RDONLY | O_CLOEXEC);
    if (fd >= 0) {
        n = read(fd, ret, 63);
        close(fd);
    }
    ret[n > 0 ? n : 0] = '\0'; /* and the first argument's own NUL */
}

uint64_t dv_mpsd_pid_namespace_of(uint32_t pid)
{
    char path[64], target[64];
    unsigned long long number = 0;
    ssize_t n;

    snprintf(path, sizeof(path), "/proc/%u/ns/pid", pid);
    n = readlink(path, target, sizeof(target) - 1);
    target[n > 0 ? n : 0] = '\0';
    return sscanf(target, "pid:[%llu]", &number) == 1 ? number : 0;
}

static int processes(struct dv_mpsd *d, uint32_t server, struct dv_str *out)
{
    static struct dv_sim_mps_status status;
    char command[64];

    dv_str_addf(out, "%-9s %-5s %-9s %-22s %-13s %s\n", "PID", "ID", "SERVER", "DEVICE",
                "NAMESPACE", "COMMAND");
    for (uint32_t i = 0; i < DV_SIM_MPS_SERVERS_MAX; i++) {
        const struct dv_mpsd_server *s = &d->server[i];

        if (s->state == DV_MPSD_FREE || (server && s->pid != (pid_t)server) ||
            dv_mpsd_status(d, s, &status) != 0)
            continue;
        for (uint32_t k = 0; k < status.clients * d->n_devices; k++) {
            uint32_t client = k / d->n_devices, device = k % d->n_devices;
            uint32_t pid = status.client[client].pid;

            if (!(status.client[client].devices & 1u << device))
                continue;
            dv_mpsd_command_of(pid, command);
            dv_str_addf(out, "%-9u %-5u %-9d %-22.22s %-13llu %s\n", pid, 0u, (int)s->pid,
                        d->device[device].uuid, (unsigned long long)dv_mpsd_pid_namespace_of(pid),
                        command);
        }
    }
    return 0;
}

static int server_status(struct dv_mpsd *d, const struct dv_mpsd_server *s, struct dv_str *out)
{
    static struct dv_sim_mps_status status;

    if (s->state == DV_MPSD_STARTING || dv_mpsd_status(d, s, &status) != 0)
        dv_str_add(out, "INITIALIZING\n");
    else
        dv_str_add(out, status.state == DV_SIM_MPS_FAULT ? "FAULT\n" : "ACTIVE\n");
    return 0;
}

/* ---- changes ---- */

static int start_server(struct dv_mpsd *d, uid_t uid, struct dv_str *out)
{
    int r;

    if (dv_mpsd_servers_count(d) && !d->options.multiuser) {
        for (uint32_t i = 0; i < DV_SIM_MPS_SERVERS_MAX; i++) {
            if (d->server[i].state != DV_MPSD_FREE && d->server[i].uid != uid)
                return fail(out,
                            "start_server: server %d of user %u is there; one user's at a "
                            "time, unless the daemon was started with -multiuser-server",
                            (int)d->server[i].pid, d->server[i].uid);
        }
        return fail(out, "start_server: user %u has a server", uid);
    }
    r = dv_mpsd_server_start(d, uid, DV_MPSD_NONE);
    return r < 0 ? fail(out, "start_server: %s", strerror(-r)) : 0;
}

static int terminate_client(struct dv_mpsd *d, const struct dv_mpscommand *q, struct dv_str *out)
{
    struct dv_sim_mps_terminate t = {q->server, q->client};
    int r = dv_mpsnode_request(d->node, DV_SIM_MPS_TERMINATE, &t, sizeof(t), NULL, NULL);

    if (r == -EPIPE)
        d->lost = true;
    if (r == -ESRCH)
        return fail(out, "terminate_client: server %u has no client %u", q->server, q->client);
    if (r < 0)
        return fail(out, "terminate_client: %s", strerror(-r));
    dv_str_add(out, "0\n"); /* as the driver's */
    return 0;
}

static int print_threads(const struct dv_mpsd_limits *l, struct dv_str *out)
{
    dv_mpscommand_add_threads(out, l->threads);
    dv_str_addc(out, '\n');
    return 0;
}

static int memory(struct dv_mpsd *d, struct dv_mpsd_limits *l, const struct dv_mpscommand *q,
                  struct dv_str *out)
{
    int device = dv_mpsd_device(d, q->device);

    if (device < 0)
        return fail(out, "'%s' is not one of this daemon's %u devices", q->device, d->n_devices);
    if (q->bytes) {
        l->memory_bytes[device] = q->bytes;
        return 0;
    }
    dv_mpscommand_add_bytes(out, l->memory_bytes[device]);
    dv_str_addc(out, '\n');
    return 0;
}

static uint64_t now_ns(void)
{
    struct timespec t;

    clock_gettime(CLOCK_MONOTONIC, &t);
    return (uint64_t)t.tv_sec * DV_NS_PER_S + (uint64_t)t.tv_nsec;
}

static int quit(struct dv_mpsd *d, const struct dv_mpscommand *q)
{
    d->quitting = true;
    if (q->has_timeout)
        d->deadline_ns = DV_MIN(d->deadline_ns, now_ns() + q->timeout_s * DV_NS_PER_S);
    for (uint32_t i = 0; i < DV_SIM_MPS_SERVERS_MAX; i++) {
        if (d->server[i].state != DV_MPSD_FREE)
            dv_mpsd_server_drain(d, &d->server[i], false);
    }
    return 2;
}

/* ---- commands ---- */

/* Of a server that exists. */
static int of_server(struct dv_mpsd *d, struct dv_mpsd_server *s, const struct dv_mpscommand *q,
                     struct dv_str *out)
{
    switch (q->verb) {
    case DV_MPSCMD_SHUTDOWN_SERVER:
        dv_mpsd_server_drain(d, s, q->force);
        return 0;
    case DV_MPSCMD_GET_SERVER_STATUS:
        return server_status(d, s, out);
    case DV_MPSCMD_GET_CLIENT_LIST:
        return list_clients(d, s, out);
    case DV_MPSCMD_TERMINATE_CLIENT:
        return terminate_client(d, q, out);
    case DV_MPSCMD_SET_THREADS:
        s->limits.threads = q->threads;
        return print_threads(&s->limits, out);
    case DV_MPSCMD_GET_THREADS:
        return print_threads(&s->limits, out);
    case DV_MPSCMD_GET_DEVICE_CLIENT_LIST:
        return list_devices(d, q->server, out);
    case DV_MPSCMD_PS:
        return processes(d, q->server, out);
    default: /* GET_MEMORY, SET_MEMORY */
        return memory(d, &s->limits, q, out);
    }
}

static int of_daemon(struct dv_mpsd *d, const struct dv_mpscommand *q, struct dv_str *out)
{
    switch (q->verb) {
    case DV_MPSCMD_GET_SERVER_LIST:
        return list_servers(d, out);
    case DV_MPSCMD_START_SERVER:
        return start_server(d, q->uid, out);
    case DV_MPSCMD_GET_DEVICE_CLIENT_LIST:
        return list_devices(d, 0, out);
    case DV_MPSCMD_PS:
        return processes(d, 0, out);
    case DV_MPSCMD_SET_DEFAULT_THREADS:
        d->defaults.threads = q->threads;
        return print_threads(&d->defaults, out);
    case DV_MPSCMD_GET_DEFAULT_THREADS:
        return print_threads(&d->defaults, out);
    case DV_MPSCMD_GET_DEFAULT_MEMORY:
    case DV_MPSCMD_SET_DEFAULT_MEMORY:
        return memory(d, &d->defaults, q, out);
    case DV_MPSCMD_SET_DEFAULT_PRIORITY:
        d->defaults.priority = q->priority;
        return 0;
    case DV_MPSCMD_GET_DEFAULT_PRIORITY:
        dv_str_addf(out, "%d\n", d->defaults.priority);
        return 0;
    case DV_MPSCMD_PARTITION_ADD:
        return dv_mpsd_partition_add(d, q, out);
    case DV_MPSCMD_PARTITION_REMOVE:
        return dv_mpsd_partition_remove(d, q, out);
    case DV_MPSCMD_PARTITION_LIST:
        return dv_mpsd_partition_list(d, out);
    case DV_MPSCMD_QUIT:
        return quit(d, q);
    case DV_MPSCMD_HELP:
        dv_mpscommand_help(out);
        return 0;
    default:
        return 0;
    }
}

int dv_mpsd_answer(struct dv_mpsd *d, const char *line, struct dv_str *out)
{
    struct dv_mpscommand q;
    struct dv_mpsd_server *s;
    struct dv_err err = {0};

    if (dv_mpscommand_parse(line, &q, &err) < 0)
        return fail(out, "%s", err.msg);
    if (q.verb != DV_MPSCMD_NOTHING)
        dv_mpslog_write(&d->control_log, "Cmd:%s", line);
    if (!q.server)
        return of_daemon(d, &q, out);
    s = dv_mpsd_server_find(d, q.server);
    return s ? of_server(d, s, &q, out) : fail(out, "Server %u not found", q.server);
}
