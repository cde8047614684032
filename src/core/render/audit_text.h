/* SPDX-License-Identifier: Apache-2.0 */
/* An audit's reasons in words: one line each, with the figures behind it. The only place that words
 * them. */
#ifndef DV_RENDER_AUDIT_TEXT_H
#define DV_RENDER_AUDIT_TEXT_H

#include "base/str.h"
#include "policy/audit/audit_group.h"

/* Appends why a workload should hold a GPU as recommended. No full stop, no newline. */
void dv_audit_text_why(const struct dv_audit_workload *w, const struct dv_audit_wish *wish,
                       struct dv_str *text);
/* The same of a group of which nothing was measured. */
void dv_audit_text_group(const struct dv_audit_group *g, const struct dv_audit_choice *c,
                         struct dv_str *text);
/* The same without the workload's own figures, for a group of them. */
const char *dv_audit_text_rule(enum dv_audit_why why);
/* A reason's name for JSON: "training", "bursty", ... */
const char *dv_audit_text_name(enum dv_audit_why why);

#endif
