/* SPDX-License-Identifier: Apache-2.0 */
/* Arrays and mipmapped arrays: rows of bytes behind a descriptor, charged as they are. */
#include "driver.h"

#define ROW_ALIGNMENT 32
#define ARRAY_ALIGNMENT 512
#define CUBE_FACES 6
#define LEVELS_MAX 17

struct dv_cuda_mipmapped_array {
    struct dv_cuobject object;
    struct dv_cuda_ctx *ctx;
    struct dv_cuda_mipmapped_array *next;
    struct dv_cuda_array_3d_descriptor descriptor;
    struct dv_cucontent *content;
    uint64_t handle, bytes;
    unsigned int levels;
    struct dv_cuda_array *level[LEVELS_MAX];
};

struct descriptor_v1 { /* of the calls without _v2 */
    uint32_t width, height;
    int32_t format;
    uint32_t channels;
};

struct descriptor_3d_v1 {
    uint32_t width, height, depth;
    int32_t format;
    uint32_t channels, flags;
};

static struct dv_cuda_mipmapped_array *mipmaps; /* P.lock */

static uint64_t element_bytes(int format)
{
    switch (format) {
    case DV_CUDA_FORMAT_U8:
    case DV_CUDA_FORMAT_S8:
        return 1;
    case DV_CUDA_FORMAT_U16:
    case DV_CUDA_FORMAT_S16:
    case DV_CUDA_FORMAT_HALF:
        return 2;
    case DV_CUDA_FORMAT_U32:
    case DV_CUDA_FORMAT_S32:
    case DV_CUDA_FORMAT_FLOAT:
        return 4;
    default:
        return 0;
    }
}

static int check(const struct dv_cuda_array_3d_descriptor *d)
{
    DV_CU_REQUIRE(d->width && element_bytes(d->format), DV_CUDA_ERROR_INVALID_VALUE);
    DV_CU_REQUIRE(d->channels == 1 || d->channels == 2 || d->channels == 4,
                  DV_CUDA_ERROR_INVALID_VALUE);
    DV_CU_REQUIRE(d->width <= 1 << 28 && d->height <= 1 << 17 && d->depth <= 1 << 14,
                  DV_CUDA_ERROR_INVALID_VALUE);
    DV_CU_REQUIRE(!(d->flags & (DV_CUDA_ARRAY_SPARSE | DV_CUDA_ARRAY_DEFERRED)),
                  DV_CUDA_ERROR_NOT_SUPPORTED);
    DV_CU_REQUIRE(!(d->flags & DV_CUDA_ARRAY_CUBEMAP) ||
                      (d->depth % CUBE_FACES == 0 && d->depth && d->width == d->height),
                  DV_CUDA_ERROR_INVALID_VALUE);
    return 0;
}

/* Sizes of one level; the depth of layered arrays and cubes does not shrink with the level. */
static void measure(const struct dv_cuda_array_3d_descriptor *d, struct dv_cuda_array *ret)
{
    uint64_t width = d->width * element_bytes(d->format) * d->channels;
    ret->descriptor = *d;
    ret->pitch = (width + ROW_ALIGNMENT - 1) & ~(uint64_t)(ROW_ALIGNMENT - 1);
    ret->slice = ret->pitch * DV_CU_MAX(d->height, 1);
    ret->bytes = ret->slice * DV_CU_MAX(d->depth, 1);
}

/* ---- arrays --------------------------------------------------------------------------------- */

static void unlink_array_locked(struct dv_cuda_array *array)
{
    for (struct dv_cuda_array **a = &P.arrays; *a; a = &(*a)->next)
        if (*a == array) {
            *a = array->next;
            break;
        }
}

static void free_array_locked(struct dv_cuda_array *array)
{
    unlink_array_locked(array);
    dv_cumem_uncharge_locked(array->handle);
    dv_cucontent_unref(array->content);
    dv_cuobject_free(array);
}

