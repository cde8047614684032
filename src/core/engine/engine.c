/* SPDX-License-Identifier: Apache-2.0 */
#include "engine/engine.h"

#include "engine/internal.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#define BYTES_MAX (UINT64_C(1) << 50)
#define INDEX_BITS 16
#define INDEX_MASK ((1u << INDEX_BITS) - 1)

/* ---- ids: index and generation; generation 0 is never used, so no id is 0 ---- */

static uint32_t make_id(uint32_t index, uint32_t generation)
{
    return generation << INDEX_BITS | index;
}

static void next_generation(uint32_t *generation)
{
    *generation = *generation == INDEX_MASK ? 1 : *generation + 1;
}

static struct dv_partition *find_partition(const struct dv_engine *e, uint32_t id)
{
    uint32_t i = id & INDEX_MASK;
    if (i >= DV_ENGINE_PARTITIONS_MAX)
        return NULL;
    const struct dv_partition *p = &e->partitions[i];
    return p->live && p->generation == id >> INDEX_BITS ? (struct dv_partition *)p : NULL;
}

static struct dv_context *find_context(const struct dv_engine *e, uint32_t id)
{
    uint32_t i = id & INDEX_MASK;
    if (i >= e->config.contexts_max)
        return NULL;
    struct dv_context *c = &e->contexts[i];
    return c->live && c->generation == id >> INDEX_BITS ? c : NULL;
}

static struct dv_stream *find_stream(const struct dv_engine *e, uint32_t id)
{
    uint32_t i = id & INDEX_MASK;
    if (i >= e->config.streams_max)
        return NULL;
    struct dv_stream *s = &e->streams[i];
    return s->live && s->generation == id >> INDEX_BITS ? s : NULL;
}

static uint32_t stream_id(const struct dv_engine *e, uint32_t i)
{
    return make_id(i, e->streams[i].generation);
}

/* ---- creation ---- */

void dv_engine_config_default(struct dv_engine_config *c)
{
    *c = (struct dv_engine_config){
        .sm_total = 132,
        .timeslice_ns = 2048 * DV_NS_PER_US,
        .switch_ns = 60 * DV_NS_PER_US,
        .slicing = DV_ENGINE_SLICE_PHASE,
        .copy_engines = {1, 1, 1},
        .copy_bytes_per_s = {UINT64_C(50000000000), UINT64_C(50000000000), UINT64_C(1500000000000)},
        .copy_latency_ns = 2 * DV_NS_PER_US,
        .contexts_max = 1024,
        .streams_max = 8192,
        .queue_max = 1024,
        .pending_max = 1u << 20,
    };
}

static bool timeslice_ok(uint64_t ns)
{
    return ns >= DV_NS_PER_US && ns <= 10 * DV_NS_PER_S;
}

static bool config_ok(const struct dv_engine_config *c)
{
    bool ok = c->sm_total >= 1 && c->sm_total <= DV_ENGINE_SM_MAX &&
              timeslice_ok(c->timeslice_ns) && c->switch_ns <= 10 * DV_NS_PER_MS &&
              c->copy_latency_ns <= DV_NS_PER_S &&
              (c->slicing == DV_ENGINE_SLICE_PHASE || c->slicing == DV_ENGINE_SLICE_INSTANT) &&
              c->contexts_max >= 1 && c->contexts_max <= INDEX_MASK && c->streams_max >= 1 &&
              c->streams_max <= INDEX_MASK && c->queue_max >= 1 && c->queue_max <= 1u << 20 &&
              c->pending_max >= 1 && c->pending_max <= 1u << 24;
    for (unsigned d = 0; ok && d < DV_ENGINE_DIRECTIONS; d++)
        ok = c->copy_engines[d] >= 1 && c->copy_engines[d] <= DV_ENGINE_COPY_ENGINES_MAX &&
             c->copy_bytes_per_s[d] >= 1;
    return ok;
}

static void fill_free_lists(struct dv_engine *e)
{
    for (uint32_t i = 0; i < e->config.contexts_max; i++) {
        e->contexts[i].generation = 1;
        e->contexts[i].free_next = i + 1 < e->config.contexts_max ? i + 1 : DV_NONE;
    }
    e->free_contexts = (struct dv_list){0, e->config.contexts_max - 1};
    for (uint32_t i = 0; i < e->config.streams_max; i++) {
        e->streams[i].generation = 1;
        e->streams[i].free_next = i + 1 < e->config.streams_max ? i + 1 : DV_NONE;
    }
    e->free_streams = (struct dv_list){0, e->config.streams_max - 1};
}

