/* SPDX-License-Identifier: Apache-2.0 */
/* Streams: making them, what a stream argument means, waiting for them. */
#include "driver.h"

#define PRIORITY_LEAST 0
#define PRIORITY_GREATEST (-5)
#define THREAD_CONTEXTS 16 /* contexts in which one thread has a default stream of its own */

/* ---- life ----------------------------------------------------------------------------------- */

static int new_locked(struct dv_cuda_ctx *ctx, uint32_t flags, int32_t priority,
                      enum dv_custream_kind kind, struct dv_cuda_stream **ret)
{
    struct dv_sim_stream_create ask = {.ctx = ctx->server, .priority = priority};
    uint32_t index = 0;
    DV_CU_TRY(dv_cuprocess_call_locked(DV_SIM_CUDA_STREAM_CREATE, &ask, sizeof(ask), -1, &index,
                                       sizeof(index), NULL, NULL));
    DV_CU_REQUIRE(index > 0 && index < DV_SIM_STREAMS_MAX, DV_CUDA_ERROR_UNKNOWN);
    struct dv_cuda_stream *s = dv_cuobject_new(DV_CU_STREAM, sizeof(*s));
    DV_CU_REQUIRE(s, DV_CUDA_ERROR_OUT_OF_MEMORY);
    s->ctx = ctx;
    s->index = index;
    s->flags = flags;
    s->priority = priority;
    s->kind = kind;
    s->blocking = !(flags & DV_CUDA_STREAM_NON_BLOCKING);
    s->id = ++P.ids;
    pthread_mutex_lock(&P.ring);
    s->next = ctx->streams;
    ctx->streams = s;
    pthread_mutex_unlock(&P.ring);
    *ret = s;
    return 0;
}

int dv_custream_new(struct dv_cuda_ctx *ctx, uint32_t flags, int32_t priority,
                    enum dv_custream_kind kind, struct dv_cuda_stream **ret)
{
    dv_cu_lock();
    int r = new_locked(ctx, flags, priority, kind, ret);
    dv_cu_unlock();
    return r;
}

void dv_custream_free_locked(struct dv_cuda_stream *stream, bool tell_server)
{
    pthread_mutex_lock(&P.ring);
    for (struct dv_cuda_stream **s = &stream->ctx->streams; *s; s = &(*s)->next)
        if (*s == stream) {
            *s = stream->next;
            break;
        }
    dv_curing_event_free(stream->event);
    pthread_mutex_unlock(&P.ring);
    if (tell_server)
        dv_cuprocess_call_locked(DV_SIM_CUDA_STREAM_DESTROY, &stream->index, sizeof(stream->index),
                                 -1, NULL, 0, NULL, NULL);
    free(stream->deps);
    stream->deps = NULL;
    dv_cuobject_free(stream);
}

static int create(struct dv_cuda_stream **ret, unsigned int flags, int priority)
{
    struct dv_cuda_ctx *ctx;
    DV_CU_REQUIRE(ret && !(flags & ~(unsigned int)DV_CUDA_STREAM_NON_BLOCKING),
                  DV_CUDA_ERROR_INVALID_VALUE);
    DV_CU_TRY(dv_cuctx_current(&ctx));
    priority = DV_CU_MIN(DV_CU_MAX(priority, PRIORITY_GREATEST), PRIORITY_LEAST);
    return dv_custream_new(ctx, flags, priority, DV_CU_STREAM_PLAIN, ret);
}

dv_cuda_api(cuStreamCreate, struct dv_cuda_stream **ret, unsigned int flags)
{
    DV_CU_ENTER();
    return create(ret, flags, 0);
}

dv_cuda_api(cuStreamCreateWithPriority, struct dv_cuda_stream **ret, unsigned int flags,
            int priority)
{
    DV_CU_ENTER();
    return create(ret, flags, priority);
}

static int destroy(struct dv_cuda_stream *stream)
{
    dv_cu_lock();
    bool valid = dv_cuobject_is(stream, DV_CU_STREAM) && stream->kind == DV_CU_STREAM_PLAIN;
    if (valid)
        dv_custream_free_locked(stream, true);
    dv_cu_unlock();
    return valid ? 0 : DV_CUDA_ERROR_INVALID_HANDLE;
}

dv_cuda_api(cuStreamDestroy, struct dv_cuda_stream *stream)
{
    DV_CU_ENTER();
    return destroy(stream);
}

