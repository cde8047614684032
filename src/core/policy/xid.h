/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The driver's XID numbers, by what they mean for those who share the GPU. Source: NVIDIA's XID
 * catalogue (docs.nvidia.com/deploy/xid-errors). Their words are in render/diagnosis_text.h.
 */
#ifndef DV_POLICY_XID_H
#define DV_POLICY_XID_H

#include <stdbool.h>
#include <stdint.h>

/* The least first. */
enum dv_xid_kind {
    DV_XID_CLEANUP,     /* what follows when work is ended or has failed; the GPU is well */
    DV_XID_APPLICATION, /* a program's own fault; the GPU is well */
    DV_XID_OTHER,       /* not known here */
    DV_XID_CONTAINED,   /* the hardware failed and went on; a reset is wanted some time */
    DV_XID_FATAL,       /* nothing on this GPU can be relied on until a reset */
};

enum dv_xid_kind dv_xid_kind(uint64_t xid);
/* Is a reset of the GPU due after it, before anything new runs there? Of 63 the driver itself tells
 * whether rows wait for one. */
bool dv_xid_needs_reset(uint64_t xid);

#endif
