/* SPDX-License-Identifier: Apache-2.0 */
#include "server/server.h"

#include "base/str.h"
#include "server/state.h"

#include <errno.h>
#include <sched.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/signalfd.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <time.h>
#include <unistd.h>

#define EVENTS 64

uint64_t dv_simserver_clock(void)
{
    struct timespec t;

    clock_gettime(CLOCK_MONOTONIC, &t);
    return (uint64_t)t.tv_sec * DV_NS_PER_S + (uint64_t)t.tv_nsec;
}

int dv_simserver_watch(struct dv_simserver *s, struct dv_simsource *source, uint32_t events)
{
    struct epoll_event e = {.events = events, .data.ptr = source};

    return epoll_ctl(s->epoll, EPOLL_CTL_ADD, source->fd, &e) < 0 ? -errno : 0;
}

void dv_simserver_drop(struct dv_simserver *s, struct dv_simsource *source)
{
    if (source->fd < 0)
        return;
    /* A descriptor that others hold too (the work page's eventfd) stays watched after close(). */
    epoll_ctl(s->epoll, EPOLL_CTL_DEL, source->fd, NULL);
    close(source->fd);
    source->fd = -1;
}

/* ---- the socket ---- */

/* Does somebody listen there? */
static bool is_live(const struct sockaddr_un *address)
{
    int fd = socket(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
    bool live;

    if (fd < 0)
        return true;
    live = connect(fd, (const struct sockaddr *)address, sizeof(*address)) == 0 ||
           errno != ECONNREFUSED;
    close(fd);
    return live;
}

static int bind_socket(int fd, const struct sockaddr_un *address, struct dv_err *err)
{
    const struct sockaddr *a = (const struct sockaddr *)address;
    struct stat st;

    if (bind(fd, a, sizeof(*address)) == 0)
        return 0;
    if (errno != EADDRINUSE)
        return dv_err_set(err, -errno, "%s: cannot make the socket: %s", address->sun_path,
                          strerror(errno));
    if (lstat(address->sun_path, &st) == 0 && !S_ISSOCK(st.st_mode))
        return dv_err_set(err, -EADDRINUSE, "%s: there is a file that is not a socket",
                          address->sun_path);
    if (is_live(address))
        return dv_err_set(err, -EADDRINUSE,
                          "%s: another divvy-sim listens there; stop it or choose another --socket",
                          address->sun_path);
    if (unlink(address->sun_path) < 0 || bind(fd, a, sizeof(*address)) < 0)
        return dv_err_set(err, -errno, "%s: cannot replace the old socket: %s", address->sun_path,
                          strerror(errno));
    return 0;
}

static int listen_at(struct dv_simserver *s, const char *path, struct dv_err *err)
{
    struct sockaddr_un address = {.sun_family = AF_UNIX};
    int fd, r;

    if (strlen(path) >= sizeof(address.sun_path))
        return dv_err_set(err, -ENAMETOOLONG, "%.60s...: a socket's path has at most %zu bytes",
                          path, sizeof(address.sun_path) - 1);
    memcpy(address.sun_path, path, strlen(path) + 1);
    fd = socket(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
    if (fd < 0)
        return dv_err_set(err, -errno, "socket: %s", strerror(errno));
    r = bind_socket(fd, &address, err);
    if (r < 0) {
        close(fd);
        return r;
    }
    memcpy(s->socket, path, strlen(path) + 1);
    s->listening = (struct dv_simsource){.fd = fd, .ready = dv_simclients_accept};
    /* Like NVIDIA's device files: whoever can reach it may use the GPUs; the directory decides who
     * that is. What changes the node is checked per request. */
    if (chmod(path, 0666) < 0 || listen(fd, 128) < 0 ||
        dv_simserver_watch(s, &s->listening, EPOLLIN) < 0)
        return dv_err_set(err, -errno, "%s: %s", path, strerror(errno));
    return 0;
}

/* ---- other sources ---- */

static void stop_ready(struct dv_simserver *s, struct dv_simsource *source, uint32_t events)
{
    s->stop = true;
}

static void parent_ready(struct dv_simserver *s, struct dv_simsource *source, uint32_t events)
{
    char byte;

    if (read(source->fd, &byte, 1) <= 0 && errno != EAGAIN)
        s->stop = true;
}

static int watch_signals(struct dv_simserver *s)
{
    sigset_t set;

    sigemptyset(&set);
    sigaddset(&set, SIGTERM);
    sigaddset(&set, SIGINT);
    if (sigprocmask(SIG_BLOCK, &set, NULL) < 0)
        return -errno;
    s->signals = (struct dv_simsource){.fd = signalfd(-1, &set, SFD_CLOEXEC | SFD_NONBLOCK),
                                       .ready = stop_ready};
    return s->signals.fd < 0 ? -errno : dv_simserver_watch(s, &s->signals, EPOLLIN);
}

static int watch_all(struct dv_simserver *s, const struct dv_simserver_options *o)
{
    int r = 0;

    s->epoll = epoll_create1(EPOLL_CLOEXEC);
    if (s->epoll < 0)
        return -errno;
    if (r == 0 && o->parent_fd >= 0) {
        s->parent = (struct dv_simsource){.fd = o->parent_fd, .ready = parent_ready};
        r = dv_simserver_watch(s, &s->parent, EPOLLIN);
    }
    if (r == 0 && o->signals)
        r = watch_signals(s);
    return r;
}

/* A late server is a wrong GPU: ask for precise timers and for priority, live without. */
static void hurry(bool realtime)
{
    struct sched_param p = {.sched_priority = 10};
    struct rlimit files;

    prctl(PR_SET_TIMERSLACK, 1UL, 0UL, 0UL, 0UL);
    if (realtime)
        sched_setscheduler(0, SCHED_FIFO | SCHED_RESET_ON_FORK, &p);
    if (getrlimit(RLIMIT_NOFILE, &files) == 0) {
        files.rlim_cur = files.rlim_max;
        setrlimit(RLIMIT_NOFILE, &files);
    }
}

/* ---- the node ---- */

static int init_gpu(struct dv_simserver *s, uint32_t i)
{
    const struct dv_nodespec_gpu *from = &s->spec.gpu[i];
    struct dv_simgpu *g = &s->node.gpu[i];

    g->index = i;
    memcpy(g->uuid, from->uuid, sizeof(g->uuid));
    /* Thirteen digits like those of real boards, from the UUID. */
    snprintf(g->serial, sizeof(g->serial), "1%012llu",
             strtoull(from->uuid + strlen(from->uuid) - 10, NULL, 16) % 1000000000000ULL);
    g->model = from->model;
    g->minor = i;
    g->pci_domain = from->pci_domain;
    g->pci_bus = from->pci_bus;
    g->pci_device = from->pci_device;
    g->numa = from->numa;
    memcpy(g->link, s->spec.link[i], sizeof(g->link));
    g->persistence = 1;
    g->power_limit_mw = from->model->power_limit_mw;
    g->context_bytes = from->context_bytes;
    g->mig_current = g->mig_pending = from->mig;
    if (from->model->mig) {
        struct dv_mig_geometry *mig = malloc(sizeof(*mig));

        if (!mig)
            return -ENOMEM;
        *mig = *from->model->mig;
        dv_mig_geometry_estimate(mig, from->memory_bytes, from->model->sm);
        g->mig = mig;
    }
    return 0;
}

static int init_node(struct dv_simserver *s, struct dv_err *err)
{
    struct dv_simnode *n = &s->node;

    memcpy(n->name, s->spec.name, sizeof(n->name));
    memcpy(n->hostname, s->spec.hostname, sizeof(n->hostname));
    memcpy(n->driver_version, s->spec.driver, sizeof(n->driver_version));
    n->cuda_version = s->spec.cuda_version;
    snprintf(n->nvml_version, sizeof(n->nvml_version), "%u.%.20s", n->cuda_version / 1000,
             n->driver_version);
    n->numa_nodes = s->spec.numa_nodes;
    n->cpus = s->spec.cpus;
    n->threads = s->spec.threads;
    n->no_reset = s->spec.no_reset;
    n->n_gpus = s->spec.n_gpus;
    n->boot_ns = n->now_ns = dv_simserver_clock();
    for (uint32_t i = 0; i < n->n_gpus; i++) {
        int r = init_gpu(s, i);

        if (r < 0)
            return r;
    }
    for (uint32_t i = 0; i < n->n_gpus; i++) {
        int r = s->spec.gpu[i].mig_layout[0] ? dv_simmig_apply(n, i, s->spec.gpu[i].mig_layout, err)
                                             : 0;
        if (r < 0) {
            dv_err_prefix(err, "GPU %u: mig", i);
            return r;
        }
    }
    return dv_simcards_init(s, err);
}

int dv_simserver_new(const struct dv_nodespec *spec, const struct dv_simserver_options *options,
                     struct dv_simserver **ret, struct dv_err *err)
{
    struct dv_simserver *s = calloc(1, sizeof(*s));
    int r;

    if (!s)
        return dv_err_set(err, -ENOMEM, "out of memory");
    s->epoll = s->listening.fd = s->limited.fd = s->parent.fd = s->signals.fd = s->inside = -1;
    s->spec = *spec;
    r = watch_all(s, options);
    if (r < 0)
        dv_err_set(err, r, "cannot start: %s", strerror(-r));
    if (r == 0)
        r = init_node(s, err);
    if (r == 0)
        r = listen_at(s, options->socket, err);
    if (r == 0)
        r = dv_siminside_open(s, err);
    if (r < 0) {
        dv_simserver_free(s);
        return r;
    }
    hurry(options->realtime);
    *ret = s;
    return 0;
}

void dv_simserver_free(struct dv_simserver *s)
{
    if (!s)
        return;
    /* Files first: who waits for the hang-up finds none left. */
    if (s->listening.fd >= 0)
        unlink(s->socket);
    dv_siminside_close(s);
    while (s->clients)
        dv_simclients_drop(s, s->clients);
    dv_simclients_bury(s);
    dv_simsessions_bury(s);
    dv_simprocesses_bury(s);
    dv_simmemory_done(s);
    dv_simcards_done(s);
    for (uint32_t i = 0; i < DV_SIM_GPUS_MAX; i++)
        free((void *)(uintptr_t)s->node.gpu[i].mig);
    free(s->cross);
    dv_simserver_drop(s, &s->listening);
    dv_simserver_drop(s, &s->parent);
    dv_simserver_drop(s, &s->signals);
    if (s->epoll >= 0)
        close(s->epoll);
    free(s);
}

/* ---- the loop ---- */

/* Waits until `at` or for events, to the nanosecond where the kernel can (5.11). */
static int wait_for_events(struct dv_simserver *s, struct epoll_event *events, uint64_t at)
{
    uint64_t now = at == DV_NEVER || at == 0 ? 0 : dv_simserver_clock();
    uint64_t left = at > now ? at - now : 0;
    struct timespec timeout = {.tv_sec = (time_t)(left / DV_NS_PER_S),
                               .tv_nsec = (long)(left % DV_NS_PER_S)};
    int n = epoll_pwait2(s->epoll, events, EVENTS, at == DV_NEVER ? NULL : &timeout, NULL);

    if (n < 0 && errno == ENOSYS)
        n = epoll_wait(s->epoll, events, EVENTS,
                       at == DV_NEVER ? -1 : (int)DV_MIN(left / DV_NS_PER_MS + 1, 60000));
    return n < 0 && errno == EINTR ? 0 : n < 0 ? -errno : n;
}

/* Does what is due. Returns when something will be due next. */
static uint64_t step(struct dv_simserver *s)
{
    uint64_t work, due, sample;

    s->node.now_ns = dv_simserver_clock();
    work = dv_simwork_pump(s, s->node.now_ns);
    due = dv_simclients_due(s, s->node.now_ns);
    sample = dv_simcards_sample(s, s->node.now_ns);
    dv_simclients_bury(s);
    dv_simsessions_bury(s);
    dv_simprocesses_bury(s);
    return DV_MIN(work, DV_MIN(due, sample));
}

int dv_simserver_turn(struct dv_simserver *s, bool wait)
{
    struct epoll_event events[EVENTS];
    uint64_t next = step(s);
    int n = wait_for_events(s, events, wait ? next : 0);

    s->node.now_ns = dv_simserver_clock();
    for (int i = 0; i < n; i++) {
        struct dv_simsource *source = events[i].data.ptr;

        if (source->fd >= 0)
            source->ready(s, source, events[i].events);
    }
    return n;
}

int dv_simserver_run(struct dv_simserver *s)
{
    int r = 0;

    while (!s->stop && r >= 0)
        r = dv_simserver_turn(s, true);
    return DV_MIN(r, 0);
}
