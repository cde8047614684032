/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The daemon's end of abi_tenant.h: makes the pages, seals them, and sends the handshake.
 *
 *     dv_governor_slice_new(&spec, &slice)              a slice was granted
 *     dv_governor_slot_new(process, &slice, &slot)      one of its processes says HELLO
 *     dv_governor_welcome(sock, &slice, &slot, ...)
 *     dv_governor_slot_seal(&slot)                      it says READY
 *     held = dv_governor_slot_end(&slot, &slice)        it died: what it held is taken back
 *
 * All descriptors are memfds that nobody can shrink; see abi_tenant.h for who can write what. The
 * daemon trusts nothing that it reads in a slot or reservation page beyond the slice that wrote it.
 */
#ifndef DV_ACTUATE_GOVERNOR_H
#define DV_ACTUATE_GOVERNOR_H

#include "abi_tenant.h"
#include "base/err.h"

#include <stdbool.h>
#include <sys/types.h>

struct dv_governor_spec {
    const char *slice_id, *tenant, *device_uuid, *libcuda, *libnvml;
    uint64_t memory_bytes, context_bytes, module_bytes;
    uint32_t compute, compute_cap, tier, flags;
};

struct dv_governor_slice {
    int slice_fd, reservation_fd;
    struct dv_slice_page *page;
    struct dv_reservation_page *reservation;
    uint64_t repair_seq; /* the daemon's operations on the reservation word */
};

struct dv_governor_slot {
    int fd, event_fd;
    struct dv_slot_page *page;
    uint32_t process; /* index in the slice, 1..255 */
};

struct dv_governor_arbiter {
    int fd;
    struct dv_arbiter_page *page;
};

/* 0; -ENAMETOOLONG, -EMFILE, -ENOMEM. */
int dv_governor_slice_new(const struct dv_governor_spec *spec, struct dv_governor_slice *ret);
/* Tells the slice's processes that it has ended, and lets go of the pages. Idempotent. */
void dv_governor_slice_end(struct dv_governor_slice *slice);
/* Lets go of the pages alone: the daemon ends, the slice does not. Idempotent. */
void dv_governor_slice_drop(struct dv_governor_slice *slice);
/* Live change of size. Idempotent. */
void dv_governor_slice_limit(struct dv_governor_slice *slice, uint64_t memory_bytes,
                             uint32_t compute, uint32_t compute_cap);
void dv_governor_slice_set_context(struct dv_governor_slice *slice, uint64_t context_bytes);
/* Bytes reserved by all processes of the slice. */
uint64_t dv_governor_slice_reserved(const struct dv_governor_slice *slice);

int dv_governor_slot_new(uint32_t process, struct dv_governor_slice *slice,
                         struct dv_governor_slot *ret);
/* From here on nobody but the process that has mapped it can write the slot. */
int dv_governor_slot_seal(struct dv_governor_slot *slot);
/* What the process holds now. */
uint64_t dv_governor_slot_held(const struct dv_governor_slot *slot,
                               struct dv_governor_slice *slice);
/* After its death: repairs the reservation. Returns what it held. Idempotent. */
uint64_t dv_governor_slot_end(struct dv_governor_slot *slot, struct dv_governor_slice *slice);

/* Lets go of the page alone: the daemon ends, the process does not. Idempotent. */
void dv_governor_slot_drop(struct dv_governor_slot *slot);

int dv_governor_arbiter_new(struct dv_governor_arbiter *ret);
void dv_governor_arbiter_end(struct dv_governor_arbiter *arbiter);

/* ---- messages; 0 or negative errno ---- */

int dv_governor_welcome(int sock, const struct dv_governor_slice *slice,
                        const struct dv_governor_slot *slot,
                        const struct dv_governor_arbiter *arbiter, uint32_t slot_index, pid_t pid);
int dv_governor_refuse(int sock, int error, const char *why);
int dv_governor_go(int sock, uint32_t slot_index);
/* process: the peer's index if it belongs to the receiver's own slice, else 0. */
int dv_governor_peer(int sock, uint32_t slot_index, const struct dv_governor_slot *peer,
                     uint32_t process, pid_t pid);
int dv_governor_peer_gone(int sock, uint32_t slot_index);

#endif
