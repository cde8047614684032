/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The device memory of one card, as the driver counts it: who holds how much, and what was the
 * most. Numbers only; contents are the caller's matter.
 *
 *     dv_memory_new(&(struct dv_memory_config){.capacity = 80 * DV_GIB, .reserved = 512 * DV_MIB,
 *                   .allocations_max = 1 << 20, .owners_max = 4096}, &m);
 *     r = dv_memory_alloc(m, 0, pid, bytes, &id);
 *     if (r == DV_MEMORY_FULL) ... CUDA_ERROR_OUT_OF_MEMORY
 *
 * A request is rounded up: to 2 MiB from 1 MiB on, to 512 B below (the granularities that NVIDIA's
 * driver shows: its page size for large allocations, and cuMemAlloc's alignment).
 *
 * Pool 0 is the card: capacity - reserved. A MIG instance is a further pool with its own capacity,
 * taken out of the card's; allocations name their pool. An owner is any 64-bit word (a process).
 * Ids carry a generation: a stale one is -ENOENT. Bytes everywhere. Not thread-safe.
 */
#ifndef DV_ENGINE_MEMORY_H
#define DV_ENGINE_MEMORY_H

#include "base/macros.h"

struct dv_memory;

#define DV_MEMORY_FULL 1       /* positive result of dv_memory_alloc: does not fit */
#define DV_MEMORY_POOLS_MAX 16 /* the card and its MIG instances */

struct dv_memory_config {
    uint64_t capacity;        /* of the card, 1 .. 2^50 */
    uint64_t reserved;        /* by driver and firmware; < capacity */
    uint32_t allocations_max; /* alive at once, 1..2^24 */
    uint32_t owners_max;      /* alive at once, 1..2^16 */
};

struct dv_memory_usage {
    uint64_t capacity;   /* of the pool, without what is reserved; 0 for an owner */
    uint64_t used;       /* rounded sizes */
    uint64_t high_water; /* of `used` */
    uint64_t count;      /* allocations alive */
};

/* 0, -EINVAL, -ENOMEM. */
int dv_memory_new(const struct dv_memory_config *c, struct dv_memory **ret);
void dv_memory_free(struct dv_memory *m);

/* What bytes become; 0 for 0 and for what would overflow. */
uint64_t dv_memory_round(uint64_t bytes);

/* Takes `bytes` of the card for a new pool. 0, DV_MEMORY_FULL, -EINVAL, -ENOSPC (too many). */
int dv_memory_pool_add(struct dv_memory *m, uint64_t bytes, uint32_t *ret_pool);
/* Gives them back. 0, -ENOENT, -EBUSY (something lives in it), -EINVAL (pool 0). */
int dv_memory_pool_remove(struct dv_memory *m, uint32_t pool);

/* 0, DV_MEMORY_FULL, -EINVAL (zero or absurd), -ENOENT (pool), -ENOSPC (allocations_max or
 * owners_max). Nothing is changed unless 0. */
int dv_memory_alloc(struct dv_memory *m, uint32_t pool, uint64_t owner, uint64_t bytes,
                    uint64_t *ret_id);
/* Frees what `owner` holds under id. 0, -ENOENT, -EPERM (somebody else's). */
int dv_memory_release(struct dv_memory *m, uint64_t owner, uint64_t id);
/* The death of an owner: frees all that it holds and forgets it. Returns the bytes. */
uint64_t dv_memory_owner_gone(struct dv_memory *m, uint64_t owner);

/* Who, in which pool, and the rounded size. Each ret may be NULL. 0, -ENOENT. */
int dv_memory_describe(const struct dv_memory *m, uint64_t id, uint64_t *ret_owner,
                       uint32_t *ret_pool, uint64_t *ret_bytes);

/* Of all pools together. The high water is of the sum, not the sum of high waters. */
void dv_memory_device(const struct dv_memory *m, struct dv_memory_usage *ret);
/* 0, -ENOENT. Pool 0's capacity is what its instances leave. */
int dv_memory_pool(const struct dv_memory *m, uint32_t pool, struct dv_memory_usage *ret);
/* All zero for an owner that holds nothing and never did. */
void dv_memory_owner(const struct dv_memory *m, uint64_t owner, struct dv_memory_usage *ret);
/* Sets the high waters to what is used now. */
void dv_memory_reset_high_water(struct dv_memory *m);

#endif
