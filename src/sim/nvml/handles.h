/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Handles, and what every call does first. A handle is an address in a table that is never read:
 * its place in the table says which device it names. So handles cost nothing, any thread may have
 * them, a foreign pointer is recognized, and an instance that is made anew has its handle back.
 *
 *     struct dv_sim_nvml_device d;
 *     int r = dv_nvhandles_read(__func__, device, &d);
 */
#ifndef DV_SIM_NVML_HANDLES_H
#define DV_SIM_NVML_HANDLES_H

#include "nvml/client.h"

#include <stdbool.h>

#define DV_NV_GI_IDS 64u /* ids of GPU instances are below this */
#define DV_NV_CI_IDS 8u

/* What a handle names; ids are DV_SIM_NVML_NONE where it names no instance. */
struct dv_nv_place {
    uint32_t gpu, gi, ci;
};

/* NULL for ids that no table holds. */
struct dv_nvml_device *dv_nvhandles_gpu(uint32_t gpu);
struct dv_nvml_device *dv_nvhandles_mig(uint32_t gpu, uint32_t gi, uint32_t ci);
struct dv_nvml_gpu_instance *dv_nvhandles_gi(uint32_t gpu, uint32_t gi);
struct dv_nvml_compute_instance *dv_nvhandles_ci(uint32_t gpu, uint32_t gi, uint32_t ci);

/* SUCCESS, INVALID_ARGUMENT for what is not a handle, UNINITIALIZED. */
int dv_nvhandles_device(const struct dv_nvml_device *device, struct dv_nv_place *ret);
int dv_nvhandles_gpu_instance(const struct dv_nvml_gpu_instance *gi, struct dv_nv_place *ret);
int dv_nvhandles_compute_instance(const struct dv_nvml_compute_instance *ci,
                                  struct dv_nv_place *ret);

/* All that the server says of a device. */
int dv_nvhandles_read(const char *function, const struct dv_nvml_device *device,
                      struct dv_sim_nvml_device *ret);
/* The same for calls that the driver has for whole GPUs only: NOT_SUPPORTED for MIG devices. */
int dv_nvhandles_read_gpu(const char *function, const struct dv_nvml_device *device,
                          struct dv_sim_nvml_device *ret);
/* Only: is there such a device, and nothing injected? */
int dv_nvhandles_check(const char *function, const struct dv_nvml_device *device,
                       struct dv_nv_place *ret);

/* Not NVML's, for the stand-in of nvidia-smi, and for NVIDIA's own by private_table.c: a reset, and
 * how long turns are (enum dv_sim_timeslice). */
__attribute__((visibility("default"))) int nvmlDivvySimReset(struct dv_nvml_device *device);
__attribute__((visibility("default"))) int nvmlDivvySimGetTimeslice(struct dv_nvml_device *device,
                                                                    uint32_t *setting);
__attribute__((visibility("default"))) int nvmlDivvySimSetTimeslice(struct dv_nvml_device *device,
                                                                    uint32_t setting);

/* Copies a text for the caller: INSUFFICIENT_SIZE when it does not fit with its NUL. */
int dv_nvhandles_text(char *to, uint32_t length, const char *text);

/* int f(device, uint32_t *ret): `value` of a struct dv_sim_nvml_device d, where `has` holds. */
#define DV_NV_U32(function, read, has, value)                                                      \
    int function(struct dv_nvml_device *device, uint32_t *ret)                                     \
    {                                                                                              \
        struct dv_sim_nvml_device d;                                                               \
        if (!ret)                                                                                  \
            return DV_NVML_ERROR_INVALID_ARGUMENT;                                                 \
        int r = read(#function, device, &d);                                                       \
        if (r != DV_NVML_SUCCESS)                                                                  \
            return r;                                                                              \
        if (!(has))                                                                                \
            return DV_NVML_ERROR_NOT_SUPPORTED;                                                    \
        *ret = (value);                                                                            \
        return DV_NVML_SUCCESS;                                                                    \
    }
#define DV_NV_ANY dv_nvhandles_read
#define DV_NV_GPU dv_nvhandles_read_gpu

#endif
