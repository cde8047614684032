/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Rings and completions. Everything that is read from a work page may have been written by a
 * hostile process at any moment: it is copied once, checked, and then used. What does not make
 * sense ends that session and nothing else.
 */
#include "engine/engine.h"
#include "server/state.h"

#include <limits.h>
#include <linux/futex.h>
#include <stdlib.h>
#include <sys/syscall.h>
#include <unistd.h>

/* ---- tags: from a completion to its stream ---- */

static uint64_t tag_of(const struct dv_simsession *ss, uint32_t stream)
{
    return (uint64_t)ss->serial << 32 | (uint64_t)ss->slot << 16 | stream;
}

static struct dv_simsession *session_of(struct dv_simserver *s, uint64_t tag)
{
    struct dv_simsession *ss = s->session[(tag >> 16 & 0xffff) % DV_SIM_SESSIONS_MAX];
    return ss && ss->serial == tag >> 32 ? ss : NULL;
}

/* Not FUTEX_PRIVATE: the sleepers are in another process. */
void dv_simwork_wake(uint32_t *word)
{
    __atomic_add_fetch(word, 1, __ATOMIC_SEQ_CST);
    syscall(SYS_futex, word, FUTEX_WAKE, INT_MAX, NULL, NULL, 0);
}

/* ---- taking commands ---- */

static bool grow_pending(struct dv_simstream *st)
{
    uint32_t capacity = st->capacity ? 2 * st->capacity : 64;
    struct dv_simpending *p = malloc(capacity * sizeof(*p));

    if (!p)
        return false;
    for (uint64_t n = st->done + 1; n <= st->last; n++)
        p[n & (capacity - 1)] = st->pending[n & (st->capacity - 1)];
    free(st->pending);
    st->pending = p;
    st->capacity = capacity;
    return true;
}

static bool add_cross(struct dv_simserver *s, const struct dv_simcross *c)
{
    if (s->n_cross >= DV_SIM_CROSS_MAX)
        return false;
    if (s->n_cross == s->cross_capacity) {
        uint32_t capacity = s->cross_capacity ? 2 * s->cross_capacity : 16;
        struct dv_simcross *grown = realloc(s->cross, capacity * sizeof(*grown));

        if (!grown)
            return false;
        s->cross = grown;
        s->cross_capacity = capacity;
    }
    s->cross[s->n_cross++] = *c;
    return true;
}

static void kernel_op(struct dv_engine_op *op, uint64_t work_ns, uint64_t sms)
{
    op->kind = DV_ENGINE_KERNEL;
    op->work_ns = DV_MIN(work_ns, DV_ENGINE_WORK_MAX);
    op->sm_demand = (uint32_t)DV_MAX(1, DV_MIN(sms, DV_ENGINE_SM_MAX));
}

/*
 * A wait for an event: passes when that generation is complete; waits by ticket when it is recorded
 * on the same card; else (recorded on another card, or still to be recorded by some other stream of
 * the process) the server lets it go on.
 */
static void wait_op(const struct dv_simsession *ss, const struct dv_simstream *st,
                    const struct dv_sim_command *c, struct dv_engine_op *op)
{
    const struct dv_simevent *e = &ss->event[c->a];

    if (e->complete >= c->b)
        return;
    if (e->generation < c->b || e->gpu != st->gpu) {
        op->kind = DV_ENGINE_HOST;
        return;
    }
    op->kind = DV_ENGINE_WAIT;
    op->wait_stream = e->engine_stream;
    op->wait_ticket = e->ticket;
}

/* The engine's form of a command, and how long it takes at least. False: it makes no sense. */
static bool translate(struct dv_simserver *s, const struct dv_simsession *ss,
                      const struct dv_simstream *st, const struct dv_sim_command *c,
                      struct dv_engine_op *op, uint64_t *ret_least_ns)
{
    *op = (struct dv_engine_op){.kind = DV_ENGINE_MARK};
    *ret_least_ns = 0;
    switch (c->op) {
    case DV_SIM_CMD_KERNEL:
        kernel_op(op, c->a, c->b);
        *ret_least_ns = op->work_ns;
        return true;
    case DV_SIM_CMD_COPY:
        if (c->b == DV_SIM_COPY_FILL) {
            kernel_op(op, dv_simcards_fill_ns(s, st->gpu, c->a), DV_ENGINE_SM_MAX);
            *ret_least_ns = op->work_ns;
            return true;
        }
        if (c->b > DV_SIM_COPY_D2D)
            return false;
        op->kind = DV_ENGINE_COPY;
        op->direction = (enum dv_engine_direction)c->b;
        op->bytes = DV_MIN(c->a, UINT64_C(1) << 50);
        *ret_least_ns = dv_simcards_copy_ns(s, st->gpu, (uint32_t)c->b, op->bytes);
        return true;
    case DV_SIM_CMD_RECORD:
        return c->a && c->a < DV_SIM_EVENTS_MAX;
    case DV_SIM_CMD_WAIT:
        if (!c->a || c->a >= DV_SIM_EVENTS_MAX)
            return false;
        wait_op(ss, st, c, op);
        return true;
    case DV_SIM_CMD_MARK:
        return true;
    default:
        return false;
    }
}

