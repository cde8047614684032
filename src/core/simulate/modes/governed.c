/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The virtual GPU shared by leases. The arbiter is the one of divvyd; what stands here is a tenant
 * as its gate makes it behave (docs/reference/arbiter.md): launches only while it holds the lease,
 * at most D in flight, ends the lease where in flight and half of the next launch reach beyond the
 * deadline, announces when what is left is as short as the overlap, writes whom it hands to, and
 * keeps the lease without work while nobody else wants it. Prices are known, not learnt. A word
 * from one process reaches another hop_ns later; what stands on a page is read at once.
 */
#include "govern/arbiter.h"
#include "simulate/modes/machine.h"

#include <errno.h>
#include <stdlib.h>

#define IN_FLIGHT_MAX 64u
#define LAUNCH_MAX (4 * DV_NS_PER_MS) /* two of at most this length may be in flight beyond D */

enum state {
    OUT,    /* nothing to do, no lease */
    WAITS,  /* for the lease */
    HELD,   /* also parked: without work, nobody else wants it */
    ENDING, /* launches no more; what is in flight runs */
};

struct tenant {
    enum state state;
    uint32_t stream;
    bool has; /* a request is under way */
    uint64_t at_ns, unsent_ns;
    uint64_t coming_ns; /* the next request; DV_NEVER: none */
    uint32_t in_flight, first;
    uint64_t lengths[IN_FLIGHT_MAX]; /* of what is in flight: a ring */
    uint64_t in_flight_ns, end_ns;   /* their sum; the predicted end */
    uint64_t wake_ns;
    /* its slot page */
    uint64_t epoch, started_ns, first_start_ns, last_end_ns, idle_since_ns;
    uint64_t announced_ns, remainder_ns, handed;
    bool announced, launched;
    bool released, wants; /* not read by the arbiter yet */
    struct dv_arbiter_lease lease;
};

struct world {
    const struct dv_modes_config *config;
    struct dv_book *book;
    struct dv_engine *engine;
    struct dv_arbiter *arbiter;
    struct dv_arbiter_state page;
    uint64_t version, now, arbiter_ns;
    struct dv_arrivals arrivals;
    uint32_t n, sm_demand;
    struct tenant tenants[DV_ARRIVALS_TENANTS_MAX];
    int error;
};

static uint32_t slot_of(const struct world *w, const struct tenant *t)
{
    return (uint32_t)(t - w->tenants);
}

static uint64_t pack(uint32_t slot, uint64_t epoch)
{
    return (uint64_t)(slot + 1) << 48 | epoch;
}

static void wake(struct world *w, uint32_t slot, uint64_t at)
{
    w->tenants[slot].wake_ns = DV_MIN(w->tenants[slot].wake_ns, at);
}

static void kick(struct world *w)
{
    w->arbiter_ns = DV_MIN(w->arbiter_ns, w->now + w->config->hop_ns);
}

/* ---- requests ---- */

static void look_ahead(struct world *w, struct tenant *t)
{
    if (!dv_arrivals_next(&w->arrivals, slot_of(w, t), &t->coming_ns))
        t->coming_ns = DV_NEVER;
}

static bool has_work(struct world *w, struct tenant *t)
{
    if (!t->has && t->coming_ns <= w->now) {
        t->has = true;
        t->at_ns = t->coming_ns;
        t->unsent_ns = dv_arrivals_service(w->book->load, slot_of(w, t));
        look_ahead(w, t);
    }
    return t->has;
}

/* ---- the gate ---- */

/* The turn is the tenant's by a word that it has not used yet: the page's, or its predecessor's. */
static uint64_t offered_epoch(const struct world *w, const struct tenant *t)
{
    uint32_t slot = slot_of(w, t), turn = w->page.turn_slot;
    if (turn == slot)
        return w->page.turn_epoch > t->epoch ? w->page.turn_epoch : 0;
    uint64_t handed = turn < w->n ? w->tenants[turn].handed : 0;
    uint64_t epoch = handed & ((UINT64_C(1) << 48) - 1);
    return handed == pack(slot, epoch) && epoch > t->epoch ? epoch : 0;
}

