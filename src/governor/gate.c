/* SPDX-License-Identifier: Apache-2.0 */
#include "gate.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#define NEVER UINT64_MAX
#define US UINT64_C(1000)
#define MS UINT64_C(1000000)
#define SECOND UINT64_C(1000000000)

#define BATCH_MIN_NS (50 * US) /* predicted length of a batch: a quarter of D, */
#define BATCH_MAX_NS (1 * MS)  /* between these */
#define START_MAX_NS (1 * MS)  /* more is not the way of a launch, but somebody else in front */
/* No launch for so long: a marker behind the last, so that its end is known, whenever that is. */
#define QUIET_NS (200 * US)
#define LINGER_FIRST_NS (200 * US)
#define LINGER_MIN_NS (50 * US)
#define LINGER_NONE_NS (20 * US) /* when the mean gap is longer than GAP_LONG_NS */
#define GAP_LONG_NS (1 * MS)
#define GAP_MOST_NS (10 * MS)
#define ASK_AGAIN_NS (500 * MS)
#define BUCKET_NS (20 * MS)
#define UNKNOWN_NS (100 * MS) /* what others are told to expect of a kernel never timed */
#define SHARED_NS (10 * MS)   /* and this long, before it may testify against an intruder */
#define ROUGH_FACTOR 20       /* an overlapped batch teaches if it is this much longer */
/* Measured over predicted beyond this, either way, is no company: one that runs beside us doubles
 * the time. The work itself has changed its length, and the old price is worth nothing. */
#define CHANGED 4.0
#define COMPUTE_FULL 7000

static uint64_t min64(uint64_t a, uint64_t b)
{
    return a < b ? a : b;
}

static uint64_t max64(uint64_t a, uint64_t b)
{
    return a > b ? a : b;
}

static uint64_t less64(uint64_t a, uint64_t b)
{
    return a > b ? a - b : 0;
}

/* ---- creation ---- */

int dv_gate_init(struct dv_gate *g, const struct dv_gate_config *c)
{
    uint32_t n = c->prices_max;
    if (n < 16 || n > 1u << 20 || (n & (n - 1)) || c->slot >= DV_TENANT_SLOTS_MAX)
        return -EINVAL;
    memset(g, 0, sizeof *g);
    g->prices = calloc(n, sizeof *g->prices);
    if (!g->prices)
        return -ENOMEM;
    g->prices_mask = n - 1;
    g->slot = c->slot;
    g->batch_number = 1;
    return 0;
}

void dv_gate_inherit(struct dv_gate *g, const struct dv_gate *before)
{
    g->charged_total_ns = before->charged_total_ns;
    g->wait_total_ns = before->wait_total_ns;
    g->launches_total = before->launches_total;
    g->selfpaced_total_ns = before->selfpaced_total_ns;
    g->ran_total_ns = before->ran_total_ns;
    g->start_ns = before->start_ns;
}

void dv_gate_done(struct dv_gate *g)
{
    if (!g)
        return;
    free(g->prices);
    g->prices = NULL;
}

struct dv_gate_price *dv_gate_price(struct dv_gate *g, uint64_t key)
{
    uint64_t at = (key * UINT64_C(0x9E3779B97F4A7C15)) >> 32;
    struct dv_gate_price *p = NULL;
    key = key ? key : 1; /* 0 marks a free entry */
    for (uint32_t probe = 0; probe < 16; probe++) {
        p = &g->prices[(at + probe) & g->prices_mask];
        if (p->key == key)
            return p;
        if (!p->key) {
            p->key = key;
            return p;
        }
    }
    return p; /* crowded: shares the price of another */
}

/* ---- what is known of the moment ---- */

static bool leased(const struct dv_gate *g)
{
    return !g->selfpaced && !g->view.unleased && !g->view.open;
}

/* Without leases a slice is metered only. While leases are off, in flight stays bounded. */
static bool limited(const struct dv_gate *g)
{
    return g->selfpaced || !g->view.unleased;
}

static bool named(const struct dv_gate *g, uint64_t turn)
{
    return dv_turn_slot_plus_1(turn) == g->slot + 1;
}

/* The page has followed to the lease that this process holds. */
static bool page_is_mine(const struct dv_gate *g)
{
    return named(g, g->view.turn) && dv_turn_epoch(g->view.turn) == g->epoch;
}

static uint64_t deadline(const struct dv_gate *g)
{
    return page_is_mine(g) ? g->view.deadline_ns : g->lease_start_ns + g->view.quantum_ns;
}

/* Whether the deadline ends the lease: somebody waits, and is not this process itself. */
static bool binding(const struct dv_gate *g)
{
    if (!page_is_mine(g))
        return true;
    return g->view.contended && !(named(g, g->view.next) && g->view.next == g->view.turn);
}

