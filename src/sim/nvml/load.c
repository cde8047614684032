/* SPDX-License-Identifier: Apache-2.0 */
/* Memory, utilization and processes. */
#include "nvml/handles.h"

#include <stdlib.h>
#include <string.h>

#define PROCESSES_MAX 512u
#define SAMPLES_MAX 512u
#define SAMPLE_PERIOD_US 166667u /* how often the server takes a sample */

static uint32_t percent(uint32_t permille)
{
    return (permille + 5) / 10;
}

int nvmlDeviceGetMemoryInfo(struct dv_nvml_device *device, struct dv_nvml_memory *memory)
{
    struct dv_sim_nvml_device d;
    int r = dv_nvhandles_read(__func__, device, &d);
    if (r != DV_NVML_SUCCESS)
        return r;
    if (!memory)
        return DV_NVML_ERROR_INVALID_ARGUMENT;
    memory->total = d.memory_total_bytes;
    memory->used = d.memory_used_bytes + d.memory_reserved_bytes;
    memory->free = memory->total - memory->used;
    return DV_NVML_SUCCESS;
}

int nvmlDeviceGetMemoryInfo_v2(struct dv_nvml_device *device, struct dv_nvml_memory_v2 *memory)
{
    struct dv_sim_nvml_device d;
    int r = dv_nvhandles_read(__func__, device, &d);
    if (r != DV_NVML_SUCCESS)
        return r;
    if (!memory)
        return DV_NVML_ERROR_INVALID_ARGUMENT;
    if (memory->version != DV_NVML_VERSION(dv_nvml_memory_v2, 2))
        return DV_NVML_ERROR_ARGUMENT_VERSION_MISMATCH;
    memory->total = d.memory_total_bytes;
    memory->reserved = d.memory_reserved_bytes;
    memory->used = d.memory_used_bytes;
    memory->free = memory->total - memory->reserved - memory->used;
    return DV_NVML_SUCCESS;
}

int nvmlDeviceGetBAR1MemoryInfo(struct dv_nvml_device *device, struct dv_nvml_bar1_memory *memory)
{
    struct dv_sim_nvml_device d;
    int r = dv_nvhandles_read(__func__, device, &d);
    if (r != DV_NVML_SUCCESS)
        return r;
    if (!memory)
        return DV_NVML_ERROR_INVALID_ARGUMENT;
    memory->total = d.bar1_total_bytes;
    memory->used = d.gi == DV_SIM_NVML_NONE ? 1 << 20 : 0;
    memory->free = memory->total - memory->used;
    return DV_NVML_SUCCESS;
}

/* ---- utilization ------------------------------------------------------------------------------
 */

/* Of whole GPUs out of MIG mode only: the driver has no such figures under MIG. */
static int read_utilization(const char *function, struct dv_nvml_device *device,
                            struct dv_sim_nvml_device *d)
{
    int r = dv_nvhandles_read_gpu(function, device, d);
    return r == DV_NVML_SUCCESS && d->mig_current ? DV_NVML_ERROR_NOT_SUPPORTED : r;
}

int nvmlDeviceGetUtilizationRates(struct dv_nvml_device *device,
                                  struct dv_nvml_utilization *utilization)
{
    struct dv_sim_nvml_device d;
    int r = read_utilization(__func__, device, &d);
    if (r != DV_NVML_SUCCESS)
        return r;
    if (!utilization)
        return DV_NVML_ERROR_INVALID_ARGUMENT;
    utilization->gpu = percent(d.busy_permille);
    utilization->memory = percent(d.memory_busy_permille);
    return DV_NVML_SUCCESS;
}

static int media(const char *function, struct dv_nvml_device *device, bool needs_ampere,
                 uint32_t *value, uint32_t *period_us)
{
    struct dv_sim_nvml_device d;
    int r = read_utilization(function, device, &d);
    if (r != DV_NVML_SUCCESS)
        return r;
    if (!value || !period_us)
        return DV_NVML_ERROR_INVALID_ARGUMENT;
    if (needs_ampere && d.architecture < DV_NVML_ARCH_AMPERE)
        return DV_NVML_ERROR_NOT_SUPPORTED;
    *value = 0; /* no media engine is simulated */
    *period_us = SAMPLE_PERIOD_US;
    return DV_NVML_SUCCESS;
}

int nvmlDeviceGetEncoderUtilization(struct dv_nvml_device *device, uint32_t *value,
                                    uint32_t *period_us)
{
    return media(__func__, device, false, value, period_us);
}

