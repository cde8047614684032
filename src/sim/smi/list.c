/* SPDX-License-Identifier: Apache-2.0 */
/* -L and topo -m. */
#include "smi/smi.h"

#include <limits.h>
#include <string.h>

const char *dv_smi_after_mig(const char *name)
{
    const char *mig = strstr(name, "MIG ");
    return mig ? mig + 4 : name;
}

int dv_smi_list(const struct dv_smi_gpu *gpus, size_t n)
{
    for (size_t i = 0; i < n; i++) {
        uint32_t current = 0, pending = 0, max = 0;
        printf("GPU %u: %s (UUID: %s)\n", gpus[i].index, gpus[i].name, gpus[i].uuid);
        if (dv_smi.nvmlDeviceGetMigMode(gpus[i].device, &current, &pending) || !current)
            continue;
        dv_smi.nvmlDeviceGetMaxMigDeviceCount(gpus[i].device, &max);
        for (uint32_t k = 0; k < max; k++) {
            struct dv_nvml_device *mig;
            char name[DV_NVML_NAME_V2_SIZE] = "", uuid[DV_NVML_UUID_V2_SIZE] = "";
            if (dv_smi.nvmlDeviceGetMigDeviceHandleByIndex(gpus[i].device, k, &mig))
                continue;
            dv_smi.nvmlDeviceGetName(mig, name, sizeof(name));
            dv_smi.nvmlDeviceGetUUID(mig, uuid, sizeof(uuid));
            printf("  MIG %-11s Device %2u: (UUID: %s)\n", dv_smi_after_mig(name), k, uuid);
        }
    }
    return 0;
}

int dv_smi_list_all(void)
{
    uint32_t count = 0;
    int worst = dv_smi.nvmlDeviceGetCount_v2(&count);
    if (worst == DV_NVML_SUCCESS && !count) {
        printf("No devices were found\n");
        return DV_NVML_ERROR_NOT_FOUND;
    }
    for (uint32_t i = 0; i < count; i++) {
        struct dv_smi_gpu gpu;
        int r = dv_smi_get(i, &gpu);
        if (r == DV_NVML_SUCCESS) {
            dv_smi_list(&gpu, 1);
            continue;
        }
        printf("Unable to determine the device handle for gpu %u: %s\n", i, dv_smi_error(r));
        worst = r;
    }
    return worst;
}

/* ---- topo -m ----------------------------------------------------------------------------------
 */

void dv_smi_cpu_list(const unsigned long *words, size_t n, char *to, size_t size)
{
    const size_t width = sizeof(*words) * CHAR_BIT;
    size_t used = 0;
    to[0] = '\0';
    for (size_t i = 0; i < n * width; i++) {
        if (!(words[i / width] >> (i % width) & 1))
            continue;
        size_t first = i;
        while (i + 1 < n * width && (words[(i + 1) / width] >> ((i + 1) % width) & 1))
            i++;
        int more = first == i
                       ? snprintf(to + used, size - used, "%s%zu", used ? "," : "", first)
                       : snprintf(to + used, size - used, "%s%zu-%zu", used ? "," : "", first, i);
        if (more < 0 || (size_t)more >= size - used)
            return;
        used += (size_t)more;
    }
}

/* How many NVLinks lead from one GPU to the other; all, when they meet in a switch. */
static uint32_t nvlinks_between(struct dv_nvml_device *a, const struct dv_smi_gpu *b)
{
    uint32_t n = 0, status = 1, active, type;
    if (dv_smi.nvmlDeviceGetP2PStatus(a, b->device, DV_NVML_P2P_NVLINK, &status) || status)
        return 0;
    for (uint32_t link = 0; link < DV_NVML_NVLINK_MAX_LINKS; link++) {
        struct dv_nvml_pci_info pci;
        if (dv_smi.nvmlDeviceGetNvLinkState(a, link, &active) || !active ||
            dv_smi.nvmlDeviceGetNvLinkRemoteDeviceType(a, link, &type))
            continue;
        if (type == DV_NVML_NVLINK_DEVICE_SWITCH ||
            (!dv_smi.nvmlDeviceGetNvLinkRemotePciInfo_v2(a, link, &pci) &&
             strcmp(pci.bus_id, b->bus_id) == 0))
            n++;
    }
    return n;
}

static void print_pair(const struct dv_smi_gpu *a, const struct dv_smi_gpu *b)
{
    uint32_t level = DV_NVML_TOPOLOGY_SYSTEM;
    if (a->index == b->index) {
        printf("\t X ");
        return;
    }
    uint32_t links = nvlinks_between(a->device, b);
    if (links) {
        printf("\tNV%u", links);
        return;
    }
    dv_smi.nvmlDeviceGetTopologyCommonAncestor(a->device, b->device, &level);
    printf("\t%s", level <= DV_NVML_TOPOLOGY_SINGLE       ? "PIX"
                   : level <= DV_NVML_TOPOLOGY_MULTIPLE   ? "PXB"
                   : level <= DV_NVML_TOPOLOGY_HOSTBRIDGE ? "PHB"
                   : level <= DV_NVML_TOPOLOGY_NODE       ? "NODE"
                                                          : "SYS");
}

static void print_affinity(struct dv_nvml_device *device)
{
    unsigned long cpus[32] = {0}, nodes[4] = {0};
    char text[256] = "N/A", node[64] = "N/A";
    if (!dv_smi.nvmlDeviceGetCpuAffinity(device, 32, cpus))
        dv_smi_cpu_list(cpus, 32, text, sizeof(text));
    if (!dv_smi.nvmlDeviceGetMemoryAffinity(device, 4, nodes, 0))
        dv_smi_cpu_list(nodes, 4, node, sizeof(node));
    printf("\t%s\t%s\t\tN/A\n", text, node);
}

int dv_smi_topology(const struct dv_smi_gpu *gpus, size_t n, const char *what)
{
    if (strcmp(what, "-m") != 0 && strcmp(what, "--matrix") != 0) {
        printf("Invalid combination of input arguments. Please run 'nvidia-smi topo -h' for "
               "help.\n\n");
        return DV_SMI_USAGE;
    }
    for (size_t i = 0; i < n; i++)
        printf("\tGPU%u", gpus[i].index);
    printf("\tCPU Affinity\tNUMA Affinity\tGPU NUMA ID\n");
    for (size_t i = 0; i < n; i++) {
        printf("GPU%u", gpus[i].index);
        for (size_t k = 0; k < n; k++)
            print_pair(&gpus[i], &gpus[k]);
        print_affinity(gpus[i].device);
    }
    printf("\nLegend:\n\n"
           "  X    = Self\n"
           "  SYS  = Across NUMA nodes, over the link between the processors\n"
           "  NODE = Within a NUMA node, across PCIe host bridges\n"
           "  PHB  = Through one PCIe host bridge (usually the CPU)\n"
           "  PXB  = Through several PCIe bridges, but no host bridge\n"
           "  PIX  = Through one PCIe bridge at most\n"
           "  NV#  = Through # bonded NVLinks\n");
    return 0;
}
