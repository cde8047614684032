/* SPDX-License-Identifier: Apache-2.0 */
#include "hardware/nvml_telemetry.h"

#include "abi_nvml.h"
#include "sys/clock.h"

#include <dlfcn.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#define CALLS(X)                                                                                   \
    X(nvmlDeviceGetClockInfo)                                                                      \
    X(nvmlDeviceGetTemperatureV)                                                                   \
    X(nvmlDeviceGetTemperature)                                                                    \
    X(nvmlDeviceGetPowerUsage)                                                                     \
    X(nvmlDeviceGetTotalEnergyConsumption)                                                         \
    X(nvmlDeviceGetUtilizationRates)                                                               \
    X(nvmlDeviceGetEncoderUtilization)                                                             \
    X(nvmlDeviceGetDecoderUtilization)                                                             \
    X(nvmlDeviceGetMemoryInfo_v2)                                                                  \
    X(nvmlDeviceGetMemoryInfo)                                                                     \
    X(nvmlDeviceGetPcieReplayCounter)                                                              \
    X(nvmlDeviceGetRemappedRows)                                                                   \
    X(nvmlDeviceGetTotalEccErrors)                                                                 \
    X(nvmlDeviceGetFieldValues)                                                                    \
    X(nvmlDeviceGetMigMode)                                                                        \
    X(nvmlDeviceGetMaxMigDeviceCount)                                                              \
    X(nvmlDeviceGetMigDeviceHandleByIndex)                                                         \
    X(nvmlDeviceGetGpuInstanceId)                                                                  \
    X(nvmlGpmQueryDeviceSupport)                                                                   \
    X(nvmlGpmSampleAlloc)                                                                          \
    X(nvmlGpmSampleFree)                                                                           \
    X(nvmlGpmSampleGet)                                                                            \
    X(nvmlGpmMigSampleGet)                                                                         \
    X(nvmlGpmMetricsGet)

#define WHOLE UINT32_MAX
#define INTERVAL_MIN_NS (100 * DV_NS_PER_MS) /* that the driver's documentation asks for */
#define MIG_DEVICES_MAX 64u

/* Of one GPU instance, or of a whole GPU. */
struct tracked {
    uint32_t gi; /* WHOLE: the GPU */
    bool used, seen;
    struct dv_nvml_gpm_sample *last, *next; /* last is NULL before the first */
    uint64_t last_ns;
    struct dv_facts_gpm figures;
};

enum gpm_support { GPM_UNKNOWN, GPM_NO, GPM_YES };

struct dv_nvml_telemetry {
    struct {
        enum gpm_support gpm;
        struct tracked tracked[DV_FACTS_MIG_MAX + 1];
    } gpu[DV_FACTS_GPUS_MAX];
    struct dv_nvml_gpm_metrics_get *get;
#define X(name) __typeof__(&name) name;
    CALLS(X)
#undef X
};

#define CALL(self, name, ...)                                                                      \
    ((self)->name ? (self)->name(__VA_ARGS__) : DV_NVML_ERROR_FUNCTION_NOT_FOUND)

static void forget_gpm(struct dv_facts_gpm *g)
{
    memset(g, 0xff, sizeof *g);
    g->interval_ns = 0;
}

void dv_hardware_telemetry_forget(struct dv_facts_telemetry *t)
{
    memset(t, 0xff, sizeof *t); /* DV_FACT_UNKNOWN and DV_FACT_UNKNOWN32 */
    t->lost = t->failures = t->n_gi = 0;
    forget_gpm(&t->gpm);
}

/* Is there a value? An error other than "cannot say" is a failure, and there is none either. */
static bool has(struct dv_facts_telemetry *t, int rc)
{
    switch (rc) {
    case DV_NVML_SUCCESS:
        return true;
    case DV_NVML_ERROR_GPU_IS_LOST:
    case DV_NVML_ERROR_RESET_REQUIRED:
        t->lost = 1;
        return false;
    case DV_NVML_ERROR_NOT_SUPPORTED:
    case DV_NVML_ERROR_FUNCTION_NOT_FOUND:
    case DV_NVML_ERROR_NO_PERMISSION:
    case DV_NVML_ERROR_NOT_FOUND:
    case DV_NVML_ERROR_INVALID_ARGUMENT:
    case DV_NVML_ERROR_ARGUMENT_VERSION_MISMATCH:
    case DV_NVML_ERROR_NO_DATA:
        return false;
    default:
        t->failures++;
        return false;
    }
}

/* ---- plain figures ---- */

static void take32(struct dv_facts_telemetry *t, int rc, uint32_t value, uint32_t *ret)
{
    if (has(t, rc))
        *ret = value;
}

