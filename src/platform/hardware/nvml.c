/* SPDX-License-Identifier: Apache-2.0 */
#include "hardware/nvml.h"

#include "abi_nvml.h"
#include "base/str.h"
#include "hardware/nvml_accounting.h"
#include "hardware/nvml_condition.h"
#include "hardware/nvml_lost.h"
#include "hardware/nvml_telemetry.h"
#include "hardware/nvml_topology.h"
#include "hardware/pci_sysfs.h"

#include <dlfcn.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* What is looked up. None but Init, the count and the handle is indispensable. */
#define CALLS(X)                                                                                   \
    X(nvmlInit_v2)                                                                                 \
    X(nvmlInit)                                                                                    \
    X(nvmlShutdown)                                                                                \
    X(nvmlErrorString)                                                                             \
    X(nvmlSystemGetDriverVersion)                                                                  \
    X(nvmlSystemGetCudaDriverVersion_v2)                                                           \
    X(nvmlSystemGetCudaDriverVersion)                                                              \
    X(nvmlDeviceGetCount_v2)                                                                       \
    X(nvmlDeviceGetCount)                                                                          \
    X(nvmlDeviceGetHandleByIndex_v2)                                                               \
    X(nvmlDeviceGetHandleByIndex)                                                                  \
    X(nvmlDeviceGetHandleByPciBusId_v2)                                                            \
    X(nvmlDeviceGetHandleByPciBusId)                                                               \
    X(nvmlDeviceGetName)                                                                           \
    X(nvmlDeviceGetUUID)                                                                           \
    X(nvmlDeviceGetIndex)                                                                          \
    X(nvmlDeviceGetPciInfo_v3)                                                                     \
    X(nvmlDeviceGetPciInfo_v2)                                                                     \
    X(nvmlDeviceGetPciInfo)                                                                        \
    X(nvmlDeviceGetCudaComputeCapability)                                                          \
    X(nvmlDeviceGetPersistenceMode)                                                                \
    X(nvmlDeviceGetComputeMode)                                                                    \
    X(nvmlDeviceGetMemoryInfo_v2)                                                                  \
    X(nvmlDeviceGetMemoryInfo)                                                                     \
    X(nvmlDeviceGetUtilizationRates)                                                               \
    X(nvmlDeviceGetEnforcedPowerLimit)                                                             \
    X(nvmlDeviceGetPowerManagementLimit)                                                           \
    X(nvmlDeviceGetComputeRunningProcesses_v3)                                                     \
    X(nvmlDeviceGetComputeRunningProcesses_v2)                                                     \
    X(nvmlDeviceGetComputeRunningProcesses)                                                        \
    X(nvmlDeviceGetMPSComputeRunningProcesses_v3)                                                  \
    X(nvmlDeviceGetMPSComputeRunningProcesses_v2)                                                  \
    X(nvmlDeviceGetMPSComputeRunningProcesses)                                                     \
    X(nvmlDeviceGetProcessUtilization)                                                             \
    X(nvmlDeviceGetMigMode)                                                                        \
    X(nvmlDeviceGetMaxMigDeviceCount)                                                              \
    X(nvmlDeviceGetMigDeviceHandleByIndex)                                                         \
    X(nvmlDeviceGetGpuInstanceId)                                                                  \
    X(nvmlDeviceGetComputeInstanceId)                                                              \
    X(nvmlDeviceGetAttributes_v2)                                                                  \
    X(nvmlDeviceGetAttributes)                                                                     \
    X(nvmlDeviceGetGpuInstanceProfileInfoV)                                                        \
    X(nvmlDeviceGetGpuInstanceProfileInfo)                                                         \
    X(nvmlDeviceGetGpuInstancePossiblePlacements_v2)                                               \
    X(nvmlDeviceGetGpuInstancePossiblePlacements)                                                  \
    X(nvmlDeviceGetGpuInstanceById)                                                                \
    X(nvmlDeviceGetGpuInstances)                                                                   \
    X(nvmlGpuInstanceGetInfo)                                                                      \
    X(nvmlGpuInstanceGetComputeInstanceById)                                                       \
    X(nvmlComputeInstanceGetInfo_v2)                                                               \
    X(nvmlEventSetCreate)                                                                          \
    X(nvmlEventSetFree)                                                                            \
    X(nvmlDeviceRegisterEvents)                                                                    \
    X(nvmlEventSetWait_v2)                                                                         \
    X(nvmlEventSetWait)

/* More of one profile than any GPU can hold. */
#define INSTANCES_MAX 16u

struct nvml {
    struct dv_hardware hw;
    void *lib;
    char path[256];
    struct dv_nvml_event_set *events;
    struct dv_nvml_accounting accounting;
    struct dv_nvml_condition condition;
    struct dv_nvml_topology_calls topology;
    struct dv_nvml_device *registered[DV_FACTS_GPUS_MAX]; /* for events, by index */
    struct dv_nvml_telemetry *telemetry;                  /* NULL before the first question */
#define X(name) __typeof__(&name) name;
    CALLS(X)
#undef X
};

#define SELF(hw) ((struct nvml *)(void *)(hw))
/* Calls a function that may be missing. */
#define CALL(self, name, ...)                                                                      \
    ((self)->name ? (self)->name(__VA_ARGS__) : DV_NVML_ERROR_FUNCTION_NOT_FOUND)

