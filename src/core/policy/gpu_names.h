/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What somebody has declared of resources' names: nvidia.com/gpu-a100 are whole GPUs. A device
 * plugin's configuration gives names as it likes (`resources`, `rename`), and a name alone does not
 * say what is behind it; where nothing is declared, its form decides (dv_gpu_request_kind()).
 *
 *     r = dv_gpu_names_add(&names, "nvidia.com/gpu-a100=whole,nvidia.com/a100-small=governed",
 * &err); dv_gpu_names_kind(&names, "nvidia.com/gpu-a100") == DV_GPU_KIND_WHOLE
 */
#ifndef DV_POLICY_GPU_NAMES_H
#define DV_POLICY_GPU_NAMES_H

#include "policy/gpu_request.h"

#define DV_GPU_NAMES_MAX 64u
#define DV_GPU_NAME_SIZE 64 /* as in a device plugin's configuration, and the end */

struct dv_gpu_names {
    uint32_t n;
    struct dv_gpu_name {
        char resource[DV_GPU_NAME_SIZE];
        enum dv_gpu_kind kind; /* WHOLE, MIG, SHARED or SLICE */
    } all[DV_GPU_NAMES_MAX];
};

/*
 * Adds NAME=MODE, or several with commas between them; the modes are whole, mig, shared, governed.
 * Names are those that a device plugin of divvy's can have: nvidia.com/... and divvy.dev/...; of
 * percents (divvy.dev/gpu-percent) nothing can be declared. 0; -EINVAL (no such name or mode, a
 * name that is declared otherwise already), -E2BIG, with a message; then some may have been added.
 */
int dv_gpu_names_add(struct dv_gpu_names *names, const char *text, struct dv_err *err);

/* As declared; NONE: it is not. `names` NULL: nothing is. */
enum dv_gpu_kind dv_gpu_names_declared(const struct dv_gpu_names *names, const char *resource);
/* As declared, else as the form says. */
enum dv_gpu_kind dv_gpu_names_kind(const struct dv_gpu_names *names, const char *resource);

#endif
