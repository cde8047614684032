/* SPDX-License-Identifier: Apache-2.0 */
#include "internal.h"

void dv_lintfile_claim(struct dv_lintfile *l, const struct dv_yaml_node *object)
{
    (void)object;
    dv_lint_in_scope(l->report);
}
