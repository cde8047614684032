/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Servers, one per user unless they are shared by all; a server of another user ends with its last
 * client before the next one starts, as NVIDIA's do.
 */
#include "mps/daemon.h"
#include "mps/serverlink.h"

#include <errno.h>
#include <fcntl.h>
#include <grp.h>
#include <limits.h>
#include <pwd.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>

#define CU_MPS_CONNECTION_FAILED 805
#define CU_MPS_SERVER_NOT_READY 807
#define CU_INVALID_RESOURCE_CONFIGURATION 915

/* ---- what is known of them ---- */

struct dv_mpsd_server *dv_mpsd_server_find(struct dv_mpsd *d, uint32_t pid)
{
    for (uint32_t i = 0; i < DV_SIM_MPS_SERVERS_MAX; i++) {
        if (d->server[i].state != DV_MPSD_FREE && d->server[i].pid == (pid_t)pid)
            return &d->server[i];
    }
    return NULL;
}

uint32_t dv_mpsd_servers_count(const struct dv_mpsd *d)
{
    uint32_t n = 0;

    for (uint32_t i = 0; i < DV_SIM_MPS_SERVERS_MAX; i++)
        n += d->server[i].state != DV_MPSD_FREE;
    return n;
}

int dv_mpsd_status(struct dv_mpsd *d, const struct dv_mpsd_server *s, struct dv_sim_mps_status *ret)
{
    uint32_t pid = (uint32_t)s->pid, size = sizeof(*ret);
    int r = dv_mpsnode_request(d->node, DV_SIM_MPS_STATUS, &pid, sizeof(pid), ret, &size);

    if (r == -EPIPE)
        d->lost = true;
    return r == 0 && size != sizeof(*ret) ? -EPROTO : r;
}

/* A unique beginning of a UUID is enough, as for CUDA_VISIBLE_DEVICES; not less than lspart shows.
 */
#define UUID_PREFIX 12

int dv_mpsd_device(const struct dv_mpsd *d, const char *word)
{
    char *end;
    unsigned long index = strtoul(word, &end, 10);
    int found = -ENOENT;

    if (*word >= '0' && *word <= '9' && !*end)
        return index < d->n_devices ? (int)index : -ENOENT;
    for (uint32_t i = 0; i < d->n_devices; i++) {
        if (strncmp(d->device[i].uuid, word, strlen(word)) != 0)
            continue;
        if (found >= 0)
            return -ENOENT;
        found = (int)i;
    }
    return strlen(word) >= UUID_PREFIX ? found : -ENOENT;
}

/* ---- start ---- */

/* In the child: descriptors, user, program. */
static void become_server(const struct dv_mpsd *d, uid_t uid, int link)
{
    char path[PATH_MAX];
    ssize_t n = readlink("/proc/self/exe", path, sizeof(path) - 64);
    const struct passwd *user = uid == geteuid() ? NULL : getpwuid(uid);
    int log = d->server_log.fd;
    sigset_t none;
    char *slash;

    if (n < 0)
        _exit(127);
    path[n] = '\0';
    slash = strrchr(path, '/');
    if (!slash)
        _exit(127);
    snprintf(slash, 64, "/nvidia-cuda-mps-server");
    /* Out of the way of the two numbers first. */
    link = fcntl(link, F_DUPFD_CLOEXEC, 10);
    log = fcntl(log, F_DUPFD_CLOEXEC, 10);
    if (dup2(link, DV_MPSLINK_FD) < 0 || (log >= 0 && dup2(log, DV_MPSLINK_LOG_FD) < 0))
        _exit(127);
    sigemptyset(&none);
    sigprocmask(SIG_SETMASK, &none, NULL);
    if (uid != geteuid() &&
        (setgroups(0, NULL) < 0 || setgid(user ? user->pw_gid : uid) < 0 || setuid(uid) < 0))
        _exit(126);
    execl(path, "nvidia-cuda-mps-server", (char *)NULL);
    _exit(127);
}

/* All of the daemon's devices, or those of the name. */
static void choose_devices(const struct dv_mpsd *d, struct dv_mpsd_server *s)
{
    const struct dv_mpsd_named *n = s->named == DV_MPSD_NONE ? NULL : &d->named[s->named];

    s->n_devices = n ? n->n_devices : d->n_devices;
    for (uint32_t i = 0; i < s->n_devices; i++)
        s->device[i] = n ? n->device[i] : i;
}

