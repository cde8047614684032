/* SPDX-License-Identifier: Apache-2.0 */
#include "server/mig.h"

#include "base/str.h"
#include "policy/mig_plan.h"
#include "server/nodespec.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>

/* What the driver keeps of each piece of a GPU instance's memory (nvidia-smi shows 11 MiB used on
 * an empty 3g.20gb of four pieces). */
#define RESERVED_PER_PIECE (3 * DV_MIB)

size_t dv_simmig_instances(const struct dv_simgpu *gpu,
                           struct dv_mig_instance ret[DV_MIG_INSTANCES_MAX])
{
    size_t n = 0;
    for (size_t i = 0; i < DV_MIG_INSTANCES_MAX; i++)
        if (gpu->gi[i].used)
            ret[n++] = (struct dv_mig_instance){gpu->gi[i].profile, gpu->gi[i].start};
    return n;
}

static void clear_instances(struct dv_simgpu *gpu)
{
    memset(gpu->gi, 0, sizeof(gpu->gi));
}

static void activate(struct dv_simgpu *gpu, uint32_t mode)
{
    if (gpu->mig_current != mode)
        clear_instances(gpu);
    gpu->mig_current = mode;
    gpu->mig_pending = mode;
}

int dv_simmig_set_mode(struct dv_simnode *node, uint32_t gpu, uint32_t mode,
                       uint32_t *ret_activation)
{
    struct dv_simgpu *g = &node->gpu[gpu];
    if (!g->mig)
        return DV_NVML_ERROR_NOT_SUPPORTED;
    if (mode > 1)
        return DV_NVML_ERROR_INVALID_ARGUMENT;
    *ret_activation = DV_NVML_SUCCESS;
    if (mode == g->mig_current) {
        g->mig_pending = mode;
        return DV_NVML_SUCCESS;
    }
    if (dv_simnode_gpu_in_use(node, gpu)) {
        if (g->model->mig_mode_needs_gpu_reset)
            g->mig_pending = mode;
        *ret_activation = DV_NVML_ERROR_IN_USE;
        return DV_NVML_SUCCESS;
    }
    if (g->model->mig_mode_needs_gpu_reset && node->no_reset) {
        g->mig_pending = mode;
        *ret_activation = DV_NVML_ERROR_RESET_REQUIRED;
        return DV_NVML_SUCCESS;
    }
    activate(g, mode);
    return DV_NVML_SUCCESS;
}

int dv_simmig_reset(struct dv_simnode *node, uint32_t gpu)
{
    if (node->no_reset)
        return DV_NVML_ERROR_NOT_SUPPORTED;
    if (dv_simnode_gpu_in_use(node, gpu))
        return DV_NVML_ERROR_IN_USE;
    dv_simmig_restart(&node->gpu[gpu]);
    return DV_NVML_SUCCESS;
}

void dv_simmig_restart(struct dv_simgpu *g)
{
    clear_instances(g);
    g->mig_current = g->mig_pending;
    g->compute_mode = 0;
    g->timeslice = 0;
    g->ecc_volatile = 0;
    g->energy_uj = 0;
    g->rows_remapped += g->rows_pending;
    g->rows_pending = 0;
    g->lost = false;
    g->restarts++;
}

/* ---- GPU instances ----------------------------------------------------------------------------
 */

static int gi_start(const struct dv_simgpu *g, uint32_t profile, uint32_t start,
                    uint32_t *ret_start)
{
    struct dv_mig_instance have[DV_MIG_INSTANCES_MAX + 1];
    size_t n = dv_simmig_instances(g, have);
    const struct dv_mig_profile *p = &g->mig->profiles[profile];
    if (n >= DV_MIG_INSTANCES_MAX)
        return DV_NVML_ERROR_INSUFFICIENT_RESOURCES;
    if (start == DV_SIM_ANY) {
        start = dv_mig_plan_pick_start(g->mig, have, n, profile);
        if (start == DV_MIG_UNPLACED)
            return DV_NVML_ERROR_INSUFFICIENT_RESOURCES;
    }
    if (start >= g->mig->grid || !(p->starts >> start & 1))
        return DV_NVML_ERROR_INVALID_ARGUMENT;
    have[n] = (struct dv_mig_instance){profile, start};
    if (dv_mig_check(g->mig, have, n + 1, NULL) != DV_MIG_OK)
        return DV_NVML_ERROR_INSUFFICIENT_RESOURCES;
    *ret_start = start;
    return DV_NVML_SUCCESS;
}

