/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Modules, libraries and functions.
 *
 * An image is read for its kernels (image.h); loading it charges its size and its variables to the
 * device. A name that the image does not have is NOT_FOUND; only compressed fat binaries, which we
 * do not unpack, are taken to have every kernel that is asked for, without known parameters.
 *
 * What a kernel costs: divvy_spin and divvy_copy by their parameters (launch.c), others what the
 * node file says under `kernels:`, else 10 us.
 */
#include "driver.h"

#include <errno.h>
#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#define WORK_DEFAULT_NS 10000
#define GLOBAL_ALIGNMENT 256

struct dv_cuda_library {
    struct dv_cuobject object;
    struct dv_cuimage image;
    struct dv_cuda_function *kernels;
};

/* ---- functions ------------------------------------------------------------------------------ */

static void set_attributes(struct dv_cuda_function *f)
{
    f->attribute[DV_CUDA_FUNC_MAX_THREADS_PER_BLOCK] =
        f->entry && f->entry->max_threads ? (int)f->entry->max_threads : 1024;
    f->attribute[DV_CUDA_FUNC_REGISTERS] = 32;
    f->attribute[DV_CUDA_FUNC_PTX_VERSION] = 80;
    f->attribute[DV_CUDA_FUNC_BINARY_VERSION] = 80;
    f->attribute[DV_CUDA_FUNC_MAX_DYNAMIC_SHARED_BYTES] = 49152;
    f->attribute[DV_CUDA_FUNC_CARVEOUT] = -1;
}

static void find_cost_locked(struct dv_cuda_function *f)
{
    struct dv_sim_kernel_info info = {0};
    f->work_ns = WORK_DEFAULT_NS;
    if (strcmp(f->name, "divvy_spin") == 0 && f->entry && f->entry->n_params == 1) {
        f->rule = DV_CU_RULE_SPIN;
    } else if (strcmp(f->name, "divvy_copy") == 0 && f->entry && f->entry->n_params == 3) {
        f->rule = DV_CU_RULE_COPY;
    } else if (strcmp(f->name, "divvy_fault") == 0) {
        f->rule = DV_CU_RULE_FAULT;
    } else if (dv_cuprocess_call_locked(DV_SIM_CUDA_KERNEL_INFO, f->name,
                                        (uint32_t)strlen(f->name) + 1, -1, &info, sizeof(info),
                                        NULL, NULL) == 0 &&
               info.work_ns) {
        f->work_ns = info.work_ns;
        f->sms = info.sms;
    }
}

static const struct dv_cuimage_entry *find_entry(const struct dv_cuimage *image, const char *name)
{
    for (uint32_t i = 0; i < image->n_entries; i++)
        if (strcmp(image->entries[i].name, name) == 0)
            return &image->entries[i];
    return NULL;
}

/* In `list`, else made and put there. */
static int function_locked(const struct dv_cuimage *image, struct dv_cuda_function **list,
                           const char *name, struct dv_cuda_function **ret)
{
    for (*ret = *list; *ret; *ret = (*ret)->next)
        if (strcmp((*ret)->name, name) == 0)
            return 0;
    const struct dv_cuimage_entry *entry = find_entry(image, name);
    size_t length = strlen(name);
    DV_CU_REQUIRE((entry || image->opaque) && length && length <= DV_CUIMAGE_NAME_MAX,
                  DV_CUDA_ERROR_NOT_FOUND);
    struct dv_cuda_function *f = dv_cuobject_new(DV_CU_FUNCTION, sizeof(*f));
    DV_CU_REQUIRE(f, DV_CUDA_ERROR_OUT_OF_MEMORY);
    memcpy(f->name, name, length + 1);
    f->entry = entry && entry->params_known ? entry : NULL;
    set_attributes(f);
    find_cost_locked(f);
    f->next = *list;
    *list = f;
    *ret = f;
    return 0;
}

static void free_functions(struct dv_cuda_function **list)
{
    while (*list) {
        struct dv_cuda_function *f = *list;
        *list = f->next;
        dv_cuobject_free(f);
    }
}

static int module_function_locked(struct dv_cuda_module *m, const char *name,
                                  struct dv_cuda_function **ret)
{
    struct dv_cuda_function *f;
    DV_CU_TRY(function_locked(m->image, &m->functions, name, &f));
    f->module = m;
    *ret = f;
    return 0;
}

/* ---- modules -------------------------------------------------------------------------------- */

