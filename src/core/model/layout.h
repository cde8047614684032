/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A layout says what a node should have. It has two parts, which may come from different files:
 *
 *   cut      per GPU: whole, or the MIG devices that it is cut into (mig-parted's file)
 *   sharing  how devices of a kind are shared (the device plugin's file)
 *
 * divvy's own file has both: each device of a cut names its sharing. A device whose cut says AUTO
 * follows the first sharing rule that means it, else it stays AUTO.
 *
 * A GPU follows the entry of the highest rank that means it; two of one rank are an error. A GPU
 * that no entry means is not managed: it stays as it is, and its devices are AUTO or follow a rule.
 *
 *     dv_cleanup(dv_layout_freep) struct dv_layout *layout = NULL;
 *     r = dv_layoutfile_read(name, text, len, config, &layout, &err);    platform/layoutfile
 *     r = dv_layout_check(layout, snapshot, geometries, &err);
 *     r = dv_layout_plan_gpu(layout, snapshot, &state, &plan, &err);     policy/layout_plan.h
 *
 * Sources: mig-parted's api/spec/v1, the NVIDIA device plugin's api/config/v1.
 */
#ifndef DV_MODEL_LAYOUT_H
#define DV_MODEL_LAYOUT_H

#include "model/snapshot.h"

#define DV_LAYOUT_ENTRIES_MAX 256u
#define DV_LAYOUT_RULES_MAX 64u
#define DV_LAYOUT_FILTERS_MAX 64u
#define DV_LAYOUT_DEVICES_MAX 16u /* of one GPU */
#define DV_LAYOUT_REPLICAS_MAX 256u
#define DV_LAYOUT_LIST_MAX 128u /* devices that a rule lists */

struct dv_layout_sharing {
    enum dv_mode mode;
    uint32_t replicas; /* 0: not said; of MPS, TIMESLICE, GOVERNED only */
    enum dv_timeslice timeslice;
};

struct dv_layout_device {
    /* "" the whole GPU; "3g.40gb" a GPU instance with one compute instance that takes it whole;
     * "1c.3g.40gb" a compute instance: those of one GPU instance profile are packed into as few
     * GPU instances as hold them, in the order given. */
    char profile[DV_MIG_NAME];
    uint32_t start; /* of the GPU instance; DV_MIG_UNPLACED: wherever it fits */
    struct dv_layout_sharing sharing;
};

/* A board, as NVML numbers it: device in the high half, vendor in the low half. */
struct dv_layout_filter {
    uint32_t device;
    uint32_t subsystem; /* 0: any */
};

struct dv_layout_gpu {
    struct dv_selector gpus;
    struct dv_layout_filter filters[DV_LAYOUT_FILTERS_MAX]; /* one of them must match */
    uint32_t n_filters;                                     /* 0: every board */
    bool capable_only; /* passes over GPUs that cannot do MIG rather than refuse them */
    uint32_t rank;
    uint32_t line;                                          /* in the file, from 1; for messages */
    struct dv_layout_device devices[DV_LAYOUT_DEVICES_MAX]; /* one whole GPU, or MIG devices */
    uint32_t n_devices;                                     /* 0: MIG mode with no instances */
};

struct dv_layout_rule {
    char profile[DV_MIG_NAME]; /* "" whole GPUs; "*" all MIG devices; "1g.10gb": those */
    /* Which of them: all, the first `count` by GPU and placement, or those listed: "0", "0:1" (GPU
     * and number of the MIG device on it), UUIDs. */
    uint32_t count;  /* 0: not by count */
    uint32_t n_list; /* 0: not by list */
    char (*list)[DV_UUID_SIZE];
    struct dv_layout_sharing sharing;
    uint32_t line;
};

struct dv_layout {
    bool has_cut, has_sharing; /* which parts the file is about */
    struct dv_layout_gpu *entries;
    uint32_t n_entries;
    struct dv_layout_rule *rules;
    uint32_t n_rules;
};

void dv_layout_free(struct dv_layout *layout);
void dv_layout_freep(struct dv_layout **layout);

/* Does the entry mean this GPU? Its filters included. */
bool dv_layout_means(const struct dv_layout_gpu *entry, const struct dv_gpu *gpu);
/* The entry that a GPU follows, or NULL. */
const struct dv_layout_gpu *dv_layout_find(const struct dv_layout *layout,
                                           const struct dv_gpu *gpu);
/* Does the entry ask for MIG mode? */
bool dv_layout_is_mig(const struct dv_layout_gpu *entry);
/* How the rules want this device of the snapshot to be shared; AUTO where none means it. */
struct dv_layout_sharing dv_layout_rule_for(const struct dv_layout *layout,
                                            const struct dv_snapshot *snapshot,
                                            const struct dv_device *device);

/* Is the device one of those that a list names: "0", "0:1", UUIDs? */
bool dv_layout_lists(char (*list)[DV_UUID_SIZE], uint32_t n, const struct dv_snapshot *snapshot,
                     const struct dv_device *device);
/* The 1 of "0:1": how many MIG devices of its GPU lie before this one. */
uint32_t dv_layout_mig_number(const struct dv_snapshot *snapshot, const struct dv_device *device);

/* A GPU instance that an entry asks for, and the devices (compute instances) in it. */
struct dv_layout_instance {
    uint32_t profile; /* index into geometry->profiles */
    uint32_t start;   /* or DV_MIG_UNPLACED */
    uint32_t n_ci;
    struct {
        uint32_t slices; /* compute slices */
        uint32_t device; /* index into entry->devices */
    } ci[DV_MIG_COMPUTE_PROFILES_MAX];
};

/* The GPU instances behind an entry's devices, compute instances packed. 0, or -EINVAL with a
 * message (no such profile, no such compute instance). */
int dv_layout_pack(const struct dv_layout_gpu *entry, const struct dv_mig_geometry *geometry,
                   struct dv_layout_instance ret[DV_LAYOUT_DEVICES_MAX], uint32_t *ret_n,
                   struct dv_err *err);

/* Says which rule a set of MIG instances breaks. -EINVAL. */
int dv_layout_refuse(const struct dv_mig_geometry *geometry, const struct dv_mig_refusal *why,
                     struct dv_err *err);

/*
 * Is the layout possible on this node? geometries[i] is that of snapshot->gpus[i], NULL where the
 * GPU has none. Checked: every entry by index or UUID means a GPU that is there; no two of one rank
 * mean the same; modes and replicas; that MIG profiles exist and break no rule together (whether
 * they find places beside what is in use is answered by policy/layout_plan.h); MPS replicas against
 * the driver's client limit. 0, or -EINVAL with a message that names line, GPU and rule.
 */
int dv_layout_check(const struct dv_layout *layout, const struct dv_snapshot *snapshot,
                    const struct dv_mig_geometry *const *geometries, struct dv_err *err);

#endif
