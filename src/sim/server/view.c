/* SPDX-License-Identifier: Apache-2.0 */
#include "server/view.h"

#include "abi_sim.h"

void dv_simview_add(struct dv_simview *v, uint32_t gpu, uint32_t gi, uint32_t ci)
{
    for (uint32_t i = 0; i < v->n; i++)
        if (v->device[i].gpu == gpu && v->device[i].gi == gi && v->device[i].ci == ci)
            return;
    if (v->n == DV_SIM_SHOWN_MAX)
        return;
    v->device[v->n].gpu = gpu;
    v->device[v->n].gi = gi;
    v->device[v->n++].ci = ci;
}

/* gpu: whatever a client has asked for. */
static bool has_gone(const struct dv_simview *v, uint32_t gpu)
{
    return v->gone && gpu < DV_SIM_GPUS_MAX && *v->gone & UINT32_C(1) << gpu;
}

bool dv_simview_has_gpu(const struct dv_simview *v, uint32_t gpu)
{
    if (has_gone(v, gpu))
        return false;
    for (uint32_t i = 0; v->limited && i < v->n; i++)
        if (v->device[i].gpu == gpu)
            return true;
    return !v->limited;
}

bool dv_simview_has(const struct dv_simview *v, uint32_t gpu, uint32_t gi, uint32_t ci)
{
    if (has_gone(v, gpu))
        return false;
    for (uint32_t i = 0; v->limited && i < v->n; i++)
        if (v->device[i].gpu == gpu && v->device[i].gi == gi &&
            (v->device[i].ci == ci || (gi != DV_SIM_VIEW_ANY && ci == DV_SIM_VIEW_ANY)))
            return true;
    return !v->limited;
}

uint32_t dv_simview_gpu(const struct dv_simview *v, uint32_t gpus, uint32_t nth)
{
    for (uint32_t i = 0; i < gpus; i++)
        if (dv_simview_has_gpu(v, i) && nth-- == 0)
            return i;
    return DV_SIM_VIEW_ANY;
}

uint32_t dv_simview_nth(const struct dv_simview *v, uint32_t gpu)
{
    uint32_t n = 0;
    for (uint32_t i = 0; i < gpu; i++)
        n += dv_simview_has_gpu(v, i);
    return n;
}
