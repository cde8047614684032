/* SPDX-License-Identifier: Apache-2.0 */
/* MIG: the mode, MIG devices, GPU instances and compute instances. */
#include "nvml/handles.h"

#include <stdlib.h>
#include <string.h>

#define INSTANCES_MAX 64u

static int ask(const char *function, enum dv_sim_nvml_op op, const struct dv_nv_place *p,
               uint32_t a, void *reply, size_t size, size_t *ret_size)
{
    struct dv_sim_nvml_request q = dv_nvclient_request(p->gpu, p->gi, p->ci);
    q.a = a;
    return dv_nvclient_call(function, op, &q, reply, size, ret_size);
}

static int gpu_place(const struct dv_nvml_device *device, struct dv_nv_place *ret)
{
    int r = dv_nvhandles_device(device, ret);
    return r == DV_NVML_SUCCESS && ret->gi != DV_SIM_NVML_NONE ? DV_NVML_ERROR_INVALID_ARGUMENT : r;
}

/* ---- the mode ---------------------------------------------------------------------------------
 */

int nvmlDeviceGetMigMode(struct dv_nvml_device *device, uint32_t *current, uint32_t *pending)
{
    struct dv_sim_nvml_device d;
    int r = dv_nvhandles_read_gpu(__func__, device, &d);
    if (r != DV_NVML_SUCCESS)
        return r;
    if (!current || !pending)
        return DV_NVML_ERROR_INVALID_ARGUMENT;
    if (!d.mig_capable)
        return DV_NVML_ERROR_NOT_SUPPORTED;
    *current = d.mig_current;
    *pending = d.mig_pending;
    return DV_NVML_SUCCESS;
}

int nvmlDeviceSetMigMode(struct dv_nvml_device *device, uint32_t mode, uint32_t *activation)
{
    struct dv_nv_place p;
    int r = gpu_place(device, &p);
    if (r != DV_NVML_SUCCESS)
        return r;
    if (!activation)
        return DV_NVML_ERROR_INVALID_ARGUMENT;
    return ask(__func__, DV_SIM_NVML_SET_MIG, &p, mode, activation, sizeof(*activation), NULL);
}

/* Not NVML's: resets are not in its public API. For the stand-in of nvidia-smi. */
int nvmlDivvySimReset(struct dv_nvml_device *device)
{
    struct dv_nv_place p;
    int r = gpu_place(device, &p);
    return r ? r : ask(__func__, DV_SIM_NVML_RESET, &p, 0, NULL, 0, NULL);
}

/* ---- MIG devices ------------------------------------------------------------------------------
 */

/* None where the mode is off, as documented. */
DV_NV_U32(nvmlDeviceGetMaxMigDeviceCount, DV_NV_GPU, 1, d.mig_current ? d.mig_max : 0)
DV_NV_U32(nvmlDeviceIsMigDeviceHandle, DV_NV_ANY, 1, d.gi != DV_SIM_NVML_NONE)

static int instance_id(const char *function, struct dv_nvml_device *device, bool gi, uint32_t *ret)
{
    struct dv_nv_place p;
    int r = dv_nvhandles_check(function, device, &p);
    if (r != DV_NVML_SUCCESS)
        return r;
    if (!ret)
        return DV_NVML_ERROR_INVALID_ARGUMENT;
    if (p.gi == DV_SIM_NVML_NONE)
        return DV_NVML_ERROR_NOT_SUPPORTED;
    *ret = gi ? p.gi : p.ci;
    return DV_NVML_SUCCESS;
}

int nvmlDeviceGetGpuInstanceId(struct dv_nvml_device *mig_device, uint32_t *id)
{
    return instance_id(__func__, mig_device, true, id);
}

int nvmlDeviceGetComputeInstanceId(struct dv_nvml_device *mig_device, uint32_t *id)
{
    return instance_id(__func__, mig_device, false, id);
}

