/* SPDX-License-Identifier: Apache-2.0 */
#include "hardware/nvml_accounting.h"

#include <dlfcn.h>
#include <time.h>

#define FULL 10000u /* a sample's 100 %, in hundredths of a percent */

void dv_nvml_accounting_load(void *library, struct dv_nvml_accounting *ret)
{
    ret->get = (__typeof__(ret->get))dlsym(library, "nvmlDeviceGetAccountingMode");
    ret->set = (__typeof__(ret->set))dlsym(library, "nvmlDeviceSetAccountingMode");
    ret->stats = (__typeof__(ret->stats))dlsym(library, "nvmlDeviceGetAccountingStats");
    ret->stats_v2 = (__typeof__(ret->stats_v2))dlsym(library, "nvmlDeviceGetAccountingStats_v2");
}

uint32_t dv_nvml_accounting_mode(const struct dv_nvml_accounting *a, struct dv_nvml_device *d)
{
    uint32_t mode;
    if (!a->get || a->get(d, &mode) != DV_NVML_SUCCESS || mode > 1)
        return DV_FACT_UNKNOWN32;
    return mode;
}

/* Who has not the rights to set it need not, where somebody else has done so. */
int dv_nvml_accounting_set(const struct dv_nvml_accounting *a, struct dv_nvml_device *d, bool on)
{
    if (!a->set)
        return DV_NVML_ERROR_FUNCTION_NOT_FOUND;
    if (dv_nvml_accounting_mode(a, d) == on)
        return DV_NVML_SUCCESS;
    return a->set(d, on);
}

static uint64_t wall_us(void)
{
    struct timespec t;
    clock_gettime(CLOCK_REALTIME, &t);
    return (uint64_t)t.tv_sec * 1000000 + (uint64_t)t.tv_nsec / 1000;
}

/* The first form has the mean alone, in whole percents: as if it were one sample. */
static int read_first_form(const struct dv_nvml_accounting *a, struct dv_nvml_device *d,
                           uint32_t pid, struct dv_nvml_accounting_stats_v2 *ret)
{
    struct dv_nvml_accounting_stats s = {0};
    int rc = a->stats ? a->stats(d, pid, &s) : DV_NVML_ERROR_FUNCTION_NOT_FOUND;
    *ret = (struct dv_nvml_accounting_stats_v2){.pid = pid,
                                                .is_running = s.is_running,
                                                .gpu_utilization = s.gpu_utilization,
                                                .max_memory_usage = s.max_memory_usage,
                                                .time_ms = s.time_ms,
                                                .start_time_us = s.start_time_us};
    return rc;
}

int dv_nvml_accounting_read(const struct dv_nvml_accounting *a, struct dv_nvml_device *d,
                            uint32_t pid, struct dv_facts_accounted *ret)
{
    struct dv_nvml_accounting_stats_v2 s = {.pid = pid};
    int rc = a->stats_v2 ? a->stats_v2(d, &s) : DV_NVML_ERROR_FUNCTION_NOT_FOUND;
    if (rc == DV_NVML_ERROR_FUNCTION_NOT_FOUND)
        rc = read_first_form(a, d, pid, &s);
    if (rc == DV_NVML_SUCCESS)
        dv_nvml_accounting_convert(&s, wall_us(), ret);
    return rc;
}

static uint64_t part(uint64_t whole, uint64_t n, uint64_t of)
{
    return (uint64_t)((unsigned __int128)whole * DV_MIN(n, of) / of);
}

/* A mean of no samples (a life shorter than one) is what the whole percents say. */
void dv_nvml_accounting_convert(const struct dv_nvml_accounting_stats_v2 *s, uint64_t now_us,
                                struct dv_facts_accounted *ret)
{
    uint64_t life_us = now_us > s->start_time_us ? now_us - s->start_time_us : 0;
    uint64_t life = s->is_running ? life_us * 1000 : s->time_ms * DV_NS_PER_MS;
    *ret = (struct dv_facts_accounted){.pid = s->pid,
                                       .is_running = s->is_running != 0,
                                       .start_us = s->start_time_us,
                                       .life_ns = life,
                                       .max_memory_bytes = s->max_memory_usage};
    if (s->sample_count) {
        ret->busy_ns = part(life, s->sum_gpu_util, (uint64_t)FULL * s->sample_count);
        /* What one that runs has done since the last sample is not told yet. */
        ret->resolution_ns =
            s->is_running ? DV_MAX(DV_NS_PER_MS, life / s->sample_count) : DV_NS_PER_MS;
    } else {
        ret->busy_ns = part(life, s->gpu_utilization, 100);
        ret->resolution_ns = DV_MAX(DV_NS_PER_MS, life / 100);
    }
}
