/* SPDX-License-Identifier: Apache-2.0 */
/* A GPU's health (policy/health_policy.h) in words: "XID 48; until the GPU is reset". */
#ifndef DV_RENDER_HEALTH_TEXT_H
#define DV_RENDER_HEALTH_TEXT_H

#include "base/str.h"
#include "policy/health_policy.h"

/* Appends at most DV_GPU_DETAIL_SIZE - 1 bytes; nothing when it is well. */
void dv_health_text(const struct dv_health_verdict *verdict, struct dv_str *text);

#endif
