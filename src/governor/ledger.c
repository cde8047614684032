/* SPDX-License-Identifier: Apache-2.0 */
#include "ledger.h"

#include <string.h>
#include <sys/mman.h>

#define FIRST_SIZE 1024
#define MOVES                                                                                      \
    8 /* entries moved per operation: the old table is empty long before the next growth */

static size_t place(const struct dv_ledger_table *t, unsigned space, uint64_t key)
{
    uint64_t h = (key ^ (uint64_t)space << 56) * UINT64_C(0x9E3779B97F4A7C15);
    return (size_t)(h ^ h >> 29) & t->mask;
}

static bool make(struct dv_ledger_table *t, size_t size)
{
    void *p = mmap(NULL, size * sizeof *t->entries, PROT_READ | PROT_WRITE,
                   MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    if (p == MAP_FAILED)
        return false;
    *t = (struct dv_ledger_table){p, size - 1, 0};
    return true;
}

static void drop(struct dv_ledger_table *t)
{
    if (t->entries)
        munmap(t->entries, (t->mask + 1) * sizeof *t->entries);
    *t = (struct dv_ledger_table){NULL, 0, 0};
}

static struct dv_ledger_entry *find(const struct dv_ledger_table *t, unsigned space, uint64_t key)
{
    if (!t->entries)
        return NULL;
    for (size_t i = place(t, space, key); t->entries[i].space; i = (i + 1) & t->mask)
        if (t->entries[i].key == key && t->entries[i].space == space)
            return &t->entries[i];
    return NULL;
}

static void insert(struct dv_ledger_table *t, const struct dv_ledger_entry *e)
{
    size_t i = place(t, e->space, e->key);
    while (t->entries[i].space)
        i = (i + 1) & t->mask;
    t->entries[i] = *e;
    t->count++;
}

/* Closes the hole by moving back what had been pushed past it (linear probing without graves). */
static void erase(struct dv_ledger_table *t, struct dv_ledger_entry *e)
{
    size_t hole = (size_t)(e - t->entries);
    for (size_t i = (hole + 1) & t->mask; t->entries[i].space; i = (i + 1) & t->mask) {
        size_t home = place(t, t->entries[i].space, t->entries[i].key);
        if (((i - home) & t->mask) < ((i - hole) & t->mask))
            continue;
        t->entries[hole] = t->entries[i];
        hole = i;
    }
    t->entries[hole].space = 0;
    t->count--;
}

/* Erasing moves entries back, at most over the cursor's own place: look there again. */
static void move_some(struct dv_ledger *t)
{
    if (!t->old.entries)
        return;
    for (int n = 0; n < MOVES && t->old.count; t->moved++) {
        struct dv_ledger_entry *e = &t->old.entries[t->moved & t->old.mask];
        while (e->space && n < MOVES) {
            insert(&t->now, e);
            erase(&t->old, e);
            n++;
        }
        if (e->space)
            return;
    }
    if (!t->old.count)
        drop(&t->old);
}

static bool make_room(struct dv_ledger *t)
{
    if (!t->now.entries)
        return make(&t->now, FIRST_SIZE);
    if (t->now.count + t->old.count < (t->now.mask + 1) / 2)
        return true;
    while (t->old.entries) /* not in practice: eight are moved for one that comes */
        move_some(t);
    struct dv_ledger_table bigger;
    if (!make(&bigger, (t->now.mask + 1) * 2))
        return t->now.count < t->now.mask; /* one place must stay empty */
    t->old = t->now;
    t->now = bigger;
    t->moved = 0;
    return true;
}

void dv_ledger_clear(struct dv_ledger *t)
{
    drop(&t->now);
    drop(&t->old);
}

bool dv_ledger_put(struct dv_ledger *t, const struct dv_ledger_entry *e)
{
    struct dv_ledger_entry *there = dv_ledger_find(t, e->space, e->key);
    if (there) {
        *there = *e;
        return true;
    }
    if (!make_room(t))
        return false;
    move_some(t);
    insert(&t->now, e);
    return true;
}

struct dv_ledger_entry *dv_ledger_find(struct dv_ledger *t, enum dv_space space, uint64_t key)
{
    struct dv_ledger_entry *e = find(&t->now, space, key);
    return e ? e : find(&t->old, space, key);
}

bool dv_ledger_take(struct dv_ledger *t, enum dv_space space, uint64_t key,
                    struct dv_ledger_entry *ret)
{
    move_some(t);
    struct dv_ledger_table *table = &t->now;
    struct dv_ledger_entry *e = find(table, space, key);
    if (!e) {
        table = &t->old;
        e = find(table, space, key);
    }
    if (!e)
        return false;
    *ret = *e;
    erase(table, e);
    return true;
}

static uint64_t drop_context(struct dv_ledger_table *t, void *context, uint64_t *overhead)
{
    uint64_t bytes = 0;
    for (size_t i = 0; t->entries && i <= t->mask; i++) {
        struct dv_ledger_entry *e = &t->entries[i];
        while (e->space && e->context == context) { /* erasing may bring another one here */
            bytes += e->bytes;
            *overhead += e->overhead ? e->bytes : 0;
            erase(t, e);
        }
    }
    return bytes;
}

uint64_t dv_ledger_drop_context(struct dv_ledger *t, void *context, uint64_t *ret_overhead)
{
    *ret_overhead = 0;
    uint64_t bytes = drop_context(&t->now, context, ret_overhead);
    return bytes + drop_context(&t->old, context, ret_overhead);
}

uint64_t dv_ledger_bytes(const struct dv_ledger *t)
{
    uint64_t bytes = 0;
    for (size_t i = 0; t->now.entries && i <= t->now.mask; i++)
        bytes += t->now.entries[i].space ? t->now.entries[i].bytes : 0;
    for (size_t i = 0; t->old.entries && i <= t->old.mask; i++)
        bytes += t->old.entries[i].space ? t->old.entries[i].bytes : 0;
    return bytes;
}

size_t dv_ledger_count(const struct dv_ledger *t)
{
    return t->now.count + t->old.count;
}
