/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The daemon's part of `divvy doctor`: gathers what it knows as facts, has them judged
 * (policy/diagnose.h), and answers with the findings in words (render/diagnosis_text.h), together
 * with those of the audit. docs/reference/doctor.md has the list.
 */
#ifndef DV_SERVICES_DOCTOR_H
#define DV_SERVICES_DOCTOR_H

#include "node.h"
#include "render/output.h"

/* What a sample says that must last before it means anything. */
void dv_doctor_sample(struct dv_node *node, uint32_t gpu, uint64_t now);

struct dv_output *dv_doctor_view(struct dv_node *node);

#endif
