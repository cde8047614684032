/* SPDX-License-Identifier: Apache-2.0 */
/* Contexts: what they cost, what ends with them, and limits that make them larger. */
#include "abi_cuda.h"
#include "charge.h"
#include "compute.h"
#include "governor.h"
#include "sizes.h"
#include "view.h"

/* The defaults, which the learnt size of a context contains. */
#define DEFAULT_STACK UINT64_C(1024)
#define DEFAULT_FIFO (UINT64_C(1) << 20)
#define DEFAULT_HEAP (UINT64_C(8) << 20)

int dv_on_context_destroy(unsigned original, void *context)
{
    dv_compute_context_ends(context);
    struct dv_charge c;
    dv_charge_take(&c, DV_SPACE_CONTEXT, (uint64_t)context);
    int r = dv_charge_drop(&c, DV_ORIGINAL_AS(cuCtxDestroy_v2, original)(context));
    if (!r)
        dv_charge_context_gone(context);
    return r;
}

/* ---- the primary context: one per device and process, counted ---- */

/* True if it is there already and now counted once more. */
static bool primary_again(int device)
{
    struct dv_ledger *l = dv_charge_lock();
    struct dv_ledger_entry *e = dv_ledger_find(l, DV_SPACE_PRIMARY, (uint64_t)device);
    if (e)
        e->count++;
    dv_charge_unlock();
    return e != NULL;
}

/* One retain less; true if that was the last one and nothing is left of it. */
static bool primary_less(int device, void **ret_context)
{
    struct dv_ledger *l = dv_charge_lock();
    struct dv_ledger_entry *e = dv_ledger_find(l, DV_SPACE_PRIMARY, (uint64_t)device);
    bool last = e && --e->count == 0;
    struct dv_ledger_entry gone;
    if (last && dv_ledger_take(l, DV_SPACE_PRIMARY, (uint64_t)device, &gone)) {
        (void)dv_charge_locked_bytes(-(int64_t)gone.bytes, true);
        *ret_context = (void *)gone.other;
    }
    dv_charge_unlock();
    return last;
}

static void *primary_context(int device)
{
    struct dv_ledger *l = dv_charge_lock();
    struct dv_ledger_entry *e = dv_ledger_find(l, DV_SPACE_PRIMARY, (uint64_t)device);
    void *context = e ? (void *)e->other : NULL;
    dv_charge_unlock();
    return context;
}

static bool primary_last(int device)
{
    struct dv_ledger *l = dv_charge_lock();
    struct dv_ledger_entry *e = dv_ledger_find(l, DV_SPACE_PRIMARY, (uint64_t)device);
    bool last = e && e->count == 1;
    dv_charge_unlock();
    return last;
}

/* Two threads may both find it missing: both reserve, one entry stays, the other gives back. */
static int primary_first(struct dv_charge *c, int device, void *context)
{
    struct dv_ledger *l = dv_charge_lock();
    struct dv_ledger_entry *e = dv_ledger_find(l, DV_SPACE_PRIMARY, (uint64_t)device);
    if (e)
        e->count++;
    dv_charge_unlock();
    if (e)
        return dv_charge_cancel(c, 0);
    (void)dv_charge_commit(c, DV_SPACE_PRIMARY, (uint64_t)device);
    l = dv_charge_lock();
    e = dv_ledger_find(l, DV_SPACE_PRIMARY, (uint64_t)device);
    if (e)
        e->other = (uint64_t)context;
    dv_charge_unlock();
    return 0;
}

int dv_on_primary_retain(unsigned original, void **ret, int device)
{
    int r = dv_view_check(device);
    if (r)
        return r;
    if (primary_again(device)) {
        r = DV_ORIGINAL_AS(cuDevicePrimaryCtxRetain, original)(ret, device);
        void *unused;
        if (r)
            (void)primary_less(device, &unused);
        return r;
    }
    struct dv_charge c;
    r = dv_charge_reserve(&c, dv_size_context());
    if (r)
        return r;
    r = DV_ORIGINAL_AS(cuDevicePrimaryCtxRetain, original)(ret, device);
    if (r)
        return dv_charge_cancel(&c, r);
    if (dv_charge_true_up_overhead(&c)) {
        (void)DV_ORIGINAL(cuDevicePrimaryCtxRelease_v2)(device);
        return dv_charge_cancel(&c, DV_CUDA_ERROR_OUT_OF_MEMORY);
    }
    return primary_first(&c, device, *ret);
}

int dv_on_primary_release(unsigned original, int device)
{
    void *context = primary_context(device);
    if (context && primary_last(device))
        dv_compute_context_ends(context);
    int r = DV_ORIGINAL_AS(cuDevicePrimaryCtxRelease_v2, original)(device);
    if (!r && primary_less(device, &context))
        dv_charge_context_gone(context);
    return r;
}

/* Resets it whatever its count: the memory is free, the retains stay. */
int dv_on_primary_reset(unsigned original, int device)
{
    void *context = primary_context(device);
    if (context)
        dv_compute_context_ends(context);
    int r = DV_ORIGINAL_AS(cuDevicePrimaryCtxReset_v2, original)(device);
    if (!r)
        dv_charge_context_gone(context);
    return r;
}

/* ---- limits ---- */

static int attribute(int which)
{
    int value = 0;
    return DV_ORIGINAL(cuDeviceGetAttribute)(&value, which, dv_view_device()) ? 0 : value;
}

/* What the context grows by, beyond its default. */
static uint64_t limit_bytes(int limit, size_t value)
{
    switch (limit) {
    case DV_CUDA_LIMIT_STACK_SIZE: {
        uint64_t threads = (uint64_t)attribute(DV_CUDA_ATTR_SM_COUNT) *
                           (uint64_t)attribute(DV_CUDA_ATTR_MAX_THREADS_PER_SM);
        uint64_t bytes;
        if (value <= DEFAULT_STACK)
            return 0;
        return __builtin_mul_overflow(value - DEFAULT_STACK, threads, &bytes) ? UINT64_MAX : bytes;
    }
    case DV_CUDA_LIMIT_PRINTF_FIFO_SIZE:
        return value > DEFAULT_FIFO ? value - DEFAULT_FIFO : 0;
    case DV_CUDA_LIMIT_MALLOC_HEAP_SIZE:
        return value > DEFAULT_HEAP ? value - DEFAULT_HEAP : 0;
    default:
        return 0;
    }
}

int dv_on_set_limit(unsigned original, int limit, size_t value)
{
    void *context = NULL;
    uint64_t bytes = limit_bytes(limit, value);
    struct dv_charge was, c;
    (void)DV_ORIGINAL(cuCtxGetCurrent)(&context);
    uint64_t key = (uint64_t)context * 16 + (uint64_t)(unsigned)limit;
    int r = dv_charge_reserve(&c, bytes);
    if (r)
        return r;
    r = DV_ORIGINAL_AS(cuCtxSetLimit, original)(limit, value);
    if (r)
        return dv_charge_cancel(&c, r);
    dv_charge_take(&was, DV_SPACE_LIMIT, key);
    (void)dv_charge_drop(&was, 0);
    if (!bytes)
        return 0;
    (void)dv_charge_commit(&c, DV_SPACE_LIMIT, key);
    struct dv_ledger *l = dv_charge_lock();
    struct dv_ledger_entry *e = dv_ledger_find(l, DV_SPACE_LIMIT, key);
    if (e)
        e->context = context;
    dv_charge_unlock();
    return 0;
}
