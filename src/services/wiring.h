/* SPDX-License-Identifier: Apache-2.0 */
/*
 * How the node's GPUs are joined: asked of the driver once, and again where the answer may have
 * become another one (a GPU came, went, or changed its MIG mode; the driver's process is a new
 * one). It is a part of the snapshot (core/model/topology.h); the CPUs near to a GPU are kept here.
 *
 * A driver that does not come back from these questions is not asked for long: the node goes on
 * without knowing.
 */
#ifndef DV_SERVICES_WIRING_H
#define DV_SERVICES_WIRING_H

#include "node.h"

struct dv_output;

/* Something has changed that may have changed this: it is asked for in the next round. */
void dv_wiring_stale(struct dv_node *node);
/* At the end of a round of the inventory. true: there are questions, and done is called after the
 * last answer, the snapshot being up to date; false: nothing is to be asked. */
bool dv_wiring_ask(struct dv_node *node, void (*done)(struct dv_node *node));
/* The answer to GET /v1/topology; NULL when memory is out. */
struct dv_output *dv_wiring_view(const struct dv_node *node);
void dv_wiring_free(struct dv_node *node);

#endif
