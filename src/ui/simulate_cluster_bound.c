/* SPDX-License-Identifier: Apache-2.0 */
#include "simulate_cluster_bound.h"

#include "place.h"
#include "solver/solver.h"

#include <errno.h>

int dv_simulate_cluster_bound(const struct dv_ui *ui, const struct dv_cluster_sim_config *config,
                              struct dv_own_bound *ret)
{
    char path[DV_PLACE_MAX];
    struct dv_err err = {{0}};
    dv_cleanup(dv_solver_freep) struct dv_solver *solver = NULL;
    if (dv_place_library(DV_SOLVER_LIBRARY, path) < 0)
        return dv_ui_fail(ui, DV_UI_FAILURE, "--bounds: divvy's own libraries cannot be found");
    if (dv_solver_open(path, &solver, &err) < 0)
        return dv_ui_fail(ui, DV_UI_UNAVAILABLE, "--bounds: %s", err.msg);
    struct dv_program_solver who = {dv_solver_solve, solver};
    int r = dv_own_bound_find(config->cluster, config->pods, config->arrivals, config->n_arrivals,
                              100, &who, NULL, ret, &err);
    if (r == -ENOMEM)
        dv_err_set(&err, r, "out of memory");
    return r < 0 ? dv_ui_fail(ui, DV_UI_FAILURE, "--bounds: %s", err.msg) : DV_UI_OK;
}
