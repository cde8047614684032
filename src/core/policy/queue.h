/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The queue of a node. Order: higher priority first, then who came first, then the lower id.
 *
 * Who may pass: a claim is granted only when no claim ahead of it could, now or later, use the
 * device that it would get. So a large claim at the head is never starved by small ones that slip
 * in behind it; claims for other devices do not wait for it. There is no preemption: what is held
 * stays held.
 *
 *     while (!dv_queue_next(snapshot, &id, &admission))
 *         ... apply DV_EVENT_SLICE_GRANTED (or withdraw the claim when it is REFUSED) ...
 *     dv_queue_prepare(snapshot, marks);
 *     ... start the MPS daemons of the marked devices; when one is up, DV_EVENT_DEVICE_SEEN with
 *     mps_up, and the same again. A daemon that cannot be started: dv_queue_awaiting, and withdraw
 * the claim ...
 */
#ifndef DV_POLICY_QUEUE_H
#define DV_POLICY_QUEUE_H

#include "policy/admit.h"

/* The waiting claims in order: ret[0..n_claims-1] are positions in snapshot->claims. -ENOMEM. */
int dv_queue_order(const struct dv_snapshot *snapshot, size_t *ret);

/*
 * The first claim, in order, about which something can be done now: GRANTED, or REFUSED (no
 * longer possible, or not willing to wait). 0; -ENOENT when all must wait on; -ENOMEM.
 */
int dv_queue_next(const struct dv_snapshot *snapshot, uint64_t *ret_id,
                  struct dv_admission *ret_admission);

/* Sets marks[i] for each snapshot device that a waiting claim would get if its MPS daemon were up,
 * clears the others. -ENOMEM. */
int dv_queue_prepare(const struct dv_snapshot *snapshot, bool *marks);

/* The first claim, in order, that waits for nothing but this device's MPS daemon, and what it was
 * told. 0; -ENOENT: none; -ENOMEM. */
int dv_queue_awaiting(const struct dv_snapshot *snapshot, const char *device, uint64_t *ret_id,
                      struct dv_verdict *ret);

/* What a waiting claim waits for, seen from its place in the queue: its position from 1 is in the
 * verdict. 0, -ENOENT when it does not wait, -ENOMEM. */
int dv_queue_explain(const struct dv_snapshot *snapshot, uint64_t id, struct dv_verdict *ret);

#endif
