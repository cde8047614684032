/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The audit: what the driver says against what the slots say, at each sample (250 ms).
 *
 *   - a process of a slice, or anybody on a shared device, that uses the GPU without a handshake;
 *   - a slice with much more GPU time than it was charged for;
 *   - a process with more memory than it was charged for (a little more teaches what a context
 *     costs here).
 *
 * Each becomes a finding once two samples have shown it, so within a second: the GPU's health is
 * `degraded` and names the tenant, `doctor` and `explain` say what to do, the log has one line.
 * Findings end by themselves a second after they were true last.
 *
 * What the others keep meanwhile. An intruder's context takes turns with the one lease holder, so
 * with leases on it gets up to half of the device whatever its share, and the others their shares
 * of the rest. Hence the default (`--intruder open`): leases are off while it is there, everyone's
 * context takes the driver's turns, and of n busy processes each gets 1/n. Memory caps hold all the
 * time. `report` leaves leases on; `kill` ends the process.
 */
#ifndef DV_SERVICES_AUDIT_H
#define DV_SERVICES_AUDIT_H

#include "node.h"

void dv_audit_sample(struct dv_node *node, uint32_t gpu, const struct dv_facts_sample *sample);
/* Ends findings that are over. */
void dv_audit_tick(struct dv_node *node, uint64_t now);
/* How much of the time until now samples of this GPU may still be charged for; 0 before the first
 * look, which speaks for no time before it. */
uint64_t dv_audit_unseen_ns(const struct dv_node *node, uint32_t gpu);
/* Whether people should see it. */
bool dv_audit_counts(const struct dv_finding *finding);

#endif