static uint32_t markers_out(const struct dv_gate *g)
{
    return (uint32_t)(g->marker_next - g->marker_done);
}

static uint32_t open_launches(const struct dv_gate *g)
{
    uint64_t n = 0;
    for (uint32_t i = 0; i < g->open.signatures; i++) {
        const struct dv_gate_price *p = g->open.price[i];
        n += __atomic_load_n(&p->launched, __ATOMIC_RELAXED) - p->settled;
    }
    return (uint32_t)n;
}

static bool in_flight(const struct dv_gate *g)
{
    return g->inflight_launches || g->open.signatures;
}

static uint64_t inflight_bound(const struct dv_gate *g)
{
    return g->view.inflight_bound_ns ? g->view.inflight_bound_ns : 4 * MS;
}

static uint64_t batch_length(const struct dv_gate *g)
{
    return min64(max64(inflight_bound(g) / 4, BATCH_MIN_NS), BATCH_MAX_NS);
}

static uint64_t linger(const struct dv_gate *g)
{
    uint64_t most = g->view.linger_ns ? g->view.linger_ns : MS;
    if (!g->gap_mean_ns)
        return min64(LINGER_FIRST_NS, most);
    if (g->gap_mean_ns > GAP_LONG_NS)
        return LINGER_NONE_NS;
    uint64_t want = g->gap_mean_ns * 3 / 2 + 3 * g->gap_dev_ns + LINGER_NONE_NS;
    return min64(max64(want, LINGER_MIN_NS), most);
}

/* ---- the fast path's budget ---- */

/* Takes the budget back and counts what went through meanwhile. */
static void settle(struct dv_gate *g, uint64_t now)
{
    int64_t left = __atomic_exchange_n(&g->budget_ns, 0, __ATOMIC_RELAXED);
    uint64_t taken = (uint64_t)(g->budget_set_ns - left);
    g->budget_set_ns = 0;
    g->now_ns = max64(g->now_ns, now);
    if (!taken)
        return;
    g->open.predicted_ns += taken;
    g->pred_end_ns = max64(g->pred_end_ns, g->last_submit_ns) + taken;
    g->last_submit_ns = g->now_ns;
    if (g->selfpaced)
        g->bucket_ns -= (int64_t)taken;
}

static void refill(struct dv_gate *g)
{
    bool may = g->open.signatures && !g->unknown_inflight && !g->view.ended;
    if (leased(g))
        may = may && g->state == DV_SLOT_HELD;
    if (!may)
        return;
    uint64_t room = less64(batch_length(g), g->open.predicted_ns);
    if (limited(g))
        room = min64(room, less64(inflight_bound(g), g->inflight_ns + g->open.predicted_ns));
    if (leased(g) && binding(g))
        room = min64(room, less64(deadline(g), max64(g->now_ns, g->pred_end_ns)));
    if (g->selfpaced)
        room = g->bucket_ns > 0 ? min64(room, (uint64_t)g->bucket_ns) : 0;
    g->budget_set_ns = (int64_t)room;
    __atomic_store_n(&g->budget_ns, (int64_t)room, __ATOMIC_RELAXED);
}

/* ---- the lease ---- */

static uint64_t used(const struct dv_gate *g, uint64_t end)
{
    uint64_t span = g->span_start_ns ? less64(end, g->span_start_ns) : 0;
    return g->used_closed_ns + span;
}

static void take(struct dv_gate *g, uint64_t now, uint64_t epoch)
{
    g->state = DV_SLOT_HELD;
    g->epoch = epoch;
    g->lease_start_ns = now;
    g->lease_launches = 0;
    g->pred_edge_ns = g->view.holder_announced_ns
                          ? g->view.holder_announced_ns + g->view.holder_remainder_ns
                          : g->view.holder_last_end_ns;
    g->first_start_ns = g->last_end_ns = g->span_start_ns = 0;
    g->used_closed_ns = g->used_final_ns = 0;
    g->announced_ns = g->remainder_ns = g->handed = 0;
    g->timed_ns = g->predicted_ns = 0;
    g->idle_since_ns = g->idle_seen_ns = now;
    g->parked = false;
    if (g->want_ns)
        g->wait_total_ns += less64(now, g->want_ns);
    g->want_ns = 0;
}

/* The page's successor, if it is somebody else and is newer than this lease. */
static uint64_t successor(const struct dv_gate *g)
{
    uint64_t next = g->view.next;
    bool other = dv_turn_slot_plus_1(next) && !named(g, next);
    return page_is_mine(g) && other && dv_turn_epoch(next) > g->epoch ? next : 0;
}

