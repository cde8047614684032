/* SPDX-License-Identifier: Apache-2.0 */
/* libcuda.so.1 against a server: lookups, contexts, streams, events, host functions, graphs. */
#include "testing.h"

#include <dlfcn.h>
#include <pthread.h>
#include <stdlib.h>
#include <sys/wait.h>
#include <unistd.h>

#define MS UINT64_C(1000000)

static struct dv_fakenode node;
static struct dv_cuda_ctx *context;
static struct dv_cuda_module *module;
static struct dv_cuda_function *spin;

static int set_up(void **state)
{
    ok(cuDevicePrimaryCtxRetain(&context, 0));
    ok(cuCtxSetCurrent(context));
    ok(cuModuleLoadData(&module, dv_cutest_ptx));
    ok(cuModuleGetFunction(&spin, module, "divvy_spin"));
    return 0;
}

static int tear_down(void **state)
{
    ok(cuCtxSynchronize());
    ok(cuDevicePrimaryCtxReset_v2(0));
    assert_int_equal(dv_cutest_used(&node), 0);
    return 0;
}

static void launch(struct dv_cuda_stream *stream, uint64_t ns)
{
    void *params[] = {&ns};
    ok(cuLaunchKernel(spin, 1024, 1, 1, 256, 1, 1, 0, stream, params, NULL));
}

static struct dv_cuda_event *event(void)
{
    struct dv_cuda_event *e;
    ok(cuEventCreate(&e, 0));
    return e;
}

static struct dv_cuda_stream *stream(unsigned int flags)
{
    struct dv_cuda_stream *s;
    ok(cuStreamCreate(&s, flags));
    return s;
}

static double between(struct dv_cuda_event *a, struct dv_cuda_event *b)
{
    float ms;
    ok(cuEventElapsedTime(&ms, a, b));
    return (double)ms;
}

/* ---- lookups -------------------------------------------------------------------------------- */

static void lookups_by_version_and_flags(void **state)
{
    static const struct {
        const char *name;
        const char *symbol; /* NULL = none */
        int version;
        uint32_t flags;
        int status;
    } want[] = {
        {"cuMemAlloc", "cuMemAlloc", 2000, 0, 0},
        {"cuMemAlloc", "cuMemAlloc", 3010, 0, 0},
        {"cuMemAlloc", "cuMemAlloc_v2", 3020, 0, 0},
        {"cuMemAlloc", "cuMemAlloc_v2", 13000, 2, 0},
        {"cuMemAlloc_v2", "cuMemAlloc_v2", 13000, 0, 0},
        {"cuMemAlloc_v2", NULL, 3000, 0, 2},
        {"cuLaunchKernel", "cuLaunchKernel", 4000, 0, 0},
        {"cuLaunchKernel", "cuLaunchKernel", 7000, 1, 0},
        {"cuLaunchKernel", "cuLaunchKernel_ptsz", 7000, 2, 0},
        {"cuLaunchKernel", "cuLaunchKernel", 4000, 2, 0},
        {"cuLaunchKernel", NULL, 3020, 0, 2},
        {"cuMemcpyHtoD", "cuMemcpyHtoD_v2_ptds", 7000, 2, 0},
        {"cuMemcpyHtoD", "cuMemcpyHtoD_v2", 7000, 0, 0},
        {"cuStreamGetCaptureInfo", "cuStreamGetCaptureInfo", 10010, 0, 0},
        {"cuStreamGetCaptureInfo", "cuStreamGetCaptureInfo_v2_ptsz", 12020, 2, 0},
        {"cuStreamGetCaptureInfo", "cuStreamGetCaptureInfo_v3", 12030, 0, 0},
        {"cuCtxSynchronize", "cuCtxSynchronize", 12090, 0, 0},
        {"cuCtxSynchronize", "cuCtxSynchronize_v2", 13000, 0, 0},
        {"cuGetProcAddress", "cuGetProcAddress", 11030, 0, 0},
        {"cuGetProcAddress", "cuGetProcAddress_v2", 12000, 0, 0},
        {"cuTexObjectCreate", "cuTexObjectCreate", 13000, 0, 0},
        {"cuLaunchKernel_ptsz", NULL, 13000, 0, 1},
        {"cuNoSuchThing", NULL, 13000, 0, 1},
        {"", NULL, 0, 0, 1},
    };
    for (size_t i = 0; i < sizeof(want) / sizeof(want[0]); i++) {
        void *p = &node, *expected = want[i].symbol ? dlsym(RTLD_DEFAULT, want[i].symbol) : NULL;
        int status = -1;
        ok(cuGetProcAddress_v2(want[i].name, &p, want[i].version, want[i].flags, &status));
        assert_ptr_equal(p, expected);
        assert_int_equal(status, want[i].status);
        assert_int_equal(cuGetProcAddress(want[i].name, &p, want[i].version, want[i].flags),
                         expected ? 0 : DV_CUDA_ERROR_NOT_FOUND);
    }
    void *p;
    assert_int_equal(cuGetProcAddress("cuInit", &p, 13000, 3), DV_CUDA_ERROR_INVALID_VALUE);
    assert_int_equal(cuGetProcAddress(NULL, &p, 13000, 0), DV_CUDA_ERROR_INVALID_VALUE);
    assert_int_equal(cuTexObjectCreate(), DV_CUDA_ERROR_NOT_SUPPORTED);
}