int dv_simmig_gi_create(struct dv_simnode *node, uint32_t gpu, uint32_t profile_id, uint32_t start,
                        uint32_t *ret_gi)
{
    struct dv_simgpu *g = &node->gpu[gpu];
    if (!g->mig || !g->mig_current)
        return DV_NVML_ERROR_NOT_SUPPORTED;
    const struct dv_mig_profile *p = dv_mig_profile_by_id(g->mig, profile_id);
    if (!p)
        return DV_NVML_ERROR_INVALID_ARGUMENT;
    uint32_t index = (uint32_t)(p - g->mig->profiles);
    int r = gi_start(g, index, start, &start);
    if (r != DV_NVML_SUCCESS)
        return r;
    struct dv_simgi *gi = NULL;
    for (size_t i = 0; i < DV_MIG_INSTANCES_MAX && !gi; i++)
        if (!g->gi[i].used)
            gi = &g->gi[i];
    if (!gi)
        return DV_NVML_ERROR_INSUFFICIENT_RESOURCES;
    *gi = (struct dv_simgi){
        .used = true,
        .id = dv_mig_instance_id(g->mig, p, start),
        .profile = index,
        .start = start,
        .memory = {.total_bytes = p->memory_bytes, .reserved_bytes = p->size * RESERVED_PER_PIECE},
    };
    *ret_gi = gi->id;
    return DV_NVML_SUCCESS;
}

int dv_simmig_gi_destroy(struct dv_simnode *node, uint32_t gpu, uint32_t gi)
{
    struct dv_simgi *g = dv_simnode_gi(node, gpu, gi);
    if (!g)
        return DV_NVML_ERROR_NOT_FOUND;
    for (size_t i = 0; i < DV_SIM_CIS_MAX; i++)
        if (g->ci[i].used)
            return DV_NVML_ERROR_IN_USE;
    g->used = false;
    return DV_NVML_SUCCESS;
}

/* ---- compute instances ------------------------------------------------------------------------
 */

int dv_simmig_ci_profile(const struct dv_mig_geometry *geometry,
                         const struct dv_mig_profile *profile, uint32_t ci_profile,
                         struct dv_mig_compute_profile *ret)
{
    struct dv_mig_compute_profile all[DV_MIG_COMPUTE_PROFILES_MAX];
    size_t n = dv_mig_compute_profiles(geometry, profile, all);
    for (size_t i = 0; i < n; i++) {
        if (all[i].id == ci_profile) {
            *ret = all[i];
            return DV_NVML_SUCCESS;
        }
    }
    return DV_NVML_ERROR_NOT_SUPPORTED;
}

uint32_t dv_simmig_ci_starts(const struct dv_mig_profile *profile, uint32_t slices)
{
    uint32_t align = slices <= 2 ? slices : 4;
    uint32_t starts = 0;
    for (uint32_t s = 0; s + slices <= profile->slices; s += align)
        starts |= 1u << s;
    return starts;
}

static uint32_t ci_taken(const struct dv_simgi *gi)
{
    uint32_t taken = 0;
    for (size_t i = 0; i < DV_SIM_CIS_MAX; i++)
        if (gi->ci[i].used)
            taken |= ((1u << gi->ci[i].slices) - 1) << gi->ci[i].start;
    return taken;
}

uint32_t dv_simmig_ci_free(const struct dv_simgi *gi, const struct dv_mig_profile *profile,
                           uint32_t slices)
{
    uint32_t starts = dv_simmig_ci_starts(profile, slices), taken = ci_taken(gi), n = 0;
    uint32_t mask = (1u << slices) - 1;
    for (uint32_t s = 0; s < profile->slices; s++)
        if ((starts >> s & 1) && !(taken & mask << s))
            n++;
    return n;
}

static int ci_start(const struct dv_simgi *gi, const struct dv_mig_profile *p, uint32_t slices,
                    uint32_t start, uint32_t *ret_start)
{
    uint32_t starts = dv_simmig_ci_starts(p, slices), taken = ci_taken(gi);
    uint32_t mask = (1u << slices) - 1;
    if (start != DV_SIM_ANY && (start >= p->slices || !(starts >> start & 1)))
        return DV_NVML_ERROR_INVALID_ARGUMENT;
    for (uint32_t s = 0; s < p->slices; s++) {
        if (!(starts >> s & 1) || (start != DV_SIM_ANY && s != start) || (taken & mask << s))
            continue;
        *ret_start = s;
        return DV_NVML_SUCCESS;
    }
    return DV_NVML_ERROR_INSUFFICIENT_RESOURCES;
}

