/* SPDX-License-Identifier: Apache-2.0 */
/* PCIe, NVLink, and how near devices are to each other and to the CPUs. */
#include "nvml/handles.h"

#include <limits.h>
#include <stdio.h>
#include <string.h>

DV_NV_U32(nvmlDeviceGetMaxPcieLinkGeneration, DV_NV_GPU, 1, d.pcie_generation)
DV_NV_U32(nvmlDeviceGetGpuMaxPcieLinkGeneration, DV_NV_GPU, 1, d.pcie_generation)
DV_NV_U32(nvmlDeviceGetCurrPcieLinkGeneration, DV_NV_GPU, 1, d.pcie_generation)
DV_NV_U32(nvmlDeviceGetMaxPcieLinkWidth, DV_NV_GPU, 1, d.pcie_width)
DV_NV_U32(nvmlDeviceGetCurrPcieLinkWidth, DV_NV_GPU, 1, d.pcie_width)
DV_NV_U32(nvmlDeviceGetPcieSpeed, DV_NV_GPU, d.pcie_generation, 2000u << d.pcie_generation)
DV_NV_U32(nvmlDeviceGetPcieLinkMaxSpeed, DV_NV_GPU, 1, d.pcie_generation)
DV_NV_U32(nvmlDeviceGetPcieReplayCounter, DV_NV_GPU, 1, 0)
/* Of the GPU's own memory, where CPUs address it as a NUMA node (Grace): none of these boards. */
DV_NV_U32(nvmlDeviceGetNumaNodeId, DV_NV_GPU, 0, 0)

int nvmlDeviceGetPcieThroughput(struct dv_nvml_device *device, uint32_t counter, uint32_t *kb_per_s)
{
    struct dv_sim_nvml_device d;
    int r = dv_nvhandles_read_gpu(__func__, device, &d);
    if (r != DV_NVML_SUCCESS)
        return r;
    if (!kb_per_s || counter > 1)
        return DV_NVML_ERROR_INVALID_ARGUMENT;
    *kb_per_s = 0; /* traffic over PCIe is not metered */
    return DV_NVML_SUCCESS;
}

/* ---- NVLink -----------------------------------------------------------------------------------
 */

/* Who is at the other end of a link: with NVSwitches several neighbours share the links, more than
 * the GPU has, and the other end is a switch; without, the links go to the neighbours in their
 * order. */
struct far_end {
    bool active, is_switch;
    uint32_t gpu;
};

static struct far_end far_end_of(const struct dv_sim_nvml_device *d, uint32_t link)
{
    struct far_end end = {0};
    uint32_t total = 0, most = 0;
    for (uint32_t i = 0; i < DV_SIM_GPUS_MAX; i++) {
        uint32_t n = i == d->gpu ? 0 : d->link[i].nvlinks;
        if (link >= total && link < total + n)
            end = (struct far_end){true, false, i};
        total += n;
        most = n > most ? n : most;
    }
    return total <= d->nvlinks ? end : (struct far_end){link < most, link < most, 0};
}

static int read_link(const char *function, struct dv_nvml_device *device, uint32_t link,
                     const void *ret, struct dv_sim_nvml_device *d)
{
    int r = dv_nvhandles_read_gpu(function, device, d);
    if (r != DV_NVML_SUCCESS)
        return r;
    if (!ret || link >= DV_NVML_NVLINK_MAX_LINKS)
        return DV_NVML_ERROR_INVALID_ARGUMENT;
    if (!d->nvlinks)
        return DV_NVML_ERROR_NOT_SUPPORTED;
    return link < d->nvlinks ? DV_NVML_SUCCESS : DV_NVML_ERROR_INVALID_ARGUMENT;
}

int nvmlDeviceGetNvLinkState(struct dv_nvml_device *device, uint32_t link, uint32_t *active)
{
    struct dv_sim_nvml_device d;
    int r = read_link(__func__, device, link, active, &d);
    if (r == DV_NVML_SUCCESS)
        *active = far_end_of(&d, link).active;
    return r;
}

