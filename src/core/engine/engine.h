/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The virtual GPU: one struct dv_engine is one physical card. Pure discrete events: the engine does
 * nothing until it is told the time, and then does exactly what the card would have done until
 * then. A server gives it CLOCK_MONOTONIC, a test any numbers that do not go back.
 *
 *     struct dv_engine_config c;
 *     dv_engine_config_default(&c);
 *     dv_engine_new(&c, &e);
 *     dv_engine_partition_add(e, 0, c.sm_total, &whole);              the whole card
 *     dv_engine_context_add(e, 0, &(struct dv_engine_context_spec){.partition = whole,
 *                           .owner = pid}, &ctx);
 *     dv_engine_stream_add(e, ctx, &stream);
 *     struct dv_engine_op op = {.kind = DV_ENGINE_KERNEL, .work_ns = 50000, .sm_demand = 132};
 *     dv_engine_submit(e, stream, &op, now, tag, &ticket);
 *     sleep until dv_engine_next(e);
 *     dv_engine_advance(e, now);
 *     while (dv_engine_pop(e, &done)) ...
 *
 * What the card does (sources: public measurements and papers on time-slicing, and NVIDIA's MPS and
 * MIG user guides; the numbers are settings, not truths):
 *   - A partition (the whole card, or one MIG instance) runs the kernels of ONE hardware context at
 *     a time. Hardware contexts with work take turns, round robin, `timeslice_ns` each; making
 *     another one resident costs `switch_ns`, during which the partition runs nothing. A kernel
 *     that is put out goes on later where it stopped. A context that is alone is never put out, and
 *     one that runs out of work gives way at once.
 *   - A context with an MPS group (any non-zero number) is a client: all clients of one group in
 *     one partition are one hardware context, and their kernels overlap. `sm_limit` bounds a
 * client.
 *   - Kernels at the heads of the streams of the resident context run together, at most
 *     DV_ENGINE_CONCURRENT of them (the rest in order of arrival). SMs are divided by
 * water-filling: first among the clients, then among each client's kernels; nobody gets more than
 * it demands.
 *   - A kernel is `work_ns` long with all of its `sm_demand` SMs and takes demand/given times
 * longer with fewer: so on a partition of s SMs, alone, it runs at min(1, s/d).
 *   - Copies run on copy engines, one per engine at a time, in order of arrival, whichever context
 *     is resident, and beside kernels.
 *   - Markers, waits and host operations take no time and no engine.
 *
 * Streams are FIFO: an operation starts when the one before it in its stream is complete. The
 * legacy default stream is a matter of the caller, who adds WAITs.
 *
 * Tickets: the operations of a stream are numbered from 1. A WAIT names a stream and a ticket of
 * the same engine, and is over when that stream is complete up to that ticket: that is all that
 * events need (remember {stream, ticket} at cuEventRecord; wait for it at cuStreamWaitEvent). A
 * stream that is gone counts as complete. HOST blocks its stream until dv_engine_host_done: for
 * host functions, stream memory waits, and waits for another card's engine.
 *
 * Ids are never used again for another thing while somebody may still hold them (a generation is
 * part of the id); a stale id is -ENOENT.
 *
 * Bounds: everything that grows has a limit in the configuration. Not thread-safe: one thread per
 * engine, or a lock. Cost per event: O(kernels running in that partition), no scan over what waits.
 * Times and durations in nanoseconds, unless said otherwise.
 */
#ifndef DV_ENGINE_ENGINE_H
#define DV_ENGINE_ENGINE_H

#include "base/macros.h"

#include <stdbool.h>

struct dv_engine;

#define DV_ENGINE_CONCURRENT 128    /* kernels of one hardware context that run together */
#define DV_ENGINE_PARTITIONS_MAX 16 /* the whole card, or up to 7 MIG instances, and room */
#define DV_ENGINE_SM_MAX 1024       /* sm_total, sm_demand */
#define DV_ENGINE_WORK_MAX (3600 * DV_NS_PER_S) /* work_ns of one kernel */
#define DV_ENGINE_COPY_ENGINES_MAX 8            /* per direction */

/* What a newcomer waits for, beside a context that has run alone for longer than a slice. Which
 * one real hardware does is open; see docs on the simulated GPU. */
enum dv_engine_slicing {
    DV_ENGINE_SLICE_PHASE,   /* the end of the running slice; slices tick on from the start */
    DV_ENGINE_SLICE_INSTANT, /* the next end of a kernel, or one more slice, whichever is first */
};

enum dv_engine_direction {
    DV_ENGINE_H2D,
    DV_ENGINE_D2H,
    DV_ENGINE_D2D,
    DV_ENGINE_DIRECTIONS,
};

