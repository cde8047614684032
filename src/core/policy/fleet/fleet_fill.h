/* SPDX-License-Identifier: Apache-2.0 */
/* Cards of a plan that holds not all of it: what a pattern would hold in vain makes room for what
 * has no place yet. */
#ifndef DV_POLICY_FLEET_FLEET_FILL_H
#define DV_POLICY_FLEET_FLEET_FILL_H

#include "policy/fleet/fleet_search.h"

/*
 * Gives single cards another pattern, one by one, where that places more; `worth` of a place of
 * each workload, 1 .. DV_FLEET_WORTH. Cards and costs stay, and what is placed is never worth less
 * than before. 0 or -ENOMEM, and then the solution is still one.
 */
int dv_fleet_fill(const struct dv_fleet_view *view, const int64_t *worth, const uint64_t *places,
                  struct dv_fleet_solution *solution);

#endif
