/* SPDX-License-Identifier: Apache-2.0 */
#include "sizes.h"

#include "abi_cuda.h"
#include "governor.h"
#include "view.h"
#include "wire.h"

static uint64_t product(uint64_t a, uint64_t b)
{
    uint64_t r;
    return __builtin_mul_overflow(a, b, &r) ? UINT64_MAX : r;
}

/* Rows are padded to 512 bytes on the cards of today. */
uint64_t dv_size_pitch(size_t width, size_t height)
{
    if (width > SIZE_MAX - 511)
        return UINT64_MAX;
    return product((width + 511) / 512 * 512, height);
}

/* Bytes of one channel. The formats beyond the plain ones (YUV, block-compressed) take at most 16
 * bytes for an element with all its channels. */
static uint64_t element_bytes(int32_t format, uint32_t channels)
{
    switch (format) {
    case DV_CUDA_FORMAT_U8:
    case DV_CUDA_FORMAT_S8:
        return channels;
    case DV_CUDA_FORMAT_U16:
    case DV_CUDA_FORMAT_S16:
    case DV_CUDA_FORMAT_HALF:
        return UINT64_C(2) * channels;
    case DV_CUDA_FORMAT_U32:
    case DV_CUDA_FORMAT_S32:
    case DV_CUDA_FORMAT_FLOAT:
        return UINT64_C(4) * channels;
    default:
        return 16;
    }
}

static uint64_t at_least_1(uint64_t n)
{
    return n ? n : 1;
}

static uint64_t round_up(uint64_t n, uint64_t to)
{
    return n > UINT64_MAX - to ? UINT64_MAX : (n + to - 1) / to * to;
}

/* Arrays lie in memory as tiles of 64 bytes by 8 rows (a "GOB": Mesa's src/nouveau/nil), so rows
 * and slices are padded. Who charged the plain product would be above the cap until the driver has
 * been asked; what it pads beyond this is still found only then. */
static uint64_t volume(uint64_t width, uint64_t height, uint64_t depth, uint64_t element)
{
    uint64_t row = round_up(product(width, element), 64);
    uint64_t rows = height > 1 ? round_up(height, 8) : 1;
    return width ? product(round_up(product(row, rows), 512), at_least_1(depth)) : 0;
}

uint64_t dv_size_array(const void *shape)
{
    const struct dv_cuda_array_descriptor *d = shape;
    return d ? volume(d->width, d->height, 1, element_bytes(d->format, d->channels)) : 0;
}

uint64_t dv_size_array3d(const void *shape)
{
    const struct dv_cuda_array_3d_descriptor *d = shape;
    if (!d || d->flags & (DV_CUDA_ARRAY_SPARSE | DV_CUDA_ARRAY_DEFERRED))
        return 0; /* memory is mapped to it later, and charged where it was created */
    return volume(d->width, d->height, d->depth, element_bytes(d->format, d->channels));
}

uint64_t dv_size_array_v1(const void *shape)
{
    const uint32_t *d = shape; /* width, height, format, channels */
    return d ? volume(d[0], d[1], 1, element_bytes((int32_t)d[2], d[3])) : 0;
}

uint64_t dv_size_array3d_v1(const void *shape)
{
    const uint32_t *d = shape; /* width, height, depth, format, channels, flags */
    return d ? volume(d[0], d[1], d[2], element_bytes((int32_t)d[3], d[4])) : 0;
}

static uint64_t half(uint64_t n)
{
    return n > 1 ? n / 2 : n;
}

/* In layered and cubemap arrays the depth counts layers, which do not get fewer. */
uint64_t dv_size_mipmap(const void *shape, unsigned levels)
{
    if (!shape)
        return 0;
    struct dv_cuda_array_3d_descriptor d = *(const struct dv_cuda_array_3d_descriptor *)shape;
    uint64_t sum = 0;
    for (unsigned i = 0; i < levels && i < 64; i++) {
        uint64_t level = dv_size_array3d(&d);
        if (__builtin_add_overflow(sum, level, &sum))
            return UINT64_MAX;
        d.width = half(d.width);
        d.height = half(d.height);
        if (!(d.flags & (DV_CUDA_ARRAY_LAYERED | DV_CUDA_ARRAY_CUBEMAP)))
            d.depth = half(d.depth);
    }
    return sum;
}

uint64_t dv_size_array_actual(void *array)
{
    struct dv_cuda_array_requirements r;
    if (DV_ORIGINAL(cuArrayGetMemoryRequirements)(&r, array, dv_view_device()))
        return 0;
    return r.size;
}

uint64_t dv_size_mipmap_actual(void *array)
{
    struct dv_cuda_array_requirements r;
    if (DV_ORIGINAL(cuMipmappedArrayGetMemoryRequirements)(&r, array, dv_view_device()))
        return 0;
    return r.size;
}

uint64_t dv_size_external(const void *shape)
{
    /* type, pad, a union of two pointers, size */
    const uint64_t *words = shape;
    return words ? words[3] : 0;
}

uint64_t dv_size_context(void)
{
    return __atomic_load_n(&dv_wire_current()->slice->context_bytes, __ATOMIC_RELAXED);
}

uint64_t dv_size_module(void)
{
    return __atomic_load_n(&dv_wire_current()->slice->module_bytes, __ATOMIC_RELAXED);
}

uint64_t dv_copy_2d_bytes(const void *copy)
{
    const struct dv_cuda_memcpy_2d *c = copy;
    return c ? product(c->width_bytes, c->height) : 0;
}

uint64_t dv_copy_3d_bytes(const void *copy)
{
    const struct dv_cuda_memcpy_3d *c = copy;
    return c ? product(product(c->width_bytes, c->height), c->depth) : 0;
}

uint64_t dv_copy_batch_bytes(const size_t *sizes, size_t count)
{
    uint64_t sum = 0;
    for (size_t i = 0; sizes && i < count; i++)
        if (__builtin_add_overflow(sum, sizes[i], &sum))
            return UINT64_MAX;
    return sum;
}
