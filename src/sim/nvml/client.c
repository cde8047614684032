/* SPDX-License-Identifier: Apache-2.0 */
#include "nvml/client.h"

#include "abi_sim_show.h"

#include <errno.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/uio.h>
#include <sys/un.h>
#include <unistd.h>

#define IDLE_MAX 16

static struct {
    pthread_mutex_t lock;
    unsigned users; /* nvmlInit less nvmlShutdown */
    int idle[IDLE_MAX];
    unsigned n_idle;
    char path[sizeof(((struct sockaddr_un *)0)->sun_path)];
    struct dv_sim_nvml_node node;
} library = {.lock = PTHREAD_MUTEX_INITIALIZER};

/* ---- connections ------------------------------------------------------------------------------
 */

static void close_idle(void)
{
    for (unsigned i = 0; i < library.n_idle; i++)
        close(library.idle[i]);
    library.n_idle = 0;
}

/* A child shares its parent's sockets but is another client: it starts with none. */
static void after_fork_in_child(void)
{
    pthread_mutex_init(&library.lock, NULL);
    close_idle();
}

__attribute__((constructor)) static void watch_forks(void)
{
    pthread_atfork(NULL, NULL, after_fork_in_child);
}

struct message {
    struct dv_sim_header header;
    struct iovec parts[3]; /* header, request, what follows it */
    int n_parts;
};

static int send_message(int fd, struct message *m)
{
    m->parts[0] = (struct iovec){&m->header, sizeof(m->header)};
    struct msghdr h = {.msg_iov = m->parts, .msg_iovlen = (size_t)m->n_parts};
    ssize_t n;
    do
        n = sendmsg(fd, &h, MSG_NOSIGNAL);
    while (n < 0 && errno == EINTR);
    return n < 0 ? -errno : 0;
}

/* Takes one reply; payload beyond `size` is cut off. */
static int receive(int fd, struct dv_sim_header *header, void *payload, size_t size,
                   size_t *ret_size)
{
    struct iovec parts[2] = {{header, sizeof(*header)}, {payload, size}};
    struct msghdr h = {.msg_iov = parts, .msg_iovlen = payload ? 2 : 1};
    ssize_t n;
    do
        n = recvmsg(fd, &h, MSG_CMSG_CLOEXEC);
    while (n < 0 && errno == EINTR);
    if (n < 0)
        return -errno;
    if (n < (ssize_t)sizeof(*header) || header->magic != DV_SIM_MAGIC)
        return -EPROTO;
    *ret_size = (size_t)n - sizeof(*header);
    return 0;
}

static int greet(int fd)
{
    struct dv_sim_hello hello = {DV_SIM_ABI, DV_SIM_CLIENT_NVML};
    struct dv_sim_welcome welcome;
    struct message m = {
        .header = {.magic = DV_SIM_MAGIC, .op = DV_SIM_HELLO, .size = sizeof(hello)},
        .parts = {{0}, {&hello, sizeof(hello)}},
        .n_parts = 2};
    size_t got = 0;
    int r = send_message(fd, &m);
    if (r == 0)
        r = receive(fd, &m.header, &welcome, sizeof(welcome), &got);
    if (r < 0)
        return r;
    if (m.header.status != 0 || got != sizeof(welcome) || welcome.abi != DV_SIM_ABI)
        return -EPROTO;
    return dv_sim_show_all(fd);
}

static int connect_server(void)
{
    struct sockaddr_un address = {.sun_family = AF_UNIX};
    memcpy(address.sun_path, library.path, sizeof(address.sun_path));
    int fd = socket(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0);
    if (fd < 0)
        return -errno;
    int r = connect(fd, (struct sockaddr *)&address, sizeof(address)) < 0 ? -errno : greet(fd);
    if (r < 0) {
        close(fd);
        return r;
    }
    return fd;
}

static int take_connection(void)
{
    int fd = -1;
    pthread_mutex_lock(&library.lock);
    if (library.n_idle)
        fd = library.idle[--library.n_idle];
    pthread_mutex_unlock(&library.lock);
    return fd >= 0 ? fd : connect_server();
}

static void give_connection(int fd)
{
    pthread_mutex_lock(&library.lock);
    if (library.users && library.n_idle < IDLE_MAX) {
        library.idle[library.n_idle++] = fd;
        fd = -1;
    }
    pthread_mutex_unlock(&library.lock);
    if (fd >= 0)
        close(fd);
}

/* One exchange. An idle connection that the server has closed meanwhile shows when sending: then a
 * new one is tried. What was sent is never sent twice. */
static int exchange(struct message *m, void *reply, size_t size, size_t *ret_size)
{
    int fd, r;
    for (int attempt = 0;; attempt++) {
        fd = take_connection();
        if (fd < 0)
            return DV_NVML_ERROR_DRIVER_NOT_LOADED;
        r = send_message(fd, m);
        if (r == 0)
            break;
        close(fd);
        if (attempt >= IDLE_MAX)
            return DV_NVML_ERROR_UNKNOWN;
    }
    r = receive(fd, &m->header, reply, size, ret_size);
    if (r < 0) {
        close(fd);
        return DV_NVML_ERROR_UNKNOWN;
    }
    give_connection(fd);
    return m->header.status;
}

