/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The CUDA driver's binary interface, as much of it as divvy needs: the numbers and layouts that a
 * caller of libcuda.so.1 and the library have to agree on. Own wording; the facts (names, numbers,
 * layouts) are those of the public cuda.h and cudaTypedefs.h of CUDA 12.9 and 13.0, x86-64 and
 * aarch64 Linux. Used by the simulated driver (sim/cuda), by what loads a driver with dlopen
 * (platform/cuda, divvy-load) and by the governor.
 *
 *     int (*mem_alloc)(uint64_t *ret_address, size_t bytes) = dlsym(driver, "cuMemAlloc_v2");
 *     if (mem_alloc(&address, 1 << 20) == DV_CUDA_ERROR_OUT_OF_MEMORY)
 *
 * How the C types here stand for the driver's:
 *
 *   CUresult, CUdevice and every enum of the API   int
 *   CUdeviceptr (of _v2 calls and later)           uint64_t
 *   CUdeviceptr_v1                                 uint32_t
 *   CUmemGenericAllocationHandle                   uint64_t
 *   CUcontext, CUstream, ...                       pointer to an opaque struct, below
 *
 * Which symbols there are, and since which CUDA version: abi_cuda_names.def.
 */
#ifndef DV_ABI_CUDA_H
#define DV_ABI_CUDA_H

#include <stddef.h>
#include <stdint.h>

/* ---- results -------------------------------------------------------------------------------- */

