/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The catalogue of GPU models, for simulated and for planned GPUs. What a real GPU is comes from
 * its driver, never from here.
 *
 * To add a model, add one entry to gpu_models.def (and, when it can do MIG, one geometry to
 * mig_profiles.def). Nothing else.
 *
 *     const struct dv_gpu_model *m = dv_gpu_model_find("a100", &err);   // "A100-40GB"
 */
#ifndef DV_MODEL_GPU_MODEL_H
#define DV_MODEL_GPU_MODEL_H

#include "base/err.h"
#include "model/mig.h"

#include <stdbool.h>

enum dv_gpu_arch { /* numbered like NVML_DEVICE_ARCH_* */
                   DV_GPU_ARCH_UNKNOWN = 0,
                   DV_GPU_ARCH_VOLTA = 5,
                   DV_GPU_ARCH_TURING = 6,
                   DV_GPU_ARCH_AMPERE = 7,
                   DV_GPU_ARCH_ADA = 8,
                   DV_GPU_ARCH_HOPPER = 9,
                   DV_GPU_ARCH_BLACKWELL = 10,
};

struct dv_gpu_model {
    const char *name;    /* what people type: "A100-40GB" */
    const char *aliases; /* separated by blanks; case does not matter */
    const char *product; /* as NVML prints it: "NVIDIA A100-SXM4-40GB" */
    enum dv_gpu_arch arch;
    uint32_t cc_major, cc_minor; /* compute capability */
    uint32_t pci_device_id;      /* device part; the vendor is 0x10DE */

    uint64_t memory_bytes;   /* the whole, as nvidia-smi shows it; 0: known for planning only */
    uint64_t reserved_bytes; /* taken by the driver out of memory_bytes; an estimate */
    uint64_t context_bytes;  /* what one CUDA context costs; an estimate, 300-500 MiB class */
    uint64_t bar1_bytes;
    uint32_t memory_bus_bits;
    uint32_t bandwidth_gb_per_s; /* device memory, peak, in 10^9 bytes per second */
    uint32_t l2_bytes;

    uint32_t sm; /* multiprocessors; 0: unknown */
    uint32_t threads_per_sm;
    uint32_t cores_per_sm;        /* FP32 lanes */
    uint32_t shared_per_sm_bytes; /* shared memory, largest carve-out */
    uint32_t copy_engines;

    uint32_t power_limit_mw, idle_power_mw;
    uint32_t clock_sm_mhz, clock_memory_mhz; /* maxima */
    uint32_t pcie_generation, pcie_width;
    uint32_t nvlinks, nvlink_version; /* links per GPU; 0: none */
    bool ecc;

    const struct dv_mig_geometry *mig; /* NULL: the GPU cannot do MIG */
    bool mig_mode_needs_gpu_reset;     /* Ampere: a change pends until the next reset */
    bool inferred; /* some figures are taken over from sister boards, not seen on this one */
};

/* By name, alias or product name; case does not matter. NULL with a message that suggests a near
 * name and lists all. */
const struct dv_gpu_model *dv_gpu_model_find(const char *text, struct dv_err *err);
/* The models, in the catalogue's order; NULL past the end. */
const struct dv_gpu_model *dv_gpu_model_at(size_t i);
/* The model with that PCI device id (0x20B0), or NULL. */
const struct dv_gpu_model *dv_gpu_model_by_pci(uint32_t pci_device_id);
/* "Ampere"; "unknown". */
const char *dv_gpu_model_arch_name(enum dv_gpu_arch arch);

/* What tenants can have of it: memory_bytes less reserved_bytes. */
uint64_t dv_gpu_model_usable(const struct dv_gpu_model *model);

#endif