static void free_module_locked(struct dv_cuda_module *m)
{
    for (struct dv_cuda_module **p = &P.modules; *p; p = &(*p)->next)
        if (*p == m) {
            *p = m->next;
            break;
        }
    free_functions(&m->functions);
    uint64_t address = m->address;
    for (uint32_t i = 0; m->address && i < m->image->n_globals; i++) {
        struct dv_cumem *mem = dv_cumem_find_locked(address);
        if (mem && mem->kind == DV_CU_MEM_GLOBAL && mem->owner == m)
            dv_cumem_remove_locked(mem);
        address +=
            (m->image->globals[i].bytes + GLOBAL_ALIGNMENT - 1) & ~(uint64_t)(GLOBAL_ALIGNMENT - 1);
    }
    dv_cumem_uncharge_locked(m->handle);
    if (m->own_image) {
        dv_cuimage_done(m->image);
        free(m->image);
    }
    dv_cuobject_free(m);
}

void dv_cumodule_free_all_locked(struct dv_cuda_ctx *ctx)
{
    struct dv_cuda_module *next;
    for (struct dv_cuda_module *m = P.modules; m; m = next) {
        next = m->next;
        if (m->ctx == ctx)
            free_module_locked(m);
    }
}

/* The variables stand at the beginning of the module's memory, the code behind them. */
static int place_globals_locked(struct dv_cuda_module *m, uint64_t address)
{
    m->address = address;
    for (uint32_t i = 0; i < m->image->n_globals; i++) {
        uint64_t bytes = m->image->globals[i].bytes;
        struct dv_cumem mem = {.address = address,
                               .bytes = bytes,
                               .kind = DV_CU_MEM_GLOBAL,
                               .device = m->ctx->device,
                               .ctx = m->ctx,
                               .owner = m,
                               .content = dv_cucontent_new(bytes)};
        DV_CU_REQUIRE(mem.content, DV_CUDA_ERROR_OUT_OF_MEMORY);
        int r = dv_cumem_insert_locked(&mem, NULL);
        dv_cucontent_unref(mem.content);
        DV_CU_TRY(r);
        address += (bytes + GLOBAL_ALIGNMENT - 1) & ~(uint64_t)(GLOBAL_ALIGNMENT - 1);
    }
    return 0;
}

static uint64_t module_bytes(const struct dv_cuimage *image)
{
    return image->bytes + (uint64_t)image->n_globals * GLOBAL_ALIGNMENT;
}

/* Takes the image over if own; on error it stays the caller's. */
static int new_module_locked(struct dv_cuda_ctx *ctx, struct dv_cuimage *image,
                             struct dv_cuda_library *library, struct dv_cuda_module **ret)
{
    struct dv_sim_mem_allocated got;
    DV_CU_TRY(dv_cumem_charge_locked(ctx, DV_SIM_MEM_MODULE, module_bytes(image), &got));
    struct dv_cuda_module *m = dv_cuobject_new(DV_CU_MODULE, sizeof(*m));
    if (!m) {
        dv_cumem_uncharge_locked(got.handle);
        return DV_CUDA_ERROR_OUT_OF_MEMORY;
    }
    m->ctx = ctx;
    m->image = image;
    m->library = library;
    m->handle = got.handle;
    m->next = P.modules;
    P.modules = m;
    int r = place_globals_locked(m, got.address);
    if (r) {
        free_module_locked(m);
        return r;
    }
    m->own_image = !library;
    *ret = m;
    return 0;
}

static int load(struct dv_cuda_module **ret, const void *bytes, size_t size)
{
    struct dv_cuda_ctx *ctx;
    DV_CU_REQUIRE(ret && bytes, DV_CUDA_ERROR_INVALID_VALUE);
    DV_CU_TRY(dv_cuctx_current(&ctx));
    struct dv_cuimage *image = calloc(1, sizeof(*image));
    DV_CU_REQUIRE(image, DV_CUDA_ERROR_OUT_OF_MEMORY);
    int r = dv_cuimage_read(dv_cuimage_unwrap(bytes), size, image);
    if (r) {
        free(image);
        return r;
    }
    dv_cu_lock();
    r = new_module_locked(ctx, image, NULL, ret);
    dv_cu_unlock();
    if (r) {
        dv_cuimage_done(image);
        free(image);
    }
    return r;
}

static int load_data(struct dv_cuda_module **ret, const void *bytes)
{
    DV_CU_REQUIRE(bytes, DV_CUDA_ERROR_INVALID_VALUE);
    return load(ret, bytes, dv_cuimage_size(bytes));
}

