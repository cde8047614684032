/* SPDX-License-Identifier: Apache-2.0 */
#include "compute.h"

#include "abi_cuda.h"
#include "charge.h"
#include "events.h"
#include "pools.h"
#include "wire.h"

#include <errno.h>
#include <limits.h>
#include <linux/futex.h>
#include <poll.h>
#include <pthread.h>
#include <signal.h>
#include <stdlib.h>
#include <sys/prctl.h>
#include <sys/syscall.h>
#include <time.h>
#include <unistd.h>

#define MS UINT64_C(1000000)
#define POLL_LEAST (20 * UINT64_C(1000)) /* between two looks at a marker that is due */
#define POLL_MOST (500 * UINT64_C(1000))
#define IDLE_LOOK (1000 * MS) /* of the helper, when nothing is to be done */
#define RECONNECT_LEAST (250 * MS)
#define RECONNECT_MOST (1000 * MS)
#define STUCK (1000 * MS) /* no own marker has completed for so long: see pass() */
#define PRICES 4096

struct dv_compute_fast dv_compute_fast;

static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;
static struct dv_gate gates[2]; /* one in use; the other for the next link */
static struct dv_wire *gate_wire;
static int helper_state;     /* 0 none, 1 runs, 2 could not be started */
static uint32_t helper_word; /* futex: the helper has something new to look after */
static uint64_t polled_late; /* looks in vain at the oldest marker since it was due */

uint64_t dv_now_ns(void)
{
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return (uint64_t)t.tv_sec * UINT64_C(1000000000) + (uint64_t)t.tv_nsec;
}

/* ---- futexes --------------------------------------------------------------------------------- */

#ifndef SYS_futex_waitv
#define SYS_futex_waitv 449
#endif

struct word {
    const uint32_t *at; /* NULL = none */
    uint32_t seen;
};

static struct word word_of(const uint32_t *at)
{
    return (struct word){at, at ? __atomic_load_n(at, __ATOMIC_ACQUIRE) : 0};
}

static void wake(const uint32_t *word)
{
    (void)syscall(SYS_futex, word, FUTEX_WAKE, INT_MAX, NULL, NULL, 0);
}

static struct timespec to_timespec(uint64_t ns)
{
    return (struct timespec){(time_t)(ns / 1000000000), (long)(ns % 1000000000)};
}

/* Until one of two words moves or the time has come. Shared words: no PRIVATE flag. */
static void sleep_on(struct word a, struct word b, uint64_t until)
{
    static int no_waitv;
    struct timespec at = to_timespec(until);
    if (!__atomic_load_n(&no_waitv, __ATOMIC_RELAXED)) {
        struct futex_waitv w[2] = {
            {.uaddr = (uintptr_t)a.at, .val = a.seen, .flags = FUTEX_32},
            {.uaddr = (uintptr_t)b.at, .val = b.seen, .flags = FUTEX_32},
        };
        if (syscall(SYS_futex_waitv, w, b.at ? 2 : 1, 0, &at, CLOCK_MONOTONIC) >= 0 ||
            (errno != ENOSYS && errno != EPERM))
            return;
        __atomic_store_n(&no_waitv, 1, __ATOMIC_RELAXED);
    }
    uint64_t soon = dv_now_ns() + MS / 5; /* the second word is not waited for: look often */
    if (b.at && soon < until)
        at = to_timespec(soon);
    (void)syscall(SYS_futex, a.at, FUTEX_WAIT_BITSET, a.seen, &at, NULL, FUTEX_BITSET_MATCH_ANY);
}

/* ---- the gate and its pages; all under the lock ---------------------------------------------- */

static struct dv_gate *gate(void)
{
    return dv_compute_fast.gate;
}

/* The gate of the present link, NULL if there is none. After a new link prices are learnt anew. */
static struct dv_gate *make_gate(void)
{
    struct dv_wire *l = dv_wire_current();
    if (DV_LIKELY(gate() && gate_wire == l))
        return gate();
    if (!l)
        return NULL;
    struct dv_gate *g = gate() == &gates[0] ? &gates[1] : &gates[0];
    if (dv_gate_init(g, &(struct dv_gate_config){.slot = l->slot, .prices_max = PRICES}))
        return gate();
    if (gate())
        dv_gate_inherit(g, gate());
    for (unsigned i = 0; i < DV_COMPUTE_CACHE; i++)
        __atomic_store_n(&dv_compute_fast.prices[i], NULL, __ATOMIC_RELEASE);
    dv_events_drop();
    gate_wire = l;
    __atomic_store_n(&dv_compute_fast.gate, g, __ATOMIC_RELEASE);
    return g;
}

