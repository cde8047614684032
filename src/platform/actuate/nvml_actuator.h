/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Steps over the NVIDIA driver: its management library, loaded at run time, and its tools for what
 * the library does not offer (resets, the time-slice setting, MPS). A simulated node is changed in
 * the same way through its own library and tools.
 *
 * The library is initialised for each step and shut down after it: a GPU that somebody has open
 * cannot be reset, and this process is somebody. Whoever else uses NVML in this process lets go of
 * it before a MIG_MODE step.
 */
#ifndef DV_ACTUATE_NVML_ACTUATOR_H
#define DV_ACTUATE_NVML_ACTUATOR_H

#include "actuate/actuate.h"

struct dv_actuator_config {
    const char *library; /* NVML: a path or "libnvidia-ml.so.1" */
    const char *libcuda; /* for the MPS probe; "": "libcuda.so.1" */
    const char *tools;   /* the directory of nvidia-smi and nvidia-cuda-mps-control; "": PATH. With
                            a directory, tools also find their libraries beside `library` */
    const char *state;   /* MPS daemons live below its mps/ */
    bool no_resets;      /* never reset a GPU */
};

/* 0, -ENOMEM, -ENAMETOOLONG. The library is loaded at the first step. */
int dv_nvml_actuator_new(const struct dv_actuator_config *config, struct dv_actuator **ret,
                         struct dv_err *err);

/*
 * The time-slice settings of all GPUs (enum dv_timeslice), by index; DV_TIMESLICE_UNKNOWN where
 * nvidia-smi says none. 0, or a negative errno: nothing is known.
 */
#define DV_TIMESLICE_UNKNOWN UINT32_MAX
int dv_nvml_actuator_timeslices(struct dv_actuator *a, uint32_t *ret, uint32_t max,
                                struct dv_err *err);

/* The pure part of it: what `nvidia-smi compute-policy --list` prints. Returns how many GPUs were
 * found; fills all of ret. */
uint32_t dv_nvml_actuator_parse_timeslices(const char *text, uint32_t *ret, uint32_t max);

#endif