static void release(struct dv_gate *g, uint64_t now)
{
    uint64_t end = g->last_end_ns;
    if (g->announced_ns)
        end = min64(end, g->announced_ns + g->remainder_ns);
    else if (g->state == DV_SLOT_HELD && g->idle_since_ns && g->span_start_ns)
        end += min64(less64(now, g->idle_since_ns), linger(g)); /* lingered: that was held, too */
    g->used_final_ns = used(g, end);
    g->charged_total_ns += g->used_final_ns;
    if (!g->handed)
        g->handed = successor(g);
    g->released_epoch = (uint32_t)g->epoch;
    g->state = g->want_ns ? DV_SLOT_WANT : DV_SLOT_IDLE;
    g->asked_ns = now;
    if (g->want_ns)
        g->want_count++;
    g->parked = false;
    g->flags |= DV_GATE_WAKE | DV_GATE_KICK;
}

static void stop(struct dv_gate *g, uint64_t now)
{
    if (in_flight(g))
        g->state = DV_SLOT_STOPPING;
    else
        release(g, now);
}

/* May announce: the end is predictable, somebody is there to hear it, and overlap is allowed. */
static bool may_announce(const struct dv_gate *g)
{
    return g->state == DV_SLOT_STOPPING && !g->unknown_inflight && !g->open.signatures &&
           g->view.overlap_ns && successor(g);
}

static void try_announce(struct dv_gate *g, uint64_t now)
{
    if (!may_announce(g) || now + g->view.overlap_ns < g->pred_end_ns)
        return;
    g->state = DV_SLOT_DRAINING;
    g->announced_ns = now;
    g->remainder_ns = less64(g->pred_end_ns, now);
    g->handed = successor(g);
    g->flags |= DV_GATE_WAKE;
}

static uint64_t grace_time(const struct dv_gate *g)
{
    const struct dv_gate_view *v = &g->view;
    return max64(v->deadline_ns, v->holder_pred_end_ns) + v->grace_ns;
}

static bool holder_released(const struct dv_gate_view *v)
{
    return v->holder_epoch && (uint32_t)v->holder_epoch == v->holder_released_epoch;
}

/* May this process start a lease now? Its epoch, or 0. */
static uint64_t own_turn(const struct dv_gate *g, uint64_t now)
{
    const struct dv_gate_view *v = &g->view;
    uint64_t turn = dv_turn_epoch(v->turn), handed = dv_turn_epoch(v->holder_handed);
    if (named(g, v->turn))
        return turn > g->epoch ? turn : 0;
    if (named(g, v->holder_handed) && handed > g->epoch && handed > turn) {
        bool announced = v->holder_announced_ns &&
                         now + v->overlap_ns >= v->holder_announced_ns + v->holder_remainder_ns;
        if (holder_released(v) || announced)
            return handed;
    }
    uint64_t next = dv_turn_epoch(v->next);
    if (named(g, v->next) && next > g->epoch && next > turn && v->contended &&
        dv_turn_slot_plus_1(v->turn) && now >= grace_time(g))
        return next;
    return 0;
}

/* ---- without a daemon ---- */

static void pace(struct dv_gate *g, uint64_t now)
{
    uint64_t dt = min64(less64(now, g->bucket_at_ns), SECOND);
    g->bucket_at_ns = max64(now, g->bucket_at_ns);
    g->bucket_ns += (int64_t)(dt * g->view.compute / COMPUTE_FULL);
    if (g->bucket_ns > (int64_t)BUCKET_NS)
        g->bucket_ns = (int64_t)BUCKET_NS;
}

static void set_mode(struct dv_gate *g, uint64_t now)
{
    /* Who waits for no turns has none to keep to when nobody gives them. */
    bool lost = !g->view.unleased && now > g->view.heartbeat_ns + DV_GATE_DAEMON_LOST_NS;
    if (lost == g->selfpaced)
        return;
    g->selfpaced = lost;
    g->bucket_ns = 0;
    g->bucket_at_ns = now;
    if (g->state == DV_SLOT_HELD)
        release(g, now);
    g->state = DV_SLOT_IDLE;
}

void dv_gate_look(struct dv_gate *g, uint64_t now, const struct dv_gate_view *v)
{
    settle(g, now);
    bool was_leased = leased(g);
    g->view = *v;
    set_mode(g, now);
    if (g->selfpaced)
        pace(g, now);
    if (was_leased && !leased(g) && g->state == DV_SLOT_HELD)
        release(g, now);
    if (!leased(g) && g->state == DV_SLOT_WANT)
        g->state = DV_SLOT_IDLE; /* asks anew when there are leases again */
    if (g->state == DV_SLOT_HELD && dv_turn_epoch(v->turn) > g->epoch)
        stop(g, now); /* taken away: late, or parked when somebody came */
    refill(g);
}

