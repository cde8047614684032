/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What would let a waiting claim through: the slices of one device whose end would make room for
 * it, and as few as can be found: one where one is enough (of those the smallest), else the largest
 * ones until there is room, less those that turn out not to be needed. Claims ahead of it are not
 * looked at here: queue.h says who they are.
 *
 *     struct dv_unblock u;
 *     r = dv_unblock_find(snapshot, id, &u);
 *     if (!r) ... u.n slices on u.device; 0: nothing is in its way but the queue
 */
#ifndef DV_POLICY_UNBLOCK_H
#define DV_POLICY_UNBLOCK_H

#include "policy/admit.h"

#define DV_UNBLOCK_MAX 16 /* more are counted, not named */

struct dv_unblock {
    char device[DV_UUID_SIZE];
    uint32_t n;
    uint64_t slices[DV_UNBLOCK_MAX]; /* ids, ascending */
    uint64_t memory_bytes;           /* that they hold together */
};

/* 0; -ENOENT: no slice's end would help (a sick GPU, a layout under way), or no such claim waits;
 * -ENOMEM. */
int dv_unblock_find(const struct dv_snapshot *snapshot, uint64_t claim, struct dv_unblock *ret);

#endif
