/* SPDX-License-Identifier: Apache-2.0 */
/*
 * One process, two contexts, launches on the legacy stream of each in turn: the same handle means
 * two streams. Prints how many kernels it has run in the time.
 *
 *     two_contexts SECONDS KERNEL_US
 */
#include "abi_cuda.h"

#include <dlfcn.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <time.h>

static const char ptx[] = ".version 7.0\n.target sm_70\n.address_size 64\n"
                          ".visible .entry divvy_spin(.param .u64 iterations)\n{\nret;\n}\n";

static void *library;

#define CALL(name, types, ...)                                                                     \
    do {                                                                                           \
        int(*f) types = dlsym(library, #name);                                                     \
        int r = f ? f(__VA_ARGS__) : -1;                                                           \
        if (r) {                                                                                   \
            fprintf(stderr, "two_contexts: %s: %d\n", #name, r);                                   \
            exit(1);                                                                               \
        }                                                                                          \
    } while (0)

struct side {
    void *context, *module, *kernel;
};

static double seconds(void)
{
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return (double)t.tv_sec + (double)t.tv_nsec / 1e9;
}

static void open_side(struct side *s)
{
    CALL(cuCtxCreate_v2, (void **, unsigned, int), &s->context, 0, 0);
    CALL(cuModuleLoadData, (void **, const void *), &s->module, ptx);
    CALL(cuModuleGetFunction, (void **, void *, const char *), &s->kernel, s->module, "divvy_spin");
}

int main(int argc, char **argv)
{
    struct side sides[2];
    library = argc == 3 ? dlopen("libcuda.so.1", RTLD_NOW) : NULL;
    if (!library) {
        fprintf(stderr, "usage: two_contexts SECONDS KERNEL_US\n");
        return 2;
    }
    CALL(cuInit, (unsigned), 0);
    open_side(&sides[0]);
    open_side(&sides[1]);
    uint64_t iterations = strtoull(argv[2], NULL, 10) * 1000;
    uint64_t kernels = 0;
    void *params[] = {&iterations};
    double end = seconds() + strtod(argv[1], NULL);
    while (seconds() < end) {
        for (int i = 0; i < 16; i++) {
            struct side *s = &sides[i % 2];
            CALL(cuCtxSetCurrent, (void *), s->context);
            CALL(cuLaunchKernel,
                 (void *, unsigned, unsigned, unsigned, unsigned, unsigned, unsigned, unsigned,
                  void *, void **, void **),
                 s->kernel, 4096, 1, 1, 256, 1, 1, 0, NULL, params, NULL);
        }
        for (int i = 0; i < 2; i++) {
            CALL(cuCtxSetCurrent, (void *), sides[i].context);
            CALL(cuCtxSynchronize, (void));
        }
        kernels += 16;
    }
    printf("{\"kernels\":%llu}\n", (unsigned long long)kernels);
    return 0;
}
