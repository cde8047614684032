/* SPDX-License-Identifier: Apache-2.0 */
/*
 * How much the driver will take for a call, before it is made: from its arguments, as an upper
 * bound; and how much it has taken, where the driver can be asked. Bytes. Shapes are the driver's
 * structures (abi_cuda.h). NULL or nonsense counts as 0: the driver refuses it itself.
 *
 *     dv_size_pitch(100, 10)                         rows padded to the widest alignment: 5120
 *     dv_size_mipmap(shape, 3)                       this level, a quarter, a sixteenth
 */
#ifndef DV_GOVERNOR_SIZES_H
#define DV_GOVERNOR_SIZES_H

#include <stddef.h>
#include <stdint.h>

uint64_t dv_size_pitch(size_t width, size_t height);
uint64_t dv_size_array(const void *shape);    /* struct dv_cuda_array_descriptor */
uint64_t dv_size_array3d(const void *shape);  /* struct dv_cuda_array_3d_descriptor */
uint64_t dv_size_array_v1(const void *shape); /* the same with 32-bit sizes, before CUDA 3.2 */
uint64_t dv_size_array3d_v1(const void *shape);
uint64_t dv_size_mipmap(const void *shape, unsigned levels);
uint64_t dv_size_array_actual(void *array); /* 0 = cannot be told: keep the bound */
uint64_t dv_size_mipmap_actual(void *array);
uint64_t dv_size_external(const void *shape); /* CUDA_EXTERNAL_MEMORY_HANDLE_DESC */
uint64_t dv_size_context(void);               /* learnt by the daemon: the slice page */
uint64_t dv_size_module(void);

/* Copies from this size on pass the compute gate. */
#define DV_LARGE (UINT64_C(256) << 10)
uint64_t dv_copy_2d_bytes(const void *copy);
uint64_t dv_copy_3d_bytes(const void *copy);
uint64_t dv_copy_batch_bytes(const size_t *sizes, size_t count);

#endif