static const char *error_text(struct nvml *self, int rc)
{
    const char *text = self->nvmlErrorString ? self->nvmlErrorString(rc) : NULL;
    return text ? text : "unknown error";
}

static int failed(struct nvml *self, int rc, const char *what, struct dv_err *err)
{
    enum dv_hardware_status status = DV_HARDWARE_FAILED;
    switch (rc) {
    case DV_NVML_ERROR_DRIVER_NOT_LOADED:
        status = DV_HARDWARE_NOT_LOADED;
        break;
    case DV_NVML_ERROR_LIB_RM_VERSION_MISMATCH:
        status = DV_HARDWARE_MISMATCH;
        break;
    case DV_NVML_ERROR_LIBRARY_NOT_FOUND:
        status = DV_HARDWARE_MISSING;
        break;
    case DV_NVML_ERROR_GPU_IS_LOST:
    case DV_NVML_ERROR_RESET_REQUIRED:
    case DV_NVML_ERROR_GPU_NOT_FOUND:
        status = DV_HARDWARE_LOST;
        break;
    case DV_NVML_ERROR_NO_PERMISSION:
        status = DV_HARDWARE_NOT_PERMITTED;
        break;
    case DV_NVML_ERROR_NOT_SUPPORTED:
    case DV_NVML_ERROR_FUNCTION_NOT_FOUND:
        status = DV_HARDWARE_NOT_SUPPORTED;
        break;
    default:
        break;
    }
    return dv_err_set(err, status, "%s: %s (NVML %d)", what, error_text(self, rc), rc);
}

static bool is_lost(int rc)
{
    return rc == DV_NVML_ERROR_GPU_IS_LOST || rc == DV_NVML_ERROR_RESET_REQUIRED;
}

/* Did the driver answer, if only that it cannot or will not? Else nothing is known. */
static bool is_answer(int rc)
{
    return rc == DV_NVML_SUCCESS || rc == DV_NVML_ERROR_NOT_SUPPORTED ||
           rc == DV_NVML_ERROR_FUNCTION_NOT_FOUND || rc == DV_NVML_ERROR_NO_PERMISSION ||
           rc == DV_NVML_ERROR_NOT_FOUND || rc == DV_NVML_ERROR_INVALID_ARGUMENT;
}

static void nvml_free(struct dv_hardware *hw)
{
    struct nvml *self = SELF(hw);
    dv_nvml_telemetry_free(self->telemetry);
    if (self->events)
        CALL(self, nvmlEventSetFree, self->events);
    CALL(self, nvmlShutdown);
    dlclose(self->lib);
    free(self);
}

static int device(struct nvml *self, uint32_t index, struct dv_nvml_device **ret)
{
    if (self->nvmlDeviceGetHandleByIndex_v2)
        return self->nvmlDeviceGetHandleByIndex_v2(index, ret);
    return CALL(self, nvmlDeviceGetHandleByIndex, index, ret);
}

static int device_at(struct nvml *self, const char *pci, struct dv_nvml_device **ret)
{
    if (self->nvmlDeviceGetHandleByPciBusId_v2)
        return self->nvmlDeviceGetHandleByPciBusId_v2(pci, ret);
    return CALL(self, nvmlDeviceGetHandleByPciBusId, pci, ret);
}

static int count_gpus(struct nvml *self, uint32_t *ret)
{
    return self->nvmlDeviceGetCount_v2 ? self->nvmlDeviceGetCount_v2(ret)
                                       : CALL(self, nvmlDeviceGetCount, ret);
}

/* Where a GPU is that the driver has no handle of. */
static void find_place(struct nvml *self, uint32_t index, char ret[static DV_GPU_PCI_SIZE])
{
    struct dv_nvml_lost lost = {0};
    struct dv_nvml_device *d;
    if (count_gpus(self, &lost.n_gpus) != DV_NVML_SUCCESS)
        return;
    lost.n_gpus = DV_MIN(lost.n_gpus, DV_FACTS_GPUS_MAX);
    for (uint32_t i = 0; i < lost.n_gpus; i++)
        lost.gpus[i] = device(self, i, &d);
    lost.n_places = dv_pci_sysfs_gpus(DV_PCI_SYSFS, DV_FACTS_GPUS_MAX, lost.names);
    for (uint32_t i = 0; i < lost.n_places; i++)
        lost.places[i] = device_at(self, lost.names[i], &d);
    const char *place = dv_nvml_lost_place(&lost, index);
    snprintf(ret, DV_GPU_PCI_SIZE, "%s", place ? place : "");
}

static bool is_registered(const struct nvml *self, const struct dv_nvml_device *d)
{
    for (uint32_t i = 0; i < DV_FACTS_GPUS_MAX; i++)
        if (self->registered[i] == d)
            return true;
    return false;
}

/* Of each GPU once, when it answers: it may be lost first, or come later. A driver that has none
 * reports no events. */
static void register_events(struct nvml *self, uint32_t gpus)
{
    if (!self->nvmlEventSetCreate || !self->nvmlDeviceRegisterEvents)
        return;
    if (!self->events && self->nvmlEventSetCreate(&self->events) != DV_NVML_SUCCESS) {
        self->events = NULL;
        return;
    }
    for (uint32_t i = 0; i < gpus; i++) {
        struct dv_nvml_device *d;
        if (device(self, i, &d) != DV_NVML_SUCCESS || self->registered[i] == d)
            continue;
        if (!is_registered(self, d))
            self->nvmlDeviceRegisterEvents(d, DV_NVML_EVENT_XID, self->events);
        self->registered[i] = d;
    }
}

