/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The built library, as a tenant meets it: loaded by name in front of a driver that only counts
 * (testing/fake_driver.c), with a daemon in a thread (testing/fake_daemon.c). Run once for each
 * build: DV_TEST_LIBRARY is what a program would load as libcuda.so.1, DV_TEST_DRIVER the driver.
 */
#include "abi_cuda.h"
#include "abi_tenant.h"
#include "testing/fake_daemon.h"

#include <dlfcn.h>
#include <pthread.h>
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cmocka.h>

#define MIB (UINT64_C(1) << 20)
#define LIMIT (640 * MIB)
#define CONTEXT (300 * MIB)

static struct dv_fake_daemon *daemon_;
static void *library, *driver;
static uint64_t (*fake_used)(void);
static uint64_t (*fake_high_water)(void);
static unsigned (*fake_calls)(const char *name);

static void *sym(const char *name)
{
    void *p = dlsym(library, name);
    if (!p)
        fail_msg("%s is not there", name);
    return p;
}

#define CALL(name, types, ...) ((int(*) types)sym(#name))(__VA_ARGS__)

static int mem_alloc(uint64_t *ret, size_t bytes)
{
    return CALL(cuMemAlloc_v2, (uint64_t *, size_t), ret, bytes);
}

static int mem_free(uint64_t address)
{
    return CALL(cuMemFree_v2, (uint64_t), address);
}

static uint64_t reserved(void)
{
    return __atomic_load_n(&daemon_->reservation->word.bytes, __ATOMIC_ACQUIRE);
}

static uint64_t reserved_soon(uint64_t want)
{
    for (int i = 0; i < 6000 && reserved() != want; i++)
        usleep(10000);
    return reserved();
}

/* ---- every way to allocate, at the edge of the cap ------------------------------------------- */

struct way {
    const char *name;
    int (*take)(uint64_t *ret, size_t bytes);
    int (*give)(uint64_t name);
};

static int take_managed(uint64_t *ret, size_t bytes)
{
    return CALL(cuMemAllocManaged, (uint64_t *, size_t, unsigned), ret, bytes, 1);
}

static int take_pitch(uint64_t *ret, size_t bytes)
{
    size_t pitch;
    return CALL(cuMemAllocPitch_v2, (uint64_t *, size_t *, size_t, size_t, unsigned), ret, &pitch,
                1000, bytes / 1024, 4);
}

static int take_async(uint64_t *ret, size_t bytes)
{
    return CALL(cuMemAllocAsync, (uint64_t *, size_t, void *), ret, bytes, NULL);
}

static int give_async(uint64_t name)
{
    return CALL(cuMemFreeAsync, (uint64_t, void *), name, NULL);
}

static void *own_pool;

static int take_pool(uint64_t *ret, size_t bytes)
{
    if (!own_pool)
        (void)CALL(cuMemPoolCreate, (void **, const void *), &own_pool, NULL);
    return CALL(cuMemAllocFromPoolAsync, (uint64_t *, size_t, void *, void *), ret, bytes, own_pool,
                NULL);
}

static int take_create(uint64_t *ret, size_t bytes)
{
    struct dv_cuda_allocation_prop p = {.type = DV_CUDA_ALLOCATION_PINNED,
                                        .location = {DV_CUDA_LOCATION_DEVICE, 0}};
    return CALL(cuMemCreate, (uint64_t *, size_t, const void *, uint64_t), ret, bytes, &p, 0);
}

static int give_create(uint64_t name)
{
    return CALL(cuMemRelease, (uint64_t), name);
}

static int take_array(uint64_t *ret, size_t bytes)
{
    struct dv_cuda_array_descriptor d = {bytes / 4096, 1024, DV_CUDA_FORMAT_FLOAT, 1};
    return CALL(cuArrayCreate_v2, (uint64_t *, const void *), ret, &d);
}

static int give_array(uint64_t name)
{
    return CALL(cuArrayDestroy, (uint64_t), name);
}

static int take_module(uint64_t *ret, size_t bytes)
{
    return CALL(cuModuleLoadData, (uint64_t *, const void *), ret, "");
}

static int give_module(uint64_t name)
{
    return CALL(cuModuleUnload, (uint64_t), name);
}

