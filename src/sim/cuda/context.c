/* SPDX-License-Identifier: Apache-2.0 */
/* Contexts: primary and own ones, the calling thread's stack of them, limits. */
#include "driver.h"

#define STACK_DEPTH 64
#define API_VERSION_1 3010
#define API_VERSION_2 3020
#define HEAP_DEFAULT ((size_t)8 << 20)

static __thread struct dv_cuda_ctx *stack[STACK_DEPTH];
static __thread uint64_t stack_id[STACK_DEPTH]; /* a recycled object is another context */
static __thread int depth;

static bool alive(const struct dv_cuda_ctx *ctx, uint64_t id)
{
    return dv_cuobject_is(ctx, DV_CU_CTX) && ctx->id == id;
}

int dv_cuctx_error(const struct dv_cuda_ctx *ctx)
{
    return (int)__atomic_load_n(&P.work->streams[ctx->legacy->index].error, __ATOMIC_RELAXED);
}

int dv_cuctx_current(struct dv_cuda_ctx **ret)
{
    if (depth == 0)
        return DV_CUDA_ERROR_INVALID_CONTEXT;
    struct dv_cuda_ctx *ctx = stack[depth - 1];
    if (!alive(ctx, stack_id[depth - 1]))
        return DV_CUDA_ERROR_CONTEXT_IS_DESTROYED;
    DV_CU_TRY(dv_cuctx_error(ctx));
    *ret = ctx;
    return 0;
}

int dv_cuctx_resolve(struct dv_cuda_ctx *maybe, struct dv_cuda_ctx **ret)
{
    if (!maybe)
        return dv_cuctx_current(ret);
    DV_CU_REQUIRE(dv_cuobject_is(maybe, DV_CU_CTX), DV_CUDA_ERROR_INVALID_CONTEXT);
    *ret = maybe;
    return dv_cuctx_error(maybe);
}

void dv_cuctx_set(struct dv_cuda_ctx *ctx)
{
    if (!ctx) {
        depth -= depth > 0;
        return;
    }
    depth += depth == 0;
    stack[depth - 1] = ctx;
    stack_id[depth - 1] = ctx->id;
}

static int push(struct dv_cuda_ctx *ctx)
{
    DV_CU_REQUIRE(depth < STACK_DEPTH, DV_CUDA_ERROR_INVALID_VALUE);
    stack[depth] = ctx;
    stack_id[depth++] = ctx->id;
    return 0;
}

/* ---- life ----------------------------------------------------------------------------------- */

static void default_limits(struct dv_cuda_ctx *ctx)
{
    ctx->limit[DV_CUDA_LIMIT_STACK_SIZE] = 1024;
    ctx->limit[DV_CUDA_LIMIT_PRINTF_FIFO_SIZE] = (size_t)1 << 20;
    ctx->limit[DV_CUDA_LIMIT_MALLOC_HEAP_SIZE] = HEAP_DEFAULT;
    ctx->limit[DV_CUDA_LIMIT_DEV_RUNTIME_SYNC_DEPTH] = 2;
    ctx->limit[DV_CUDA_LIMIT_DEV_RUNTIME_PENDING_LAUNCH_COUNT] = 2048;
    ctx->limit[DV_CUDA_LIMIT_MAX_L2_FETCH_GRANULARITY] = 64;
}

static int ask_for_context(const struct dv_sim_ctx_create *ask, int device,
                           struct dv_sim_ctx_created *ret)
{
    int r = dv_cuprocess_call_locked(DV_SIM_CUDA_CTX_CREATE, ask, sizeof(*ask), -1, ret,
                                     sizeof(*ret), NULL, NULL);
    if (r != DV_CUDA_ERROR_OUT_OF_MEMORY)
        return r;
    dv_cupool_trim_device_locked(device, true);
    return dv_cuprocess_call_locked(DV_SIM_CUDA_CTX_CREATE, ask, sizeof(*ask), -1, ret,
                                    sizeof(*ret), NULL, NULL);
}

