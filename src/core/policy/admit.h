/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Admission: may this claim have a slice now, where, and how large? A pure function of the
 * snapshot; granting is the caller's act (DV_EVENT_SLICE_GRANTED with dv_admit_slice()).
 *
 * What divvy chooses where the claim does not say:
 *   mode    sizes given: governed, or, for an untrusted claim, exclusive; none given: exclusive. A
 *           layout's mode wins over both.
 *   device  the fullest that has room, so that large gaps stay large: of those in use the one with
 *           least left over, else the smallest free one; ties go to the lowest GPU index.
 *   sizes   by mode, on a device with N replicas (none: N = 4 for time-slices; otherwise a claim
 *           without sizes gets all of the device):
 *
 *     mode       no sizes                  sizes given
 *     exclusive  all of the device         all of the device, which has at least so much
 *     governed   1/N of both               as asked; what is missing follows in proportion to what
 *                                          is given (25 % of the compute brings 25 % of the memory)
 *     mps        1/N of both               the same; with replicas at most 1/N, since the daemon's
 *                                          default limits are ceilings (TOO_LARGE_PART), but where
 *                                          the driver has namespaces
 *     timeslice  1/N of both; the memory   the memory asked for, behind a wall; compute is 1/N
 *                is nominal: no wall       whatever is asked: turns are equal (NO_SHARES)
 *
 * 1/N is rounded down, memory to MiB, so that N of them fit. A CUDA context must fit into each
 * (TOO_SMALL_MEMORY, with the number of parts that would do).
 *
 * How many: N slices, of MPS also no more than its daemon takes clients (a MIG device: in
 * proportion to its compute, at least 1). The next claim waits (FULL).
 *
 * A claim that wants to be alone gets the size that it would get beside others, on a device without
 * other slices; while it is there, nobody else gets one there (BUSY).
 *
 * Waiting for the machine rather than for others:
 *   PREPARING  the device would do, but its MPS daemon is not up. The caller starts it
 *              (dv_queue_prepare()) and asks again. Such a claim is queued even if it does not
 *              wait for others.
 *   DRAINING   only devices would do that the layout is about to change; it will bring others.
 *
 * What always holds: an untrusted claim lies behind walls of hardware or driver, memory and
 * compute (model/device.h, dv_device_walls()); the memory of a device's slices never sums to more
 * than the device has; nor does their compute. Nominal memory counts.
 */
#ifndef DV_POLICY_ADMIT_H
#define DV_POLICY_ADMIT_H

#include "model/event.h"
#include "policy/verdict.h"

struct dv_admission {
    struct dv_verdict verdict;
    /* Set when granted, BEHIND or PREPARING: */
    char device[DV_UUID_SIZE];
    enum dv_mode mode;
    uint64_t memory_bytes;
    uint32_t compute;
    enum dv_wall memory_wall, compute_wall;
};

/* The answer to the claim by itself, as if nobody waited. For the queue's answer see queue.h.
 * The claim has passed dv_claim_check(). */
void dv_admit_claim(const struct dv_snapshot *snapshot, const struct dv_claim *claim,
                    struct dv_admission *ret);

/* What a caller with many claims knows already; each array has one element per snapshot device. */
struct dv_admit_view {
    const struct dv_held *held; /* dv_snapshot_held() of each; NULL: worked out */
    const bool *barred;         /* kept for others; NULL: none */
};

/* The same, seen so. If only barred devices would do, the reason is BEHIND and ret->device is the
 * one that it would have got. */
void dv_admit_claim_except(const struct dv_snapshot *snapshot, const struct dv_claim *claim,
                           const struct dv_admit_view *view, struct dv_admission *ret);

/* Marks (never unmarks) each device on which the claim could run if it were empty. */
void dv_admit_mark(const struct dv_snapshot *snapshot, const struct dv_claim *claim, bool *marks);

/* The slice that a granted admission stands for. */
struct dv_slice dv_admit_slice(const struct dv_claim *claim, const struct dv_admission *admission,
                               uint64_t now_ns);

/* May a slice of which used_bytes are in use change to these sizes (0: keep)? When GRANTED the new
 * sizes are verdict.asked_bytes and verdict.asked_compute, for DV_EVENT_SLICE_LIMITED. The slice is
 * one of the snapshot's. Exclusive slices, equal MPS parts, the compute of time-slices and memory
 * without a wall do not change. MPS reads a process's limits when it starts: then
 * verdict.new_processes_only is set, and what runs keeps the limits that it has. */
void dv_admit_limit(const struct dv_snapshot *snapshot, const struct dv_slice *slice,
                    uint64_t memory_bytes, uint32_t compute, uint64_t used_bytes,
                    struct dv_verdict *ret);

#endif
