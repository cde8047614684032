/* SPDX-License-Identifier: Apache-2.0 */
#include "internal.h"

void dv_lintfile_rules(struct dv_lintfile *l, const struct dv_yaml_node *root)
{
    (void)l;
    (void)root;
}

void dv_lintfile_dashboard(struct dv_lintfile *l, const struct dv_yaml_node *root)
{
    (void)l;
    (void)root;
}

void dv_lintfile_promql(struct dv_lintfile *l, const char *text, size_t len,
                        const struct dv_lint_at *at)
{
    (void)text;
    (void)len;
    dv_lint_begin(l->report, "queries", NULL, at->line);
}
