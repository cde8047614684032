/* SPDX-License-Identifier: Apache-2.0 */
#include "hardware/nvml_topology.h"

#include "base/str.h"
#include "hardware/pci_sysfs.h"
#include "hardware/topology_facts.h"

#include <dlfcn.h>
#include <limits.h>
#include <stdio.h>
#include <string.h>

#define WORD_BITS (sizeof(unsigned long) * CHAR_BIT)
#define CPU_WORDS (8192 / WORD_BITS) /* as many CPUs as Linux knows on x86 */
#define NODE_WORDS (1024 / WORD_BITS)

void dv_nvml_topology_load(void *library, struct dv_nvml_topology_calls *ret)
{
#define LOOK_UP(member, name) ret->member = (__typeof__(ret->member))dlsym(library, name)
    LOOK_UP(pci, "nvmlDeviceGetPciInfo_v3");
    LOOK_UP(ancestor, "nvmlDeviceGetTopologyCommonAncestor");
    LOOK_UP(p2p, "nvmlDeviceGetP2PStatus");
    LOOK_UP(link_state, "nvmlDeviceGetNvLinkState");
    LOOK_UP(link_far_end, "nvmlDeviceGetNvLinkRemotePciInfo_v2");
    LOOK_UP(link_far_type, "nvmlDeviceGetNvLinkRemoteDeviceType");
    LOOK_UP(cpus, "nvmlDeviceGetCpuAffinity");
    LOOK_UP(memory, "nvmlDeviceGetMemoryAffinity");
#undef LOOK_UP
}

/* ---- CPUs and NUMA nodes ---- */

static bool has(const unsigned long *words, size_t bit)
{
    return words[bit / WORD_BITS] >> (bit % WORD_BITS) & 1;
}

static bool is_unsupported(int rc)
{
    return rc == DV_NVML_ERROR_FUNCTION_NOT_FOUND || rc == DV_NVML_ERROR_NOT_SUPPORTED;
}

/* Several nodes at once are no answer: the machine does not say to which of them the GPU is near.
 * nvmlDeviceGetNumaNodeId is another thing: the node that the GPU's own memory is (Grace). */
uint32_t dv_nvml_topology_numa(const struct dv_nvml_topology_calls *t, struct dv_nvml_device *d,
                               const char *pci)
{
    unsigned long nodes[NODE_WORDS] = {0};
    uint32_t node = DV_FACT_UNKNOWN32;
    int rc = t->memory ? t->memory(d, NODE_WORDS, nodes, DV_NVML_AFFINITY_NODE)
                       : DV_NVML_ERROR_FUNCTION_NOT_FOUND;
    if (is_unsupported(rc))
        return dv_pci_sysfs_numa(DV_PCI_SYSFS, pci);
    for (uint32_t i = 0; rc == DV_NVML_SUCCESS && i < NODE_WORDS * WORD_BITS; i++) {
        if (!has(nodes, i))
            continue;
        if (node != DV_FACT_UNKNOWN32)
            return DV_FACT_UNKNOWN32;
        node = i;
    }
    return node;
}

/* "0-31,64-95"; "" when it does not fit. */
static void list_cpus(const unsigned long *words, char ret[static DV_FACTS_CPUS])
{
    dv_cleanup(dv_str_done) struct dv_str s = {0};
    for (size_t i = 0; i < CPU_WORDS * WORD_BITS; i++) {
        size_t first = i;
        if (!has(words, i))
            continue;
        while (i + 1 < CPU_WORDS * WORD_BITS && has(words, i + 1))
            i++;
        dv_str_addf(&s, "%s%zu", s.len ? "," : "", first);
        if (i > first)
            dv_str_addf(&s, "-%zu", i);
    }
    if (dv_str_copy(ret, DV_FACTS_CPUS, dv_str_get(&s)) < 0)
        ret[0] = 0;
}

