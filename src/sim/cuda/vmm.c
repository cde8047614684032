/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Virtual memory management: physical allocations (cuMemCreate), ranges of addresses, mappings.
 *
 * A physical allocation is charged once, and uncharged when it has neither a handle nor a mapping.
 * Exported, it is a memfd of its contents with a last page that says which allocation of the
 * server it is; importing opens that one. Host-located allocations are not charged.
 */
#include "driver.h"

#include <fcntl.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#define GRANULARITY (UINT64_C(2) << 20)
#define TRAILER_BYTES 4096
#define TRAILER_MAGIC UINT64_C(0x4d454d4d49535644) /* "DVSIMMEM" */

struct physical {
    struct dv_cuobject object;
    struct dv_cuda_ctx *ctx;
    struct dv_cuda_allocation_prop prop;
    uint64_t handle, bytes, token;
    uint32_t refs, maps;
    bool imported;
    struct dv_cucontent *content;
};

struct trailer {
    uint64_t magic, token, bytes;
    struct dv_cuda_allocation_prop prop;
};

static struct physical *of_handle(uint64_t handle)
{
    struct physical *p = (struct physical *)(uintptr_t)handle;
    return dv_cuobject_is(p, DV_CU_PHYSICAL) && p->refs + p->maps ? p : NULL;
}

static void drop_locked(struct physical *p)
{
    if (p->refs || p->maps)
        return;
    if (p->imported)
        dv_cuprocess_call_locked(DV_SIM_CUDA_IPC_CLOSE, &p->handle, sizeof(p->handle), -1, NULL, 0,
                                 NULL, NULL);
    else
        dv_cumem_uncharge_locked(p->handle);
    dv_cucontent_unref(p->content);
    dv_cuobject_free(p);
}

/* ---- physical allocations ------------------------------------------------------------------- */

static int check_prop(const struct dv_cuda_allocation_prop *prop)
{
    DV_CU_REQUIRE(prop && prop->type == DV_CUDA_ALLOCATION_PINNED, DV_CUDA_ERROR_INVALID_VALUE);
    DV_CU_REQUIRE(!(prop->handle_types & ~DV_CUDA_HANDLE_POSIX_FD), DV_CUDA_ERROR_NOT_SUPPORTED);
    if (prop->location.type == DV_CUDA_LOCATION_DEVICE)
        return dv_cudevice_get(prop->location.id) ? 0 : DV_CUDA_ERROR_INVALID_DEVICE;
    return prop->location.type >= DV_CUDA_LOCATION_HOST &&
                   prop->location.type <= DV_CUDA_LOCATION_HOST_NUMA_CURRENT
               ? 0
               : DV_CUDA_ERROR_INVALID_VALUE;
}

/* A context of this process on the device, to charge. */
static struct dv_cuda_ctx *context_on_locked(int device, struct dv_cuda_ctx *preferred)
{
    if (preferred && preferred->device == device)
        return preferred;
    for (struct dv_cuda_ctx *c = P.contexts; c; c = c->next)
        if (c->device == device)
            return c;
    return NULL;
}

static int create_locked(struct dv_cuda_ctx *current, uint64_t bytes,
                         const struct dv_cuda_allocation_prop *prop, struct physical **ret)
{
    struct dv_sim_mem_allocated got = {0};
    struct dv_cuda_ctx *ctx = NULL;
    if (prop->location.type == DV_CUDA_LOCATION_DEVICE) {
        ctx = context_on_locked(prop->location.id, current);
        DV_CU_REQUIRE(ctx, DV_CUDA_ERROR_INVALID_CONTEXT);
        DV_CU_TRY(dv_cumem_charge_locked(ctx, DV_SIM_MEM_VMM, bytes, &got));
    }
    struct physical *p = dv_cuobject_new(DV_CU_PHYSICAL, sizeof(*p));
    struct dv_cucontent *content = dv_cucontent_new(bytes);
    if (!p || !content) {
        dv_cuobject_free(p);
        dv_cucontent_unref(content);
        dv_cumem_uncharge_locked(got.handle);
        return DV_CUDA_ERROR_OUT_OF_MEMORY;
    }
    p->ctx = ctx;
    p->prop = *prop;
    p->handle = got.handle;
    p->bytes = bytes;
    p->refs = 1;
    p->content = content;
    *ret = p;
    return 0;
}

