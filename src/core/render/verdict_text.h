/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The policy's answers in words: one line, with the numbers behind it and what to do. The only
 * place that words them.
 *
 *     dv_verdict_text_claim(&verdict, &s);
 *     "asked 40.0 GiB, at most 24.0 GiB is free on one device (GPU 3)"
 */
#ifndef DV_RENDER_VERDICT_TEXT_H
#define DV_RENDER_VERDICT_TEXT_H

#include "base/str.h"
#include "policy/mig_plan.h"
#include "policy/verdict.h"

/* Appends the answer to a claim or to a change of limits. No full stop, no newline. */
void dv_verdict_text_claim(const struct dv_verdict *verdict, struct dv_str *text);

/* Appends why a set of MIG instances cannot be had; for a plan that is feasible, nothing. */
void dv_verdict_text_mig(const struct dv_mig_geometry *geometry, const struct dv_mig_plan *plan,
                         struct dv_str *text);
/* The same for a set that was only checked (dv_mig_check). */
void dv_verdict_text_refusal(const struct dv_mig_geometry *geometry,
                             const struct dv_mig_refusal *refusal, struct dv_str *text);
/* A rule's name for JSON: "compute", "memory", "count", "media", "start", "overlap", "placement".
 */
const char *dv_verdict_text_rule(enum dv_mig_rule rule);

#endif
