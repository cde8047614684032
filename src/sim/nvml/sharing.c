/* SPDX-License-Identifier: Apache-2.0 */
/* What an administrator sets for who shares a GPU: memory limits by cgroup, the length of turns. */
#include "nvml/handles.h"

#include <stdlib.h>
#include <string.h>

/* ---- memory limits: drivers from 615 on ---- */

#define LIMITS_DRIVER 615

/* A library exports the same names whatever the node's driver is: an older one says that it does
 * not know the function. */
static int limits_gpu(const struct dv_nvml_device *device, struct dv_nv_place *ret)
{
    int r = dv_nvhandles_device(device, ret);
    if (r != DV_NVML_SUCCESS)
        return r;
    if (strtol(dv_nvclient_node()->driver_version, NULL, 10) < LIMITS_DRIVER)
        return DV_NVML_ERROR_FUNCTION_NOT_FOUND;
    return ret->gi != DV_SIM_NVML_NONE ? DV_NVML_ERROR_NOT_SUPPORTED : DV_NVML_SUCCESS;
}

static int ask(const char *function, enum dv_sim_nvml_op op, const struct dv_nv_place *p,
               const char *cgroup, struct dv_sim_nvml_limits *limits, size_t answer)
{
    struct dv_sim_nvml_request q = dv_nvclient_request(p->gpu, p->gi, p->ci);
    size_t length = cgroup ? strlen(cgroup) : 0;
    if (!length || length >= sizeof(limits->cgroup))
        return DV_NVML_ERROR_INVALID_ARGUMENT;
    memcpy(limits->cgroup, cgroup, length);
    return dv_nvclient_call_more(function, op, &q, limits, sizeof(*limits), answer ? limits : NULL,
                                 answer, NULL);
}

int nvmlDeviceSetMemoryLimits_v1(struct dv_nvml_device *device,
                                 const struct dv_nvml_set_memory_limits *limits)
{
    struct dv_nv_place p;
    int r = limits_gpu(device, &p);
    if (r != DV_NVML_SUCCESS)
        return r;
    if (!limits)
        return DV_NVML_ERROR_INVALID_ARGUMENT;
    struct dv_sim_nvml_limits l = {.soft_bytes = limits->soft, .hard_bytes = limits->hard};
    return ask(__func__, DV_SIM_NVML_LIMITS_SET, &p, limits->cgroup, &l, 0);
}

int nvmlDeviceGetMemoryLimits_v1(struct dv_nvml_device *device,
                                 struct dv_nvml_get_memory_limits *limits)
{
    struct dv_nv_place p;
    struct dv_sim_nvml_limits l = {0};
    int r = limits_gpu(device, &p);
    if (r != DV_NVML_SUCCESS)
        return r;
    if (!limits)
        return DV_NVML_ERROR_INVALID_ARGUMENT;
    r = ask(__func__, DV_SIM_NVML_LIMITS_GET, &p, limits->cgroup, &l, sizeof(l));
    if (r != DV_NVML_SUCCESS)
        return r;
    limits->soft = l.soft_bytes;
    limits->hard = l.hard_bytes;
    limits->current = l.used_bytes;
    return DV_NVML_SUCCESS;
}

/* ---- turns. Not NVML's: NVIDIA's nvidia-smi has a private way. For the stand-in of it. ---- */

int nvmlDivvySimGetTimeslice(struct dv_nvml_device *device, uint32_t *setting)
{
    struct dv_sim_nvml_device d;
    int r = dv_nvhandles_read_gpu(__func__, device, &d);
    if (r != DV_NVML_SUCCESS)
        return r;
    if (!setting)
        return DV_NVML_ERROR_INVALID_ARGUMENT;
    if (d.cc_major < 7)
        return DV_NVML_ERROR_NOT_SUPPORTED;
    *setting = d.timeslice;
    return DV_NVML_SUCCESS;
}

int nvmlDivvySimSetTimeslice(struct dv_nvml_device *device, uint32_t setting)
{
    struct dv_nv_place p;
    int r = dv_nvhandles_device(device, &p);
    if (r != DV_NVML_SUCCESS)
        return r;
    if (p.gi != DV_SIM_NVML_NONE)
        return DV_NVML_ERROR_NOT_SUPPORTED;
    struct dv_sim_nvml_request q = dv_nvclient_request(p.gpu, p.gi, p.ci);
    q.a = DV_SIM_NVML_TIMESLICE;
    q.value = setting;
    return dv_nvclient_call(__func__, DV_SIM_NVML_SET, &q, NULL, 0, NULL);
}
