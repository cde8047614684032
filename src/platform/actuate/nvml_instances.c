/* SPDX-License-Identifier: Apache-2.0 */
/*
 * GPU instances and compute instances. Each change looks first: what is there already is a success
 * with the same receipt, what is gone already is one too. Ids are the driver's and are used again
 * for other instances, so that whoever names one to be destroyed also says what it was.
 */
#include "actuate/nvml_session.h"

#include <errno.h>
#include <string.h>

#define INSTANCES_MAX 16u /* more than any GPU holds */
#define NAME_OF(step) ((step)->name[0] ? (step)->name : "the instance")

/* ---- GPU instances ---- */

static bool gi_info(const struct dv_nvml_session *s, struct dv_nvml_gpu_instance *gi,
                    struct dv_nvml_gi_info *ret)
{
    return DV_NVML_SESSION_CALL(s, nvmlGpuInstanceGetInfo, gi, ret) == DV_NVML_SUCCESS;
}

/* Those of one profile: 0 or an NVML error. */
static int list_gis(const struct dv_nvml_session *s, struct dv_nvml_device *d, uint32_t profile,
                    struct dv_nvml_gpu_instance *ret[INSTANCES_MAX], uint32_t *ret_n)
{
    uint32_t n = INSTANCES_MAX;
    int rc = DV_NVML_SESSION_CALL(s, nvmlDeviceGetGpuInstances, d, profile, ret, &n);
    if (rc == DV_NVML_SUCCESS && n > INSTANCES_MAX)
        rc = DV_NVML_ERROR_INSUFFICIENT_SIZE;
    *ret_n = rc == DV_NVML_SUCCESS ? n : 0;
    return rc;
}

/* The one of this profile that starts here, or NULL. */
static struct dv_nvml_gpu_instance *find_gi(const struct dv_nvml_session *s,
                                            struct dv_nvml_device *d, uint32_t profile,
                                            uint32_t start, struct dv_nvml_gi_info *ret_info)
{
    struct dv_nvml_gpu_instance *list[INSTANCES_MAX];
    uint32_t n;
    if (list_gis(s, d, profile, list, &n) != DV_NVML_SUCCESS)
        return NULL;
    for (uint32_t i = 0; i < n; i++)
        if (gi_info(s, list[i], ret_info) && ret_info->placement.start == start)
            return list[i];
    return NULL;
}

/* A driver that takes no placement puts the instance where it likes: good if that is the place. */
static int create_unplaced(const struct dv_nvml_session *s, struct dv_nvml_device *d,
                           const struct dv_step *step, struct dv_nvml_gpu_instance **ret)
{
    struct dv_nvml_gi_info info = {0};
    int rc = DV_NVML_SESSION_CALL(s, nvmlDeviceCreateGpuInstance, d, step->profile, ret);
    if (rc != DV_NVML_SUCCESS)
        return rc;
    if (gi_info(s, *ret, &info) && info.placement.start == step->start)
        return DV_NVML_SUCCESS;
    DV_NVML_SESSION_CALL(s, nvmlGpuInstanceDestroy, *ret);
    return DV_NVML_ERROR_NOT_SUPPORTED;
}

int dv_nvml_session_create_gi(const struct dv_nvml_session *s, struct dv_nvml_device *d,
                              const struct dv_step *step, struct dv_receipt *ret,
                              struct dv_err *err)
{
    struct dv_nvml_gi_info info = {0};
    struct dv_nvml_placement place = {step->start, step->size};
    struct dv_nvml_gpu_instance *gi = find_gi(s, d, step->profile, step->start, &info);
    int rc = DV_NVML_SUCCESS;
    if (!gi) {
        rc = s->nvmlDeviceCreateGpuInstanceWithPlacement
                 ? s->nvmlDeviceCreateGpuInstanceWithPlacement(d, step->profile, &place, &gi)
                 : create_unplaced(s, d, step, &gi);
        if (rc == DV_NVML_SUCCESS && !gi_info(s, gi, &info))
            rc = DV_NVML_ERROR_UNKNOWN;
    }
    if (rc != DV_NVML_SUCCESS) {
        int r = dv_nvml_session_failed(s, rc, "the driver did not create it", err);
        dv_err_prefix(err, "%s at %u: ", NAME_OF(step), step->start);
        return r;
    }
    ret->gi = info.id;
    return 0;
}

