/* SPDX-License-Identifier: Apache-2.0 */
/* The connection to divvy-sim, cuInit, forks, injected errors. */
#include "abi_sim_show.h"
#include "driver.h"

#include <errno.h>
#include <poll.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>

#define VERSION_WITHOUT_SERVER 13000
#define CONTENT_BYTES_ENV "DIVVY_SIM_CONTENT_BYTES"
#define CONTENT_BYTES_DEFAULT (UINT64_C(256) << 20)

struct dv_cuprocess dv_cuprocess_this = {
    .socket = -1,
    .kick = -1,
    .mps = -1,
    .lock = PTHREAD_MUTEX_INITIALIZER,
    .ring = PTHREAD_MUTEX_INITIALIZER,
};

static void close_fd(int *fd)
{
    if (*fd >= 0)
        close(*fd);
    *fd = -1;
}

/* A child has none of its parent's GPU state. The parent must not notice it: no message, no lock
 * (somebody else may have held it), only our own descriptors go. */
static void after_fork_in_child(void)
{
    if (P.socket < 0 && P.state == DV_CU_NEW)
        return;
    __atomic_store_n(&P.state, DV_CU_FORKED, __ATOMIC_RELEASE);
    close_fd(&P.socket);
    close_fd(&P.kick);
    close_fd(&P.mps);
}

static void watch_forks(void)
{
    pthread_atfork(NULL, NULL, after_fork_in_child);
}

void dv_cuprocess_lost(void)
{
    uint32_t ready = DV_CU_READY;
    __atomic_compare_exchange_n(&P.state, &ready, DV_CU_LOST, false, __ATOMIC_RELEASE,
                                __ATOMIC_RELAXED);
}

bool dv_cuprocess_alive(void)
{
    if (__atomic_load_n(&P.state, __ATOMIC_ACQUIRE) != DV_CU_READY)
        return false;
    struct pollfd p = {.fd = P.socket};
    bool hung_up = poll(&p, 1, 0) > 0 && (p.revents & (POLLHUP | POLLERR | POLLNVAL));
    if (!hung_up && !__atomic_load_n(&P.work->closed, __ATOMIC_ACQUIRE))
        return true;
    dv_cuprocess_lost();
    return false;
}

/* ---- messages ------------------------------------------------------------------------------- */

static bool send_message(uint16_t op, const void *in, uint32_t size, int fd)
{
    struct dv_sim_header h = {.magic = DV_SIM_MAGIC, .op = op, .size = size};
    struct iovec iov[2] = {{&h, sizeof(h)}, {(void *)in, size}};
    union {
        struct cmsghdr header;
        char bytes[CMSG_SPACE(sizeof(int))];
    } control = {0};
    struct msghdr m = {.msg_iov = iov, .msg_iovlen = size ? 2 : 1};
    if (fd >= 0) {
        m.msg_control = &control;
        m.msg_controllen = sizeof(control.bytes);
        struct cmsghdr *c = CMSG_FIRSTHDR(&m);
        c->cmsg_level = SOL_SOCKET;
        c->cmsg_type = SCM_RIGHTS;
        c->cmsg_len = CMSG_LEN(sizeof(int));
        memcpy(CMSG_DATA(c), &fd, sizeof(fd));
    }
    ssize_t n;
    do
        n = sendmsg(P.socket, &m, MSG_NOSIGNAL);
    while (n < 0 && errno == EINTR);
    return n == (ssize_t)(sizeof(h) + size);
}

/* Takes up to two descriptors out of a message; closes what is too many. */
static void take_fds(struct msghdr *m, int fds[2])
{
    fds[0] = fds[1] = -1;
    int n = 0;
    for (struct cmsghdr *c = CMSG_FIRSTHDR(m); c; c = CMSG_NXTHDR(m, c)) {
        if (c->cmsg_level != SOL_SOCKET || c->cmsg_type != SCM_RIGHTS)
            continue;
        size_t count = (c->cmsg_len - CMSG_LEN(0)) / sizeof(int);
        for (size_t i = 0; i < count; i++) {
            int fd;
            memcpy(&fd, CMSG_DATA(c) + i * sizeof(int), sizeof(fd));
            if (n < 2)
                fds[n++] = fd;
            else
                close(fd);
        }
    }
}

