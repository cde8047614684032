/* SPDX-License-Identifier: Apache-2.0 */
/*
 * An NVML of an old driver for tests: one GPU, only first versions of the calls. Environment:
 * FAKE_NVML_HANG names a file; while it exists, reading memory does not return.
 * FAKE_NVML_CRASH likewise, and reading memory kills the process.
 */
#include "abi_nvml.h"

#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

static int exists(const char *variable)
{
    const char *path = getenv(variable);
    return path && access(path, F_OK) == 0;
}

int nvmlInit(void)
{
    return DV_NVML_SUCCESS;
}

int nvmlShutdown(void)
{
    return DV_NVML_SUCCESS;
}

int nvmlDeviceGetCount(uint32_t *count)
{
    *count = 1;
    return DV_NVML_SUCCESS;
}

int nvmlDeviceGetHandleByIndex(uint32_t index, struct dv_nvml_device **device)
{
    static int gpu;
    if (index)
        return DV_NVML_ERROR_INVALID_ARGUMENT;
    *device = (struct dv_nvml_device *)(void *)&gpu;
    return DV_NVML_SUCCESS;
}

int nvmlDeviceGetUUID(struct dv_nvml_device *device, char *uuid, uint32_t length)
{
    strncpy(uuid, "GPU-fake", length);
    return DV_NVML_SUCCESS;
}

int nvmlDeviceGetMemoryInfo(struct dv_nvml_device *device, struct dv_nvml_memory *memory)
{
    if (exists("FAKE_NVML_CRASH"))
        kill(getpid(), SIGKILL);
    while (exists("FAKE_NVML_HANG"))
        usleep(10000);
    *memory = (struct dv_nvml_memory){1000, 400, 600};
    return DV_NVML_SUCCESS;
}

int nvmlDeviceGetComputeRunningProcesses(struct dv_nvml_device *device, uint32_t *count,
                                         struct dv_nvml_process_info_v1 *processes)
{
    if (*count < 1)
        return DV_NVML_ERROR_INSUFFICIENT_SIZE;
    *count = 1;
    processes[0] = (struct dv_nvml_process_info_v1){77, 500};
    return DV_NVML_SUCCESS;
}
