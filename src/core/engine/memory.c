/* SPDX-License-Identifier: Apache-2.0 */
#include "engine/memory.h"

#include <errno.h>
#include <stdbool.h>
#include <stdlib.h>
#include <string.h>

#define NONE UINT32_MAX
#define BYTES_MAX (UINT64_C(1) << 50)
#define GRANULE UINT64_C(512)
#define PAGE (2 * DV_MIB)

struct allocation {
    uint32_t generation;
    uint32_t owner; /* index; NONE = free */
    uint32_t pool;
    uint32_t next, prev; /* of the same owner; `next` also of the free list */
    uint64_t bytes;
};

struct owner {
    uint64_t key;
    uint32_t first; /* allocation */
    uint32_t next;  /* in its bucket, or in the free list */
    struct dv_memory_usage usage;
};

struct pool {
    bool live;
    struct dv_memory_usage usage;
};

struct dv_memory {
    struct dv_memory_config config;
    struct pool pools[DV_MEMORY_POOLS_MAX];
    struct dv_memory_usage device;
    struct allocation *allocations; /* `room` of them, grown when needed */
    uint32_t room, free_allocation;
    struct owner *owners;
    uint32_t *buckets;
    uint32_t buckets_mask, free_owner;
};

int dv_memory_new(const struct dv_memory_config *c, struct dv_memory **ret)
{
    if (!c->capacity || c->capacity > BYTES_MAX || c->reserved >= c->capacity ||
        !c->allocations_max || c->allocations_max > 1u << 24 || !c->owners_max ||
        c->owners_max > 1u << 16)
        return -EINVAL;
    struct dv_memory *m = calloc(1, sizeof *m);
    if (!m)
        return -ENOMEM;
    m->config = *c;
    m->free_allocation = NONE;
    uint32_t buckets = 16;
    while (buckets < c->owners_max)
        buckets *= 2;
    m->buckets_mask = buckets - 1;
    m->owners = calloc(c->owners_max, sizeof *m->owners);
    m->buckets = malloc(buckets * sizeof *m->buckets);
    if (!m->owners || !m->buckets) {
        dv_memory_free(m);
        return -ENOMEM;
    }
    memset(m->buckets, 0xff, buckets * sizeof *m->buckets);
    for (uint32_t i = 0; i < c->owners_max; i++)
        m->owners[i].next = i + 1 < c->owners_max ? i + 1 : NONE;
    m->device.capacity = c->capacity - c->reserved;
    m->pools[0] = (struct pool){.live = true, .usage.capacity = m->device.capacity};
    *ret = m;
    return 0;
}

void dv_memory_free(struct dv_memory *m)
{
    if (!m)
        return;
    free(m->allocations);
    free(m->owners);
    free(m->buckets);
    free(m);
}

uint64_t dv_memory_round(uint64_t bytes)
{
    if (!bytes || bytes > BYTES_MAX)
        return 0;
    uint64_t granule = bytes >= DV_MIB ? PAGE : GRANULE;
    return (bytes + granule - 1) / granule * granule;
}

static void usage_add(struct dv_memory_usage *u, uint64_t bytes)
{
    u->used += bytes;
    u->count++;
    u->high_water = DV_MAX(u->high_water, u->used);
}

static void usage_sub(struct dv_memory_usage *u, uint64_t bytes)
{
    u->used -= bytes;
    u->count--;
}

/* ---- pools ---- */

int dv_memory_pool_add(struct dv_memory *m, uint64_t bytes, uint32_t *ret_pool)
{
    struct dv_memory_usage *card = &m->pools[0].usage;
    if (!bytes || bytes > BYTES_MAX)
        return -EINVAL;
    if (bytes > card->capacity - card->used)
        return DV_MEMORY_FULL;
    for (uint32_t i = 1; i < DV_MEMORY_POOLS_MAX; i++) {
        if (m->pools[i].live)
            continue;
        m->pools[i] = (struct pool){.live = true, .usage.capacity = bytes};
        card->capacity -= bytes;
        *ret_pool = i;
        return 0;
    }
    return -ENOSPC;
}

static struct pool *find_pool(const struct dv_memory *m, uint32_t pool)
{
    if (pool >= DV_MEMORY_POOLS_MAX || !m->pools[pool].live)
        return NULL;
    return (struct pool *)&m->pools[pool];
}

int dv_memory_pool_remove(struct dv_memory *m, uint32_t pool)
{
    struct pool *p = find_pool(m, pool);
    if (!p)
        return -ENOENT;
    if (pool == 0)
        return -EINVAL;
    if (p->usage.count)
        return -EBUSY;
    p->live = false;
    m->pools[0].usage.capacity += p->usage.capacity;
    return 0;
}

/* ---- owners ---- */

static uint32_t *bucket_of(const struct dv_memory *m, uint64_t key)
{
    uint64_t h = key * UINT64_C(0x9E3779B97F4A7C15); /* 2^64 over the golden ratio */
    return &m->buckets[(h >> 32) & m->buckets_mask];
}

static uint32_t owner_find(const struct dv_memory *m, uint64_t key)
{
    uint32_t i = *bucket_of(m, key);
    while (i != NONE && m->owners[i].key != key)
        i = m->owners[i].next;
    return i;
}

/* NONE when there are too many. */
static uint32_t owner_get(struct dv_memory *m, uint64_t key)
{
    uint32_t i = owner_find(m, key);
    if (i != NONE || m->free_owner == NONE)
        return i;
    i = m->free_owner;
    m->free_owner = m->owners[i].next;
    uint32_t *bucket = bucket_of(m, key);
    m->owners[i] = (struct owner){.key = key, .first = NONE, .next = *bucket};
    *bucket = i;
    return i;
}

