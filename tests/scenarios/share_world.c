/* SPDX-License-Identifier: Apache-2.0 */
#include "share_world.h"

#include <stdlib.h>
#include <string.h>

#define US DV_NS_PER_US
#define MS DV_NS_PER_MS
#define AHEAD (50 * US) /* how far a host thread runs before others are looked at */

#define MUST(x)                                                                                    \
    do {                                                                                           \
        if ((x) < 0)                                                                               \
            abort();                                                                               \
    } while (0)

/* ---- the control plane ---- */

static uint64_t hop(struct share_world *w)
{
    uint64_t t = 40 * US + (uint64_t)dv_rng_exponential(&w->rng, 30.0 * US);
    if (dv_rng_below(&w->rng, 500) == 0)
        t += MS + dv_rng_below(&w->rng, 3 * MS);
    return t;
}

static uint64_t observation(struct share_world *w)
{
    return 40 * US + (dv_rng_below(&w->rng, 1000) == 0 ? MS + dv_rng_below(&w->rng, 3 * MS) : 0);
}

static bool before(const struct share_event *a, const struct share_event *b)
{
    return a->at != b->at ? a->at < b->at : a->order < b->order;
}

static void post(struct share_world *w, uint64_t at, uint32_t what, bool timer)
{
    if (w->heap_count == w->heap_room) {
        w->heap_room = w->heap_room ? w->heap_room * 2 : 256;
        w->heap = realloc(w->heap, w->heap_room * sizeof *w->heap);
        if (!w->heap)
            abort();
    }
    struct share_event e = {at, w->order++, what, timer};
    uint32_t i = w->heap_count++;
    for (; i && before(&e, &w->heap[(i - 1) / 2]); i = (i - 1) / 2)
        w->heap[i] = w->heap[(i - 1) / 2];
    w->heap[i] = e;
}

static struct share_event take(struct share_world *w)
{
    struct share_event first = w->heap[0], last = w->heap[--w->heap_count];
    uint32_t i = 0;
    for (uint32_t c; (c = 2 * i + 1) < w->heap_count; i = c) {
        if (c + 1 < w->heap_count && before(&w->heap[c + 1], &w->heap[c]))
            c++;
        if (!before(&w->heap[c], &last))
            break;
        w->heap[i] = w->heap[c];
    }
    w->heap[i] = last;
    return first;
}

static void wake_process(struct share_world *w, uint32_t slot, uint64_t from)
{
    if (slot < w->process_count && w->processes[slot].live)
        post(w, from + hop(w), slot + 1, false);
}

/* ---- the arbiter's thread ---- */

static void read_slots(struct share_world *w)
{
    for (uint32_t i = 0; i < w->process_count; i++) {
        struct share_process *p = &w->processes[i];
        const struct dv_slot_page *s = &p->page;
        if (!p->live)
            continue;
        struct dv_arbiter_words words = {
            s->epoch,         s->used_ns, s->last_end_ns,          s->pred_end_ns,
            s->idle_since_ns, s->handed,  s->state >= DV_SLOT_HELD};
        struct dv_arbiter_state state;
        dv_arbiter_page(w->arbiter, &state);
        if (i == state.turn_slot || i == state.next_slot)
            dv_arbiter_observe(w->arbiter, w->now, i, &words);
    }
    for (uint32_t i = 0; i < w->process_count; i++) {
        struct share_process *p = &w->processes[i];
        const struct dv_slot_page *s = &p->page;
        if (!p->live)
            continue;
        if (s->released_epoch != p->released_epoch) {
            struct dv_arbiter_lease lease = {
                s->epoch,   s->first_start_ns, s->last_end_ns,  s->announced_ns, s->remainder_ns,
                s->used_ns, s->timed_ns,       s->predicted_ns, s->handed,       s->want_ns != 0};
            p->released_epoch = s->released_epoch;
            dv_arbiter_released(w->arbiter, w->now, i, &lease);
        }
        if (s->want_count != p->want_count) {
            p->want_count = s->want_count;
            if (s->want_ns)
                dv_arbiter_want(w->arbiter, w->now, i);
            else
                dv_arbiter_unwant(w->arbiter, w->now, i);
        }
    }
}