static int adopt_legacy(struct dv_cuda_ctx *ctx, uint32_t index)
{
    DV_CU_REQUIRE(index > 0 && index < DV_SIM_STREAMS_MAX, DV_CUDA_ERROR_UNKNOWN);
    struct dv_cuda_stream *s = dv_cuobject_new(DV_CU_STREAM, sizeof(*s));
    DV_CU_REQUIRE(s, DV_CUDA_ERROR_OUT_OF_MEMORY);
    s->ctx = ctx;
    s->index = index;
    s->kind = DV_CU_STREAM_LEGACY;
    s->id = ++P.ids;
    ctx->legacy = ctx->streams = s;
    return 0;
}

static int create_locked(int device, uint32_t flags, uint32_t api, bool primary,
                         struct dv_cuda_ctx **ret)
{
    struct dv_sim_ctx_create ask = {.device = P.device[device].server_index, .flags = flags};
    struct dv_sim_ctx_created got;
    DV_CU_TRY(ask_for_context(&ask, device, &got));
    struct dv_cuda_ctx *ctx = dv_cuobject_new(DV_CU_CTX, sizeof(*ctx));
    if (!ctx || adopt_legacy(ctx, got.default_stream)) {
        dv_cuobject_free(ctx);
        dv_cuprocess_call_locked(DV_SIM_CUDA_CTX_DESTROY, &got.ctx, sizeof(got.ctx), -1, NULL, 0,
                                 NULL, NULL);
        return DV_CUDA_ERROR_OUT_OF_MEMORY;
    }
    ctx->device = device;
    ctx->server = got.ctx;
    ctx->flags = flags;
    ctx->api_version = api;
    ctx->primary = primary;
    ctx->id = ++P.ids;
    default_limits(ctx);
    ctx->next = P.contexts;
    P.contexts = ctx;
    *ret = ctx;
    return 0;
}

static void destroy_locked(struct dv_cuda_ctx *ctx)
{
    for (struct dv_cuda_ctx **c = &P.contexts; *c; c = &(*c)->next)
        if (*c == ctx) {
            *c = ctx->next;
            break;
        }
    dv_cumodule_free_all_locked(ctx);
    dv_cuarray_free_all_locked(ctx);
    dv_cumem_free_all_locked(ctx);
    dv_cumem_uncharge_locked(ctx->heap_handle);
    while (ctx->events)
        dv_cuevent_free_locked(ctx->events);
    while (ctx->streams)
        dv_custream_free_locked(ctx->streams, false);
    dv_cuprocess_call_locked(DV_SIM_CUDA_CTX_DESTROY, &ctx->server, sizeof(ctx->server), -1, NULL,
                             0, NULL, NULL);
    ctx->legacy = NULL;
    dv_cuobject_free(ctx);
}

static int create(struct dv_cuda_ctx **ret, uint32_t flags, uint32_t api, int device)
{
    DV_CU_REQUIRE(ret && !(flags & ~(uint32_t)DV_CUDA_CTX_FLAGS_MASK), DV_CUDA_ERROR_INVALID_VALUE);
    DV_CU_REQUIRE(dv_cudevice_get(device), DV_CUDA_ERROR_INVALID_DEVICE);
    dv_cu_lock();
    struct dv_cuda_ctx *ctx;
    int r = create_locked(device, flags, api, false, &ctx);
    dv_cu_unlock();
    DV_CU_TRY(r);
    *ret = ctx;
    return push(ctx);
}

dv_cuda_api(cuCtxCreate, struct dv_cuda_ctx **ret, unsigned int flags, int device)
{
    DV_CU_ENTER();
    return create(ret, flags, API_VERSION_1, device);
}

dv_cuda_api(cuCtxCreate_v2, struct dv_cuda_ctx **ret, unsigned int flags, int device)
{
    DV_CU_ENTER();
    return create(ret, flags, API_VERSION_2, device);
}

/* Execution affinity needs MPS, and is not simulated for its clients either. */
dv_cuda_api(cuCtxCreate_v3, struct dv_cuda_ctx **ret, void *affinity, int n, unsigned int flags,
            int device)
{
    DV_CU_ENTER();
    DV_CU_REQUIRE(n == 0, DV_CUDA_ERROR_UNSUPPORTED_EXEC_AFFINITY);
    return create(ret, flags, API_VERSION_2, device);
}

dv_cuda_api(cuCtxCreate_v4, struct dv_cuda_ctx **ret, const void *params, unsigned int flags,
            int device)
{
    DV_CU_ENTER();
    DV_CU_REQUIRE(!params, DV_CUDA_ERROR_NOT_SUPPORTED);
    return create(ret, flags, API_VERSION_2, device);
}

