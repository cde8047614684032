/* SPDX-License-Identifier: Apache-2.0 */
/* What functions and kernels say of themselves, and occupancy. */
#include "driver.h"

static int check(const struct dv_cuda_function *f)
{
    return dv_cuobject_is(f, DV_CU_FUNCTION) ? 0 : DV_CUDA_ERROR_INVALID_HANDLE;
}

dv_cuda_api(cuKernelGetFunction, struct dv_cuda_function **ret, struct dv_cuda_function *kernel)
{
    DV_CU_ENTER();
    struct dv_cuda_ctx *ctx;
    DV_CU_REQUIRE(ret, DV_CUDA_ERROR_INVALID_VALUE);
    DV_CU_TRY(dv_cuctx_current(&ctx));
    return dv_cumodule_resolve(ctx, kernel, ret);
}

dv_cuda_api(cuKernelGetLibrary, struct dv_cuda_library **ret, struct dv_cuda_function *kernel)
{
    DV_CU_ENTER();
    DV_CU_REQUIRE(ret, DV_CUDA_ERROR_INVALID_VALUE);
    DV_CU_TRY(check(kernel));
    DV_CU_REQUIRE(kernel->library, DV_CUDA_ERROR_INVALID_HANDLE);
    *ret = kernel->library;
    return 0;
}

dv_cuda_api(cuFuncGetModule, struct dv_cuda_module **ret, struct dv_cuda_function *function)
{
    DV_CU_ENTER();
    DV_CU_REQUIRE(ret, DV_CUDA_ERROR_INVALID_VALUE);
    DV_CU_TRY(check(function));
    DV_CU_REQUIRE(function->module, DV_CUDA_ERROR_INVALID_HANDLE);
    *ret = function->module;
    return 0;
}

static int get_name(const char **ret, const struct dv_cuda_function *f)
{
    DV_CU_REQUIRE(ret, DV_CUDA_ERROR_INVALID_VALUE);
    DV_CU_TRY(check(f));
    *ret = f->name;
    return 0;
}

dv_cuda_api(cuFuncGetName, const char **ret, struct dv_cuda_function *function)
{
    DV_CU_ENTER();
    return get_name(ret, function);
}

dv_cuda_api(cuKernelGetName, const char **ret, struct dv_cuda_function *kernel)
{
    DV_CU_ENTER();
    return get_name(ret, kernel);
}

static int param_info(const struct dv_cuda_function *f, size_t index, size_t *ret_offset,
                      size_t *ret_size)
{
    DV_CU_REQUIRE(ret_offset, DV_CUDA_ERROR_INVALID_VALUE);
    DV_CU_TRY(check(f));
    DV_CU_REQUIRE(f->entry && index < f->entry->n_params, DV_CUDA_ERROR_INVALID_VALUE);
    *ret_offset = f->entry->offset[index];
    if (ret_size)
        *ret_size = f->entry->size[index];
    return 0;
}

dv_cuda_api(cuFuncGetParamInfo, struct dv_cuda_function *function, size_t index, size_t *ret_offset,
            size_t *ret_size)
{
    DV_CU_ENTER();
    return param_info(function, index, ret_offset, ret_size);
}

dv_cuda_api(cuKernelGetParamInfo, struct dv_cuda_function *kernel, size_t index, size_t *ret_offset,
            size_t *ret_size)
{
    DV_CU_ENTER();
    return param_info(kernel, index, ret_offset, ret_size);
}

dv_cuda_api(cuFuncIsLoaded, int *ret, struct dv_cuda_function *function)
{
    DV_CU_ENTER();
    DV_CU_REQUIRE(ret, DV_CUDA_ERROR_INVALID_VALUE);
    DV_CU_TRY(check(function));
    *ret = 1;
    return 0;
}

dv_cuda_api(cuFuncLoad, struct dv_cuda_function *function)
{
    DV_CU_ENTER();
    return check(function);
}

/* ---- attributes ----------------------------------------------------------------------------- */

static int get_attribute(int *ret, int attribute, const struct dv_cuda_function *f)
{
    DV_CU_REQUIRE(ret && attribute >= 0 && attribute < DV_CUDA_FUNC_ATTRIBUTES,
                  DV_CUDA_ERROR_INVALID_VALUE);
    DV_CU_TRY(check(f));
    *ret = f->attribute[attribute];
    return 0;
}

static int set_attribute(struct dv_cuda_function *f, int attribute, int value)
{
    DV_CU_REQUIRE(attribute >= DV_CUDA_FUNC_MAX_DYNAMIC_SHARED_BYTES &&
                      attribute < DV_CUDA_FUNC_ATTRIBUTES,
                  DV_CUDA_ERROR_INVALID_VALUE);
    DV_CU_TRY(check(f));
    DV_CU_REQUIRE(attribute != DV_CUDA_FUNC_MAX_DYNAMIC_SHARED_BYTES ||
                      (value >= 0 && value <= 227 << 10),
                  DV_CUDA_ERROR_INVALID_VALUE);
    f->attribute[attribute] = value;
    return 0;
}

dv_cuda_api(cuFuncGetAttribute, int *ret, int attribute, struct dv_cuda_function *function)
{
    DV_CU_ENTER();
    return get_attribute(ret, attribute, function);
}

