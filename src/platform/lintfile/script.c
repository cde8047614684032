/* SPDX-License-Identifier: Apache-2.0 */
/* Shell scripts; what stands in their here-documents is read like a file. */
#include "internal.h"
#include "policy/lint/lint_command.h"

#include <errno.h>
#include <string.h>

static void judge_policy(struct dv_lintfile *l, const char *text, size_t len)
{
    dv_cleanup(dv_yaml_freep) struct dv_yaml *yaml = NULL;
    struct dv_err err = {{0}};
    int r = dv_yaml_parse(l->name, text, len, &yaml, &err);
    if (r < 0) {
        l->failed = l->failed || r == -ENOMEM;
        if (r != -ENOMEM)
            dv_lintfile_complain(l, DV_LINT_SYNTAX, err.msg);
        return;
    }
    l->yaml = yaml;
    if (yaml->n_roots)
        dv_lintfile_operator(l, dv_lintfile_get(yaml->roots[0], "spec"));
}

static void on_inner(void *arg, enum dv_lint_inner kind, const char *text, size_t len,
                     const struct dv_lint_at *at)
{
    struct dv_lintfile *l = arg;
    struct dv_lintfile here = *l;
    here.at = *at;
    here.depth++;
    if (here.depth >= DV_LINTFILE_DEPTH_MAX)
        return;
    if (kind == DV_LINT_INNER_POLICY)
        judge_policy(&here, text, len);
    else
        dv_lintfile_yaml(&here, text, len, at);
    l->failed = l->failed || here.failed;
}

void dv_lintfile_shell(struct dv_lintfile *l, const char *text, size_t len,
                       const struct dv_lint_at *at)
{
    struct dv_lint_script script = {
        .report = l->report, .at = *at, .gpu = l->options->gpu, .inner = on_inner, .arg = l};
    if (!l->depth)
        dv_lint_begin(l->report, "script", NULL, at->line);
    if (dv_lint_script(&script, text, len) < 0)
        l->failed = true;
}
