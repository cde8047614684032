/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The memory cap under fire: four processes of sixteen threads allocate and free by eight calls at
 * the edge of one slice while processes are killed at random, on the simulated driver. The engine
 * itself is asked what was ever held at once.
 *
 *     divvy-sim run NODE -- governor_race [SECONDS]
 *
 * DV_TEST_LIBRARY is the stand-in, DV_TEST_DRIVER the simulated libcuda.so.1. Exit 0: never above
 * the cap; everything came back; one process alone gets 99 % of it.
 */
#include "abi_cuda.h"
#include "abi_sim.h"
#include "fake_daemon.h"

#include <dlfcn.h>
#include <errno.h>
#include <pthread.h>
#include <signal.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#define MIB (UINT64_C(1) << 20)
#define LIMIT (UINT64_C(6) << 30)
#define PROCESSES 4
#define THREADS 16
#define HELD 8

static void fail(const char *what)
{
    fprintf(stderr, "governor_race: %s\n", what);
    exit(1);
}

static uint64_t now_ms(void)
{
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return (uint64_t)t.tv_sec * 1000 + (uint64_t)t.tv_nsec / 1000000;
}

/* ---- the engine's truth ---------------------------------------------------------------------- */

static int control = -1;
static pthread_mutex_t control_lock = PTHREAD_MUTEX_INITIALIZER;

static bool request(uint16_t op, const void *payload, uint32_t size, void *reply, size_t reply_size)
{
    char buffer[sizeof(struct dv_sim_header) + sizeof(struct dv_sim_stats)];
    struct dv_sim_header h = {.magic = DV_SIM_MAGIC, .op = op, .size = size};
    memcpy(buffer, &h, sizeof h);
    memcpy(buffer + sizeof h, payload, size);
    if (send(control, buffer, sizeof h + size, MSG_NOSIGNAL) < 0)
        return false;
    ssize_t n = recv(control, buffer, sizeof buffer, 0);
    if (n < (ssize_t)sizeof h)
        return false;
    memcpy(&h, buffer, sizeof h);
    if (reply)
        memcpy(reply, buffer + sizeof h, h.size < reply_size ? h.size : reply_size);
    return h.status == 0;
}

static void connect_control(void)
{
    struct sockaddr_un a = {.sun_family = AF_UNIX};
    const char *path = getenv(DV_SIM_SOCKET_ENV);
    if (!path)
        fail("run it under divvy-sim run");
    snprintf(a.sun_path, sizeof a.sun_path, "%s", path);
    control = socket(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0);
    struct dv_sim_hello hello = {DV_SIM_ABI, DV_SIM_CLIENT_CONTROL};
    if (connect(control, (struct sockaddr *)&a, sizeof a) ||
        !request(DV_SIM_HELLO, &hello, sizeof hello, NULL, 0))
        fail("no simulated node");
}

static void stats(struct dv_sim_stats *ret)
{
    uint32_t gpu = 0;
    memset(ret, 0, sizeof *ret);
    pthread_mutex_lock(&control_lock);
    bool fine = request(DV_SIM_CTL_STATS, &gpu, sizeof gpu, ret, sizeof *ret);
    pthread_mutex_unlock(&control_lock);
    if (!fine)
        fail("the node does not answer");
}

static uint64_t used_by(uint32_t pid)
{
    struct dv_sim_stats s;
    stats(&s);
    for (uint32_t i = 0; i < s.processes && i < 256; i++)
        if (s.process[i].pid == pid)
            return s.process[i].memory_used_bytes;
    return 0;
}

static bool still_there(uint32_t pid)
{
    return used_by(pid) != 0;
}

/* ---- a tenant -------------------------------------------------------------------------------- */

static void *library;
static void *context;
static void *pool;

static void *sym(const char *name)
{
    void *p = dlsym(library, name);
    if (!p)
        fail(name);
    return p;
}

#define CALL(name, types, ...) ((int(*) types)sym(#name))(__VA_ARGS__)

static int free_address(uint64_t a)
{
    return CALL(cuMemFree_v2, (uint64_t), a);
}

