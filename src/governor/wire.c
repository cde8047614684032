/* SPDX-License-Identifier: Apache-2.0 */
#include "wire.h"

#include "abi_cuda.h"
#include "governor.h"

#include <errno.h>
#include <pthread.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/time.h>
#include <sys/un.h>
#include <unistd.h>

#define STEP_SECONDS 5 /* longest wait for one message of the daemon's */

static struct dv_wire *current;
static pthread_mutex_t peers_lock = PTHREAD_MUTEX_INITIALIZER;

struct dv_wire *dv_wire_current(void)
{
    return __atomic_load_n(&current, __ATOMIC_ACQUIRE);
}

/* ---- messages -------------------------------------------------------------------------------- */

static int send_message(int fd, uint32_t type)
{
    struct dv_tenant_message m = {
        .magic = DV_TENANT_MAGIC_MESSAGE, .abi = DV_TENANT_ABI, .type = type};
    const char *slice = getenv("DIVVY_SLICE"); /* a hint where one owner has several; not trusted */
    if (slice && type == DV_MSG_HELLO)
        snprintf(m.text, sizeof m.text, "%s", slice);
    ssize_t n;
    do {
        n = send(fd, &m, sizeof m, MSG_NOSIGNAL);
    } while (n < 0 && errno == EINTR);
    return n == (ssize_t)sizeof m ? 0 : n < 0 ? -errno : -EPROTO;
}

static void take_descriptors(struct msghdr *h, int fds[DV_FD_COUNT], unsigned *ret_count)
{
    *ret_count = 0;
    for (struct cmsghdr *c = CMSG_FIRSTHDR(h); c; c = CMSG_NXTHDR(h, c)) {
        if (c->cmsg_level != SOL_SOCKET || c->cmsg_type != SCM_RIGHTS)
            continue;
        unsigned n = (unsigned)((c->cmsg_len - CMSG_LEN(0)) / sizeof(int));
        for (unsigned i = 0; i < n; i++) {
            int fd;
            memcpy(&fd, CMSG_DATA(c) + i * sizeof(int), sizeof fd);
            if (*ret_count < DV_FD_COUNT)
                fds[(*ret_count)++] = fd;
            else
                close(fd);
        }
    }
}

/* 0, or negative errno: -EAGAIN nothing there (in time), -ECONNRESET hung up. */
static int receive_message(int fd, int flags, struct dv_tenant_message *ret, int fds[DV_FD_COUNT],
                           unsigned *ret_count)
{
    union {
        struct cmsghdr align;
        char bytes[CMSG_SPACE(DV_FD_COUNT * sizeof(int))];
    } control;
    struct iovec io = {ret, sizeof *ret};
    struct msghdr h = {.msg_iov = &io,
                       .msg_iovlen = 1,
                       .msg_control = control.bytes,
                       .msg_controllen = sizeof control.bytes};
    ssize_t n;
    do {
        n = recvmsg(fd, &h, flags | MSG_CMSG_CLOEXEC);
    } while (n < 0 && errno == EINTR);
    if (n < 0)
        return -errno;
    if (n == 0)
        return -ECONNRESET;
    take_descriptors(&h, fds, ret_count);
    if (n == (ssize_t)sizeof *ret && ret->magic == DV_TENANT_MAGIC_MESSAGE &&
        ret->abi == DV_TENANT_ABI)
        return 0;
    for (unsigned i = 0; i < *ret_count; i++)
        close(fds[i]);
    return -EPROTO;
}

static int open_socket_at(const char *path)
{
    struct sockaddr_un a = {.sun_family = AF_UNIX};
    if (!path || !*path || strlen(path) >= sizeof a.sun_path)
        return -ENOENT;
    memcpy(a.sun_path, path, strlen(path) + 1);
    int fd = socket(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0);
    if (fd < 0)
        return -errno;
    struct timeval limit = {STEP_SECONDS, 0};
    (void)setsockopt(fd, SOL_SOCKET, SO_RCVTIMEO, &limit, sizeof limit);
    (void)setsockopt(fd, SOL_SOCKET, SO_SNDTIMEO, &limit, sizeof limit);
    if (connect(fd, (struct sockaddr *)&a, sizeof a)) {
        int r = -errno;
        close(fd);
        return r;
    }
    return fd;
}

/* In a container the folder is mounted there: while it is, no variable names another daemon. */
static int open_socket(void)
{
    int fd = open_socket_at(DV_TENANT_SOCKET_FOLDER "/" DV_TENANT_SOCKET_NAME);
    if (fd >= 0 || access(DV_TENANT_SOCKET_FOLDER, F_OK) == 0)
        return fd;
    return open_socket_at(getenv(DV_TENANT_SOCKET_ENV));
}

/* ---- pages ----------------------------------------------------------------------------------- */

