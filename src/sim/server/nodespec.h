/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What a simulated node consists of: a built-in one by name, or a YAML file.
 *
 *     struct dv_nodespec spec;
 *     r = dv_nodespec_load("dgx-a100", &spec, &err);      or "./my-node.yaml"
 *
 * The file (apiVersion divvy/v1, kind SimNode) is described in nodespec_parse.c and printed in full
 * by dv_nodespec_print; print and parse are inverse. Unknown keys and bad values are errors that
 * name file, line, column and key. A spec owns nothing: it can be copied. About 300 KiB: keep it
 * off small stacks.
 */
#ifndef DV_SIM_SERVER_NODESPEC_H
#define DV_SIM_SERVER_NODESPEC_H

#include "abi_sim.h"
#include "base/err.h"
#include "base/str.h"
#include "model/gpu_model.h"

#include <stdbool.h>

#define DV_NODESPEC_KERNELS_MAX 256u
#define DV_NODESPEC_NUMA_MAX 16u
#define DV_NODESPEC_THREADS_MAX 8u
#define DV_NODESPEC_FILE_MAX 1048576u

/* How two GPUs are joined, nearest last but one: as `nvidia-smi topo -m` prints it. */
enum dv_simlink {
    DV_SIMLINK_SELF = 0,
    DV_SIMLINK_SYS,  /* across NUMA nodes */
    DV_SIMLINK_NODE, /* across PCIe host bridges of one NUMA node */
    DV_SIMLINK_PHB,  /* through one host bridge */
    DV_SIMLINK_PXB,  /* through several PCIe switches */
    DV_SIMLINK_PIX,  /* through one PCIe switch */
    DV_SIMLINKS,
};

struct dv_simlink_pair {
    uint8_t pcie;    /* enum dv_simlink */
    uint8_t nvlinks; /* NVLinks between the two, directly or through NVSwitches; 0 = none */
};

struct dv_nodespec_gpu {
    const struct dv_gpu_model *model;
    char uuid[DV_SIM_UUID_SIZE]; /* "GPU-8-4-4-4-12" */
    uint32_t numa;
    uint32_t pci_domain, pci_bus, pci_device;
    bool mig;              /* MIG mode is on at the start */
    char mig_layout[128];  /* "3g.40gb,2g.20gb"; needs mig */
    uint64_t memory_bytes; /* as NVML shows it; the model's unless the file says otherwise */
    uint64_t context_bytes;
};

/* How long a kernel is, by its name. The first entry that matches counts. */
struct dv_nodespec_kernel {
    char name[128]; /* a pattern of fnmatch(3) */
    uint64_t duration_ns;
    uint32_t sms; /* 0 = all of the device */
};

enum dv_nodespec_slices { /* what a newcomer waits for; core/engine */
                          DV_NODESPEC_SLICES_PHASE = 0,
                          DV_NODESPEC_SLICES_INSTANT = 1,
};

struct dv_nodespec {
    char name[64];
    char hostname[64];
    char driver[32];
    uint32_t cuda_version; /* 13000 = CUDA 13.0 */
    uint32_t numa_nodes;
    uint32_t cpus;
    uint32_t threads;     /* hardware threads of a core, 1 or more */
    uint32_t mps_clients; /* most clients of an MPS server on a device; 0 = as the driver has it */
    uint32_t n_gpus;
    struct dv_nodespec_gpu gpu[DV_SIM_GPUS_MAX];
    struct dv_simlink_pair link[DV_SIM_GPUS_MAX][DV_SIM_GPUS_MAX]; /* symmetric */
    uint32_t n_kernels;
    struct dv_nodespec_kernel kernel[DV_NODESPEC_KERNELS_MAX];
    bool no_reset; /* the machine has no way to reset a GPU, as many virtual ones */
    uint64_t timeslice_ns, switch_ns;
    enum dv_nodespec_slices slices;
};

/* The names of the built-in nodes; NULL past the end. `*ret_about` (may be NULL): one line. */
const char *dv_nodespec_builtin(size_t i, const char **ret_about);

/* A built-in node, or the file where the text has a "/" or ends in .yaml or .yml. 0, -ENOENT (no
 * such node: the message suggests one), -EINVAL (the file is wrong), or what reading it said. */
int dv_nodespec_load(const char *node, struct dv_nodespec *ret, struct dv_err *err);

/* Parses a file's text; `file` names it in messages. 0, -EINVAL, -E2BIG, -ENOMEM. */
int dv_nodespec_parse(const char *file, const char *text, size_t len, struct dv_nodespec *ret,
                      struct dv_err *err);

/* The whole spec as YAML that dv_nodespec_parse reads. */
void dv_nodespec_print(const struct dv_nodespec *spec, struct dv_str *out);

/* ---- for the files of this module ---- */

/* An empty node of that name with the default driver and engine. */
void dv_nodespec_init(struct dv_nodespec *spec, const char *name);
/* Adds a GPU with the model's figures and addresses that follow the ones before. -ENOSPC, -EINVAL
 * (a model whose figures are not public). */
int dv_nodespec_add(struct dv_nodespec *spec, const struct dv_gpu_model *model, struct dv_err *err);
/* Joins all pairs by PCIe as their NUMA nodes say, and gives UUIDs to those without. */
void dv_nodespec_finish(struct dv_nodespec *spec);
/* "PIX"; NULL for a number that is none. */
const char *dv_nodespec_link_name(uint32_t link);

/* A UUID that is the same in every run: of the node's name and the words given. */
void dv_nodespec_uuid(const char *prefix, const char *node, const char *words,
                      char ret[DV_SIM_UUID_SIZE]);

#endif
