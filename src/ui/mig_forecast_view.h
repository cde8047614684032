/* SPDX-License-Identifier: Apache-2.0 */
/* What `divvy mig forecast` answers, as a tree. */
#ifndef DV_UI_MIG_FORECAST_VIEW_H
#define DV_UI_MIG_FORECAST_VIEW_H

#include "fleetfile/demand_file.h"
#include "mig_forecast_layouts.h"
#include "render/output.h"
#include "render/report.h"

struct dv_forecast_view {
    const struct dv_gpu_model *gpu;
    uint32_t n_gpus;
    const struct dv_demand_file *history;
    const struct dv_forecast_layouts *layouts;
    const struct dv_mig_forecast_problem *problem;
    const struct dv_mig_forecast *forecast;
};

void dv_forecast_view_add(const struct dv_forecast_view *v, struct dv_output_node *root);
extern const struct dv_table dv_forecast_schedule_table, dv_forecast_score_table;
extern const struct dv_report dv_forecast_report;

#endif
