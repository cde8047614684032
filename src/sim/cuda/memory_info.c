/* SPDX-License-Identifier: Apache-2.0 */
/* What is known of memory: how much is free, what a pointer points at; and advice about it. */
#include "driver.h"

static int info(uint64_t *ret_free, uint64_t *ret_total)
{
    struct dv_cuda_ctx *ctx;
    struct dv_sim_mem_info got;
    DV_CU_TRY(dv_cuctx_current(&ctx));
    uint32_t device = P.device[ctx->device].server_index;
    DV_CU_TRY(dv_cuprocess_call(DV_SIM_CUDA_MEM_INFO, &device, sizeof(device), &got, sizeof(got)));
    *ret_free = got.free_bytes;
    *ret_total = got.total_bytes;
    return 0;
}

dv_cuda_api(cuMemGetInfo_v2, size_t *ret_free, size_t *ret_total)
{
    DV_CU_ENTER();
    uint64_t f, t;
    DV_CU_REQUIRE(ret_free && ret_total, DV_CUDA_ERROR_INVALID_VALUE);
    DV_CU_TRY(info(&f, &t));
    *ret_free = f;
    *ret_total = t;
    return 0;
}

dv_cuda_api(cuMemGetInfo, unsigned int *ret_free, unsigned int *ret_total)
{
    DV_CU_ENTER();
    uint64_t f, t;
    DV_CU_REQUIRE(ret_free && ret_total, DV_CUDA_ERROR_INVALID_VALUE);
    DV_CU_TRY(info(&f, &t));
    *ret_free = (unsigned int)DV_CU_MIN(f, UINT32_MAX);
    *ret_total = (unsigned int)DV_CU_MIN(t, UINT32_MAX);
    return 0;
}

/* A copy of the record that covers an address. */
static bool look(uint64_t address, struct dv_cumem *ret)
{
    dv_cu_lock();
    struct dv_cumem *m = dv_cumem_find_locked(address);
    if (m)
        *ret = *m;
    dv_cu_unlock();
    return m != NULL;
}

dv_cuda_api(cuMemGetAddressRange_v2, uint64_t *ret_base, size_t *ret_bytes, uint64_t address)
{
    DV_CU_ENTER();
    struct dv_cumem m;
    DV_CU_REQUIRE(look(address, &m), DV_CUDA_ERROR_NOT_FOUND);
    if (ret_base)
        *ret_base = m.address;
    if (ret_bytes)
        *ret_bytes = m.bytes;
    return 0;
}

dv_cuda_api(cuMemGetAddressRange, uint32_t *ret_base, unsigned int *ret_bytes, uint32_t address)
{
    DV_CU_ENTER();
    struct dv_cumem m;
    DV_CU_REQUIRE(look(address, &m), DV_CUDA_ERROR_NOT_FOUND);
    if (ret_base)
        *ret_base = (uint32_t)m.address;
    if (ret_bytes)
        *ret_bytes = (unsigned int)m.bytes;
    return 0;
}

/* ---- pointer attributes --------------------------------------------------------------------- */

static bool on_host(const struct dv_cumem *m)
{
    return m->kind == DV_CU_MEM_HOST || m->kind == DV_CU_MEM_REGISTERED;
}

static void put(void *ret, const void *value, size_t size)
{
    memcpy(ret, value, size);
}

static int attribute_of_range(void *ret, int attribute, const struct dv_cumem *m)
{
    uint64_t size = m->bytes;
    switch (attribute) {
    case DV_CUDA_POINTER_RANGE_START:
    case DV_CUDA_POINTER_MAPPING_BASE:
        put(ret, &m->address, sizeof(m->address));
        return 0;
    case DV_CUDA_POINTER_RANGE_SIZE:
    case DV_CUDA_POINTER_MAPPING_SIZE:
        put(ret, &size, sizeof(size));
        return 0;
    case DV_CUDA_POINTER_BUFFER_ID:
    case DV_CUDA_POINTER_BLOCK_ID:
        put(ret, &m->id, sizeof(m->id));
        return 0;
    case DV_CUDA_POINTER_ALLOWED_HANDLE_TYPES:
        size = m->kind == DV_CU_MEM_MAPPED ? DV_CUDA_HANDLE_POSIX_FD : 0;
        put(ret, &size, sizeof(size));
        return 0;
    case DV_CUDA_POINTER_POOL: {
        const void *pool = m->kind == DV_CU_MEM_POOL ? dv_cupool_of(m) : NULL;
        put(ret, &pool, sizeof(pool));
        return 0;
    }
    default:
        return DV_CUDA_ERROR_INVALID_VALUE;
    }
}

