/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Submits kernels for as many seconds as it is told, through the library that it is told. By the
 * path of the driver's own library, beside the governor, it is a tenant that ignores its leases. By
 * "libcuda.so.1" it is an honest one; with FIRST_US its first kernels have another length (of the
 * same function and shape, so that no price learnt from them fits the rest).
 *
 *     rogue LIBCUDA SECONDS KERNEL_US [FIRST_US]
 */
#include "abi_cuda.h"

#include <dlfcn.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#define FIRST_KERNELS 24

static const char ptx[] = ".version 7.0\n.target sm_70\n.address_size 64\n"
                          ".visible .entry divvy_spin(.param .u64 iterations)\n{\nret;\n}\n";

static void *symbol(void *library, const char *name)
{
    void *p = dlsym(library, name);
    if (!p) {
        fprintf(stderr, "rogue: no %s\n", name);
        exit(1);
    }
    return p;
}

static void check(int r, const char *what)
{
    if (r) {
        fprintf(stderr, "rogue: %s: CUDA error %d\n", what, r);
        exit(1);
    }
}

static double seconds(void)
{
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return (double)t.tv_sec + (double)t.tv_nsec / 1e9;
}

int main(int argc, char **argv)
{
    void *library = argc >= 4 && argc <= 5 ? dlopen(argv[1], RTLD_NOW | RTLD_LOCAL) : NULL;
    if (!library) {
        fprintf(stderr, "usage: rogue LIBCUDA SECONDS KERNEL_US [FIRST_US]\n");
        return 2;
    }
    int (*init)(unsigned) = symbol(library, "cuInit");
    int (*retain)(void **, int) = symbol(library, "cuDevicePrimaryCtxRetain");
    int (*set)(void *) = symbol(library, "cuCtxSetCurrent");
    int (*load)(void **, const void *) = symbol(library, "cuModuleLoadData");
    int (*function)(void **, void *, const char *) = symbol(library, "cuModuleGetFunction");
    int (*launch)(void *, unsigned, unsigned, unsigned, unsigned, unsigned, unsigned, unsigned,
                  void *, void **, void **) = symbol(library, "cuLaunchKernel");
    int (*synchronize)(void) = symbol(library, "cuCtxSynchronize");
    void *context = NULL;
    void *module = NULL;
    void *kernel = NULL;
    check(init(0), "cuInit");
    check(retain(&context, 0), "cuDevicePrimaryCtxRetain");
    check(set(context), "cuCtxSetCurrent");
    check(load(&module, ptx), "cuModuleLoadData");
    check(function(&kernel, module, "divvy_spin"), "cuModuleGetFunction");
    uint64_t iterations = argc == 5 ? strtoull(argv[4], NULL, 10) * 1000 : 0;
    void *params[] = {&iterations};
    for (int i = 0; iterations && i < FIRST_KERNELS; i++)
        check(launch(kernel, 4096, 1, 1, 256, 1, 1, 0, NULL, params, NULL), "cuLaunchKernel");
    check(synchronize(), "cuCtxSynchronize");
    iterations = strtoull(argv[3], NULL, 10) * 1000;
    uint64_t kernels = 0;
    double end = seconds() + strtod(argv[2], NULL);
    while (seconds() < end) {
        for (int i = 0; i < 16; i++)
            check(launch(kernel, 4096, 1, 1, 256, 1, 1, 0, NULL, params, NULL), "cuLaunchKernel");
        check(synchronize(), "cuCtxSynchronize");
        kernels += 16;
    }
    printf("{\"kernels\":%llu}\n", (unsigned long long)kernels);
    return 0;
}
