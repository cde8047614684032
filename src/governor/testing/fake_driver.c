/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A driver for the governor's unit tests: a libcuda.so.1 of a few dozen calls, in which memory is
 * only counted, and work takes its time. Two devices; the second is nobody's business. Sizes are
 * rounded as the simulated driver rounds them. Everything is one lock; not a model of anything.
 *
 *     fake_used(), fake_high_water()         bytes held, and the most that ever was
 *     fake_calls("cuLaunchKernel")           how often that very symbol was called
 */
#include "abi_cuda.h"

#include <pthread.h>
#include <stdbool.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#define EXPORT __attribute__((visibility("default")))
#define DEVICE_BYTES (UINT64_C(64) << 30)
#define CONTEXT_BYTES (UINT64_C(300) << 20)
#define MODULE_BYTES (UINT64_C(4) << 20)
#define POOL_UNIT (UINT64_C(2) << 20)

struct piece {
    struct piece *next;
    uint64_t name, bytes;
    unsigned references;
    struct fake_pool *pool;
};

struct fake_pool {
    uint64_t used, reserved;
};

static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;
static struct piece *pieces;
static uint64_t used, high_water, next_name = UINT64_C(1) << 40;
static struct fake_pool default_pool;
static bool initialized;
static unsigned primary_count;
static __thread void *current;

static struct {
    const char *name;
    unsigned count;
} calls[64];

static void count_call(const char *name)
{
    pthread_mutex_lock(&lock);
    for (unsigned i = 0; i < 64; i++) {
        if (!calls[i].name)
            calls[i].name = name;
        if (!strcmp(calls[i].name, name)) {
            calls[i].count++;
            break;
        }
    }
    pthread_mutex_unlock(&lock);
}

EXPORT uint64_t fake_used(void);
EXPORT uint64_t fake_high_water(void);
EXPORT unsigned fake_calls(const char *name);

uint64_t fake_used(void)
{
    return __atomic_load_n(&used, __ATOMIC_ACQUIRE);
}

uint64_t fake_high_water(void)
{
    return __atomic_load_n(&high_water, __ATOMIC_ACQUIRE);
}

unsigned fake_calls(const char *name)
{
    for (unsigned i = 0; i < 64 && calls[i].name; i++)
        if (!strcmp(calls[i].name, name))
            return calls[i].count;
    return 0;
}

static uint64_t rounded(uint64_t n)
{
    uint64_t unit = n >= 1 << 20 ? UINT64_C(2) << 20 : 512;
    return (n + unit - 1) / unit * unit;
}

/* Under the lock. */
static int take(uint64_t bytes)
{
    if (bytes > DEVICE_BYTES - used)
        return DV_CUDA_ERROR_OUT_OF_MEMORY;
    __atomic_store_n(&used, used + bytes, __ATOMIC_RELEASE);
    if (used > high_water)
        __atomic_store_n(&high_water, used, __ATOMIC_RELEASE);
    return 0;
}

static int make(uint64_t bytes, struct fake_pool *pool, uint64_t *ret)
{
    struct piece *p = calloc(1, sizeof *p);
    bytes = rounded(bytes);
    pthread_mutex_lock(&lock);
    int r = 0;
    if (pool) {
        uint64_t grown = (pool->used + bytes + POOL_UNIT - 1) / POOL_UNIT * POOL_UNIT;
        if (grown > pool->reserved)
            r = take(grown - pool->reserved);
        if (!r && grown > pool->reserved)
            pool->reserved = grown;
        if (!r)
            pool->used += bytes;
    } else {
        r = take(bytes);
    }
    if (!r) {
        *p = (struct piece){pieces, next_name, bytes, 1, pool};
        pieces = p;
        *ret = next_name;
        next_name += (bytes / 512 + 1) * 512;
    }
    pthread_mutex_unlock(&lock);
    if (r)
        free(p);
    return r;
}

static int change(uint64_t name, int by)
{
    pthread_mutex_lock(&lock);
    struct piece **at = &pieces;
    while (*at && (*at)->name != name)
        at = &(*at)->next;
    struct piece *p = *at;
    if (p && (p->references += (unsigned)by) == 0) {
        *at = p->next;
        if (p->pool)
            p->pool->used -= p->bytes;
        else
            __atomic_store_n(&used, used - p->bytes, __ATOMIC_RELEASE);
        free(p);
    }
    pthread_mutex_unlock(&lock);
    return p ? 0 : DV_CUDA_ERROR_INVALID_VALUE;
}