int nvmlDeviceGetNvLinkVersion(struct dv_nvml_device *device, uint32_t link, uint32_t *version)
{
    static const uint32_t numbers[] = {
        0, 1, DV_NVML_NVLINK_2_0, DV_NVML_NVLINK_3_0, DV_NVML_NVLINK_4_0, DV_NVML_NVLINK_5_0};
    struct dv_sim_nvml_device d;
    int r = read_link(__func__, device, link, version, &d);
    if (r == DV_NVML_SUCCESS)
        *version = numbers[d.nvlink_version < 6 ? d.nvlink_version : 0];
    return r;
}

int nvmlDeviceGetNvLinkCapability(struct dv_nvml_device *device, uint32_t link, uint32_t capability,
                                  uint32_t *result)
{
    struct dv_sim_nvml_device d;
    int r = read_link(__func__, device, link, result, &d);
    if (r != DV_NVML_SUCCESS)
        return r;
    if (capability > DV_NVML_NVLINK_CAP_VALID)
        return DV_NVML_ERROR_INVALID_ARGUMENT;
    *result = capability != DV_NVML_NVLINK_CAP_SLI;
    return DV_NVML_SUCCESS;
}

int nvmlDeviceGetNvLinkRemoteDeviceType(struct dv_nvml_device *device, uint32_t link,
                                        uint32_t *type)
{
    struct dv_sim_nvml_device d;
    int r = read_link(__func__, device, link, type, &d);
    if (r != DV_NVML_SUCCESS)
        return r;
    struct far_end end = far_end_of(&d, link);
    *type = !end.active     ? DV_NVML_NVLINK_DEVICE_UNKNOWN
            : end.is_switch ? DV_NVML_NVLINK_DEVICE_SWITCH
                            : DV_NVML_NVLINK_DEVICE_GPU;
    return DV_NVML_SUCCESS;
}

int nvmlDeviceGetNvLinkRemotePciInfo_v2(struct dv_nvml_device *device, uint32_t link,
                                        struct dv_nvml_pci_info *pci)
{
    struct dv_sim_nvml_device d;
    int r = read_link(__func__, device, link, pci, &d);
    if (r != DV_NVML_SUCCESS)
        return r;
    struct far_end end = far_end_of(&d, link);
    if (!end.active)
        return DV_NVML_ERROR_NOT_SUPPORTED;
    if (!end.is_switch)
        return nvmlDeviceGetPciInfo_v3(dv_nvhandles_gpu(end.gpu), pci);
    /* An NVSwitch: two links to each of the first ones, as on the HGX boards. */
    *pci = (struct dv_nvml_pci_info){.bus = 0xC4 + link / 2 % 6, .pci_device_id = 0x1AF110DE};
    snprintf(pci->bus_id_legacy, sizeof(pci->bus_id_legacy), "0000:%02X:00.0", pci->bus & 0xff);
    snprintf(pci->bus_id, sizeof(pci->bus_id), "00000000:%02X:00.0", pci->bus);
    return DV_NVML_SUCCESS;
}

int nvmlDeviceGetNvLinkRemotePciInfo(struct dv_nvml_device *device, uint32_t link,
                                     struct dv_nvml_pci_info_v2 *pci)
{
    struct dv_nvml_pci_info info;
    if (!pci)
        return DV_NVML_ERROR_INVALID_ARGUMENT;
    int r = nvmlDeviceGetNvLinkRemotePciInfo_v2(device, link, &info);
    if (r != DV_NVML_SUCCESS)
        return r;
    *pci = (struct dv_nvml_pci_info_v2){.domain = info.domain,
                                        .bus = info.bus,
                                        .device = info.device,
                                        .pci_device_id = info.pci_device_id,
                                        .pci_subsystem_id = info.pci_subsystem_id};
    memcpy(pci->bus_id, info.bus_id_legacy, sizeof(pci->bus_id));
    return DV_NVML_SUCCESS;
}

