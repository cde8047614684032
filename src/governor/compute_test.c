/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Launches through the built library: leases given and taken by a hand-driven arbiter page, a
 * daemon that falls silent, goes away and comes back. Nothing here depends on how fast this
 * machine is: every wait is for a state, with a limit at which the test fails.
 */
#include "abi_cuda.h"
#include "abi_tenant.h"
#include "testing/fake_daemon.h"

#include <dlfcn.h>
#include <pthread.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include <cmocka.h>

#define MIB (UINT64_C(1) << 20)
#define LIMIT (640 * MIB)
#define CONTEXT (300 * MIB)
#define MS UINT64_C(1000000)

static struct dv_fake_daemon *daemon_;
static void *library;
static char path[96];

static void *sym(const char *name)
{
    void *p = dlsym(library, name);
    if (!p)
        fail_msg("%s is not there", name);
    return p;
}

#define CALL(name, types, ...) ((int(*) types)sym(#name))(__VA_ARGS__)

static uint64_t now_ns(void)
{
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return (uint64_t)t.tv_sec * UINT64_C(1000000000) + (uint64_t)t.tv_nsec;
}

#define EVENTUALLY(condition)                                                                      \
    do {                                                                                           \
        for (int tries = 0; !(condition) && tries < 60000; tries++)                                \
            usleep(1000);                                                                          \
        assert_true(condition);                                                                    \
    } while (0)

#define GET(word) __atomic_load_n(&(word), __ATOMIC_ACQUIRE)

static struct dv_slot_page *slot(void)
{
    return daemon_->tenant[1].page;
}

static int launch(unsigned microseconds, void *stream)
{
    return CALL(cuLaunchKernel,
                (void *, unsigned, unsigned, unsigned, unsigned, unsigned, unsigned, unsigned,
                 void *, void **, void **),
                (void *)0x4000, microseconds + 1, 1, 1, 32, 1, 1, 0, stream, NULL, NULL);
}

static uint32_t launched; /* by the thread below */
static bool enough;

/* So many, or until it is enough. */
static void *launch_many(void *arg)
{
    unsigned n = (unsigned)(uintptr_t)arg;
    (void)CALL(cuCtxSetCurrent, (void *), (void *)0x1000);
    for (unsigned i = 0; i < n && !GET(enough); i++) {
        if (launch(100, NULL))
            return (void *)1;
        __atomic_fetch_add(&launched, 1, __ATOMIC_RELEASE);
    }
    return NULL;
}

static pthread_t start_launching(unsigned n)
{
    pthread_t t;
    __atomic_store_n(&launched, 0, __ATOMIC_RELEASE);
    __atomic_store_n(&enough, false, __ATOMIC_RELEASE);
    assert_int_equal(pthread_create(&t, NULL, launch_many, (void *)(uintptr_t)n), 0);
    return t;
}

static void test_open(void **state)
{
    uint64_t before = GET(slot()->launches_total);
    for (int i = 0; i < 200; i++)
        assert_int_equal(launch(50, i % 3 ? NULL : (void *)0x10), 0);
    assert_int_equal(CALL(cuCtxSynchronize, (void)), 0);
    EVENTUALLY(GET(slot()->launches_total) - before == 200);
}

/* Nobody holds: waits and says so. Granted: goes. Others wait and the time is over: gives up. */
static void test_lease(void **state)
{
    uint64_t wants = GET(slot()->want_count);
    __atomic_store_n(&daemon_->ahead_ns, 3600000 * MS, __ATOMIC_RELEASE);
    EVENTUALLY(GET(daemon_->arbiter->heartbeat_ns) > now_ns());
    dv_fake_daemon_turn(daemon_, 0, 0, 0);
    pthread_t t = start_launching(UINT32_MAX); /* however slow this thread is */
    EVENTUALLY(GET(slot()->want_count) > wants && GET(slot()->want_ns));
    assert_int_equal(GET(launched), 0);
    dv_fake_daemon_turn(daemon_, dv_turn_pack(1, 7), 0, now_ns() + 10 * MS);
    EVENTUALLY(GET(slot()->epoch) == 7 && GET(launched) > 0);
    dv_fake_daemon_turn(daemon_, dv_turn_pack(1, 7), dv_turn_pack(2, 8), now_ns() + MS);
    EVENTUALLY(GET(slot()->released_epoch) == 7);
    assert_int_equal(GET(slot()->handed), dv_turn_pack(2, 8));
    EVENTUALLY(GET(slot()->want_ns)); /* it has counted its last one, and waits */
    uint32_t now = GET(launched);
    assert_true(GET(slot()->used_ns) > 0);
    dv_fake_daemon_turn(daemon_, dv_turn_pack(2, 8), 0, now_ns() + 10 * MS);
    usleep(20000);
    assert_int_equal(GET(launched), now); /* another's turn */
    dv_fake_daemon_turn(daemon_, dv_turn_pack(1, 9), 0, now_ns() + 10 * MS);
    EVENTUALLY(GET(launched) > now);
    __atomic_store_n(&enough, true, __ATOMIC_RELEASE);
    void *r;
    pthread_join(t, &r);
    assert_null(r);
    assert_int_equal(GET(slot()->epoch), 9);
    /* Alone and done: the lease stays, lazily, and the page says that it is idle. */
    EVENTUALLY(GET(slot()->idle_since_ns) && GET(slot()->inflight_ns) == 0);
    __atomic_store_n(&daemon_->ahead_ns, 0, __ATOMIC_RELEASE);
    EVENTUALLY(GET(daemon_->arbiter->heartbeat_ns) <= now_ns());
}

