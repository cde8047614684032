/* SPDX-License-Identifier: Apache-2.0 */
/*
 * One machine in virtual time: the virtual GPU, the arbiter, and tenant processes with their gates,
 * joined by a control plane whose hops take time. No thread, no clock: a run is a function of its
 * seed.
 *
 *     share_world_init(&w, seed, NULL);
 *     a = share_entity(&w, 30 * 70, 0);                         30 %
 *     share_process(&w, a, &(struct share_program){.sigs = {{5000, 132, 1}}, .sig_count = 1});
 *     share_run(&w, 10 * DV_NS_PER_S);
 *
 * A hop (eventfd to the arbiter, futex to a process) takes 40 us + an exponential of 30 us, and in
 * 0.2 % of the cases 1..4 ms more; seeing that an event is done takes 40 us, in 0.1 % of the cases
 * as much more. Kernel durations vary by 3 %.
 */
#ifndef SHARE_WORLD_H
#define SHARE_WORLD_H

#include "base/rng.h"
#include "engine/engine.h"
#include "gate.h"
#include "govern/arbiter.h"

#define SHARE_PROCESSES 64
#define SHARE_SIGS 4

struct share_program {
    struct {
        uint64_t ns;
        uint32_t sms; /* 0 = all */
        uint32_t weight;
    } sigs[SHARE_SIGS];
    uint32_t sig_count;
    uint64_t host_ns;        /* the host's time per launch; 0 = 1 us */
    uint32_t sync_every;     /* launches between two synchronizations; 0 = never */
    uint64_t think_ns;       /* mean (exponential) pause after a synchronization; */
    uint64_t think_fixed_ns; /* or this, always */
    bool cheats;             /* does not ask */
};

struct share_process {
    bool live, stopped;
    uint32_t entity, slot, context, stream;
    struct share_program program;
    struct dv_gate gate;
    struct dv_slot_page page;
    struct dv_gate_price *prices[SHARE_SIGS];
    struct dv_rng rng;
    uint64_t local_ns; /* how far its host thread has come */
    uint32_t since_sync;
    bool syncing, blocked; /* at a synchronization; at the gate */
    uint32_t pending_sig;  /* the launch that waits, + 1 */
    uint64_t pause_until;
    uint64_t timer_ns; /* the wake-up that is in the queue; 0 = none */
    struct {
        uint64_t begin, end, seen;
    } marks[DV_GATE_MARKERS];
    uint64_t marks_done; /* ids up to here ended; those up to gate.marker_done were seen */
    uint64_t sync_marker;
    uint64_t blocked_since, worst_wait, launches;
    /* What the arbiter's thread has taken over from the page. */
    uint64_t want_count;
    uint32_t released_epoch;
};

struct share_event {
    uint64_t at, order;
    uint32_t what; /* process + 1; 0 = the arbiter */
    bool timer;
};

struct share_world {
    uint64_t now;
    struct dv_rng rng;
    struct dv_engine *engine;
    uint32_t card;
    struct dv_arbiter *arbiter;
    struct dv_arbiter_page page;
    struct dv_slice_page slices[DV_ARBITER_ENTITIES_MAX];
    struct share_process processes[SHARE_PROCESSES];
    uint32_t process_count;
    struct share_event *heap;
    uint32_t heap_count, heap_room;
    uint64_t order, arbiter_timer, version, page_turn_slot;
    bool daemon_dead;
    uint64_t double_holders; /* two held at once, neither announced nor late */
    uint64_t messages;
};

struct share_options {
    enum dv_engine_slicing slicing;
    struct dv_arbiter_config arbiter;
};

void share_world_init(struct share_world *w, uint64_t seed, const struct share_options *o);
void share_world_done(struct share_world *w);
void share_options_default(struct share_options *o);

uint32_t share_entity(struct share_world *w, uint32_t share, uint32_t cap);
struct share_process *share_process(struct share_world *w, uint32_t entity,
                                    const struct share_program *p);
/* kill -9: the context is torn down after 1 ms, the daemon hears of it a hop later. */
void share_kill(struct share_world *w, struct share_process *p);
void share_stop(struct share_world *w, struct share_process *p, bool stopped);
void share_change(struct share_world *w, uint32_t entity, uint32_t share, uint32_t cap);

/* Until `until`. */
void share_run(struct share_world *w, uint64_t until);
/* Device time that the process has had. */
uint64_t share_busy(struct share_world *w, const struct share_process *p);

#endif
