/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Kernel launches. A kernel does nothing but take time: so many nanoseconds with so many SMs.
 *
 * SMs demanded: blocks over the blocks that one SM holds by its threads, at most the device's.
 * divvy_spin(u64 iterations) takes 1 ns per iteration. divvy_copy(u64 to, u64 from, u64 bytes)
 * reads and writes each byte at the bandwidth that memory clock and bus width give, and moves them.
 */
#include "driver.h"

#define BANDWIDTH_UNKNOWN 1500.0 /* bytes per nanosecond */
#define WORK_MAX_NS (UINT64_C(3600) * 1000000000)

/* ---- what it costs -------------------------------------------------------------------------- */

static uint32_t demand(const struct dv_sim_device *d, const uint32_t grid[3], uint64_t threads)
{
    uint64_t per_sm = DV_CU_MAX(d->threads_per_sm / threads, 1);
    uint64_t blocks = (uint64_t)grid[0] * grid[1] * grid[2];
    uint64_t sms = blocks / per_sm + (blocks % per_sm != 0);
    return (uint32_t)DV_CU_MAX(DV_CU_MIN(sms, d->sms), 1);
}

static double bandwidth(const struct dv_sim_device *d)
{
    double b = (double)d->memory_clock_khz * 2 * d->bus_width_bits / 8 / 1e6;
    return b > 1 ? b : BANDWIDTH_UNKNOWN;
}

/* Parameter `index` of 8 bytes, from the array of pointers or the packed buffer. */
static bool param(const struct dv_cuda_function *f, void **params, void **extra, uint32_t index,
                  uint64_t *ret)
{
    if (!f->entry || index >= f->entry->n_params || f->entry->size[index] != sizeof(*ret))
        return false;
    if (params) {
        if (!params[index])
            return false;
        memcpy(ret, params[index], sizeof(*ret));
        return true;
    }
    const uint8_t *buffer = NULL;
    size_t size = 0;
    for (; extra && extra[0] != DV_CUDA_LAUNCH_PARAM_END; extra += 2) {
        if (extra[0] == DV_CUDA_LAUNCH_PARAM_BUFFER)
            buffer = extra[1];
        else if (extra[0] == DV_CUDA_LAUNCH_PARAM_SIZE && extra[1])
            memcpy(&size, extra[1], sizeof(size));
        else
            return false;
    }
    if (!buffer || f->entry->offset[index] + sizeof(*ret) > size)
        return false;
    memcpy(ret, buffer + f->entry->offset[index], sizeof(*ret));
    return true;
}

static int price(const struct dv_sim_device *d, void **params, void **extra,
                 struct dv_culaunch *launch)
{
    const struct dv_cuda_function *f = launch->function;
    uint64_t n;
    launch->work_ns = f->work_ns;
    if (f->rule == DV_CU_RULE_SPIN) {
        DV_CU_REQUIRE(param(f, params, extra, 0, &n), DV_CUDA_ERROR_INVALID_VALUE);
        launch->work_ns = DV_CU_MAX(n, 1);
    } else if (f->rule == DV_CU_RULE_COPY) {
        DV_CU_REQUIRE(param(f, params, extra, 0, &launch->copy_dst) &&
                          param(f, params, extra, 1, &launch->copy_src) &&
                          param(f, params, extra, 2, &launch->copy_bytes),
                      DV_CUDA_ERROR_INVALID_VALUE);
        launch->work_ns = 1 + (uint64_t)((double)launch->copy_bytes * 2 / bandwidth(d));
    }
    launch->work_ns = DV_CU_MIN(launch->work_ns, WORK_MAX_NS);
    return 0;
}

static int check_shape(const struct dv_cuda_function *f, const uint32_t grid[3],
                       const uint32_t block[3], uint32_t shared_bytes)
{
    DV_CU_REQUIRE(grid[0] && grid[1] && grid[2] && block[0] && block[1] && block[2],
                  DV_CUDA_ERROR_INVALID_VALUE);
    DV_CU_REQUIRE(grid[0] <= INT32_MAX && grid[1] <= 65535 && grid[2] <= 65535 &&
                      block[0] <= 1024 && block[1] <= 1024 && block[2] <= 64,
                  DV_CUDA_ERROR_INVALID_VALUE);
    DV_CU_REQUIRE(block[0] * block[1] * block[2] <=
                      (uint32_t)f->attribute[DV_CUDA_FUNC_MAX_THREADS_PER_BLOCK],
                  DV_CUDA_ERROR_INVALID_VALUE);
    DV_CU_REQUIRE(shared_bytes <= (uint32_t)f->attribute[DV_CUDA_FUNC_MAX_DYNAMIC_SHARED_BYTES],
                  DV_CUDA_ERROR_INVALID_VALUE);
    return 0;
}

