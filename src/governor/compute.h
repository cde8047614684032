/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The compute gate of this process: gate.h's pure state machine with the clock, the driver's events
 * and the futexes around it.
 *
 *     void *on = dv_compute_stream(stream, 0);
 *     dv_compute_enter(signature, on);       may wait for this slice's turn
 *     int r = DV_ORIGINAL(cuLaunchKernel)(...);
 *     dv_compute_leave(signature, on, r);
 *
 * Nothing waits and no event is recorded on a stream that is being captured. The gate's lock is
 * held across calls that record or query an event, never across one that can wait.
 */
#ifndef DV_GOVERNOR_COMPUTE_H
#define DV_GOVERNOR_COMPUTE_H

#include "gate.h"
#include "governor.h"

#define DV_COMPUTE_STREAMS 8u /* distinct streams between two markers */
#define DV_COMPUTE_CACHE 1024u

/* What the fast path reads; written under compute.c's lock. */
struct dv_compute_fast {
    struct dv_gate *gate; /* NULL before the first launch */
    int captures;         /* streams being captured, in this process */
    int contexts;         /* made in this process, ever */
    uint32_t streams_count;
    void *streams[DV_COMPUTE_STREAMS];
    struct dv_gate_price *prices[DV_COMPUTE_CACHE]; /* by signature; checked by its key */
};
extern struct dv_compute_fast dv_compute_fast;

void dv_compute_enter_slow(uint64_t signature, void *stream);
void dv_compute_sync_enter(void);
void dv_compute_sync_leave(int r);
void dv_compute_capture_begin(int r);
void dv_compute_capture_end(int r);
/* Is this stream being captured? Never for a process that captures nothing now. */
bool dv_compute_capturing(void *stream);
void dv_compute_context_begins(void);
void dv_compute_context_ends(void *context);
void dv_compute_start_helper(void);
void dv_compute_forked(void);

/* The stream that a handle means: NULL is the legacy stream, or the calling thread's own. */
static inline void *dv_compute_stream(void *stream, int per_thread)
{
    return stream ? stream : per_thread ? (void *)2 : (void *)1;
}

/* The handles of the default streams mean another stream in every context. */
static inline bool dv_compute_ambiguous(void *stream)
{
    return (uintptr_t)stream <= 2 &&
           __atomic_load_n(&dv_compute_fast.contexts, __ATOMIC_RELAXED) > 1;
}

static inline bool dv_compute_stream_seen(void *stream)
{
    if (dv_compute_ambiguous(stream))
        return false;
    uint32_t n = __atomic_load_n(&dv_compute_fast.streams_count, __ATOMIC_ACQUIRE);
    for (uint32_t i = 0; i < n; i++)
        if (__atomic_load_n(&dv_compute_fast.streams[i], __ATOMIC_RELAXED) == stream)
            return true;
    return false;
}

/* The high bits: the low ones of a product know only the low ones of its factors. */
static inline unsigned dv_compute_place(uint64_t signature)
{
    return (unsigned)(signature >> 54) % DV_COMPUTE_CACHE;
}

static inline void dv_compute_enter(uint64_t signature, void *stream)
{
    struct dv_gate_price *p =
        __atomic_load_n(&dv_compute_fast.prices[dv_compute_place(signature)], __ATOMIC_ACQUIRE);
    if (DV_LIKELY(p && p->key == signature && dv_compute_stream_seen(stream) &&
                  !__atomic_load_n(&dv_compute_fast.captures, __ATOMIC_RELAXED) &&
                  dv_gate_try(dv_compute_fast.gate, p)))
        return;
    dv_compute_enter_slow(signature, stream);
}

static inline void dv_compute_leave(uint64_t signature, void *stream, int r)
{
    (void)signature;
    (void)stream;
    (void)r; /* a launch that failed took no time: the batch's measurement says so */
}

/* ---- signatures: what takes the same time has the same; never 0 ---- */

static inline uint64_t dv_signature_mix(uint64_t h, uint64_t x)
{
    h = (h ^ x) * UINT64_C(0x9E3779B97F4A7C15);
    return h ^ h >> 32;
}

/* On every launch's path: three multiplications that do not wait for each other. */
static inline uint64_t dv_signature_kernel(const void *f, uint32_t gx, uint32_t gy, uint32_t gz,
                                           uint32_t bx, uint32_t by, uint32_t bz, uint32_t shared)
{
    uint64_t grid = (uint64_t)gx << 32 ^ (uint64_t)gy << 16 ^ gz;
    uint64_t block = (uint64_t)bx << 48 ^ (uint64_t)by << 32 ^ (uint64_t)bz << 24 ^ shared;
    uint64_t h = (uint64_t)f * UINT64_C(0x9E3779B97F4A7C15) ^ grid * UINT64_C(0xC2B2AE3D27D4EB4F) ^
                 block * UINT64_C(0x165667B19E3779F9);
    return (h ^ h >> 29) | 1;
}

static inline uint64_t dv_signature_graph(const void *exec)
{
    return dv_signature_mix(3, (uint64_t)exec) | 1;
}

/* Copies: by call and by size in steps of an eighth of a power of two. */
static inline uint64_t dv_signature_bytes(unsigned call, uint64_t bytes)
{
    unsigned shift = bytes > 8 ? 60 - (unsigned)__builtin_clzll(bytes) : 0;
    return dv_signature_mix(dv_signature_mix(5, call), (uint64_t)shift << 8 | bytes >> shift) | 1;
}

uint64_t dv_signature_config(const void *f, const void *config);
void *dv_config_stream(const void *config);

#endif