static void owner_forget(struct dv_memory *m, uint32_t i)
{
    uint32_t *link = bucket_of(m, m->owners[i].key);
    while (*link != i)
        link = &m->owners[*link].next;
    *link = m->owners[i].next;
    m->owners[i].next = m->free_owner;
    m->free_owner = i;
}

/* ---- allocations ---- */

static int grow(struct dv_memory *m)
{
    if (m->free_allocation != NONE)
        return 0;
    if (m->room == m->config.allocations_max)
        return -ENOSPC;
    uint32_t room = DV_MIN(m->room ? m->room * 2 : 64, m->config.allocations_max);
    struct allocation *a = realloc(m->allocations, room * sizeof *a);
    if (!a)
        return -ENOMEM;
    for (uint32_t i = m->room; i < room; i++)
        a[i] = (struct allocation){.generation = 1, .owner = NONE, .next = i + 1};
    a[room - 1].next = NONE;
    m->free_allocation = m->room;
    m->allocations = a;
    m->room = room;
    return 0;
}

static struct allocation *find(const struct dv_memory *m, uint64_t id)
{
    uint64_t i = id & UINT32_MAX;
    if (i >= m->room)
        return NULL;
    struct allocation *a = &m->allocations[i];
    return a->owner != NONE && a->generation == id >> 32 ? a : NULL;
}

int dv_memory_alloc(struct dv_memory *m, uint32_t pool, uint64_t owner, uint64_t bytes,
                    uint64_t *ret_id)
{
    struct pool *p = find_pool(m, pool);
    uint64_t rounded = dv_memory_round(bytes);
    if (!rounded)
        return -EINVAL;
    if (!p)
        return -ENOENT;
    if (rounded > p->usage.capacity - p->usage.used)
        return DV_MEMORY_FULL;
    int r = grow(m);
    if (r < 0)
        return r;
    uint32_t o = owner_get(m, owner);
    if (o == NONE)
        return -ENOSPC;
    uint32_t i = m->free_allocation;
    struct allocation *a = &m->allocations[i];
    m->free_allocation = a->next;
    uint32_t next = m->owners[o].first;
    *a = (struct allocation){a->generation, o, pool, next, NONE, rounded};
    if (next != NONE)
        m->allocations[next].prev = i;
    m->owners[o].first = i;
    usage_add(&p->usage, rounded);
    usage_add(&m->owners[o].usage, rounded);
    usage_add(&m->device, rounded);
    *ret_id = (uint64_t)a->generation << 32 | i;
    return 0;
}

static void release(struct dv_memory *m, struct allocation *a)
{
    struct owner *o = &m->owners[a->owner];
    if (a->prev == NONE)
        o->first = a->next;
    else
        m->allocations[a->prev].next = a->next;
    if (a->next != NONE)
        m->allocations[a->next].prev = a->prev;
    usage_sub(&m->pools[a->pool].usage, a->bytes);
    usage_sub(&o->usage, a->bytes);
    usage_sub(&m->device, a->bytes);
    a->owner = NONE;
    a->generation++;
    a->next = m->free_allocation;
    m->free_allocation = (uint32_t)(a - m->allocations);
}

int dv_memory_release(struct dv_memory *m, uint64_t owner, uint64_t id)
{
    struct allocation *a = find(m, id);
    if (!a)
        return -ENOENT;
    if (m->owners[a->owner].key != owner)
        return -EPERM;
    release(m, a);
    return 0;
}

uint64_t dv_memory_owner_gone(struct dv_memory *m, uint64_t owner)
{
    uint32_t o = owner_find(m, owner);
    if (o == NONE)
        return 0;
    uint64_t bytes = m->owners[o].usage.used;
    while (m->owners[o].first != NONE)
        release(m, &m->allocations[m->owners[o].first]);
    owner_forget(m, o);
    return bytes;
}

int dv_memory_describe(const struct dv_memory *m, uint64_t id, uint64_t *ret_owner,
                       uint32_t *ret_pool, uint64_t *ret_bytes)
{
    const struct allocation *a = find(m, id);
    if (!a)
        return -ENOENT;
    if (ret_owner)
        *ret_owner = m->owners[a->owner].key;
    if (ret_pool)
        *ret_pool = a->pool;
    if (ret_bytes)
        *ret_bytes = a->bytes;
    return 0;
}

void dv_memory_device(const struct dv_memory *m, struct dv_memory_usage *ret)
{
    *ret = m->device;
}

int dv_memory_pool(const struct dv_memory *m, uint32_t pool, struct dv_memory_usage *ret)
{
    const struct pool *p = find_pool(m, pool);
    if (!p)
        return -ENOENT;
    *ret = p->usage;
    return 0;
}

void dv_memory_owner(const struct dv_memory *m, uint64_t owner, struct dv_memory_usage *ret)
{
    uint32_t o = owner_find(m, owner);
    *ret = o == NONE ? (struct dv_memory_usage){0} : m->owners[o].usage;
}

void dv_memory_reset_high_water(struct dv_memory *m)
{
    m->device.high_water = m->device.used;
    for (uint32_t i = 0; i < DV_MEMORY_POOLS_MAX; i++)
        m->pools[i].usage.high_water = m->pools[i].usage.used;
    for (uint32_t b = 0; b <= m->buckets_mask; b++)
        for (uint32_t o = m->buckets[b]; o != NONE; o = m->owners[o].next)
            m->owners[o].usage.high_water = m->owners[o].usage.used;
}
