/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Virtual memory: physical memory is charged from cuMemCreate until nothing refers to it any more:
 * one reference for the creation, one for each retain, one for each live mapping. A handle that
 * came from another process is charged where it is mapped: its exporter may let go of it.
 */
#include "abi_cuda.h"
#include "charge.h"
#include "governor.h"
#include "view.h"

int dv_on_create(unsigned original, uint64_t *ret, size_t bytes, const void *properties,
                 uint64_t flags)
{
    const struct dv_cuda_allocation_prop *p = properties;
    if (!p || p->location.type != DV_CUDA_LOCATION_DEVICE)
        return DV_ORIGINAL_AS(cuMemCreate, original)(ret, bytes, properties, flags);
    int r = dv_view_check(p->location.id);
    if (r)
        return r;
    struct dv_charge c;
    r = dv_charge_reserve(&c, bytes);
    if (r)
        return r;
    r = DV_ORIGINAL_AS(cuMemCreate, original)(ret, bytes, properties, flags);
    if (r)
        return dv_charge_cancel(&c, r);
    return dv_charge_commit(&c, DV_SPACE_HANDLE, *ret);
}

/* Under the mutex. True if the handle is one of ours. */
static bool refer(struct dv_ledger *l, uint64_t handle)
{
    struct dv_ledger_entry *e = dv_ledger_find(l, DV_SPACE_HANDLE, handle);
    if (e)
        e->count++;
    return e != NULL;
}

static void unrefer(struct dv_ledger *l, uint64_t handle)
{
    struct dv_ledger_entry *e = dv_ledger_find(l, DV_SPACE_HANDLE, handle);
    struct dv_ledger_entry gone;
    if (e && --e->count == 0 && dv_ledger_take(l, DV_SPACE_HANDLE, handle, &gone))
        (void)dv_charge_locked_bytes(-(int64_t)gone.bytes, false);
}

int dv_on_release(unsigned original, uint64_t handle)
{
    int r = DV_ORIGINAL_AS(cuMemRelease, original)(handle);
    if (r)
        return r;
    struct dv_ledger *l = dv_charge_lock();
    unrefer(l, handle);
    dv_charge_unlock();
    return 0;
}

int dv_on_retain(unsigned original, uint64_t *ret, void *address)
{
    int r = DV_ORIGINAL_AS(cuMemRetainAllocationHandle, original)(ret, address);
    if (r)
        return r;
    struct dv_ledger *l = dv_charge_lock();
    (void)refer(l, *ret);
    dv_charge_unlock();
    return 0;
}

static int note_mapping(struct dv_charge *c, uint64_t address, size_t bytes, uint64_t handle)
{
    struct dv_ledger_entry e = {.key = address,
                                .space = DV_SPACE_MAPPING,
                                .bytes = c->bytes,
                                .other = handle,
                                .size = bytes,
                                .count = 1};
    struct dv_ledger *l = dv_charge_lock();
    (void)dv_ledger_put(l, &e);
    dv_charge_unlock();
    return 0;
}

int dv_on_map(unsigned original, uint64_t address, size_t bytes, size_t offset, uint64_t handle,
              uint64_t flags)
{
    struct dv_ledger *l = dv_charge_lock();
    bool ours = refer(l, handle);
    dv_charge_unlock();
    struct dv_charge c;
    int r = dv_charge_reserve(&c, ours ? 0 : bytes);
    if (r)
        return r;
    r = DV_ORIGINAL_AS(cuMemMap, original)(address, bytes, offset, handle, flags);
    if (!r)
        return note_mapping(&c, address, bytes, ours ? handle : 0);
    l = dv_charge_lock();
    if (ours)
        unrefer(l, handle);
    dv_charge_unlock();
    return dv_charge_cancel(&c, r);
}

/* A range may hold several mappings, each of which it covers whole (the driver sees to that). */
int dv_on_unmap(unsigned original, uint64_t address, size_t bytes)
{
    int r = DV_ORIGINAL_AS(cuMemUnmap, original)(address, bytes);
    if (r)
        return r;
    struct dv_ledger *l = dv_charge_lock();
    struct dv_ledger_entry e;
    for (uint64_t at = address; at - address < bytes; at += e.size) {
        if (!dv_ledger_take(l, DV_SPACE_MAPPING, at, &e) || e.size == 0)
            break;
        if (e.other)
            unrefer(l, e.other);
        (void)dv_charge_locked_bytes(-(int64_t)e.bytes, false);
    }
    dv_charge_unlock();
    return 0;
}