int dv_simmig_ci_create(struct dv_simnode *node, uint32_t gpu, uint32_t gi, uint32_t ci_profile,
                        uint32_t start, uint32_t *ret_ci)
{
    struct dv_simgi *g = dv_simnode_gi(node, gpu, gi);
    if (!g)
        return DV_NVML_ERROR_NOT_FOUND;
    const struct dv_mig_profile *p = &node->gpu[gpu].mig->profiles[g->profile];
    struct dv_mig_compute_profile c;
    if (dv_simmig_ci_profile(node->gpu[gpu].mig, p, ci_profile, &c) != DV_NVML_SUCCESS)
        return DV_NVML_ERROR_INVALID_ARGUMENT;
    int r = ci_start(g, p, c.slices, start, &start);
    if (r != DV_NVML_SUCCESS)
        return r;
    uint32_t id = 0;
    while (id < DV_SIM_CIS_MAX && g->ci[id].used)
        id++;
    if (id == DV_SIM_CIS_MAX)
        return DV_NVML_ERROR_INSUFFICIENT_RESOURCES;
    struct dv_simci *ci = &g->ci[id];
    *ci = (struct dv_simci){.used = true,
                            .id = id,
                            .profile = ci_profile,
                            .slices = c.slices,
                            .start = start,
                            .sm = c.sm ? c.sm : p->sm * c.slices / p->slices};
    char words[DV_SIM_UUID_SIZE + 48];
    snprintf(words, sizeof(words), "%s gi %u ci %u", node->gpu[gpu].uuid, g->id, id);
    dv_nodespec_uuid("MIG-", node->name, words, ci->uuid);
    *ret_ci = id;
    return DV_NVML_SUCCESS;
}

int dv_simmig_ci_destroy(struct dv_simnode *node, uint32_t gpu, uint32_t gi, uint32_t ci)
{
    struct dv_simci *c = dv_simnode_ci(node, gpu, gi, ci);
    if (!c)
        return DV_NVML_ERROR_NOT_FOUND;
    if (c->contexts)
        return DV_NVML_ERROR_IN_USE;
    c->used = false;
    return DV_NVML_SUCCESS;
}

/* ---- start-up ----------------------------------------------------------------------------------
 */

int dv_simmig_apply(struct dv_simnode *node, uint32_t gpu, const char *profiles, struct dv_err *err)
{
    struct dv_simgpu *g = &node->gpu[gpu];
    if (!g->mig)
        return dv_err_set(err, -EINVAL, "GPU %u: %s cannot do MIG", gpu, g->model->name);
    struct dv_mig_instance want[64];
    int n = dv_mig_plan_parse(g->mig, profiles, want, err);
    if (n < 0)
        return n;
    struct dv_mig_plan plan;
    int r = dv_mig_plan_find(g->mig, NULL, 0, want, (size_t)n, &plan);
    if (r < 0)
        return dv_err_set(err, r, "GPU %u: out of memory", gpu);
    if (plan.rule != DV_MIG_OK)
        return dv_err_set(err, -EINVAL, "GPU %u: \"%s\" does not fit on a %s", gpu, profiles,
                          g->model->name);
    activate(g, 1);
    for (int i = 0; i < n; i++) {
        const struct dv_mig_profile *p = &g->mig->profiles[want[i].profile];
        struct dv_mig_compute_profile c[DV_MIG_COMPUTE_PROFILES_MAX];
        size_t n_c = dv_mig_compute_profiles(g->mig, p, c);
        uint32_t gi, ci;
        r = dv_simmig_gi_create(node, gpu, p->id, plan.instances[i].start, &gi);
        for (size_t k = 0; r == DV_NVML_SUCCESS && k < n_c; k++)
            if (c[k].whole)
                r = dv_simmig_ci_create(node, gpu, gi, c[k].id, DV_SIM_ANY, &ci);
        if (r != DV_NVML_SUCCESS) {
            activate(g, 0);
            return dv_err_set(err, -EINVAL, "GPU %u: cannot create %s: NVML error %d", gpu, p->name,
                              r);
        }
    }
    return 0;
}