/* X(name without CUDA_, number, meaning): what cuGetErrorName and cuGetErrorString know. */
#define DV_CUDA_RESULTS(X)                                                                         \
    X(SUCCESS, 0, "no error")                                                                      \
    X(ERROR_INVALID_VALUE, 1, "an argument is invalid")                                            \
    X(ERROR_OUT_OF_MEMORY, 2, "out of memory")                                                     \
    X(ERROR_NOT_INITIALIZED, 3, "the driver is not initialised")                                   \
    X(ERROR_DEINITIALIZED, 4, "the driver is shutting down")                                       \
    X(ERROR_PROFILER_DISABLED, 5, "the profiler is disabled")                                      \
    X(ERROR_PROFILER_NOT_INITIALIZED, 6, "profiler not initialized")                               \
    X(ERROR_PROFILER_ALREADY_STARTED, 7, "profiler already started")                               \
    X(ERROR_PROFILER_ALREADY_STOPPED, 8, "profiler already stopped")                               \
    X(ERROR_STUB_LIBRARY, 34, "stub library")                                                      \
    X(ERROR_DEVICE_UNAVAILABLE, 46, "the device is busy or unavailable")                           \
    X(ERROR_NO_DEVICE, 100, "no CUDA-capable device is there")                                     \
    X(ERROR_INVALID_DEVICE, 101, "no such device")                                                 \
    X(ERROR_DEVICE_NOT_LICENSED, 102, "device not licensed")                                       \
    X(ERROR_INVALID_IMAGE, 200, "the kernel image is invalid")                                     \
    X(ERROR_INVALID_CONTEXT, 201, "no context, or an invalid one")                                 \
    X(ERROR_CONTEXT_ALREADY_CURRENT, 202, "context already current")                               \
    X(ERROR_MAP_FAILED, 205, "map failed")                                                         \
    X(ERROR_UNMAP_FAILED, 206, "unmap failed")                                                     \
    X(ERROR_ARRAY_IS_MAPPED, 207, "array is mapped")                                               \
    X(ERROR_ALREADY_MAPPED, 208, "already mapped")                                                 \
    X(ERROR_NO_BINARY_FOR_GPU, 209, "the image has no code for this device")                       \
    X(ERROR_ALREADY_ACQUIRED, 210, "already acquired")                                             \
    X(ERROR_NOT_MAPPED, 211, "not mapped")                                                         \
    X(ERROR_NOT_MAPPED_AS_ARRAY, 212, "not mapped as array")                                       \
    X(ERROR_NOT_MAPPED_AS_POINTER, 213, "not mapped as pointer")                                   \
    X(ERROR_ECC_UNCORRECTABLE, 214, "ECC uncorrectable")                                           \
    X(ERROR_UNSUPPORTED_LIMIT, 215, "unsupported limit")                                           \
    X(ERROR_CONTEXT_ALREADY_IN_USE, 216, "context already in use")                                 \
    X(ERROR_PEER_ACCESS_UNSUPPORTED, 217, "peer access unsupported")                               \
    X(ERROR_INVALID_PTX, 218, "the PTX does not compile")                                          \
    X(ERROR_INVALID_GRAPHICS_CONTEXT, 219, "invalid graphics context")                             \
    X(ERROR_NVLINK_UNCORRECTABLE, 220, "NVLink uncorrectable")                                     \
    X(ERROR_JIT_COMPILER_NOT_FOUND, 221, "JIT compiler not found")                                 \
    X(ERROR_UNSUPPORTED_PTX_VERSION, 222, "unsupported PTX version")                               \
    X(ERROR_JIT_COMPILATION_DISABLED, 223, "JIT compilation disabled")                             \
    X(ERROR_UNSUPPORTED_EXEC_AFFINITY, 224, "unsupported exec affinity")                           \
    X(ERROR_UNSUPPORTED_DEVSIDE_SYNC, 225, "unsupported devside sync")                             \
    X(ERROR_CONTAINED, 226, "contained")                                                           \
    X(ERROR_INVALID_SOURCE, 300, "invalid source")                                                 \
    X(ERROR_FILE_NOT_FOUND, 301, "file not found")                                                 \
    X(ERROR_SHARED_OBJECT_SYMBOL_NOT_FOUND, 302, "shared object symbol not found")                 \
    X(ERROR_SHARED_OBJECT_INIT_FAILED, 303, "shared object init failed")                           \
    X(ERROR_OPERATING_SYSTEM, 304, "operating system")                                             \
    X(ERROR_INVALID_HANDLE, 400, "an invalid handle")                                              \
    X(ERROR_ILLEGAL_STATE, 401, "illegal state")                                                   \
    X(ERROR_LOSSY_QUERY, 402, "lossy query")                                                       \
    X(ERROR_NOT_FOUND, 500, "the named symbol was not found")                                      \
    X(ERROR_NOT_READY, 600, "the device is not ready yet")                                         \
    X(ERROR_ILLEGAL_ADDRESS, 700, "a kernel used an illegal address")                              \
    X(ERROR_LAUNCH_OUT_OF_RESOURCES, 701, "the launch asks for too many resources")                \
    X(ERROR_LAUNCH_TIMEOUT, 702, "launch timeout")                                                 \
    X(ERROR_LAUNCH_INCOMPATIBLE_TEXTURING, 703, "launch incompatible texturing")                   \
    X(ERROR_PEER_ACCESS_ALREADY_ENABLED, 704, "peer access already enabled")                       \
    X(ERROR_PEER_ACCESS_NOT_ENABLED, 705, "peer access not enabled")                               \
    X(ERROR_PRIMARY_CONTEXT_ACTIVE, 708, "primary context active")                                 \
    X(ERROR_CONTEXT_IS_DESTROYED, 709, "context is destroyed")                                     \
    X(ERROR_ASSERT, 710, "assert")                                                                 \
    X(ERROR_TOO_MANY_PEERS, 711, "too many peers")                                                 \
    X(ERROR_HOST_MEMORY_ALREADY_REGISTERED, 712, "host memory already registered")                 \
    X(ERROR_HOST_MEMORY_NOT_REGISTERED, 713, "host memory not registered")                         \
    X(ERROR_HARDWARE_STACK_ERROR, 714, "hardware stack error")                                     \
    X(ERROR_ILLEGAL_INSTRUCTION, 715, "illegal instruction")                                       \
    X(ERROR_MISALIGNED_ADDRESS, 716, "misaligned address")                                         \
    X(ERROR_INVALID_ADDRESS_SPACE, 717, "invalid address space")                                   \
    X(ERROR_INVALID_PC, 718, "invalid pc")                                                         \
    X(ERROR_LAUNCH_FAILED, 719, "the launch failed")                                               \
    X(ERROR_COOPERATIVE_LAUNCH_TOO_LARGE, 720, "cooperative launch too large")                     \
    X(ERROR_TENSOR_MEMORY_LEAK, 721, "tensor memory leak")                                         \
    X(ERROR_NOT_PERMITTED, 800, "not permitted")                                                   \
    X(ERROR_NOT_SUPPORTED, 801, "this operation is not supported")                                 \
    X(ERROR_SYSTEM_NOT_READY, 802, "the system is not ready")                                      \
    X(ERROR_SYSTEM_DRIVER_MISMATCH, 803, "system driver mismatch")                                 \
    X(ERROR_COMPAT_NOT_SUPPORTED_ON_DEVICE, 804, "compat not supported on device")                 \
    X(ERROR_MPS_CONNECTION_FAILED, 805, "MPS connection failed")                                   \
    X(ERROR_MPS_RPC_FAILURE, 806, "MPS rpc failure")                                               \
    X(ERROR_MPS_SERVER_NOT_READY, 807, "MPS server not ready")                                     \
    X(ERROR_MPS_MAX_CLIENTS_REACHED, 808, "MPS max clients reached")                               \
    X(ERROR_MPS_MAX_CONNECTIONS_REACHED, 809, "MPS max connections reached")                       \
    X(ERROR_MPS_CLIENT_TERMINATED, 810, "MPS client terminated")                                   \
    X(ERROR_CDP_NOT_SUPPORTED, 811, "cdp not supported")                                           \
    X(ERROR_CDP_VERSION_MISMATCH, 812, "cdp version mismatch")                                     \
    X(ERROR_STREAM_CAPTURE_UNSUPPORTED, 900, "stream capture unsupported")                         \
    X(ERROR_STREAM_CAPTURE_INVALIDATED, 901, "stream capture invalidated")                         \
    X(ERROR_STREAM_CAPTURE_MERGE, 902, "stream capture merge")                                     \
    X(ERROR_STREAM_CAPTURE_UNMATCHED, 903, "stream capture unmatched")                             \
    X(ERROR_STREAM_CAPTURE_UNJOINED, 904, "stream capture unjoined")                               \
    X(ERROR_STREAM_CAPTURE_ISOLATION, 905, "stream capture isolation")                             \
    X(ERROR_STREAM_CAPTURE_IMPLICIT, 906, "stream capture implicit")                               \
    X(ERROR_CAPTURED_EVENT, 907, "captured event")                                                 \
    X(ERROR_STREAM_CAPTURE_WRONG_THREAD, 908, "stream capture wrong thread")                       \
    X(ERROR_TIMEOUT, 909, "timeout")                                                               \
    X(ERROR_GRAPH_EXEC_UPDATE_FAILURE, 910, "graph exec update failure")                           \
    X(ERROR_EXTERNAL_DEVICE, 911, "external device")                                               \
    X(ERROR_INVALID_CLUSTER_SIZE, 912, "invalid cluster size")                                     \
    X(ERROR_FUNCTION_NOT_LOADED, 913, "function not loaded")                                       \
    X(ERROR_INVALID_RESOURCE_TYPE, 914, "invalid resource type")                                   \
    X(ERROR_INVALID_RESOURCE_CONFIGURATION, 915, "invalid resource configuration")                 \
    X(ERROR_KEY_ROTATION, 916, "key rotation")                                                     \
    X(ERROR_UNKNOWN, 999, "unknown error")

