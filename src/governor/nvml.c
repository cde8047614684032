/* SPDX-License-Identifier: Apache-2.0 */
/* NVML as a tenant sees it: one device of the slice's size, and the slice's own processes. */
#include "abi_nvml.h"
#include "charge.h"
#include "governor.h"
#include "view.h"
#include "wire.h"

#include <string.h>

static int own_device(void **ret)
{
    return DV_ORIGINAL(nvmlDeviceGetHandleByUUID)(dv_wire_current()->slice->device_uuid, ret);
}

/* True for the slice's device, and for the GPU that a MIG slice is on. */
static bool is_own(void *device)
{
    void *own;
    char a[DV_TENANT_UUID_SIZE];
    if (own_device(&own))
        return false;
    if (own == device)
        return true;
    return !DV_ORIGINAL(nvmlDeviceGetUUID)(device, a, sizeof a) &&
           !strcmp(a, dv_wire_current()->slice->device_uuid);
}

int dv_on_nvml_count(unsigned original, uint32_t *ret_count)
{
    uint32_t count;
    int r = DV_ORIGINAL_AS(nvmlDeviceGetCount_v2, original)(ret_count ? &count : NULL);
    if (!r && ret_count)
        *ret_count = count ? 1 : 0;
    return r;
}

int dv_on_nvml_by_index(unsigned original, uint32_t index, void **ret)
{
    (void)original;
    if (index != 0 || !ret)
        return DV_NVML_ERROR_INVALID_ARGUMENT;
    return own_device(ret);
}

int dv_on_nvml_by_name(unsigned original, const char *name, void **ret)
{
    void *device;
    int r = DV_ORIGINAL_AS(nvmlDeviceGetHandleByUUID, original)(name, ret ? &device : NULL);
    if (r || !ret)
        return r;
    if (!is_own(device))
        return DV_NVML_ERROR_NOT_FOUND;
    *ret = device;
    return 0;
}

int dv_on_nvml_index(unsigned original, void *device, uint32_t *ret_index)
{
    int r = DV_ORIGINAL_AS(nvmlDeviceGetIndex, original)(device, ret_index);
    if (!r && is_own(device))
        *ret_index = 0;
    return r;
}

int dv_on_nvml_memory(unsigned original, void *device, void *ret_info)
{
    struct dv_nvml_memory *m = ret_info;
    int r = DV_ORIGINAL_AS(nvmlDeviceGetMemoryInfo, original)(device, ret_info);
    if (r)
        return r;
    uint64_t used, limit;
    dv_charge_slice(&used, &limit);
    m->total = limit < m->total ? limit : m->total;
    m->used = used < m->total ? used : m->total;
    m->free = m->total - m->used;
    return 0;
}

int dv_on_nvml_memory_v2(unsigned original, void *device, void *ret_info)
{
    struct dv_nvml_memory_v2 *m = ret_info;
    int r = DV_ORIGINAL_AS(nvmlDeviceGetMemoryInfo_v2, original)(device, ret_info);
    if (r)
        return r;
    uint64_t used, limit;
    dv_charge_slice(&used, &limit);
    m->total = limit < m->total ? limit : m->total;
    m->reserved = 0; /* the device's, no part of the slice */
    m->used = used < m->total ? used : m->total;
    m->free = m->total - m->used;
    return 0;
}

/* ---- processes ---- */

#define PROCESSES_MAX 512 /* more than a device has contexts for */

/*
 * Asks for all, keeps the slice's own. `count` says how many fit, and afterwards how many there
 * are; with too little room the answer is INSUFFICIENT_SIZE, as the library has it.
 */
static int own_processes(unsigned original, void *device, uint32_t *count, char *ret, size_t size)
{
    char all[PROCESSES_MAX * sizeof(struct dv_nvml_process_info)];
    uint32_t n = PROCESSES_MAX, found = 0;
    if (!count)
        return DV_NVML_ERROR_INVALID_ARGUMENT;
    int r = DV_ORIGINAL_AS(nvmlDeviceGetComputeRunningProcesses_v3, original)(device, &n, all);
    if (r)
        return r;
    struct dv_wire *l = dv_wire_current();
    for (uint32_t i = 0; i < n && i < PROCESSES_MAX; i++) {
        uint32_t pid;
        memcpy(&pid, all + i * size, sizeof pid);
        if (!dv_wire_own_pid(l, pid))
            continue;
        if (ret && found < *count)
            memcpy(ret + found * size, all + i * size, size);
        found++;
    }
    bool fits = found <= *count && (ret || !found);
    *count = found;
    return fits ? 0 : DV_NVML_ERROR_INSUFFICIENT_SIZE;
}

int dv_on_nvml_processes(unsigned original, void *device, uint32_t *count, void *ret)
{
    return own_processes(original, device, count, ret, sizeof(struct dv_nvml_process_info));
}

int dv_on_nvml_processes_v1(unsigned original, void *device, uint32_t *count, void *ret)
{
    return own_processes(original, device, count, ret, sizeof(struct dv_nvml_process_info_v1));
}

static int initialized; /* by us, once: the first nvmlInit of a process is slow on a real card */

void dv_nvml_forked(void)
{
    initialized = 0;
}

bool dv_view_process_memory(uint64_t *ret_bytes)
{
    struct dv_nvml_process_info all[PROCESSES_MAX];
    uint32_t n = PROCESSES_MAX;
    void *device;
    if (!dv_start_nvml_library())
        return false;
    if (!__atomic_load_n(&initialized, __ATOMIC_ACQUIRE)) {
        if (DV_ORIGINAL(nvmlInit_v2)())
            return false;
        __atomic_store_n(&initialized, 1, __ATOMIC_RELEASE);
    }
    bool found = false;
    if (!own_device(&device) &&
        !DV_ORIGINAL(nvmlDeviceGetComputeRunningProcesses_v3)(device, &n, all))
        for (uint32_t i = 0; i < n && i < PROCESSES_MAX && !found; i++)
            if (all[i].pid == dv_wire_current()->pid && all[i].used_gpu_memory != UINT64_MAX) {
                *ret_bytes = all[i].used_gpu_memory;
                found = true;
            }
    return found;
}