struct dv_engine_config {
    uint32_t sm_total;     /* 1..DV_ENGINE_SM_MAX */
    uint64_t timeslice_ns; /* 1 us .. 10 s */
    uint64_t switch_ns;    /* 0 .. 10 ms */
    enum dv_engine_slicing slicing;
    uint32_t copy_engines[DV_ENGINE_DIRECTIONS];     /* 1..DV_ENGINE_COPY_ENGINES_MAX */
    uint64_t copy_bytes_per_s[DV_ENGINE_DIRECTIONS]; /* per engine, >= 1 */
    uint64_t copy_latency_ns;                        /* per copy, before the first byte */
    uint32_t contexts_max;                           /* 1..65535, of all partitions */
    uint32_t streams_max;                            /* 1..65535, of all contexts */
    uint32_t queue_max;   /* 1..2^20: operations of one stream not yet complete */
    uint32_t pending_max; /* 1..2^24: operations not complete or not yet popped, over all streams */
};

/* 132 SMs, 2.048 ms slices, 60 us switches, phase; 1 + 1 + 1 copy engines of 50, 50 and 1500 GB/s,
 * 2 us latency; 1024 contexts, 8192 streams, 1024 operations per stream, 2^20 pending. */
void dv_engine_config_default(struct dv_engine_config *c);

/* 0, -EINVAL (a setting out of its range), -ENOMEM. */
int dv_engine_new(const struct dv_engine_config *c, struct dv_engine **ret);
void dv_engine_free(struct dv_engine *e);

/* The time up to which the engine has worked. */
uint64_t dv_engine_now(const struct dv_engine *e);

/* Changes the length of a turn at `now`, in all partitions. A turn under way whose end is set keeps
 * that end; the next is of the new length. 0, -EINVAL (not 1 us .. 10 s). */
int dv_engine_set_timeslice(struct dv_engine *e, uint64_t now, uint64_t timeslice_ns);

/* ---- partitions and contexts ----
 * `now` of these calls advances the engine first (completions then wait to be popped); a time in
 * the past counts as the engine's own. */

/* A part of the card with `sms` SMs. The sum may exceed sm_total only by the caller's will: how a
 * card may be cut is the model's knowledge. 0, -EINVAL, -ENOSPC. */
int dv_engine_partition_add(struct dv_engine *e, uint64_t now, uint32_t sms, uint32_t *ret_id);
/* 0, -ENOENT, -EBUSY (it has contexts). */
int dv_engine_partition_remove(struct dv_engine *e, uint64_t now, uint32_t id);

struct dv_engine_context_spec {
    uint32_t partition;
    uint32_t sm_limit;  /* most SMs at once, MPS's active threads; 0 = all of the partition */
    uint64_t owner;     /* the caller's word for a process */
    uint64_t mps_group; /* 0 = a hardware context of its own */
};

/* 0, -ENOENT (partition), -ENOSPC, -ENOMEM. */
int dv_engine_context_add(struct dv_engine *e, uint64_t now,
                          const struct dv_engine_context_spec *spec, uint32_t *ret_id);
/* Ends the context at `now`, as the death of its process does: its kernels stop where they are, its
 * copies too, what is queued is dropped without a completion, its streams are gone, and whoever
 * waits for one of them goes on. (A real driver lets the running kernel reach a preemption point
 * and takes about a millisecond to tear down; model that by calling later.) 0, -ENOENT. */
int dv_engine_context_kill(struct dv_engine *e, uint64_t now, uint32_t id);
/* Changes the limit of an MPS client; takes effect at `now`. 0, -ENOENT. */
int dv_engine_context_limit(struct dv_engine *e, uint64_t now, uint32_t id, uint32_t sm_limit);

/* 0, -ENOENT (context), -ENOSPC, -ENOMEM. */
int dv_engine_stream_add(struct dv_engine *e, uint32_t context, uint32_t *ret_id);
/* No more submissions; the stream goes when what it has is complete. 0, -ENOENT. */
int dv_engine_stream_remove(struct dv_engine *e, uint32_t id);

/* ---- work ---- */

enum dv_engine_kind {
    DV_ENGINE_MARK,   /* nothing but its place in the stream: NOP, or an event's record */
    DV_ENGINE_KERNEL, /* work_ns, sm_demand */
    DV_ENGINE_COPY,   /* bytes, direction */
    DV_ENGINE_WAIT,   /* wait_stream, wait_ticket */
    DV_ENGINE_HOST,   /* until dv_engine_host_done */
};

