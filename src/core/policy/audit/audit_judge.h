/* SPDX-License-Identifier: Apache-2.0 */
/* What a workload is, by its figures, and how it should hold a GPU: audit.h has the thresholds. */
#ifndef DV_POLICY_AUDIT_JUDGE_H
#define DV_POLICY_AUDIT_JUDGE_H

#include "policy/audit/audit.h"

enum dv_audit_class dv_audit_judge_class(const struct dv_audit_workload *w);
/* Sets class, how, why, park, memory, compute and profile of a workload whose figures are there. */
void dv_audit_judge(struct dv_audit_workload *w, const struct dv_audit_wish *wish);

#endif
