/* SPDX-License-Identifier: Apache-2.0 */
/* What a workload is, by its figures, and how it should hold a GPU: audit.h has the thresholds. */
#ifndef DV_POLICY_AUDIT_JUDGE_H
#define DV_POLICY_AUDIT_JUDGE_H

#include "policy/audit/audit.h"

#define DV_AUDIT_MEMORY_UNIT (256 * DV_MIB) /* memory that is to be held is rounded up to this */

enum dv_audit_class dv_audit_judge_class(const struct dv_audit_workload *w);
/* Sets class, how, why, park, memory, compute and profile of a workload whose figures are there. */
void dv_audit_judge(struct dv_audit_workload *w, const struct dv_audit_wish *wish);

#endif
