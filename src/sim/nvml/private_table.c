/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What NVIDIA's own nvidia-smi asks of libnvidia-ml.so.1 beside the public calls: a table of
 * functions, found by a UUID, in which a function's place is its name. NVIDIA does not document it.
 * What is here was learnt from NVIDIA's public mock of this library (k8s-test-infra,
 * pkg/gpu/mocknvml) and by trying nvidia-smi of the drivers 535 and 550 on simulated nodes; what
 * nothing is known of says so.
 */
#include "nvml/handles.h"

#include <string.h>

#define SLOTS 512

enum slot {
    SLOT_SIZE = 0, /* bytes of the table */
    SLOT_IS_PRIMARY = 20,
    SLOT_BY_INDEX = 81,
    SLOT_RESET = 168,
    SLOT_SET_POLICY = 192,
    SLOT_GET_POLICIES = 193,
    SLOT_PROCESSES_COMPUTE = 213,
    SLOT_PROCESSES_MPS = 214,
    SLOT_PROCESSES_GRAPHICS = 215,
    SLOT_HOST_PCIE_GENERATION = 230,
};

struct process {
    uint32_t pid;
    uint32_t reserved0;
    uint64_t used_bytes;
    uint32_t gi, ci;
    uint64_t reserved1;
    char name[4096];
};
_Static_assert(sizeof(struct process) == 4128, "as nvidia-smi lays it out");

#define PROCESSES_MAX 512u

typedef int list_call(struct dv_nvml_device *device, uint32_t *count,
                      struct dv_nvml_process_info *infos);

static int list(list_call *call, struct dv_nvml_device *device, uint32_t *count,
                struct process *ret)
{
    struct dv_nvml_process_info infos[PROCESSES_MAX];
    uint32_t n = PROCESSES_MAX;
    if (!count || !ret)
        return DV_NVML_ERROR_INVALID_ARGUMENT;
    int r = call(device, &n, infos);
    if (r != DV_NVML_SUCCESS)
        return r;
    n = n < *count ? n : *count;
    for (uint32_t i = 0; i < n; i++) {
        memset(&ret[i], 0, sizeof(ret[i]));
        ret[i].pid = infos[i].pid;
        ret[i].used_bytes = infos[i].used_gpu_memory;
        ret[i].gi = infos[i].gpu_instance_id;
        ret[i].ci = infos[i].compute_instance_id;
        nvmlSystemGetProcessName(infos[i].pid, ret[i].name, sizeof(ret[i].name));
    }
    *count = n;
    return DV_NVML_SUCCESS;
}

static int compute(struct dv_nvml_device *device, uint32_t *count, struct process *ret)
{
    return list(nvmlDeviceGetComputeRunningProcesses_v3, device, count, ret);
}

static int graphics(struct dv_nvml_device *device, uint32_t *count, struct process *ret)
{
    return list(nvmlDeviceGetGraphicsRunningProcesses_v3, device, count, ret);
}

static int mps(struct dv_nvml_device *device, uint32_t *count, struct process *ret)
{
    return list(nvmlDeviceGetMPSComputeRunningProcesses_v3, device, count, ret);
}

/* Does it drive the console? No card here does. */
static int is_primary(const struct dv_nvml_device *device, uint32_t *ret)
{
    struct dv_nv_place p;
    int r = dv_nvhandles_device(device, &p);
    if (r == DV_NVML_SUCCESS && ret)
        *ret = 0;
    return r;
}

static int reset(uint32_t count, struct dv_nvml_device *const *devices)
{
    int r = DV_NVML_SUCCESS;
    for (uint32_t i = 0; r == DV_NVML_SUCCESS && devices && i < count && i < DV_SIM_GPUS_MAX; i++)
        r = nvmlDivvySimReset(devices[i]);
    return r;
}

/* nvidia-smi compute-policy knows one policy: 0, the length of turns. */
struct policy {
    uint32_t kind, value;
};

struct policies {
    uint32_t count;
    struct policy policy[1];
};

static int set_policy(struct dv_nvml_device *device, const struct policy *policy)
{
    if (!policy || policy->kind)
        return DV_NVML_ERROR_INVALID_ARGUMENT;
    return nvmlDivvySimSetTimeslice(device, policy->value);
}

static int get_policies(struct dv_nvml_device *device, struct policies *ret)
{
    uint32_t value;
    if (!ret)
        return DV_NVML_ERROR_INVALID_ARGUMENT;
    int r = nvmlDivvySimGetTimeslice(device, &value);
    if (r == DV_NVML_SUCCESS)
        *ret = (struct policies){1, {{0, value}}};
    return r;
}

static int host_pcie_generation(struct dv_nvml_device *device, uint32_t *ret)
{
    return nvmlDeviceGetMaxPcieLinkGeneration(device, ret);
}

/* A place that nothing is known of. A device may be its first argument, then it is not supported;
 * others are for nvidia-smi's own bookkeeping, which gives up when one fails. */
static int unknown(struct dv_nvml_device *device)
{
    struct dv_nv_place p;
    return dv_nvhandles_device(device, &p) == DV_NVML_SUCCESS ? DV_NVML_ERROR_NOT_SUPPORTED
                                                              : DV_NVML_SUCCESS;
}

int nvmlInternalGetExportTable(const void **table, const void *id)
{
    static const unsigned char known[16] = {0xc4, 0xfe, 0x3e, 0x6c, 0xc9, 0x8f, 0x6c, 0x4e,
                                            0xa3, 0x27, 0xee, 0x69, 0x6e, 0x12, 0xf7, 0xc4};
    static void *slots[SLOTS];
    if (!table || !id)
        return DV_NVML_ERROR_INVALID_ARGUMENT;
    if (memcmp(id, known, sizeof(known)) != 0)
        return DV_NVML_ERROR_NOT_FOUND;
    for (size_t i = 1; i < SLOTS; i++)
        slots[i] = (void *)unknown;
    slots[SLOT_SIZE] = (void *)sizeof(slots);
    slots[SLOT_BY_INDEX] = (void *)nvmlDeviceGetHandleByIndex_v2;
    slots[SLOT_IS_PRIMARY] = (void *)is_primary;
    slots[SLOT_RESET] = (void *)reset;
    slots[SLOT_SET_POLICY] = (void *)set_policy;
    slots[SLOT_GET_POLICIES] = (void *)get_policies;
    slots[SLOT_PROCESSES_COMPUTE] = (void *)compute;
    slots[SLOT_PROCESSES_GRAPHICS] = (void *)graphics;
    slots[SLOT_PROCESSES_MPS] = (void *)mps;
    slots[SLOT_HOST_PCIE_GENERATION] = (void *)host_pcie_generation;
    *table = slots;
    return DV_NVML_SUCCESS;
}