/* ---- asking ---- */

static void note_gap(struct dv_gate *g, uint64_t now)
{
    uint64_t gap = min64(less64(now, g->idle_since_ns), GAP_MOST_NS);
    if (!g->gap_mean_ns) {
        g->gap_mean_ns = gap + 1;
        g->gap_dev_ns = gap / 4;
        return;
    }
    uint64_t dev = gap > g->gap_mean_ns ? gap - g->gap_mean_ns : g->gap_mean_ns - gap;
    g->gap_mean_ns = (g->gap_mean_ns * 7 + gap) / 8 + 1;
    g->gap_dev_ns = (g->gap_dev_ns * 7 + dev) / 8;
}

/* The first launch after nothing was in flight. */
static void leave_idle(struct dv_gate *g, uint64_t now)
{
    if (!g->idle_since_ns)
        return;
    uint64_t gap = less64(now, g->idle_since_ns), most = linger(g);
    if (g->last_end_ns)
        note_gap(g, now);
    if (g->span_start_ns && gap > most) { /* more than the linger is not held */
        g->used_closed_ns = used(g, g->last_end_ns) + most;
        g->span_start_ns = 0;
    }
    g->idle_since_ns = 0;
    g->parked = false;
}

static bool in_batch(const struct dv_gate *g, const struct dv_gate_price *p)
{
    return p->batch == g->batch_number;
}

/* A begin event is worth its price when it teaches something, or opens a lease. */
static bool wants_stamp(const struct dv_gate *g, const struct dv_gate_price *p)
{
    return !p->price_ns || p->samples < 16 || !g->lease_launches || g->batch_number % 8 == 0;
}

static enum dv_gate_verdict admit(struct dv_gate *g, uint64_t now, struct dv_gate_price *p)
{
    enum dv_gate_verdict verdict = DV_GATE_GO;
    struct dv_gate_batch *b = &g->open;
    leave_idle(g, now);
    if (!b->signatures) {
        b->opened_ns = now;
        b->predicted_ns = 0;
        b->from_idle = !g->inflight_launches;
        b->first = !g->lease_launches;
        b->exclusive = !g->selfpaced && !g->view.open;
        b->stamped = b->from_idle && wants_stamp(g, p);
        verdict = b->stamped ? DV_GATE_GO_STAMPED : DV_GATE_GO;
    }
    if (!in_batch(g, p) && b->signatures < DV_GATE_BATCH_SIGNATURES) {
        b->price[b->signatures++] = p;
        __atomic_store_n(&p->batch, g->batch_number, __ATOMIC_RELAXED);
    }
    __atomic_fetch_add(&p->launched, 1, __ATOMIC_RELAXED);
    uint64_t cost = p->price_ns;
    g->unknown_inflight = !cost;
    b->predicted_ns += cost;
    g->pred_end_ns = max64(g->pred_end_ns, now) + (cost ? cost : UNKNOWN_NS);
    g->last_submit_ns = now;
    g->lease_launches++;
    if (g->selfpaced) {
        g->bucket_ns -= (int64_t)cost;
        g->selfpaced_total_ns += cost;
        if (g->want_ns)
            g->wait_total_ns += less64(now, g->want_ns);
        g->want_ns = 0;
    }
    refill(g);
    return verdict;
}

/* Something must end first. What is open is closed before, so that its end will be noticed. */
static enum dv_gate_verdict wait_for_marker(struct dv_gate *g, struct dv_gate_wait *w)
{
    if (g->open.signatures && markers_out(g) < DV_GATE_MARKERS)
        return DV_GATE_MARK;
    w->marker = g->marker_done + 1;
    w->until_ns = dv_gate_next(g);
    w->turn = true;
    return DV_GATE_WAIT;
}

static bool fits(const struct dv_gate *g, const struct dv_gate_price *p)
{
    uint32_t launches = g->inflight_launches + open_launches(g);
    uint64_t bound = inflight_bound(g);
    if (!launches)
        return true;
    if (!p->price_ns || g->unknown_inflight)
        return false;
    if (g->inflight_ns + g->open.predicted_ns + p->price_ns <= bound)
        return true;
    return launches < 2 && p->price_ns <= bound;
}

static bool batch_full(const struct dv_gate *g, const struct dv_gate_price *p)
{
    if (!g->open.signatures)
        return false;
    return g->open.predicted_ns >= batch_length(g) ||
           (g->open.signatures == DV_GATE_BATCH_SIGNATURES && !in_batch(g, p));
}

