/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Asynchronous pools. A pool holds segments, each charged to the device in multiples of 2 MiB, and
 * gives out pieces of them, first fit. What is freed can be had again at once, in program order; a
 * segment without pieces goes back at the next synchronisation if the pool then still holds more
 * than its release threshold, on a trim, or when the device has no room for somebody else.
 */
#include "driver.h"

#define SEGMENT (UINT64_C(2) << 20)
#define PIECE 512

struct piece { /* of a segment, in order, without gaps */
    uint64_t offset, bytes;
    bool used;
    struct piece *next;
};

struct segment {
    struct dv_cuda_pool *pool;
    struct segment *next;
    struct dv_cuda_ctx *ctx; /* whose charge it is */
    uint64_t handle, address, bytes, used;
    struct piece *pieces;
};

struct dv_cuda_pool {
    struct dv_cuobject object;
    struct dv_cuda_pool *next;
    int device;
    bool is_default;
    struct segment *segments;
    uint64_t max, threshold;
    uint64_t reserved, reserved_high, used, used_high;
    int reuse[3];
    int access;
};

static struct dv_cuda_pool *pools; /* P.lock */

static uint64_t round_up(uint64_t n, uint64_t to)
{
    return (n + to - 1) / to * to;
}

/* ---- segments and pieces -------------------------------------------------------------------- */

static void free_segment_locked(struct segment *s)
{
    for (struct segment **p = &s->pool->segments; *p; p = &(*p)->next)
        if (*p == s) {
            *p = s->next;
            break;
        }
    while (s->pieces) {
        struct piece *p = s->pieces;
        s->pieces = p->next;
        free(p);
    }
    s->pool->reserved -= s->bytes;
    s->pool->used -= s->used;
    dv_cumem_uncharge_locked(s->handle);
    free(s);
}

static void trim_locked(struct dv_cuda_pool *pool, uint64_t keep)
{
    struct segment *next;
    for (struct segment *s = pool->segments; s && pool->reserved > keep; s = next) {
        next = s->next;
        if (!s->used)
            free_segment_locked(s);
    }
}

static int add_segment_locked(struct dv_cuda_ctx *ctx, struct dv_cuda_pool *pool, uint64_t bytes)
{
    struct dv_sim_mem_allocated got;
    bytes = round_up(bytes, SEGMENT);
    if (pool->max && pool->reserved + bytes > pool->max)
        trim_locked(pool, pool->max > bytes ? pool->max - bytes : 0);
    DV_CU_REQUIRE(!pool->max || pool->reserved + bytes <= pool->max, DV_CUDA_ERROR_OUT_OF_MEMORY);
    struct segment *s = calloc(1, sizeof(*s));
    struct piece *p = calloc(1, sizeof(*p));
    int r = s && p ? dv_cumem_charge_locked(ctx, DV_SIM_MEM_POOL, bytes, &got)
                   : DV_CUDA_ERROR_OUT_OF_MEMORY;
    if (r) {
        free(s);
        free(p);
        return r;
    }
    p->bytes = bytes;
    *s = (struct segment){.pool = pool,
                          .next = pool->segments,
                          .ctx = ctx,
                          .handle = got.handle,
                          .address = got.address,
                          .bytes = bytes,
                          .pieces = p};
    pool->segments = s;
    pool->reserved += bytes;
    pool->reserved_high = DV_CU_MAX(pool->reserved_high, pool->reserved);
    return 0;
}

/* Takes the front of a free piece. */
static bool take(struct segment *s, struct piece *p, uint64_t bytes)
{
    if (p->bytes > bytes) {
        struct piece *rest = calloc(1, sizeof(*rest));
        if (!rest)
            return false;
        *rest =
            (struct piece){.offset = p->offset + bytes, .bytes = p->bytes - bytes, .next = p->next};
        p->next = rest;
        p->bytes = bytes;
    }
    p->used = true;
    s->used += bytes;
    s->pool->used += bytes;
    s->pool->used_high = DV_CU_MAX(s->pool->used_high, s->pool->used);
    return true;
}

static bool find_piece_locked(struct dv_cuda_pool *pool, uint64_t bytes, struct segment **ret_s,
                              uint64_t *ret_address)
{
    for (struct segment *s = pool->segments; s; s = s->next) {
        if (s->bytes - s->used < bytes)
            continue;
        for (struct piece *p = s->pieces; p; p = p->next)
            if (!p->used && p->bytes >= bytes && take(s, p, bytes)) {
                *ret_s = s;
                *ret_address = s->address + p->offset;
                return true;
            }
    }
    return false;
}

