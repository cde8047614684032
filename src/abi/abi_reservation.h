/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Memory of a slice: reserve before the driver is asked, never above the cap, exact when a process
 * is killed at any instruction. Used by the tenant's library (reserve, release) and by the daemon
 * (repair after a death). Nothing here blocks; there is no lock between processes.
 *
 *     r = dv_reservation_change(page, slot, me, +bytes, limit);   reserve
 *     if (r) return CUDA_ERROR_OUT_OF_MEMORY;
 *     if (driver_alloc(...) failed)
 *         dv_reservation_change(page, slot, me, -bytes, limit);   release
 *
 * Threads of one process take turns around each call (a private mutex, never held across a call
 * into the driver), because a process has one operation under way at a time.
 *
 * How it stays exact. Operation n of process p first writes, in p's own slot, what p will hold if
 * n is applied (memory_charged[n & 1]), then its number (memory_seq = n), then swaps the shared
 * word {bytes, author}. The swap is the moment of truth: the word now names {p, n}. Whoever
 * overwrites that name first raises ack[p] to n. So after p's death, n was applied exactly if the
 * word still names {p, n} or ack[p] >= n; and what p held is memory_charged[n & 1] then, else
 * memory_charged[(n - 1) & 1], which n did not touch. The number of an operation that was refused
 * is used again. (The idea of a compare-and-swap that can be asked later whether it took place is
 * known as a detectable, or recoverable, compare-and-swap.)
 */
#ifndef DV_ABI_RESERVATION_H
#define DV_ABI_RESERVATION_H

#include "abi_tenant.h"

#include <stdbool.h>

#define DV_RESERVATION_SEQ_MASK ((UINT64_C(1) << 56) - 1)

static inline uint64_t dv_reservation_author(uint32_t process, uint64_t seq)
{
    return (uint64_t)process << 56 | (seq & DV_RESERVATION_SEQ_MASK);
}

/* The two halves may be torn; the swap that follows finds that out. */
static inline struct dv_reservation_word dv_reservation_load(const struct dv_reservation_page *page)
{
    struct dv_reservation_word w;
    w.author = __atomic_load_n(&page->word.author, __ATOMIC_ACQUIRE);
    w.bytes = __atomic_load_n(&page->word.bytes, __ATOMIC_ACQUIRE);
    return w;
}

static inline bool dv_reservation_swap(struct dv_reservation_page *page,
                                       struct dv_reservation_word from,
                                       struct dv_reservation_word to)
{
    unsigned __int128 a, b;
    __builtin_memcpy(&a, &from, sizeof a);
    __builtin_memcpy(&b, &to, sizeof b);
    return __sync_bool_compare_and_swap((unsigned __int128 *)(void *)&page->word, a, b);
}

/* ack[author's process] = max(itself, author's number). A late writer changes nothing. */
static inline void dv_reservation_acknowledge(struct dv_reservation_page *page, uint64_t author)
{
    uint64_t *ack = &page->ack[author >> 56];
    uint64_t seq = author & DV_RESERVATION_SEQ_MASK;
    uint64_t seen = __atomic_load_n(ack, __ATOMIC_ACQUIRE);
    while (seen < seq &&
           !__atomic_compare_exchange_n(ack, &seen, seq, false, __ATOMIC_ACQ_REL, __ATOMIC_ACQUIRE))
        ;
}

/* Was operation memory_seq of this process applied? */
static inline bool dv_reservation_applied(struct dv_reservation_page *page,
                                          const struct dv_slot_page *slot, uint32_t process)
{
    uint64_t n = __atomic_load_n(&slot->memory_seq, __ATOMIC_ACQUIRE);
    if (!n)
        return true; /* nothing yet: charged[0] is 0 */
    uint64_t author = __atomic_load_n(&page->word.author, __ATOMIC_ACQUIRE);
    if (author == dv_reservation_author(process, n))
        return true;
    return __atomic_load_n(&page->ack[process], __ATOMIC_ACQUIRE) >= n;
}

