/* SPDX-License-Identifier: Apache-2.0 */
#include "charge.h"

#include "abi_cuda.h"
#include "abi_reservation.h"
#include "compute.h"
#include "governor.h"
#include "pools.h"
#include "view.h"
#include "wire.h"

#include <pthread.h>

#define SMALL (UINT64_C(1) << 20)
#define LARGE_UNIT (UINT64_C(2) << 20)
#define SMALL_UNIT UINT64_C(512)

static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;
static struct dv_ledger ledger;
static uint64_t held_here; /* by this process, as charged */

uint64_t dv_charge_round(uint64_t bytes)
{
    uint64_t unit = bytes >= SMALL ? LARGE_UNIT : SMALL_UNIT;
    return bytes > UINT64_MAX - unit ? UINT64_MAX - unit : (bytes + unit - 1) / unit * unit;
}

struct dv_ledger *dv_charge_lock(void)
{
    pthread_mutex_lock(&lock);
    return &ledger;
}

void dv_charge_unlock(void)
{
    pthread_mutex_unlock(&lock);
}

static void count_overhead(struct dv_wire *l, int64_t delta)
{
    uint64_t was = l->page->memory_overhead_bytes;
    __atomic_store_n(&l->page->memory_overhead_bytes, was + (uint64_t)delta, __ATOMIC_RELAXED);
}

static int change(struct dv_wire *l, int64_t delta, uint64_t limit)
{
    if (delta > INT64_MAX / 2)
        return 1;
    if (dv_reservation_change(l->reservation, l->page, l->process, delta, limit))
        return 1;
    held_here += (uint64_t)delta;
    return 0;
}

int dv_charge_locked_bytes(int64_t delta, bool overhead)
{
    struct dv_wire *l = dv_wire_current();
    if (!l || delta == 0)
        return !l;
    if (change(l, delta, dv_wire_limit(l)))
        return 1;
    if (overhead)
        count_overhead(l, delta);
    return 0;
}

int dv_charge_bytes(int64_t delta, bool overhead)
{
    dv_charge_lock();
    int r = dv_charge_locked_bytes(delta, overhead);
    dv_charge_unlock();
    return r;
}

static void count_refusal(void)
{
    struct dv_wire *l = dv_wire_current();
    if (l)
        __atomic_fetch_add(&l->page->refused_total, 1, __ATOMIC_RELAXED);
}

int dv_charge_reserve(struct dv_charge *c, uint64_t bytes)
{
    *c = (struct dv_charge){.bytes = dv_charge_round(bytes)};
    if (c->bytes > INT64_MAX / 2)
        return DV_CUDA_ERROR_OUT_OF_MEMORY;
    if (!dv_charge_bytes((int64_t)c->bytes, false))
        return 0;
    if (dv_pools_give_back() && !dv_charge_bytes((int64_t)c->bytes, false))
        return 0;
    count_refusal();
    return DV_CUDA_ERROR_OUT_OF_MEMORY;
}

int dv_charge_true_up(struct dv_charge *c, uint64_t actual)
{
    uint64_t rounded = dv_charge_round(actual);
    if (!actual || rounded == c->bytes)
        return 0;
    if (dv_charge_bytes((int64_t)(rounded - c->bytes), false)) {
        count_refusal();
        return 1;
    }
    c->bytes = rounded;
    return 0;
}

/*
 * What the driver holds for this process against what is charged for it: more than that can only
 * be the size of contexts and code, that nobody told us. Other threads may be between reserving
 * and allocating, or between freeing and giving back: then the charge is the larger one, and the
 * next look finds the rest.
 */
int dv_charge_true_up_overhead(struct dv_charge *c)
{
    uint64_t used;
    if (!dv_view_process_memory(&used))
        return 0;
    uint64_t held = __atomic_load_n(&held_here, __ATOMIC_RELAXED);
    if (used <= held)
        return 0;
    if (dv_charge_bytes((int64_t)(used - held), false)) {
        count_refusal();
        return 1;
    }
    c->bytes += used - held;
    return 0;
}

int dv_charge_cancel(struct dv_charge *c, int r)
{
    (void)dv_charge_bytes(-(int64_t)c->bytes, false);
    c->bytes = 0;
    return r;
}

/* Handles of the driver's own making outlive contexts or carry the context in themselves. */
static bool ends_with_context(enum dv_space space)
{
    return space == DV_SPACE_ADDRESS || space == DV_SPACE_ARRAY || space == DV_SPACE_MODULE ||
           space == DV_SPACE_EXTERNAL;
}

static bool is_overhead(enum dv_space space)
{
    return space == DV_SPACE_CONTEXT || space == DV_SPACE_PRIMARY || space == DV_SPACE_MODULE ||
           space == DV_SPACE_LIBRARY || space == DV_SPACE_LIMIT;
}

int dv_charge_commit(struct dv_charge *c, enum dv_space space, uint64_t key)
{
    struct dv_ledger_entry e = {.key = key,
                                .space = (uint8_t)space,
                                .bytes = c->bytes,
                                .count = 1,
                                .overhead = is_overhead(space)};
    if (space == DV_SPACE_CONTEXT || space == DV_SPACE_PRIMARY)
        dv_compute_context_begins();
    if (ends_with_context(space) && DV_ORIGINAL(cuCtxGetCurrent)(&e.context))
        e.context = NULL;
    dv_charge_lock();
    if (!dv_ledger_put(&ledger, &e))
        dv_wire_log("ledger full: %llu bytes stay charged", (unsigned long long)c->bytes);
    if (e.overhead && dv_wire_current())
        count_overhead(dv_wire_current(), (int64_t)c->bytes);
    dv_charge_unlock();
    return 0;
}

void dv_charge_take(struct dv_charge *c, enum dv_space space, uint64_t key)
{
    *c = (struct dv_charge){.bytes = 0};
    dv_charge_lock();
    c->taken = dv_ledger_take(&ledger, space, key, &c->entry);
    dv_charge_unlock();
}

int dv_charge_drop(struct dv_charge *c, int r)
{
    if (!c->taken)
        return r;
    dv_charge_lock();
    if (r) {
        if (!dv_ledger_find(&ledger, c->entry.space, c->entry.key))
            (void)dv_ledger_put(&ledger, &c->entry);
    } else {
        (void)dv_charge_locked_bytes(-(int64_t)c->entry.bytes, c->entry.overhead);
    }
    dv_charge_unlock();
    return r;
}

void dv_charge_context_gone(void *context)
{
    if (!context)
        return;
    dv_charge_lock();
    uint64_t overhead;
    uint64_t bytes = dv_ledger_drop_context(&ledger, context, &overhead);
    (void)dv_charge_locked_bytes(-(int64_t)overhead, true);
    (void)dv_charge_locked_bytes(-(int64_t)(bytes - overhead), false);
    dv_charge_unlock();
}

void dv_charge_slice(uint64_t *ret_used, uint64_t *ret_limit)
{
    struct dv_wire *l = dv_wire_current();
    *ret_used = __atomic_load_n(&l->reservation->word.bytes, __ATOMIC_ACQUIRE);
    *ret_limit = dv_wire_limit(l);
}

void dv_charge_again(void)
{
    struct dv_wire *l = dv_wire_current();
    dv_charge_lock();
    uint64_t held = held_here;
    held_here = 0;
    if (held)
        (void)change(l, (int64_t)held, UINT64_MAX);
    dv_charge_unlock();
}

void dv_charge_forked(void)
{
    lock = (pthread_mutex_t)PTHREAD_MUTEX_INITIALIZER;
    dv_ledger_clear(&ledger);
    held_here = 0;
}
