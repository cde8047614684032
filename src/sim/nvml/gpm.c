/* SPDX-License-Identifier: Apache-2.0 */
/*
 * GPM, of Hopper and later: a sample is the totals of one moment, a metric what two of them say
 * together. What the engine knows are times and SMs; memory bandwidth follows the SMs as the other
 * figures have it (server/cards.c); traffic over PCIe and NVLink is zero like everywhere here; what
 * kinds of instructions ran nobody knows: NOT_SUPPORTED.
 */
#include "nvml/handles.h"

#include <stdlib.h>

struct dv_nvml_gpm_sample {
    struct dv_nv_place place;
    struct dv_sim_nvml_counters totals; /* now_ns 0: nothing was taken yet */
};

int nvmlGpmQueryDeviceSupport(struct dv_nvml_device *device, struct dv_nvml_gpm_support *support)
{
    struct dv_sim_nvml_device d;
    int r = dv_nvhandles_read(__func__, device, &d);
    if (r != DV_NVML_SUCCESS)
        return r;
    if (!support)
        return DV_NVML_ERROR_INVALID_ARGUMENT;
    if (support->version != DV_NVML_GPM_VERSION)
        return DV_NVML_ERROR_ARGUMENT_VERSION_MISMATCH;
    support->supported = d.architecture >= DV_NVML_ARCH_HOPPER;
    return DV_NVML_SUCCESS;
}

int nvmlGpmSampleAlloc(struct dv_nvml_gpm_sample **sample)
{
    int r = dv_nvclient_ready();
    if (r != DV_NVML_SUCCESS)
        return r;
    if (!sample)
        return DV_NVML_ERROR_INVALID_ARGUMENT;
    *sample = calloc(1, sizeof(**sample));
    return *sample ? DV_NVML_SUCCESS : DV_NVML_ERROR_MEMORY;
}

int nvmlGpmSampleFree(struct dv_nvml_gpm_sample *sample)
{
    if (!sample)
        return DV_NVML_ERROR_INVALID_ARGUMENT;
    free(sample);
    return DV_NVML_SUCCESS;
}

static int take(const char *function, struct dv_nvml_device *device, const uint32_t *gi,
                struct dv_nvml_gpm_sample *sample)
{
    struct dv_sim_nvml_device d;
    struct dv_nv_place p;
    int r = dv_nvhandles_read(function, device, &d);
    if (r == DV_NVML_SUCCESS)
        r = dv_nvhandles_device(device, &p);
    if (r != DV_NVML_SUCCESS)
        return r;
    if (!sample || (gi && p.gi != DV_SIM_NVML_NONE))
        return DV_NVML_ERROR_INVALID_ARGUMENT;
    if (d.architecture < DV_NVML_ARCH_HOPPER || (gi && !d.mig_current))
        return DV_NVML_ERROR_NOT_SUPPORTED;
    if (gi)
        p.gi = *gi;
    struct dv_sim_nvml_request q = dv_nvclient_request(p.gpu, p.gi, DV_SIM_NVML_NONE);
    sample->place = p;
    return dv_nvclient_call(function, DV_SIM_NVML_COUNTERS, &q, &sample->totals,
                            sizeof(sample->totals), NULL);
}

int nvmlGpmSampleGet(struct dv_nvml_device *device, struct dv_nvml_gpm_sample *sample)
{
    return take(__func__, device, NULL, sample);
}

int nvmlGpmMigSampleGet(struct dv_nvml_device *device, uint32_t gpu_instance,
                        struct dv_nvml_gpm_sample *sample)
{
    return take(__func__, device, &gpu_instance, sample);
}

static double percent(uint64_t before, uint64_t after, double whole)
{
    double p = after > before && whole > 0 ? 100.0 * (double)(after - before) / whole : 0;
    return p > 100 ? 100 : p;
}

static int answer(struct dv_nvml_gpm_metric *m, const struct dv_sim_nvml_counters *a,
                  const struct dv_sim_nvml_counters *b)
{
    double wall = (double)(b->now_ns - a->now_ns);
    switch (m->id) {
    case DV_NVML_GPM_GRAPHICS_UTIL:
        m->value = percent(a->busy_ns, b->busy_ns, wall);
        return DV_NVML_SUCCESS;
    case DV_NVML_GPM_SM_UTIL:
        m->value = percent(a->busy_sm_ns, b->busy_sm_ns, wall * b->sm);
        return DV_NVML_SUCCESS;
    case DV_NVML_GPM_DRAM_BW_UTIL:
        m->value = percent(a->busy_ns, b->busy_ns, wall) / 2;
        return DV_NVML_SUCCESS;
    case DV_NVML_GPM_PCIE_TX_PER_SEC:
    case DV_NVML_GPM_PCIE_RX_PER_SEC:
    case DV_NVML_GPM_NVLINK_TOTAL_RX_PER_SEC:
    case DV_NVML_GPM_NVLINK_TOTAL_TX_PER_SEC:
        m->value = 0;
        return DV_NVML_SUCCESS;
    default:
        return DV_NVML_ERROR_NOT_SUPPORTED;
    }
}

int nvmlGpmMetricsGet(struct dv_nvml_gpm_metrics_get *get)
{
    int r = dv_nvclient_ready();
    if (r != DV_NVML_SUCCESS)
        return r;
    if (!get || !get->first || !get->second || get->count > DV_NVML_GPM_METRICS_ROOM)
        return DV_NVML_ERROR_INVALID_ARGUMENT;
    if (get->version != DV_NVML_GPM_VERSION)
        return DV_NVML_ERROR_ARGUMENT_VERSION_MISMATCH;
    const struct dv_nvml_gpm_sample *a = get->first, *b = get->second;
    if (!a->totals.now_ns || b->totals.now_ns <= a->totals.now_ns || a->place.gpu != b->place.gpu ||
        a->place.gi != b->place.gi)
        return DV_NVML_ERROR_INVALID_ARGUMENT;
    for (uint32_t i = 0; i < get->count; i++) {
        get->metrics[i].value = 0;
        get->metrics[i].result = answer(&get->metrics[i], &a->totals, &b->totals);
    }
    return DV_NVML_SUCCESS;
}
