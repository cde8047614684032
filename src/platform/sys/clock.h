/* SPDX-License-Identifier: Apache-2.0 */
/* The two clocks: nanoseconds that only grow, and the time of day in seconds since 1970. */
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
