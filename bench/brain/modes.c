/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Requests simulated per second of processor time, by mode, at 10^5, 10^6 and 10^7 requests of
 * seven tenants (12 a second each, 10 ms; an A100), and the memory that it took. The baseline in
 * the same run is the textbook's MPS rule in Python, 10^5 requests (the same, and the arrivals too,
 * with nothing but the standard library).
 *
 *     brain-modes [REQUESTS_MAX]
 */
#include "simulate/modes/modes.h"

#include <stdio.h>
#include <stdlib.h>
#include <sys/resource.h>
#include <time.h>

#define TENANTS 7
#define RATE_MILLI 12000

static double now_s(void)
{
    struct timespec t;
    clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &t);
    return (double)t.tv_sec + (double)t.tv_nsec / 1e9;
}

static double peak_mib(void)
{
    struct rusage u;
    getrusage(RUSAGE_SELF, &u);
    return (double)u.ru_maxrss / 1024;
}

static const char python[] = "python3 -c '\n"
                             "import random, time, heapq\n"
                             "t0 = time.process_time()\n"
                             "def arrivals(t, end):\n"
                             "    at, r = 0.0, random.Random(t)\n"
                             "    while True:\n"
                             "        at += r.expovariate(12)\n"
                             "        if at >= end: return\n"
                             "        yield at, t\n"
                             "end = 100000 / (7 * 12)\n"
                             "ends, lat, n = [0.0] * 7, [], 0\n"
                             "for at, t in heapq.merge(*(arrivals(t, end) for t in range(7))):\n"
                             "    n += 1\n"
                             "    busy = sum(e > at for e in ends)\n"
                             "    ends[t] = max(at, ends[t]) + 0.01 * (1 + 0.18 * busy)\n"
                             "    if ends[t] < end: lat.append(ends[t] - at)\n"
                             "lat.sort()\n"
                             "print(n / (time.process_time() - t0))\n"
                             "' 2>/dev/null";

static double measure_python(void)
{
    double rate = 0;
    FILE *f = popen(python, "r");
    if (f && fscanf(f, "%lf", &rate) != 1)
        rate = 0;
    if (f)
        pclose(f);
    return rate;
}

static void measure(const struct dv_modes_config *c, enum dv_modes_mode mode, uint64_t max,
                    double baseline)
{
    static struct dv_modes_result r;
    double last = 0;
    for (uint64_t n = 100000; n <= max; n *= 10) {
        struct dv_arrivals_load load = {.tenants = TENANTS,
                                        .service_ns = 10 * DV_NS_PER_MS,
                                        .rate_milli = RATE_MILLI,
                                        .seed = 1};
        load.duration_ns = (uint64_t)((double)n / (TENANTS * RATE_MILLI / 1e3) * 1e9);
        double start = now_s();
        if (dv_arrivals_check(&load, NULL) < 0 || dv_modes_run(&load, c, mode, NULL, &r) < 0)
            exit(1);
        double took = now_s() - start;
        if (r.verdict != DV_MODES_OK)
            return;
        printf("  %-9s %-10s %9llu %8.2f s %11.0f", c->model ? "engine" : "textbook",
               dv_modes_name(mode), (unsigned long long)r.all.offered, took,
               (double)r.all.offered / took);
        if (baseline > 0)
            printf(" %8.1fx", (double)r.all.offered / took / baseline);
        else
            printf(" %9s", "-");
        if (last > 0)
            printf(" %7.1fx", took / last);
        else
            printf(" %8s", "-");
        printf(" %9.1f MiB\n", peak_mib());
        last = took;
    }
}

int main(int argc, char **argv)
{
    struct dv_modes_config c;
    uint64_t max = argc > 1 ? strtoull(argv[1], NULL, 10) : 10000000;
    double baseline = measure_python();
    dv_modes_config_default(&c);
    printf("modes: requests simulated per second; baseline: the textbook's MPS rule in Python, "
           "%.0f requests/s\n",
           baseline);
    printf("  %-9s %-10s %9s %10s %11s %9s %8s %13s\n", "model", "mode", "requests", "took",
           "requests/s", "baseline", "for 10x", "peak memory");
    for (c.model = DV_MODES_TEXTBOOK; c.model <= DV_MODES_ENGINE; c.model++)
        for (uint32_t m = 0; m < DV_MODES_COUNT; m++)
            if (c.model == DV_MODES_TEXTBOOK || m != DV_MODES_EXCLUSIVE)
                measure(&c, m, max, baseline);
    return 0;
}
