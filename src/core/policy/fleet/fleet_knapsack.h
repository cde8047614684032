/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The fillings of a shared device: a knapsack in memory and compute with a bound on their number.
 * Branch and bound over the things in the order of their density; its bound is the least over
 * several weightings of the two resources of what would fill the rest at the best density.
 */
#ifndef DV_POLICY_FLEET_FLEET_KNAPSACK_H
#define DV_POLICY_FLEET_FLEET_KNAPSACK_H

#include <stddef.h>
#include <stdint.h>

struct dv_fleet_thing {
    uint32_t id;     /* the caller's */
    int64_t value;   /* > 0 */
    uint64_t memory; /* at most the knapsack's, as compute is; not both 0 */
    uint32_t compute;
    uint64_t limit; /* so many of it at most */
    uint32_t taken; /* out */
    double density; /* scratch */
};

struct dv_fleet_knapsack {
    uint64_t memory;
    uint32_t compute;
    uint32_t most;  /* things in all */
    uint32_t steps; /* of the search, at most */
    uint32_t n;
    struct dv_fleet_thing *items; /* the caller's; sorted anew by the search */
    int64_t value, upper;         /* out: of `taken`; no filling is worth more than upper */
    uint64_t work;                /* out: about so many elementary steps */
};

/* 0 or -ENOMEM. value == upper unless the search was cut short (many kinds of small things). */
int dv_fleet_knapsack_solve(struct dv_fleet_knapsack *k);

#endif