static void join(struct piece *p)
{
    while (p && p->next && !p->used && !p->next->used) {
        struct piece *n = p->next;
        p->bytes += n->bytes;
        p->next = n->next;
        free(n);
    }
}

static void give_back_locked(struct segment *s, uint64_t address)
{
    struct piece *before = NULL;
    for (struct piece *p = s->pieces; p; before = p, p = p->next) {
        if (s->address + p->offset != address)
            continue;
        p->used = false;
        s->used -= p->bytes;
        s->pool->used -= p->bytes;
        join(p);
        if (before && !before->used)
            join(before);
        __atomic_store_n(&P.pools_dirty, 1, __ATOMIC_RELEASE);
        return;
    }
}

void dv_cupool_free_locked(struct dv_cumem *mem)
{
    give_back_locked(mem->owner, mem->address);
    dv_cumem_remove_locked(mem);
}

const struct dv_cuda_pool *dv_cupool_of(const struct dv_cumem *mem)
{
    return ((const struct segment *)mem->owner)->pool;
}

void dv_cupool_trim_device_locked(int device, bool all)
{
    for (struct dv_cuda_pool *p = pools; p; p = p->next)
        if (device < 0 || p->device == device)
            trim_locked(p, all ? 0 : p->threshold);
}

void dv_cupool_sync(void)
{
    if (!__atomic_exchange_n(&P.pools_dirty, 0, __ATOMIC_ACQ_REL))
        return;
    dv_cu_lock();
    dv_cupool_trim_device_locked(-1, false);
    dv_cu_unlock();
}

/* The server ends what the context has charged; the pieces go with it. */
void dv_cupool_context_gone_locked(struct dv_cuda_ctx *ctx)
{
    struct dv_cumem *next;
    for (struct dv_cumem *m = dv_cumem_next_locked(0); m; m = next) {
        next = dv_cumem_next_locked(m->address + 1);
        if (m->kind == DV_CU_MEM_POOL && ((struct segment *)m->owner)->ctx == ctx)
            dv_cupool_free_locked(m);
    }
    for (struct dv_cuda_pool *p = pools; p; p = p->next) {
        struct segment *s_next;
        for (struct segment *s = p->segments; s; s = s_next) {
            s_next = s->next;
            if (s->ctx == ctx)
                free_segment_locked(s);
        }
    }
}

/* ---- allocation ----------------------------------------------------------------------------- */

static int alloc_locked(struct dv_cuda_ctx *ctx, struct dv_cuda_pool *pool, uint64_t bytes,
                        uint64_t *ret_address)
{
    struct segment *s;
    uint64_t rounded = round_up(bytes, PIECE), address = 0;
    if (!find_piece_locked(pool, rounded, &s, &address)) {
        DV_CU_TRY(add_segment_locked(ctx, pool, rounded));
        DV_CU_REQUIRE(find_piece_locked(pool, rounded, &s, &address), DV_CUDA_ERROR_OUT_OF_MEMORY);
    }
    struct dv_cumem mem = {.address = address,
                           .bytes = bytes,
                           .kind = DV_CU_MEM_POOL,
                           .device = pool->device,
                           .owner = s,
                           .content = dv_cucontent_new(bytes)};
    int r = mem.content ? dv_cumem_insert_locked(&mem, NULL) : DV_CUDA_ERROR_OUT_OF_MEMORY;
    dv_cucontent_unref(mem.content);
    if (r)
        give_back_locked(s, address);
    else
        *ret_address = address;
    return r;
}

int dv_cupool_alloc(struct dv_cuda_ctx *ctx, struct dv_cuda_pool *pool, uint64_t bytes,
                    uint64_t *ret_address)
{
    DV_CU_REQUIRE(bytes && bytes <= UINT64_MAX / 2, DV_CUDA_ERROR_INVALID_VALUE);
    dv_cu_lock();
    int r = alloc_locked(ctx, pool, bytes, ret_address);
    dv_cu_unlock();
    return r;
}