/* A GPU that has fallen off the bus does not tell its index any more, and that is an XID too. */
static uint32_t index_of(struct nvml *self, struct dv_nvml_device *d)
{
    uint32_t index = DV_FACT_UNKNOWN32;
    for (uint32_t i = 0; i < DV_FACTS_GPUS_MAX; i++)
        if (d && self->registered[i] == d)
            return i;
    CALL(self, nvmlDeviceGetIndex, d, &index);
    return index;
}

static int nvml_driver(struct dv_hardware *hw, struct dv_facts_driver *ret, struct dv_err *err)
{
    struct nvml *self = SELF(hw);
    struct dv_facts_driver f = {.cuda = DV_FACT_UNKNOWN32};
    int cuda;
    int rc = count_gpus(self, &f.gpus);
    if (rc != DV_NVML_SUCCESS)
        return failed(self, rc, "counting GPUs", err);
    f.gpus = DV_MIN(f.gpus, DV_FACTS_GPUS_MAX);
    if (CALL(self, nvmlSystemGetDriverVersion, f.version, sizeof f.version) != DV_NVML_SUCCESS)
        f.version[0] = 0;
    if (CALL(self, nvmlSystemGetCudaDriverVersion_v2, &cuda) == DV_NVML_SUCCESS ||
        CALL(self, nvmlSystemGetCudaDriverVersion, &cuda) == DV_NVML_SUCCESS)
        f.cuda = (uint32_t)cuda;
    memcpy(f.library, self->path, sizeof f.library);
    register_events(self, f.gpus);
    *ret = f;
    return 0;
}

/* ---- a GPU ---- */

static void read_pci(struct nvml *self, struct dv_nvml_device *d, struct dv_facts_gpu *f)
{
    struct dv_nvml_pci_info v3 = {0};
    struct dv_nvml_pci_info_v2 v2 = {0};
    struct dv_nvml_pci_info_v1 v1 = {0};
    if (CALL(self, nvmlDeviceGetPciInfo_v3, d, &v3) == DV_NVML_SUCCESS) {
        snprintf(f->pci, sizeof f->pci, "%.*s", (int)sizeof v3.bus_id - 1, v3.bus_id);
        f->pci_device_id = v3.pci_device_id;
        f->pci_subsystem_id = v3.pci_subsystem_id;
    } else if (CALL(self, nvmlDeviceGetPciInfo_v2, d, &v2) == DV_NVML_SUCCESS) {
        snprintf(f->pci, sizeof f->pci, "%.*s", (int)sizeof v2.bus_id, v2.bus_id);
        f->pci_device_id = v2.pci_device_id;
        f->pci_subsystem_id = v2.pci_subsystem_id;
    } else if (CALL(self, nvmlDeviceGetPciInfo, d, &v1) == DV_NVML_SUCCESS) {
        snprintf(f->pci, sizeof f->pci, "%.*s", (int)sizeof v1.bus_id, v1.bus_id);
        f->pci_device_id = v1.pci_device_id;
    }
}

struct memory {
    uint64_t total, reserved, used, free;
};

static int read_memory(struct nvml *self, struct dv_nvml_device *d, struct memory *ret)
{
    struct dv_nvml_memory_v2 v2 = {.version = DV_NVML_VERSION(dv_nvml_memory_v2, 2)};
    struct dv_nvml_memory v1 = {0};
    int rc = CALL(self, nvmlDeviceGetMemoryInfo_v2, d, &v2);
    if (rc == DV_NVML_SUCCESS) {
        *ret = (struct memory){v2.total, v2.reserved, v2.used, v2.free};
        return rc;
    }
    int old = CALL(self, nvmlDeviceGetMemoryInfo, d, &v1);
    if (old == DV_NVML_SUCCESS)
        *ret = (struct memory){v1.total, DV_FACT_UNKNOWN, v1.used, v1.free};
    return old == DV_NVML_SUCCESS || !is_lost(rc) ? old : rc;
}

/* "MIG 3g.20gb" or "NVIDIA A100-SXM4-40GB MIG 3g.20gb" -> "3g.20gb". */
static void profile_name(const char *text, char ret[DV_MIG_NAME])
{
    const char *at = NULL;
    for (const char *p = text; (p = strstr(p, "MIG ")); p += 4)
        at = p + 4;
    if (dv_str_copy(ret, DV_MIG_NAME, at ? at : "") < 0)
        ret[0] = 0;
}

static void fill_profile(struct dv_mig_profile *p, const struct dv_nvml_gi_profile_info_v2 *i,
                         uint32_t nvml)
{
    struct dv_mig_name name;
    *p = (struct dv_mig_profile){
        .id = i->id,
        .nvml = nvml,
        .slices = i->slice_count,
        .max_instances = i->instance_count,
        .memory_bytes = i->memory_size_mb * DV_MIB,
        .sm = i->multiprocessor_count,
        .engines = {(int8_t)i->copy_engine_count, (int8_t)i->decoder_count,
                    (int8_t)i->encoder_count, (int8_t)i->jpeg_count, (int8_t)i->ofa_count},
    };
    profile_name(i->name, p->name);
    if (!p->name[0]) {
        /* Older drivers give no name; it is made of what they do give. */
        name = (struct dv_mig_name){.slices = i->slice_count,
                                    .gigabytes = (uint32_t)((i->memory_size_mb + 1023) / 1024),
                                    .media = nvml == DV_NVML_GI_1_SLICE_REV1 ||
                                                     nvml == DV_NVML_GI_2_SLICE_REV1
                                                 ? DV_MIG_MEDIA_ONE
                                                 : DV_MIG_MEDIA_DEFAULT};
        dv_mig_name_format(&name, p->name);
    }
    if (dv_mig_name_parse(p->name, &name, NULL) == 0) {
        p->media = name.media;
        p->graphics = name.graphics;
    }
}

