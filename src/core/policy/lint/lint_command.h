/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The commands of a script that are about GPUs: nvidia-smi, nvidia-cuda-mps-control, kubectl, helm,
 * and names of resources, labels and metrics in any other. What stands in here-documents is handed
 * back, since it has other formats.
 *
 *     struct dv_lint_script script = {.report = report, .at = at, .yaml = judge_manifest, ...};
 *     r = dv_lint_script(&script, text, len);
 *
 * Sources: nvidia-smi's manual (release 580), NVIDIA's MPS documentation, kubectl's reference.
 */
#ifndef DV_POLICY_LINT_LINT_COMMAND_H
#define DV_POLICY_LINT_LINT_COMMAND_H

#include "model/gpu_model.h"
#include "policy/lint/lint.h"

enum dv_lint_inner {
    DV_LINT_INNER_MANIFEST, /* what kubectl applies */
    DV_LINT_INNER_POLICY,   /* a patch of the ClusterPolicy */
};

struct dv_lint_script {
    struct dv_lint_report *report;
    struct dv_lint_at at;
    const struct dv_gpu_model *gpu; /* NULL: any */
    void (*inner)(void *arg, enum dv_lint_inner kind, const char *text, size_t len,
                  const struct dv_lint_at *at);
    void *arg;
    unsigned depth; /* of scripts inside scripts: 0 */
};

/* 0 or -ENOMEM. */
int dv_lint_script(const struct dv_lint_script *script, const char *text, size_t len);

#endif
