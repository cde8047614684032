/* SPDX-License-Identifier: Apache-2.0 */
/* What nvidia-smi prints without arguments. */
#include "smi/smi.h"

#include <stdlib.h>
#include <string.h>
#include <time.h>

#define LINE                                                                                       \
    "+-----------------------------------------------------------------------------------------+"  \
    "\n"
#define CELLS                                                                                      \
    "+-----------------------------------------+------------------------+----------------------+"  \
    "\n"
#define MIG_CELLS                                                                                  \
    "+------------------+----------------------------------+-----------+-----------------------+"  \
    "\n"
#define PROCESSES_MAX 512u
#define NAME_WIDTH 37

const char *dv_smi_compute_mode(uint32_t mode, bool brief)
{
    switch (mode) {
    case DV_NVML_COMPUTE_DEFAULT:
        return "Default";
    case DV_NVML_COMPUTE_PROHIBITED:
        return "Prohibited";
    case DV_NVML_COMPUTE_EXCLUSIVE_PROCESS:
        return brief ? "E. Process" : "Exclusive_Process";
    default:
        return "N/A";
    }
}

static void print_head(void)
{
    char driver[DV_NVML_VERSION_TEXT_SIZE] = "N/A", cuda[32] = "N/A", now[64];
    time_t t = time(NULL);
    struct tm tm;
    int version = 0;
    dv_smi.nvmlSystemGetDriverVersion(driver, sizeof(driver));
    if (dv_smi.nvmlSystemGetCudaDriverVersion_v2(&version) == DV_NVML_SUCCESS)
        snprintf(cuda, sizeof(cuda), "%d.%d", version / 1000, version % 1000 / 10);
    strftime(now, sizeof(now), "%a %b %e %H:%M:%S %Y", localtime_r(&t, &tm));
    printf("%s       \n" LINE, now);
    printf("| NVIDIA-SMI %-22.22s Driver Version: %-14.14s CUDA Version: %-8.8s |\n", driver,
           driver, cuda);
    printf(CELLS "| GPU  Name                 Persistence-M | Bus-Id          Disp.A | Volatile "
                 "Uncorr. ECC |\n"
                 "| Fan  Temp   Perf          Pwr:Usage/Cap |           Memory-Usage | GPU-Util  "
                 "Compute M. |\n"
                 "|                                         |                        |             "
                 "  MIG M. |\n"
                 "|=========================================+========================+============="
                 "=========|\n");
}

static const char *ecc_text(struct dv_nvml_device *device, bool mig, char buf[24])
{
    uint64_t errors;
    if (dv_smi.nvmlDeviceGetTotalEccErrors(device, DV_NVML_ECC_UNCORRECTED, DV_NVML_ECC_VOLATILE,
                                           &errors))
        return "N/A";
    if (mig)
        return "On";
    snprintf(buf, 24, "%llu", (unsigned long long)errors);
    return buf;
}

static const char *fan_text(struct dv_nvml_device *device, char buf[24])
{
    uint32_t percent;
    if (dv_smi.nvmlDeviceGetFanSpeed(device, &percent))
        return "N/A";
    snprintf(buf, 24, "%u%%", percent);
    return buf;
}

static void print_gpu(const struct dv_smi_gpu *g)
{
    uint32_t persistence = 0, celsius = 0, state = 0, mw = 0, limit = 0, mode = 0;
    uint32_t mig = 0, pending = 0, display = 0;
    struct dv_nvml_memory_v2 memory = {.version = DV_NVML_VERSION(dv_nvml_memory_v2, 2)};
    struct dv_nvml_utilization busy = {0};
    char ecc[24], fan[24], util[16] = "N/A", name[32];
    dv_smi.nvmlDeviceGetPersistenceMode(g->device, &persistence);
    dv_smi.nvmlDeviceGetDisplayActive(g->device, &display);
    dv_smi.nvmlDeviceGetTemperature(g->device, 0, &celsius);
    dv_smi.nvmlDeviceGetPerformanceState(g->device, &state);
    dv_smi.nvmlDeviceGetPowerUsage(g->device, &mw);
    dv_smi.nvmlDeviceGetEnforcedPowerLimit(g->device, &limit);
    dv_smi.nvmlDeviceGetMemoryInfo_v2(g->device, &memory);
    dv_smi.nvmlDeviceGetComputeMode(g->device, &mode);
    bool can_mig = !dv_smi.nvmlDeviceGetMigMode(g->device, &mig, &pending);
    if (!dv_smi.nvmlDeviceGetUtilizationRates(g->device, &busy))
        snprintf(util, sizeof(util), "%u%%", busy.gpu);
    snprintf(name, sizeof(name), strlen(g->name) > 27 ? "%.24s..." : "%.27s", g->name);
    printf("|%4u  %-28s%6s |   %16s %3s |%21s |\n", g->index, name, persistence ? "On" : "Off",
           g->bus_id, display ? "On" : "Off", ecc_text(g->device, mig, ecc));
    printf("| %3s%5uC%6s%15uW / %4uW |%8lluMiB / %6lluMiB |%8s%13s |\n", fan_text(g->device, fan),
           celsius, (char[8]){'P', (char)('0' + state % 10)}, mw / 1000, limit / 1000,
           (unsigned long long)(memory.used >> 20), (unsigned long long)(memory.total >> 20), util,
           dv_smi_compute_mode(mode, true));
    printf("|                                         |                        |%21s |\n" CELLS,
           !can_mig         ? "N/A"
           : mig != pending ? (pending ? "Enabled*" : "Disabled*")
           : mig            ? "Enabled"
                            : "Disabled");
}

/* ---- MIG devices ------------------------------------------------------------------------------
 */

