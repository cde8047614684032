/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The audit of a fleet: what its GPUs did, by telemetry, and what they could do instead
 * (docs/explanation/fleet-audit.md). Streaming: a workload is about 2 KiB, a sample nothing.
 *
 *     dv_cleanup(dv_audit_freep) struct dv_audit *a = dv_audit_new();
 *     r = dv_audit_find(a, "notebook-7", "", &w);
 *     dv_audit_busy(a, w, unix_ns, 12.5);
 *     dv_audit_memory(a, w, unix_ns, 3e9);
 *     dv_audit_finish(a, &wish);
 *     dv_audit_at(a, w)->class
 *
 * A workload here is one series: what one GPU's worth of one program did. It is taken to have had a
 * GPU to itself from its first sample to its last, which is how fleets without sharing work.
 */
#ifndef DV_POLICY_AUDIT_H
#define DV_POLICY_AUDIT_H

#include "model/device.h"
#include "model/gpu_model.h"
#include "model/tenant.h"
#include "policy/audit/audit_series.h"

#define DV_AUDIT_WORKLOADS_MAX 200000u
#define DV_AUDIT_NAME_MAX 255u
#define DV_AUDIT_NONE UINT32_MAX

/* What a workload is, by thresholds below. */
enum dv_audit_class {
    DV_AUDIT_UNKNOWN,  /* fewer than DV_AUDIT_SAMPLES_MIN samples */
    DV_AUDIT_IDLE,     /* mean < 1 % and at least 90 % of the samples at 0 */
    DV_AUDIT_TRAINING, /* mean >= 60 % and three quarters of the samples at 50 % or more */
    DV_AUDIT_STEADY,   /* steady inference: mean < 60 %, at most 20 % of the samples at 0, standard
                        * deviation <= mean */
    DV_AUDIT_BURSTY,   /* the rest */
};
#define DV_AUDIT_SAMPLES_MIN 30u
#define DV_AUDIT_IDLE_MEAN 1.0
#define DV_AUDIT_IDLE_SHARE 0.9
#define DV_AUDIT_TRAINING_MEAN 60.0
#define DV_AUDIT_TRAINING_QUARTER 50.0
#define DV_AUDIT_STEADY_IDLE 0.2

/* How a workload should hold a GPU. */
enum dv_audit_how {
    DV_AUDIT_KEEP,      /* as it is, on a GPU of its own, until more is known */
    DV_AUDIT_EXCLUSIVE, /* a GPU of its own */
    DV_AUDIT_MIG,
    DV_AUDIT_MPS,
    DV_AUDIT_GOVERNED,
};

/* Why; render/audit_text.h words them. */
enum dv_audit_why {
    DV_AUDIT_WHY_TOO_LITTLE, /* too few samples to tell */
    DV_AUDIT_WHY_NO_MEMORY,  /* its memory is not known, so nothing can be put beside it */
    DV_AUDIT_WHY_TRAINING,   /* keeps the GPU busy */
    DV_AUDIT_WHY_LARGE,      /* leaves no room for another one: nine tenths of the memory, or more
                              * compute than headroom leaves */
    DV_AUDIT_WHY_WALL,       /* needs a hardware wall, and an instance is large enough */
    DV_AUDIT_WHY_WALL_LARGE, /* needs a hardware wall, and no instance is large enough */
    DV_AUDIT_WHY_WALL_NO_MIG,
    DV_AUDIT_WHY_DRIVER_WALL, /* a wall that the driver keeps is asked for: MPS limits */
    DV_AUDIT_WHY_SEVERAL,     /* several GPUs each; of groups alone (audit_group.h) */
    DV_AUDIT_WHY_INTERACTIVE, /* likewise */
    DV_AUDIT_WHY_STEADY,
    DV_AUDIT_WHY_BURSTY,
    DV_AUDIT_WHY_NOBODY, /* a GPU that nobody has, and that did nothing: no place is needed for it
                          */
    DV_AUDIT_WHY_IDLE,
};
#define DV_AUDIT_NOBODY "(nobody)" /* the workload of GPUs that none has */

/* What is asked of the recommendations. */
struct dv_audit_wish {
    uint64_t gpu_memory_bytes;         /* what tenants can have of a GPU; > 0 */
    const struct dv_mig_geometry *mig; /* NULL: these GPUs have none */
    enum dv_wall wall;                 /* at least this */
    enum dv_trust trust;               /* untrusted: behind a hardware wall */
    uint32_t memory_margin_permille;   /* on top of the peak that was seen */
    uint32_t headroom;                 /* of each shared GPU's compute, 1/7000 that stay free */
};