int nvmlDeviceGetNvLinkErrorCounter(struct dv_nvml_device *device, uint32_t link, uint32_t counter,
                                    uint64_t *count)
{
    struct dv_sim_nvml_device d;
    int r = read_link(__func__, device, link, count, &d);
    if (r != DV_NVML_SUCCESS)
        return r;
    if (counter > 4)
        return DV_NVML_ERROR_INVALID_ARGUMENT;
    *count = 0;
    return DV_NVML_SUCCESS;
}

/* ---- pairs of GPUs ----------------------------------------------------------------------------
 */

static int read_pair(const char *function, struct dv_nvml_device *a, struct dv_nvml_device *b,
                     const void *ret, struct dv_sim_nvml_device *d, uint32_t *other)
{
    struct dv_nv_place p;
    int r = dv_nvhandles_read_gpu(function, a, d);
    if (r == DV_NVML_SUCCESS)
        r = dv_nvhandles_check(function, b, &p);
    if (r != DV_NVML_SUCCESS)
        return r;
    if (p.gi != DV_SIM_NVML_NONE)
        return DV_NVML_ERROR_NOT_SUPPORTED;
    *other = p.gpu;
    return ret ? DV_NVML_SUCCESS : DV_NVML_ERROR_INVALID_ARGUMENT;
}

int nvmlDeviceGetTopologyCommonAncestor(struct dv_nvml_device *a, struct dv_nvml_device *b,
                                        uint32_t *level)
{
    struct dv_sim_nvml_device d;
    uint32_t other;
    int r = read_pair(__func__, a, b, level, &d, &other);
    if (r == DV_NVML_SUCCESS)
        *level = d.link[other].pcie;
    return r;
}

/* Fills a caller's list of devices: the count is what there is, the list as much as fits. */
static int list_devices(const uint32_t *gpus, uint32_t n, uint32_t *count,
                        struct dv_nvml_device **devices)
{
    uint32_t room = devices ? *count : 0;
    for (uint32_t i = 0; i < n && i < room; i++)
        devices[i] = dv_nvhandles_gpu(gpus[i]);
    *count = n;
    return devices && n > room ? DV_NVML_ERROR_INSUFFICIENT_SIZE : DV_NVML_SUCCESS;
}

int nvmlDeviceGetTopologyNearestGpus(struct dv_nvml_device *device, uint32_t level, uint32_t *count,
                                     struct dv_nvml_device **devices)
{
    struct dv_sim_nvml_device d;
    uint32_t gpus[DV_SIM_GPUS_MAX], n = 0;
    int r = dv_nvhandles_read_gpu(__func__, device, &d);
    if (r != DV_NVML_SUCCESS)
        return r;
    if (!count)
        return DV_NVML_ERROR_INVALID_ARGUMENT;
    for (uint32_t i = 0; i < dv_nvclient_node()->gpus && i < DV_SIM_GPUS_MAX; i++)
        if (i != d.gpu && d.link[i].pcie == level)
            gpus[n++] = i;
    return list_devices(gpus, n, count, devices);
}

int nvmlDeviceGetP2PStatus(struct dv_nvml_device *a, struct dv_nvml_device *b, uint32_t capability,
                           uint32_t *status)
{
    struct dv_sim_nvml_device d;
    uint32_t other;
    int r = read_pair(__func__, a, b, status, &d, &other);
    if (r != DV_NVML_SUCCESS)
        return r;
    if (capability > DV_NVML_P2P_PCI || d.gpu == other)
        return DV_NVML_ERROR_INVALID_ARGUMENT;
    struct dv_sim_nvml_device far;
    r = dv_nvhandles_read_gpu(__func__, b, &far);
    if (r != DV_NVML_SUCCESS)
        return r;
    bool whole = !d.mig_current && !far.mig_current; /* instances do not reach each other */
    bool nvlink = d.link[other].nvlinks && whole;
    bool pcie = d.link[other].pcie <= DV_NVML_TOPOLOGY_HOSTBRIDGE && whole;
    bool ok = capability == DV_NVML_P2P_NVLINK || capability == DV_NVML_P2P_ATOMICS ? nvlink
              : capability == DV_NVML_P2P_PCI                                       ? pcie
                                              : nvlink || pcie;
    *status = ok ? DV_NVML_P2P_OK : DV_NVML_P2P_NOT_SUPPORTED;
    return DV_NVML_SUCCESS;
}

