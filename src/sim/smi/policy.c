/* SPDX-License-Identifier: Apache-2.0 */
/*
 * nvidia-smi compute-policy: how long the turns of a GPU's contexts are. The options and the table
 * are NVIDIA's; the words for success and failure are those of nvidia-smi's other settings.
 */
#include "smi/smi.h"

#include <string.h>
#include <strings.h>

#define EDGE "+-------------------------------------+\n"

static const char *const names[] = {"Default", "Short", "Medium", "Long"};
#define NAMES (sizeof(names) / sizeof(names[0]))

static int help(void)
{
    printf("nvidia-smi compute-policy [OPTION]...: how the contexts on a GPU take turns\n\n"
           "    -l, --list             Display the policies.\n"
           "        --set-timeslice=   0/DEFAULT, 1/SHORT, 2/MEDIUM, 3/LONG: how long a turn is.\n"
           "    -i, --id=              Target GPUs, comma-separated (default: all).\n"
           "    -h, --help             Print this and exit.\n");
    return 0;
}

static int wrong_use(void)
{
    printf("Invalid combination of input arguments. Please run 'nvidia-smi compute-policy -h' for "
           "help.\n\n");
    return DV_SMI_USAGE;
}

static int list(const struct dv_smi_gpu *gpus, size_t n)
{
    printf(EDGE "| GPU compute policies:               |\n"
                "| GPU     Name             Value      |\n"
                "|=====================================|\n");
    for (size_t i = 0; i < n; i++) {
        uint32_t setting = 0;
        int r = dv_smi.get_timeslice ? dv_smi.get_timeslice(gpus[i].device, &setting)
                                     : DV_NVML_ERROR_NOT_SUPPORTED;
        const char *value = r == DV_NVML_SUCCESS && setting < NAMES ? names[setting] : "N/A";
        printf("|%4u     Timeslice        %-10s |\n" EDGE, gpus[i].index, value);
    }
    return 0;
}

static int set(const struct dv_smi_gpu *gpus, size_t n, const char *text)
{
    uint32_t setting = NAMES;
    for (uint32_t i = 0; i < NAMES; i++)
        if (strcasecmp(text, names[i]) == 0 || (text[0] == (char)('0' + i) && !text[1]))
            setting = i;
    if (setting == NAMES) {
        printf("Invalid timeslice: \"%s\". Please run 'nvidia-smi compute-policy -h' for help.\n\n",
               text);
        return DV_SMI_USAGE;
    }
    for (size_t i = 0; i < n; i++) {
        int r = dv_smi.set_timeslice ? dv_smi.set_timeslice(gpus[i].device, setting)
                                     : DV_NVML_ERROR_NOT_SUPPORTED;
        if (r != DV_NVML_SUCCESS) {
            printf("Unable to set timeslice for GPU %s: %s\n", gpus[i].bus_id,
                   dv_smi.nvmlErrorString(r));
            return r;
        }
        printf("Set timeslice to %s for GPU %s.\n", names[setting], gpus[i].bus_id);
    }
    printf("All done.\n");
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
        if (strcmp(argv[i], "-l") == 0 || strcmp(argv[i], "--list") == 0) {
            all = true;
        } else if ((v = dv_smi_value(argc, argv, &i, "-i", "--id"))) {
            ids = v;
        } else if ((v = dv_smi_value(argc, argv, &i, NULL, "--set-timeslice"))) {
            timeslice = v;
        } else {
            printf("Option %s is not recognized. Please run 'nvidia-smi compute-policy -h'.\n\n",
                   argv[i]);
            return DV_SMI_USAGE;
        }
    }
    if (all == (timeslice != NULL))
        return wrong_use();
    struct dv_smi_gpu gpus[DV_SMI_GPUS_MAX];
    size_t n;
    int r = dv_smi_open();
    if (r == 0)
        r = dv_smi_find(ids, gpus, &n);
    if (r)
        return r;
    return all ? list(gpus, n) : set(gpus, n, timeslice);
}
