/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What every module of the governor sees: the state of the library in this process and the
 * addresses of the driver's own functions.
 *
 *     DV_ENTER_CUDA(cuMemAlloc_v2, ret, bytes);          first line of a wrapper
 *     int r = DV_ORIGINAL(cuMemAlloc_v2)(ret, bytes);    the driver's function; never NULL: one
 *                                                        that the driver lacks answers so
 *
 * The library does nothing until a hooked function is called, and then starts once: it connects to
 * the daemon, maps the pages (abi_tenant.h) and opens the driver's library. Where that fails every
 * call answers an error of the driver (fails closed). It never exits, prints, raises or catches a
 * signal, or changes anything of the process that it is a guest in; one helper thread runs from the
 * first launch on, with all signals blocked.
 *
 * Errors: CUresult (enum dv_cuda_result), for NVML's functions nvmlReturn_t.
 */
#ifndef DV_GOVERNOR_GOVERNOR_H
#define DV_GOVERNOR_GOVERNOR_H

#include "hooks_gen.h"

#include <stdbool.h>

#define DV_EXPORT __attribute__((visibility("default")))
#define DV_LIKELY(x) __builtin_expect(!!(x), 1)
#define DV_UNLIKELY(x) __builtin_expect(!!(x), 0)

enum dv_mode {
    DV_MODE_NEW = 0,
    DV_MODE_ACTIVE = 1,
    DV_MODE_PASSIVE = 2, /* another governor of this process does the work */
    DV_MODE_REFUSED = 3, /* no daemon, or it refused: nothing works, tried again now and then */
    DV_MODE_FORKED = 4,  /* the child of a process that used the driver: it cannot */
};

struct dv_hook {
    const char *name;
    void *wrapper;
    unsigned original; /* enum dv_original */
};

extern int dv_mode; /* enum dv_mode */
extern void *dv_original[DV_F_COUNT];
extern const char *const dv_original_names[DV_F_COUNT];
extern const struct dv_hook dv_hooks[]; /* sorted by name */
extern const unsigned dv_hooks_count;

#define DV_ORIGINAL(symbol) ((dv_f_##symbol *)dv_original[DV_F_##symbol])
/* The original `index`, which has the same arguments as `symbol`. */
#define DV_ORIGINAL_AS(symbol, index) ((dv_f_##symbol *)dv_original[index])

#define DV_PASS (-1)

/* For a mode that is not ACTIVE: starts the governor where that is due. Returns 0: go on in the
 * wrapper; DV_PASS: call the original; else: answer this. */
int dv_start_cuda(void);
int dv_start_nvml(void);
/* Opens NVML and fills its originals. True if they can be called. */
bool dv_start_nvml_library(void);
/* Called by cuInit's handler: from now on a forked child cannot use CUDA. */
void dv_start_used(void);
extern int dv_nvml_ready;

#define DV_ENTER_(symbol, ready, start, ...)                                                       \
    do {                                                                                           \
        if (DV_UNLIKELY(!(ready))) {                                                               \
            int entered = start();                                                                 \
            if (entered == DV_PASS)                                                                \
                return DV_ORIGINAL(symbol)(__VA_ARGS__);                                           \
            if (entered)                                                                           \
                return entered;                                                                    \
        }                                                                                          \
    } while (0)
#define DV_IS_ACTIVE (__atomic_load_n(&dv_mode, __ATOMIC_ACQUIRE) == DV_MODE_ACTIVE)
#define DV_ENTER_CUDA(symbol, ...) DV_ENTER_(symbol, DV_IS_ACTIVE, dv_start_cuda, __VA_ARGS__)
#define DV_ENTER_NVML(symbol, ...)                                                                 \
    DV_ENTER_(symbol, DV_IS_ACTIVE &&__atomic_load_n(&dv_nvml_ready, __ATOMIC_ACQUIRE),            \
              dv_start_nvml, __VA_ARGS__)

/* The wrapper of a name, NULL if it has none. */
void *dv_hook_find(const char *name);
/* The wrapper that stands for a pointer of the driver's; `address` itself if none does. */
void *dv_hook_for(void *address);
/* dlsym as libc does it, whoever has put himself before it. */
void *dv_libc_dlsym(void *handle, const char *name);
/* Before NVML is opened: sees to it that whoever asks for it by name gets us. */
void dv_nvml_claim_name(void);
void dv_nvml_forked(void);
/* The original of a name without a wrapper; NULL if the driver lacks it. */
void *dv_start_original(const char *name);

uint64_t dv_now_ns(void);

#endif
