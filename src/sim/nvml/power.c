/* SPDX-License-Identifier: Apache-2.0 */
/* Power, heat, clocks, memory errors, and the field values that gather them. */
#include "nvml/handles.h"

#include <string.h>
#include <time.h>

/* What the data sheets' boards have in common; the model does not know it better. */
#define SHUTDOWN_CELSIUS 92u
#define SLOWDOWN_CELSIUS 89u
#define MEMORY_MAX_CELSIUS 95u
#define GPU_MAX_CELSIUS 85u

DV_NV_U32(nvmlDeviceGetPowerUsage, DV_NV_GPU, 1, d.power_mw)
DV_NV_U32(nvmlDeviceGetPowerManagementMode, DV_NV_GPU, 1, 1)
DV_NV_U32(nvmlDeviceGetPowerManagementLimit, DV_NV_GPU, 1, d.power_limit_mw)
DV_NV_U32(nvmlDeviceGetPowerManagementDefaultLimit, DV_NV_GPU, 1, d.power_default_mw)
DV_NV_U32(nvmlDeviceGetEnforcedPowerLimit, DV_NV_GPU, 1, d.power_limit_mw)
DV_NV_U32(nvmlDeviceGetPowerSource, DV_NV_GPU, 1, 0) /* mains */
DV_NV_U32(nvmlDeviceGetFanSpeed, DV_NV_GPU, 0, 0)    /* the server's fans cool these boards */
DV_NV_U32(nvmlDeviceGetNumFans, DV_NV_GPU, 1, 0)

int nvmlDeviceGetFanSpeed_v2(struct dv_nvml_device *device, uint32_t fan, uint32_t *speed)
{
    return nvmlDeviceGetFanSpeed(device, speed);
}

int nvmlDeviceGetPowerManagementLimitConstraints(struct dv_nvml_device *device, uint32_t *min_mw,
                                                 uint32_t *max_mw)
{
    struct dv_sim_nvml_device d;
    int r = dv_nvhandles_read_gpu(__func__, device, &d);
    if (r != DV_NVML_SUCCESS)
        return r;
    if (!min_mw || !max_mw)
        return DV_NVML_ERROR_INVALID_ARGUMENT;
    *min_mw = d.power_min_mw;
    *max_mw = d.power_max_mw;
    return DV_NVML_SUCCESS;
}

int nvmlDeviceGetTotalEnergyConsumption(struct dv_nvml_device *device, uint64_t *mj)
{
    struct dv_sim_nvml_device d;
    int r = dv_nvhandles_read_gpu(__func__, device, &d);
    if (r != DV_NVML_SUCCESS)
        return r;
    if (!mj)
        return DV_NVML_ERROR_INVALID_ARGUMENT;
    if (d.architecture < DV_NVML_ARCH_VOLTA)
        return DV_NVML_ERROR_NOT_SUPPORTED;
    *mj = d.energy_uj / 1000;
    return DV_NVML_SUCCESS;
}

/* Boards from Ampere on stay in P0; the older rest in P8. */
static uint32_t performance_state(const struct dv_sim_nvml_device *d)
{
    return d->busy_permille == 0 && d->architecture == DV_NVML_ARCH_TURING ? 8 : 0;
}

DV_NV_U32(nvmlDeviceGetPerformanceState, DV_NV_GPU, 1, performance_state(&d))
DV_NV_U32(nvmlDeviceGetPowerState, DV_NV_GPU, 1, performance_state(&d))

/* ---- heat -------------------------------------------------------------------------------------
 */

int nvmlDeviceGetTemperature(struct dv_nvml_device *device, uint32_t sensor, uint32_t *celsius)
{
    struct dv_sim_nvml_device d;
    int r = dv_nvhandles_read_gpu(__func__, device, &d);
    if (r != DV_NVML_SUCCESS)
        return r;
    if (!celsius || sensor != 0)
        return DV_NVML_ERROR_INVALID_ARGUMENT;
    *celsius = d.temperature;
    return DV_NVML_SUCCESS;
}

