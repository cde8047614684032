/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Connections: one request at a time, one reply each. A client that breaks the form of messages, or
 * sends without reading its replies, is dropped; the others do not notice.
 */
#include "server/state.h"

#include <errno.h>
#include <poll.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#define FDS_MAX 4

/* ---- replies ---- */

static int send_message(int fd, const struct dv_sim_header *h, const void *data, const int *fds,
                        size_t n_fds)
{
    union {
        char buf[CMSG_SPACE(FDS_MAX * sizeof(int))];
        struct cmsghdr align;
    } control = {0};
    struct iovec iov[2] = {{(void *)(uintptr_t)h, sizeof(*h)}, {(void *)(uintptr_t)data, h->size}};
    struct msghdr msg = {.msg_iov = iov, .msg_iovlen = h->size ? 2 : 1};

    if (n_fds) {
        struct cmsghdr *c;

        msg.msg_control = control.buf;
        msg.msg_controllen = CMSG_SPACE(n_fds * sizeof(int));
        c = CMSG_FIRSTHDR(&msg);
        c->cmsg_level = SOL_SOCKET;
        c->cmsg_type = SCM_RIGHTS;
        c->cmsg_len = CMSG_LEN(n_fds * sizeof(int));
        memcpy(CMSG_DATA(c), fds, n_fds * sizeof(int));
    }
    return sendmsg(fd, &msg, MSG_NOSIGNAL | MSG_DONTWAIT) < 0 ? -errno : 0;
}

static void reply(struct dv_simserver *s, struct dv_simclientconn *c, uint16_t op, const int *fds,
                  size_t n_fds)
{
    struct dv_sim_header h = {
        .magic = DV_SIM_MAGIC, .op = op, .status = s->reply.status, .size = s->reply.size};

    if (send_message(c->source.fd, &h, s->reply.data, fds, n_fds) < 0)
        dv_simclients_drop(s, c);
}

/* ---- held back ---- */

static void listen_to(struct dv_simserver *s, struct dv_simclientconn *c, bool on)
{
    struct epoll_event e = {.events = on ? EPOLLIN : 0, .data.ptr = &c->source};

    epoll_ctl(s->epoll, EPOLL_CTL_MOD, c->source.fd, &e);
}

static int hold(struct dv_simserver *s, struct dv_simclientconn *c, uint16_t op, int32_t status,
                const void *data, uint32_t size, uint64_t due_ns, bool again)
{
    struct dv_simheld *held = malloc(sizeof(*held) + size);

    if (!held)
        return -ENOMEM;
    held->header =
        (struct dv_sim_header){.magic = DV_SIM_MAGIC, .op = op, .status = status, .size = size};
    memcpy(held->data, data, size);
    c->held = held;
    c->due_ns = due_ns;
    c->again = again;
    listen_to(s, c, false);
    return 0;
}

/* ---- requests ---- */

static int hello(struct dv_simserver *s, struct dv_simclientconn *c, const void *data,
                 uint32_t size)
{
    const struct dv_sim_hello *h = data;
    struct dv_sim_welcome *w = (void *)s->reply.data;
    struct dv_simproc *p;
    int fds[2];
    int r = 0;

    if (size != sizeof(*h) || h->client < DV_SIM_CLIENT_CUDA || h->client > DV_SIM_CLIENT_MPS)
        return -EPROTO;
    *w = (struct dv_sim_welcome){.abi = DV_SIM_ABI,
                                 .gpus = dv_simview_nth(&c->base.view, s->node.n_gpus),
                                 .driver_cuda_version = s->node.cuda_version,
                                 .work_size = sizeof(struct dv_sim_work)};
    memcpy(w->driver_version, s->node.driver_version, sizeof(w->driver_version));
    s->reply.size = sizeof(*w);
    c->base.kind = (enum dv_sim_client)h->client;
    if (h->abi != DV_SIM_ABI)
        r = -EPROTONOSUPPORT;
    else if (c->base.view.limited && h->client != DV_SIM_CLIENT_CUDA &&
             h->client != DV_SIM_CLIENT_NVML)
        r = -EACCES; /* the node's own tools stay outside of containers */
    if (r == 0 && h->client == DV_SIM_CLIENT_CUDA) {
        r = dv_simprocesses_get(s, c->base.pid, c->base.uid, &p);
        if (r == 0)
            r = dv_simsessions_new(s, c, p, &c->session);
        if (r == 0) {
            fds[0] = c->session->work_fd;
            fds[1] = c->session->kick.fd;
        }
    }
    c->greeted = r == 0;
    s->reply.status = r;
    reply(s, c, DV_SIM_HELLO, fds, c->session ? 2 : 0);
    return 0;
}