/* False: the connection is of no use any more. */
static bool receive_message(uint16_t op, struct dv_sim_header *ret_h, void *ret, uint32_t max,
                            int fds[2])
{
    struct iovec iov[2] = {{ret_h, sizeof(*ret_h)}, {ret, max}};
    union {
        struct cmsghdr header;
        char bytes[CMSG_SPACE(4 * sizeof(int))];
    } control;
    struct msghdr m = {.msg_iov = iov,
                       .msg_iovlen = 2,
                       .msg_control = &control,
                       .msg_controllen = sizeof(control.bytes)};
    ssize_t n;
    do
        n = recvmsg(P.socket, &m, MSG_CMSG_CLOEXEC);
    while (n < 0 && errno == EINTR);
    if (n < (ssize_t)sizeof(*ret_h))
        return false;
    take_fds(&m, fds);
    if (ret_h->magic == DV_SIM_MAGIC && ret_h->op == op && !(m.msg_flags & MSG_TRUNC) &&
        (size_t)n == sizeof(*ret_h) + ret_h->size)
        return true;
    close_fd(&fds[0]);
    close_fd(&fds[1]);
    return false;
}

static int call_fds(uint16_t op, const void *in, uint32_t in_size, int fd_in, void *ret,
                    uint32_t max, uint32_t *ret_got, int fds[2])
{
    struct dv_sim_header h;
    fds[0] = fds[1] = -1;
    if (P.socket < 0 || !send_message(op, in, in_size, fd_in) ||
        !receive_message(op, &h, ret, max, fds)) {
        dv_cuprocess_lost();
        return DV_CUDA_ERROR_DEVICE_UNAVAILABLE;
    }
    *ret_got = h.size;
    if (h.status < 0)
        return DV_CUDA_ERROR_UNKNOWN;
    return h.status;
}

int dv_cuprocess_call_locked(uint16_t op, const void *in, uint32_t in_size, int fd_in, void *ret,
                             uint32_t ret_size, uint32_t *ret_got, int *ret_fd)
{
    int fds[2];
    uint32_t got = 0;
    int r = call_fds(op, in, in_size, fd_in, ret, ret_size, &got, fds);
    if (r == 0 && !ret_got && got != ret_size)
        r = DV_CUDA_ERROR_UNKNOWN;
    if (ret_got)
        *ret_got = got;
    if (ret_fd && r == 0)
        *ret_fd = fds[0];
    else
        close_fd(&fds[0]);
    close_fd(&fds[1]);
    return r;
}

int dv_cuprocess_call(uint16_t op, const void *in, uint32_t in_size, void *ret, uint32_t ret_size)
{
    dv_cu_lock();
    int r = dv_cuprocess_call_locked(op, in, in_size, -1, ret, ret_size, NULL, NULL);
    dv_cu_unlock();
    return r;
}

/* ---- start ---------------------------------------------------------------------------------- */

static int connect_socket(void)
{
    const char *path = getenv(DV_SIM_SOCKET_ENV);
    if (!path || !*path)
        return DV_CUDA_ERROR_NO_DEVICE;
    struct sockaddr_un a = {.sun_family = AF_UNIX};
    if (strlen(path) >= sizeof(a.sun_path))
        return DV_CUDA_ERROR_SYSTEM_NOT_READY;
    memcpy(a.sun_path, path, strlen(path) + 1);
    P.socket = socket(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0);
    if (P.socket < 0)
        return DV_CUDA_ERROR_OPERATING_SYSTEM;
    int r;
    do
        r = connect(P.socket, (struct sockaddr *)&a, sizeof(a));
    while (r < 0 && errno == EINTR);
    if (r == 0)
        return 0;
    close_fd(&P.socket);
    return DV_CUDA_ERROR_SYSTEM_NOT_READY;
}