static const struct way ways[] = {
    {"cuMemAlloc", mem_alloc, mem_free},
    {"cuMemAllocManaged", take_managed, mem_free},
    {"cuMemAllocPitch", take_pitch, mem_free},
    {"cuMemAllocAsync", take_async, give_async},
    {"cuMemAllocAsync, cuMemFree", take_async, mem_free},
    {"cuMemAllocFromPoolAsync", take_pool, give_async},
    {"cuMemCreate", take_create, give_create},
    {"cuArrayCreate", take_array, give_array},
    {"cuModuleLoadData", take_module, give_module},
};

static void settle(void)
{
    assert_int_equal(CALL(cuCtxSynchronize, (void)), 0);
}

static void fill_and_empty(const struct way *w, size_t bytes)
{
    uint64_t names[2048];
    unsigned n = 0;
    uint64_t before = reserved();
    int r = 0;
    while (n < 2048 && !(r = w->take(&names[n], bytes)))
        n++;
    if (n < 2048)
        assert_int_equal(r, DV_CUDA_ERROR_OUT_OF_MEMORY);
    assert_true(n > 0);
    assert_true(fake_high_water() <= LIMIT);
    assert_true(fake_used() <= reserved());
    if (bytes >= 2 * MIB && n < 2048)
        assert_true(LIMIT - reserved() < bytes + 2 * MIB);
    while (n > 0)
        assert_int_equal(w->give(names[--n]), 0);
    settle();
    /* What a pool keeps stays charged until somebody needs it. */
    uint64_t address;
    assert_int_equal(mem_alloc(&address, LIMIT - CONTEXT), 0);
    assert_int_equal(mem_free(address), 0);
    assert_true(fake_used() <= before);
    assert_int_equal(reserved(), before);
}

static void test_edge(void **state)
{
    for (unsigned i = 0; i < sizeof ways / sizeof *ways; i++)
        for (size_t bytes = 4096; bytes <= 64 * MIB; bytes = bytes * 8 + 4096) {
            print_message("%s %zu\n", ways[i].name, bytes);
            fill_and_empty(&ways[i], bytes);
        }
}

static void test_nonsense_sizes(void **state)
{
    uint64_t a;
    const size_t sizes[] = {SIZE_MAX, SIZE_MAX / 2, INT64_MAX, LIMIT, LIMIT - CONTEXT + 1};
    for (unsigned w = 0; w < sizeof ways / sizeof *ways; w++)
        for (unsigned i = 0; i < 4 && ways[w].take != take_module; i++)
            if (ways[w].take != take_pitch)
                assert_int_equal(ways[w].take(&a, sizes[i]), DV_CUDA_ERROR_OUT_OF_MEMORY);
    assert_int_equal(mem_alloc(&a, sizes[4]), DV_CUDA_ERROR_OUT_OF_MEMORY);
    settle();
    assert_true(fake_high_water() <= LIMIT);
    assert_int_equal(mem_free(12345), DV_CUDA_ERROR_INVALID_VALUE);
    assert_int_equal(reserved(), CONTEXT);
}

/* Created, mapped, released: charged until the mapping is gone too. */
static void test_mapped_handle_stays_charged(void **state)
{
    uint64_t handle, again;
    assert_int_equal(take_create(&handle, 64 * MIB), 0);
    assert_int_equal(CALL(cuMemMap, (uint64_t, size_t, size_t, uint64_t, uint64_t), 0x7000000000,
                          64 * MIB, 0, handle, 0),
                     0);
    assert_int_equal(give_create(handle), 0);
    assert_int_equal(reserved(), CONTEXT + 64 * MIB);
    assert_int_equal(
        CALL(cuMemRetainAllocationHandle, (uint64_t *, void *), &again, (void *)0x7000000000), 0);
    assert_int_equal(CALL(cuMemUnmap, (uint64_t, size_t), 0x7000000000, 64 * MIB), 0);
    assert_int_equal(reserved(), CONTEXT + 64 * MIB);
    assert_int_equal(give_create(again), 0);
    assert_int_equal(reserved(), CONTEXT);
    assert_int_equal(fake_used(), CONTEXT);
}

