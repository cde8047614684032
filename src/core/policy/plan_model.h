/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A GPU on which tests execute plans (layout_plan.h). It refuses, by failing the test, what a
 * driver would refuse and what would hurt a tenant: an instance that does not fit, a destroyed
 * device with slices on it, a daemon that ends under its clients. For tests only; uses cmocka.
 */
#ifndef DV_POLICY_PLAN_MODEL_H
#define DV_POLICY_PLAN_MODEL_H

#include "policy/layout_plan.h"

#define DV_PLAN_MODEL_GPU 1u /* the one that is planned; GPU 0 must not matter */

struct dv_plan_model {
    struct dv_gpu gpus[2];
    struct dv_device devices[64];
    struct dv_slice slices[512];
    struct dv_snapshot snapshot;
    struct dv_plan_gpu now;
    unsigned made; /* devices, for their names */
    char by_place[DV_MIG_GRID_MAX][DV_LAYOUT_DEVICES_MAX][DV_UUID_SIZE]; /* of this plan */
};

/* Two GPUs of that geometry without a slice; GPU 0 is whole. */
void dv_plan_model_init(struct dv_plan_model *m, const struct dv_mig_geometry *g, bool mig);
struct dv_device *dv_plan_model_device(struct dv_plan_model *m, const char *uuid);
uint32_t dv_plan_model_held(const struct dv_plan_model *m, const char *uuid);

struct dv_plan_instance *dv_plan_model_add_instance(struct dv_plan_model *m, uint32_t profile,
                                                    uint32_t start);
struct dv_device *dv_plan_model_add_compute(struct dv_plan_model *m, struct dv_plan_instance *now,
                                            uint32_t slices);
/* n more slices on it; in the mode of its layout, else in this one. */
void dv_plan_model_hold(struct dv_plan_model *m, struct dv_device *d, enum dv_mode mode,
                        uint32_t n);
/* As if a layout had said so. */
void dv_plan_model_share(struct dv_plan_model *m, struct dv_device *d, enum dv_mode mode,
                         uint32_t replicas);

/* Ends the slices in the way and does the first n steps; nobody else must notice. */
void dv_plan_model_execute(struct dv_plan_model *m, const struct dv_gpu_plan *plan, uint32_t n);

#endif
