/* SPDX-License-Identifier: Apache-2.0 */
#include "load/load.h"

/* Limits that all GPUs of compute capability 7.0 and later have (CUDA C++ Programming Guide,
 * "Technical Specifications per Compute Capability"). */
#define WIDTH_2D 65536u /* of 131072 */
#define HEIGHT_2D 65536u
#define WIDTH_3D 4096u /* of 16384 each */
#define HEIGHT_3D 1024u
#define DEPTH_3D 16384u
#define ROW_BYTES (UINT64_C(1) << 20)

static uint64_t divide_up(uint64_t a, uint64_t b)
{
    return a / b + (a % b != 0);
}

bool dv_load_shape_pitch(uint64_t bytes, struct dv_load_shape *ret)
{
    uint64_t width = DV_MIN(bytes, ROW_BYTES);
    *ret = (struct dv_load_shape){width, divide_up(bytes, width), 1};
    return true;
}

bool dv_load_shape_2d(uint64_t bytes, struct dv_load_shape *ret)
{
    uint64_t elements = divide_up(bytes, DV_LOAD_ELEMENT);
    uint64_t width = DV_MIN(elements, WIDTH_2D);
    uint64_t height = divide_up(elements, width);
    if (height > HEIGHT_2D)
        return false;
    *ret = (struct dv_load_shape){width, height, 1};
    return true;
}

bool dv_load_shape_3d(uint64_t bytes, struct dv_load_shape *ret)
{
    uint64_t elements = divide_up(bytes, DV_LOAD_ELEMENT);
    uint64_t width = DV_MIN(elements, WIDTH_3D);
    uint64_t rows = divide_up(elements, width);
    uint64_t height = DV_MIN(rows, HEIGHT_3D);
    uint64_t depth = divide_up(rows, height);
    if (depth > DEPTH_3D)
        return false;
    *ret = (struct dv_load_shape){width, height, depth};
    return true;
}

uint64_t dv_load_percentile(const uint64_t *sorted, size_t n, unsigned permille)
{
    if (!n)
        return 0;
    size_t rank = (size_t)divide_up((uint64_t)n * permille, 1000);
    return sorted[rank ? rank - 1 : 0];
}