int nvmlDeviceGetTemperatureV(struct dv_nvml_device *device,
                              struct dv_nvml_temperature *temperature)
{
    struct dv_sim_nvml_device d;
    int r = dv_nvhandles_read_gpu(__func__, device, &d);
    if (r != DV_NVML_SUCCESS)
        return r;
    if (!temperature)
        return DV_NVML_ERROR_INVALID_ARGUMENT;
    if (temperature->version != DV_NVML_VERSION(dv_nvml_temperature, 1))
        return DV_NVML_ERROR_ARGUMENT_VERSION_MISMATCH;
    if (temperature->sensor != 0)
        return DV_NVML_ERROR_INVALID_ARGUMENT;
    temperature->celsius = (int32_t)d.temperature;
    return DV_NVML_SUCCESS;
}

int nvmlDeviceGetTemperatureThreshold(struct dv_nvml_device *device, uint32_t threshold,
                                      uint32_t *celsius)
{
    static const uint32_t limit[] = {SHUTDOWN_CELSIUS, SLOWDOWN_CELSIUS, MEMORY_MAX_CELSIUS,
                                     GPU_MAX_CELSIUS};
    struct dv_sim_nvml_device d;
    int r = dv_nvhandles_read_gpu(__func__, device, &d);
    if (r != DV_NVML_SUCCESS)
        return r;
    if (!celsius || threshold > 7)
        return DV_NVML_ERROR_INVALID_ARGUMENT;
    if (threshold > DV_NVML_THRESHOLD_GPU_MAX)
        return DV_NVML_ERROR_NOT_SUPPORTED;
    *celsius = limit[threshold];
    return DV_NVML_SUCCESS;
}

int nvmlDeviceGetMarginTemperature(struct dv_nvml_device *device,
                                   struct dv_nvml_margin_temperature *margin)
{
    struct dv_sim_nvml_device d;
    int r = dv_nvhandles_read_gpu(__func__, device, &d);
    if (r != DV_NVML_SUCCESS)
        return r;
    if (!margin)
        return DV_NVML_ERROR_INVALID_ARGUMENT;
    if (margin->version != DV_NVML_VERSION(dv_nvml_margin_temperature, 1))
        return DV_NVML_ERROR_ARGUMENT_VERSION_MISMATCH;
    margin->celsius = (int32_t)GPU_MAX_CELSIUS - (int32_t)d.temperature;
    return DV_NVML_SUCCESS;
}

/* ---- clocks -----------------------------------------------------------------------------------
 */

static int clock_of(const char *function, struct dv_nvml_device *device, uint32_t clock, bool max,
                    uint32_t *mhz)
{
    struct dv_sim_nvml_device d;
    int r = dv_nvhandles_read_gpu(function, device, &d);
    if (r != DV_NVML_SUCCESS)
        return r;
    if (!mhz || clock >= DV_NVML_CLOCK_COUNT)
        return DV_NVML_ERROR_INVALID_ARGUMENT;
    *mhz = max ? d.max_clock_sm_mhz : d.clock_sm_mhz;
    if (clock == DV_NVML_CLOCK_MEM)
        *mhz = max ? d.max_clock_memory_mhz : d.clock_memory_mhz;
    else if (clock == DV_NVML_CLOCK_VIDEO)
        *mhz = *mhz * 9 / 10; /* the video clock follows the SM clock below it */
    return DV_NVML_SUCCESS;
}

int nvmlDeviceGetClockInfo(struct dv_nvml_device *device, uint32_t clock, uint32_t *mhz)
{
    return clock_of(__func__, device, clock, false, mhz);
}

int nvmlDeviceGetMaxClockInfo(struct dv_nvml_device *device, uint32_t clock, uint32_t *mhz)
{
    return clock_of(__func__, device, clock, true, mhz);
}

int nvmlDeviceGetApplicationsClock(struct dv_nvml_device *device, uint32_t clock, uint32_t *mhz)
{
    return clock_of(__func__, device, clock, true, mhz);
}

int nvmlDeviceGetDefaultApplicationsClock(struct dv_nvml_device *device, uint32_t clock,
                                          uint32_t *mhz)
{
    return clock_of(__func__, device, clock, true, mhz);
}