static void test_second_context(void **state)
{
    void *context, *primary;
    uint64_t a;
    assert_int_equal(CALL(cuCtxCreate_v2, (void **, unsigned, int), &context, 0, 0), 0);
    assert_int_equal(mem_alloc(&a, 10 * MIB), 0);
    assert_int_equal(CALL(cuCtxCreate_v2, (void **, unsigned, int), &primary, 0, 0),
                     DV_CUDA_ERROR_OUT_OF_MEMORY);
    assert_int_equal(CALL(cuCtxCreate_v2, (void **, unsigned, int), &primary, 0, 1),
                     DV_CUDA_ERROR_INVALID_DEVICE);
    assert_int_equal(CALL(cuDevicePrimaryCtxRetain, (void **, int), &primary, 1),
                     DV_CUDA_ERROR_INVALID_DEVICE);
    assert_int_equal(CALL(cuCtxDestroy_v2, (void *), context), 0);
    assert_int_equal(reserved(), CONTEXT); /* with all that was in it */
    assert_int_equal(CALL(cuDevicePrimaryCtxRetain, (void **, int), &primary, 0), 0);
    assert_int_equal(CALL(cuDevicePrimaryCtxRelease_v2, (int), 0), 0);
    assert_int_equal(reserved(), CONTEXT); /* one of two */
    assert_int_equal(CALL(cuCtxSetCurrent, (void *), primary), 0);
    (void)mem_free(a); /* the fake does not free with the context */
}

static void test_views(void **state)
{
    size_t f, t;
    int n = -1, device = -1;
    assert_int_equal(CALL(cuMemGetInfo_v2, (size_t *, size_t *), &f, &t), 0);
    assert_int_equal(t, LIMIT);
    assert_int_equal(f, LIMIT - CONTEXT);
    assert_int_equal(CALL(cuDeviceTotalMem_v2, (size_t *, int), &t, 0), 0);
    assert_int_equal(t, LIMIT);
    assert_int_equal(CALL(cuDeviceGetCount, (int *), &n), 0);
    assert_int_equal(n, 1);
    assert_int_equal(CALL(cuDeviceGet, (int *, int), &device, 0), 0);
    assert_int_equal(device, 0);
    assert_int_equal(CALL(cuDeviceGet, (int *, int), &device, 1), DV_CUDA_ERROR_INVALID_DEVICE);
}

static void test_live_limit(void **state)
{
    uint64_t a;
    dv_fake_daemon_limit(daemon_, CONTEXT + 8 * MIB, DV_SLICE_LIVE);
    assert_int_equal(mem_alloc(&a, 10 * MIB), DV_CUDA_ERROR_OUT_OF_MEMORY);
    assert_int_equal(mem_alloc(&a, 8 * MIB), 0);
    dv_fake_daemon_limit(daemon_, LIMIT, DV_SLICE_ENDED);
    assert_int_equal(mem_free(a), 0);
    assert_int_equal(mem_alloc(&a, 4096), DV_CUDA_ERROR_OUT_OF_MEMORY);
    dv_fake_daemon_limit(daemon_, LIMIT, DV_SLICE_LIVE);
    assert_int_equal(mem_alloc(&a, 8 * MIB), 0);
    assert_int_equal(mem_free(a), 0);
}

/* ---- lookups --------------------------------------------------------------------------------- */

static void *ask(const char *name, int version, uint64_t flags, int *status)
{
    void *p = (void *)1;
    int r = CALL(cuGetProcAddress_v2, (const char *, void **, int, uint64_t, int *), name, &p,
                 version, flags, status);
    return r ? NULL : p;
}

