/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What tenants used: busy and waiting time from the arbiter's charges, reserved time and memory
 * from the slices' sizes. All integrals in whole numbers (account/usage.h).
 */
#ifndef DV_SERVICES_METER_H
#define DV_SERVICES_METER_H

#include "node.h"

/* Brings one holding and its tenant up to date; before a change of its size, and at its end. */
void dv_meter_holding(struct dv_holding *holding, uint64_t now);
/* Busy time that no lease was charged for: by the driver's utilization. */
void dv_meter_add_busy(struct dv_holding *holding, uint64_t ns);
void dv_meter_tick(struct dv_node *node, uint64_t now);

#endif
