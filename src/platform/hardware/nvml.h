/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The back end over NVIDIA's management library, loaded at run time by name or path; a simulated
 * node's library is loaded the same way. Functions that a driver lacks are replaced by their older
 * versions; what no version gives stays unknown.
 */
#ifndef DV_HARDWARE_NVML_H
#define DV_HARDWARE_NVML_H

#include "hardware/hardware.h"

/* 0; DV_HARDWARE_MISSING with a message when there is no library or no driver. */
int dv_hardware_nvml_new(const char *library, struct dv_hardware **ret, struct dv_err *err);

#endif