static uint64_t turn_of(uint32_t slot, uint64_t epoch)
{
    return slot == DV_ARBITER_NOBODY ? 0 : dv_turn_pack(slot + 1, epoch);
}

static void write_page(struct share_world *w)
{
    struct dv_arbiter_state s;
    uint64_t version = dv_arbiter_page(w->arbiter, &s);
    struct dv_arbiter_page *p = &w->page;
    uint32_t last = dv_turn_slot_plus_1(p->turn) - 1;
    p->heartbeat_ns = w->now;
    if (version == w->version)
        return;
    w->version = version;
    p->next = turn_of(s.next_slot, s.next_epoch);
    p->deadline_ns = s.deadline_ns;
    p->contended = s.contended;
    p->flags = s.open ? DV_ARBITER_FLAG_OPEN : 0;
    p->quantum_ns = s.quantum_ns;
    p->inflight_bound_ns = s.inflight_bound_ns;
    p->overlap_ns = s.overlap_ns;
    p->linger_ns = s.linger_ns;
    p->grace_ns = s.grace_ns;
    p->turn = turn_of(s.turn_slot, s.turn_epoch);
    wake_process(w, s.turn_slot, w->now);
    wake_process(w, s.next_slot, w->now);
    if (last != s.turn_slot)
        wake_process(w, last, w->now);
}

static void run_arbiter(struct share_world *w)
{
    if (w->daemon_dead)
        return;
    w->messages++;
    read_slots(w);
    dv_arbiter_tick(w->arbiter, w->now);
    write_page(w);
    uint64_t next = DV_MIN(dv_arbiter_next(w->arbiter), w->now + 50 * MS); /* heartbeat */
    if (w->arbiter_timer <= w->now || next < w->arbiter_timer) {
        w->arbiter_timer = DV_MAX(next, w->now + US);
        post(w, w->arbiter_timer + (uint64_t)dv_rng_exponential(&w->rng, 30.0 * US), 0, true);
    }
}

/* ---- a tenant ---- */

static void publish(struct share_world *w, struct share_process *p, uint64_t at)
{
    unsigned flags = dv_gate_publish(&p->gate, &p->page);
    if (flags & DV_GATE_WAKE && dv_gate_successor(&p->gate))
        wake_process(w, dv_gate_successor(&p->gate) - 1, at);
    if (flags & DV_GATE_KICK)
        post(w, at + hop(w), 0, false);
}

static void look(struct share_world *w, struct share_process *p, uint64_t at)
{
    struct dv_gate_view v;
    uint32_t holder = dv_turn_slot_plus_1(w->page.turn) - 1;
    const struct dv_slot_page *s = NULL;
    if (holder < w->process_count && holder != p->slot)
        s = &w->processes[holder].page;
    dv_gate_view_read(&v, &w->page, &w->slices[p->entity], s);
    dv_gate_look(&p->gate, at, &v);
}

static void submit(struct share_world *w, struct share_process *p, const struct dv_engine_op *op,
                   uint64_t at, uint64_t tag)
{
    MUST(dv_engine_submit(w->engine, p->stream, op, at, tag, NULL));
}

/* Tags: slot, marker's id, and whether it begins (2) or ends (1) the batch. */
static uint64_t tag_of(const struct share_process *p, uint64_t marker, unsigned edge)
{
    return (uint64_t)p->slot << 56 | marker << 8 | edge;
}

static void place_end(struct share_world *w, struct share_process *p, uint64_t at)
{
    uint64_t id = dv_gate_mark(&p->gate, at);
    struct dv_engine_op mark = {.kind = DV_ENGINE_MARK};
    if (id)
        submit(w, p, &mark, at, tag_of(p, id, 1));
}