static void read_temperature(struct dv_nvml_telemetry *self, struct dv_nvml_device *d,
                             struct dv_facts_telemetry *t)
{
    struct dv_nvml_temperature v = {.version = DV_NVML_VERSION(dv_nvml_temperature, 1)};
    uint32_t celsius = 0;
    int rc = CALL(self, nvmlDeviceGetTemperatureV, d, &v);
    if (rc == DV_NVML_SUCCESS && v.celsius >= 0) {
        t->gpu_celsius = (uint32_t)v.celsius;
        return;
    }
    rc = CALL(self, nvmlDeviceGetTemperature, d, 0, &celsius);
    take32(t, rc, celsius, &t->gpu_celsius);
}

static void read_load(struct dv_nvml_telemetry *self, struct dv_nvml_device *d,
                      struct dv_facts_telemetry *t)
{
    struct dv_nvml_utilization u = {0};
    uint32_t value = 0, period;
    int rc = CALL(self, nvmlDeviceGetClockInfo, d, DV_NVML_CLOCK_SM, &value);
    take32(t, rc, value, &t->sm_mhz);
    rc = CALL(self, nvmlDeviceGetClockInfo, d, DV_NVML_CLOCK_MEM, &value);
    take32(t, rc, value, &t->memory_mhz);
    if (has(t, CALL(self, nvmlDeviceGetUtilizationRates, d, &u))) {
        t->gpu_percent = u.gpu;
        t->memory_percent = u.memory;
    }
    rc = CALL(self, nvmlDeviceGetEncoderUtilization, d, &value, &period);
    take32(t, rc, value, &t->encoder_percent);
    rc = CALL(self, nvmlDeviceGetDecoderUtilization, d, &value, &period);
    take32(t, rc, value, &t->decoder_percent);
}

static void read_power(struct dv_nvml_telemetry *self, struct dv_nvml_device *d,
                       struct dv_facts_telemetry *t)
{
    uint32_t mw = 0;
    uint64_t mj = 0;
    int rc = CALL(self, nvmlDeviceGetPowerUsage, d, &mw);
    take32(t, rc, mw, &t->power_mw);
    if (has(t, CALL(self, nvmlDeviceGetTotalEnergyConsumption, d, &mj)))
        t->energy_mj = mj;
}

/* Fields that have no call of their own, in one question. */
static void read_fields(struct dv_nvml_telemetry *self, struct dv_nvml_device *d,
                        struct dv_facts_telemetry *t)
{
    struct dv_nvml_field_value f = {.field = DV_NVML_FIELD_MEMORY_TEMPERATURE};
    int rc = CALL(self, nvmlDeviceGetFieldValues, d, 1, &f);
    /* 0 is what boards without that sensor say. */
    if (has(t, rc) && has(t, f.result) && f.value_type == DV_NVML_VALUE_UNSIGNED_INT && f.value.u32)
        t->memory_celsius = f.value.u32;
}

static void read_errors(struct dv_nvml_telemetry *self, struct dv_nvml_device *d,
                        struct dv_facts_telemetry *t)
{
    uint32_t corrected = 0, uncorrected = 0, pending = 0, failure = 0, replays = 0;
    uint64_t count = 0;
    int rc = CALL(self, nvmlDeviceGetPcieReplayCounter, d, &replays);
    take32(t, rc, replays, &t->pcie_replays);
    if (has(t, CALL(self, nvmlDeviceGetRemappedRows, d, &corrected, &uncorrected, &pending,
                    &failure))) {
        t->remapped_corrected = corrected;
        t->remapped_uncorrected = uncorrected;
        t->remap_failed = failure != 0;
    }
    if (has(t, CALL(self, nvmlDeviceGetTotalEccErrors, d, DV_NVML_ECC_CORRECTED,
                    DV_NVML_ECC_AGGREGATE, &count)))
        t->ecc_corrected = count;
    if (has(t, CALL(self, nvmlDeviceGetTotalEccErrors, d, DV_NVML_ECC_UNCORRECTED,
                    DV_NVML_ECC_AGGREGATE, &count)))
        t->ecc_uncorrected = count;
}

static void read_memory(struct dv_nvml_telemetry *self, struct dv_nvml_device *d,
                        struct dv_facts_telemetry *t, uint64_t *used, uint64_t *unused,
                        uint64_t *reserved)
{
    struct dv_nvml_memory_v2 v2 = {.version = DV_NVML_VERSION(dv_nvml_memory_v2, 2)};
    struct dv_nvml_memory v1 = {0};
    if (CALL(self, nvmlDeviceGetMemoryInfo_v2, d, &v2) == DV_NVML_SUCCESS) {
        *used = v2.used;
        *unused = v2.free;
        *reserved = v2.reserved;
    } else if (has(t, CALL(self, nvmlDeviceGetMemoryInfo, d, &v1))) {
        *used = v1.used;
        *unused = v1.free;
    }
}

