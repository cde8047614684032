/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What the governor costs a launch and an allocation: the same calls straight to a driver and
 * through the stand-in in front of it, taken in turns (ABBA) in one process, the least of many
 * rounds. The driver counts and does nothing, so the difference is the governor's own.
 *
 *     governor_cost              prints a table; numbers are nanoseconds per call
 */
#include "fake_daemon.h"

#include <dlfcn.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <time.h>

#define MIB (UINT64_C(1) << 20)
#define ROUNDS 40
#define CALLS 20000
#define LAUNCHES 2000 /* of one microsecond each */

struct side {
    int (*launch)(void *, unsigned, unsigned, unsigned, unsigned, unsigned, unsigned, unsigned,
                  void *, void **, void **);
    int (*alloc)(uint64_t *, size_t);
    int (*release)(uint64_t);
    int (*info)(size_t *, size_t *);
    int (*drain)(void);
};

static uint64_t now_ns(void)
{
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return (uint64_t)t.tv_sec * UINT64_C(1000000000) + (uint64_t)t.tv_nsec;
}

static double launches(const struct side *s)
{
    (void)s->drain();
    uint64_t from = now_ns();
    for (int i = 0; i < LAUNCHES; i++)
        (void)s->launch((void *)0x4000, 2, 1, 1, 32, 1, 1, 0, NULL, NULL, NULL);
    return (double)(now_ns() - from) / LAUNCHES;
}

static double allocations(const struct side *s)
{
    uint64_t a, from = now_ns();
    for (int i = 0; i < CALLS; i++)
        if (!s->alloc(&a, 2 * MIB))
            (void)s->release(a);
    return (double)(now_ns() - from) / CALLS;
}

static double views(const struct side *s)
{
    size_t f, t;
    uint64_t from = now_ns();
    for (int i = 0; i < CALLS; i++)
        (void)s->info(&f, &t);
    return (double)(now_ns() - from) / CALLS;
}

static void compare(const char *what, double (*f)(const struct side *), const struct side *bare,
                    const struct side *governed)
{
    double b = 1e9, g = 1e9;
    for (int i = 0; i < ROUNDS; i++) {
        double first = f(i % 2 ? bare : governed), second = f(i % 2 ? governed : bare);
        double here = i % 2 ? first : second, there = i % 2 ? second : first;
        b = here < b ? here : b;
        g = there < g ? there : g;
    }
    printf("  %-36s %9.1f %9.1f %9.1f ns\n", what, b, g, g - b);
}

static struct side side(void *library)
{
    struct side s;
    *(void **)&s.launch = dlsym(library, "cuLaunchKernel");
    *(void **)&s.alloc = dlsym(library, "cuMemAlloc_v2");
    *(void **)&s.release = dlsym(library, "cuMemFree_v2");
    *(void **)&s.drain = dlsym(library, "cuCtxSynchronize");
    *(void **)&s.info = dlsym(library, "cuMemGetInfo_v2");
    return s;
}

static void fill(const struct side *s, unsigned n)
{
    uint64_t a;
    for (unsigned i = 0; i < n; i++)
        if (s->alloc(&a, 512))
            return;
}

int main(void)
{
    struct dv_fake_daemon *d = dv_fake_daemon_start(&(struct dv_fake_daemon_config){
        .limit = UINT64_C(32) << 30, .context_bytes = 300 * MIB, .libcuda = DV_BENCH_DRIVER});
    void *below = dlopen(DV_BENCH_DRIVER, RTLD_NOW | RTLD_LOCAL);
    void *above = dlopen(DV_BENCH_STANDIN, RTLD_NOW | RTLD_LOCAL);
    void *context;
    if (!below || !above) {
        fprintf(stderr, "%s\n", dlerror());
        return 1;
    }
    int (*init)(unsigned), (*retain)(void **, int), (*set)(void *);
    *(void **)&init = dlsym(above, "cuInit");
    *(void **)&retain = dlsym(above, "cuDevicePrimaryCtxRetain");
    *(void **)&set = dlsym(above, "cuCtxSetCurrent");
    if (init(0) || retain(&context, 0) || set(context))
        return 1;
    /* The lease is ours and nobody else wants it. */
    dv_fake_daemon_turn(d, dv_turn_pack(1, 1), 0, 0);
    struct side bare = side(below), governed = side(above);
    printf("cost: one call on a driver that does nothing\n  %-36s %9s %9s %9s\n", "", "bare",
           "governed", "added");
    compare("cuLaunchKernel", launches, &bare, &governed);
    compare("cuMemAlloc + cuMemFree", allocations, &bare, &governed);
    fill(&governed, 10000);
    compare("the same beside 10,000 live ones", allocations, &bare, &governed);
    compare("cuMemGetInfo", views, &bare, &governed);
    dv_fake_daemon_stop(d);
    return 0;
}