int nvmlDeviceGetDeviceHandleFromMigDeviceHandle(struct dv_nvml_device *mig_device,
                                                 struct dv_nvml_device **device)
{
    struct dv_nv_place p;
    int r = dv_nvhandles_check(__func__, mig_device, &p);
    if (r != DV_NVML_SUCCESS)
        return r;
    if (!device || p.gi == DV_SIM_NVML_NONE)
        return DV_NVML_ERROR_INVALID_ARGUMENT;
    *device = dv_nvhandles_gpu(p.gpu);
    return DV_NVML_SUCCESS;
}

int nvmlDeviceGetMigDeviceHandleByIndex(struct dv_nvml_device *device, uint32_t index,
                                        struct dv_nvml_device **mig_device)
{
    struct dv_sim_nvml_place all[INSTANCES_MAX];
    struct dv_sim_nvml_device d;
    struct dv_nv_place p;
    size_t size;
    int r = gpu_place(device, &p);
    if (r == DV_NVML_SUCCESS)
        r = dv_nvhandles_read(__func__, device, &d);
    if (r != DV_NVML_SUCCESS)
        return r;
    if (!mig_device || (d.mig_capable && index >= d.mig_max))
        return DV_NVML_ERROR_INVALID_ARGUMENT;
    r = ask(__func__, DV_SIM_NVML_MIG_DEVICES, &p, 0, all, sizeof(all), &size);
    if (r != DV_NVML_SUCCESS)
        return r;
    if (index >= size / sizeof(all[0]))
        return DV_NVML_ERROR_NOT_FOUND;
    *mig_device = dv_nvhandles_mig(p.gpu, all[index].gi, all[index].ci);
    return *mig_device ? DV_NVML_SUCCESS : DV_NVML_ERROR_NOT_FOUND;
}

/* ---- profiles ---------------------------------------------------------------------------------
 */

static void fill_gi_v1(const struct dv_sim_nvml_profile *p, struct dv_nvml_gi_profile_info_v1 *info)
{
    *info = (struct dv_nvml_gi_profile_info_v1){.id = p->id,
                                                .is_p2p_supported = p->p2p,
                                                .slice_count = p->slices,
                                                .instance_count = p->instances,
                                                .multiprocessor_count = p->sm,
                                                .copy_engine_count = p->copy_engines,
                                                .decoder_count = p->decoders,
                                                .encoder_count = p->encoders,
                                                .jpeg_count = p->jpegs,
                                                .ofa_count = p->ofas,
                                                .memory_size_mb = p->memory_mib};
}

/* Version 2 or 3, by what the caller wrote into the first word. */
static int fill_gi_versioned(const struct dv_sim_nvml_profile *p, void *info)
{
    uint32_t version;
    memcpy(&version, info, sizeof(version));
    if (version == DV_NVML_VERSION(dv_nvml_gi_profile_info_v2, 2)) {
        struct dv_nvml_gi_profile_info_v2 *v2 = info;
        struct dv_nvml_gi_profile_info_v1 v1;
        fill_gi_v1(p, &v1);
        *v2 = (struct dv_nvml_gi_profile_info_v2){.version = version};
        memcpy(&v2->id, &v1, offsetof(struct dv_nvml_gi_profile_info_v1, memory_size_mb));
        v2->memory_size_mb = v1.memory_size_mb;
        memcpy(v2->name, p->name, sizeof(v2->name));
        return DV_NVML_SUCCESS;
    }
    if (version != DV_NVML_VERSION(dv_nvml_gi_profile_info_v3, 3))
        return DV_NVML_ERROR_ARGUMENT_VERSION_MISMATCH;
    struct dv_nvml_gi_profile_info_v3 *v3 = info;
    *v3 = (struct dv_nvml_gi_profile_info_v3){.version = version,
                                              .id = p->id,
                                              .slice_count = p->slices,
                                              .instance_count = p->instances,
                                              .multiprocessor_count = p->sm,
                                              .copy_engine_count = p->copy_engines,
                                              .decoder_count = p->decoders,
                                              .encoder_count = p->encoders,
                                              .jpeg_count = p->jpegs,
                                              .ofa_count = p->ofas,
                                              .memory_size_mb = p->memory_mib,
                                              .capabilities =
                                                  (p->p2p ? DV_NVML_GI_CAPS_P2P : 0) |
                                                  (p->graphics ? DV_NVML_GI_CAPS_GFX : 0)};
    memcpy(v3->name, p->name, sizeof(v3->name));
    return DV_NVML_SUCCESS;
}

