/* SPDX-License-Identifier: Apache-2.0 */
/* Clocks: nanoseconds that only grow, those that a thread has worked, and the time of day. */
#ifndef DV_SYS_CLOCK_H
#define DV_SYS_CLOCK_H

#include "base/macros.h"

#include <time.h>

/* CLOCK_MONOTONIC, the clock of all pages shared with tenants. */
static inline uint64_t dv_clock_now(void)
{
    struct timespec ts;
    clock_gettime(CLOCK_MONOTONIC, &ts);
    return (uint64_t)ts.tv_sec * DV_NS_PER_S + (uint64_t)ts.tv_nsec;
}

/* What this thread has used of a processor: how long work takes, whoever else is busy. */
static inline uint64_t dv_clock_thread(void)
{
    struct timespec ts;
    clock_gettime(CLOCK_THREAD_CPUTIME_ID, &ts);
    return (uint64_t)ts.tv_sec * DV_NS_PER_S + (uint64_t)ts.tv_nsec;
}

/* Seconds since 1970. */
static inline int64_t dv_clock_unix(void)
{
    struct timespec ts;
    clock_gettime(CLOCK_REALTIME, &ts);
    return ts.tv_sec;
}

/* The same in microseconds, as NVML counts. */
static inline uint64_t dv_clock_unix_us(void)
{
    struct timespec ts;
    clock_gettime(CLOCK_REALTIME, &ts);
    return (uint64_t)ts.tv_sec * 1000000 + (uint64_t)ts.tv_nsec / 1000;
}

#endif
