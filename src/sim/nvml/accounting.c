/* SPDX-License-Identifier: Apache-2.0 */
/* Accounting mode: what each process has used of a GPU in its whole life, also after its end. */
#include "nvml/handles.h"

#include <stdlib.h>
#include <string.h>

#define PIDS 4000u    /* the driver's figure; the server keeps as many */
#define V2_DRIVER 610 /* the first driver with the second form of the figures */
#define PERCENT 100u  /* hundredths of a percent in a percent */

_Static_assert(PIDS * sizeof(uint32_t) <= DV_SIM_PAYLOAD_MAX, "one reply");

/* A whole GPU: MIG devices have no accounting. */
static int whole(const struct dv_nvml_device *device, struct dv_nv_place *ret)
{
    int r = dv_nvhandles_device(device, ret);
    return r == DV_NVML_SUCCESS && ret->gi != DV_SIM_NVML_NONE ? DV_NVML_ERROR_NOT_SUPPORTED : r;
}

DV_NV_U32(nvmlDeviceGetAccountingMode, DV_NV_GPU, true, d.accounting)

int nvmlDeviceSetAccountingMode(struct dv_nvml_device *device, uint32_t mode)
{
    struct dv_nv_place p;
    int r = whole(device, &p);
    if (r != DV_NVML_SUCCESS)
        return r;
    struct dv_sim_nvml_request q = dv_nvclient_request(p.gpu, p.gi, p.ci);
    q.a = DV_SIM_NVML_ACCOUNTING;
    q.value = mode;
    return dv_nvclient_call(__func__, DV_SIM_NVML_SET, &q, NULL, 0, NULL);
}

DV_NV_U32(nvmlDeviceGetAccountingBufferSize, DV_NV_GPU, true, PIDS)

int nvmlDeviceGetAccountingPids(struct dv_nvml_device *device, uint32_t *count, uint32_t *pids)
{
    struct dv_nv_place p;
    int r = whole(device, &p);
    if (r != DV_NVML_SUCCESS)
        return r;
    if (!count)
        return DV_NVML_ERROR_INVALID_ARGUMENT;
    struct dv_sim_nvml_request q = dv_nvclient_request(p.gpu, p.gi, p.ci);
    size_t size = PIDS * sizeof(uint32_t);
    uint32_t *all = malloc(size);
    if (!all)
        return DV_NVML_ERROR_MEMORY;
    r = dv_nvclient_call(__func__, DV_SIM_NVML_ACCOUNTING_PIDS, &q, all, size, &size);
    if (r == DV_NVML_SUCCESS) {
        uint32_t n = (uint32_t)(size / sizeof(*all)), room = pids ? *count : 0;
        if (n > room)
            r = DV_NVML_ERROR_INSUFFICIENT_SIZE;
        else if (n)
            memcpy(pids, all, size);
        *count = n;
    }
    free(all);
    return r;
}

static int read_stats(const char *function, struct dv_nvml_device *device, uint32_t pid,
                      struct dv_sim_nvml_accounted *ret)
{
    struct dv_nv_place p;
    int r = whole(device, &p);
    if (r != DV_NVML_SUCCESS)
        return r;
    struct dv_sim_nvml_request q = dv_nvclient_request(p.gpu, p.gi, p.ci);
    q.a = pid;
    return dv_nvclient_call(function, DV_SIM_NVML_ACCOUNTING_STATS, &q, ret, sizeof(*ret), NULL);
}

/* Rounded down twice, as the driver does. */
static uint32_t mean(uint64_t sum, uint32_t samples)
{
    return (uint32_t)(sum / samples / PERCENT);
}

int nvmlDeviceGetAccountingStats(struct dv_nvml_device *device, uint32_t pid,
                                 struct dv_nvml_accounting_stats *stats)
{
    struct dv_sim_nvml_accounted a;
    if (!stats)
        return DV_NVML_ERROR_INVALID_ARGUMENT;
    int r = read_stats(__func__, device, pid, &a);
    if (r != DV_NVML_SUCCESS)
        return r;
    *stats = (struct dv_nvml_accounting_stats){.gpu_utilization = mean(a.sum_gpu, a.samples),
                                               .memory_utilization = mean(a.sum_memory, a.samples),
                                               .max_memory_usage = a.memory_high_water_bytes,
                                               .time_ms = a.time_ms,
                                               .start_time_us = a.started_us,
                                               .is_running = a.running};
    return DV_NVML_SUCCESS;
}

int nvmlDeviceGetAccountingStats_v2(struct dv_nvml_device *device,
                                    struct dv_nvml_accounting_stats_v2 *stats)
{
    struct dv_sim_nvml_accounted a;
    int r = dv_nvclient_ready();
    if (r != DV_NVML_SUCCESS)
        return r;
    if (strtol(dv_nvclient_node()->driver_version, NULL, 10) < V2_DRIVER)
        return DV_NVML_ERROR_FUNCTION_NOT_FOUND;
    if (!stats)
        return DV_NVML_ERROR_INVALID_ARGUMENT;
    r = read_stats(__func__, device, stats->pid, &a);
    if (r != DV_NVML_SUCCESS)
        return r;
    *stats =
        (struct dv_nvml_accounting_stats_v2){.pid = a.pid,
                                             .is_running = a.running,
                                             .gpu_utilization = mean(a.sum_gpu, a.samples),
                                             .memory_utilization = mean(a.sum_memory, a.samples),
                                             .max_memory_usage = a.memory_high_water_bytes,
                                             .sample_count = a.samples,
                                             .sum_gpu_util = a.sum_gpu,
                                             .sum_fb_util = a.sum_memory,
                                             .time_ms = a.time_ms,
                                             .start_time_us = a.started_us};
    return DV_NVML_SUCCESS;
}

int nvmlDeviceClearAccountingPids(struct dv_nvml_device *device)
{
    struct dv_nv_place p;
    int r = whole(device, &p);
    if (r != DV_NVML_SUCCESS)
        return r;
    struct dv_sim_nvml_request q = dv_nvclient_request(p.gpu, p.gi, p.ci);
    return dv_nvclient_call(__func__, DV_SIM_NVML_ACCOUNTING_CLEAR, &q, NULL, 0, NULL);
}
