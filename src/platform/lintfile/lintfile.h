/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What people paste, as findings (policy/lint): Kubernetes' manifests, configurations of NVIDIA's
 * device plugin, mig-parted and GPU Operator, values of their charts, shell scripts, Prometheus'
 * rules, queries and dashboards, divvy's own layouts and prices.
 *
 *     struct dv_lint_report report = {0};
 *     r = dv_lintfile_read("pod.yaml", text, len, &(struct dv_lintfile_options){0}, &report, &err);
 *     report.verdict, report.findings[0].why
 *     dv_lint_report_done(&report);
 *
 * Any text is judged: what is no YAML is a finding, not an error. Bounded: DV_LINTFILE_MAX bytes,
 * and the bounds of yaml_tree.h for each document.
 */
#ifndef DV_LINTFILE_LINTFILE_H
#define DV_LINTFILE_LINTFILE_H

#include "base/err.h"
#include "model/gpu_model.h"
#include "model/plugin_flags.h"
#include "policy/lint/lint.h"

#define DV_LINTFILE_MAX 1048576u

enum dv_lintfile_type {
    DV_LINTFILE_AUTO, /* by the file's name, else by what is in it */
    DV_LINTFILE_YAML, /* JSON too */
    DV_LINTFILE_SHELL,
    DV_LINTFILE_PROMQL, /* one query a line, or one over several lines */
};

struct dv_lintfile_options {
    enum dv_lintfile_type type;
    const struct dv_gpu_model *gpu; /* what the GPUs are; NULL: any, or what the file says */
    bool has_strategy;
    enum dv_mig_strategy strategy; /* else what the file says */
    struct dv_lint_filter filter;
};

/* By its name; AUTO: not by its name. */
enum dv_lintfile_type dv_lintfile_type_of(const char *name);

/* 0 with a finished report; -E2BIG, -EINVAL (zero bytes: no text) with a message; -ENOMEM. */
int dv_lintfile_read(const char *name, const char *text, size_t len,
                     const struct dv_lintfile_options *options, struct dv_lint_report *ret,
                     struct dv_err *err);

/*
 * The text with everything mended that is safe to mend; comments and layout stay. Mending what was
 * mended changes nothing. *ret_mended: how many findings; 0: nothing to do, `ret` is the text.
 * Errors as above.
 */
int dv_lintfile_fix(const char *name, const char *text, size_t len,
                    const struct dv_lintfile_options *options, struct dv_str *ret,
                    uint32_t *ret_mended, struct dv_err *err);

#endif