/* What the process holds. Exact when the process is dead or is the caller. */
static inline uint64_t dv_reservation_held(struct dv_reservation_page *page,
                                           const struct dv_slot_page *slot, uint32_t process)
{
    uint64_t n = __atomic_load_n(&slot->memory_seq, __ATOMIC_ACQUIRE);
    bool applied = dv_reservation_applied(page, slot, process);
    return __atomic_load_n(&slot->memory_charged[(applied ? n : n - 1) & 1], __ATOMIC_ACQUIRE);
}

/* Steps of dv_reservation_change, in their order, for tests that die between them. */
#define DV_RESERVATION_STEPS 5
#ifndef dv_reservation_step
#define dv_reservation_step(n) ((void)0)
#endif

/*
 * Changes what `process` holds by delta bytes; delta > 0 is refused above limit (a release never
 * is). Returns 0, or 1 when refused: then nothing has changed. A release of more than is held
 * releases what is held.
 */
static inline int dv_reservation_change(struct dv_reservation_page *page, struct dv_slot_page *slot,
                                        uint32_t process, int64_t delta, uint64_t limit)
{
    uint64_t held = dv_reservation_held(page, slot, process);
    uint64_t n = slot->memory_seq + (dv_reservation_applied(page, slot, process) ? 1 : 0);
    if (delta < 0 && (uint64_t)-delta > held)
        delta = -(int64_t)held;
    if (delta > 0 && (uint64_t)delta > limit)
        return 1;
    dv_reservation_step(0);
    __atomic_store_n(&slot->memory_charged[n & 1], held + (uint64_t)delta, __ATOMIC_RELEASE);
    dv_reservation_step(1);
    __atomic_store_n(&slot->memory_seq, n, __ATOMIC_RELEASE);
    dv_reservation_step(2);
    for (;;) {
        struct dv_reservation_word from = dv_reservation_load(page);
        struct dv_reservation_word to = {from.bytes + (uint64_t)delta,
                                         dv_reservation_author(process, n)};
        if (delta > 0 && (from.bytes > limit || (uint64_t)delta > limit - from.bytes)) {
            /* A torn read could refuse what fits: only a word that stood still may refuse. */
            if (dv_reservation_swap(page, from, from))
                return 1;
            continue;
        }
        dv_reservation_acknowledge(page, from.author);
        dv_reservation_step(3);
        if (dv_reservation_swap(page, from, to))
            break;
    }
    dv_reservation_step(4);
    return 0;
}

/*
 * The daemon, before it gives index `process` (again) to a process with a new, zeroed slot: numbers
 * go on where the last holder of the index stopped, since somebody who slept in the middle of
 * acknowledging the last holder may wake up only now.
 */
static inline void dv_reservation_adopt(struct dv_reservation_page *page, struct dv_slot_page *slot,
                                        uint32_t process)
{
    slot->memory_charged[0] = 0;
    slot->memory_charged[1] = 0;
    __atomic_store_n(&slot->memory_seq, __atomic_load_n(&page->ack[process], __ATOMIC_ACQUIRE),
                     __ATOMIC_RELEASE);
}

/*
 * The daemon, after the death of a process: takes what it held out of the word and closes its
 * operations, so that the index can be given away. Returns the bytes it held. `seq` is the daemon's
 * own operation counter for this page.
 */
static inline uint64_t dv_reservation_repair(struct dv_reservation_page *page,
                                             struct dv_slot_page *slot, uint32_t process,
                                             uint64_t *seq)
{
    uint64_t held = dv_reservation_held(page, slot, process);
    for (;;) {
        struct dv_reservation_word from = dv_reservation_load(page);
        struct dv_reservation_word to = {from.bytes >= held ? from.bytes - held : 0,
                                         dv_reservation_author(0, *seq + 1)};
        dv_reservation_acknowledge(page, from.author);
        if (dv_reservation_swap(page, from, to))
            break;
    }
    ++*seq;
    dv_reservation_acknowledge(page, dv_reservation_author(process, slot->memory_seq));
    dv_reservation_adopt(page, slot, process);
    return held;
}

#endif
