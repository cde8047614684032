/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Findings of the doctor (policy/diagnose.h) in words: what is wrong, why, what to do, and the
 * command that mends it, where one does. Commands hold numbers and the driver's UUIDs only, never
 * a name that somebody chose.
 */
#ifndef DV_RENDER_DIAGNOSIS_TEXT_H
#define DV_RENDER_DIAGNOSIS_TEXT_H

#include "base/str.h"
#include "policy/diagnose.h"
#include "render/output.h"

enum dv_diagnosis_part {
    DV_DIAGNOSIS_SUBJECT, /* "gpu 0", "driver", "slice s-3" */
    DV_DIAGNOSIS_PROBLEM, /* one sentence without a full stop, as all of them */
    DV_DIAGNOSIS_CAUSE,
    DV_DIAGNOSIS_REMEDY,
    DV_DIAGNOSIS_COMMAND, /* one line for a shell */
    DV_DIAGNOSIS_PARTS,
};

/* Appends; false when the finding has no such part. */
bool dv_diagnosis_text(const struct dv_diagnosis_finding *finding, enum dv_diagnosis_part part,
                       struct dv_str *text);

/* {"code","severity","subject","problem","cause","remedy","command"}; what is missing is null. */
void dv_diagnosis_text_add(struct dv_output_node *list, const struct dv_diagnosis_finding *finding);

/* All troubles and XIDs as the tables of docs/reference/doctor.md. */
void dv_diagnosis_text_tables(struct dv_str *text);

#endif