static int gi_profile(const char *function, struct dv_nvml_device *device, uint32_t profile,
                      bool by_id, const void *info, struct dv_sim_nvml_profile *ret)
{
    struct dv_nv_place p;
    int r = gpu_place(device, &p);
    if (r != DV_NVML_SUCCESS)
        return r;
    if (!info)
        return DV_NVML_ERROR_INVALID_ARGUMENT;
    struct dv_sim_nvml_request q = dv_nvclient_request(p.gpu, p.gi, p.ci);
    q.a = profile;
    q.b = by_id;
    return dv_nvclient_call(function, DV_SIM_NVML_GI_PROFILE, &q, ret, sizeof(*ret), NULL);
}

int nvmlDeviceGetGpuInstanceProfileInfo(struct dv_nvml_device *device, uint32_t profile,
                                        struct dv_nvml_gi_profile_info_v1 *info)
{
    struct dv_sim_nvml_profile p;
    int r = gi_profile(__func__, device, profile, false, info, &p);
    if (r == DV_NVML_SUCCESS)
        fill_gi_v1(&p, info);
    return r;
}

int nvmlDeviceGetGpuInstanceProfileInfoV(struct dv_nvml_device *device, uint32_t profile,
                                         struct dv_nvml_gi_profile_info_v2 *info)
{
    struct dv_sim_nvml_profile p;
    int r = gi_profile(__func__, device, profile, false, info, &p);
    return r == DV_NVML_SUCCESS ? fill_gi_versioned(&p, info) : r;
}

int nvmlDeviceGetGpuInstanceProfileInfoByIdV(struct dv_nvml_device *device, uint32_t profile_id,
                                             struct dv_nvml_gi_profile_info_v2 *info)
{
    struct dv_sim_nvml_profile p;
    int r = gi_profile(__func__, device, profile_id, true, info, &p);
    return r == DV_NVML_SUCCESS ? fill_gi_versioned(&p, info) : r;
}

/* Both placement calls: the list may be NULL to ask for the count. */
static int placements(const char *function, enum dv_sim_nvml_op op, const struct dv_nv_place *p,
                      uint32_t profile, struct dv_nvml_placement *list, uint32_t *count)
{
    struct dv_sim_nvml_placement all[INSTANCES_MAX];
    size_t size;
    if (!count)
        return DV_NVML_ERROR_INVALID_ARGUMENT;
    int r = ask(function, op, p, profile, all, sizeof(all), &size);
    if (r != DV_NVML_SUCCESS)
        return r;
    uint32_t n = (uint32_t)(size / sizeof(all[0])), room = list ? *count : n;
    *count = n;
    if (n > room)
        return DV_NVML_ERROR_INSUFFICIENT_SIZE;
    for (uint32_t i = 0; list && i < n; i++)
        list[i] = (struct dv_nvml_placement){all[i].start, all[i].size};
    return DV_NVML_SUCCESS;
}

int nvmlDeviceGetGpuInstancePossiblePlacements_v2(struct dv_nvml_device *device,
                                                  uint32_t profile_id,
                                                  struct dv_nvml_placement *list, uint32_t *count)
{
    struct dv_nv_place p;
    int r = gpu_place(device, &p);
    return r ? r : placements(__func__, DV_SIM_NVML_GI_PLACEMENTS, &p, profile_id, list, count);
}

int nvmlDeviceGetGpuInstancePossiblePlacements(struct dv_nvml_device *device, uint32_t profile_id,
                                               struct dv_nvml_placement *list, uint32_t *count)
{
    return nvmlDeviceGetGpuInstancePossiblePlacements_v2(device, profile_id, list, count);
}