static struct dv_cuda_pool *new_locked(int device, uint64_t max)
{
    struct dv_cuda_pool *p = dv_cuobject_new(DV_CU_POOL, sizeof(*p));
    if (!p)
        return NULL;
    p->device = device;
    p->max = max;
    p->reuse[0] = p->reuse[1] = p->reuse[2] = 1;
    p->access = DV_CUDA_ACCESS_READ_WRITE;
    p->next = pools;
    pools = p;
    return p;
}

static int default_pool(int device, struct dv_cuda_pool **ret)
{
    struct dv_cudevice *d = dv_cudevice_get(device);
    DV_CU_REQUIRE(d, DV_CUDA_ERROR_INVALID_DEVICE);
    dv_cu_lock();
    if (!d->default_pool && (d->default_pool = new_locked(device, 0)))
        d->default_pool->is_default = true;
    *ret = d->default_pool;
    dv_cu_unlock();
    return *ret ? 0 : DV_CUDA_ERROR_OUT_OF_MEMORY;
}

static int current_pool(int device, struct dv_cuda_pool **ret)
{
    struct dv_cudevice *d = dv_cudevice_get(device);
    DV_CU_REQUIRE(d, DV_CUDA_ERROR_INVALID_DEVICE);
    if (dv_cuobject_is(d->current_pool, DV_CU_POOL)) {
        *ret = d->current_pool;
        return 0;
    }
    return default_pool(device, ret);
}

static int alloc_async(uint64_t *ret_address, size_t bytes, struct dv_cuda_pool *pool,
                       bool from_pool, struct dv_cuda_stream *handle, bool per_thread)
{
    struct dv_cuda_stream *s;
    DV_CU_REQUIRE(ret_address && bytes, DV_CUDA_ERROR_INVALID_VALUE);
    DV_CU_REQUIRE(!from_pool || dv_cuobject_is(pool, DV_CU_POOL), DV_CUDA_ERROR_INVALID_VALUE);
    DV_CU_TRY(dv_custream_resolve(handle, per_thread, &s));
    if (!from_pool)
        DV_CU_TRY(current_pool(s->ctx->device, &pool));
    if (dv_cucapture_active(s))
        return dv_cucapture_alloc(s, pool->device, bytes, ret_address);
    return dv_cupool_alloc(s->ctx, pool, bytes, ret_address);
}

dv_cuda_api_both(cuMemAllocAsync, _ptsz,
                 (uint64_t * ret_address, size_t bytes, struct dv_cuda_stream *stream),
                 alloc_async(ret_address, bytes, NULL, false, stream, per_thread));
dv_cuda_api_both(cuMemAllocFromPoolAsync, _ptsz,
                 (uint64_t * ret_address, size_t bytes, struct dv_cuda_pool *pool,
                  struct dv_cuda_stream *stream),
                 alloc_async(ret_address, bytes, pool, true, stream, per_thread));

static int free_async(uint64_t address, struct dv_cuda_stream *handle, bool per_thread)
{
    struct dv_cuda_stream *s;
    DV_CU_TRY(dv_custream_resolve(handle, per_thread, &s));
    if (dv_cucapture_active(s))
        return dv_cucapture_free(s, address);
    dv_cu_lock();
    struct dv_cumem *m = dv_cumem_find_locked(address);
    bool is = m && m->kind == DV_CU_MEM_POOL && m->address == address;
    if (is)
        dv_cupool_free_locked(m);
    dv_cu_unlock();
    return is ? 0 : dv_cumem_free(address);
}

dv_cuda_api_both(cuMemFreeAsync, _ptsz, (uint64_t address, struct dv_cuda_stream *stream),
                 free_async(address, stream, per_thread));

/* ---- pools ---------------------------------------------------------------------------------- */

dv_cuda_api(cuMemPoolCreate, struct dv_cuda_pool **ret, const struct dv_cuda_pool_props *props)
{
    DV_CU_ENTER();
    DV_CU_REQUIRE(ret && props && props->allocation_type == DV_CUDA_ALLOCATION_PINNED,
                  DV_CUDA_ERROR_INVALID_VALUE);
    DV_CU_REQUIRE(props->location.type == DV_CUDA_LOCATION_DEVICE &&
                      props->handle_types == DV_CUDA_HANDLE_NONE,
                  DV_CUDA_ERROR_NOT_SUPPORTED);
    DV_CU_REQUIRE(dv_cudevice_get(props->location.id), DV_CUDA_ERROR_INVALID_DEVICE);
    dv_cu_lock();
    *ret = new_locked(props->location.id, props->max_size);
    dv_cu_unlock();
    return *ret ? 0 : DV_CUDA_ERROR_OUT_OF_MEMORY;
}

