/* SPDX-License-Identifier: Apache-2.0 */
#include "hardware/nvml_condition.h"

#include <dlfcn.h>
#include <stdio.h>
#include <string.h>

#define VIRTUALIZATION_VGPU 2u /* NVML_GPU_VIRTUALIZATION_MODE_VGPU: seen from inside a guest */

void dv_nvml_condition_load(void *library, struct dv_nvml_condition *ret)
{
#define LOAD(member, name) ret->member = (__typeof__(ret->member))dlsym(library, name)
    LOAD(remapped, "nvmlDeviceGetRemappedRows");
    LOAD(retired, "nvmlDeviceGetRetiredPagesPendingStatus");
    LOAD(ecc, "nvmlDeviceGetTotalEccErrors");
    LOAD(energy, "nvmlDeviceGetTotalEnergyConsumption");
    LOAD(link, "nvmlDeviceGetNvLinkState");
    LOAD(pci, "nvmlDeviceGetPciInfoExt");
    LOAD(virtualization, "nvmlDeviceGetVirtualizationMode");
    LOAD(fabric, "nvmlDeviceGetGpuFabricInfo");
    LOAD(fabric_v, "nvmlDeviceGetGpuFabricInfoV");
#undef LOAD
}

void dv_nvml_condition_forget(struct dv_facts_gpu *f)
{
    f->remap_pending = f->remap_failed = f->pages_pending = DV_FACT_UNKNOWN32;
    f->nvlinks_up = f->pci_class = f->vgpu = f->fabric_clique = DV_FACT_UNKNOWN32;
    f->ecc_uncorrected = f->energy_mj = DV_FACT_UNKNOWN;
    f->fabric_cluster[0] = 0;
}

void dv_nvml_condition_energy(const struct dv_nvml_condition *c, struct dv_nvml_device *d,
                              uint64_t *ret_mj)
{
    uint64_t mj;
    if (c->energy && c->energy(d, &mj) == DV_NVML_SUCCESS)
        *ret_mj = mj;
}

static void read_memory_errors(const struct dv_nvml_condition *c, struct dv_nvml_device *d,
                               struct dv_facts_gpu *f)
{
    uint32_t corrected, uncorrected, pending, failure;
    uint64_t count;
    if (c->remapped &&
        c->remapped(d, &corrected, &uncorrected, &pending, &failure) == DV_NVML_SUCCESS) {
        f->remap_pending = pending != 0;
        f->remap_failed = failure != 0;
    }
    if (c->retired && c->retired(d, &pending) == DV_NVML_SUCCESS)
        f->pages_pending = pending != 0;
    if (c->ecc &&
        c->ecc(d, DV_NVML_ECC_UNCORRECTED, DV_NVML_ECC_VOLATILE, &count) == DV_NVML_SUCCESS)
        f->ecc_uncorrected = count;
    dv_nvml_condition_energy(c, d, &f->energy_mj);
}

/* A link that is not there answers an error; so does every link of a board without any. */
static void read_links(const struct dv_nvml_condition *c, struct dv_nvml_device *d,
                       struct dv_facts_gpu *f)
{
    uint32_t up = 0, active;
    bool any = false;
    for (uint32_t i = 0; c->link && i < DV_NVML_NVLINK_MAX_LINKS; i++) {
        int rc = c->link(d, i, &active);
        if (rc == DV_NVML_ERROR_NOT_SUPPORTED)
            break;
        if (rc != DV_NVML_SUCCESS)
            continue;
        any = true;
        up += active != 0;
    }
    if (any)
        f->nvlinks_up = up;
}

/* "00000000:07:00.0" is 0000:07:00.0 to the kernel. */
static void read_class_of_kernel(struct dv_facts_gpu *f)
{
    char path[96];
    unsigned domain, bus, device, function, class;
    if (sscanf(f->pci, "%x:%x:%x.%x", &domain, &bus, &device, &function) != 4)
        return;
    snprintf(path, sizeof path, "/sys/bus/pci/devices/%04x:%02x:%02x.%x/class", domain, bus, device,
             function);
    FILE *file = fopen(path, "re");
    if (!file)
        return;
    if (fscanf(file, "0x%x", &class) == 1)
        f->pci_class = class >> 8 & 0xffff;
    fclose(file);
}

static void read_pci_class(const struct dv_nvml_condition *c, struct dv_nvml_device *d,
                           struct dv_facts_gpu *f)
{
    struct dv_nvml_pci_info_ext info = {.version = DV_NVML_VERSION(dv_nvml_pci_info_ext, 1)};
    if (c->pci && c->pci(d, &info) == DV_NVML_SUCCESS)
        f->pci_class = (info.base_class & 0xff) << 8 | (info.sub_class & 0xff);
    else
        read_class_of_kernel(f);
}

static void take_fabric(const uint8_t cluster[16], int status, uint32_t clique, uint32_t state,
                        struct dv_facts_gpu *f)
{
    static const uint8_t none[16];
    static const char digits[] = "0123456789abcdef";
    char *to = f->fabric_cluster;
    if (state != DV_NVML_FABRIC_COMPLETED || status != DV_NVML_SUCCESS ||
        !memcmp(cluster, none, sizeof none))
        return;
    for (unsigned i = 0; i < 16; i++) {
        if (i == 4 || i == 6 || i == 8 || i == 10)
            *to++ = '-';
        *to++ = digits[cluster[i] >> 4];
        *to++ = digits[cluster[i] & 15];
    }
    *to = 0;
    f->fabric_clique = clique;
}

static void read_fabric(const struct dv_nvml_condition *c, struct dv_nvml_device *d,
                        struct dv_facts_gpu *f)
{
    struct dv_nvml_fabric_v v = {.version = DV_NVML_VERSION(dv_nvml_fabric_v, 2)};
    struct dv_nvml_fabric old = {0};
    if (c->fabric_v && c->fabric_v(d, &v) == DV_NVML_SUCCESS)
        take_fabric(v.cluster, v.status, v.clique, v.state, f);
    else if (c->fabric && c->fabric(d, &old) == DV_NVML_SUCCESS)
        take_fabric(old.cluster, old.status, old.clique, old.state, f);
}

void dv_nvml_condition_read(const struct dv_nvml_condition *c, struct dv_nvml_device *d,
                            struct dv_facts_gpu *f)
{
    uint32_t mode;
    read_memory_errors(c, d, f);
    read_links(c, d, f);
    read_pci_class(c, d, f);
    if (c->virtualization && c->virtualization(d, &mode) == DV_NVML_SUCCESS)
        f->vgpu = mode == VIRTUALIZATION_VGPU;
    read_fabric(c, d, f);
}
