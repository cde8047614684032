/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What can happen to a node. Applying the events of a life, in order, to an empty snapshot gives
 * the snapshot of its end; a restart replays what the store kept, then meets the hardware by
 * dv_event_diff().
 *
 *     struct dv_event e = {.kind = DV_EVENT_CLAIM_QUEUED, .claim = claim};
 *     r = dv_event_apply(snapshot, &e, &err);   // all of it or nothing
 *
 * An event that does not fit the snapshot (a slice on no device, more memory than is there) is
 * refused with -EINVAL or -ENOENT and a message; a full table with -ENOSPC.
 */
#ifndef DV_MODEL_EVENT_H
#define DV_MODEL_EVENT_H

#include "model/snapshot.h"

enum dv_event_kind {
    DV_EVENT_GPU_SEEN,        /* gpu: new, or changed */
    DV_EVENT_GPU_GONE,        /* gpu.index; -EBUSY while it has devices */
    DV_EVENT_DEVICE_SEEN,     /* device: new, or changed; its mode in force is kept */
    DV_EVENT_DEVICE_GONE,     /* device.uuid; -EBUSY while it is held */
    DV_EVENT_TOPOLOGY_SEEN,   /* topology */
    DV_EVENT_CLAIM_QUEUED,    /* claim */
    DV_EVENT_CLAIM_WITHDRAWN, /* id */
    DV_EVENT_SLICE_GRANTED,   /* slice; a waiting claim of that id is taken off the queue */
    DV_EVENT_SLICE_LIMITED,   /* id, memory_bytes, compute */
    DV_EVENT_SLICE_RELEASED,  /* id; the last to leave an AUTO device frees it */
};

struct dv_event {
    enum dv_event_kind kind;
    uint64_t id;
    uint64_t memory_bytes;
    uint32_t compute;
    union {
        struct dv_gpu gpu;
        struct dv_device device;
        struct dv_claim claim;
        struct dv_slice slice;
        struct dv_topology topology;
    };
};

/* "slice_granted": for logs and the ledger. */
const char *dv_event_name(enum dv_event_kind kind);

/* Changes the snapshot, or leaves it as it was and says why. */
int dv_event_apply(struct dv_snapshot *snapshot, const struct dv_event *event, struct dv_err *err);

/* The events that lead from one snapshot to another, in an order in which they apply: first what
 * leaves, then what changes, then what comes. *ret is malloc'ed, the caller frees it. -ENOMEM. */
int dv_event_diff(const struct dv_snapshot *from, const struct dv_snapshot *to,
                  struct dv_event **ret, size_t *ret_n);

#endif
