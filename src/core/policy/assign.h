/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Who gets what, at the least sum of costs: each of `rows` takes one of `columns`, no two the same.
 * Exact, O(rows^2 * columns).
 *
 *     int64_t cost[] = {4, 1,
 *                       2, 0};
 *     dv_assign_find(2, 2, cost, taken);      taken is {1, 0}: 1 + 2
 */
#ifndef DV_POLICY_ASSIGN_H
#define DV_POLICY_ASSIGN_H

#include "base/macros.h"

#define DV_ASSIGN_MAX 32u /* columns, and so rows */

/* rows <= columns <= DV_ASSIGN_MAX; cost[row * columns + column], each below 2^58 either way. The
 * same costs always give the same answer. */
void dv_assign_find(uint32_t rows, uint32_t columns, const int64_t *cost, uint32_t *ret);

#endif
