/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The CUDA driver, loaded at run time: whatever libcuda.so.1 the loader finds, be it the real one,
 * the governor's stand-in or the simulator's. Calls have the names of this room, the driver's
 * types stay in abi_cuda.h, and what a driver does not have is NULL and is asked for with
 * dv_cuda_has.
 *
 *     struct dv_cuda_driver cuda;
 *     r = dv_cuda_open(&cuda, &err);          -ENOENT: no driver on this machine
 *     r = dv_cuda_check(&cuda, cuda.mem_alloc(&address, bytes), "cuMemAlloc", &err);
 *
 * Entry points are asked from cuGetProcAddress with the CUDA version that brought the signature
 * written here; a driver without it (before 11.3) is asked by symbol. Public source of names,
 * signatures and versions: cuda.h and cudaTypedefs.h of CUDA 12.9.
 */
#ifndef DV_CUDA_DRIVER_H
#define DV_CUDA_DRIVER_H

#include "abi_cuda.h"
#include "base/err.h"

#include <errno.h>
#include <stdbool.h>

/* X(member, name, symbol, CUDA version of this signature, parameters). The first group must be
 * there. */
#define DV_CUDA_NEEDED(X)                                                                          \
    X(init, "cuInit", "cuInit", 2000, (unsigned flags))                                            \
    X(driver_version, "cuDriverGetVersion", "cuDriverGetVersion", 2020, (int *version))            \
    X(device_count, "cuDeviceGetCount", "cuDeviceGetCount", 2000, (int *count))                    \
    X(device_get, "cuDeviceGet", "cuDeviceGet", 2000, (int *device, int ordinal))                  \
    X(device_name, "cuDeviceGetName", "cuDeviceGetName", 2000, (char *name, int len, int device))  \
    X(device_attribute, "cuDeviceGetAttribute", "cuDeviceGetAttribute", 2000,                      \
      (int *value, int attribute, int device))                                                     \
    X(ctx_retain, "cuDevicePrimaryCtxRetain", "cuDevicePrimaryCtxRetain", 7000,                    \
      (struct dv_cuda_ctx * *ctx, int device))                                                     \
    X(ctx_release, "cuDevicePrimaryCtxRelease", "cuDevicePrimaryCtxRelease_v2", 11000,             \
      (int device))                                                                                \
    X(ctx_set_current, "cuCtxSetCurrent", "cuCtxSetCurrent", 4000, (struct dv_cuda_ctx * ctx))     \
    X(ctx_synchronize, "cuCtxSynchronize", "cuCtxSynchronize", 2000, (void))                       \
    X(module_load, "cuModuleLoadData", "cuModuleLoadData", 2000,                                   \
      (struct dv_cuda_module * *module, const void *image))                                        \
    X(module_function, "cuModuleGetFunction", "cuModuleGetFunction", 2000,                         \
      (struct dv_cuda_function * *function, struct dv_cuda_module * module, const char *name))     \
    X(stream_create, "cuStreamCreate", "cuStreamCreate", 2000,                                     \
      (struct dv_cuda_stream * *stream, unsigned flags))                                           \
    X(stream_destroy, "cuStreamDestroy", "cuStreamDestroy_v2", 4000,                               \
      (struct dv_cuda_stream * stream))                                                            \
    X(stream_synchronize, "cuStreamSynchronize", "cuStreamSynchronize", 2000,                      \
      (struct dv_cuda_stream * stream))                                                            \
    X(event_create, "cuEventCreate", "cuEventCreate", 2000,                                        \
      (struct dv_cuda_event * *event, unsigned flags))                                             \
    X(event_destroy, "cuEventDestroy", "cuEventDestroy_v2", 4000, (struct dv_cuda_event * event))  \
    X(event_record, "cuEventRecord", "cuEventRecord", 2000,                                        \
      (struct dv_cuda_event * event, struct dv_cuda_stream * stream))                              \
    X(event_query, "cuEventQuery", "cuEventQuery", 2000, (struct dv_cuda_event * event))           \
    X(event_synchronize, "cuEventSynchronize", "cuEventSynchronize", 2000,                         \
      (struct dv_cuda_event * event))                                                              \
    X(event_elapsed, "cuEventElapsedTime", "cuEventElapsedTime", 2000,                             \
      (float *ms, struct dv_cuda_event *from, struct dv_cuda_event *to))                           \
    X(launch, "cuLaunchKernel", "cuLaunchKernel", 4000,                                            \
      (struct dv_cuda_function * function, unsigned grid_x, unsigned grid_y, unsigned grid_z,      \
       unsigned block_x, unsigned block_y, unsigned block_z, unsigned shared_bytes,                \
       struct dv_cuda_stream *stream, void **params, void **extra))                                \
    X(mem_alloc, "cuMemAlloc", "cuMemAlloc_v2", 3020, (uint64_t * address, size_t bytes))          \
    X(mem_free, "cuMemFree", "cuMemFree_v2", 3020, (uint64_t address))                             \
    X(mem_info, "cuMemGetInfo", "cuMemGetInfo_v2", 3020,                                           \
      (size_t * free_bytes, size_t * total_bytes))                                                 \
    X(error_name, "cuGetErrorName", "cuGetErrorName", 6000, (int error, const char **name))

