/* SPDX-License-Identifier: Apache-2.0 */
#include "mps/daemon.h"

#include "visible.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <sys/signalfd.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <time.h>
#include <unistd.h>

#define PID_FILE "nvidia-cuda-mps-control.pid"

/* ---- start ---- */

/* The pipe directory is a daemon's as long as it holds the lock of its pid file, which the kernel
 * frees however the daemon ends. */
static int take_directory(struct dv_mpsd *d, struct dv_err *err)
{
    const char *pipes = d->options.pipes;
    char path[512], pid[16];
    int n;

    if (mkdir(pipes, 0755) < 0 && errno != EEXIST)
        return dv_err_set(err, -errno, "%s: %s", pipes, strerror(errno));
    if ((size_t)snprintf(path, sizeof(path), "%s/" PID_FILE, pipes) >= sizeof(path))
        return dv_err_set(err, -ENAMETOOLONG, "%.64s...: the path is too long", pipes);
    d->lock = open(path, O_RDWR | O_CREAT | O_CLOEXEC | O_NOFOLLOW, 0644);
    if (d->lock < 0)
        return dv_err_set(err, -errno, "%s: %s", path, strerror(errno));
    if (flock(d->lock, LOCK_EX | LOCK_NB) < 0)
        return dv_err_set(err, -EBUSY, "An instance of this daemon is already running");
    n = snprintf(pid, sizeof(pid), "%d\n", (int)getpid());
    if (ftruncate(d->lock, 0) < 0 || write(d->lock, pid, (size_t)n) != n)
        return dv_err_set(err, -errno, "%s: %s", path, strerror(errno));
    return 0;
}

