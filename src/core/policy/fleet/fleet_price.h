/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What one card can hold: the pattern that is worth most where each replica of a workload is worth
 * so much. The inner problem of the planner (pricing, in the terms of column generation; Gilmore
 * and Gomory, A linear programming approach to the cutting-stock problem, 1961): a knapsack in two
 * dimensions for a shared device, the best set of MIG devices for a card that is cut.
 *
 * Values are integers, so that the upper bounds are exact statements and not roundings.
 */
#ifndef DV_POLICY_FLEET_FLEET_PRICE_H
#define DV_POLICY_FLEET_FLEET_PRICE_H

#include "policy/fleet/fleet_fit.h"

#define DV_FLEET_UNIT (INT64_C(1) << 30)  /* what one card costs */
#define DV_FLEET_WORTH (INT64_C(1) << 42) /* the most that a replica is worth */

/* Replicas of a workload on a device of a pattern. */
struct dv_fleet_item {
    uint16_t workload;
    uint16_t device;
    uint32_t count;
};

struct dv_fleet_device {
    uint8_t kind;
    enum dv_fleet_mode mode; /* MIG: one replica of its own */
};

/* One card, or the cards of a replica with several. */
struct dv_fleet_pattern {
    uint32_t side;
    uint32_t cards;
    enum dv_fleet_mode mode; /* of the card */
    uint32_t n_devices;
    struct dv_fleet_device devices[DV_MIG_INSTANCES_MAX];
    uint32_t n_items;
    struct dv_fleet_item *items; /* by device */
};

/* The fleet as the planner sees it; read-only once made. */
struct dv_fleet_view {
    const struct dv_fleet *fleet;
    uint32_t n_sides, n_workloads;
    struct dv_fleet_side *sides;
    struct dv_fleet_choice *choices; /* of each workload */
    uint32_t *gpus;                  /* whole cards of each; 0: a part of one */
    struct dv_fleet_need *own;       /* of each workload on a device of its own */
    struct dv_fleet_need *shared;    /* [side * n_workloads + workload] */
    bool *may;  /* the same: may run on that model; whole cards of it are large enough */
    bool apart; /* a MIG device is for one replica: patterns share none */
};

/* The fleet is lent, and has passed dv_fleet_check(). 0 or -ENOMEM. */
int dv_fleet_view_new(const struct dv_fleet *fleet, struct dv_fleet_view **ret);
void dv_fleet_view_free(struct dv_fleet_view *view);
void dv_fleet_view_freep(struct dv_fleet_view **view);

/* How much less a replica is worth in a mode that it had rather not be in: enough to decide between
 * plans of equally many cards, not between numbers of cards. */
int64_t dv_fleet_price_dislike(const struct dv_fleet_view *view, uint32_t workload,
                               enum dv_fleet_mode mode, bool inside_mig);
/* The same of a whole pattern. */
int64_t dv_fleet_price_dislikes(const struct dv_fleet_view *view,
                                const struct dv_fleet_pattern *pattern);

struct dv_fleet_price {
    const int64_t *values;  /* of each workload, 0 .. DV_FLEET_WORTH */
    const uint64_t *limits; /* replicas of each that a pattern may hold */
    bool dislikes;          /* count them */
    bool bound;             /* search longer, so that *ret_upper is tight */
    uint64_t *work;         /* counts about the elementary steps; deterministic */
};

/*
 * The best pattern of one card of this side in each mode; without items where nothing is worth
 * anything. *ret_upper is at least the value of every pattern of one card there that keeps the
 * limits (of replicas with several GPUs: their value per card). 0 or -ENOMEM.
 */
int dv_fleet_price_find(const struct dv_fleet_view *view, uint32_t side,
                        const struct dv_fleet_price *price,
                        struct dv_fleet_pattern ret[DV_FLEET_MODES], int64_t *ret_upper);
void dv_fleet_pattern_done(struct dv_fleet_pattern *pattern);
/* One more item, behind the others. 0 or -ENOMEM, and then nothing is added. */
int dv_fleet_pattern_add(struct dv_fleet_pattern *pattern, uint32_t workload, uint32_t device,
                         uint32_t count);
/* Whole cards for one replica of a workload that asks for them. */
int dv_fleet_price_whole(uint32_t side, uint32_t workload, uint32_t cards,
                         struct dv_fleet_pattern *ret);
/* Replicas of a workload in it. */
uint64_t dv_fleet_pattern_count(const struct dv_fleet_pattern *pattern, uint32_t workload);

#endif