static int destroy(struct dv_cuda_ctx *ctx)
{
    dv_cu_lock();
    bool valid = dv_cuobject_is(ctx, DV_CU_CTX) && !ctx->primary;
    if (valid)
        destroy_locked(ctx);
    dv_cu_unlock();
    DV_CU_REQUIRE(valid, DV_CUDA_ERROR_INVALID_CONTEXT);
    if (depth && stack[depth - 1] == ctx)
        depth--;
    return 0;
}

dv_cuda_api(cuCtxDestroy, struct dv_cuda_ctx *ctx)
{
    DV_CU_ENTER();
    return destroy(ctx);
}

dv_cuda_api(cuCtxDestroy_v2, struct dv_cuda_ctx *ctx)
{
    DV_CU_ENTER();
    return destroy(ctx);
}

dv_cuda_api(cuCtxAttach, struct dv_cuda_ctx **ret, unsigned int flags)
{
    DV_CU_ENTER();
    DV_CU_REQUIRE(ret && flags == 0, DV_CUDA_ERROR_INVALID_VALUE);
    return dv_cuctx_current(ret);
}

dv_cuda_api(cuCtxDetach, struct dv_cuda_ctx *ctx)
{
    DV_CU_ENTER();
    return destroy(ctx);
}

/* ---- primary contexts ----------------------------------------------------------------------- */

static int retain_locked(int device, struct dv_cuda_ctx **ret)
{
    struct dv_cudevice *d = &P.device[device];
    if (!d->primary)
        DV_CU_TRY(create_locked(device, d->primary_flags, API_VERSION_2, true, &d->primary));
    d->primary_refs++;
    *ret = d->primary;
    return 0;
}

dv_cuda_api(cuDevicePrimaryCtxRetain, struct dv_cuda_ctx **ret, int device)
{
    DV_CU_ENTER();
    DV_CU_REQUIRE(ret, DV_CUDA_ERROR_INVALID_VALUE);
    DV_CU_REQUIRE(dv_cudevice_get(device), DV_CUDA_ERROR_INVALID_DEVICE);
    dv_cu_lock();
    int r = retain_locked(device, ret);
    dv_cu_unlock();
    return r;
}

/* all: whatever the number of retains (reset). */
static int release_primary(int device, bool all)
{
    struct dv_cudevice *d = dv_cudevice_get(device);
    DV_CU_REQUIRE(d, DV_CUDA_ERROR_INVALID_DEVICE);
    dv_cu_lock();
    int r = 0;
    if (!d->primary) {
        r = all ? 0 : DV_CUDA_ERROR_INVALID_CONTEXT;
    } else if (all || --d->primary_refs == 0) {
        struct dv_cuda_ctx *ctx = d->primary;
        d->primary = NULL;
        d->primary_refs = 0;
        destroy_locked(ctx);
    }
    dv_cu_unlock();
    return r;
}

dv_cuda_api(cuDevicePrimaryCtxRelease, int device)
{
    DV_CU_ENTER();
    return release_primary(device, false);
}

dv_cuda_api(cuDevicePrimaryCtxRelease_v2, int device)
{
    DV_CU_ENTER();
    return release_primary(device, false);
}

dv_cuda_api(cuDevicePrimaryCtxReset, int device)
{
    DV_CU_ENTER();
    return release_primary(device, true);
}

dv_cuda_api(cuDevicePrimaryCtxReset_v2, int device)
{
    DV_CU_ENTER();
    return release_primary(device, true);
}

static int set_primary_flags(int device, unsigned int flags, bool old)
{
    struct dv_cudevice *d = dv_cudevice_get(device);
    DV_CU_REQUIRE(d, DV_CUDA_ERROR_INVALID_DEVICE);
    DV_CU_REQUIRE(!(flags & ~(uint32_t)DV_CUDA_CTX_FLAGS_MASK), DV_CUDA_ERROR_INVALID_VALUE);
    dv_cu_lock();
    int r = old && d->primary ? DV_CUDA_ERROR_PRIMARY_CONTEXT_ACTIVE : 0;
    if (r == 0) {
        d->primary_flags = flags;
        if (d->primary)
            d->primary->flags = flags;
    }
    dv_cu_unlock();
    return r;
}

