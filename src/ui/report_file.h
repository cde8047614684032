/* SPDX-License-Identifier: Apache-2.0 */
/* The page of --html: an answer as a file (render/report.h), for the verbs that have one. */
#ifndef DV_UI_REPORT_FILE_H
#define DV_UI_REPORT_FILE_H

#include "render/report.h"
#include "ui.h"

/* The option, for a verb's list: {DV_REPORT_FILE_OPTION, offsetof(struct values, html)}. */
#define DV_REPORT_FILE_OPTION                                                                      \
    "html", 0, "FILE", "also write a page with plots: one file, no scripts, nothing loaded",       \
        DV_OPTION_TEXT

/* Writes the page to `path` (as a whole or not at all); NULL: does nothing. Returns DV_UI_OK, or
 * DV_UI_FAILURE after saying why. */
int dv_report_file_write(const struct dv_ui *ui, const struct dv_report *report,
                         struct dv_output *o, const char *path);

#endif