static void devices(void **state)
{
    int n, value, device;
    char name[96], bus[32];
    size_t total;
    ok(cuDeviceGetCount(&n));
    assert_int_equal(n, 1);
    ok(cuDeviceGetName(name, sizeof(name), 0));
    assert_string_equal(name, "NVIDIA A100-SXM4-80GB");
    ok(cuDeviceGetAttribute(&value, DV_CUDA_ATTR_SM_COUNT, 0));
    assert_int_equal(value, 108);
    ok(cuDeviceGetAttribute(&value, DV_CUDA_ATTR_CC_MAJOR, 0));
    assert_int_equal(value, 8);
    for (int a = 1; a < 144; a++)
        ok(cuDeviceGetAttribute(&value, a, 0));
    assert_int_equal(cuDeviceGetAttribute(&value, 9999, 0), DV_CUDA_ERROR_INVALID_VALUE);
    assert_int_equal(cuDeviceGetAttribute(&value, 1, 1), DV_CUDA_ERROR_INVALID_DEVICE);
    ok(cuDeviceTotalMem_v2(&total, 0));
    assert_true(total > UINT64_C(79) << 30);
    ok(cuDeviceGetPCIBusId(bus, sizeof(bus), 0));
    ok(cuDeviceGetByPCIBusId(&device, bus));
    assert_int_equal(device, 0);
}

/* ---- contexts ------------------------------------------------------------------------------- */

static void contexts(void **state)
{
    struct dv_cuda_ctx *a, *b, *c;
    unsigned int flags;
    int active;
    assert_int_equal(dv_cutest_used(&node), 0);
    assert_int_equal(cuCtxSynchronize(), DV_CUDA_ERROR_INVALID_CONTEXT);
    ok(cuDevicePrimaryCtxRetain(&a, 0));
    ok(cuDevicePrimaryCtxRetain(&b, 0));
    assert_ptr_equal(a, b);
    uint64_t one = dv_cutest_used(&node);
    assert_true(one > 0);
    ok(cuCtxCreate_v2(&b, 0, 0));
    assert_true(dv_cutest_used(&node) == 2 * one);
    ok(cuCtxPushCurrent_v2(a));
    ok(cuCtxGetCurrent(&c));
    assert_ptr_equal(c, a);
    ok(cuCtxPopCurrent_v2(&c));
    ok(cuCtxGetCurrent(&c));
    assert_ptr_equal(c, b);
    ok(cuCtxDestroy_v2(b));
    assert_int_equal(cuCtxPushCurrent_v2(b), DV_CUDA_ERROR_INVALID_CONTEXT);
    ok(cuCtxGetCurrent(&c));
    assert_null(c);
    assert_int_equal(cuCtxDestroy_v2(a), DV_CUDA_ERROR_INVALID_CONTEXT);
    ok(cuDevicePrimaryCtxRelease_v2(0));
    ok(cuDevicePrimaryCtxGetState(0, &flags, &active));
    assert_true(active);
    ok(cuDevicePrimaryCtxRelease_v2(0));
    ok(cuDevicePrimaryCtxGetState(0, &flags, &active));
    assert_false(active);
    assert_int_equal(cuDevicePrimaryCtxRelease_v2(0), DV_CUDA_ERROR_INVALID_CONTEXT);
    assert_int_equal(dv_cutest_used(&node), 0);
}