dv_cuda_api(cuDevicePrimaryCtxSetFlags, int device, unsigned int flags)
{
    DV_CU_ENTER();
    return set_primary_flags(device, flags, true);
}

dv_cuda_api(cuDevicePrimaryCtxSetFlags_v2, int device, unsigned int flags)
{
    DV_CU_ENTER();
    return set_primary_flags(device, flags, false);
}

dv_cuda_api(cuDevicePrimaryCtxGetState, int device, unsigned int *ret_flags, int *ret_active)
{
    DV_CU_ENTER();
    struct dv_cudevice *d = dv_cudevice_get(device);
    DV_CU_REQUIRE(d, DV_CUDA_ERROR_INVALID_DEVICE);
    DV_CU_REQUIRE(ret_flags && ret_active, DV_CUDA_ERROR_INVALID_VALUE);
    dv_cu_lock();
    *ret_flags = d->primary_flags;
    *ret_active = d->primary != NULL;
    dv_cu_unlock();
    return 0;
}

/* ---- the thread's stack --------------------------------------------------------------------- */

static int push_current(struct dv_cuda_ctx *ctx)
{
    DV_CU_REQUIRE(dv_cuobject_is(ctx, DV_CU_CTX), DV_CUDA_ERROR_INVALID_CONTEXT);
    return push(ctx);
}

static int pop_current(struct dv_cuda_ctx **ret)
{
    DV_CU_REQUIRE(depth > 0, DV_CUDA_ERROR_INVALID_CONTEXT);
    depth--;
    if (ret)
        *ret = stack[depth];
    return 0;
}

dv_cuda_api(cuCtxPushCurrent, struct dv_cuda_ctx *ctx)
{
    DV_CU_ENTER();
    return push_current(ctx);
}

dv_cuda_api(cuCtxPushCurrent_v2, struct dv_cuda_ctx *ctx)
{
    DV_CU_ENTER();
    return push_current(ctx);
}

dv_cuda_api(cuCtxPopCurrent, struct dv_cuda_ctx **ret)
{
    DV_CU_ENTER();
    return pop_current(ret);
}

dv_cuda_api(cuCtxPopCurrent_v2, struct dv_cuda_ctx **ret)
{
    DV_CU_ENTER();
    return pop_current(ret);
}

dv_cuda_api(cuCtxSetCurrent, struct dv_cuda_ctx *ctx)
{
    DV_CU_ENTER();
    DV_CU_REQUIRE(!ctx || dv_cuobject_is(ctx, DV_CU_CTX), DV_CUDA_ERROR_INVALID_CONTEXT);
    dv_cuctx_set(ctx);
    return 0;
}

dv_cuda_api(cuCtxGetCurrent, struct dv_cuda_ctx **ret)
{
    DV_CU_ENTER();
    DV_CU_REQUIRE(ret, DV_CUDA_ERROR_INVALID_VALUE);
    *ret = depth ? stack[depth - 1] : NULL;
    return 0;
}

/* ---- what a context says -------------------------------------------------------------------- */

static int get_device(int *ret, struct dv_cuda_ctx *maybe)
{
    struct dv_cuda_ctx *ctx;
    DV_CU_REQUIRE(ret, DV_CUDA_ERROR_INVALID_VALUE);
    DV_CU_TRY(dv_cuctx_resolve(maybe, &ctx));
    *ret = ctx->device;
    return 0;
}

dv_cuda_api(cuCtxGetDevice, int *ret)
{
    DV_CU_ENTER();
    return get_device(ret, NULL);
}

dv_cuda_api(cuCtxGetDevice_v2, int *ret, struct dv_cuda_ctx *ctx)
{
    DV_CU_ENTER();
    return get_device(ret, ctx);
}

dv_cuda_api(cuCtxGetFlags, unsigned int *ret)
{
    DV_CU_ENTER();
    struct dv_cuda_ctx *ctx;
    DV_CU_REQUIRE(ret, DV_CUDA_ERROR_INVALID_VALUE);
    DV_CU_TRY(dv_cuctx_current(&ctx));
    *ret = ctx->flags;
    return 0;
}

