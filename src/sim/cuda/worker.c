/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What the host does in the middle of a stream: host functions, waits for a value in memory, and
 * copies that come behind them.
 *
 * A gate is a MARK (all before it is complete) and a WAIT for a generation of an event that nobody
 * has recorded. When the mark is reached, one thread of the process runs the gate's function and
 * then records the event on a helper stream of the context: the stream goes on.
 */
#include "driver.h"

#include <signal.h>
#include <time.h>

#define POLL_NS (300 * 1000)

struct gate {
    struct gate *next;
    struct dv_cugate what;
    struct dv_cuda_stream *stream, *helper;
    uint64_t stream_id, number, generation;
    uint32_t event;
    bool broken;
};

static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;
static pthread_cond_t more = PTHREAD_COND_INITIALIZER;
static struct gate *gates, **gates_end = &gates;
static bool running;

/* The stream is gone, with its context or alone: nobody waits for this gate any more. */
static bool orphaned(const struct gate *g)
{
    return !dv_cuobject_is(g->stream, DV_CU_STREAM) || g->stream->id != g->stream_id;
}

static bool reached(struct gate *g)
{
    if (orphaned(g))
        return true;
    int r = dv_curing_query(g->stream, g->number);
    g->broken = r && r != DV_CUDA_ERROR_NOT_READY;
    if (g->broken)
        return true;
    return r == 0 && (!g->what.ready || g->what.ready(g->what.arg));
}

static void finish(struct gate *g)
{
    if (orphaned(g) || g->broken) {
        free(g->what.arg);
    } else {
        g->what.run(g->what.arg);
        if (!orphaned(g))
            dv_curing_submit(g->helper, DV_SIM_CMD_RECORD, g->event, g->generation, NULL);
    }
    pthread_mutex_lock(&P.ring);
    dv_curing_event_free(g->event);
    pthread_mutex_unlock(&P.ring);
    __atomic_sub_fetch(&P.gates, 1, __ATOMIC_RELEASE);
    free(g);
}

/* Unlinks the first gate that is reached. Called and returns with the lock held; it is not held
 * while gates are looked at, which is sound as only this thread takes gates out. */
static struct gate *take_reached(void)
{
    struct gate **link = &gates;
    for (struct gate *g = gates; g; link = &g->next, g = g->next) {
        pthread_mutex_unlock(&lock);
        bool is = reached(g);
        pthread_mutex_lock(&lock);
        if (!is)
            continue;
        *link = g->next;
        if (!g->next)
            gates_end = link;
        return g;
    }
    return NULL;
}

static void *work(void *unused)
{
    const struct timespec pause = {.tv_nsec = POLL_NS};
    pthread_mutex_lock(&lock);
    for (;;) {
        while (!gates)
            pthread_cond_wait(&more, &lock);
        struct gate *g = take_reached();
        pthread_mutex_unlock(&lock);
        if (g)
            finish(g);
        else
            nanosleep(&pause, NULL);
        pthread_mutex_lock(&lock);
    }
    return NULL;
}

static int start_locked(void)
{
    if (running)
        return 0;
    sigset_t all, old;
    pthread_t thread;
    sigfillset(&all);
    pthread_sigmask(SIG_SETMASK, &all, &old);
    int r = pthread_create(&thread, NULL, work, NULL);
    pthread_sigmask(SIG_SETMASK, &old, NULL);
    DV_CU_REQUIRE(r == 0, DV_CUDA_ERROR_OPERATING_SYSTEM);
    pthread_detach(thread);
    running = true;
    return 0;
}

static int helper_of(struct dv_cuda_ctx *ctx, struct dv_cuda_stream **ret)
{
    struct dv_cuda_stream *s = __atomic_load_n(&ctx->helper, __ATOMIC_ACQUIRE);
    if (!s) {
        DV_CU_TRY(dv_custream_new(ctx, DV_CUDA_STREAM_NON_BLOCKING, 0, DV_CU_STREAM_THREAD, &s));
        struct dv_cuda_stream *none = NULL;
        if (!__atomic_compare_exchange_n(&ctx->helper, &none, s, false, __ATOMIC_ACQ_REL,
                                         __ATOMIC_ACQUIRE)) {
            dv_cu_lock();
            dv_custream_free_locked(s, true);
            dv_cu_unlock();
            s = none;
        }
    }
    *ret = s;
    return 0;
}

/* Marks the place and closes the stream behind it. */
static int close_stream(struct gate *g)
{
    pthread_mutex_lock(&P.ring);
    g->event = dv_curing_event_new();
    g->generation = g->event ? dv_curing_generation(g->event) : 0;
    pthread_mutex_unlock(&P.ring);
    DV_CU_REQUIRE(g->event, DV_CUDA_ERROR_OUT_OF_MEMORY);
    int r = dv_curing_submit(g->stream, DV_SIM_CMD_MARK, 0, 0, &g->number);
    if (r == 0)
        r = dv_curing_submit(g->stream, DV_SIM_CMD_WAIT, g->event, g->generation, NULL);
    if (r) {
        pthread_mutex_lock(&P.ring);
        dv_curing_event_free(g->event);
        pthread_mutex_unlock(&P.ring);
    }
    return r;
}

int dv_cuworker_gate(struct dv_cuda_stream *stream, const struct dv_cugate *gate)
{
    struct gate *g = calloc(1, sizeof(*g));
    DV_CU_REQUIRE(g, DV_CUDA_ERROR_OUT_OF_MEMORY);
    g->what = *gate;
    g->stream = stream;
    g->stream_id = stream->id;
    int r = helper_of(stream->ctx, &g->helper);
    pthread_mutex_lock(&lock);
    if (r == 0)
        r = start_locked();
    if (r == 0) {
        __atomic_add_fetch(&P.gates, 1, __ATOMIC_ACQ_REL);
        r = close_stream(g);
        if (r)
            __atomic_sub_fetch(&P.gates, 1, __ATOMIC_RELEASE);
    }
    if (r == 0) {
        *gates_end = g;
        gates_end = &g->next;
        pthread_cond_signal(&more);
    }
    pthread_mutex_unlock(&lock);
    if (r)
        free(g);
    return r;
}