static void print_mig_head(void)
{
    printf("\n" LINE "| MIG devices:                                                               "
           "             |\n" MIG_CELLS
           "| GPU  GI  CI  MIG |                     Memory-Usage |        Vol|        Shared      "
           "   |\n"
           "|      ID  ID  Dev |                       BAR1-Usage | SM     Unc| CE ENC  DEC  OFA  "
           "JPG |\n"
           "|                  |                                  |        ECC|                    "
           "   |\n"
           "|==================+==================================+===========+===================="
           "===|\n");
}

static bool print_mig_device(const struct dv_smi_gpu *g, uint32_t index, bool first)
{
    struct dv_nvml_device *mig;
    struct dv_nvml_device_attributes a = {0};
    struct dv_nvml_memory_v2 memory = {.version = DV_NVML_VERSION(dv_nvml_memory_v2, 2)};
    struct dv_nvml_bar1_memory bar1 = {0};
    uint32_t gi = 0, ci = 0;
    if (dv_smi.nvmlDeviceGetMigDeviceHandleByIndex(g->device, index, &mig))
        return false;
    dv_smi.nvmlDeviceGetGpuInstanceId(mig, &gi);
    dv_smi.nvmlDeviceGetComputeInstanceId(mig, &ci);
    dv_smi.nvmlDeviceGetAttributes_v2(mig, &a);
    dv_smi.nvmlDeviceGetMemoryInfo_v2(mig, &memory);
    dv_smi.nvmlDeviceGetBAR1MemoryInfo(mig, &bar1);
    if (first)
        print_mig_head();
    printf("|%3u %4u %3u %3u  |%18lluMiB / %5lluMiB  |%3u %6u |%3u %3u %4u %4u %4u |\n", g->index,
           gi, ci, index, (unsigned long long)((memory.used + memory.reserved) >> 20),
           (unsigned long long)(memory.total >> 20), a.multiprocessor_count, 0u,
           a.shared_copy_engine_count, a.shared_encoder_count, a.shared_decoder_count,
           a.shared_ofa_count, a.shared_jpeg_count);
    printf("|                  |%18lluMiB / %5lluMiB  |           |                       "
           "|\n" MIG_CELLS,
           (unsigned long long)(bar1.used >> 20), (unsigned long long)(bar1.total >> 20));
    return true;
}

static void print_mig(const struct dv_smi_gpu *gpus, size_t n)
{
    bool first = true;
    for (size_t i = 0; i < n; i++) {
        uint32_t current = 0, pending, max = 0;
        if (dv_smi.nvmlDeviceGetMigMode(gpus[i].device, &current, &pending) || !current)
            continue;
        dv_smi.nvmlDeviceGetMaxMigDeviceCount(gpus[i].device, &max);
        for (uint32_t k = 0; k < max; k++)
            if (print_mig_device(&gpus[i], k, first))
                first = false;
        if (first) {
            print_mig_head();
            printf("|  No MIG devices found                                                        "
                   "    "
                   "       |\n" LINE);
            first = false;
        }
    }
}

/* ---- processes --------------------------------------------------------------------------------
 */

/* Right of the column where a number ends, "N/A" has one letter more. */
static void id_text(uint32_t id, char to[12])
{
    if (id == DV_NVML_INSTANCE_NONE)
        snprintf(to, 12, "N/A");
    else
        snprintf(to, 12, "%u ", id);
}

static void print_process(const struct dv_smi_gpu *g, const struct dv_nvml_process_info *p,
                          const char *type)
{
    char name[512] = "-", gi[12], ci[12], shown[NAME_WIDTH + 1];
    dv_smi.nvmlSystemGetProcessName(p->pid, name, sizeof(name));
    size_t length = strlen(name);
    if (length > NAME_WIDTH - 1) /* the end of a long path says more than its beginning */
        snprintf(shown, sizeof(shown), "...%s", name + length - (NAME_WIDTH - 4));
    else
        snprintf(shown, sizeof(shown), "%s", name);
    id_text(p->gpu_instance_id, gi);
    id_text(p->compute_instance_id, ci);
    printf("|%5u%6s%5s%16u%7s   %-37s%6lluMiB |\n", g->index, gi, ci, p->pid, type, shown,
           (unsigned long long)(p->used_gpu_memory >> 20));
}

static uint32_t print_list(const struct dv_smi_gpu *g, struct dv_nvml_process_info *room)
{
    uint32_t count = PROCESSES_MAX;
    if (dv_smi.nvmlDeviceGetComputeRunningProcesses_v3(g->device, &count, room) != DV_NVML_SUCCESS)
        return 0;
    for (uint32_t k = 0; k < count; k++)
        print_process(g, &room[k], dv_smi_is_mps_client(g, room[k].pid) ? "M+C" : "C");
    return count;
}

static void print_processes(const struct dv_smi_gpu *gpus, size_t n)
{
    struct dv_nvml_process_info *all = calloc(PROCESSES_MAX, sizeof(*all));
    bool any = false;
    printf("\n" LINE "| Processes:                                                                 "
           "             |\n"
           "|  GPU   GI   CI              PID   Type   Process name                        GPU "
           "Memory |\n"
           "|        ID   ID                                                               Usage   "
           "   |\n"
           "|======================================================================================"
           "===|\n");
    for (size_t i = 0; all && i < n; i++)
        any |= print_list(&gpus[i], all) > 0;
    if (!any)
        printf("|  No running processes found                                                      "
               "       "
               "|\n");
    printf(LINE);
    free(all);
}

int dv_smi_table(const struct dv_smi_gpu *gpus, size_t n)
{
    print_head();
    for (size_t i = 0; i < n; i++)
        print_gpu(&gpus[i]);
    print_mig(gpus, n);
    print_processes(gpus, n);
    return 0;
}
