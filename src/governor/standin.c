/* SPDX-License-Identifier: Apache-2.0 */
/* The stand-in build only: where the generated trampolines go the first time, and libc's dlsym. */
#include "abi_cuda.h"
#include "abi_nvml.h"
#include "governor.h"

#include <dlfcn.h>
#include <string.h>

extern void *dv_trampoline_table[];
extern const char *const dv_trampoline_names[];
void *dv_trampoline_resolve(unsigned index);

void *dv_libc_dlsym(void *handle, const char *name)
{
    return dlsym(handle, name);
}

/*
 * A library that is loaded is found again by its soname: once the real NVML is there, a program
 * that opens "libnvidia-ml.so.1" would get that. Asked for by name before, while the search path
 * leads to the link beside us, the name becomes one of ours (the loader knows a file by its inode).
 */
void dv_nvml_claim_name(void)
{
    (void)dlopen("libnvidia-ml.so.1", RTLD_LAZY | RTLD_LOCAL);
}

static int not_ready_cuda(void)
{
    return DV_CUDA_ERROR_SYSTEM_NOT_READY;
}

static int not_permitted_cuda(void)
{
    return DV_CUDA_ERROR_NOT_PERMITTED;
}

static int not_initialized_cuda(void)
{
    return DV_CUDA_ERROR_NOT_INITIALIZED;
}

static int not_loaded_nvml(void)
{
    return DV_NVML_ERROR_DRIVER_NOT_LOADED;
}

static const char *error_string_nvml(int error)
{
    (void)error;
    return "the divvy daemon is not there";
}

/* So that a program can say why it does not start. */
static int error_name_cuda(int error, const char **ret)
{
    switch (error) {
#define CASE(name, number, meaning)                                                                \
    case number:                                                                                   \
        *ret = "CUDA_" #name;                                                                      \
        return 0;
        DV_CUDA_RESULTS(CASE)
#undef CASE
    default:
        *ret = NULL;
        return DV_CUDA_ERROR_INVALID_VALUE;
    }
}

static int error_string_cuda(int error, const char **ret)
{
    int r = error_name_cuda(error, ret);
    if (error == DV_CUDA_ERROR_SYSTEM_NOT_READY)
        *ret = "the divvy daemon is not there";
    if (error == DV_CUDA_ERROR_NOT_PERMITTED)
        *ret = "the divvy daemon has no slice for this process";
    return r;
}

static int absent_cuda(void)
{
    return DV_CUDA_ERROR_NOT_SUPPORTED;
}

static int absent_nvml(void)
{
    return DV_NVML_ERROR_FUNCTION_NOT_FOUND;
}

/* What to call instead, while the governor could not start; not kept, it may later. */
static void *refused(const char *name, bool nvml, int r)
{
    if (!strcmp(name, "nvmlErrorString"))
        return (void *)error_string_nvml;
    if (!strcmp(name, "cuGetErrorName"))
        return (void *)error_name_cuda;
    if (!strcmp(name, "cuGetErrorString"))
        return (void *)error_string_cuda;
    if (nvml)
        return (void *)not_loaded_nvml;
    return r == DV_CUDA_ERROR_NOT_PERMITTED     ? (void *)not_permitted_cuda
           : r == DV_CUDA_ERROR_NOT_INITIALIZED ? (void *)not_initialized_cuda
                                                : (void *)not_ready_cuda;
}

void *dv_trampoline_resolve(unsigned index)
{
    const char *name = dv_trampoline_names[index];
    bool nvml = !strncmp(name, "nvml", 4);
    int r = nvml ? dv_start_nvml() : DV_IS_ACTIVE ? 0 : dv_start_cuda();
    if (r > 0)
        return refused(name, nvml, r);
    void *p = dv_start_original(name);
    if (!p)
        p = nvml ? (void *)absent_nvml : (void *)absent_cuda;
    __atomic_store_n(&dv_trampoline_table[index], p, __ATOMIC_RELEASE);
    return p;
}
