/* SPDX-License-Identifier: Apache-2.0 */
/* libcuda.so.1 against a server: every kind of memory, counted by the server; other processes. */
#include "testing.h"

#include <spawn.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/wait.h>
#include <unistd.h>

#define MIB ((uint64_t)1 << 20)

extern char **environ;

static struct dv_fakenode node;
static struct dv_cuda_ctx *context;
static uint64_t base;
static char *self;

static int set_up(void **state)
{
    ok(cuDevicePrimaryCtxRetain(&context, 0));
    ok(cuCtxSetCurrent(context));
    base = dv_cutest_used(&node);
    return 0;
}

static int tear_down(void **state)
{
    assert_int_equal(dv_cutest_used(&node), base);
    ok(cuDevicePrimaryCtxReset_v2(0));
    assert_int_equal(dv_cutest_used(&node), 0);
    return 0;
}

static uint64_t charged(void)
{
    return dv_cutest_used(&node) - base;
}

/* ---- what is charged ------------------------------------------------------------------------ */

static void plain_memory(void **state)
{
    uint64_t a, b, start;
    uint32_t low;
    size_t pitch, size, free_before, free_after, total;
    ok(cuMemGetInfo_v2(&free_before, &total));
    ok(cuMemAlloc_v2(&a, 10 * MIB));
    assert_int_equal(charged(), 10 * MIB);
    ok(cuMemGetInfo_v2(&free_after, &total));
    assert_int_equal(free_before - free_after, 10 * MIB);
    ok(cuMemAlloc_v2(&b, 100));
    assert_int_equal(charged(), 10 * MIB + 512);
    ok(cuMemGetAddressRange_v2(&start, &size, a + 5 * MIB));
    assert_int_equal(start, a);
    assert_int_equal(size, 10 * MIB);
    assert_int_equal(cuMemFree_v2(a + 1), DV_CUDA_ERROR_INVALID_VALUE);
    ok(cuMemFree_v2(a));
    assert_int_equal(cuMemFree_v2(a), DV_CUDA_ERROR_INVALID_VALUE);
    ok(cuMemFree_v2(b));
    ok(cuMemFree_v2(0));
    ok(cuMemAllocPitch_v2(&a, &pitch, 1000, 4096, 4));
    assert_int_equal(pitch, 1024);
    assert_int_equal(charged(), 4 * MIB);
    ok(cuMemFree_v2(a));
    ok(cuMemAlloc(&low, 2 * MIB));
    assert_int_equal(charged(), 2 * MIB);
    ok(cuMemFree(low));
    assert_int_equal(cuMemAlloc_v2(&a, 0), DV_CUDA_ERROR_INVALID_VALUE);
    assert_int_equal(cuMemAlloc_v2(&a, total), DV_CUDA_ERROR_OUT_OF_MEMORY);
    assert_int_equal(cuMemAlloc_v2(&a, SIZE_MAX), DV_CUDA_ERROR_OUT_OF_MEMORY);
}

static void managed_memory(void **state)
{
    uint64_t a;
    char out[8] = "";
    bool managed = false;
    ok(cuMemAllocManaged(&a, 8 * MIB, DV_CUDA_MEM_ATTACH_GLOBAL));
    assert_int_equal(charged(), 8 * MIB);
    char *p = (char *)(uintptr_t)a;
    memcpy(p + 5 * MIB, "managed", 8);
    ok(cuMemcpyDtoH_v2(out, a + 5 * MIB, 8));
    assert_string_equal(out, "managed");
    ok(cuMemsetD8_v2(a, 'x', 3));
    assert_memory_equal(p, "xxx", 4);
    ok(cuPointerGetAttribute(&managed, DV_CUDA_POINTER_IS_MANAGED, a + 17));
    assert_true(managed);
    ok(cuMemFree_v2(a));
    assert_int_equal(cuMemAllocManaged(&a, 8, 77), DV_CUDA_ERROR_INVALID_VALUE);
}

