/* SPDX-License-Identifier: Apache-2.0 */
/*
 * GPUs that the driver counts and that are not in the snapshot: lost, or failing, since before this
 * daemon has seen them. Nothing can be placed on them, so no use case but those that tell people
 * (status, doctor, metrics, the Node's condition and events) knows them:
 *
 *     for (uint32_t i = 0; i < DV_FACTS_GPUS_MAX; i++)
 *         if ((gpu = dv_strangers_gpu(node, i))) ... // of the snapshot, or a stranger
 *
 * Which card it is the driver does not say then; the store does: the GPUs that were seen before are
 * a document there, and those of them that answer for no index are the strangers, in order, where
 * there are as many. One that the driver does not count any more is no stranger: missing.h.
 */
#ifndef DV_SERVICES_STRANGERS_H
#define DV_SERVICES_STRANGERS_H

#include "node.h"

/* NULL: there is none at this index. */
const struct dv_gpu *dv_strangers_gpu(const struct dv_node *node, uint32_t index);
/* After each complete look at the hardware: who is one, and who is none any more. */
void dv_strangers_tick(struct dv_node *node);
void dv_strangers_free(struct dv_node *node);
/* The i-th of those that were there before, by UUID, address, model and index. False: no more. */
bool dv_strangers_before(struct dv_node *node, uint32_t i, struct dv_gpu *ret);

/* What the store knows of GPUs has the driver as its name: a simulated one has others. Nothing is
 * known from before of a simulator that the daemon starts itself. */
const char *dv_strangers_driver(const struct dv_node *node);
bool dv_strangers_is_ours(const struct dv_node *node, const struct dv_store_document *document);

#endif