int nvmlDeviceGetGpuInstanceRemainingCapacity(struct dv_nvml_device *device, uint32_t profile_id,
                                              uint32_t *count)
{
    struct dv_nv_place p;
    int r = gpu_place(device, &p);
    if (r != DV_NVML_SUCCESS)
        return r;
    if (!count)
        return DV_NVML_ERROR_INVALID_ARGUMENT;
    return ask(__func__, DV_SIM_NVML_GI_REMAINING, &p, profile_id, count, sizeof(*count), NULL);
}

/* ---- GPU instances ----------------------------------------------------------------------------
 */

/* Creates either kind; placement may be NULL. */
static int create(const char *function, enum dv_sim_nvml_op op, const struct dv_nv_place *p,
                  uint32_t profile, const struct dv_nvml_placement *placement, uint32_t *ret_id)
{
    struct dv_sim_nvml_request q = dv_nvclient_request(p->gpu, p->gi, p->ci);
    q.a = profile;
    q.b = placement ? placement->start : DV_SIM_NVML_NONE;
    q.c = placement ? placement->size : 0;
    return dv_nvclient_call(function, op, &q, ret_id, sizeof(*ret_id), NULL);
}

static int create_gi(const char *function, struct dv_nvml_device *device, uint32_t profile_id,
                     const struct dv_nvml_placement *placement, struct dv_nvml_gpu_instance **gi)
{
    struct dv_nv_place p;
    uint32_t id;
    int r = gpu_place(device, &p);
    if (r != DV_NVML_SUCCESS)
        return r;
    if (!gi)
        return DV_NVML_ERROR_INVALID_ARGUMENT;
    r = create(function, DV_SIM_NVML_GI_CREATE, &p, profile_id, placement, &id);
    if (r == DV_NVML_SUCCESS)
        *gi = dv_nvhandles_gi(p.gpu, id);
    return r;
}

int nvmlDeviceCreateGpuInstance(struct dv_nvml_device *device, uint32_t profile_id,
                                struct dv_nvml_gpu_instance **gi)
{
    return create_gi(__func__, device, profile_id, NULL, gi);
}

int nvmlDeviceCreateGpuInstanceWithPlacement(struct dv_nvml_device *device, uint32_t profile_id,
                                             const struct dv_nvml_placement *placement,
                                             struct dv_nvml_gpu_instance **gi)
{
    return placement ? create_gi(__func__, device, profile_id, placement, gi)
                     : DV_NVML_ERROR_INVALID_ARGUMENT;
}

int nvmlGpuInstanceDestroy(struct dv_nvml_gpu_instance *gi)
{
    struct dv_nv_place p;
    int r = dv_nvhandles_gpu_instance(gi, &p);
    return r ? r : ask(__func__, DV_SIM_NVML_GI_DESTROY, &p, 0, NULL, 0, NULL);
}

/* The instances of either kind that the server lists. */
static int list(const char *function, enum dv_sim_nvml_op op, const struct dv_nv_place *p,
                uint32_t profile, struct dv_sim_nvml_instance ret[INSTANCES_MAX], uint32_t *ret_n)
{
    size_t size;
    int r = ask(function, op, p, profile, ret, INSTANCES_MAX * sizeof(ret[0]), &size);
    if (r == DV_NVML_SUCCESS)
        *ret_n = (uint32_t)(size / sizeof(ret[0]));
    return r;
}

int nvmlDeviceGetGpuInstances(struct dv_nvml_device *device, uint32_t profile_id,
                              struct dv_nvml_gpu_instance **gis, uint32_t *count)
{
    struct dv_sim_nvml_instance all[INSTANCES_MAX];
    struct dv_nv_place p;
    uint32_t n;
    int r = gpu_place(device, &p);
    if (r != DV_NVML_SUCCESS)
        return r;
    if (!gis || !count || profile_id == DV_SIM_NVML_NONE)
        return DV_NVML_ERROR_INVALID_ARGUMENT;
    r = list(__func__, DV_SIM_NVML_GI_LIST, &p, profile_id, all, &n);
    if (r != DV_NVML_SUCCESS)
        return r;
    for (uint32_t i = 0; i < n; i++)
        gis[i] = dv_nvhandles_gi(p.gpu, all[i].gi);
    *count = n;
    return DV_NVML_SUCCESS;
}

