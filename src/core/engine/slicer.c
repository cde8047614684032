/* SPDX-License-Identifier: Apache-2.0 */
#include "engine/internal.h"

static struct dv_hardware *hardware_of(struct dv_engine *e, uint32_t stream)
{
    return e->hardware[e->contexts[e->streams[stream].context].hardware];
}

/* ---- turns: hardware contexts with work that are not resident ---- */

static void turn_append(struct dv_engine *e, struct dv_partition *p, uint32_t hw)
{
    struct dv_hardware *h = e->hardware[hw];
    h->queued = true;
    h->turn_next = DV_NONE;
    h->turn_prev = p->turns.tail;
    if (p->turns.tail == DV_NONE)
        p->turns.head = hw;
    else
        e->hardware[p->turns.tail]->turn_next = hw;
    p->turns.tail = hw;
}

static void turn_unlink(struct dv_engine *e, struct dv_partition *p, uint32_t hw)
{
    struct dv_hardware *h = e->hardware[hw];
    h->queued = false;
    if (h->turn_prev == DV_NONE)
        p->turns.head = h->turn_next;
    else
        e->hardware[h->turn_prev]->turn_next = h->turn_next;
    if (h->turn_next == DV_NONE)
        p->turns.tail = h->turn_prev;
    else
        e->hardware[h->turn_next]->turn_prev = h->turn_prev;
}

/* ---- what has run ---- */

static void settle_running(struct dv_engine *e, struct dv_partition *p, uint64_t dt)
{
    const struct dv_hardware *h = e->hardware[p->resident];
    uint64_t sum = 0;
    e->settlings++;
    for (uint32_t i = 0; i < h->running_count; i++) {
        struct dv_stream *s = &e->streams[h->running[i]];
        struct dv_context *c = &e->contexts[s->context];
        uint64_t part = (uint64_t)s->given * dt;
        s->left -= DV_MIN(s->left, part);
        sum += part;
        part += c->sm_rest;
        c->stats.busy_sm_ns += part / DV_SM_UNIT;
        c->sm_rest = (uint32_t)(part % DV_SM_UNIT);
        if (c->seen != e->settlings)
            c->stats.executed_ns += dt;
        c->seen = e->settlings;
    }
    sum += p->sm_rest;
    p->stats.busy_sm_ns += sum / DV_SM_UNIT;
    p->sm_rest = sum % DV_SM_UNIT;
    p->stats.busy_ns += dt;
}

void dv_slicer_settle(struct dv_engine *e, struct dv_partition *p)
{
    uint64_t dt = e->now - p->settled_ns;
    if (!dt)
        return;
    p->settled_ns = e->now;
    if (p->activity == DV_ACTIVITY_IDLE)
        p->stats.idle_ns += dt;
    else if (p->activity == DV_ACTIVITY_SWITCH)
        p->stats.switch_ns += dt;
    else
        settle_running(e, p, dt);
}

/* ---- kernels come and go ---- */

void dv_slicer_enter(struct dv_engine *e, uint32_t stream)
{
    struct dv_stream *s = &e->streams[stream];
    uint32_t hw = e->contexts[s->context].hardware;
    struct dv_hardware *h = e->hardware[hw];
    struct dv_partition *p = &e->partitions[h->partition];
    dv_slicer_settle(e, p);
    p->dirty = true;
    s->left = dv_stream_head(s)->op.work_ns * dv_stream_head(s)->op.sm_demand * DV_SM_UNIT;
    s->given = 0;
    if (h->running_count == DV_ENGINE_CONCURRENT) {
        s->place = DV_PLACE_READY;
        dv_stream_append(e, &h->ready, stream);
        return;
    }
    s->place = DV_PLACE_RUNNING;
    s->index = h->running_count;
    h->running[h->running_count++] = stream;
    bool resident = hw == p->resident;
    if (!resident && !h->queued)
        turn_append(e, p, hw);
}

static void running_remove(struct dv_engine *e, struct dv_hardware *h, uint32_t stream)
{
    struct dv_stream *s = &e->streams[stream];
    uint32_t last = h->running[--h->running_count];
    h->running[s->index] = last;
    e->streams[last].index = s->index;
    if (h->ready.head == DV_NONE)
        return;
    uint32_t next = h->ready.head;
    dv_stream_unlink(e, &h->ready, next);
    e->streams[next].place = DV_PLACE_RUNNING;
    e->streams[next].index = h->running_count;
    h->running[h->running_count++] = next;
}

