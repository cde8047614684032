/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A device is what is shared: a whole GPU, or a MIG device of one. A GPU in MIG mode has no whole
 * device; one out of it has exactly one, under the GPU's own UUID.
 *
 * How it is shared is its mode. A device without a layout is AUTO: the first claim sets the mode,
 * the last to leave frees it.
 */
#ifndef DV_MODEL_DEVICE_H
#define DV_MODEL_DEVICE_H

#include "model/gpu.h"
#include "model/mig.h"

enum dv_mode {
    DV_MODE_AUTO,      /* of a device: nobody holds it; of a claim: divvy chooses */
    DV_MODE_EXCLUSIVE, /* one slice, all of the device */
    DV_MODE_MPS,
    DV_MODE_TIMESLICE,
    DV_MODE_GOVERNED, /* enforced fractions: the governor and its arbiter */
};

/* What holds a tenant inside its slice, weakest first. */
enum dv_wall {
    DV_WALL_NONE,
    DV_WALL_COOPERATIVE, /* the library in the tenant's own process */
    DV_WALL_DRIVER,      /* limits that the driver keeps */
    DV_WALL_HARDWARE,    /* the device's own edges: MIG, or a card to oneself */
};

/* The driver's time-slice setting of a GPU, by NVIDIA's names and numbers (`nvidia-smi
 * compute-policy --set-timeslice`). */
enum dv_timeslice {
    DV_TIMESLICE_DEFAULT,
    DV_TIMESLICE_SHORT,
    DV_TIMESLICE_MEDIUM,
    DV_TIMESLICE_LONG,
};

struct dv_device {
    char uuid[DV_UUID_SIZE]; /* the key within a node */
    uint32_t gpu;            /* dv_gpu.index */
    bool mig;
    char profile[DV_MIG_NAME]; /* "3g.20gb"; "" on a whole GPU */
    uint32_t gi, ci;           /* instance ids; 0 on a whole GPU */
    uint32_t placement_start, placement_size;
    /* Of a MIG device, as its driver tells them; 0 on a whole GPU, and where unknown. */
    uint32_t gi_slices, ci_slices, sm;
    struct dv_mig_engines engines;
    uint64_t memory_bytes; /* what tenants can have of it, all together */
    uint32_t compute;      /* of it all, in 1/7000 of the GPU: 7000, or 3000 for a 3g of 7 */
    enum dv_mode layout;   /* what the layout asks for; AUTO: nothing */
    enum dv_mode mode;     /* in force now: its slices', else the layout's; AUTO: free */
    /* At most so many slices, and a claim without sizes gets 1/replicas of the device; 0: no such
     * rule. Of MPS, TIMESLICE and GOVERNED only. */
    uint32_t replicas;
    bool draining; /* the layout wants it gone or shared otherwise: nothing new is placed on it */
    bool mps_up;   /* its MPS control daemon answers */
};

/* "auto", "exclusive", "mps", "timeslice", "governed". */
const char *dv_device_mode_name(enum dv_mode mode);
/* 0, or -EINVAL with a message that suggests. */
int dv_device_mode_parse(const char *text, enum dv_mode *ret, struct dv_err *err);
/* "none", "cooperative", "driver", "hardware". */
const char *dv_device_wall_name(enum dv_wall wall);
/* "default", "short", "medium", "long". */
const char *dv_device_timeslice_name(enum dv_timeslice timeslice);
/* 0, or -EINVAL with a message that suggests. */
int dv_device_timeslice_parse(const char *text, enum dv_timeslice *ret, struct dv_err *err);
/* By itself: has a size, and replicas only where its layout names a shared mode. 0, or -EINVAL with
 * a message. */
int dv_device_check(const struct dv_device *device, struct dv_err *err);

/* Time-slices of a device whose layout names no number, or that has no layout. */
#define DV_DEVICE_TIMESLICES 4u

/* Most slices of a device shared in that mode: 1 exclusive; else its replicas, the clients that its
 * MPS daemon takes (see below), DV_DEVICE_TIMESLICES; UINT32_MAX where nothing bounds them. */
uint32_t dv_device_slices_max(const struct dv_gpu *gpu, const struct dv_device *device,
                              enum dv_mode mode);
/* Clients of the MPS daemon of a device that has so much compute: the GPU's, in proportion, at
 * least 1 (NVIDIA's MIG user guide: a MIG device's number is lowered with its size). 0: unknown. */
uint32_t dv_device_mps_clients(const struct dv_gpu *gpu, uint32_t compute);
/* One of n equal parts of a device: memory rounded down to MiB, compute rounded down, so that n of
 * them always fit. */
struct dv_device_part {
    uint64_t memory_bytes;
    uint32_t compute;
};
struct dv_device_part dv_device_part(const struct dv_device *device, uint32_t n);

/*
 * The walls around memory and around compute of a slice, between it and those who share its device.
 *
 *   exclusive   hardware, both: the edges of the card or of the MIG device.
 *
 *   mps         driver, both, on a whole GPU where the tenant cannot change its limits: an equal
 *               part is the daemon's own default, above which no client gets; a namespace's limits
 *               are the daemon's too, where a layout keeps the GPU for MPS. Else cooperative, both:
 *               the limits of one client are environment variables that its own process sets
 *               (CUDA_MPS_PINNED_DEVICE_MEM_LIMIT, CUDA_MPS_ACTIVE_THREAD_PERCENTAGE), and on a MIG
 *               device a process can stay out of MPS. The driver counts per client process: a
 *               tenant of several has several times the part, where no cgroup limits their sum.
 *
 *   timeslice   memory cooperative where a size was asked for (the governor's), else none: the
 *               driver gives what is free. Compute none: turns are equal, but a tenant has as many
 *               as it has processes.
 *
 *   governed    cooperative, both: the library in the tenant's process.
 *
 * Where the driver limits memory by cgroup, the memory wall of the shared modes is driver on whole
 * GPUs. A MIG device that is shared has the mode's walls inside, hardware's around it.
 * Source: NVIDIA's "Multi-Process Service" (client limits, defaults of the control daemon) and MIG
 * user guide.
 *
 * equal_share: the slice has one of `replicas` equal parts. sized_memory: its claim named a memory
 * size.
 */
void dv_device_walls(const struct dv_gpu *gpu, const struct dv_device *device, enum dv_mode mode,
                     bool equal_share, bool sized_memory, enum dv_wall *ret_memory,
                     enum dv_wall *ret_compute);

#endif