int dv_mpsd_server_start(struct dv_mpsd *d, uid_t uid, uint32_t named)
{
    struct dv_mpsd_server *s = NULL;
    int pair[2];
    pid_t pid;

    for (uint32_t i = 0; i < DV_SIM_MPS_SERVERS_MAX && !s; i++)
        s = d->server[i].state == DV_MPSD_FREE ? &d->server[i] : NULL;
    if (!s)
        return -ENOSPC;
    if (geteuid() != 0 && uid != geteuid())
        return -EPERM;
    if (socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, pair) < 0)
        return -errno;
    pid = fork();
    if (pid < 0) {
        close(pair[0]);
        close(pair[1]);
        return -errno;
    }
    if (pid == 0)
        become_server(d, uid, pair[1]);
    close(pair[1]);
    *s = (struct dv_mpsd_server){.state = DV_MPSD_STARTING,
                                 .pid = pid,
                                 .uid = uid,
                                 .fd = pair[0],
                                 .limits = d->defaults,
                                 .named = named};
    choose_devices(d, s);
    dv_mpslog_write(&d->control_log, "Starting new server %d for user %u", (int)pid, uid);
    return 0;
}

/* divvy-sim knows the process now: it is a server, and may make its contexts. */
static int introduce(struct dv_mpsd *d, struct dv_mpsd_server *s)
{
    struct dv_sim_mps_server q = {
        .pid = (uint32_t)s->pid, .multiuser = d->options.multiuser, .n_devices = s->n_devices};
    struct dv_mpslink go = {.what = DV_MPSLINK_GO, .n_devices = s->n_devices};
    int r;

    for (uint32_t i = 0; i < s->n_devices; i++) {
        const struct dv_sim_device *device = &d->device[s->device[i]];

        q.device[i] = go.device[i] = device->id;
        memcpy(go.name[i], device->name, sizeof(go.name[i]));
    }
    r = dv_mpsnode_request(d->node, DV_SIM_MPS_SERVER, &q, sizeof(q), NULL, NULL);
    if (r == -EPIPE)
        d->lost = true;
    if (r == 0 && send(s->fd, &go, sizeof(go), MSG_NOSIGNAL) != sizeof(go))
        r = -EPIPE;
    return r;
}

/* ---- the end ---- */

static void end_now(struct dv_mpsd_server *s)
{
    struct dv_mpslink m = {.what = DV_MPSLINK_QUIT};

    s->state = DV_MPSD_ENDING;
    if (send(s->fd, &m, sizeof(m), MSG_NOSIGNAL | MSG_DONTWAIT) != sizeof(m))
        kill(s->pid, SIGKILL);
}

/* Those who wait for a server of that user, or of that name, wait in vain. */
static void refuse_waiting(struct dv_mpsd *d, uid_t uid, uint32_t named, int32_t status)
{
    for (uint32_t i = 0; i < DV_MPSD_CONNECTIONS_MAX; i++) {
        struct dv_mpsd_connection *c = d->connection[i];

        if (!c || c->role != DV_MPSD_WAITS || c->named != named ||
            (named == DV_MPSD_NONE && c->uid != uid && !d->options.multiuser))
            continue;
        c->role = DV_MPSD_NEW;
        dv_mpsd_reply(d, c, DV_MPS_CLIENT, status, "");
    }
}

static void gone(struct dv_mpsd *d, struct dv_mpsd_server *s)
{
    enum dv_mpsd_server_state was = s->state;
    uid_t uid = s->uid;
    uint32_t named = s->named;
    int status = 0;

    /* Without its socket it is of no use, whatever it does. */
    if (waitpid(s->pid, &status, WNOHANG) == 0) {
        kill(s->pid, SIGKILL);
        waitpid(s->pid, &status, 0);
    }
    if (WIFSIGNALED(status))
        dv_mpslog_write(&d->control_log, "Server %d exited with signal %d", (int)s->pid,
                        WTERMSIG(status));
    else
        dv_mpslog_write(&d->control_log, "Server %d exited with status %d", (int)s->pid,
                        WEXITSTATUS(status));
    close(s->fd);
    *s = (struct dv_mpsd_server){.fd = -1, .named = DV_MPSD_NONE};
    if (was == DV_MPSD_STARTING)
        refuse_waiting(d, uid, named, CU_MPS_CONNECTION_FAILED);
}