static enum dv_gate_verdict ask_flow(struct dv_gate *g, uint64_t now, struct dv_gate_price *p,
                                     struct dv_gate_wait *w)
{
    if (!limited(g))
        return batch_full(g, p) && markers_out(g) < DV_GATE_MARKERS ? DV_GATE_MARK
                                                                    : admit(g, now, p);
    if (batch_full(g, p) || !fits(g, p))
        return wait_for_marker(g, w);
    return admit(g, now, p);
}

static enum dv_gate_verdict ask_paced(struct dv_gate *g, uint64_t now, struct dv_gate_price *p,
                                      struct dv_gate_wait *w)
{
    pace(g, now);
    if (g->bucket_ns > 0)
        return ask_flow(g, now, p, w);
    if (!g->want_ns)
        g->want_ns = now;
    if (g->open.signatures && markers_out(g) < DV_GATE_MARKERS)
        return DV_GATE_MARK;
    uint32_t share = g->view.compute ? g->view.compute : 1;
    w->until_ns = now + min64((uint64_t)-g->bucket_ns * COMPUTE_FULL / share + US, 100 * MS);
    w->marker = markers_out(g) ? g->marker_done + 1 : 0;
    return DV_GATE_WAIT;
}

/* Not the holder: says so, once, and waits. */
static enum dv_gate_verdict ask_want(struct dv_gate *g, uint64_t now, struct dv_gate_wait *w)
{
    const struct dv_gate_view *v = &g->view;
    if (!g->want_ns)
        g->want_ns = now;
    if (g->state == DV_SLOT_IDLE) {
        if (g->idle_since_ns && g->last_end_ns)
            note_gap(g, now);
        g->idle_since_ns = 0;
        g->state = DV_SLOT_WANT;
        g->asked_ns = 0;
    }
    if (!g->asked_ns ||
        now >= g->asked_ns + ASK_AGAIN_NS) { /* once is enough, unless somebody forgot */
        g->asked_ns = now;
        g->want_count++;
        g->flags |= DV_GATE_KICK;
    }
    w->turn = true;
    w->until_ns = max64(now, v->heartbeat_ns) + DV_GATE_DAEMON_LOST_NS;
    if (named(g, v->next) && v->contended)
        w->until_ns = min64(w->until_ns, grace_time(g));
    if (named(g, v->holder_handed) && v->holder_announced_ns)
        w->until_ns = min64(w->until_ns,
                            less64(v->holder_announced_ns + v->holder_remainder_ns, v->overlap_ns));
    w->until_ns = max64(w->until_ns, now + US);
    return DV_GATE_WAIT;
}

/* Rounded to the nearest launch; a lease has room for one at least. */
static bool lease_over(const struct dv_gate *g, uint64_t now, const struct dv_gate_price *p)
{
    if (!binding(g) || !g->lease_launches || g->unknown_inflight)
        return false;
    return max64(now, g->pred_end_ns) + p->price_ns / 2 > deadline(g);
}

static enum dv_gate_verdict ask_leased(struct dv_gate *g, uint64_t now, struct dv_gate_price *p,
                                       struct dv_gate_wait *w)
{
    if (g->state == DV_SLOT_IDLE || g->state == DV_SLOT_WANT) {
        uint64_t epoch = own_turn(g, now);
        if (epoch)
            take(g, now, epoch);
    }
    if (g->state == DV_SLOT_HELD && lease_over(g, now, p)) {
        g->want_ns = now;
        stop(g, now);
    }
    if (g->state == DV_SLOT_HELD)
        return ask_flow(g, now, p, w);
    if (g->state == DV_SLOT_STOPPING || g->state == DV_SLOT_DRAINING) {
        if (!g->want_ns)
            g->want_ns = now;
        try_announce(g, now);
        return wait_for_marker(g, w);
    }
    return ask_want(g, now, w);
}

enum dv_gate_verdict dv_gate_ask(struct dv_gate *g, uint64_t now, struct dv_gate_price *p,
                                 struct dv_gate_wait *ret_wait)
{
    settle(g, now);
    *ret_wait = (struct dv_gate_wait){.until_ns = NEVER};
    if (g->view.ended) {
        ret_wait->until_ns = now + 100 * MS;
        ret_wait->turn = true;
        return DV_GATE_WAIT;
    }
    if (g->selfpaced)
        return ask_paced(g, now, p, ret_wait);
    if (!leased(g))
        return ask_flow(g, now, p, ret_wait);
    if (in_flight(g) && g->state != DV_SLOT_HELD && g->state != DV_SLOT_STOPPING &&
        g->state != DV_SLOT_DRAINING) /* from before there were leases */
        return wait_for_marker(g, ret_wait);
    return ask_leased(g, now, p, ret_wait);
}