static void device_heap_costs(void **state)
{
    uint64_t before = dv_cutest_used(&node);
    size_t heap;
    ok(cuCtxSetLimit(DV_CUDA_LIMIT_MALLOC_HEAP_SIZE, 72 << 20));
    assert_int_equal(dv_cutest_used(&node) - before, 64 << 20);
    ok(cuCtxGetLimit(&heap, DV_CUDA_LIMIT_MALLOC_HEAP_SIZE));
    assert_int_equal(heap, 72 << 20);
    ok(cuCtxSetLimit(DV_CUDA_LIMIT_MALLOC_HEAP_SIZE, 8 << 20));
    assert_int_equal(dv_cutest_used(&node), before);
}

/* ---- modules -------------------------------------------------------------------------------- */

static void modules(void **state)
{
    struct dv_cuda_module *m;
    struct dv_cuda_library *l;
    struct dv_cuda_function *f;
    uint64_t address, before = dv_cutest_used(&node);
    size_t bytes;
    ok(cuModuleLoadData(&m, ".version 8.0\n.global .b8 big[1073741824];\n.entry k() { }"));
    assert_true(dv_cutest_used(&node) - before >= UINT64_C(1) << 30);
    ok(cuModuleGetGlobal_v2(&address, &bytes, m, "big"));
    assert_int_equal(bytes, 1 << 30);
    char out[4] = "";
    ok(cuMemcpyHtoD_v2(address + 12, "abc", 4));
    ok(cuMemcpyDtoH_v2(out, address + 12, 4));
    assert_string_equal(out, "abc");
    assert_int_equal(cuModuleGetFunction(&f, m, "other"), DV_CUDA_ERROR_NOT_FOUND);
    ok(cuModuleUnload(m));
    assert_int_equal(cuModuleUnload(m), DV_CUDA_ERROR_INVALID_HANDLE);
    assert_int_equal(dv_cutest_used(&node), before);
    assert_int_equal(cuModuleLoadData(&m, "int main() {}"), DV_CUDA_ERROR_INVALID_PTX);

    ok(cuLibraryLoadData(&l, dv_cutest_ptx, NULL, NULL, 0, NULL, NULL, 0));
    assert_int_equal(dv_cutest_used(&node), before);
    ok(cuLibraryGetKernel(&f, l, "plain"));
    uint32_t n = 1;
    void *params[] = {&n};
    ok(cuLaunchKernel(f, 1, 1, 1, 32, 1, 1, 0, NULL, params, NULL));
    assert_true(dv_cutest_used(&node) > before);
    ok(cuCtxSynchronize());
    ok(cuLibraryUnload(l));
    assert_int_equal(dv_cutest_used(&node), before);
}

