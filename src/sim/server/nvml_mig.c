/* SPDX-License-Identifier: Apache-2.0 */
#include "policy/mig_plan.h"
#include "server/nvml.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static struct dv_simgpu *gpu_of(const struct dv_simnvml_call *call)
{
    return &call->node->gpu[call->request->gpu];
}

static void put_u32(struct dv_simnvml_call *call, uint32_t value)
{
    dv_simnvml_put(call, &value, sizeof(value));
}

static uint32_t engine_count(int8_t count)
{
    return count > 0 ? (uint32_t)count : 0;
}

static int set_mode(struct dv_simnvml_call *call)
{
    uint32_t activation;
    if (!dv_simnvml_may_change(call))
        return DV_NVML_ERROR_NO_PERMISSION;
    int r = dv_simmig_set_mode(call->node, call->request->gpu, call->request->a, &activation);
    if (r == DV_NVML_SUCCESS)
        put_u32(call, activation);
    return r;
}

static int by_gi_id(const void *a, const void *b)
{
    const struct dv_simgi *const *x = a, *const *y = b;
    return (*x)->id < (*y)->id ? -1 : (*x)->id > (*y)->id;
}

/* The GPU instances by id. Returns how many. */
static size_t sorted(const struct dv_simgpu *g, const struct dv_simgi *ret[DV_MIG_INSTANCES_MAX])
{
    size_t n = 0;
    for (size_t i = 0; i < DV_MIG_INSTANCES_MAX; i++)
        if (g->gi[i].used)
            ret[n++] = &g->gi[i];
    qsort(ret, n, sizeof(struct dv_simgi *), by_gi_id);
    return n;
}

static int mig_devices(struct dv_simnvml_call *call)
{
    const struct dv_simgpu *g = gpu_of(call);
    const struct dv_simgi *gi[DV_MIG_INSTANCES_MAX];
    if (!g->mig)
        return DV_NVML_ERROR_NOT_SUPPORTED;
    size_t n = sorted(g, gi);
    for (size_t i = 0; i < n; i++) {
        for (size_t k = 0; k < DV_SIM_CIS_MAX; k++) {
            if (!gi[i]->ci[k].used ||
                !dv_simview_has(&call->client->view, g->index, gi[i]->id, gi[i]->ci[k].id))
                continue;
            struct dv_sim_nvml_place place = {dv_simview_nth(&call->client->view, g->index),
                                              gi[i]->id, gi[i]->ci[k].id, ""};
            memcpy(place.uuid, gi[i]->ci[k].uuid, sizeof(place.uuid));
            dv_simnvml_put(call, &place, sizeof(place));
        }
    }
    return DV_NVML_SUCCESS;
}

/* ---- GPU instances ----------------------------------------------------------------------------
 */

static int gi_profile(struct dv_simnvml_call *call)
{
    const struct dv_simgpu *g = gpu_of(call);
    if (!g->mig)
        return DV_NVML_ERROR_NOT_SUPPORTED;
    if (!call->request->b && call->request->a >= DV_NVML_GI_PROFILE_COUNT)
        return DV_NVML_ERROR_INVALID_ARGUMENT;
    const struct dv_mig_profile *p = call->request->b
                                         ? dv_mig_profile_by_id(g->mig, call->request->a)
                                         : dv_mig_profile_by_nvml(g->mig, call->request->a);
    if (!p)
        return DV_NVML_ERROR_NOT_SUPPORTED;
    struct dv_sim_nvml_profile out = {
        .id = p->id,
        .nvml = p->nvml,
        .slices = p->slices,
        .instances = p->max_instances,
        .sm = p->sm,
        .copy_engines = engine_count(p->engines.copy),
        .decoders = engine_count(p->engines.decoder),
        .encoders = engine_count(p->engines.encoder),
        .jpegs = engine_count(p->engines.jpeg),
        .ofas = engine_count(p->engines.ofa),
        .graphics = p->graphics,
        .memory_mib = p->memory_bytes / DV_MIB,
    };
    snprintf(out.name, sizeof(out.name), "MIG %s", p->name);
    dv_simnvml_put(call, &out, sizeof(out));
    return DV_NVML_SUCCESS;
}

/* The profile that the request names by its id, or NULL. */
static const struct dv_mig_profile *profile_of(const struct dv_simnvml_call *call)
{
    const struct dv_simgpu *g = gpu_of(call);
    return g->mig ? dv_mig_profile_by_id(g->mig, call->request->a) : NULL;
}

static int gi_placements(struct dv_simnvml_call *call)
{
    const struct dv_mig_profile *p = profile_of(call);
    if (!p)
        return gpu_of(call)->mig ? DV_NVML_ERROR_INVALID_ARGUMENT : DV_NVML_ERROR_NOT_SUPPORTED;
    for (uint32_t s = 0; s < DV_MIG_GRID_MAX; s++) {
        struct dv_sim_nvml_placement out = {s, p->size};
        if (p->starts >> s & 1)
            dv_simnvml_put(call, &out, sizeof(out));
    }
    return DV_NVML_SUCCESS;
}