/* ---- time: one device, one thing after the other; a grid of n takes n - 1 microseconds ------- */

static uint64_t busy_until; /* under the lock */

static uint64_t now_ns(void)
{
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return (uint64_t)t.tv_sec * UINT64_C(1000000000) + (uint64_t)t.tv_nsec;
}

static uint64_t run_for(uint64_t ns)
{
    pthread_mutex_lock(&lock);
    uint64_t now = now_ns();
    busy_until = (busy_until > now ? busy_until : now) + ns;
    uint64_t end = busy_until;
    pthread_mutex_unlock(&lock);
    return end;
}

static int wait_idle(void)
{
    uint64_t end = run_for(0);
    struct timespec t = {(time_t)(end / 1000000000), (long)(end % 1000000000)};
    while (clock_nanosleep(CLOCK_MONOTONIC, TIMER_ABSTIME, &t, NULL))
        ;
    return 0;
}

/* ---- the calls ------------------------------------------------------------------------------- */

#define CALL(name, ...)                                                                            \
    EXPORT int name(__VA_ARGS__);                                                                  \
    int name(__VA_ARGS__)

CALL(cuInit, unsigned flags)
{
    initialized = true;
    return flags ? DV_CUDA_ERROR_INVALID_VALUE : 0;
}

CALL(cuDriverGetVersion, int *ret)
{
    *ret = 13000;
    return 0;
}

CALL(cuDeviceGetCount, int *ret)
{
    if (!initialized)
        return DV_CUDA_ERROR_NOT_INITIALIZED;
    *ret = 2;
    return 0;
}

CALL(cuDeviceGet, int *ret, int ordinal)
{
    if (ordinal < 0 || ordinal > 1)
        return DV_CUDA_ERROR_INVALID_DEVICE;
    *ret = ordinal;
    return 0;
}

CALL(cuDeviceGetUuid_v2, uint8_t *ret, int device)
{
    memset(ret, device ? 0x22 : 0x11, 16);
    return 0;
}

CALL(cuDeviceTotalMem_v2, size_t *ret, int device)
{
    *ret = DEVICE_BYTES;
    return device < 2 ? 0 : DV_CUDA_ERROR_INVALID_DEVICE;
}

CALL(cuDeviceGetMemPool, void **ret, int device)
{
    *ret = &default_pool;
    return 0;
}

CALL(cuMemGetInfo_v2, size_t *ret_free, size_t *ret_total)
{
    *ret_free = DEVICE_BYTES - fake_used();
    *ret_total = DEVICE_BYTES;
    return 0;
}

CALL(cuCtxCreate_v2, void **ret, unsigned flags, int device)
{
    uint64_t name;
    int r = make(CONTEXT_BYTES, NULL, &name);
    if (r)
        return r;
    *ret = current = (void *)name;
    return 0;
}

CALL(cuCtxDestroy_v2, void *context)
{
    return change((uint64_t)context, -1);
}

static void *primary;

CALL(cuDevicePrimaryCtxRetain, void **ret, int device)
{
    uint64_t name;
    if (primary_count == 0 && make(CONTEXT_BYTES, NULL, &name))
        return DV_CUDA_ERROR_OUT_OF_MEMORY;
    if (primary_count++ == 0)
        primary = (void *)name;
    *ret = primary;
    return 0;
}

CALL(cuDevicePrimaryCtxRelease_v2, int device)
{
    if (primary_count == 0)
        return DV_CUDA_ERROR_INVALID_CONTEXT;
    return --primary_count == 0 ? change((uint64_t)primary, -1) : 0;
}

CALL(cuCtxSetCurrent, void *context)
{
    current = context;
    return 0;
}

CALL(cuCtxGetCurrent, void **ret)
{
    *ret = current;
    return 0;
}

CALL(cuCtxPushCurrent_v2, void *context)
{
    current = context;
    return 0;
}

CALL(cuCtxPopCurrent_v2, void **ret)
{
    *ret = current;
    current = NULL;
    return 0;
}

CALL(cuCtxSynchronize, void)
{
    return wait_idle();
}

CALL(cuModuleLoadData, void **ret, const void *image)
{
    return make(MODULE_BYTES, NULL, (uint64_t *)ret);
}

CALL(cuModuleUnload, void *module)
{
    return change((uint64_t)module, -1);
}