static bool read_placements(struct nvml *self, struct dv_nvml_device *d, struct dv_mig_profile *p,
                            uint32_t *grid)
{
    struct dv_nvml_placement at[64];
    uint32_t count = DV_ARRAY_SIZE(at);
    int rc = CALL(self, nvmlDeviceGetGpuInstancePossiblePlacements_v2, d, p->id, at, &count);
    if (rc == DV_NVML_ERROR_FUNCTION_NOT_FOUND) {
        count = DV_ARRAY_SIZE(at);
        rc = CALL(self, nvmlDeviceGetGpuInstancePossiblePlacements, d, p->id, at, &count);
    }
    if (rc != DV_NVML_SUCCESS || !count || count > DV_ARRAY_SIZE(at))
        return false;
    p->size = at[0].size;
    for (uint32_t i = 0; i < count; i++) {
        if (at[i].start >= DV_MIG_GRID_MAX || at[i].size > DV_MIG_GRID_MAX)
            return false;
        p->starts |= 1u << at[i].start;
        *grid = DV_MAX(*grid, at[i].start + at[i].size);
    }
    return true;
}

static bool read_profile(struct nvml *self, struct dv_nvml_device *d, uint32_t nvml,
                         struct dv_mig_profile *ret)
{
    struct dv_nvml_gi_profile_info_v2 v2 = {.version =
                                                DV_NVML_VERSION(dv_nvml_gi_profile_info_v2, 2)};
    struct dv_nvml_gi_profile_info_v1 v1 = {0};
    if (CALL(self, nvmlDeviceGetGpuInstanceProfileInfoV, d, nvml, &v2) != DV_NVML_SUCCESS) {
        if (CALL(self, nvmlDeviceGetGpuInstanceProfileInfo, d, nvml, &v1) != DV_NVML_SUCCESS)
            return false;
        v2 = (struct dv_nvml_gi_profile_info_v2){
            .id = v1.id,
            .slice_count = v1.slice_count,
            .instance_count = v1.instance_count,
            .multiprocessor_count = v1.multiprocessor_count,
            .copy_engine_count = v1.copy_engine_count,
            .decoder_count = v1.decoder_count,
            .encoder_count = v1.encoder_count,
            .jpeg_count = v1.jpeg_count,
            .ofa_count = v1.ofa_count,
            .memory_size_mb = v1.memory_size_mb,
        };
    }
    v2.name[sizeof v2.name - 1] = 0;
    fill_profile(ret, &v2, nvml);
    return true;
}

/* Geometry is what the driver says, or unknown; a geometry that makes no sense is unknown too. */
static void read_geometry(struct nvml *self, struct dv_nvml_device *d, struct dv_mig_geometry *g)
{
    *g = (struct dv_mig_geometry){0};
    for (uint32_t i = 0; i < DV_NVML_GI_PROFILE_COUNT && g->n_profiles < DV_MIG_PROFILES_MAX; i++) {
        struct dv_mig_profile p;
        if (!read_profile(self, d, i, &p) || !read_placements(self, d, &p, &g->grid))
            continue;
        g->slices = DV_MAX(g->slices, p.slices);
        g->profiles[g->n_profiles++] = p;
    }
    if (g->n_profiles && dv_mig_geometry_check(g, NULL) < 0)
        *g = (struct dv_mig_geometry){0};
}

/* Those of one profile at a time: NVML has no other list. Where listing needs rights that we do not
 * have, the MIG devices alone are known. */
static int read_instances(struct nvml *self, struct dv_nvml_device *d, struct dv_facts_gpu *f)
{
    f->n_gi = 0;
    for (uint32_t i = 0; i < f->geometry.n_profiles; i++) {
        struct dv_nvml_gpu_instance *list[INSTANCES_MAX];
        struct dv_nvml_gi_info info;
        uint32_t count = DV_ARRAY_SIZE(list);
        int rc = CALL(self, nvmlDeviceGetGpuInstances, d, f->geometry.profiles[i].id, list, &count);
        if (rc != DV_NVML_SUCCESS || count > DV_ARRAY_SIZE(list)) {
            f->n_gi = DV_FACT_UNKNOWN32;
            return rc;
        }
        for (uint32_t k = 0; k < count && f->n_gi < DV_FACTS_MIG_MAX; k++) {
            rc = CALL(self, nvmlGpuInstanceGetInfo, list[k], &info);
            if (rc == DV_NVML_SUCCESS)
                f->gi[f->n_gi++] = (struct dv_facts_gi){info.id, info.profile_id,
                                                        info.placement.start, info.placement.size};
            else if (!is_answer(rc))
                return rc;
        }
    }
    return DV_NVML_SUCCESS;
}

