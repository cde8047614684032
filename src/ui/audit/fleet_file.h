/* SPDX-License-Identifier: Apache-2.0 */
/* An audit's workloads as a fleet's file (docs/reference/plan-file.md), for `divvy plan`. */
#ifndef DV_UI_AUDIT_FLEET_FILE_H
#define DV_UI_AUDIT_FLEET_FILE_H

#include "answer.h"

/* Writes those of the instant with most workloads; alike ones (class, mode, memory to a GiB,
 * compute to five percent) are one entry. gpu_memory_said: the size is not the model's own.
 * Where nobody has a GPU it says so and writes nothing, which is no failure. DV_UI_OK, or an exit
 * status after saying why. path NULL: does nothing. */
int dv_audit_fleet_file_write(const struct dv_ui *ui, const struct dv_audit_answer *a,
                              bool gpu_memory_said, const char *path);

#endif
