/* SPDX-License-Identifier: Apache-2.0 */
#include "nvml/handles.h"

#include <string.h>

static char gpus[DV_SIM_GPUS_MAX];
static char gpu_instances[DV_SIM_GPUS_MAX][DV_NV_GI_IDS];
static char mig_devices[DV_SIM_GPUS_MAX][DV_NV_GI_IDS][DV_NV_CI_IDS];
static char compute_instances[DV_SIM_GPUS_MAX][DV_NV_GI_IDS][DV_NV_CI_IDS];

struct dv_nvml_device *dv_nvhandles_gpu(uint32_t gpu)
{
    return gpu < DV_SIM_GPUS_MAX ? (struct dv_nvml_device *)&gpus[gpu] : NULL;
}

static bool in_tables(uint32_t gpu, uint32_t gi, uint32_t ci)
{
    return gpu < DV_SIM_GPUS_MAX && gi < DV_NV_GI_IDS && ci < DV_NV_CI_IDS;
}

struct dv_nvml_device *dv_nvhandles_mig(uint32_t gpu, uint32_t gi, uint32_t ci)
{
    return in_tables(gpu, gi, ci) ? (struct dv_nvml_device *)&mig_devices[gpu][gi][ci] : NULL;
}

struct dv_nvml_gpu_instance *dv_nvhandles_gi(uint32_t gpu, uint32_t gi)
{
    return in_tables(gpu, gi, 0) ? (struct dv_nvml_gpu_instance *)&gpu_instances[gpu][gi] : NULL;
}

struct dv_nvml_compute_instance *dv_nvhandles_ci(uint32_t gpu, uint32_t gi, uint32_t ci)
{
    return in_tables(gpu, gi, ci)
               ? (struct dv_nvml_compute_instance *)&compute_instances[gpu][gi][ci]
               : NULL;
}

/* The place of p in a table, or -1. */
static long place_in(const void *p, const void *table, size_t size)
{
    uintptr_t offset = (uintptr_t)p - (uintptr_t)table;
    return offset < size ? (long)offset : -1;
}

static struct dv_nv_place split(long at, uint32_t cis)
{
    uint32_t n = (uint32_t)at, gi = n / cis;
    return (struct dv_nv_place){gi / DV_NV_GI_IDS, gi % DV_NV_GI_IDS,
                                cis > 1 ? n % cis : DV_SIM_NVML_NONE};
}

int dv_nvhandles_device(const struct dv_nvml_device *device, struct dv_nv_place *ret)
{
    int r = dv_nvclient_ready();
    if (r != DV_NVML_SUCCESS)
        return r;
    long at = place_in(device, gpus, sizeof(gpus));
    if (at >= 0) {
        *ret = (struct dv_nv_place){(uint32_t)at, DV_SIM_NVML_NONE, DV_SIM_NVML_NONE};
        return DV_NVML_SUCCESS;
    }
    at = place_in(device, mig_devices, sizeof(mig_devices));
    if (at < 0)
        return DV_NVML_ERROR_INVALID_ARGUMENT;
    *ret = split(at, DV_NV_CI_IDS);
    return DV_NVML_SUCCESS;
}

int dv_nvhandles_gpu_instance(const struct dv_nvml_gpu_instance *gi, struct dv_nv_place *ret)
{
    int r = dv_nvclient_ready();
    if (r != DV_NVML_SUCCESS)
        return r;
    long at = place_in(gi, gpu_instances, sizeof(gpu_instances));
    if (at < 0)
        return DV_NVML_ERROR_INVALID_ARGUMENT;
    *ret = split(at, 1);
    return DV_NVML_SUCCESS;
}

int dv_nvhandles_compute_instance(const struct dv_nvml_compute_instance *ci,
                                  struct dv_nv_place *ret)
{
    int r = dv_nvclient_ready();
    if (r != DV_NVML_SUCCESS)
        return r;
    long at = place_in(ci, compute_instances, sizeof(compute_instances));
    if (at < 0)
        return DV_NVML_ERROR_INVALID_ARGUMENT;
    *ret = split(at, DV_NV_CI_IDS);
    return DV_NVML_SUCCESS;
}

int dv_nvhandles_read(const char *function, const struct dv_nvml_device *device,
                      struct dv_sim_nvml_device *ret)
{
    struct dv_nv_place p;
    int r = dv_nvhandles_device(device, &p);
    if (r != DV_NVML_SUCCESS)
        return r;
    struct dv_sim_nvml_request q = dv_nvclient_request(p.gpu, p.gi, p.ci);
    return dv_nvclient_call(function, DV_SIM_NVML_DEVICE, &q, ret, sizeof(*ret), NULL);
}

int dv_nvhandles_read_gpu(const char *function, const struct dv_nvml_device *device,
                          struct dv_sim_nvml_device *ret)
{
    int r = dv_nvhandles_read(function, device, ret);
    return r == DV_NVML_SUCCESS && ret->gi != DV_SIM_NVML_NONE ? DV_NVML_ERROR_NOT_SUPPORTED : r;
}

int dv_nvhandles_check(const char *function, const struct dv_nvml_device *device,
                       struct dv_nv_place *ret)
{
    int r = dv_nvhandles_device(device, ret);
    if (r != DV_NVML_SUCCESS)
        return r;
    struct dv_sim_nvml_request q = dv_nvclient_request(ret->gpu, ret->gi, ret->ci);
    return dv_nvclient_call(function, DV_SIM_NVML_CHECK, &q, NULL, 0, NULL);
}

int dv_nvhandles_text(char *to, uint32_t length, const char *text)
{
    size_t n = strlen(text) + 1;
    if (!to)
        return DV_NVML_ERROR_INVALID_ARGUMENT;
    if (n > length)
        return DV_NVML_ERROR_INSUFFICIENT_SIZE;
    memcpy(to, text, n);
    return DV_NVML_SUCCESS;
}