static void read_cpus(const struct dv_nvml_topology_calls *t, struct dv_nvml_device *d,
                      const char *pci, struct dv_facts_topology *f)
{
    unsigned long cpus[CPU_WORDS] = {0};
    int rc = t->cpus ? t->cpus(d, CPU_WORDS, cpus) : DV_NVML_ERROR_FUNCTION_NOT_FOUND;
    if (rc == DV_NVML_SUCCESS)
        list_cpus(cpus, f->cpus);
    else if (is_unsupported(rc))
        dv_pci_sysfs_cpus(DV_PCI_SYSFS, pci, f->cpus);
}

/* ---- links ---- */

struct places {
    struct dv_nvml_pci_info pci[DV_FACTS_GPUS_MAX];
    bool known[DV_FACTS_GPUS_MAX];
};

static void read_places(const struct dv_nvml_topology_calls *t,
                        struct dv_nvml_device *const *devices, uint32_t n, struct places *p)
{
    for (uint32_t i = 0; i < n; i++) {
        p->known[i] = t->pci && devices[i] && t->pci(devices[i], &p->pci[i]) == DV_NVML_SUCCESS;
        p->pci[i].bus_id[sizeof p->pci[i].bus_id - 1] = 0;
    }
}

/* The GPU at the other end of a link, or n: it is none of ours, a CPU, or not told. */
static uint32_t far_end(const struct dv_nvml_topology_calls *t, struct dv_nvml_device *d,
                        uint32_t link, const struct places *p, uint32_t n)
{
    struct dv_nvml_pci_info far = {0};
    if (!t->link_far_end || t->link_far_end(d, link, &far) != DV_NVML_SUCCESS)
        return n;
    for (uint32_t i = 0; i < n; i++)
        if (p->known[i] && p->pci[i].domain == far.domain && p->pci[i].bus == far.bus &&
            p->pci[i].device == far.device)
            return i;
    return n;
}

static void read_links(const struct dv_nvml_topology_calls *t, struct dv_nvml_device *d,
                       const struct places *p, uint32_t n, struct dv_facts_topology *f)
{
    if (!t->link_state)
        return;
    f->nvlinks_switch = 0;
    for (uint32_t i = 0; i < n; i++)
        f->peers[i].nvlinks = i == f->index ? DV_FACT_UNKNOWN32 : 0;
    for (uint32_t link = 0; link < DV_NVML_NVLINK_MAX_LINKS; link++) {
        uint32_t active = 0, type = DV_NVML_NVLINK_DEVICE_UNKNOWN;
        if (t->link_state(d, link, &active) != DV_NVML_SUCCESS || !active)
            continue;
        if (t->link_far_type && t->link_far_type(d, link, &type) == DV_NVML_SUCCESS &&
            type == DV_NVML_NVLINK_DEVICE_SWITCH) {
            f->nvlinks_switch++;
            continue;
        }
        uint32_t peer = far_end(t, d, link, p, n);
        if (peer < n && peer != f->index)
            f->peers[peer].nvlinks++;
    }
}

static void read_peer(const struct dv_nvml_topology_calls *t, struct dv_nvml_device *d,
                      struct dv_nvml_device *other, struct dv_facts_peer *f)
{
    uint32_t value;
    if (t->ancestor && t->ancestor(d, other, &value) == DV_NVML_SUCCESS)
        f->pcie = value;
    if (t->p2p && t->p2p(d, other, DV_NVML_P2P_NVLINK, &value) == DV_NVML_SUCCESS)
        f->nvlink_p2p = value;
}

void dv_nvml_topology_read(const struct dv_nvml_topology_calls *t,
                           struct dv_nvml_device *const *devices, uint32_t n, uint32_t index,
                           struct dv_facts_topology *ret)
{
    struct places places;
    dv_topology_facts_forget(ret, index);
    if (index >= n || !devices[index])
        return;
    read_places(t, devices, n, &places);
    read_cpus(t, devices[index], places.known[index] ? places.pci[index].bus_id : "", ret);
    read_links(t, devices[index], &places, n, ret);
    for (uint32_t i = 0; i < n; i++)
        if (i != index && devices[i])
            read_peer(t, devices[index], devices[i], &ret->peers[i]);
}