static int create_locked(struct dv_cuda_ctx *ctx, const struct dv_cuda_array_3d_descriptor *d,
                         struct dv_cuda_array **ret)
{
    struct dv_sim_mem_allocated got;
    struct dv_cuda_array *a = dv_cuobject_new(DV_CU_ARRAY, sizeof(*a));
    DV_CU_REQUIRE(a, DV_CUDA_ERROR_OUT_OF_MEMORY);
    measure(d, a);
    a->ctx = ctx;
    a->content = dv_cucontent_new(a->bytes);
    int r = a->content ? dv_cumem_charge_locked(ctx, DV_SIM_MEM_ARRAY, a->bytes, &got)
                       : DV_CUDA_ERROR_OUT_OF_MEMORY;
    if (r) {
        dv_cucontent_unref(a->content);
        dv_cuobject_free(a);
        return r;
    }
    a->handle = got.handle;
    a->next = P.arrays;
    P.arrays = a;
    *ret = a;
    return 0;
}

static int create(struct dv_cuda_array **ret, const struct dv_cuda_array_3d_descriptor *d)
{
    struct dv_cuda_ctx *ctx;
    DV_CU_REQUIRE(ret, DV_CUDA_ERROR_INVALID_VALUE);
    DV_CU_TRY(check(d));
    DV_CU_TRY(dv_cuctx_current(&ctx));
    dv_cu_lock();
    int r = create_locked(ctx, d, ret);
    dv_cu_unlock();
    return r;
}

dv_cuda_api(cuArrayCreate_v2, struct dv_cuda_array **ret, const struct dv_cuda_array_descriptor *d)
{
    DV_CU_ENTER();
    DV_CU_REQUIRE(d, DV_CUDA_ERROR_INVALID_VALUE);
    return create(ret, &(struct dv_cuda_array_3d_descriptor){.width = d->width,
                                                             .height = d->height,
                                                             .format = d->format,
                                                             .channels = d->channels});
}

dv_cuda_api(cuArrayCreate, struct dv_cuda_array **ret, const struct descriptor_v1 *d)
{
    DV_CU_ENTER();
    DV_CU_REQUIRE(d, DV_CUDA_ERROR_INVALID_VALUE);
    return create(ret, &(struct dv_cuda_array_3d_descriptor){.width = d->width,
                                                             .height = d->height,
                                                             .format = d->format,
                                                             .channels = d->channels});
}

dv_cuda_api(cuArray3DCreate_v2, struct dv_cuda_array **ret,
            const struct dv_cuda_array_3d_descriptor *d)
{
    DV_CU_ENTER();
    DV_CU_REQUIRE(d, DV_CUDA_ERROR_INVALID_VALUE);
    return create(ret, d);
}

dv_cuda_api(cuArray3DCreate, struct dv_cuda_array **ret, const struct descriptor_3d_v1 *d)
{
    DV_CU_ENTER();
    DV_CU_REQUIRE(d, DV_CUDA_ERROR_INVALID_VALUE);
    return create(ret, &(struct dv_cuda_array_3d_descriptor){.width = d->width,
                                                             .height = d->height,
                                                             .depth = d->depth,
                                                             .format = d->format,
                                                             .channels = d->channels,
                                                             .flags = d->flags});
}

dv_cuda_api(cuArrayDestroy, struct dv_cuda_array *array)
{
    DV_CU_ENTER();
    struct dv_cuda_ctx *ctx = NULL;
    DV_CU_REQUIRE(dv_cuobject_is(array, DV_CU_ARRAY), DV_CUDA_ERROR_INVALID_HANDLE);
    if (dv_cuobject_is(array->ctx, DV_CU_CTX))
        ctx = array->ctx;
    if (ctx)
        DV_CU_TRY(dv_cuctx_synchronize(ctx));
    dv_cu_lock();
    bool valid = dv_cuobject_is(array, DV_CU_ARRAY) && !array->level;
    if (valid)
        free_array_locked(array);
    dv_cu_unlock();
    return valid ? 0 : DV_CUDA_ERROR_INVALID_HANDLE;
}