void dv_slicer_leave(struct dv_engine *e, uint32_t stream)
{
    struct dv_stream *s = &e->streams[stream];
    struct dv_hardware *h = hardware_of(e, stream);
    struct dv_partition *p = &e->partitions[h->partition];
    dv_slicer_settle(e, p);
    p->dirty = true;
    if (s->place == DV_PLACE_READY)
        dv_stream_unlink(e, &h->ready, stream);
    else
        running_remove(e, h, stream);
    s->place = DV_PLACE_IDLE;
    if (!h->running_count && h->queued)
        turn_unlink(e, p, e->contexts[s->context].hardware);
}

/* ---- events ---- */

static void end_kernels(struct dv_engine *e, struct dv_partition *p)
{
    struct dv_hardware *h = e->hardware[p->resident];
    /* From the back: running_remove fills the hole with one that was already looked at. */
    for (uint32_t i = h->running_count; i-- > 0;) {
        uint32_t stream = h->running[i];
        struct dv_stream *s = &e->streams[stream];
        if (s->left || dv_stream_head(s)->start_ns == DV_NEVER)
            continue;
        e->contexts[s->context].stats.kernels++;
        running_remove(e, h, stream);
        dv_engine_finish_head(e, stream);
        p->dirty = true;
    }
}

void dv_slicer_event(struct dv_engine *e, struct dv_partition *p)
{
    dv_slicer_settle(e, p);
    p->dirty = true;
    if (p->activity == DV_ACTIVITY_RUN)
        end_kernels(e, p);
}

/* ---- who is resident ---- */

static void run(struct dv_engine *e, struct dv_partition *p)
{
    p->activity = DV_ACTIVITY_RUN;
    p->slice_start_ns = e->now;
    p->slice_end_ns = p->turns.head == DV_NONE ? DV_NEVER : e->now + e->config.timeslice_ns;
    p->evict = false;
}

/* The first in the list of turns becomes resident, at a price unless the card was untouched. */
static void switch_to_next(struct dv_engine *e, struct dv_partition *p)
{
    uint32_t hw = p->turns.head;
    bool untouched = !p->touched;
    turn_unlink(e, p, hw);
    p->resident = hw;
    p->touched = true;
    if (untouched || !e->config.switch_ns) {
        run(e, p);
        return;
    }
    p->stats.switches++;
    p->activity = DV_ACTIVITY_SWITCH;
    p->slice_end_ns = e->now + e->config.switch_ns;
}

/* Somebody waits and no end of the slice is set yet. */
static void set_slice_end(struct dv_engine *e, struct dv_partition *p)
{
    uint64_t slice = e->config.timeslice_ns;
    uint64_t ran = e->now - p->slice_start_ns;
    p->slice_end_ns = p->slice_start_ns + (ran / slice + 1) * slice;
    if (e->config.slicing == DV_ENGINE_SLICE_INSTANT && ran > slice) {
        p->evict = true;
        p->slice_end_ns = e->now + slice;
    }
}

static void run_or_turn(struct dv_engine *e, struct dv_partition *p, bool kernel_ended)
{
    const struct dv_hardware *h = e->hardware[p->resident];
    if (!h->running_count) {
        p->activity = DV_ACTIVITY_IDLE;
        if (p->turns.head != DV_NONE)
            switch_to_next(e, p);
        return;
    }
    if (p->turns.head == DV_NONE) {
        p->slice_end_ns = DV_NEVER;
        p->evict = false;
        return;
    }
    if (p->slice_end_ns == DV_NEVER)
        set_slice_end(e, p);
    else if (e->now >= p->slice_end_ns || (p->evict && kernel_ended)) {
        turn_append(e, p, p->resident);
        switch_to_next(e, p);
    }
}

static void choose(struct dv_engine *e, struct dv_partition *p, bool kernel_ended)
{
    if (p->activity == DV_ACTIVITY_SWITCH) {
        if (e->now < p->slice_end_ns)
            return;
        run(e, p);
    }
    if (p->resident == DV_NONE) /* killed while it ran, or on its way in */
        p->activity = DV_ACTIVITY_IDLE;
    if (p->activity == DV_ACTIVITY_IDLE) {
        if (p->resident != DV_NONE && e->hardware[p->resident]->running_count)
            run(e, p);
        else if (p->turns.head != DV_NONE)
            switch_to_next(e, p);
        else
            return;
    }
    if (p->activity == DV_ACTIVITY_RUN)
        run_or_turn(e, p, kernel_ended);
}

