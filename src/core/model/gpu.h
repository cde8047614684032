/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A physical GPU of a node, as its driver described it. Unknown stays unknown: 0, "", or -1 where
 * a field says so.
 */
#ifndef DV_MODEL_GPU_H
#define DV_MODEL_GPU_H

#include "base/err.h"

#include <stdbool.h>

#define DV_UUID_SIZE 96       /* NVML's longest ("MIG-GPU-.../13/0" included), with its NUL */
#define DV_GPU_NAME_SIZE 96   /* NVML_DEVICE_NAME_V2_BUFFER_SIZE */
#define DV_GPU_PCI_SIZE 32    /* "00000000:07:00.0" */
#define DV_GPU_DETAIL_SIZE 96 /* why it is not healthy */
#define DV_GPUS_MAX 64        /* of one node */
#define DV_GPU_FABRIC_SIZE 37 /* a UUID as text */

enum dv_gpu_health {
    DV_GPU_HEALTH_UNKNOWN,
    DV_GPU_HEALTH_OK,
    DV_GPU_HEALTH_DEGRADED, /* works, with a warning: running slices stay, new ones may come */
    DV_GPU_HEALTH_FAILED,   /* nothing new is placed on it */
};

struct dv_gpu {
    uint32_t index; /* NVML's; the key within a node */
    char uuid[DV_UUID_SIZE];
    char model[DV_GPU_NAME_SIZE]; /* product name as NVML prints it */
    char pci_bus_id[DV_GPU_PCI_SIZE];
    uint32_t pci_device_id;      /* 0x20B0 */
    uint32_t pci_subsystem_id;   /* as NVML has it, 0x146310DE; 0: unknown */
    uint32_t pci_class;          /* 0x0302: a 3D controller, 0x0300: VGA; 0: unknown */
    int32_t numa;                /* -1: unknown or none */
    uint32_t cc_major, cc_minor; /* compute capability; 0.0: unknown */
    uint64_t memory_bytes;       /* the whole */
    uint64_t usable_bytes;       /* what tenants can have: less what the driver keeps */
    uint64_t context_bytes;      /* what a context costs; 0: unknown */
    uint32_t sm;
    bool mig_capable;
    bool mig_enabled;
    bool memory_limits;   /* the driver can limit memory by cgroup (r615), not on MIG devices */
    uint32_t mps_clients; /* most clients of one MPS daemon; 0: unknown, or no MPS here */
    bool mps_namespaces;  /* MPS limits by namespace (r615): a tenant cannot change its own */
    /* The NVLink fabric that it has joined and its clique there (IMEX domain); "": none. */
    char fabric_cluster[DV_GPU_FABRIC_SIZE];
    uint32_t fabric_clique;
    bool vgpu; /* this is a virtual GPU, given to a guest */
    enum dv_gpu_health health;
    char health_detail[DV_GPU_DETAIL_SIZE];
};

/* "ok", "degraded", "failed", "unknown". */
const char *dv_gpu_health_name(enum dv_gpu_health health);

/* Does the text name this GPU's model: its product name, or a catalogue name or alias of the same
 * board ("a100")? */
bool dv_gpu_is_model(const struct dv_gpu *gpu, const char *text);

#endif