static int gi_remaining(struct dv_simnvml_call *call)
{
    const struct dv_simgpu *g = gpu_of(call);
    if (!g->mig || !g->mig_current)
        return DV_NVML_ERROR_NOT_SUPPORTED;
    const struct dv_mig_profile *p = profile_of(call);
    if (!p)
        return DV_NVML_ERROR_INVALID_ARGUMENT;
    struct dv_mig_instance have[DV_MIG_INSTANCES_MAX];
    size_t n = dv_simmig_instances(g, have);
    put_u32(call, dv_mig_plan_free(g->mig, have, n, (uint32_t)(p - g->mig->profiles)));
    return DV_NVML_SUCCESS;
}

static int gi_create(struct dv_simnvml_call *call)
{
    const struct dv_sim_nvml_request *q = call->request;
    uint32_t gi;
    if (!dv_simnvml_may_change(call))
        return DV_NVML_ERROR_NO_PERMISSION;
    const struct dv_mig_profile *p = profile_of(call);
    if (p && q->b != DV_SIM_NVML_NONE && q->c != p->size)
        return DV_NVML_ERROR_INVALID_ARGUMENT;
    int r = dv_simmig_gi_create(call->node, q->gpu, q->a, q->b, &gi);
    if (r == DV_NVML_SUCCESS)
        put_u32(call, gi);
    return r;
}

static int gi_destroy(struct dv_simnvml_call *call)
{
    if (!dv_simnvml_may_change(call))
        return DV_NVML_ERROR_NO_PERMISSION;
    return dv_simmig_gi_destroy(call->node, call->request->gpu, call->request->gi);
}

static int gi_list(struct dv_simnvml_call *call)
{
    const struct dv_simgpu *g = gpu_of(call);
    const struct dv_simgi *gi[DV_MIG_INSTANCES_MAX];
    if (!g->mig || !g->mig_current)
        return DV_NVML_ERROR_NOT_SUPPORTED;
    if (call->request->a != DV_SIM_NVML_NONE && !profile_of(call))
        return DV_NVML_ERROR_INVALID_ARGUMENT;
    size_t n = sorted(g, gi);
    for (size_t i = 0; i < n; i++) {
        const struct dv_mig_profile *p = &g->mig->profiles[gi[i]->profile];
        struct dv_sim_nvml_instance out = {gi[i]->id, DV_SIM_NVML_NONE, p->id, gi[i]->start,
                                           p->size};
        if (call->request->a == DV_SIM_NVML_NONE || call->request->a == p->id)
            dv_simnvml_put(call, &out, sizeof(out));
    }
    return DV_NVML_SUCCESS;
}

/* ---- compute instances ------------------------------------------------------------------------
 */

/* The GPU instance of the request and its profile, or NULL. */
static const struct dv_simgi *gi_of(const struct dv_simnvml_call *call,
                                    const struct dv_mig_profile **ret)
{
    const struct dv_simgpu *g = gpu_of(call);
    const struct dv_simgi *gi = dv_simnode_gi(call->node, g->index, call->request->gi);
    if (gi)
        *ret = &g->mig->profiles[gi->profile];
    return gi;
}

static int ci_profile(struct dv_simnvml_call *call)
{
    const struct dv_mig_profile *p;
    struct dv_mig_compute_profile c;
    char name[DV_MIG_NAME];
    if (!gi_of(call, &p))
        return DV_NVML_ERROR_NOT_FOUND;
    if (call->request->a >= DV_NVML_CI_PROFILE_COUNT)
        return DV_NVML_ERROR_INVALID_ARGUMENT;
    int r = dv_simmig_ci_profile(gpu_of(call)->mig, p, call->request->a, &c);
    if (r != DV_NVML_SUCCESS)
        return r;
    struct dv_sim_nvml_profile out = {
        .id = c.id,
        .nvml = c.id,
        .slices = c.slices,
        .instances = c.max_instances,
        .sm = c.sm ? c.sm : p->sm * c.slices / p->slices,
        .copy_engines = engine_count(p->engines.copy),
        .decoders = engine_count(p->engines.decoder),
        .encoders = engine_count(p->engines.encoder),
        .jpegs = engine_count(p->engines.jpeg),
        .ofas = engine_count(p->engines.ofa),
    };
    snprintf(out.name, sizeof(out.name), "MIG %s", dv_mig_compute_name(p, &c, name));
    dv_simnvml_put(call, &out, sizeof(out));
    return DV_NVML_SUCCESS;
}

