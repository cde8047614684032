/* SPDX-License-Identifier: Apache-2.0 */
#include "worker/link.h"

#include "sys/fd.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#define QUEUE_MAX 256u
#define BACKOFF_FIRST_MS 1000u
#define BACKOFF_MAX_MS 60000u

struct question {
    struct dv_worker_request request;
    dv_hardware_link_reply *cb;
    void *arg;
};

struct dv_hardware_link {
    struct dv_loop *loop;
    const struct dv_keeper *keeper;
    struct dv_loop_source *keeper_watch, *worker_watch, *timer;
    dv_loop_callback *on_state;
    void *arg;
    int sock; /* the worker's, or -1 */
    enum dv_hardware_link_state state;
    uint32_t deadline_ms, backoff_ms, replaced;
    uint64_t seq;
    bool asked;  /* the first in the queue has been sent, */
    bool unsent; /* or was to be, and could not */
    bool asking; /* a worker was asked for */
    uint32_t first, count;
    struct question queue[QUEUE_MAX];
    struct dv_worker_reply reply;
};

static void send_next(struct dv_hardware_link *l);

static void set_state(struct dv_hardware_link *l, enum dv_hardware_link_state state)
{
    if (l->state == state || l->state == DV_HARDWARE_LINK_ALONE)
        return;
    l->state = state;
    l->on_state(l->arg);
}

static void answer_first(struct dv_hardware_link *l, const struct dv_worker_reply *reply, int error)
{
    struct question q = l->queue[l->first];
    /* An empty queue begins at its start again, so that one that is short touches little memory. */
    l->count--;
    l->first = l->count ? (l->first + 1) % QUEUE_MAX : 0;
    l->asked = false;
    q.cb(q.arg, reply, error);
}

/* Nobody will answer what waits: say so now. What the callbacks ask anew waits for the next
 * worker. */
static void fail_all(struct dv_hardware_link *l, int error)
{
    for (uint32_t n = l->count; n; n--)
        answer_first(l, NULL, error);
}

static void give_up_worker(struct dv_hardware_link *l, enum dv_hardware_link_state state, int error)
{
    dv_loop_remove(l->worker_watch);
    l->worker_watch = NULL;
    dv_fd_close(&l->sock);
    l->unsent = false;
    l->replaced++;
    dv_loop_timer_set(l->timer, l->backoff_ms, 0);
    l->backoff_ms = DV_MIN(l->backoff_ms * 2, BACKOFF_MAX_MS);
    set_state(l, state);
    fail_all(l, error);
}

static void on_worker(void *arg)
{
    struct dv_hardware_link *l = arg;
    ssize_t n = dv_fd_receive(l->sock, &l->reply, sizeof l->reply, NULL, NULL);
    if (n == -EAGAIN)
        return;
    if (n < (ssize_t)offsetof(struct dv_worker_reply, u) || l->reply.magic != DV_WORKER_MAGIC) {
        give_up_worker(l, DV_HARDWARE_LINK_CRASHED, -EPIPE);
        return;
    }
    if (!l->asked || l->reply.seq != l->queue[l->first].request.seq)
        return;
    dv_loop_timer_set(l->timer, UINT32_MAX, 0);
    l->backoff_ms = BACKOFF_FIRST_MS;
    l->reply.message[sizeof l->reply.message - 1] = 0;
    set_state(l, DV_HARDWARE_LINK_OK);
    answer_first(l, &l->reply, 0);
    send_next(l);
}

static void ask_keeper(struct dv_hardware_link *l)
{
    l->asking = dv_keeper_ask(l->keeper) == 0;
    if (!l->asking)
        dv_loop_timer_set(l->timer, l->backoff_ms, 0);
}