static void read_instance(struct nvml *self, struct dv_nvml_device *d, struct dv_facts_mig *m)
{
    struct dv_nvml_gpu_instance *gi;
    struct dv_nvml_compute_instance *ci;
    struct dv_nvml_gi_info info;
    struct dv_nvml_ci_info ci_info;
    if (CALL(self, nvmlDeviceGetGpuInstanceById, d, m->gi, &gi) != DV_NVML_SUCCESS)
        return;
    if (CALL(self, nvmlGpuInstanceGetInfo, gi, &info) == DV_NVML_SUCCESS) {
        m->start = info.placement.start;
        m->size = info.placement.size;
    }
    if (CALL(self, nvmlGpuInstanceGetComputeInstanceById, gi, m->ci, &ci) == DV_NVML_SUCCESS &&
        CALL(self, nvmlComputeInstanceGetInfo_v2, ci, &ci_info) == DV_NVML_SUCCESS) {
        m->ci_profile = ci_info.profile_id;
        m->ci_start = ci_info.placement.start;
    }
}

static int read_mig_device(struct nvml *self, struct dv_nvml_device *d, uint32_t index,
                           struct dv_facts_mig *m)
{
    struct dv_nvml_device *mig;
    struct dv_nvml_device_attributes a = {0};
    char name[DV_NVML_NAME_V2_SIZE] = "";
    memset(m, 0, sizeof *m);
    m->gi = m->ci = m->start = m->size = DV_FACT_UNKNOWN32;
    m->ci_profile = m->ci_start = DV_FACT_UNKNOWN32;
    int rc = CALL(self, nvmlDeviceGetMigDeviceHandleByIndex, d, index, &mig);
    if (rc == DV_NVML_SUCCESS)
        rc = CALL(self, nvmlDeviceGetUUID, mig, m->uuid, sizeof m->uuid);
    if (rc == DV_NVML_SUCCESS)
        rc = CALL(self, nvmlDeviceGetGpuInstanceId, mig, &m->gi);
    if (rc == DV_NVML_SUCCESS)
        rc = CALL(self, nvmlDeviceGetComputeInstanceId, mig, &m->ci);
    if (rc != DV_NVML_SUCCESS)
        return rc;
    if (CALL(self, nvmlDeviceGetName, mig, name, sizeof name) == DV_NVML_SUCCESS)
        profile_name(name, m->profile);
    m->gi_slices = m->ci_slices = m->sm = DV_FACT_UNKNOWN32;
    m->copy = m->decoder = m->encoder = m->jpeg = m->ofa = DV_FACT_UNKNOWN32;
    m->memory_bytes = DV_FACT_UNKNOWN;
    if (CALL(self, nvmlDeviceGetAttributes_v2, mig, &a) == DV_NVML_SUCCESS ||
        CALL(self, nvmlDeviceGetAttributes, mig, &a) == DV_NVML_SUCCESS) {
        m->gi_slices = a.gpu_instance_slice_count;
        m->ci_slices = a.compute_instance_slice_count;
        m->sm = a.multiprocessor_count;
        m->copy = a.shared_copy_engine_count;
        m->decoder = a.shared_decoder_count;
        m->encoder = a.shared_encoder_count;
        m->jpeg = a.shared_jpeg_count;
        m->ofa = a.shared_ofa_count;
        m->memory_bytes = a.memory_size_mb * DV_MIB;
    }
    struct memory memory;
    if (read_memory(self, mig, &memory) == DV_NVML_SUCCESS)
        m->memory_bytes = memory.total;
    read_instance(self, d, m);
    return DV_NVML_SUCCESS;
}

/* 0, or the error because of which nothing is known: a GPU that cannot say now whether it is cut is
 * not one that cannot be cut. */
static int read_mig(struct nvml *self, struct dv_nvml_device *d, struct dv_facts_gpu *f)
{
    uint32_t max = 0;
    f->n_mig = f->n_gi = 0;
    int rc = CALL(self, nvmlDeviceGetMigMode, d, &f->mig_current, &f->mig_pending);
    if (rc != DV_NVML_SUCCESS) {
        f->mig_current = f->mig_pending = DV_FACT_UNKNOWN32;
        return is_answer(rc) ? 0 : rc;
    }
    read_geometry(self, d, &f->geometry);
    if (f->mig_current != DV_NVML_FEATURE_ENABLED)
        return 0;
    rc = CALL(self, nvmlDeviceGetMaxMigDeviceCount, d, &max);
    if (rc == DV_NVML_SUCCESS)
        rc = read_instances(self, d, f);
    for (uint32_t i = 0; is_answer(rc) && i < max && f->n_mig < DV_FACTS_MIG_MAX; i++) {
        rc = read_mig_device(self, d, i, &f->mig[f->n_mig]);
        f->n_mig += rc == DV_NVML_SUCCESS;
    }
    return is_answer(rc) ? 0 : rc;
}

/* The call may be there and answer that it is not supported (an older kernel, a driver without the
 * controller): asked about the root of all cgroups, where no limit can be. */
static uint32_t read_memory_limits(struct nvml *self, struct dv_nvml_device *d)
{
    struct dv_nvml_get_memory_limits limits = {.cgroup = "/sys/fs/cgroup"};
    int (*get)(struct dv_nvml_device *, struct dv_nvml_get_memory_limits *) =
        (__typeof__(get))dlsym(self->lib, "nvmlDeviceGetMemoryLimits_v1");
    if (!get || !dlsym(self->lib, "nvmlDeviceSetMemoryLimits_v1"))
        return 0;
    switch (get(d, &limits)) {
    case DV_NVML_ERROR_NOT_SUPPORTED:
    case DV_NVML_ERROR_FUNCTION_NOT_FOUND:
    case DV_NVML_ERROR_UNINITIALIZED:
    case DV_NVML_ERROR_GPU_IS_LOST:
    case DV_NVML_ERROR_UNKNOWN:
        return 0;
    default:
        return 1;
    }
}