static void bad_launches(void **state)
{
    uint64_t ns = 1;
    void *params[] = {&ns};
    assert_int_equal(cuLaunchKernel(spin, 0, 1, 1, 1, 1, 1, 0, NULL, params, NULL),
                     DV_CUDA_ERROR_INVALID_VALUE);
    assert_int_equal(cuLaunchKernel(spin, 1, 1, 1, 1024, 2, 1, 0, NULL, params, NULL),
                     DV_CUDA_ERROR_INVALID_VALUE);
    assert_int_equal(cuLaunchKernel(spin, 1, 1, 1, 1, 1, 1, 0, NULL, NULL, NULL),
                     DV_CUDA_ERROR_INVALID_VALUE);
    assert_int_equal(cuLaunchKernel(NULL, 1, 1, 1, 1, 1, 1, 0, NULL, params, NULL),
                     DV_CUDA_ERROR_INVALID_HANDLE);
    assert_int_equal(
        cuLaunchKernel(spin, 1, 1, 1, 1, 1, 1, 0, (struct dv_cuda_stream *)module, params, NULL),
        DV_CUDA_ERROR_INVALID_HANDLE);
    struct dv_cuda_launch_attribute cooperative = {.id = DV_CUDA_LAUNCH_COOPERATIVE,
                                                   .value.cooperative = 1};
    struct dv_cuda_launch_config config = {.grid = {1 << 20, 1, 1},
                                           .block = {256, 1, 1},
                                           .attributes = &cooperative,
                                           .n_attributes = 1};
    assert_int_equal(cuLaunchKernelEx(&config, spin, params, NULL),
                     DV_CUDA_ERROR_COOPERATIVE_LAUNCH_TOO_LARGE);
    size_t size = sizeof(ns);
    void *extra[] = {DV_CUDA_LAUNCH_PARAM_BUFFER, &ns, DV_CUDA_LAUNCH_PARAM_SIZE, &size,
                     DV_CUDA_LAUNCH_PARAM_END};
    ok(cuLaunchKernel(spin, 1, 1, 1, 1, 1, 1, 0, NULL, NULL, extra));
}

/* ---- streams and events --------------------------------------------------------------------- */

static void kernels_take_their_time(void **state)
{
    struct dv_cuda_stream *s = stream(DV_CUDA_STREAM_NON_BLOCKING);
    struct dv_cuda_event *a = event(), *b = event();
    assert_int_equal(cuEventQuery(a), 0); /* never recorded */
    ok(cuEventRecord(a, s));
    for (int i = 0; i < 10; i++)
        launch(s, 2 * MS);
    ok(cuEventRecord(b, s));
    ok(cuStreamSynchronize(s));
    assert_int_equal(cuEventQuery(b), 0);
    assert_int_equal(cuStreamQuery(s), 0);
    assert_true(between(a, b) >= 20.0);
    ok(cuEventDestroy_v2(a));
    assert_int_equal(cuEventQuery(a), DV_CUDA_ERROR_INVALID_HANDLE);
    ok(cuStreamDestroy_v2(s));
    assert_int_equal(cuStreamSynchronize(s), DV_CUDA_ERROR_INVALID_HANDLE);
}

/* A host function that stays until it may go: what stands behind it is not ready, for sure. */
static int held;

static void hold(void *arg)
{
    while (__atomic_load_n(&held, __ATOMIC_ACQUIRE))
        usleep(500);
}

static void hold_stream(struct dv_cuda_stream *s)
{
    __atomic_store_n(&held, 1, __ATOMIC_RELEASE);
    ok(cuLaunchHostFunc(s, hold, NULL));
}

static void let_go(void)
{
    __atomic_store_n(&held, 0, __ATOMIC_RELEASE);
}

static void not_ready(void **state)
{
    struct dv_cuda_stream *s = stream(0);
    struct dv_cuda_event *a = event(), *b = event();
    float ms;
    ok(cuEventRecord(a, s));
    hold_stream(s);
    ok(cuEventRecord(b, s));
    assert_int_equal(cuStreamQuery(s), DV_CUDA_ERROR_NOT_READY);
    assert_int_equal(cuEventQuery(b), DV_CUDA_ERROR_NOT_READY);
    assert_int_equal(cuEventElapsedTime(&ms, a, b), DV_CUDA_ERROR_NOT_READY);
    let_go();
    ok(cuEventSynchronize(b));
    assert_int_equal(cuStreamQuery(s), 0);
    ok(cuStreamDestroy_v2(s));
}

static void waiting_across_streams(void **state)
{
    struct dv_cuda_stream *s = stream(DV_CUDA_STREAM_NON_BLOCKING),
                          *t = stream(DV_CUDA_STREAM_NON_BLOCKING);
    struct dv_cuda_event *a = event(), *b = event();
    launch(s, 20 * MS);
    ok(cuEventRecord(a, s));
    ok(cuStreamWaitEvent(t, a, 0));
    ok(cuEventRecord(b, t));
    ok(cuStreamSynchronize(t));
    assert_int_equal(cuEventQuery(a), 0);
    assert_true(between(a, b) >= 0);
    ok(cuStreamDestroy_v2(s));
    ok(cuStreamDestroy_v2(t));
}

