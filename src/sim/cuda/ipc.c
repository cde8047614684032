/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Memory for other processes: cuIpcGetMemHandle and the rest. The handle holds the server's token
 * and where in the allocation the pointer stands; the contents are a memfd that the server passes
 * on.
 */
#include "driver.h"

#include <sys/mman.h>
#include <unistd.h>

#define HANDLE_MAGIC UINT64_C(0x4350494d49535644) /* "DVSIMIPC" */

struct handle {
    uint64_t magic, token, bytes, pad[5];
};
_Static_assert(sizeof(struct handle) == sizeof(struct dv_cuda_ipc_handle), "ABI");

static int export_locked(uint64_t address, struct handle *ret)
{
    struct dv_cumem *m = dv_cumem_find_locked(address);
    DV_CU_REQUIRE(m && m->kind == DV_CU_MEM_DEVICE, DV_CUDA_ERROR_INVALID_VALUE);
    int fd = dv_cucontent_share(m->content, 0);
    DV_CU_REQUIRE(fd >= 0, DV_CUDA_ERROR_OPERATING_SYSTEM);
    *ret = (struct handle){.magic = HANDLE_MAGIC, .bytes = m->bytes};
    return dv_cuprocess_call_locked(DV_SIM_CUDA_IPC_EXPORT, &m->handle, sizeof(m->handle), fd,
                                    &ret->token, sizeof(ret->token), NULL, NULL);
}

dv_cuda_api(cuIpcGetMemHandle, struct dv_cuda_ipc_handle *ret, uint64_t address)
{
    DV_CU_ENTER();
    struct handle h;
    DV_CU_REQUIRE(ret, DV_CUDA_ERROR_INVALID_VALUE);
    dv_cu_lock();
    int r = export_locked(address, &h);
    dv_cu_unlock();
    if (r == 0)
        memcpy(ret, &h, sizeof(*ret));
    return r;
}

static int map_locked(struct dv_cuda_ctx *ctx, const struct handle *h,
                      const struct dv_sim_ipc_opened *got, int fd, uint64_t *ret_address)
{
    void *base = mmap(NULL, h->bytes, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
    DV_CU_REQUIRE(base != MAP_FAILED, DV_CUDA_ERROR_MAP_FAILED);
    struct dv_cumem mem = {.address = got->address,
                           .bytes = h->bytes,
                           .kind = DV_CU_MEM_IPC,
                           .device = ctx->device,
                           .ctx = ctx,
                           .handle = got->handle,
                           .content = dv_cucontent_wrap(base, h->bytes, fd, false)};
    if (!mem.content) {
        munmap(base, h->bytes);
        return DV_CUDA_ERROR_OUT_OF_MEMORY;
    }
    int r = dv_cumem_insert_locked(&mem, NULL);
    if (r)
        mem.content->fd = -1; /* the caller's still */
    dv_cucontent_unref(mem.content);
    if (r == 0)
        *ret_address = mem.address;
    return r;
}

static int open_locked(struct dv_cuda_ctx *ctx, const struct handle *h, uint64_t *ret_address)
{
    struct dv_sim_ipc_opened got;
    int fd = -1;
    DV_CU_TRY(dv_cuprocess_call_locked(DV_SIM_CUDA_IPC_OPEN, &h->token, sizeof(h->token), -1, &got,
                                       sizeof(got), NULL, &fd));
    int r = fd >= 0 ? map_locked(ctx, h, &got, fd, ret_address) : DV_CUDA_ERROR_MAP_FAILED;
    if (r == 0)
        return 0;
    if (fd >= 0)
        close(fd);
    dv_cuprocess_call_locked(DV_SIM_CUDA_IPC_CLOSE, &got.handle, sizeof(got.handle), -1, NULL, 0,
                             NULL, NULL);
    return r;
}

static int open_handle(uint64_t *ret_address, const struct dv_cuda_ipc_handle *bytes,
                       unsigned int flags)
{
    struct dv_cuda_ctx *ctx;
    struct handle h;
    memcpy(&h, bytes, sizeof(h));
    DV_CU_REQUIRE(ret_address && flags == 1, DV_CUDA_ERROR_INVALID_VALUE);
    DV_CU_REQUIRE(h.magic == HANDLE_MAGIC && h.bytes, DV_CUDA_ERROR_INVALID_VALUE);
    DV_CU_TRY(dv_cuctx_current(&ctx));
    dv_cu_lock();
    int r = open_locked(ctx, &h, ret_address);
    dv_cu_unlock();
    return r;
}

dv_cuda_api(cuIpcOpenMemHandle, uint64_t *ret_address, struct dv_cuda_ipc_handle handle,
            unsigned int flags)
{
    DV_CU_ENTER();
    return open_handle(ret_address, &handle, flags);
}

dv_cuda_api(cuIpcOpenMemHandle_v2, uint64_t *ret_address, struct dv_cuda_ipc_handle handle,
            unsigned int flags)
{
    DV_CU_ENTER();
    return open_handle(ret_address, &handle, flags);
}

dv_cuda_api(cuIpcCloseMemHandle, uint64_t address)
{
    DV_CU_ENTER();
    dv_cu_lock();
    struct dv_cumem *m = dv_cumem_find_locked(address);
    bool is = m && m->kind == DV_CU_MEM_IPC && m->address == address;
    if (is) {
        uint64_t handle = m->handle;
        dv_cumem_remove_locked(m);
        dv_cuprocess_call_locked(DV_SIM_CUDA_IPC_CLOSE, &handle, sizeof(handle), -1, NULL, 0, NULL,
                                 NULL);
    }
    dv_cu_unlock();
    return is ? 0 : DV_CUDA_ERROR_INVALID_VALUE;
}
