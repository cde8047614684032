/* SPDX-License-Identifier: Apache-2.0 */
/*
 * One workload's telemetry, kept as figures: samples come one by one and are forgotten. About 2 KiB
 * for a workload, however long it is watched.
 *
 * Samples of a series should come in order of time. The last DV_AUDIT_RECENT times are remembered:
 * a sample that is older than the newest takes its place among them, one whose time is there
 * already is a duplicate and is not counted, one older than all of them is late and is not counted,
 * since nobody can tell whether it is a duplicate.
 *
 * A series may come newest first instead, as databases export it. If more of its first
 * DV_AUDIT_RECENT samples were older than all before them than were newer, it is read backwards
 * from there on: all of the above then holds of the time before now. No figure depends on the
 * direction.
 */
#ifndef DV_POLICY_AUDIT_SERIES_H
#define DV_POLICY_AUDIT_SERIES_H

#include "base/macros.h"

#include <stdbool.h>

#define DV_AUDIT_RECENT 16u
#define DV_AUDIT_BINS 201u /* of busy percent: exactly 0, then halves of a percent */
#define DV_AUDIT_GAP_BINS 40u

enum dv_audit_add {
    DV_AUDIT_ADDED,
    DV_AUDIT_ADDED_OUT_OF_ORDER,
    DV_AUDIT_DUPLICATE, /* not counted */
    DV_AUDIT_CONFLICT,  /* a duplicate with another value: the first one stands */
    DV_AUDIT_LATE,      /* not counted */
};

/* The times of one series, and what is between them. */
struct dv_audit_times {
    uint64_t n;
    uint64_t out_of_order;     /* of them */
    int64_t first_ns, last_ns; /* since 1970 */
    uint32_t head, n_recent;   /* a ring, ascending from head */
    /* Of the first ones: how many were older than all before, and pairs in falling order. */
    uint32_t fell, falling;
    bool backwards; /* newest first; `recent` holds negated times then */
    int64_t recent[DV_AUDIT_RECENT];
    float value[DV_AUDIT_RECENT];
    /* Distances of neighbours by octaves, from 1 ms up. */
    uint32_t gaps[DV_AUDIT_GAP_BINS];
    double gap_ns[DV_AUDIT_GAP_BINS];
};

struct dv_audit_series {
    struct dv_audit_times busy_times, memory_times;
    double busy_sum, busy_squares; /* percent */
    double busy_peak;
    uint64_t idle;                          /* samples of exactly 0 */
    int64_t idle_since_ns, longest_idle_ns; /* since: as in `recent` */
    uint32_t bins[DV_AUDIT_BINS];
    double memory_sum; /* bytes */
    uint64_t memory_peak;
};

/* A series of all zeros is empty. percent is in [0, 100], unix_ns in [0, 2^62). */
enum dv_audit_add dv_audit_series_busy(struct dv_audit_series *s, int64_t unix_ns, double percent);
enum dv_audit_add dv_audit_series_memory(struct dv_audit_series *s, int64_t unix_ns, double bytes);

/* What the distances say: the step is the most frequent distance of neighbours; one of more than
 * one and a half steps is a gap. */
struct dv_audit_spacing {
    uint64_t step_ns; /* 0: unknown (fewer than two samples) */
    uint64_t gaps;
    uint64_t missing; /* samples that would fill them */
    uint64_t longest_gap_ns;
};
void dv_audit_series_spacing(const struct dv_audit_times *t, struct dv_audit_spacing *ret);

/* The busy percent that the share q of the samples does not exceed: halves of a percent are exact,
 * what is between them comes out as the next one; q in (0, 1]. */
double dv_audit_series_quantile(const struct dv_audit_series *s, double q);

#endif