static bool is_mine(const struct world *w, const struct tenant *t)
{
    if (w->page.turn_slot == DV_ARBITER_NOBODY)
        return false;
    if (w->page.turn_slot == slot_of(w, t) && w->page.turn_epoch == t->epoch)
        return true;
    return w->page.turn_epoch < t->epoch; /* the arbiter has not followed yet */
}

static void start(struct world *w, struct tenant *t, uint64_t epoch)
{
    t->state = HELD;
    t->epoch = epoch;
    t->started_ns = w->now;
    t->first_start_ns = t->last_end_ns = t->idle_since_ns = 0;
    t->announced_ns = t->remainder_ns = t->handed = 0;
    t->announced = t->launched = false;
}

static void announce(struct world *w, struct tenant *t)
{
    uint32_t next = w->page.next_slot;
    t->announced = true;
    t->announced_ns = w->now;
    t->remainder_ns = t->in_flight && t->end_ns > w->now ? t->end_ns - w->now : 0;
    if (next < w->n && next != slot_of(w, t)) {
        t->handed = pack(next, w->page.next_epoch);
        wake(w, next, w->now + w->config->hop_ns);
    }
    kick(w);
}

static void release(struct world *w, struct tenant *t)
{
    if (!t->announced && is_mine(w, t))
        announce(w, t);
    bool wants = has_work(w, t);
    uint64_t end = DV_MIN(t->last_end_ns, t->announced_ns + t->remainder_ns);
    end = t->announced ? end : t->last_end_ns;
    t->lease = (struct dv_arbiter_lease){
        .epoch = t->epoch,
        .first_start_ns = t->first_start_ns,
        .last_end_ns = t->last_end_ns,
        .announced_ns = t->announced_ns,
        .remainder_ns = t->remainder_ns,
        .used_ns = end > t->first_start_ns ? end - t->first_start_ns : 0,
        .handed = t->handed,
        .wants = wants,
    };
    t->released = true;
    t->state = wants ? WAITS : OUT;
    kick(w);
}

static uint64_t deadline(const struct world *w, const struct tenant *t)
{
    return w->page.turn_epoch == t->epoch ? w->page.deadline_ns
                                          : t->started_ns + w->page.quantum_ns;
}

static bool lease_ends(const struct world *w, const struct tenant *t, uint64_t next_ns)
{
    if (!is_mine(w, t))
        return true;
    if (!t->launched || !w->page.contended || w->page.next_slot == slot_of(w, t))
        return false;
    return w->now + t->in_flight_ns + next_ns / 2 > deadline(w, t);
}

static bool may_queue(const struct world *w, const struct tenant *t, uint64_t next_ns)
{
    if (!t->in_flight)
        return true;
    if (t->in_flight == 1 && next_ns <= LAUNCH_MAX && t->in_flight_ns <= LAUNCH_MAX)
        return true;
    return t->in_flight < IN_FLIGHT_MAX && t->in_flight_ns + next_ns <= w->page.inflight_bound_ns;
}

/* Kernels are launched several at a time where they are short: the lease ends between launches. */
static uint64_t next_launch(const struct world *w, const struct tenant *t)
{
    uint64_t kernel = w->config->kernel_ns;
    uint64_t several = w->page.inflight_bound_ns / 4 / kernel;
    return DV_MIN(t->unsent_ns, kernel * DV_MAX(several, 1));
}

static void launch(struct world *w, struct tenant *t, uint64_t ns)
{
    t->unsent_ns -= ns;
    struct dv_engine_op op = {.kind = DV_ENGINE_KERNEL, .sm_demand = w->sm_demand, .work_ns = ns};
    int r = dv_engine_submit(w->engine, t->stream, &op, w->now,
                             dv_machine_tag(t->at_ns, !t->unsent_ns, slot_of(w, t)), NULL);
    if (r < 0)
        w->error = r;
    t->has = t->unsent_ns != 0;
    t->launched = true;
    t->idle_since_ns = 0;
    t->lengths[(t->first + t->in_flight++) % IN_FLIGHT_MAX] = ns;
    t->in_flight_ns += ns;
    t->end_ns = w->now + t->in_flight_ns;
}

/* It launches no more: says so in time, and gives the lease up when all has run. */
static void end_lease(struct world *w, struct tenant *t)
{
    t->state = ENDING;
    if (!t->in_flight)
        release(w, t);
    else if (!t->announced && w->now + w->page.overlap_ns >= t->end_ns)
        announce(w, t);
    else if (!t->announced)
        wake(w, slot_of(w, t), t->end_ns - w->page.overlap_ns);
}