#define DV_CUDA_RESULT_ENUM(name, number, meaning) DV_CUDA_##name = number,
enum dv_cuda_result { DV_CUDA_RESULTS(DV_CUDA_RESULT_ENUM) };
#undef DV_CUDA_RESULT_ENUM

/* ---- handles: pointers to these; what is behind them is the driver's own --------------------- */

struct dv_cuda_ctx;
struct dv_cuda_module;
struct dv_cuda_function;
struct dv_cuda_library;
struct dv_cuda_kernel;
struct dv_cuda_stream;
struct dv_cuda_event;
struct dv_cuda_array;
struct dv_cuda_mipmapped_array;
struct dv_cuda_pool;
struct dv_cuda_graph;
struct dv_cuda_graph_node;
struct dv_cuda_graph_exec;

/* Stream handles with a fixed meaning; 0 is one of them, which one depends on the symbol: legacy
 * for plain names, the thread's own for the _ptsz and _ptds ones. */
#define DV_CUDA_STREAM_LEGACY ((struct dv_cuda_stream *)1)
#define DV_CUDA_STREAM_PER_THREAD ((struct dv_cuda_stream *)2)

struct dv_cuda_uuid {
    uint8_t bytes[16];
};

#define DV_CUDA_IPC_HANDLE_SIZE 64
struct dv_cuda_ipc_handle { /* of memory and of events */
    uint8_t bytes[DV_CUDA_IPC_HANDLE_SIZE];
};

