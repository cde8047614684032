/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What a GPU's time went to, in whole nanoseconds: the rows that the books make (account/books.h),
 * the ledger keeps (store/ledger.h) and a bill is made of (account/bill.h).
 *
 * An account says who, where and how; a charge says how much. The buckets of all charges of one GPU
 * over an interval sum to the interval's wall time, exactly: each instant of a GPU lands in one
 * bucket (docs/explanation/accounting.md). Time of a part of a GPU is weighted: a second of a
 * device that is 3/7 of its GPU is 3/7 of a GPU second.
 *
 * Busy and reserved-idle time belong to a tenant. Overhead, unallocated and unhealthy time belong
 * to the GPU: their account has tenant "". Work that runs outside of any slice, and of which nobody
 * knows whose it is, is the tenant DV_ACCOUNT_OUTSIDE's, a name that no real tenant can have.
 *
 * A pod is one of a tenant's workloads, by its name: its containers, and pods that had the name
 * before, are one. Its time is its tenant's; prices and shares of idle time do not know of it.
 */
#ifndef DV_ACCOUNT_CHARGE_H
#define DV_ACCOUNT_CHARGE_H

#include "account/usage.h"
#include "model/claim.h"
#include "model/tenant.h"
#include "model/workload.h"

#define DV_ACCOUNT_OUTSIDE "@outside"

/* Best first. A figure made of several has the worst of theirs. */
enum dv_quality {
    DV_QUALITY_EXACT,     /* measured where the work is let through */
    DV_QUALITY_SAMPLED,   /* the driver's samples, summed and fitted to the device */
    DV_QUALITY_ESTIMATED, /* nothing measures it: divided by a stated rule */
};

/* Where busy time comes from. */
enum dv_source {
    DV_SOURCE_NONE,       /* nothing to measure: idle time */
    DV_SOURCE_LEASES,     /* the arbiter's charges */
    DV_SOURCE_PROCESS,    /* the governor inside the process times its own work */
    DV_SOURCE_DRIVER,     /* NVML's per-process utilization */
    DV_SOURCE_ACCOUNTING, /* NVML's accounting of a process that has ended */
};

/* "exact", "sampled", "estimated"; "none", "leases", "process", "driver", "accounting". */
const char *dv_account_quality_name(enum dv_quality quality);
const char *dv_account_source_name(enum dv_source source);

/* The key. Two accounts are one when all fields are equal. */
struct dv_account {
    char gpu[DV_UUID_SIZE];       /* the physical GPU's uuid */
    char model[DV_GPU_NAME_SIZE]; /* its product name */
    char profile[DV_MIG_NAME];    /* of the MIG device, "1g.10gb"; "" on a whole GPU */
    enum dv_mode mode;            /* AUTO where no mode is in force (unallocated, unhealthy) */
    char tenant[DV_TENANT_SIZE];  /* "": the GPU's own time */
    enum dv_tier tier;
    enum dv_source source;
    enum dv_quality quality;
    char pod[DV_WORKLOAD_NAME_SIZE]; /* of the tenant; "": no pod, or it is not told apart */
};

bool dv_account_equal(const struct dv_account *a, const struct dv_account *b);

/* The amounts. The five buckets are GPU nanoseconds. */
struct dv_charge {
    uint64_t busy_ns;
    uint64_t overhead_ns;
    uint64_t reserved_idle_ns;
    uint64_t unallocated_ns;
    uint64_t unhealthy_ns;
    /* Beside the buckets: */
    uint64_t wait_ns;           /* the tenant had work and waited for its turn */
    uint64_t requested_compute; /* 1/7000 GPU x ns held: divided by 7000 it is GPU nanoseconds */
    uint64_t byte_seconds;      /* memory held */
    uint64_t held_ns;           /* slices held x ns */
};

/* Saturates nothing: a row is of a day at most, and a day of a GPU fits (7000 x 86400e9 < 2^63). */
void dv_charge_add(struct dv_charge *charge, const struct dv_charge *more);
/* The sum of the five buckets. */
uint64_t dv_charge_wall_ns(const struct dv_charge *charge);

/* A charge of an account over [from, to), in seconds since 1970, UTC: one row of the ledger. */
struct dv_charge_row {
    int64_t from_unix, to_unix;
    struct dv_account account;
    struct dv_charge charge;
};

#endif
