/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The arbiter thread: drives core/govern's arbiter of every device in use. It sleeps until a tenant
 * writes its eventfd or a lease is due, reads the slot pages, and publishes the arbiter page. After
 * its start it opens no file, allocates nothing and writes no log; SCHED_FIFO where allowed.
 *
 * Main calls the functions below; each takes the lock (with priority inheritance) for some
 * microseconds. Everything that is allocated is allocated here, on main's thread.
 *
 *     dv_lease_new(10, &lease);
 *     dv_lease_device(lease, uuid, &device)                    found, or made
 *     dv_lease_slice_add(lease, device, &spec, &entity)        a slice was granted
 *     dv_lease_slot_take(lease, device, &slot)                 HELLO
 *     dv_lease_slot_join(lease, device, entity, slot, &pages)  READY
 *     dv_lease_slot_leave(lease, device, slot)                 death; after that pages may go
 */
#ifndef DV_SERVICES_LEASE_H
#define DV_SERVICES_LEASE_H

#include "actuate/governor.h"
#include "govern/arbiter.h"

#define DV_LEASE_DEVICES_MAX 128u

struct dv_lease;

/* priority 0: an ordinary thread. 0 or negative errno. The arbiter never switches leases off by
 * itself: on a loaded machine its ratio alone accuses the innocent, so the audit decides, which
 * knows from the driver who is there. */
int dv_lease_new(uint32_t priority, struct dv_lease **ret);
void dv_lease_free(struct dv_lease *lease);
/* Whether the thread got its priority. */
bool dv_lease_is_realtime(const struct dv_lease *lease);

int dv_lease_device(struct dv_lease *lease, const char *uuid, uint32_t *ret_device);
/* A loan for the device's life, which is that of `lease`. */
const struct dv_governor_arbiter *dv_lease_pages(struct dv_lease *lease, uint32_t device);

int dv_lease_slice_add(struct dv_lease *lease, uint32_t device,
                       const struct dv_arbiter_entity_spec *spec, uint32_t *ret_entity);
int dv_lease_slice_change(struct dv_lease *lease, uint32_t device, uint32_t entity,
                          const struct dv_arbiter_entity_spec *spec);
void dv_lease_slice_remove(struct dv_lease *lease, uint32_t device, uint32_t entity);
int dv_lease_slice_counters(struct dv_lease *lease, uint32_t device, uint32_t entity,
                            struct dv_arbiter_counters *ret);
/* For whom it waited on this device (dv_arbiter_entity_waits); before it is removed. */
int dv_lease_slice_waits(struct dv_lease *lease, uint32_t device, uint32_t entity,
                         struct dv_arbiter_waits *ret);
/* What the device lost to hand-overs since dv_lease_device() made it; only grows. */
uint64_t dv_lease_device_overhead(struct dv_lease *lease, uint32_t device);

/* A free slot number of the device; -ENOSPC. It is the caller's until dv_lease_slot_leave(). */
int dv_lease_slot_take(struct dv_lease *lease, uint32_t device, uint32_t *ret_slot);
int dv_lease_slot_join(struct dv_lease *lease, uint32_t device, uint32_t entity, uint32_t slot,
                       const struct dv_governor_slot *pages);
void dv_lease_slot_leave(struct dv_lease *lease, uint32_t device, uint32_t slot);
/* Tells the tenants of the device that messages about peers wait on their sockets. */
void dv_lease_slots_changed(struct dv_lease *lease, uint32_t device);

/* Measured over learnt time, permille (dv_arbiter_intruder_ratio). */
uint32_t dv_lease_intruder_ratio(struct dv_lease *lease, uint32_t device);
/* Switches leases off whatever the arbiter says (`--intruder open`). */
void dv_lease_set_open(struct dv_lease *lease, uint32_t device, bool open);

#endif