/* ---- flags and small enums --------------------------------------------------------------------
 */

enum dv_cuda_ctx_flag {
    DV_CUDA_CTX_SCHED_AUTO = 0x00,
    DV_CUDA_CTX_SCHED_SPIN = 0x01,
    DV_CUDA_CTX_SCHED_YIELD = 0x02,
    DV_CUDA_CTX_SCHED_BLOCKING_SYNC = 0x04,
    DV_CUDA_CTX_SCHED_MASK = 0x07,
    DV_CUDA_CTX_MAP_HOST = 0x08,
    DV_CUDA_CTX_LMEM_RESIZE_TO_MAX = 0x10,
    DV_CUDA_CTX_SYNC_MEMOPS = 0x80,
    DV_CUDA_CTX_FLAGS_MASK = 0xff,
};

enum dv_cuda_stream_flag {
    DV_CUDA_STREAM_DEFAULT = 0,
    DV_CUDA_STREAM_NON_BLOCKING = 1,
};

enum dv_cuda_event_flag {
    DV_CUDA_EVENT_DEFAULT = 0,
    DV_CUDA_EVENT_BLOCKING_SYNC = 1,
    DV_CUDA_EVENT_DISABLE_TIMING = 2,
    DV_CUDA_EVENT_INTERPROCESS = 4,
};

enum dv_cuda_mem_attach_flag {
    DV_CUDA_MEM_ATTACH_GLOBAL = 1,
    DV_CUDA_MEM_ATTACH_HOST = 2,
    DV_CUDA_MEM_ATTACH_SINGLE = 4,
};

enum dv_cuda_host_alloc_flag {
    DV_CUDA_HOST_ALLOC_PORTABLE = 1,
    DV_CUDA_HOST_ALLOC_DEVICE_MAP = 2,
    DV_CUDA_HOST_ALLOC_WRITE_COMBINED = 4,
};

enum dv_cuda_wait_value_flag {
    DV_CUDA_WAIT_VALUE_GEQ = 0,
    DV_CUDA_WAIT_VALUE_EQ = 1,
    DV_CUDA_WAIT_VALUE_AND = 2,
    DV_CUDA_WAIT_VALUE_NOR = 3,
};

enum dv_cuda_memory_type {
    DV_CUDA_MEMORY_HOST = 1,
    DV_CUDA_MEMORY_DEVICE = 2,
    DV_CUDA_MEMORY_ARRAY = 3,
    DV_CUDA_MEMORY_UNIFIED = 4,
};

enum dv_cuda_compute_mode {
    DV_CUDA_COMPUTE_DEFAULT = 0,
    DV_CUDA_COMPUTE_PROHIBITED = 2,
    DV_CUDA_COMPUTE_EXCLUSIVE_PROCESS = 3,
};

enum dv_cuda_limit {
    DV_CUDA_LIMIT_STACK_SIZE = 0,
    DV_CUDA_LIMIT_PRINTF_FIFO_SIZE = 1,
    DV_CUDA_LIMIT_MALLOC_HEAP_SIZE = 2,
    DV_CUDA_LIMIT_DEV_RUNTIME_SYNC_DEPTH = 3,
    DV_CUDA_LIMIT_DEV_RUNTIME_PENDING_LAUNCH_COUNT = 4,
    DV_CUDA_LIMIT_MAX_L2_FETCH_GRANULARITY = 5,
    DV_CUDA_LIMIT_PERSISTING_L2_CACHE_SIZE = 6,
    DV_CUDA_LIMIT_COUNT = 7,
};

enum dv_cuda_capture_status {
    DV_CUDA_CAPTURE_NONE = 0,
    DV_CUDA_CAPTURE_ACTIVE = 1,
    DV_CUDA_CAPTURE_INVALIDATED = 2,
};

