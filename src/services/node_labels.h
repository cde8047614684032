/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The labels that this node should have (policy/labels.h), out of what is known of it: for `divvy
 * labels`, and for whoever puts them on the node.
 */
#ifndef DV_SERVICES_NODE_LABELS_H
#define DV_SERVICES_NODE_LABELS_H

#include "node.h"
#include "policy/labels.h"

#define DV_NODE_LABELS_SIMULATED "divvy-sim" /* the machine of a simulated node */

/* The time of the daemon's start, seconds since 1970. */
int64_t dv_node_labels_started(const struct dv_node *node);
/*
 * By node->labels, where somebody has set it; else as the layout says what is shared, without a MIG
 * strategy, with the machine's product name and the time of the daemon's start. mig: another
 * strategy than that; NULL: no. -EAGAIN with a message while the node's GPUs are not known: labels
 * that are there are then better left. -ENOMEM.
 */
int dv_node_labels_make(const struct dv_node *node, const enum dv_mig_strategy *mig,
                        struct dv_labels *ret, struct dv_err *err);

#endif
