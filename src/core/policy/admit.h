/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Admission: may this claim have a slice now, where, and how large? A pure function of the
 * snapshot; granting is the caller's act (DV_EVENT_SLICE_GRANTED with dv_admit_slice()).
 *
 * What divvy chooses where the claim does not say:
 *   mode    sizes given: governed, or, for an untrusted claim, exclusive; none given: exclusive. A
 *           layout's mode wins over both.
 *   sizes   exclusive: all of the device. Governed: what is missing follows in proportion to what
 *           is given (25 % of the compute brings 25 % of the memory, and the other way round); with
 *           neither, all of the device.
 *   device  the fullest that has room, so that large gaps stay large: of those in use the one with
 *           least left over, else the smallest free one; ties go to the lowest GPU index.
 *
 * What always holds: an untrusted claim never lies behind a cooperative wall; the memory of a
 * device's slices never sums to more than the device has; nor does their compute.
 */
#ifndef DV_POLICY_ADMIT_H
#define DV_POLICY_ADMIT_H

#include "model/event.h"
#include "policy/verdict.h"

struct dv_admission {
    struct dv_verdict verdict;
    /* Set when granted: */
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
 * one of the snapshot's. */
void dv_admit_limit(const struct dv_snapshot *snapshot, const struct dv_slice *slice,
                    uint64_t memory_bytes, uint32_t compute, uint64_t used_bytes,
                    struct dv_verdict *ret);

#endif
