/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Processes that have ended: what the driver's accounting says they used beyond what was charged.
 * For those whose time the driver's samples meter, which miss the last moments, and for those that
 * ended while the daemon was down.
 */
#ifndef DV_SERVICES_METER_ENDED_H
#define DV_SERVICES_METER_ENDED_H

#include "node.h"

struct dv_books;

/* Has the driver keep accounts of the GPU's processes, where it can and we may: at each look at the
 * GPU; those that run already are never in its accounts. */
void dv_meter_ended_enable(struct dv_node *node, uint32_t gpu);

struct dv_meter_ended {
    struct dv_ledger_checkpoint row; /* who, how much was charged, and who pays */
    bool living; /* it may still run: then what is not sure to be missed by samples is left to its
                    end */
};
/* False: nothing can be asked (accounting is off, a GPU in MIG mode). */
bool dv_meter_ended_ask(struct dv_node *node, const struct dv_meter_ended *ended);
void dv_meter_ended_tick(struct dv_node *node, uint64_t now);
/* Meanwhile it was charged for so much by other ways. */
void dv_meter_ended_charged(struct dv_node *node, uint64_t claim, const struct dv_proc_id *id,
                            uint64_t ns);
/* Of those that have ended and were not answered for yet; `ret` has room for node->n_questions. */
size_t dv_meter_ended_open(const struct dv_node *node, struct dv_ledger_checkpoint *ret);
/* After the worker's link. */
void dv_meter_ended_free(struct dv_node *node);

#endif