static void launch(struct share_world *w, struct share_process *p, uint32_t sig, bool stamped)
{
    double noise = 1 + 0.03 * (2 * dv_rng_unit(&p->rng) - 1);
    uint32_t sms = p->program.sigs[sig].sms;
    struct dv_engine_op mark = {.kind = DV_ENGINE_MARK};
    struct dv_engine_op op = {.kind = DV_ENGINE_KERNEL,
                              .quiet = true,
                              .work_ns = (uint64_t)((double)p->program.sigs[sig].ns * noise),
                              .sm_demand = sms ? sms : 132};
    if (stamped)
        submit(w, p, &mark, p->local_ns, tag_of(p, p->gate.marker_next + 1, 2));
    submit(w, p, &op, p->local_ns, 0);
    p->local_ns += p->program.host_ns ? p->program.host_ns : US;
    p->since_sync++;
    p->launches++;
}

static uint32_t choose(struct share_process *p)
{
    uint32_t sum = 0, i = 0;
    for (uint32_t k = 0; k < p->program.sig_count; k++)
        sum += p->program.sigs[k].weight;
    uint32_t at = (uint32_t)dv_rng_below(&p->rng, sum);
    while (at >= p->program.sigs[i].weight)
        at -= p->program.sigs[i++].weight;
    return i;
}

static void set_timer(struct share_world *w, struct share_process *p, uint64_t at)
{
    if (at == UINT64_MAX)
        return;
    at = DV_MAX(at, w->now + US);
    if (p->timer_ns > w->now && p->timer_ns <= at)
        return;
    p->timer_ns = at;
    post(w, at + (uint64_t)dv_rng_exponential(&p->rng, 20.0 * US), p->slot + 1, true);
}

static void check_holders(struct share_world *w, const struct share_process *p)
{
    for (uint32_t i = 0; i < w->process_count; i++) {
        const struct share_process *o = &w->processes[i];
        bool late = w->now > DV_MAX(w->page.deadline_ns, o->page.pred_end_ns) + w->page.grace_ns;
        if (o != p && o->live && !o->stopped && o->gate.state == DV_SLOT_HELD && !late &&
            !o->gate.parked && !o->gate.selfpaced && !p->gate.selfpaced)
            w->double_holders++;
    }
}

/* One launch by way of the gate; false when it has to wait. */
static bool pass(struct share_world *w, struct share_process *p, uint32_t sig)
{
    struct dv_gate_price *price = p->prices[sig];
    if (p->program.cheats || dv_gate_try(&p->gate, price)) {
        launch(w, p, sig, false);
        return true;
    }
    for (;;) {
        struct dv_gate_wait wait;
        bool held = p->gate.state == DV_SLOT_HELD;
        look(w, p, p->local_ns);
        enum dv_gate_verdict v = dv_gate_ask(&p->gate, p->local_ns, price, &wait);
        if (!held && p->gate.state == DV_SLOT_HELD)
            check_holders(w, p);
        if (v == DV_GATE_MARK) {
            place_end(w, p, p->local_ns);
            continue;
        }
        publish(w, p, p->local_ns);
        if (v == DV_GATE_WAIT) {
            set_timer(w, p, wait.until_ns);
            return false;
        }
        launch(w, p, sig, v == DV_GATE_GO_STAMPED);
        return true;
    }
}

/* At a synchronization, all that was launched has to be seen done; then comes the pause. */
static bool synchronize(struct share_world *w, struct share_process *p)
{
    if (!p->syncing) {
        place_end(w, p, p->local_ns);
        publish(w, p, p->local_ns);
        p->sync_marker = p->gate.marker_next;
        p->syncing = true;
    }
    if (p->gate.marker_done < p->sync_marker)
        return false;
    p->syncing = false;
    p->since_sync = 0;
    uint64_t think = p->program.think_fixed_ns;
    if (p->program.think_ns)
        think = (uint64_t)dv_rng_exponential(&p->rng, (double)p->program.think_ns);
    p->pause_until = p->local_ns + think;
    return true;
}

