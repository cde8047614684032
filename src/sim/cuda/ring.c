/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The work page: commands to the server, and sleeping until they are done.
 *
 * The legacy stream's rule (it waits for all blocking streams of its context, and they wait for
 * it) is made of records and waits on private events of the streams, written only where something
 * is outstanding.
 */
#include "driver.h"

#include <linux/futex.h>
#include <sys/syscall.h>
#include <time.h>
#include <unistd.h>

#define RECHECK_NS (20 * 1000 * 1000)
#define EVENT_POLL_NS (1000 * 1000)
#define STALE_NS (50 * 1000) /* a query asks the server to look again after this */
#define STREAM_DEPTH 1024

static uint64_t now_ns(void)
{
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return (uint64_t)t.tv_sec * 1000000000u + (uint64_t)t.tv_nsec;
}

static void kick(void)
{
    uint64_t one = 1;
    ssize_t ignored = write(P.kick, &one, sizeof(one));
    (void)ignored;
}

/* The work page is shared between processes: no FUTEX_PRIVATE. */
static void sleep_on(uint32_t *word, uint32_t seen)
{
    struct timespec t = {.tv_nsec = RECHECK_NS};
    syscall(SYS_futex, word, FUTEX_WAIT, seen, &t, NULL, 0);
}

/* ---- writing -------------------------------------------------------------------------------- */

static bool has_room(void)
{
    return P.head - __atomic_load_n(&P.work->tail, __ATOMIC_ACQUIRE) < DV_SIM_RING_COMMANDS;
}

static int wait_for_room(void)
{
    struct dv_sim_work *w = P.work;
    while (!has_room()) {
        uint32_t seen = __atomic_load_n(&w->tail_wake, __ATOMIC_ACQUIRE);
        __atomic_store_n(&w->room_awaited, 1, __ATOMIC_SEQ_CST);
        kick();
        if (has_room())
            break;
        sleep_on(&w->tail_wake, seen);
        if (!dv_cuprocess_alive())
            return DV_CUDA_ERROR_DEVICE_UNAVAILABLE;
    }
    __atomic_store_n(&w->room_awaited, 0, __ATOMIC_RELAXED);
    return 0;
}

/* Writes one command; it is the server's with publish(). */
static int put(struct dv_cuda_stream *stream, uint32_t op, uint64_t a, uint64_t b, uint64_t now)
{
    if (!DV_CU_LIKELY(has_room())) {
        __atomic_store_n(&P.work->head, P.head, __ATOMIC_SEQ_CST);
        DV_CU_TRY(wait_for_room());
    }
    struct dv_sim_command *c = &P.work->ring[P.head & (DV_SIM_RING_COMMANDS - 1)];
    c->submit_ns = now;
    c->op = op;
    c->stream = stream->index;
    c->number = stream->submitted + 1;
    __atomic_store_n(&stream->submitted, c->number, __ATOMIC_RELAXED); /* hold_back looks */
    c->a = a;
    c->b = b;
    P.head++;
    return 0;
}

static void publish(void)
{
    __atomic_store_n(&P.work->head, P.head, __ATOMIC_SEQ_CST);
    if (__atomic_load_n(&P.work->server_sleeps, __ATOMIC_SEQ_CST))
        kick();
}

static bool complete(const struct dv_cuda_stream *stream, uint64_t number)
{
    return __atomic_load_n(&P.work->streams[stream->index].done, __ATOMIC_ACQUIRE) >= number;
}

/* `stream` waits for all that `other` has now. */
static int follow(struct dv_cuda_stream *stream, struct dv_cuda_stream *other, uint64_t now)
{
    if (complete(other, other->submitted))
        return 0;
    if (!other->event && !(other->event = dv_curing_event_new()))
        return DV_CUDA_ERROR_OUT_OF_MEMORY;
    if (other->event_number != other->submitted) {
        uint64_t generation = dv_curing_generation(other->event);
        DV_CU_TRY(put(other, DV_SIM_CMD_RECORD, other->event, generation, now));
        other->event_generation = generation;
        other->event_number = other->submitted;
    }
    return put(stream, DV_SIM_CMD_WAIT, other->event, other->event_generation, now);
}

static int order_legacy(struct dv_cuda_stream *legacy, uint64_t now)
{
    for (struct dv_cuda_stream *s = legacy->ctx->streams; s; s = s->next) {
        if (s == legacy || !s->blocking || s->merged == s->submitted)
            continue;
        DV_CU_TRY(follow(legacy, s, now));
        s->merged = s->submitted;
    }
    return 0;
}

static int order(struct dv_cuda_stream *stream, uint64_t now)
{
    if (stream->kind == DV_CU_STREAM_LEGACY)
        return order_legacy(stream, now);
    struct dv_cuda_stream *legacy = stream->ctx->legacy;
    if (!stream->blocking || !legacy || stream->seen_legacy == legacy->submitted)
        return 0;
    DV_CU_TRY(follow(stream, legacy, now));
    stream->seen_legacy = legacy->submitted;
    return 0;
}

/* A stream holds so much at most, as a driver's queue does; then its caller sleeps until half of
 * it is done. */
static int hold_back(struct dv_cuda_stream *stream)
{
    uint64_t have = __atomic_load_n(&stream->submitted, __ATOMIC_RELAXED);
    if (DV_CU_LIKELY(have < STREAM_DEPTH || complete(stream, have - STREAM_DEPTH)))
        return 0;
    return dv_curing_wait(stream, have - STREAM_DEPTH / 2);
}

