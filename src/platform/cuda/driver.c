/* SPDX-License-Identifier: Apache-2.0 */
#include "cuda/driver.h"

#include <dlfcn.h>
#include <errno.h>
#include <string.h>

#define LIBRARY "libcuda.so.1"

struct finder {
    void *library;
    int (*get_v2)(const char *symbol, void **ret, int version, uint64_t flags, int *status);
    int (*get_v1)(const char *symbol, void **ret, int version, uint64_t flags);
};

static void *find(const struct finder *f, const char *name, const char *symbol, int version)
{
    void *p = NULL;
    int status = DV_CUDA_SYMBOL_NOT_FOUND;
    if (f->get_v2 && f->get_v2(name, &p, version, DV_CUDA_PROC_DEFAULT, &status) == 0 && p &&
        status == DV_CUDA_SYMBOL_FOUND)
        return p;
    p = NULL;
    if (!f->get_v2 && f->get_v1 && f->get_v1(name, &p, version, DV_CUDA_PROC_DEFAULT) == 0 && p)
        return p;
    return dlsym(f->library, symbol);
}

/* A function pointer from an object pointer, as POSIX' dlsym wants it done. */
static bool set(const struct finder *f, void *member, const char *name, const char *symbol,
                int version)
{
    void *p = find(f, name, symbol, version);
    memcpy(member, &p, sizeof p);
    return p != NULL;
}

int dv_cuda_open(struct dv_cuda_driver *ret, struct dv_err *err)
{
    struct dv_cuda_driver cuda = {.library = dlopen(LIBRARY, RTLD_NOW | RTLD_LOCAL)};
    if (!cuda.library)
        return dv_err_set(err, -ENOENT,
                          "no CUDA driver here (%s); on a machine without a GPU, run it under "
                          "'divvy-sim run NODE --' or 'divvy run'",
                          dlerror());
    struct finder f = {.library = cuda.library};
    void *v2 = dlsym(cuda.library, "cuGetProcAddress_v2");
    void *v1 = dlsym(cuda.library, "cuGetProcAddress");
    memcpy(&f.get_v2, &v2, sizeof v2);
    memcpy(&f.get_v1, &v1, sizeof v1);

    const char *missing = NULL;
#define FIND_NEEDED(member, name, symbol, version, params)                                         \
    if (!set(&f, &cuda.member, name, symbol, version))                                             \
        missing = name;
#define FIND_OPTIONAL(member, name, symbol, version, params)                                       \
    set(&f, &cuda.member, name, symbol, version);
    DV_CUDA_NEEDED(FIND_NEEDED)
    DV_CUDA_OPTIONAL(FIND_OPTIONAL)
    if (missing) {
        dlclose(cuda.library);
        return dv_err_set(err, -ENOSYS, "the CUDA driver has no %s; it is older than CUDA 11",
                          missing);
    }
    *ret = cuda;
    return 0;
}

void dv_cuda_close(struct dv_cuda_driver *cuda)
{
    if (!cuda || !cuda->library)
        return;
    dlclose(cuda->library);
    *cuda = (struct dv_cuda_driver){0};
}

int dv_cuda_check(const struct dv_cuda_driver *cuda, int result, const char *call,
                  struct dv_err *err)
{
    if (!result)
        return 0;
    const char *name = NULL;
    if (cuda->error_name(result, &name) || !name)
        name = "an error that the driver has no name for";
    return dv_err_set(err, result, "%s: %s (%d)", call, name, result);
}
