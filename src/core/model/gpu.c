/* SPDX-License-Identifier: Apache-2.0 */
#include "model/gpu.h"

#include "model/gpu_model.h"

#include <strings.h>

const char *dv_gpu_health_name(enum dv_gpu_health health)
{
    switch (health) {
    case DV_GPU_HEALTH_OK:
        return "ok";
    case DV_GPU_HEALTH_DEGRADED:
        return "degraded";
    case DV_GPU_HEALTH_FAILED:
        return "failed";
    case DV_GPU_HEALTH_UNKNOWN:
        break;
    }
    return "unknown";
}

bool dv_gpu_is_model(const struct dv_gpu *gpu, const char *text)
{
    if (!strcasecmp(gpu->model, text))
        return true;
    const struct dv_gpu_model *m = dv_gpu_model_find(text, NULL);
    return m && (m->pci_device_id == gpu->pci_device_id || !strcasecmp(m->product, gpu->model));
}