dv_cuda_api(cuArrayGetDescriptor_v2, struct dv_cuda_array_descriptor *ret,
            struct dv_cuda_array *array)
{
    DV_CU_ENTER();
    DV_CU_REQUIRE(ret, DV_CUDA_ERROR_INVALID_VALUE);
    DV_CU_REQUIRE(dv_cuobject_is(array, DV_CU_ARRAY), DV_CUDA_ERROR_INVALID_HANDLE);
    const struct dv_cuda_array_3d_descriptor *d = &array->descriptor;
    *ret = (struct dv_cuda_array_descriptor){d->width, d->height, d->format, d->channels};
    return 0;
}

dv_cuda_api(cuArray3DGetDescriptor_v2, struct dv_cuda_array_3d_descriptor *ret,
            struct dv_cuda_array *array)
{
    DV_CU_ENTER();
    DV_CU_REQUIRE(ret, DV_CUDA_ERROR_INVALID_VALUE);
    DV_CU_REQUIRE(dv_cuobject_is(array, DV_CU_ARRAY), DV_CUDA_ERROR_INVALID_HANDLE);
    *ret = array->descriptor;
    return 0;
}

dv_cuda_api(cuArrayGetMemoryRequirements, struct dv_cuda_array_requirements *ret,
            struct dv_cuda_array *array, int device)
{
    DV_CU_ENTER();
    DV_CU_REQUIRE(ret, DV_CUDA_ERROR_INVALID_VALUE);
    DV_CU_REQUIRE(dv_cuobject_is(array, DV_CU_ARRAY), DV_CUDA_ERROR_INVALID_HANDLE);
    *ret = (struct dv_cuda_array_requirements){.size = array->bytes, .alignment = ARRAY_ALIGNMENT};
    return 0;
}

/* ---- mipmapped arrays ----------------------------------------------------------------------- */

static void free_mipmap_locked(struct dv_cuda_mipmapped_array *m)
{
    for (struct dv_cuda_mipmapped_array **p = &mipmaps; *p; p = &(*p)->next)
        if (*p == m) {
            *p = m->next;
            break;
        }
    for (unsigned int i = 0; i < m->levels; i++)
        if (m->level[i])
            free_array_locked(m->level[i]);
    dv_cumem_uncharge_locked(m->handle);
    dv_cucontent_unref(m->content);
    dv_cuobject_free(m);
}

static struct dv_cuda_array_3d_descriptor level_of(const struct dv_cuda_array_3d_descriptor *d,
                                                   unsigned int level)
{
    struct dv_cuda_array_3d_descriptor l = *d;
    l.width = DV_CU_MAX(d->width >> level, 1);
    l.height = d->height ? DV_CU_MAX(d->height >> level, 1) : 0;
    if (!(d->flags & (DV_CUDA_ARRAY_LAYERED | DV_CUDA_ARRAY_CUBEMAP)))
        l.depth = d->depth ? DV_CU_MAX(d->depth >> level, 1) : 0;
    return l;
}

static int add_levels_locked(struct dv_cuda_mipmapped_array *m)
{
    uint64_t offset = 0;
    for (unsigned int i = 0; i < m->levels; i++) {
        struct dv_cuda_array_3d_descriptor d = level_of(&m->descriptor, i);
        struct dv_cuda_array *a = dv_cuobject_new(DV_CU_ARRAY, sizeof(*a));
        DV_CU_REQUIRE(a, DV_CUDA_ERROR_OUT_OF_MEMORY);
        measure(&d, a);
        a->ctx = m->ctx;
        a->level = true;
        a->content = m->content;
        a->content_offset = offset;
        dv_cucontent_ref(m->content);
        m->level[i] = a;
        offset += (a->bytes + ARRAY_ALIGNMENT - 1) & ~(uint64_t)(ARRAY_ALIGNMENT - 1);
    }
    return 0;
}