dv_cuda_api(cuModuleLoadData, struct dv_cuda_module **ret, const void *bytes)
{
    DV_CU_ENTER();
    return load_data(ret, bytes);
}

/* Options of the compiler are accepted; there is nothing to compile. */
dv_cuda_api(cuModuleLoadDataEx, struct dv_cuda_module **ret, const void *bytes, unsigned int n,
            const int *options, void **values)
{
    DV_CU_ENTER();
    return load_data(ret, bytes);
}

dv_cuda_api(cuModuleLoadFatBinary, struct dv_cuda_module **ret, const void *bytes)
{
    DV_CU_ENTER();
    return load_data(ret, bytes);
}

/* The whole file, NUL-terminated; free() it. */
static int read_file(const char *path, char **ret, size_t *ret_size)
{
    struct stat st;
    int fd = open(path, O_RDONLY | O_CLOEXEC);
    DV_CU_REQUIRE(fd >= 0, DV_CUDA_ERROR_FILE_NOT_FOUND);
    char *bytes = NULL;
    size_t size = 0, have = 0;
    if (fstat(fd, &st) == 0 && st.st_size > 0 && (uint64_t)st.st_size <= DV_CUIMAGE_BYTES_MAX) {
        size = (size_t)st.st_size;
        bytes = malloc(size + 1);
    }
    while (bytes && have < size) {
        ssize_t n = read(fd, bytes + have, size - have);
        if (n < 0 && errno == EINTR)
            continue;
        if (n <= 0)
            break;
        have += (size_t)n;
    }
    close(fd);
    if (!bytes || have < size) {
        free(bytes);
        return DV_CUDA_ERROR_INVALID_IMAGE;
    }
    bytes[size] = '\0';
    *ret = bytes;
    *ret_size = size;
    return 0;
}

dv_cuda_api(cuModuleLoad, struct dv_cuda_module **ret, const char *path)
{
    DV_CU_ENTER();
    char *bytes;
    size_t size;
    DV_CU_REQUIRE(path, DV_CUDA_ERROR_INVALID_VALUE);
    DV_CU_TRY(read_file(path, &bytes, &size));
    int r = load(ret, bytes, size);
    free(bytes);
    return r;
}

dv_cuda_api(cuModuleUnload, struct dv_cuda_module *module)
{
    DV_CU_ENTER();
    dv_cu_lock();
    bool valid = dv_cuobject_is(module, DV_CU_MODULE) && !module->library;
    if (valid)
        free_module_locked(module);
    dv_cu_unlock();
    return valid ? 0 : DV_CUDA_ERROR_INVALID_HANDLE;
}

dv_cuda_api(cuModuleGetFunction, struct dv_cuda_function **ret, struct dv_cuda_module *module,
            const char *name)
{
    DV_CU_ENTER();
    DV_CU_REQUIRE(ret && name, DV_CUDA_ERROR_INVALID_VALUE);
    DV_CU_REQUIRE(dv_cuobject_is(module, DV_CU_MODULE), DV_CUDA_ERROR_INVALID_HANDLE);
    dv_cu_lock();
    int r = module_function_locked(module, name, ret);
    dv_cu_unlock();
    return r;
}

dv_cuda_api(cuModuleGetFunctionCount, unsigned int *ret, struct dv_cuda_module *module)
{
    DV_CU_ENTER();
    DV_CU_REQUIRE(ret, DV_CUDA_ERROR_INVALID_VALUE);
    DV_CU_REQUIRE(dv_cuobject_is(module, DV_CU_MODULE), DV_CUDA_ERROR_INVALID_HANDLE);
    *ret = module->image->n_entries;
    return 0;
}

dv_cuda_api(cuModuleEnumerateFunctions, struct dv_cuda_function **ret, unsigned int max,
            struct dv_cuda_module *module)
{
    DV_CU_ENTER();
    DV_CU_REQUIRE(ret, DV_CUDA_ERROR_INVALID_VALUE);
    DV_CU_REQUIRE(dv_cuobject_is(module, DV_CU_MODULE), DV_CUDA_ERROR_INVALID_HANDLE);
    int r = 0;
    dv_cu_lock();
    for (uint32_t i = 0; i < DV_CU_MIN(max, module->image->n_entries) && r == 0; i++)
        r = module_function_locked(module, module->image->entries[i].name, &ret[i]);
    dv_cu_unlock();
    return r;
}

