/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The steps of a layout's plan in words, one line each:
 *
 *     destroy GPU instance 3 (1g.10gb at 4)
 *     create 3g.40gb at 0
 *     share MIG-1fc2... (1g.10gb at 2) in mode mps, 4 replicas
 */
#ifndef DV_RENDER_STEP_TEXT_H
#define DV_RENDER_STEP_TEXT_H

#include "base/str.h"
#include "policy/layout_plan.h"

/* Appends what the step does. No full stop, no newline; the GPU is not named unless it is the
 * device. */
void dv_step_text(const struct dv_step *step, struct dv_str *text);

#endif
