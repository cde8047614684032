/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What a tenant used, as integrals in whole numbers: nothing is rounded until it is shown, and how
 * often an interval is cut up does not change its sum.
 *
 *     dv_usage_hold(&usage, ns, 10 * DV_GIB, 3500);   // held 10 GiB and half a GPU for ns
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

/* A slice of this size was held for so long. */
void dv_usage_hold(struct dv_usage *usage, uint64_t ns, uint64_t memory_bytes, uint32_t compute);
void dv_usage_busy(struct dv_usage *usage, uint64_t ns);
void dv_usage_wait(struct dv_usage *usage, uint64_t ns);
void dv_usage_add(struct dv_usage *usage, const struct dv_usage *more);

/*
 * A slice's clock: accrue() charges what was held since the last call. A clock that steps back
 * charges nothing. Call it before every change of size and before every reading.
 */
struct dv_usage_meter {
    uint64_t since_ns;
    uint64_t memory_bytes;
    uint32_t compute;
};
void dv_usage_meter_accrue(struct dv_usage_meter *meter, struct dv_usage *usage, uint64_t now_ns);

/* Reserved time in whole GPU nanoseconds, rounded down. */
uint64_t dv_usage_reserved_ns(const struct dv_usage *usage);
/* Whole byte seconds, rounded down; UINT64_MAX when there are more. */
uint64_t dv_usage_byte_seconds(const struct dv_usage *usage);

/* A 128-bit integral as decimal text and back, for stores without such a type. */
#define DV_USAGE_TEXT 40
const char *dv_usage_format(dv_u128 value, char buf[DV_USAGE_TEXT]);
/* 0, or -EINVAL, -ERANGE. */
int dv_usage_parse(const char *text, dv_u128 *ret);

#endif
