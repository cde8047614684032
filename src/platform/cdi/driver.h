/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What a container needs of an installed NVIDIA driver: its libraries, tools and device nodes, as
 * edits. Found where the driver put them: the libraries are those beside libcuda.so.1 that are of
 * the same release, the nodes by the numbers that the kernel module gives in /proc.
 *
 * Sources: the driver's README (installed components; the /proc interface), NVIDIA's MIG user guide
 * (device nodes and capabilities).
 */
#ifndef DV_CDI_DRIVER_H
#define DV_CDI_DRIVER_H

#include "cdi/cdi.h"

#include <stdint.h>

struct dv_cdi_gpu {
    const char *pci; /* "00000000:07:00.0" */
    bool mig;        /* a MIG device of it: */
    uint32_t gi, ci;
};

/* Where the loaders of glibc look whatever a container's image has in its cache: Debian's and its
 * like, the others'. NULL at the end. */
extern const char *const dv_cdi_library_folders[];

/*
 * All libraries of the release of `libcuda` (an absolute path on the host), each in every library
 * folder under the names that it has on the host; without libcuda itself and NVML, which the
 * caller places. 0; -ENOENT with a message when the release cannot be told.
 */
int dv_cdi_driver_libraries(struct dv_cdi_edits *edits, const char *libcuda, struct dv_err *err);
/* nvidia-smi and its like, where `root` has them. */
void dv_cdi_driver_tools(struct dv_cdi_edits *edits, const char *root);
/* The nodes of a GPU, or of a MIG device, and those that all share; `root` is before /proc and
 * /dev, "" on a usual host. 0; -ENOENT with a message when the kernel module knows it not. */
int dv_cdi_driver_nodes(struct dv_cdi_edits *edits, const char *root, const struct dv_cdi_gpu *gpu,
                        struct dv_err *err);

#endif
