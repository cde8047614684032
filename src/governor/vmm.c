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

/*
 * One reference less, before the driver is told: after it, the same handle may be another thread's
 * new one. Returns the bytes to drop if that was the last one and the driver agrees.
 */
static uint64_t unrefer(struct dv_ledger *l, uint64_t handle)
{
    struct dv_ledger_entry *e = dv_ledger_find(l, DV_SPACE_HANDLE, handle);
    struct dv_ledger_entry gone;
    if (!e || --e->count || !dv_ledger_take(l, DV_SPACE_HANDLE, handle, &gone))
        return 0;
    return gone.bytes;
}

/* The driver did not agree. */
static void refer_again(struct dv_ledger *l, uint64_t handle, uint64_t bytes)
{
    struct dv_ledger_entry e = {
        .key = handle, .space = DV_SPACE_HANDLE, .bytes = bytes, .count = 1};
    if (!refer(l, handle) && bytes)
        (void)dv_ledger_put(l, &e);
}

int dv_on_release(unsigned original, uint64_t handle)
{
    struct dv_ledger *l = dv_charge_lock();
    bool ours = dv_ledger_find(l, DV_SPACE_HANDLE, handle) != NULL;
    uint64_t bytes = unrefer(l, handle);
    dv_charge_unlock();
    int r = DV_ORIGINAL_AS(cuMemRelease, original)(handle);
    if (!ours)
        return r;
    l = dv_charge_lock();
    if (r)
        refer_again(l, handle, bytes);
    else
        (void)dv_charge_locked_bytes(-(int64_t)bytes, false);
    dv_charge_unlock();
    return r;
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
        (void)dv_charge_locked_bytes(-(int64_t)unrefer(l, handle), false);
    dv_charge_unlock();
    return dv_charge_cancel(&c, r);
}

/* ---- unmapping ---- */

#define AT_ONCE 32

/* The mappings at the beginning of a range, taken out of the ledger. */
struct batch {
    unsigned count;
    size_t size;    /* of the range that they cover */
    uint64_t bytes; /* to drop when they are unmapped */
    struct dv_ledger_entry mapping[AT_ONCE];
    uint64_t handle_bytes[AT_ONCE];
};

static void take_batch(struct batch *b, uint64_t address, size_t bytes)
{
    *b = (struct batch){.count = 0};
    struct dv_ledger *l = dv_charge_lock();
    while (b->count < AT_ONCE && b->size < bytes) {
        struct dv_ledger_entry *e = &b->mapping[b->count];
        if (!dv_ledger_take(l, DV_SPACE_MAPPING, address + b->size, e))
            break;
        b->handle_bytes[b->count] = e->other ? unrefer(l, e->other) : 0;
        b->bytes += e->bytes + b->handle_bytes[b->count];
        b->size += e->size;
        b->count++;
    }
    dv_charge_unlock();
}

static void end_batch(struct batch *b, int r)
{
    struct dv_ledger *l = dv_charge_lock();
    for (unsigned i = 0; r && i < b->count; i++) {
        (void)dv_ledger_put(l, &b->mapping[i]);
        if (b->mapping[i].other)
            refer_again(l, b->mapping[i].other, b->handle_bytes[i]);
    }
    if (!r)
        (void)dv_charge_locked_bytes(-(int64_t)b->bytes, false);
    dv_charge_unlock();
}

/* A range may hold several mappings, each of which it covers whole (the driver sees to that). What
 * begins with a mapping that we do not know goes to the driver in one piece. */
int dv_on_unmap(unsigned original, uint64_t address, size_t bytes)
{
    int r = 0;
    for (size_t done = 0; !r && done < bytes;) {
        struct batch b;
        take_batch(&b, address + done, bytes - done);
        size_t size = b.count && b.size < bytes - done ? b.size : bytes - done;
        r = DV_ORIGINAL_AS(cuMemUnmap, original)(address + done, size);
        end_batch(&b, r);
        done += size;
    }
    return bytes ? r : DV_ORIGINAL_AS(cuMemUnmap, original)(address, bytes);
}
