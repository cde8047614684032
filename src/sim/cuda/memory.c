/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The tree of all memory that this process knows by address (a treap), charging, and the plain,
 * managed and host allocation calls.
 */
#include "driver.h"

#include <sys/mman.h>

#define PITCH_ALIGNMENT 512
#define LOW_FIRST UINT64_C(0x10000000) /* addresses of the 32-bit calls */
#define LOW_END UINT64_C(0xf0000000)

/* ---- the tree ------------------------------------------------------------------------------- */

static uint32_t next_rank(void)
{
    static uint64_t state = UINT64_C(0x9e3779b97f4a7c15); /* P.lock */
    state ^= state << 13;
    state ^= state >> 7;
    state ^= state << 17;
    return (uint32_t)(state >> 32);
}

static struct dv_cumem *merge(struct dv_cumem *a, struct dv_cumem *b)
{
    if (!a || !b)
        return a ? a : b;
    if (a->rank > b->rank) {
        a->right = merge(a->right, b);
        return a;
    }
    b->left = merge(a, b->left);
    return b;
}

/* *ret_low: addresses below `address`; *ret_high: the others. */
static void split(struct dv_cumem *t, uint64_t address, struct dv_cumem **ret_low,
                  struct dv_cumem **ret_high)
{
    if (!t) {
        *ret_low = *ret_high = NULL;
    } else if (t->address < address) {
        split(t->right, address, &t->right, ret_high);
        *ret_low = t;
    } else {
        split(t->left, address, ret_low, &t->left);
        *ret_high = t;
    }
}

struct dv_cumem *dv_cumem_find_locked(uint64_t address)
{
    struct dv_cumem *best = NULL;
    for (struct dv_cumem *t = P.memory; t;) {
        if (t->address <= address) {
            best = t;
            t = t->right;
        } else {
            t = t->left;
        }
    }
    return best && address - best->address < best->bytes ? best : NULL;
}

struct dv_cumem *dv_cumem_next_locked(uint64_t address)
{
    struct dv_cumem *best = NULL;
    for (struct dv_cumem *t = P.memory; t;) {
        if (t->address >= address) {
            best = t;
            t = t->left;
        } else {
            t = t->right;
        }
    }
    return best;
}

int dv_cumem_insert_locked(const struct dv_cumem *mem, struct dv_cumem **ret)
{
    struct dv_cumem *m = malloc(sizeof(*m)), *low, *high;
    DV_CU_REQUIRE(m, DV_CUDA_ERROR_OUT_OF_MEMORY);
    *m = *mem;
    m->left = m->right = NULL;
    m->rank = next_rank();
    m->id = ++P.ids;
    if (m->content)
        dv_cucontent_ref(m->content);
    split(P.memory, m->address, &low, &high);
    P.memory = merge(merge(low, m), high);
    if (ret)
        *ret = m;
    return 0;
}

void dv_cumem_remove_locked(struct dv_cumem *mem)
{
    struct dv_cumem *low, *rest, *self, *high;
    split(P.memory, mem->address, &low, &rest);
    split(rest, mem->address + 1, &self, &high);
    P.memory = merge(low, high);
    dv_cucontent_unref(mem->content);
    free(mem);
}

