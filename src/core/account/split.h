/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The conservation law: divides one interval of a GPU's time among those who held and used it, so
 * that the parts sum to the interval, in whole nanoseconds.
 *
 *     struct dv_split_slice slices[2] = {{.share = 1750, .busy_ns = 400}, {.share = 3500}};
 *     struct dv_split_device whole = {.compute = 7000, .slices = slices, .n_slices = 2};
 *     struct dv_split_gpu gpu = {.devices = &whole, .n_devices = 1};
 *     dv_split(&gpu, 1000, work);
 *     400 busy for the first; of the 600 in which nothing ran 150 are reserved-idle for the first,
 *     300 for the second, and 150 are unallocated.
 *
 * Each instant of a device goes to the tenants running; else to overhead; else, up to the shares
 * held, to their reserved-idle time; the rest is unallocated, as is what no device covers. Time
 * that somebody borrowed is the borrower's busy time, and nobody's reserve then. An unhealthy GPU's
 * time is unhealthy, whoever holds it, except for what ran.
 *
 * Two units: device nanoseconds (what a clock beside the device says: in) and GPU nanoseconds
 * (weighted by compute / 7000: out). A device that is 1/7 of its GPU has 1/7 GPU second per second.
 *
 * What was measured may come late, or overlap its neighbours a little: of a device that shares by
 * turns no more than the interval can be given out, and the rest is carried into the next one. Up
 * to carry_max_ns: beyond that the measurements claim more time than there is, and are fitted to
 * it; what was cut off is told (cut_ns).
 */
#ifndef DV_ACCOUNT_SPLIT_H
#define DV_ACCOUNT_SPLIT_H

#include "base/err.h"

#include <stdbool.h>

#define DV_SPLIT_UNKNOWN UINT64_MAX
#define DV_SPLIT_SLICES_MAX 512u /* on one device; those that just left included */
#define DV_SPLIT_DEVICES_MAX 32u /* of one GPU */

struct dv_split_slice {
    uint32_t share;    /* held, 1/7000 of the GPU */
    uint32_t sms;      /* where work overlaps: how much of the device it may run on, any unit > 0 */
    uint64_t busy_ns;  /* device time in which its work ran, as measured in this interval */
    uint64_t carry_ns; /* in: from the interval before; out: for the next, */
    uint64_t carry_max_ns; /* at most so much */
    /* Out, GPU time: */
    uint64_t ret_busy_ns, ret_idle_ns;
};

struct dv_split_device {
    uint32_t compute;     /* of the GPU, 1/7000 */
    bool overlaps;        /* MPS: several run at the same instant; time is split by `sms` */
    uint64_t busy_ns;     /* device time in which anything ran, where it is known (MPS only) */
    uint64_t overhead_ns; /* device time lost to switches and drains */
    struct dv_split_slice *slices;
    size_t n_slices;
    /* Out: */
    uint64_t ret_overhead_ns, ret_unallocated_ns; /* GPU time */
    uint64_t ret_cut_ns; /* device time that was claimed and is not there */
};

struct dv_split_gpu {
    struct dv_split_device *devices;
    size_t n_devices;
    bool unhealthy;
    /* Out, GPU time: what no device covers, and what is unhealthy. */
    uint64_t ret_unallocated_ns, ret_unhealthy_ns;
};

/* 0, or -EINVAL: devices above 7000 together, more than the bounds, a device without compute.
 * Nothing is written then. */
int dv_split(struct dv_split_gpu *gpu, uint64_t wall_ns);

/*
 * Divides `total` in proportion to the weights: whole numbers that sum to it, each less than one
 * away from its exact part, 0 for a weight of 0. All weights 0: everything goes to the last. n >=
 * 1; total times the sum of the weights must stay below 2^128; ret may be weights.
 */
void dv_split_apportion(uint64_t total, const uint64_t *weights, size_t n, uint64_t *ret);

#endif
