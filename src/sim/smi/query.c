/* SPDX-License-Identifier: Apache-2.0 */
/* --query-gpu and --query-compute-apps: one table of fields each. To add a field, add a row. */
#include "smi/smi.h"

#include <stdlib.h>
#include <string.h>
#include <time.h>

#define FIELDS_MAX 128u
#define CELL 128u
#define PROCESSES_MAX 512u

enum unit { PLAIN, MIB, WATT, PERCENT, MHZ, MJ };
static const char *const unit_name[] = {"", "MiB", "W", "%", "MHz", "mJ"};

/* What a field is of: a GPU, and in a list of processes one of them. */
struct subject {
    const struct dv_smi_gpu *gpu;
    const struct dv_nvml_process_info *process;
    const char *timestamp;
    size_t gpus;
};

/* Writes the text without its unit. A NVML error: printed as [N/A]. */
typedef int field_get(const struct subject *s, char to[CELL]);

struct field {
    const char *name;
    const char *alias; /* NULL: none; the header shows `name` */
    enum unit unit;
    field_get *get;
};

static int put_u(char to[CELL], uint64_t value)
{
    snprintf(to, CELL, "%llu", (unsigned long long)value);
    return DV_NVML_SUCCESS;
}

static int put_watt(char to[CELL], uint32_t mw)
{
    snprintf(to, CELL, "%u.%02u", mw / 1000, mw % 1000 / 10);
    return DV_NVML_SUCCESS;
}

static int put_state(char to[CELL], bool on, const char *yes, const char *no)
{
    snprintf(to, CELL, "%s", on ? yes : no);
    return DV_NVML_SUCCESS;
}

#define DEVICE s->gpu->device
#define GET(id) static int get_##id(const struct subject *s, char to[CELL])

/* A field that is one text of one call, one number, or one state. */
#define TEXT(id, call)                                                                             \
    GET(id)                                                                                        \
    {                                                                                              \
        return dv_smi.call(DEVICE, to, CELL);                                                      \
    }