int dv_engine_new(const struct dv_engine_config *c, struct dv_engine **ret)
{
    if (!config_ok(c))
        return -EINVAL;
    struct dv_engine *e = calloc(1, sizeof *e);
    if (!e)
        return -ENOMEM;
    e->config = *c;
    e->contexts = calloc(c->contexts_max, sizeof *e->contexts);
    e->hardware = calloc(c->contexts_max, sizeof(struct dv_hardware *));
    e->streams = calloc(c->streams_max, sizeof *e->streams);
    e->heap = calloc(c->streams_max, sizeof *e->heap);
    if (!e->contexts || !e->hardware || !e->streams || !e->heap) {
        dv_engine_free(e);
        return -ENOMEM;
    }
    fill_free_lists(e);
    e->kicks = (struct dv_list){DV_NONE, DV_NONE};
    for (unsigned d = 0; d < DV_ENGINE_DIRECTIONS; d++) {
        e->copy_queue[d] = (struct dv_list){DV_NONE, DV_NONE};
        for (unsigned i = 0; i < DV_ENGINE_COPY_ENGINES_MAX; i++)
            e->copy[d][i] = (struct dv_copy_engine){.stream = DV_NONE, .end_ns = DV_NEVER};
    }
    *ret = e;
    return 0;
}

void dv_engine_free(struct dv_engine *e)
{
    if (!e)
        return;
    for (uint32_t i = 0; e->streams && i < e->config.streams_max; i++)
        free(e->streams[i].ops);
    for (uint32_t i = 0; e->hardware && i < e->config.contexts_max; i++)
        free(e->hardware[i]);
    free(e->contexts);
    free(e->hardware);
    free(e->streams);
    free(e->heap);
    free(e->done);
    free(e);
}

uint64_t dv_engine_now(const struct dv_engine *e)
{
    return e->now;
}

/* ---- the heap of streams whose head may not start yet ---- */

static bool heap_before(const struct dv_engine *e, uint32_t a, uint32_t b)
{
    uint64_t ta = dv_stream_head(&e->streams[a])->submit_ns;
    uint64_t tb = dv_stream_head(&e->streams[b])->submit_ns;
    return ta != tb ? ta < tb : a < b;
}

static void heap_put(struct dv_engine *e, uint32_t at, uint32_t stream)
{
    e->heap[at] = stream;
    e->streams[stream].index = at;
}

static void heap_up(struct dv_engine *e, uint32_t at, uint32_t stream)
{
    for (; at && heap_before(e, stream, e->heap[(at - 1) / 2]); at = (at - 1) / 2)
        heap_put(e, at, e->heap[(at - 1) / 2]);
    heap_put(e, at, stream);
}

static void heap_down(struct dv_engine *e, uint32_t at, uint32_t stream)
{
    for (uint32_t child; (child = 2 * at + 1) < e->heap_count; at = child) {
        if (child + 1 < e->heap_count && heap_before(e, e->heap[child + 1], e->heap[child]))
            child++;
        if (!heap_before(e, e->heap[child], stream))
            break;
        heap_put(e, at, e->heap[child]);
    }
    heap_put(e, at, stream);
}

static void heap_remove(struct dv_engine *e, uint32_t stream)
{
    uint32_t at = e->streams[stream].index;
    uint32_t last = e->heap[--e->heap_count];
    if (last == stream)
        return;
    if (at && heap_before(e, last, e->heap[(at - 1) / 2]))
        heap_up(e, at, last);
    else
        heap_down(e, at, last);
}

/* ---- completions ---- */

/* Room for `units` more promises, so that nothing that happens later can fail. */
static int done_reserve(struct dv_engine *e, uint64_t units)
{
    if (e->pending + units > e->config.pending_max)
        return -EAGAIN;
    if (e->pending + units <= e->done_room)
        return 0;
    uint64_t room = e->done_room ? e->done_room * 2 : 256;
    struct dv_engine_completion *ring = malloc(room * sizeof *ring);
    if (!ring)
        return -ENOMEM;
    for (uint64_t i = 0; i < e->done_count; i++)
        ring[i] = e->done[(e->done_first + i) & (e->done_room - 1)];
    free(e->done);
    e->done = ring;
    e->done_room = room;
    e->done_first = 0;
    return 0;
}

