/* SPDX-License-Identifier: Apache-2.0 */
/*
 * For tests: the entry points of libcuda.so.1 that they call, a server of their own, and what the
 * server says of this process. A test program calls dv_cutest_start() before anything else.
 *
 *     assert_int_equal(cuMemAlloc_v2(&address, 1 << 20), 0);
 *     assert_int_equal(dv_cutest_used() - before, 1 << 20);
 */
#ifndef DV_SIM_CUDA_TESTING_TESTING_H
#define DV_SIM_CUDA_TESTING_TESTING_H

#include "abi_cuda.h"
#include "server/fake.h"

#include <setjmp.h>
#include <stdarg.h>
#include <string.h>

#include <cmocka.h>

#define ok(call) assert_int_equal((call), 0)

/* A server on a built-in node or the text of one, and $DIVVY_SIM_SOCKET. It ends with the program.
 */
struct dv_fakenode dv_cutest_start(const char *node);
/* Bytes that the server counts for this process on GPU 0. */
uint64_t dv_cutest_used(const struct dv_fakenode *node);
/* PTX with divvy_spin, divvy_copy, divvy_fault, `plain` and a variable `table`. */
extern const char dv_cutest_ptx[];

int cuInit(unsigned int);
int cuGetProcAddress(const char *, void **, int, uint64_t);
int cuGetProcAddress_v2(const char *, void **, int, uint64_t, int *);
int cuDeviceGetCount(int *);
int cuDeviceGetName(char *, int, int);
int cuDeviceGetUuid_v2(struct dv_cuda_uuid *, int);
int cuDeviceTotalMem_v2(size_t *, int);
int cuDeviceGetAttribute(int *, int, int);
int cuDeviceGetPCIBusId(char *, int, int);
int cuDeviceGetByPCIBusId(int *, const char *);
int cuDevicePrimaryCtxRetain(struct dv_cuda_ctx **, int);
int cuDevicePrimaryCtxRelease_v2(int);
int cuDevicePrimaryCtxReset_v2(int);
int cuDevicePrimaryCtxGetState(int, unsigned int *, int *);
int cuDevicePrimaryCtxSetFlags_v2(int, unsigned int);
int cuCtxCreate_v2(struct dv_cuda_ctx **, unsigned int, int);
int cuCtxDestroy_v2(struct dv_cuda_ctx *);
int cuCtxPushCurrent_v2(struct dv_cuda_ctx *);
int cuCtxPopCurrent_v2(struct dv_cuda_ctx **);
int cuCtxSetCurrent(struct dv_cuda_ctx *);
int cuCtxGetCurrent(struct dv_cuda_ctx **);
int cuCtxGetDevice(int *);
int cuCtxSynchronize(void);
int cuCtxSetLimit(int, size_t);
int cuCtxGetLimit(size_t *, int);
int cuModuleLoadData(struct dv_cuda_module **, const void *);
int cuModuleUnload(struct dv_cuda_module *);
int cuModuleGetFunction(struct dv_cuda_function **, struct dv_cuda_module *, const char *);
int cuModuleGetGlobal_v2(uint64_t *, size_t *, struct dv_cuda_module *, const char *);
int cuLibraryLoadData(struct dv_cuda_library **, const void *, const int *, void **, unsigned int,
                      const int *, void **, unsigned int);
int cuLibraryGetKernel(struct dv_cuda_function **, struct dv_cuda_library *, const char *);
int cuLibraryUnload(struct dv_cuda_library *);
int cuLaunchKernel(struct dv_cuda_function *, unsigned int, unsigned int, unsigned int,
                   unsigned int, unsigned int, unsigned int, unsigned int, struct dv_cuda_stream *,
                   void **, void **);
int cuLaunchKernel_ptsz(struct dv_cuda_function *, unsigned int, unsigned int, unsigned int,
                        unsigned int, unsigned int, unsigned int, unsigned int,
                        struct dv_cuda_stream *, void **, void **);
int cuLaunchKernelEx(const struct dv_cuda_launch_config *, struct dv_cuda_function *, void **,
                     void **);
int cuLaunchHostFunc(struct dv_cuda_stream *, void (*)(void *), void *);
int cuStreamCreate(struct dv_cuda_stream **, unsigned int);
int cuStreamDestroy_v2(struct dv_cuda_stream *);
int cuStreamSynchronize(struct dv_cuda_stream *);
int cuStreamSynchronize_ptsz(struct dv_cuda_stream *);
int cuStreamQuery(struct dv_cuda_stream *);
int cuStreamWaitEvent(struct dv_cuda_stream *, struct dv_cuda_event *, unsigned int);
int cuStreamWaitValue32_v2(struct dv_cuda_stream *, uint64_t, uint32_t, unsigned int);
int cuStreamWriteValue32_v2(struct dv_cuda_stream *, uint64_t, uint32_t, unsigned int);
int cuStreamBeginCapture_v2(struct dv_cuda_stream *, int);
int cuStreamEndCapture(struct dv_cuda_stream *, struct dv_cuda_graph **);
int cuStreamIsCapturing(struct dv_cuda_stream *, int *);
int cuEventCreate(struct dv_cuda_event **, unsigned int);
int cuEventDestroy_v2(struct dv_cuda_event *);
int cuEventRecord(struct dv_cuda_event *, struct dv_cuda_stream *);
int cuEventQuery(struct dv_cuda_event *);
int cuEventSynchronize(struct dv_cuda_event *);
int cuEventElapsedTime(float *, struct dv_cuda_event *, struct dv_cuda_event *);
int cuGraphCreate(struct dv_cuda_graph **, unsigned int);
int cuGraphDestroy(struct dv_cuda_graph *);
int cuGraphGetNodes(struct dv_cuda_graph *, struct dv_cuda_graph_node **, size_t *);
int cuGraphAddEmptyNode(struct dv_cuda_graph_node **, struct dv_cuda_graph *,
                        struct dv_cuda_graph_node *const *, size_t);