dv_cuda_api(cuMemCreate, uint64_t *ret, size_t bytes, const struct dv_cuda_allocation_prop *prop,
            unsigned long long flags)
{
    DV_CU_ENTER();
    struct dv_cuda_ctx *ctx = NULL;
    struct physical *p;
    DV_CU_REQUIRE(ret && flags == 0 && bytes && bytes % GRANULARITY == 0,
                  DV_CUDA_ERROR_INVALID_VALUE);
    DV_CU_TRY(check_prop(prop));
    dv_cuctx_current(&ctx);
    dv_cu_lock();
    int r = create_locked(ctx, bytes, prop, &p);
    dv_cu_unlock();
    if (r == 0)
        *ret = (uintptr_t)p;
    return r;
}

dv_cuda_api(cuMemRelease, uint64_t handle)
{
    DV_CU_ENTER();
    dv_cu_lock();
    struct physical *p = of_handle(handle);
    bool valid = p && p->refs;
    if (valid) {
        p->refs--;
        drop_locked(p);
    }
    dv_cu_unlock();
    return valid ? 0 : DV_CUDA_ERROR_INVALID_VALUE;
}

dv_cuda_api(cuMemGetAllocationGranularity, size_t *ret, const struct dv_cuda_allocation_prop *prop,
            int option)
{
    DV_CU_ENTER();
    DV_CU_REQUIRE(ret && (option == 0 || option == 1), DV_CUDA_ERROR_INVALID_VALUE);
    DV_CU_TRY(check_prop(prop));
    *ret = GRANULARITY;
    return 0;
}

dv_cuda_api(cuMemGetAllocationPropertiesFromHandle, struct dv_cuda_allocation_prop *ret,
            uint64_t handle)
{
    DV_CU_ENTER();
    dv_cu_lock();
    struct physical *p = of_handle(handle);
    if (p && ret)
        *ret = p->prop;
    dv_cu_unlock();
    return p && ret ? 0 : DV_CUDA_ERROR_INVALID_VALUE;
}

/* ---- addresses ------------------------------------------------------------------------------ */

dv_cuda_api(cuMemAddressReserve, uint64_t *ret, size_t bytes, size_t alignment, uint64_t hint,
            unsigned long long flags)
{
    DV_CU_ENTER();
    DV_CU_REQUIRE(ret && flags == 0 && bytes && bytes % GRANULARITY == 0 &&
                      (alignment & (alignment - 1)) == 0,
                  DV_CUDA_ERROR_INVALID_VALUE);
    void *at = dv_cumem_reserve(bytes, DV_CU_MAX(alignment, GRANULARITY), (void *)(uintptr_t)hint);
    DV_CU_REQUIRE(at, DV_CUDA_ERROR_OUT_OF_MEMORY);
    struct dv_cumem mem = {.address = (uintptr_t)at, .bytes = bytes, .kind = DV_CU_MEM_RESERVED};
    dv_cu_lock();
    int r = dv_cumem_insert_locked(&mem, NULL);
    dv_cu_unlock();
    if (r)
        munmap(at, bytes);
    else
        *ret = mem.address;
    return r;
}

/* A range is one record until something is mapped in it: then pieces of it are. `flags` of a piece
 * counts nothing; the whole is found by walking neighbours. */
static bool all_reserved_locked(uint64_t address, uint64_t bytes)
{
    for (uint64_t at = address; at < address + bytes;) {
        struct dv_cumem *m = dv_cumem_find_locked(at);
        if (!m || m->kind != DV_CU_MEM_RESERVED)
            return false;
        at = m->address + m->bytes;
    }
    return true;
}

