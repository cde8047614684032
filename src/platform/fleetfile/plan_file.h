/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What `divvy plan` is asked (docs/reference/plan-file.md), YAML or JSON:
 *
 *     gpus:
 *       - {model: A100-80GB, count: 10, price_per_hour: 3.06}
 *     workloads:
 *       - {name: inference, count: 20, memory: 10GB, isolation: hardware}
 *
 *     dv_cleanup(dv_fleet_freep) struct dv_fleet *fleet = NULL;
 *     r = dv_plan_file_read("fleet.yaml", text, len, NULL, &fleet, &err);
 *
 * Unknown keys and GPU models are errors with the nearest known one; messages name file, line,
 * column and key.
 */
#ifndef DV_FLEETFILE_PLAN_FILE_H
#define DV_FLEETFILE_PLAN_FILE_H

#include "policy/fleet/fleet.h"

#define DV_PLAN_FILE_MAX 524288u

/*
 * workloads: NULL, or a fleet whose workloads (and headroom, currency) are taken where the file has
 * gpus only: what-if. What is returned has passed dv_fleet_check(). 0; -EINVAL, -E2BIG with a
 * message; -ENOMEM.
 */
int dv_plan_file_read(const char *name, const char *text, size_t len,
                      const struct dv_fleet *workloads, struct dv_fleet **ret, struct dv_err *err);

/* The same of "H200:8", "H200:8@4.50,L4" (model, how many, price per hour). */
int dv_plan_file_gpus(const char *text, const struct dv_fleet *workloads, struct dv_fleet **ret,
                      struct dv_err *err);

/* "3.06" -> 3060000: digits, at most six behind a point. 0, or -EINVAL with a message. */
int dv_plan_file_price(const char *text, int64_t *ret_micros, struct dv_err *err);
/* "25%", "0.25", "0": below 1. 0, or -EINVAL with a message. */
int dv_plan_file_headroom(const char *text, uint32_t *ret, struct dv_err *err);

#endif