static int find_gi(const char *function, const struct dv_nv_place *p, uint32_t id,
                   struct dv_sim_nvml_instance *ret)
{
    struct dv_sim_nvml_instance all[INSTANCES_MAX];
    struct dv_nv_place gpu = {p->gpu, DV_SIM_NVML_NONE, DV_SIM_NVML_NONE};
    uint32_t n;
    int r = list(function, DV_SIM_NVML_GI_LIST, &gpu, DV_SIM_NVML_NONE, all, &n);
    for (uint32_t i = 0; r == DV_NVML_SUCCESS && i < n; i++) {
        if (all[i].gi == id) {
            *ret = all[i];
            return DV_NVML_SUCCESS;
        }
    }
    return r ? r : DV_NVML_ERROR_NOT_FOUND;
}

int nvmlDeviceGetGpuInstanceById(struct dv_nvml_device *device, uint32_t id,
                                 struct dv_nvml_gpu_instance **gi)
{
    struct dv_sim_nvml_instance found;
    struct dv_nv_place p;
    int r = gpu_place(device, &p);
    if (r != DV_NVML_SUCCESS)
        return r;
    if (!gi)
        return DV_NVML_ERROR_INVALID_ARGUMENT;
    r = find_gi(__func__, &p, id, &found);
    if (r == DV_NVML_SUCCESS)
        *gi = dv_nvhandles_gi(p.gpu, id);
    return r;
}

int nvmlGpuInstanceGetInfo(struct dv_nvml_gpu_instance *gi, struct dv_nvml_gi_info *info)
{
    struct dv_sim_nvml_instance found;
    struct dv_nv_place p;
    int r = dv_nvhandles_gpu_instance(gi, &p);
    if (r != DV_NVML_SUCCESS)
        return r;
    if (!info)
        return DV_NVML_ERROR_INVALID_ARGUMENT;
    r = find_gi(__func__, &p, p.gi, &found);
    if (r == DV_NVML_SUCCESS)
        *info = (struct dv_nvml_gi_info){.device = dv_nvhandles_gpu(p.gpu),
                                         .id = found.gi,
                                         .profile_id = found.profile,
                                         .placement = {found.start, found.size}};
    return r;
}

/* ---- compute instances ------------------------------------------------------------------------
 */

static int ci_profile(const char *function, struct dv_nvml_gpu_instance *gi, uint32_t profile,
                      uint32_t engine_profile, const void *info, struct dv_sim_nvml_profile *ret)
{
    struct dv_nv_place p;
    int r = dv_nvhandles_gpu_instance(gi, &p);
    if (r != DV_NVML_SUCCESS)
        return r;
    if (!info || engine_profile != DV_NVML_CI_ENGINE_SHARED)
        return DV_NVML_ERROR_INVALID_ARGUMENT;
    return ask(function, DV_SIM_NVML_CI_PROFILE, &p, profile, ret, sizeof(*ret), NULL);
}

int nvmlGpuInstanceGetComputeInstanceProfileInfo(struct dv_nvml_gpu_instance *gi, uint32_t profile,
                                                 uint32_t engine_profile,
                                                 struct dv_nvml_ci_profile_info_v1 *info)
{
    struct dv_sim_nvml_profile p;
    int r = ci_profile(__func__, gi, profile, engine_profile, info, &p);
    if (r == DV_NVML_SUCCESS)
        *info = (struct dv_nvml_ci_profile_info_v1){.id = p.id,
                                                    .slice_count = p.slices,
                                                    .instance_count = p.instances,
                                                    .multiprocessor_count = p.sm,
                                                    .shared_copy_engine_count = p.copy_engines,
                                                    .shared_decoder_count = p.decoders,
                                                    .shared_encoder_count = p.encoders,
                                                    .shared_jpeg_count = p.jpegs,
                                                    .shared_ofa_count = p.ofas};
    return r;
}

