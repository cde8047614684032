/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Inside of the virtual GPU, shared by engine.c (objects, queues, the event loop), slicer.c
 * (partitions: whose kernels run, and how fast) and copier.c (copy engines). Not for other rooms.
 *
 * A stream is in exactly one place at a time (`place`), which says who will move it on. Links of a
 * list are indices; DV_NONE ends it.
 */
#ifndef DV_ENGINE_INTERNAL_H
#define DV_ENGINE_INTERNAL_H

#include "engine/engine.h"

#define DV_NONE UINT32_MAX
/* Work is counted in SM x ns x 1024, so that shares of an SM divide without loss. The largest
 * kernel, 3600e9 ns x 1024 SMs x 1024, is 2^61.7. */
#define DV_SM_UNIT 1024u

enum dv_place {
    DV_PLACE_IDLE,    /* nothing queued, or about to be looked at */
    DV_PLACE_TIMER,   /* its head may not start yet */
    DV_PLACE_RUNNING, /* its kernel is one of the (at most) 128 of its hardware context */
    DV_PLACE_READY,   /* its kernel waits to become one */
    DV_PLACE_COPYQ,   /* its copy waits for an engine */
    DV_PLACE_COPYING,
    DV_PLACE_WAIT, /* for another stream */
    DV_PLACE_HOST,
};

struct dv_op {
    struct dv_engine_op op;
    uint64_t submit_ns, tag, start_ns;
};

struct dv_list {
    uint32_t head, tail;
};

struct dv_stream {
    uint32_t generation, context;
    bool live, closing, kicked;
    enum dv_place place;
    struct dv_op *ops; /* ring of `room` (a power of two) */
    uint32_t room, first, count;
    uint64_t done_ticket, done_ns;
    uint64_t left;       /* of the kernel: SM x ns x 1024 */
    uint32_t given;      /* SMs x 1024 */
    uint32_t index;      /* place in running[], the heap, or the number of the copy engine */
    uint32_t next, prev; /* ready list, copy queue, or list of waiters */
    uint32_t waiters;    /* streams that wait for this one */
    uint32_t waits_for;  /* index of the stream */
    uint32_t kin_next, kin_prev; /* streams of one context */
    uint32_t kick_next;
    uint32_t free_next;
};

struct dv_context {
    uint32_t generation;
    bool live;
    uint32_t partition, hardware;
    struct dv_engine_context_spec spec;
    struct dv_engine_context_stats stats;
    uint32_t sm_rest;   /* 1/1024 SM x ns not yet in busy_sm_ns */
    uint32_t streams;   /* kin list */
    uint64_t seen;      /* last settling that counted it */
    uint32_t want, fit; /* scratch of the water-filling */
    uint32_t free_next;
};

/* What takes turns: one context, or the clients of an MPS group. */
struct dv_hardware {
    uint32_t users; /* contexts; 0 = free */
    uint32_t partition;
    uint64_t mps_group;
    bool queued; /* in the partition's list of turns */
    uint32_t turn_next, turn_prev;
    uint32_t running_count;
    struct dv_list ready;
    uint32_t running[DV_ENGINE_CONCURRENT];
};

enum dv_activity {
    DV_ACTIVITY_IDLE,
    DV_ACTIVITY_SWITCH,
    DV_ACTIVITY_RUN,
};

struct dv_partition {
    uint32_t generation;
    bool live, dirty;
    bool touched; /* something was resident before: the next one costs a switch */
    bool evict;   /* instant slicing: out at the next end of a kernel */
    enum dv_activity activity;
    uint32_t resident; /* hardware context; the target during a switch */
    struct dv_list turns;
    uint64_t slice_start_ns, slice_end_ns; /* end: DV_NEVER while alone */
    uint64_t settled_ns;
    uint64_t next_ns;
    uint64_t sm_rest;
    struct dv_engine_partition_stats stats;
};

struct dv_copy_engine {
    uint32_t stream; /* DV_NONE = free */
    uint64_t start_ns, end_ns;
};

struct dv_engine {
    struct dv_engine_config config;
    uint64_t now;
    struct dv_partition partitions[DV_ENGINE_PARTITIONS_MAX];
    uint32_t partitions_used; /* indices below this may be live */
    struct dv_context *contexts;
    struct dv_hardware **hardware; /* contexts_max of them, made when first needed */
    struct dv_stream *streams;
    struct dv_list free_contexts, free_streams;
    uint64_t settlings;
    struct dv_copy_engine copy[DV_ENGINE_DIRECTIONS][DV_ENGINE_COPY_ENGINES_MAX];
    struct dv_list copy_queue[DV_ENGINE_DIRECTIONS];
    uint32_t *heap; /* streams in DV_PLACE_TIMER, earliest first */
    uint32_t heap_count;
    struct dv_list kicks;
    struct dv_engine_completion *done; /* ring */
    uint64_t done_room, done_first, done_count;
    uint64_t pending; /* units of done[] that are promised or used */
};

/* ---- engine.c ---- */
void dv_engine_kick(struct dv_engine *e, uint32_t stream);
/* The head of the stream ended now: records it and puts the stream up to be looked at. */
void dv_engine_finish_head(struct dv_engine *e, uint32_t stream);
static inline struct dv_op *dv_stream_head(struct dv_stream *s)
{
    return &s->ops[s->first];
}

/* ---- lists of streams through next/prev ---- */
static inline void dv_stream_append(struct dv_engine *e, struct dv_list *l, uint32_t i)
{
    e->streams[i].next = DV_NONE;
    e->streams[i].prev = l->tail;
    if (l->tail == DV_NONE)
        l->head = i;
    else
        e->streams[l->tail].next = i;
    l->tail = i;
}

static inline void dv_stream_unlink(struct dv_engine *e, struct dv_list *l, uint32_t i)
{
    struct dv_stream *s = &e->streams[i];
    if (s->prev == DV_NONE)
        l->head = s->next;
    else
        e->streams[s->prev].next = s->next;
    if (s->next == DV_NONE)
        l->tail = s->prev;
    else
        e->streams[s->next].prev = s->prev;
}

/* ---- slicer.c ---- */
/* Counts what the partition did since the last settling. */
void dv_slicer_settle(struct dv_engine *e, struct dv_partition *p);
/* The stream's head is a kernel that may run. */
void dv_slicer_enter(struct dv_engine *e, uint32_t stream);
/* The stream's kernel is gone (killed). */
void dv_slicer_leave(struct dv_engine *e, uint32_t stream);
/* Kernels that end now, ends of slices and switches. */
void dv_slicer_event(struct dv_engine *e, struct dv_partition *p);
/* After changes: who is resident, SMs, next event. */
void dv_slicer_replan(struct dv_engine *e, struct dv_partition *p);

/* ---- copier.c ---- */
void dv_copier_enter(struct dv_engine *e, uint32_t stream);
void dv_copier_leave(struct dv_engine *e, uint32_t stream);
void dv_copier_event(struct dv_engine *e);
uint64_t dv_copier_next(const struct dv_engine *e);

#endif