enum dv_cuda_capture_mode {
    DV_CUDA_CAPTURE_MODE_GLOBAL = 0,
    DV_CUDA_CAPTURE_MODE_THREAD_LOCAL = 1,
    DV_CUDA_CAPTURE_MODE_RELAXED = 2,
};

enum dv_cuda_proc_address_flag {
    DV_CUDA_PROC_DEFAULT = 0, /* legacy stream variants */
    DV_CUDA_PROC_LEGACY_STREAM = 1,
    DV_CUDA_PROC_PER_THREAD_STREAM = 2,
};

enum dv_cuda_symbol_status {
    DV_CUDA_SYMBOL_FOUND = 0,
    DV_CUDA_SYMBOL_NOT_FOUND = 1,
    DV_CUDA_SYMBOL_VERSION_NOT_SUFFICIENT = 2,
};

enum dv_cuda_device_attribute {
    DV_CUDA_ATTR_MAX_THREADS_PER_BLOCK = 1,
    DV_CUDA_ATTR_CLOCK_RATE = 13,
    DV_CUDA_ATTR_SM_COUNT = 16,
    DV_CUDA_ATTR_COMPUTE_MODE = 20,
    DV_CUDA_ATTR_PCI_BUS = 33,
    DV_CUDA_ATTR_PCI_DEVICE = 34,
    DV_CUDA_ATTR_MEMORY_CLOCK_RATE = 36,
    DV_CUDA_ATTR_MEMORY_BUS_WIDTH = 37,
    DV_CUDA_ATTR_L2_CACHE_SIZE = 38,
    DV_CUDA_ATTR_MAX_THREADS_PER_SM = 39,
    DV_CUDA_ATTR_ASYNC_ENGINES = 40,
    DV_CUDA_ATTR_UNIFIED_ADDRESSING = 41,
    DV_CUDA_ATTR_PCI_DOMAIN = 50,
    DV_CUDA_ATTR_CC_MAJOR = 75,
    DV_CUDA_ATTR_CC_MINOR = 76,
    DV_CUDA_ATTR_COMPUTE_PREEMPTION = 90,
    DV_CUDA_ATTR_VMM_SUPPORTED = 102,
    DV_CUDA_ATTR_POOLS_SUPPORTED = 115,
    DV_CUDA_ATTR_LIMIT = 160, /* no attribute of 13.0 stands at or above this number */
};

enum dv_cuda_pointer_attribute {
    DV_CUDA_POINTER_CONTEXT = 1,
    DV_CUDA_POINTER_MEMORY_TYPE = 2,
    DV_CUDA_POINTER_DEVICE_POINTER = 3,
    DV_CUDA_POINTER_HOST_POINTER = 4,
    DV_CUDA_POINTER_SYNC_MEMOPS = 6,
    DV_CUDA_POINTER_BUFFER_ID = 7,
    DV_CUDA_POINTER_IS_MANAGED = 8,
    DV_CUDA_POINTER_DEVICE_ORDINAL = 9,
    DV_CUDA_POINTER_IS_IPC_CAPABLE = 10,
    DV_CUDA_POINTER_RANGE_START = 11,
    DV_CUDA_POINTER_RANGE_SIZE = 12,
    DV_CUDA_POINTER_MAPPED = 13,
    DV_CUDA_POINTER_ALLOWED_HANDLE_TYPES = 14,
    DV_CUDA_POINTER_IS_RDMA_CAPABLE = 15,
    DV_CUDA_POINTER_ACCESS_FLAGS = 16,
    DV_CUDA_POINTER_POOL = 17,
    DV_CUDA_POINTER_MAPPING_SIZE = 18,
    DV_CUDA_POINTER_MAPPING_BASE = 19,
    DV_CUDA_POINTER_BLOCK_ID = 20,
};

enum dv_cuda_function_attribute {
    DV_CUDA_FUNC_MAX_THREADS_PER_BLOCK = 0,
    DV_CUDA_FUNC_SHARED_BYTES = 1,
    DV_CUDA_FUNC_CONST_BYTES = 2,
    DV_CUDA_FUNC_LOCAL_BYTES = 3,
    DV_CUDA_FUNC_REGISTERS = 4,
    DV_CUDA_FUNC_PTX_VERSION = 5,
    DV_CUDA_FUNC_BINARY_VERSION = 6,
    DV_CUDA_FUNC_CACHE_MODE_CA = 7,
    DV_CUDA_FUNC_MAX_DYNAMIC_SHARED_BYTES = 8,
    DV_CUDA_FUNC_CARVEOUT = 9,
    DV_CUDA_FUNC_CLUSTER_MUST_BE_SET = 10,
    DV_CUDA_FUNC_SCHEDULING_POLICY = 15,
    DV_CUDA_FUNC_ATTRIBUTES = 16,
};

