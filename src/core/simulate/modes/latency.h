/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Latencies, and their percentiles: exact as long as they fit, a histogram beyond. Percentiles
 * interpolate linearly between the two nearest ranks (rank = p * (n - 1)), which is what numpy does
 * by default.
 *
 * The histogram is log-linear: 256 equal buckets for each doubling. A percentile of it lies within
 * one bucket of the exact one: off by less than DV_LATENCY_ERROR_PERMILLE of itself (below 512 ns
 * it is exact).
 */
#ifndef DV_SIMULATE_MODES_LATENCY_H
#define DV_SIMULATE_MODES_LATENCY_H

#include "base/macros.h"

#include <stdbool.h>

#define DV_LATENCY_ERROR_PERMILLE 4 /* 1/256, rounded up */
#define DV_LATENCY_SUB_BITS 8
#define DV_LATENCY_BUCKETS ((64u - DV_LATENCY_SUB_BITS) << DV_LATENCY_SUB_BITS)

struct dv_latency {
    uint64_t *values;  /* while exact */
    uint64_t *buckets; /* once it is not */
    size_t room, exact_max;
    uint64_t n, max_ns;
    bool sorted;
};

/* exact_max: so many are kept one by one. */
void dv_latency_init(struct dv_latency *l, size_t exact_max);
void dv_latency_done(struct dv_latency *l);

/* 0 or -ENOMEM, and then nothing was added. */
int dv_latency_add(struct dv_latency *l, uint64_t ns);
/* All of `from` too; it stays as it is, at most sorted. 0 or -ENOMEM. */
int dv_latency_merge(struct dv_latency *l, const struct dv_latency *from);
bool dv_latency_is_exact(const struct dv_latency *l);
/* permille 0..1000; 0 for none at all. Sorts. */
uint64_t dv_latency_percentile(struct dv_latency *l, uint32_t permille);

#endif
