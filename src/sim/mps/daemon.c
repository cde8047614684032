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

static void close_fd(int fd)
{
    if (fd >= 0)
        close(fd);
}

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

int dv_mpsd_listen(const struct dv_mpsd *d, const char *path, struct dv_err *err)
{
    struct sockaddr_un a = {.sun_family = AF_UNIX};
    int n = snprintf(a.sun_path, sizeof(a.sun_path), "%s/%s", d->options.pipes, path);
    char *slash = strrchr(a.sun_path, '/');
    int fd, r;

    if ((size_t)n >= sizeof(a.sun_path))
        return dv_err_set(err, -ENAMETOOLONG, "%.64s/%.64s: a socket's path has at most %zu bytes",
                          d->options.pipes, path, sizeof(a.sun_path) - 1);
    *slash = '\0';
    r = mkdir(a.sun_path, 0755) < 0 && errno != EEXIST ? -errno : 0;
    *slash = '/';
    fd = r < 0 ? -1 : socket(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
    if (fd >= 0)
        unlink(a.sun_path); /* of a daemon that was killed: the lock is ours */
    /* Any user's processes may be clients; the directory says who reaches it. */
    if (fd < 0 || bind(fd, (struct sockaddr *)&a, sizeof(a)) < 0 || chmod(a.sun_path, 0666) < 0 ||
        listen(fd, 128) < 0) {
        r = -errno;
        close_fd(fd);
        return dv_err_set(err, r, "%s: %s", a.sun_path, strerror(-r));
    }
    return fd;
}

void dv_mpsd_unlisten(const struct dv_mpsd *d, const char *path, int fd)
{
    char name[512];
    char *slash;

    if (fd < 0)
        return;
    close(fd);
    snprintf(name, sizeof(name), "%s/%s", d->options.pipes, path);
    unlink(name);
    slash = strrchr(name, '/');
    *slash = '\0';
    if (strlen(name) > strlen(d->options.pipes))
        rmdir(name);
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

/* Static partitioning came with CUDA 13.1 (release 590), protocol 3 with release 615; that needs
 * its tables. */
static int check_protocol(struct dv_mpsd *d, struct dv_err *err)
{
    unsigned long driver = strtoul(d->welcome.driver_version, NULL, 10);

    if (d->options.partitions && (driver < 590 || d->options.protocol == 3))
        return dv_err_set(err, -ENOTSUP,
                          "static partitioning needs driver 590 or newer (this node's is %.30s), "
                          "and is simulated for protocol 2 only",
                          d->welcome.driver_version);
    if (d->options.protocol != 3)
        return 0;
    if (driver < 615)
        return dv_err_set(err, -ENOTSUP,
                          "protocol 3 needs driver 615 or newer; this node's is %.30s",
                          d->welcome.driver_version);
    d->named = calloc(DV_MPSD_NAMED_MAX, sizeof(*d->named));
    return d->named ? 0 : dv_err_set(err, -ENOMEM, "out of memory");
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
        r = check_protocol(d, err);
    if (r == 0) {
        d->listening = dv_mpsd_listen(d, "control", err);
        r = DV_MIN(d->listening, 0);
    }
    if (r < 0) {
        dv_mpsd_free(d);
        return r;
    }
    say_hello(d);
    *ret = d;
    return 0;
}

/* Nobody finds the daemon any more. */
static void leave_directory(struct dv_mpsd *d)
{
    char path[512];

    for (uint32_t i = 0; d->named && i < DV_MPSD_NAMED_MAX; i++)
        dv_mpsd_named_remove(d, i);
    if (d->listening < 0)
        return;
    dv_mpsd_unlisten(d, "control", d->listening);
    d->listening = -1;
    snprintf(path, sizeof(path), "%s/" PID_FILE, d->options.pipes);
    unlink(path);
}

void dv_mpsd_free(struct dv_mpsd *d)
{
    if (!d)
        return;
    leave_directory(d);
    for (uint32_t i = 0; i < DV_MPSD_CONNECTIONS_MAX; i++) {
        if (d->connection[i])
            close(d->connection[i]->fd);
        free(d->connection[i]);
    }
    free(d->named);
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

static void accept_one(struct dv_mpsd *d, int listening, uint32_t named, uint32_t space)
{
    int fd = accept4(listening, NULL, NULL, SOCK_CLOEXEC | SOCK_NONBLOCK);
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
    *c = (struct dv_mpsd_connection){
        .fd = fd, .pid = cred.pid, .uid = cred.uid, .named = named, .space = space};
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
    c->wishes.partition[sizeof(c->wishes.partition) - 1] = '\0';
    c->role = DV_MPSD_WAITS;
    dv_mpslog_write(&d->control_log, "NEW CLIENT %d from user %u", (int)c->pid, c->uid);
}

/* Commands are for root and for who runs the daemon. */
static void command(struct dv_mpsd *d, struct dv_mpsd_connection *c, const char *line)
{
    dv_cleanup(dv_str_done) struct dv_str out = {0};
    int r;

    if ((c->uid != 0 && c->uid != geteuid()) || c->named != DV_MPSD_NONE) {
        dv_mpsd_reply(d, c, DV_MPS_COMMAND, 1, "Permission denied\n");
        return;
    }
    r = d->options.protocol == 3 ? dv_mpsd_answer3(d, c->uid, line, &out)
                                 : dv_mpsd_answer(d, line, &out);
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

/* What is looked at in one round; only what is open, as poll() takes no more than the process may
 * have open. */
enum watched { THE_DAEMON, SIGNALS, NODE, SERVER, NAMED, CONNECTION };

struct watch {
    enum watched what;
    uint32_t index, space;
};

#define WATCHES_MAX                                                                                \
    (3 + DV_SIM_MPS_SERVERS_MAX + DV_MPSD_NAMED_MAX * (1 + DV_MPSD_NAMESPACES_MAX) +               \
     DV_MPSD_CONNECTIONS_MAX)

static struct watch watches[WATCHES_MAX];
static struct pollfd fds[WATCHES_MAX];

static void watch(nfds_t *n, int fd, short events, enum watched what, uint32_t index,
                  uint32_t space)
{
    if (fd < 0)
        return;
    fds[*n] = (struct pollfd){.fd = fd, .events = events};
    watches[(*n)++] = (struct watch){what, index, space};
}

static void watch_named(const struct dv_mpsd *d, nfds_t *n)
{
    for (uint32_t i = 0; d->named && i < DV_MPSD_NAMED_MAX; i++) {
        const struct dv_mpsd_named *named = &d->named[i];

        if (!named->name[0])
            continue;
        watch(n, named->listening, POLLIN, NAMED, i, 0);
        for (uint32_t k = 0; k < DV_MPSD_NAMESPACES_MAX; k++) {
            if (named->space[k].name[0])
                watch(n, named->space[k].listening, POLLIN, NAMED, i, k);
        }
    }
}

static nfds_t watch_all(const struct dv_mpsd *d)
{
    nfds_t n = 0;

    watch(&n, d->listening, POLLIN, THE_DAEMON, 0, 0);
    watch(&n, d->signals, POLLIN, SIGNALS, 0, 0);
    watch(&n, d->node, 0, NODE, 0, 0); /* its hang-up */
    for (uint32_t i = 0; i < DV_SIM_MPS_SERVERS_MAX; i++) {
        if (d->server[i].state != DV_MPSD_FREE)
            watch(&n, d->server[i].fd, POLLIN, SERVER, i, 0);
    }
    watch_named(d, &n);
    for (uint32_t i = 0; i < d->connections; i++) {
        if (d->connection[i])
            watch(&n, d->connection[i]->fd, POLLIN, CONNECTION, i, 0);
    }
    return n;
}

/* Something of this round may have ended what the descriptor was of: then there is nothing to
 * read, and no harm. */
static void ready(struct dv_mpsd *d, int fd, const struct watch *w)
{
    struct signalfd_siginfo info;

    switch (w->what) {
    case THE_DAEMON:
        accept_one(d, fd, DV_MPSD_NONE, 0);
        break;
    case SIGNALS:
        if (read(fd, &info, sizeof(info)) > 0)
            force_all(d);
        break;
    case NODE:
        d->lost = true;
        break;
    case SERVER:
        if (d->server[w->index].state != DV_MPSD_FREE && d->server[w->index].fd == fd)
            dv_mpsd_server_ready(d, &d->server[w->index]);
        break;
    case NAMED:
        if (d->named[w->index].name[0])
            accept_one(d, fd, w->index, w->space);
        break;
    case CONNECTION:
        if (d->connection[w->index]->fd == fd)
            hear(d, d->connection[w->index]);
        break;
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
    while (!is_over(d)) {
        bool soon;
        nfds_t n;
        int r;

        bury(d);
        dv_mpsd_serve(d);
        soon = dv_mpsd_servers_tick(d) || d->deadline_ns != DV_NEVER;
        n = watch_all(d);
        r = poll(fds, n, soon ? DV_MPSD_TICK_MS : -1);
        if (r < 0 && errno != EINTR)
            return -errno;
        for (nfds_t i = 0; r > 0 && i < n; i++) {
            if (fds[i].revents)
                ready(d, fds[i].fd, &watches[i]);
        }
        if (now_ns() >= d->deadline_ns) {
            d->deadline_ns = DV_NEVER;
            force_all(d);
        }
    }
    leave_directory(d);
    say_goodbye(d);
    return 0;
}