static void done_push(struct dv_engine *e, const struct dv_engine_completion *c)
{
    e->done[(e->done_first + e->done_count++) & (e->done_room - 1)] = *c;
}

bool dv_engine_pop(struct dv_engine *e, struct dv_engine_completion *ret)
{
    if (!e->done_count)
        return false;
    *ret = e->done[e->done_first];
    e->done_first = (e->done_first + 1) & (e->done_room - 1);
    e->done_count--;
    e->pending--;
    return true;
}

/* ---- streams move on ---- */

void dv_engine_kick(struct dv_engine *e, uint32_t stream)
{
    struct dv_stream *s = &e->streams[stream];
    if (s->kicked)
        return;
    s->kicked = true;
    s->kick_next = DV_NONE;
    if (e->kicks.tail == DV_NONE)
        e->kicks.head = stream;
    else
        e->streams[e->kicks.tail].kick_next = stream;
    e->kicks.tail = stream;
}

static bool wait_over(const struct dv_engine *e, const struct dv_engine_op *op)
{
    const struct dv_stream *s = find_stream(e, op->wait_stream);
    return !s || s->done_ticket >= op->wait_ticket;
}

static void waiter_link(struct dv_engine *e, uint32_t stream, uint32_t target)
{
    struct dv_stream *s = &e->streams[stream], *t = &e->streams[target];
    s->place = DV_PLACE_WAIT;
    s->waits_for = target;
    s->prev = DV_NONE;
    s->next = t->waiters;
    if (s->next != DV_NONE)
        e->streams[s->next].prev = stream;
    t->waiters = stream;
}

static void waiter_unlink(struct dv_engine *e, uint32_t stream)
{
    struct dv_stream *s = &e->streams[stream];
    struct dv_list l = {e->streams[s->waits_for].waiters, DV_NONE};
    dv_stream_unlink(e, &l, stream);
    e->streams[s->waits_for].waiters = l.head;
    s->place = DV_PLACE_IDLE;
}

/* Those who waited for what is complete now (or for anything, when the stream goes). */
static void wake_waiters(struct dv_engine *e, uint32_t stream, bool all)
{
    uint32_t next;
    for (uint32_t w = e->streams[stream].waiters; w != DV_NONE; w = next) {
        next = e->streams[w].next;
        if (!all && !wait_over(e, &dv_stream_head(&e->streams[w])->op))
            continue;
        waiter_unlink(e, w);
        dv_engine_kick(e, w);
    }
}

void dv_engine_finish_head(struct dv_engine *e, uint32_t stream)
{
    struct dv_stream *s = &e->streams[stream];
    const struct dv_op *op = dv_stream_head(s);
    s->done_ticket++;
    s->done_ns = e->now;
    if (op->op.quiet)
        e->pending--;
    else
        done_push(e, &(struct dv_engine_completion){.tag = op->tag,
                                                    .stream = stream_id(e, stream),
                                                    .ticket = s->done_ticket,
                                                    .start_ns = op->start_ns,
                                                    .end_ns = e->now});
    e->contexts[s->context].stats.queued--;
    s->first = (s->first + 1) & (s->room - 1);
    s->count--;
    s->place = DV_PLACE_IDLE;
    wake_waiters(e, stream, false);
    dv_engine_kick(e, stream);
}

static void start_host(struct dv_engine *e, uint32_t stream)
{
    struct dv_stream *s = &e->streams[stream];
    struct dv_op *op = dv_stream_head(s);
    s->place = DV_PLACE_HOST;
    op->start_ns = e->now;
    done_push(e, &(struct dv_engine_completion){.tag = op->tag,
                                                .stream = stream_id(e, stream),
                                                .host_ready = true,
                                                .ticket = s->done_ticket + 1,
                                                .start_ns = e->now});
}

