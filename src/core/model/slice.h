/* SPDX-License-Identifier: Apache-2.0 */
/* A slice is what one tenant holds: a device, a mode, memory and compute. */
#ifndef DV_MODEL_SLICE_H
#define DV_MODEL_SLICE_H

#include "model/claim.h"
#include "model/workload.h"

struct dv_slice {
    uint64_t id; /* that of its claim */
    char tenant[DV_TENANT_SIZE];
    char pod[DV_WORKLOAD_NAME_SIZE]; /* the tenant's pod that holds it; "": it is no pod's */
    char device[DV_UUID_SIZE];
    enum dv_mode mode; /* never AUTO */
    uint64_t memory_bytes;
    uint32_t compute; /* 1/7000 GPU */
    int32_t priority;
    enum dv_tier tier;
    enum dv_trust trust;
    enum dv_wall memory_wall, compute_wall;
    bool alone;        /* no other slice on its device */
    uint64_t since_ns; /* when it was granted */
};

/* May this slice lie on this device, by itself? 0, or -EINVAL with a message. */
int dv_slice_check(const struct dv_slice *slice, const struct dv_device *device,
                   struct dv_err *err);

#endif
