/* SPDX-License-Identifier: Apache-2.0 */
#include "pools.h"

#include "abi_cuda.h"
#include "charge.h"
#include "compute.h"
#include "governor.h"
#include "graphs.h"
#include "view.h"

#include <pthread.h>

#define POOLS_MAX 128 /* ledger entries name a pool by a byte */

struct pool {
    void *handle; /* NULL = free */
    uint64_t charged;
    uint64_t unit;      /* the driver grows it by multiples of this, as far as has been seen */
    uint32_t under_way; /* allocations between reserve and settle */
    uint32_t changes;
};

static struct pool pools[POOLS_MAX]; /* under charge's mutex */
/* Held while pools are asked that the caller does not name, and while one is destroyed: nobody may
 * ask a pool that is gone. Taken on the way to a refusal and at synchronizations, not else. */
static pthread_mutex_t lifetime = PTHREAD_MUTEX_INITIALIZER;
static int loose; /* something was freed since pools were last settled */

/* ---- bookkeeping; all of it under the mutex ---- */

static struct pool *find_or_add(void *handle)
{
    struct pool *free_one = NULL;
    for (unsigned i = 0; i < POOLS_MAX; i++) {
        if (pools[i].handle == handle)
            return &pools[i];
        if (!pools[i].handle && !free_one)
            free_one = &pools[i];
    }
    if (free_one)
        *free_one = (struct pool){.handle = handle, .unit = UINT64_C(2) << 20};
    return free_one;
}

static uint64_t round_to(uint64_t bytes, uint64_t unit)
{
    return bytes > UINT64_MAX / 2 ? bytes : (bytes + unit - 1) / unit * unit;
}

static bool reserved_of(void *handle, uint64_t *ret)
{
    return !DV_ORIGINAL(cuMemPoolGetAttribute)(handle, DV_CUDA_POOL_RESERVED_CURRENT, ret);
}

/*
 * Makes the charge what the pool holds. The driver is asked outside the mutex: the answer counts
 * only if nothing of this pool has begun or ended meanwhile. A larger truth than the charge is the
 * driver's coarser unit: learnt, and refused when it does not fit (returns false).
 */
static bool settle(struct pool *p)
{
    dv_charge_lock();
    void *handle = p->handle;
    uint32_t changes = p->changes;
    bool quiet = handle && !p->under_way;
    dv_charge_unlock();
    uint64_t truth;
    if (!quiet || !reserved_of(handle, &truth))
        return true;
    bool fits = true;
    dv_charge_lock();
    if (p->handle == handle && p->changes == changes) {
        fits = !dv_charge_locked_bytes((int64_t)(truth - p->charged), false);
        if (fits)
            p->charged = truth;
    }
    dv_charge_unlock();
    return fits;
}

static struct pool look_at(unsigned i)
{
    dv_charge_lock();
    struct pool p = pools[i];
    dv_charge_unlock();
    return p;
}

void dv_pools_settle(void)
{
    if (DV_LIKELY(!__atomic_load_n(&loose, __ATOMIC_RELAXED)))
        return;
    __atomic_store_n(&loose, 0, __ATOMIC_RELAXED);
    pthread_mutex_lock(&lifetime);
    for (unsigned i = 0; i < POOLS_MAX; i++)
        if (look_at(i).handle)
            (void)settle(&pools[i]);
    pthread_mutex_unlock(&lifetime);
}

void dv_pools_freed(unsigned index)
{
    (void)index;
    __atomic_store_n(&loose, 1, __ATOMIC_RELAXED);
}

bool dv_pools_give_back(void)
{
    bool any = false;
    pthread_mutex_lock(&lifetime);
    for (unsigned i = 0; i < POOLS_MAX; i++) {
        struct pool before = look_at(i);
        if (!before.handle)
            continue;
        (void)DV_ORIGINAL(cuMemPoolTrimTo)(before.handle, 0);
        (void)settle(&pools[i]);
        any |= look_at(i).charged < before.charged;
    }
    pthread_mutex_unlock(&lifetime);
    return any;
}

void dv_pools_forked(void)
{
    lifetime = (pthread_mutex_t)PTHREAD_MUTEX_INITIALIZER;
    for (unsigned i = 0; i < POOLS_MAX; i++)
        pools[i] = (struct pool){.handle = NULL};
    loose = 0;
}