/* ---- requests ---------------------------------------------------------------------------------
 */

struct dv_sim_nvml_request dv_nvclient_request(uint32_t gpu, uint32_t gi, uint32_t ci)
{
    return (struct dv_sim_nvml_request){.gpu = gpu, .gi = gi, .ci = ci};
}

static struct message message_of(const char *function, enum dv_sim_nvml_op op,
                                 struct dv_sim_nvml_request *q)
{
    snprintf(q->function, sizeof(q->function), "%s", function);
    return (struct message){
        .header = {.magic = DV_SIM_MAGIC, .op = (uint16_t)op, .size = sizeof(*q)},
        .parts = {{0}, {q, sizeof(*q)}},
        .n_parts = 2,
    };
}

int dv_nvclient_call(const char *function, enum dv_sim_nvml_op op, struct dv_sim_nvml_request *q,
                     void *reply, size_t size, size_t *ret_size)
{
    return dv_nvclient_call_more(function, op, q, NULL, 0, reply, size, ret_size);
}

int dv_nvclient_call_more(const char *function, enum dv_sim_nvml_op op,
                          struct dv_sim_nvml_request *q, const void *more, size_t more_size,
                          void *reply, size_t size, size_t *ret_size)
{
    int r = dv_nvclient_ready();
    if (r != DV_NVML_SUCCESS)
        return r;
    struct message m = message_of(function, op, q);
    size_t got = 0;
    if (more_size) {
        m.header.size += (uint32_t)more_size;
        m.parts[2] = (struct iovec){(void *)more, more_size};
        m.n_parts = 3;
    }
    r = exchange(&m, reply, size, &got);
    if (r == DV_NVML_SUCCESS && !ret_size && got < size)
        return DV_NVML_ERROR_UNKNOWN;
    if (r == DV_NVML_SUCCESS && ret_size)
        *ret_size = got;
    return r;
}

int dv_nvclient_wait(const char *function, struct dv_sim_nvml_request *q,
                     const struct dv_sim_nvml_wait *wait, struct dv_sim_nvml_event *ret)
{
    return dv_nvclient_call_more(function, DV_SIM_NVML_EVENTS_WAIT, q, wait, sizeof(*wait), ret,
                                 sizeof(*ret), NULL);
}

/* ---- life -------------------------------------------------------------------------------------
 */

static int open_library(const char *function)
{
    const char *path = getenv(DV_SIM_SOCKET_ENV);
    if (!path || !*path || strlen(path) >= sizeof(library.path))
        return DV_NVML_ERROR_DRIVER_NOT_LOADED;
    memset(library.path, 0, sizeof(library.path));
    memcpy(library.path, path, strlen(path));
    int fd = connect_server();
    if (fd < 0)
        return fd == -EACCES || fd == -EPERM ? DV_NVML_ERROR_NO_PERMISSION
                                             : DV_NVML_ERROR_DRIVER_NOT_LOADED;
    struct dv_sim_nvml_request q =
        dv_nvclient_request(DV_SIM_NVML_NONE, DV_SIM_NVML_NONE, DV_SIM_NVML_NONE);
    struct message m = message_of(function, DV_SIM_NVML_NODE, &q);
    size_t got = 0;
    int r = send_message(fd, &m);
    if (r == 0)
        r = receive(fd, &m.header, &library.node, sizeof(library.node), &got);
    if (r < 0 || m.header.status || got < sizeof(library.node)) {
        close(fd);
        return r == 0 && m.header.status ? m.header.status : DV_NVML_ERROR_DRIVER_NOT_LOADED;
    }
    library.idle[library.n_idle++] = fd;
    return DV_NVML_SUCCESS;
}

int dv_nvclient_init(const char *function)
{
    int r = DV_NVML_SUCCESS;
    pthread_mutex_lock(&library.lock);
    if (!library.users)
        r = open_library(function);
    if (r == DV_NVML_SUCCESS)
        library.users++;
    pthread_mutex_unlock(&library.lock);
    return r;
}

int dv_nvclient_shutdown(void)
{
    int r = DV_NVML_ERROR_UNINITIALIZED;
    pthread_mutex_lock(&library.lock);
    if (library.users) {
        r = DV_NVML_SUCCESS;
        if (--library.users == 0)
            close_idle();
    }
    pthread_mutex_unlock(&library.lock);
    return r;
}

int dv_nvclient_ready(void)
{
    pthread_mutex_lock(&library.lock);
    int r = library.users ? DV_NVML_SUCCESS : DV_NVML_ERROR_UNINITIALIZED;
    pthread_mutex_unlock(&library.lock);
    return r;
}

const struct dv_sim_nvml_node *dv_nvclient_node(void)
{
    return &library.node;
}