static void submitted(struct dv_simsession *ss, struct dv_simstream *st,
                      const struct dv_sim_command *c, uint64_t start_ns, uint64_t least_ns,
                      uint64_t ticket)
{
    struct dv_simpending *p;

    st->last++;
    st->total_ns += least_ns;
    ss->pending++;
    p = &st->pending[st->last & (st->capacity - 1)];
    *p = (struct dv_simpending){.start_ns = start_ns, .total_ns = st->total_ns};
    if (c->op != DV_SIM_CMD_RECORD)
        return;
    p->event = (uint32_t)c->a;
    p->generation = c->b;
    ss->event[c->a].generation = c->b;
    ss->event[c->a].ticket = ticket;
    ss->event[c->a].engine_stream = st->engine_stream;
    ss->event[c->a].gpu = st->gpu;
}

/* A command for a context that has died: complete at once, the sticky error tells the rest. */
static void swallow(struct dv_simsession *ss, struct dv_simstream *st, uint32_t stream)
{
    st->last++;
    st->done = st->last;
    __atomic_store_n(&ss->work->streams[stream].done, st->done, __ATOMIC_RELEASE);
}

enum taken { TAKEN, TAKEN_FULL, TAKEN_BAD };

static enum taken take(struct dv_simserver *s, struct dv_simsession *ss,
                       const struct dv_sim_command *c, uint64_t now)
{
    struct dv_simstream *st = c->stream < DV_SIM_STREAMS_MAX ? &ss->stream[c->stream] : NULL;
    struct dv_engine_op op;
    uint64_t least_ns, ticket;
    uint64_t start_ns = DV_MIN(c->submit_ns, now);
    int r;

    if (st && (!st->used || st->closing))
        return TAKEN; /* a thread launched into what another one destroyed: it runs nowhere */
    if (!st || c->number != st->last + 1 || !translate(s, ss, st, c, &op, &least_ns))
        return TAKEN_BAD;
    if (ss->process->ctx[st->ctx].error) {
        swallow(ss, st, c->stream);
        return TAKEN;
    }
    if (st->last - st->done >= st->capacity && !grow_pending(st))
        return TAKEN_FULL;
    if (op.kind == DV_ENGINE_HOST && s->n_cross >= DV_SIM_CROSS_MAX)
        return TAKEN_FULL;
    r = dv_engine_submit(s->node.gpu[st->gpu].engine, st->engine_stream, &op, start_ns,
                         tag_of(ss, c->stream), &ticket);
    if (r < 0)
        return TAKEN_FULL;
    submitted(ss, st, c, start_ns, least_ns, ticket);
    if (op.kind == DV_ENGINE_HOST)
        add_cross(s, &(struct dv_simcross){.slot = ss->slot,
                                           .serial = ss->serial,
                                           .event = (uint32_t)c->a,
                                           .generation = c->b,
                                           .gpu = st->gpu,
                                           .engine_stream = st->engine_stream,
                                           .ticket = ticket});
    return TAKEN;
}

/* A stream that waits for a later command of the same ring must not keep it out. */
static uint32_t pending_limit(const struct dv_simserver *s)
{
    return s->n_cross ? DV_SIM_PENDING_CROSS_MAX : DV_SIM_PENDING_MAX;
}

static void take_all(struct dv_simserver *s, struct dv_simsession *ss, uint64_t now)
{
    uint32_t limit = pending_limit(s);
    uint64_t head = __atomic_load_n(&ss->work->head, __ATOMIC_ACQUIRE);
    uint64_t tail = ss->tail;

    ss->full = false;
    if (head - tail > DV_SIM_RING_COMMANDS) {
        ss->broken = true;
        return;
    }
    if (head != tail)
        ss->active_ns = now;
    while (tail != head && !ss->broken && !ss->full) {
        struct dv_sim_command c = ss->work->ring[tail & (DV_SIM_RING_COMMANDS - 1)];
        enum taken t = ss->pending < limit ? take(s, ss, &c, now) : TAKEN_FULL;

        ss->broken = t == TAKEN_BAD;
        ss->full = t == TAKEN_FULL;
        tail += t == TAKEN;
    }
    if (tail == ss->tail)
        return;
    ss->tail = tail;
    __atomic_store_n(&ss->work->tail, tail, __ATOMIC_SEQ_CST);
    if (__atomic_load_n(&ss->work->room_awaited, __ATOMIC_SEQ_CST))
        dv_simwork_wake(&ss->work->tail_wake);
}