static void destroy_locked(struct dv_cuda_pool *pool)
{
    struct dv_cumem *next;
    for (struct dv_cumem *m = dv_cumem_next_locked(0); m; m = next) {
        next = dv_cumem_next_locked(m->address + 1);
        if (m->kind == DV_CU_MEM_POOL && dv_cupool_of(m) == pool)
            dv_cupool_free_locked(m);
    }
    while (pool->segments)
        free_segment_locked(pool->segments);
    for (struct dv_cuda_pool **p = &pools; *p; p = &(*p)->next)
        if (*p == pool) {
            *p = pool->next;
            break;
        }
    dv_cuobject_free(pool);
}

dv_cuda_api(cuMemPoolDestroy, struct dv_cuda_pool *pool)
{
    DV_CU_ENTER();
    dv_cu_lock();
    bool valid = dv_cuobject_is(pool, DV_CU_POOL) && !pool->is_default;
    if (valid)
        destroy_locked(pool);
    dv_cu_unlock();
    return valid ? 0 : DV_CUDA_ERROR_INVALID_VALUE;
}

dv_cuda_api(cuMemPoolTrimTo, struct dv_cuda_pool *pool, size_t keep)
{
    DV_CU_ENTER();
    DV_CU_REQUIRE(dv_cuobject_is(pool, DV_CU_POOL), DV_CUDA_ERROR_INVALID_VALUE);
    dv_cu_lock();
    trim_locked(pool, keep);
    dv_cu_unlock();
    return 0;
}

/* The 64-bit attribute's place; NULL for those that are ints. */
static uint64_t *counter(struct dv_cuda_pool *pool, int attribute)
{
    switch (attribute) {
    case DV_CUDA_POOL_RELEASE_THRESHOLD:
        return &pool->threshold;
    case DV_CUDA_POOL_RESERVED_CURRENT:
        return &pool->reserved;
    case DV_CUDA_POOL_RESERVED_HIGH:
        return &pool->reserved_high;
    case DV_CUDA_POOL_USED_CURRENT:
        return &pool->used;
    case DV_CUDA_POOL_USED_HIGH:
        return &pool->used_high;
    default:
        return NULL;
    }
}

static bool is_reuse(int attribute)
{
    return attribute >= DV_CUDA_POOL_REUSE_FOLLOW_EVENTS &&
           attribute <= DV_CUDA_POOL_REUSE_INTERNAL;
}

dv_cuda_api(cuMemPoolGetAttribute, struct dv_cuda_pool *pool, int attribute, void *ret)
{
    DV_CU_ENTER();
    DV_CU_REQUIRE(ret && dv_cuobject_is(pool, DV_CU_POOL), DV_CUDA_ERROR_INVALID_VALUE);
    const uint64_t *c = counter(pool, attribute);
    DV_CU_REQUIRE(c || is_reuse(attribute), DV_CUDA_ERROR_INVALID_VALUE);
    dv_cu_lock();
    if (c)
        memcpy(ret, c, sizeof(*c));
    else
        memcpy(ret, &pool->reuse[attribute - 1], sizeof(int));
    dv_cu_unlock();
    return 0;
}

/* The high-water marks can be set back to 0, by which the present figure is meant. */
dv_cuda_api(cuMemPoolSetAttribute, struct dv_cuda_pool *pool, int attribute, void *value)
{
    DV_CU_ENTER();
    uint64_t n = 0;
    DV_CU_REQUIRE(value && dv_cuobject_is(pool, DV_CU_POOL), DV_CUDA_ERROR_INVALID_VALUE);
    if (counter(pool, attribute))
        memcpy(&n, value, sizeof(n));
    bool high = attribute == DV_CUDA_POOL_RESERVED_HIGH || attribute == DV_CUDA_POOL_USED_HIGH;
    DV_CU_REQUIRE(is_reuse(attribute) || attribute == DV_CUDA_POOL_RELEASE_THRESHOLD ||
                      (high && n == 0),
                  DV_CUDA_ERROR_INVALID_VALUE);
    dv_cu_lock();
    if (is_reuse(attribute))
        memcpy(&pool->reuse[attribute - 1], value, sizeof(int));
    else if (attribute == DV_CUDA_POOL_RELEASE_THRESHOLD)
        pool->threshold = n;
    else if (attribute == DV_CUDA_POOL_RESERVED_HIGH)
        pool->reserved_high = pool->reserved;
    else
        pool->used_high = pool->used;
    dv_cu_unlock();
    return 0;
}