/* Versions 2 and 3 begin alike; 3 has one word more. */
int nvmlGpuInstanceGetComputeInstanceProfileInfoV(struct dv_nvml_gpu_instance *gi, uint32_t profile,
                                                  uint32_t engine_profile,
                                                  struct dv_nvml_ci_profile_info_v2 *info)
{
    struct dv_sim_nvml_profile p;
    int r = ci_profile(__func__, gi, profile, engine_profile, info, &p);
    if (r != DV_NVML_SUCCESS)
        return r;
    bool v3 = info->version == DV_NVML_VERSION(dv_nvml_ci_profile_info_v3, 3);
    if (!v3 && info->version != DV_NVML_VERSION(dv_nvml_ci_profile_info_v2, 2))
        return DV_NVML_ERROR_ARGUMENT_VERSION_MISMATCH;
    struct dv_nvml_ci_profile_info_v3 all = {.version = info->version,
                                             .id = p.id,
                                             .slice_count = p.slices,
                                             .instance_count = p.instances,
                                             .multiprocessor_count = p.sm,
                                             .shared_copy_engine_count = p.copy_engines,
                                             .shared_decoder_count = p.decoders,
                                             .shared_encoder_count = p.encoders,
                                             .shared_jpeg_count = p.jpegs,
                                             .shared_ofa_count = p.ofas};
    memcpy(all.name, p.name, sizeof(all.name));
    memcpy((void *)info, &all, v3 ? sizeof(all) : sizeof(*info));
    return DV_NVML_SUCCESS;
}

int nvmlGpuInstanceGetComputeInstanceRemainingCapacity(struct dv_nvml_gpu_instance *gi,
                                                       uint32_t profile_id, uint32_t *count)
{
    struct dv_nv_place p;
    int r = dv_nvhandles_gpu_instance(gi, &p);
    if (r != DV_NVML_SUCCESS)
        return r;
    if (!count)
        return DV_NVML_ERROR_INVALID_ARGUMENT;
    return ask(__func__, DV_SIM_NVML_CI_REMAINING, &p, profile_id, count, sizeof(*count), NULL);
}

int nvmlGpuInstanceGetComputeInstancePossiblePlacements(struct dv_nvml_gpu_instance *gi,
                                                        uint32_t profile_id,
                                                        struct dv_nvml_placement *list_of,
                                                        uint32_t *count)
{
    struct dv_nv_place p;
    int r = dv_nvhandles_gpu_instance(gi, &p);
    return r ? r : placements(__func__, DV_SIM_NVML_CI_PLACEMENTS, &p, profile_id, list_of, count);
}

static int create_ci(const char *function, struct dv_nvml_gpu_instance *gi, uint32_t profile_id,
                     const struct dv_nvml_placement *placement,
                     struct dv_nvml_compute_instance **ci)
{
    struct dv_nv_place p;
    uint32_t id;
    int r = dv_nvhandles_gpu_instance(gi, &p);
    if (r != DV_NVML_SUCCESS)
        return r;
    if (!ci)
        return DV_NVML_ERROR_INVALID_ARGUMENT;
    r = create(function, DV_SIM_NVML_CI_CREATE, &p, profile_id, placement, &id);
    if (r == DV_NVML_SUCCESS)
        *ci = dv_nvhandles_ci(p.gpu, p.gi, id);
    return r;
}

int nvmlGpuInstanceCreateComputeInstance(struct dv_nvml_gpu_instance *gi, uint32_t profile_id,
                                         struct dv_nvml_compute_instance **ci)
{
    return create_ci(__func__, gi, profile_id, NULL, ci);
}

