/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Which patterns, and how often: the integer program over what cards can hold. Column generation
 * gives its relaxation, from whose duals an exact lower bound is made (and one from sizes, which
 * does not wait for it); a dive gives a plan; where these do not meet, and a solver is at hand, it
 * looks for a better one among the patterns found.
 */
#ifndef DV_POLICY_FLEET_FLEET_SEARCH_H
#define DV_POLICY_FLEET_FLEET_SEARCH_H

#include "policy/fleet/fleet_price.h"
#include "policy/program.h"

enum dv_fleet_aim {
    DV_FLEET_CARDS, /* the fewest cards, then the cheapest */
    DV_FLEET_COST,  /* the least to pay per hour; every group needs a price */
};

struct dv_fleet_options {
    enum dv_fleet_aim aim;
    struct dv_program_solver solver; /* .solve NULL: none */
    /* Asked now and then, with the steps done so far in the search at hand (a plan may take several
     * searches). False: enough, the best so far is taken. NULL: never asked. */
    bool (*go_on)(void *arg, uint64_t steps);
    void *go_on_arg;
};

struct dv_fleet_use {
    uint32_t pattern; /* of the pool */
    uint32_t times;
};

struct dv_fleet_solution {
    uint32_t n_patterns, n_uses;
    struct dv_fleet_pattern *patterns;
    struct dv_fleet_use *uses; /* in this order each takes what it can of what is left */
    uint64_t *left;            /* of each workload, places that have none */
    uint64_t cards;
    bool complete;        /* nothing is left */
    int64_t cost;         /* micros per hour, of the priced cards */
    bool bounded;         /* all places fit in principle, and these hold: */
    uint64_t least_cards; /* no plan that places all has fewer cards */
    int64_t least_cost;
    bool proven;  /* complete: the fewest; else: not all can be placed */
    bool solved;  /* a solver was asked, and answered */
    bool stopped; /* go_on said so: there may be a better one, and a better bound */
};

/*
 * places[w] of each workload, rooms[s] cards of each side. 0 or -ENOMEM. A solver that is not
 * there, or breaks, is done without.
 */
int dv_fleet_search(const struct dv_fleet_view *view, const struct dv_fleet_options *options,
                    const uint64_t *places, const uint64_t *rooms, struct dv_fleet_solution *ret);
void dv_fleet_solution_done(struct dv_fleet_solution *solution);

#endif
