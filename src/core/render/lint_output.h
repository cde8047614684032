/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Findings (policy/lint) for people, scripts and code scanners.
 *
 *     struct dv_lint_file files[] = {{"pod.yaml", &report}};
 *     dv_lint_output_json(files, 1)               a tree of kind LintReport
 *     r = dv_lint_output_sarif(files, 1, "1.0", &text);
 *     dv_lint_output_lines(files, 1, &text);      "pod.yaml:3:5: error DV102: ...", "    fix: ..."
 */
#ifndef DV_RENDER_LINT_OUTPUT_H
#define DV_RENDER_LINT_OUTPUT_H

#include "base/str.h"
#include "policy/lint/lint.h"
#include "render/output.h"

struct dv_lint_file {
    const char *name;
    const struct dv_lint_report *report;
    uint32_t mended; /* findings that are no longer in it */
};

/* NULL when memory is out. The rows of a table or CSV are files.findings. */
struct dv_output *dv_lint_output_json(const struct dv_lint_file *files, size_t n);
/* The rules, of kind LintRules: rules. */
struct dv_output *dv_lint_output_rules(void);
/* One rule whole, as text. */
void dv_lint_output_explain(enum dv_lint_rule rule, struct dv_str *text);
/* SARIF 2.1.0 (OASIS), one run, every rule described, one result for each finding. Names of files
 * become URIs relative to where the program stands, as code scanners want them. 0 or -ENOMEM. */
int dv_lint_output_sarif(const struct dv_lint_file *files, size_t n, const char *version,
                         struct dv_str *text);
/* Two lines for each finding, one for each file with its verdict, one for all files. */
void dv_lint_output_lines(const struct dv_lint_file *files, size_t n, struct dv_str *text);

#endif