/* Cuts records of reserved addresses so that none crosses `address`. */
static int cut_locked(uint64_t address)
{
    struct dv_cumem *m = dv_cumem_find_locked(address);
    if (!m || m->kind != DV_CU_MEM_RESERVED || m->address == address)
        return 0;
    struct dv_cumem rest = {
        .address = address, .bytes = m->address + m->bytes - address, .kind = DV_CU_MEM_RESERVED};
    m->bytes = address - m->address;
    int r = dv_cumem_insert_locked(&rest, NULL);
    if (r)
        m->bytes += rest.bytes;
    return r;
}

static int carve_locked(uint64_t address, uint64_t bytes)
{
    DV_CU_REQUIRE(all_reserved_locked(address, bytes), DV_CUDA_ERROR_INVALID_VALUE);
    DV_CU_TRY(cut_locked(address));
    DV_CU_TRY(cut_locked(address + bytes));
    for (uint64_t at = address; at < address + bytes;) {
        struct dv_cumem *m = dv_cumem_find_locked(at);
        at = m->address + m->bytes;
        dv_cumem_remove_locked(m);
    }
    return 0;
}

dv_cuda_api(cuMemAddressFree, uint64_t address, size_t bytes)
{
    DV_CU_ENTER();
    DV_CU_REQUIRE(address && bytes && bytes % GRANULARITY == 0, DV_CUDA_ERROR_INVALID_VALUE);
    dv_cu_lock();
    int r = carve_locked(address, bytes);
    dv_cu_unlock();
    if (r == 0)
        munmap((void *)(uintptr_t)address, bytes);
    return r;
}

/* ---- mappings ------------------------------------------------------------------------------- */

static int map_locked(uint64_t address, uint64_t bytes, uint64_t offset, uint64_t handle)
{
    struct physical *p = of_handle(handle);
    DV_CU_REQUIRE(p, DV_CUDA_ERROR_INVALID_VALUE);
    DV_CU_REQUIRE(offset <= p->bytes && bytes <= p->bytes - offset, DV_CUDA_ERROR_INVALID_VALUE);
    DV_CU_TRY(carve_locked(address, bytes));
    bool device = p->prop.location.type == DV_CUDA_LOCATION_DEVICE;
    struct dv_cumem mem = {.address = address,
                           .bytes = bytes,
                           .kind = DV_CU_MEM_MAPPED,
                           .device = device ? p->prop.location.id : -1,
                           .owner = p,
                           .content = p->content,
                           .content_offset = offset};
    DV_CU_TRY(dv_cumem_insert_locked(&mem, NULL));
    p->maps++;
    return 0;
}

dv_cuda_api(cuMemMap, uint64_t address, size_t bytes, size_t offset, uint64_t handle,
            unsigned long long flags)
{
    DV_CU_ENTER();
    DV_CU_REQUIRE(flags == 0 && address % GRANULARITY == 0 && bytes && bytes % GRANULARITY == 0 &&
                      offset % GRANULARITY == 0,
                  DV_CUDA_ERROR_INVALID_VALUE);
    dv_cu_lock();
    int r = map_locked(address, bytes, offset, handle);
    dv_cu_unlock();
    return r;
}

void dv_cuvmm_unmap_locked(struct dv_cumem *mem)
{
    struct physical *p = mem->owner;
    struct dv_cumem range = {
        .address = mem->address, .bytes = mem->bytes, .kind = DV_CU_MEM_RESERVED};
    dv_cumem_remove_locked(mem);
    dv_cumem_insert_locked(&range, NULL);
    p->maps--;
    drop_locked(p);
}

/* All mappings within the range, which must be whole ones without gaps. */
static int unmap_locked(uint64_t address, uint64_t bytes)
{
    uint64_t at = address;
    while (at < address + bytes) {
        struct dv_cumem *m = dv_cumem_find_locked(at);
        DV_CU_REQUIRE(m && m->kind == DV_CU_MEM_MAPPED && m->address == at &&
                          m->bytes <= address + bytes - at,
                      DV_CUDA_ERROR_INVALID_VALUE);
        at += m->bytes;
    }
    for (at = address; at < address + bytes;) {
        struct dv_cumem *m = dv_cumem_find_locked(at);
        at += m->bytes;
        dv_cuvmm_unmap_locked(m);
    }
    return 0;
}