/* ---- completions ---- */

/* Streams of other cards that wait for this record may go on. */
static void release_cross(struct dv_simserver *s, const struct dv_simsession *ss, uint32_t event,
                          uint64_t generation, uint64_t end_ns)
{
    for (uint32_t i = 0; i < s->n_cross;) {
        struct dv_simcross *c = &s->cross[i];

        if (c->serial != ss->serial || c->slot != ss->slot || c->event != event ||
            c->generation > generation) {
            i++;
            continue;
        }
        /* -ENOENT: the wait has not reached the head of its stream; it is tried again then. */
        if (dv_engine_host_done(s->node.gpu[c->gpu].engine, end_ns, c->engine_stream, c->ticket) <
            0) {
            i++;
            continue;
        }
        *c = s->cross[--s->n_cross];
    }
}

static void publish(struct dv_simserver *s, struct dv_simsession *ss, uint32_t index,
                    const struct dv_engine_completion *done)
{
    struct dv_simstream *st = &ss->stream[index];
    struct dv_sim_stream_state *out = &ss->work->streams[index];
    struct dv_simpending p = st->pending[(st->done + 1) & (st->capacity - 1)];

    st->done++;
    st->done_ns = done->end_ns;
    st->done_total_ns = p.total_ns;
    ss->pending--;
    if (p.event) {
        struct dv_sim_event_state *e = &ss->work->events[p.event];

        ss->event[p.event].complete = p.generation;
        __atomic_store_n(&e->done_ns, done->end_ns, __ATOMIC_RELAXED);
        __atomic_store_n(&e->generation, p.generation, __ATOMIC_RELEASE);
        if (s->n_cross)
            release_cross(s, ss, p.event, p.generation, done->end_ns);
    }
    __atomic_store_n(&out->done_ns, done->end_ns, __ATOMIC_RELAXED);
    __atomic_store_n(&out->done, st->done, __ATOMIC_RELEASE);
    if (st->closing && st->done == st->last)
        dv_simsessions_stream_end(s, ss, index, 0);
}

/* A wait for another card has come to the head of its stream: is that event complete already? */
static void host_ready(struct dv_simserver *s, struct dv_simsession *ss,
                       const struct dv_engine_completion *done, uint32_t gpu)
{
    for (uint32_t i = 0; i < s->n_cross; i++) {
        struct dv_simcross *c = &s->cross[i];

        if (c->gpu != gpu || c->engine_stream != done->stream || c->ticket != done->ticket)
            continue;
        if (ss->event[c->event].complete >= c->generation &&
            dv_engine_host_done(s->node.gpu[gpu].engine, 0, c->engine_stream, c->ticket) == 0)
            *c = s->cross[--s->n_cross];
        return;
    }
}

static void pop_all(struct dv_simserver *s, uint32_t gpu)
{
    struct dv_engine_completion done;

    while (dv_engine_pop(s->node.gpu[gpu].engine, &done)) {
        struct dv_simsession *ss = session_of(s, done.tag);
        uint32_t stream = done.tag & 0xffff;

        if (!ss || stream >= DV_SIM_STREAMS_MAX || !ss->stream[stream].used ||
            ss->stream[stream].engine_stream != done.stream || ss->stream[stream].gpu != gpu)
            continue;
        if (done.host_ready)
            host_ready(s, ss, &done, gpu);
        else if (ss->stream[stream].done < ss->stream[stream].last)
            publish(s, ss, stream, &done);
    }
}

static uint32_t earliest_engine(const struct dv_simserver *s, uint64_t *ret_ns)
{
    uint32_t best = 0;

    *ret_ns = DV_NEVER;
    for (uint32_t i = 0; i < s->node.n_gpus; i++) {
        uint64_t next = dv_engine_next(s->node.gpu[i].engine);

        if (next < *ret_ns) {
            *ret_ns = next;
            best = i;
        }
    }
    return best;
}

/* Cards that wait for each other must go through time in step; others need not. */
static void advance(struct dv_simserver *s, uint64_t now)
{
    uint64_t next;

    while (s->n_cross) {
        uint32_t gpu = earliest_engine(s, &next);

        if (next > now)
            break;
        dv_engine_advance(s->node.gpu[gpu].engine, next);
        pop_all(s, gpu);
    }
    for (uint32_t i = 0; i < s->node.n_gpus; i++) {
        dv_engine_advance(s->node.gpu[i].engine, now);
        pop_all(s, i);
    }
}