int cuGraphAddKernelNode_v2(struct dv_cuda_graph_node **, struct dv_cuda_graph *,
                            struct dv_cuda_graph_node *const *, size_t,
                            const struct dv_cuda_kernel_node_params *);
int cuGraphAddMemAllocNode(struct dv_cuda_graph_node **, struct dv_cuda_graph *,
                           struct dv_cuda_graph_node *const *, size_t,
                           struct dv_cuda_mem_alloc_node_params *);
int cuGraphAddDependencies(struct dv_cuda_graph *, struct dv_cuda_graph_node *const *,
                           struct dv_cuda_graph_node *const *, size_t);
int cuGraphInstantiateWithFlags(struct dv_cuda_graph_exec **, struct dv_cuda_graph *,
                                unsigned long long);
int cuGraphExecUpdate_v2(struct dv_cuda_graph_exec *, struct dv_cuda_graph *,
                         struct dv_cuda_graph_update_info *);
int cuGraphLaunch(struct dv_cuda_graph_exec *, struct dv_cuda_stream *);
int cuGraphExecDestroy(struct dv_cuda_graph_exec *);
int cuMemAlloc(uint32_t *, unsigned int);
int cuMemFree(uint32_t);
int cuMemAlloc_v2(uint64_t *, size_t);
int cuMemFree_v2(uint64_t);
int cuMemAllocPitch_v2(uint64_t *, size_t *, size_t, size_t, unsigned int);
int cuMemAllocManaged(uint64_t *, size_t, unsigned int);
int cuMemAllocAsync(uint64_t *, size_t, struct dv_cuda_stream *);
int cuMemAllocFromPoolAsync(uint64_t *, size_t, struct dv_cuda_pool *, struct dv_cuda_stream *);
int cuMemFreeAsync(uint64_t, struct dv_cuda_stream *);
int cuMemPoolCreate(struct dv_cuda_pool **, const struct dv_cuda_pool_props *);
int cuMemPoolDestroy(struct dv_cuda_pool *);
int cuMemPoolTrimTo(struct dv_cuda_pool *, size_t);
int cuMemPoolSetAttribute(struct dv_cuda_pool *, int, void *);
int cuMemPoolGetAttribute(struct dv_cuda_pool *, int, void *);
int cuMemCreate(uint64_t *, size_t, const struct dv_cuda_allocation_prop *, unsigned long long);
int cuMemRelease(uint64_t);
int cuMemAddressReserve(uint64_t *, size_t, size_t, uint64_t, unsigned long long);
int cuMemAddressFree(uint64_t, size_t);
int cuMemMap(uint64_t, size_t, size_t, uint64_t, unsigned long long);
int cuMemUnmap(uint64_t, size_t);
int cuMemRetainAllocationHandle(uint64_t *, void *);
int cuMemExportToShareableHandle(void *, uint64_t, int, unsigned long long);
int cuMemImportFromShareableHandle(uint64_t *, void *, int);
int cuArrayCreate_v2(struct dv_cuda_array **, const struct dv_cuda_array_descriptor *);
int cuArrayDestroy(struct dv_cuda_array *);
int cuArray3DCreate_v2(struct dv_cuda_array **, const struct dv_cuda_array_3d_descriptor *);
int cuArrayGetMemoryRequirements(struct dv_cuda_array_requirements *, struct dv_cuda_array *, int);
int cuMipmappedArrayCreate(struct dv_cuda_mipmapped_array **,
                           const struct dv_cuda_array_3d_descriptor *, unsigned int);
int cuMipmappedArrayDestroy(struct dv_cuda_mipmapped_array *);
int cuMemHostAlloc(void **, size_t, unsigned int);
int cuMemFreeHost(void *);
int cuMemGetInfo_v2(size_t *, size_t *);
int cuMemGetAddressRange_v2(uint64_t *, size_t *, uint64_t);
int cuPointerGetAttribute(void *, int, uint64_t);
int cuMemcpyHtoD_v2(uint64_t, const void *, size_t);
int cuMemcpyDtoH_v2(void *, uint64_t, size_t);
int cuMemcpyDtoD_v2(uint64_t, uint64_t, size_t);
int cuMemcpyDtoHAsync_v2(void *, uint64_t, size_t, struct dv_cuda_stream *);
int cuMemcpyHtoDAsync_v2(uint64_t, const void *, size_t, struct dv_cuda_stream *);
int cuMemcpy2D_v2(const struct dv_cuda_memcpy_2d *);
int cuMemsetD8_v2(uint64_t, unsigned char, size_t);
int cuMemsetD16_v2(uint64_t, unsigned short, size_t);
int cuMemsetD32_v2(uint64_t, unsigned int, size_t);
int cuIpcGetMemHandle(struct dv_cuda_ipc_handle *, uint64_t);
int cuIpcOpenMemHandle_v2(uint64_t *, struct dv_cuda_ipc_handle, unsigned int);
int cuIpcCloseMemHandle(uint64_t);
int cuIpcGetEventHandle(struct dv_cuda_ipc_handle *, struct dv_cuda_event *);
int cuIpcOpenEventHandle(struct dv_cuda_event **, struct dv_cuda_ipc_handle);
int cuTexObjectCreate(void); /* one that is not supported */

#endif
