/* SPDX-License-Identifier: Apache-2.0 */
/* Copies of rows and slices, with arrays; fills. */
#include "driver.h"

/* ---- two and three dimensions --------------------------------------------------------------- */

/* One side of a copy, as the structures describe it. */
struct side {
    int type;
    const void *host;
    uint64_t device;
    struct dv_cuda_array *array;
    uint64_t x, y, z, pitch, height;
};

struct resolved {
    uint64_t address, pitch, slice, array_offset;
    struct dv_cuda_array *array;
    bool host;
};

static int resolve_array(const struct side *s, const struct dv_cuda_memcpy_3d *c,
                         struct resolved *ret)
{
    const struct dv_cuda_array *a = s->array;
    DV_CU_REQUIRE(dv_cuobject_is(a, DV_CU_ARRAY), DV_CUDA_ERROR_INVALID_HANDLE);
    DV_CU_REQUIRE(s->x + c->width_bytes <= a->pitch &&
                      s->y + c->height <= DV_CU_MAX(a->descriptor.height, 1) &&
                      s->z + c->depth <= DV_CU_MAX(a->descriptor.depth, 1),
                  DV_CUDA_ERROR_INVALID_VALUE);
    *ret = (struct resolved){.pitch = a->pitch,
                             .slice = a->slice,
                             .array = s->array,
                             .array_offset = s->z * a->slice + s->y * a->pitch + s->x};
    return 0;
}

static int resolve(const struct side *s, const struct dv_cuda_memcpy_3d *c, struct resolved *ret)
{
    uint64_t base;
    switch (s->type) {
    case DV_CUDA_MEMORY_HOST:
        base = (uintptr_t)s->host;
        break;
    case DV_CUDA_MEMORY_DEVICE:
    case DV_CUDA_MEMORY_UNIFIED:
        base = s->device;
        break;
    case DV_CUDA_MEMORY_ARRAY:
        return resolve_array(s, c, ret);
    default:
        return DV_CUDA_ERROR_INVALID_VALUE;
    }
    uint64_t pitch = s->pitch ? s->pitch : s->x + c->width_bytes;
    uint64_t height = s->height ? s->height : s->y + c->height;
    DV_CU_REQUIRE(pitch >= s->x + c->width_bytes && pitch <= UINT64_MAX / DV_CU_MAX(height, 1),
                  DV_CUDA_ERROR_INVALID_VALUE);
    *ret = (struct resolved){.address = base + s->z * pitch * height + s->y * pitch + s->x,
                             .pitch = pitch,
                             .slice = pitch * height,
                             .host = s->type != DV_CUDA_MEMORY_DEVICE};
    return 0;
}

int dv_cutransfer_from_3d(const struct dv_cuda_memcpy_3d *c, struct dv_cutransfer *ret)
{
    struct side from = {c->src_type, c->src_host, c->src_device, c->src_array, c->src_x_bytes,
                        c->src_y,    c->src_z,    c->src_pitch,  c->src_height};
    struct side to = {c->dst_type, c->dst_host, c->dst_device, c->dst_array, c->dst_x_bytes,
                      c->dst_y,    c->dst_z,    c->dst_pitch,  c->dst_height};
    struct resolved s, d;
    DV_CU_REQUIRE(c->width_bytes < UINT64_C(1) << 48 && c->height < UINT64_C(1) << 32 &&
                      c->depth < UINT64_C(1) << 32,
                  DV_CUDA_ERROR_INVALID_VALUE);
    DV_CU_TRY(resolve(&from, c, &s));
    DV_CU_TRY(resolve(&to, c, &d));
    *ret = (struct dv_cutransfer){
        .dst = {d.address, d.pitch, d.slice, d.array, d.array_offset},
        .src = {s.address, s.pitch, s.slice, s.array, s.array_offset},
        .width = c->width_bytes,
        .height = c->height,
        .depth = c->depth,
    };
    return dv_cutransfer_check(ret, d.host, s.host);
}

static void from_2d(const struct dv_cuda_memcpy_2d *c, struct dv_cuda_memcpy_3d *ret)
{
    *ret = (struct dv_cuda_memcpy_3d){
        .src_x_bytes = c->src_x_bytes,
        .src_y = c->src_y,
        .src_type = c->src_type,
        .src_host = c->src_host,
        .src_device = c->src_device,
        .src_array = c->src_array,
        .src_pitch = c->src_pitch,
        .dst_x_bytes = c->dst_x_bytes,
        .dst_y = c->dst_y,
        .dst_type = c->dst_type,
        .dst_host = c->dst_host,
        .dst_device = c->dst_device,
        .dst_array = c->dst_array,
        .dst_pitch = c->dst_pitch,
        .width_bytes = c->width_bytes,
        .height = c->height,
        .depth = 1,
    };
}