static void host_memory_costs_nothing(void **state)
{
    void *host;
    uint32_t type = 0;
    ok(cuMemHostAlloc(&host, 64 * MIB, 0));
    assert_int_equal(charged(), 0);
    memset(host, 1, 100);
    ok(cuPointerGetAttribute(&type, DV_CUDA_POINTER_MEMORY_TYPE, (uintptr_t)host));
    assert_int_equal(type, DV_CUDA_MEMORY_HOST);
    ok(cuMemFreeHost(host));
    assert_int_equal(cuMemFreeHost(host), DV_CUDA_ERROR_INVALID_VALUE);
}

static void pools(void **state)
{
    struct dv_cuda_pool *pool;
    struct dv_cuda_pool_props props = {.allocation_type = DV_CUDA_ALLOCATION_PINNED,
                                       .location = {DV_CUDA_LOCATION_DEVICE, 0},
                                       .max_size = 64 * MIB};
    uint64_t a, b, c, used = 0, keep = UINT64_MAX;
    ok(cuMemAllocAsync(&a, 5 * MIB, NULL));
    assert_int_equal(charged(), 6 * MIB);
    ok(cuMemFreeAsync(a, NULL));
    assert_int_equal(charged(), 6 * MIB); /* until the next synchronisation */
    ok(cuStreamSynchronize(NULL));
    assert_int_equal(charged(), 0);

    ok(cuMemPoolCreate(&pool, &props));
    ok(cuMemPoolSetAttribute(pool, DV_CUDA_POOL_RELEASE_THRESHOLD, &keep));
    ok(cuMemAllocFromPoolAsync(&a, 1000, pool, NULL));
    ok(cuMemAllocFromPoolAsync(&b, 1000, pool, NULL));
    assert_int_equal(charged(), 2 * MIB);
    ok(cuMemAllocFromPoolAsync(&c, 40 * MIB, pool, NULL));
    ok(cuMemPoolGetAttribute(pool, DV_CUDA_POOL_USED_CURRENT, &used));
    assert_int_equal(used, 40 * MIB + 2048);
    uint64_t refused;
    assert_int_equal(cuMemAllocFromPoolAsync(&refused, 40 * MIB, pool, NULL),
                     DV_CUDA_ERROR_OUT_OF_MEMORY);
    ok(cuMemFreeAsync(c, NULL));
    ok(cuMemFreeAsync(a, NULL));
    ok(cuCtxSynchronize());
    assert_int_equal(charged(), 42 * MIB);
    ok(cuMemAllocFromPoolAsync(&c, 40 * MIB, pool, NULL));
    assert_int_equal(charged(), 42 * MIB);
    ok(cuMemFree_v2(c));
    ok(cuMemPoolTrimTo(pool, 0));
    assert_int_equal(charged(), 2 * MIB);
    ok(cuMemPoolDestroy(pool));
    assert_int_equal(charged(), 0);
    assert_int_equal(cuMemAllocFromPoolAsync(&a, 64, pool, NULL), DV_CUDA_ERROR_INVALID_VALUE);
}

static void an_idle_pool_gives_way(void **state)
{
    struct dv_cuda_pool *pool;
    struct dv_cuda_pool_props props = {.allocation_type = DV_CUDA_ALLOCATION_PINNED,
                                       .location = {DV_CUDA_LOCATION_DEVICE, 0}};
    uint64_t a, keep = UINT64_MAX;
    size_t free_bytes, total;
    ok(cuMemGetInfo_v2(&free_bytes, &total));
    ok(cuMemPoolCreate(&pool, &props));
    ok(cuMemPoolSetAttribute(pool, DV_CUDA_POOL_RELEASE_THRESHOLD, &keep));
    uint64_t most = free_bytes / (2 * MIB) * (2 * MIB);
    ok(cuMemAllocFromPoolAsync(&a, most, pool, NULL));
    ok(cuMemFreeAsync(a, NULL));
    ok(cuCtxSynchronize());
    assert_int_equal(charged(), most);
    ok(cuMemAlloc_v2(&a, most));
    assert_int_equal(charged(), most);
    ok(cuMemFree_v2(a));
    ok(cuMemPoolDestroy(pool));
}