static int show(struct dv_simserver *s, struct dv_simclientconn *c, uint32_t size, int fd)
{
    if (size)
        return -EPROTO;
    if (c->base.view.limited)
        dv_siminside_show(s, &c->base.view, fd);
    reply(s, c, DV_SIM_SHOW, NULL, 0);
    return 0;
}

/* What a client of a kind may ask. */
static bool allowed(const struct dv_simclientconn *c, uint16_t op)
{
    switch (c->base.kind) {
    case DV_SIM_CLIENT_CUDA:
        return op >= DV_SIM_OP_CUDA && op < DV_SIM_OP_NVML;
    case DV_SIM_CLIENT_NVML:
        return op >= DV_SIM_OP_NVML && op < DV_SIM_OP_CONTROL;
    case DV_SIM_CLIENT_CONTROL:
        return op >= DV_SIM_OP_CONTROL && op < DV_SIM_OP_MPS;
    case DV_SIM_CLIENT_MPS:
        return op >= DV_SIM_OP_MPS && op < DV_SIM_OP_MPS + 100;
    }
    return false;
}

static int answer(struct dv_simserver *s, struct dv_simclientconn *c, uint16_t op, int r,
                  const void *data, uint32_t size, int ret_fd)
{
    if (r < 0)
        return r;
    if (r == DV_SIM_AGAIN)
        return hold(s, c, op, 0, data, size, s->reply.again_ns, true);
    if (s->reply.delay_ns)
        return hold(s, c, op, s->reply.status, s->reply.data, s->reply.size,
                    s->reply.delay_ns == UINT64_MAX ? DV_NEVER : s->node.now_ns + s->reply.delay_ns,
                    false);
    reply(s, c, op, &ret_fd, ret_fd >= 0 ? 1 : 0);
    return 0;
}

static int ask(struct dv_simserver *s, struct dv_simclientconn *c, uint16_t op, const void *data,
               uint32_t size, int *fd)
{
    int ret_fd = -1;
    int r;

    s->reply.status = 0;
    s->reply.size = 0;
    s->reply.delay_ns = 0;
    s->reply.again_ns = DV_NEVER;
    if (!c->greeted)
        return op == DV_SIM_HELLO ? hello(s, c, data, size) : -EPROTO;
    if (op == DV_SIM_SHOW)
        return show(s, c, size, *fd);
    if (!allowed(c, op))
        return -EPROTO;
    if (c->base.kind == DV_SIM_CLIENT_NVML) {
        dv_simcards_refresh(s, s->node.now_ns);
        r = dv_simnvml_handle(&s->node, &c->base, op, data, size, &s->reply);
        dv_simcards_follow(s);
    } else {
        r = dv_simrequests_handle(s, c, op, data, size, fd, &ret_fd);
    }
    return answer(s, c, op, r, data, size, ret_fd);
}

/* Keeps the first descriptor, closes the others. */
static int take_fds(struct msghdr *msg)
{
    int first = -1;

    for (struct cmsghdr *c = CMSG_FIRSTHDR(msg); c; c = CMSG_NXTHDR(msg, c)) {
        int fds[FDS_MAX];
        size_t n;

        if (c->cmsg_level != SOL_SOCKET || c->cmsg_type != SCM_RIGHTS)
            continue;
        n = DV_MIN((c->cmsg_len - CMSG_LEN(0)) / sizeof(int), FDS_MAX);
        memcpy(fds, CMSG_DATA(c), n * sizeof(int));
        for (size_t i = 0; i < n; i++) {
            if (first < 0)
                first = fds[i];
            else
                close(fds[i]);
        }
    }
    return first;
}

static bool well_formed(const struct dv_simserver *s, ssize_t n, int flags)
{
    const struct dv_sim_header *h = (const void *)s->request;

    return n >= (ssize_t)sizeof(*h) && !(flags & (MSG_TRUNC | MSG_CTRUNC)) &&
           h->magic == DV_SIM_MAGIC && h->size <= DV_SIM_PAYLOAD_MAX &&
           (size_t)n == sizeof(*h) + h->size;
}

/* The last words of a process that was killed: a driver would not do them either. Whoever has seen
 * its end counts on it that nothing more comes of it. */
static bool is_posthumous(const struct dv_simclientconn *c)
{
    struct pollfd p = {.fd = c->source.fd};

    return c->base.kind == DV_SIM_CLIENT_CUDA && poll(&p, 1, 0) > 0 && p.revents & POLLHUP;
}