dv_cuda_api(cuStreamDestroy_v2, struct dv_cuda_stream *stream)
{
    DV_CU_ENTER();
    return destroy(stream);
}

/* ---- the thread's own default stream -------------------------------------------------------- */

struct own {
    struct dv_cuda_ctx *ctx;
    struct dv_cuda_stream *stream;
    uint64_t ctx_id, stream_id;
};

static __thread struct own owns[THREAD_CONTEXTS];
static __thread unsigned int n_owns;
static pthread_key_t thread_key;
static pthread_once_t thread_once = PTHREAD_ONCE_INIT;

static bool still_there(const struct own *o)
{
    return dv_cuobject_is(o->ctx, DV_CU_CTX) && o->ctx->id == o->ctx_id &&
           dv_cuobject_is(o->stream, DV_CU_STREAM) && o->stream->id == o->stream_id;
}

/* A thread ends: its streams go when their work is done. */
static void thread_gone(void *unused)
{
    if (__atomic_load_n(&P.state, __ATOMIC_ACQUIRE) != DV_CU_READY)
        return;
    dv_cu_lock();
    for (unsigned int i = 0; i < n_owns; i++)
        if (still_there(&owns[i]))
            dv_custream_free_locked(owns[i].stream, true);
    dv_cu_unlock();
    n_owns = 0;
}

static void make_key(void)
{
    pthread_key_create(&thread_key, thread_gone);
}

static int own_stream(struct dv_cuda_ctx *ctx, struct dv_cuda_stream **ret)
{
    unsigned int free_slot = n_owns;
    for (unsigned int i = 0; i < n_owns; i++) {
        if (owns[i].ctx == ctx && owns[i].ctx_id == ctx->id && still_there(&owns[i])) {
            *ret = owns[i].stream;
            return 0;
        }
        if (!still_there(&owns[i]))
            free_slot = i;
    }
    DV_CU_REQUIRE(free_slot < THREAD_CONTEXTS, DV_CUDA_ERROR_OUT_OF_MEMORY);
    struct dv_cuda_stream *s;
    DV_CU_TRY(dv_custream_new(ctx, 0, 0, DV_CU_STREAM_THREAD, &s));
    owns[free_slot] = (struct own){.ctx = ctx, .stream = s, .ctx_id = ctx->id, .stream_id = s->id};
    n_owns = DV_CU_MAX(n_owns, free_slot + 1);
    pthread_once(&thread_once, make_key);
    pthread_setspecific(thread_key, owns);
    *ret = s;
    return 0;
}

int dv_custream_resolve(struct dv_cuda_stream *handle, bool per_thread, struct dv_cuda_stream **ret)
{
    if (DV_CU_LIKELY(dv_cuobject_is(handle, DV_CU_STREAM))) {
        *ret = handle;
        return dv_cuctx_error(handle->ctx);
    }
    struct dv_cuda_ctx *ctx;
    DV_CU_REQUIRE((uintptr_t)handle <= 2, DV_CUDA_ERROR_INVALID_HANDLE);
    DV_CU_TRY(dv_cuctx_current(&ctx));
    if (handle == DV_CUDA_STREAM_PER_THREAD || (!handle && per_thread))
        return own_stream(ctx, ret);
    *ret = ctx->legacy;
    return 0;
}

/* ---- waiting -------------------------------------------------------------------------------- */

/* The legacy stream stands for all blocking streams: a mark in it comes after all of them. */
int dv_custream_synchronize(struct dv_cuda_stream *stream)
{
    uint64_t number = DV_CU_ALL;
    if (stream->kind == DV_CU_STREAM_LEGACY)
        DV_CU_TRY(dv_curing_submit(stream, DV_SIM_CMD_MARK, 0, 0, &number));
    DV_CU_TRY(dv_curing_wait(stream, number));
    dv_cupool_sync();
    return 0;
}

static int synchronize(struct dv_cuda_stream *handle, bool per_thread)
{
    struct dv_cuda_stream *s;
    DV_CU_TRY(dv_custream_resolve(handle, per_thread, &s));
    if (dv_cucapture_active(s))
        return dv_cucapture_forbid(s);
    return dv_custream_synchronize(s);
}

dv_cuda_api_both(cuStreamSynchronize, _ptsz, (struct dv_cuda_stream * stream),
                 synchronize(stream, per_thread));

