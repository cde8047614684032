/* SPDX-License-Identifier: Apache-2.0 */
#include "server/fake.h"

#include "server/server.h"

#include <errno.h>
#include <linux/futex.h>
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <sys/un.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include <cmocka.h>

#define PATIENCE_NS (20 * DV_NS_PER_S)

uint64_t dv_fake_now(void)
{
    struct timespec t;

    clock_gettime(CLOCK_MONOTONIC, &t);
    return (uint64_t)t.tv_sec * DV_NS_PER_S + (uint64_t)t.tv_nsec;
}

/* ---- the node ---- */

static void serve(const struct dv_nodespec *spec, const char *socket, int ready, int lifeline)
{
    struct dv_simserver_options o = {.socket = socket, .parent_fd = lifeline};
    struct dv_simserver *server;
    struct dv_err err = {0};
    int r = dv_simserver_new(spec, &o, &server, &err);

    if (r < 0) {
        fprintf(stderr, "%s\n", err.msg);
        _exit(1);
    }
    if (write(ready, "\n", 1) != 1)
        _exit(1);
    close(ready);
    r = dv_simserver_run(server);
    dv_simserver_free(server);
    exit(r < 0); /* not _exit: a leak checker wants its turn */
}

struct dv_fakenode dv_fakenode_start(const char *node)
{
    struct dv_nodespec *spec = malloc(sizeof(*spec));
    struct dv_fakenode n = {.directory = "/tmp/divvy-test-XXXXXX"};
    struct dv_err err = {0};
    int ready[2], lifeline[2], r;
    char byte;

    assert_non_null(spec);
    r = strchr(node, '\n') ? dv_nodespec_parse("test", node, strlen(node), spec, &err)
                           : dv_nodespec_load(node, spec, &err);
    if (r < 0)
        fail_msg("%s", err.msg);
    assert_non_null(mkdtemp(n.directory));
    snprintf(n.socket, sizeof(n.socket), "%s/sock", n.directory);
    assert_int_equal(pipe(ready), 0);
    assert_int_equal(pipe(lifeline), 0);
    n.pid = fork();
    assert_true(n.pid >= 0);
    if (n.pid == 0) {
        close(ready[0]);
        close(lifeline[1]);
        serve(spec, n.socket, ready[1], lifeline[0]);
    }
    free(spec);
    close(ready[1]);
    close(lifeline[0]);
    assert_int_equal(read(ready[0], &byte, 1), 1);
    close(ready[0]);
    n.lifeline = lifeline[1];
    return n;
}

void dv_fakenode_stop(struct dv_fakenode *n)
{
    int status;

    close(n->lifeline);
    assert_int_equal(waitpid(n->pid, &status, 0), n->pid);
    assert_int_equal(status, 0);
    assert_int_equal(rmdir(n->directory), 0); /* the socket is gone */
}

/* ---- messages ---- */

static int connect_to(const char *path)
{
    struct sockaddr_un a = {.sun_family = AF_UNIX};
    struct timeval patience = {.tv_sec = 20};
    int fd = socket(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0);

    assert_true(fd >= 0);
    setsockopt(fd, SOL_SOCKET, SO_RCVTIMEO, &patience, sizeof(patience));
    snprintf(a.sun_path, sizeof(a.sun_path), "%s", path);
    assert_int_equal(connect(fd, (struct sockaddr *)&a, sizeof(a)), 0);
    return fd;
}

static void send_request(int sock, uint16_t op, const void *data, uint32_t size, const int *fd)
{
    struct dv_sim_header h = {.magic = DV_SIM_MAGIC, .op = op, .size = size};
    union {
        char buf[CMSG_SPACE(sizeof(int))];
        struct cmsghdr align;
    } control = {0};
    struct iovec iov[2] = {{&h, sizeof(h)}, {(void *)(uintptr_t)data, size}};
    struct msghdr msg = {.msg_iov = iov, .msg_iovlen = size ? 2 : 1};

    if (fd && *fd >= 0) {
        struct cmsghdr *c;

        msg.msg_control = control.buf;
        msg.msg_controllen = sizeof(control.buf);
        c = CMSG_FIRSTHDR(&msg);
        c->cmsg_level = SOL_SOCKET;
        c->cmsg_type = SCM_RIGHTS;
        c->cmsg_len = CMSG_LEN(sizeof(int));
        memcpy(CMSG_DATA(c), fd, sizeof(int));
    }
    (void)!sendmsg(sock, &msg, MSG_NOSIGNAL);
}

static int32_t receive(int sock, void *ret, uint32_t ret_size, int *fds, size_t n_fds)
{
    static uint8_t data[DV_SIM_PAYLOAD_MAX];
    struct dv_sim_header h;
    union {
        char buf[CMSG_SPACE(4 * sizeof(int))];
        struct cmsghdr align;
    } control = {0};
    struct iovec iov[2] = {{&h, sizeof(h)}, {data, sizeof(data)}};
    struct msghdr msg = {.msg_iov = iov,
                         .msg_iovlen = 2,
                         .msg_control = control.buf,
                         .msg_controllen = sizeof(control.buf)};
    ssize_t n = recvmsg(sock, &msg, MSG_CMSG_CLOEXEC);
    struct cmsghdr *c;

    if (n <= 0)
        return INT32_MIN;
    assert_int_equal(n, sizeof(h) + h.size);
    assert_int_equal(h.magic, DV_SIM_MAGIC);
    if (ret && h.status == 0 && ret_size)
        assert_int_equal(h.size, ret_size);
    if (ret)
        memcpy(ret, data, h.size);
    c = CMSG_FIRSTHDR(&msg);
    for (size_t i = 0; i < n_fds; i++) {
        fds[i] = -1;
        if (c && c->cmsg_len >= CMSG_LEN((i + 1) * sizeof(int)))
            memcpy(&fds[i], CMSG_DATA(c) + i * sizeof(int), sizeof(int));
    }
    return h.status;
}

