/* SPDX-License-Identifier: Apache-2.0 */
#include "abi_cuda.h"
#include "abi_nvml.h"
#include "charge.h"
#include "compute.h"
#include "governor.h"
#include "lookup.h"
#include "pools.h"
#include "view.h"
#include "wire.h"

#include <dlfcn.h>
#include <pthread.h>
#include <stddef.h>
#include <string.h>

#define RETRY_NS UINT64_C(100000000)

int dv_mode;
int dv_nvml_ready;
void *dv_original[DV_F_COUNT];

static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;
static pthread_t starter; /* 0 = nobody; itself when a library calls us while it is loaded */
static int refusal;
static uint64_t tried_ns;
static bool used; /* cuInit has succeeded in this process */
static void *cuda_library, *nvml_library;

typedef void *governor_lookup(const char *name);
static governor_lookup *other; /* of the governor that was here first */

static int absent_cuda(void)
{
    return DV_CUDA_ERROR_NOT_SUPPORTED;
}

static int absent_nvml(void)
{
    return DV_NVML_ERROR_FUNCTION_NOT_FOUND;
}

/* ---- one governor in a process --------------------------------------------------------------- */

/*
 * Exported so that a second copy finds the first. A copy that is not the first in the global scope
 * hands everything on to the one that is.
 */
DV_EXPORT void *divvy_governor(const char *name);

DV_EXPORT void *divvy_governor(const char *name)
{
    void *hook = dv_hook_find(name);
    return hook ? hook : dv_start_original(name);
}

static bool find_other(void)
{
    void *there = dv_libc_dlsym(RTLD_DEFAULT, "divvy_governor");
    if (!there || there == (void *)divvy_governor)
        return false;
    other = (governor_lookup *)there;
    return true;
}

/* ---- originals ------------------------------------------------------------------------------- */

static bool is_nvml(const char *name)
{
    return !strncmp(name, "nvml", 4);
}

static void fill(void *library, bool nvml)
{
    for (unsigned i = 0; i < DV_F_COUNT; i++) {
        const char *name = dv_original_names[i];
        if (is_nvml(name) != nvml)
            continue;
        void *p = other ? other(name) : library ? dv_libc_dlsym(library, name) : NULL;
        dv_original[i] = p ? p : nvml ? (void *)absent_nvml : (void *)absent_cuda;
    }
}

void *dv_start_original(const char *name)
{
    if (other)
        return other(name);
    if (is_nvml(name))
        return dv_start_nvml_library() ? dv_libc_dlsym(nvml_library, name) : NULL;
    return cuda_library ? dv_libc_dlsym(cuda_library, name) : NULL;
}

/* ---- starting; under the lock ---------------------------------------------------------------- */

static void forked(void);

static void watch_forks(void)
{
    static bool watched;
    if (!watched)
        watched = !pthread_atfork(NULL, NULL, forked);
}

static int connect_once(void)
{
    uint64_t now = dv_now_ns();
    if (dv_wire_current())
        return 0;
    if (refusal && now - tried_ns < RETRY_NS)
        return refusal;
    tried_ns = now;
    watch_forks();
    refusal = dv_wire_connect();
    return refusal;
}

/* The library of that path, unless it is this one: it would call itself for ever. */
static void *open_driver(const char *path)
{
    void *library = path[0] == '/' ? dlopen(path, RTLD_NOW | RTLD_LOCAL) : NULL;
    if (!library) {
        const char *why = path[0] == '/' ? dlerror() : "the daemon knows no absolute path";
        dv_wire_log("driver: '%s': %s", path, why ? why : "cannot be loaded");
    } else if (dv_libc_dlsym(library, "divvy_governor")) {
        dv_wire_log("driver: '%s' is the stand-in itself", path);
        (void)dlclose(library);
        library = NULL;
    }
    return library;
}

static int open_cuda(void)
{
    if (!cuda_library)
        cuda_library = open_driver(dv_wire_current()->slice->libcuda);
    if (!cuda_library)
        return DV_CUDA_ERROR_SYSTEM_NOT_READY;
    fill(cuda_library, false);
    dv_lookup_build();
    return 0;
}

