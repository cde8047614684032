/* SPDX-License-Identifier: Apache-2.0 */
/* Events: places in streams with a time. */
#include "driver.h"

#define FLAGS_ALL                                                                                  \
    (DV_CUDA_EVENT_BLOCKING_SYNC | DV_CUDA_EVENT_DISABLE_TIMING | DV_CUDA_EVENT_INTERPROCESS)

int dv_cuevent_new(unsigned int flags, struct dv_cuda_event **ret)
{
    struct dv_cuda_ctx *ctx;
    DV_CU_TRY(dv_cuctx_current(&ctx));
    struct dv_cuda_event *e = dv_cuobject_new(DV_CU_EVENT, sizeof(*e));
    DV_CU_REQUIRE(e, DV_CUDA_ERROR_OUT_OF_MEMORY);
    e->ctx = ctx;
    e->flags = flags;
    pthread_mutex_lock(&P.ring);
    e->index = dv_curing_event_new();
    pthread_mutex_unlock(&P.ring);
    if (!e->index) {
        dv_cuobject_free(e);
        return DV_CUDA_ERROR_OUT_OF_MEMORY;
    }
    dv_cu_lock();
    e->next = ctx->events;
    e->link = &ctx->events;
    if (e->next)
        e->next->link = &e->next;
    ctx->events = e;
    dv_cu_unlock();
    *ret = e;
    return 0;
}

dv_cuda_api(cuEventCreate, struct dv_cuda_event **ret, unsigned int flags)
{
    DV_CU_ENTER();
    DV_CU_REQUIRE(ret && !(flags & ~(unsigned int)FLAGS_ALL), DV_CUDA_ERROR_INVALID_VALUE);
    DV_CU_REQUIRE(!(flags & DV_CUDA_EVENT_INTERPROCESS) || (flags & DV_CUDA_EVENT_DISABLE_TIMING),
                  DV_CUDA_ERROR_INVALID_VALUE);
    DV_CU_TRY(dv_cuevent_new(flags, ret));
    int r = flags & DV_CUDA_EVENT_INTERPROCESS ? dv_cuipc_event_new(*ret) : 0;
    if (r) {
        dv_cu_lock();
        dv_cuevent_free_locked(*ret);
        dv_cu_unlock();
    }
    return r;
}

void dv_cuevent_free_locked(struct dv_cuda_event *event)
{
    *event->link = event->next;
    if (event->next)
        event->next->link = event->link;
    pthread_mutex_lock(&P.ring);
    dv_curing_event_free(event->index);
    pthread_mutex_unlock(&P.ring);
    dv_cuipc_event_free_locked(event);
    free(event->deps);
    event->deps = NULL;
    dv_cuobject_free(event);
}

static int destroy(struct dv_cuda_event *event)
{
    dv_cu_lock();
    bool valid = dv_cuobject_is(event, DV_CU_EVENT);
    if (valid)
        dv_cuevent_free_locked(event);
    dv_cu_unlock();
    return valid ? 0 : DV_CUDA_ERROR_INVALID_HANDLE;
}

dv_cuda_api(cuEventDestroy, struct dv_cuda_event *event)
{
    DV_CU_ENTER();
    return destroy(event);
}

dv_cuda_api(cuEventDestroy_v2, struct dv_cuda_event *event)
{
    DV_CU_ENTER();
    return destroy(event);
}

/* ---- in streams ----------------------------------------------------------------------------- */

int dv_cuevent_record(struct dv_cuda_event *event, struct dv_cuda_stream *stream)
{
    uint64_t generation, number;
    if (event->page)
        return dv_cuipc_event_record(event, stream);
    DV_CU_TRY(dv_curing_record(stream, event->index, &generation, &number));
    pthread_mutex_lock(&P.ring);
    if (generation > event->generation) {
        event->generation = generation;
        event->stream = stream;
        event->stream_id = stream->id;
        event->number = number;
    }
    pthread_mutex_unlock(&P.ring);
    return 0;
}

/* Not the whole of it: its place in the context's list is under another lock, and changes when a
 * neighbour comes or goes. */
static void last_record(const struct dv_cuda_event *event, struct dv_cuda_event *ret)
{
    pthread_mutex_lock(&P.ring);
    *ret = (struct dv_cuda_event){.ctx = event->ctx,
                                  .flags = event->flags,
                                  .index = event->index,
                                  .generation = event->generation,
                                  .stream = event->stream,
                                  .stream_id = event->stream_id,
                                  .number = event->number};
    pthread_mutex_unlock(&P.ring);
}

int dv_cuevent_wait(struct dv_cuda_event *event, struct dv_cuda_stream *stream)
{
    struct dv_cuda_event last;
    if (event->page)
        return dv_cuipc_event_wait(event, stream);
    last_record(event, &last);
    if (!last.generation || dv_curing_recorded(last.index, last.generation))
        return 0;
    if (last.stream == stream && last.stream_id == stream->id)
        return 0;
    return dv_curing_submit(stream, DV_SIM_CMD_WAIT, last.index, last.generation, NULL);
}