dv_cuda_api(cuModuleGetLoadingMode, int *ret)
{
    DV_CU_ENTER();
    DV_CU_REQUIRE(ret, DV_CUDA_ERROR_INVALID_VALUE);
    *ret = 1; /* eager */
    return 0;
}

static int find_global(const struct dv_cuda_module *m, const char *name, uint64_t *ret_address,
                       uint64_t *ret_bytes)
{
    uint64_t address = m->address;
    for (uint32_t i = 0; i < m->image->n_globals; i++) {
        const struct dv_cuimage_global *g = &m->image->globals[i];
        if (strcmp(g->name, name) == 0) {
            *ret_address = address;
            *ret_bytes = g->bytes;
            return 0;
        }
        address += (g->bytes + GLOBAL_ALIGNMENT - 1) & ~(uint64_t)(GLOBAL_ALIGNMENT - 1);
    }
    return DV_CUDA_ERROR_NOT_FOUND;
}

dv_cuda_api(cuModuleGetGlobal_v2, uint64_t *ret_address, size_t *ret_bytes,
            struct dv_cuda_module *module, const char *name)
{
    DV_CU_ENTER();
    uint64_t address, bytes;
    DV_CU_REQUIRE(name, DV_CUDA_ERROR_INVALID_VALUE);
    DV_CU_REQUIRE(dv_cuobject_is(module, DV_CU_MODULE), DV_CUDA_ERROR_INVALID_HANDLE);
    DV_CU_TRY(find_global(module, name, &address, &bytes));
    if (ret_address)
        *ret_address = address;
    if (ret_bytes)
        *ret_bytes = bytes;
    return 0;
}

/* ---- libraries ------------------------------------------------------------------------------ */

static int load_library(struct dv_cuda_library **ret, const void *bytes, size_t size)
{
    DV_CU_REQUIRE(ret, DV_CUDA_ERROR_INVALID_VALUE);
    struct dv_cuda_library *l = dv_cuobject_new(DV_CU_LIBRARY, sizeof(*l));
    DV_CU_REQUIRE(l, DV_CUDA_ERROR_OUT_OF_MEMORY);
    int r = dv_cuimage_read(dv_cuimage_unwrap(bytes), size, &l->image);
    if (r) {
        dv_cuobject_free(l);
        return r;
    }
    *ret = l;
    return 0;
}

dv_cuda_api(cuLibraryLoadData, struct dv_cuda_library **ret, const void *bytes, const int *jit,
            void **jit_values, unsigned int n_jit, const int *options, void **values,
            unsigned int n)
{
    DV_CU_ENTER();
    DV_CU_REQUIRE(bytes, DV_CUDA_ERROR_INVALID_VALUE);
    return load_library(ret, bytes, dv_cuimage_size(bytes));
}

dv_cuda_api(cuLibraryLoadFromFile, struct dv_cuda_library **ret, const char *path, const int *jit,
            void **jit_values, unsigned int n_jit, const int *options, void **values,
            unsigned int n)
{
    DV_CU_ENTER();
    char *bytes;
    size_t size;
    DV_CU_REQUIRE(path, DV_CUDA_ERROR_INVALID_VALUE);
    DV_CU_TRY(read_file(path, &bytes, &size));
    int r = load_library(ret, bytes, size);
    free(bytes);
    return r;
}

dv_cuda_api(cuLibraryUnload, struct dv_cuda_library *library)
{
    DV_CU_ENTER();
    struct dv_cuda_module *next;
    dv_cu_lock();
    bool valid = dv_cuobject_is(library, DV_CU_LIBRARY);
    if (valid) {
        for (struct dv_cuda_module *m = P.modules; m; m = next) {
            next = m->next;
            if (m->library == library)
                free_module_locked(m);
        }
        free_functions(&library->kernels);
        dv_cuimage_done(&library->image);
        dv_cuobject_free(library);
    }
    dv_cu_unlock();
    return valid ? 0 : DV_CUDA_ERROR_INVALID_HANDLE;
}

static int module_of_locked(struct dv_cuda_ctx *ctx, struct dv_cuda_library *library,
                            struct dv_cuda_module **ret)
{
    for (*ret = P.modules; *ret; *ret = (*ret)->next)
        if ((*ret)->library == library && (*ret)->ctx == ctx)
            return 0;
    return new_module_locked(ctx, &library->image, library, ret);
}