/* The GPU instance that the step names by its id; NULL when it is gone, which includes that
 * another one has its id now. 0 or an NVML error. */
static int named_gi(const struct dv_nvml_session *s, struct dv_nvml_device *d,
                    const struct dv_step *step, struct dv_nvml_gpu_instance **ret)
{
    struct dv_nvml_gi_info info = {0};
    int rc = DV_NVML_SESSION_CALL(s, nvmlDeviceGetGpuInstanceById, d, step->gi, ret);
    if (rc == DV_NVML_ERROR_NOT_FOUND || rc == DV_NVML_ERROR_INVALID_ARGUMENT ||
        rc == DV_NVML_ERROR_NOT_SUPPORTED) {
        *ret = NULL; /* out of MIG mode there is none either */
        return DV_NVML_SUCCESS;
    }
    if (rc != DV_NVML_SUCCESS)
        return rc;
    if (!gi_info(s, *ret, &info) ||
        (step->profile != UINT32_MAX && info.profile_id != step->profile) ||
        (step->size && info.placement.start != step->start))
        *ret = NULL;
    return DV_NVML_SUCCESS;
}

int dv_nvml_session_destroy_gi(const struct dv_nvml_session *s, struct dv_nvml_device *d,
                               const struct dv_step *step, struct dv_err *err)
{
    struct dv_nvml_gpu_instance *gi = NULL;
    int rc = named_gi(s, d, step, &gi);
    if (rc == DV_NVML_SUCCESS && gi)
        rc = DV_NVML_SESSION_CALL(s, nvmlGpuInstanceDestroy, gi);
    if (rc == DV_NVML_SUCCESS || rc == DV_NVML_ERROR_NOT_FOUND)
        return 0;
    int r = dv_nvml_session_failed(s, rc, "the driver did not destroy it", err);
    dv_err_prefix(err, "%s (GPU instance %u): ", NAME_OF(step), step->gi);
    return r;
}

/* ---- compute instances ---- */

struct cis {
    uint32_t n, n_profiles;
    struct dv_nvml_ci_info ci[INSTANCES_MAX];
    struct {
        uint32_t id, slices;
    } profiles[DV_NVML_CI_PROFILE_COUNT];
};

/* What a GPU instance offers and holds. */
static int read_cis(const struct dv_nvml_session *s, struct dv_nvml_gpu_instance *gi,
                    struct cis *ret)
{
    memset(ret, 0, sizeof *ret);
    for (uint32_t i = 0; i < DV_NVML_CI_PROFILE_COUNT; i++) {
        struct dv_nvml_ci_profile_info_v1 p = {0};
        struct dv_nvml_compute_instance *list[INSTANCES_MAX];
        uint32_t n = INSTANCES_MAX;
        int rc = DV_NVML_SESSION_CALL(s, nvmlGpuInstanceGetComputeInstanceProfileInfo, gi, i,
                                      DV_NVML_CI_ENGINE_SHARED, &p);
        if (rc != DV_NVML_SUCCESS)
            continue; /* this GPU instance has no such compute profile */
        ret->profiles[ret->n_profiles].id = p.id;
        ret->profiles[ret->n_profiles++].slices = p.slice_count;
        rc = DV_NVML_SESSION_CALL(s, nvmlGpuInstanceGetComputeInstances, gi, p.id, list, &n);
        if (rc != DV_NVML_SUCCESS || n > INSTANCES_MAX)
            return rc ? rc : DV_NVML_ERROR_INSUFFICIENT_SIZE;
        for (uint32_t k = 0; k < n && ret->n < INSTANCES_MAX; k++)
            if (DV_NVML_SESSION_CALL(s, nvmlComputeInstanceGetInfo_v2, list[k], &ret->ci[ret->n]) ==
                DV_NVML_SUCCESS)
                ret->n++;
    }
    return DV_NVML_SUCCESS;
}

