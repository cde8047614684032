/* SPDX-License-Identifier: Apache-2.0 */
/* What a device is, and its settings. */
#include "nvml/handles.h"

#include <stdio.h>
#include <string.h>

/* A text of the simulated board that no model gives: plainly not a real one. */
#define SIMULATED_VBIOS "00.00.00.00.00"
#define SIMULATED_SUBSYSTEM 0x000010DEu

static int text(const char *function, struct dv_nvml_device *device, char *to, uint32_t length,
                size_t field)
{
    struct dv_sim_nvml_device d;
    int r = dv_nvhandles_read(function, device, &d);
    return r ? r : dv_nvhandles_text(to, length, (const char *)&d + field);
}

int nvmlDeviceGetName(struct dv_nvml_device *device, char *name, uint32_t length)
{
    return text(__func__, device, name, length, offsetof(struct dv_sim_nvml_device, name));
}

int nvmlDeviceGetUUID(struct dv_nvml_device *device, char *uuid, uint32_t length)
{
    return text(__func__, device, uuid, length, offsetof(struct dv_sim_nvml_device, uuid));
}

int nvmlDeviceGetSerial(struct dv_nvml_device *device, char *serial, uint32_t length)
{
    return text(__func__, device, serial, length, offsetof(struct dv_sim_nvml_device, serial));
}

static int fixed_text(const char *function, struct dv_nvml_device *device, char *to,
                      uint32_t length, const char *what)
{
    struct dv_sim_nvml_device d;
    int r = dv_nvhandles_read_gpu(function, device, &d);
    return r ? r : dv_nvhandles_text(to, length, what);
}

int nvmlDeviceGetVbiosVersion(struct dv_nvml_device *device, char *version, uint32_t length)
{
    return fixed_text(__func__, device, version, length, SIMULATED_VBIOS);
}

int nvmlDeviceGetBoardPartNumber(struct dv_nvml_device *device, char *number, uint32_t length)
{
    return fixed_text(__func__, device, number, length, "SIMULATED");
}

int nvmlDeviceGetInforomImageVersion(struct dv_nvml_device *device, char *version, uint32_t length)
{
    return fixed_text(__func__, device, version, length, SIMULATED_VBIOS);
}

int nvmlDeviceGetInforomVersion(struct dv_nvml_device *device, uint32_t object, char *version,
                                uint32_t length)
{
    return object > 2 ? DV_NVML_ERROR_INVALID_ARGUMENT
                      : fixed_text(__func__, device, version, length, "2.0");
}

int nvmlDeviceValidateInforom(struct dv_nvml_device *device)
{
    struct dv_nv_place p;
    return dv_nvhandles_check(__func__, device, &p);
}

DV_NV_U32(nvmlDeviceGetBrand, DV_NV_ANY, 1, d.brand)
DV_NV_U32(nvmlDeviceGetArchitecture, DV_NV_ANY, 1, d.architecture)
DV_NV_U32(nvmlDeviceGetMinorNumber, DV_NV_GPU, 1, d.minor)
DV_NV_U32(nvmlDeviceGetModuleId, DV_NV_GPU, 1, d.minor + 1)
DV_NV_U32(nvmlDeviceGetBoardId, DV_NV_GPU, 1, d.pci_bus << 8 | d.pci_device)
DV_NV_U32(nvmlDeviceGetMultiGpuBoard, DV_NV_GPU, 1, 0)
DV_NV_U32(nvmlDeviceGetNumGpuCores, DV_NV_GPU, 1, d.cores)
DV_NV_U32(nvmlDeviceGetMemoryBusWidth, DV_NV_GPU, 1, d.memory_bus_bits)
DV_NV_U32(nvmlDeviceGetBusType, DV_NV_GPU, 1, 2) /* PCIe */
DV_NV_U32(nvmlDeviceGetVirtualizationMode, DV_NV_GPU, 1, 0)
DV_NV_U32(nvmlDeviceGetHostVgpuMode, DV_NV_GPU, 0, 0)
DV_NV_U32(nvmlDeviceGetDisplayMode, DV_NV_GPU, 1, 0)
DV_NV_U32(nvmlDeviceGetDisplayActive, DV_NV_GPU, 1, 0)
DV_NV_U32(nvmlDeviceGetPersistenceMode, DV_NV_GPU, 1, d.persistence)
DV_NV_U32(nvmlDeviceGetComputeMode, DV_NV_GPU, 1, d.compute_mode)
DV_NV_U32(nvmlDeviceGetDefaultEccMode, DV_NV_GPU, d.ecc, 1)

