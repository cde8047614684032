/* SPDX-License-Identifier: Apache-2.0 */
/* An audit as a page with plots (--html). */
#ifndef DV_UI_AUDIT_PAGE_H
#define DV_UI_AUDIT_PAGE_H

#include "answer.h"

/* Writes the page; utilization over time is on it where the samples were kept. DV_UI_OK, or
 * DV_UI_FAILURE after saying why. path NULL: does nothing. */
int dv_audit_page_write(const struct dv_ui *ui, const struct dv_audit_answer *a, const char *path);

#endif