CALL(cuMemAlloc_v2, uint64_t *ret, size_t bytes)
{
    return make(bytes, NULL, ret);
}

CALL(cuMemAlloc, uint32_t *ret, uint32_t bytes)
{
    count_call("cuMemAlloc");
    return DV_CUDA_ERROR_NOT_SUPPORTED;
}

CALL(cuMemAllocManaged, uint64_t *ret, size_t bytes, unsigned flags)
{
    return make(bytes, NULL, ret);
}

CALL(cuMemAllocPitch_v2, uint64_t *ret, size_t *ret_pitch, size_t width, size_t height,
     unsigned element)
{
    *ret_pitch = (width + 511) / 512 * 512;
    return make(*ret_pitch * height, NULL, ret);
}

CALL(cuMemFree_v2, uint64_t address)
{
    return address ? change(address, -1) : 0;
}

CALL(cuMemAllocAsync, uint64_t *ret, size_t bytes, void *stream)
{
    count_call("cuMemAllocAsync");
    return make(bytes, &default_pool, ret);
}

CALL(cuMemAllocAsync_ptsz, uint64_t *ret, size_t bytes, void *stream)
{
    count_call("cuMemAllocAsync_ptsz");
    return make(bytes, &default_pool, ret);
}

CALL(cuMemAllocFromPoolAsync, uint64_t *ret, size_t bytes, void *pool, void *stream)
{
    return make(bytes, pool, ret);
}

CALL(cuMemFreeAsync, uint64_t address, void *stream)
{
    return change(address, -1);
}

CALL(cuMemPoolCreate, void **ret, const void *shape)
{
    *ret = calloc(1, sizeof(struct fake_pool));
    return 0;
}

CALL(cuMemPoolTrimTo, void *pool, size_t keep)
{
    struct fake_pool *p = pool;
    pthread_mutex_lock(&lock);
    uint64_t least = (p->used + POOL_UNIT - 1) / POOL_UNIT * POOL_UNIT;
    least = keep > least ? keep : least;
    if (least < p->reserved) {
        __atomic_store_n(&used, used - (p->reserved - least), __ATOMIC_RELEASE);
        p->reserved = least;
    }
    pthread_mutex_unlock(&lock);
    return 0;
}

CALL(cuMemPoolDestroy, void *pool)
{
    (void)cuMemPoolTrimTo(pool, 0);
    free(pool);
    return 0;
}

CALL(cuMemPoolGetAttribute, void *pool, int attribute, void *ret)
{
    pthread_mutex_lock(&lock);
    *(uint64_t *)ret = attribute == DV_CUDA_POOL_RESERVED_CURRENT
                           ? ((struct fake_pool *)pool)->reserved
                           : ((struct fake_pool *)pool)->used;
    pthread_mutex_unlock(&lock);
    return 0;
}

CALL(cuMemCreate, uint64_t *ret, size_t bytes, const void *properties, uint64_t flags)
{
    return make(bytes, NULL, ret);
}

CALL(cuMemRelease, uint64_t handle)
{
    return change(handle, -1);
}

static uint64_t mapped; /* one mapping is enough for a test */

CALL(cuMemMap, uint64_t address, size_t bytes, size_t offset, uint64_t handle, uint64_t flags)
{
    mapped = handle;
    return change(handle, 1);
}

CALL(cuMemUnmap, uint64_t address, size_t bytes)
{
    return change(mapped, -1);
}

CALL(cuMemRetainAllocationHandle, uint64_t *ret, void *address)
{
    *ret = mapped;
    return change(mapped, 1);
}

CALL(cuArrayCreate_v2, void **ret, const struct dv_cuda_array_descriptor *d)
{
    return make(d->width * (d->height ? d->height : 1) * 4 * d->channels, NULL, (uint64_t *)ret);
}

CALL(cuArrayDestroy, void *array)
{
    return change((uint64_t)array, -1);
}

CALL(cuLaunchKernel, void *f, unsigned gx, unsigned gy, unsigned gz, unsigned bx, unsigned by,
     unsigned bz, unsigned shared, void *stream, void **params, void **extra)
{
    if (gx > 1)
        (void)run_for((uint64_t)(gx - 1) * 1000);
    return 0;
}