static void legacy_stream_orders_with_blocking_ones(void **state)
{
    struct dv_cuda_stream *s = stream(0), *free_one = stream(DV_CUDA_STREAM_NON_BLOCKING);
    struct dv_cuda_event *before = event(), *legacy = event(), *after = event(), *aside = event();
    hold_stream(s);
    ok(cuEventRecord(before, s));
    ok(cuEventRecord(legacy, NULL));
    ok(cuEventRecord(after, s));
    ok(cuEventRecord(aside, free_one));
    ok(cuEventSynchronize(aside)); /* does not wait for the others */
    assert_int_equal(cuEventQuery(legacy), DV_CUDA_ERROR_NOT_READY);
    let_go();
    ok(cuCtxSynchronize());
    assert_true(between(before, legacy) >= 0);
    assert_true(between(legacy, after) >= 0);
    /* Waiting for stream 0 waits for the blocking streams too. */
    launch(s, 5 * MS);
    ok(cuEventRecord(before, s));
    ok(cuStreamSynchronize(NULL));
    assert_int_equal(cuEventQuery(before), 0);
    ok(cuStreamDestroy_v2(s));
    ok(cuStreamDestroy_v2(free_one));
}

static void *in_own_stream(void *arg)
{
    uint64_t ns = MS;
    void *params[] = {&ns};
    ok(cuCtxSetCurrent(context));
    ok(cuLaunchKernel_ptsz(spin, 1, 1, 1, 1, 1, 1, 0, NULL, params, NULL));
    ok(cuStreamSynchronize_ptsz(NULL));
    return NULL;
}

static void threads_have_default_streams(void **state)
{
    pthread_t t[4];
    for (int round = 0; round < 300; round++) { /* more than there are streams, if they leaked */
        for (int i = 0; i < 4; i++)
            assert_int_equal(pthread_create(&t[i], NULL, in_own_stream, NULL), 0);
        for (int i = 0; i < 4; i++)
            pthread_join(t[i], NULL);
    }
}

/* ---- the host in the middle ----------------------------------------------------------------- */

static int order[8], order_n;

static void note(void *arg)
{
    order[__atomic_fetch_add(&order_n, 1, __ATOMIC_ACQ_REL)] = (int)(intptr_t)arg;
}

static void write_buffer(void *arg)
{
    usleep(2000);
    memcpy(arg, "late", 5);
}

static void host_functions(void **state)
{
    struct dv_cuda_stream *s = stream(0);
    struct dv_cuda_event *a = event(), *b = event();
    char buffer[8] = "early", out[8] = "";
    uint64_t memory;
    order_n = 0;
    ok(cuEventRecord(a, s));
    launch(s, 5 * MS);
    ok(cuLaunchHostFunc(s, note, (void *)1));
    ok(cuLaunchHostFunc(s, note, (void *)2));
    ok(cuEventRecord(b, s));
    ok(cuStreamSynchronize(s));
    assert_int_equal(order_n, 2);
    assert_int_equal(order[0], 1);
    assert_int_equal(order[1], 2);
    assert_true(between(a, b) >= 5.0);
    /* A copy behind a host function sees what it wrote. */
    ok(cuMemAlloc_v2(&memory, 64));
    ok(cuLaunchHostFunc(s, write_buffer, buffer));
    ok(cuMemcpyHtoDAsync_v2(memory, buffer, sizeof(buffer), s));
    ok(cuMemcpyDtoHAsync_v2(out, memory, sizeof(out), s));
    ok(cuStreamSynchronize(s));
    assert_string_equal(out, "late");
    ok(cuMemFree_v2(memory));
    ok(cuStreamDestroy_v2(s));
}