enum dv_cuda_pool_attribute {
    DV_CUDA_POOL_REUSE_FOLLOW_EVENTS = 1, /* int */
    DV_CUDA_POOL_REUSE_OPPORTUNISTIC = 2, /* int */
    DV_CUDA_POOL_REUSE_INTERNAL = 3,      /* int */
    DV_CUDA_POOL_RELEASE_THRESHOLD = 4,   /* uint64_t, this one and below */
    DV_CUDA_POOL_RESERVED_CURRENT = 5,
    DV_CUDA_POOL_RESERVED_HIGH = 6,
    DV_CUDA_POOL_USED_CURRENT = 7,
    DV_CUDA_POOL_USED_HIGH = 8,
};

enum dv_cuda_location_type {
    DV_CUDA_LOCATION_INVALID = 0,
    DV_CUDA_LOCATION_DEVICE = 1,
    DV_CUDA_LOCATION_HOST = 2,
    DV_CUDA_LOCATION_HOST_NUMA = 3,
    DV_CUDA_LOCATION_HOST_NUMA_CURRENT = 4,
};

enum dv_cuda_handle_type {
    DV_CUDA_HANDLE_NONE = 0,
    DV_CUDA_HANDLE_POSIX_FD = 1,
};

enum dv_cuda_access {
    DV_CUDA_ACCESS_NONE = 0,
    DV_CUDA_ACCESS_READ = 1,
    DV_CUDA_ACCESS_READ_WRITE = 3,
};

#define DV_CUDA_ALLOCATION_PINNED 1

enum dv_cuda_node_type {
    DV_CUDA_NODE_KERNEL = 0,
    DV_CUDA_NODE_MEMCPY = 1,
    DV_CUDA_NODE_MEMSET = 2,
    DV_CUDA_NODE_HOST = 3,
    DV_CUDA_NODE_GRAPH = 4,
    DV_CUDA_NODE_EMPTY = 5,
    DV_CUDA_NODE_WAIT_EVENT = 6,
    DV_CUDA_NODE_RECORD_EVENT = 7,
    DV_CUDA_NODE_MEM_ALLOC = 10,
    DV_CUDA_NODE_MEM_FREE = 11,
};

enum dv_cuda_graph_update_result {
    DV_CUDA_UPDATE_SUCCESS = 0,
    DV_CUDA_UPDATE_ERROR = 1,
    DV_CUDA_UPDATE_TOPOLOGY_CHANGED = 2,
    DV_CUDA_UPDATE_NODE_TYPE_CHANGED = 3,
    DV_CUDA_UPDATE_NOT_SUPPORTED = 6,
};

enum dv_cuda_launch_attribute_id {
    DV_CUDA_LAUNCH_IGNORE = 0,
    DV_CUDA_LAUNCH_COOPERATIVE = 2,
    DV_CUDA_LAUNCH_CLUSTER_DIMENSION = 4,
    DV_CUDA_LAUNCH_PRIORITY = 8,
};

/* In the `extra` array of a launch: all parameters as one buffer. */
#define DV_CUDA_LAUNCH_PARAM_END ((void *)0)
#define DV_CUDA_LAUNCH_PARAM_BUFFER ((void *)1)
#define DV_CUDA_LAUNCH_PARAM_SIZE ((void *)2)

enum dv_cuda_array_flag {
    DV_CUDA_ARRAY_LAYERED = 0x01,
    DV_CUDA_ARRAY_SURFACE = 0x02,
    DV_CUDA_ARRAY_CUBEMAP = 0x04,
    DV_CUDA_ARRAY_GATHER = 0x08,
    DV_CUDA_ARRAY_SPARSE = 0x40,
    DV_CUDA_ARRAY_DEFERRED = 0x80,
};