int nvmlDeviceGetMaxCustomerBoostClock(struct dv_nvml_device *device, uint32_t clock, uint32_t *mhz)
{
    return clock_of(__func__, device, clock, true, mhz);
}

int nvmlDeviceGetClock(struct dv_nvml_device *device, uint32_t clock, uint32_t id, uint32_t *mhz)
{
    if (id > DV_NVML_CLOCK_ID_CUSTOMER_BOOST_MAX)
        return DV_NVML_ERROR_INVALID_ARGUMENT;
    return clock_of(__func__, device, clock, id != DV_NVML_CLOCK_ID_CURRENT, mhz);
}

static int one_clock(const char *function, struct dv_nvml_device *device, uint32_t clock,
                     uint32_t *count, uint32_t *mhz)
{
    uint32_t value;
    int r = clock_of(function, device, clock, true, &value);
    if (r != DV_NVML_SUCCESS)
        return r;
    if (!count)
        return DV_NVML_ERROR_INVALID_ARGUMENT;
    r = !mhz || *count < 1 ? DV_NVML_ERROR_INSUFFICIENT_SIZE : DV_NVML_SUCCESS;
    *count = 1;
    if (r == DV_NVML_SUCCESS)
        mhz[0] = value;
    return r;
}

int nvmlDeviceGetSupportedMemoryClocks(struct dv_nvml_device *device, uint32_t *count,
                                       uint32_t *mhz)
{
    return one_clock(__func__, device, DV_NVML_CLOCK_MEM, count, mhz);
}

int nvmlDeviceGetSupportedGraphicsClocks(struct dv_nvml_device *device, uint32_t memory_mhz,
                                         uint32_t *count, uint32_t *mhz)
{
    uint32_t memory;
    int r = clock_of(__func__, device, DV_NVML_CLOCK_MEM, true, &memory);
    if (r != DV_NVML_SUCCESS)
        return r;
    if (memory != memory_mhz)
        return DV_NVML_ERROR_NOT_FOUND;
    return one_clock(__func__, device, DV_NVML_CLOCK_GRAPHICS, count, mhz);
}

static int reasons(const char *function, struct dv_nvml_device *device, bool supported,
                   uint64_t *ret)
{
    struct dv_sim_nvml_device d;
    int r = dv_nvhandles_read_gpu(function, device, &d);
    if (r != DV_NVML_SUCCESS)
        return r;
    if (!ret)
        return DV_NVML_ERROR_INVALID_ARGUMENT;
    *ret = supported         ? DV_NVML_CLOCKS_EVENT_ALL
           : d.busy_permille ? 0
                             : DV_NVML_CLOCKS_EVENT_GPU_IDLE;
    return DV_NVML_SUCCESS;
}

int nvmlDeviceGetCurrentClocksThrottleReasons(struct dv_nvml_device *device, uint64_t *ret)
{
    return reasons(__func__, device, false, ret);
}

int nvmlDeviceGetCurrentClocksEventReasons(struct dv_nvml_device *device, uint64_t *ret)
{
    return reasons(__func__, device, false, ret);
}

int nvmlDeviceGetSupportedClocksThrottleReasons(struct dv_nvml_device *device, uint64_t *ret)
{
    return reasons(__func__, device, true, ret);
}

int nvmlDeviceGetSupportedClocksEventReasons(struct dv_nvml_device *device, uint64_t *ret)
{
    return reasons(__func__, device, true, ret);
}

static uint64_t now_us(void)
{
    struct timespec t;
    clock_gettime(CLOCK_REALTIME, &t);
    return (uint64_t)t.tv_sec * 1000000 + (uint64_t)t.tv_nsec / 1000;
}

int nvmlDeviceGetViolationStatus(struct dv_nvml_device *device, uint32_t policy,
                                 struct dv_nvml_violation_time *time)
{
    struct dv_nv_place p;
    int r = dv_nvhandles_check(__func__, device, &p);
    if (r != DV_NVML_SUCCESS)
        return r;
    if (!time || policy > 11)
        return DV_NVML_ERROR_INVALID_ARGUMENT;
    *time = (struct dv_nvml_violation_time){.reference_us = now_us()};
    return DV_NVML_SUCCESS;
}