static void start_head(struct dv_engine *e, uint32_t stream)
{
    struct dv_stream *s = &e->streams[stream];
    struct dv_op *op = dv_stream_head(s);
    switch (op->op.kind) {
    case DV_ENGINE_KERNEL:
        dv_slicer_enter(e, stream);
        break;
    case DV_ENGINE_COPY:
        dv_copier_enter(e, stream);
        break;
    case DV_ENGINE_HOST:
        start_host(e, stream);
        break;
    case DV_ENGINE_WAIT:
        if (!wait_over(e, &op->op)) {
            op->start_ns = e->now;
            waiter_link(e, stream, op->op.wait_stream & INDEX_MASK);
            break;
        }
        __attribute__((fallthrough));
    case DV_ENGINE_MARK:
        if (op->start_ns == DV_NEVER)
            op->start_ns = e->now;
        dv_engine_finish_head(e, stream);
        break;
    }
}

static void stream_free(struct dv_engine *e, uint32_t i);

static void look_at(struct dv_engine *e, uint32_t stream)
{
    struct dv_stream *s = &e->streams[stream];
    if (!s->live || s->place != DV_PLACE_IDLE)
        return;
    if (!s->count) {
        if (s->closing)
            stream_free(e, stream);
        return;
    }
    if (dv_stream_head(s)->submit_ns > e->now) {
        s->place = DV_PLACE_TIMER;
        heap_up(e, e->heap_count++, stream);
        return;
    }
    start_head(e, stream);
}

/* Until nothing more happens at this instant. */
static void drain(struct dv_engine *e)
{
    while (e->kicks.head != DV_NONE) {
        uint32_t stream = e->kicks.head;
        e->kicks.head = e->streams[stream].kick_next;
        if (e->kicks.head == DV_NONE)
            e->kicks.tail = DV_NONE;
        e->streams[stream].kicked = false;
        look_at(e, stream);
    }
    for (uint32_t i = 0; i < e->partitions_used; i++)
        if (e->partitions[i].live && e->partitions[i].dirty)
            dv_slicer_replan(e, &e->partitions[i]);
}

/* ---- time ---- */

uint64_t dv_engine_next(const struct dv_engine *e)
{
    uint64_t t = dv_copier_next(e);
    if (e->heap_count)
        t = DV_MIN(t, dv_stream_head(&e->streams[e->heap[0]])->submit_ns);
    for (uint32_t i = 0; i < e->partitions_used; i++)
        if (e->partitions[i].live)
            t = DV_MIN(t, e->partitions[i].next_ns);
    return t;
}

static void events_now(struct dv_engine *e)
{
    for (uint32_t i = 0; i < e->partitions_used; i++)
        if (e->partitions[i].live && e->partitions[i].next_ns <= e->now)
            dv_slicer_event(e, &e->partitions[i]);
    dv_copier_event(e);
    while (e->heap_count && dv_stream_head(&e->streams[e->heap[0]])->submit_ns <= e->now) {
        uint32_t stream = e->heap[0];
        heap_remove(e, stream);
        e->streams[stream].place = DV_PLACE_IDLE;
        dv_engine_kick(e, stream);
    }
    drain(e);
}

void dv_engine_advance(struct dv_engine *e, uint64_t now)
{
    for (uint64_t t; (t = dv_engine_next(e)) <= now && t != DV_NEVER;) {
        e->now = DV_MAX(t, e->now);
        events_now(e);
    }
    e->now = DV_MAX(e->now, now);
}

/* ---- partitions ---- */

int dv_engine_partition_add(struct dv_engine *e, uint64_t now, uint32_t sms, uint32_t *ret_id)
{
    if (!sms || sms > e->config.sm_total)
        return -EINVAL;
    uint32_t i = 0;
    while (i < DV_ENGINE_PARTITIONS_MAX && e->partitions[i].live)
        i++;
    if (i == DV_ENGINE_PARTITIONS_MAX)
        return -ENOSPC;
    dv_engine_advance(e, now);
    struct dv_partition *p = &e->partitions[i];
    uint32_t generation = p->generation;
    next_generation(&generation);
    *p = (struct dv_partition){
        .generation = generation,
        .live = true,
        .resident = DV_NONE,
        .turns = {DV_NONE, DV_NONE},
        .slice_end_ns = DV_NEVER,
        .settled_ns = e->now,
        .next_ns = DV_NEVER,
        .stats = {.since_ns = e->now, .sms = sms},
    };
    e->partitions_used = DV_MAX(e->partitions_used, i + 1);
    *ret_id = make_id(i, generation);
    return 0;
}

