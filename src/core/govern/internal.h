/* SPDX-License-Identifier: Apache-2.0 */
/* What an arbiter is made of; for arbiter.c alone. */
#ifndef DV_GOVERN_INTERNAL_H
#define DV_GOVERN_INTERNAL_H

#include "govern/arbiter.h"
#include "govern/lost.h"

#define NOBODY DV_ARBITER_NOBODY
#define FULL DV_COMPUTE_FULL
#define EPOCH_MASK ((UINT64_C(1) << 48) - 1)
#define LEASES_WATCHED 4 /* by the cheat detector */
#define INTERACTIVE 4    /* short leases in a row that make an entity interactive */
#define INTERACTIVE_GAP (20 * DV_NS_PER_MS)
#define SLACK_PART 8 /* of all time; see settle() */
#define SLACK_MAX_NS (20 * DV_NS_PER_MS)
#define NAMED 64                    /* successors remembered; more than are named in one turn */
#define WATCHED_MIN_NS DV_NS_PER_MS /* shorter leases say too little */

/*
 * Virtual time is ns x 7000 / share, relative to an origin that `rebase` moves, so that 63 bits
 * last for ever. Cap balances are ns x 7000.
 */
struct entity {
    bool live, active, holds;
    struct dv_arbiter_entity_spec spec;
    int64_t vtime;
    int64_t balance;
    uint32_t first, last; /* members that want, in the order of asking */
    uint32_t members;
    uint32_t short_leases;  /* in a row, up to 2 x INTERACTIVE */
    uint64_t idle_since_ns; /* gave its lease up early and wants nothing since; 0 = no */
    uint64_t slack_ns;      /* time that it may still have held the device for without paying */
    uint32_t late;          /* members */
    uint64_t charged_ns, waited_ns, grants, revocations;
    int64_t lost_ns;
};

struct member {
    bool live, wants;
    uint32_t entity;
    uint32_t next; /* of those who want */
    uint32_t revocations;
    bool late;             /* replaced, and has not finished yet */
    uint64_t joined_epoch; /* an offer must be newer than its process */
    uint64_t epoch;        /* its newest lease, */
    uint64_t start_ns;     /* when the turn came, */
    int64_t charged_ns;    /* what was charged for it, */
    uint64_t held_ns;      /* how long it kept the others out, */
    uint64_t forgiven_ns;  /* what of that it need not pay, */
    uint64_t edge_ns;      /* and where its predecessor's announced end was */
    struct dv_lost_lease lost;
};

struct turn {
    uint32_t slot;
    uint64_t epoch;
};

struct dv_arbiter {
    struct dv_arbiter_config config;
    uint64_t now;
    struct entity *entities;
    struct member *members;
    int64_t v; /* virtual time of those who have work; kept while nobody has */
    uint64_t epochs;
    struct turn turn, next;
    struct turn named[NAMED]; /* the last that `next` named, by epoch */
    uint64_t start_ns, deadline_ns, pred_end_ns, quantum_ns, handed;
    uint64_t edge_ns; /* the last announced end, for whoever comes next */
    bool contended, cut, started, idle, observed;
    uint32_t waker; /* entity that has just begun to want */
    uint64_t open_until_ns;
    bool open;
    uint32_t ratios[LEASES_WATCHED], watched;
    uint32_t late_members;
    uint64_t late_end_ns; /* nobody has been late since */
    struct dv_arbiter_state page;
    uint64_t version;
    struct dv_wait_matrix waits;
    struct dv_lost lost;
    uint64_t since_ns;
    int64_t charged_ns; /* of all, those that have gone included */
};

#endif