void dv_gate_give_up(struct dv_gate *g, uint64_t now)
{
    settle(g, now);
    if (g->want_ns)
        g->wait_total_ns += less64(now, g->want_ns);
    g->want_ns = 0;
    if (g->state == DV_SLOT_WANT) {
        g->state = DV_SLOT_IDLE;
        g->want_count++;
        g->flags |= DV_GATE_KICK;
    }
    refill(g);
}

/* ---- markers and learning ---- */

uint64_t dv_gate_mark(struct dv_gate *g, uint64_t now)
{
    struct dv_gate_batch *b = &g->open;
    settle(g, now);
    if (!b->signatures || markers_out(g) == DV_GATE_MARKERS)
        return 0;
    b->launches = 0;
    for (uint32_t i = 0; i < b->signatures; i++) {
        uint64_t launched = __atomic_load_n(&b->price[i]->launched, __ATOMIC_RELAXED);
        b->count[i] = (uint32_t)(launched - b->price[i]->settled);
        b->price[i]->settled = launched;
        b->launches += b->count[i];
    }
    b->id = ++g->marker_next;
    g->closed[b->id % DV_GATE_MARKERS] = *b;
    g->inflight_ns += b->predicted_ns;
    g->inflight_launches += b->launches;
    g->launches_total += b->launches;
    b->signatures = 0;
    b->predicted_ns = 0;
    uint32_t number = g->batch_number + 1 ? g->batch_number + 1 : 1;
    __atomic_store_n(&g->batch_number, number, __ATOMIC_RELAXED);
    return b->id;
}

static void learn_one(struct dv_gate_price *p, double price, uint64_t measured_ns)
{
    uint64_t learnt = price < 1 ? 1 : (uint64_t)price;
    __atomic_store_n(&p->price_ns, learnt, __ATOMIC_RELAXED);
    double weight = p->samples < 8 ? 1 : (double)min64(measured_ns, SECOND) / (double)SECOND;
    p->slow_ns = (uint64_t)((double)p->slow_ns + ((double)learnt - (double)p->slow_ns) * weight);
    p->samples += p->samples < UINT32_MAX;
}

/* A kernel that was timed alone for the first time. Rough: somebody else ran a little, too. */
static void learn_first(const struct dv_gate_batch *b, uint64_t measured_ns, bool rough)
{
    struct dv_gate_price *p = b->price[0];
    uint64_t n = b->count[0] ? b->count[0] : 1;
    learn_one(p, (double)measured_ns / (double)n, measured_ns);
    if (rough)
        p->samples = 0;
}

static void learn(struct dv_gate *g, const struct dv_gate_batch *b, uint64_t measured_ns,
                  bool rough, bool shared)
{
    double predicted = 0, slow = 0;
    bool settled = true;
    for (uint32_t i = 0; i < b->signatures; i++) {
        predicted += (double)b->count[i] * (double)b->price[i]->price_ns;
        slow += (double)b->count[i] * (double)b->price[i]->slow_ns;
        settled = settled && b->price[i]->samples >= 8;
    }
    if (b->signatures == 1 && !b->price[0]->price_ns) {
        learn_first(b, measured_ns, rough || !b->exclusive);
        return;
    }
    bool clean =
        b->exclusive && !g->view.open && (b->stamped || !b->from_idle) && !rough && b->launches;
    if (!clean || predicted < 1)
        return;
    if (settled && (!shared || measured_ns >= SHARED_NS)) {
        g->timed_ns += measured_ns;
        g->predicted_ns += (uint64_t)slow;
    }
    double ratio = (double)measured_ns / predicted;
    bool changed = ratio > CHANGED || ratio < 1 / CHANGED;
    for (uint32_t i = 0; i < b->signatures; i++) {
        struct dv_gate_price *p = b->price[i];
        double part = (double)b->count[i] * (double)p->price_ns / predicted;
        if (changed)
            p->samples = 0;
        double gain = p->samples < 3 ? 1.0 / (p->samples + 1) : 0.25;
        learn_one(p, (double)p->price_ns * (1 + gain * part * (ratio - 1)), measured_ns);
    }
}

/* The first batch of a lease also took the switch to this process, and a part of what was left of
 * the one before. Where its price is known, that is what ran. */
static uint64_t ran(const struct dv_gate_batch *b, uint64_t measured)
{
    double price = 0;
    for (uint32_t i = 0; i < b->signatures; i++) {
        if (b->price[i]->samples < 8)
            return measured;
        price += (double)b->count[i] * (double)b->price[i]->price_ns;
    }
    return b->first && b->signatures ? min64(measured, (uint64_t)price) : measured;
}

/* When the batch began on the device. Where no event says so and the device was idle, it began as
 * long after the launch as others did that were stamped. */
