/* SPDX-License-Identifier: Apache-2.0 */
#include "hardware/nvml_lost.h"

#include "abi_nvml.h"

bool dv_nvml_lost_is(int rc)
{
    return rc == DV_NVML_ERROR_GPU_IS_LOST || rc == DV_NVML_ERROR_RESET_REQUIRED ||
           rc == DV_NVML_ERROR_UNKNOWN;
}

static uint32_t count(const int *answers, uint32_t n)
{
    uint32_t lost = 0;
    for (uint32_t i = 0; i < n; i++)
        lost += dv_nvml_lost_is(answers[i]);
    return lost;
}

const char *dv_nvml_lost_place(const struct dv_nvml_lost *lost, uint32_t index)
{
    if (index >= lost->n_gpus || !dv_nvml_lost_is(lost->gpus[index]) ||
        count(lost->gpus, lost->n_gpus) != count(lost->places, lost->n_places))
        return NULL;
    uint32_t before = count(lost->gpus, index);
    for (uint32_t i = 0; i < lost->n_places; i++)
        if (dv_nvml_lost_is(lost->places[i]) && !before--)
            return lost->names[i];
    return NULL;
}