/* A launch that is only recorded never waits. */
static void test_capture_passes(void **state)
{
    void *graph = NULL;
    dv_fake_daemon_turn(daemon_, dv_turn_pack(2, 10), 0, now_ns() + 10 * MS);
    assert_int_equal(CALL(cuStreamBeginCapture_v2, (void *, int), (void *)0x77, 0), 0);
    for (int i = 0; i < 100; i++)
        assert_int_equal(launch(1000, (void *)0x77), 0);
    assert_int_equal(CALL(cuStreamEndCapture, (void *, void **), (void *)0x77, &graph), 0);
    assert_int_equal(CALL(cuCtxSynchronize, (void)), 0);
}

/* No heartbeat: launches go on, paced; the cap holds. */
static void test_silent_daemon(void **state)
{
    uint64_t a;
    dv_fake_daemon_turn(daemon_, dv_turn_pack(2, 11), 0, now_ns() + 10 * MS);
    pthread_t t = start_launching(100);
    __atomic_store_n(&daemon_->silent, true, __ATOMIC_RELEASE);
    void *r;
    pthread_join(t, &r);
    assert_null(r);
    EVENTUALLY(GET(slot()->selfpaced_total_ns) > 0);
    assert_int_equal(CALL(cuMemAlloc_v2, (uint64_t *, size_t), &a, LIMIT),
                     DV_CUDA_ERROR_OUT_OF_MEMORY);
    assert_int_equal(CALL(cuMemAlloc_v2, (uint64_t *, size_t), &a, 16 * MIB), 0);
    assert_int_equal(CALL(cuMemFree_v2, (uint64_t), a), 0);
    __atomic_store_n(&daemon_->silent, false, __ATOMIC_RELEASE);
}

static struct dv_fake_daemon_config config(const char *socket)
{
    return (struct dv_fake_daemon_config){.limit = LIMIT,
                                          .context_bytes = CONTEXT,
                                          .module_bytes = 4 * MIB,
                                          .libcuda = getenv("DV_TEST_DRIVER"),
                                          .path = socket};
}

/* A new daemon on the same socket: the process registers with all that it holds. */
static void test_daemon_comes_back(void **state)
{
    uint64_t a;
    assert_int_equal(CALL(cuMemAlloc_v2, (uint64_t *, size_t), &a, 16 * MIB), 0);
    uint64_t held = GET(daemon_->reservation->word.bytes);
    assert_int_equal(CALL(cuCtxSynchronize, (void)), 0);
    uint64_t earlier = GET(slot()->launches_total);
    char kept[96];
    snprintf(kept, sizeof kept, "%s", daemon_->path);
    dv_fake_daemon_stop(daemon_);
    assert_int_equal(CALL(cuMemAlloc_v2, (uint64_t *, size_t), &a, LIMIT),
                     DV_CUDA_ERROR_OUT_OF_MEMORY);
    assert_int_equal(launch(100, NULL), 0);
    assert_int_equal(CALL(cuCtxSynchronize, (void)), 0);
    struct dv_fake_daemon_config c = config(kept);
    daemon_ = dv_fake_daemon_start(&c);
    EVENTUALLY(GET(daemon_->reservation->word.bytes) == held);
    assert_int_equal(CALL(cuMemFree_v2, (uint64_t), a), 0);
    assert_int_equal(GET(daemon_->reservation->word.bytes), held - 16 * MIB);
    for (int i = 0; i < 100; i++)
        assert_int_equal(launch(10, NULL), 0);
    assert_int_equal(CALL(cuCtxSynchronize, (void)), 0);
    /* The counters are those of the process's whole life, also of its time without a daemon; but a
     * batch that is open while the process registers anew is counted nowhere: that one launch. */
    assert_true(earlier > 0);
    EVENTUALLY(GET(slot()->launches_total) >= earlier + 100);
}

int main(void)
{
    const char *name = getenv("DV_TEST_LIBRARY");
    if (!name || !getenv("DV_TEST_DRIVER"))
        return 77;
    library = dlopen(name, RTLD_NOW | RTLD_LOCAL);
    if (!library) {
        fprintf(stderr, "%s\n", dlerror());
        return 99;
    }
    /* The socket's directory outlives the first daemon. */
    char directory[] = "/tmp/dv-compute-XXXXXX";
    if (!mkdtemp(directory))
        return 99;
    snprintf(path, sizeof path, "%s/socket", directory);
    setenv(DV_TENANT_SOCKET_ENV, path, 1);
    struct dv_fake_daemon_config c = config(path);
    daemon_ = dv_fake_daemon_start(&c);
    void *context;
    if (CALL(cuInit, (unsigned), 0) ||
        CALL(cuDevicePrimaryCtxRetain, (void **, int), &context, 0) ||
        CALL(cuCtxSetCurrent, (void *), context))
        return 99;
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_open),
        cmocka_unit_test(test_lease),
        cmocka_unit_test(test_capture_passes),
        cmocka_unit_test(test_silent_daemon),
        cmocka_unit_test(test_daemon_comes_back),
    };
    int failed = cmocka_run_group_tests(tests, NULL, NULL);
    dv_fake_daemon_stop(daemon_);
    (void)rmdir(directory);
    return failed;
}
