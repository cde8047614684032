/* SPDX-License-Identifier: Apache-2.0 */
/* What a workload is, by its figures, and how it should hold a GPU: audit.h has the thresholds. */
#ifndef DV_POLICY_AUDIT_JUDGE_H
#define DV_POLICY_AUDIT_JUDGE_H

#include "policy/audit/audit.h"
#include "policy/mode_choice.h"

#define DV_AUDIT_MEMORY_UNIT (256 * DV_MIB) /* memory that is to be held is rounded up to this */

enum dv_audit_class dv_audit_judge_class(const struct dv_audit_workload *w);
/* Sets class, how, why, park, memory, compute and profile of a workload whose figures are there. */
void dv_audit_judge(struct dv_audit_workload *w, const struct dv_audit_wish *wish);

/* The walls that are asked for: who calls his tenants untrusted asks for hardware walls, whatever
 * wall he names beside it. */
enum dv_wall dv_audit_judge_isolation(const struct dv_audit_wish *wish);

/* What the table and the sizes say of a workload with these needs; memory_bytes 0: not known. */
struct dv_audit_choice {
    enum dv_sharing mode;
    enum dv_audit_why why;
    bool half;        /* shared, though more than half of a GPU */
    uint32_t profile; /* of MIG, else DV_AUDIT_NONE */
};
void dv_audit_judge_needs(const struct dv_mode_needs *needs, const struct dv_audit_wish *wish,
                          uint64_t memory_bytes, uint32_t compute, struct dv_audit_choice *ret);

#endif