static struct dv_cuda_allocation_prop vmm_prop(void)
{
    return (struct dv_cuda_allocation_prop){.type = DV_CUDA_ALLOCATION_PINNED,
                                            .handle_types = DV_CUDA_HANDLE_POSIX_FD,
                                            .location = {DV_CUDA_LOCATION_DEVICE, 0}};
}

static void virtual_memory(void **state)
{
    struct dv_cuda_allocation_prop prop = vmm_prop();
    uint64_t handle, again, range, refused;
    char out[8] = "";
    assert_int_equal(cuMemCreate(&handle, 1000, &prop, 0), DV_CUDA_ERROR_INVALID_VALUE);
    ok(cuMemCreate(&handle, 4 * MIB, &prop, 0));
    assert_int_equal(charged(), 4 * MIB);
    ok(cuMemAddressReserve(&range, 16 * MIB, 0, 0, 0));
    assert_int_equal(cuMemcpyHtoD_v2(range + 15 * MIB, "text", 2 * MIB),
                     DV_CUDA_ERROR_INVALID_VALUE);
    ok(cuMemMap(range + 2 * MIB, 4 * MIB, 0, handle, 0));
    ok(cuMemMap(range + 8 * MIB, 2 * MIB, 2 * MIB, handle, 0));
    assert_int_equal(cuMemMap(range + 4 * MIB, 2 * MIB, 0, handle, 0), DV_CUDA_ERROR_INVALID_VALUE);
    ok(cuMemcpyHtoD_v2(range + 4 * MIB + 3, "shared", 7)); /* the same memory, mapped twice */
    ok(cuMemcpyDtoH_v2(out, range + 8 * MIB + 3, 7));
    assert_string_equal(out, "shared");
    ok(cuMemRelease(handle));
    assert_int_equal(charged(), 4 * MIB); /* it is mapped still */
    ok(cuMemRetainAllocationHandle(&again, (void *)(uintptr_t)(range + 3 * MIB)));
    assert_int_equal(again, handle);
    ok(cuMemUnmap(range + 2 * MIB, 4 * MIB));
    ok(cuMemUnmap(range + 8 * MIB, 2 * MIB));
    assert_int_equal(charged(), 4 * MIB);
    ok(cuMemRelease(again));
    assert_int_equal(charged(), 0);
    assert_int_equal(cuMemMap(range, 2 * MIB, 0, again, 0), DV_CUDA_ERROR_INVALID_VALUE);
    ok(cuMemAddressFree(range, 16 * MIB));
    assert_int_equal(cuMemCreate(&refused, UINT64_C(1) << 40, &prop, 0),
                     DV_CUDA_ERROR_OUT_OF_MEMORY);
}

static void arrays(void **state)
{
    struct dv_cuda_array *a;
    struct dv_cuda_mipmapped_array *m;
    struct dv_cuda_array_requirements need;
    struct dv_cuda_array_descriptor two = {
        .width = 1024, .height = 1024, .format = DV_CUDA_FORMAT_FLOAT, .channels = 4};
    struct dv_cuda_array_3d_descriptor three = {
        .width = 128, .height = 128, .depth = 128, .format = DV_CUDA_FORMAT_U8, .channels = 1};
    ok(cuArrayCreate_v2(&a, &two));
    assert_int_equal(charged(), 16 * MIB);
    ok(cuArrayGetMemoryRequirements(&need, a, 0));
    assert_int_equal(need.size, 16 * MIB);
    uint8_t row[16], out[16] = {0};
    memset(row, 42, sizeof(row));
    struct dv_cuda_memcpy_2d in = {.src_type = DV_CUDA_MEMORY_HOST,
                                   .src_host = row,
                                   .src_pitch = 8,
                                   .dst_type = DV_CUDA_MEMORY_ARRAY,
                                   .dst_array = a,
                                   .dst_x_bytes = 32,
                                   .dst_y = 1000,
                                   .width_bytes = 8,
                                   .height = 2};
    ok(cuMemcpy2D_v2(&in));
    struct dv_cuda_memcpy_2d back = {.src_type = DV_CUDA_MEMORY_ARRAY,
                                     .src_array = a,
                                     .src_x_bytes = 32,
                                     .src_y = 1000,
                                     .dst_type = DV_CUDA_MEMORY_HOST,
                                     .dst_host = out,
                                     .dst_pitch = 8,
                                     .width_bytes = 8,
                                     .height = 2};
    ok(cuMemcpy2D_v2(&back));
    assert_memory_equal(out, row, sizeof(row));
    in.dst_y = 1023;
    assert_int_equal(cuMemcpy2D_v2(&in), DV_CUDA_ERROR_INVALID_VALUE);
    ok(cuArrayDestroy(a));
    ok(cuArray3DCreate_v2(&a, &three));
    assert_int_equal(charged(), 2 * MIB);
    ok(cuArrayDestroy(a));
    assert_int_equal(cuArrayDestroy(a), DV_CUDA_ERROR_INVALID_HANDLE);
    ok(cuMipmappedArrayCreate(&m, &three, 4));
    assert_int_equal(charged(), 4 * MIB);
    ok(cuMipmappedArrayDestroy(m));
}

