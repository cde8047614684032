/* SPDX-License-Identifier: Apache-2.0 */
/* -pm, -c, -mig and --gpu-reset. */
#include "smi/smi.h"

#include <stdlib.h>
#include <string.h>
#include <strings.h>

/* "0"/"1", "DISABLED"/"ENABLED". -1: neither. */
static int on_off(const char *text)
{
    if (strcmp(text, "0") == 0 || strcasecmp(text, "DISABLED") == 0)
        return 0;
    if (strcmp(text, "1") == 0 || strcasecmp(text, "ENABLED") == 0)
        return 1;
    return -1;
}

static int wrong(const char *option, const char *text)
{
    printf("ERROR: Option %s is invalid for %s. Please run 'nvidia-smi -h' for help.\n\n", text,
           option);
    return DV_SMI_USAGE;
}

static int unable(const char *what, const struct dv_smi_gpu *g, int r)
{
    printf("Unable to %s for GPU %s: %s\n", what, g->bus_id, dv_smi.nvmlErrorString(r));
    return r;
}

int dv_smi_set_persistence(const struct dv_smi_gpu *gpus, size_t n, const char *mode)
{
    int on = on_off(mode);
    if (on < 0)
        return wrong("-pm", mode);
    for (size_t i = 0; i < n; i++) {
        uint32_t now = 2;
        dv_smi.nvmlDeviceGetPersistenceMode(gpus[i].device, &now);
        if (now == (uint32_t)on) {
            printf("Persistence mode is already %s for GPU %s.\n", on ? "Enabled" : "Disabled",
                   gpus[i].bus_id);
            continue;
        }
        int r = dv_smi.nvmlDeviceSetPersistenceMode(gpus[i].device, (uint32_t)on);
        if (r)
            return unable("set persistence mode", &gpus[i], r);
        printf("%s persistence mode for GPU %s.\n", on ? "Enabled" : "Disabled", gpus[i].bus_id);
    }
    printf("All done.\n");
    return 0;
}

int dv_smi_set_compute(const struct dv_smi_gpu *gpus, size_t n, const char *mode)
{
    static const char *const names[] = {"DEFAULT", "EXCLUSIVE_THREAD", "PROHIBITED",
                                        "EXCLUSIVE_PROCESS"};
    uint32_t want = 4;
    for (uint32_t i = 0; i < 4; i++)
        if (strcasecmp(mode, names[i]) == 0 || (mode[0] == (char)('0' + i) && !mode[1]))
            want = i;
    if (want == 4)
        return wrong("-c", mode);
    if (want == DV_NVML_COMPUTE_EXCLUSIVE_THREAD) {
        printf("Exclusive_Thread was deprecated! Use value 3:Exclusive_Process instead.\n"
               "Treating as warning and moving on.\nAll done.\n");
        return 0;
    }
    for (size_t i = 0; i < n; i++) {
        uint32_t now = 4;
        dv_smi.nvmlDeviceGetComputeMode(gpus[i].device, &now);
        if (now == want) {
            printf("Compute mode is already set to %s for GPU %s.\n", names[want], gpus[i].bus_id);
            continue;
        }
        int r = dv_smi.nvmlDeviceSetComputeMode(gpus[i].device, want);
        if (r)
            return unable("set compute mode", &gpus[i], r);
        printf("Set compute mode to %s for GPU %s.\n", names[want], gpus[i].bus_id);
    }
    printf("All done.\n");
    return 0;
}

int dv_smi_set_mig(const struct dv_smi_gpu *gpus, size_t n, const char *mode)
{
    int on = on_off(mode);
    if (on < 0)
        return wrong("-mig", mode);
    const char *verb = on ? "enable" : "disable";
    for (size_t i = 0; i < n; i++) {
        uint32_t activation = 0, now = 0, pending = 0;
        int r = dv_smi.nvmlDeviceSetMigMode(gpus[i].device, (uint32_t)on, &activation);
        if (r) {
            printf("Unable to %s MIG Mode for GPU %s: %s\n", verb, gpus[i].bus_id,
                   dv_smi.nvmlErrorString(r));
            if (r != DV_NVML_ERROR_NOT_SUPPORTED) {
                printf("Terminating early due to previous errors.\n");
                return r;
            }
            printf("Treating as warning and moving on.\n");
            continue;
        }
        dv_smi.nvmlDeviceGetMigMode(gpus[i].device, &now, &pending);
        if (activation && pending != now)
            printf("Warning: MIG mode is in pending %s state for GPU %s:%s\n", verb, gpus[i].bus_id,
                   dv_smi_error((int)activation));
        if (activation == DV_NVML_ERROR_RESET_REQUIRED && pending != now) {
            printf("Reboot the system or try nvidia-smi --gpu-reset to make MIG mode effective on "
                   "GPU %s\n",
                   gpus[i].bus_id);
        } else if (activation && pending != now) {
            printf("%s is currently being used by one or more other processes. Stop them and retry "
                   "the command, or reset the GPU, to make the mode effective.\n",
                   gpus[i].bus_id);
        } else if (activation) {
            printf("Unable to %s MIG Mode for GPU %s: %s\n", verb, gpus[i].bus_id,
                   dv_smi.nvmlErrorString((int)activation));
            printf("Terminating early due to previous errors.\n");
            return (int)activation;
        } else {
            printf("%s MIG Mode for GPU %s\n", on ? "Enabled" : "Disabled", gpus[i].bus_id);
        }
    }
    printf("All done.\n");
    return 0;
}

int dv_smi_reset(const struct dv_smi_gpu *gpus, size_t n)
{
    for (size_t i = 0; i < n; i++) {
        int r = dv_smi.reset ? dv_smi.reset(gpus[i].device) : DV_NVML_ERROR_NOT_SUPPORTED;
        if (r == DV_NVML_ERROR_IN_USE) {
            printf("The following GPUs could not be reset:\n  GPU %s: In use by another client\n\n"
                   "1 device is currently being used by one or more other processes. Stop them "
                   "first.\n",
                   gpus[i].bus_id);
            return r;
        }
        if (r) {
            printf("Unable to reset GPU %s: %s\n", gpus[i].bus_id, dv_smi.nvmlErrorString(r));
            return r;
        }
        printf("GPU %s was successfully reset.\n", gpus[i].bus_id);
    }
    printf("All done.\n");
    return 0;
}