static int copy_3d(const struct dv_cuda_memcpy_3d *c, struct dv_cuda_stream *handle,
                   bool per_thread, bool wait)
{
    struct dv_cuda_stream *s;
    struct dv_cutransfer t;
    DV_CU_REQUIRE(c, DV_CUDA_ERROR_INVALID_VALUE);
    DV_CU_TRY(dv_custream_resolve(handle, per_thread, &s));
    DV_CU_TRY(dv_cutransfer_from_3d(c, &t));
    return dv_cutransfer_do(s, &t, wait);
}

static int copy_2d(const struct dv_cuda_memcpy_2d *c, struct dv_cuda_stream *handle,
                   bool per_thread, bool wait)
{
    struct dv_cuda_memcpy_3d three;
    DV_CU_REQUIRE(c, DV_CUDA_ERROR_INVALID_VALUE);
    from_2d(c, &three);
    return copy_3d(&three, handle, per_thread, wait);
}

dv_cuda_api_both(cuMemcpy2D_v2, _ptds, (const struct dv_cuda_memcpy_2d *copy),
                 copy_2d(copy, NULL, per_thread, true));
dv_cuda_api_both(cuMemcpy2DUnaligned_v2, _ptds, (const struct dv_cuda_memcpy_2d *copy),
                 copy_2d(copy, NULL, per_thread, true));
dv_cuda_api_both(cuMemcpy2DAsync_v2, _ptsz,
                 (const struct dv_cuda_memcpy_2d *copy, struct dv_cuda_stream *stream),
                 copy_2d(copy, stream, per_thread, false));
dv_cuda_api_both(cuMemcpy3D_v2, _ptds, (const struct dv_cuda_memcpy_3d *copy),
                 copy_3d(copy, NULL, per_thread, true));
dv_cuda_api_both(cuMemcpy3DAsync_v2, _ptsz,
                 (const struct dv_cuda_memcpy_3d *copy, struct dv_cuda_stream *stream),
                 copy_3d(copy, stream, per_thread, false));
dv_cuda_api_both(cuMemcpy3DPeer, _ptds, (const struct dv_cuda_memcpy_3d *copy),
                 copy_3d(copy, NULL, per_thread, true));
dv_cuda_api_both(cuMemcpy3DPeerAsync, _ptsz,
                 (const struct dv_cuda_memcpy_3d *copy, struct dv_cuda_stream *stream),
                 copy_3d(copy, stream, per_thread, false));

/* One row between an array and linear memory. */
static int copy_row(struct dv_cuda_array *dst_array, uint64_t dst, struct dv_cuda_array *src_array,
                    uint64_t src, int linear, uint64_t n, struct dv_cuda_stream *handle,
                    bool per_thread, bool wait)
{
    const void *src_host = (const void *)(uintptr_t)src;
    struct dv_cuda_memcpy_3d c = {
        .src_type = src_array ? DV_CUDA_MEMORY_ARRAY : linear,
        .src_array = src_array,
        .src_host = src_host,
        .src_device = src,
        .src_x_bytes = src_array ? src : 0,
        .dst_type = dst_array ? DV_CUDA_MEMORY_ARRAY : linear,
        .dst_array = dst_array,
        .dst_host = (void *)(uintptr_t)dst,
        .dst_device = dst,
        .dst_x_bytes = dst_array ? dst : 0,
        .width_bytes = n,
        .height = 1,
        .depth = 1,
    };
    return copy_3d(&c, handle, per_thread, wait);
}

dv_cuda_api_both(cuMemcpyHtoA_v2, _ptds,
                 (struct dv_cuda_array * dst, size_t offset, const void *src, size_t n),
                 copy_row(dst, offset, NULL, (uintptr_t)src, DV_CUDA_MEMORY_HOST, n, NULL,
                          per_thread, true));
dv_cuda_api_both(cuMemcpyAtoH_v2, _ptds,
                 (void *dst, struct dv_cuda_array *src, size_t offset, size_t n),
                 copy_row(NULL, (uintptr_t)dst, src, offset, DV_CUDA_MEMORY_HOST, n, NULL,
                          per_thread, true));
dv_cuda_api_both(cuMemcpyDtoA_v2, _ptds,
                 (struct dv_cuda_array * dst, size_t offset, uint64_t src, size_t n),
                 copy_row(dst, offset, NULL, src, DV_CUDA_MEMORY_DEVICE, n, NULL, per_thread,
                          true));
dv_cuda_api_both(cuMemcpyAtoD_v2, _ptds,
                 (uint64_t dst, struct dv_cuda_array *src, size_t offset, size_t n),
                 copy_row(NULL, dst, src, offset, DV_CUDA_MEMORY_DEVICE, n, NULL, per_thread,
                          true));