/* A context takes with it what nobody freed. */
static void a_context_leaves_nothing(void **state)
{
    struct dv_cuda_ctx *c;
    struct dv_cuda_array *a;
    struct dv_cuda_module *m;
    struct dv_cuda_array_descriptor d = {
        .width = 1024, .height = 1024, .format = DV_CUDA_FORMAT_U8, .channels = 1};
    uint64_t p;
    ok(cuCtxCreate_v2(&c, 0, 0));
    ok(cuMemAlloc_v2(&p, MIB));
    ok(cuMemAllocManaged(&p, MIB, DV_CUDA_MEM_ATTACH_GLOBAL));
    ok(cuMemAllocAsync(&p, MIB, NULL));
    ok(cuArrayCreate_v2(&a, &d));
    ok(cuModuleLoadData(&m, dv_cutest_ptx));
    ok(cuCtxDestroy_v2(c));
    assert_int_equal(charged(), 0);
    assert_int_equal(cuModuleUnload(m), DV_CUDA_ERROR_INVALID_HANDLE);
    ok(cuCtxSetCurrent(context));
}

/* ---- contents ------------------------------------------------------------------------------- */

static void contents(void **state)
{
    uint64_t a, b;
    uint16_t shorts[4] = {0};
    char out[16] = "";
    ok(cuMemAlloc_v2(&a, 16 * MIB));
    ok(cuMemAlloc_v2(&b, 16 * MIB));
    ok(cuMemcpyHtoD_v2(a + 2 * MIB - 3, "across", 7)); /* over the edge of a chunk */
    ok(cuMemcpyDtoD_v2(b + 100, a + 2 * MIB - 3, 7));
    ok(cuMemcpyDtoH_v2(out, b + 100, 7));
    assert_string_equal(out, "across");
    ok(cuMemcpyDtoH_v2(out, b + 8 * MIB, 4)); /* never written */
    assert_int_equal(out[0], 0);
    ok(cuMemsetD16_v2(a, 0x1234, 4));
    ok(cuMemcpyDtoH_v2(shorts, a, 8));
    assert_int_equal(shorts[3], 0x1234);
    assert_int_equal(cuMemsetD32_v2(a + 2, 0, 4), DV_CUDA_ERROR_INVALID_VALUE);
    assert_int_equal(cuMemcpyHtoD_v2(a + 16 * MIB - 1, "xx", 2), DV_CUDA_ERROR_INVALID_VALUE);
    assert_int_equal(cuMemcpyHtoD_v2(42, "xx", 2), DV_CUDA_ERROR_INVALID_VALUE);
    ok(cuMemFree_v2(a));
    ok(cuMemFree_v2(b));
}

static void contents_end_with_the_budget(void **state)
{
    const uint64_t bytes = 300 * MIB; /* more than are kept */
    uint64_t a;
    char out = 'x';
    ok(cuMemAlloc_v2(&a, bytes));
    ok(cuMemsetD8_v2(a, 1, bytes));
    ok(cuMemcpyDtoH_v2(&out, a, 1));
    assert_int_equal(out, 1);
    ok(cuMemcpyDtoH_v2(&out, a + bytes - 1, 1));
    assert_int_equal(out, 0);
    ok(cuMemFree_v2(a));
    ok(cuMemAlloc_v2(&a, MIB)); /* what was freed can be kept again */
    ok(cuMemsetD8_v2(a, 3, MIB));
    ok(cuMemcpyDtoH_v2(&out, a + MIB - 1, 1));
    assert_int_equal(out, 3);
    ok(cuMemFree_v2(a));
}