dv_cuda_api(cuCtxSetFlags, unsigned int flags)
{
    DV_CU_ENTER();
    struct dv_cuda_ctx *ctx;
    DV_CU_REQUIRE(!(flags & ~(uint32_t)DV_CUDA_CTX_FLAGS_MASK), DV_CUDA_ERROR_INVALID_VALUE);
    DV_CU_TRY(dv_cuctx_current(&ctx));
    ctx->flags = flags;
    return 0;
}

dv_cuda_api(cuCtxGetId, struct dv_cuda_ctx *maybe, unsigned long long *ret)
{
    DV_CU_ENTER();
    struct dv_cuda_ctx *ctx;
    DV_CU_REQUIRE(ret, DV_CUDA_ERROR_INVALID_VALUE);
    DV_CU_TRY(dv_cuctx_resolve(maybe, &ctx));
    *ret = ctx->id;
    return 0;
}

dv_cuda_api(cuCtxGetApiVersion, struct dv_cuda_ctx *maybe, unsigned int *ret)
{
    DV_CU_ENTER();
    struct dv_cuda_ctx *ctx;
    DV_CU_REQUIRE(ret, DV_CUDA_ERROR_INVALID_VALUE);
    DV_CU_TRY(dv_cuctx_resolve(maybe, &ctx));
    *ret = ctx->api_version;
    return 0;
}

int dv_cuctx_synchronize(struct dv_cuda_ctx *ctx)
{
    struct {
        struct dv_cuda_stream *stream;
        uint64_t number;
    } all[DV_SIM_STREAMS_MAX];
    size_t n = 0;
    pthread_mutex_lock(&P.ring);
    for (struct dv_cuda_stream *s = ctx->streams; s && n < DV_SIM_STREAMS_MAX; s = s->next) {
        all[n].stream = s;
        all[n++].number = s->submitted;
    }
    pthread_mutex_unlock(&P.ring);
    for (size_t i = 0; i < n; i++)
        DV_CU_TRY(dv_curing_wait(all[i].stream, all[i].number));
    dv_cupool_sync();
    return dv_cuctx_error(ctx);
}

static int synchronize(struct dv_cuda_ctx *maybe)
{
    struct dv_cuda_ctx *ctx;
    DV_CU_TRY(dv_cuctx_resolve(maybe, &ctx));
    DV_CU_TRY(dv_cucapture_unsafe());
    return dv_cuctx_synchronize(ctx);
}

dv_cuda_api(cuCtxSynchronize, void)
{
    DV_CU_ENTER();
    return synchronize(NULL);
}

dv_cuda_api(cuCtxSynchronize_v2, struct dv_cuda_ctx *ctx)
{
    DV_CU_ENTER();
    return synchronize(ctx);
}

dv_cuda_api(cuCtxGetStreamPriorityRange, int *ret_least, int *ret_greatest)
{
    DV_CU_ENTER();
    struct dv_cuda_ctx *ctx;
    DV_CU_TRY(dv_cuctx_current(&ctx));
    if (ret_least)
        *ret_least = 0;
    if (ret_greatest)
        *ret_greatest = -5;
    return 0;
}

/* ---- limits --------------------------------------------------------------------------------- */

/* The device heap beyond its default size costs memory, as a context's own cost covers that. */
static int resize_heap_locked(struct dv_cuda_ctx *ctx, size_t value)
{
    struct dv_sim_mem_allocated got = {0};
    if (value > HEAP_DEFAULT)
        DV_CU_TRY(dv_cumem_charge_locked(ctx, DV_SIM_MEM_MODULE, value - HEAP_DEFAULT, &got));
    dv_cumem_uncharge_locked(ctx->heap_handle);
    ctx->heap_handle = got.handle;
    return 0;
}

dv_cuda_api(cuCtxSetLimit, int limit, size_t value)
{
    DV_CU_ENTER();
    struct dv_cuda_ctx *ctx;
    DV_CU_TRY(dv_cuctx_current(&ctx));
    DV_CU_REQUIRE(limit >= 0 && limit < DV_CUDA_LIMIT_COUNT, DV_CUDA_ERROR_UNSUPPORTED_LIMIT);
    int r = 0;
    dv_cu_lock();
    if (limit == DV_CUDA_LIMIT_MALLOC_HEAP_SIZE)
        r = resize_heap_locked(ctx, value);
    if (r == 0)
        ctx->limit[limit] = value;
    dv_cu_unlock();
    return r;
}