/* ---- errors of the memory: those that are injected, all of them uncorrectable and in DRAM -----
 */

/* How many of this kind there were. */
static int errors(const char *function, struct dv_nvml_device *device, uint32_t error,
                  uint32_t counter, uint64_t *ret)
{
    struct dv_sim_nvml_device d;
    int r = dv_nvhandles_read_gpu(function, device, &d);
    if (r != DV_NVML_SUCCESS)
        return r;
    if (!d.ecc)
        return DV_NVML_ERROR_NOT_SUPPORTED;
    if (!ret || error > DV_NVML_ECC_UNCORRECTED || counter > DV_NVML_ECC_AGGREGATE)
        return DV_NVML_ERROR_INVALID_ARGUMENT;
    *ret = error == DV_NVML_ECC_CORRECTED     ? 0
           : counter == DV_NVML_ECC_AGGREGATE ? d.ecc_aggregate
                                              : d.ecc_volatile;
    return DV_NVML_SUCCESS;
}

int nvmlDeviceGetTotalEccErrors(struct dv_nvml_device *device, uint32_t error, uint32_t counter,
                                uint64_t *count)
{
    return errors(__func__, device, error, counter, count);
}

int nvmlDeviceGetDetailedEccErrors(struct dv_nvml_device *device, uint32_t error, uint32_t counter,
                                   struct dv_nvml_ecc_counts *counts)
{
    uint64_t n;
    int r = errors(__func__, device, error, counter, counts ? &n : NULL);
    if (r == DV_NVML_SUCCESS)
        *counts = (struct dv_nvml_ecc_counts){.device_memory = n};
    return r;
}

#define LOCATION_DRAM 2 /* NVML_MEMORY_LOCATION_DEVICE_MEMORY and _DRAM */

int nvmlDeviceGetMemoryErrorCounter(struct dv_nvml_device *device, uint32_t error, uint32_t counter,
                                    uint32_t location, uint64_t *count)
{
    if (location > 7)
        return DV_NVML_ERROR_INVALID_ARGUMENT;
    int r = errors(__func__, device, error, counter, count);
    if (r == DV_NVML_SUCCESS && location != LOCATION_DRAM)
        *count = 0;
    return r;
}

/* The injected ones stay until the injections are cleared. */
int nvmlDeviceClearEccErrorCounts(struct dv_nvml_device *device, uint32_t counter)
{
    uint64_t count;
    return errors(__func__, device, 0, counter, &count);
}

/* Ampere and later remap rows; the older retire pages. */
int nvmlDeviceGetRetiredPages_v2(struct dv_nvml_device *device, uint32_t cause, uint32_t *count,
                                 uint64_t *addresses, uint64_t *timestamps)
{
    struct dv_sim_nvml_device d;
    int r = dv_nvhandles_read_gpu(__func__, device, &d);
    if (r != DV_NVML_SUCCESS)
        return r;
    if (!count || cause > 1)
        return DV_NVML_ERROR_INVALID_ARGUMENT;
    if (!d.ecc || d.architecture >= DV_NVML_ARCH_AMPERE)
        return DV_NVML_ERROR_NOT_SUPPORTED;
    *count = 0; /* addresses are not simulated */
    return DV_NVML_SUCCESS;
}

int nvmlDeviceGetRetiredPages(struct dv_nvml_device *device, uint32_t cause, uint32_t *count,
                              uint64_t *addresses)
{
    return nvmlDeviceGetRetiredPages_v2(device, cause, count, addresses, NULL);
}

DV_NV_U32(nvmlDeviceGetRetiredPagesPendingStatus, DV_NV_GPU,
          d.ecc &&d.architecture < DV_NVML_ARCH_AMPERE, d.rows_pending != 0)