/* ---- allocation ---- */

/* 0: `most` is charged and the pool has an allocation under way; 1: refused. */
static int begin(void *handle, uint64_t bytes, struct pool **ret_pool, uint64_t *ret_most)
{
    dv_charge_lock();
    struct pool *p = find_or_add(handle);
    int r = 1;
    if (p) {
        uint64_t most = round_to(bytes, p->unit);
        r = most > INT64_MAX / 2 || dv_charge_locked_bytes((int64_t)most, false);
        if (!r) {
            p->charged += most;
            p->under_way++;
            p->changes++;
            *ret_most = most;
            *ret_pool = p;
        }
    }
    dv_charge_unlock();
    return r;
}

/* The allocation is made (or has failed: then what was charged for it is given back, unless the
 * driver tells the pool's size anyway). */
static void end(struct pool *p, uint64_t most, bool failed)
{
    dv_charge_lock();
    p->under_way--;
    p->changes++;
    if (failed) {
        (void)dv_charge_locked_bytes(-(int64_t)most, false);
        p->charged -= most;
    }
    dv_charge_unlock();
}

static int remember(uint64_t address, struct pool *p)
{
    struct dv_ledger_entry e = {
        .key = address, .space = DV_SPACE_ADDRESS, .count = 1, .pool = (uint8_t)(p - pools + 1)};
    struct dv_ledger *l = dv_charge_lock();
    (void)dv_ledger_put(l, &e);
    dv_charge_unlock();
    return 0;
}

/* The pool grew by more than its unit said and that does not fit: take the allocation back. */
static int take_back(struct pool *p, uint64_t address, void *stream)
{
    (void)DV_ORIGINAL(cuMemFreeAsync)(address, stream);
    (void)DV_ORIGINAL(cuStreamSynchronize)(stream);
    (void)DV_ORIGINAL(cuMemPoolTrimTo)(p->handle, 0);
    dv_charge_lock();
    p->unit = p->unit < (UINT64_C(1) << 30) ? p->unit * 2 : p->unit;
    dv_charge_unlock();
    (void)settle(p);
    return DV_CUDA_ERROR_OUT_OF_MEMORY;
}

typedef int allocate(unsigned original, uint64_t *ret, size_t bytes, void *pool, void *stream);

static int from_pool(unsigned original, allocate *call, uint64_t *ret, size_t bytes, void *pool,
                     void *stream)
{
    struct pool *p;
    uint64_t most;
    if (begin(pool, bytes, &p, &most) && (!dv_pools_give_back() || begin(pool, bytes, &p, &most))) {
        struct dv_charge never;
        return dv_charge_reserve(&never, UINT64_MAX); /* counts the refusal */
    }
    int r = call(original, ret, bytes, pool, stream);
    end(p, most, r != 0);
    if (r)
        return r;
    if (!settle(p))
        return take_back(p, *ret, stream);
    return remember(*ret, p);
}

static int call_async(unsigned original, uint64_t *ret, size_t bytes, void *pool, void *stream)
{
    (void)pool;
    return DV_ORIGINAL_AS(cuMemAllocAsync, original)(ret, bytes, stream);
}

static int call_from_pool(unsigned original, uint64_t *ret, size_t bytes, void *pool, void *stream)
{
    return DV_ORIGINAL_AS(cuMemAllocFromPoolAsync, original)(ret, bytes, pool, stream);
}

static bool per_thread(unsigned original)
{
    return original == DV_F_cuMemAllocAsync_ptsz || original == DV_F_cuMemAllocFromPoolAsync_ptsz ||
           original == DV_F_cuMemFreeAsync_ptsz;
}

/* On a capturing stream nothing is allocated now: the graph that is being made will. */
static int captured(uint64_t bytes, void *on, int r)
{
    if (!r)
        dv_graphs_captured_alloc(on, bytes);
    return r;
}