static void look(struct dv_gate *g)
{
    struct dv_gate_view v;
    dv_wire_peers(gate_wire);
    uint32_t holder =
        dv_turn_slot_plus_1(__atomic_load_n(&gate_wire->arbiter->turn, __ATOMIC_ACQUIRE));
    const struct dv_slot_page *page =
        holder && holder - 1 != gate_wire->slot ? dv_wire_peer(gate_wire, holder - 1) : NULL;
    dv_gate_view_read(&v, gate_wire->arbiter, gate_wire->slice, page);
    dv_gate_look(g, dv_now_ns(), &v);
}

static void poll_markers(struct dv_gate *g)
{
    uint64_t id, begin, end;
    while (dv_events_poll(dv_now_ns(), &id, &begin, &end)) {
        dv_gate_complete(g, dv_now_ns(), id, begin, end);
        polled_late = 0;
    }
}

static void publish(struct dv_gate *g)
{
    unsigned flags = dv_gate_publish(g, gate_wire->page);
    if (flags & DV_GATE_WAKE) {
        uint32_t next = dv_gate_successor(g);
        wake(&gate_wire->page->released_epoch);
        if (next && next <= DV_TENANT_SLOTS_MAX)
            wake(&gate_wire->arbiter->wake[next - 1]);
    }
    if (flags & DV_GATE_KICK)
        dv_wire_kick(gate_wire);
}

/* False: no marker could be placed, sixteen are outstanding. */
static bool place_marker(struct dv_gate *g)
{
    uint64_t id = dv_gate_mark(g, dv_now_ns());
    if (id)
        dv_events_mark(id);
    return id != 0;
}

static void stir_helper(void)
{
    __atomic_fetch_add(&helper_word, 1, __ATOMIC_RELEASE);
    wake(&helper_word);
}

/* When to look at the oldest marker again: when it is due, then more and more rarely. */
static uint64_t next_poll(struct dv_gate *g, uint64_t now)
{
    uint64_t due = g->pred_end_ns;
    uint64_t step = POLL_LEAST << (polled_late < 5 ? polled_late : 5);
    if (due > now) {
        uint64_t ahead = (due - now) / 2;
        return now + (ahead < POLL_LEAST ? POLL_LEAST : ahead > MS ? MS : ahead);
    }
    polled_late++;
    return now + (step < POLL_MOST ? step : POLL_MOST);
}

/* ---- launches -------------------------------------------------------------------------------- */

static void remember_price(uint64_t signature, struct dv_gate_price *p)
{
    if (p->key == signature)
        __atomic_store_n(&dv_compute_fast.prices[dv_compute_place(signature)], p, __ATOMIC_RELEASE);
}

/* Sleeps as the gate says, without the lock. */
static void wait_outside(struct dv_gate *g, const struct dv_gate_wait *wait, struct word turn,
                         struct word released)
{
    uint64_t now = dv_now_ns();
    uint64_t until = wait->until_ns < now + IDLE_LOOK ? wait->until_ns : now + IDLE_LOOK;
    if (wait->marker || dv_events_outstanding()) {
        uint64_t at = next_poll(g, now);
        until = at < until ? at : until;
    }
    publish(g);
    pthread_mutex_unlock(&lock);
    if (until > now)
        sleep_on(turn, released, until);
    pthread_mutex_lock(&lock);
    poll_markers(g);
}

static struct word released_word(void)
{
    uint32_t holder =
        dv_turn_slot_plus_1(__atomic_load_n(&gate_wire->arbiter->turn, __ATOMIC_ACQUIRE));
    const struct dv_slot_page *p = holder ? dv_wire_peer(gate_wire, holder - 1) : NULL;
    return word_of(p ? &p->released_epoch : NULL);
}

/*
 * Asks until the launch may go. Returns false when the gate was replaced under us.
 *
 * What is in flight may itself wait for this very thread: a stream that waits for a value that a
 * later launch writes, a host function that waits for a lock. So a launch that waits for nothing
 * but own work of which nothing ends for long is let through; it is measured with the rest.
 */