int dv_curing_submit(struct dv_cuda_stream *stream, uint32_t op, uint64_t a, uint64_t b,
                     uint64_t *ret_number)
{
    DV_CU_TRY(hold_back(stream));
    pthread_mutex_lock(&P.ring);
    uint64_t now = now_ns();
    int r = order(stream, now);
    if (r == 0)
        r = put(stream, op, a, b, now);
    if (r == 0 && ret_number)
        *ret_number = stream->submitted;
    publish();
    pthread_mutex_unlock(&P.ring);
    return r;
}

int dv_curing_record(struct dv_cuda_stream *stream, uint32_t event, uint64_t *ret_generation,
                     uint64_t *ret_number)
{
    DV_CU_TRY(hold_back(stream));
    pthread_mutex_lock(&P.ring);
    uint64_t now = now_ns();
    int r = order(stream, now);
    uint64_t generation = dv_curing_generation(event);
    if (r == 0)
        r = put(stream, DV_SIM_CMD_RECORD, event, generation, now);
    if (r == 0) {
        *ret_generation = generation;
        *ret_number = stream->submitted;
    }
    publish();
    pthread_mutex_unlock(&P.ring);
    return r;
}

bool dv_curing_recorded(uint32_t event, uint64_t generation)
{
    return __atomic_load_n(&P.work->events[event].generation, __ATOMIC_ACQUIRE) >= generation;
}

/* ---- waiting -------------------------------------------------------------------------------- */

static void set_awaited(struct dv_cuda_stream *stream)
{
    uint64_t lowest = 0;
    for (struct dv_cuwaiter *w = stream->waiters; w; w = w->next)
        if (!lowest || w->number < lowest)
            lowest = w->number;
    __atomic_store_n(&P.work->streams[stream->index].awaited, lowest, __ATOMIC_SEQ_CST);
}

static void add_waiter(struct dv_cuda_stream *stream, struct dv_cuwaiter *waiter)
{
    pthread_mutex_lock(&P.ring);
    waiter->next = stream->waiters;
    stream->waiters = waiter;
    set_awaited(stream);
    pthread_mutex_unlock(&P.ring);
}

static void remove_waiter(struct dv_cuda_stream *stream, struct dv_cuwaiter *waiter)
{
    pthread_mutex_lock(&P.ring);
    for (struct dv_cuwaiter **w = &stream->waiters; *w; w = &(*w)->next)
        if (*w == waiter) {
            *w = waiter->next;
            break;
        }
    set_awaited(stream);
    pthread_mutex_unlock(&P.ring);
}

/* What is wrong with a stream whose commands are complete: a server that ends, or drops this
 * process, completes all streams after it has closed the page. */
static int error_of(const struct dv_cuda_stream *stream)
{
    if (__atomic_load_n(&P.work->closed, __ATOMIC_ACQUIRE)) {
        dv_cuprocess_lost();
        return DV_CUDA_ERROR_DEVICE_UNAVAILABLE;
    }
    return (int)__atomic_load_n(&P.work->streams[stream->index].error, __ATOMIC_ACQUIRE);
}

static uint64_t submitted(struct dv_cuda_stream *stream)
{
    pthread_mutex_lock(&P.ring);
    uint64_t n = stream->submitted;
    pthread_mutex_unlock(&P.ring);
    return n;
}

int dv_curing_wait(struct dv_cuda_stream *stream, uint64_t number)
{
    if (number == DV_CU_ALL)
        number = submitted(stream);
    if (complete(stream, number))
        return error_of(stream);
    struct dv_sim_stream_state *state = &P.work->streams[stream->index];
    struct dv_cuwaiter waiter = {.number = number};
    add_waiter(stream, &waiter);
    kick();
    int r = 0;
    for (;;) {
        uint32_t seen = __atomic_load_n(&state->wake, __ATOMIC_ACQUIRE);
        bool is = complete(stream, number); /* first: see error_of */
        r = error_of(stream);
        if (r || is)
            break;
        sleep_on(&state->wake, seen);
        if (!complete(stream, number) && !dv_cuprocess_alive()) {
            r = DV_CUDA_ERROR_DEVICE_UNAVAILABLE;
            break;
        }
    }
    remove_waiter(stream, &waiter);
    return r;
}

int dv_curing_query(struct dv_cuda_stream *stream, uint64_t number)
{
    if (number == DV_CU_ALL)
        number = submitted(stream);
    bool is = complete(stream, number); /* first: see error_of */
    int r = error_of(stream);
    if (r || is)
        return r;
    if (now_ns() - __atomic_load_n(&P.work->advanced_ns, __ATOMIC_ACQUIRE) > STALE_NS)
        kick();
    return DV_CUDA_ERROR_NOT_READY;
}

int dv_curing_wait_event(uint32_t event, uint64_t generation)
{
    const struct timespec pause = {.tv_nsec = EVENT_POLL_NS};
    while (!dv_curing_recorded(event, generation)) {
        kick();
        nanosleep(&pause, NULL);
        if (!dv_cuprocess_alive())
            return DV_CUDA_ERROR_DEVICE_UNAVAILABLE;
    }
    return 0;
}

/* ---- events of the page --------------------------------------------------------------------- */

static uint64_t generations[DV_SIM_EVENTS_MAX];
static uint32_t free_events[DV_SIM_EVENTS_MAX];

/* Under the ring's lock, as is freeing: both are called with it held or take it. */
uint32_t dv_curing_event_new(void)
{
    if (P.events_free)
        return free_events[--P.events_free];
    if (P.event_next + 1 >= DV_SIM_EVENTS_MAX)
        return 0;
    return ++P.event_next;
}

void dv_curing_event_free(uint32_t event)
{
    if (event)
        free_events[P.events_free++] = event;
}

uint64_t dv_curing_generation(uint32_t event)
{
    return ++generations[event];
}
