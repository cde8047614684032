/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A node at one moment: its GPUs, the devices that they are cut into, the slices held and the
 * claims that wait. A snapshot that others can see is not changed any more: the next one is a copy
 * to which an event was applied (event.h).
 *
 *     dv_cleanup(dv_snapshot_freep) struct dv_snapshot *next = NULL;
 *     r = dv_snapshot_dup(now, &next);
 *     r = dv_event_apply(next, &event, &err);
 *
 * Arrays are sorted by their keys: GPUs by index, devices by GPU and then by UUID, slices and
 * claims by id. So two snapshots with the same content are equal element by element.
 */
#ifndef DV_MODEL_SNAPSHOT_H
#define DV_MODEL_SNAPSHOT_H

#include "model/slice.h"
#include "model/topology.h"

#define DV_DEVICES_MAX (DV_GPUS_MAX * 8)
#define DV_SLICES_MAX 4096
#define DV_CLAIMS_MAX 4096

struct dv_snapshot {
    uint64_t version; /* how many events led here */
    struct dv_topology topology;
    struct dv_gpu *gpus;
    size_t n_gpus;
    struct dv_device *devices;
    size_t n_devices;
    struct dv_slice *slices;
    size_t n_slices;
    struct dv_claim *claims; /* waiting */
    size_t n_claims;
};

/* An empty node. -ENOMEM. */
int dv_snapshot_new(struct dv_snapshot **ret);
void dv_snapshot_free(struct dv_snapshot *snapshot);
void dv_snapshot_freep(struct dv_snapshot **snapshot);
/* -ENOMEM. */
int dv_snapshot_dup(const struct dv_snapshot *snapshot, struct dv_snapshot **ret);
/* Same content; versions do not count. */
bool dv_snapshot_equal(const struct dv_snapshot *a, const struct dv_snapshot *b);

/* Field by field; of devices the mode in force counts too. */
bool dv_snapshot_gpu_equal(const struct dv_gpu *a, const struct dv_gpu *b);
bool dv_snapshot_device_equal(const struct dv_device *a, const struct dv_device *b);
bool dv_snapshot_slice_equal(const struct dv_slice *a, const struct dv_slice *b);
bool dv_snapshot_claim_equal(const struct dv_claim *a, const struct dv_claim *b);
bool dv_snapshot_topology_equal(const struct dv_topology *a, const struct dv_topology *b);
/* The order of devices in a snapshot: below, equal to, above 0. */
int dv_snapshot_device_order(const struct dv_device *a, const struct dv_device *b);

/* By key; NULL where there is none. The pointer is a loan from the snapshot. */
const struct dv_gpu *dv_snapshot_gpu(const struct dv_snapshot *snapshot, uint32_t index);
const struct dv_device *dv_snapshot_device(const struct dv_snapshot *snapshot, const char *uuid);
const struct dv_slice *dv_snapshot_slice(const struct dv_snapshot *snapshot, uint64_t id);
const struct dv_claim *dv_snapshot_claim(const struct dv_snapshot *snapshot, uint64_t id);

/* What the slices on a device hold together. */
struct dv_held {
    uint64_t memory_bytes;
    uint32_t compute;
    uint32_t slices;
    bool alone;                   /* one of them has been promised the device for itself */
    const struct dv_slice *first; /* NULL: nobody */
};
struct dv_held dv_snapshot_held(const struct dv_snapshot *snapshot, const char *device);

/*
 * Everything that must hold in any snapshot: keys unique and sorted, every device has its GPU,
 * every slice its device and mode, no memory or compute promised twice, exclusive devices with one
 * slice, others with no more than their replicas, free devices without. 0, or -EINVAL with a
 * message.
 */
int dv_snapshot_check(const struct dv_snapshot *snapshot, struct dv_err *err);

#endif