static int query(struct dv_cuda_stream *handle, bool per_thread)
{
    struct dv_cuda_stream *s;
    DV_CU_TRY(dv_custream_resolve(handle, per_thread, &s));
    if (dv_cucapture_active(s))
        return dv_cucapture_forbid(s);
    DV_CU_TRY(dv_curing_query(s, DV_CU_ALL));
    if (s->kind != DV_CU_STREAM_LEGACY)
        return 0;
    int r = 0;
    dv_cu_lock();
    for (struct dv_cuda_stream *o = s->ctx->streams; o && r == 0; o = o->next)
        if (o->blocking)
            r = dv_curing_query(o, DV_CU_ALL);
    dv_cu_unlock();
    return r;
}

dv_cuda_api_both(cuStreamQuery, _ptsz, (struct dv_cuda_stream * stream), query(stream, per_thread));

/* ---- what a stream says --------------------------------------------------------------------- */

static int get_priority(struct dv_cuda_stream *handle, int *ret, bool per_thread)
{
    struct dv_cuda_stream *s;
    DV_CU_REQUIRE(ret, DV_CUDA_ERROR_INVALID_VALUE);
    DV_CU_TRY(dv_custream_resolve(handle, per_thread, &s));
    *ret = s->priority;
    return 0;
}

dv_cuda_api_both(cuStreamGetPriority, _ptsz, (struct dv_cuda_stream * stream, int *ret),
                 get_priority(stream, ret, per_thread));

static int get_flags(struct dv_cuda_stream *handle, unsigned int *ret, bool per_thread)
{
    struct dv_cuda_stream *s;
    DV_CU_REQUIRE(ret, DV_CUDA_ERROR_INVALID_VALUE);
    DV_CU_TRY(dv_custream_resolve(handle, per_thread, &s));
    *ret = s->flags;
    return 0;
}

dv_cuda_api_both(cuStreamGetFlags, _ptsz, (struct dv_cuda_stream * stream, unsigned int *ret),
                 get_flags(stream, ret, per_thread));

static int get_ctx(struct dv_cuda_stream *handle, struct dv_cuda_ctx **ret, void **ret_green,
                   bool per_thread)
{
    struct dv_cuda_stream *s;
    DV_CU_REQUIRE(ret, DV_CUDA_ERROR_INVALID_VALUE);
    DV_CU_TRY(dv_custream_resolve(handle, per_thread, &s));
    *ret = s->ctx;
    if (ret_green)
        *ret_green = NULL;
    return 0;
}

dv_cuda_api_both(cuStreamGetCtx, _ptsz, (struct dv_cuda_stream * stream, struct dv_cuda_ctx **ret),
                 get_ctx(stream, ret, NULL, per_thread));
dv_cuda_api_both(cuStreamGetCtx_v2, _ptsz,
                 (struct dv_cuda_stream * stream, struct dv_cuda_ctx **ret, void **ret_green),
                 get_ctx(stream, ret, ret_green, per_thread));

static int get_id(struct dv_cuda_stream *handle, unsigned long long *ret, bool per_thread)
{
    struct dv_cuda_stream *s;
    DV_CU_REQUIRE(ret, DV_CUDA_ERROR_INVALID_VALUE);
    DV_CU_TRY(dv_custream_resolve(handle, per_thread, &s));
    *ret = s->id;
    return 0;
}

dv_cuda_api_both(cuStreamGetId, _ptsz, (struct dv_cuda_stream * stream, unsigned long long *ret),
                 get_id(stream, ret, per_thread));

static int get_device(struct dv_cuda_stream *handle, int *ret, bool per_thread)
{
    struct dv_cuda_stream *s;
    DV_CU_REQUIRE(ret, DV_CUDA_ERROR_INVALID_VALUE);
    DV_CU_TRY(dv_custream_resolve(handle, per_thread, &s));
    *ret = s->ctx->device;
    return 0;
}

dv_cuda_api_both(cuStreamGetDevice, _ptsz, (struct dv_cuda_stream * stream, int *ret),
                 get_device(stream, ret, per_thread));

/* ---- host functions ------------------------------------------------------------------------- */

struct host_call {
    void (*fn)(void *user);
    void (*callback)(struct dv_cuda_stream *stream, int status, void *user);
    struct dv_cuda_stream *stream;
    void *user;
};

static void run_host_call(void *arg)
{
    struct host_call c = *(struct host_call *)arg;
    free(arg);
    if (c.fn)
        c.fn(c.user);
    else
        c.callback(c.stream, 0, c.user);
}