static int by_plain(uint64_t *ret, size_t n)
{
    return CALL(cuMemAlloc_v2, (uint64_t *, size_t), ret, n);
}

static int by_managed(uint64_t *ret, size_t n)
{
    return CALL(cuMemAllocManaged, (uint64_t *, size_t, unsigned), ret, n, 1);
}

static int by_pitch(uint64_t *ret, size_t n)
{
    size_t pitch;
    return CALL(cuMemAllocPitch_v2, (uint64_t *, size_t *, size_t, size_t, unsigned), ret, &pitch,
                1000, n / 1024 + 1, 4);
}

static int by_async(uint64_t *ret, size_t n)
{
    return CALL(cuMemAllocAsync, (uint64_t *, size_t, void *), ret, n, NULL);
}

static int by_pool(uint64_t *ret, size_t n)
{
    return CALL(cuMemAllocFromPoolAsync, (uint64_t *, size_t, void *, void *), ret, n, pool, NULL);
}

static int free_async(uint64_t a)
{
    return CALL(cuMemFreeAsync, (uint64_t, void *), a, NULL);
}

static int by_create(uint64_t *ret, size_t n)
{
    struct dv_cuda_allocation_prop p = {.type = DV_CUDA_ALLOCATION_PINNED,
                                        .location = {DV_CUDA_LOCATION_DEVICE, 0}};
    return CALL(cuMemCreate, (uint64_t *, size_t, const void *, uint64_t), ret,
                (n + 2 * MIB - 1) / (2 * MIB) * (2 * MIB), &p, 0);
}

static int free_handle(uint64_t a)
{
    return CALL(cuMemRelease, (uint64_t), a);
}

static int by_array(uint64_t *ret, size_t n)
{
    struct dv_cuda_array_descriptor d = {n / 4096 + 1, 1024, DV_CUDA_FORMAT_FLOAT, 1};
    return CALL(cuArrayCreate_v2, (uint64_t *, const void *), ret, &d);
}

static int free_array(uint64_t a)
{
    return CALL(cuArrayDestroy, (uint64_t), a);
}

static int by_array3d(uint64_t *ret, size_t n)
{
    struct dv_cuda_array_3d_descriptor d = {n / 65536 + 1, 128, 128, DV_CUDA_FORMAT_FLOAT, 1, 0};
    return CALL(cuArray3DCreate_v2, (uint64_t *, const void *), ret, &d);
}

static const struct {
    const char *name;
    int (*take)(uint64_t *ret, size_t n);
    int (*give)(uint64_t a);
} ways[] = {
    {"cuMemAlloc", by_plain, free_address},
    {"cuMemAllocManaged", by_managed, free_address},
    {"cuMemAllocPitch", by_pitch, free_address},
    {"cuMemAllocAsync", by_async, free_async},
    {"cuMemAllocFromPoolAsync", by_pool, free_async},
    {"cuMemCreate", by_create, free_handle},
    {"cuArrayCreate", by_array, free_array},
    {"cuArray3DCreate", by_array3d, free_array},
};
#define WAYS (sizeof ways / sizeof *ways)

static void be_tenant(void)
{
    prctl(PR_SET_PDEATHSIG, SIGKILL);
    library = dlopen(getenv("DV_TEST_LIBRARY"), RTLD_NOW | RTLD_LOCAL);
    if (!library)
        fail(dlerror());
    struct dv_cuda_pool_props props = {.allocation_type = DV_CUDA_ALLOCATION_PINNED,
                                       .location = {DV_CUDA_LOCATION_DEVICE, 0}};
    int device = 0, r;
    if (CALL(cuInit, (unsigned), 0) || CALL(cuDeviceGet, (int *, int), &device, 0))
        fail("cuInit");
    while ((r = CALL(cuDevicePrimaryCtxRetain, (void **, int), &context, device)) ==
           DV_CUDA_ERROR_OUT_OF_MEMORY)
        usleep(1000); /* the slice is full just now */
    if (r || CALL(cuCtxSetCurrent, (void *), context) ||
        CALL(cuMemPoolCreate, (void **, const void *), &pool, &props))
        fail("no context");
}

