/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What a tenant used, as integrals in whole numbers: nothing is rounded until it is shown.
 *
 * Units: ns; compute x ns in 1/7000 GPU nanoseconds; bytes x ns. The last two need 128 bits: 8 GPUs
 * of 141 GB for a year are 2^85 byte nanoseconds.
 */
#ifndef DV_ACCOUNT_USAGE_H
#define DV_ACCOUNT_USAGE_H

#include "base/err.h"

#include <stdbool.h>

__extension__ typedef unsigned __int128 dv_u128;

struct dv_usage {
    uint64_t busy_ns;   /* its work ran on a GPU */
    uint64_t wait_ns;   /* it had work and waited for its turn */
    dv_u128 compute_ns; /* reserved: 1/7000 GPU x ns */
    dv_u128 byte_ns;    /* memory granted x ns */
};

void dv_usage_add(struct dv_usage *usage, const struct dv_usage *more);
/* Reserved time in whole GPU nanoseconds, rounded down. */
uint64_t dv_usage_reserved_ns(const struct dv_usage *usage);
/* Whole byte seconds, rounded down; UINT64_MAX when there are more. */
uint64_t dv_usage_byte_seconds(const struct dv_usage *usage);

#endif
