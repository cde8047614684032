/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The layouts that `divvy mig forecast` compares, from the configurations of a layout file
 * (mig-parted's, or divvy's own), on a node of GPUs of one model: what each supplies, and what a
 * change from one to another moves.
 */
#ifndef DV_UI_MIG_FORECAST_LAYOUTS_H
#define DV_UI_MIG_FORECAST_LAYOUTS_H

#include "base/str.h"
#include "model/gpu_model.h"
#include "policy/mig_forecast.h"

#define DV_FORECAST_GPUS_MAX 16u
#define DV_FORECAST_NAME 64u

struct dv_forecast_layouts {
    uint32_t n;
    char names[DV_MIG_FORECAST_LAYOUTS_MAX][DV_FORECAST_NAME];
    /* Instances by profile of the geometry. */
    uint32_t supply[DV_MIG_FORECAST_LAYOUTS_MAX][DV_MIG_PROFILES_MAX];
    /* Compute slices of what is destroyed and created from the first to the second. */
    uint32_t moved[DV_MIG_FORECAST_LAYOUTS_MAX][DV_MIG_FORECAST_LAYOUTS_MAX];
};

/*
 * only: names separated by commas, or NULL: all that mean these GPUs. notes: one line for each that
 * is left out, and why. 0; -EINVAL, -E2BIG, ... with a message; -ENOMEM.
 */
int dv_forecast_layouts_load(const char *path, const struct dv_gpu_model *gpu, uint32_t n_gpus,
                             const char *only, struct dv_forecast_layouts *ret,
                             struct dv_str *notes, struct dv_err *err);

#endif
