/* SPDX-License-Identifier: Apache-2.0 */
/*
 * GPUs that NVML counts and has no handle of: off the bus since before it was initialised. The
 * documented answer is GPU_IS_LOST; of late it is often no more than UNKNOWN, nvidia-smi's "Unable
 * to determine the device handle for GPU ...: Unknown Error".
 *
 * Their addresses Linux still lists, and NVML numbers GPUs by address (nvidia-smi's manual, "PCI
 * bus ID order"): where as many addresses as indices have no handle, they are the same GPUs in the
 * same order.
 */
#ifndef DV_HARDWARE_NVML_LOST_H
#define DV_HARDWARE_NVML_LOST_H

#include "hardware/hardware.h"

/* Does this answer to the question for a handle say so? */
bool dv_nvml_lost_is(int rc);

struct dv_nvml_lost {
    uint32_t n_gpus, n_places;
    int gpus[DV_FACTS_GPUS_MAX];                    /* NVML's answers by index */
    int places[DV_FACTS_GPUS_MAX];                  /* and by address */
    char names[DV_FACTS_GPUS_MAX][DV_GPU_PCI_SIZE]; /* the addresses (pci_sysfs.h), sorted */
};

/* NULL: it cannot be told, or the GPU has a handle. */
const char *dv_nvml_lost_place(const struct dv_nvml_lost *lost, uint32_t index);

#endif
