/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What a tenant sees: one device, as large as the slice. The device keeps the driver's own CUdevice
 * number, since that is what every other call takes; it is found by the slice's UUID.
 *
 *     int r = dv_view_check(device);          0, or INVALID_DEVICE: not the slice's
 */
#ifndef DV_GOVERNOR_VIEW_H
#define DV_GOVERNOR_VIEW_H

#include <stdbool.h>
#include <stdint.h>

/* The slice's CUdevice; -1 when the driver does not show it (or cuInit was not called). */
int dv_view_device(void);
/* 0, DV_CUDA_ERROR_INVALID_DEVICE, or DV_CUDA_ERROR_NO_DEVICE. */
int dv_view_check(int device);
/* What the driver holds on the device for this process, from NVML. False: cannot be told. */
bool dv_view_process_memory(uint64_t *ret_bytes);
void dv_view_forked(void);

#endif
