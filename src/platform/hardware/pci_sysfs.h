/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What Linux knows of a GPU's place in the machine, for drivers that do not say it
 * (Documentation/ABI/testing/sysfs-bus-pci: numa_node, local_cpulist, class, driver).
 *
 *     uint32_t node = dv_pci_sysfs_numa(DV_PCI_SYSFS, "00000000:07:00.0");
 */
#ifndef DV_HARDWARE_PCI_SYSFS_H
#define DV_HARDWARE_PCI_SYSFS_H

#include "hardware/hardware.h"

#define DV_PCI_SYSFS "/sys/bus/pci/devices"

/* The NUMA node of NVIDIA's device at that PCI address (NVML's long form); DV_FACT_UNKNOWN32 where
 * there is none: another maker's device, no NUMA. */
uint32_t dv_pci_sysfs_numa(const char *root, const char *pci);
/* Its CPUs, "0-31,64-95"; "" where they are unknown or too many to list. */
void dv_pci_sysfs_cpus(const char *root, const char *pci, char ret[static DV_FACTS_CPUS]);

/* NVIDIA's GPUs that its driver has, lost or not, as NVML writes their addresses and in its order:
 * how many, at most max. */
size_t dv_pci_sysfs_gpus(const char *root, size_t max, char (*ret)[DV_GPU_PCI_SIZE]);

#endif