static int record(struct dv_cuda_event *event, struct dv_cuda_stream *handle, unsigned int flags,
                  bool per_thread)
{
    struct dv_cuda_stream *s;
    DV_CU_REQUIRE(flags <= 1, DV_CUDA_ERROR_INVALID_VALUE);
    DV_CU_REQUIRE(dv_cuobject_is(event, DV_CU_EVENT), DV_CUDA_ERROR_INVALID_HANDLE);
    DV_CU_TRY(dv_custream_resolve(handle, per_thread, &s));
    DV_CU_REQUIRE(event->ctx == s->ctx, DV_CUDA_ERROR_INVALID_HANDLE);
    if (dv_cucapture_active(s))
        return dv_cucapture_event_record(event, s, flags);
    event->capture_id = 0;
    return dv_cuevent_record(event, s);
}

dv_cuda_api_both(cuEventRecord, _ptsz,
                 (struct dv_cuda_event * event, struct dv_cuda_stream *stream),
                 record(event, stream, 0, per_thread));
dv_cuda_api_both(cuEventRecordWithFlags, _ptsz,
                 (struct dv_cuda_event * event, struct dv_cuda_stream *stream, unsigned int flags),
                 record(event, stream, flags, per_thread));

static int wait_event(struct dv_cuda_stream *handle, struct dv_cuda_event *event,
                      unsigned int flags, bool per_thread)
{
    struct dv_cuda_stream *s;
    bool captured;
    DV_CU_REQUIRE(flags <= 1, DV_CUDA_ERROR_INVALID_VALUE);
    DV_CU_REQUIRE(dv_cuobject_is(event, DV_CU_EVENT), DV_CUDA_ERROR_INVALID_HANDLE);
    DV_CU_TRY(dv_custream_resolve(handle, per_thread, &s));
    DV_CU_TRY(dv_cucapture_event_wait(event, s, flags, &captured));
    return captured ? 0 : dv_cuevent_wait(event, s);
}

dv_cuda_api_both(cuStreamWaitEvent, _ptsz,
                 (struct dv_cuda_stream * stream, struct dv_cuda_event *event, unsigned int flags),
                 wait_event(stream, event, flags, per_thread));

/* ---- on the host ---------------------------------------------------------------------------- */

static int look(struct dv_cuda_event *event, struct dv_cuda_event *ret)
{
    DV_CU_REQUIRE(dv_cuobject_is(event, DV_CU_EVENT), DV_CUDA_ERROR_INVALID_HANDLE);
    DV_CU_REQUIRE(!event->capture_id, DV_CUDA_ERROR_CAPTURED_EVENT);
    last_record(event, ret);
    return dv_cuobject_is(ret->ctx, DV_CU_CTX) ? dv_cuctx_error(ret->ctx) : 0;
}

static bool stream_lives(const struct dv_cuda_event *e)
{
    return dv_cuobject_is(e->stream, DV_CU_STREAM) && e->stream->id == e->stream_id;
}

dv_cuda_api(cuEventQuery, struct dv_cuda_event *event)
{
    DV_CU_ENTER();
    struct dv_cuda_event last;
    DV_CU_TRY(look(event, &last));
    if (event->page)
        return dv_cuipc_event_query(event);
    if (!last.generation || dv_curing_recorded(last.index, last.generation))
        return 0;
    if (stream_lives(&last))
        return dv_curing_query(last.stream, last.number);
    return dv_cuprocess_alive() ? DV_CUDA_ERROR_NOT_READY : DV_CUDA_ERROR_DEVICE_UNAVAILABLE;
}

dv_cuda_api(cuEventSynchronize, struct dv_cuda_event *event)
{
    DV_CU_ENTER();
    struct dv_cuda_event last;
    DV_CU_TRY(look(event, &last));
    if (event->page)
        return dv_cuipc_event_synchronize(event);
    if (!last.generation)
        return 0;
    if (stream_lives(&last))
        DV_CU_TRY(dv_curing_wait(last.stream, last.number));
    DV_CU_TRY(dv_curing_wait_event(last.index, last.generation));
    dv_cupool_sync();
    return 0;
}

static int elapsed(float *ret_ms, struct dv_cuda_event *start, struct dv_cuda_event *end)
{
    struct dv_cuda_event a, b;
    DV_CU_REQUIRE(ret_ms, DV_CUDA_ERROR_INVALID_VALUE);
    DV_CU_TRY(look(start, &a));
    DV_CU_TRY(look(end, &b));
    DV_CU_REQUIRE(a.generation && b.generation &&
                      !((a.flags | b.flags) & DV_CUDA_EVENT_DISABLE_TIMING),
                  DV_CUDA_ERROR_INVALID_HANDLE);
    if (!dv_curing_recorded(a.index, a.generation) || !dv_curing_recorded(b.index, b.generation))
        return dv_cuprocess_alive() ? DV_CUDA_ERROR_NOT_READY : DV_CUDA_ERROR_DEVICE_UNAVAILABLE;
    int64_t ns = (int64_t)(P.work->events[b.index].done_ns - P.work->events[a.index].done_ns);
    *ret_ms = (float)((double)ns / 1e6);
    return 0;
}

dv_cuda_api(cuEventElapsedTime, float *ret_ms, struct dv_cuda_event *start,
            struct dv_cuda_event *end)
{
    DV_CU_ENTER();
    return elapsed(ret_ms, start, end);
}

dv_cuda_api(cuEventElapsedTime_v2, float *ret_ms, struct dv_cuda_event *start,
            struct dv_cuda_event *end)
{
    DV_CU_ENTER();
    return elapsed(ret_ms, start, end);
}