int nvmlDeviceGetDecoderUtilization(struct dv_nvml_device *device, uint32_t *value,
                                    uint32_t *period_us)
{
    return media(__func__, device, false, value, period_us);
}

int nvmlDeviceGetJpgUtilization(struct dv_nvml_device *device, uint32_t *value, uint32_t *period_us)
{
    return media(__func__, device, true, value, period_us);
}

int nvmlDeviceGetOfaUtilization(struct dv_nvml_device *device, uint32_t *value, uint32_t *period_us)
{
    return media(__func__, device, true, value, period_us);
}

int nvmlDeviceGetEncoderStats(struct dv_nvml_device *device, uint32_t *sessions,
                              uint32_t *average_fps, uint32_t *average_latency)
{
    struct dv_nv_place p;
    int r = dv_nvhandles_check(__func__, device, &p);
    if (r != DV_NVML_SUCCESS)
        return r;
    if (!sessions || !average_fps || !average_latency)
        return DV_NVML_ERROR_INVALID_ARGUMENT;
    *sessions = *average_fps = *average_latency = 0;
    return DV_NVML_SUCCESS;
}

int nvmlDeviceGetFBCStats(struct dv_nvml_device *device, uint32_t stats[3])
{
    struct dv_nv_place p;
    int r = dv_nvhandles_check(__func__, device, &p);
    if (r != DV_NVML_SUCCESS)
        return r;
    if (!stats)
        return DV_NVML_ERROR_INVALID_ARGUMENT;
    memset(stats, 0, 3 * sizeof(stats[0]));
    return DV_NVML_SUCCESS;
}

static int none(const char *function, struct dv_nvml_device *device, uint32_t *count)
{
    struct dv_nv_place p;
    int r = dv_nvhandles_check(function, device, &p);
    if (r != DV_NVML_SUCCESS)
        return r;
    if (!count)
        return DV_NVML_ERROR_INVALID_ARGUMENT;
    *count = 0;
    return DV_NVML_SUCCESS;
}

int nvmlDeviceGetEncoderSessions(struct dv_nvml_device *device, uint32_t *count, void *sessions)
{
    return none(__func__, device, count);
}

int nvmlDeviceGetFBCSessions(struct dv_nvml_device *device, uint32_t *count, void *sessions)
{
    return none(__func__, device, count);
}

int nvmlDeviceGetEncoderCapacity(struct dv_nvml_device *device, uint32_t codec, uint32_t *value)
{
    int r = none(__func__, device, value);
    if (r == DV_NVML_SUCCESS)
        *value = 100;
    return r;
}

/* ---- samples ----------------------------------------------------------------------------------
 */

static int fetch_samples(const char *function, enum dv_sim_nvml_op op, uint32_t gpu,
                         uint64_t last_seen_us, struct dv_sim_nvml_sample **ret, uint32_t *ret_n)
{
    struct dv_sim_nvml_request q = dv_nvclient_request(gpu, DV_SIM_NVML_NONE, DV_SIM_NVML_NONE);
    size_t size = SAMPLES_MAX * sizeof(struct dv_sim_nvml_sample);
    struct dv_sim_nvml_sample *s = malloc(size);
    if (!s)
        return DV_NVML_ERROR_MEMORY;
    q.value = last_seen_us;
    int r = dv_nvclient_call(function, op, &q, s, size, &size);
    if (r != DV_NVML_SUCCESS) {
        free(s);
        return r;
    }
    *ret = s;
    *ret_n = (uint32_t)(size / sizeof(*s));
    return DV_NVML_SUCCESS;
}

static uint32_t sample_value(uint32_t type, const struct dv_sim_nvml_sample *s,
                             const struct dv_sim_nvml_device *d)
{
    switch (type) {
    case DV_NVML_SAMPLES_GPU_UTILIZATION:
        return percent(s->busy_permille);
    case DV_NVML_SAMPLES_MEMORY_UTILIZATION:
        return percent(s->memory_busy_permille);
    case DV_NVML_SAMPLES_PROCESSOR_CLOCK:
        return d->clock_sm_mhz;
    case DV_NVML_SAMPLES_MEMORY_CLOCK:
        return d->clock_memory_mhz;
    case DV_NVML_SAMPLES_TOTAL_POWER:
        return d->power_mw;
    default:
        return 0;
    }
}

