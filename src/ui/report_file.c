/* SPDX-License-Identifier: Apache-2.0 */
#include "report_file.h"

#include "sys/fd.h"

int dv_report_file_write(const struct dv_ui *ui, const struct dv_report *report,
                         struct dv_output *o, const char *path)
{
    dv_cleanup(dv_str_done) struct dv_str text = {0};
    struct dv_err err = {{0}};
    if (!path)
        return DV_UI_OK;
    int r = dv_report_write(report, o, &text, &err);
    if (r == 0)
        r = dv_fd_write_file(path, dv_str_get(&text), text.len, 0644, &err);
    return r < 0 ? dv_ui_fail(ui, DV_UI_FAILURE, "%s", err.msg) : DV_UI_OK;
}