static void forget(struct dv_facts_gpu *f, uint32_t index)
{
    memset(f, 0, sizeof *f);
    f->index = index;
    f->pci_device_id = f->pci_subsystem_id = DV_FACT_UNKNOWN32;
    f->persistence = f->timeslice = f->accounting = DV_FACT_UNKNOWN32;
    dv_nvml_condition_forget(f);
    f->cc_major = f->cc_minor = f->compute_mode = DV_FACT_UNKNOWN32;
    f->mig_current = f->mig_pending = f->numa = f->power_limit_mw = DV_FACT_UNKNOWN32;
    f->memory_bytes = f->memory_reserved_bytes = DV_FACT_UNKNOWN;
}

static int nvml_gpu(struct dv_hardware *hw, uint32_t index, struct dv_facts_gpu *ret,
                    struct dv_err *err)
{
    struct nvml *self = SELF(hw);
    struct dv_nvml_device *d;
    struct memory memory;
    int major, minor;
    forget(ret, index);
    int rc = device(self, index, &d);
    if (dv_nvml_lost_is(rc)) {
        ret->lost = 1;
        find_place(self, index, ret->pci);
        return 0;
    }
    if (rc != DV_NVML_SUCCESS)
        return failed(self, rc, "finding the GPU", err);
    rc = CALL(self, nvmlDeviceGetUUID, d, ret->uuid, sizeof ret->uuid);
    if (rc != DV_NVML_SUCCESS && !is_lost(rc))
        return failed(self, rc, "reading the GPU's UUID", err);
    ret->lost = is_lost(rc);
    if (CALL(self, nvmlDeviceGetName, d, ret->model, sizeof ret->model) != DV_NVML_SUCCESS)
        ret->model[0] = 0;
    read_pci(self, d, ret);
    if (CALL(self, nvmlDeviceGetCudaComputeCapability, d, &major, &minor) == DV_NVML_SUCCESS) {
        ret->cc_major = (uint32_t)major;
        ret->cc_minor = (uint32_t)minor;
    }
    if (CALL(self, nvmlDeviceGetComputeMode, d, &ret->compute_mode) != DV_NVML_SUCCESS)
        ret->compute_mode = DV_FACT_UNKNOWN32;
    if (CALL(self, nvmlDeviceGetPersistenceMode, d, &ret->persistence) != DV_NVML_SUCCESS)
        ret->persistence = DV_FACT_UNKNOWN32;
    dv_nvml_condition_read(&self->condition, d, ret);
    ret->numa = dv_nvml_topology_numa(&self->topology, d, ret->pci);
    if (CALL(self, nvmlDeviceGetEnforcedPowerLimit, d, &ret->power_limit_mw) != DV_NVML_SUCCESS &&
        CALL(self, nvmlDeviceGetPowerManagementLimit, d, &ret->power_limit_mw) != DV_NVML_SUCCESS)
        ret->power_limit_mw = DV_FACT_UNKNOWN32;
    rc = read_memory(self, d, &memory);
    if (rc == DV_NVML_SUCCESS) {
        ret->memory_bytes = memory.total;
        ret->memory_reserved_bytes = memory.reserved;
    }
    ret->lost |= is_lost(rc);
    ret->memory_limits = read_memory_limits(self, d);
    ret->accounting = dv_nvml_accounting_mode(&self->accounting, d);
    rc = read_mig(self, d, ret);
    if (rc && is_lost(rc)) {
        forget(ret, index);
        ret->lost = 1;
    } else if (rc) {
        return failed(self, rc, "reading its MIG devices", err);
    }
    return 0;
}

static int nvml_topology(struct dv_hardware *hw, uint32_t index, struct dv_facts_topology *ret,
                         struct dv_err *err)
{
    struct nvml *self = SELF(hw);
    struct dv_nvml_device *devices[DV_FACTS_GPUS_MAX] = {NULL};
    struct dv_facts_driver driver = {0};
    int r = nvml_driver(hw, &driver, err);
    if (r)
        return r;
    for (uint32_t i = 0; i < driver.gpus; i++) {
        int rc = device(self, i, &devices[i]);
        if (rc != DV_NVML_SUCCESS && i == index)
            return failed(self, rc, "finding the GPU", err);
        if (rc != DV_NVML_SUCCESS)
            devices[i] = NULL; /* lost: the others know each other still */
    }
    if (index >= driver.gpus)
        return dv_err_set(err, DV_HARDWARE_FAILED, "there is no GPU %u", index);
    dv_nvml_topology_read(&self->topology, devices, driver.gpus, index, ret);
    return 0;
}

/* ---- a sample ---- */

typedef int get_processes(struct dv_nvml_device *, uint32_t *, struct dv_nvml_process_info *);
typedef int get_processes_v1(struct dv_nvml_device *, uint32_t *, struct dv_nvml_process_info_v1 *);

static bool has_process(const struct dv_facts_sample *s, uint32_t n,
                        const struct dv_nvml_process_info *p)
{
    for (uint32_t i = 0; i < n; i++)
        if (s->processes[i].pid == p->pid && s->processes[i].gi == p->gpu_instance_id &&
            s->processes[i].ci == p->compute_instance_id)
            return true;
    return false;
}

