/* SPDX-License-Identifier: Apache-2.0 */
/* What the files of the replay share. */
#ifndef DV_SIMULATE_CLUSTER_INTERNAL_H
#define DV_SIMULATE_CLUSTER_INTERNAL_H

#include "simulate/cluster/cluster_sim.h"

/* An arrival that has come. */
struct dv_cluster_run {
    uint32_t node;           /* DV_CLUSTER_NONE: nowhere, not yet, or gone */
    uint32_t next, previous; /* arrivals on its node; DV_CLUSTER_NONE: none */
    struct dv_cluster_taking taking;
};

struct dv_cluster_leave {
    double at_s;
    uint32_t arrival;
};

struct dv_cluster_sim {
    struct dv_cluster_sim_config config;
    struct dv_popularity *workload; /* what is measured by */
    struct dv_popularity *learnt;   /* what the policy knows, where it learns */
    struct dv_frag *frag;
    struct dv_frag_sum fragmented;
    struct dv_place *place;
    struct dv_cluster_run *runs; /* of each arrival */
    uint32_t *first;             /* of each node: an arrival on it */
    struct dv_cluster_leave *heap;
    uint32_t n_heap;
    uint32_t next; /* arrival to come */
    struct dv_place_verdict last;
    struct dv_cluster_sim_result result;
    struct {
        uint32_t rows;
        int64_t allocated;                 /* hundredths of a percent */
        __extension__ __int128 fragmented; /* times the measure's weight */
    } rows[DV_CLUSTER_SIM_PERCENT_MAX + 1];
    double now_s, started_s, area; /* milli * s */
    uint64_t peak_milli;
};

const struct dv_cluster_pod *dv_cluster_sim_pod(const struct dv_cluster_sim *sim, uint32_t arrival);
/* The arrival takes this of the node, or gives it back. 0, -ENOMEM, -ENOSPC. */
int dv_cluster_sim_settle(struct dv_cluster_sim *sim, uint32_t arrival, uint32_t node,
                          const struct dv_cluster_taking *taking);
int dv_cluster_sim_lift(struct dv_cluster_sim *sim, uint32_t arrival);
/* Makes room for an arrival that fits nowhere by moving others. 0: it has been placed; 1: it cannot
 * be done; -ENOMEM. */
int dv_cluster_sim_make_room(struct dv_cluster_sim *sim, uint32_t arrival);

#endif