int dv_engine_partition_remove(struct dv_engine *e, uint64_t now, uint32_t id)
{
    struct dv_partition *p = find_partition(e, id);
    if (!p)
        return -ENOENT;
    if (p->stats.contexts)
        return -EBUSY;
    dv_engine_advance(e, now);
    p->live = false;
    return 0;
}

/* ---- contexts ---- */

/* The hardware context of an MPS group, or a new one. */
static int hardware_join(struct dv_engine *e, uint32_t partition, uint64_t group, uint32_t *ret)
{
    uint32_t spare = DV_NONE;
    for (uint32_t i = 0; i < e->config.contexts_max; i++) {
        struct dv_hardware *h = e->hardware[i];
        if (!h || !h->users) {
            if (spare == DV_NONE)
                spare = i;
            if (!h && !group)
                break;
        } else if (group && h->partition == partition && h->mps_group == group) {
            h->users++;
            *ret = i;
            return 0;
        }
    }
    /* There are as many places as contexts, so one is spare. */
    if (!e->hardware[spare])
        e->hardware[spare] = malloc(sizeof *e->hardware[spare]);
    struct dv_hardware *h = e->hardware[spare];
    if (!h)
        return -ENOMEM;
    h->users = 1;
    h->partition = partition;
    h->mps_group = group;
    h->queued = false;
    h->running_count = 0;
    h->ready = (struct dv_list){DV_NONE, DV_NONE};
    *ret = spare;
    return 0;
}

int dv_engine_context_add(struct dv_engine *e, uint64_t now,
                          const struct dv_engine_context_spec *spec, uint32_t *ret_id)
{
    struct dv_partition *p = find_partition(e, spec->partition);
    if (!p)
        return -ENOENT;
    uint32_t i = e->free_contexts.head;
    if (i == DV_NONE)
        return -ENOSPC;
    dv_engine_advance(e, now);
    struct dv_context *c = &e->contexts[i];
    uint32_t hw;
    int r = hardware_join(e, spec->partition & INDEX_MASK, spec->mps_group, &hw);
    if (r < 0)
        return r;
    e->free_contexts.head = c->free_next;
    if (e->free_contexts.head == DV_NONE)
        e->free_contexts.tail = DV_NONE;
    *c = (struct dv_context){
        .generation = c->generation,
        .live = true,
        .partition = spec->partition & INDEX_MASK,
        .hardware = hw,
        .spec = *spec,
        .stats = {.owner = spec->owner, .partition = spec->partition},
        .streams = DV_NONE,
    };
    p->stats.contexts++;
    *ret_id = make_id(i, c->generation);
    return 0;
}

static void hardware_leave(struct dv_engine *e, struct dv_partition *p, uint32_t hw)
{
    if (--e->hardware[hw]->users)
        return;
    if (p->resident == hw) {
        dv_slicer_settle(e, p);
        p->resident = DV_NONE;
        p->dirty = true;
    }
}

int dv_engine_context_kill(struct dv_engine *e, uint64_t now, uint32_t id)
{
    struct dv_context *c = find_context(e, id);
    if (!c)
        return -ENOENT;
    dv_engine_advance(e, now);
    struct dv_partition *p = &e->partitions[c->partition];
    while (c->streams != DV_NONE)
        stream_free(e, c->streams);
    hardware_leave(e, p, c->hardware);
    p->stats.contexts--;
    c->live = false;
    next_generation(&c->generation);
    uint32_t i = id & INDEX_MASK;
    c->free_next = DV_NONE;
    if (e->free_contexts.tail == DV_NONE)
        e->free_contexts.head = i;
    else
        e->contexts[e->free_contexts.tail].free_next = i;
    e->free_contexts.tail = i;
    drain(e);
    return 0;
}

int dv_engine_context_limit(struct dv_engine *e, uint64_t now, uint32_t id, uint32_t sm_limit)
{
    struct dv_context *c = find_context(e, id);
    if (!c)
        return -ENOENT;
    dv_engine_advance(e, now);
    struct dv_partition *p = &e->partitions[c->partition];
    dv_slicer_settle(e, p);
    c->spec.sm_limit = sm_limit;
    p->dirty = true;
    drain(e);
    return 0;
}