static int start(void)
{
    if (dv_mode == DV_MODE_ACTIVE)
        return 0;
    if (dv_mode == DV_MODE_FORKED)
        return DV_CUDA_ERROR_NOT_INITIALIZED;
    if (other || find_other()) {
        fill(NULL, false);
        fill(NULL, true);
        __atomic_store_n(&dv_mode, DV_MODE_PASSIVE, __ATOMIC_RELEASE);
        return DV_PASS;
    }
    int r = connect_once();
    if (!r)
        r = open_cuda();
    refusal = r;
    __atomic_store_n(&dv_mode, r ? DV_MODE_REFUSED : DV_MODE_ACTIVE, __ATOMIC_RELEASE);
    return r;
}

static int guarded(int (*f)(void))
{
    if (__atomic_load_n(&starter, __ATOMIC_RELAXED) == pthread_self())
        return DV_CUDA_ERROR_NOT_INITIALIZED;
    pthread_mutex_lock(&lock);
    __atomic_store_n(&starter, pthread_self(), __ATOMIC_RELAXED);
    int r = f();
    __atomic_store_n(&starter, (pthread_t)0, __ATOMIC_RELAXED);
    pthread_mutex_unlock(&lock);
    return r;
}

int dv_start_cuda(void)
{
    if (dv_mode == DV_MODE_PASSIVE)
        return DV_PASS;
    return guarded(start);
}

/* ---- NVML, opened when it is first needed ---------------------------------------------------- */

/*
 * The driver's library carries the SONAME that the application will ask for. Once it is loaded, a
 * dlopen by that name would find it; so the name is taken first, for the stand-in that comes first
 * on the search path (the loader looks through what is loaded in the order of loading).
 */
static void take_nvml_name(void)
{
    static void *ours;
    if (!ours)
        ours = dlopen("libnvidia-ml.so.1", RTLD_NOW | RTLD_LOCAL);
}

static int open_nvml(void)
{
    if (dv_nvml_ready)
        return 0;
    if (!nvml_library && dv_wire_current()->slice->libnvml[0]) {
        take_nvml_name();
        nvml_library = open_driver(dv_wire_current()->slice->libnvml);
    }
    fill(nvml_library, true);
    __atomic_store_n(&dv_nvml_ready, nvml_library != NULL, __ATOMIC_RELEASE);
    return nvml_library ? 0 : DV_NVML_ERROR_DRIVER_NOT_LOADED;
}

bool dv_start_nvml_library(void)
{
    if (__atomic_load_n(&dv_nvml_ready, __ATOMIC_ACQUIRE))
        return true;
    return dv_wire_current() && guarded(open_nvml) == 0;
}

/* A forked child may ask NVML although it may not use CUDA: it registers as itself. */
static int start_for_nvml(void)
{
    int r = start();
    if (r == DV_PASS)
        return DV_PASS;
    if (r && connect_once())
        return refusal == DV_CUDA_ERROR_NOT_PERMITTED ? DV_NVML_ERROR_NO_PERMISSION
                                                      : DV_NVML_ERROR_DRIVER_NOT_LOADED;
    return open_nvml();
}

int dv_start_nvml(void)
{
    if (dv_mode == DV_MODE_PASSIVE)
        return DV_PASS;
    return guarded(start_for_nvml);
}

/* ---- life ------------------------------------------------------------------------------------ */

void dv_start_used(void)
{
    __atomic_store_n(&used, true, __ATOMIC_RELAXED);
    dv_compute_start_helper();
}

/* In the child, where no other thread is. What the parent holds is not its child's. */
static void forked(void)
{
    if (dv_mode == DV_MODE_PASSIVE)
        return;
    lock = (pthread_mutex_t)PTHREAD_MUTEX_INITIALIZER;
    starter = 0;
    refusal = 0;
    dv_wire_forget();
    dv_charge_forked();
    dv_pools_forked();
    dv_compute_forked();
    dv_view_forked();
    dv_nvml_forked();
    dv_nvml_ready = 0;
    dv_mode = used ? DV_MODE_FORKED : DV_MODE_NEW;
}