static void test_lookup_matrix(void **state)
{
    int status;
    assert_ptr_equal(ask("cuMemAlloc", 12000, 0, &status), sym("cuMemAlloc_v2"));
    assert_ptr_equal(ask("cuMemAlloc", 3000, 0, &status), sym("cuMemAlloc"));
    assert_ptr_equal(ask("cuLaunchKernel", 12000, 0, &status), sym("cuLaunchKernel"));
    assert_ptr_equal(ask("cuLaunchKernel", 12000, 2, &status), sym("cuLaunchKernel_ptsz"));
    assert_ptr_equal(ask("cuLaunchKernel", 4000, 2, &status), sym("cuLaunchKernel"));
    assert_ptr_equal(ask("cuMemAllocAsync", 12000, 2, &status), sym("cuMemAllocAsync_ptsz"));
    assert_ptr_equal(ask("cuGetProcAddress", 12000, 0, &status), sym("cuGetProcAddress_v2"));
    assert_ptr_equal(ask("cuGetProcAddress", 11030, 0, &status), sym("cuGetProcAddress"));
    assert_int_equal(status, DV_CUDA_SYMBOL_FOUND);
    assert_null(ask("cuMemAllocAsync", 11000, 0, &status));
    assert_int_equal(status, DV_CUDA_SYMBOL_VERSION_NOT_SUFFICIENT);
    assert_null(ask("cuNothing", 12000, 0, &status));
    assert_int_equal(status, DV_CUDA_SYMBOL_NOT_FOUND);
    assert_null(ask("", 0, 0, &status));
    int (*profiler)(const char *, const char *, int) = ask("cuProfilerInitialize", 12000, 0, NULL);
    assert_int_equal(profiler("abc", "ab", 7), 327);
}

/* The per-thread variant calls the driver's per-thread variant. */
static void test_each_variant_calls_its_own(void **state)
{
    uint64_t a;
    unsigned plain = fake_calls("cuMemAllocAsync"), own = fake_calls("cuMemAllocAsync_ptsz");
    assert_int_equal(CALL(cuMemAllocAsync_ptsz, (uint64_t *, size_t, void *), &a, 512, NULL), 0);
    assert_int_equal(fake_calls("cuMemAllocAsync"), plain);
    assert_int_equal(fake_calls("cuMemAllocAsync_ptsz"), own + 1);
    assert_int_equal(give_async(a), 0);
    settle();
}

static void test_dlsym_ways(void **state)
{
    void *wrapper = sym("cuMemAlloc_v2"), *bare = dlsym(driver, "cuMemAlloc_v2");
    assert_non_null(bare);
#if !defined(__SANITIZE_THREAD__) && !defined(__SANITIZE_ADDRESS__) /* they refuse the flag */
    void *deep = dlopen(getenv("DV_TEST_LIBRARY"), RTLD_NOW | RTLD_DEEPBIND);
    assert_ptr_equal(dlsym(deep, "cuMemAlloc_v2"), wrapper);
#endif
    if (getenv("DV_TEST_PRELOAD")) {
        assert_ptr_equal(bare, wrapper); /* the driver's own handle leads to us */
        assert_ptr_equal(dlvsym(driver, "cuMemAlloc_v2", "any"), wrapper);
        assert_ptr_equal(dlsym(RTLD_NEXT, "cuMemAlloc_v2"), wrapper);
        assert_ptr_equal(dlsym(RTLD_DEFAULT, "cuMemAlloc_v2"), wrapper);
        void *apart = dlmopen(LM_ID_NEWLM, getenv("DV_TEST_DRIVER"), RTLD_NOW);
        if (apart)
            assert_ptr_equal(dlsym(apart, "cuMemAlloc_v2"), wrapper);
    }
    /* Everybody else's lookups are none of our business. */
    assert_non_null(dlsym(RTLD_DEFAULT, "printf"));
    assert_null(dlsym(RTLD_DEFAULT, "cuNothing"));
    assert_null(dlsym(RTLD_DEFAULT, "no such name"));
}

static void test_names_without_wrapper(void **state)
{
    int version = 0;
    assert_int_equal(CALL(cuDriverGetVersion, (int *), &version), 0);
    assert_int_equal(version, 13000);
    for (int i = 0; i < 2; i++)
        assert_int_equal(
            CALL(cuProfilerInitialize, (const char *, const char *, int), "abcd", "x", 5), 415);
    if (!getenv("DV_TEST_PRELOAD")) /* known to the stand-in, unknown to this driver */
        assert_int_equal(CALL(cuProfilerStart, (void)), DV_CUDA_ERROR_NOT_SUPPORTED);
    assert_int_equal(CALL(cuGraphClone, (void **, void *), NULL, NULL),
                     DV_CUDA_ERROR_NOT_SUPPORTED);
}