static int gate_host_call(struct dv_cuda_stream *stream, const struct host_call *call)
{
    struct host_call *copy = malloc(sizeof(*copy));
    DV_CU_REQUIRE(copy, DV_CUDA_ERROR_OUT_OF_MEMORY);
    *copy = *call;
    int r = dv_cuworker_gate(stream, &(struct dv_cugate){.run = run_host_call, .arg = copy});
    if (r)
        free(copy);
    return r;
}

int dv_custream_host(struct dv_cuda_stream *stream, const struct dv_cuda_host_node_params *host)
{
    return gate_host_call(stream, &(struct host_call){.fn = host->fn, .user = host->user});
}

static int launch_host(struct dv_cuda_stream *handle, void (*fn)(void *user), void *user,
                       bool per_thread)
{
    struct dv_cuda_stream *s;
    DV_CU_REQUIRE(fn, DV_CUDA_ERROR_INVALID_VALUE);
    DV_CU_TRY(dv_custream_resolve(handle, per_thread, &s));
    struct dv_cugraph_op op = {.type = DV_CUDA_NODE_HOST, .host = {.fn = fn, .user = user}};
    bool captured;
    DV_CU_TRY(dv_cucapture_op(s, &op, &captured, NULL));
    return captured ? 0 : dv_custream_host(s, &op.host);
}

dv_cuda_api_both(cuLaunchHostFunc, _ptsz,
                 (struct dv_cuda_stream * stream, void (*fn)(void *user), void *user),
                 launch_host(stream, fn, user, per_thread));

static int add_callback(struct dv_cuda_stream *handle,
                        void (*callback)(struct dv_cuda_stream *stream, int status, void *user),
                        void *user, unsigned int flags, bool per_thread)
{
    struct dv_cuda_stream *s;
    DV_CU_REQUIRE(callback && flags == 0, DV_CUDA_ERROR_INVALID_VALUE);
    DV_CU_TRY(dv_custream_resolve(handle, per_thread, &s));
    if (dv_cucapture_active(s))
        return dv_cucapture_forbid(s);
    struct host_call call = {.callback = callback, .stream = handle, .user = user};
    return gate_host_call(s, &call);
}

dv_cuda_api_both(cuStreamAddCallback, _ptsz,
                 (struct dv_cuda_stream * stream,
                  void (*callback)(struct dv_cuda_stream *stream, int status, void *user),
                  void *user, unsigned int flags),
                 add_callback(stream, callback, user, flags, per_thread));

/* Managed memory is always where the host can reach it; nothing has to move. */
static int attach(struct dv_cuda_stream *handle, bool per_thread)
{
    struct dv_cuda_stream *s;
    return dv_custream_resolve(handle, per_thread, &s);
}

dv_cuda_api_both(cuStreamAttachMemAsync, _ptsz,
                 (struct dv_cuda_stream * stream, uint64_t address, size_t bytes,
                  unsigned int flags),
                 attach(stream, per_thread));

/* ---- attributes: accepted and read back as nothing special ---------------------------------- */

static int get_attribute(struct dv_cuda_stream *handle, int id, void *ret, bool per_thread)
{
    struct dv_cuda_stream *s;
    DV_CU_REQUIRE(ret && id >= 0, DV_CUDA_ERROR_INVALID_VALUE);
    DV_CU_TRY(dv_custream_resolve(handle, per_thread, &s));
    memset(ret, 0, sizeof(((struct dv_cuda_launch_attribute *)0)->value));
    if (id == DV_CUDA_LAUNCH_PRIORITY)
        memcpy(ret, &s->priority, sizeof(s->priority));
    return 0;
}

dv_cuda_api_both(cuStreamGetAttribute, _ptsz, (struct dv_cuda_stream * stream, int id, void *ret),
                 get_attribute(stream, id, ret, per_thread));

static int set_attribute(struct dv_cuda_stream *handle, int id, const void *value, bool per_thread)
{
    struct dv_cuda_stream *s;
    DV_CU_REQUIRE(value && id >= 0, DV_CUDA_ERROR_INVALID_VALUE);
    return dv_custream_resolve(handle, per_thread, &s);
}

dv_cuda_api_both(cuStreamSetAttribute, _ptsz,
                 (struct dv_cuda_stream * stream, int id, const void *value),
                 set_attribute(stream, id, value, per_thread));
