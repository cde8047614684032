/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The handshake with processes inside slices (abi_tenant.h), and their deaths. Who calls is what
 * the kernel says: the peer's pid, and the nearest claim owner among its ancestors, or else the
 * container whose cgroup it is in. A process that was a member before the daemon's restart is known
 * by pid and start time.
 *
 * A death is seen by the socket's hang-up or the pidfd, whichever comes first; then the lease goes
 * on at once, what the process held is taken out of the reservation, and the peers are told.
 */
#ifndef DV_SERVICES_TENANTS_H
#define DV_SERVICES_TENANTS_H

#include "node.h"

/* Accepts what waits on node->tenant_fd. */
void dv_tenants_accept(void *node);
/* Drops connections that do not finish their handshake; tells members what they had no room for. */
void dv_tenants_tick(struct dv_node *node, uint64_t now);
/* The holding that a process belongs to: by its ancestors, as a known stray, or by its container's
 * cgroup. Of several of one owner the hint names one, "s-7". NULL: none. */
struct dv_holding *dv_tenants_find(struct dv_node *node, const struct dv_proc_id *id,
                                   const char *hint);
/* The same of a process seen on a GPU: of several, the one that is there. */
struct dv_holding *dv_tenants_find_on(struct dv_node *node, const struct dv_proc_id *id,
                                      uint32_t gpu);
/* The member with this pid that has finished its handshake, or NULL. */
struct dv_member *dv_tenants_member(struct dv_node *node, uint32_t pid);
/* Remembers a process as belonging to the holding without a handshake. */
void dv_tenants_add_stray(struct dv_holding *holding, const struct dv_proc_id *id, bool from_store);
/* Hangs up on all, at the daemon's end, after the arbiter thread has ended; they keep their caps
 * and pace themselves from then on. */
void dv_tenants_free(struct dv_node *node);

#endif