__attribute__((noreturn)) static void *hammer(void *arg)
{
    unsigned seed = (unsigned)getpid() * 31U + (unsigned)(uintptr_t)arg;
    uint64_t held[HELD] = {0};
    unsigned way[HELD] = {0};
    (void)CALL(cuCtxSetCurrent, (void *), context);
    for (;;) {
        unsigned k = (unsigned)rand_r(&seed) % HELD;
        if (held[k]) {
            if (ways[way[k]].give(held[k]))
                fail(ways[way[k]].name);
            held[k] = 0;
            continue;
        }
        way[k] = (unsigned)rand_r(&seed) % WAYS;
        size_t n = (size_t)(rand_r(&seed) % (48 << 20)) + 1;
        int r = ways[way[k]].take(&held[k], n);
        if (r && r != DV_CUDA_ERROR_OUT_OF_MEMORY) {
            fprintf(stderr, "%s(%zu): %d\n", ways[way[k]].name, n, r);
            fail("an allocation failed otherwise");
        }
        if (r)
            held[k] = 0;
    }
}

static int tenant(void)
{
    pthread_t t;
    be_tenant();
    for (uintptr_t i = 1; i < THREADS; i++)
        if (pthread_create(&t, NULL, hammer, (void *)i))
            fail("no thread");
    hammer(NULL);
}

/* Takes all there is, in ever smaller pieces; prints how much that was. */
static int alone(void)
{
    uint64_t a, sum = 0;
    be_tenant();
    for (size_t n = 256 * MIB; n >= 2 * MIB; n /= 2)
        while (!by_plain(&a, n))
            sum += n;
    printf("%llu\n", (unsigned long long)sum);
    return 0;
}

static int hold_context(void)
{
    be_tenant();
    pause();
    return 0;
}

/* The UUID of the first device, by the driver itself. */
static int print_uuid(void)
{
    uint8_t u[16];
    library = dlopen(getenv("DV_TEST_DRIVER"), RTLD_NOW | RTLD_LOCAL);
    if (!library || CALL(cuInit, (unsigned), 0) || CALL(cuDeviceGetUuid_v2, (void *, int), u, 0))
        fail("the driver does not start");
    printf("GPU-");
    for (int i = 0; i < 16; i++)
        printf("%s%02x", i == 4 || i == 6 || i == 8 || i == 10 ? "-" : "", u[i]);
    printf("\n");
    return 0;
}

/* ---- the conductor --------------------------------------------------------------------------- */

static const char *self;

static pid_t start(const char *role, int out)
{
    pid_t pid = fork();
    if (pid)
        return pid;
    if (out >= 0)
        (void)dup2(out, STDOUT_FILENO);
    execl(self, self, role, (char *)NULL);
    _exit(127);
}

static void ask(const char *role, char *ret, size_t size)
{
    int p[2];
    if (pipe(p))
        fail("pipe");
    pid_t pid = start(role, p[1]);
    close(p[1]);
    ssize_t n = read(p[0], ret, size - 1);
    close(p[0]);
    int status;
    (void)waitpid(pid, &status, 0);
    if (n <= 0 || status)
        fail(role);
    ret[n - 1] = 0;
}

static void await(bool (*condition)(void *), void *arg, const char *what)
{
    for (uint64_t end = now_ms() + 120000; !condition(arg); usleep(2000))
        if (now_ms() > end)
            fail(what);
}

static bool all_gone(void *arg)
{
    struct dv_fake_daemon *d = arg;
    struct dv_sim_stats s;
    stats(&s);
    return s.memory_used_bytes == 0 &&
           __atomic_load_n(&d->reservation->word.bytes, __ATOMIC_ACQUIRE) == 0;
}

static bool has_context(void *arg)
{
    return used_by((uint32_t) * (pid_t *)arg) != 0;
}

/* What a context of this driver costs: the daemon learns that; here it is measured. */
static uint64_t learn_context(struct dv_fake_daemon *d)
{
    pid_t pid = start("context", -1);
    await(has_context, &pid, "a context");
    uint64_t bytes = used_by((uint32_t)pid);
    kill(pid, SIGKILL);
    (void)waitpid(pid, NULL, 0);
    await(all_gone, d, "the first context does not go");
    return bytes;
}