#define DV_CUDA_OPTIONAL(X)                                                                        \
    X(mem_alloc_pitch, "cuMemAllocPitch", "cuMemAllocPitch_v2", 3020,                              \
      (uint64_t * address, size_t * pitch, size_t width, size_t height, unsigned element))         \
    X(mem_alloc_managed, "cuMemAllocManaged", "cuMemAllocManaged", 6000,                           \
      (uint64_t * address, size_t bytes, unsigned flags))                                          \
    X(mem_alloc_async, "cuMemAllocAsync", "cuMemAllocAsync", 11020,                                \
      (uint64_t * address, size_t bytes, struct dv_cuda_stream * stream))                          \
    X(mem_free_async, "cuMemFreeAsync", "cuMemFreeAsync", 11020,                                   \
      (uint64_t address, struct dv_cuda_stream * stream))                                          \
    X(pool_create, "cuMemPoolCreate", "cuMemPoolCreate", 11020,                                    \
      (struct dv_cuda_pool * *pool, const struct dv_cuda_pool_props *props))                       \
    X(pool_destroy, "cuMemPoolDestroy", "cuMemPoolDestroy", 11020, (struct dv_cuda_pool * pool))   \
    X(pool_alloc_async, "cuMemAllocFromPoolAsync", "cuMemAllocFromPoolAsync", 11020,               \
      (uint64_t * address, size_t bytes, struct dv_cuda_pool * pool,                               \
       struct dv_cuda_stream * stream))                                                            \
    X(mem_create, "cuMemCreate", "cuMemCreate", 10020,                                             \
      (uint64_t * handle, size_t bytes, const struct dv_cuda_allocation_prop *prop,                \
       uint64_t flags))                                                                            \
    X(mem_release, "cuMemRelease", "cuMemRelease", 10020, (uint64_t handle))                       \
    X(mem_granularity, "cuMemGetAllocationGranularity", "cuMemGetAllocationGranularity", 10020,    \
      (size_t * granularity, const struct dv_cuda_allocation_prop *prop, int option))              \
    X(array_create, "cuArrayCreate", "cuArrayCreate_v2", 3020,                                     \
      (struct dv_cuda_array * *array, const struct dv_cuda_array_descriptor *descriptor))          \
    X(array_3d_create, "cuArray3DCreate", "cuArray3DCreate_v2", 3020,                              \
      (struct dv_cuda_array * *array, const struct dv_cuda_array_3d_descriptor *descriptor))       \
    X(array_destroy, "cuArrayDestroy", "cuArrayDestroy", 2000, (struct dv_cuda_array * array))     \
    X(host_alloc, "cuMemAllocHost", "cuMemAllocHost_v2", 3020, (void **host, size_t bytes))        \
    X(host_free, "cuMemFreeHost", "cuMemFreeHost", 2000, (void *host))                             \
    X(copy_h2d, "cuMemcpyHtoDAsync", "cuMemcpyHtoDAsync_v2", 3020,                                 \
      (uint64_t to, const void *from, size_t bytes, struct dv_cuda_stream *stream))                \
    X(copy_d2h, "cuMemcpyDtoHAsync", "cuMemcpyDtoHAsync_v2", 3020,                                 \
      (void *to, uint64_t from, size_t bytes, struct dv_cuda_stream *stream))                      \
    X(copy_d2d, "cuMemcpyDtoDAsync", "cuMemcpyDtoDAsync_v2", 3020,                                 \
      (uint64_t to, uint64_t from, size_t bytes, struct dv_cuda_stream * stream))                  \
    X(graph_create, "cuGraphCreate", "cuGraphCreate", 10000,                                       \
      (struct dv_cuda_graph * *graph, unsigned flags))                                             \
    X(graph_destroy, "cuGraphDestroy", "cuGraphDestroy", 10000, (struct dv_cuda_graph * graph))    \
    X(graph_add_kernel, "cuGraphAddKernelNode", "cuGraphAddKernelNode", 10000,                     \
      (struct dv_cuda_graph_node * *node, struct dv_cuda_graph * graph,                            \
       struct dv_cuda_graph_node *const *after, size_t n_after,                                    \
       const struct dv_cuda_kernel_node_params *params))                                           \
    X(graph_instantiate, "cuGraphInstantiateWithFlags", "cuGraphInstantiateWithFlags", 11040,      \
      (struct dv_cuda_graph_exec * *exec, struct dv_cuda_graph * graph, uint64_t flags))           \
    X(graph_launch, "cuGraphLaunch", "cuGraphLaunch", 10000,                                       \
      (struct dv_cuda_graph_exec * exec, struct dv_cuda_stream * stream))                          \
    X(graph_exec_destroy, "cuGraphExecDestroy", "cuGraphExecDestroy", 10000,                       \
      (struct dv_cuda_graph_exec * exec))

#define DV_CUDA_MEMBER(member, name, symbol, version, params) int(*member) params;
struct dv_cuda_driver {
    void *library; /* of dlopen */
    DV_CUDA_NEEDED(DV_CUDA_MEMBER)
    DV_CUDA_OPTIONAL(DV_CUDA_MEMBER)
};
#undef DV_CUDA_MEMBER

/* Loads libcuda.so.1 and finds the calls; does not call cuInit. 0; -ENOENT (no such library);
 * -ENOSYS (a library without a needed call). */
int dv_cuda_open(struct dv_cuda_driver *ret, struct dv_err *err);
void dv_cuda_close(struct dv_cuda_driver *cuda);

/* 0 for CUDA_SUCCESS; else the CUresult (positive) with "NAME: CUDA_ERROR_... (N)" in err. */
int dv_cuda_check(const struct dv_cuda_driver *cuda, int result, const char *call,
                  struct dv_err *err);
/* True when an optional call is there; else says so in err. */
static inline bool dv_cuda_has(bool present, const char *call, struct dv_err *err)
{
    if (!present)
        dv_err_set(err, -ENOSYS, "this CUDA driver has no %s", call);
    return present;
}

#endif