dv_cuda_api(cuMemPoolSetAccess, struct dv_cuda_pool *pool, const struct dv_cuda_access_desc *map,
            size_t n)
{
    DV_CU_ENTER();
    DV_CU_REQUIRE(dv_cuobject_is(pool, DV_CU_POOL) && (map || !n), DV_CUDA_ERROR_INVALID_VALUE);
    for (size_t i = 0; i < n; i++)
        DV_CU_REQUIRE(dv_cudevice_get(map[i].location.id), DV_CUDA_ERROR_INVALID_DEVICE);
    return 0;
}

dv_cuda_api(cuMemPoolGetAccess, int *ret, struct dv_cuda_pool *pool,
            struct dv_cuda_location *location)
{
    DV_CU_ENTER();
    DV_CU_REQUIRE(ret && location && dv_cuobject_is(pool, DV_CU_POOL), DV_CUDA_ERROR_INVALID_VALUE);
    *ret = location->id == pool->device ? DV_CUDA_ACCESS_READ_WRITE : DV_CUDA_ACCESS_NONE;
    return 0;
}

dv_cuda_api(cuDeviceGetDefaultMemPool, struct dv_cuda_pool **ret, int device)
{
    DV_CU_ENTER();
    DV_CU_REQUIRE(ret, DV_CUDA_ERROR_INVALID_VALUE);
    return default_pool(device, ret);
}

dv_cuda_api(cuDeviceGetMemPool, struct dv_cuda_pool **ret, int device)
{
    DV_CU_ENTER();
    DV_CU_REQUIRE(ret, DV_CUDA_ERROR_INVALID_VALUE);
    return current_pool(device, ret);
}

dv_cuda_api(cuDeviceSetMemPool, int device, struct dv_cuda_pool *pool)
{
    DV_CU_ENTER();
    struct dv_cudevice *d = dv_cudevice_get(device);
    DV_CU_REQUIRE(d, DV_CUDA_ERROR_INVALID_DEVICE);
    DV_CU_REQUIRE(dv_cuobject_is(pool, DV_CU_POOL) && pool->device == device,
                  DV_CUDA_ERROR_INVALID_VALUE);
    d->current_pool = pool;
    return 0;
}

/* The same three by place, new with 13.0; only pinned memory of a device has pools here. */
static int check_place(const struct dv_cuda_location *place, int type)
{
    DV_CU_REQUIRE(place && type == DV_CUDA_ALLOCATION_PINNED, DV_CUDA_ERROR_INVALID_VALUE);
    return place->type == DV_CUDA_LOCATION_DEVICE ? 0 : DV_CUDA_ERROR_NOT_SUPPORTED;
}

dv_cuda_api(cuMemGetDefaultMemPool, struct dv_cuda_pool **ret, struct dv_cuda_location *place,
            int type)
{
    DV_CU_ENTER();
    DV_CU_REQUIRE(ret, DV_CUDA_ERROR_INVALID_VALUE);
    DV_CU_TRY(check_place(place, type));
    return default_pool(place->id, ret);
}

dv_cuda_api(cuMemGetMemPool, struct dv_cuda_pool **ret, struct dv_cuda_location *place, int type)
{
    DV_CU_ENTER();
    DV_CU_REQUIRE(ret, DV_CUDA_ERROR_INVALID_VALUE);
    DV_CU_TRY(check_place(place, type));
    return current_pool(place->id, ret);
}

dv_cuda_api(cuMemSetMemPool, struct dv_cuda_location *place, int type, struct dv_cuda_pool *pool)
{
    DV_CU_ENTER();
    DV_CU_TRY(check_place(place, type));
    struct dv_cudevice *d = dv_cudevice_get(place->id);
    DV_CU_REQUIRE(d, DV_CUDA_ERROR_INVALID_DEVICE);
    DV_CU_REQUIRE(dv_cuobject_is(pool, DV_CU_POOL) && pool->device == place->id,
                  DV_CUDA_ERROR_INVALID_VALUE);
    d->current_pool = pool;
    return 0;
}
