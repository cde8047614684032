/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Walls that the driver keeps, set before the tenant may start: a memory limit on the slice's
 * cgroup (a container's own, where it has one), a namespace of its own in the device's MPS daemon.
 * Until they stand the claim is not granted to the outside; a wall that cannot be raised refuses
 * it. After a restart they are raised anew, whatever stands already.
 *
 * Sources: nvmlDeviceSetMemoryLimits_v1 (NVML API reference, r615), MPS namespaces (NVIDIA's
 * Multi-Process Service guide, r615).
 */
#ifndef DV_SERVICES_ARM_H
#define DV_SERVICES_ARM_H

#include "node.h"

/* Asks for what the slice needs. True: wait for dv_claims_armed(), or h->arm_problem says why it
 * cannot be asked for; false: nothing is needed. */
bool dv_arm_begin(struct dv_holding *holding);
/* The slice has ended: takes it back. */
void dv_arm_end(struct dv_holding *holding);
/* The slice's size has changed. */
void dv_arm_limit(struct dv_holding *holding);
/* The device's MPS daemon is there, perhaps anew: the namespaces of its slices too, and those of
 * nobody go. */
void dv_arm_device(struct dv_node *node, const char *device);
/* The slices of before a restart are back: what belongs to none of them goes. */
void dv_arm_restored(struct dv_node *node);
/* Is it known whether memory limits can be set on this machine? Where not, asks. */
bool dv_arm_probe(struct dv_node *node);
/* Removes what could not be removed at the end of its slice. */
void dv_arm_tick(struct dv_node *node, uint64_t now);
void dv_arm_free(struct dv_node *node);
/* Is the slice's memory limited by the driver on its cgroup? */
bool dv_arm_has_cgroup(const struct dv_node *node, const struct dv_slice *slice);
/* Is the slice held in a namespace of its own? */
bool dv_arm_has_namespace(const struct dv_node *node, const struct dv_slice *slice);
#endif