/* ---- threads, forks -------------------------------------------------------------------------- */

static void *hammer(void *arg)
{
    unsigned seed = (unsigned)(uintptr_t)arg;
    uint64_t held[16] = {0};
    unsigned way[16] = {0};
    (void)CALL(cuCtxSetCurrent, (void *), (void *)0x1000);
    for (int i = 0; i < 3000; i++) {
        unsigned k = (unsigned)rand_r(&seed) % 16;
        if (held[k]) {
            (void)ways[way[k]].give(held[k]);
            held[k] = 0;
        } else {
            way[k] = (unsigned)rand_r(&seed) % 8;
            if (ways[way[k]].take(&held[k], (size_t)(rand_r(&seed) % (16 << 20)) + 4096))
                held[k] = 0;
        }
        (void)CALL(cuLaunchKernel,
                   (void *, unsigned, unsigned, unsigned, unsigned, unsigned, unsigned, unsigned,
                    void *, void **, void **),
                   arg, 1, 1, 1, 1, 1, 1, 0, NULL, NULL, NULL);
    }
    for (unsigned k = 0; k < 16; k++)
        if (held[k])
            (void)ways[way[k]].give(held[k]);
    return NULL;
}

static void test_threads(void **state)
{
    pthread_t t[8];
    for (uintptr_t i = 0; i < 8; i++)
        assert_int_equal(pthread_create(&t[i], NULL, hammer, (void *)(i + 1)), 0);
    for (int i = 0; i < 8; i++)
        pthread_join(t[i], NULL);
    assert_true(fake_high_water() <= LIMIT);
    settle();
    uint64_t a;
    assert_int_equal(mem_alloc(&a, LIMIT - CONTEXT), 0); /* all of it, pools emptied */
    assert_int_equal(mem_free(a), 0);
    assert_int_equal(reserved(), CONTEXT);
    assert_int_equal(fake_used(), CONTEXT);
}

static int in_child(int (*f)(void))
{
    pid_t pid = fork();
    if (pid == 0)
        _exit(f());
    int status = -1;
    assert_int_equal(waitpid(pid, &status, 0), pid);
    return WIFEXITED(status) ? WEXITSTATUS(status) : 128 + WTERMSIG(status);
}

static int child_allocates(void)
{
    uint64_t a;
    return mem_alloc(&a, 4096);
}

static void test_forked_child_of_a_user(void **state)
{
    uint64_t before = reserved();
    assert_int_equal(in_child(child_allocates), DV_CUDA_ERROR_NOT_INITIALIZED);
    assert_int_equal(reserved_soon(before), before);
    uint64_t a;
    assert_int_equal(mem_alloc(&a, 4096), 0);
    assert_int_equal(mem_free(a), 0);
}

/* ---- processes that start anew: they come first, before this one uses the library ------------ */

static int init(void)
{
    return ((int (*)(unsigned))dlsym(library, "cuInit"))(0);
}

static int child_dies_holding(void)
{
    uint64_t a;
    void *c;
    if (init() || CALL(cuDevicePrimaryCtxRetain, (void **, int), &c, 0) || mem_alloc(&a, 32 * MIB))
        return 1;
    kill(getpid(), SIGKILL);
    return 2;
}

static void test_dead_process_is_repaired(void **state)
{
    assert_int_equal(in_child(child_dies_holding), 128 + SIGKILL);
    for (int i = 0; i < 6000 && !__atomic_load_n(&daemon_->deaths, __ATOMIC_ACQUIRE); i++)
        usleep(10000);
    assert_int_equal(__atomic_load_n(&daemon_->deaths, __ATOMIC_ACQUIRE), 1);
    assert_int_equal(reserved(), 0);
}

static int child_without_daemon(void)
{
    const char *text = "";
    unsetenv(DV_TENANT_SOCKET_ENV);
    if (init() != DV_CUDA_ERROR_SYSTEM_NOT_READY)
        return 1;
    if (getenv("DV_TEST_PRELOAD"))
        return 0; /* there the driver has the words */
    int (*name)(int, const char **) = (int (*)(int, const char **))dlsym(library, "cuGetErrorName");
    return name(DV_CUDA_ERROR_SYSTEM_NOT_READY, &text) ||
           strcmp(text, "CUDA_ERROR_SYSTEM_NOT_READY");
}

