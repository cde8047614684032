/* SPDX-License-Identifier: Apache-2.0 */
#include "abi_cuda.h"
#include "governor.h"
#include "sizes.h"
#include "view.h"
#include "wire.h"

#include <setjmp.h>
#include <stdarg.h>

#include <cmocka.h>

/* What sizes.c asks of the rest of the governor. */
void *dv_original[DV_F_COUNT];

struct dv_wire *dv_wire_current(void)
{
    return NULL;
}

int dv_view_device(void)
{
    return 0;
}

static void test_pitch(void **state)
{
    assert_int_equal(dv_size_pitch(100, 10), 5120);
    assert_int_equal(dv_size_pitch(512, 3), 1536);
    assert_int_equal(dv_size_pitch(0, 3), 0);
    assert_int_equal(dv_size_pitch(SIZE_MAX, 1), UINT64_MAX);
    assert_int_equal(dv_size_pitch(SIZE_MAX / 2, 4), UINT64_MAX);
}

static void test_arrays(void **state)
{
    struct dv_cuda_array_descriptor flat = {100, 0, DV_CUDA_FORMAT_FLOAT, 4};
    struct dv_cuda_array_descriptor odd = {100, 2, 0x91 /* block-compressed */, 1};
    struct dv_cuda_array_3d_descriptor cube = {8, 8, 8, DV_CUDA_FORMAT_HALF, 2, 0};
    struct dv_cuda_array_3d_descriptor huge = {SIZE_MAX, 2, 2, DV_CUDA_FORMAT_U8, 1, 0};
    const uint32_t old[] = {100, 10, DV_CUDA_FORMAT_U16, 2};
    const uint32_t old3d[] = {4, 4, 4, DV_CUDA_FORMAT_U8, 1, 0};
    assert_int_equal(dv_size_array(&flat), 2048); /* tiles of 512 bytes */
    assert_int_equal(dv_size_array(&odd), 1600 * 8);
    assert_int_equal(dv_size_array3d(&cube), 64 * 8 * 8);
    assert_int_equal(dv_size_array3d(&huge), UINT64_MAX);
    assert_int_equal(dv_size_array_v1(old), 448 * 16);
    assert_int_equal(dv_size_array3d_v1(old3d), 64 * 8 * 4);
    cube.flags = DV_CUDA_ARRAY_SPARSE; /* its memory is created, and charged, by itself */
    assert_int_equal(dv_size_array3d(&cube), 0);
    assert_int_equal(dv_size_array(NULL), 0);
}

static void test_mipmaps(void **state)
{
    struct dv_cuda_array_3d_descriptor d = {64, 64, 0, DV_CUDA_FORMAT_U8, 1, 0};
    assert_int_equal(dv_size_mipmap(&d, 1), 4096);
    assert_int_equal(dv_size_mipmap(&d, 3), 64 * (64 + 32 + 16));
    d.depth = 4;
    assert_int_equal(dv_size_mipmap(&d, 2), 4 * 4096 + 2 * 2048);
    d.flags = DV_CUDA_ARRAY_LAYERED; /* layers do not get fewer */
    assert_int_equal(dv_size_mipmap(&d, 2), 4 * 4096 + 4 * 2048);
    assert_int_equal(dv_size_mipmap(&d, 0), 0);
    assert_true(dv_size_mipmap(&d, UINT32_MAX) >= dv_size_mipmap(&d, 7));
    assert_int_equal(dv_size_mipmap(NULL, 3), 0);
}

static void test_copies(void **state)
{
    const size_t sizes[] = {1, 2, 3}, much[] = {SIZE_MAX, SIZE_MAX};
    struct dv_cuda_memcpy_2d flat = {.width_bytes = 10, .height = 3};
    struct dv_cuda_memcpy_3d cube = {.width_bytes = 10, .height = 3, .depth = 2};
    assert_int_equal(dv_copy_2d_bytes(&flat), 30);
    assert_int_equal(dv_copy_3d_bytes(&cube), 60);
    assert_int_equal(dv_copy_batch_bytes(sizes, 3), 6);
    assert_int_equal(dv_copy_batch_bytes(much, 2), UINT64_MAX);
    assert_int_equal(dv_copy_batch_bytes(NULL, 2), 0);
    assert_int_equal(dv_copy_2d_bytes(NULL), 0);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_pitch),
        cmocka_unit_test(test_arrays),
        cmocka_unit_test(test_mipmaps),
        cmocka_unit_test(test_copies),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
