/* SPDX-License-Identifier: Apache-2.0 */
/* What `divvy simulate modes` answers, as a tree. */
#ifndef DV_UI_MODES_VIEW_H
#define DV_UI_MODES_VIEW_H

#include "render/output.h"
#include "render/report.h"
#include "simulate/modes/modes.h"

#define DV_MODES_TENANT_NAME 64u

struct dv_modes_view {
    const struct dv_arrivals_load *load;
    const struct dv_modes_config *config;
    char (*names)[DV_MODES_TENANT_NAME]; /* of tenants; NULL: their numbers */
    uint32_t n;                          /* modes that were run, at least in part */
    struct dv_modes_result results[DV_MODES_COUNT];
    /* With a hostile tenant: the same with it behaving like the others, of as many modes. */
    uint32_t n_calm;
    struct dv_modes_result calm[DV_MODES_COUNT];
    bool interrupted; /* there may be modes that were not run */
};

void dv_modes_view_add(const struct dv_modes_view *v, struct dv_output_node *root);
extern const struct dv_table dv_modes_table, dv_modes_table_hostile;
extern const struct dv_report dv_modes_report, dv_modes_report_hostile;

#endif