static void values_in_memory(void **state)
{
    struct dv_cuda_stream *s = stream(DV_CUDA_STREAM_NON_BLOCKING),
                          *t = stream(DV_CUDA_STREAM_NON_BLOCKING);
    uint64_t memory;
    uint32_t out = 0;
    ok(cuMemAlloc_v2(&memory, 64));
    ok(cuMemsetD32_v2(memory, 0, 16));
    ok(cuStreamWaitValue32_v2(s, memory, 7, DV_CUDA_WAIT_VALUE_EQ));
    assert_int_equal(cuStreamQuery(s), DV_CUDA_ERROR_NOT_READY);
    launch(t, 2 * MS);
    ok(cuStreamWriteValue32_v2(t, memory, 7, 0));
    ok(cuStreamSynchronize(s));
    ok(cuMemcpyDtoH_v2(&out, memory, 4));
    assert_int_equal(out, 7);
    ok(cuMemFree_v2(memory));
    ok(cuStreamDestroy_v2(s));
    ok(cuStreamDestroy_v2(t));
}

/* ---- graphs --------------------------------------------------------------------------------- */

static void captured_graphs(void **state)
{
    struct dv_cuda_stream *s = stream(0), *t = stream(0);
    struct dv_cuda_event *a = event(), *b = event(), *fork = event(), *join = event();
    struct dv_cuda_graph *g;
    struct dv_cuda_graph_exec *x;
    struct dv_cuda_graph_update_info info;
    int status;
    size_t n = 0;
    order_n = 0;
    ok(cuStreamBeginCapture_v2(s, DV_CUDA_CAPTURE_MODE_GLOBAL));
    launch(s, 2 * MS);
    ok(cuEventRecord(fork, s));
    ok(cuStreamWaitEvent(t, fork, 0));
    launch(t, 3 * MS);
    ok(cuLaunchHostFunc(t, note, (void *)9));
    ok(cuEventRecord(join, t));
    ok(cuStreamIsCapturing(t, &status));
    assert_int_equal(status, DV_CUDA_CAPTURE_ACTIVE);
    ok(cuStreamWaitEvent(s, join, 0));
    ok(cuStreamEndCapture(s, &g));
    ok(cuStreamIsCapturing(t, &status));
    assert_int_equal(status, DV_CUDA_CAPTURE_NONE);
    ok(cuGraphGetNodes(g, NULL, &n));
    assert_int_equal(n, 3);
    ok(cuGraphInstantiateWithFlags(&x, g, 0));
    ok(cuEventRecord(a, s));
    ok(cuGraphLaunch(x, s));
    ok(cuGraphLaunch(x, s));
    ok(cuEventRecord(b, s));
    ok(cuStreamSynchronize(s));
    assert_int_equal(order_n, 2);
    assert_true(between(a, b) >= 10.0);
    ok(cuGraphExecUpdate_v2(x, g, &info));
    ok(cuGraphDestroy(g));
    ok(cuGraphCreate(&g, 0));
    assert_int_equal(cuGraphExecUpdate_v2(x, g, &info), DV_CUDA_ERROR_GRAPH_EXEC_UPDATE_FAILURE);
    assert_int_equal(info.result, DV_CUDA_UPDATE_TOPOLOGY_CHANGED);
    ok(cuGraphDestroy(g));
    ok(cuGraphExecDestroy(x));
    assert_int_equal(cuGraphLaunch(x, s), DV_CUDA_ERROR_INVALID_VALUE);
    ok(cuStreamDestroy_v2(s));
    ok(cuStreamDestroy_v2(t));
}