int nvmlDeviceGetSamples(struct dv_nvml_device *device, uint32_t type, uint64_t last_seen_us,
                         uint32_t *value_type, uint32_t *count, struct dv_nvml_sample *samples)
{
    struct dv_sim_nvml_device d;
    struct dv_sim_nvml_sample *s;
    uint32_t n;
    int r = read_utilization(__func__, device, &d);
    if (r != DV_NVML_SUCCESS)
        return r;
    if (!value_type || !count || type > DV_NVML_SAMPLES_MEMORY_CLOCK)
        return DV_NVML_ERROR_INVALID_ARGUMENT;
    r = fetch_samples(__func__, DV_SIM_NVML_SAMPLES, d.gpu, last_seen_us, &s, &n);
    if (r != DV_NVML_SUCCESS)
        return r;
    *value_type = DV_NVML_VALUE_UNSIGNED_INT;
    for (uint32_t i = 0; samples && i < n && i < *count; i++) {
        samples[i].timestamp_us = s[i].time_us;
        samples[i].value.u64 = 0;
        samples[i].value.u32 = sample_value(type, &s[i], &d);
    }
    r = samples && n > *count ? DV_NVML_ERROR_INSUFFICIENT_SIZE : DV_NVML_SUCCESS;
    *count = n;
    free(s);
    return r;
}

static int process_samples(const char *function, struct dv_nvml_device *device,
                           uint64_t last_seen_us, struct dv_sim_nvml_sample **ret, uint32_t *ret_n)
{
    struct dv_nv_place p;
    int r = dv_nvhandles_device(device, &p);
    if (r != DV_NVML_SUCCESS)
        return r;
    if (p.gi != DV_SIM_NVML_NONE)
        return DV_NVML_ERROR_NOT_SUPPORTED;
    return fetch_samples(function, DV_SIM_NVML_PROCESS_SAMPLES, p.gpu, last_seen_us, ret, ret_n);
}

int nvmlDeviceGetProcessUtilization(struct dv_nvml_device *device,
                                    struct dv_nvml_process_sample *samples, uint32_t *count,
                                    uint64_t last_seen_us)
{
    struct dv_sim_nvml_sample *s;
    uint32_t n;
    if (!count)
        return DV_NVML_ERROR_INVALID_ARGUMENT;
    int r = process_samples(__func__, device, last_seen_us, &s, &n);
    if (r != DV_NVML_SUCCESS) {
        if (r == DV_NVML_ERROR_NOT_FOUND)
            *count = 0;
        return r;
    }
    for (uint32_t i = 0; samples && i < n && i < *count; i++)
        samples[i] = (struct dv_nvml_process_sample){.pid = s[i].pid,
                                                     .timestamp_us = s[i].time_us,
                                                     .sm = percent(s[i].busy_permille),
                                                     .memory = percent(s[i].memory_busy_permille)};
    r = !samples || n > *count ? DV_NVML_ERROR_INSUFFICIENT_SIZE : DV_NVML_SUCCESS;
    *count = n;
    free(s);
    return r;
}

int nvmlDeviceGetProcessesUtilizationInfo(struct dv_nvml_device *device,
                                          struct dv_nvml_processes_utilization *info)
{
    struct dv_sim_nvml_sample *s;
    uint32_t n;
    if (!info)
        return DV_NVML_ERROR_INVALID_ARGUMENT;
    if (info->version != DV_NVML_VERSION(dv_nvml_processes_utilization, 1))
        return DV_NVML_ERROR_ARGUMENT_VERSION_MISMATCH;
    int r = process_samples(__func__, device, info->last_seen_us, &s, &n);
    if (r != DV_NVML_SUCCESS)
        return r;
    for (uint32_t i = 0; info->processes && i < n && i < info->count; i++)
        info->processes[i] =
            (struct dv_nvml_process_utilization){.pid = s[i].pid,
                                                 .timestamp_us = s[i].time_us,
                                                 .sm = percent(s[i].busy_permille),
                                                 .memory = percent(s[i].memory_busy_permille)};
    r = !info->processes || n > info->count ? DV_NVML_ERROR_INSUFFICIENT_SIZE : DV_NVML_SUCCESS;
    info->count = n;
    free(s);
    return r;
}

/* ---- running processes ------------------------------------------------------------------------
 */

/* Clients of an MPS server are in the list of MPS and in that of compute processes, where the
 * server itself is too: NVIDIA's nvidia-smi (535) shows what is in the second, M+C for what is in
 * both, and nothing of a process that is in the first alone. Nothing here draws. */