int dv_culaunch_prepare(struct dv_cuda_ctx *ctx, struct dv_cuda_function *function,
                        const uint32_t grid[3], const uint32_t block[3], uint32_t shared_bytes,
                        void **params, void **extra, bool cooperative, struct dv_culaunch *ret)
{
    const struct dv_sim_device *d = &P.device[ctx->device].info;
    *ret = (struct dv_culaunch){.shared_bytes = shared_bytes};
    DV_CU_TRY(dv_cumodule_resolve(ctx, function, &ret->function));
    DV_CU_REQUIRE(ret->function->module->ctx == ctx, DV_CUDA_ERROR_INVALID_HANDLE);
    DV_CU_REQUIRE(!params || !extra, DV_CUDA_ERROR_INVALID_VALUE);
    DV_CU_TRY(check_shape(ret->function, grid, block, shared_bytes));
    memcpy(ret->grid, grid, sizeof(ret->grid));
    memcpy(ret->block, block, sizeof(ret->block));
    uint64_t threads = block[0] * block[1] * block[2];
    uint64_t blocks = (uint64_t)grid[0] * grid[1] * grid[2];
    DV_CU_REQUIRE(!cooperative || blocks <= (uint64_t)d->sms * (d->threads_per_sm / threads),
                  DV_CUDA_ERROR_COOPERATIVE_LAUNCH_TOO_LARGE);
    ret->sms =
        ret->function->sms ? DV_CU_MIN(ret->function->sms, d->sms) : demand(d, grid, threads);
    return price(d, params, extra, ret);
}

/* ---- doing it ------------------------------------------------------------------------------- */

static int fault(struct dv_cuda_ctx *ctx)
{
    struct dv_sim_fault f = {.ctx = ctx->server, .error = DV_CUDA_ERROR_ILLEGAL_ADDRESS, .xid = 31};
    return dv_cuprocess_call(DV_SIM_CUDA_FAULT, &f, sizeof(f), NULL, 0);
}

int dv_culaunch_submit(struct dv_cuda_stream *stream, const struct dv_culaunch *launch)
{
    DV_CU_TRY(dv_curing_submit(stream, DV_SIM_CMD_KERNEL, launch->work_ns, launch->sms, NULL));
    if (launch->copy_bytes) {
        dv_cu_lock();
        dv_cucopy_bytes_locked(launch->copy_dst, launch->copy_src, launch->copy_bytes);
        dv_cu_unlock();
    }
    return launch->function->rule == DV_CU_RULE_FAULT ? fault(stream->ctx) : 0;
}

static int launch(struct dv_cuda_function *function, const uint32_t grid[3],
                  const uint32_t block[3], uint32_t shared_bytes, struct dv_cuda_stream *handle,
                  void **params, void **extra, bool cooperative, bool per_thread)
{
    struct dv_cuda_stream *s;
    struct dv_cugraph_op op;
    DV_CU_TRY(dv_custream_resolve(handle, per_thread, &s));
    DV_CU_TRY(dv_culaunch_prepare(s->ctx, function, grid, block, shared_bytes, params, extra,
                                  cooperative, &op.launch));
    if (DV_CU_LIKELY(!dv_cucapture_active(s)))
        return dv_culaunch_submit(s, &op.launch);
    bool captured;
    struct dv_cugraph_op node = {.type = DV_CUDA_NODE_KERNEL, .launch = op.launch};
    return dv_cucapture_op(s, &node, &captured, NULL);
}

dv_cuda_api_both(cuLaunchKernel, _ptsz,
                 (struct dv_cuda_function * function, unsigned int gx, unsigned int gy,
                  unsigned int gz, unsigned int bx, unsigned int by, unsigned int bz,
                  unsigned int shared, struct dv_cuda_stream *stream, void **params, void **extra),
                 launch(function, (uint32_t[3]){gx, gy, gz}, (uint32_t[3]){bx, by, bz}, shared,
                        stream, params, extra, false, per_thread));

dv_cuda_api_both(cuLaunchCooperativeKernel, _ptsz,
                 (struct dv_cuda_function * function, unsigned int gx, unsigned int gy,
                  unsigned int gz, unsigned int bx, unsigned int by, unsigned int bz,
                  unsigned int shared, struct dv_cuda_stream *stream, void **params),
                 launch(function, (uint32_t[3]){gx, gy, gz}, (uint32_t[3]){bx, by, bz}, shared,
                        stream, params, NULL, true, per_thread));

static int launch_ex(const struct dv_cuda_launch_config *config, struct dv_cuda_function *function,
                     void **params, void **extra, bool per_thread)
{
    bool cooperative = false;
    DV_CU_REQUIRE(config && (!config->n_attributes || config->attributes),
                  DV_CUDA_ERROR_INVALID_VALUE);
    for (uint32_t i = 0; i < config->n_attributes; i++)
        if (config->attributes[i].id == DV_CUDA_LAUNCH_COOPERATIVE)
            cooperative = config->attributes[i].value.cooperative != 0;
    return launch(function, config->grid, config->block, config->shared_bytes, config->stream,
                  params, extra, cooperative, per_thread);
}

dv_cuda_api_both(cuLaunchKernelEx, _ptsz,
                 (const struct dv_cuda_launch_config *config, struct dv_cuda_function *function,
                  void **params, void **extra),
                 launch_ex(config, function, params, extra, per_thread));
