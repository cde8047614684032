/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What a card of a group can be: whole, or one of the sets of MIG devices that can lie on it; and
 * what a workload takes of each. The planner's own view of a fleet, worked out once.
 */
#ifndef DV_POLICY_FLEET_FLEET_FIT_H
#define DV_POLICY_FLEET_FLEET_FIT_H

#include "policy/fleet/fleet_rules.h"

#define DV_FLEET_KINDS_MAX 16u /* MIG profiles of a group that can differ in what they hold */
#define DV_FLEET_CUTS_MAX 512u /* sets of them */
#define DV_FLEET_NOT UINT32_MAX

/* A device that a card can have. */
struct dv_fleet_kind {
    uint32_t profile; /* index into the geometry's; DV_FLEET_NOT: the whole card */
    uint64_t memory_bytes;
    uint32_t compute;
};

/* A set of MIG devices that no other can be added to. */
struct dv_fleet_cut {
    uint8_t count[DV_FLEET_KINDS_MAX]; /* of kinds[1..]; count[0] is not used */
};

struct dv_fleet_side { /* a group as the planner sees it */
    const struct dv_fleet_group *group;
    struct dv_mig_geometry geometry; /* unknown figures filled in; n_profiles 0: no MIG */
    uint32_t n_kinds;                /* kinds[0] is the whole card */
    struct dv_fleet_kind kinds[DV_FLEET_KINDS_MAX];
    uint32_t n_cuts;
    struct dv_fleet_cut *cuts;
};

struct dv_fleet_need {
    uint64_t memory_bytes; /* whole MiB */
    uint32_t compute;
};

/* 0 or -ENOMEM. */
int dv_fleet_fit_side(const struct dv_fleet_group *group, struct dv_fleet_side *ret);
void dv_fleet_fit_done(struct dv_fleet_side *side);

/* May the workload run on cards of this model at all: the models it names, NVLink where it asks for
 * it? */
bool dv_fleet_fit_model(const struct dv_fleet_workload *workload, const struct dv_fleet_side *side);

/*
 * What one replica takes of a shared device, context included; on a device of its own (EXCLUSIVE,
 * MIG) what that must have at least. A share that is not said is that of its memory in the card's;
 * a memory that is not said that of its share.
 */
struct dv_fleet_need dv_fleet_fit_need(const struct dv_fleet_workload *workload,
                                       const struct dv_fleet_side *side, enum dv_fleet_mode mode);

/* Does one replica fit into that kind of device in that mode? */
bool dv_fleet_fit_is(const struct dv_fleet_workload *workload, const struct dv_fleet_side *side,
                     uint32_t kind, enum dv_fleet_mode mode);

/*
 * The packing bound: replicas of this workload alone on one card, n <= min(memory, compute).
 */
enum dv_fleet_binds { DV_FLEET_MEMORY, DV_FLEET_COMPUTE, DV_FLEET_SLICES };
struct dv_fleet_bound {
    uint64_t by_memory, by_compute; /* of a shared card */
    uint32_t fits;                  /* the least of them and the most slices of a device */
    enum dv_fleet_binds binds;
    uint32_t mig_fits; /* in MIG devices of their own; 0: none, or no MIG */
    uint32_t mig_kind; /* the smallest that holds one; DV_FLEET_NOT: none */
};
void dv_fleet_fit_bound(const struct dv_fleet_workload *workload, const struct dv_fleet_side *side,
                        struct dv_fleet_bound *ret);

#endif
