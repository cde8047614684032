/* SPDX-License-Identifier: Apache-2.0 */
/* The answer of divvy simulate cluster (docs/reference/simulate-cluster.md). */
#ifndef DV_UI_SIMULATE_CLUSTER_VIEW_H
#define DV_UI_SIMULATE_CLUSTER_VIEW_H

#include "policy/place/own_bound.h"
#include "simulate/cluster/cluster_sim.h"
#include "ui.h"

struct dv_simulate_cluster_view {
    const struct dv_cluster_sim_config *config;
    struct dv_cluster_sim_result result;
    bool partial;
    uint64_t took_ns;        /* processor time of the decisions alone */
    const char *explain;     /* a pod; NULL: none */
    struct dv_str explained; /* ...and what there is to say of it; "": it did not come */
    const char *html;        /* a file for the page; NULL: none */
    bool bounded;
    struct dv_own_bound bound; /* bounded: what any policy could have allocated */
    int exit;                  /* status to end with */
};

/* Returns the exit status. */
int dv_simulate_cluster_answer(const struct dv_ui *ui, const struct dv_simulate_cluster_view *view);

#endif