static int create_mipmap_locked(struct dv_cuda_mipmapped_array *m)
{
    struct dv_sim_mem_allocated got;
    for (unsigned int i = 0; i < m->levels; i++) {
        struct dv_cuda_array one;
        struct dv_cuda_array_3d_descriptor d = level_of(&m->descriptor, i);
        measure(&d, &one);
        m->bytes += (one.bytes + ARRAY_ALIGNMENT - 1) & ~(uint64_t)(ARRAY_ALIGNMENT - 1);
    }
    m->next = mipmaps;
    mipmaps = m;
    m->content = dv_cucontent_new(m->bytes);
    int r = m->content ? dv_cumem_charge_locked(m->ctx, DV_SIM_MEM_ARRAY, m->bytes, &got)
                       : DV_CUDA_ERROR_OUT_OF_MEMORY;
    if (r == 0) {
        m->handle = got.handle;
        r = add_levels_locked(m);
    }
    if (r)
        free_mipmap_locked(m);
    return r;
}

dv_cuda_api(cuMipmappedArrayCreate, struct dv_cuda_mipmapped_array **ret,
            const struct dv_cuda_array_3d_descriptor *d, unsigned int levels)
{
    DV_CU_ENTER();
    struct dv_cuda_ctx *ctx;
    DV_CU_REQUIRE(ret && d && levels && levels <= LEVELS_MAX, DV_CUDA_ERROR_INVALID_VALUE);
    DV_CU_TRY(check(d));
    DV_CU_TRY(dv_cuctx_current(&ctx));
    struct dv_cuda_mipmapped_array *m = dv_cuobject_new(DV_CU_MIPMAP, sizeof(*m));
    DV_CU_REQUIRE(m, DV_CUDA_ERROR_OUT_OF_MEMORY);
    m->ctx = ctx;
    m->descriptor = *d;
    m->levels = levels;
    dv_cu_lock();
    int r = create_mipmap_locked(m);
    dv_cu_unlock();
    if (r == 0)
        *ret = m;
    return r;
}

dv_cuda_api(cuMipmappedArrayGetLevel, struct dv_cuda_array **ret,
            struct dv_cuda_mipmapped_array *mipmap, unsigned int level)
{
    DV_CU_ENTER();
    DV_CU_REQUIRE(dv_cuobject_is(mipmap, DV_CU_MIPMAP), DV_CUDA_ERROR_INVALID_HANDLE);
    DV_CU_REQUIRE(ret && level < mipmap->levels, DV_CUDA_ERROR_INVALID_VALUE);
    *ret = mipmap->level[level];
    return 0;
}

dv_cuda_api(cuMipmappedArrayDestroy, struct dv_cuda_mipmapped_array *mipmap)
{
    DV_CU_ENTER();
    dv_cu_lock();
    bool valid = dv_cuobject_is(mipmap, DV_CU_MIPMAP);
    if (valid)
        free_mipmap_locked(mipmap);
    dv_cu_unlock();
    return valid ? 0 : DV_CUDA_ERROR_INVALID_HANDLE;
}

dv_cuda_api(cuMipmappedArrayGetMemoryRequirements, struct dv_cuda_array_requirements *ret,
            struct dv_cuda_mipmapped_array *mipmap, int device)
{
    DV_CU_ENTER();
    DV_CU_REQUIRE(ret, DV_CUDA_ERROR_INVALID_VALUE);
    DV_CU_REQUIRE(dv_cuobject_is(mipmap, DV_CU_MIPMAP), DV_CUDA_ERROR_INVALID_HANDLE);
    *ret = (struct dv_cuda_array_requirements){.size = mipmap->bytes, .alignment = ARRAY_ALIGNMENT};
    return 0;
}

void dv_cuarray_free_all_locked(struct dv_cuda_ctx *ctx)
{
    struct dv_cuda_mipmapped_array *next_mipmap;
    for (struct dv_cuda_mipmapped_array *m = mipmaps; m; m = next_mipmap) {
        next_mipmap = m->next;
        if (m->ctx == ctx)
            free_mipmap_locked(m);
    }
    struct dv_cuda_array *next;
    for (struct dv_cuda_array *a = P.arrays; a; a = next) {
        next = a->next;
        if (a->ctx == ctx)
            free_array_locked(a);
    }
}
