/* SPDX-License-Identifier: Apache-2.0 */
/* Streams that wait for a value in memory, or write one: done by the worker, which polls. */
#include "driver.h"

struct value_op {
    uint64_t address, value;
    uint32_t bytes; /* 4 or 8 */
    unsigned int how;
};

static uint64_t peek(const struct value_op *v)
{
    uint64_t is = 0;
    dv_cu_lock();
    dv_cucopy_bytes_locked((uintptr_t)&is, v->address, v->bytes);
    dv_cu_unlock();
    return is;
}

static bool fulfilled(void *arg)
{
    const struct value_op *v = arg;
    uint64_t is = peek(v);
    bool geq = v->bytes == 4 ? (int32_t)((uint32_t)is - (uint32_t)v->value) >= 0
                             : (int64_t)(is - v->value) >= 0;
    uint64_t all = v->bytes == 4 ? UINT32_MAX : UINT64_MAX;
    switch (v->how) {
    case DV_CUDA_WAIT_VALUE_EQ:
        return is == v->value;
    case DV_CUDA_WAIT_VALUE_AND:
        return (is & v->value) != 0;
    case DV_CUDA_WAIT_VALUE_NOR:
        return (~(is | v->value) & all) != 0;
    default:
        return geq;
    }
}

static void waited(void *arg)
{
    free(arg);
}

static void store(void *arg)
{
    struct value_op *v = arg;
    dv_cu_lock();
    dv_cucopy_bytes_locked(v->address, (uintptr_t)&v->value, v->bytes);
    dv_cu_unlock();
    free(v);
}

static int gate(struct dv_cuda_stream *handle, const struct value_op *op, bool wait,
                bool per_thread)
{
    struct dv_cuda_stream *s;
    DV_CU_TRY(dv_custream_resolve(handle, per_thread, &s));
    if (dv_cucapture_active(s))
        return dv_cucapture_forbid(s);
    struct dv_cutransfer t = {
        .fill = true, .dst.address = op->address, .width = op->bytes, .height = 1, .depth = 1};
    DV_CU_REQUIRE(op->address % op->bytes == 0, DV_CUDA_ERROR_INVALID_VALUE);
    DV_CU_TRY(dv_cutransfer_check(&t, false, false));
    struct value_op *copy = malloc(sizeof(*copy));
    DV_CU_REQUIRE(copy, DV_CUDA_ERROR_OUT_OF_MEMORY);
    *copy = *op;
    struct dv_cugate g = {
        .run = wait ? waited : store, .ready = wait ? fulfilled : NULL, .arg = copy};
    int r = dv_cuworker_gate(s, &g);
    if (r)
        free(copy);
    return r;
}

static int wait_value(struct dv_cuda_stream *stream, uint64_t address, uint64_t value,
                      uint32_t bytes, unsigned int flags, bool per_thread)
{
    DV_CU_REQUIRE((flags & ~(1u << 30)) <= DV_CUDA_WAIT_VALUE_NOR, DV_CUDA_ERROR_INVALID_VALUE);
    struct value_op op = {address, value, bytes, flags & 3};
    return gate(stream, &op, true, per_thread);
}

static int write_value(struct dv_cuda_stream *stream, uint64_t address, uint64_t value,
                       uint32_t bytes, unsigned int flags, bool per_thread)
{
    DV_CU_REQUIRE(flags <= 1, DV_CUDA_ERROR_INVALID_VALUE);
    struct value_op op = {address, value, bytes, 0};
    return gate(stream, &op, false, per_thread);
}

dv_cuda_api_both(cuStreamWaitValue32, _ptsz,
                 (struct dv_cuda_stream * stream, uint64_t address, uint32_t value,
                  unsigned int flags),
                 wait_value(stream, address, value, 4, flags, per_thread));
dv_cuda_api_both(cuStreamWaitValue32_v2, _ptsz,
                 (struct dv_cuda_stream * stream, uint64_t address, uint32_t value,
                  unsigned int flags),
                 wait_value(stream, address, value, 4, flags, per_thread));
dv_cuda_api_both(cuStreamWaitValue64, _ptsz,
                 (struct dv_cuda_stream * stream, uint64_t address, uint64_t value,
                  unsigned int flags),
                 wait_value(stream, address, value, 8, flags, per_thread));
dv_cuda_api_both(cuStreamWaitValue64_v2, _ptsz,
                 (struct dv_cuda_stream * stream, uint64_t address, uint64_t value,
                  unsigned int flags),
                 wait_value(stream, address, value, 8, flags, per_thread));
dv_cuda_api_both(cuStreamWriteValue32, _ptsz,
                 (struct dv_cuda_stream * stream, uint64_t address, uint32_t value,
                  unsigned int flags),
                 write_value(stream, address, value, 4, flags, per_thread));
dv_cuda_api_both(cuStreamWriteValue32_v2, _ptsz,
                 (struct dv_cuda_stream * stream, uint64_t address, uint32_t value,
                  unsigned int flags),
                 write_value(stream, address, value, 4, flags, per_thread));
dv_cuda_api_both(cuStreamWriteValue64, _ptsz,
                 (struct dv_cuda_stream * stream, uint64_t address, uint64_t value,
                  unsigned int flags),
                 write_value(stream, address, value, 8, flags, per_thread));
dv_cuda_api_both(cuStreamWriteValue64_v2, _ptsz,
                 (struct dv_cuda_stream * stream, uint64_t address, uint64_t value,
                  unsigned int flags),
                 write_value(stream, address, value, 8, flags, per_thread));
