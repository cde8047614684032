/* SPDX-License-Identifier: Apache-2.0 */
/*
 * nvidia-smi compute-policy: how long the turns of a GPU's contexts are. Options, table and words
 * are those of NVIDIA's (driver 535), but for the help.
 */
#include "smi/smi.h"

#include <stdlib.h>
#include <string.h>

#define EDGE "+-------------------------------------+\n"

#define KNOWN 4u
static const char *const names[KNOWN + 1] = {"Default", "Short", "Medium", "Long", "Unknown"};

static int help(void)
{
    printf("nvidia-smi compute-policy [OPTION]...: how the contexts on a GPU take turns\n\n"
           "    -l, --list             Display the policies.\n"
           "        --set-timeslice=   How long a turn is: 0 default, 1 short, 2 medium, 3 long.\n"
           "    -i, --id=              Target GPUs, comma-separated (default: all).\n"
           "    -h, --help             Print this and exit.\n");
    return 0;
}

static int list(const struct dv_smi_gpu *gpus, size_t n)
{
    printf(EDGE "| GPU compute policies:               |\n"
                "| GPU     Name           Value        |\n"
                "|=====================================|\n");
    for (size_t i = 0; i < n; i++) {
        uint32_t setting = 0;
        int r = dv_smi.get_timeslice ? dv_smi.get_timeslice(gpus[i].device, &setting)
                                     : DV_NVML_ERROR_NOT_SUPPORTED;
        if (r != DV_NVML_SUCCESS) {
            printf("Failed to get compute policies for GPU %u : %s\n"
                   "Failed to retrieve compute policies for requested devices : %s\n",
                   gpus[i].index, dv_smi.nvmlErrorString(r), dv_smi.nvmlErrorString(r));
            return r;
        }
        printf("|%4u   Timeslice       %-14s|\n" EDGE, gpus[i].index,
               names[setting < KNOWN ? setting : KNOWN]);
    }
    return 0;
}

static int set(const struct dv_smi_gpu *gpus, size_t n, uint32_t setting)
{
    const char *name = names[setting < KNOWN ? setting : KNOWN];
    for (size_t i = 0; i < n; i++) {
        int r = dv_smi.set_timeslice ? dv_smi.set_timeslice(gpus[i].device, setting)
                                     : DV_NVML_ERROR_NOT_SUPPORTED;
        if (r != DV_NVML_SUCCESS) {
            printf("Failed to set timeslice policy with value %s for GPU %u : %s\n"
                   "Failed to set timeslice for requested devices : %s\n",
                   name, gpus[i].index, dv_smi.nvmlErrorString(r), dv_smi.nvmlErrorString(r));
            return r;
        }
        printf("Successfully set timeslice policy with value %s for GPU %u\n", name, gpus[i].index);
    }
    return 0;
}

int dv_smi_policy(int argc, char **argv)
{
    const char *ids = NULL, *timeslice = NULL;
    bool all = false;
    for (int i = 0; i < argc; i++) {
        const char *v;
        if (strcmp(argv[i], "-h") == 0 || strcmp(argv[i], "--help") == 0)
            return help();
        if (strcmp(argv[i], "-l") == 0 || strcmp(argv[i], "--list") == 0)
            all = true;
        else if ((v = dv_smi_value(argc, argv, &i, "-i", "--id")))
            ids = v;
        else if ((v = dv_smi_value(argc, argv, &i, NULL, "--set-timeslice")))
            timeslice = v;
        else {
            printf("Option \"%s\" is not recognized.\n", argv[i]);
            return DV_SMI_USAGE;
        }
    }
    if (!all && !timeslice)
        return help();
    if (all && timeslice) {
        printf("One, and only one, compute-policy command allowed at a time\n");
        return DV_SMI_USAGE;
    }
    char *end = NULL;
    uint32_t setting = timeslice ? (uint32_t)strtol(timeslice, &end, 10) : 0;
    if (timeslice && *end) {
        printf("Option \"%s\" is invalid for \"--set-timeslice=%s\".\n", timeslice, timeslice);
        return DV_SMI_USAGE;
    }
    struct dv_smi_gpu gpus[DV_SMI_GPUS_MAX];
    size_t n;
    int r = dv_smi_open();
    if (r == 0)
        r = dv_smi_find(ids, gpus, &n);
    if (r)
        return r;
    return all ? list(gpus, n) : set(gpus, n, setting);
}
