/* SPDX-License-Identifier: Apache-2.0 */
/*
 * One card, several tenants with requests: how long requests take under each way of sharing it.
 * The same load runs through every mode. Two models:
 *
 *   TEXTBOOK  queueing rules, no card: MIG is a queue per tenant with service times as many times
 *             longer as there are tenants; MPS stretches a service by 18 % for each tenant whose
 *             last request is not over; time-slicing is one queue, and 0.8 ms more whenever the
 *             tenant changes. Not in the textbook: EXCLUSIVE.
 *   ENGINE    the virtual GPU (engine/engine.h) in virtual time: turns with a switch cost, overlap
 *             of kernels on the SMs that they ask for, instances of a legal MIG partition of the
 *             GPU model, and leases given by the arbiter that divvyd runs (govern/arbiter.h).
 *
 * EXCLUSIVE gives each tenant a whole card of its own: it takes as many cards as tenants, and is
 * what the others are to be measured against. How the models differ and why:
 * docs/explanation/simulating-modes.md.
 *
 * A request's latency is from its arrival to its end; it is served when it ends before the duration
 * is over. Memory does not grow with the number of requests (latency.h).
 *
 *     r = dv_modes_run(&load, &config, DV_MODES_MPS, NULL, &result);
 *     if (!r && !result.verdict) ... result.all.p99_ns
 */
#ifndef DV_SIMULATE_MODES_MODES_H
#define DV_SIMULATE_MODES_MODES_H

#include "model/gpu_model.h"
#include "simulate/modes/arrivals.h"

enum dv_modes_mode {
    DV_MODES_MIG,
    DV_MODES_MPS,
    DV_MODES_TIMESLICE,
    DV_MODES_GOVERNED,
    DV_MODES_EXCLUSIVE,
    DV_MODES_COUNT,
};

enum dv_modes_model {
    DV_MODES_TEXTBOOK,
    DV_MODES_ENGINE,
};

/* "mig", "mps", "timeslice", "governed", "exclusive". */
const char *dv_modes_name(enum dv_modes_mode mode);

struct dv_modes_config {
    enum dv_modes_model model;
    /* The rest is of the engine model. */
    const struct dv_gpu_model *gpu; /* with a known number of SMs */
    uint32_t width;                 /* SMs that a request can fill, 1/7000 of the card; 1..7000 */
    uint32_t mps_limit;    /* MPS: most SMs of a client, 1/7000 of the card; 7000: no limit */
    uint64_t kernel_ns;    /* a request is kernels of this length; 1 us..10 s */
    uint64_t timeslice_ns; /* 1 us..10 s */
    uint64_t switch_ns;    /* 0..10 ms */
    uint64_t hop_ns;       /* governed: from one process's word to another's answer; 0..10 ms */
};

/* The engine model with the engine's own defaults, requests that fill the card in kernels of 1 ms,
 * no MPS limit, hops of 70 us (as between processes of one machine: docs/reference/arbiter.md). */
void dv_modes_config_default(struct dv_modes_config *c);
/* 0, or -EINVAL, -ERANGE with a message. */
int dv_modes_config_check(const struct dv_modes_config *c, struct dv_err *err);

/* Why a mode is not possible. */
enum dv_modes_verdict {
    DV_MODES_OK,
    DV_MODES_NO_MIG,      /* the GPU cannot do MIG */
    DV_MODES_TOO_MANY,    /* more tenants than instances (`limit`) */
    DV_MODES_NOT_MODELLED /* the textbook has no such rule */
};

struct dv_modes_figures {
    uint64_t offered, served;
    uint64_t p50_ns, p99_ns, max_ns; /* of those served; 0 without */
    bool exact;                      /* else off by DV_LATENCY_ERROR_PERMILLE at most */
};

/* The distribution of latencies is given at these percentiles, in permille. */
#define DV_MODES_CURVE 17u
extern const uint32_t dv_modes_curve_permille[DV_MODES_CURVE];

struct dv_modes_result {
    enum dv_modes_mode mode;
    enum dv_modes_verdict verdict;
    uint32_t limit;       /* TOO_MANY: instances that the GPU can have */
    uint32_t cards;       /* that it takes */
    uint32_t mig_profile; /* MIG, engine: of each tenant's instance, index into gpu->mig */
    uint32_t instance_sm; /* MIG, engine: SMs of that instance */
    bool complete;        /* false: stopped by the watch at until_ns */
    uint64_t until_ns;    /* time that was simulated */
    uint64_t work_ppm;    /* whole-card work done over time and cards; textbook: of served */
    uint64_t switch_ppm;  /* engine: time spent in switches, over the card's time */
    uint64_t leases;      /* governed: turns given */
    struct dv_modes_figures all;
    uint64_t curve_ns[DV_MODES_CURVE]; /* of all */
    struct dv_modes_figures others;    /* all but the hostile tenant; without one as `all` */
    struct dv_modes_figures tenants[DV_ARRIVALS_TENANTS_MAX];
};

/* Called now and then with the simulated time; false stops: what was served so far is the result,
 * and of what was offered at least so much as is counted. */
struct dv_modes_watch {
    bool (*look)(void *ctx, uint64_t simulated_ns);
    void *ctx;
};

/* `load` and `config` have passed their checks; watch may be NULL. 0 or -ENOMEM. A mode that is not
 * possible is result.verdict, with no figures. */
int dv_modes_run(const struct dv_arrivals_load *load, const struct dv_modes_config *config,
                 enum dv_modes_mode mode, const struct dv_modes_watch *watch,
                 struct dv_modes_result *ret);

#endif
