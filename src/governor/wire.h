/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The tenant's end of the line to the daemon: the handshake of abi_tenant.h, the mapped pages, and
 * the slot pages of the other processes on the device.
 *
 *     int r = dv_wire_connect();                  0, or the CUresult to fail with
 *     struct dv_wire *l = dv_wire_current();
 *     uint64_t limit = dv_wire_limit(l);
 *
 * A link is never unmapped nor changed once it is current: after the daemon has come back there is
 * a new one and the old one stays readable, so that nobody needs a lock to look at a page. Its
 * peers come and go behind atomic pointers.
 */
#ifndef DV_GOVERNOR_WIRE_H
#define DV_GOVERNOR_WIRE_H

#include "abi_tenant.h"

#include <stdbool.h>

struct dv_wire {
    const struct dv_slice_page *slice;
    struct dv_reservation_page *reservation;
    struct dv_slot_page *page;
    const struct dv_arbiter_page *arbiter;
    int socket, event;
    uint32_t slot;       /* on the device */
    uint32_t process;    /* in the slice, 1..255 */
    uint32_t pid;        /* own, as NVML shows it */
    uint32_t generation; /* of the arbiter page, when the peers were last read */
    const struct dv_slot_page *peer[DV_TENANT_SLOTS_MAX];
    uint32_t peer_pid[DV_TENANT_SLOTS_MAX]; /* of our own slice's processes; 0 = not one */
};

/* Connects to the container's socket, or $DIVVY_TENANT_SOCKET, and makes the new link current. 0;
 * SYSTEM_NOT_READY: nobody there; NOT_PERMITTED: refused. */
int dv_wire_connect(void);
/* NULL before the first dv_wire_connect. */
struct dv_wire *dv_wire_current(void);
/* In a forked child: closes what belongs to the parent. */
void dv_wire_forget(void);

/* Reads what the daemon has sent about peers, if the page says that there is something. */
void dv_wire_peers(struct dv_wire *l);
/* The slot page of a process on the device, NULL if it is not known. */
const struct dv_slot_page *dv_wire_peer(struct dv_wire *l, uint32_t slot);
/* Has `pid` a place in our slice? */
bool dv_wire_own_pid(struct dv_wire *l, uint32_t pid);
void dv_wire_kick(struct dv_wire *l);                /* wakes the arbiter */
bool dv_wire_stale(struct dv_wire *l, uint64_t now); /* the daemon's heartbeat has stopped */

uint64_t dv_wire_limit(const struct dv_wire *l); /* bytes; 0 when the slice has ended */

/* A line for the daemon's eyes, into the ring of the slot page. Drops what does not fit. */
__attribute__((format(printf, 1, 2))) void dv_wire_log(const char *format, ...);

#endif
