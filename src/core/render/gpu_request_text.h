/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What admission makes of a container's GPUs (policy/gpu_request.h), in words: one line, with what
 * would pass.
 *
 *     dv_gpu_request_text(&verdict, &s);
 *     "nvidia.com/gpu: 0.125 is no whole percent of a GPU; 0.12 or 0.13 would pass"
 */
#ifndef DV_RENDER_GPU_REQUEST_TEXT_H
#define DV_RENDER_GPU_REQUEST_TEXT_H

#include "base/str.h"
#include "policy/gpu_request.h"

/* Appends it; no full stop, no newline. */
void dv_gpu_request_text(const struct dv_gpu_verdict *verdict, struct dv_str *text);
/* The same of a warning about a variable of its environment; nothing for QUIET. */
void dv_gpu_request_text_warning(const struct dv_gpu_verdict *verdict,
                                 enum dv_gpu_request_warning warning, const char *value,
                                 struct dv_str *text);

#endif
