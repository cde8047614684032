/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What a connection sees of the node: all of it, or, on the socket for containers, the devices
 * whose files it has shown (abi_sim_show.h). NVML counts the GPUs of a view from 0, as a driver
 * does that finds the nodes of some GPUs only; a GPU is visible when it or one of its MIG devices
 * is.
 *
 * A GPU that has gone is in no view: a driver that is loaded after that does not count it.
 *
 * Pure. GPUs are indices of the node unless called "nth"; DV_SIM_VIEW_ANY is its DV_SIM_ANY.
 */
#ifndef DV_SIM_SERVER_VIEW_H
#define DV_SIM_SERVER_VIEW_H

#include "abi_sim_show.h"

#include <stdbool.h>

#define DV_SIM_VIEW_ANY UINT32_MAX

struct dv_simview {
    bool limited;         /* false: all of the node */
    const uint32_t *gone; /* bits: GPUs that have; NULL: none */
    uint32_t n;
    struct {
        uint32_t gpu, gi, ci;
    } device[DV_SIM_SHOWN_MAX];
};

/* What it has already, and what there is no room for, changes nothing. */
void dv_simview_add(struct dv_simview *view, uint32_t gpu, uint32_t gi, uint32_t ci);
bool dv_simview_has_gpu(const struct dv_simview *view, uint32_t gpu);
/* That device; ci DV_SIM_VIEW_ANY with a gi: any in that GPU instance. */
bool dv_simview_has(const struct dv_simview *view, uint32_t gpu, uint32_t gi, uint32_t ci);
/* The nth GPU that is visible of a node with so many; DV_SIM_VIEW_ANY: there is none. */
uint32_t dv_simview_gpu(const struct dv_simview *view, uint32_t gpus, uint32_t nth);
/* How many are visible below this one: of a visible GPU its nth; of the node's number, all. */
uint32_t dv_simview_nth(const struct dv_simview *view, uint32_t gpu);

#endif
