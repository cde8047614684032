/* SPDX-License-Identifier: Apache-2.0 */
#include "engine/internal.h"

/* bytes at bytes_per_s, rounded up. */
static uint64_t transfer_ns(uint64_t bytes, uint64_t bytes_per_s)
{
    unsigned __int128 n = (unsigned __int128)bytes * DV_NS_PER_S + (bytes_per_s - 1);
    return (uint64_t)(n / bytes_per_s);
}

static void start(struct dv_engine *e, unsigned direction)
{
    struct dv_list *q = &e->copy_queue[direction];
    for (uint32_t i = 0; i < e->config.copy_engines[direction] && q->head != DV_NONE; i++) {
        struct dv_copy_engine *c = &e->copy[direction][i];
        if (c->stream != DV_NONE)
            continue;
        uint32_t stream = q->head;
        struct dv_stream *s = &e->streams[stream];
        dv_stream_unlink(e, q, stream);
        s->place = DV_PLACE_COPYING;
        s->index = i;
        dv_stream_head(s)->start_ns = e->now;
        c->stream = stream;
        c->start_ns = e->now;
        c->end_ns = e->now + e->config.copy_latency_ns +
                    transfer_ns(dv_stream_head(s)->op.bytes, e->config.copy_bytes_per_s[direction]);
    }
}

void dv_copier_enter(struct dv_engine *e, uint32_t stream)
{
    struct dv_stream *s = &e->streams[stream];
    unsigned direction = dv_stream_head(s)->op.direction;
    s->place = DV_PLACE_COPYQ;
    dv_stream_append(e, &e->copy_queue[direction], stream);
    start(e, direction);
}

/* Frees the engine; the time that it worked is the context's. */
static void stop(struct dv_engine *e, struct dv_copy_engine *c)
{
    struct dv_stream *s = &e->streams[c->stream];
    e->contexts[s->context].stats.copy_ns += e->now - c->start_ns;
    c->stream = DV_NONE;
    c->end_ns = DV_NEVER;
}

void dv_copier_leave(struct dv_engine *e, uint32_t stream)
{
    struct dv_stream *s = &e->streams[stream];
    unsigned direction = dv_stream_head(s)->op.direction;
    if (s->place == DV_PLACE_COPYQ) {
        dv_stream_unlink(e, &e->copy_queue[direction], stream);
    } else {
        stop(e, &e->copy[direction][s->index]);
        start(e, direction);
    }
    s->place = DV_PLACE_IDLE;
}

void dv_copier_event(struct dv_engine *e)
{
    for (unsigned d = 0; d < DV_ENGINE_DIRECTIONS; d++) {
        for (uint32_t i = 0; i < e->config.copy_engines[d]; i++) {
            struct dv_copy_engine *c = &e->copy[d][i];
            if (c->stream == DV_NONE || c->end_ns > e->now)
                continue;
            uint32_t stream = c->stream;
            struct dv_stream *s = &e->streams[stream];
            e->contexts[s->context].stats.copied_bytes += dv_stream_head(s)->op.bytes;
            stop(e, c);
            dv_engine_finish_head(e, stream);
        }
        start(e, d);
    }
}

uint64_t dv_copier_next(const struct dv_engine *e)
{
    uint64_t t = DV_NEVER;
    for (unsigned d = 0; d < DV_ENGINE_DIRECTIONS; d++)
        for (uint32_t i = 0; i < e->config.copy_engines[d]; i++)
            t = DV_MIN(t, e->copy[d][i].end_ns);
    return t;
}