static uint64_t begin(struct dv_gate *g, const struct dv_gate_batch *b, uint64_t begin_ns,
                      uint64_t end_ns)
{
    if (begin_ns && b->from_idle) {
        uint64_t took = min64(less64(begin_ns, b->opened_ns), START_MAX_NS);
        g->start_ns = (took + 7 * g->start_ns) / 8;
    }
    if (begin_ns || !b->from_idle)
        return begin_ns ? begin_ns : b->opened_ns;
    return min64(b->opened_ns + g->start_ns, end_ns);
}

/* What the batch took on the device, and whether that can teach. */
static void account(struct dv_gate *g, const struct dv_gate_batch *b, uint64_t begin_ns,
                    uint64_t end_ns)
{
    uint64_t start = max64(begin(g, b, begin_ns, end_ns), g->last_end_ns);
    if (!g->first_start_ns)
        g->first_start_ns = start;
    if (!g->span_start_ns)
        g->span_start_ns = start;
    uint64_t edge = b->first ? g->pred_edge_ns : 0;
    uint64_t alone = max64(start, edge);
    uint64_t overlap = g->view.overlap_ns ? g->view.overlap_ns : 200 * US;
    uint64_t measured = less64(end_ns, alone);
    bool shared = b->first || (g->announced_ns && end_ns > g->announced_ns);
    bool rough = shared && measured < ROUGH_FACTOR * overlap;
    if (measured)
        learn(g, b, measured, rough, shared);
    if (g->selfpaced && !b->predicted_ns) /* the first of its kind; else prices are truer */
        g->bucket_ns -= (int64_t)measured;
    if (g->view.unleased)
        g->charged_total_ns += measured; /* no lease will ever charge it */
    /* Once the end was announced somebody else runs, too: what was left then is what is its own. */
    uint64_t own_end = g->announced_ns ? min64(end_ns, g->announced_ns + g->remainder_ns) : end_ns;
    if (!g->selfpaced)
        g->ran_total_ns += ran(b, less64(own_end, alone));
    g->last_end_ns = max64(g->last_end_ns, end_ns);
}

void dv_gate_complete(struct dv_gate *g, uint64_t now, uint64_t marker, uint64_t begin_ns,
                      uint64_t end_ns)
{
    settle(g, now);
    while (g->marker_done < marker && markers_out(g)) {
        const struct dv_gate_batch *b = &g->closed[++g->marker_done % DV_GATE_MARKERS];
        g->inflight_ns -= min64(b->predicted_ns, g->inflight_ns);
        g->inflight_launches -= b->launches;
        g->unknown_inflight = false;
        if (b->id == marker)
            account(g, b, begin_ns, end_ns);
    }
    g->pred_end_ns = g->last_end_ns + g->inflight_ns + g->open.predicted_ns;
    if (!in_flight(g)) {
        g->idle_since_ns = g->last_end_ns;
        g->idle_seen_ns = now;
        if (g->state == DV_SLOT_STOPPING || g->state == DV_SLOT_DRAINING) {
            g->idle_since_ns = g->want_ns ? 0 : g->idle_since_ns;
            release(g, now);
        }
    }
    refill(g);
}

/* ---- time ---- */

static bool quiet(const struct dv_gate *g, uint64_t now)
{
    return g->open.signatures && markers_out(g) < DV_GATE_MARKERS &&
           now >= g->last_submit_ns + QUIET_NS;
}

static void tick_held(struct dv_gate *g, uint64_t now)
{
    bool due = binding(g) && now >= deadline(g);
    bool idle = !in_flight(g);
    if (idle && now >= g->idle_seen_ns + linger(g)) {
        due = due || g->view.contended;
        g->parked = !due;
    }
    if (due && (idle || g->lease_launches))
        stop(g, now);
}

enum dv_gate_verdict dv_gate_tick(struct dv_gate *g, uint64_t now)
{
    settle(g, now);
    if (g->selfpaced)
        pace(g, now);
    if (leased(g) && g->state == DV_SLOT_HELD)
        tick_held(g, now);
    else if (leased(g) && g->state == DV_SLOT_IDLE && named(g, g->view.turn) &&
             dv_turn_epoch(g->view.turn) > g->epoch) { /* granted, and nobody waits any more */
        take(g, now, dv_turn_epoch(g->view.turn));
        release(g, now);
    }
    if (g->open.signatures && markers_out(g) < DV_GATE_MARKERS && g->state == DV_SLOT_STOPPING)
        return DV_GATE_MARK;
    try_announce(g, now);
    if (quiet(g, now))
        return DV_GATE_MARK;
    refill(g);
    return DV_GATE_GO;
}

