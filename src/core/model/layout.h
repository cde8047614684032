/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A layout says what a node should have: for each GPU either one device in a mode, or the MIG
 * devices that it is cut into, each with its mode; and slices that are set up in advance.
 *
 * A GPU follows the first entry whose selector means it, so exceptions come first and "any" last; a
 * GPU that no entry means has no layout (its devices are AUTO).
 *
 *     struct dv_layout_device d = {.mode = DV_MODE_GOVERNED, .start = DV_MIG_UNPLACED};
 *     struct dv_layout_gpu e = {.gpus = any, .devices = &d, .n_devices = 1};
 *     struct dv_layout layout = {.entries = &e, .n_entries = 1};
 *     r = dv_layout_check(&layout, snapshot, geometries, &err);
 *
 * All arrays belong to the caller. Whether MIG instances without a start find places together, and
 * beside what is in use, is answered by policy/mig_plan.h.
 */
#ifndef DV_MODEL_LAYOUT_H
#define DV_MODEL_LAYOUT_H

#include "model/snapshot.h"

#define DV_LAYOUT_ENTRIES_MAX 64
#define DV_LAYOUT_SLICES_MAX 256 /* of one device */

struct dv_layout_slice {
    char tenant[DV_TENANT_SIZE];
    uint64_t memory_bytes;
    uint32_t compute; /* 1/7000 GPU */
};

struct dv_layout_device {
    char profile[DV_MIG_NAME]; /* a MIG profile, or "" for the whole GPU */
    uint32_t start;            /* of a MIG instance; DV_MIG_UNPLACED: wherever it fits */
    enum dv_mode mode;
    const struct dv_layout_slice *slices;
    size_t n_slices;
};

struct dv_layout_gpu {
    struct dv_selector gpus;
    const struct dv_layout_device *devices; /* one whole GPU, or MIG devices, never both */
    size_t n_devices;
};

struct dv_layout {
    const struct dv_layout_gpu *entries;
    size_t n_entries;
};

/* The entry that a GPU follows, or NULL. */
const struct dv_layout_gpu *dv_layout_find(const struct dv_layout *layout,
                                           const struct dv_gpu *gpu);

/* Does the entry ask for MIG mode? */
bool dv_layout_is_mig(const struct dv_layout_gpu *entry);

/*
 * Is the layout possible on this node? geometries[i] is that of snapshot->gpus[i], NULL where the
 * GPU has none. Checked: every entry means some GPU; modes, names, sizes; that MIG profiles exist
 * and break no rule together; that slices fit their device. 0, or -EINVAL with a message that names
 * the entry (from 1), the GPU and the rule.
 */
int dv_layout_check(const struct dv_layout *layout, const struct dv_snapshot *snapshot,
                    const struct dv_mig_geometry *const *geometries, struct dv_err *err);

#endif