static int attribute_of(void *ret, int attribute, uint64_t address, const struct dv_cumem *m)
{
    uint32_t type = on_host(m) ? DV_CUDA_MEMORY_HOST : DV_CUDA_MEMORY_DEVICE;
    bool managed = m->kind == DV_CU_MEM_MANAGED, yes = true, no = false;
    uint32_t access = DV_CUDA_ACCESS_READ_WRITE, zero = 0;
    switch (attribute) {
    case DV_CUDA_POINTER_CONTEXT:
        put(ret, &m->ctx, sizeof(void *));
        return 0;
    case DV_CUDA_POINTER_MEMORY_TYPE:
        put(ret, &type, sizeof(type));
        return 0;
    case DV_CUDA_POINTER_DEVICE_POINTER:
        put(ret, &address, sizeof(address));
        return 0;
    case DV_CUDA_POINTER_HOST_POINTER:
        DV_CU_REQUIRE(on_host(m) || managed, DV_CUDA_ERROR_INVALID_VALUE);
        put(ret, &address, sizeof(address));
        return 0;
    case DV_CUDA_POINTER_SYNC_MEMOPS:
        put(ret, &zero, sizeof(zero));
        return 0;
    case DV_CUDA_POINTER_IS_MANAGED:
        put(ret, &managed, sizeof(managed));
        return 0;
    case DV_CUDA_POINTER_DEVICE_ORDINAL:
        put(ret, &m->device, sizeof(m->device));
        return 0;
    case DV_CUDA_POINTER_IS_IPC_CAPABLE:
        put(ret, m->kind == DV_CU_MEM_DEVICE ? &yes : &no, sizeof(yes));
        return 0;
    case DV_CUDA_POINTER_MAPPED:
        put(ret, m->kind == DV_CU_MEM_RESERVED ? &no : &yes, sizeof(yes));
        return 0;
    case DV_CUDA_POINTER_IS_RDMA_CAPABLE:
        put(ret, &no, sizeof(no));
        return 0;
    case DV_CUDA_POINTER_ACCESS_FLAGS:
        put(ret, &access, sizeof(access));
        return 0;
    default:
        return attribute_of_range(ret, attribute, m);
    }
}

dv_cuda_api(cuPointerGetAttribute, void *ret, int attribute, uint64_t address)
{
    DV_CU_ENTER();
    struct dv_cumem m;
    DV_CU_REQUIRE(ret, DV_CUDA_ERROR_INVALID_VALUE);
    DV_CU_REQUIRE(look(address, &m), DV_CUDA_ERROR_INVALID_VALUE);
    return attribute_of(ret, attribute, address, &m);
}

/* Bytes that an attribute takes. */
static size_t attribute_size(int attribute)
{
    switch (attribute) {
    case DV_CUDA_POINTER_IS_MANAGED:
    case DV_CUDA_POINTER_IS_IPC_CAPABLE:
    case DV_CUDA_POINTER_MAPPED:
    case DV_CUDA_POINTER_IS_RDMA_CAPABLE:
        return sizeof(bool);
    case DV_CUDA_POINTER_MEMORY_TYPE:
    case DV_CUDA_POINTER_SYNC_MEMOPS:
    case DV_CUDA_POINTER_DEVICE_ORDINAL:
    case DV_CUDA_POINTER_ACCESS_FLAGS:
        return sizeof(uint32_t);
    default:
        return sizeof(uint64_t);
    }
}

