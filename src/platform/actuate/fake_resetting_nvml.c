/* SPDX-License-Identifier: Apache-2.0 */
/*
 * An NVML for tests whose one GPU changes MIG mode only by a reset. Its state is a file,
 * $FAKE_GPU_STATE, of two digits: the mode now and the pending one; $FAKE_GPU_STATE.open is there
 * while the library is initialised, as a GPU cannot be reset that somebody has open.
 */
#include "abi_nvml.h"

#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

static int gpu;

static void open_marker(char *path, size_t size)
{
    snprintf(path, size, "%s.open", getenv("FAKE_GPU_STATE"));
}

int nvmlInit_v2(void)
{
    char path[256];
    open_marker(path, sizeof path);
    close(open(path, O_CREAT | O_WRONLY | O_CLOEXEC, 0600));
    return DV_NVML_SUCCESS;
}

int nvmlShutdown(void)
{
    char path[256];
    open_marker(path, sizeof path);
    unlink(path);
    return DV_NVML_SUCCESS;
}

int nvmlDeviceGetHandleByIndex_v2(uint32_t index, struct dv_nvml_device **device)
{
    *device = (struct dv_nvml_device *)(void *)&gpu;
    return index ? DV_NVML_ERROR_INVALID_ARGUMENT : DV_NVML_SUCCESS;
}

int nvmlDeviceGetUUID(struct dv_nvml_device *device, char *uuid, uint32_t length)
{
    snprintf(uuid, length, "GPU-resetting");
    return DV_NVML_SUCCESS;
}

int nvmlDeviceGetMigMode(struct dv_nvml_device *device, uint32_t *current, uint32_t *pending)
{
    FILE *f = fopen(getenv("FAKE_GPU_STATE"), "re");
    char text[3] = "00";
    if (f && !fgets(text, sizeof text, f))
        text[0] = 0;
    if (f)
        fclose(f);
    *current = text[0] == '1';
    *pending = text[1] == '1';
    return DV_NVML_SUCCESS;
}

int nvmlDeviceSetMigMode(struct dv_nvml_device *device, uint32_t mode, uint32_t *activation)
{
    uint32_t current, pending;
    nvmlDeviceGetMigMode(device, &current, &pending);
    FILE *f = fopen(getenv("FAKE_GPU_STATE"), "we");
    if (!f)
        return DV_NVML_ERROR_UNKNOWN;
    fprintf(f, "%u%u", current, mode);
    fclose(f);
    *activation = mode == current ? DV_NVML_SUCCESS : DV_NVML_ERROR_RESET_REQUIRED;
    return DV_NVML_SUCCESS;
}