static bool pass(struct dv_gate *g, struct dv_gate_price *p, void *stream)
{
    uint64_t done = g->marker_done, since = dv_now_ns();
    while (gate() == g) {
        struct dv_gate_wait wait;
        if (g->marker_done != done || g->state == DV_SLOT_WANT) {
            done = g->marker_done;
            since = dv_now_ns();
        } else if (dv_events_outstanding() && dv_now_ns() - since > STUCK) {
            return true;
        }
        struct word turn = word_of(&gate_wire->arbiter->wake[gate_wire->slot]);
        struct word released = released_word();
        look(g);
        switch (dv_gate_ask(g, dv_now_ns(), p, &wait)) {
        case DV_GATE_GO:
            return true;
        case DV_GATE_GO_STAMPED:
            dv_events_stamp(stream);
            return true;
        case DV_GATE_MARK:
            if (place_marker(g))
                break;
            wait = (struct dv_gate_wait){.until_ns = UINT64_MAX, .marker = 1};
            __attribute__((fallthrough));
        case DV_GATE_WAIT:
            wait_outside(g, &wait, turn, released);
            break;
        }
    }
    return false;
}

void dv_compute_enter_slow(uint64_t signature, void *stream)
{
    if (dv_compute_capturing(stream))
        return;
    pthread_mutex_lock(&lock);
    for (;;) {
        struct dv_gate *g = make_gate();
        if (!g)
            break;
        struct dv_gate_price *p = dv_gate_price(g, signature);
        remember_price(signature, p);
        if (!dv_events_use(stream))
            (void)place_marker(g); /* no room for one stream more: a new set */
        if (!pass(g, p, stream))
            continue;
        (void)dv_events_use(stream); /* passing may have placed a marker, which empties the set */
        publish(g);
        break;
    }
    pthread_mutex_unlock(&lock);
    stir_helper();
}

/* ---- waiting for the device ------------------------------------------------------------------ */

void dv_compute_sync_enter(void)
{
    if (!__atomic_load_n(&dv_compute_fast.gate, __ATOMIC_ACQUIRE))
        return;
    pthread_mutex_lock(&lock);
    struct dv_gate *g = gate();
    if (g && dv_compute_fast.streams_count)
        (void)place_marker(g);
    pthread_mutex_unlock(&lock);
}

void dv_compute_sync_leave(int r)
{
    (void)r;
    dv_pools_settle();
    if (!__atomic_load_n(&dv_compute_fast.gate, __ATOMIC_ACQUIRE))
        return;
    pthread_mutex_lock(&lock);
    struct dv_gate *g = gate();
    if (g) {
        poll_markers(g);
        look(g);
        if (dv_gate_tick(g, dv_now_ns()) == DV_GATE_MARK)
            (void)place_marker(g);
        publish(g);
    }
    pthread_mutex_unlock(&lock);
    stir_helper();
}

/* ---- captures -------------------------------------------------------------------------------- */

void dv_compute_capture_begin(int r)
{
    if (!r)
        __atomic_fetch_add(&dv_compute_fast.captures, 1, __ATOMIC_ACQ_REL);
}

/* Also a capture that went wrong has ended. */
void dv_compute_capture_end(int r)
{
    (void)r;
    int n = __atomic_load_n(&dv_compute_fast.captures, __ATOMIC_ACQUIRE);
    while (n > 0 && !__atomic_compare_exchange_n(&dv_compute_fast.captures, &n, n - 1, false,
                                                 __ATOMIC_ACQ_REL, __ATOMIC_ACQUIRE))
        ;
}

bool dv_compute_capturing(void *stream)
{
    int status = DV_CUDA_CAPTURE_NONE;
    if (DV_LIKELY(!__atomic_load_n(&dv_compute_fast.captures, __ATOMIC_RELAXED)))
        return false;
    int r = DV_ORIGINAL(cuStreamIsCapturing)(stream, &status);
    return r == DV_CUDA_ERROR_STREAM_CAPTURE_IMPLICIT || (!r && status != DV_CUDA_CAPTURE_NONE);
}

/* ---- ends ------------------------------------------------------------------------------------ */

int dv_on_stream_destroy(unsigned original, void *stream)
{
    pthread_mutex_lock(&lock);
    if (gate()) {
        if (dv_compute_stream_seen(stream))
            (void)place_marker(gate());
        dv_events_stream_ends(stream);
    }
    pthread_mutex_unlock(&lock);
    return DV_ORIGINAL_AS(cuStreamDestroy_v2, original)(stream);
}

void dv_compute_context_begins(void)
{
    __atomic_fetch_add(&dv_compute_fast.contexts, 1, __ATOMIC_RELAXED);
}