/* Of a pointer that is not ours everything is 0, and that is no error. */
dv_cuda_api(cuPointerGetAttributes, unsigned int n, const int *attributes, void **ret,
            uint64_t address)
{
    DV_CU_ENTER();
    struct dv_cumem m;
    DV_CU_REQUIRE(n && attributes && ret, DV_CUDA_ERROR_INVALID_VALUE);
    bool known = look(address, &m);
    for (unsigned int i = 0; i < n; i++) {
        DV_CU_REQUIRE(ret[i] && attributes[i] >= DV_CUDA_POINTER_CONTEXT &&
                          attributes[i] <= DV_CUDA_POINTER_BLOCK_ID,
                      DV_CUDA_ERROR_INVALID_VALUE);
        if (known && attribute_of(ret[i], attributes[i], address, &m) == 0)
            continue;
        int none = -2;
        memset(ret[i], 0, attribute_size(attributes[i]));
        if (attributes[i] == DV_CUDA_POINTER_DEVICE_ORDINAL)
            memcpy(ret[i], &none, sizeof(none));
    }
    return 0;
}

dv_cuda_api(cuPointerSetAttribute, const void *value, int attribute, uint64_t address)
{
    DV_CU_ENTER();
    struct dv_cumem m;
    DV_CU_REQUIRE(value && attribute == DV_CUDA_POINTER_SYNC_MEMOPS, DV_CUDA_ERROR_INVALID_VALUE);
    DV_CU_REQUIRE(look(address, &m), DV_CUDA_ERROR_INVALID_VALUE);
    return 0;
}

/* ---- advice: accepted for managed memory, which is always where it is wanted ----------------- */

static int advise(uint64_t address, size_t bytes)
{
    struct dv_cumem m;
    DV_CU_REQUIRE(bytes && look(address, &m), DV_CUDA_ERROR_INVALID_VALUE);
    DV_CU_REQUIRE(m.kind == DV_CU_MEM_MANAGED && bytes <= m.bytes - (address - m.address),
                  DV_CUDA_ERROR_INVALID_VALUE);
    return 0;
}

dv_cuda_api(cuMemAdvise, uint64_t address, size_t bytes, int advice, int device)
{
    DV_CU_ENTER();
    DV_CU_REQUIRE(advice >= 1 && advice <= 6, DV_CUDA_ERROR_INVALID_VALUE);
    return advise(address, bytes);
}

dv_cuda_api(cuMemAdvise_v2, uint64_t address, size_t bytes, int advice,
            struct dv_cuda_location location)
{
    DV_CU_ENTER();
    DV_CU_REQUIRE(advice >= 1 && advice <= 6, DV_CUDA_ERROR_INVALID_VALUE);
    return advise(address, bytes);
}

static int prefetch(uint64_t address, size_t bytes, bool to_device, struct dv_cuda_stream *handle,
                    bool per_thread)
{
    struct dv_cuda_stream *s;
    DV_CU_TRY(advise(address, bytes));
    DV_CU_TRY(dv_custream_resolve(handle, per_thread, &s));
    if (dv_cucapture_active(s))
        return dv_cucapture_forbid(s);
    return dv_curing_submit(s, DV_SIM_CMD_COPY, bytes,
                            to_device ? DV_SIM_COPY_H2D : DV_SIM_COPY_D2H, NULL);
}

dv_cuda_api_both(cuMemPrefetchAsync, _ptsz,
                 (uint64_t address, size_t bytes, int device, struct dv_cuda_stream *stream),
                 prefetch(address, bytes, device >= 0, stream, per_thread));
dv_cuda_api_both(cuMemPrefetchAsync_v2, _ptsz,
                 (uint64_t address, size_t bytes, struct dv_cuda_location location,
                  unsigned int flags, struct dv_cuda_stream *stream),
                 prefetch(address, bytes, location.type == DV_CUDA_LOCATION_DEVICE, stream,
                          per_thread));