/* ---- CPUs and NUMA nodes ----------------------------------------------------------------------
 */

static void set_bit(unsigned long *words, uint32_t n_words, uint32_t bit)
{
    const uint32_t width = sizeof(unsigned long) * CHAR_BIT;
    if (bit / width < n_words)
        words[bit / width] |= 1ul << (bit % width);
}

/* As Linux numbers them: first one thread of each core, node by node, then the next of each. */
static uint32_t cores_per_node(const struct dv_sim_nvml_node *n)
{
    return n->numa_nodes && n->threads ? n->cpus / n->numa_nodes / n->threads : 0;
}

static bool cpu_is_on(const struct dv_sim_nvml_node *n, uint32_t cpu, uint32_t numa)
{
    uint32_t cores = cores_per_node(n);
    return cpu < cores * n->numa_nodes * n->threads && cpu / cores % n->numa_nodes == numa;
}

int nvmlDeviceGetCpuAffinityWithinScope(struct dv_nvml_device *device, uint32_t words,
                                        unsigned long *cpus, uint32_t scope)
{
    struct dv_sim_nvml_device d;
    int r = dv_nvhandles_read_gpu(__func__, device, &d);
    if (r != DV_NVML_SUCCESS)
        return r;
    if (!cpus || !words || scope > 1)
        return DV_NVML_ERROR_INVALID_ARGUMENT;
    memset(cpus, 0, words * sizeof(*cpus));
    for (uint32_t i = 0; i < dv_nvclient_node()->cpus; i++)
        if (cpu_is_on(dv_nvclient_node(), i, d.numa))
            set_bit(cpus, words, i);
    return DV_NVML_SUCCESS;
}

int nvmlDeviceGetCpuAffinity(struct dv_nvml_device *device, uint32_t words, unsigned long *cpus)
{
    return nvmlDeviceGetCpuAffinityWithinScope(device, words, cpus, 0);
}

int nvmlDeviceGetMemoryAffinity(struct dv_nvml_device *device, uint32_t words, unsigned long *nodes,
                                uint32_t scope)
{
    struct dv_sim_nvml_device d;
    int r = dv_nvhandles_read_gpu(__func__, device, &d);
    if (r != DV_NVML_SUCCESS)
        return r;
    if (!nodes || !words || scope > 1)
        return DV_NVML_ERROR_INVALID_ARGUMENT;
    memset(nodes, 0, words * sizeof(*nodes));
    set_bit(nodes, words, d.numa);
    return DV_NVML_SUCCESS;
}

int nvmlSystemGetTopologyGpuSet(uint32_t cpu, uint32_t *count, struct dv_nvml_device **devices)
{
    uint32_t gpus[DV_SIM_GPUS_MAX], n = 0;
    int r = dv_nvclient_ready();
    if (r != DV_NVML_SUCCESS)
        return r;
    if (!count || cpu >= dv_nvclient_node()->cpus)
        return DV_NVML_ERROR_INVALID_ARGUMENT;
    for (uint32_t i = 0; i < dv_nvclient_node()->gpus && i < DV_SIM_GPUS_MAX; i++) {
        struct dv_sim_nvml_device d;
        r = dv_nvhandles_read(__func__, dv_nvhandles_gpu(i), &d);
        if (r != DV_NVML_SUCCESS)
            return r;
        if (cpu_is_on(dv_nvclient_node(), cpu, d.numa))
            gpus[n++] = i;
    }
    return list_devices(gpus, n, count, devices);
}
