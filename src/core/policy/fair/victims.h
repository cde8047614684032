/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The cheapest set of victims that makes room for one workload.
 *
 * What can be evicted comes in pieces: a whole workload, or one surplus member of an elastic one.
 * A set is paid for by its highest priority first, then by the GPU time that it loses: the unit
 * milliseconds since each piece started, and what starting anew costs. Of equal sets the one found
 * first, in the order (priority, cost, most over its share, youngest).
 *
 * A set is allowed when every queue that it takes from is above its line before the last of its
 * pieces goes (the largest last), so that each part of an allowed set is allowed too. A set is
 * sufficient when the workload then fits, in room and in quotas; found by trying it in the pool.
 *
 * The answer is sufficient (it was tried) and minimal by inclusion (without any one of its pieces
 * it was not sufficient). With at most DV_FAIR_EXACT pieces to choose from it is the cheapest of
 * all. With more, it is the better of two searches: pieces in their order until it suffices; and,
 * for whole GPUs, node by node, where one more member is cheapest to fit in (the cheapest pieces of
 * the node by dynamic programming).
 */
#ifndef DV_POLICY_FAIR_VICTIMS_H
#define DV_POLICY_FAIR_VICTIMS_H

#include "policy/fair/fair_internal.h"

#define DV_FAIR_EXACT 12u

struct dv_fair_piece {
    uint32_t workload;
    uint32_t member; /* the surplus member, or DV_FAIR_NONE: all of it */
    uint32_t top;    /* the last queue upwards whose line counts; DV_FAIR_NONE: no line does */
    int32_t priority;
    uint64_t cost, units;
    uint64_t over; /* of its queue, thousandths of the share */
    uint64_t seq;
};

struct dv_fair_problem {
    struct dv_fair *f;
    struct workload *w; /* that wants to start */
    struct dv_fair_piece *pieces;
    uint32_t n;
    const uint64_t *lines; /* per queue */
    bool own;              /* those of its own queue are asked too */
    /* Scratch, filled by dv_fair_victims_prepare(). */
    uint8_t *gone;                           /* per member of each candidate: how often released */
    uint64_t *evicted, *evicted_line, *most; /* per queue */
    bool *chosen, *best;                     /* per piece */
    uint32_t max_priority_index;             /* pieces from here on are too high in priority */
};

/* Sorts the pieces. -ENOMEM. The scratch is freed by dv_fair_victims_done(). */
int dv_fair_victims_prepare(struct dv_fair_problem *p);
void dv_fair_victims_done(struct dv_fair_problem *p);

/* Finds the set. 0: the pieces of `best` are out of the pool (and out of nothing else), and the
 * workload fits; -ENOENT: no set found, the pool is as it was; -ENOMEM, as it was. */
int dv_fair_victims_find(struct dv_fair_problem *p);
/* Puts the pieces of the found set back. */
void dv_fair_victims_undo(struct dv_fair_problem *p);

#endif
