/* SPDX-License-Identifier: Apache-2.0 */
#include "engine/engine.h"
#include "server/state.h"

#include <errno.h>
#include <fcntl.h>
#include <linux/memfd.h>
#include <stdlib.h>
#include <sys/eventfd.h>
#include <sys/mman.h>
#include <unistd.h>

/* What there is to do is found in the ring: the loop looks there after each batch of events. The
 * source is edge-triggered, so that a kick costs no read. */
static void kicked(struct dv_simserver *s, struct dv_simsource *source, uint32_t events)
{
}

/* The page cannot shrink under the server (SIGBUS) nor grow: sealed before anyone else has it. */
static int make_work(struct dv_simsession *ss)
{
    struct dv_sim_work *w;
    int fd = memfd_create("divvy-sim-work", MFD_CLOEXEC | MFD_ALLOW_SEALING);

    if (fd < 0)
        return -errno;
    ss->work_fd = fd;
    if (ftruncate(fd, sizeof(*w)) < 0 ||
        fcntl(fd, F_ADD_SEALS, F_SEAL_SHRINK | F_SEAL_GROW | F_SEAL_SEAL) < 0)
        return -errno;
    w = mmap(NULL, sizeof(*w), PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
    if (w == MAP_FAILED)
        return -errno;
    w->magic = DV_SIM_MAGIC;
    w->abi = DV_SIM_ABI;
    w->server_sleeps = 1;
    ss->work = w;
    return 0;
}

static int find_slot(const struct dv_simserver *s, uint32_t *ret)
{
    for (uint32_t i = 0; i < DV_SIM_SESSIONS_MAX; i++) {
        if (!s->session[i]) {
            *ret = i;
            return 0;
        }
    }
    return -ENOSPC;
}

static void release(struct dv_simsession *ss)
{
    for (uint32_t i = 0; i < DV_SIM_STREAMS_MAX; i++)
        free(ss->stream[i].pending);
    if (ss->work)
        munmap(ss->work, sizeof(*ss->work));
    if (ss->work_fd >= 0)
        close(ss->work_fd);
    if (ss->event)
        munmap(ss->event, DV_SIM_EVENTS_MAX * sizeof(*ss->event));
    free(ss);
}

static int make(struct dv_simserver *s, struct dv_simsession *ss)
{
    size_t events = DV_SIM_EVENTS_MAX * sizeof(*ss->event);
    int r;

    ss->event = mmap(NULL, events, PROT_READ | PROT_WRITE,
                     MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
    if (ss->event == MAP_FAILED) {
        ss->event = NULL;
        return -ENOMEM;
    }
    r = make_work(ss);
    if (r < 0)
        return r;
    ss->kick = (struct dv_simsource){
        .fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK), .ready = kicked, .owner = ss};
    if (ss->kick.fd < 0)
        return -errno;
    return dv_simserver_watch(s, &ss->kick, EPOLLIN | EPOLLET);
}

int dv_simsessions_new(struct dv_simserver *s, struct dv_simclientconn *c, struct dv_simproc *p,
                       struct dv_simsession **ret)
{
    struct dv_simpid *pid = p->server;
    struct dv_simsession *ss;
    uint32_t slot;
    int r = find_slot(s, &slot);

    if (r < 0)
        return r;
    ss = calloc(1, sizeof(*ss));
    if (!ss)
        return -ENOMEM;
    ss->work_fd = -1;
    ss->kick.fd = -1;
    r = make(s, ss);
    if (r < 0) {
        dv_simserver_drop(s, &ss->kick);
        release(ss);
        return r;
    }
    ss->slot = slot;
    ss->serial = ++s->serial;
    ss->process = p;
    ss->client = c;
    ss->streams_end = 1;
    ss->next = pid->sessions;
    pid->sessions = ss;
    s->session[slot] = ss;
    s->sessions_end = DV_MAX(s->sessions_end, slot + 1);
    *ret = ss;
    return 0;
}

static void unlink_session(struct dv_simserver *s, struct dv_simsession *ss)
{
    struct dv_simpid *pid = ss->process->server;

    for (struct dv_simsession **at = &pid->sessions; *at; at = &(*at)->next) {
        if (*at == ss) {
            *at = ss->next;
            break;
        }
    }
    s->session[ss->slot] = NULL;
    while (s->sessions_end && !s->session[s->sessions_end - 1])
        s->sessions_end--;
}

void dv_simsessions_end(struct dv_simserver *s, struct dv_simsession *ss)
{
    struct dv_simproc *p = ss->process;

    /* Before its streams go, which counts as complete: nobody is to take that for success. */
    __atomic_store_n(&ss->work->closed, 1, __ATOMIC_SEQ_CST);
    for (uint32_t i = 0; i < DV_SIM_CONTEXTS_MAX; i++) {
        if (p->ctx[i].used && p->ctx[i].session == ss)
            dv_simprocesses_ctx_remove(s, p, i);
    }
    for (uint32_t i = 1; i < DV_SIM_STREAMS_MAX; i++)
        __atomic_add_fetch(&ss->work->streams[i].wake, 1, __ATOMIC_SEQ_CST);
    dv_simwork_wake(&ss->work->tail_wake);
    unlink_session(s, ss);
    dv_simserver_drop(s, &ss->kick);
    if (ss->client)
        ss->client->session = NULL;
    ss->client = NULL;
    ss->next = s->session_graveyard;
    s->session_graveyard = ss;
}

void dv_simsessions_bury(struct dv_simserver *s)
{
    while (s->session_graveyard) {
        struct dv_simsession *ss = s->session_graveyard;

        s->session_graveyard = ss->next;
        release(ss);
    }
}

/* ---- streams ---- */

uint32_t dv_simsessions_stream_add(struct dv_simserver *s, struct dv_simsession *ss, uint32_t ctx,
                                   uint32_t *ret_stream)
{
    const struct dv_simctx *c = &ss->process->ctx[ctx];
    uint32_t index = 1;
    struct dv_simstream *st;
    struct dv_simpending *kept;
    uint32_t capacity;

    while (index < DV_SIM_STREAMS_MAX && ss->stream[index].used)
        index++;
    if (index == DV_SIM_STREAMS_MAX)
        return DV_SIMCU_OUT_OF_MEMORY;
    st = &ss->stream[index];
    kept = st->pending;
    capacity = st->capacity;
    *st = (struct dv_simstream){.ctx = ctx, .gpu = c->gpu, .pending = kept, .capacity = capacity};
    if (dv_engine_stream_add(s->node.gpu[c->gpu].engine, c->engine_context, &st->engine_stream) < 0)
        return DV_SIMCU_OUT_OF_MEMORY;
    st->used = true;
    /* An index is used again: its counters start anew before the process knows of it. */
    ss->work->streams[index].error = 0;
    ss->work->streams[index].awaited = 0;
    ss->work->streams[index].done_ns = 0;
    __atomic_store_n(&ss->work->streams[index].done, 0, __ATOMIC_RELEASE);
    ss->streams_end = DV_MAX(ss->streams_end, index + 1);
    *ret_stream = index;
    return DV_SIMCU_OK;
}

void dv_simsessions_stream_end(struct dv_simserver *s, struct dv_simsession *ss, uint32_t stream,
                               uint32_t error)
{
    struct dv_simstream *st = &ss->stream[stream];
    struct dv_sim_stream_state *out = &ss->work->streams[stream];

    dv_simwork_stream_gone(s, st->gpu, st->engine_stream);
    ss->pending -= (uint32_t)(st->last - st->done);
    st->done = st->last;
    st->used = error != 0; /* after a fault its process may still name it */
    __atomic_store_n(&out->error, error, __ATOMIC_RELAXED);
    __atomic_store_n(&out->done, st->done, __ATOMIC_RELEASE);
    dv_simwork_wake(&out->wake);
    while (ss->streams_end > 1 && !ss->stream[ss->streams_end - 1].used)
        ss->streams_end--;
}

uint32_t dv_simsessions_stream_close(struct dv_simserver *s, struct dv_simsession *ss,
                                     uint32_t stream)
{
    struct dv_simstream *st = stream < DV_SIM_STREAMS_MAX ? &ss->stream[stream] : NULL;

    if (!st || !st->used || st->closing || ss->process->ctx[st->ctx].stream == stream)
        return DV_SIMCU_INVALID_HANDLE;
    dv_engine_stream_remove(s->node.gpu[st->gpu].engine, st->engine_stream);
    st->closing = true;
    if (st->done == st->last)
        dv_simsessions_stream_end(s, ss, stream, 0);
    return DV_SIMCU_OK;
}