static uint64_t mask(uint32_t start, uint32_t size)
{
    return start < 32 && size <= 32 ? ((UINT64_C(1) << size) - 1) << start : 0;
}

static uint32_t places(const struct dv_nvml_session *s, struct dv_nvml_gpu_instance *gi,
                       uint32_t profile, struct dv_nvml_placement ret[32])
{
    uint32_t n = 32;
    int rc = DV_NVML_SESSION_CALL(s, nvmlGpuInstanceGetComputeInstancePossiblePlacements, gi,
                                  profile, ret, &n);
    return rc == DV_NVML_SUCCESS && n <= 32 ? n : 0;
}

/* The free place that spoils the fewest places of others, so that what is created later (in the
 * order of its size) still fits: a 1c in a 3g goes to the end, and a 2c fits before it. */
static bool pick_place(const struct dv_nvml_session *s, struct dv_nvml_gpu_instance *gi,
                       const struct cis *have, uint32_t profile, struct dv_nvml_placement *ret)
{
    struct dv_nvml_placement mine[32], other[32];
    uint32_t n = places(s, gi, profile, mine), best = UINT32_MAX;
    uint64_t taken = 0;
    for (uint32_t i = 0; i < have->n; i++)
        taken |= mask(have->ci[i].placement.start, have->ci[i].placement.size);
    uint32_t spoiled[32] = {0};
    for (uint32_t p = 0; p < have->n_profiles; p++) {
        uint32_t m = places(s, gi, have->profiles[p].id, other);
        for (uint32_t i = 0; i < n; i++)
            for (uint32_t k = 0; k < m; k++)
                spoiled[i] +=
                    (mask(mine[i].start, mine[i].size) & mask(other[k].start, other[k].size)) != 0;
    }
    for (uint32_t i = 0; i < n; i++)
        if (!(mask(mine[i].start, mine[i].size) & taken) && spoiled[i] < best) {
            best = spoiled[i];
            *ret = mine[i];
        }
    return best != UINT32_MAX;
}

/* Its UUID; "" where the driver does not list it. */
static void device_uuid(const struct dv_nvml_session *s, struct dv_nvml_device *d, uint32_t gi,
                        uint32_t ci, char ret[DV_UUID_SIZE])
{
    uint32_t max = 0, of_gi, of_ci;
    ret[0] = 0;
    DV_NVML_SESSION_CALL(s, nvmlDeviceGetMaxMigDeviceCount, d, &max);
    for (uint32_t i = 0; i < DV_MIN(max, 64u); i++) {
        struct dv_nvml_device *mig;
        if (DV_NVML_SESSION_CALL(s, nvmlDeviceGetMigDeviceHandleByIndex, d, i, &mig) ||
            DV_NVML_SESSION_CALL(s, nvmlDeviceGetGpuInstanceId, mig, &of_gi) ||
            DV_NVML_SESSION_CALL(s, nvmlDeviceGetComputeInstanceId, mig, &of_ci) || of_gi != gi ||
            of_ci != ci)
            continue;
        if (DV_NVML_SESSION_CALL(s, nvmlDeviceGetUUID, mig, ret, DV_UUID_SIZE))
            ret[0] = 0;
        return;
    }
}

/* By its id where the step has one; else the one that starts there, of whatever profile the step
 * says. */
static struct dv_nvml_gpu_instance *gi_of_step(const struct dv_nvml_session *s,
                                               struct dv_nvml_device *d, const struct dv_step *step,
                                               struct dv_nvml_gi_info *ret)
{
    struct dv_nvml_gpu_instance *gi = NULL;
    if (step->gi == UINT32_MAX)
        return find_gi(s, d, step->profile, step->start, ret);
    if (named_gi(s, d, step, &gi) != DV_NVML_SUCCESS || !gi || !gi_info(s, gi, ret))
        return NULL;
    return gi;
}