/* One list, by the newest call there is. Its NVML code; what is not there yet is appended. */
static int append_processes(struct dv_nvml_device *d, get_processes *v3, get_processes *v2,
                            get_processes_v1 *v1, struct dv_facts_sample *s)
{
    struct dv_nvml_process_info list[DV_FACTS_PROCESSES_MAX];
    struct dv_nvml_process_info_v1 old[DV_FACTS_PROCESSES_MAX];
    uint32_t count = DV_FACTS_PROCESSES_MAX;
    int rc = DV_NVML_ERROR_FUNCTION_NOT_FOUND;
    if (v3 || v2) {
        rc = (v3 ? v3 : v2)(d, &count, list);
    } else if (v1) {
        rc = v1(d, &count, old);
        for (uint32_t i = 0; rc == DV_NVML_SUCCESS && i < DV_MIN(count, DV_FACTS_PROCESSES_MAX);
             i++)
            list[i] = (struct dv_nvml_process_info){old[i].pid, old[i].used_gpu_memory,
                                                    DV_NVML_INSTANCE_NONE, DV_NVML_INSTANCE_NONE};
    }
    if (rc == DV_NVML_SUCCESS && count > DV_FACTS_PROCESSES_MAX - s->n_processes)
        return DV_NVML_ERROR_INSUFFICIENT_SIZE;
    uint32_t before = s->n_processes;
    for (uint32_t i = 0; rc == DV_NVML_SUCCESS && i < count; i++)
        if (!has_process(s, before, &list[i]))
            s->processes[s->n_processes++] = (struct dv_facts_process){
                .pid = list[i].pid,
                .gi = list[i].gpu_instance_id,
                .ci = list[i].compute_instance_id,
                .memory_bytes = list[i].used_gpu_memory, /* NVML's "not available" is unknown */
            };
    return rc;
}

/* Clients of MPS have a list of their own; a driver without one has none in it. */
static bool read_processes(struct nvml *self, struct dv_nvml_device *d, struct dv_facts_sample *s)
{
    s->n_processes = 0;
    if (append_processes(d, self->nvmlDeviceGetComputeRunningProcesses_v3,
                         self->nvmlDeviceGetComputeRunningProcesses_v2,
                         self->nvmlDeviceGetComputeRunningProcesses, s) != DV_NVML_SUCCESS)
        return false;
    int rc = append_processes(d, self->nvmlDeviceGetMPSComputeRunningProcesses_v3,
                              self->nvmlDeviceGetMPSComputeRunningProcesses_v2,
                              self->nvmlDeviceGetMPSComputeRunningProcesses, s);
    return rc == DV_NVML_SUCCESS || rc == DV_NVML_ERROR_FUNCTION_NOT_FOUND ||
           rc == DV_NVML_ERROR_NOT_SUPPORTED;
}

static bool read_utilization(struct nvml *self, struct dv_nvml_device *d, uint64_t since_us,
                             struct dv_facts_sample *s)
{
    struct dv_nvml_process_sample list[DV_FACTS_PROCESSES_MAX];
    uint32_t count = DV_FACTS_PROCESSES_MAX;
    int rc = CALL(self, nvmlDeviceGetProcessUtilization, d, list, &count, since_us);
    if (rc == DV_NVML_ERROR_NOT_FOUND || rc == DV_NVML_ERROR_NO_DATA)
        return true; /* supported, and nobody ran since */
    if (rc != DV_NVML_SUCCESS || count > DV_FACTS_PROCESSES_MAX)
        return false;
    s->n_utilization = count;
    for (uint32_t i = 0; i < count; i++)
        s->utilization[i] =
            (struct dv_facts_utilization){list[i].pid, list[i].sm, list[i].timestamp_us};
    return true;
}

/* 0 = not in MIG mode; else 1 + the MIG devices there are. Cheap enough for every sample. */
static uint32_t read_mig_layout(struct nvml *self, struct dv_nvml_device *d)
{
    uint32_t current = 0, pending = 0, max = 0, n = 1;
    struct dv_nvml_device *mig;
    if (CALL(self, nvmlDeviceGetMigMode, d, &current, &pending) != DV_NVML_SUCCESS || !current ||
        CALL(self, nvmlDeviceGetMaxMigDeviceCount, d, &max) != DV_NVML_SUCCESS)
        return 0;
    for (uint32_t i = 0; i < DV_MIN(max, 64u); i++)
        if (CALL(self, nvmlDeviceGetMigDeviceHandleByIndex, d, i, &mig) == DV_NVML_SUCCESS)
            n++;
    return n;
}

static int nvml_sample(struct dv_hardware *hw, uint32_t index, uint64_t since_us,
                       struct dv_facts_sample *ret, struct dv_err *err)
{
    struct nvml *self = SELF(hw);
    struct dv_nvml_device *d;
    struct memory memory;
    struct dv_nvml_utilization u;
    memset(ret, 0, offsetof(struct dv_facts_sample, processes));
    ret->memory_used_bytes = ret->memory_free_bytes = DV_FACT_UNKNOWN;
    ret->gpu_percent = DV_FACT_UNKNOWN32;
    int rc = device(self, index, &d);
    if (rc == DV_NVML_SUCCESS)
        rc = read_memory(self, d, &memory);
    if (is_lost(rc)) {
        ret->lost = 1;
        return 0;
    }
    if (rc != DV_NVML_SUCCESS)
        return failed(self, rc, "reading the GPU's memory", err);
    ret->memory_used_bytes = memory.used;
    ret->memory_free_bytes = memory.free;
    if (CALL(self, nvmlDeviceGetUtilizationRates, d, &u) == DV_NVML_SUCCESS)
        ret->gpu_percent = u.gpu;
    ret->mig_layout = read_mig_layout(self, d);
    ret->processes_known = read_processes(self, d, ret);
    ret->utilization_known = read_utilization(self, d, since_us, ret);
    return 0;
}

