/* SPDX-License-Identifier: Apache-2.0 */
/* The bounds beside a simulation: core states them, the solver's library solves them. */
#ifndef DV_UI_SIMULATE_CLUSTER_BOUND_H
#define DV_UI_SIMULATE_CLUSTER_BOUND_H

#include "policy/place/own_bound.h"
#include "simulate/cluster/cluster_sim.h"
#include "ui.h"

/* When as much has been asked for as there is. DV_UI_OK; DV_UI_UNAVAILABLE (no solver here);
 * DV_UI_FAILURE: said. */
int dv_simulate_cluster_bound(const struct dv_ui *ui, const struct dv_cluster_sim_config *config,
                              struct dv_own_bound *ret);

#endif