void dv_compute_context_ends(void *context)
{
    pthread_mutex_lock(&lock);
    if (gate()) {
        if (dv_compute_fast.streams_count)
            (void)place_marker(gate());
        dv_events_context_ends(context);
    }
    pthread_mutex_unlock(&lock);
    stir_helper();
}

/* ---- the helper ------------------------------------------------------------------------------ */

/* The daemon hung up: registers anew when it is back, with all that is held. Without the lock. The
 * old descriptors stay open, two for each life of the daemon: somebody may be about to write to
 * one, and its number must not be the host's by then. */
static void reconnect(uint64_t now)
{
    static uint64_t next_try, pause;
    struct dv_wire *l = dv_wire_current();
    struct pollfd p = {.fd = l ? l->socket : -1, .events = 0};
    if (!l || !dv_wire_stale(l, now) || now < next_try || poll(&p, 1, 0) <= 0)
        return;
    pause = pause ? (pause * 2 < RECONNECT_MOST ? pause * 2 : RECONNECT_MOST) : RECONNECT_LEAST;
    next_try = now + pause;
    if (dv_wire_connect())
        return;
    pause = 0;
    dv_charge_again();
}

static uint64_t helper_turn(void)
{
    uint64_t now = dv_now_ns(), until = now + IDLE_LOOK;
    pthread_mutex_lock(&lock);
    struct dv_gate *g = gate() ? make_gate() : NULL;
    if (g) {
        poll_markers(g);
        look(g);
        while (dv_gate_tick(g, dv_now_ns()) == DV_GATE_MARK && place_marker(g))
            ;
        publish(g);
        now = dv_now_ns();
        uint64_t next = dv_gate_next(g);
        until = next < until ? next : until;
        if (dv_events_outstanding()) {
            uint64_t at = next_poll(g, now);
            until = at < until ? at : until;
        }
        until = until > now + POLL_LEAST ? until : now + POLL_LEAST;
    }
    pthread_mutex_unlock(&lock);
    return until;
}

static void *helper(void *unused)
{
    (void)unused;
    (void)prctl(PR_SET_NAME, "divvy", 0, 0, 0);
    (void)prctl(PR_SET_TIMERSLACK, 1000, 0, 0, 0); /* of this thread alone */
    for (;;) {
        struct word own = word_of(&helper_word);
        struct dv_wire *l = dv_wire_current();
        struct word turn = word_of(l ? &l->arbiter->wake[l->slot] : NULL);
        uint64_t until = helper_turn();
        reconnect(dv_now_ns());
        sleep_on(own, turn, until);
    }
    return NULL;
}

void dv_compute_start_helper(void)
{
    int none = 0;
    if (!__atomic_compare_exchange_n(&helper_state, &none, 1, false, __ATOMIC_ACQ_REL,
                                     __ATOMIC_ACQUIRE))
        return;
    pthread_attr_t attributes;
    pthread_t thread;
    sigset_t all, was;
    sigfillset(&all);
    pthread_sigmask(SIG_SETMASK, &all, &was);
    pthread_attr_init(&attributes);
    pthread_attr_setdetachstate(&attributes, PTHREAD_CREATE_DETACHED);
    if (pthread_create(&thread, &attributes, helper, NULL)) {
        __atomic_store_n(&helper_state, 2, __ATOMIC_RELEASE);
        dv_wire_log("no helper thread: leases end at their deadline");
    }
    pthread_attr_destroy(&attributes);
    pthread_sigmask(SIG_SETMASK, &was, NULL);
}

void dv_compute_forked(void)
{
    lock = (pthread_mutex_t)PTHREAD_MUTEX_INITIALIZER;
    dv_compute_fast = (struct dv_compute_fast){.gate = NULL};
    gate_wire = NULL;
    helper_state = 0;
    dv_events_forked();
}

/* ---- signatures ------------------------------------------------------------------------------ */

uint64_t dv_signature_config(const void *f, const void *config)
{
    const struct dv_cuda_launch_config *c = config;
    if (!c)
        return dv_signature_graph(f);
    return dv_signature_kernel(f, c->grid[0], c->grid[1], c->grid[2], c->block[0], c->block[1],
                               c->block[2], c->shared_bytes);
}

void *dv_config_stream(const void *config)
{
    const struct dv_cuda_launch_config *c = config;
    return c ? c->stream : NULL;
}