static void request(struct dv_simserver *s, struct dv_simclientconn *c)
{
    union {
        char buf[CMSG_SPACE(FDS_MAX * sizeof(int))];
        struct cmsghdr align;
    } control;
    const struct dv_sim_header *h = (const void *)s->request;
    struct iovec iov = {s->request, sizeof(s->request)};
    struct msghdr msg = {.msg_iov = &iov,
                         .msg_iovlen = 1,
                         .msg_control = control.buf,
                         .msg_controllen = sizeof(control.buf)};
    ssize_t n = recvmsg(c->source.fd, &msg, MSG_DONTWAIT | MSG_CMSG_CLOEXEC);
    int fd, r;

    if (n < 0 && (errno == EAGAIN || errno == EINTR))
        return;
    fd = n > 0 ? take_fds(&msg) : -1;
    if (n <= 0 || !well_formed(s, n, msg.msg_flags) || is_posthumous(c)) {
        r = -EPROTO;
    } else {
        c->base.request_ns = s->node.now_ns;
        r = ask(s, c, h->op, s->request + sizeof(*h), h->size, &fd);
    }
    if (fd >= 0)
        close(fd);
    if (r < 0)
        dv_simclients_drop(s, c);
}

static void ready(struct dv_simserver *s, struct dv_simsource *source, uint32_t events)
{
    struct dv_simclientconn *c = source->owner;

    if (events & EPOLLIN)
        request(s, c);
    else if (events & (EPOLLHUP | EPOLLERR))
        dv_simclients_drop(s, c);
}

/* ---- coming and going ---- */

void dv_simclients_accept(struct dv_simserver *s, struct dv_simsource *source, uint32_t events)
{
    int fd = accept4(source->fd, NULL, NULL, SOCK_CLOEXEC | SOCK_NONBLOCK);
    struct dv_simclientconn *c = NULL;
    struct ucred cred;
    socklen_t size = sizeof(cred);

    if (fd < 0)
        return;
    if (s->n_clients < DV_SIM_CLIENTS_MAX &&
        getsockopt(fd, SOL_SOCKET, SO_PEERCRED, &cred, &size) == 0)
        c = calloc(1, sizeof(*c));
    if (!c) {
        close(fd);
        return;
    }
    c->base.pid = cred.pid;
    c->base.uid = cred.uid;
    c->base.gid = cred.gid;
    c->base.view.limited = source == &s->limited;
    c->base.view.gone = &s->node.gone;
    c->source = (struct dv_simsource){.fd = fd, .ready = ready, .owner = c};
    if (dv_simserver_watch(s, &c->source, EPOLLIN) < 0) {
        close(fd);
        free(c);
        return;
    }
    c->next = s->clients;
    if (c->next)
        c->next->previous = c;
    s->clients = c;
    s->n_clients++;
}

/* With its last session a process has nothing left here. */
static void end_session(struct dv_simserver *s, struct dv_simsession *ss)
{
    struct dv_simpid *pid = ss->process->server;

    ss->client->session = NULL;
    ss->client = NULL;
    if (pid->sessions == ss && !ss->next)
        dv_simprocesses_end(s, ss->process);
    else
        dv_simsessions_end(s, ss);
}

void dv_simclients_drop(struct dv_simserver *s, struct dv_simclientconn *c)
{
    if (c->source.fd < 0)
        return;
    if (c->session) /* first: who sees the hang-up finds its page closed */
        end_session(s, c->session);
    dv_simserver_drop(s, &c->source);
    if (c->base.kind == DV_SIM_CLIENT_NVML)
        dv_simnvml_client_gone(&s->node, &c->base);
    if (c->previous)
        c->previous->next = c->next;
    else
        s->clients = c->next;
    if (c->next)
        c->next->previous = c->previous;
    s->n_clients--;
    c->next = s->graveyard;
    s->graveyard = c;
}

void dv_simclients_bury(struct dv_simserver *s)
{
    while (s->graveyard) {
        struct dv_simclientconn *c = s->graveyard;

        s->graveyard = c->next;
        free(c->held);
        free(c);
    }
}

static void release_held(struct dv_simserver *s, struct dv_simclientconn *c)
{
    struct dv_simheld *held = c->held;
    int fd = -1;

    c->held = NULL;
    listen_to(s, c, true);
    if (c->again) {
        if (ask(s, c, held->header.op, held->data, held->header.size, &fd) < 0)
            dv_simclients_drop(s, c);
    } else if (send_message(c->source.fd, &held->header, held->data, NULL, 0) < 0) {
        dv_simclients_drop(s, c);
    }
    free(held);
}

uint64_t dv_simclients_due(struct dv_simserver *s, uint64_t now)
{
    bool xid = s->node.xid_head != s->xid_served;
    uint64_t next = DV_NEVER;
    struct dv_simclientconn *following;

    s->xid_served = s->node.xid_head;
    for (struct dv_simclientconn *c = s->clients; c; c = following) {
        following = c->next;
        if (c->held && (c->due_ns <= now || (c->again && xid)))
            release_held(s, c);
    }
    for (struct dv_simclientconn *c = s->clients; c; c = c->next) {
        if (c->held)
            next = DV_MIN(next, c->due_ns);
    }
    return next;
}