static void *map_page(int fd, size_t size, int protection, uint32_t magic)
{
    struct stat st;
    if (fstat(fd, &st) || (uint64_t)st.st_size < size)
        return NULL;
    void *p = mmap(NULL, size, protection, MAP_SHARED, fd, 0);
    if (p == MAP_FAILED)
        return NULL;
    const uint32_t *head = p; /* every page begins with its magic number and the ABI's */
    if (head[0] == magic && head[1] == DV_TENANT_ABI)
        return p;
    munmap(p, size);
    return NULL;
}

static bool map_pages(struct dv_wire *l, const int fds[DV_FD_COUNT])
{
    int both = PROT_READ | PROT_WRITE;
    l->slice = map_page(fds[DV_FD_SLICE], sizeof *l->slice, PROT_READ, DV_TENANT_MAGIC_SLICE);
    l->reservation =
        map_page(fds[DV_FD_RESERVATION], sizeof *l->reservation, both, DV_TENANT_MAGIC_RESERVATION);
    l->page = map_page(fds[DV_FD_SLOT], sizeof *l->page, both, DV_TENANT_MAGIC_SLOT);
    l->arbiter =
        map_page(fds[DV_FD_ARBITER], sizeof *l->arbiter, PROT_READ, DV_TENANT_MAGIC_ARBITER);
    return l->slice && l->reservation && l->page && l->arbiter;
}

static void unmap_pages(struct dv_wire *l)
{
    if (l->slice)
        munmap((void *)l->slice, sizeof *l->slice);
    if (l->reservation)
        munmap(l->reservation, sizeof *l->reservation);
    if (l->page)
        munmap(l->page, sizeof *l->page);
    if (l->arbiter)
        munmap((void *)l->arbiter, sizeof *l->arbiter);
}

/* ---- peers ----------------------------------------------------------------------------------- */

/* An old page is not unmapped: somebody may be reading it. It costs a page until the process ends.
 */
static void peer_came(struct dv_wire *l, const struct dv_tenant_message *m, int fd)
{
    if (m->slot >= DV_TENANT_SLOTS_MAX)
        return;
    struct dv_slot_page *p = map_page(fd, sizeof *p, PROT_READ, DV_TENANT_MAGIC_SLOT);
    __atomic_store_n(&l->peer[m->slot], p, __ATOMIC_RELEASE);
    __atomic_store_n(&l->peer_pid[m->slot], m->process ? m->status : 0, __ATOMIC_RELEASE);
}

static void peer_message(struct dv_wire *l, const struct dv_tenant_message *m, const int *fds,
                         unsigned count)
{
    if (m->type == DV_MSG_PEER && count == 1)
        peer_came(l, m, fds[0]);
    if (m->type == DV_MSG_PEER_GONE && m->slot < DV_TENANT_SLOTS_MAX) {
        __atomic_store_n(&l->peer[m->slot], NULL, __ATOMIC_RELEASE);
        __atomic_store_n(&l->peer_pid[m->slot], 0, __ATOMIC_RELEASE);
    }
    for (unsigned i = 0; i < count; i++)
        close(fds[i]);
}

void dv_wire_peers(struct dv_wire *l)
{
    uint32_t generation = __atomic_load_n(&l->arbiter->slots_generation, __ATOMIC_ACQUIRE);
    if (generation == __atomic_load_n(&l->generation, __ATOMIC_ACQUIRE))
        return;
    struct dv_tenant_message m;
    int fds[DV_FD_COUNT];
    unsigned count;
    pthread_mutex_lock(&peers_lock);
    while (!receive_message(l->socket, MSG_DONTWAIT, &m, fds, &count))
        peer_message(l, &m, fds, count);
    __atomic_store_n(&l->generation, generation, __ATOMIC_RELEASE);
    pthread_mutex_unlock(&peers_lock);
}

const struct dv_slot_page *dv_wire_peer(struct dv_wire *l, uint32_t slot)
{
    return slot < DV_TENANT_SLOTS_MAX ? __atomic_load_n(&l->peer[slot], __ATOMIC_ACQUIRE) : NULL;
}

bool dv_wire_own_pid(struct dv_wire *l, uint32_t pid)
{
    if (!pid || pid == l->pid)
        return pid != 0;
    dv_wire_peers(l);
    for (unsigned i = 0; i < DV_TENANT_SLOTS_MAX; i++)
        if (__atomic_load_n(&l->peer_pid[i], __ATOMIC_ACQUIRE) == pid)
            return true;
    return false;
}

/* ---- the handshake --------------------------------------------------------------------------- */

static int refuse(const struct dv_tenant_message *m)
{
    return m->status == EACCES || m->status == EPERM ? -EPERM : -EAGAIN;
}