static int ci_placements(struct dv_simnvml_call *call)
{
    const struct dv_mig_profile *p;
    struct dv_mig_compute_profile c;
    if (!gi_of(call, &p))
        return DV_NVML_ERROR_NOT_FOUND;
    if (dv_simmig_ci_profile(gpu_of(call)->mig, p, call->request->a, &c) != DV_NVML_SUCCESS)
        return DV_NVML_ERROR_INVALID_ARGUMENT;
    uint32_t starts = dv_simmig_ci_starts(p, c.slices);
    for (uint32_t s = 0; s < p->slices; s++) {
        struct dv_sim_nvml_placement out = {s, c.slices};
        if (starts >> s & 1)
            dv_simnvml_put(call, &out, sizeof(out));
    }
    return DV_NVML_SUCCESS;
}

static int ci_remaining(struct dv_simnvml_call *call)
{
    const struct dv_mig_profile *p;
    struct dv_mig_compute_profile c;
    const struct dv_simgi *gi = gi_of(call, &p);
    if (!gi)
        return DV_NVML_ERROR_NOT_FOUND;
    if (dv_simmig_ci_profile(gpu_of(call)->mig, p, call->request->a, &c) != DV_NVML_SUCCESS)
        return DV_NVML_ERROR_INVALID_ARGUMENT;
    put_u32(call, dv_simmig_ci_free(gi, p, c.slices));
    return DV_NVML_SUCCESS;
}

static int ci_create(struct dv_simnvml_call *call)
{
    const struct dv_sim_nvml_request *q = call->request;
    const struct dv_mig_profile *p;
    struct dv_mig_compute_profile c;
    uint32_t ci;
    if (!dv_simnvml_may_change(call))
        return DV_NVML_ERROR_NO_PERMISSION;
    if (q->b != DV_SIM_NVML_NONE && gi_of(call, &p) &&
        dv_simmig_ci_profile(gpu_of(call)->mig, p, q->a, &c) == DV_NVML_SUCCESS && q->c != c.slices)
        return DV_NVML_ERROR_INVALID_ARGUMENT;
    int r = dv_simmig_ci_create(call->node, q->gpu, q->gi, q->a, q->b, &ci);
    if (r == DV_NVML_SUCCESS)
        put_u32(call, ci);
    return r;
}

static int ci_destroy(struct dv_simnvml_call *call)
{
    if (!dv_simnvml_may_change(call))
        return DV_NVML_ERROR_NO_PERMISSION;
    return dv_simmig_ci_destroy(call->node, call->request->gpu, call->request->gi,
                                call->request->ci);
}

static int ci_list(struct dv_simnvml_call *call)
{
    const struct dv_mig_profile *p;
    const struct dv_simgi *gi = gi_of(call, &p);
    if (!gi)
        return DV_NVML_ERROR_NOT_FOUND;
    for (size_t i = 0; i < DV_SIM_CIS_MAX; i++) {
        const struct dv_simci *c = &gi->ci[i];
        struct dv_sim_nvml_instance out = {gi->id, c->id, c->profile, c->start, c->slices};
        if (c->used && (call->request->a == DV_SIM_NVML_NONE || call->request->a == c->profile))
            dv_simnvml_put(call, &out, sizeof(out));
    }
    return DV_NVML_SUCCESS;
}

int dv_simnvml_mig(struct dv_simnvml_call *call, enum dv_sim_nvml_op op)
{
    switch (op) {
    case DV_SIM_NVML_SET_MIG:
        return set_mode(call);
    case DV_SIM_NVML_RESET:
        return dv_simnvml_may_change(call) ? dv_simmig_reset(call->node, call->request->gpu)
                                           : DV_NVML_ERROR_NO_PERMISSION;
    case DV_SIM_NVML_MIG_DEVICES:
        return mig_devices(call);
    case DV_SIM_NVML_GI_PROFILE:
        return gi_profile(call);
    case DV_SIM_NVML_GI_PLACEMENTS:
        return gi_placements(call);
    case DV_SIM_NVML_GI_REMAINING:
        return gi_remaining(call);
    case DV_SIM_NVML_GI_CREATE:
        return gi_create(call);
    case DV_SIM_NVML_GI_DESTROY:
        return gi_destroy(call);
    case DV_SIM_NVML_GI_LIST:
        return gi_list(call);
    case DV_SIM_NVML_CI_PROFILE:
        return ci_profile(call);
    case DV_SIM_NVML_CI_PLACEMENTS:
        return ci_placements(call);
    case DV_SIM_NVML_CI_REMAINING:
        return ci_remaining(call);
    case DV_SIM_NVML_CI_CREATE:
        return ci_create(call);
    case DV_SIM_NVML_CI_DESTROY:
        return ci_destroy(call);
    case DV_SIM_NVML_CI_LIST:
        return ci_list(call);
    default:
        return DV_NVML_ERROR_NOT_SUPPORTED;
    }
}