enum dv_cuda_array_format {
    DV_CUDA_FORMAT_U8 = 0x01,
    DV_CUDA_FORMAT_U16 = 0x02,
    DV_CUDA_FORMAT_U32 = 0x03,
    DV_CUDA_FORMAT_S8 = 0x08,
    DV_CUDA_FORMAT_S16 = 0x09,
    DV_CUDA_FORMAT_S32 = 0x0a,
    DV_CUDA_FORMAT_HALF = 0x10,
    DV_CUDA_FORMAT_FLOAT = 0x20,
};

/* ---- structures ------------------------------------------------------------------------------ */

struct dv_cuda_launch_attribute {
    int32_t id; /* enum dv_cuda_launch_attribute_id */
    uint32_t pad;
    union {
        uint64_t bytes[8];
        int32_t cooperative;
        int32_t priority;
        uint32_t cluster[3];
    } value;
};

struct dv_cuda_launch_config { /* of cuLaunchKernelEx */
    uint32_t grid[3];
    uint32_t block[3];
    uint32_t shared_bytes;
    struct dv_cuda_stream *stream;
    struct dv_cuda_launch_attribute *attributes;
    uint32_t n_attributes;
};

struct dv_cuda_memcpy_2d {
    size_t src_x_bytes, src_y;
    int32_t src_type; /* enum dv_cuda_memory_type */
    const void *src_host;
    uint64_t src_device;
    struct dv_cuda_array *src_array;
    size_t src_pitch;
    size_t dst_x_bytes, dst_y;
    int32_t dst_type;
    void *dst_host;
    uint64_t dst_device;
    struct dv_cuda_array *dst_array;
    size_t dst_pitch;
    size_t width_bytes, height;
};

struct dv_cuda_memcpy_3d { /* also of 3DPeer: there the two `context` fields count */
    size_t src_x_bytes, src_y, src_z, src_level;
    int32_t src_type;
    const void *src_host;
    uint64_t src_device;
    struct dv_cuda_array *src_array;
    void *src_context;
    size_t src_pitch, src_height;
    size_t dst_x_bytes, dst_y, dst_z, dst_level;
    int32_t dst_type;
    void *dst_host;
    uint64_t dst_device;
    struct dv_cuda_array *dst_array;
    void *dst_context;
    size_t dst_pitch, dst_height;
    size_t width_bytes, height, depth;
};

struct dv_cuda_array_descriptor {
    size_t width, height; /* elements; height 0 = one-dimensional */
    int32_t format;       /* enum dv_cuda_array_format */
    uint32_t channels;    /* 1, 2, 4 */
};

struct dv_cuda_array_3d_descriptor {
    size_t width, height, depth;
    int32_t format;
    uint32_t channels;
    uint32_t flags; /* enum dv_cuda_array_flag */
};

struct dv_cuda_array_requirements {
    size_t size, alignment;
    uint32_t reserved[4];
};

struct dv_cuda_location {
    int32_t type; /* enum dv_cuda_location_type */
    int32_t id;
};

struct dv_cuda_pool_props {
    int32_t allocation_type; /* DV_CUDA_ALLOCATION_PINNED */
    int32_t handle_types;
    struct dv_cuda_location location;
    void *win32_security;
    size_t max_size; /* 0 = what the device has */
    uint16_t usage;
    uint8_t reserved[54];
};

struct dv_cuda_allocation_prop { /* of cuMemCreate */
    int32_t type;                /* DV_CUDA_ALLOCATION_PINNED */
    int32_t handle_types;        /* enum dv_cuda_handle_type */
    struct dv_cuda_location location;
    void *win32_meta;
    uint8_t compression, rdma_capable;
    uint16_t usage;
    uint8_t reserved[4];
};

struct dv_cuda_access_desc {
    struct dv_cuda_location location;
    int32_t flags; /* enum dv_cuda_access */
};

struct dv_cuda_kernel_node_params { /* _v1 ends before `kernel` */
    struct dv_cuda_function *function;
    uint32_t grid[3];
    uint32_t block[3];
    uint32_t shared_bytes;
    void **params;
    void **extra;
    struct dv_cuda_kernel *kernel;
    struct dv_cuda_ctx *context;
};