/* ---- GPM ---- */

static bool gpm_supported(struct dv_nvml_telemetry *self, uint32_t index, struct dv_nvml_device *d)
{
    struct dv_nvml_gpm_support s = {.version = DV_NVML_GPM_VERSION};
    if (self->gpu[index].gpm != GPM_UNKNOWN)
        return self->gpu[index].gpm == GPM_YES;
    if (!self->get)
        self->get = malloc(sizeof *self->get +
                           DV_NVML_GPM_METRICS_ROOM * sizeof(struct dv_nvml_gpm_metric));
    if (!self->get)
        return false;
    int rc = CALL(self, nvmlGpmQueryDeviceSupport, d, &s);
    if (rc == DV_NVML_SUCCESS)
        self->gpu[index].gpm = s.supported ? GPM_YES : GPM_NO;
    else if (rc == DV_NVML_ERROR_NOT_SUPPORTED || rc == DV_NVML_ERROR_FUNCTION_NOT_FOUND)
        self->gpu[index].gpm = GPM_NO;
    return self->gpu[index].gpm == GPM_YES;
}

static void untrack(struct dv_nvml_telemetry *self, struct tracked *k)
{
    if (k->last)
        CALL(self, nvmlGpmSampleFree, k->last);
    if (k->next)
        CALL(self, nvmlGpmSampleFree, k->next);
    memset(k, 0, sizeof *k);
}

static struct tracked *track(struct dv_nvml_telemetry *self, uint32_t index, uint32_t gi)
{
    struct tracked *unused = NULL, *all = self->gpu[index].tracked;
    for (size_t i = 0; i < DV_ARRAY_SIZE(self->gpu[index].tracked); i++) {
        if (all[i].used && all[i].gi == gi)
            return &all[i];
        if (!all[i].used)
            unused = &all[i];
    }
    if (!unused || CALL(self, nvmlGpmSampleAlloc, &unused->next) != DV_NVML_SUCCESS)
        return NULL;
    unused->used = true;
    unused->gi = gi;
    forget_gpm(&unused->figures);
    return unused;
}

/* Percent as millionths; what makes no sense (a NaN too) is unknown. */
static uint32_t ppm(const struct dv_nvml_gpm_metric *m)
{
    bool sane = m->result == DV_NVML_SUCCESS && m->value >= 0 && m->value < 1000;
    return sane ? (uint32_t)(DV_MIN(m->value, 100.0) * 10000 + 0.5) : DV_FACT_UNKNOWN32;
}

static uint64_t bytes(const struct dv_nvml_gpm_metric *m)
{
    bool sane = m->result == DV_NVML_SUCCESS && m->value >= 0 && m->value < 1e9;
    return sane ? (uint64_t)(m->value * DV_MIB) : DV_FACT_UNKNOWN;
}

/* What happened between the two samples. */
static bool compare(struct dv_nvml_telemetry *self, struct tracked *k, struct dv_facts_gpm *ret)
{
    static const uint32_t ids[] = {
        DV_NVML_GPM_GRAPHICS_UTIL,
        DV_NVML_GPM_SM_UTIL,
        DV_NVML_GPM_SM_OCCUPANCY,
        DV_NVML_GPM_ANY_TENSOR_UTIL,
        DV_NVML_GPM_DRAM_BW_UTIL,
        DV_NVML_GPM_PCIE_TX_PER_SEC,
        DV_NVML_GPM_PCIE_RX_PER_SEC,
        DV_NVML_GPM_NVLINK_TOTAL_TX_PER_SEC,
        DV_NVML_GPM_NVLINK_TOTAL_RX_PER_SEC,
    };
    struct dv_nvml_gpm_metric *m = self->get->metrics;
    memset(m, 0, DV_NVML_GPM_METRICS_ROOM * sizeof *m);
    self->get->version = DV_NVML_GPM_VERSION;
    self->get->count = DV_ARRAY_SIZE(ids);
    self->get->first = k->last;
    self->get->second = k->next;
    for (size_t i = 0; i < DV_ARRAY_SIZE(ids); i++)
        m[i].id = ids[i];
    if (CALL(self, nvmlGpmMetricsGet, self->get) != DV_NVML_SUCCESS)
        return false;
    *ret = (struct dv_facts_gpm){.active_ppm = ppm(&m[0]),
                                 .sm_ppm = ppm(&m[1]),
                                 .occupancy_ppm = ppm(&m[2]),
                                 .tensor_ppm = ppm(&m[3]),
                                 .dram_ppm = ppm(&m[4]),
                                 .pcie_tx_bytes = bytes(&m[5]),
                                 .pcie_rx_bytes = bytes(&m[6]),
                                 .nvlink_tx_bytes = bytes(&m[7]),
                                 .nvlink_rx_bytes = bytes(&m[8])};
    return true;
}