void dv_mpsd_server_ready(struct dv_mpsd *d, struct dv_mpsd_server *s)
{
    struct dv_mpslink m;
    ssize_t n = recv(s->fd, &m, sizeof(m), MSG_DONTWAIT);

    if (n < 0 && (errno == EAGAIN || errno == EINTR))
        return;
    if (n != sizeof(m)) {
        gone(d, s);
    } else if (m.what == DV_MPSLINK_HELLO) {
        if (introduce(d, s) != 0)
            end_now(s);
    } else if (m.what == DV_MPSLINK_READY && s->state == DV_MPSD_STARTING) {
        dv_mpslog_write(&d->control_log, "NEW SERVER %d: Ready", (int)s->pid);
        s->state = DV_MPSD_READY;
    }
}

void dv_mpsd_server_drain(struct dv_mpsd *d, struct dv_mpsd_server *s, bool force)
{
    if (s->state == DV_MPSD_ENDING)
        return;
    dv_mpslog_write(&d->control_log, "Server %d: shutdown%s", (int)s->pid,
                    force ? " (forced)" : "");
    if (force || s->state == DV_MPSD_STARTING)
        end_now(s);
    else
        s->state = DV_MPSD_DRAINING;
}

bool dv_mpsd_servers_tick(struct dv_mpsd *d)
{
    static struct dv_sim_mps_status status;
    bool draining = false;

    for (uint32_t i = 0; i < DV_SIM_MPS_SERVERS_MAX; i++) {
        struct dv_mpsd_server *s = &d->server[i];

        if (s->state != DV_MPSD_DRAINING)
            continue;
        if (dv_mpsd_status(d, s, &status) != 0 || !status.clients)
            end_now(s);
        else
            draining = true;
    }
    return draining;
}

/* ---- clients ---- */

static uint64_t lower(uint64_t limit, uint64_t wish)
{
    return !limit ? wish : !wish ? limit : DV_MIN(limit, wish);
}

/* The index of a device that a client's environment names, among those that it sees. */
static int device_of_server(const struct dv_mpsd *d, const struct dv_mpsd_server *s,
                            const char *word)
{
    char *end;
    unsigned long index = strtoul(word, &end, 10);

    if (*word >= '0' && *word <= '9' && !*end)
        return index < s->n_devices ? (int)index : -ENOENT;
    for (uint32_t i = 0; i < s->n_devices; i++) {
        if (!strcmp(d->device[s->device[i]].uuid, word))
            return (int)i;
    }
    return -ENOENT;
}

/* What the server, or the client's namespace, grants. */
static void grant(const struct dv_mpsd *d, const struct dv_mpsd_connection *c,
                  const struct dv_mpsd_server *s, struct dv_sim_mps_admit *q)
{
    const struct dv_mpsd_namespace *space;

    if (s->named == DV_MPSD_NONE) {
        q->threads = s->limits.threads;
        q->priority = s->limits.priority;
        memcpy(q->memory_bytes, s->limits.memory_bytes, sizeof(q->memory_bytes));
        return;
    }
    space = &d->named[s->named].space[c->space];
    q->threads = space->threads;
    q->priority = space->priority;
    for (uint32_t i = 0; i < s->n_devices; i++)
        q->memory_bytes[i] = space->bytes;
}

/* With static partitions a client needs one, and what it has of threads does not count. */
static int choose_partition(const struct dv_mpsd *d, struct dv_mpsd_connection *c,
                            const struct dv_mpsd_server *s, struct dv_sim_mps_admit *q)
{
    const struct dv_mpsd_partition *p;

    if (!d->options.partitions)
        return 0;
    p = dv_mpsd_partition_find(d, c->wishes.partition);
    if (!p)
        return CU_INVALID_RESOURCE_CONFIGURATION;
    q->threads = DV_SIM_MPS_WHOLE;
    q->partition = c->partition = p->number;
    q->partition_sms = p->sms;
    for (uint32_t i = 0; i < s->n_devices; i++) {
        if (s->device[i] == p->device)
            q->partition_device = i;
    }
    return 0;
}