static int nvml_telemetry(struct dv_hardware *hw, uint32_t index, struct dv_facts_telemetry *ret,
                          struct dv_err *err)
{
    struct nvml *self = SELF(hw);
    struct dv_nvml_device *d;
    dv_hardware_telemetry_forget(ret);
    if (!self->telemetry && dv_nvml_telemetry_new(self->lib, &self->telemetry) < 0)
        return dv_err_set(err, -ENOMEM, "out of memory");
    int rc = device(self, index, &d);
    if (rc != DV_NVML_SUCCESS && !is_lost(rc))
        return failed(self, rc, "finding the GPU", err);
    ret->lost = is_lost(rc);
    if (!ret->lost)
        dv_nvml_telemetry_read(self->telemetry, index, d, ret);
    return 0;
}

static int nvml_events(struct dv_hardware *hw, struct dv_facts_event *ret, uint32_t max,
                       uint32_t *ret_count, struct dv_err *err)
{
    struct nvml *self = SELF(hw);
    uint32_t n = 0;
    while (self->events && n < max) {
        struct dv_nvml_event_data e = {.gpu_instance_id = DV_NVML_INSTANCE_NONE};
        struct dv_nvml_event_data_v1 old;
        int rc = CALL(self, nvmlEventSetWait_v2, self->events, &e, 0);
        if (rc == DV_NVML_ERROR_FUNCTION_NOT_FOUND) {
            rc = CALL(self, nvmlEventSetWait, self->events, &old, 0);
            e = (struct dv_nvml_event_data){old.device, old.type, old.data, DV_NVML_INSTANCE_NONE,
                                            DV_NVML_INSTANCE_NONE};
        }
        if (rc != DV_NVML_SUCCESS)
            break;
        if (!(e.type & DV_NVML_EVENT_XID))
            continue;
        ret[n] = (struct dv_facts_event){index_of(self, e.device), e.gpu_instance_id, e.data,
                                         DV_FACT_UNKNOWN};
        dv_nvml_condition_energy(&self->condition, e.device, &ret[n++].energy_mj);
    }
    *ret_count = n;
    return 0;
}

static int nvml_account(struct dv_hardware *hw, uint32_t index, bool on, struct dv_err *err)
{
    struct nvml *self = SELF(hw);
    struct dv_nvml_device *d;
    int rc = device(self, index, &d);
    if (rc == DV_NVML_SUCCESS)
        rc = dv_nvml_accounting_set(&self->accounting, d, on);
    return rc == DV_NVML_SUCCESS ? 0 : failed(self, rc, "setting the accounting mode", err);
}

static int nvml_accounted(struct dv_hardware *hw, uint32_t index, uint32_t pid,
                          struct dv_facts_accounted *ret, struct dv_err *err)
{
    struct nvml *self = SELF(hw);
    struct dv_nvml_device *d;
    int rc = device(self, index, &d);
    if (rc == DV_NVML_SUCCESS)
        rc = dv_nvml_accounting_read(&self->accounting, d, pid, ret);
    if (rc == DV_NVML_ERROR_NOT_FOUND)
        return dv_err_set(err, -ESRCH, "the driver has kept nothing of process %u", pid);
    return rc == DV_NVML_SUCCESS ? 0 : failed(self, rc, "reading what a process used", err);
}

static const struct dv_hardware_ops ops = {nvml_free,     nvml_driver,  nvml_gpu,
                                           nvml_topology, nvml_sample,  nvml_telemetry,
                                           nvml_events,   nvml_account, nvml_accounted};

int dv_hardware_nvml_new(const char *library, struct dv_hardware **ret, struct dv_err *err)
{
    struct nvml *self = calloc(1, sizeof *self);
    if (!self)
        return dv_err_set(err, -ENOMEM, "out of memory");
    self->hw.ops = &ops;
    snprintf(self->path, sizeof self->path, "%s", library);
    self->lib = dlopen(library, RTLD_NOW | RTLD_LOCAL);
    if (!self->lib) {
        const char *why = dlerror();
        free(self);
        return dv_err_set(err, DV_HARDWARE_MISSING, "no NVIDIA driver here: %s",
                          why ? why : library);
    }
#define X(name) self->name = (__typeof__(&name))dlsym(self->lib, #name);
    CALLS(X)
#undef X
    dv_nvml_accounting_load(self->lib, &self->accounting);
    dv_nvml_condition_load(self->lib, &self->condition);
    dv_nvml_topology_load(self->lib, &self->topology);
    int rc = self->nvmlInit_v2 ? self->nvmlInit_v2() : CALL(self, nvmlInit);
    if (rc != DV_NVML_SUCCESS) {
        int r = failed(self, rc, "the NVIDIA driver does not start", err);
        dlclose(self->lib);
        free(self);
        return r;
    }
    *ret = &self->hw;
    return 0;
}