dv_cuda_api(cuCtxGetLimit, size_t *ret, int limit)
{
    DV_CU_ENTER();
    struct dv_cuda_ctx *ctx;
    DV_CU_REQUIRE(ret, DV_CUDA_ERROR_INVALID_VALUE);
    DV_CU_TRY(dv_cuctx_current(&ctx));
    DV_CU_REQUIRE(limit >= 0 && limit < DV_CUDA_LIMIT_COUNT, DV_CUDA_ERROR_UNSUPPORTED_LIMIT);
    *ret = ctx->limit[limit];
    return 0;
}

dv_cuda_api(cuCtxGetCacheConfig, int *ret)
{
    DV_CU_ENTER();
    struct dv_cuda_ctx *ctx;
    DV_CU_REQUIRE(ret, DV_CUDA_ERROR_INVALID_VALUE);
    DV_CU_TRY(dv_cuctx_current(&ctx));
    *ret = ctx->cache_config;
    return 0;
}

dv_cuda_api(cuCtxSetCacheConfig, int config)
{
    DV_CU_ENTER();
    struct dv_cuda_ctx *ctx;
    DV_CU_TRY(dv_cuctx_current(&ctx));
    DV_CU_REQUIRE(config >= 0 && config <= 3, DV_CUDA_ERROR_INVALID_VALUE);
    ctx->cache_config = config;
    return 0;
}

dv_cuda_api(cuCtxGetSharedMemConfig, int *ret)
{
    DV_CU_ENTER();
    struct dv_cuda_ctx *ctx;
    DV_CU_REQUIRE(ret, DV_CUDA_ERROR_INVALID_VALUE);
    DV_CU_TRY(dv_cuctx_current(&ctx));
    *ret = ctx->shared_config;
    return 0;
}

dv_cuda_api(cuCtxSetSharedMemConfig, int config)
{
    DV_CU_ENTER();
    struct dv_cuda_ctx *ctx;
    DV_CU_TRY(dv_cuctx_current(&ctx));
    DV_CU_REQUIRE(config >= 0 && config <= 2, DV_CUDA_ERROR_INVALID_VALUE);
    ctx->shared_config = config;
    return 0;
}

dv_cuda_api(cuCtxResetPersistingL2Cache, void)
{
    DV_CU_ENTER();
    struct dv_cuda_ctx *ctx;
    return dv_cuctx_current(&ctx);
}

/* ---- peers ---------------------------------------------------------------------------------- */

dv_cuda_api(cuCtxEnablePeerAccess, struct dv_cuda_ctx *peer, unsigned int flags)
{
    DV_CU_ENTER();
    struct dv_cuda_ctx *ctx;
    DV_CU_REQUIRE(flags == 0, DV_CUDA_ERROR_INVALID_VALUE);
    DV_CU_TRY(dv_cuctx_current(&ctx));
    DV_CU_REQUIRE(dv_cuobject_is(peer, DV_CU_CTX), DV_CUDA_ERROR_INVALID_CONTEXT);
    DV_CU_REQUIRE(peer->device != ctx->device && !P.device[ctx->device].info.mig &&
                      !P.device[peer->device].info.mig,
                  DV_CUDA_ERROR_INVALID_DEVICE);
    uint64_t bit = UINT64_C(1) << peer->device;
    uint64_t old = __atomic_fetch_or(&ctx->peers, bit, __ATOMIC_RELAXED);
    return old & bit ? DV_CUDA_ERROR_PEER_ACCESS_ALREADY_ENABLED : 0;
}

dv_cuda_api(cuCtxDisablePeerAccess, struct dv_cuda_ctx *peer)
{
    DV_CU_ENTER();
    struct dv_cuda_ctx *ctx;
    DV_CU_TRY(dv_cuctx_current(&ctx));
    DV_CU_REQUIRE(dv_cuobject_is(peer, DV_CU_CTX), DV_CUDA_ERROR_INVALID_CONTEXT);
    uint64_t bit = UINT64_C(1) << peer->device;
    uint64_t old = __atomic_fetch_and(&ctx->peers, ~bit, __ATOMIC_RELAXED);
    return old & bit ? 0 : DV_CUDA_ERROR_PEER_ACCESS_NOT_ENABLED;
}
