/* SPDX-License-Identifier: Apache-2.0 */
/* divvy mig plan --change over several GPUs of one model: --have and --in-use with a '/' between
 * GPUs. */
#ifndef DV_UI_MIG_NODE_VIEW_H
#define DV_UI_MIG_NODE_VIEW_H

#include "model/gpu_model.h"
#include "ui.h"

/* in_use may be NULL. Answers, and returns the exit status. */
int dv_mig_node_answer(const struct dv_ui *ui, const struct dv_gpu_model *model, const char *have,
                       const char *in_use, const char *want);
/* Says how many instances in use a change waits for, and returns the exit status for that. */
int dv_mig_node_blocked(const struct dv_ui *ui, uint32_t in_use);

#endif