CALL(cuLaunchKernel_ptsz, void *f, unsigned gx, unsigned gy, unsigned gz, unsigned bx, unsigned by,
     unsigned bz, unsigned shared, void *stream, void **params, void **extra)
{
    if (gx > 1)
        (void)run_for((uint64_t)(gx - 1) * 1000);
    return 0;
}

CALL(cuEventCreate, void **ret, unsigned flags)
{
    *ret = calloc(1, sizeof(uint64_t));
    return 0;
}

CALL(cuEventDestroy_v2, void *event)
{
    free(event);
    return 0;
}

CALL(cuEventRecord, void *event, void *stream)
{
    __atomic_store_n((uint64_t *)event, run_for(0), __ATOMIC_RELEASE);
    return 0;
}

CALL(cuEventQuery, void *event)
{
    uint64_t end = __atomic_load_n((uint64_t *)event, __ATOMIC_ACQUIRE);
    return now_ns() >= end ? 0 : DV_CUDA_ERROR_NOT_READY;
}

CALL(cuEventElapsedTime, float *ret, void *from, void *to)
{
    int64_t a = (int64_t)__atomic_load_n((uint64_t *)from, __ATOMIC_ACQUIRE);
    int64_t b = (int64_t)__atomic_load_n((uint64_t *)to, __ATOMIC_ACQUIRE);
    *ret = (float)((double)(b - a) / 1e6);
    return 0;
}

CALL(cuStreamIsCapturing, void *stream, int *ret)
{
    *ret = stream == (void *)0x77;
    return 0;
}

CALL(cuStreamBeginCapture_v2, void *stream, int mode)
{
    return 0;
}

CALL(cuStreamEndCapture, void *stream, void **ret)
{
    return 0;
}

CALL(cuStreamSynchronize, void *stream)
{
    return wait_idle();
}

/* A name without a wrapper, with arguments in every kind of register. */
CALL(cuProfilerInitialize, const char *a, const char *b, int c)
{
    return (int)strlen(a) * 100 + (int)strlen(b) * 10 + c;
}

CALL(cuGetProcAddress_v2, const char *name, void **ret, int version, uint64_t flags, int *status);
CALL(cuGetProcAddress, const char *name, void **ret, int version, uint64_t flags);

/* ---- lookup, by own table and never by dlsym --------------------------------------------------
 */

static const struct {
    const char *base;
    void *address;
    int version;
    bool per_thread;
} table[] = {
    {"cuInit", (void *)cuInit, 2000, false},
    {"cuDriverGetVersion", (void *)cuDriverGetVersion, 2020, false},
    {"cuMemAlloc", (void *)cuMemAlloc, 2000, false},
    {"cuMemAlloc", (void *)cuMemAlloc_v2, 3020, false},
    {"cuMemAllocAsync", (void *)cuMemAllocAsync, 11020, false},
    {"cuMemAllocAsync", (void *)cuMemAllocAsync_ptsz, 11020, true},
    {"cuLaunchKernel", (void *)cuLaunchKernel, 4000, false},
    {"cuLaunchKernel", (void *)cuLaunchKernel_ptsz, 7000, true},
    {"cuGetProcAddress", (void *)cuGetProcAddress, 11030, false},
    {"cuGetProcAddress", (void *)cuGetProcAddress_v2, 12000, false},
    {"cuProfilerInitialize", (void *)cuProfilerInitialize, 4000, false},
};

int cuGetProcAddress_v2(const char *name, void **ret, int version, uint64_t flags, int *status)
{
    bool known = false, per_thread = flags == DV_CUDA_PROC_PER_THREAD_STREAM;
    void *best = NULL;
    for (int pass = 0; pass < 2 && !best; pass++)
        for (unsigned i = 0; i < sizeof table / sizeof *table; i++) {
            if (strcmp(table[i].base, name) != 0)
                continue;
            known = true;
            if (table[i].version <= version && table[i].per_thread == (per_thread && !pass))
                best = table[i].address;
        }
    *ret = best;
    if (status)
        *status = best    ? DV_CUDA_SYMBOL_FOUND
                  : known ? DV_CUDA_SYMBOL_VERSION_NOT_SUFFICIENT
                          : DV_CUDA_SYMBOL_NOT_FOUND;
    return best ? 0 : DV_CUDA_ERROR_NOT_FOUND;
}

int cuGetProcAddress(const char *name, void **ret, int version, uint64_t flags)
{
    return cuGetProcAddress_v2(name, ret, version, flags, NULL);
}
