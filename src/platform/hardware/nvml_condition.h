/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What NVIDIA's management library says of a GPU's condition and its surroundings, for nvml.c:
 * memory errors and what waits for a reset because of them, links, the PCI class, the fabric. Each
 * figure by itself: what this driver or this GPU cannot say is unknown.
 */
#ifndef DV_HARDWARE_NVML_CONDITION_H
#define DV_HARDWARE_NVML_CONDITION_H

#include "abi_nvml.h"
#include "hardware/hardware.h"

struct dv_nvml_condition { /* NULL: this driver has no such call */
    __typeof__(&nvmlDeviceGetRemappedRows) remapped;
    __typeof__(&nvmlDeviceGetRetiredPagesPendingStatus) retired;
    __typeof__(&nvmlDeviceGetTotalEccErrors) ecc;
    __typeof__(&nvmlDeviceGetTotalEnergyConsumption) energy;
    __typeof__(&nvmlDeviceGetNvLinkState) link;
    __typeof__(&nvmlDeviceGetPciInfoExt) pci;
    __typeof__(&nvmlDeviceGetVirtualizationMode) virtualization;
    int (*fabric)(struct dv_nvml_device *device, struct dv_nvml_fabric *ret);
    int (*fabric_v)(struct dv_nvml_device *device, struct dv_nvml_fabric_v *ret);
};

void dv_nvml_condition_load(void *library, struct dv_nvml_condition *ret);
/* All of these figures unknown. */
void dv_nvml_condition_forget(struct dv_facts_gpu *f);
/* Unknown stays what it was. */
void dv_nvml_condition_energy(const struct dv_nvml_condition *c, struct dv_nvml_device *d,
                              uint64_t *ret_mj);
/* f->pci is known already, for machines whose driver does not tell the class: the kernel does. */
void dv_nvml_condition_read(const struct dv_nvml_condition *c, struct dv_nvml_device *d,
                            struct dv_facts_gpu *f);

#endif