/* ---- other processes ------------------------------------------------------------------------ */

static bool from_hex(const char *text, struct dv_cuda_ipc_handle *ret)
{
    for (size_t i = 0; i < sizeof(ret->bytes); i++)
        if (sscanf(text + 2 * i, "%2hhx", &ret->bytes[i]) != 1)
            return false;
    return true;
}

/* Waits in a stream for the parent's event, then records it itself. */
static int event_peer(const struct dv_cuda_ipc_handle *h)
{
    struct dv_cuda_event *e;
    struct dv_cuda_stream *s;
    if (cuIpcOpenEventHandle(&e, *h) || cuStreamCreate(&s, 0) || cuStreamWaitEvent(s, e, 0) ||
        cuStreamSynchronize(s) || cuEventQuery(e))
        return 9;
    return cuEventRecord(e, s) || cuEventSynchronize(e) || cuEventDestroy_v2(e) ? 10 : 0;
}

/* The other side: opens what its arguments name, reads "ping", writes "pong". */
static int peer(char **argv)
{
    struct dv_cuda_ctx *c;
    uint64_t address = 0, handle = 0;
    char text[8] = "";
    struct dv_cuda_ipc_handle h;
    if (cuInit(0) || cuDevicePrimaryCtxRetain(&c, 0) || cuCtxSetCurrent(c))
        return 2;
    if (strcmp(argv[2], "fd") != 0 && !from_hex(argv[3], &h))
        return 3;
    if (strcmp(argv[2], "event") == 0)
        return event_peer(&h);
    if (strcmp(argv[2], "ipc") == 0) {
        if (cuIpcOpenMemHandle_v2(&address, h, 1))
            return 4;
    } else {
        int fd = (int)strtol(argv[3], NULL, 10);
        if (cuMemImportFromShareableHandle(&handle, (void *)(intptr_t)fd,
                                           DV_CUDA_HANDLE_POSIX_FD) ||
            cuMemAddressReserve(&address, 2 * MIB, 0, 0, 0) ||
            cuMemMap(address, 2 * MIB, 0, handle, 0) || cuMemRelease(handle))
            return 5;
    }
    if (cuMemcpyDtoH_v2(text, address, 5) || strcmp(text, "ping") != 0)
        return 6;
    if (cuMemcpyHtoD_v2(address, "pong", 5))
        return 7;
    if (handle ? cuMemUnmap(address, 2 * MIB) : cuIpcCloseMemHandle(address))
        return 8;
    return 0;
}

static void run_peer(const char *how, const char *what)
{
    char *argv[] = {self, "peer", (char *)how, (char *)what, NULL};
    pid_t pid;
    int status;
    assert_int_equal(posix_spawn(&pid, self, NULL, NULL, argv, environ), 0);
    assert_int_equal(waitpid(pid, &status, 0), pid);
    assert_true(WIFEXITED(status));
    assert_int_equal(WEXITSTATUS(status), 0);
}

static void to_hex(const struct dv_cuda_ipc_handle *h, char ret[2 * DV_CUDA_IPC_HANDLE_SIZE + 1])
{
    for (size_t i = 0; i < sizeof(h->bytes); i++)
        snprintf(ret + 2 * i, 3, "%02x", h->bytes[i]);
}

static int held;

static void hold(void *arg)
{
    while (__atomic_load_n(&held, __ATOMIC_ACQUIRE))
        usleep(500);
}