int32_t dv_fake_ask(struct dv_fake *c, uint16_t op, const void *data, uint32_t size, void *ret,
                    uint32_t ret_size, const int *fd, int *ret_fd)
{
    send_request(c->fd, op, data, size, fd);
    return receive(c->fd, ret, ret_size, ret_fd, ret_fd ? 1 : 0);
}

struct dv_fake dv_fake_open(const struct dv_fakenode *n, enum dv_sim_client kind)
{
    struct dv_fake c = {.fd = connect_to(n->socket), .kick = -1};
    struct dv_sim_hello hello = {DV_SIM_ABI, kind};
    struct dv_sim_welcome welcome = {0};
    int fds[2] = {-1, -1};

    send_request(c.fd, DV_SIM_HELLO, &hello, sizeof(hello), NULL);
    assert_int_equal(receive(c.fd, &welcome, sizeof(welcome), fds, 2), 0);
    assert_int_equal(welcome.abi, DV_SIM_ABI);
    if (kind != DV_SIM_CLIENT_CUDA)
        return c;
    assert_true(fds[0] >= 0 && fds[1] >= 0);
    assert_int_equal(welcome.work_size, sizeof(*c.work));
    c.work = mmap(NULL, sizeof(*c.work), PROT_READ | PROT_WRITE, MAP_SHARED, fds[0], 0);
    assert_true(c.work != MAP_FAILED);
    assert_int_equal(c.work->magic, DV_SIM_MAGIC);
    assert_int_not_equal(ftruncate(fds[0], 0), 0); /* it is sealed */
    close(fds[0]);
    c.kick = fds[1];
    return c;
}

void dv_fake_close(struct dv_fake *c)
{
    close(c->fd);
    if (c->work)
        munmap(c->work, sizeof(*c->work));
    if (c->kick >= 0)
        close(c->kick);
    *c = (struct dv_fake){.fd = -1, .kick = -1};
}

struct dv_sim_ctx_created dv_fake_ctx(struct dv_fake *c, uint32_t device)
{
    struct dv_sim_ctx_create q = {.device = device};
    struct dv_sim_ctx_created made = {0};

    assert_int_equal(
        dv_fake_ask(c, DV_SIM_CUDA_CTX_CREATE, &q, sizeof(q), &made, sizeof(made), NULL, NULL), 0);
    return made;
}

/* ---- commands ---- */

static void kick(struct dv_fake *c)
{
    uint64_t one = 1;

    assert_int_equal(write(c->kick, &one, sizeof(one)), sizeof(one));
}

uint64_t dv_fake_command_at(struct dv_fake *c, uint64_t submit_ns, uint32_t stream, uint32_t op,
                            uint64_t a, uint64_t b)
{
    uint64_t head = c->work->head;

    if (head - __atomic_load_n(&c->work->tail, __ATOMIC_ACQUIRE) >= DV_SIM_RING_COMMANDS)
        assert_true(dv_fake_taken(c));
    c->work->ring[head % DV_SIM_RING_COMMANDS] =
        (struct dv_sim_command){.submit_ns = submit_ns,
                                .op = op,
                                .stream = stream,
                                .number = ++c->number[stream % DV_SIM_STREAMS_MAX],
                                .a = a,
                                .b = b};
    __atomic_store_n(&c->work->head, head + 1, __ATOMIC_SEQ_CST);
    if (__atomic_load_n(&c->work->server_sleeps, __ATOMIC_SEQ_CST))
        kick(c);
    return c->number[stream % DV_SIM_STREAMS_MAX];
}

uint64_t dv_fake_command(struct dv_fake *c, uint32_t stream, uint32_t op, uint64_t a, uint64_t b)
{
    return dv_fake_command_at(c, dv_fake_now(), stream, op, a, b);
}

bool dv_fake_await(struct dv_fake *c, uint32_t stream, uint64_t number)
{
    struct dv_sim_stream_state *st = &c->work->streams[stream];
    uint64_t end = dv_fake_now() + PATIENCE_NS;

    while (dv_fake_now() < end) {
        uint32_t wake = __atomic_load_n(&st->wake, __ATOMIC_SEQ_CST);
        struct timespec second = {.tv_sec = 1};

        __atomic_store_n(&st->awaited, number, __ATOMIC_SEQ_CST);
        kick(c);
        if (__atomic_load_n(&st->done, __ATOMIC_ACQUIRE) >= number)
            return true;
        if (__atomic_load_n(&c->work->closed, __ATOMIC_SEQ_CST))
            return false;
        syscall(SYS_futex, &st->wake, FUTEX_WAIT, wake, &second, NULL, 0);
    }
    return false;
}

bool dv_fake_taken(struct dv_fake *c)
{
    uint64_t end = dv_fake_now() + PATIENCE_NS;

    kick(c);
    while (__atomic_load_n(&c->work->tail, __ATOMIC_ACQUIRE) != c->work->head) {
        if (dv_fake_now() > end || c->work->closed)
            return false;
        usleep(200);
    }
    return true;
}

struct dv_sim_stats *dv_fake_stats(const struct dv_fakenode *n, uint32_t gpu)
{
    static struct dv_sim_stats stats;
    struct dv_fake c = dv_fake_open(n, DV_SIM_CLIENT_CONTROL);

    assert_int_equal(
        dv_fake_ask(&c, DV_SIM_CTL_STATS, &gpu, sizeof(gpu), &stats, sizeof(stats), NULL, NULL), 0);
    dv_fake_close(&c);
    return &stats;
}
