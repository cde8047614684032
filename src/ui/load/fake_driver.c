/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A libcuda.so.1 for the tests of divvy-load: one device of 1 GiB on which an iteration takes a
 * nanosecond of made-up time, and which counts what it gave. Waiting takes no time at all. What is
 * still held when the context is released is said on stderr: the caller leaks.
 */
#include "abi_cuda.h"
#include "base/macros.h"

#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define MEMORY (UINT64_C(1) << 30)
#define SMS 4

#define CALL __attribute__((visibility("default"))) int
#pragma GCC diagnostic ignored "-Wmissing-prototypes"

struct dv_cuda_stream {
    uint64_t done_ns;
};

struct dv_cuda_event {
    uint64_t ns;
};

struct dv_cuda_graph {
    uint64_t ns;
};

struct dv_cuda_array {
    uint64_t bytes;
};

static uint64_t held, given;
static int objects, unknown_kernels;
static uint64_t sizes[4096];
static size_t n_sizes;

static int take(uint64_t bytes, uint64_t *ret)
{
    if (bytes > MEMORY - held || n_sizes == sizeof sizes / sizeof *sizes)
        return DV_CUDA_ERROR_OUT_OF_MEMORY;
    held += bytes;
    given += bytes;
    sizes[n_sizes++] = bytes;
    *ret = n_sizes; /* a handle from 1 on */
    return 0;
}

static int give(uint64_t handle)
{
    if (!handle || handle > n_sizes || !sizes[handle - 1])
        return DV_CUDA_ERROR_INVALID_VALUE;
    held -= sizes[handle - 1];
    sizes[handle - 1] = 0;
    return 0;
}

CALL cuInit(unsigned flags)
{
    return 0;
}

CALL cuDriverGetVersion(int *version)
{
    *version = 12090;
    return 0;
}

CALL cuDeviceGetCount(int *count)
{
    *count = 1;
    return 0;
}

CALL cuDeviceGet(int *device, int ordinal)
{
    *device = 0;
    return ordinal ? DV_CUDA_ERROR_INVALID_DEVICE : 0;
}

CALL cuDeviceGetName(char *name, int len, int device)
{
    snprintf(name, (size_t)len, "fake");
    return 0;
}

CALL cuDeviceGetAttribute(int *value, int attribute, int device)
{
    *value = attribute == DV_CUDA_ATTR_SM_COUNT ? SMS : 0;
    return 0;
}

CALL cuDevicePrimaryCtxRetain(struct dv_cuda_ctx **ctx, int device)
{
    *ctx = (struct dv_cuda_ctx *)&held;
    objects++;
    return 0;
}

CALL cuDevicePrimaryCtxRelease_v2(int device)
{
    objects--;
    if (held || objects || unknown_kernels)
        fprintf(stderr, "leak: %llu bytes, %d objects, %d unknown kernels\n",
                (unsigned long long)held, objects, unknown_kernels);
    return 0;
}

CALL cuCtxSetCurrent(struct dv_cuda_ctx *ctx)
{
    return 0;
}

CALL cuCtxSynchronize(void)
{
    return 0;
}

CALL cuModuleLoadData(struct dv_cuda_module **module, const void *image)
{
    *module = (struct dv_cuda_module *)&given;
    return strstr(image, ".entry divvy_spin") ? 0 : DV_CUDA_ERROR_INVALID_PTX;
}

CALL cuModuleGetFunction(struct dv_cuda_function **function, struct dv_cuda_module *module,
                         const char *name)
{
    static int spin, copy;
    *function = (struct dv_cuda_function *)(strcmp(name, "divvy_spin") ? &copy : &spin);
    return 0;
}

CALL cuStreamCreate(struct dv_cuda_stream **stream, unsigned flags)
{
    *stream = calloc(1, sizeof **stream);
    objects++;
    return *stream ? 0 : DV_CUDA_ERROR_OUT_OF_MEMORY;
}

CALL cuStreamDestroy_v2(struct dv_cuda_stream *stream)
{
    free(stream);
    objects--;
    return 0;
}

CALL cuStreamSynchronize(struct dv_cuda_stream *stream)
{
    return 0;
}

CALL cuEventCreate(struct dv_cuda_event **event, unsigned flags)
{
    *event = calloc(1, sizeof **event);
    objects++;
    return *event ? 0 : DV_CUDA_ERROR_OUT_OF_MEMORY;
}

CALL cuEventDestroy_v2(struct dv_cuda_event *event)
{
    free(event);
    objects--;
    return 0;
}

CALL cuEventRecord(struct dv_cuda_event *event, struct dv_cuda_stream *stream)
{
    event->ns = stream->done_ns;
    return 0;
}

CALL cuEventQuery(struct dv_cuda_event *event)
{
    return 0;
}

CALL cuEventSynchronize(struct dv_cuda_event *event)
{
    return 0;
}

CALL cuEventElapsedTime(float *ms, struct dv_cuda_event *from, struct dv_cuda_event *to)
{
    *ms = (float)((double)(to->ns - from->ns) / 1e6);
    return 0;
}

CALL cuLaunchKernel(struct dv_cuda_function *function, unsigned grid_x, unsigned grid_y,
                    unsigned grid_z, unsigned block_x, unsigned block_y, unsigned block_z,
                    unsigned shared_bytes, struct dv_cuda_stream *stream, void **params,
                    void **extra)
{
    stream->done_ns += *(uint64_t *)params[0];
    unknown_kernels += grid_x * block_x < SMS * 1024u;
    return 0;
}

