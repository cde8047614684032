/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Where the time of tenants and slices went. Of the time in which a tenant held slices: its work
 * ran (what the meter charges as busy), it waited for turns, and for whom (who held the device
 * meanwhile, from the arbiter's rows), its own turns went by in hand-overs, or it had nothing to
 * run: the rest. And beside it, the time for which its claims stood in the queue, and for whom.
 *
 * Whom a claim waits for: the tenants that hold slices on the devices on which it could run, evenly
 * (a device is not given back sooner because its slice is smaller); where nobody holds one, the
 * tenant whose claim is ahead of it; else nobody: the machine is not ready.
 *
 * At most DV_WAITS_HOLDERS_MAX holders are kept of each tenant, the rest together. Survives a
 * restart of the daemon (keep.h). Everything is brought up to date by dv_waits_tick(), and before
 * whatever changes it: a grant, a release, a process that comes or goes.
 *
 * To be called after dv_meter_holding(): what ran is the growth of holding->busy_ns.
 */
#ifndef DV_SERVICES_WAITS_H
#define DV_SERVICES_WAITS_H

#include "node.h"

#define DV_WAITS_HOLDERS_MAX 64u
#define DV_WAITS_NOBODY "(nobody)" /* no names of tenants: these have no brackets */
#define DV_WAITS_OTHERS "(others)"

void dv_waits_tick(struct dv_node *node, uint64_t now);
void dv_waits_holding(struct dv_holding *holding, uint64_t now);
/* Before its slice is removed: all who waited for it are brought up to date first. */
void dv_waits_leave(struct dv_holding *holding, uint64_t now);

uint64_t dv_waits_turn_ns(const struct dv_time_spent *spent);
uint64_t dv_waits_queue_ns(const struct dv_time_spent *spent);
/* What is left of the time held: it had nothing to run. */
uint64_t dv_waits_idle_ns(const struct dv_time_spent *spent);

/* The store's rows. */
void dv_waits_restore(struct dv_node *node, const struct dv_store_wait *row);
/* Those that have changed, or all. 0 or negative errno. */
int dv_waits_write(struct dv_node *node, bool all, struct dv_err *err);
/* They are written. */
void dv_waits_clean(struct dv_node *node);
bool dv_waits_dirty(const struct dv_node *node);

void dv_waits_done(struct dv_time_spent *spent);

#endif