/* ---- SMs ---- */

/* Gives what one has to n that want: equal parts, nobody more than he wants (max-min fair). */
static void fill(struct dv_engine *e, uint32_t n, struct dv_context **c, uint32_t have)
{
    uint32_t open = n, part = 0;
    for (bool moved = true; moved && open;) {
        part = have / open;
        moved = false;
        for (uint32_t i = 0; i < n; i++) {
            if (c[i]->fit || c[i]->want > part)
                continue;
            c[i]->fit = c[i]->want;
            have -= c[i]->want;
            open--;
            moved = true;
        }
    }
    for (uint32_t i = 0; i < n; i++)
        if (!c[i]->fit)
            c[i]->fit = DV_MAX(part, 1);
}

/* The same among the kernels of one client. */
static void fill_client(struct dv_engine *e, const struct dv_hardware *h, struct dv_context *c)
{
    uint32_t have = c->fit, open = 0, part = 0;
    for (uint32_t i = 0; i < h->running_count; i++)
        open += &e->contexts[e->streams[h->running[i]].context] == c;
    for (bool moved = true; moved && open;) {
        part = have / open;
        moved = false;
        for (uint32_t i = 0; i < h->running_count; i++) {
            struct dv_stream *s = &e->streams[h->running[i]];
            uint32_t want = dv_stream_head(s)->op.sm_demand * DV_SM_UNIT;
            if (&e->contexts[s->context] != c || s->given || want > part)
                continue;
            s->given = want;
            have -= want;
            open--;
            moved = true;
        }
    }
    for (uint32_t i = 0; i < h->running_count; i++) {
        struct dv_stream *s = &e->streams[h->running[i]];
        if (&e->contexts[s->context] == c && !s->given)
            s->given = DV_MAX(part, 1);
    }
}

static void share_sms(struct dv_engine *e, const struct dv_partition *p,
                      const struct dv_hardware *h)
{
    struct dv_context *clients[DV_ENGINE_CONCURRENT];
    uint32_t n = 0;
    e->settlings++; /* a fresh mark: which clients were met */
    for (uint32_t i = 0; i < h->running_count; i++) {
        struct dv_stream *s = &e->streams[h->running[i]];
        struct dv_context *c = &e->contexts[s->context];
        s->given = 0;
        if (c->seen != e->settlings) {
            c->seen = e->settlings;
            c->want = c->fit = 0;
            clients[n++] = c;
        }
        uint32_t limit = c->spec.sm_limit ? c->spec.sm_limit : p->stats.sms;
        limit = DV_MIN(limit, p->stats.sms) * DV_SM_UNIT;
        c->want = DV_MIN(c->want + dv_stream_head(s)->op.sm_demand * DV_SM_UNIT, limit);
    }
    fill(e, n, clients, p->stats.sms * DV_SM_UNIT);
    for (uint32_t i = 0; i < n; i++)
        fill_client(e, h, clients[i]);
}

static uint64_t plan_running(struct dv_engine *e, struct dv_partition *p)
{
    const struct dv_hardware *h = e->hardware[p->resident];
    uint64_t next = p->slice_end_ns;
    share_sms(e, p, h);
    for (uint32_t i = 0; i < h->running_count; i++) {
        struct dv_stream *s = &e->streams[h->running[i]];
        if (dv_stream_head(s)->start_ns == DV_NEVER)
            dv_stream_head(s)->start_ns = e->now;
        uint32_t given = DV_MAX(s->given, 1); /* share_sms leaves nobody without */
        next = DV_MIN(next, e->now + s->left / given + (s->left % given != 0));
    }
    return next;
}

void dv_slicer_replan(struct dv_engine *e, struct dv_partition *p)
{
    bool kernel_ended = p->activity == DV_ACTIVITY_RUN && p->next_ns == e->now;
    p->dirty = false;
    choose(e, p, kernel_ended);
    p->next_ns = DV_NEVER;
    if (p->activity == DV_ACTIVITY_SWITCH)
        p->next_ns = p->slice_end_ns;
    else if (p->activity == DV_ACTIVITY_RUN)
        p->next_ns = plan_running(e, p);
}