static void go_on(struct world *w, struct tenant *t)
{
    while (has_work(w, t)) {
        uint64_t ns = next_launch(w, t);
        if (lease_ends(w, t, ns)) {
            end_lease(w, t);
            return;
        }
        if (!may_queue(w, t, ns))
            return;
        launch(w, t, ns);
        if (w->error < 0)
            return;
    }
    if (t->in_flight)
        return;
    if (w->page.contended || !is_mine(w, t))
        release(w, t);
    else
        t->idle_since_ns = w->now;
}

static void run_tenant(struct world *w, struct tenant *t)
{
    t->wake_ns = DV_NEVER;
    if (t->state == OUT && has_work(w, t)) {
        t->state = WAITS;
        t->wants = true;
        kick(w);
    }
    if (t->state == WAITS && offered_epoch(w, t))
        start(w, t, offered_epoch(w, t));
    if (t->state == HELD)
        go_on(w, t);
    else if (t->state == ENDING)
        end_lease(w, t);
}

static void complete(struct world *w, const struct dv_engine_completion *c)
{
    struct tenant *t = &w->tenants[dv_machine_tag_tenant(c->tag)];
    t->in_flight_ns -= t->lengths[t->first];
    t->first = (t->first + 1) % IN_FLIGHT_MAX;
    t->in_flight--;
    t->last_end_ns = c->end_ns;
    t->end_ns = c->end_ns + t->in_flight_ns;
    if (!t->first_start_ns)
        t->first_start_ns = DV_MAX(c->start_ns, 1);
    if (dv_machine_tag_last(c->tag)) {
        int r = dv_book_add(w->book, slot_of(w, t), dv_machine_tag_at(c->tag), c->end_ns);
        w->error = r < 0 ? r : w->error;
    }
}

/* ---- the arbiter's thread ---- */

static void observe(struct world *w, uint32_t slot)
{
    if (slot >= w->n)
        return;
    const struct tenant *t = &w->tenants[slot];
    struct dv_arbiter_words words = {
        .epoch = t->epoch,
        .used_ns = t->last_end_ns > t->first_start_ns ? t->last_end_ns - t->first_start_ns : 0,
        .last_end_ns = t->last_end_ns,
        .pred_end_ns = t->in_flight ? t->end_ns : 0,
        .idle_since_ns = t->state == HELD ? t->idle_since_ns : 0,
        .handed = t->handed,
        .held = t->state >= HELD,
    };
    dv_arbiter_observe(w->arbiter, w->now, slot, &words);
}

static void read_slot(struct world *w, uint32_t slot)
{
    struct tenant *t = &w->tenants[slot];
    if (t->released)
        dv_arbiter_released(w->arbiter, w->now, slot, &t->lease);
    if (t->wants)
        dv_arbiter_want(w->arbiter, w->now, slot);
    t->released = t->wants = false;
}

static void run_arbiter(struct world *w)
{
    struct dv_arbiter_state s;
    w->arbiter_ns = DV_NEVER;
    dv_arbiter_page(w->arbiter, &s);
    observe(w, s.turn_slot);
    for (uint32_t i = 0; i < w->n; i++)
        read_slot(w, i);
    dv_arbiter_tick(w->arbiter, w->now);
    uint64_t version = dv_arbiter_page(w->arbiter, &s);
    if (version != w->version) {
        w->version = version;
        w->page = s;
        if (s.turn_slot < w->n && w->tenants[s.turn_slot].state == WAITS)
            wake(w, s.turn_slot, w->now + w->config->hop_ns);
    }
    uint64_t timer = dv_arbiter_next(w->arbiter);
    w->arbiter_ns = DV_MIN(w->arbiter_ns, DV_MAX(timer, w->now + DV_NS_PER_US));
}

/* ---- the loop ---- */

/* A request that comes is looked at at once by one that has nothing to do. */
static uint64_t tenant_next(const struct tenant *t)
{
    bool idle = t->state == OUT || (t->state == HELD && !t->in_flight && !t->has);
    return idle ? DV_MIN(t->wake_ns, t->coming_ns) : t->wake_ns;
}