static uint64_t high_water(void)
{
    struct dv_sim_stats s;
    stats(&s);
    return s.memory_high_water_bytes;
}

static void explain(struct dv_fake_daemon *d)
{
    struct dv_sim_stats s;
    stats(&s);
    fprintf(stderr, "held at most %llu bytes of %llu; now %llu, reserved %llu\n",
            (unsigned long long)s.memory_high_water_bytes, (unsigned long long)LIMIT,
            (unsigned long long)s.memory_used_bytes,
            (unsigned long long)__atomic_load_n(&d->reservation->word.bytes, __ATOMIC_ACQUIRE));
    for (uint32_t i = 0; i < s.processes && i < 256; i++)
        fprintf(stderr, "  pid %u: %llu\n", s.process[i].pid,
                (unsigned long long)s.process[i].memory_used_bytes);
    fail("above the cap");
}

static unsigned race(struct dv_fake_daemon *d, unsigned seconds)
{
    pid_t pid[PROCESSES];
    unsigned kills = 0, seed = 7;
    for (int i = 0; i < PROCESSES; i++)
        pid[i] = start("tenant", -1);
    for (uint64_t end = now_ms() + seconds * 1000; now_ms() < end;) {
        usleep(20000 + (unsigned)rand_r(&seed) % 200000);
        int i = rand_r(&seed) % PROCESSES, status;
        kill(pid[i], SIGKILL);
        (void)waitpid(pid[i], &status, 0);
        if (!WIFSIGNALED(status))
            fail("a tenant ended by itself");
        kills++;
        if (high_water() > LIMIT)
            explain(d);
        pid[i] = start("tenant", -1);
    }
    for (int i = 0; i < PROCESSES; i++) {
        kill(pid[i], SIGKILL);
        (void)waitpid(pid[i], NULL, 0);
    }
    return kills;
}

static int conduct(unsigned seconds)
{
    char uuid[64], all[64];
    uint32_t gpu = 0;
    connect_control();
    ask("uuid", uuid, sizeof uuid);
    struct dv_fake_daemon *d = dv_fake_daemon_start(&(struct dv_fake_daemon_config){
        .limit = LIMIT,
        .context_bytes = 512 * MIB,
        .module_bytes = 2 * MIB,
        .libcuda = getenv("DV_TEST_DRIVER"),
        .libnvml = getenv("DV_TEST_NVML"),
        .uuid = uuid,
        .still_there = still_there,
    });
    uint64_t context_bytes = learn_context(d);
    __atomic_store_n(&d->slice->context_bytes, context_bytes, __ATOMIC_RELEASE);
    (void)request(DV_SIM_CTL_RESET_HIGH_WATER, &gpu, sizeof gpu, NULL, 0);
    unsigned kills = race(d, seconds);
    uint64_t most = high_water();
    await(all_gone, d, "not everything came back");
    ask("alone", all, sizeof all);
    uint64_t got = strtoull(all, NULL, 10) + context_bytes;
    await(all_gone, d, "the last process does not go");
    printf("%u kills; cap %llu MiB, most ever held %llu MiB, alone %.2f %%\n", kills,
           (unsigned long long)(LIMIT / MIB), (unsigned long long)(most / MIB),
           100.0 * (double)got / (double)LIMIT);
    dv_fake_daemon_stop(d);
    if (most > LIMIT)
        fail("above the cap");
    if (most < LIMIT / 2)
        fail("the race never came near the cap");
    if (got < LIMIT / 100 * 99)
        fail("the cap is not to be had");
    return 0;
}

int main(int argc, char **argv)
{
    self = "/proc/self/exe";
    const char *role = argc > 1 ? argv[1] : "5";
    if (!strcmp(role, "tenant"))
        return tenant();
    if (!strcmp(role, "alone"))
        return alone();
    if (!strcmp(role, "context"))
        return hold_context();
    if (!strcmp(role, "uuid"))
        return print_uuid();
    return conduct((unsigned)atoi(role));
}