static int create_ci(const struct dv_nvml_session *s, struct dv_nvml_gpu_instance *gi,
                     const struct cis *have, const struct dv_step *step, uint32_t *ret_id)
{
    struct dv_nvml_placement place;
    struct dv_nvml_compute_instance *ci;
    struct dv_nvml_ci_info info;
    int rc;
    if (s->nvmlGpuInstanceCreateComputeInstanceWithPlacement &&
        pick_place(s, gi, have, step->value, &place))
        rc = s->nvmlGpuInstanceCreateComputeInstanceWithPlacement(gi, step->value, &place, &ci);
    else
        rc = DV_NVML_SESSION_CALL(s, nvmlGpuInstanceCreateComputeInstance, gi, step->value, &ci);
    if (rc == DV_NVML_SUCCESS)
        rc = DV_NVML_SESSION_CALL(s, nvmlComputeInstanceGetInfo_v2, ci, &info);
    if (rc == DV_NVML_SUCCESS)
        *ret_id = info.id;
    return rc;
}

int dv_nvml_session_create_ci(const struct dv_nvml_session *s, struct dv_nvml_device *d,
                              const struct dv_step *step, struct dv_receipt *ret,
                              struct dv_err *err)
{
    struct dv_nvml_gi_info info = {0};
    struct cis have;
    uint32_t id = UINT32_MAX;
    struct dv_nvml_gpu_instance *gi = gi_of_step(s, d, step, &info);
    if (!gi)
        return dv_err_set(err, DV_ACTUATE_NOT_FOUND,
                          "there is no GPU instance at %u to create %s in", step->start,
                          NAME_OF(step));
    int rc = read_cis(s, gi, &have);
    /*
     * Drivers number the compute instances of a GPU instance from 0, lowest first, so in one that
     * was made for this plan the number says whether it is there. In one that stays (the step has
     * its id) older ones may have any number: there the plan, made from what is there, decides.
     */
    for (uint32_t i = 0; step->gi == UINT32_MAX && i < have.n; i++)
        if (have.ci[i].id == step->order && have.ci[i].profile_id == step->value)
            id = have.ci[i].id;
    if (rc == DV_NVML_SUCCESS && id == UINT32_MAX)
        rc = create_ci(s, gi, &have, step, &id);
    if (rc != DV_NVML_SUCCESS) {
        int r = dv_nvml_session_failed(s, rc, "the driver did not create it", err);
        dv_err_prefix(err, "%s in GPU instance %u: ", NAME_OF(step), info.id);
        return r;
    }
    ret->gi = info.id;
    ret->ci = id;
    device_uuid(s, d, info.id, id, ret->device);
    return 0;
}

int dv_nvml_session_destroy_ci(const struct dv_nvml_session *s, struct dv_nvml_device *d,
                               const struct dv_step *step, struct dv_err *err)
{
    struct dv_nvml_gpu_instance *gi = NULL;
    struct dv_nvml_compute_instance *ci = NULL;
    char uuid[DV_UUID_SIZE];
    int rc = DV_NVML_SESSION_CALL(s, nvmlDeviceGetGpuInstanceById, d, step->gi, &gi);
    if (rc == DV_NVML_SUCCESS)
        rc = DV_NVML_SESSION_CALL(s, nvmlGpuInstanceGetComputeInstanceById, gi, step->ci, &ci);
    if (rc == DV_NVML_ERROR_NOT_FOUND || rc == DV_NVML_ERROR_INVALID_ARGUMENT ||
        rc == DV_NVML_ERROR_NOT_SUPPORTED)
        return 0; /* gone, with its GPU instance or MIG mode perhaps */
    if (rc == DV_NVML_SUCCESS && step->device[0]) {
        device_uuid(s, d, step->gi, step->ci, uuid);
        if (uuid[0] && strcmp(uuid, step->device) != 0)
            return 0; /* another one has its ids now */
    }
    if (rc == DV_NVML_SUCCESS)
        rc = DV_NVML_SESSION_CALL(s, nvmlComputeInstanceDestroy, ci);
    if (rc == DV_NVML_SUCCESS || rc == DV_NVML_ERROR_NOT_FOUND)
        return 0;
    int r = dv_nvml_session_failed(s, rc, "the driver did not destroy it", err);
    dv_err_prefix(err, "%s (compute instance %u of GPU instance %u): ", NAME_OF(step), step->ci,
                  step->gi);
    return r;
}