static void read_gpm(struct dv_nvml_telemetry *self, uint32_t index, struct dv_nvml_device *d,
                     uint32_t gi, struct dv_facts_telemetry *t, struct dv_facts_gpm *ret)
{
    struct tracked *k = gpm_supported(self, index, d) ? track(self, index, gi) : NULL;
    if (!k)
        return;
    k->seen = true;
    uint64_t now = dv_clock_now();
    if (k->last && now - k->last_ns < INTERVAL_MIN_NS) {
        *ret = k->figures;
        return;
    }
    if (!k->next && CALL(self, nvmlGpmSampleAlloc, &k->next) != DV_NVML_SUCCESS)
        return;
    int rc = gi == WHOLE ? CALL(self, nvmlGpmSampleGet, d, k->next)
                         : CALL(self, nvmlGpmMigSampleGet, d, gi, k->next);
    if (!has(t, rc))
        return;
    forget_gpm(&k->figures);
    if (k->last && compare(self, k, &k->figures))
        k->figures.interval_ns = now - k->last_ns;
    struct dv_nvml_gpm_sample *older = k->last;
    k->last = k->next;
    k->next = older;
    k->last_ns = now;
    *ret = k->figures;
}

/* ---- instances ---- */

static bool has_gi(const struct dv_facts_telemetry *t, uint32_t id)
{
    for (uint32_t i = 0; i < t->n_gi; i++)
        if (t->gi[i].id == id)
            return true;
    return false;
}

/* Memory is a GPU instance's: its compute instances share it, so each instance counts once. */
static void read_instances(struct dv_nvml_telemetry *self, uint32_t index, struct dv_nvml_device *d,
                           struct dv_facts_telemetry *t)
{
    uint32_t current = 0, pending = 0, max = 0, id = 0;
    struct dv_nvml_device *mig = NULL;
    if (!has(t, CALL(self, nvmlDeviceGetMigMode, d, &current, &pending)) || !current ||
        !has(t, CALL(self, nvmlDeviceGetMaxMigDeviceCount, d, &max)))
        return;
    for (uint32_t i = 0; i < DV_MIN(max, MIG_DEVICES_MAX) && t->n_gi < DV_FACTS_MIG_MAX; i++) {
        if (CALL(self, nvmlDeviceGetMigDeviceHandleByIndex, d, i, &mig) != DV_NVML_SUCCESS ||
            !has(t, CALL(self, nvmlDeviceGetGpuInstanceId, mig, &id)) || has_gi(t, id))
            continue;
        struct dv_facts_telemetry_gi *gi = &t->gi[t->n_gi++];
        gi->id = id;
        forget_gpm(&gi->gpm);
        read_memory(self, mig, t, &gi->memory_used_bytes, &gi->memory_free_bytes,
                    &gi->memory_reserved_bytes);
        read_gpm(self, index, d, id, t, &gi->gpm);
    }
}

void dv_nvml_telemetry_read(struct dv_nvml_telemetry *self, uint32_t index,
                            struct dv_nvml_device *d, struct dv_facts_telemetry *t)
{
    if (index >= DV_FACTS_GPUS_MAX)
        return;
    struct tracked *all = self->gpu[index].tracked;
    read_memory(self, d, t, &t->memory_used_bytes, &t->memory_free_bytes,
                &t->memory_reserved_bytes);
    if (t->lost)
        return;
    read_temperature(self, d, t);
    read_load(self, d, t);
    read_power(self, d, t);
    read_fields(self, d, t);
    read_errors(self, d, t);
    read_gpm(self, index, d, WHOLE, t, &t->gpm);
    read_instances(self, index, d, t);
    for (size_t i = 0; i < DV_ARRAY_SIZE(self->gpu[index].tracked); i++) {
        if (all[i].used && !all[i].seen)
            untrack(self, &all[i]); /* an instance that is no more */
        all[i].seen = false;
    }
}

int dv_nvml_telemetry_new(void *lib, struct dv_nvml_telemetry **ret)
{
    struct dv_nvml_telemetry *self = calloc(1, sizeof *self);
    if (!self)
        return -ENOMEM;
#define X(name) self->name = (__typeof__(&name))dlsym(lib, #name);
    CALLS(X)
#undef X
    *ret = self;
    return 0;
}

void dv_nvml_telemetry_free(struct dv_nvml_telemetry *self)
{
    if (!self)
        return;
    for (uint32_t g = 0; g < DV_FACTS_GPUS_MAX; g++)
        for (size_t i = 0; i < DV_ARRAY_SIZE(self->gpu[g].tracked); i++)
            untrack(self, &self->gpu[g].tracked[i]);
    free(self->get);
    free(self);
}