struct dv_audit_workload {
    const char *name, *gpu; /* gpu: "" where series are not told apart by GPU */
    double part;            /* of a GPU, that it held while it was seen: 1, or a MIG instance's */
    struct dv_audit_series series;

    /* From dv_audit_finish() on: */
    double mean_percent, p95_percent, deviation;
    double idle_share; /* of the samples */
    double memory_mean;
    struct dv_audit_spacing spacing;
    uint64_t covered_ns; /* samples x step: time that somebody looked at */
    double wasted_ns; /* GPU time that it held idle; of a shared GPU its part of what that wasted */
    enum dv_audit_class class;
    enum dv_audit_how how;
    enum dv_audit_why why;
    bool half;             /* shared, though more than half of a GPU: beside smaller ones */
    bool park;             /* its memory could be parked in the host while it is idle */
    uint64_t memory_bytes; /* what it should hold; 0: a whole GPU */
    uint32_t compute;      /* 1/7000: the share that holds its 95th percentile */
    uint32_t profile;      /* of DV_AUDIT_MIG: index into the geometry's profiles */
};

static inline bool dv_audit_is_nobody(const struct dv_audit_workload *w)
{
    return w->why == DV_AUDIT_WHY_NOBODY;
}

/* Of the whole. Times are nanoseconds. */
struct dv_audit_fleet {
    uint32_t workloads;   /* with utilization samples */
    uint32_t memory_only; /* with memory samples alone: they are left out of all the rest */
    uint64_t samples, memory_samples;
    uint64_t idle_samples;
    double mean_percent; /* of the samples */
    uint64_t out_of_order, duplicates, conflicts, late;
    uint32_t backwards; /* workloads whose samples came newest first */
    uint64_t gaps, missing;
    uint64_t step_ns; /* the most frequent one */
    int64_t first_ns, last_ns;
    uint64_t gpu_ns;    /* covered, summed over GPUs: time held */
    double busy_ns;     /* of it, busy */
    uint32_t overfull;  /* GPUs whose workloads say that they were more than wholly busy: taken as
                           wholly */
    uint32_t gpus_peak; /* in use at once, at most: workloads, or GPUs that they share */
    double gpus_mean;   /* and on average over the time from first to last */
    uint32_t by_class[5];
};

/* More samples were left out as late or double than were counted: what is left is no picture of
 * what was there. */
static inline bool dv_audit_is_mostly_lost(const struct dv_audit_fleet *f)
{
    return f->late + f->duplicates > f->samples + f->memory_samples;
}

struct dv_audit;

struct dv_audit *dv_audit_new(void); /* NULL: no memory */
void dv_audit_free(struct dv_audit *a);
static inline void dv_audit_freep(struct dv_audit **a)
{
    dv_audit_free(*a);
}

/* The workload of that name and GPU, a new one if need be. 0; -ENOMEM; -E2BIG (too many workloads);
 * -EINVAL (no name, or one that is too long). */
int dv_audit_find(struct dv_audit *a, const char *name, const char *gpu, uint32_t *ret);
enum dv_audit_add dv_audit_busy(struct dv_audit *a, uint32_t workload, int64_t unix_ns,
                                double percent);
enum dv_audit_add dv_audit_memory(struct dv_audit *a, uint32_t workload, int64_t unix_ns,
                                  double bytes);

/* That it held so much of a GPU, 0 < part <= 1. Samples are percent of the whole GPU all the same.
 */
void dv_audit_part(struct dv_audit *a, uint32_t workload, double part);

/* The GPUs' names are those of GPUs (UUIDs; behind a '/' an instance of it), so that workloads with
 * the same one share it, and it counts once for the time that any of them has it. Otherwise each
 * workload counts as a GPU. */
void dv_audit_share_gpus(struct dv_audit *a);

/* Figures, classes and recommendations, from what came so far; may be called again later. -ENOMEM;
 * -EOVERFLOW: more GPU time than 64 bits of nanoseconds hold, 584 years of one GPU. */
int dv_audit_finish(struct dv_audit *a, const struct dv_audit_wish *wish);

uint32_t dv_audit_count(const struct dv_audit *a);
/* In the order in which they were first seen; those of memory alone are among them (busy_times.n is
 * 0). */
const struct dv_audit_workload *dv_audit_at(const struct dv_audit *a, uint32_t i);
const struct dv_audit_fleet *dv_audit_fleet(const struct dv_audit *a);

/* "idle", "training", "steady", "bursty", "unknown"; "keep", "exclusive", "mig", "mps",
 * "governed". */
const char *dv_audit_class_name(enum dv_audit_class class);
const char *dv_audit_how_name(enum dv_audit_how how);

#endif