/* A MIG device's index is its place among those of its GPU. */
int nvmlDeviceGetIndex(struct dv_nvml_device *device, uint32_t *index)
{
    struct dv_sim_nvml_place all[DV_SIM_GPUS_MAX * DV_NV_CI_IDS];
    struct dv_sim_nvml_device d;
    size_t size;
    if (!index)
        return DV_NVML_ERROR_INVALID_ARGUMENT;
    int r = dv_nvhandles_read(__func__, device, &d);
    if (r != DV_NVML_SUCCESS)
        return r;
    *index = d.gpu;
    if (d.gi == DV_SIM_NVML_NONE)
        return DV_NVML_SUCCESS;
    struct dv_sim_nvml_request q = dv_nvclient_request(d.gpu, d.gi, d.ci);
    r = dv_nvclient_call(__func__, DV_SIM_NVML_MIG_DEVICES, &q, all, sizeof(all), &size);
    for (uint32_t i = 0; r == DV_NVML_SUCCESS && i < size / sizeof(all[0]); i++) {
        if (all[i].gi == d.gi && all[i].ci == d.ci) {
            *index = i;
            return DV_NVML_SUCCESS;
        }
    }
    return r ? r : DV_NVML_ERROR_NOT_FOUND;
}

int nvmlDeviceOnSameBoard(struct dv_nvml_device *a, struct dv_nvml_device *b, int *same)
{
    struct dv_nv_place x, y;
    int r = dv_nvhandles_check(__func__, a, &x);
    if (r == DV_NVML_SUCCESS)
        r = dv_nvhandles_check(__func__, b, &y);
    if (r != DV_NVML_SUCCESS)
        return r;
    if (!same)
        return DV_NVML_ERROR_INVALID_ARGUMENT;
    *same = x.gpu == y.gpu;
    return DV_NVML_SUCCESS;
}

int nvmlDeviceGetCudaComputeCapability(struct dv_nvml_device *device, int *major, int *minor)
{
    struct dv_sim_nvml_device d;
    int r = dv_nvhandles_read(__func__, device, &d);
    if (r != DV_NVML_SUCCESS)
        return r;
    if (!major || !minor)
        return DV_NVML_ERROR_INVALID_ARGUMENT;
    *major = (int)d.cc_major;
    *minor = (int)d.cc_minor;
    return DV_NVML_SUCCESS;
}

int nvmlDeviceGetAttributes_v2(struct dv_nvml_device *device,
                               struct dv_nvml_device_attributes *attributes)
{
    struct dv_sim_nvml_device d;
    int r = dv_nvhandles_read(__func__, device, &d);
    if (r != DV_NVML_SUCCESS)
        return r;
    if (!attributes)
        return DV_NVML_ERROR_INVALID_ARGUMENT;
    if (d.gi == DV_SIM_NVML_NONE)
        return DV_NVML_ERROR_NOT_SUPPORTED; /* of MIG devices only */
    *attributes = (struct dv_nvml_device_attributes){
        .multiprocessor_count = d.sm,
        .shared_copy_engine_count = d.copy_engines,
        .shared_decoder_count = d.decoders,
        .shared_encoder_count = d.encoders,
        .shared_jpeg_count = d.jpegs,
        .shared_ofa_count = d.ofas,
        .gpu_instance_slice_count = d.gi_slices,
        .compute_instance_slice_count = d.ci_slices,
        .memory_size_mb = d.memory_total_bytes >> 20,
    };
    return DV_NVML_SUCCESS;
}