static void captures_that_go_wrong(void **state)
{
    struct dv_cuda_stream *s = stream(0), *t = stream(0);
    struct dv_cuda_event *e = event();
    struct dv_cuda_graph *g;
    uint64_t memory;
    assert_int_equal(cuStreamEndCapture(s, &g), DV_CUDA_ERROR_ILLEGAL_STATE);
    assert_int_equal(cuStreamBeginCapture_v2(NULL, 0), DV_CUDA_ERROR_STREAM_CAPTURE_UNSUPPORTED);
    ok(cuStreamBeginCapture_v2(s, DV_CUDA_CAPTURE_MODE_GLOBAL));
    assert_int_equal(cuStreamSynchronize(s), DV_CUDA_ERROR_STREAM_CAPTURE_UNSUPPORTED);
    assert_int_equal(cuStreamEndCapture(s, &g), DV_CUDA_ERROR_STREAM_CAPTURE_INVALIDATED);
    ok(cuStreamBeginCapture_v2(s, DV_CUDA_CAPTURE_MODE_GLOBAL));
    assert_int_equal(cuMemAlloc_v2(&memory, 64), DV_CUDA_ERROR_STREAM_CAPTURE_UNSUPPORTED);
    assert_int_equal(cuStreamEndCapture(s, &g), DV_CUDA_ERROR_STREAM_CAPTURE_INVALIDATED);
    ok(cuStreamBeginCapture_v2(s, DV_CUDA_CAPTURE_MODE_RELAXED));
    ok(cuMemAlloc_v2(&memory, 64));
    ok(cuMemFree_v2(memory));
    ok(cuEventRecord(e, s));
    ok(cuStreamWaitEvent(t, e, 0));
    launch(t, 1);
    assert_int_equal(cuEventQuery(e), DV_CUDA_ERROR_CAPTURED_EVENT);
    assert_int_equal(cuStreamEndCapture(t, &g), DV_CUDA_ERROR_STREAM_CAPTURE_UNMATCHED);
    assert_int_equal(cuStreamEndCapture(s, &g), DV_CUDA_ERROR_STREAM_CAPTURE_UNJOINED);
    ok(cuStreamDestroy_v2(s));
    ok(cuStreamDestroy_v2(t));
}

static void built_graphs(void **state)
{
    struct dv_cuda_graph *g;
    struct dv_cuda_graph_node *first, *kernel, *memory;
    struct dv_cuda_graph_exec *x;
    uint64_t ns = MS, before = dv_cutest_used(&node);
    void *params[] = {&ns};
    struct dv_cuda_kernel_node_params k = {
        .function = spin, .grid = {64, 1, 1}, .block = {64, 1, 1}, .params = params};
    struct dv_cuda_mem_alloc_node_params m = {.pool = {.allocation_type = DV_CUDA_ALLOCATION_PINNED,
                                                       .location = {DV_CUDA_LOCATION_DEVICE, 0}},
                                              .bytes = 64 << 20};
    ok(cuGraphCreate(&g, 0));
    ok(cuGraphAddEmptyNode(&first, g, NULL, 0));
    ok(cuGraphAddKernelNode_v2(&kernel, g, &first, 1, &k));
    ok(cuGraphAddMemAllocNode(&memory, g, &kernel, 1, &m));
    assert_true(m.ret_address != 0);
    assert_int_equal(dv_cutest_used(&node), before);
    ok(cuGraphInstantiateWithFlags(&x, g, 0));
    assert_int_equal(dv_cutest_used(&node) - before, 64 << 20);
    ok(cuGraphLaunch(x, NULL));
    ok(cuCtxSynchronize());
    ok(cuGraphExecDestroy(x));
    assert_int_equal(dv_cutest_used(&node), before);
    ok(cuGraphAddDependencies(g, &memory, &first, 1)); /* a circle */
    assert_int_equal(cuGraphInstantiateWithFlags(&x, g, 0), DV_CUDA_ERROR_INVALID_VALUE);
    ok(cuGraphDestroy(g));
}

/* ---- forks and threads ---------------------------------------------------------------------- */

static void a_forked_child_has_no_cuda(void **state)
{
    struct dv_cuda_stream *s = stream(0);
    launch(s, 20 * MS);
    pid_t pid = fork();
    if (pid == 0) {
        uint64_t memory;
        int n;
        bool good = cuInit(0) == DV_CUDA_ERROR_NOT_INITIALIZED &&
                    cuDeviceGetCount(&n) == DV_CUDA_ERROR_NOT_INITIALIZED &&
                    cuMemAlloc_v2(&memory, 64) == DV_CUDA_ERROR_NOT_INITIALIZED &&
                    cuCtxSynchronize() == DV_CUDA_ERROR_NOT_INITIALIZED;
        _exit(good ? 0 : 1);
    }
    int status;
    assert_int_equal(waitpid(pid, &status, 0), pid);
    assert_true(WIFEXITED(status) && WEXITSTATUS(status) == 0);
    ok(cuStreamSynchronize(s));
    ok(cuStreamDestroy_v2(s));
}

