/* SPDX-License-Identifier: Apache-2.0 */
/*
 * nvidia-smi for simulated GPUs: own code, on the PATH only inside a simulated environment. It asks
 * libnvidia-ml.so.1 as any client does, and prints in the layout and with the texts and exit codes
 * that scripts know from NVIDIA's (driver 580; nvidia-smi(1), MIG user guide r580).
 *
 *     return dv_smi_list(gpus, n);        // each verb prints and returns the exit code
 *
 * Exit codes: 0 fine, 2 wrong use, 9 no driver, 12 no library, else NVML's number of the error.
 */
#ifndef DV_SIM_SMI_SMI_H
#define DV_SIM_SMI_SMI_H

#include "abi_nvml.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdio.h>

#define DV_SMI_GPUS_MAX 64u
#define DV_SMI_USAGE 2

/* The calls, by name; one that the library lacks answers FUNCTION_NOT_FOUND. */
struct dv_smi_nvml {
    __typeof__(&nvmlErrorString) nvmlErrorString;
#define NVML_CALL(name, parameters) __typeof__(&name) name;
#include "abi_nvml_calls.def"
#undef NVML_CALL
    /* Not NVML's: the simulated library's own, for --gpu-reset and compute-policy. NULL elsewhere.
     */
    int (*reset)(struct dv_nvml_device *device);
    int (*get_timeslice)(struct dv_nvml_device *device, uint32_t *setting);
    int (*set_timeslice)(struct dv_nvml_device *device, uint32_t setting);
};
extern struct dv_smi_nvml dv_smi;

/* Opens and initializes. 0, or the exit code, said on stdout as NVIDIA's does. */
int dv_smi_open(void);

struct dv_smi_gpu {
    struct dv_nvml_device *device;
    uint32_t index;
    char uuid[DV_NVML_UUID_V2_SIZE];
    char name[DV_NVML_NAME_V2_SIZE];
    char bus_id[DV_NVML_BUS_ID_SIZE];
};

/* The GPUs that `ids` names ("0,GPU-...,00000000:07:00.0"), all when it is NULL. 0 or exit code. */
int dv_smi_find(const char *ids, struct dv_smi_gpu ret[DV_SMI_GPUS_MAX], size_t *ret_n);

/* One of them, without a word. NVML's answer. */
int dv_smi_get(uint32_t index, struct dv_smi_gpu *ret);
/* What NVML's error means, as nvidia-smi says it: not always NVML's own words. */
const char *dv_smi_error(int result);

/* list.c */
/* Every GPU; one that does not answer is said, and the others follow. */
int dv_smi_list_all(void);
int dv_smi_list(const struct dv_smi_gpu *gpus, size_t n);                       /* -L */
int dv_smi_topology(const struct dv_smi_gpu *gpus, size_t n, const char *what); /* topo -m */
/* table.c: without arguments */
int dv_smi_table(const struct dv_smi_gpu *gpus, size_t n);
/* query.c */
struct dv_smi_format {
    bool header, units;
};
int dv_smi_query_gpu(const struct dv_smi_gpu *gpus, size_t n, const char *fields,
                     struct dv_smi_format format);
int dv_smi_query_apps(const struct dv_smi_gpu *gpus, size_t n, const char *fields,
                      struct dv_smi_format format);
int dv_smi_help_query(bool apps);
int dv_smi_log(const struct dv_smi_gpu *gpus, size_t n); /* -q */
/* settings.c */
int dv_smi_set_persistence(const struct dv_smi_gpu *gpus, size_t n, const char *mode);
int dv_smi_set_compute(const struct dv_smi_gpu *gpus, size_t n, const char *mode);
int dv_smi_set_mig(const struct dv_smi_gpu *gpus, size_t n, const char *mode);
int dv_smi_reset(const struct dv_smi_gpu *gpus, size_t n);
/* policy.c: `nvidia-smi compute-policy ...`; the same */
int dv_smi_policy(int argc, char **argv);
/* mig.c: `nvidia-smi mig ...`; argv[0] is the first word after "mig" */
int dv_smi_mig(int argc, char **argv);

/* The value of "--name=value", "--name value" or "-n value" (brief may be NULL), and *i moved past
 * it; NULL when this is another option. A value that is missing is "". */
const char *dv_smi_value(int argc, char **argv, int *i, const char *brief, const char *full);

/* query.c: is it in the GPU's list of MPS? */
bool dv_smi_is_mps_client(const struct dv_smi_gpu *gpu, uint32_t pid);

/* Shared: the name of a process for people, the compute mode as the table has it, and "MIG " less
 * what stands before it in a MIG device's name. */
const char *dv_smi_compute_mode(uint32_t mode, bool brief);
const char *dv_smi_after_mig(const char *name);
/* The CPU list of a bit mask, "0-31,64-95". */
void dv_smi_cpu_list(const unsigned long *words, size_t n, char *to, size_t size);

#endif