dv_cuda_api_both(cuMemcpyHtoAAsync_v2, _ptsz,
                 (struct dv_cuda_array * dst, size_t offset, const void *src, size_t n,
                  struct dv_cuda_stream *stream),
                 copy_row(dst, offset, NULL, (uintptr_t)src, DV_CUDA_MEMORY_HOST, n, stream,
                          per_thread, false));
dv_cuda_api_both(cuMemcpyAtoHAsync_v2, _ptsz,
                 (void *dst, struct dv_cuda_array *src, size_t offset, size_t n,
                  struct dv_cuda_stream *stream),
                 copy_row(NULL, (uintptr_t)dst, src, offset, DV_CUDA_MEMORY_HOST, n, stream,
                          per_thread, false));

/* ---- fills ---------------------------------------------------------------------------------- */

int dv_cutransfer_from_memset(const struct dv_cuda_memset_node_params *p, struct dv_cutransfer *ret)
{
    DV_CU_REQUIRE(p->element_bytes == 1 || p->element_bytes == 2 || p->element_bytes == 4,
                  DV_CUDA_ERROR_INVALID_VALUE);
    DV_CU_REQUIRE(p->dst % p->element_bytes == 0 && p->width < UINT64_C(1) << 48 &&
                      p->height < UINT64_C(1) << 32,
                  DV_CUDA_ERROR_INVALID_VALUE);
    uint64_t width = p->width * p->element_bytes;
    DV_CU_REQUIRE(p->height <= 1 || p->pitch >= width, DV_CUDA_ERROR_INVALID_VALUE);
    *ret = (struct dv_cutransfer){.fill = true,
                                  .value = p->value,
                                  .element = p->element_bytes,
                                  .dst = {.address = p->dst, .pitch = p->pitch},
                                  .width = width,
                                  .height = p->height,
                                  .depth = 1};
    return dv_cutransfer_check(ret, false, false);
}

static int fill(uint64_t dst, size_t pitch, uint32_t value, uint32_t element, size_t width,
                size_t height, struct dv_cuda_stream *handle, bool per_thread)
{
    struct dv_cuda_stream *s;
    struct dv_cutransfer t;
    struct dv_cuda_memset_node_params p = {.dst = dst,
                                           .pitch = pitch,
                                           .value = value,
                                           .element_bytes = element,
                                           .width = width,
                                           .height = height};
    DV_CU_TRY(dv_custream_resolve(handle, per_thread, &s));
    DV_CU_TRY(dv_cutransfer_from_memset(&p, &t));
    return dv_cutransfer_do(s, &t, false);
}

#define FILL_1D(bits, type)                                                                        \
    dv_cuda_api(cuMemsetD##bits, uint32_t dst, type value, unsigned int n)                         \
    {                                                                                              \
        DV_CU_ENTER();                                                                             \
        return fill(dst, 0, value, (bits) / 8, n, 1, NULL, false);                                 \
    }                                                                                              \
    dv_cuda_api_both(cuMemsetD##bits##_v2, _ptds, (uint64_t dst, type value, size_t n),            \
                     fill(dst, 0, value, (bits) / 8, n, 1, NULL, per_thread));                     \
    dv_cuda_api_both(cuMemsetD##bits##Async, _ptsz,                                                \
                     (uint64_t dst, type value, size_t n, struct dv_cuda_stream * stream),         \
                     fill(dst, 0, value, (bits) / 8, n, 1, stream, per_thread))

#define FILL_2D(bits, type)                                                                        \
    dv_cuda_api(cuMemsetD2D##bits, uint32_t dst, unsigned int pitch, type value,                   \
                unsigned int width, unsigned int height)                                           \
    {                                                                                              \
        DV_CU_ENTER();                                                                             \
        return fill(dst, pitch, value, (bits) / 8, width, height, NULL, false);                    \
    }                                                                                              \
    dv_cuda_api_both(cuMemsetD2D##bits##_v2, _ptds,                                                \
                     (uint64_t dst, size_t pitch, type value, size_t width, size_t height),        \
                     fill(dst, pitch, value, (bits) / 8, width, height, NULL, per_thread));        \
    dv_cuda_api_both(cuMemsetD2D##bits##Async, _ptsz,                                              \
                     (uint64_t dst, size_t pitch, type value, size_t width, size_t height,         \
                      struct dv_cuda_stream * stream),                                             \
                     fill(dst, pitch, value, (bits) / 8, width, height, stream, per_thread))

FILL_1D(8, unsigned char);
FILL_1D(16, unsigned short);
FILL_1D(32, unsigned int);
FILL_2D(8, unsigned char);
FILL_2D(16, unsigned short);
FILL_2D(32, unsigned int);
