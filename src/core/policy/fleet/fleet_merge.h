/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Workloads that no card tells apart are one kind to the search: the same modes, the same part of a
 * shared card, the same MIG devices that are large enough. A file of hundreds of workloads often
 * has a few dozen kinds only, and kinds are what a search costs. Nothing is lost by it: in every
 * plan replicas of one kind can change places.
 */
#ifndef DV_POLICY_FLEET_FLEET_MERGE_H
#define DV_POLICY_FLEET_FLEET_MERGE_H

#include "policy/fleet/fleet_search.h"

/* ret[w] is the first workload that is of one kind with w; returns the number of kinds. */
uint32_t dv_fleet_merge_kinds(const struct dv_fleet_view *view, uint32_t *ret);

/* dv_fleet_search() by kinds; what it finds is in terms of the view's workloads again. */
int dv_fleet_merge_search(const struct dv_fleet_view *view, const struct dv_fleet_options *options,
                          const uint64_t *places, const uint64_t *rooms,
                          struct dv_fleet_solution *ret);

#endif
