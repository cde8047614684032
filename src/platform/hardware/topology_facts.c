/* SPDX-License-Identifier: Apache-2.0 */
#include "hardware/topology_facts.h"

#include "abi_nvml.h"

#include <string.h>

void dv_topology_facts_forget(struct dv_facts_topology *ret, uint32_t index)
{
    memset(ret, 0, sizeof *ret);
    ret->index = index;
    ret->nvlinks_switch = DV_FACT_UNKNOWN32;
    memset(ret->peers, 0xff, sizeof ret->peers);
}

static enum dv_link_kind kind_of(uint32_t pcie)
{
    switch (pcie) {
    case DV_NVML_TOPOLOGY_INTERNAL:
    case DV_NVML_TOPOLOGY_SINGLE:
        return DV_LINK_PIX;
    case DV_NVML_TOPOLOGY_MULTIPLE:
        return DV_LINK_PXB;
    case DV_NVML_TOPOLOGY_HOSTBRIDGE:
        return DV_LINK_PHB;
    case DV_NVML_TOPOLOGY_NODE:
        return DV_LINK_NODE;
    case DV_NVML_TOPOLOGY_SYSTEM:
        return DV_LINK_SYS;
    default:
        return DV_LINK_UNKNOWN;
    }
}

static enum dv_link_kind pcie_between(const struct dv_facts_topology *a,
                                      const struct dv_facts_topology *b, uint32_t i, uint32_t k)
{
    enum dv_link_kind there = a ? kind_of(a->peers[k].pcie) : DV_LINK_UNKNOWN;
    enum dv_link_kind back = b ? kind_of(b->peers[i].pcie) : DV_LINK_UNKNOWN;
    if (there == DV_LINK_UNKNOWN || back == DV_LINK_UNKNOWN)
        return DV_MAX(there, back);
    return DV_MIN(there, back);
}

static uint32_t both(uint32_t a, uint32_t b)
{
    if (a == DV_FACT_UNKNOWN32 || b == DV_FACT_UNKNOWN32)
        return 0;
    return DV_MIN(DV_MIN(a, b), DV_LINK_NVLINKS_MAX);
}

static bool is_kept_off(uint32_t p2p)
{
    return p2p != DV_FACT_UNKNOWN32 && p2p != DV_NVML_P2P_OK;
}

static uint32_t nvlinks_between(const struct dv_facts_topology *a,
                                const struct dv_facts_topology *b, uint32_t i, uint32_t k)
{
    if (!a || !b || is_kept_off(a->peers[k].nvlink_p2p) || is_kept_off(b->peers[i].nvlink_p2p))
        return 0;
    uint32_t n =
        both(a->peers[k].nvlinks, b->peers[i].nvlinks) + both(a->nvlinks_switch, b->nvlinks_switch);
    return DV_MIN(n, DV_LINK_NVLINKS_MAX);
}

void dv_topology_facts_join(const struct dv_facts_topology *const *rows, uint32_t n,
                            struct dv_topology *ret)
{
    dv_topology_init(ret, n);
    for (uint32_t i = 0; i < ret->n; i++)
        for (uint32_t k = 0; k < i; k++) {
            struct dv_link link = {.kind = pcie_between(rows[i], rows[k], i, k),
                                   .nvlinks = nvlinks_between(rows[i], rows[k], i, k)};
            if (link.nvlinks) {
                link.pcie = link.kind;
                link.kind = DV_LINK_NVLINK;
            }
            dv_topology_set(ret, i, k, link);
        }
}
