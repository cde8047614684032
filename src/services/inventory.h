/* SPDX-License-Identifier: Apache-2.0 */
/*
 * From facts to the model: asks the hardware (link.h) for the driver, the GPUs, samples and events,
 * and brings the snapshot up to date by the difference. What is found on the hardware wins; a
 * device that is held stays in the snapshot until it is released, even when it does not show.
 *
 * GPUs are read every 5 s, sampled every 250 ms while slices are held and every second else.
 */
#ifndef DV_SERVICES_INVENTORY_H
#define DV_SERVICES_INVENTORY_H

#include "node.h"

/* Asks for what is due. Called by the node's tick. */
void dv_inventory_tick(struct dv_node *node, uint64_t now);
/* Reads one GPU now; dv_reconcile_seen() is told when it has been. 0 or negative errno. */
int dv_inventory_look(struct dv_node *node, uint32_t gpu);
/* The hardware's state as people name it: "ok", "missing", "wedged", "failed", "starting". That is
 * before the driver's first answer, also when the worker dies meanwhile and another comes, within a
 * minute after the daemon's start. */
const char *dv_inventory_driver_state(const struct dv_node *node);
/* Why no GPU is known yet, as a sentence of a message. Never empty. */
const char *dv_inventory_driver_detail(const struct dv_node *node);
/* The GPU's XID that still counts for the doctor: one after which a reset is due until it or a
 * restart, others for ten minutes. 0: none. */
uint64_t dv_inventory_xid(const struct dv_node *node, uint32_t gpu);
/* Sets each GPU's health from its verdict (policy/health_policy.h) and the audit's findings. */
void dv_inventory_update_health(struct dv_node *node);

#endif