/* A client may have less than the server grants, never more. */
static void apply_wishes(struct dv_mpsd *d, const struct dv_mpsd_connection *c,
                         const struct dv_mpsd_server *s, struct dv_sim_mps_admit *q)
{
    const char *at = c->wishes.memory;
    char device[DV_MPSCOMMAND_DEVICE];
    uint64_t bytes;
    uint32_t threads;
    int r;

    if (dv_mpscommand_threads(c->wishes.threads, &threads) == 0)
        q->threads = DV_MIN(q->threads, threads);
    else if (c->wishes.threads[0])
        dv_mpslog_write(&d->control_log, "Client %d: " DV_MPS_THREADS_ENV "=%s is ignored",
                        (int)c->pid, c->wishes.threads);
    if (!strcmp(c->wishes.priority, "1"))
        q->priority = 1;
    while ((r = dv_mpscommand_memory_entry(&at, device, &bytes)) == 0) {
        int index = device_of_server(d, s, device);

        if (index >= 0)
            q->memory_bytes[index] = lower(q->memory_bytes[index], bytes);
    }
    if (r < 0)
        dv_mpslog_write(&d->control_log,
                        "Client %d: " DV_MPS_MEMORY_ENV " is ignored from '%.64s' on", (int)c->pid,
                        at);
}

/* 1: not now. */
static int admit(struct dv_mpsd *d, struct dv_mpsd_connection *c, struct dv_mpsd_server *s)
{
    struct dv_sim_mps_admit q = {.server = (uint32_t)s->pid, .client = (uint32_t)c->pid};
    int r;

    grant(d, c, s, &q);
    apply_wishes(d, c, s, &q);
    r = choose_partition(d, c, s, &q);
    if (r == 0)
        r = dv_mpsnode_request(d->node, DV_SIM_MPS_ADMIT, &q, sizeof(q), NULL, NULL);
    if (r == -EPIPE)
        d->lost = true;
    if (r == -ENOENT) { /* it has just died */
        s->state = DV_MPSD_ENDING;
        return 1;
    }
    if (r == 0)
        dv_mpslog_write(&d->server_log, "Client {PID: %d} connected to server %d", (int)c->pid,
                        (int)s->pid);
    else
        dv_mpslog_write(&d->control_log, "Client %d is refused: %d", (int)c->pid, r);
    c->role = r == 0 ? DV_MPSD_CONNECTED : DV_MPSD_NEW;
    dv_mpsd_reply(d, c, DV_MPS_CLIENT,
                  r == -ESRCH ? DV_MPS_OTHER_NODE
                  : r < 0     ? CU_MPS_CONNECTION_FAILED
                              : r,
                  "");
    return 0;
}

/* The server for a user, or who must go before there can be one. */
static void find_server(struct dv_mpsd *d, const struct dv_mpsd_connection *c,
                        struct dv_mpsd_server **ret, struct dv_mpsd_server **ret_other)
{
    *ret = *ret_other = NULL;
    for (uint32_t i = 0; i < DV_SIM_MPS_SERVERS_MAX; i++) {
        struct dv_mpsd_server *s = &d->server[i];

        if (s->state == DV_MPSD_FREE || s->named != c->named)
            continue;
        if ((s->state == DV_MPSD_READY || s->state == DV_MPSD_STARTING) &&
            (c->named != DV_MPSD_NONE || d->options.multiuser || s->uid == c->uid))
            *ret = s;
        else
            *ret_other = s;
    }
}

static void serve_one(struct dv_mpsd *d, struct dv_mpsd_connection *c)
{
    struct dv_mpsd_server *s, *other;

    if (d->quitting) {
        c->role = DV_MPSD_NEW;
        dv_mpsd_reply(d, c, DV_MPS_CLIENT, CU_MPS_SERVER_NOT_READY, "");
        return;
    }
    if (d->options.protocol == 3 && dv_mpsd_named_route(d, c) < 0) {
        c->role = DV_MPSD_NEW;
        dv_mpsd_reply(d, c, DV_MPS_CLIENT, CU_MPS_CONNECTION_FAILED, "");
        return;
    }
    find_server(d, c, &s, &other);
    if (s && s->state == DV_MPSD_READY) {
        admit(d, c, s);
    } else if (!s && other) {
        dv_mpsd_server_drain(d, other, false);
    } else if (!s) {
        uid_t uid = c->named != DV_MPSD_NONE ? d->named[c->named].uid
                    : d->options.multiuser   ? geteuid()
                                             : c->uid;

        if (dv_mpsd_server_start(d, uid, c->named) < 0)
            refuse_waiting(d, c->uid, c->named, CU_MPS_CONNECTION_FAILED);
    }
}

void dv_mpsd_serve(struct dv_mpsd *d)
{
    for (uint32_t i = 0; i < DV_MPSD_CONNECTIONS_MAX; i++) {
        if (d->connection[i] && d->connection[i]->role == DV_MPSD_WAITS)
            serve_one(d, d->connection[i]);
    }
}