static uint64_t next(const struct world *w)
{
    uint64_t t = dv_engine_next(w->engine);
    t = DV_MIN(t, w->arbiter_ns);
    for (uint32_t i = 0; i < w->n; i++) {
        uint64_t tenant = tenant_next(&w->tenants[i]);
        t = DV_MIN(t, tenant);
    }
    return t;
}

static void note_completions(struct world *w)
{
    struct dv_engine_completion c;
    while (dv_engine_pop(w->engine, &c)) {
        complete(w, &c);
        wake(w, dv_machine_tag_tenant(c.tag), w->now);
    }
}

static void loop(struct world *w)
{
    uint64_t duration = w->book->load->duration_ns;
    while (w->error == 0 && !dv_book_stops(w->book, w->now)) {
        uint64_t t = next(w);
        if (t >= duration)
            return;
        w->now = DV_MAX(w->now, t);
        dv_engine_advance(w->engine, w->now);
        note_completions(w);
        if (w->arbiter_ns <= w->now)
            run_arbiter(w);
        for (uint32_t i = 0; i < w->n && w->error == 0; i++)
            if (tenant_next(&w->tenants[i]) <= w->now)
                run_tenant(w, &w->tenants[i]);
    }
}

/* ---- set-up ---- */

static int add_tenant(struct world *w, uint32_t card, uint32_t i)
{
    struct dv_engine_context_spec spec = {.partition = card, .owner = i};
    struct dv_arbiter_entity_spec share = {.share = DV_COMPUTE_FULL / w->n};
    uint32_t context = 0, entity = 0;
    w->tenants[i] = (struct tenant){.state = OUT, .wake_ns = DV_NEVER};
    look_ahead(w, &w->tenants[i]);
    int r = dv_engine_context_add(w->engine, 0, &spec, &context);
    r = r < 0 ? r : dv_engine_stream_add(w->engine, context, &w->tenants[i].stream);
    r = r < 0 ? r : dv_arbiter_entity_add(w->arbiter, 0, &share, &entity);
    return r < 0 ? r : dv_arbiter_member_add(w->arbiter, 0, entity, i);
}

static int set_up(struct world *w, uint32_t *ret_card)
{
    struct dv_arbiter_config a;
    dv_arbiter_config_default(&a);
    a.entities_max = a.slots_max = w->n;
    int r = dv_machine_card(w->config, w->n, &w->engine);
    r = r < 0 ? r : dv_engine_partition_add(w->engine, 0, w->config->gpu->sm, ret_card);
    r = r < 0 ? r : dv_arbiter_new(&a, 0, &w->arbiter);
    dv_arrivals_start(&w->arrivals, w->book->load);
    for (uint32_t i = 0; i < w->n && r == 0; i++)
        r = add_tenant(w, *ret_card, i);
    if (r == 0)
        w->version = dv_arbiter_page(w->arbiter, &w->page);
    return r;
}

static void read_stats(struct world *w, uint32_t card, struct dv_modes_result *ret)
{
    uint64_t until = w->book->until_ns;
    struct dv_engine_partition_stats s;
    struct dv_arbiter_counters c;
    if (until && dv_engine_partition_stats(w->engine, until, card, &s) == 0)
        ret->work_ppm = (uint64_t)((double)s.busy_sm_ns / ((double)until * s.sms) * 1e6 + 0.5);
    ret->switch_ppm = dv_machine_switches(w->engine, card, until);
    for (uint32_t i = 0; i < w->n; i++)
        if (dv_arbiter_entity_counters(w->arbiter, w->now, i, &c) == 0)
            ret->leases += c.grants;
}

int dv_governed_run(struct dv_book *book, const struct dv_modes_config *c,
                    struct dv_modes_result *ret)
{
    struct world *w = calloc(1, sizeof *w);
    uint32_t card = 0;
    if (!w)
        return -ENOMEM;
    w->config = c;
    w->book = book;
    w->arbiter_ns = DV_NEVER;
    w->n = book->load->tenants;
    w->sm_demand = dv_machine_sms(c->gpu, c->width);
    int r = set_up(w, &card);
    if (r == 0)
        loop(w);
    r = r < 0 ? r : w->error;
    if (r == 0)
        read_stats(w, card, ret);
    dv_engine_free(w->engine);
    dv_arbiter_free(w->arbiter);
    free(w);
    return r;
}