CALL cuMemAlloc_v2(uint64_t *address, size_t bytes)
{
    return take(bytes, address);
}

CALL cuMemFree_v2(uint64_t address)
{
    return give(address);
}

CALL cuMemGetInfo_v2(size_t *free_bytes, size_t *total)
{
    *free_bytes = MEMORY - held;
    *total = MEMORY;
    return 0;
}

CALL cuGetErrorName(int error, const char **name)
{
    *name = error == DV_CUDA_ERROR_OUT_OF_MEMORY ? "CUDA_ERROR_OUT_OF_MEMORY" : "CUDA_ERROR_OTHER";
    return 0;
}

CALL cuMemAllocPitch_v2(uint64_t *address, size_t *pitch, size_t width, size_t height,
                        unsigned element)
{
    *pitch = width;
    return take(width * height, address);
}

CALL cuMemAllocManaged(uint64_t *address, size_t bytes, unsigned flags)
{
    return take(bytes, address);
}

CALL cuMemAllocAsync(uint64_t *address, size_t bytes, struct dv_cuda_stream *stream)
{
    return take(bytes, address);
}

CALL cuMemFreeAsync(uint64_t address, struct dv_cuda_stream *stream)
{
    return give(address);
}

CALL cuMemPoolCreate(struct dv_cuda_pool **pool, const struct dv_cuda_pool_props *props)
{
    *pool = (struct dv_cuda_pool *)&objects;
    objects++;
    return 0;
}

CALL cuMemPoolDestroy(struct dv_cuda_pool *pool)
{
    objects--;
    return 0;
}

CALL cuMemAllocFromPoolAsync(uint64_t *address, size_t bytes, struct dv_cuda_pool *pool,
                             struct dv_cuda_stream *stream)
{
    return take(bytes, address);
}

CALL cuMemCreate(uint64_t *handle, size_t bytes, const struct dv_cuda_allocation_prop *prop,
                 uint64_t flags)
{
    return bytes % (2 << 20) ? DV_CUDA_ERROR_INVALID_VALUE : take(bytes, handle);
}

CALL cuMemRelease(uint64_t handle)
{
    return give(handle);
}

CALL cuMemGetAllocationGranularity(size_t *granularity, const struct dv_cuda_allocation_prop *prop,
                                   int option)
{
    *granularity = 2 << 20;
    return 0;
}

CALL cuArrayCreate_v2(struct dv_cuda_array **array, const struct dv_cuda_array_descriptor *d)
{
    uint64_t handle = 0;
    int r = take(d->width * DV_MAX(d->height, 1) * d->channels * 4, &handle);
    *array = (struct dv_cuda_array *)(uintptr_t)handle;
    return r;
}

CALL cuArray3DCreate_v2(struct dv_cuda_array **array, const struct dv_cuda_array_3d_descriptor *d)
{
    uint64_t handle = 0;
    int r = take(d->width * d->height * d->depth * d->channels * 4, &handle);
    *array = (struct dv_cuda_array *)(uintptr_t)handle;
    return r;
}

CALL cuArrayDestroy(struct dv_cuda_array *array)
{
    return give((uint64_t)(uintptr_t)array);
}

CALL cuMemAllocHost_v2(void **host, size_t bytes)
{
    *host = malloc(bytes);
    objects++;
    return *host ? 0 : DV_CUDA_ERROR_OUT_OF_MEMORY;
}

CALL cuMemFreeHost(void *host)
{
    free(host);
    objects--;
    return 0;
}

CALL cuMemcpyHtoDAsync_v2(uint64_t to, const void *from, size_t bytes,
                          struct dv_cuda_stream *stream)
{
    return 0;
}

CALL cuMemcpyDtoHAsync_v2(void *to, uint64_t from, size_t bytes, struct dv_cuda_stream *stream)
{
    return 0;
}

CALL cuMemcpyDtoDAsync_v2(uint64_t to, uint64_t from, size_t bytes, struct dv_cuda_stream *stream)
{
    return 0;
}

CALL cuGraphCreate(struct dv_cuda_graph **graph, unsigned flags)
{
    *graph = calloc(1, sizeof **graph);
    objects++;
    return *graph ? 0 : DV_CUDA_ERROR_OUT_OF_MEMORY;
}

CALL cuGraphDestroy(struct dv_cuda_graph *graph)
{
    free(graph);
    objects--;
    return 0;
}

CALL cuGraphAddKernelNode(struct dv_cuda_graph_node **node, struct dv_cuda_graph *graph,
                          struct dv_cuda_graph_node *const *after, size_t n_after,
                          const struct dv_cuda_kernel_node_params *params)
{
    graph->ns += *(uint64_t *)params->params[0];
    *node = (struct dv_cuda_graph_node *)graph;
    return 0;
}

CALL cuGraphInstantiateWithFlags(struct dv_cuda_graph_exec **exec, struct dv_cuda_graph *graph,
                                 uint64_t flags)
{
    *exec = (struct dv_cuda_graph_exec *)graph;
    objects++;
    return 0;
}

CALL cuGraphLaunch(struct dv_cuda_graph_exec *exec, struct dv_cuda_stream *stream)
{
    stream->done_ns += ((struct dv_cuda_graph *)exec)->ns;
    return 0;
}

CALL cuGraphExecDestroy(struct dv_cuda_graph_exec *exec)
{
    objects--;
    return 0;
}