int dv_engine_set_timeslice(struct dv_engine *e, uint64_t now, uint64_t timeslice_ns)
{
    if (!timeslice_ok(timeslice_ns))
        return -EINVAL;
    dv_engine_advance(e, now);
    e->config.timeslice_ns = timeslice_ns;
    return 0;
}

/* ---- streams ---- */

int dv_engine_stream_add(struct dv_engine *e, uint32_t context, uint32_t *ret_id)
{
    struct dv_context *c = find_context(e, context);
    if (!c)
        return -ENOENT;
    uint32_t i = e->free_streams.head;
    if (i == DV_NONE)
        return -ENOSPC;
    struct dv_stream *s = &e->streams[i];
    e->free_streams.head = s->free_next;
    if (e->free_streams.head == DV_NONE)
        e->free_streams.tail = DV_NONE;
    *s = (struct dv_stream){
        .generation = s->generation,
        .context = context & INDEX_MASK,
        .live = true,
        .kicked = s->kicked, /* it may still stand in the list from its last life */
        .kick_next = s->kick_next,
        .place = DV_PLACE_IDLE,
        .waiters = DV_NONE,
        .kin_next = c->streams,
        .kin_prev = DV_NONE,
    };
    if (c->streams != DV_NONE)
        e->streams[c->streams].kin_prev = i;
    c->streams = i;
    *ret_id = make_id(i, s->generation);
    return 0;
}

/* Takes the stream out of wherever it is; what it has queued is dropped. */
static void stream_leave(struct dv_engine *e, uint32_t i)
{
    struct dv_stream *s = &e->streams[i];
    switch (s->place) {
    case DV_PLACE_IDLE:
    case DV_PLACE_HOST:
        break;
    case DV_PLACE_TIMER:
        heap_remove(e, i);
        break;
    case DV_PLACE_RUNNING:
    case DV_PLACE_READY:
        dv_slicer_leave(e, i);
        break;
    case DV_PLACE_COPYQ:
    case DV_PLACE_COPYING:
        dv_copier_leave(e, i);
        break;
    case DV_PLACE_WAIT:
        waiter_unlink(e, i);
        break;
    }
}

static uint64_t units_of(enum dv_engine_kind kind)
{
    return kind == DV_ENGINE_HOST ? 2 : 1;
}

static void stream_free(struct dv_engine *e, uint32_t i)
{
    struct dv_stream *s = &e->streams[i];
    struct dv_context *c = &e->contexts[s->context];
    bool started = s->place == DV_PLACE_HOST;
    stream_leave(e, i);
    for (uint32_t k = 0; k < s->count; k++)
        e->pending -= units_of(s->ops[(s->first + k) & (s->room - 1)].op.kind);
    e->pending += started; /* its first unit is in done[] */
    c->stats.queued -= s->count;
    s->live = false;
    wake_waiters(e, i, true);
    free(s->ops);
    s->ops = NULL;
    if (s->kin_prev == DV_NONE)
        c->streams = s->kin_next;
    else
        e->streams[s->kin_prev].kin_next = s->kin_next;
    if (s->kin_next != DV_NONE)
        e->streams[s->kin_next].kin_prev = s->kin_prev;
    next_generation(&s->generation);
    s->free_next = DV_NONE;
    if (e->free_streams.tail == DV_NONE)
        e->free_streams.head = i;
    else
        e->streams[e->free_streams.tail].free_next = i;
    e->free_streams.tail = i;
}

int dv_engine_stream_remove(struct dv_engine *e, uint32_t id)
{
    struct dv_stream *s = find_stream(e, id);
    if (!s)
        return -ENOENT;
    s->closing = true;
    dv_engine_kick(e, id & INDEX_MASK);
    drain(e);
    return 0;
}

/* ---- work ---- */

static bool op_ok(const struct dv_engine_op *op)
{
    switch (op->kind) {
    case DV_ENGINE_MARK:
    case DV_ENGINE_WAIT:
    case DV_ENGINE_HOST:
        return true;
    case DV_ENGINE_KERNEL:
        return op->sm_demand >= 1 && op->sm_demand <= DV_ENGINE_SM_MAX &&
               op->work_ns <= DV_ENGINE_WORK_MAX;
    case DV_ENGINE_COPY:
        return (unsigned)op->direction < DV_ENGINE_DIRECTIONS && op->bytes <= BYTES_MAX;
    }
    return false;
}

