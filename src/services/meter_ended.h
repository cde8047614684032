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
    struct dv_proc_id id;
    uint64_t claim;
    uint32_t gpu;
    bool living; /* it may still run: then what is not sure to be missed by samples is left to its
                    end */
    const struct dv_account *account; /* who pays; source and quality are set here */
    const char *device;
    uint64_t charged_ns; /* device time charged so far */
};
/* False: nothing can be asked (accounting is off, a GPU in MIG mode). */
bool dv_meter_ended_ask(struct dv_node *node, const struct dv_meter_ended *ended);
void dv_meter_ended_tick(struct dv_node *node, uint64_t now);
/* After the worker's link. */
void dv_meter_ended_free(struct dv_node *node);

#endif
