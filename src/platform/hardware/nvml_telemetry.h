/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The telemetry part of the NVML back end (nvml.c). Every call is looked up by name and may be
 * missing; what no version of it gives stays unknown. GPM (Hopper and later) compares two samples:
 * the last one of each GPU and GPU instance is kept here, so the first answer has none of its
 * figures.
 *
 * PCIe traffic comes from GPM alone: nvmlDeviceGetPcieThroughput measures for 20 ms in each
 * direction while its caller waits.
 */
#ifndef DV_HARDWARE_NVML_TELEMETRY_H
#define DV_HARDWARE_NVML_TELEMETRY_H

#include "hardware/hardware.h"

struct dv_nvml_device;
struct dv_nvml_telemetry;

/* lib: from dlopen, open for as long as this lives. 0, -ENOMEM. */
int dv_nvml_telemetry_new(void *lib, struct dv_nvml_telemetry **ret);
/* Before nvmlShutdown. */
void dv_nvml_telemetry_free(struct dv_nvml_telemetry *telemetry);
/* Fills in what the driver says; the rest of *ret stays as it is (unknown). */
void dv_nvml_telemetry_read(struct dv_nvml_telemetry *telemetry, uint32_t index,
                            struct dv_nvml_device *device, struct dv_facts_telemetry *ret);

#endif