dv_cuda_api(cuMemUnmap, uint64_t address, size_t bytes)
{
    DV_CU_ENTER();
    struct dv_cuda_ctx *ctx;
    DV_CU_REQUIRE(bytes, DV_CUDA_ERROR_INVALID_VALUE);
    if (dv_cuctx_current(&ctx) == 0)
        DV_CU_TRY(dv_cuctx_synchronize(ctx));
    dv_cu_lock();
    int r = unmap_locked(address, bytes);
    dv_cu_unlock();
    return r;
}

dv_cuda_api(cuMemSetAccess, uint64_t address, size_t bytes,
            const struct dv_cuda_access_desc *access, size_t n)
{
    DV_CU_ENTER();
    DV_CU_REQUIRE(access && n && bytes, DV_CUDA_ERROR_INVALID_VALUE);
    int r = 0;
    dv_cu_lock();
    for (uint64_t at = address; at < address + bytes && r == 0;) {
        struct dv_cumem *m = dv_cumem_find_locked(at);
        if (!m || m->kind != DV_CU_MEM_MAPPED) {
            r = DV_CUDA_ERROR_INVALID_VALUE;
        } else {
            m->flags = (uint32_t)access[0].flags;
            at = m->address + m->bytes;
        }
    }
    dv_cu_unlock();
    return r;
}

dv_cuda_api(cuMemGetAccess, unsigned long long *ret, const struct dv_cuda_location *location,
            uint64_t address)
{
    DV_CU_ENTER();
    DV_CU_REQUIRE(ret && location, DV_CUDA_ERROR_INVALID_VALUE);
    dv_cu_lock();
    struct dv_cumem *m = dv_cumem_find_locked(address);
    bool is = m && m->kind == DV_CU_MEM_MAPPED;
    if (is)
        *ret = m->flags;
    dv_cu_unlock();
    return is ? 0 : DV_CUDA_ERROR_INVALID_VALUE;
}

dv_cuda_api(cuMemRetainAllocationHandle, uint64_t *ret, void *address)
{
    DV_CU_ENTER();
    DV_CU_REQUIRE(ret, DV_CUDA_ERROR_INVALID_VALUE);
    dv_cu_lock();
    struct dv_cumem *m = dv_cumem_find_locked((uintptr_t)address);
    bool is = m && m->kind == DV_CU_MEM_MAPPED;
    if (is) {
        struct physical *p = m->owner;
        p->refs++;
        *ret = (uintptr_t)p;
    }
    dv_cu_unlock();
    return is ? 0 : DV_CUDA_ERROR_INVALID_VALUE;
}

/* ---- between processes ---------------------------------------------------------------------- */

static int export_locked(uint64_t handle, int *ret_fd)
{
    struct physical *p = of_handle(handle);
    DV_CU_REQUIRE(p && (p->prop.handle_types & DV_CUDA_HANDLE_POSIX_FD) && p->handle,
                  DV_CUDA_ERROR_INVALID_VALUE);
    int fd = dv_cucontent_share(p->content, TRAILER_BYTES);
    DV_CU_REQUIRE(fd >= 0, DV_CUDA_ERROR_OPERATING_SYSTEM);
    if (!p->token && !p->imported)
        DV_CU_TRY(dv_cuprocess_call_locked(DV_SIM_CUDA_IPC_EXPORT, &p->handle, sizeof(p->handle),
                                           fd, &p->token, sizeof(p->token), NULL, NULL));
    struct trailer t = {
        .magic = TRAILER_MAGIC, .token = p->token, .bytes = p->bytes, .prop = p->prop};
    if (pwrite(fd, &t, sizeof(t), (off_t)p->bytes) != (ssize_t)sizeof(t))
        return DV_CUDA_ERROR_OPERATING_SYSTEM;
    *ret_fd = fcntl(fd, F_DUPFD_CLOEXEC, 0);
    return *ret_fd >= 0 ? 0 : DV_CUDA_ERROR_OPERATING_SYSTEM;
}

