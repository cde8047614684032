/* SPDX-License-Identifier: Apache-2.0 */
#include "actuate/mps_probe.h"

#include "abi_cuda.h"
#include "sys/proc.h"

#include <dlfcn.h>
#include <stdio.h>

#define MAX_CLIENTS_REACHED 808 /* cuda.h, CUDA_ERROR_MPS_MAX_CLIENTS_REACHED */

struct calls {
    int (*init)(unsigned int flags);
    int (*device_get)(int *device, int ordinal);
    int (*ctx_create)(struct dv_cuda_ctx **ctx, unsigned int flags, int device);
    int (*ctx_destroy)(struct dv_cuda_ctx *ctx);
};

static int load(const char *path, struct calls *ret)
{
    void *lib = dlopen(path && *path ? path : "libcuda.so.1", RTLD_NOW | RTLD_LOCAL);
    if (!lib) {
        const char *why = dlerror();
        printf("%s\n", why ? why : "no libcuda.so.1");
        return 1;
    }
    ret->init = (__typeof__(ret->init))dlsym(lib, "cuInit");
    ret->device_get = (__typeof__(ret->device_get))dlsym(lib, "cuDeviceGet");
    ret->ctx_create = (__typeof__(ret->ctx_create))dlsym(lib, "cuCtxCreate_v2");
    ret->ctx_destroy = (__typeof__(ret->ctx_destroy))dlsym(lib, "cuCtxDestroy_v2");
    if (ret->init && ret->device_get && ret->ctx_create && ret->ctx_destroy)
        return 0;
    printf("libcuda.so.1 lacks the calls of a driver\n");
    return 1;
}

static int failed(const char *call, int result)
{
    printf("%s answers CUDA error %d\n", call, result);
    return result == MAX_CLIENTS_REACHED ? DV_MPS_PROBE_FULL : 1;
}

static int connect_client(const struct calls *c)
{
    int device = 0;
    struct dv_cuda_ctx *context = NULL;
    int r = c->init(0);
    if (r)
        return failed("cuInit", r);
    r = c->device_get(&device, 0);
    if (r)
        return failed("cuDeviceGet", r);
    r = c->ctx_create(&context, 0, device);
    if (r)
        return failed("cuCtxCreate", r);
    r = c->ctx_destroy(context);
    return r ? failed("cuCtxDestroy", r) : 0;
}

int dv_mps_probe_main(void *arg)
{
    const struct dv_mps_probe *p = arg;
    struct calls calls;
    struct dv_err err = {{0}};
    int r = 0;
    if (p->uid != (uid_t)-1 && p->uid != 0 && dv_proc_become(p->uid, (gid_t)p->uid, &err) < 0) {
        printf("%s\n", err.msg);
        r = 1;
    }
    if (!r)
        r = load(p->libcuda, &calls);
    if (!r)
        r = connect_client(&calls);
    fflush(stdout);
    return r;
}