static void run_program(struct share_world *w, struct share_process *p)
{
    p->local_ns = DV_MAX(p->local_ns, w->now);
    while (p->local_ns < w->now + AHEAD) {
        if (p->pause_until > p->local_ns) {
            set_timer(w, p, p->pause_until);
            return;
        }
        if (p->program.sync_every && p->since_sync >= p->program.sync_every) {
            if (!synchronize(w, p))
                return;
            continue;
        }
        if (dv_engine_stream_queued(w->engine, p->stream) > 8000)
            break; /* one that does not ask fills its queue */
        if (!p->pending_sig) {
            p->pending_sig = choose(p) + 1;
            p->blocked_since = p->local_ns;
        }
        if (!pass(w, p, p->pending_sig - 1))
            return;
        p->worst_wait = DV_MAX(p->worst_wait, p->local_ns - p->blocked_since);
        p->pending_sig = 0;
    }
    post(w, DV_MAX(p->local_ns, w->now + 20 * US), p->slot + 1, true);
}

static void poll_marks(struct share_world *w, struct share_process *p)
{
    while (p->gate.marker_done < p->marks_done) {
        uint64_t id = p->gate.marker_done + 1;
        if (p->marks[id % DV_GATE_MARKERS].seen > w->now)
            break;
        dv_gate_complete(&p->gate, w->now, id, p->marks[id % DV_GATE_MARKERS].begin,
                         p->marks[id % DV_GATE_MARKERS].end);
        p->marks[id % DV_GATE_MARKERS].begin = 0;
    }
}

static void run_process(struct share_world *w, struct share_process *p)
{
    if (!p->live || p->stopped)
        return;
    poll_marks(w, p);
    look(w, p, w->now);
    while (dv_gate_tick(&p->gate, w->now) == DV_GATE_MARK)
        place_end(w, p, w->now);
    publish(w, p, w->now);
    run_program(w, p);
    set_timer(w, p, dv_gate_next(&p->gate));
}

/* ---- the device ---- */

static void note_completions(struct share_world *w)
{
    struct dv_engine_completion c;
    while (dv_engine_pop(w->engine, &c)) {
        struct share_process *p = &w->processes[c.tag >> 56];
        uint64_t id = c.tag >> 8 & ((UINT64_C(1) << 48) - 1);
        if (!p->live)
            continue;
        if ((c.tag & 3) == 2) {
            p->marks[id % DV_GATE_MARKERS].begin = c.end_ns;
            continue;
        }
        p->marks_done = id;
        p->marks[id % DV_GATE_MARKERS].end = c.end_ns;
        p->marks[id % DV_GATE_MARKERS].seen = c.end_ns + observation(w);
        post(w, p->marks[id % DV_GATE_MARKERS].seen, p->slot + 1, false);
    }
}

void share_run(struct share_world *w, uint64_t until)
{
    for (;;) {
        uint64_t device = dv_engine_next(w->engine);
        uint64_t other = w->heap_count ? w->heap[0].at : DV_NEVER;
        uint64_t t = DV_MIN(device, other);
        if (t > until)
            break;
        w->now = DV_MAX(w->now, t);
        dv_engine_advance(w->engine, w->now);
        note_completions(w);
        if (other > w->now)
            continue;
        struct share_event e = take(w);
        if (e.what == 0)
            run_arbiter(w);
        else
            run_process(w, &w->processes[e.what - 1]);
    }
    w->now = until;
    dv_engine_advance(w->engine, until);
    note_completions(w);
}

/* ---- set-up ---- */

void share_options_default(struct share_options *o)
{
    o->slicing = DV_ENGINE_SLICE_PHASE;
    dv_arbiter_config_default(&o->arbiter);
}