dv_cuda_api(cuFuncSetAttribute, struct dv_cuda_function *function, int attribute, int value)
{
    DV_CU_ENTER();
    return set_attribute(function, attribute, value);
}

dv_cuda_api(cuKernelGetAttribute, int *ret, int attribute, struct dv_cuda_function *kernel,
            int device)
{
    DV_CU_ENTER();
    return get_attribute(ret, attribute, kernel);
}

dv_cuda_api(cuKernelSetAttribute, int attribute, int value, struct dv_cuda_function *kernel,
            int device)
{
    DV_CU_ENTER();
    return set_attribute(kernel, attribute, value);
}

dv_cuda_api(cuFuncSetCacheConfig, struct dv_cuda_function *function, int config)
{
    DV_CU_ENTER();
    DV_CU_REQUIRE(config >= 0 && config <= 3, DV_CUDA_ERROR_INVALID_VALUE);
    return check(function);
}

dv_cuda_api(cuKernelSetCacheConfig, struct dv_cuda_function *kernel, int config, int device)
{
    DV_CU_ENTER();
    DV_CU_REQUIRE(config >= 0 && config <= 3, DV_CUDA_ERROR_INVALID_VALUE);
    return check(kernel);
}

dv_cuda_api(cuFuncSetSharedMemConfig, struct dv_cuda_function *function, int config)
{
    DV_CU_ENTER();
    DV_CU_REQUIRE(config >= 0 && config <= 2, DV_CUDA_ERROR_INVALID_VALUE);
    return check(function);
}

/* ---- occupancy: by threads and shared memory, as registers are not known --------------------- */

#define SHARED_PER_SM (100 << 10)
#define BLOCKS_PER_SM 32

static int blocks_per_sm(int *ret, const struct dv_cuda_function *f, int threads, size_t shared)
{
    struct dv_cuda_ctx *ctx;
    DV_CU_REQUIRE(ret && threads > 0, DV_CUDA_ERROR_INVALID_VALUE);
    DV_CU_TRY(check(f));
    DV_CU_TRY(dv_cuctx_current(&ctx));
    uint64_t n = P.device[ctx->device].info.threads_per_sm / (uint32_t)threads;
    if (shared)
        n = DV_CU_MIN(n, SHARED_PER_SM / shared);
    if (threads > f->attribute[DV_CUDA_FUNC_MAX_THREADS_PER_BLOCK])
        n = 0;
    *ret = (int)DV_CU_MIN(n, BLOCKS_PER_SM);
    return 0;
}

dv_cuda_api(cuOccupancyMaxActiveBlocksPerMultiprocessor, int *ret,
            struct dv_cuda_function *function, int threads, size_t shared)
{
    DV_CU_ENTER();
    return blocks_per_sm(ret, function, threads, shared);
}

dv_cuda_api(cuOccupancyMaxActiveBlocksPerMultiprocessorWithFlags, int *ret,
            struct dv_cuda_function *function, int threads, size_t shared, unsigned int flags)
{
    DV_CU_ENTER();
    DV_CU_REQUIRE(flags <= 1, DV_CUDA_ERROR_INVALID_VALUE);
    return blocks_per_sm(ret, function, threads, shared);
}

static int block_size(int *ret_grid, int *ret_block, const struct dv_cuda_function *f, int limit)
{
    struct dv_cuda_ctx *ctx;
    DV_CU_REQUIRE(ret_grid && ret_block, DV_CUDA_ERROR_INVALID_VALUE);
    DV_CU_TRY(check(f));
    DV_CU_TRY(dv_cuctx_current(&ctx));
    const struct dv_sim_device *d = &P.device[ctx->device].info;
    int block = f->attribute[DV_CUDA_FUNC_MAX_THREADS_PER_BLOCK];
    if (limit > 0)
        block = DV_CU_MIN(block, limit);
    *ret_block = block;
    *ret_grid = (int)(d->sms * DV_CU_MAX(d->threads_per_sm / (uint32_t)block, 1u));
    return 0;
}

dv_cuda_api(cuOccupancyMaxPotentialBlockSize, int *ret_grid, int *ret_block,
            struct dv_cuda_function *function, size_t (*shared)(int block), size_t fixed, int limit)
{
    DV_CU_ENTER();
    return block_size(ret_grid, ret_block, function, limit);
}

dv_cuda_api(cuOccupancyMaxPotentialBlockSizeWithFlags, int *ret_grid, int *ret_block,
            struct dv_cuda_function *function, size_t (*shared)(int block), size_t fixed, int limit,
            unsigned int flags)
{
    DV_CU_ENTER();
    return block_size(ret_grid, ret_block, function, limit);
}

dv_cuda_api(cuOccupancyAvailableDynamicSMemPerBlock, size_t *ret, struct dv_cuda_function *function,
            int blocks, int threads)
{
    DV_CU_ENTER();
    DV_CU_REQUIRE(ret && blocks > 0 && threads > 0, DV_CUDA_ERROR_INVALID_VALUE);
    DV_CU_TRY(check(function));
    *ret = (size_t)SHARED_PER_SM / (size_t)blocks;
    return 0;
}