static void *hammer(void *arg)
{
    struct dv_cuda_stream *s;
    struct dv_cuda_event *e;
    uint64_t memory, ns = 1000;
    void *params[] = {&ns};
    ok(cuCtxSetCurrent(context));
    ok(cuStreamCreate(&s, (uintptr_t)arg % 2));
    ok(cuEventCreate(&e, 0));
    for (int i = 0; i < 100; i++) {
        for (int k = 0; k < 20; k++)
            ok(cuLaunchKernel(spin, 8, 1, 1, 64, 1, 1, 0, s, params, NULL));
        ok(cuEventRecord(e, s));
        ok(cuMemAllocAsync(&memory, 3 << 20, s));
        ok(cuMemsetD8_v2(memory, 1, 100));
        ok(cuMemFreeAsync(memory, s));
        ok(cuEventSynchronize(e));
        ok(cuMemAlloc_v2(&memory, 1 << 20));
        ok(cuMemFree_v2(memory));
    }
    ok(cuEventDestroy_v2(e));
    ok(cuStreamDestroy_v2(s));
    return NULL;
}

static void eight_threads(void **state)
{
    pthread_t t[8];
    uint64_t before = dv_cutest_used(&node);
    for (uintptr_t i = 0; i < 8; i++)
        assert_int_equal(pthread_create(&t[i], NULL, hammer, (void *)i), 0);
    for (int i = 0; i < 8; i++)
        pthread_join(t[i], NULL);
    ok(cuCtxSynchronize());
    assert_int_equal(dv_cutest_used(&node), before);
}

/* ---- the end -------------------------------------------------------------------------------- */

static void a_fault_kills_the_context(void **state)
{
    struct dv_cuda_function *f;
    uint64_t memory;
    ok(cuModuleGetFunction(&f, module, "divvy_fault"));
    cuLaunchKernel(f, 1, 1, 1, 1, 1, 1, 0, NULL, NULL, NULL);
    assert_int_equal(cuCtxSynchronize(), DV_CUDA_ERROR_ILLEGAL_ADDRESS);
    assert_int_equal(cuMemAlloc_v2(&memory, 64), DV_CUDA_ERROR_ILLEGAL_ADDRESS);
}

static int reset(void **state)
{
    ok(cuDevicePrimaryCtxReset_v2(0));
    assert_int_equal(dv_cutest_used(&node), 0);
    return 0;
}

static void a_dead_server_is_an_error(void **state)
{
    struct dv_cuda_stream *s;
    uint64_t memory;
    set_up(state);
    s = stream(0);
    launch(s, 1000000 * MS);
    dv_fakenode_stop(&node);
    assert_int_equal(cuStreamSynchronize(s), DV_CUDA_ERROR_DEVICE_UNAVAILABLE);
    assert_int_equal(cuMemAlloc_v2(&memory, 64), DV_CUDA_ERROR_DEVICE_UNAVAILABLE);
    assert_int_equal(cuInit(0), DV_CUDA_ERROR_SYSTEM_NOT_READY);
}

#define in_context(f) cmocka_unit_test_setup_teardown(f, set_up, tear_down)

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(lookups_by_version_and_flags),
        cmocka_unit_test(devices),
        cmocka_unit_test(contexts),
        in_context(device_heap_costs),
        in_context(modules),
        in_context(bad_launches),
        in_context(kernels_take_their_time),
        in_context(not_ready),
        in_context(waiting_across_streams),
        in_context(legacy_stream_orders_with_blocking_ones),
        in_context(threads_have_default_streams),
        in_context(host_functions),
        in_context(values_in_memory),
        in_context(captured_graphs),
        in_context(captures_that_go_wrong),
        in_context(built_graphs),
        in_context(a_forked_child_has_no_cuda),
        in_context(eight_threads),
        cmocka_unit_test_setup_teardown(a_fault_kills_the_context, set_up, reset),
        cmocka_unit_test(a_dead_server_is_an_error),
    };
    node = dv_cutest_start("a100");
    if (cuInit(0) != 0)
        return 1;
    return cmocka_run_group_tests(tests, NULL, NULL);
}
