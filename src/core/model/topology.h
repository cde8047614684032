/* SPDX-License-Identifier: Apache-2.0 */
/*
 * How the GPUs of a node are joined, in the words of `nvidia-smi topo -m`: the nearest common
 * ancestor on PCIe, or a number of NVLinks.
 *
 *     struct dv_topology t;
 *     dv_topology_init(&t, 8);
 *     dv_topology_set(&t, 0, 1, (struct dv_link){DV_LINK_NVLINK, 12});
 */
#ifndef DV_MODEL_TOPOLOGY_H
#define DV_MODEL_TOPOLOGY_H

#include "base/err.h"

#include <stdbool.h>

#define DV_LINK_NVLINKS_MAX 999u
#define DV_TOPOLOGY_MAX 16 /* GPUs; a node with more shows no topology */

enum dv_link_kind { /* nearer is larger */
                    DV_LINK_UNKNOWN,
                    DV_LINK_SYS,    /* across the sockets' interconnect */
                    DV_LINK_NODE,   /* across PCIe host bridges of one NUMA node */
                    DV_LINK_PHB,    /* across one PCIe host bridge */
                    DV_LINK_PXB,    /* across several PCIe switches */
                    DV_LINK_PIX,    /* across at most one PCIe switch */
                    DV_LINK_NVLINK, /* over `nvlinks` bonded NVLinks */
                    DV_LINK_SELF,
};

struct dv_link {
    enum dv_link_kind kind; /* the nearest way */
    uint32_t nvlinks;
    enum dv_link_kind pcie; /* with NVLINK: the way over PCIe beside it (behind an NVSwitch it is
                               what tells neighbours from others); UNKNOWN with other kinds */
};

#define DV_LINK_TEXT 8
/* "NV12", "PIX", "SYS", "X", "?"; of two ways the nearest. Returns buf. */
const char *dv_topology_link_format(struct dv_link link, char buf[DV_LINK_TEXT]);
/* The words above. 0, or -EINVAL with a message. */
int dv_topology_link_parse(const char *text, struct dv_link *ret, struct dv_err *err);

struct dv_topology {
    uint32_t n;
    int32_t numa[DV_TOPOLOGY_MAX]; /* -1: unknown */
    struct dv_link links[DV_TOPOLOGY_MAX][DV_TOPOLOGY_MAX];
};

/* n GPUs, no link known; n above DV_TOPOLOGY_MAX gives an empty topology. */
void dv_topology_init(struct dv_topology *topology, uint32_t n);
/* Both directions. Out of range is ignored. */
void dv_topology_set(struct dv_topology *topology, uint32_t a, uint32_t b, struct dv_link link);
/* UNKNOWN out of range. */
struct dv_link dv_topology_get(const struct dv_topology *topology, uint32_t a, uint32_t b);
/* Symmetric, X on the diagonal and nowhere else? 0, or -EINVAL with a message. */
int dv_topology_check(const struct dv_topology *topology, struct dv_err *err);
/* -1, 0, 1: is link a farther than b, the same, nearer? More NVLinks are nearer; of as many the
 * nearer way over PCIe. */
int dv_topology_link_compare(struct dv_link a, struct dv_link b);

/* A PCI address in NVML's long ("00000000:07:00.0") or the kernel's short form ("0000:07:00.0",
 * "07:00.0"), function and case free; written in NVML's form. 0, or -EINVAL with a message. */
int dv_topology_pci_parse(const char *text, char ret[static 17], struct dv_err *err);

#endif