static int listen_at(struct dv_mpsd *d, struct dv_err *err)
{
    struct sockaddr_un a = {.sun_family = AF_UNIX};
    int n = snprintf(a.sun_path, sizeof(a.sun_path), "%s/control", d->options.pipes);

    if ((size_t)n >= sizeof(a.sun_path))
        return dv_err_set(err, -ENAMETOOLONG, "%.64s...: a socket's path has at most %zu bytes",
                          d->options.pipes, sizeof(a.sun_path) - 1);
    d->listening = socket(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
    unlink(a.sun_path); /* of a daemon that was killed: the lock is ours */
    /* Any user's processes may be clients; the directory says who reaches it. */
    if (d->listening < 0 || bind(d->listening, (struct sockaddr *)&a, sizeof(a)) < 0 ||
        chmod(a.sun_path, 0666) < 0 || listen(d->listening, 128) < 0)
        return dv_err_set(err, -errno, "%s: %s", a.sun_path, strerror(errno));
    return 0;
}

/* What CUDA_VISIBLE_DEVICES leaves of the node is what the servers serve. */
static int find_devices(struct dv_mpsd *d, struct dv_err *err)
{
    static struct dv_sim_device all[DV_SIM_PAYLOAD_MAX / sizeof(struct dv_sim_device)];
    uint32_t size = sizeof(all), index[DV_SIM_MPS_DEVICES_MAX];
    int r = dv_mpsnode_request(d->node, DV_SIM_MPS_DEVICES, NULL, 0, all, &size);

    if (r != 0 || size % sizeof(all[0]))
        return dv_err_set(err, -EPROTO, "the simulated node does not say what devices it has");
    d->n_devices = dv_visible_select(all, size / (uint32_t)sizeof(all[0]),
                                     getenv("CUDA_VISIBLE_DEVICES"), index, DV_SIM_MPS_DEVICES_MAX);
    for (uint32_t i = 0; i < d->n_devices; i++)
        d->device[i] = all[index[i]];
    if (!d->n_devices)
        return dv_err_set(err, -ENODEV, "CUDA_VISIBLE_DEVICES leaves no device to serve");
    return 0;
}

static int watch_signals(struct dv_mpsd *d)
{
    sigset_t set;

    sigemptyset(&set);
    sigaddset(&set, SIGTERM);
    sigaddset(&set, SIGINT);
    if (sigprocmask(SIG_BLOCK, &set, NULL) < 0)
        return -errno;
    d->signals = signalfd(-1, &set, SFD_CLOEXEC | SFD_NONBLOCK);
    return d->signals < 0 ? -errno : 0;
}

static int open_logs(struct dv_mpsd *d, struct dv_err *err)
{
    int r = dv_mpslog_open(&d->control_log, d->options.logs, "control.log");

    if (r == 0)
        r = dv_mpslog_open(&d->server_log, d->options.logs, "server.log");
    return r < 0 ? dv_err_set(err, r, "%s: cannot keep logs there: %s (%s names the directory)",
                              d->options.logs, strerror(-r), DV_MPS_LOG_ENV)
                 : 0;
}

static void say_hello(struct dv_mpsd *d)
{
    dv_mpslog_write(&d->control_log, "Starting control daemon using socket %s/control",
                    d->options.pipes);
    dv_mpslog_write(&d->control_log,
                    "To connect CUDA applications to this daemon, set env " DV_MPS_PIPE_ENV "=%s",
                    d->options.pipes);
    dv_mpslog_write(&d->control_log, "CUDA MPS Control binary version: %u",
                    d->welcome.driver_cuda_version);
    for (uint32_t i = 0; i < d->n_devices; i++)
        dv_mpslog_write(&d->control_log, "Device %u: %s (%s)", i, d->device[i].uuid,
                        d->device[i].name);
}

int dv_mpsd_new(const struct dv_mpsd_options *o, struct dv_mpsd **ret, struct dv_err *err)
{
    struct dv_mpsd *d = calloc(1, sizeof(*d));
    int r;

    if (!d)
        return dv_err_set(err, -ENOMEM, "out of memory");
    d->options = *o;
    d->node = d->listening = d->signals = d->lock = -1;
    d->control_log = (struct dv_mpslog){.fd = -1, .party = "Control", .echo = o->foreground};
    d->server_log = (struct dv_mpslog){.fd = -1, .party = "Server", .echo = o->foreground};
    d->defaults.threads = DV_SIM_MPS_WHOLE;
    d->deadline_ns = DV_NEVER;
    r = take_directory(d, err);
    if (r == 0)
        r = open_logs(d, err);
    if (r == 0)
        d->node = r = dv_mpsnode_connect(DV_SIM_CLIENT_MPS, &d->welcome, err);
    if (r >= 0)
        r = find_devices(d, err);
    if (r == 0 && (r = watch_signals(d)) < 0)
        dv_err_set(err, r, "signals: %s", strerror(-r));
    if (r == 0)
        r = listen_at(d, err);
    if (r < 0) {
        dv_mpsd_free(d);
        return r;
    }
    say_hello(d);
    *ret = d;
    return 0;
}

static void close_fd(int fd)
{
    if (fd >= 0)
        close(fd);
}

void dv_mpsd_free(struct dv_mpsd *d)
{
    char path[512];

    if (!d)
        return;
    for (uint32_t i = 0; i < DV_MPSD_CONNECTIONS_MAX; i++) {
        if (d->connection[i])
            close(d->connection[i]->fd);
        free(d->connection[i]);
    }
    if (d->listening >= 0) {
        snprintf(path, sizeof(path), "%s/control", d->options.pipes);
        unlink(path);
        snprintf(path, sizeof(path), "%s/" PID_FILE, d->options.pipes);
        unlink(path);
    }
    close_fd(d->listening);
    close_fd(d->signals);
    close_fd(d->node);
    close_fd(d->control_log.fd);
    close_fd(d->server_log.fd);
    close_fd(d->lock);
    free(d);
}

/* ---- connections ---- */

static void drop(struct dv_mpsd *d, struct dv_mpsd_connection *c)
{
    if (c->role == DV_MPSD_CONNECTED)
        dv_mpslog_write(&d->server_log, "Client {PID: %d} disconnected", (int)c->pid);
    close(c->fd);
    c->fd = -1; /* freed after the present round */
}

void dv_mpsd_reply(struct dv_mpsd *d, struct dv_mpsd_connection *c, enum dv_mps_kind kind,
                   int32_t status, const char *text)
{
    size_t size = DV_MIN(strlen(text), DV_MPS_TEXT_MAX);
    struct dv_mps_message m = {
        .magic = DV_MPS_MAGIC, .kind = (uint16_t)kind, .status = status, .size = (uint32_t)size};
    struct iovec iov[2] = {{&m, sizeof(m)}, {(void *)(uintptr_t)text, size}};
    struct msghdr h = {.msg_iov = iov, .msg_iovlen = size ? 2 : 1};

    if (c->fd >= 0 && sendmsg(c->fd, &h, MSG_NOSIGNAL | MSG_DONTWAIT) < 0)
        drop(d, c);
}

static void accept_one(struct dv_mpsd *d)
{
    int fd = accept4(d->listening, NULL, NULL, SOCK_CLOEXEC | SOCK_NONBLOCK);
    struct dv_mpsd_connection *c = NULL;
    struct ucred cred;
    socklen_t size = sizeof(cred);
    uint32_t at = 0;

    if (fd < 0)
        return;
    while (at < DV_MPSD_CONNECTIONS_MAX && d->connection[at])
        at++;
    if (at < DV_MPSD_CONNECTIONS_MAX && getsockopt(fd, SOL_SOCKET, SO_PEERCRED, &cred, &size) == 0)
        c = calloc(1, sizeof(*c));
    if (!c) {
        close(fd);
        return;
    }
    *c = (struct dv_mpsd_connection){.fd = fd, .pid = cred.pid, .uid = cred.uid};
    d->connection[at] = c;
    d->connections = DV_MAX(d->connections, at + 1);
    dv_mpslog_write(&d->control_log, "Accepting connection...");
}

static void new_client(struct dv_mpsd *d, struct dv_mpsd_connection *c, const void *data)
{
    memcpy(&c->wishes, data, sizeof(c->wishes));
    c->wishes.threads[sizeof(c->wishes.threads) - 1] = '\0';
    c->wishes.priority[sizeof(c->wishes.priority) - 1] = '\0';
    c->wishes.memory[sizeof(c->wishes.memory) - 1] = '\0';
    c->role = DV_MPSD_WAITS;
    dv_mpslog_write(&d->control_log, "NEW CLIENT %d from user %u", (int)c->pid, c->uid);
}

/* Commands are for root and for who runs the daemon. */
static void command(struct dv_mpsd *d, struct dv_mpsd_connection *c, const char *line)
{
    dv_cleanup(dv_str_done) struct dv_str out = {0};
    int r;

    if (c->uid != 0 && c->uid != geteuid()) {
        dv_mpsd_reply(d, c, DV_MPS_COMMAND, 1, "Permission denied: another user's daemon\n");
        return;
    }
    r = dv_mpsd_answer(d, line, &out);
    if (r == 2)
        c->role = DV_MPSD_QUITS; /* answered at the end */
    else
        dv_mpsd_reply(d, c, DV_MPS_COMMAND, r, dv_str_get(&out));
}

static void hear(struct dv_mpsd *d, struct dv_mpsd_connection *c)
{
    static _Alignas(8) char data[sizeof(struct dv_mps_message) + DV_MPSCOMMAND_LINE_MAX + 1];
    const struct dv_mps_message *m = (const void *)data;
    ssize_t n = recv(c->fd, data, sizeof(data) - 1, MSG_DONTWAIT | MSG_TRUNC);
    size_t size = n > (ssize_t)sizeof(*m) ? (size_t)n - sizeof(*m) : 0;

    if (n < 0 && (errno == EAGAIN || errno == EINTR))
        return;
    if (n < (ssize_t)sizeof(*m) || (size_t)n > sizeof(data) - 1 || m->magic != DV_MPS_MAGIC ||
        m->size != size) {
        drop(d, c);
        return;
    }
    data[n] = '\0';
    if (m->kind == DV_MPS_CLIENT && size == sizeof(struct dv_mps_client) && c->role == DV_MPSD_NEW)
        new_client(d, c, m + 1);
    else if (m->kind == DV_MPS_COMMAND && c->role == DV_MPSD_NEW)
        command(d, c, (const char *)(m + 1));
    else
        drop(d, c);
}

static void bury(struct dv_mpsd *d)
{
    for (uint32_t i = 0; i < d->connections; i++) {
        if (!d->connection[i] || d->connection[i]->fd >= 0)
            continue;
        free(d->connection[i]);
        d->connection[i] = NULL;
    }
    while (d->connections && !d->connection[d->connections - 1])
        d->connections--;
}

/* ---- the loop ---- */

static void force_all(struct dv_mpsd *d)
{
    d->quitting = true;
    for (uint32_t i = 0; i < DV_SIM_MPS_SERVERS_MAX; i++) {
        if (d->server[i].state != DV_MPSD_FREE)
            dv_mpsd_server_drain(d, &d->server[i], true);
    }
}

static uint64_t now_ns(void)
{
    struct timespec t;

    clock_gettime(CLOCK_MONOTONIC, &t);
    return (uint64_t)t.tv_sec * DV_NS_PER_S + (uint64_t)t.tv_nsec;
}

/* What every descriptor is, in the order in which `turn` looks at them. */
static nfds_t fill(const struct dv_mpsd *d, struct pollfd *fds)
{
    nfds_t n = 0;

    fds[n++] = (struct pollfd){.fd = d->listening, .events = POLLIN};
    fds[n++] = (struct pollfd){.fd = d->signals, .events = POLLIN};
    fds[n++] = (struct pollfd){.fd = d->node, .events = 0}; /* its hang-up */
    for (uint32_t i = 0; i < DV_SIM_MPS_SERVERS_MAX; i++)
        fds[n++] = (struct pollfd){.fd = d->server[i].state == DV_MPSD_FREE ? -1 : d->server[i].fd,
                                   .events = POLLIN};
    for (uint32_t i = 0; i < d->connections; i++)
        fds[n++] =
            (struct pollfd){.fd = d->connection[i] ? d->connection[i]->fd : -1, .events = POLLIN};
    return n;
}

static void turn(struct dv_mpsd *d, const struct pollfd *fds, nfds_t n)
{
    struct signalfd_siginfo info;

    if (fds[0].revents)
        accept_one(d);
    if (fds[1].revents && read(d->signals, &info, sizeof(info)) > 0)
        force_all(d);
    if (fds[2].revents)
        d->lost = true;
    for (uint32_t i = 0; i < DV_SIM_MPS_SERVERS_MAX; i++) {
        if (fds[3 + i].revents)
            dv_mpsd_server_ready(d, &d->server[i]);
    }
    for (nfds_t i = 3 + DV_SIM_MPS_SERVERS_MAX; i < n; i++) {
        if (fds[i].revents)
            hear(d, d->connection[i - 3 - DV_SIM_MPS_SERVERS_MAX]);
    }
}

static bool is_over(const struct dv_mpsd *d)
{
    return d->lost || (d->quitting && !dv_mpsd_servers_count(d));
}

static void say_goodbye(struct dv_mpsd *d)
{
    dv_mpslog_write(&d->control_log, d->lost ? "The simulated node is gone" : "Exit");
    for (uint32_t i = 0; i < d->connections; i++) {
        if (d->connection[i] && d->connection[i]->role == DV_MPSD_QUITS)
            dv_mpsd_reply(d, d->connection[i], DV_MPS_COMMAND, 0, "");
    }
}

int dv_mpsd_run(struct dv_mpsd *d)
{
    static struct pollfd fds[3 + DV_SIM_MPS_SERVERS_MAX + DV_MPSD_CONNECTIONS_MAX];

    while (!is_over(d)) {
        bool soon;
        nfds_t n;
        int r;

        dv_mpsd_serve(d);
        soon = dv_mpsd_servers_tick(d) || d->deadline_ns != DV_NEVER;
        bury(d);
        n = fill(d, fds);
        r = poll(fds, n, soon ? DV_MPSD_TICK_MS : -1);
        if (r < 0 && errno != EINTR)
            return -errno;
        if (r > 0)
            turn(d, fds, n);
        if (now_ns() >= d->deadline_ns) {
            d->deadline_ns = DV_NEVER;
            force_all(d);
        }
    }
    say_goodbye(d);
    return 0;
}