static void events_of_several_processes(void **state)
{
    struct dv_cuda_ipc_handle h;
    struct dv_cuda_event *e, *plain;
    char hex[2 * sizeof(h.bytes) + 1];
    ok(cuEventCreate(&plain, 0));
    assert_int_equal(cuIpcGetEventHandle(&h, plain), DV_CUDA_ERROR_INVALID_HANDLE);
    ok(cuEventCreate(&e, DV_CUDA_EVENT_INTERPROCESS | DV_CUDA_EVENT_DISABLE_TIMING));
    ok(cuIpcGetEventHandle(&h, e));
    to_hex(&h, hex);
    held = 1;
    ok(cuLaunchHostFunc(NULL, hold, NULL));
    ok(cuEventRecord(e, NULL));
    assert_int_equal(cuEventQuery(e), DV_CUDA_ERROR_NOT_READY);
    __atomic_store_n(&held, 0, __ATOMIC_RELEASE);
    run_peer("event", hex);
    ok(cuEventSynchronize(e));
    ok(cuEventDestroy_v2(e));
    ok(cuEventDestroy_v2(plain));
}

static void memory_of_another_process(void **state)
{
    struct dv_cuda_ipc_handle h;
    char hex[2 * sizeof(h.bytes) + 1], out[8] = "";
    uint64_t a;
    ok(cuMemAlloc_v2(&a, 3 * MIB));
    ok(cuMemcpyHtoD_v2(a, "ping", 5));
    ok(cuIpcGetMemHandle(&h, a));
    to_hex(&h, hex);
    run_peer("ipc", hex);
    ok(cuMemcpyDtoH_v2(out, a, 5));
    assert_string_equal(out, "pong");
    ok(cuMemFree_v2(a));
    memset(&h, 0, sizeof(h));
    assert_int_equal(cuIpcOpenMemHandle_v2(&a, h, 1), DV_CUDA_ERROR_INVALID_VALUE);
}

static void allocations_as_descriptors(void **state)
{
    struct dv_cuda_allocation_prop prop = vmm_prop();
    uint64_t handle, range;
    int fd;
    char name[16], out[8] = "";
    ok(cuMemCreate(&handle, 2 * MIB, &prop, 0));
    ok(cuMemAddressReserve(&range, 2 * MIB, 0, 0, 0));
    ok(cuMemMap(range, 2 * MIB, 0, handle, 0));
    ok(cuMemcpyHtoD_v2(range, "ping", 5));
    ok(cuMemExportToShareableHandle(&fd, handle, DV_CUDA_HANDLE_POSIX_FD, 0));
    int inherited = dup(fd); /* without close-on-exec */
    snprintf(name, sizeof(name), "%d", inherited);
    run_peer("fd", name);
    close(inherited);
    ok(cuMemcpyDtoH_v2(out, range, 5));
    assert_string_equal(out, "pong");
    close(fd);
    ok(cuMemUnmap(range, 2 * MIB));
    ok(cuMemAddressFree(range, 2 * MIB));
    ok(cuMemRelease(handle));
    uint64_t refused;
    int pipes[2];
    assert_int_equal(pipe(pipes), 0);
    assert_int_equal(cuMemImportFromShareableHandle(&refused, (void *)(intptr_t)pipes[0],
                                                    DV_CUDA_HANDLE_POSIX_FD),
                     DV_CUDA_ERROR_INVALID_VALUE);
    close(pipes[0]);
    close(pipes[1]);
}

#define in_context(f) cmocka_unit_test_setup_teardown(f, set_up, tear_down)

int main(int argc, char **argv)
{
    const struct CMUnitTest tests[] = {
        in_context(plain_memory),
        in_context(managed_memory),
        in_context(host_memory_costs_nothing),
        in_context(pools),
        in_context(an_idle_pool_gives_way),
        in_context(virtual_memory),
        in_context(arrays),
        in_context(a_context_leaves_nothing),
        in_context(contents),
        in_context(contents_end_with_the_budget),
        in_context(memory_of_another_process),
        in_context(allocations_as_descriptors),
        in_context(events_of_several_processes),
    };
    if (argc == 4 && strcmp(argv[1], "peer") == 0)
        return peer(argv);
    self = argv[0];
    unsetenv("DIVVY_SIM_CONTENT_BYTES");
    node = dv_cutest_start("a100");
    if (cuInit(0) != 0)
        return 1;
    return cmocka_run_group_tests(tests, NULL, NULL);
}
