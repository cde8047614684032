/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Steps on a model of GPUs instead of real ones, for tests of those who make plans and carry them
 * out. It keeps the driver's rules: places, what is in use, instances of one kind inside another,
 * modes that wait for a reset; ids are the driver's.
 *
 *     dv_dry_actuator_new(&geometry, 2, &a);
 *     dv_dry_actuator_fail(a, 3, DV_DRY_ERROR);          the third step from now fails
 *     r = dv_actuate_step(a, &step, &receipt, &err);
 *     dv_dry_actuator_gpu(a, 0, &now);                   as facts of a driver, for the next plan
 *
 * A real process that dies in the middle of a step has done it or has not: DV_DRY_DIE_BEFORE and
 * DV_DRY_DIE_AFTER answer -EPIPE as the link to a dead worker does, without and with the change.
 */
#ifndef DV_ACTUATE_DRY_ACTUATOR_H
#define DV_ACTUATE_DRY_ACTUATOR_H

#include "actuate/actuate.h"

#define DV_DRY_GPUS_MAX 8u

enum dv_dry_fault {
    DV_DRY_NONE,
    DV_DRY_ERROR,      /* DV_ACTUATE_FAILED, nothing has changed */
    DV_DRY_DIE_BEFORE, /* -EPIPE, nothing has changed */
    DV_DRY_DIE_AFTER,  /* -EPIPE, and it is done */
};

/* `gpus` GPUs of one geometry (NULL: without MIG), all out of MIG mode. 0, -EINVAL, -ENOMEM. The
 * geometry is borrowed. */
int dv_dry_actuator_new(const struct dv_mig_geometry *geometry, uint32_t gpus,
                        struct dv_actuator **ret);

/* The fault of the step that comes after `after` others; one is set at a time. */
void dv_dry_actuator_fail(struct dv_actuator *a, uint32_t after, enum dv_dry_fault fault);
/* A process uses the device (a UUID), or does no longer: what it stands on cannot go. */
void dv_dry_actuator_use(struct dv_actuator *a, const char *device, bool used);
/* A1xx boards: MIG mode waits for a reset, which is done (true) or not allowed (false). */
void dv_dry_actuator_resets(struct dv_actuator *a, bool needed, bool allowed);

/* How many steps were asked for, and how many of them changed something. */
uint32_t dv_dry_actuator_steps(const struct dv_actuator *a);
uint32_t dv_dry_actuator_changes(const struct dv_actuator *a);

/* What is there now. */
void dv_dry_actuator_gpu(const struct dv_actuator *a, uint32_t gpu, struct dv_plan_gpu *ret);
/* The UUID of a GPU: "GPU-dry-0". */
const char *dv_dry_actuator_uuid(const struct dv_actuator *a, uint32_t gpu);
/* How a device is shared, as the last SHARING step said; NULL: no step said anything. */
const struct dv_layout_sharing *dv_dry_actuator_sharing(const struct dv_actuator *a,
                                                        const char *device);

#endif
