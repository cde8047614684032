/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What tenants did, beside what they used: launches, refused allocations, waiting in the queue,
 * when they were last at work. Counted since the daemon's start, every two seconds and at a
 * process's end.
 */
#ifndef DV_SERVICES_ACTIVITY_H
#define DV_SERVICES_ACTIVITY_H

#include "base/macros.h"

#include <stdbool.h>

struct dv_node;
struct dv_member;
struct dv_holding;

/* Of one tenant; a part of dv_node_tenant. */
struct dv_activity {
    uint64_t launches, refused;
    uint64_t queue_wait_ns;
    uint64_t worked_ns; /* when a launch or busy time was last seen; 0: never */
    uint64_t active_ns; /* when it was last seen to hold or to use something */
};

/* Of one process and one claim; parts of dv_member and dv_holding. */
struct dv_activity_process {
    uint64_t launches_seen, refused_seen;
};
struct dv_activity_claim {
    uint64_t waited_to_ns; /* its waiting is counted up to here; 0: not at all yet */
    bool done;             /* it waits no more, and all is counted */
};

void dv_activity_tick(struct dv_node *node, uint64_t now);
/* Before a process's page goes. */
void dv_activity_member(struct dv_member *member, uint64_t now);
/* Busy time was charged to a holding. */
void dv_activity_worked(struct dv_holding *holding, uint64_t now);

#endif
