/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A plan for a fleet: which card is shared how and by whom, the fewest cards that hold everything,
 * what does not fit and why.
 *
 *     dv_cleanup(dv_fleet_plan_freep) struct dv_fleet_plan *plan = NULL;
 *     r = dv_fleet_plan_new(fleet, &options, &plan);
 *
 * Every slice fits its device, MIG devices are a set that the hardware takes, an untrusted workload
 * is never behind a cooperative wall, and a workload's places are enough for its headroom: all of
 * it by construction. That no plan has fewer cards is proven where `proven` says so; else
 * least_cards is a bound that holds. Deterministic.
 */
#ifndef DV_POLICY_FLEET_FLEET_PLAN_H
#define DV_POLICY_FLEET_FLEET_PLAN_H

#include "policy/fleet/fleet_search.h"

#define DV_FLEET_NOBODY UINT32_MAX

struct dv_fleet_slice {
    uint32_t workload;     /* DV_FLEET_NOBODY: a MIG device that is left over */
    uint32_t replica;      /* of the workload, from 0 */
    uint32_t device;       /* of the card */
    bool spare;            /* headroom: a place without a tenant */
    uint64_t memory_bytes; /* of a shared device: with context */
    uint32_t compute;
};

struct dv_fleet_card {
    uint32_t side;  /* the group */
    uint32_t node;  /* of the group's nodes, from 0 */
    uint32_t index; /* on the node */
    enum dv_fleet_mode mode;
    uint32_t n_devices;
    struct dv_fleet_device devices[DV_MIG_INSTANCES_MAX];
    uint32_t starts[DV_MIG_INSTANCES_MAX]; /* of MIG devices */
    uint32_t first, n_slices;              /* of plan->slices */
};

enum dv_fleet_lack {
    DV_FLEET_LACK_NOTHING,
    DV_FLEET_LACK_MODE,  /* the modes it takes are none that its rule allows */
    DV_FLEET_LACK_MODEL, /* no group is of a model that it may run on */
    DV_FLEET_LACK_SIZE,  /* fits no device of any card, in any mode that it may be in */
    DV_FLEET_LACK_NODE,  /* no node has so many cards free */
    DV_FLEET_LACK_CARDS, /* the cards are used up */
};

struct dv_fleet_unplaced {
    uint32_t replicas; /* that have no place; 0: all have */
    uint32_t spares;   /* places for headroom that are missing */
    enum dv_fleet_lack lack;
    /* With SIZE: the most that a device in a mode that it may be in has; of which group. */
    uint64_t memory_bytes;
    uint32_t compute;
    uint32_t side;
};

struct dv_fleet_plan {
    struct dv_fleet_view *view;
    uint32_t n_cards, n_slices;
    struct dv_fleet_card *cards; /* that are used, by group, node and index */
    struct dv_fleet_slice *slices;
    struct dv_fleet_unplaced *unplaced; /* of each workload */
    uint32_t used[DV_FLEET_GROUPS_MAX]; /* cards of each group */
    bool feasible;
    /* What holds everything, with as many cards of these models as that takes; where feasible, the
     * plan itself. possible: every workload fits some card at all, and all
     * of them fit on DV_FLEET_CARDS_MAX cards of each group. */
    bool possible;
    uint64_t needed_cards;
    int64_t needed_cost; /* micros per hour */
    uint32_t needed[DV_FLEET_GROUPS_MAX];
    uint64_t least_cards;   /* no fewer hold everything; 0 with the aim COST */
    int64_t least_cost;     /* with the aim COST: nothing that holds everything costs less */
    bool proven;            /* needed_cards (or needed_cost) is the least */
    bool proven_infeasible; /* where not feasible: no plan places all */
    bool partial;           /* options.go_on ended it before anything was proven */
    int64_t cost;           /* of the used cards, micros per hour */
    bool priced;            /* cards are used, and each has a price */
};

/* The fleet is lent for as long as the plan lives, and has passed dv_fleet_check(). 0; -ENOMEM, the
 * solver's errno. */
int dv_fleet_plan_new(const struct dv_fleet *fleet, const struct dv_fleet_options *options,
                      struct dv_fleet_plan **ret);
void dv_fleet_plan_free(struct dv_fleet_plan *plan);
void dv_fleet_plan_freep(struct dv_fleet_plan **plan);

/* Has a card of that side a device that holds one replica, in a mode that it may be in? */
bool dv_fleet_plan_fits(const struct dv_fleet_view *view, uint32_t workload, uint32_t side);

/* "mode", "model", "size", "node", "cards". */
const char *dv_fleet_plan_lack_name(enum dv_fleet_lack lack);
/* The name of a device's MIG profile, or "". */
const char *dv_fleet_plan_profile(const struct dv_fleet_plan *plan,
                                  const struct dv_fleet_card *card, uint32_t device);

#endif