struct dv_cuda_memset_node_params {
    uint64_t dst;
    size_t pitch;
    uint32_t value;
    uint32_t element_bytes; /* 1, 2, 4 */
    size_t width, height;   /* of elements; rows */
};

struct dv_cuda_host_node_params {
    void (*fn)(void *user);
    void *user;
};

struct dv_cuda_mem_alloc_node_params {
    struct dv_cuda_pool_props pool;
    const struct dv_cuda_access_desc *accesses;
    size_t n_accesses;
    size_t bytes;
    uint64_t ret_address;
};

struct dv_cuda_graph_node_params { /* of cuGraphAddNode */
    int32_t type;                  /* enum dv_cuda_node_type */
    int32_t reserved0[3];
    union {
        int64_t words[29];
        struct dv_cuda_kernel_node_params kernel;
        struct {
            int32_t flags, reserved;
            struct dv_cuda_ctx *context;
            struct dv_cuda_memcpy_3d copy;
        } memcpy;
        struct {
            struct dv_cuda_memset_node_params set;
            struct dv_cuda_ctx *context;
        } memset;
        struct dv_cuda_host_node_params host;
        struct {
            struct dv_cuda_graph *graph;
            int32_t ownership;
        } child;
        struct dv_cuda_event *event; /* wait and record */
        struct dv_cuda_mem_alloc_node_params alloc;
        uint64_t free_address;
    };
    int64_t reserved2;
};

struct dv_cuda_graph_instantiate_params {
    uint64_t flags;
    struct dv_cuda_stream *upload_stream;
    struct dv_cuda_graph_node *error_node;
    int32_t result;
};

struct dv_cuda_graph_update_info { /* of cuGraphExecUpdate_v2 */
    int32_t result;                /* enum dv_cuda_graph_update_result */
    struct dv_cuda_graph_node *error_node, *error_from_node;
};

struct dv_cuda_devprop { /* of the old cuDeviceGetProperties */
    int32_t max_threads_per_block;
    int32_t max_block[3];
    int32_t max_grid[3];
    int32_t shared_per_block;
    int32_t constant_bytes;
    int32_t warp;
    int32_t max_pitch;
    int32_t registers_per_block;
    int32_t clock_khz;
    int32_t texture_alignment;
};

#ifdef __LP64__
_Static_assert(sizeof(struct dv_cuda_uuid) == 16, "ABI");
_Static_assert(sizeof(struct dv_cuda_ipc_handle) == 64, "ABI");
_Static_assert(sizeof(struct dv_cuda_launch_attribute) == 72, "ABI");
_Static_assert(sizeof(struct dv_cuda_launch_config) == 56, "ABI");
_Static_assert(sizeof(struct dv_cuda_memcpy_2d) == 128, "ABI");
_Static_assert(sizeof(struct dv_cuda_memcpy_3d) == 200, "ABI");
_Static_assert(sizeof(struct dv_cuda_array_descriptor) == 24, "ABI");
_Static_assert(sizeof(struct dv_cuda_array_3d_descriptor) == 40, "ABI");
_Static_assert(sizeof(struct dv_cuda_array_requirements) == 32, "ABI");
_Static_assert(sizeof(struct dv_cuda_location) == 8, "ABI");
_Static_assert(sizeof(struct dv_cuda_pool_props) == 88, "ABI");
_Static_assert(sizeof(struct dv_cuda_allocation_prop) == 32, "ABI");
_Static_assert(sizeof(struct dv_cuda_access_desc) == 12, "ABI");
_Static_assert(sizeof(struct dv_cuda_kernel_node_params) == 72, "ABI");
_Static_assert(sizeof(struct dv_cuda_memset_node_params) == 40, "ABI");
_Static_assert(sizeof(struct dv_cuda_host_node_params) == 16, "ABI");
_Static_assert(sizeof(struct dv_cuda_mem_alloc_node_params) == 120, "ABI");
_Static_assert(sizeof(struct dv_cuda_graph_node_params) == 256, "ABI");
_Static_assert(sizeof(struct dv_cuda_graph_instantiate_params) == 32, "ABI");
_Static_assert(sizeof(struct dv_cuda_graph_update_info) == 24, "ABI");
_Static_assert(sizeof(struct dv_cuda_devprop) == 56, "ABI");
#endif

#endif