static bool is_listed(const struct dv_sim_nvml_process *p, enum dv_nvml_process_mode mode)
{
    return mode == DV_NVML_PROCESS_COMPUTE ||
           (mode == DV_NVML_PROCESS_MPS && p->mps == DV_SIM_MPS_IS_CLIENT);
}

/* A caller's list is a count and records of `stride` bytes, which begin alike. */
static int running(const char *function, struct dv_nvml_device *device,
                   enum dv_nvml_process_mode mode, uint32_t *count, void *list, size_t stride)
{
    struct dv_nv_place p;
    int r = dv_nvhandles_device(device, &p);
    if (r != DV_NVML_SUCCESS)
        return r;
    if (!count)
        return DV_NVML_ERROR_INVALID_ARGUMENT;
    struct dv_sim_nvml_request q = dv_nvclient_request(p.gpu, p.gi, p.ci);
    size_t size = PROCESSES_MAX * sizeof(struct dv_sim_nvml_process);
    struct dv_sim_nvml_process *all = malloc(size);
    if (!all)
        return DV_NVML_ERROR_MEMORY;
    r = dv_nvclient_call(function, DV_SIM_NVML_PROCESSES, &q, all, size, &size);
    uint32_t n = 0, room = list ? *count : 0;
    for (uint32_t i = 0; r == DV_NVML_SUCCESS && i < size / sizeof(*all); i++) {
        struct dv_nvml_process_detail row = {.pid = all[i].pid,
                                             .used_gpu_memory = all[i].used_bytes,
                                             .gpu_instance_id = all[i].gi,
                                             .compute_instance_id = all[i].ci};
        if (!is_listed(&all[i], mode))
            continue;
        if (n < room)
            memcpy((char *)list + n * stride, &row, stride);
        n++;
    }
    free(all);
    if (r != DV_NVML_SUCCESS)
        return r;
    *count = n;
    return n > room ? DV_NVML_ERROR_INSUFFICIENT_SIZE : DV_NVML_SUCCESS;
}

#define DV_NV_RUNNING(function, mode, type)                                                        \
    int function(struct dv_nvml_device *device, uint32_t *count, struct type *processes)           \
    {                                                                                              \
        return running(__func__, device, DV_NVML_PROCESS_##mode, count, processes,                 \
                       sizeof(*processes));                                                        \
    }

DV_NV_RUNNING(nvmlDeviceGetComputeRunningProcesses, COMPUTE, dv_nvml_process_info_v1)
DV_NV_RUNNING(nvmlDeviceGetComputeRunningProcesses_v2, COMPUTE, dv_nvml_process_info)
DV_NV_RUNNING(nvmlDeviceGetComputeRunningProcesses_v3, COMPUTE, dv_nvml_process_info)
DV_NV_RUNNING(nvmlDeviceGetGraphicsRunningProcesses, GRAPHICS, dv_nvml_process_info_v1)
DV_NV_RUNNING(nvmlDeviceGetGraphicsRunningProcesses_v2, GRAPHICS, dv_nvml_process_info)
DV_NV_RUNNING(nvmlDeviceGetGraphicsRunningProcesses_v3, GRAPHICS, dv_nvml_process_info)
DV_NV_RUNNING(nvmlDeviceGetMPSComputeRunningProcesses, MPS, dv_nvml_process_info_v1)
DV_NV_RUNNING(nvmlDeviceGetMPSComputeRunningProcesses_v2, MPS, dv_nvml_process_info)
DV_NV_RUNNING(nvmlDeviceGetMPSComputeRunningProcesses_v3, MPS, dv_nvml_process_info)

int nvmlDeviceGetRunningProcessDetailList(struct dv_nvml_device *device,
                                          struct dv_nvml_process_detail_list *list)
{
    if (!list)
        return DV_NVML_ERROR_INVALID_ARGUMENT;
    if (list->version != DV_NVML_VERSION(dv_nvml_process_detail_list, 1))
        return DV_NVML_ERROR_ARGUMENT_VERSION_MISMATCH;
    if (list->mode > DV_NVML_PROCESS_MPS)
        return DV_NVML_ERROR_INVALID_ARGUMENT;
    return running(__func__, device, (enum dv_nvml_process_mode)list->mode, &list->count,
                   list->processes, sizeof(*list->processes));
}
