/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The accounting of NVIDIA's management library, for nvml.c. Calls answer an enum dv_nvml_return;
 * what the driver's library lacks is FUNCTION_NOT_FOUND.
 */
#ifndef DV_HARDWARE_NVML_ACCOUNTING_H
#define DV_HARDWARE_NVML_ACCOUNTING_H

#include "abi_nvml.h"
#include "hardware/hardware.h"

struct dv_nvml_accounting { /* NULL: this driver has no such call */
    __typeof__(&nvmlDeviceGetAccountingMode) get;
    __typeof__(&nvmlDeviceSetAccountingMode) set;
    __typeof__(&nvmlDeviceGetAccountingStats) stats;
    __typeof__(&nvmlDeviceGetAccountingStats_v2) stats_v2;
};

void dv_nvml_accounting_load(void *library, struct dv_nvml_accounting *ret);
/* 0, 1, or unknown. */
uint32_t dv_nvml_accounting_mode(const struct dv_nvml_accounting *a, struct dv_nvml_device *d);
int dv_nvml_accounting_set(const struct dv_nvml_accounting *a, struct dv_nvml_device *d, bool on);
int dv_nvml_accounting_read(const struct dv_nvml_accounting *a, struct dv_nvml_device *d,
                            uint32_t pid, struct dv_facts_accounted *ret);
/* The driver's figures in ours; now_us is the end of a life that goes on. */
void dv_nvml_accounting_convert(const struct dv_nvml_accounting_stats_v2 *s, uint64_t now_us,
                                struct dv_facts_accounted *ret);

#endif