int nvmlGpuInstanceCreateComputeInstanceWithPlacement(struct dv_nvml_gpu_instance *gi,
                                                      uint32_t profile_id,
                                                      const struct dv_nvml_placement *placement,
                                                      struct dv_nvml_compute_instance **ci)
{
    return placement ? create_ci(__func__, gi, profile_id, placement, ci)
                     : DV_NVML_ERROR_INVALID_ARGUMENT;
}

int nvmlComputeInstanceDestroy(struct dv_nvml_compute_instance *ci)
{
    struct dv_nv_place p;
    int r = dv_nvhandles_compute_instance(ci, &p);
    return r ? r : ask(__func__, DV_SIM_NVML_CI_DESTROY, &p, 0, NULL, 0, NULL);
}

int nvmlGpuInstanceGetComputeInstances(struct dv_nvml_gpu_instance *gi, uint32_t profile_id,
                                       struct dv_nvml_compute_instance **cis, uint32_t *count)
{
    struct dv_sim_nvml_instance all[INSTANCES_MAX];
    struct dv_nv_place p;
    uint32_t n;
    int r = dv_nvhandles_gpu_instance(gi, &p);
    if (r != DV_NVML_SUCCESS)
        return r;
    if (!cis || !count || profile_id == DV_SIM_NVML_NONE)
        return DV_NVML_ERROR_INVALID_ARGUMENT;
    r = list(__func__, DV_SIM_NVML_CI_LIST, &p, profile_id, all, &n);
    if (r != DV_NVML_SUCCESS)
        return r;
    for (uint32_t i = 0; i < n; i++)
        cis[i] = dv_nvhandles_ci(p.gpu, p.gi, all[i].ci);
    *count = n;
    return DV_NVML_SUCCESS;
}

static int find_ci(const char *function, const struct dv_nv_place *p, uint32_t id,
                   struct dv_sim_nvml_instance *ret)
{
    struct dv_sim_nvml_instance all[INSTANCES_MAX];
    uint32_t n;
    int r = list(function, DV_SIM_NVML_CI_LIST, p, DV_SIM_NVML_NONE, all, &n);
    for (uint32_t i = 0; r == DV_NVML_SUCCESS && i < n; i++) {
        if (all[i].ci == id) {
            *ret = all[i];
            return DV_NVML_SUCCESS;
        }
    }
    return r ? r : DV_NVML_ERROR_NOT_FOUND;
}

int nvmlGpuInstanceGetComputeInstanceById(struct dv_nvml_gpu_instance *gi, uint32_t id,
                                          struct dv_nvml_compute_instance **ci)
{
    struct dv_sim_nvml_instance found;
    struct dv_nv_place p;
    int r = dv_nvhandles_gpu_instance(gi, &p);
    if (r != DV_NVML_SUCCESS)
        return r;
    if (!ci)
        return DV_NVML_ERROR_INVALID_ARGUMENT;
    r = find_ci(__func__, &p, id, &found);
    if (r == DV_NVML_SUCCESS)
        *ci = dv_nvhandles_ci(p.gpu, p.gi, id);
    return r;
}

int nvmlComputeInstanceGetInfo_v2(struct dv_nvml_compute_instance *ci, struct dv_nvml_ci_info *info)
{
    struct dv_sim_nvml_instance found;
    struct dv_nv_place p;
    int r = dv_nvhandles_compute_instance(ci, &p);
    if (r != DV_NVML_SUCCESS)
        return r;
    if (!info)
        return DV_NVML_ERROR_INVALID_ARGUMENT;
    r = find_ci(__func__, &p, p.ci, &found);
    if (r == DV_NVML_SUCCESS)
        *info = (struct dv_nvml_ci_info){.device = dv_nvhandles_gpu(p.gpu),
                                         .gpu_instance = dv_nvhandles_gi(p.gpu, p.gi),
                                         .id = found.ci,
                                         .profile_id = found.profile,
                                         .placement = {found.start, found.size}};
    return r;
}

int nvmlComputeInstanceGetInfo(struct dv_nvml_compute_instance *ci, struct dv_nvml_ci_info *info)
{
    return nvmlComputeInstanceGetInfo_v2(ci, info);
}