/* The deadline of the question under way, or the end of the pause before the next worker. */
static void on_timer(void *arg)
{
    struct dv_hardware_link *l = arg;
    if (l->unsent)
        give_up_worker(l, DV_HARDWARE_LINK_CRASHED, -EPIPE);
    else if (l->asked)
        give_up_worker(l, DV_HARDWARE_LINK_WEDGED, -ETIMEDOUT);
    else if (l->sock < 0 && !l->asking)
        ask_keeper(l);
}

static void on_keeper(void *arg)
{
    struct dv_hardware_link *l = arg;
    int fd = dv_keeper_take(l->keeper);
    if (fd == -EPIPE) { /* without a keeper there is no hardware any more; main lives on */
        dv_loop_remove(l->keeper_watch);
        l->keeper_watch = NULL;
        set_state(l, DV_HARDWARE_LINK_ALONE);
        return;
    }
    l->asking = false;
    if (fd < 0) {
        dv_loop_timer_set(l->timer, l->backoff_ms, 0);
        return;
    }
    dv_fd_close(&l->sock);
    l->sock = fd;
    dv_fd_set_nonblocking(fd, true);
    if (dv_loop_watch(l->loop, fd, on_worker, l, &l->worker_watch) < 0) {
        dv_fd_close(&l->sock);
        dv_loop_timer_set(l->timer, l->backoff_ms, 0);
        return;
    }
    send_next(l);
}

/* Who asks is never answered before dv_hardware_link_ask() has returned: that the worker is gone is
 * told by the loop. */
static void send_next(struct dv_hardware_link *l)
{
    if (l->sock < 0 || l->asked || !l->count)
        return;
    l->asked = true;
    int r =
        dv_fd_send(l->sock, &l->queue[l->first].request, sizeof(struct dv_worker_request), NULL, 0);
    l->unsent = r < 0;
    dv_loop_timer_set(l->timer,
                      r < 0 ? 0
                            : dv_worker_deadline_ms(
                                  (enum dv_worker_op)l->queue[l->first].request.op, l->deadline_ms),
                      0);
}

int dv_hardware_link_ask(struct dv_hardware_link *l, const struct dv_worker_request *request,
                         dv_hardware_link_reply *cb, void *arg)
{
    if (l->count == QUEUE_MAX)
        return -ENOBUFS;
    struct question *q = &l->queue[(l->first + l->count) % QUEUE_MAX];
    *q = (struct question){*request, cb, arg};
    q->request.magic = DV_WORKER_MAGIC;
    q->request.seq = ++l->seq;
    l->count++;
    send_next(l);
    return 0;
}

int dv_hardware_link_new(struct dv_loop *loop, const struct dv_keeper *keeper, uint32_t deadline_ms,
                         dv_loop_callback *on_state, void *arg, struct dv_hardware_link **ret)
{
    struct dv_hardware_link *l = calloc(1, sizeof *l);
    if (!l)
        return -ENOMEM;
    l->loop = loop;
    l->keeper = keeper;
    l->on_state = on_state;
    l->arg = arg;
    l->sock = -1;
    l->deadline_ms = deadline_ms;
    l->backoff_ms = BACKOFF_FIRST_MS;
    int r = dv_loop_timer(loop, UINT32_MAX, 0, on_timer, l, &l->timer);
    if (r == 0)
        r = dv_loop_watch(loop, keeper->sock, on_keeper, l, &l->keeper_watch);
    if (r < 0) {
        dv_hardware_link_free(l);
        return r;
    }
    ask_keeper(l);
    *ret = l;
    return 0;
}

void dv_hardware_link_free(struct dv_hardware_link *l)
{
    if (!l)
        return;
    dv_loop_remove(l->keeper_watch);
    dv_loop_remove(l->worker_watch);
    dv_loop_remove(l->timer);
    dv_fd_close(&l->sock);
    free(l);
}

enum dv_hardware_link_state dv_hardware_link_state(const struct dv_hardware_link *l)
{
    return l->state;
}

uint32_t dv_hardware_link_replaced(const struct dv_hardware_link *l)
{
    return l->replaced;
}