int nvmlDeviceGetRemappedRows(struct dv_nvml_device *device, uint32_t *corrected,
                              uint32_t *uncorrected, uint32_t *pending, uint32_t *failure)
{
    struct dv_sim_nvml_device d;
    int r = dv_nvhandles_read_gpu(__func__, device, &d);
    if (r != DV_NVML_SUCCESS)
        return r;
    if (!corrected || !uncorrected || !pending || !failure)
        return DV_NVML_ERROR_INVALID_ARGUMENT;
    if (!d.ecc || d.architecture < DV_NVML_ARCH_AMPERE)
        return DV_NVML_ERROR_NOT_SUPPORTED;
    *corrected = 0;
    *uncorrected = d.rows_remapped + d.rows_pending;
    *pending = d.rows_pending != 0;
    *failure = d.rows_failure;
    return DV_NVML_SUCCESS;
}

int nvmlDeviceGetRowRemapperHistogram(struct dv_nvml_device *device,
                                      struct dv_nvml_row_remapper_histogram *histogram)
{
    struct dv_sim_nvml_device d;
    int r = dv_nvhandles_read_gpu(__func__, device, &d);
    if (r != DV_NVML_SUCCESS)
        return r;
    if (!histogram)
        return DV_NVML_ERROR_INVALID_ARGUMENT;
    if (!d.ecc || d.architecture < DV_NVML_ARCH_AMPERE)
        return DV_NVML_ERROR_NOT_SUPPORTED;
    *histogram = (struct dv_nvml_row_remapper_histogram){.max = 640};
    return DV_NVML_SUCCESS;
}

/* ---- field values -----------------------------------------------------------------------------
 */

static void put_u32(struct dv_nvml_field_value *f, uint32_t value)
{
    f->value_type = DV_NVML_VALUE_UNSIGNED_INT;
    f->value.u32 = value;
}

static void put_u64(struct dv_nvml_field_value *f, uint64_t value)
{
    f->value_type = DV_NVML_VALUE_UNSIGNED_LONG_LONG;
    f->value.u64 = value;
}

/* false: a field of another group. */
static bool power_field(const struct dv_sim_nvml_device *d, struct dv_nvml_field_value *f)
{
    switch (f->field) {
    case DV_NVML_FIELD_TOTAL_ENERGY:
    case DV_NVML_FIELD_ENERGY:
        put_u64(f, d->energy_uj / 1000);
        return true;
    case DV_NVML_FIELD_POWER_AVERAGE:
    case DV_NVML_FIELD_POWER_INSTANT:
        put_u32(f, d->power_mw);
        return true;
    case DV_NVML_FIELD_POWER_MIN_LIMIT:
        put_u32(f, d->power_min_mw);
        return true;
    case DV_NVML_FIELD_POWER_MAX_LIMIT:
        put_u32(f, d->power_max_mw);
        return true;
    case DV_NVML_FIELD_POWER_DEFAULT_LIMIT:
        put_u32(f, d->power_default_mw);
        return true;
    case DV_NVML_FIELD_POWER_CURRENT_LIMIT:
    case DV_NVML_FIELD_POWER_REQUESTED_LIMIT:
        put_u32(f, d->power_limit_mw);
        return true;
    case DV_NVML_FIELD_MEMORY_TEMPERATURE:
        put_u32(f, d->temperature);
        return true;
    default:
        return false;
    }
}

static uint32_t retired_field(const struct dv_sim_nvml_device *d, uint32_t field)
{
    if (field == DV_NVML_FIELD_RETIRED_DBE)
        return d->rows_remapped + d->rows_pending;
    return field == DV_NVML_FIELD_RETIRED_PENDING && d->rows_pending;
}

static uint32_t remapped_field(const struct dv_sim_nvml_device *d, uint32_t field)
{
    if (field == DV_NVML_FIELD_REMAPPED_UNCORRECTED)
        return d->rows_remapped + d->rows_pending;
    if (field == DV_NVML_FIELD_REMAPPED_PENDING)
        return d->rows_pending != 0;
    return field == DV_NVML_FIELD_REMAPPED_FAILURE && d->rows_failure;
}