uint64_t dv_gate_next(const struct dv_gate *g)
{
    uint64_t t = NEVER;
    if (g->open.signatures)
        t = g->last_submit_ns + QUIET_NS;
    if (!leased(g))
        return t;
    if (g->state == DV_SLOT_HELD) {
        if (binding(g))
            t = min64(t, deadline(g));
        if (!in_flight(g) && !g->parked)
            t = min64(t, g->idle_seen_ns + linger(g));
    }
    if (may_announce(g))
        t = min64(t, less64(g->pred_end_ns, g->view.overlap_ns));
    return t;
}

/* ---- pages ---- */

#define PUT(word, value) __atomic_store_n(&slot->word, (value), __ATOMIC_RELAXED)
#define PUT_LAST(word, value) __atomic_store_n(&slot->word, (value), __ATOMIC_RELEASE)

static void publish_lease(const struct dv_gate *g, struct dv_slot_page *slot)
{
    bool given_up = g->released_epoch == (uint32_t)g->epoch;
    uint32_t seq = slot->lease_seq;
    /* An exchange, so that nothing below is seen before it. */
    (void)__atomic_exchange_n(&slot->lease_seq, seq + 1, __ATOMIC_ACQ_REL);
    PUT(first_start_ns, g->first_start_ns);
    PUT(last_end_ns, g->last_end_ns);
    PUT(used_ns, given_up ? g->used_final_ns : used(g, g->last_end_ns));
    PUT(timed_ns, g->timed_ns);
    PUT(predicted_ns, g->predicted_ns);
    PUT(announced_ns, g->announced_ns);
    PUT(remainder_ns, g->remainder_ns);
    PUT_LAST(lease_seq, seq + 2);
}

unsigned dv_gate_publish(struct dv_gate *g, struct dv_slot_page *slot)
{
    unsigned flags = g->flags;
    g->flags = 0;
    publish_lease(g, slot);
    PUT(inflight_ns, g->inflight_ns + g->open.predicted_ns);
    PUT(pred_end_ns, in_flight(g) ? g->pred_end_ns : 0);
    PUT(idle_since_ns, g->parked ? g->idle_since_ns : 0);
    PUT(alive_ns, g->now_ns);
    PUT(charged_total_ns, g->charged_total_ns);
    PUT(wait_total_ns, g->wait_total_ns);
    PUT(launches_total, g->launches_total);
    PUT(selfpaced_total_ns, g->selfpaced_total_ns);
    PUT(ran_total_ns, g->ran_total_ns);
    PUT(want_ns, g->want_ns);
    PUT_LAST(epoch, g->epoch);
    PUT_LAST(state, g->state);
    PUT_LAST(want_count, g->want_count);
    PUT_LAST(handed, g->handed);
    PUT_LAST(released_epoch, g->released_epoch);
    return flags;
}

uint32_t dv_gate_successor(const struct dv_gate *g)
{
    return dv_turn_slot_plus_1(g->handed);
}

#define GET(word) __atomic_load_n(&(word), __ATOMIC_ACQUIRE)

static void read_holder(struct dv_gate_view *v, const struct dv_slot_page *holder)
{
    v->holder_released_epoch = GET(holder->released_epoch);
    v->holder_handed = GET(holder->handed);
    v->holder_epoch = GET(holder->epoch);
    v->holder_announced_ns = GET(holder->announced_ns);
    v->holder_remainder_ns = GET(holder->remainder_ns);
    v->holder_pred_end_ns = GET(holder->pred_end_ns);
    v->holder_last_end_ns = GET(holder->last_end_ns);
}

void dv_gate_view_read(struct dv_gate_view *v, const struct dv_arbiter_page *arbiter,
                       const struct dv_slice_page *slice, const struct dv_slot_page *holder)
{
    uint32_t flags = GET(slice->flags), cap = GET(slice->compute_cap);
    uint32_t share = GET(slice->compute);
    memset(v, 0, sizeof *v);
    v->turn = GET(arbiter->turn);
    v->next = GET(arbiter->next);
    v->deadline_ns = GET(arbiter->deadline_ns);
    v->quantum_ns = GET(arbiter->quantum_ns);
    v->inflight_bound_ns = GET(arbiter->inflight_bound_ns);
    v->overlap_ns = GET(arbiter->overlap_ns);
    v->linger_ns = GET(arbiter->linger_ns);
    v->grace_ns = GET(arbiter->grace_ns);
    v->heartbeat_ns = GET(arbiter->heartbeat_ns);
    v->contended = GET(arbiter->contended) != 0;
    v->open = (GET(arbiter->flags) & DV_ARBITER_FLAG_OPEN) != 0;
    v->compute = cap && cap < share ? cap : share;
    v->unleased = (flags & DV_SLICE_FLAG_UNLEASED) != 0;
    v->ended = GET(slice->state) == DV_SLICE_ENDED;
    if (holder)
        read_holder(v, holder);
}