int dv_on_alloc_async(unsigned original, uint64_t *ret, size_t bytes, void *stream)
{
    void *on = dv_compute_stream(stream, per_thread(original));
    if (dv_compute_capturing(on))
        return captured(bytes, on, call_async(original, ret, bytes, NULL, stream));
    void *pool = NULL;
    if (DV_ORIGINAL(cuDeviceGetMemPool)(&pool, dv_view_device()) || !pool)
        return call_async(original, ret, bytes, NULL, stream); /* fails: there are no pools */
    return from_pool(original, call_async, ret, bytes, pool, stream);
}

int dv_on_alloc_from_pool(unsigned original, uint64_t *ret, size_t bytes, void *pool, void *stream)
{
    void *on = dv_compute_stream(stream, per_thread(original));
    if (dv_compute_capturing(on))
        return captured(bytes, on, call_from_pool(original, ret, bytes, pool, stream));
    return from_pool(original, call_from_pool, ret, bytes, pool, stream);
}

/* ---- freeing ---- */

static int after_free(struct dv_charge *c, int r)
{
    if (!r && c->taken && c->entry.pool)
        dv_pools_freed(c->entry.pool - 1U);
    return dv_charge_drop(c, r);
}

int dv_on_free(unsigned original, uint64_t address)
{
    struct dv_charge c;
    dv_charge_take(&c, DV_SPACE_ADDRESS, address);
    return after_free(&c, DV_ORIGINAL_AS(cuMemFree_v2, original)(address));
}

int dv_on_free_32(unsigned original, uint32_t address)
{
    struct dv_charge c;
    dv_charge_take(&c, DV_SPACE_ADDRESS, address);
    return after_free(&c, DV_ORIGINAL_AS(cuMemFree, original)(address));
}

/* Memory that was not taken from a pool is free when the stream has come to here, and counts until
 * then: freed at once it is only for whom the driver takes it at once. */
int dv_on_free_async(unsigned original, uint64_t address, void *stream)
{
    void *on = dv_compute_stream(stream, per_thread(original));
    if (dv_compute_capturing(on))
        return DV_ORIGINAL_AS(cuMemFreeAsync, original)(address, stream);
    struct dv_charge c;
    dv_charge_take(&c, DV_SPACE_ADDRESS, address);
    int r = DV_ORIGINAL_AS(cuMemFreeAsync, original)(address, stream);
    if (!r && c.taken && !c.entry.pool)
        (void)DV_ORIGINAL_AS(cuStreamSynchronize, per_thread(original)
                                                      ? DV_F_cuStreamSynchronize_ptsz
                                                      : DV_F_cuStreamSynchronize)(stream);
    return after_free(&c, r);
}

/* ---- pools ---- */

int dv_on_pool_create(unsigned original, void **ret, const void *shape)
{
    const struct dv_cuda_pool_props *props = shape;
    if (props && props->location.type == DV_CUDA_LOCATION_DEVICE) {
        int r = dv_view_check(props->location.id);
        if (r)
            return r;
    }
    return DV_ORIGINAL_AS(cuMemPoolCreate, original)(ret, shape);
}

static struct pool *find(void *handle)
{
    for (unsigned i = 0; i < POOLS_MAX; i++)
        if (pools[i].handle == handle)
            return &pools[i];
    return NULL;
}

/* The driver destroys it when its last allocation is free; nobody can be asked about its size any
 * more, so what it holds now stays charged until the process ends. */
int dv_on_pool_destroy(unsigned original, void *pool)
{
    uint64_t left = 0;
    pthread_mutex_lock(&lifetime);
    (void)DV_ORIGINAL(cuMemPoolTrimTo)(pool, 0);
    bool known = reserved_of(pool, &left);
    int r = DV_ORIGINAL_AS(cuMemPoolDestroy, original)(pool);
    dv_charge_lock();
    struct pool *p = r ? NULL : find(pool);
    if (p) {
        uint64_t back = known && left < p->charged ? p->charged - left : 0;
        (void)dv_charge_locked_bytes(-(int64_t)back, false);
        *p = (struct pool){.handle = NULL};
    }
    dv_charge_unlock();
    pthread_mutex_unlock(&lifetime);
    return r;
}

int dv_on_pool_trim(unsigned original, void *pool, size_t keep)
{
    int r = DV_ORIGINAL_AS(cuMemPoolTrimTo, original)(pool, keep);
    if (!r)
        dv_pools_freed(0);
    dv_pools_settle();
    return r;
}
