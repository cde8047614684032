/* SPDX-License-Identifier: Apache-2.0 */
#include "fake_daemon.h"

#include "abi_reservation.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <linux/futex.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/eventfd.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <sys/un.h>
#include <time.h>
#include <unistd.h>

static void must(bool fine, const char *what)
{
    if (fine)
        return;
    perror(what);
    exit(99);
}

static void *page(const char *name, size_t size, uint32_t magic, int *ret_fd)
{
    int fd = memfd_create(name, MFD_CLOEXEC | MFD_ALLOW_SEALING);
    must(fd >= 0 && !ftruncate(fd, (off_t)size), "memfd");
    uint32_t *p = mmap(NULL, size, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
    must(p != MAP_FAILED, "mmap");
    p[0] = magic;
    p[1] = DV_TENANT_ABI;
    *ret_fd = fd;
    return p;
}

static void seal(int fd)
{
    (void)fcntl(fd, F_ADD_SEALS, F_SEAL_SHRINK | F_SEAL_GROW | F_SEAL_FUTURE_WRITE);
}

static uint64_t now_ns(void)
{
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return (uint64_t)t.tv_sec * UINT64_C(1000000000) + (uint64_t)t.tv_nsec;
}

static void send_message(int to, const struct dv_tenant_message *m, const int *fds, unsigned count)
{
    char control[CMSG_SPACE(DV_FD_COUNT * sizeof(int))] = {0};
    struct iovec io = {(void *)m, sizeof *m};
    struct msghdr h = {.msg_iov = &io, .msg_iovlen = 1};
    if (count) {
        h.msg_control = control;
        h.msg_controllen = CMSG_SPACE(count * sizeof(int));
        struct cmsghdr *c = CMSG_FIRSTHDR(&h);
        c->cmsg_level = SOL_SOCKET;
        c->cmsg_type = SCM_RIGHTS;
        c->cmsg_len = CMSG_LEN(count * sizeof(int));
        memcpy(CMSG_DATA(c), fds, count * sizeof(int));
    }
    (void)sendmsg(to, &h, MSG_NOSIGNAL);
}

static struct dv_tenant_message message(uint32_t type, uint32_t process)
{
    return (struct dv_tenant_message){.magic = DV_TENANT_MAGIC_MESSAGE,
                                      .abi = DV_TENANT_ABI,
                                      .type = type,
                                      .slot = process - 1,
                                      .process = process};
}

static void hello(struct dv_fake_daemon *d, uint32_t process)
{
    struct dv_fake_tenant *t = &d->tenant[process];
    struct dv_tenant_message m = message(DV_MSG_WELCOME, process);
    d->hellos++;
    if (d->config.refuse) {
        m.type = DV_MSG_REFUSED;
        m.status = (uint32_t)d->config.refuse;
        send_message(t->socket, &m, NULL, 0);
        return;
    }
    struct ucred who = {0};
    socklen_t size = sizeof who;
    (void)getsockopt(t->socket, SOL_SOCKET, SO_PEERCRED, &who, &size);
    t->pid = (uint32_t)who.pid;
    t->page = page("slot", sizeof *t->page, DV_TENANT_MAGIC_SLOT, &t->slot_fd);
    dv_reservation_adopt(d->reservation, t->page, process);
    m.status = t->pid;
    int fds[DV_FD_COUNT] = {d->slice_fd, d->reservation_fd, t->slot_fd, d->arbiter_fd, d->event_fd};
    send_message(t->socket, &m, fds, DV_FD_COUNT);
    t->welcomed = true;
}

static void ready(struct dv_fake_daemon *d, uint32_t process)
{
    struct dv_fake_tenant *t = &d->tenant[process];
    seal(t->slot_fd);
    struct dv_tenant_message m = message(DV_MSG_GO, process);
    send_message(t->socket, &m, NULL, 0);
    for (uint32_t p = 1; p < DV_TENANT_SLICE_PROCESSES_MAX; p++) {
        if (p == process || d->tenant[p].socket < 0 || !d->tenant[p].welcomed)
            continue;
        struct dv_tenant_message other = message(DV_MSG_PEER, p);
        other.status = d->tenant[p].pid;
        send_message(t->socket, &other, &d->tenant[p].slot_fd, 1);
        m = message(DV_MSG_PEER, process);
        m.status = t->pid;
        send_message(d->tenant[p].socket, &m, &t->slot_fd, 1);
    }
    __atomic_fetch_add(&d->arbiter->slots_generation, 1, __ATOMIC_RELEASE);
}

/* The charge of the dead goes when the driver's has gone, not before: the next one could else
 * allocate what is still taken. */
static void gone(struct dv_fake_daemon *d, uint32_t process)
{
    struct dv_fake_tenant *t = &d->tenant[process];
    if (!t->dead)
        close(t->socket);
    t->dead = true;
    t->socket = -1;
    if (t->welcomed && d->config.still_there && d->config.still_there(t->pid))
        return;
    t->dead = false;
    if (!t->welcomed)
        return;
    (void)dv_reservation_repair(d->reservation, t->page, process, &d->repair_seq);
    munmap(t->page, sizeof *t->page);
    close(t->slot_fd);
    t->welcomed = false;
    __atomic_fetch_add(&d->deaths, 1, __ATOMIC_RELEASE);
}

static void hear(struct dv_fake_daemon *d, uint32_t process)
{
    struct dv_tenant_message m;
    ssize_t n = recv(d->tenant[process].socket, &m, sizeof m, MSG_DONTWAIT);
    if (n == 0 || (n < 0 && errno != EAGAIN && errno != EINTR))
        gone(d, process);
    else if (n == (ssize_t)sizeof m && m.type == DV_MSG_HELLO)
        hello(d, process);
    else if (n == (ssize_t)sizeof m && m.type == DV_MSG_READY)
        ready(d, process);
}

static void *serve(void *arg)
{
    struct dv_fake_daemon *d = arg;
    struct pollfd p[DV_TENANT_SLICE_PROCESSES_MAX + 1];
    for (;;) {
        if (!__atomic_load_n(&d->silent, __ATOMIC_ACQUIRE))
            __atomic_store_n(&d->arbiter->heartbeat_ns,
                             now_ns() + __atomic_load_n(&d->ahead_ns, __ATOMIC_ACQUIRE),
                             __ATOMIC_RELEASE);
        p[0] = (struct pollfd){d->listener, POLLIN, 0};
        for (uint32_t i = 1; i < DV_TENANT_SLICE_PROCESSES_MAX; i++)
            p[i] = (struct pollfd){d->tenant[i].socket, POLLIN, 0};
        p[DV_TENANT_SLICE_PROCESSES_MAX] = (struct pollfd){d->quit[0], POLLIN, 0};
        (void)poll(p, DV_TENANT_SLICE_PROCESSES_MAX + 1, 10);
        if (p[DV_TENANT_SLICE_PROCESSES_MAX].revents)
            return NULL;
        for (uint32_t i = 1; i < DV_TENANT_SLICE_PROCESSES_MAX; i++)
            if (d->tenant[i].dead)
                gone(d, i);
            else if (p[i].revents)
                hear(d, i);
        int s = p[0].revents ? accept4(d->listener, NULL, NULL, SOCK_CLOEXEC) : -1;
        uint32_t free_one = 1;
        while (s >= 0 && (d->tenant[free_one].socket >= 0 || d->tenant[free_one].dead))
            free_one++;
        if (s >= 0)
            d->tenant[free_one].socket = s;
    }
}

static void listen_there(struct dv_fake_daemon *d)
{
    if (d->config.path) {
        snprintf(d->path, sizeof d->path, "%s", d->config.path);
    } else {
        snprintf(d->directory, sizeof d->directory, "/tmp/dv-fake-XXXXXX");
        must(mkdtemp(d->directory) != NULL, "mkdtemp");
        snprintf(d->path, sizeof d->path, "%s/socket", d->directory);
        setenv(DV_TENANT_SOCKET_ENV, d->path, 1);
    }
    struct sockaddr_un a = {.sun_family = AF_UNIX};
    snprintf(a.sun_path, sizeof a.sun_path, "%s", d->path);
    d->listener = socket(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0);
    must(d->listener >= 0 && !bind(d->listener, (struct sockaddr *)&a, sizeof a) &&
             !listen(d->listener, 64),
         "socket");
}

struct dv_fake_daemon *dv_fake_daemon_start(const struct dv_fake_daemon_config *config)
{
    struct dv_fake_daemon *d = calloc(1, sizeof *d);
    must(d != NULL, "calloc");
    d->config = *config;
    for (uint32_t i = 0; i < DV_TENANT_SLICE_PROCESSES_MAX; i++)
        d->tenant[i].socket = -1;
    d->slice = page("slice", sizeof *d->slice, DV_TENANT_MAGIC_SLICE, &d->slice_fd);
    d->reservation = page("reservation", sizeof *d->reservation, DV_TENANT_MAGIC_RESERVATION,
                          &d->reservation_fd);
    d->arbiter = page("arbiter", sizeof *d->arbiter, DV_TENANT_MAGIC_ARBITER, &d->arbiter_fd);
    d->event_fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
    d->slice->state = DV_SLICE_LIVE;
    d->slice->memory_limit_bytes = config->limit;
    d->slice->compute = d->slice->compute_cap = 7000;
    d->slice->context_bytes = config->context_bytes;
    d->slice->module_bytes = config->module_bytes;
    snprintf(d->slice->device_uuid, sizeof d->slice->device_uuid, "%s",
             config->uuid ? config->uuid : DV_FAKE_UUID);
    snprintf(d->slice->libcuda, sizeof d->slice->libcuda, "%s", config->libcuda);
    snprintf(d->slice->libnvml, sizeof d->slice->libnvml, "%s",
             config->libnvml ? config->libnvml : "");
    d->arbiter->flags = DV_ARBITER_FLAG_OPEN;
    d->arbiter->quantum_ns = 10000000;
    d->arbiter->inflight_bound_ns = 4000000;
    d->arbiter->linger_ns = 1000000;
    d->arbiter->grace_ns = 3000000;
    d->arbiter->heartbeat_ns = now_ns();
    seal(d->slice_fd);
    seal(d->arbiter_fd);
    listen_there(d);
    must(!pipe2(d->quit, O_CLOEXEC) && !pthread_create(&d->thread, NULL, serve, d), "thread");
    return d;
}

void dv_fake_daemon_limit(struct dv_fake_daemon *d, uint64_t limit, uint32_t state)
{
    __atomic_fetch_add(&d->slice->seq, 1, __ATOMIC_ACQ_REL);
    __atomic_store_n(&d->slice->memory_limit_bytes, limit, __ATOMIC_RELAXED);
    __atomic_store_n(&d->slice->state, state, __ATOMIC_RELAXED);
    __atomic_fetch_add(&d->slice->seq, 1, __ATOMIC_ACQ_REL);
}

void dv_fake_daemon_turn(struct dv_fake_daemon *d, uint64_t turn, uint64_t next,
                         uint64_t deadline_ns)
{
    struct dv_arbiter_page *a = d->arbiter;
    __atomic_store_n(&a->next, next, __ATOMIC_RELEASE);
    __atomic_store_n(&a->deadline_ns, deadline_ns, __ATOMIC_RELEASE);
    __atomic_store_n(&a->contended, next != 0, __ATOMIC_RELEASE);
    __atomic_store_n(&a->flags, 0, __ATOMIC_RELEASE);
    __atomic_store_n(&a->turn, turn, __ATOMIC_RELEASE);
    for (uint32_t i = 0; i < 4; i++) {
        __atomic_fetch_add(&a->wake[i], 1, __ATOMIC_RELEASE);
        (void)syscall(SYS_futex, &a->wake[i], FUTEX_WAKE, INT_MAX, NULL, NULL, 0);
    }
}

void dv_fake_daemon_stop(struct dv_fake_daemon *d)
{
    must(write(d->quit[1], "", 1) == 1, "pipe");
    pthread_join(d->thread, NULL);
    for (uint32_t i = 1; i < DV_TENANT_SLICE_PROCESSES_MAX; i++)
        if (d->tenant[i].socket >= 0)
            close(d->tenant[i].socket);
    close(d->listener);
    close(d->quit[0]);
    close(d->quit[1]);
    close(d->slice_fd);
    close(d->reservation_fd);
    close(d->arbiter_fd);
    close(d->event_fd);
    (void)unlink(d->path);
    if (d->directory[0])
        (void)rmdir(d->directory);
    munmap(d->slice, sizeof *d->slice);
    munmap(d->reservation, sizeof *d->reservation);
    munmap(d->arbiter, sizeof *d->arbiter);
    free(d);
}