struct dv_engine_op {
    enum dv_engine_kind kind;
    bool quiet;         /* no completion is to be popped; dv_engine_stream_done tells */
    uint32_t sm_demand; /* 1..DV_ENGINE_SM_MAX */
    uint64_t work_ns;   /* 0..DV_ENGINE_WORK_MAX */
    uint64_t bytes;     /* 0..2^50 */
    enum dv_engine_direction direction;
    uint32_t wait_stream;
    uint64_t wait_ticket;
};

/*
 * Queues op; it does not start before submit_ns (which may be in the future; a time in the past
 * counts as the engine's own). Does not advance the engine. ret_ticket may be NULL.
 * 0, -EINVAL (a field out of its range; a WAIT for its own stream), -ENOENT (stream; also one that
 * is being removed), -EAGAIN (queue_max or pending_max reached: advance, pop, try again), -ENOMEM.
 */
int dv_engine_submit(struct dv_engine *e, uint32_t stream, const struct dv_engine_op *op,
                     uint64_t submit_ns, uint64_t tag, uint64_t *ret_ticket);

/* Lets a HOST operation that has started end at `now`. 0, -ENOENT (stream or ticket is not
 * waiting there). */
int dv_engine_host_done(struct dv_engine *e, uint64_t now, uint32_t stream, uint64_t ticket);

/* All operations of the stream up to *ret_ticket are complete, the last one at *ret_end_ns (0 when
 * none is). A stream that is gone: -ENOENT. */
int dv_engine_stream_done(const struct dv_engine *e, uint32_t stream, uint64_t *ret_ticket,
                          uint64_t *ret_end_ns);
/* Operations of the stream that are not complete; 0 for a stream that is gone. */
uint32_t dv_engine_stream_queued(const struct dv_engine *e, uint32_t stream);

/* ---- time ---- */

/* Does all that happens until and at `now`. A time in the past does nothing. */
void dv_engine_advance(struct dv_engine *e, uint64_t now);
/* When the state changes next without new input; DV_NEVER if nothing is under way. This is at or
 * before the next completion (slice ends and switches count too). */
uint64_t dv_engine_next(const struct dv_engine *e);

struct dv_engine_completion {
    uint64_t tag;
    uint32_t stream;
    bool host_ready; /* a HOST operation has STARTED (end_ns 0); its completion follows later */
    uint64_t ticket;
    uint64_t start_ns; /* when it first ran */
    uint64_t end_ns;
};

/* The oldest completion, in order of time; false if there is none. */
bool dv_engine_pop(struct dv_engine *e, struct dv_engine_completion *ret);

/* ---- what was used ----
 * Totals only grow. Both calls bring the totals to `now` first (advancing the engine). */

struct dv_engine_context_stats {
    uint64_t owner;
    uint64_t executed_ns; /* wall time during which at least one of its kernels ran */
    uint64_t busy_sm_ns;  /* SMs x time given to its kernels */
    uint64_t busy_ns;     /* the same over the partition's SMs: full-partition time */
    uint64_t copy_ns;     /* copy engine time */
    uint64_t copied_bytes;
    uint64_t kernels; /* complete */
    uint32_t queued;  /* operations not complete */
    uint32_t partition;
};

struct dv_engine_partition_stats {
    uint64_t since_ns;   /* when it was made; busy + switch + idle == now - since */
    uint64_t busy_ns;    /* at least one kernel ran */
    uint64_t busy_sm_ns; /* SMs x time given to kernels */
    uint64_t switch_ns;
    uint64_t idle_ns;
    uint64_t switches;
    uint32_t contexts;
    uint32_t sms;
};

int dv_engine_context_stats(struct dv_engine *e, uint64_t now, uint32_t id,
                            struct dv_engine_context_stats *ret);
int dv_engine_partition_stats(struct dv_engine *e, uint64_t now, uint32_t id,
                              struct dv_engine_partition_stats *ret);

/*
 * Utilization as NVML words it: the percentage of the last period in which the counter grew. Feed
 * it a total that only grows (executed_ns of a context, busy_ns of a partition, copy_ns). A period
 * ends at the first call after a multiple of period_ns; until then the last one's figure is given,
 * 0 before the first.
 *
 *     struct dv_engine_window w = {.period_ns = DV_NS_PER_S / 6};
 *     percent = dv_engine_window_percent(&w, now, stats.busy_ns);       as often as you like
 */
struct dv_engine_window {
    uint64_t period_ns; /* set by the caller, >= 1 */
    uint64_t sampled_ns, sampled_total;
    uint32_t percent; /* of the last full period, 0..100 */
    bool started;
};
uint32_t dv_engine_window_percent(struct dv_engine_window *w, uint64_t now, uint64_t total);

#endif