dv_cuda_api(cuLibraryGetModule, struct dv_cuda_module **ret, struct dv_cuda_library *library)
{
    DV_CU_ENTER();
    struct dv_cuda_ctx *ctx;
    DV_CU_REQUIRE(ret, DV_CUDA_ERROR_INVALID_VALUE);
    DV_CU_REQUIRE(dv_cuobject_is(library, DV_CU_LIBRARY), DV_CUDA_ERROR_INVALID_HANDLE);
    DV_CU_TRY(dv_cuctx_current(&ctx));
    dv_cu_lock();
    int r = module_of_locked(ctx, library, ret);
    dv_cu_unlock();
    return r;
}

static int library_kernel_locked(struct dv_cuda_library *l, const char *name,
                                 struct dv_cuda_function **ret)
{
    struct dv_cuda_function *f;
    DV_CU_TRY(function_locked(&l->image, &l->kernels, name, &f));
    f->library = l;
    *ret = f;
    return 0;
}

/* CUkernel and CUfunction are one struct here: launches take either. */
dv_cuda_api(cuLibraryGetKernel, struct dv_cuda_function **ret, struct dv_cuda_library *library,
            const char *name)
{
    DV_CU_ENTER();
    DV_CU_REQUIRE(ret && name, DV_CUDA_ERROR_INVALID_VALUE);
    DV_CU_REQUIRE(dv_cuobject_is(library, DV_CU_LIBRARY), DV_CUDA_ERROR_INVALID_HANDLE);
    dv_cu_lock();
    int r = library_kernel_locked(library, name, ret);
    dv_cu_unlock();
    return r;
}

dv_cuda_api(cuLibraryGetKernelCount, unsigned int *ret, struct dv_cuda_library *library)
{
    DV_CU_ENTER();
    DV_CU_REQUIRE(ret, DV_CUDA_ERROR_INVALID_VALUE);
    DV_CU_REQUIRE(dv_cuobject_is(library, DV_CU_LIBRARY), DV_CUDA_ERROR_INVALID_HANDLE);
    *ret = library->image.n_entries;
    return 0;
}

dv_cuda_api(cuLibraryEnumerateKernels, struct dv_cuda_function **ret, unsigned int max,
            struct dv_cuda_library *library)
{
    DV_CU_ENTER();
    DV_CU_REQUIRE(ret, DV_CUDA_ERROR_INVALID_VALUE);
    DV_CU_REQUIRE(dv_cuobject_is(library, DV_CU_LIBRARY), DV_CUDA_ERROR_INVALID_HANDLE);
    int r = 0;
    dv_cu_lock();
    for (uint32_t i = 0; i < DV_CU_MIN(max, library->image.n_entries) && r == 0; i++)
        r = library_kernel_locked(library, library->image.entries[i].name, &ret[i]);
    dv_cu_unlock();
    return r;
}

dv_cuda_api(cuLibraryGetGlobal, uint64_t *ret_address, size_t *ret_bytes,
            struct dv_cuda_library *library, const char *name)
{
    DV_CU_ENTER();
    struct dv_cuda_ctx *ctx;
    struct dv_cuda_module *m;
    uint64_t address = 0, bytes = 0;
    DV_CU_REQUIRE(name, DV_CUDA_ERROR_INVALID_VALUE);
    DV_CU_REQUIRE(dv_cuobject_is(library, DV_CU_LIBRARY), DV_CUDA_ERROR_INVALID_HANDLE);
    DV_CU_TRY(dv_cuctx_current(&ctx));
    dv_cu_lock();
    int r = module_of_locked(ctx, library, &m);
    if (r == 0)
        r = find_global(m, name, &address, &bytes);
    dv_cu_unlock();
    DV_CU_TRY(r);
    if (ret_address)
        *ret_address = address;
    if (ret_bytes)
        *ret_bytes = bytes;
    return 0;
}

int dv_cumodule_resolve(struct dv_cuda_ctx *ctx, struct dv_cuda_function *function,
                        struct dv_cuda_function **ret)
{
    DV_CU_REQUIRE(dv_cuobject_is(function, DV_CU_FUNCTION), DV_CUDA_ERROR_INVALID_HANDLE);
    *ret = function;
    if (DV_CU_LIKELY(!function->library))
        return 0;
    struct dv_cuda_module *m;
    dv_cu_lock();
    int r = module_of_locked(ctx, function->library, &m);
    if (r == 0)
        r = module_function_locked(m, function->name, ret);
    dv_cu_unlock();
    return r;
}