int nvmlDeviceGetAttributes(struct dv_nvml_device *device,
                            struct dv_nvml_device_attributes *attributes)
{
    return nvmlDeviceGetAttributes_v2(device, attributes);
}

/* ---- PCI --------------------------------------------------------------------------------------
 */

static int pci(const char *function, struct dv_nvml_device *device, const void *ret,
               struct dv_nvml_pci_info *info)
{
    struct dv_sim_nvml_device d;
    int r = dv_nvhandles_read(function, device, &d);
    if (r != DV_NVML_SUCCESS)
        return r;
    if (!ret)
        return DV_NVML_ERROR_INVALID_ARGUMENT;
    *info = (struct dv_nvml_pci_info){.domain = d.pci_domain,
                                      .bus = d.pci_bus,
                                      .device = d.pci_device,
                                      .pci_device_id = d.pci_id,
                                      .pci_subsystem_id = SIMULATED_SUBSYSTEM};
    snprintf(info->bus_id_legacy, sizeof(info->bus_id_legacy), "%04X:%02X:%02X.0",
             d.pci_domain & 0xffff, d.pci_bus & 0xff, d.pci_device & 0xff);
    snprintf(info->bus_id, sizeof(info->bus_id), "%08X:%02X:%02X.0", d.pci_domain, d.pci_bus,
             d.pci_device);
    return DV_NVML_SUCCESS;
}

int nvmlDeviceGetPciInfo_v3(struct dv_nvml_device *device, struct dv_nvml_pci_info *ret)
{
    struct dv_nvml_pci_info info;
    int r = pci(__func__, device, ret, &info);
    if (r == DV_NVML_SUCCESS)
        *ret = info;
    return r;
}

int nvmlDeviceGetPciInfo_v2(struct dv_nvml_device *device, struct dv_nvml_pci_info_v2 *ret)
{
    struct dv_nvml_pci_info info;
    int r = pci(__func__, device, ret, &info);
    if (r != DV_NVML_SUCCESS)
        return r;
    *ret = (struct dv_nvml_pci_info_v2){.domain = info.domain,
                                        .bus = info.bus,
                                        .device = info.device,
                                        .pci_device_id = info.pci_device_id,
                                        .pci_subsystem_id = info.pci_subsystem_id};
    memcpy(ret->bus_id, info.bus_id_legacy, sizeof(ret->bus_id));
    return DV_NVML_SUCCESS;
}

int nvmlDeviceGetPciInfo(struct dv_nvml_device *device, struct dv_nvml_pci_info_v1 *ret)
{
    struct dv_nvml_pci_info info;
    int r = pci(__func__, device, ret, &info);
    if (r != DV_NVML_SUCCESS)
        return r;
    *ret = (struct dv_nvml_pci_info_v1){.domain = info.domain,
                                        .bus = info.bus,
                                        .device = info.device,
                                        .pci_device_id = info.pci_device_id};
    memcpy(ret->bus_id, info.bus_id_legacy, sizeof(ret->bus_id));
    return DV_NVML_SUCCESS;
}

int nvmlDeviceGetPciInfoExt(struct dv_nvml_device *device, struct dv_nvml_pci_info_ext *ret)
{
    struct dv_nvml_pci_info info;
    int r = pci(__func__, device, ret, &info);
    if (r != DV_NVML_SUCCESS)
        return r;
    if (ret->version != DV_NVML_VERSION(dv_nvml_pci_info_ext, 1))
        return DV_NVML_ERROR_ARGUMENT_VERSION_MISMATCH;
    *ret = (struct dv_nvml_pci_info_ext){.version = ret->version,
                                         .domain = info.domain,
                                         .bus = info.bus,
                                         .device = info.device,
                                         .pci_device_id = info.pci_device_id,
                                         .pci_subsystem_id = info.pci_subsystem_id,
                                         .base_class = 3,
                                         .sub_class = 2};
    memcpy(ret->bus_id, info.bus_id, sizeof(ret->bus_id));
    return DV_NVML_SUCCESS;
}

