/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What each GPU says of its links, put together: the topology of the node, as `nvidia-smi topo -m`
 * draws it.
 *
 *     const struct dv_facts_topology *rows[DV_FACTS_GPUS_MAX] = {...};   // by index
 *     struct dv_topology topology;
 *     dv_topology_facts_join(rows, driver.gpus, &topology);
 */
#ifndef DV_HARDWARE_TOPOLOGY_FACTS_H
#define DV_HARDWARE_TOPOLOGY_FACTS_H

#include "hardware/hardware.h"
#include "model/topology.h"

/* Nothing known of GPU `index`. */
void dv_topology_facts_forget(struct dv_facts_topology *ret, uint32_t index);
/*
 * NULL stands for a GPU that does not answer. NVLinks to switches count as links to every GPU that
 * has such links too, as many as both have; where one of the two says that it does not reach the
 * other over NVLink, none count. Over PCIe the farther of two answers holds. NUMA nodes are left
 * unknown; more than DV_TOPOLOGY_MAX GPUs give an empty topology.
 */
void dv_topology_facts_join(const struct dv_facts_topology *const *rows, uint32_t n,
                            struct dv_topology *ret);

#endif