static int ring_reserve(struct dv_engine *e, struct dv_stream *s)
{
    if (s->count >= e->config.queue_max)
        return -EAGAIN;
    if (s->count < s->room)
        return 0;
    uint32_t room = s->room ? s->room * 2 : 16;
    struct dv_op *ops = malloc(room * sizeof *ops);
    if (!ops)
        return -ENOMEM;
    for (uint32_t i = 0; i < s->count; i++)
        ops[i] = s->ops[(s->first + i) & (s->room - 1)];
    free(s->ops);
    s->ops = ops;
    s->room = room;
    s->first = 0;
    return 0;
}

int dv_engine_submit(struct dv_engine *e, uint32_t stream, const struct dv_engine_op *op,
                     uint64_t submit_ns, uint64_t tag, uint64_t *ret_ticket)
{
    struct dv_stream *s = find_stream(e, stream);
    if (!op_ok(op) || (op->kind == DV_ENGINE_WAIT && op->wait_stream == stream))
        return -EINVAL;
    if (!s || s->closing)
        return -ENOENT;
    int r = done_reserve(e, units_of(op->kind));
    if (r == 0)
        r = ring_reserve(e, s);
    if (r < 0)
        return r;
    e->pending += units_of(op->kind);
    s->ops[(s->first + s->count++) & (s->room - 1)] =
        (struct dv_op){.op = *op, .submit_ns = submit_ns, .tag = tag, .start_ns = DV_NEVER};
    e->contexts[s->context].stats.queued++;
    if (ret_ticket)
        *ret_ticket = s->done_ticket + s->count;
    if (s->count == 1) {
        dv_engine_kick(e, stream & INDEX_MASK);
        drain(e);
    }
    return 0;
}

int dv_engine_host_done(struct dv_engine *e, uint64_t now, uint32_t stream, uint64_t ticket)
{
    dv_engine_advance(e, now);
    const struct dv_stream *s = find_stream(e, stream);
    if (!s || s->place != DV_PLACE_HOST || s->done_ticket + 1 != ticket)
        return -ENOENT;
    dv_engine_finish_head(e, stream & INDEX_MASK);
    drain(e);
    return 0;
}

int dv_engine_stream_done(const struct dv_engine *e, uint32_t stream, uint64_t *ret_ticket,
                          uint64_t *ret_end_ns)
{
    const struct dv_stream *s = find_stream(e, stream);
    if (!s)
        return -ENOENT;
    *ret_ticket = s->done_ticket;
    *ret_end_ns = s->done_ns;
    return 0;
}

uint32_t dv_engine_stream_queued(const struct dv_engine *e, uint32_t stream)
{
    const struct dv_stream *s = find_stream(e, stream);
    return s ? s->count : 0;
}

/* ---- what was used ---- */

int dv_engine_context_stats(struct dv_engine *e, uint64_t now, uint32_t id,
                            struct dv_engine_context_stats *ret)
{
    struct dv_context *c = find_context(e, id);
    if (!c)
        return -ENOENT;
    dv_engine_advance(e, now);
    struct dv_partition *p = &e->partitions[c->partition];
    dv_slicer_settle(e, p);
    *ret = c->stats;
    ret->busy_ns = c->stats.busy_sm_ns / p->stats.sms;
    return 0;
}

int dv_engine_partition_stats(struct dv_engine *e, uint64_t now, uint32_t id,
                              struct dv_engine_partition_stats *ret)
{
    struct dv_partition *p = find_partition(e, id);
    if (!p)
        return -ENOENT;
    dv_engine_advance(e, now);
    dv_slicer_settle(e, p);
    *ret = p->stats;
    return 0;
}

uint32_t dv_engine_window_percent(struct dv_engine_window *w, uint64_t now, uint64_t total)
{
    bool same = w->started && now / w->period_ns == w->sampled_ns / w->period_ns;
    if (same)
        return w->percent;
    uint64_t span = now - w->sampled_ns, grown = total - w->sampled_total;
    if (w->started)
        w->percent = (uint32_t)DV_MIN(100, (grown * 100 + span / 2) / span);
    w->started = true;
    w->sampled_ns = now;
    w->sampled_total = total;
    return w->percent;
}
