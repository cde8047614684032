/* SPDX-License-Identifier: Apache-2.0 */
#include "internal.h"

void dv_lintfile_shell(struct dv_lintfile *l, const char *text, size_t len,
                       const struct dv_lint_at *at)
{
    (void)text;
    (void)len;
    if (!l->depth)
        dv_lint_begin(l->report, "script", NULL, at->line);
}