static bool error_field(const struct dv_sim_nvml_device *d, struct dv_nvml_field_value *f)
{
    bool remaps = d->architecture >= DV_NVML_ARCH_AMPERE;
    if (f->field <= DV_NVML_FIELD_ECC_PENDING && f->field)
        put_u32(f, d->ecc);
    else if (f->field <= 28 && f->field) /* the ECC counters */
        put_u64(f, f->field == DV_NVML_FIELD_ECC_DBE_VOL_TOTAL   ? d->ecc_volatile
                   : f->field == DV_NVML_FIELD_ECC_DBE_AGG_TOTAL ? d->ecc_aggregate
                                                                 : 0);
    else if (f->field >= DV_NVML_FIELD_RETIRED_SBE && f->field <= DV_NVML_FIELD_RETIRED_PENDING &&
             !remaps)
        put_u32(f, retired_field(d, f->field));
    else if (f->field >= DV_NVML_FIELD_REMAPPED_CORRECTED &&
             f->field <= DV_NVML_FIELD_REMAPPED_FAILURE && remaps)
        put_u32(f, remapped_field(d, f->field));
    else
        return false;
    return d->ecc;
}

static bool link_field(const struct dv_sim_nvml_device *d, struct dv_nvml_field_value *f)
{
    static const uint32_t mbps[] = {0, 20000, 25781, 25781, 26562, 53125};
    bool link = d->nvlinks && d->nvlink_version < sizeof(mbps) / sizeof(mbps[0]);
    switch (f->field) {
    case DV_NVML_FIELD_NVLINK_LINK_COUNT:
        put_u32(f, d->nvlinks);
        return true;
    case DV_NVML_FIELD_NVLINK_SPEED_MBPS:
    case DV_NVML_FIELD_NVLINK_SPEED:
        put_u32(f, link ? mbps[d->nvlink_version] : 0);
        return link;
    case DV_NVML_FIELD_NVLINK_STATE:
        put_u32(f, 1);
        return link && f->scope < d->nvlinks;
    case DV_NVML_FIELD_NVLINK_DATA_TX:
    case DV_NVML_FIELD_NVLINK_DATA_RX:
    case DV_NVML_FIELD_NVLINK_RAW_TX:
    case DV_NVML_FIELD_NVLINK_RAW_RX:
    case DV_NVML_FIELD_NVLINK_CRC_FLIT_TOTAL:
    case DV_NVML_FIELD_NVLINK_CRC_DATA_TOTAL:
    case DV_NVML_FIELD_NVLINK_REPLAY_TOTAL:
    case DV_NVML_FIELD_NVLINK_RECOVERY_TOTAL:
        put_u64(f, 0); /* no traffic between GPUs is simulated */
        return link;
    case DV_NVML_FIELD_PCIE_REPLAY:
        put_u32(f, 0);
        return true;
    case DV_NVML_FIELD_RESETLESS_MIG:
        put_u32(f, d->mig_capable && !d->mig_needs_reset);
        return true;
    case DV_NVML_FIELD_RECOVERY_ACTION:
        put_u32(f, 0);
        return true;
    default:
        return f->field >= DV_NVML_FIELD_PERF_POLICY_POWER && f->field <= 81 && (put_u64(f, 0), 1);
    }
}

int nvmlDeviceGetFieldValues(struct dv_nvml_device *device, int count,
                             struct dv_nvml_field_value *values)
{
    struct dv_sim_nvml_device d;
    int r = dv_nvhandles_read(__func__, device, &d);
    if (r != DV_NVML_SUCCESS)
        return r;
    if (!values || count < 1)
        return DV_NVML_ERROR_INVALID_ARGUMENT;
    for (int i = 0; i < count; i++) {
        struct dv_nvml_field_value *f = &values[i];
        f->timestamp_us = (int64_t)now_us();
        f->latency_us = 0;
        f->value.u64 = 0;
        if (f->field == 0 || f->field >= DV_NVML_FIELD_COUNT)
            f->result = DV_NVML_ERROR_INVALID_ARGUMENT;
        else if (d.gi == DV_SIM_NVML_NONE &&
                 (power_field(&d, f) || error_field(&d, f) || link_field(&d, f)))
            f->result = DV_NVML_SUCCESS;
        else
            f->result = DV_NVML_ERROR_NOT_SUPPORTED;
    }
    return DV_NVML_SUCCESS;
}

int nvmlDeviceClearFieldValues(struct dv_nvml_device *device, int count,
                               struct dv_nvml_field_value *values)
{
    return nvmlDeviceGetFieldValues(device, count, values);
}