/* ---- settings ---------------------------------------------------------------------------------
 */

static int set(const char *function, struct dv_nvml_device *device,
               enum dv_sim_nvml_setting setting, uint64_t value)
{
    struct dv_nv_place p;
    int r = dv_nvhandles_device(device, &p);
    if (r != DV_NVML_SUCCESS)
        return r;
    if (p.gi != DV_SIM_NVML_NONE)
        return DV_NVML_ERROR_NOT_SUPPORTED;
    struct dv_sim_nvml_request q = dv_nvclient_request(p.gpu, p.gi, p.ci);
    q.a = setting;
    q.value = value;
    return dv_nvclient_call(function, DV_SIM_NVML_SET, &q, NULL, 0, NULL);
}

int nvmlDeviceSetPersistenceMode(struct dv_nvml_device *device, uint32_t mode)
{
    return set(__func__, device, DV_SIM_NVML_PERSISTENCE, mode);
}

int nvmlDeviceSetComputeMode(struct dv_nvml_device *device, uint32_t mode)
{
    return set(__func__, device, DV_SIM_NVML_COMPUTE_MODE, mode);
}

int nvmlDeviceSetPowerManagementLimit(struct dv_nvml_device *device, uint32_t mw)
{
    return set(__func__, device, DV_SIM_NVML_POWER_LIMIT, mw);
}

static int two_modes(const char *function, struct dv_nvml_device *device, bool has, uint32_t value,
                     uint32_t *current, uint32_t *pending)
{
    struct dv_sim_nvml_device d;
    int r = dv_nvhandles_read_gpu(function, device, &d);
    if (r != DV_NVML_SUCCESS)
        return r;
    if (!has)
        return DV_NVML_ERROR_NOT_SUPPORTED;
    if (!current || !pending)
        return DV_NVML_ERROR_INVALID_ARGUMENT;
    *current = *pending = value;
    return DV_NVML_SUCCESS;
}

int nvmlDeviceGetEccMode(struct dv_nvml_device *device, uint32_t *current, uint32_t *pending)
{
    struct dv_sim_nvml_device d;
    int r = dv_nvhandles_read_gpu(__func__, device, &d);
    return r ? r : two_modes(__func__, device, d.ecc, 1, current, pending);
}

/* Memory protection is fixed in the simulation: a change would need a reboot to show. */
int nvmlDeviceSetEccMode(struct dv_nvml_device *device, uint32_t mode)
{
    struct dv_nv_place p;
    int r = dv_nvhandles_check(__func__, device, &p);
    return r ? r : DV_NVML_ERROR_NOT_SUPPORTED;
}

int nvmlDeviceGetDriverModel(struct dv_nvml_device *device, uint32_t *current, uint32_t *pending)
{
    return two_modes(__func__, device, false, 0, current, pending); /* Windows only */
}

int nvmlDeviceGetGpuOperationMode(struct dv_nvml_device *device, uint32_t *current,
                                  uint32_t *pending)
{
    return two_modes(__func__, device, false, 0, current, pending);
}

int nvmlDeviceGetAPIRestriction(struct dv_nvml_device *device, uint32_t api, uint32_t *restricted)
{
    struct dv_sim_nvml_device d;
    int r = dv_nvhandles_read_gpu(__func__, device, &d);
    if (r != DV_NVML_SUCCESS)
        return r;
    if (!restricted || api > 1)
        return DV_NVML_ERROR_INVALID_ARGUMENT;
    *restricted = 1;
    return DV_NVML_SUCCESS;
}
