/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A replay: pods come one after the other, and a policy places each or cannot. A pod that fits
 * nowhere is dropped and counted; there is no queue and no second try.
 *
 *     r = dv_cluster_sim_new(&config, &sim, &err);
 *     while ((r = dv_cluster_sim_step(sim)) == 0)
 *         ;                                        1: all have come
 *     dv_cluster_sim_result(sim, &result);         at any time: what has been so far
 *
 * Without times nobody leaves, and what counts is how much of the cluster is allocated when so much
 * of it has been asked for ("arrived"). With times pods leave again: pod i comes at
 * created / compress and stays for deleted - created, so that compressing brings the load up.
 */
#ifndef DV_SIMULATE_CLUSTER_SIM_H
#define DV_SIMULATE_CLUSTER_SIM_H

#include "policy/place/frag.h"
#include "policy/place/place.h"

#define DV_CLUSTER_SIM_PERCENT_MAX 200u /* of the cluster, arrived; what comes later has no row */
#define DV_CLUSTER_SIM_TIME_MAX UINT64_C(4000000000) /* s */

/* What -E2BIG means, for people. */
#define DV_CLUSTER_SIM_TOO_MANY                                                                    \
    "too many kinds of pods, by what they ask for: CPU, memory, GPUs, models, wishes; round these"

struct dv_cluster_sim_times {
    uint64_t created_s, deleted_s; /* deleted >= created */
};

struct dv_cluster_sim_config {
    struct dv_cluster *cluster; /* sealed and free; borrowed and changed */
    const struct dv_place_policy *policy;
    const struct dv_cluster_pod *pods; /* the workload: what there is to know about what comes */
    uint32_t n_pods;
    const uint32_t *arrivals; /* indices into pods, in the order in which they come */
    uint32_t n_arrivals;
    /* Of each pod; NULL: nobody leaves. With times, `arrivals` is ordered by the caller, by them.
     */
    const struct dv_cluster_sim_times *times;
    double compress; /* > 0; 1: as it was */
    bool migrate;    /* a pod that fits nowhere may have others moved, which is counted */
    /* The policy knows only who has come so far, and looks again every so many arrivals; 0: it
     * knows the workload's popularity from the start. */
    uint32_t learn_every;
    const void *hint; /* for the policy */
    uint64_t seed;
};

/* A mean over the arrivals that came while so many percent of the cluster had been asked for. */
struct dv_cluster_sim_point {
    uint32_t rows;                                /* 0: nothing came then */
    double allocated_percent, fragmented_percent; /* of all GPUs of the cluster */
};

struct dv_cluster_sim_result {
    uint32_t arrived, placed, failed, departed;
    uint64_t arrived_gpu_milli, used_gpu_milli, total_gpu_milli;
    uint64_t used_cpu_milli, total_cpu_milli, used_memory_mib, total_memory_mib;
    uint32_t failures[DV_PLACE_LACKS]; /* by what most nodes lacked */
    double fragmented_milli;
    double fragmented_by[DV_FRAG_CLASSES]; /* milli */
    uint32_t migrations, migrated_for;     /* pods moved; pods that found room by it */
    uint32_t idle_gpus;                    /* wholly free */
    /* with times: means over time and the most */
    double mean_allocated_percent, peak_allocated_percent;
    uint64_t span_s;
    struct dv_cluster_sim_point points[DV_CLUSTER_SIM_PERCENT_MAX + 1];
};

struct dv_cluster_sim;

/* 0, -ENOMEM, -EINVAL with a message. */
int dv_cluster_sim_new(const struct dv_cluster_sim_config *config, struct dv_cluster_sim **ret,
                       struct dv_err *err);
void dv_cluster_sim_free(struct dv_cluster_sim *sim);
void dv_cluster_sim_freep(struct dv_cluster_sim **sim);
/* The next arrival. 0: it came; 1: all have; -ENOMEM, -EINVAL, -E2BIG. */
int dv_cluster_sim_step(struct dv_cluster_sim *sim);
void dv_cluster_sim_result(const struct dv_cluster_sim *sim, struct dv_cluster_sim_result *ret);
/* What was found for the latest arrival, before others were moved for it; none came: not placed. */
const struct dv_place_verdict *dv_cluster_sim_last(const struct dv_cluster_sim *sim);
/* Why the latest arrival went where it went: dv_place_terms(); 0 where it was not placed. */
size_t dv_cluster_sim_terms(const struct dv_cluster_sim *sim,
                            struct dv_place_term ret[DV_PLACE_TERMS_MAX]);
/* The operands of a verdict about this arrival, as the cluster is now. */
void dv_cluster_sim_most(const struct dv_cluster_sim *sim, uint32_t arrival,
                         struct dv_place_most *ret);
/* Where the arrival went: its node, or DV_CLUSTER_NONE; before it came, too. */
uint32_t dv_cluster_sim_node(const struct dv_cluster_sim *sim, uint32_t arrival);

#endif