void dv_simwork_stream_gone(struct dv_simserver *s, uint32_t gpu, uint32_t engine_stream)
{
    for (uint32_t i = 0; i < s->n_cross;) {
        if (s->cross[i].gpu == gpu && s->cross[i].engine_stream == engine_stream)
            s->cross[i] = s->cross[--s->n_cross];
        else
            i++;
    }
}

/* ---- waking ---- */

/* No earlier than this can command `number` of the stream be complete. */
static uint64_t earliest_completion(const struct dv_simstream *st, uint64_t number)
{
    const struct dv_simpending *head, *target;

    if (number > st->last)
        return DV_NEVER; /* its command is not here yet: it comes with a kick */
    head = &st->pending[(st->done + 1) & (st->capacity - 1)];
    target = &st->pending[number & (st->capacity - 1)];
    return DV_MAX(st->done_ns, head->start_ns) + (target->total_ns - st->done_total_ns);
}

/* Wakes those whose command is complete; returns when the next awaited one may be. */
static uint64_t wake_stream(struct dv_simserver *s, struct dv_simsession *ss, uint32_t index,
                            uint64_t now)
{
    struct dv_simstream *st = &ss->stream[index];
    struct dv_sim_stream_state *out = &ss->work->streams[index];
    uint64_t awaited = __atomic_load_n(&out->awaited, __ATOMIC_SEQ_CST);
    uint64_t least;

    if (!awaited)
        return DV_NEVER;
    if (awaited <= st->done) {
        __atomic_compare_exchange_n(&out->awaited, &awaited, 0, false, __ATOMIC_SEQ_CST,
                                    __ATOMIC_SEQ_CST);
        dv_simwork_wake(&out->wake);
        return DV_NEVER;
    }
    if (st->last == st->done)
        return DV_NEVER;
    least = earliest_completion(st, awaited);
    if (least == DV_NEVER)
        return DV_NEVER;
    /* Others have the card: whatever ends next may let it end, but not each 5 us kernel. */
    if (least <= now) {
        uint64_t event = dv_engine_next(s->node.gpu[st->gpu].engine);

        least = DV_MAX(event, now + DV_SIM_NEAR_NS);
    }
    return least;
}

static uint64_t wake_session(struct dv_simserver *s, struct dv_simsession *ss, uint64_t now)
{
    uint64_t next = DV_NEVER;

    for (uint32_t i = 1; i < ss->streams_end; i++) {
        uint64_t at = ss->stream[i].used ? wake_stream(s, ss, i, now) : DV_NEVER;

        next = DV_MIN(next, at);
    }
    __atomic_store_n(&ss->work->advanced_ns, now, __ATOMIC_RELEASE);
    if (ss->full)
        next = DV_MIN(next, now + DV_SIM_POLL_NS);
    return next;
}

/* A ring in use is looked at every millisecond, so that its process need not call; else it is
 * asked to. */
static uint64_t watch_session(struct dv_simsession *ss, uint64_t now)
{
    uint32_t sleeps = ss->active_ns + DV_SIM_LINGER_NS <= now;

    if (ss->work->server_sleeps != sleeps)
        __atomic_store_n(&ss->work->server_sleeps, sleeps, __ATOMIC_SEQ_CST);
    if (!sleeps)
        return now + DV_SIM_POLL_NS;
    /* A command that came between the last look and the word above has no kick. */
    __atomic_thread_fence(__ATOMIC_SEQ_CST);
    return __atomic_load_n(&ss->work->head, __ATOMIC_SEQ_CST) == ss->tail || ss->full ? DV_NEVER
                                                                                      : now;
}

bool dv_simwork_take(struct dv_simserver *s, struct dv_simsession *ss)
{
    take_all(s, ss, s->node.now_ns);
    return !ss->full;
}

uint64_t dv_simwork_pump(struct dv_simserver *s, uint64_t now)
{
    uint64_t next = DV_NEVER;

    for (uint32_t i = 0; i < s->sessions_end; i++) {
        if (s->session[i])
            take_all(s, s->session[i], now);
    }
    advance(s, now);
    for (uint32_t i = 0; i < s->sessions_end; i++) {
        struct dv_simsession *ss = s->session[i];
        uint64_t awaited, polled;

        if (!ss)
            continue;
        if (ss->full)
            take_all(s, ss, now); /* the engine has room again */
        if (ss->broken) {
            dv_simclients_drop(s, ss->client);
            continue;
        }
        awaited = wake_session(s, ss, now);
        polled = watch_session(ss, now);
        next = DV_MIN(next, DV_MIN(awaited, polled));
    }
    return next;
}