dv_cuda_api(cuMemExportToShareableHandle, void *ret, uint64_t handle, int type,
            unsigned long long flags)
{
    DV_CU_ENTER();
    int fd = -1;
    DV_CU_REQUIRE(ret && flags == 0, DV_CUDA_ERROR_INVALID_VALUE);
    DV_CU_REQUIRE(type == DV_CUDA_HANDLE_POSIX_FD, DV_CUDA_ERROR_NOT_SUPPORTED);
    dv_cu_lock();
    int r = export_locked(handle, &fd);
    dv_cu_unlock();
    if (r == 0)
        memcpy(ret, &fd, sizeof(fd));
    return r;
}

static int read_trailer(int fd, struct trailer *ret)
{
    struct stat st;
    DV_CU_REQUIRE(fstat(fd, &st) == 0 && st.st_size > TRAILER_BYTES, DV_CUDA_ERROR_INVALID_VALUE);
    uint64_t bytes = (uint64_t)st.st_size - TRAILER_BYTES;
    DV_CU_REQUIRE(pread(fd, ret, sizeof(*ret), (off_t)bytes) == (ssize_t)sizeof(*ret) &&
                      ret->magic == TRAILER_MAGIC && ret->bytes == bytes,
                  DV_CUDA_ERROR_INVALID_VALUE);
    return 0;
}

static int import_locked(int fd, const struct trailer *t, struct physical **ret)
{
    struct dv_sim_ipc_opened got;
    DV_CU_TRY(dv_cuprocess_call_locked(DV_SIM_CUDA_IPC_OPEN, &t->token, sizeof(t->token), -1, &got,
                                       sizeof(got), NULL, NULL));
    struct physical *p = dv_cuobject_new(DV_CU_PHYSICAL, sizeof(*p));
    int own = fcntl(fd, F_DUPFD_CLOEXEC, 0);
    void *base =
        own < 0 ? MAP_FAILED : mmap(NULL, t->bytes, PROT_READ | PROT_WRITE, MAP_SHARED, own, 0);
    struct dv_cucontent *c =
        base != MAP_FAILED ? dv_cucontent_wrap(base, t->bytes, own, false) : NULL;
    if (p && c) {
        p->prop = t->prop;
        p->handle = got.handle;
        p->bytes = t->bytes;
        p->token = t->token;
        p->refs = 1;
        p->imported = true;
        p->content = c;
        *ret = p;
        return 0;
    }
    dv_cuobject_free(p);
    if (base != MAP_FAILED)
        munmap(base, t->bytes);
    if (own >= 0)
        close(own);
    dv_cuprocess_call_locked(DV_SIM_CUDA_IPC_CLOSE, &got.handle, sizeof(got.handle), -1, NULL, 0,
                             NULL, NULL);
    return DV_CUDA_ERROR_OUT_OF_MEMORY;
}

dv_cuda_api(cuMemImportFromShareableHandle, uint64_t *ret, void *shareable, int type)
{
    DV_CU_ENTER();
    struct trailer t;
    struct physical *p;
    int fd = (int)(intptr_t)shareable;
    DV_CU_REQUIRE(ret, DV_CUDA_ERROR_INVALID_VALUE);
    DV_CU_REQUIRE(type == DV_CUDA_HANDLE_POSIX_FD, DV_CUDA_ERROR_NOT_SUPPORTED);
    DV_CU_TRY(read_trailer(fd, &t));
    dv_cu_lock();
    int r = import_locked(fd, &t, &p);
    dv_cu_unlock();
    if (r == 0)
        *ret = (uintptr_t)p;
    return r;
}
