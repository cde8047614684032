/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What a process holds: a hash table from the name of a piece of memory (an address or a handle,
 * within its name space) to its charge. Every operation takes constant time: the table grows into
 * a second one, a few entries per operation. Needs a lock around it.
 *
 *     dv_ledger_put(&t, &(struct dv_ledger_entry){.key = address, .space = DV_SPACE_ADDRESS,
 *                                                 .bytes = 1 << 20});
 *     if (dv_ledger_take(&t, DV_SPACE_ADDRESS, address, &entry))     entry.bytes
 *
 * Memory comes from mmap: the host's allocator may be anybody's, also one that allocates by CUDA.
 */
#ifndef DV_GOVERNOR_LEDGER_H
#define DV_GOVERNOR_LEDGER_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

enum dv_space {
    DV_SPACE_ADDRESS = 1, /* CUdeviceptr */
    DV_SPACE_ARRAY,
    DV_SPACE_EXTERNAL,
    DV_SPACE_CONTEXT,
    DV_SPACE_PRIMARY, /* by CUdevice; count = retains */
    DV_SPACE_MODULE,
    DV_SPACE_LIBRARY,
    DV_SPACE_HANDLE,  /* cuMemCreate; count = create + retains + mappings */
    DV_SPACE_MAPPING, /* cuMemMap, by address; other = the handle, size = bytes mapped */
    DV_SPACE_GRAPH,   /* bytes = what its allocation nodes would take; not charged */
    DV_SPACE_EXEC,
    DV_SPACE_LIMIT, /* cuCtxSetLimit, by context and limit */
};

struct dv_ledger_entry {
    uint64_t key;
    uint64_t bytes; /* charged; rounded */
    void *context;  /* whose end frees it as well; NULL = nobody's */
    uint64_t other;
    uint64_t size;
    uint32_t count;
    uint8_t space; /* enum dv_space; 0 = empty */
    uint8_t pool;  /* of stream-ordered memory: index + 1; its bytes are charged to the pool */
    uint8_t overhead;
};

struct dv_ledger_table {
    struct dv_ledger_entry *entries;
    size_t mask, count;
};

struct dv_ledger {
    struct dv_ledger_table now, old; /* `old` is being moved into `now` */
    size_t moved;
};

void dv_ledger_clear(struct dv_ledger *t);
/* False: no memory. A key that is there is replaced. */
bool dv_ledger_put(struct dv_ledger *t, const struct dv_ledger_entry *e);
/* Good until the next put or take; NULL if there is none. */
struct dv_ledger_entry *dv_ledger_find(struct dv_ledger *t, enum dv_space space, uint64_t key);
bool dv_ledger_take(struct dv_ledger *t, enum dv_space space, uint64_t key,
                    struct dv_ledger_entry *ret);
/* Drops all that ends with a context; what it was charged, and how much of that was overhead. */
uint64_t dv_ledger_drop_context(struct dv_ledger *t, void *context, uint64_t *ret_overhead);
/* The sum of all charges. */
uint64_t dv_ledger_bytes(const struct dv_ledger *t);
size_t dv_ledger_count(const struct dv_ledger *t);

#endif