static int map_work(int fd, size_t size)
{
    struct stat st;
    if (size < sizeof(struct dv_sim_work) || fstat(fd, &st) < 0 || (size_t)st.st_size < size)
        return DV_CUDA_ERROR_SYSTEM_DRIVER_MISMATCH;
    struct dv_sim_work *w = mmap(NULL, size, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
    if (w == MAP_FAILED)
        return DV_CUDA_ERROR_OPERATING_SYSTEM;
    if (w->magic != DV_SIM_MAGIC || w->abi != DV_SIM_ABI) {
        munmap(w, size);
        return DV_CUDA_ERROR_SYSTEM_DRIVER_MISMATCH;
    }
    P.work = w;
    P.work_size = size;
    P.head = __atomic_load_n(&w->head, __ATOMIC_ACQUIRE);
    return 0;
}

/* HELLO; afterwards the work page is there. */
static int greet(void)
{
    static pthread_once_t once = PTHREAD_ONCE_INIT;
    if (P.work)
        return 0;
    DV_CU_TRY(connect_socket());
    pthread_once(&once, watch_forks);
    struct dv_sim_hello hello = {.abi = DV_SIM_ABI, .client = DV_SIM_CLIENT_CUDA};
    struct dv_sim_welcome w;
    uint32_t got = 0;
    int fds[2];
    int r = call_fds(DV_SIM_HELLO, &hello, sizeof(hello), -1, &w, sizeof(w), &got, fds);
    if (r == 0 && (got != sizeof(w) || w.abi != DV_SIM_ABI || fds[0] < 0 || fds[1] < 0))
        r = DV_CUDA_ERROR_SYSTEM_DRIVER_MISMATCH;
    if (r == 0 && dv_sim_show_all(P.socket) < 0)
        r = DV_CUDA_ERROR_SYSTEM_NOT_READY;
    if (r == 0)
        r = map_work(fds[0], w.work_size);
    close_fd(&fds[0]);
    if (r) {
        close_fd(&fds[1]);
        close_fd(&P.socket);
        return r == DV_CUDA_ERROR_SYSTEM_DRIVER_MISMATCH ? r : DV_CUDA_ERROR_SYSTEM_NOT_READY;
    }
    P.kick = fds[1];
    P.driver_version = w.driver_cuda_version;
    return 0;
}

static uint64_t content_budget(void)
{
    const char *s = getenv(CONTENT_BYTES_ENV);
    char *end = NULL;
    errno = 0;
    unsigned long long v = s ? strtoull(s, &end, 10) : 0;
    return s && *s && *end == '\0' && errno == 0 ? v : CONTENT_BYTES_DEFAULT;
}

static int list_devices(void)
{
    static struct dv_sim_device all[DV_SIM_PAYLOAD_MAX / sizeof(struct dv_sim_device)];
    uint32_t got = 0;
    DV_CU_TRY(
        dv_cuprocess_call_locked(DV_SIM_CUDA_DEVICES, NULL, 0, -1, all, sizeof(all), &got, NULL));
    DV_CU_REQUIRE(got % sizeof(all[0]) == 0, DV_CUDA_ERROR_SYSTEM_DRIVER_MISMATCH);
    dv_cudevice_select(all, got / (uint32_t)sizeof(all[0]), getenv("CUDA_VISIBLE_DEVICES"));
    return P.n_devices ? 0 : DV_CUDA_ERROR_NO_DEVICE;
}

static int init_locked(void)
{
    DV_CU_TRY(greet());
    DV_CU_TRY(dv_cumps_join());
    DV_CU_TRY(list_devices());
    P.content_left = content_budget();
    __atomic_store_n(&P.state, DV_CU_READY, __ATOMIC_RELEASE);
    return 0;
}

dv_cuda_api(cuInit, unsigned int flags)
{
    uint32_t state = __atomic_load_n(&P.state, __ATOMIC_ACQUIRE);
    DV_CU_REQUIRE(flags == 0, DV_CUDA_ERROR_INVALID_VALUE);
    DV_CU_REQUIRE(state != DV_CU_FORKED, DV_CUDA_ERROR_NOT_INITIALIZED);
    DV_CU_REQUIRE(state != DV_CU_LOST, DV_CUDA_ERROR_SYSTEM_NOT_READY);
    if (state == DV_CU_READY)
        return dv_cuprocess_enter(__func__);
    dv_cu_lock();
    int r = P.state == DV_CU_READY ? 0 : init_locked();
    dv_cu_unlock();
    return r ? r : dv_cuprocess_enter(__func__);
}

dv_cuda_api(cuDriverGetVersion, int *ret_version)
{
    DV_CU_REQUIRE(ret_version, DV_CUDA_ERROR_INVALID_VALUE);
    if (__atomic_load_n(&P.state, __ATOMIC_ACQUIRE) == DV_CU_NEW) {
        dv_cu_lock();
        if (P.state == DV_CU_NEW)
            greet();
        dv_cu_unlock();
    }
    *ret_version = P.driver_version ? (int)P.driver_version : VERSION_WITHOUT_SERVER;
    return 0;
}

static int injected(const char *name)
{
    dv_cu_lock();
    int r = dv_cuprocess_call_locked(DV_SIM_CUDA_INJECTED, name, (uint32_t)strlen(name) + 1, -1,
                                     NULL, 0, NULL, NULL);
    dv_cu_unlock();
    return r;
}

int dv_cuprocess_enter_slow(const char *name)
{
    switch (__atomic_load_n(&P.state, __ATOMIC_ACQUIRE)) {
    case DV_CU_READY:
        return injected(name);
    case DV_CU_LOST:
        return DV_CUDA_ERROR_DEVICE_UNAVAILABLE;
    default:
        return DV_CUDA_ERROR_NOT_INITIALIZED;
    }
}

/* Nothing is recorded here, and a program that asks may go on. */
dv_cuda_api(cuProfilerStart, void)
{
    DV_CU_ENTER();
    return 0;
}

dv_cuda_api(cuProfilerStop, void)
{
    DV_CU_ENTER();
    return 0;
}