void *dv_cumem_reserve(uint64_t bytes, uint64_t alignment, void *hint)
{
    if (bytes > (UINT64_C(1) << 46) || alignment > (UINT64_C(1) << 40))
        return NULL;
    uint8_t *p = mmap(hint, bytes + alignment, PROT_NONE,
                      MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
    if (p == MAP_FAILED)
        return NULL;
    uint8_t *at = (uint8_t *)(((uintptr_t)p + alignment - 1) & ~(uintptr_t)(alignment - 1));
    if (at > p)
        munmap(p, (size_t)(at - p));
    if (at + bytes < p + bytes + alignment)
        munmap(at + bytes, (size_t)(p + alignment - at));
    return at;
}

/* ---- charging ------------------------------------------------------------------------------- */

int dv_cumem_charge_locked(struct dv_cuda_ctx *ctx, enum dv_sim_mem_kind kind, uint64_t bytes,
                           struct dv_sim_mem_allocated *ret)
{
    struct dv_sim_mem_alloc ask = {.ctx = ctx->server, .kind = kind, .bytes = bytes};
    int r = dv_cuprocess_call_locked(DV_SIM_CUDA_MEM_ALLOC, &ask, sizeof(ask), -1, ret,
                                     sizeof(*ret), NULL, NULL);
    if (r != DV_CUDA_ERROR_OUT_OF_MEMORY)
        return r;
    dv_cupool_trim_device_locked(ctx->device, true);
    return dv_cuprocess_call_locked(DV_SIM_CUDA_MEM_ALLOC, &ask, sizeof(ask), -1, ret, sizeof(*ret),
                                    NULL, NULL);
}

void dv_cumem_uncharge_locked(uint64_t handle)
{
    if (handle)
        dv_cuprocess_call_locked(DV_SIM_CUDA_MEM_FREE, &handle, sizeof(handle), -1, NULL, 0, NULL,
                                 NULL);
}

/* ---- device memory -------------------------------------------------------------------------- */

static int alloc_locked(struct dv_cuda_ctx *ctx, uint64_t bytes, uint64_t address,
                        uint64_t *ret_address)
{
    struct dv_sim_mem_allocated got;
    DV_CU_TRY(dv_cumem_charge_locked(ctx, DV_SIM_MEM_PLAIN, bytes, &got));
    struct dv_cumem mem = {.address = address ? address : got.address,
                           .bytes = bytes,
                           .kind = DV_CU_MEM_DEVICE,
                           .device = ctx->device,
                           .ctx = ctx,
                           .handle = got.handle,
                           .content = dv_cucontent_new(bytes)};
    int r = mem.content ? dv_cumem_insert_locked(&mem, NULL) : DV_CUDA_ERROR_OUT_OF_MEMORY;
    dv_cucontent_unref(mem.content);
    if (r) {
        dv_cumem_uncharge_locked(got.handle);
        return r;
    }
    *ret_address = mem.address;
    return 0;
}

static int alloc(uint64_t *ret_address, uint64_t bytes)
{
    struct dv_cuda_ctx *ctx;
    DV_CU_REQUIRE(ret_address && bytes, DV_CUDA_ERROR_INVALID_VALUE);
    DV_CU_TRY(dv_cuctx_current(&ctx));
    DV_CU_TRY(dv_cucapture_unsafe());
    dv_cu_lock();
    int r = alloc_locked(ctx, bytes, 0, ret_address);
    dv_cu_unlock();
    return r;
}

dv_cuda_api(cuMemAlloc_v2, uint64_t *ret_address, size_t bytes)
{
    DV_CU_ENTER();
    return alloc(ret_address, bytes);
}

/* Below 4 GiB, where the addresses of the first binary interface live. 0 = no gap. */
static uint64_t low_gap_locked(uint64_t bytes)
{
    uint64_t at = LOW_FIRST;
    for (struct dv_cumem *m = dv_cumem_next_locked(at); m && m->address < at + bytes;
         m = dv_cumem_next_locked(at))
        at = (m->address + m->bytes + PITCH_ALIGNMENT - 1) & ~(uint64_t)(PITCH_ALIGNMENT - 1);
    return at + bytes <= LOW_END ? at : 0;
}

static int alloc_low(uint32_t *ret_address, uint64_t bytes)
{
    struct dv_cuda_ctx *ctx;
    uint64_t address = 0;
    DV_CU_REQUIRE(ret_address && bytes, DV_CUDA_ERROR_INVALID_VALUE);
    DV_CU_TRY(dv_cuctx_current(&ctx));
    DV_CU_TRY(dv_cucapture_unsafe());
    dv_cu_lock();
    uint64_t gap = low_gap_locked(bytes);
    int r = gap ? alloc_locked(ctx, bytes, gap, &address) : DV_CUDA_ERROR_OUT_OF_MEMORY;
    dv_cu_unlock();
    if (r == 0)
        *ret_address = (uint32_t)address;
    return r;
}

dv_cuda_api(cuMemAlloc, uint32_t *ret_address, unsigned int bytes)
{
    DV_CU_ENTER();
    return alloc_low(ret_address, bytes);
}

static int pitch_of(uint64_t width, uint64_t height, unsigned int element, uint64_t *ret)
{
    DV_CU_REQUIRE(width && height && (element == 4 || element == 8 || element == 16),
                  DV_CUDA_ERROR_INVALID_VALUE);
    DV_CU_REQUIRE(width <= INT32_MAX, DV_CUDA_ERROR_INVALID_VALUE);
    *ret = (width + PITCH_ALIGNMENT - 1) & ~(uint64_t)(PITCH_ALIGNMENT - 1);
    DV_CU_REQUIRE(height <= UINT64_MAX / *ret, DV_CUDA_ERROR_INVALID_VALUE);
    return 0;
}

dv_cuda_api(cuMemAllocPitch_v2, uint64_t *ret_address, size_t *ret_pitch, size_t width,
            size_t height, unsigned int element)
{
    DV_CU_ENTER();
    uint64_t pitch;
    DV_CU_REQUIRE(ret_pitch, DV_CUDA_ERROR_INVALID_VALUE);
    DV_CU_TRY(pitch_of(width, height, element, &pitch));
    DV_CU_TRY(alloc(ret_address, pitch * height));
    *ret_pitch = pitch;
    return 0;
}

dv_cuda_api(cuMemAllocPitch, uint32_t *ret_address, unsigned int *ret_pitch, unsigned int width,
            unsigned int height, unsigned int element)
{
    DV_CU_ENTER();
    uint64_t pitch;
    DV_CU_REQUIRE(ret_pitch, DV_CUDA_ERROR_INVALID_VALUE);
    DV_CU_TRY(pitch_of(width, height, element, &pitch));
    DV_CU_TRY(alloc_low(ret_address, pitch * height));
    *ret_pitch = (unsigned int)pitch;
    return 0;
}

/* ---- managed memory: real memory of this process, charged to the device ---------------------- */

static int map_real(uint64_t bytes, struct dv_cucontent **ret)
{
    void *base = mmap(NULL, bytes, PROT_READ | PROT_WRITE,
                      MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
    DV_CU_REQUIRE(base != MAP_FAILED, DV_CUDA_ERROR_OUT_OF_MEMORY);
    *ret = dv_cucontent_wrap(base, bytes, -1, false);
    if (*ret)
        return 0;
    munmap(base, bytes);
    return DV_CUDA_ERROR_OUT_OF_MEMORY;
}

static int insert_real_locked(struct dv_cumem *mem, uint64_t bytes)
{
    DV_CU_TRY(map_real(bytes, &mem->content));
    mem->address = (uintptr_t)mem->content->base;
    mem->bytes = bytes;
    int r = dv_cumem_insert_locked(mem, NULL);
    dv_cucontent_unref(mem->content);
    return r;
}

dv_cuda_api(cuMemAllocManaged, uint64_t *ret_address, size_t bytes, unsigned int flags)
{
    DV_CU_ENTER();
    struct dv_cuda_ctx *ctx;
    struct dv_sim_mem_allocated got;
    DV_CU_REQUIRE(ret_address && bytes &&
                      (flags == DV_CUDA_MEM_ATTACH_GLOBAL || flags == DV_CUDA_MEM_ATTACH_HOST),
                  DV_CUDA_ERROR_INVALID_VALUE);
    DV_CU_TRY(dv_cuctx_current(&ctx));
    DV_CU_TRY(dv_cucapture_unsafe());
    dv_cu_lock();
    struct dv_cumem mem = {.kind = DV_CU_MEM_MANAGED, .device = ctx->device, .ctx = ctx};
    int r = dv_cumem_charge_locked(ctx, DV_SIM_MEM_MANAGED, bytes, &got);
    if (r == 0) {
        mem.handle = got.handle;
        r = insert_real_locked(&mem, bytes);
        if (r)
            dv_cumem_uncharge_locked(got.handle);
    }
    dv_cu_unlock();
    if (r == 0)
        *ret_address = mem.address;
    return r;
}

/* ---- freeing -------------------------------------------------------------------------------- */

static void free_locked(struct dv_cumem *m)
{
    uint64_t handle = m->handle;
    bool imported = m->kind == DV_CU_MEM_IPC;
    dv_cumem_remove_locked(m);
    if (imported)
        dv_cuprocess_call_locked(DV_SIM_CUDA_IPC_CLOSE, &handle, sizeof(handle), -1, NULL, 0, NULL,
                                 NULL);
    else
        dv_cumem_uncharge_locked(handle);
}

void dv_cumem_free_all_locked(struct dv_cuda_ctx *ctx)
{
    struct dv_cumem *next;
    dv_cupool_context_gone_locked(ctx);
    for (struct dv_cumem *m = dv_cumem_next_locked(0); m; m = next) {
        next = dv_cumem_next_locked(m->address + 1);
        if (m->ctx == ctx)
            free_locked(m);
    }
}

/* Freeing waits for the work of the memory's context, as the driver does. */
int dv_cumem_free(uint64_t address)
{
    if (!address)
        return 0;
    dv_cu_lock();
    struct dv_cumem *m = dv_cumem_find_locked(address);
    struct dv_cuda_ctx *ctx = m ? m->ctx : NULL;
    dv_cu_unlock();
    if (ctx && dv_cuobject_is(ctx, DV_CU_CTX))
        DV_CU_TRY(dv_cuctx_synchronize(ctx));
    dv_cu_lock();
    m = dv_cumem_find_locked(address);
    int r = DV_CUDA_ERROR_INVALID_VALUE;
    if (m && m->address == address &&
        (m->kind == DV_CU_MEM_DEVICE || m->kind == DV_CU_MEM_MANAGED)) {
        free_locked(m);
        r = 0;
    } else if (m && m->address == address && m->kind == DV_CU_MEM_POOL) {
        dv_cupool_free_locked(m);
        r = 0;
    }
    dv_cu_unlock();
    if (r == 0)
        dv_cupool_sync();
    return r;
}

static int mem_free(uint64_t address)
{
    struct dv_cuda_ctx *ctx;
    DV_CU_TRY(dv_cuctx_current(&ctx));
    DV_CU_TRY(dv_cucapture_unsafe());
    return dv_cumem_free(address);
}

dv_cuda_api(cuMemFree_v2, uint64_t address)
{
    DV_CU_ENTER();
    return mem_free(address);
}

dv_cuda_api(cuMemFree, uint32_t address)
{
    DV_CU_ENTER();
    return mem_free(address);
}

/* ---- host memory: the device's address of it is its own -------------------------------------- */

static int host_alloc(void **ret, size_t bytes, unsigned int flags)
{
    struct dv_cuda_ctx *ctx;
    DV_CU_REQUIRE(ret && flags <= 7, DV_CUDA_ERROR_INVALID_VALUE);
    DV_CU_TRY(dv_cuctx_current(&ctx));
    *ret = NULL;
    if (!bytes)
        return 0;
    struct dv_cumem mem = {
        .kind = DV_CU_MEM_HOST, .device = ctx->device, .ctx = ctx, .flags = flags};
    dv_cu_lock();
    int r = insert_real_locked(&mem, bytes);
    dv_cu_unlock();
    if (r == 0)
        memcpy(ret, &mem.address, sizeof(*ret));
    return r;
}

dv_cuda_api(cuMemHostAlloc, void **ret, size_t bytes, unsigned int flags)
{
    DV_CU_ENTER();
    return host_alloc(ret, bytes, flags);
}

dv_cuda_api(cuMemAllocHost_v2, void **ret, size_t bytes)
{
    DV_CU_ENTER();
    return host_alloc(ret, bytes, DV_CUDA_HOST_ALLOC_DEVICE_MAP);
}

dv_cuda_api(cuMemAllocHost, void **ret, unsigned int bytes)
{
    DV_CU_ENTER();
    return host_alloc(ret, bytes, DV_CUDA_HOST_ALLOC_DEVICE_MAP);
}

static int host_forget(void *address, enum dv_cumem_kind kind, int error)
{
    dv_cu_lock();
    struct dv_cumem *m = dv_cumem_find_locked((uintptr_t)address);
    bool is = m && m->kind == kind && m->address == (uintptr_t)address;
    if (is)
        dv_cumem_remove_locked(m);
    dv_cu_unlock();
    return is ? 0 : error;
}

dv_cuda_api(cuMemFreeHost, void *address)
{
    DV_CU_ENTER();
    return address ? host_forget(address, DV_CU_MEM_HOST, DV_CUDA_ERROR_INVALID_VALUE) : 0;
}

dv_cuda_api(cuMemHostUnregister, void *address)
{
    DV_CU_ENTER();
    return host_forget(address, DV_CU_MEM_REGISTERED, DV_CUDA_ERROR_HOST_MEMORY_NOT_REGISTERED);
}

static int host_register(void *address, size_t bytes, unsigned int flags)
{
    struct dv_cuda_ctx *ctx;
    DV_CU_REQUIRE(address && bytes && flags <= 15, DV_CUDA_ERROR_INVALID_VALUE);
    DV_CU_TRY(dv_cuctx_current(&ctx));
    struct dv_cumem mem = {.address = (uintptr_t)address,
                           .bytes = bytes,
                           .kind = DV_CU_MEM_REGISTERED,
                           .device = ctx->device,
                           .ctx = ctx,
                           .flags = flags};
    int r = DV_CUDA_ERROR_HOST_MEMORY_ALREADY_REGISTERED;
    dv_cu_lock();
    struct dv_cumem *next = dv_cumem_next_locked(mem.address);
    if (!dv_cumem_find_locked(mem.address) && (!next || next->address >= mem.address + bytes)) {
        mem.content = dv_cucontent_wrap(address, bytes, -1, true);
        r = mem.content ? dv_cumem_insert_locked(&mem, NULL) : DV_CUDA_ERROR_OUT_OF_MEMORY;
        dv_cucontent_unref(mem.content);
    }
    dv_cu_unlock();
    return r;
}

dv_cuda_api(cuMemHostRegister, void *address, unsigned int bytes, unsigned int flags)
{
    DV_CU_ENTER();
    return host_register(address, bytes, flags);
}

dv_cuda_api(cuMemHostRegister_v2, void *address, size_t bytes, unsigned int flags)
{
    DV_CU_ENTER();
    return host_register(address, bytes, flags);
}

static bool host_kind(const struct dv_cumem *m)
{
    return m && (m->kind == DV_CU_MEM_HOST || m->kind == DV_CU_MEM_REGISTERED);
}

dv_cuda_api(cuMemHostGetDevicePointer_v2, uint64_t *ret, void *address, unsigned int flags)
{
    DV_CU_ENTER();
    DV_CU_REQUIRE(ret && flags == 0, DV_CUDA_ERROR_INVALID_VALUE);
    dv_cu_lock();
    bool is = host_kind(dv_cumem_find_locked((uintptr_t)address));
    dv_cu_unlock();
    DV_CU_REQUIRE(is, DV_CUDA_ERROR_INVALID_VALUE);
    *ret = (uintptr_t)address;
    return 0;
}

dv_cuda_api(cuMemHostGetFlags, unsigned int *ret, void *address)
{
    DV_CU_ENTER();
    DV_CU_REQUIRE(ret, DV_CUDA_ERROR_INVALID_VALUE);
    dv_cu_lock();
    struct dv_cumem *m = dv_cumem_find_locked((uintptr_t)address);
    bool is = host_kind(m);
    if (is)
        *ret = m->flags;
    dv_cu_unlock();
    return is ? 0 : DV_CUDA_ERROR_INVALID_VALUE;
}
