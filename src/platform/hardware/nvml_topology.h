/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Where GPUs are and how they are joined, by NVIDIA's management library, for nvml.c. What the
 * library lacks is asked of Linux (pci_sysfs.h) or stays unknown.
 */
#ifndef DV_HARDWARE_NVML_TOPOLOGY_H
#define DV_HARDWARE_NVML_TOPOLOGY_H

#include "abi_nvml.h"
#include "hardware/hardware.h"

struct dv_nvml_topology_calls { /* NULL: this driver has no such call */
    __typeof__(&nvmlDeviceGetPciInfo_v3) pci;
    __typeof__(&nvmlDeviceGetTopologyCommonAncestor) ancestor;
    __typeof__(&nvmlDeviceGetP2PStatus) p2p;
    __typeof__(&nvmlDeviceGetNvLinkState) link_state;
    __typeof__(&nvmlDeviceGetNvLinkRemotePciInfo_v2) link_far_end;
    __typeof__(&nvmlDeviceGetNvLinkRemoteDeviceType) link_far_type;
    __typeof__(&nvmlDeviceGetCpuAffinity) cpus;
    __typeof__(&nvmlDeviceGetMemoryAffinity) memory;
};

void dv_nvml_topology_load(void *library, struct dv_nvml_topology_calls *ret);
/* The NUMA node of the CPUs near to a GPU, or unknown. pci: its address, or "". */
uint32_t dv_nvml_topology_numa(const struct dv_nvml_topology_calls *t, struct dv_nvml_device *d,
                               const char *pci);
/* All that one GPU says of its links; devices: every GPU by index, NULL for one that is lost. */
void dv_nvml_topology_read(const struct dv_nvml_topology_calls *t,
                           struct dv_nvml_device *const *devices, uint32_t n, uint32_t index,
                           struct dv_facts_topology *ret);

#endif