#define NUMBER(id, type, call, ...)                                                                \
    GET(id)                                                                                        \
    {                                                                                              \
        type value = 0;                                                                            \
        int r = dv_smi.call(DEVICE, ##__VA_ARGS__, &value);                                        \
        return r ? r : put_u(to, value);                                                           \
    }
#define POWER(id, call)                                                                            \
    GET(id)                                                                                        \
    {                                                                                              \
        uint32_t mw = 0;                                                                           \
        int r = dv_smi.call(DEVICE, &mw);                                                          \
        return r ? r : put_watt(to, mw);                                                           \
    }
#define STATE(id, call, yes, no)                                                                   \
    GET(id)                                                                                        \
    {                                                                                              \
        uint32_t on = 0;                                                                           \
        int r = dv_smi.call(DEVICE, &on);                                                          \
        return r ? r : put_state(to, on, yes, no);                                                 \
    }
#define PENDING(id, call, which)                                                                   \
    GET(id)                                                                                        \
    {                                                                                              \
        uint32_t current = 0, pending = 0;                                                         \
        int r = dv_smi.call(DEVICE, &current, &pending);                                           \
        return r ? r : put_state(to, which, "Enabled", "Disabled");                                \
    }

TEXT(serial, nvmlDeviceGetSerial)
TEXT(vbios, nvmlDeviceGetVbiosVersion)
NUMBER(pcie_gen, uint32_t, nvmlDeviceGetCurrPcieLinkGeneration)
NUMBER(pcie_gen_max, uint32_t, nvmlDeviceGetMaxPcieLinkGeneration)
NUMBER(pcie_width, uint32_t, nvmlDeviceGetCurrPcieLinkWidth)
NUMBER(pcie_width_max, uint32_t, nvmlDeviceGetMaxPcieLinkWidth)
NUMBER(fan, uint32_t, nvmlDeviceGetFanSpeed)
NUMBER(temperature, uint32_t, nvmlDeviceGetTemperature, 0)
NUMBER(clock_graphics, uint32_t, nvmlDeviceGetClockInfo, DV_NVML_CLOCK_GRAPHICS)
NUMBER(clock_sm, uint32_t, nvmlDeviceGetClockInfo, DV_NVML_CLOCK_SM)
NUMBER(clock_memory, uint32_t, nvmlDeviceGetClockInfo, DV_NVML_CLOCK_MEM)
NUMBER(clock_video, uint32_t, nvmlDeviceGetClockInfo, DV_NVML_CLOCK_VIDEO)
NUMBER(clock_max_graphics, uint32_t, nvmlDeviceGetMaxClockInfo, DV_NVML_CLOCK_GRAPHICS)
NUMBER(clock_max_sm, uint32_t, nvmlDeviceGetMaxClockInfo, DV_NVML_CLOCK_SM)
NUMBER(clock_max_memory, uint32_t, nvmlDeviceGetMaxClockInfo, DV_NVML_CLOCK_MEM)
NUMBER(app_graphics, uint32_t, nvmlDeviceGetApplicationsClock, DV_NVML_CLOCK_GRAPHICS)
NUMBER(app_memory, uint32_t, nvmlDeviceGetApplicationsClock, DV_NVML_CLOCK_MEM)
NUMBER(ecc_corrected, uint64_t, nvmlDeviceGetTotalEccErrors, 0, 0)
NUMBER(ecc_uncorrected, uint64_t, nvmlDeviceGetTotalEccErrors, 1, 0)
NUMBER(ecc_corrected_aggregate, uint64_t, nvmlDeviceGetTotalEccErrors, 0, 1)
NUMBER(ecc_uncorrected_aggregate, uint64_t, nvmlDeviceGetTotalEccErrors, 1, 1)
NUMBER(energy, uint64_t, nvmlDeviceGetTotalEnergyConsumption)
POWER(power_draw, nvmlDeviceGetPowerUsage)
POWER(power_limit, nvmlDeviceGetPowerManagementLimit)
POWER(power_enforced, nvmlDeviceGetEnforcedPowerLimit)
POWER(power_default, nvmlDeviceGetPowerManagementDefaultLimit)
STATE(persistence, nvmlDeviceGetPersistenceMode, "Enabled", "Disabled")
STATE(display_active, nvmlDeviceGetDisplayActive, "Enabled", "Disabled")
STATE(display_mode, nvmlDeviceGetDisplayMode, "Enabled", "Disabled")
STATE(accounting, nvmlDeviceGetAccountingMode, "Enabled", "Disabled")
PENDING(ecc_mode, nvmlDeviceGetEccMode, current)
PENDING(ecc_mode_pending, nvmlDeviceGetEccMode, pending)
PENDING(mig_mode, nvmlDeviceGetMigMode, current)
PENDING(mig_mode_pending, nvmlDeviceGetMigMode, pending)

GET(timestamp)
{
    snprintf(to, CELL, "%s", s->timestamp);
    return DV_NVML_SUCCESS;
}

GET(driver)
{
    return dv_smi.nvmlSystemGetDriverVersion(to, CELL);
}

GET(count)
{
    return put_u(to, s->gpus);
}

GET(index)
{
    return put_u(to, s->gpu->index);
}

GET(name)
{
    snprintf(to, CELL, "%s", s->gpu->name);
    return DV_NVML_SUCCESS;
}

GET(uuid)
{
    snprintf(to, CELL, "%s", s->gpu->uuid);
    return DV_NVML_SUCCESS;
}

GET(bus_id)
{
    snprintf(to, CELL, "%s", s->gpu->bus_id);
    return DV_NVML_SUCCESS;
}

static int pci_part(const struct subject *s, char to[CELL], int part)
{
    struct dv_nvml_pci_info pci;
    int r = dv_smi.nvmlDeviceGetPciInfo_v3(DEVICE, &pci);
    const uint32_t value[] = {pci.domain, pci.bus, pci.device, pci.pci_device_id,
                              pci.pci_subsystem_id};
    static const int digits[] = {4, 2, 2, 8, 8};
    if (r == DV_NVML_SUCCESS)
        snprintf(to, CELL, "0x%0*X", digits[part], value[part]);
    return r;
}

GET(pci_domain)
{
    return pci_part(s, to, 0);
}

GET(pci_bus)
{
    return pci_part(s, to, 1);
}

GET(pci_device)
{
    return pci_part(s, to, 2);
}

GET(pci_device_id)
{
    return pci_part(s, to, 3);
}

GET(pci_subsystem)
{
    return pci_part(s, to, 4);
}

GET(pstate)
{
    uint32_t state = 0;
    int r = dv_smi.nvmlDeviceGetPerformanceState(DEVICE, &state);
    snprintf(to, CELL, "P%u", state);
    return r;
}

static int memory_part(const struct subject *s, char to[CELL], int part)
{
    struct dv_nvml_memory_v2 m = {.version = DV_NVML_VERSION(dv_nvml_memory_v2, 2)};
    int r = dv_smi.nvmlDeviceGetMemoryInfo_v2(DEVICE, &m);
    const uint64_t value[] = {m.total, m.reserved, m.used, m.free};
    return r ? r : put_u(to, value[part] >> 20);
}

GET(memory_total)
{
    return memory_part(s, to, 0);
}

GET(memory_reserved)
{
    return memory_part(s, to, 1);
}

GET(memory_used)
{
    return memory_part(s, to, 2);
}

GET(memory_free)
{
    return memory_part(s, to, 3);
}

GET(compute_mode)
{
    uint32_t mode = 0;
    int r = dv_smi.nvmlDeviceGetComputeMode(DEVICE, &mode);
    snprintf(to, CELL, "%s", dv_smi_compute_mode(mode, false));
    return r;
}

GET(compute_cap)
{
    int major = 0, minor = 0;
    int r = dv_smi.nvmlDeviceGetCudaComputeCapability(DEVICE, &major, &minor);
    snprintf(to, CELL, "%d.%d", major, minor);
    return r;
}

static int busy_part(const struct subject *s, char to[CELL], bool memory)
{
    struct dv_nvml_utilization u;
    int r = dv_smi.nvmlDeviceGetUtilizationRates(DEVICE, &u);
    return r ? r : put_u(to, memory ? u.memory : u.gpu);
}

GET(busy_gpu)
{
    return busy_part(s, to, false);
}

GET(busy_memory)
{
    return busy_part(s, to, true);
}

GET(busy_encoder)
{
    uint32_t value = 0, period;
    int r = dv_smi.nvmlDeviceGetEncoderUtilization(DEVICE, &value, &period);
    return r ? r : put_u(to, value);
}

GET(busy_decoder)
{
    uint32_t value = 0, period;
    int r = dv_smi.nvmlDeviceGetDecoderUtilization(DEVICE, &value, &period);
    return r ? r : put_u(to, value);
}

static int limit_part(const struct subject *s, char to[CELL], bool max)
{
    uint32_t low = 0, high = 0;
    int r = dv_smi.nvmlDeviceGetPowerManagementLimitConstraints(DEVICE, &low, &high);
    return r ? r : put_watt(to, max ? high : low);
}

GET(power_min)
{
    return limit_part(s, to, false);
}

GET(power_max)
{
    return limit_part(s, to, true);
}

GET(power_management)
{
    uint32_t mode = 0;
    int r = dv_smi.nvmlDeviceGetPowerManagementMode(DEVICE, &mode);
    return r ? r : put_state(to, mode, "Enabled", "Disabled");
}

GET(reasons)
{
    uint64_t bits = 0;
    int r = dv_smi.nvmlDeviceGetCurrentClocksEventReasons(DEVICE, &bits);
    snprintf(to, CELL, "0x%016llX", (unsigned long long)bits);
    return r;
}

static int reason_part(const struct subject *s, char to[CELL], uint64_t bit)
{
    uint64_t bits = 0;
    int r = dv_smi.nvmlDeviceGetCurrentClocksEventReasons(DEVICE, &bits);
    return r ? r : put_state(to, bits & bit, "Active", "Not Active");
}

GET(reason_idle)
{
    return reason_part(s, to, DV_NVML_CLOCKS_EVENT_GPU_IDLE);
}

GET(reason_power)
{
    return reason_part(s, to, DV_NVML_CLOCKS_EVENT_SW_POWER_CAP);
}

GET(reason_hardware)
{
    return reason_part(s, to, DV_NVML_CLOCKS_EVENT_HW_SLOWDOWN);
}

GET(reason_thermal)
{
    return reason_part(s, to, DV_NVML_CLOCKS_EVENT_SW_THERMAL);
}

GET(absent)
{
    return DV_NVML_ERROR_NOT_SUPPORTED;
}

GET(pid)
{
    return put_u(to, s->process->pid);
}

GET(process_name)
{
    int r = dv_smi.nvmlSystemGetProcessName(s->process->pid, to, CELL);
    if (r == DV_NVML_ERROR_NOT_FOUND)
        r = put_state(to, true, "[Not Found]", "");
    return r;
}

GET(process_memory)
{
    return s->process->used_gpu_memory == DV_NVML_VALUE_NOT_AVAILABLE
               ? DV_NVML_ERROR_NOT_SUPPORTED
               : put_u(to, s->process->used_gpu_memory >> 20);
}

static const struct field gpu_fields[] = {
    {"timestamp", NULL, PLAIN, get_timestamp},
    {"driver_version", NULL, PLAIN, get_driver},
    {"count", NULL, PLAIN, get_count},
    {"name", "gpu_name", PLAIN, get_name},
    {"serial", "gpu_serial", PLAIN, get_serial},
    {"uuid", "gpu_uuid", PLAIN, get_uuid},
    {"pci.bus_id", "gpu_bus_id", PLAIN, get_bus_id},
    {"pci.domain", NULL, PLAIN, get_pci_domain},
    {"pci.bus", NULL, PLAIN, get_pci_bus},
    {"pci.device", NULL, PLAIN, get_pci_device},
    {"pci.device_id", NULL, PLAIN, get_pci_device_id},
    {"pci.sub_device_id", NULL, PLAIN, get_pci_subsystem},
    {"pcie.link.gen.current", "pcie.link.gen.gpucurrent", PLAIN, get_pcie_gen},
    {"pcie.link.gen.max", "pcie.link.gen.gpumax", PLAIN, get_pcie_gen_max},
    {"pcie.link.width.current", NULL, PLAIN, get_pcie_width},
    {"pcie.link.width.max", NULL, PLAIN, get_pcie_width_max},
    {"index", NULL, PLAIN, get_index},
    {"display_mode", NULL, PLAIN, get_display_mode},
    {"display_active", NULL, PLAIN, get_display_active},
    {"persistence_mode", NULL, PLAIN, get_persistence},
    {"accounting.mode", NULL, PLAIN, get_accounting},
    {"vbios_version", NULL, PLAIN, get_vbios},
    {"fan.speed", NULL, PERCENT, get_fan},
    {"pstate", NULL, PLAIN, get_pstate},
    {"clocks_event_reasons.active", "clocks_throttle_reasons.active", PLAIN, get_reasons},
    {"clocks_event_reasons.gpu_idle", "clocks_throttle_reasons.gpu_idle", PLAIN, get_reason_idle},
    {"clocks_event_reasons.sw_power_cap", "clocks_throttle_reasons.sw_power_cap", PLAIN,
     get_reason_power},
    {"clocks_event_reasons.hw_slowdown", "clocks_throttle_reasons.hw_slowdown", PLAIN,
     get_reason_hardware},
    {"clocks_event_reasons.sw_thermal_slowdown", "clocks_throttle_reasons.sw_thermal_slowdown",
     PLAIN, get_reason_thermal},
    {"memory.total", NULL, MIB, get_memory_total},
    {"memory.reserved", NULL, MIB, get_memory_reserved},
    {"memory.used", NULL, MIB, get_memory_used},
    {"memory.free", NULL, MIB, get_memory_free},
    {"compute_mode", NULL, PLAIN, get_compute_mode},
    {"compute_cap", NULL, PLAIN, get_compute_cap},
    {"utilization.gpu", NULL, PERCENT, get_busy_gpu},
    {"utilization.memory", NULL, PERCENT, get_busy_memory},
    {"utilization.encoder", NULL, PERCENT, get_busy_encoder},
    {"utilization.decoder", NULL, PERCENT, get_busy_decoder},
    {"ecc.mode.current", NULL, PLAIN, get_ecc_mode},
    {"ecc.mode.pending", NULL, PLAIN, get_ecc_mode_pending},
    {"ecc.errors.corrected.volatile.total", NULL, PLAIN, get_ecc_corrected},
    {"ecc.errors.uncorrected.volatile.total", NULL, PLAIN, get_ecc_uncorrected},
    {"ecc.errors.corrected.aggregate.total", NULL, PLAIN, get_ecc_corrected_aggregate},
    {"ecc.errors.uncorrected.aggregate.total", NULL, PLAIN, get_ecc_uncorrected_aggregate},
    {"temperature.gpu", NULL, PLAIN, get_temperature},
    {"temperature.memory", NULL, PLAIN, get_absent},
    {"power.management", NULL, PLAIN, get_power_management},
    {"power.draw", NULL, WATT, get_power_draw},
    {"power.draw.average", NULL, WATT, get_power_draw},
    {"power.draw.instant", NULL, WATT, get_power_draw},
    {"power.limit", NULL, WATT, get_power_limit},
    {"enforced.power.limit", NULL, WATT, get_power_enforced},
    {"power.default_limit", NULL, WATT, get_power_default},
    {"power.min_limit", NULL, WATT, get_power_min},
    {"power.max_limit", NULL, WATT, get_power_max},
    {"total_energy_consumption", NULL, MJ, get_energy},
    {"clocks.current.graphics", "clocks.gr", MHZ, get_clock_graphics},
    {"clocks.current.sm", "clocks.sm", MHZ, get_clock_sm},
    {"clocks.current.memory", "clocks.mem", MHZ, get_clock_memory},
    {"clocks.current.video", "clocks.video", MHZ, get_clock_video},
    {"clocks.applications.graphics", "clocks.applications.gr", MHZ, get_app_graphics},
    {"clocks.applications.memory", "clocks.applications.mem", MHZ, get_app_memory},
    {"clocks.max.graphics", "clocks.max.gr", MHZ, get_clock_max_graphics},
    {"clocks.max.sm", NULL, MHZ, get_clock_max_sm},
    {"clocks.max.memory", "clocks.max.mem", MHZ, get_clock_max_memory},
    {"mig.mode.current", NULL, PLAIN, get_mig_mode},
    {"mig.mode.pending", NULL, PLAIN, get_mig_mode_pending},
};

static const struct field app_fields[] = {
    {"timestamp", NULL, PLAIN, get_timestamp},
    {"gpu_name", NULL, PLAIN, get_name},
    {"gpu_bus_id", NULL, PLAIN, get_bus_id},
    {"gpu_serial", NULL, PLAIN, get_serial},
    {"gpu_uuid", NULL, PLAIN, get_uuid},
    {"pid", NULL, PLAIN, get_pid},
    {"process_name", "name", PLAIN, get_process_name},
    {"used_gpu_memory", "used_memory", MIB, get_process_memory},
};

/* ---- the list that a person wrote --------------------------------------------------------------
 */

static const struct field *find(const struct field *table, size_t n, const char *name)
{
    for (size_t i = 0; i < n; i++)
        if (strcmp(table[i].name, name) == 0 || (table[i].alias && !strcmp(table[i].alias, name)))
            return &table[i];
    return NULL;
}

static size_t parse(const struct field *table, size_t n_table, const char *text,
                    const struct field *ret[FIELDS_MAX])
{
    char *copy = strdup(text), *rest = NULL;
    size_t n = 0;
    for (char *name = copy ? strtok_r(copy, ", ", &rest) : NULL; name && n < FIELDS_MAX;
         name = strtok_r(NULL, ", ", &rest)) {
        ret[n] = find(table, n_table, name);
        if (!ret[n]) {
            printf("Field \"%s\" is not a valid field to query.\n\n", name);
            free(copy);
            return 0;
        }
        n++;
    }
    if (copy && n == 0)
        printf("Field \"%s\" is not a valid field to query.\n\n", text);
    free(copy);
    return n;
}

static void print_header(const struct field *const *fields, size_t n)
{
    for (size_t i = 0; i < n; i++) {
        /* The fields of settings and counters show as they are, those with a unit with it. */
        printf("%s%s", i ? ", " : "", fields[i]->name);
        if (fields[i]->unit != PLAIN)
            printf(" [%s]", unit_name[fields[i]->unit]);
    }
    printf("\n");
}

/* The cell as it is printed: with its unit when asked, or why there is no value. */
static void cell(const struct field *field, const struct subject *s, bool units, char to[CELL])
{
    int r = field->get(s, to);
    size_t used = strnlen(to, CELL - 1);
    if (r == DV_NVML_ERROR_GPU_IS_LOST)
        snprintf(to, CELL, "[GPU is lost]");
    else if (r != DV_NVML_SUCCESS)
        snprintf(to, CELL, "%s", r == DV_NVML_ERROR_NOT_SUPPORTED ? "[N/A]" : "[Unknown Error]");
    else if (units && field->unit != PLAIN)
        snprintf(to + used, CELL - used, " %s", unit_name[field->unit]);
}

static void print_row(const struct field *const *fields, size_t n, const struct subject *s,
                      bool units)
{
    for (size_t i = 0; i < n; i++) {
        char text[CELL] = "";
        cell(fields[i], s, units, text);
        printf("%s%s", i ? ", " : "", text);
    }
    printf("\n");
}

static void timestamp(char to[64])
{
    struct timespec t;
    struct tm tm;
    char date[32];
    clock_gettime(CLOCK_REALTIME, &t);
    strftime(date, sizeof(date), "%Y/%m/%d %H:%M:%S", localtime_r(&t.tv_sec, &tm));
    snprintf(to, 64, "%s.%03ld", date, t.tv_nsec / 1000000);
}

int dv_smi_query_gpu(const struct dv_smi_gpu *gpus, size_t n, const char *fields,
                     struct dv_smi_format format)
{
    const struct field *wanted[FIELDS_MAX];
    char now[64];
    size_t n_wanted = parse(gpu_fields, sizeof(gpu_fields) / sizeof(gpu_fields[0]), fields, wanted);
    if (!n_wanted)
        return DV_SMI_USAGE;
    timestamp(now);
    if (format.header)
        print_header(wanted, n_wanted);
    for (size_t i = 0; i < n; i++) {
        struct subject s = {.gpu = &gpus[i], .timestamp = now, .gpus = n};
        print_row(wanted, n_wanted, &s, format.units);
    }
    return 0;
}

bool dv_smi_is_mps_client(const struct dv_smi_gpu *g, uint32_t pid)
{
    struct dv_nvml_process_info clients[PROCESSES_MAX];
    uint32_t n = PROCESSES_MAX;
    if (dv_smi.nvmlDeviceGetMPSComputeRunningProcesses_v3(g->device, &n, clients))
        return false;
    for (uint32_t i = 0; i < n; i++)
        if (clients[i].pid == pid)
            return true;
    return false;
}

static uint32_t processes(const struct dv_smi_gpu *g, struct dv_nvml_process_info *ret)
{
    uint32_t n = PROCESSES_MAX;
    return dv_smi.nvmlDeviceGetComputeRunningProcesses_v3(g->device, &n, ret) ? 0 : n;
}

int dv_smi_query_apps(const struct dv_smi_gpu *gpus, size_t n, const char *fields,
                      struct dv_smi_format format)
{
    const struct field *wanted[FIELDS_MAX];
    char now[64];
    size_t n_wanted = parse(app_fields, sizeof(app_fields) / sizeof(app_fields[0]), fields, wanted);
    if (!n_wanted)
        return DV_SMI_USAGE;
    struct dv_nvml_process_info *all = calloc(PROCESSES_MAX, sizeof(*all));
    timestamp(now);
    if (format.header)
        print_header(wanted, n_wanted);
    for (size_t i = 0; all && i < n; i++) {
        uint32_t count = processes(&gpus[i], all);
        for (uint32_t k = 0; k < count; k++) {
            struct subject s = {.gpu = &gpus[i], .process = &all[k], .timestamp = now, .gpus = n};
            print_row(wanted, n_wanted, &s, format.units);
        }
    }
    free(all);
    return 0;
}

int dv_smi_help_query(bool apps)
{
    const struct field *table = apps ? app_fields : gpu_fields;
    size_t n = apps ? sizeof(app_fields) / sizeof(app_fields[0])
                    : sizeof(gpu_fields) / sizeof(gpu_fields[0]);
    printf("List of valid properties to query for the switch \"--query-%s=\":\n\n",
           apps ? "compute-apps" : "gpu");
    for (size_t i = 0; i < n; i++) {
        if (table[i].alias)
            printf("\"%s\" or \"%s\"\n", table[i].name, table[i].alias);
        else
            printf("\"%s\"\n", table[i].name);
    }
    return 0;
}

/* ---- -q ----------------------------------------------------------------------------------------
 */

/* The lines of nvidia-smi's log: how deep, what it is called, which field; NULL begins a section.
 */
static const struct {
    int depth;
    const char *label, *field;
} log_lines[] = {
    {1, "Product Name", "name"},
    {1, "Display Mode", "display_mode"},
    {1, "Display Active", "display_active"},
    {1, "Persistence Mode", "persistence_mode"},
    {1, "MIG Mode", NULL},
    {2, "Current", "mig.mode.current"},
    {2, "Pending", "mig.mode.pending"},
    {1, "Accounting Mode", "accounting.mode"},
    {1, "Serial Number", "serial"},
    {1, "GPU UUID", "uuid"},
    {1, "VBIOS Version", "vbios_version"},
    {1, "PCI", NULL},
    {2, "Bus", "pci.bus"},
    {2, "Device", "pci.device"},
    {2, "Domain", "pci.domain"},
    {2, "Device Id", "pci.device_id"},
    {2, "Bus Id", "pci.bus_id"},
    {2, "Sub System Id", "pci.sub_device_id"},
    {2, "GPU Link Info", NULL},
    {3, "PCIe Generation", NULL},
    {4, "Max", "pcie.link.gen.max"},
    {4, "Current", "pcie.link.gen.current"},
    {3, "Link Width", NULL},
    {4, "Max", "pcie.link.width.max"},
    {4, "Current", "pcie.link.width.current"},
    {1, "Fan Speed", "fan.speed"},
    {1, "Performance State", "pstate"},
    {1, "Clocks Event Reasons", NULL},
    {2, "Idle", "clocks_event_reasons.gpu_idle"},
    {2, "SW Power Cap", "clocks_event_reasons.sw_power_cap"},
    {2, "HW Slowdown", "clocks_event_reasons.hw_slowdown"},
    {2, "SW Thermal Slowdown", "clocks_event_reasons.sw_thermal_slowdown"},
    {1, "FB Memory Usage", NULL},
    {2, "Total", "memory.total"},
    {2, "Reserved", "memory.reserved"},
    {2, "Used", "memory.used"},
    {2, "Free", "memory.free"},
    {1, "Compute Mode", "compute_mode"},
    {1, "Utilization", NULL},
    {2, "GPU", "utilization.gpu"},
    {2, "Memory", "utilization.memory"},
    {2, "Encoder", "utilization.encoder"},
    {2, "Decoder", "utilization.decoder"},
    {1, "ECC Mode", NULL},
    {2, "Current", "ecc.mode.current"},
    {2, "Pending", "ecc.mode.pending"},
    {1, "Temperature", NULL},
    {2, "GPU Current Temp", "temperature.gpu"},
    {1, "GPU Power Readings", NULL},
    {2, "Average Power Draw", "power.draw.average"},
    {2, "Instantaneous Power Draw", "power.draw.instant"},
    {2, "Current Power Limit", "enforced.power.limit"},
    {2, "Requested Power Limit", "power.limit"},
    {2, "Default Power Limit", "power.default_limit"},
    {2, "Min Power Limit", "power.min_limit"},
    {2, "Max Power Limit", "power.max_limit"},
    {1, "Clocks", NULL},
    {2, "Graphics", "clocks.current.graphics"},
    {2, "SM", "clocks.current.sm"},
    {2, "Memory", "clocks.current.memory"},
    {2, "Video", "clocks.current.video"},
    {1, "Max Clocks", NULL},
    {2, "Graphics", "clocks.max.graphics"},
    {2, "SM", "clocks.max.sm"},
    {2, "Memory", "clocks.max.memory"},
};

static void log_line(int depth, const char *label, const char *value)
{
    if (value)
        printf("%*s%-*s: %s\n", depth * 4, "", 42 - depth * 4, label, value);
    else
        printf("%*s%s\n", depth * 4, "", label);
}

static void log_processes(const struct dv_smi_gpu *g)
{
    struct dv_nvml_process_info *all = calloc(PROCESSES_MAX, sizeof(*all));
    uint32_t count = all ? processes(g, all) : 0;
    log_line(1, "Processes", count ? NULL : "None");
    for (uint32_t i = 0; i < count; i++) {
        struct subject s = {.gpu = g, .process = &all[i]};
        char text[CELL] = "";
        cell(find(app_fields, sizeof(app_fields) / sizeof(app_fields[0]), "pid"), &s, true, text);
        log_line(2, "Process ID", text);
        log_line(3, "Type", dv_smi_is_mps_client(g, all[i].pid) ? "M+C" : "C");
        cell(find(app_fields, sizeof(app_fields) / sizeof(app_fields[0]), "name"), &s, true, text);
        log_line(3, "Name", text);
        cell(find(app_fields, sizeof(app_fields) / sizeof(app_fields[0]), "used_memory"), &s, true,
             text);
        log_line(3, "Used GPU Memory", text);
    }
    free(all);
}

/* A value as the log has it: N/A without brackets, Celsius with its letter. */
static void log_field(const struct dv_smi_gpu *g, int depth, const char *label, const char *name)
{
    struct subject s = {.gpu = g, .timestamp = "", .gpus = 1};
    char text[CELL] = "";
    cell(find(gpu_fields, sizeof(gpu_fields) / sizeof(gpu_fields[0]), name), &s, true, text);
    if (strcmp(text, "[N/A]") == 0)
        snprintf(text, sizeof(text), "N/A");
    else if (strcmp(name, "temperature.gpu") == 0)
        strncat(text, " C", sizeof(text) - strlen(text) - 1);
    log_line(depth, label, text);
}

int dv_smi_log(const struct dv_smi_gpu *gpus, size_t n)
{
    char driver[DV_NVML_VERSION_TEXT_SIZE] = "N/A", cuda[32], count[16], now[64];
    uint32_t all = 0;
    int version = 0;
    time_t t = time(NULL);
    struct tm tm;
    dv_smi.nvmlSystemGetDriverVersion(driver, sizeof(driver));
    dv_smi.nvmlSystemGetCudaDriverVersion_v2(&version);
    dv_smi.nvmlDeviceGetCount_v2(&all);
    snprintf(cuda, sizeof(cuda), "%d.%d", version / 1000, version % 1000 / 10);
    snprintf(count, sizeof(count), "%u", all);
    strftime(now, sizeof(now), "%a %b %e %H:%M:%S %Y", localtime_r(&t, &tm));
    printf("\n==============NVSMI LOG==============\n\n");
    log_line(0, "Timestamp", now);
    log_line(0, "Driver Version", driver);
    log_line(0, "CUDA Version", cuda);
    printf("\n");
    log_line(0, "Attached GPUs", count);
    for (size_t i = 0; i < n; i++) {
        printf("GPU %s\n", gpus[i].bus_id);
        for (size_t k = 0; k < sizeof(log_lines) / sizeof(log_lines[0]); k++) {
            if (log_lines[k].field)
                log_field(&gpus[i], log_lines[k].depth, log_lines[k].label, log_lines[k].field);
            else
                log_line(log_lines[k].depth, log_lines[k].label, NULL);
        }
        log_processes(&gpus[i]);
        printf("\n");
    }
    return 0;
}