static int await_go(struct dv_wire *l)
{
    struct dv_tenant_message m;
    int fds[DV_FD_COUNT];
    unsigned count;
    for (;;) {
        int r = receive_message(l->socket, 0, &m, fds, &count);
        if (r)
            return r;
        if (m.type == DV_MSG_REFUSED)
            return refuse(&m);
        peer_message(l, &m, fds, count);
        if (m.type == DV_MSG_GO)
            return 0;
    }
}

static int welcome(struct dv_wire *l)
{
    struct dv_tenant_message m;
    int fds[DV_FD_COUNT];
    unsigned count = 0;
    int r = send_message(l->socket, DV_MSG_HELLO);
    if (!r)
        r = receive_message(l->socket, 0, &m, fds, &count);
    if (r)
        return r;
    bool fine = m.type == DV_MSG_WELCOME && count == DV_FD_COUNT && m.slot < DV_TENANT_SLOTS_MAX &&
                m.process > 0 && m.process < DV_TENANT_SLICE_PROCESSES_MAX && map_pages(l, fds);
    for (unsigned i = 0; i < count; i++)
        if (!fine || i != DV_FD_EVENT)
            close(fds[i]);
    if (!fine)
        return m.type == DV_MSG_REFUSED ? refuse(&m) : -EPROTO;
    l->event = fds[DV_FD_EVENT];
    l->slot = m.slot;
    l->process = m.process;
    l->pid = m.status ? m.status : (uint32_t)getpid();
    return 0;
}

int dv_wire_connect(void)
{
    struct dv_wire *l =
        mmap(NULL, sizeof *l, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    if (l == MAP_FAILED)
        return DV_CUDA_ERROR_SYSTEM_NOT_READY;
    l->event = -1;
    l->socket = open_socket();
    int r = l->socket < 0 ? l->socket : welcome(l);
    if (!r)
        r = send_message(l->socket, DV_MSG_READY);
    if (!r)
        r = await_go(l);
    if (!r) {
        __atomic_store_n(&current, l, __ATOMIC_RELEASE);
        return 0;
    }
    unmap_pages(l);
    if (l->socket >= 0)
        close(l->socket);
    if (l->event >= 0)
        close(l->event);
    munmap(l, sizeof *l);
    return r == -EPERM || r == -EACCES ? DV_CUDA_ERROR_NOT_PERMITTED
                                       : DV_CUDA_ERROR_SYSTEM_NOT_READY;
}

void dv_wire_forget(void)
{
    struct dv_wire *l = current;
    current = NULL;
    peers_lock = (pthread_mutex_t)PTHREAD_MUTEX_INITIALIZER;
    if (!l)
        return;
    close(l->socket);
    close(l->event);
    unmap_pages(l);
    munmap(l, sizeof *l);
}

/* ---- reading and telling --------------------------------------------------------------------- */

void dv_wire_kick(struct dv_wire *l)
{
    uint64_t one = 1;
    ssize_t n = write(l->event, &one, sizeof one);
    (void)n; /* full means that the arbiter is woken already */
}

bool dv_wire_stale(struct dv_wire *l, uint64_t now)
{
    uint64_t beat = __atomic_load_n(&l->arbiter->heartbeat_ns, __ATOMIC_ACQUIRE);
    return now > beat && now - beat > UINT64_C(100000000);
}

uint64_t dv_wire_limit(const struct dv_wire *l)
{
    for (int i = 0; i < 1000; i++) {
        uint32_t seq = __atomic_load_n(&l->slice->seq, __ATOMIC_ACQUIRE);
        uint64_t limit = __atomic_load_n(&l->slice->memory_limit_bytes, __ATOMIC_RELAXED);
        uint32_t state = __atomic_load_n(&l->slice->state, __ATOMIC_RELAXED);
        __atomic_thread_fence(__ATOMIC_ACQUIRE);
        if (!(seq & 1) && seq == __atomic_load_n(&l->slice->seq, __ATOMIC_RELAXED))
            return state == DV_SLICE_LIVE ? limit : 0;
    }
    return 0; /* a daemon that died in the middle: nothing new until it is back */
}

void dv_wire_log(const char *format, ...)
{
    struct dv_wire *l = dv_wire_current();
    if (!l)
        return;
    int saved = errno;
    char line[160];
    va_list args;
    va_start(args, format);
    int n = vsnprintf(line, sizeof line - 1, format, args);
    va_end(args);
    if (n < 0)
        return;
    size_t length = (size_t)n < sizeof line - 2 ? (size_t)n : sizeof line - 2;
    line[length++] = '\n';
    uint32_t at = __atomic_fetch_add(&l->page->log_head, (uint32_t)length, __ATOMIC_RELAXED);
    for (size_t i = 0; i < length; i++)
        __atomic_store_n(&l->page->log[(at + i) % DV_SLOT_LOG_SIZE], line[i], __ATOMIC_RELAXED);
    errno = saved;
}
