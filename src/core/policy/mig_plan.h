/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Where a wanted set of MIG instances can lie, next to those that are there: exactly. Every set
 * that the hardware accepts is accepted, with starts; every other is refused with the rule that it
 * breaks.
 *
 *     struct dv_mig_instance want[3] = {{p3g, DV_MIG_UNPLACED}, {p2g, DV_MIG_UNPLACED}, ...};
 *     r = dv_mig_plan_find(geometry, have, n_have, want, 3, &plan);
 *     if (!r && plan.rule == DV_MIG_OK) ... plan.instances[i]
 *
 * Of the layouts that fit, the one is chosen that leaves most to come later (weighed by size, so
 * that room for a large instance counts for more than for a small one).
 */
#ifndef DV_POLICY_MIG_PLAN_H
#define DV_POLICY_MIG_PLAN_H

#include "model/mig.h"

struct dv_mig_plan {
    enum dv_mig_rule rule; /* DV_MIG_OK: feasible */
    struct dv_mig_refusal refusal;
    /* Infeasible by PLACEMENT only because of where the `have` instances lie: on an empty GPU the
     * same instances would all fit. */
    bool fits_if_moved;
    uint32_t n; /* as many as wanted, in the order of `want` */
    struct dv_mig_instance instances[DV_MIG_INSTANCES_MAX];
};

/*
 * `have` stays where it is; an unplaced one there may be put anywhere and is not reported. A
 * wanted instance with a start must get that start. Returns 0 or -ENOMEM; the answer is ret->rule.
 */
int dv_mig_plan_find(const struct dv_mig_geometry *geometry, const struct dv_mig_instance *have,
                     size_t n_have, const struct dv_mig_instance *want, size_t n_want,
                     struct dv_mig_plan *ret);

/*
 * The start that NVIDIA's driver takes when nobody names one: the start that leaves the most room,
 * the lowest of equals. It looks one instance ahead only, which is why creating 1g, 1g, 2g, 3g in
 * this order fails on hardware and creating the 3g first works. This rule gives all the listings of
 * the MIG user guide (r580). DV_MIG_UNPLACED where there is no room, or a rule forbids it.
 */
uint32_t dv_mig_plan_pick_start(const struct dv_mig_geometry *geometry,
                                const struct dv_mig_instance *have, size_t n_have,
                                uint32_t profile);

/*
 * What a placement leaves to come, which is what these functions maximise: the sizes of all legal
 * places that are free of `taken` pieces, of every profile that the sums would still allow beside
 * the n instances (find once, then ask for many placements). n is at most DV_MIG_INSTANCES_MAX + 1.
 */
void dv_mig_plan_addable(const struct dv_mig_geometry *geometry,
                         const struct dv_mig_instance *instances, size_t n,
                         bool ret[DV_MIG_PROFILES_MAX]);
uint32_t dv_mig_plan_room(const struct dv_mig_geometry *geometry,
                          const bool addable[DV_MIG_PROFILES_MAX], uint32_t taken);

/* How many more of the profile fit beside `have`, as `nvidia-smi mig -lgip` shows under "Free". */
uint32_t dv_mig_plan_free(const struct dv_mig_geometry *geometry,
                          const struct dv_mig_instance *have, size_t n_have, uint32_t profile);

/*
 * Reads a list for people and tests: "3g.20gb,2g.10gb,1g.5gb", profile ids too ("9,14"), a place
 * after '@' ("3g.20gb@4"), "2x1g.5gb" or "1g.5gb*2" for several. "" is an empty list. At most
 * 64 instances. Returns how many, or -EINVAL, -E2BIG with a message.
 */
int dv_mig_plan_parse(const struct dv_mig_geometry *geometry, const char *text,
                      struct dv_mig_instance ret[64], struct dv_err *err);

#endif