void share_world_init(struct share_world *w, uint64_t seed, const struct share_options *o)
{
    struct share_options standard;
    struct dv_engine_config c;
    share_options_default(&standard);
    o = o ? o : &standard;
    memset(w, 0, sizeof *w);
    w->rng.state = seed;
    dv_engine_config_default(&c);
    c.slicing = o->slicing;
    c.contexts_max = c.streams_max = SHARE_PROCESSES;
    c.queue_max = 16384;
    MUST(dv_engine_new(&c, &w->engine));
    MUST(dv_engine_partition_add(w->engine, 0, c.sm_total, &w->card));
    MUST(dv_arbiter_new(&o->arbiter, 0, &w->arbiter));
    post(w, 0, 0, true);
}

void share_world_done(struct share_world *w)
{
    for (uint32_t i = 0; i < w->process_count; i++)
        dv_gate_done(&w->processes[i].gate);
    dv_engine_free(w->engine);
    dv_arbiter_free(w->arbiter);
    free(w->heap);
}

static void write_slice(struct share_world *w, uint32_t entity, uint32_t share, uint32_t cap)
{
    w->slices[entity].state = DV_SLICE_LIVE;
    w->slices[entity].compute = share;
    w->slices[entity].compute_cap = cap ? cap : DV_COMPUTE_FULL;
}

uint32_t share_entity(struct share_world *w, uint32_t share, uint32_t cap)
{
    struct dv_arbiter_entity_spec spec = {.share = share, .cap = cap};
    uint32_t entity;
    MUST(dv_arbiter_entity_add(w->arbiter, w->now, &spec, &entity));
    write_slice(w, entity, share, cap);
    return entity;
}

void share_change(struct share_world *w, uint32_t entity, uint32_t share, uint32_t cap)
{
    struct dv_arbiter_entity_spec spec = {.share = share, .cap = cap};
    MUST(dv_arbiter_entity_change(w->arbiter, w->now, entity, &spec));
    write_slice(w, entity, share, cap);
    post(w, w->now, 0, false);
}

struct share_process *share_process(struct share_world *w, uint32_t entity,
                                    const struct share_program *program)
{
    if (w->process_count == SHARE_PROCESSES)
        abort();
    uint32_t slot = w->process_count++;
    struct share_process *p = &w->processes[slot];
    struct dv_engine_context_spec spec = {.partition = w->card, .owner = slot};
    *p = (struct share_process){.live = true, .entity = entity, .slot = slot, .program = *program};
    p->rng.state = dv_rng_next(&w->rng);
    MUST(dv_engine_context_add(w->engine, w->now, &spec, &p->context));
    MUST(dv_engine_stream_add(w->engine, p->context, &p->stream));
    MUST(dv_gate_init(&p->gate, &(struct dv_gate_config){.slot = slot, .prices_max = 16}));
    for (uint32_t i = 0; i < program->sig_count; i++)
        p->prices[i] = dv_gate_price(&p->gate, i + 1);
    MUST(dv_arbiter_member_add(w->arbiter, w->now, entity, slot));
    post(w, w->now + US, slot + 1, true);
    return p;
}

void share_kill(struct share_world *w, struct share_process *p)
{
    p->live = false;
    share_run(w, w->now + MS); /* teardown */
    MUST(dv_engine_context_kill(w->engine, w->now, p->context));
    MUST(dv_arbiter_member_gone(w->arbiter, w->now, p->slot));
    post(w, w->now + hop(w), 0, false);
}

void share_stop(struct share_world *w, struct share_process *p, bool stopped)
{
    p->stopped = stopped;
    if (!stopped)
        post(w, w->now + US, p->slot + 1, true);
}

uint64_t share_busy(struct share_world *w, const struct share_process *p)
{
    struct dv_engine_context_stats s;
    if (dv_engine_context_stats(w->engine, w->now, p->context, &s) < 0)
        return 0;
    return s.busy_ns;
}
