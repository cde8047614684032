/* SPDX-License-Identifier: Apache-2.0 */
/* The library, and the choice of GPUs. */
#include "smi/smi.h"

#include <dlfcn.h>
#include <stdlib.h>
#include <string.h>

struct dv_smi_nvml dv_smi;

static int not_there(void)
{
    return DV_NVML_ERROR_FUNCTION_NOT_FOUND;
}

static const char *no_text(int result)
{
    return "Unknown Error";
}

static void load(void *library)
{
    void *at = dlsym(library, "nvmlErrorString");
    dv_smi.nvmlErrorString = at ? (__typeof__(dv_smi.nvmlErrorString))at : no_text;
#define NVML_CALL(name, parameters)                                                                \
    at = dlsym(library, #name);                                                                    \
    dv_smi.name = at ? (__typeof__(dv_smi.name))at : (__typeof__(dv_smi.name))(void *)not_there;
#include "abi_nvml_calls.def"
#undef NVML_CALL
    dv_smi.reset = (int (*)(struct dv_nvml_device *))dlsym(library, "nvmlDivvySimReset");
    dv_smi.get_timeslice =
        (int (*)(struct dv_nvml_device *, uint32_t *))dlsym(library, "nvmlDivvySimGetTimeslice");
    dv_smi.set_timeslice =
        (int (*)(struct dv_nvml_device *, uint32_t))dlsym(library, "nvmlDivvySimSetTimeslice");
}

int dv_smi_open(void)
{
    void *library = dlopen(DV_NVML_SONAME, RTLD_NOW);
    if (!library) {
        printf("NVIDIA-SMI couldn't find libnvidia-ml.so library in your system. Please make sure "
               "that the NVIDIA Display Driver is properly installed and present in your system.\n"
               "Please also try adding directory that contains libnvidia-ml.so to your system "
               "PATH.\n");
        return DV_NVML_ERROR_LIBRARY_NOT_FOUND;
    }
    load(library);
    int r = dv_smi.nvmlInit_v2();
    if (r == DV_NVML_ERROR_DRIVER_NOT_LOADED)
        printf("NVIDIA-SMI has failed because it couldn't communicate with the NVIDIA driver. Make "
               "sure that the latest NVIDIA driver is installed and running.\n\n");
    else if (r != DV_NVML_SUCCESS)
        printf("Failed to initialize NVML: %s\n", dv_smi_error(r));
    return r;
}

static int add(struct dv_nvml_device *device, struct dv_smi_gpu *gpu)
{
    struct dv_nvml_pci_info pci = {0};
    *gpu = (struct dv_smi_gpu){.device = device};
    int r = dv_smi.nvmlDeviceGetIndex(device, &gpu->index);
    if (r == DV_NVML_SUCCESS)
        r = dv_smi.nvmlDeviceGetUUID(device, gpu->uuid, sizeof(gpu->uuid));
    if (r == DV_NVML_SUCCESS)
        r = dv_smi.nvmlDeviceGetName(device, gpu->name, sizeof(gpu->name));
    if (r == DV_NVML_SUCCESS)
        r = dv_smi.nvmlDeviceGetPciInfo_v3(device, &pci);
    memcpy(gpu->bus_id, pci.bus_id, sizeof(gpu->bus_id));
    return r;
}

int dv_smi_get(uint32_t index, struct dv_smi_gpu *ret)
{
    struct dv_nvml_device *device;
    int r = dv_smi.nvmlDeviceGetHandleByIndex_v2(index, &device);
    return r == DV_NVML_SUCCESS ? add(device, ret) : r;
}

const char *dv_smi_error(int result)
{
    if (result == DV_NVML_ERROR_GPU_IS_LOST)
        return "GPU is lost.  Reboot the system to recover this GPU\n\n";
    if (result == DV_NVML_ERROR_RESET_REQUIRED)
        return "GPU requires reset";
    if (result == DV_NVML_ERROR_LIB_RM_VERSION_MISMATCH)
        return "Driver/library version mismatch";
    return dv_smi.nvmlErrorString(result);
}

static int unreachable(const char *what, int r)
{
    printf("Unable to determine the device handle for GPU%s: %s\n", what, dv_smi_error(r));
    return r;
}

static int find_all(struct dv_smi_gpu ret[DV_SMI_GPUS_MAX], size_t *ret_n)
{
    uint32_t count = 0;
    int r = dv_smi.nvmlDeviceGetCount_v2(&count);
    if (r != DV_NVML_SUCCESS) {
        printf("Unable to determine the number of GPUs: %s\n", dv_smi.nvmlErrorString(r));
        return r;
    }
    size_t n = 0;
    for (uint32_t i = 0; i < count && n < DV_SMI_GPUS_MAX; i++) {
        char what[16];
        snprintf(what, sizeof(what), "%u", i);
        r = dv_smi_get(i, &ret[n]);
        if (r != DV_NVML_SUCCESS)
            return unreachable(what, r);
        n++;
    }
    *ret_n = n;
    return 0;
}

static int find_one(const char *id, struct dv_smi_gpu *ret)
{
    struct dv_nvml_device *device;
    char *end;
    int r;
    unsigned long index = strtoul(id, &end, 10);
    if (*id && !*end && index < DV_SMI_GPUS_MAX)
        r = dv_smi.nvmlDeviceGetHandleByIndex_v2((uint32_t)index, &device);
    else if (strncmp(id, "GPU-", 4) == 0)
        r = dv_smi.nvmlDeviceGetHandleByUUID(id, &device);
    else if (strchr(id, ':'))
        r = dv_smi.nvmlDeviceGetHandleByPciBusId_v2(id, &device);
    else
        r = dv_smi.nvmlDeviceGetHandleBySerial(id, &device);
    return r == DV_NVML_SUCCESS ? add(device, ret) : r;
}

int dv_smi_find(const char *ids, struct dv_smi_gpu ret[DV_SMI_GPUS_MAX], size_t *ret_n)
{
    int r = 0;
    *ret_n = 0;
    if (!ids) {
        r = find_all(ret, ret_n);
    } else {
        char *copy = strdup(ids), *rest = NULL;
        for (char *id = copy ? strtok_r(copy, ",", &rest) : NULL;
             id && r == 0 && *ret_n < DV_SMI_GPUS_MAX; id = strtok_r(NULL, ",", &rest)) {
            r = find_one(id, &ret[*ret_n]);
            if (r == DV_NVML_SUCCESS)
                ++*ret_n;
            else if (r == DV_NVML_ERROR_GPU_IS_LOST)
                unreachable(id, r);
            else
                r = 0; /* one that is not there is left out, as NVIDIA's does */
        }
        free(copy);
    }
    if (r == 0 && *ret_n == 0) {
        printf("No devices were found\n");
        return DV_NVML_ERROR_NOT_FOUND;
    }
    return r;
}
