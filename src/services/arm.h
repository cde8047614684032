/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Walls that the driver keeps, set before the tenant may start: a memory limit on the slice's
 * cgroup, a namespace of its own in the device's MPS daemon. Until they stand the claim is not
 * granted to the outside; a wall that cannot be raised refuses it.
 *
 * Sources: nvmlDeviceSetMemoryLimits_v1 (NVML API reference, r615), MPS namespaces (NVIDIA's
 * Multi-Process Service guide, r615).
 */
#ifndef DV_SERVICES_ARM_H
#define DV_SERVICES_ARM_H

#include "node.h"

/* Asks for what the slice needs. True: wait for dv_claims_armed(); false: nothing is needed. */
bool dv_arm_begin(struct dv_holding *holding);
/* The slice has ended: takes it back. */
void dv_arm_end(struct dv_holding *holding);
/* The slice's size has changed. */
void dv_arm_limit(struct dv_holding *holding);
/* Asks once whether memory limits by cgroup can be set at all on this machine. */
void dv_arm_probe(struct dv_node *node);
/* The name of the slice's cgroup and namespace: "s-7". */
const char *dv_arm_name(const struct dv_holding *holding, char buf[32]);
/* Is the slice held in a namespace of its own? */
bool dv_arm_has_namespace(const struct dv_node *node, const struct dv_slice *slice);

#endif
