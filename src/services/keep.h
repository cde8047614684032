/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The store as the use cases see it: written at once where a slice is granted or ends. A disk that
 * takes nothing is a state that `doctor` shows: the daemon goes on, and writes everything again
 * when it can.
 */
#ifndef DV_SERVICES_KEEP_H
#define DV_SERVICES_KEEP_H

#include "node.h"

void dv_keep_put(struct dv_holding *holding);
void dv_keep_drop(struct dv_holding *holding);
void dv_keep_put_process(struct dv_holding *holding, const struct dv_proc_id *id);
void dv_keep_drop_process(struct dv_holding *holding, const struct dv_proc_id *id);
/* All that could not be written before. */
void dv_keep_flush(struct dv_node *node);
/* After the first inventory: slices whose owners or processes live are taken back. */
void dv_keep_restore(struct dv_node *node);

#endif