static int child_refused(void)
{
    struct dv_fake_daemon *d = dv_fake_daemon_start(
        &(struct dv_fake_daemon_config){.libcuda = getenv("DV_TEST_DRIVER"), .refuse = 13});
    int first = init();
    int version;
    int second = ((int (*)(int *))dlsym(library, "cuDriverGetVersion"))(&version);
    dv_fake_daemon_stop(d);
    if (getenv("DV_TEST_PRELOAD"))
        second = DV_CUDA_ERROR_NOT_PERMITTED; /* that one goes straight to the driver */
    return first == DV_CUDA_ERROR_NOT_PERMITTED && second == first ? 0 : 1;
}

static int child_other_device(void)
{
    struct dv_fake_daemon *d = dv_fake_daemon_start(
        &(struct dv_fake_daemon_config){.libcuda = getenv("DV_TEST_DRIVER"),
                                        .limit = LIMIT,
                                        .uuid = "GPU-22222222-2222-2222-2222-222222222222"});
    int device = -1;
    int r = init();
    if (!r)
        r = ((int (*)(int *, int))dlsym(library, "cuDeviceGet"))(&device, 0);
    dv_fake_daemon_stop(d);
    return r == 0 && device == 1 ? 0 : 1;
}

static void test_fails_closed(void **state)
{
    assert_int_equal(in_child(child_without_daemon), 0);
    assert_int_equal(in_child(child_refused), 0);
    assert_int_equal(in_child(child_other_device), 0);
}

static int set_up(void **state)
{
    void *context;
    assert_int_equal(init(), 0);
    assert_int_equal(CALL(cuDevicePrimaryCtxRetain, (void **, int), &context, 0), 0);
    assert_int_equal(CALL(cuCtxSetCurrent, (void *), context), 0);
    assert_int_equal(reserved(), CONTEXT);
    return 0;
}

int main(void)
{
    const char *path = getenv("DV_TEST_LIBRARY"), *below = getenv("DV_TEST_DRIVER");
    if (!path || !below)
        return 77;
    /* The driver first: both are called libcuda.so.1, and a path always means the file. */
    driver = dlopen(below, RTLD_NOW | RTLD_LOCAL);
    library = dlopen(path, RTLD_NOW | RTLD_LOCAL);
    if (!library || !driver) {
        fprintf(stderr, "%s\n", dlerror());
        return 99;
    }
    *(void **)&fake_used = dlsym(driver, "fake_used");
    *(void **)&fake_high_water = dlsym(driver, "fake_high_water");
    *(void **)&fake_calls = dlsym(driver, "fake_calls");
    const struct CMUnitTest alone[] = {cmocka_unit_test(test_fails_closed)};
    int failed = cmocka_run_group_tests_name("without this daemon", alone, NULL, NULL);
    daemon_ = dv_fake_daemon_start(&(struct dv_fake_daemon_config){
        .limit = LIMIT, .context_bytes = CONTEXT, .module_bytes = 4 * MIB, .libcuda = below});
    const struct CMUnitTest young[] = {
        cmocka_unit_test(test_dead_process_is_repaired),
    };
    const struct CMUnitTest grown[] = {
        cmocka_unit_test(test_views),
        cmocka_unit_test(test_lookup_matrix),
        cmocka_unit_test(test_each_variant_calls_its_own),
        cmocka_unit_test(test_dlsym_ways),
        cmocka_unit_test(test_names_without_wrapper),
        cmocka_unit_test(test_nonsense_sizes),
        cmocka_unit_test(test_edge),
        cmocka_unit_test(test_mapped_handle_stays_charged),
        cmocka_unit_test(test_live_limit),
        cmocka_unit_test(test_threads),
        cmocka_unit_test(test_second_context),
        cmocka_unit_test(test_forked_child_of_a_user),
    };
    failed += cmocka_run_group_tests_name("before use", young, NULL, NULL);
    failed += cmocka_run_group_tests_name("in use", grown, set_up, NULL);
    dv_fake_daemon_stop(daemon_);
    return failed;
}
